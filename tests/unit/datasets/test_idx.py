import gzip

import numpy as np
import pytest

from twolayer.datasets import read_idx
from twolayer.datasets.idx import as_idx

# Two images of 2 x 3 bytes and two labels, byte by byte as the format's description has them.
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(250, 256), *range(6)])
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 2, 9, 4])


def written(folder, content):
    path = folder / "some-idx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_hand_made_files(tmp_path, pack):
    """Images and labels written byte by byte are read back, compressed or not."""
    images = read_idx(written(tmp_path, pack(IMAGES)))
    assert images.dtype == np.uint8
    expected = [[[250, 251, 252], [253, 254, 255]], [[0, 1, 2], [3, 4, 5]]]
    assert images.tolist() == expected
    assert read_idx(str(written(tmp_path, pack(LABELS)))).tolist() == [9, 4]


def test_writing_gives_the_hand_made_bytes():
    """What is written is the format, byte by byte."""
    images = np.array([[[250, 251, 252], [253, 254, 255]], [[0, 1, 2], [3, 4, 5]]], np.uint8)
    assert as_idx(images) == IMAGES
    assert as_idx(np.array([9, 4], np.uint8)) == LABELS


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"Received: .*some-idx with 0 bytes"),
        (IMAGES[:2], r"Received: .*some-idx with 2 bytes"),
        (b"\0\0\x08\x02" + IMAGES[4:], r"2051.*2049.*Received: .*magic number 2050"),
        (b"PK\x03\x04", "Expected an IDX file"),
        (IMAGES[:10], r"header of 16 bytes.*Received: 10 bytes in all; it is truncated"),
        (IMAGES[:-1], r"Expected 28 bytes.*2 x 2 x 3 values.*Received: 27 bytes"),
        (IMAGES + b"\0", r"Expected 28 bytes.*Received: 29 bytes"),
        (LABELS[:7] + b"\x03" + LABELS[8:], r"Expected 11 bytes.*Received: 10 bytes"),
        (gzip.compress(IMAGES, mtime=0)[:-9], r"Expected a whole gzip file\. Received: .*some-idx"),
        (gzip.compress(IMAGES, mtime=0)[:12] + b"\xff\xff\xff\xff", "whole gzip file"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + bytes(8), r"damaged \(CRC check failed"),
        (gzip.compress(IMAGES, mtime=0) + b"junk", "whole gzip file"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, content, sentence):
    """Truncated, too long, foreign and corrupt files are refused with what was expected."""
    with pytest.raises(ValueError, match=sentence):
        read_idx(written(tmp_path, content))
