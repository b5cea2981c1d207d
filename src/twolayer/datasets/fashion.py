"""Fashion-MNIST, from where it is on this machine or, announced, from OpenML once."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from twolayer.datasets.idx import as_idx, parse_idx, unpack

VARIABLE = "TWOLAYER_FASHION_MNIST"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NUM_TRAIN = 60_000  # the first rows of OpenML's table; the others are the test images

# SHA-256 of the uncompressed files. Those of Debian's package, whose compressed bytes, with the
# name and time of the original gzip headers put back, have the MD5 sums published with the data.
CHECKSUMS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

_WAYS = (
    "install Debian's package dataset-fashion-mnist, or put the four IDX files into a folder and "
    f"name it by `path` or the environment variable {VARIABLE}, or try again with a network"
)


class Images(NamedTuple):
    """Pictures and the class of each.

    Attributes
    ----------
    images
        Bytes from 0 (background) to 255.
    labels
        Classes from 0 to 9.
    """

    images: UInt8[np.ndarray, "n height width"]
    labels: UInt8[np.ndarray, " n"]


def on_stderr(text: str) -> None:
    """Write one line to the standard error stream."""
    sys.stderr.write(text + "\n")


def fashion_mnist(
    path: str | Path | None = None,
    *,
    train: bool = True,
    announce: Callable[[str], object] = on_stderr,
) -> Images:
    """The 60,000 training or 10,000 test images of Fashion-MNIST, 28 x 28 bytes each.

    xiao2017fashion. They are read, in this order, from `path`; the folder that the environment
    variable ``TWOLAYER_FASHION_MNIST`` names; where Debian's package dataset-fashion-mnist puts
    them; twolayer's cache folder. Only if the first two are not given and the others are empty are
    they downloaded from OpenML, into the cache, which `announce` is told before. Every file read
    has the published content: its checksum is compared.

    Parameters
    ----------
    path
        A folder with ``train-images-idx3-ubyte`` and its three companions, each plain or ``.gz``.
    train
        Whether the training images are wanted, rather than the test images.
    announce
        Called with one line before a download; writes it to the standard error stream by default.

    Raises
    ------
    ValueError
        If a file is damaged, truncated or another data set's.
    FileNotFoundError
        If the folder that was named lacks the files, or they are nowhere and the download fails.
    """
    half = "train" if train else "t10k"
    variable = os.environ.get(VARIABLE) or None
    for folder, what in ((path, "path"), (variable, f"the environment variable {VARIABLE}")):
        if folder is not None:
            files = _files(Path(folder).expanduser(), half)
            if files is None:
                message = f"Expected {half}-images-idx3-ubyte and {half}-labels-idx1-ubyte, plain "
                message += f"or .gz, in the folder that {what} names. Received: {folder}, which "
                message += f"lacks them; {_WAYS}."
                raise FileNotFoundError(message)
            return _read(files)
    files = local_files(train=train)
    if files is None:
        try:
            _download(cache_folder(), announce)
        except (ImportError, OSError, ValueError, EOFError, HTTPException) as error:
            message = "Expected the Fashion-MNIST files. Received: none on this machine, and the "
            message += f"download failed ({error}); {_WAYS}."
            raise FileNotFoundError(message) from error
        files = {name: cache_folder() / f"{name}.gz" for name in _names(half)}
    return _read(files)


def local_files(*, train: bool = True) -> dict[str, Path] | None:
    """The two files of the wanted half where nobody names a folder: Debian's, or the cache's."""
    half = "train" if train else "t10k"
    return _files(DEBIAN, half) or _files(cache_folder(), half)


def cache_folder() -> Path:
    """Where a download is kept: ``twolayer/fashion-mnist`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "twolayer" / "fashion-mnist"


def _names(half: str) -> tuple[str, str]:
    return f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte"


def _files(folder: Path, half: str) -> dict[str, Path] | None:
    """The files of images and labels by their names, or None unless both are there."""
    found = {}
    for name in _names(half):
        files = (folder / f"{name}.gz", folder / name)
        found[name] = next((file for file in files if file.is_file()), None)
    return None if None in found.values() else found


def _read(files: dict[str, Path]) -> Images:
    arrays = []
    for name, file in files.items():
        content = unpack(file)
        arrays.append(parse_idx(content, file))  # before the checksum: it knows what is missing
        _check(name, content, str(file))
    return Images(*arrays)


def _check(name: str, content: bytes, origin: str) -> None:
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != CHECKSUMS[name]:
        message = f"Expected Fashion-MNIST's {name} with the SHA-256 checksum "
        message += f"{CHECKSUMS[name][:12]}... Received: {origin} with the checksum "
        message += f"{checksum[:12]}...: it is corrupt, or another data set's; fetch it again, or "
        message += "give images of your own to image_pair."
        raise ValueError(message)


def _download(folder: Path, announce: Callable[[str], object]) -> None:
    """Write the four files into `folder`, each whole or not at all."""
    from sklearn.datasets import fetch_openml

    folder.mkdir(parents=True, exist_ok=True)
    announce(f"Fashion-MNIST is not on this machine: downloading it from OpenML into {folder}.")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pixels, classes = fetch_openml(
            "Fashion-MNIST", version=1, as_frame=False, return_X_y=True, data_home=scratch
        )
        images = np.asarray(pixels).astype(np.uint8).reshape(-1, 28, 28)
        # One of scikit-learn's parsers keeps the quotes around the names of classes.
        labels = np.char.strip(np.asarray(classes).astype(str), "'").astype(np.uint8)
        contents = {}
        for half, rows in (("train", slice(NUM_TRAIN)), ("t10k", slice(NUM_TRAIN, None))):
            contents |= zip(_names(half), map(as_idx, (images[rows], labels[rows])), strict=True)
        for name, content in contents.items():
            _check(name, content, "OpenML's table")
        for name, content in contents.items():
            draft = Path(scratch) / name
            draft.write_bytes(gzip.compress(content, compresslevel=6))
            draft.replace(folder / f"{name}.gz")
