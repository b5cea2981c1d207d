import hashlib
import struct
import subprocess
import sys
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets

from twolayer.datasets import fashion, fashion_mnist
from twolayer.datasets.idx import as_idx

# The MD5 sums of the four compressed files that the data set's authors publish (also in
# torchvision and Keras), and the times in their gzip headers.
PUBLISHED = {
    "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 1504176606),
    "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", 1504176606),
    "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", 1504176627),
    "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", 1504176627),
}
GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (7, 28, 28), dtype=np.uint8)
CLASSES = np.array([9, 0, 0, 3, 0, 2, 7], np.uint8)
FILES = {  # a data set of 5 training and 2 test images
    "train-images-idx3-ubyte": as_idx(PIXELS[:5]),
    "train-labels-idx1-ubyte": as_idx(CLASSES[:5]),
    "t10k-images-idx3-ubyte": as_idx(PIXELS[5:]),
    "t10k-labels-idx1-ubyte": as_idx(CLASSES[5:]),
}


@pytest.fixture(autouse=True)
def nowhere(request, monkeypatch, tmp_path):
    """A machine with no images, no network, and the small data set's checksums."""
    if "real_images" in request.fixturenames:
        return
    monkeypatch.delenv(fashion.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(fashion, "NUM_TRAIN", 5)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(fashion, "CHECKSUMS", sums)

    def refuse(*args, **kwargs):
        raise URLError("no network in the tests")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)


def filled(folder, files=FILES):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def fetching(monkeypatch, pixels, classes):
    """Put a table in the place of OpenML's; return what it is asked for, in order."""
    asked = []

    def fetch(name, **options):
        asked.append((name, options["version"], options["as_frame"]))
        return pixels, classes

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    return asked


def test_each_place_is_read(tmp_path, monkeypatch):
    """The images are found in the named folder, the variable's, Debian's and the cache."""
    for place in ("named", "variable", "debian", "cache/twolayer/fashion-mnist"):
        folder = filled(tmp_path / place)
        path = folder if place == "named" else None
        if place == "variable":
            monkeypatch.setenv(fashion.VARIABLE, str(folder))
        train, test = fashion_mnist(path), fashion_mnist(path, train=False)
        np.testing.assert_array_equal(train.images, PIXELS[:5])
        np.testing.assert_array_equal(train.labels, CLASSES[:5])
        np.testing.assert_array_equal(test.images, PIXELS[5:])
        np.testing.assert_array_equal(test.labels, CLASSES[5:])
        monkeypatch.delenv(fashion.VARIABLE, raising=False)
        for name in FILES:
            (folder / name).unlink()


def test_earlier_places_win(tmp_path, monkeypatch):
    """A named folder is read before the variable's, that before Debian's, that before the cache."""
    wrong = {name: content[:-1] for name, content in FILES.items()}
    right, broken = filled(tmp_path / "right"), filled(tmp_path / "broken", wrong)
    monkeypatch.setenv(fashion.VARIABLE, str(broken))
    fashion_mnist(right)
    monkeypatch.setenv(fashion.VARIABLE, str(right))
    monkeypatch.setattr(fashion, "DEBIAN", broken)
    fashion_mnist()
    monkeypatch.setenv(fashion.VARIABLE, "")
    filled(tmp_path / "cache/twolayer/fashion-mnist")
    with pytest.raises(ValueError, match="broken"):
        fashion_mnist()


def test_damaged_and_foreign_files_are_refused(tmp_path):
    """A truncated file is told by its sizes, one of the right format by its checksum."""
    name = "train-images-idx3-ubyte"
    short = filled(tmp_path / "short", {**FILES, name: FILES[name][:-100]})
    with pytest.raises(ValueError, match=r"Expected 3936 bytes in .*train-images.* 3836 bytes"):
        fashion_mnist(short)
    other = filled(tmp_path / "other", {**FILES, name: as_idx(255 - PIXELS[:5])})
    with pytest.raises(ValueError, match=r"train-images.*checksum.*Received: .*other/train-images"):
        fashion_mnist(other)
    labels = "t10k-labels-idx1-ubyte"
    count = filled(tmp_path / "count", {**FILES, labels: as_idx(CLASSES[:1])})
    with pytest.raises(ValueError, match=r"t10k-labels.*checksum"):
        fashion_mnist(count, train=False)


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_named_folder_without_the_files_is_an_error(tmp_path, monkeypatch, by_variable):
    """A folder that was named is not passed over in silence, be it absent or half empty."""
    folder = tmp_path / "absent"
    if by_variable:
        monkeypatch.setenv(fashion.VARIABLE, str(folder))
    what = "the environment variable TWOLAYER_FASHION_MNIST" if by_variable else "path"
    with pytest.raises(FileNotFoundError, match=f"that {what} names. Received: .*absent.*Debian"):
        fashion_mnist(None if by_variable else folder)
    filled(folder, {"train-images-idx3-ubyte": b""})
    with pytest.raises(FileNotFoundError, match="lacks them"):
        fashion_mnist(None if by_variable else folder)


@pytest.mark.parametrize(
    "classes",
    [CLASSES.astype(str).astype(object), [f"'{c}'" for c in CLASSES], CLASSES.astype(np.int64)],
    ids=["text", "quoted", "integers"],
)
def test_download_is_announced_and_kept(tmp_path, monkeypatch, classes):
    """OpenML's table is fetched once, after the announcement, and read from the cache later."""
    asked = fetching(monkeypatch, PIXELS.reshape(7, -1).astype(np.float64), np.array(classes))
    said = []
    train = fashion_mnist(announce=lambda text: said.append((text, len(asked))))
    assert [count for _, count in said] == [0]
    assert "OpenML" in said[0][0]
    assert asked == [("Fashion-MNIST", 1, False)]
    np.testing.assert_array_equal(train.images, PIXELS[:5])
    test = fashion_mnist(train=False, announce=said.append)
    np.testing.assert_array_equal(test.labels, CLASSES[5:])
    assert (len(asked), len(said)) == (1, 1)
    kept = sorted(path.name for path in (tmp_path / "cache/twolayer/fashion-mnist").iterdir())
    assert kept == sorted(f"{name}.gz" for name in FILES)


def test_announcement_goes_to_the_error_stream(monkeypatch, capsys):
    """By default the download is announced on the error stream, and nothing is on the output."""
    fetching(monkeypatch, PIXELS.reshape(7, -1), CLASSES)
    fashion_mnist()
    output = capsys.readouterr()
    assert output.out == ""
    assert "downloading it from OpenML" in output.err


@pytest.mark.parametrize(
    ("pixels", "classes", "reason"),
    [
        (None, None, "no network in the tests"),
        (255 - PIXELS, CLASSES, "train-images.*checksum.*OpenML's table"),
        (PIXELS, CLASSES[::-1], "train-labels.*checksum"),
        (PIXELS[:3, :5], CLASSES, "cannot reshape"),
        (PIXELS, ["Boot"] * 7, "invalid literal"),
    ],
)
def test_a_failed_download_names_the_three_ways(tmp_path, monkeypatch, pixels, classes, reason):
    """No network, or a table that is not the published one: one sentence, and nothing is kept."""
    if pixels is not None:
        fetching(monkeypatch, pixels, classes)
    ways = "dataset-fashion-mnist.*four IDX files.*TWOLAYER_FASHION_MNIST.*network"
    with pytest.raises(FileNotFoundError, match=f"{reason}.*{ways}"):
        fashion_mnist(announce=str)
    assert list((tmp_path / "cache/twolayer/fashion-mnist").iterdir()) == []


def test_scikit_learn_is_loaded_for_a_download_only():
    """Importing the data sets does not import scikit-learn."""
    program = "import sys, twolayer.datasets; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_real_images(real_images):
    """60,000 training and 10,000 test images, as many of each class, in the published order."""
    test = fashion_mnist(train=False)
    assert real_images.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(real_images.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert real_images.labels[:5].tolist() == [9, 0, 0, 3, 0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_checksums_are_of_the_published_files(real_images, name):
    """Debian's files, under the original gzip header, have the MD5 sums published with the data."""
    file = fashion.DEBIAN / f"{name}.gz"
    if not file.is_file():
        pytest.skip("the images are not Debian's: apt-get install dataset-fashion-mnist")
    expected, time = PUBLISHED[name]
    header = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + b"\0\x03" + name.encode() + b"\0"
    content = header + file.read_bytes()[10:]  # Debian's own header has 10 bytes, without a name
    assert hashlib.md5(content).hexdigest() == expected
