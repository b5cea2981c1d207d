"""The IDX format of the MNIST family: a magic number, the sizes, then one byte a value."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

_NUM_AXES = {2051: 3, 2049: 1}  # magic numbers of images and of labels, stored big-endian
_MAGIC = {num_axes: magic for magic, num_axes in _NUM_AXES.items()}


def read_idx(path: str | Path) -> UInt8[np.ndarray, "*n"]:
    """The images or labels of one IDX file, plain or compressed by gzip.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    numpy.ndarray
        Shape ``[n, height, width]`` for images, ``[n]`` for labels; it cannot be written to.

    Raises
    ------
    ValueError
        If the file is damaged, truncated or no IDX file of images or labels.
    """
    return parse_idx(unpack(path), path)


def unpack(path: str | Path) -> bytes:
    """The content of a file, without the compression where there is one.

    Raises
    ------
    ValueError
        If the compressed file is damaged.
    """
    content = Path(path).read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        message = f"Expected a whole gzip file. Received: {path}, which is damaged ({error}); "
        message += "fetch it again."
        raise ValueError(message) from error


def parse_idx(content: bytes, path: str | Path) -> UInt8[np.ndarray, "*n"]:
    """The array in the bytes of an IDX file; `path` is for messages.

    Examples
    --------
    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), "labels").tolist()
    [7, 9]

    Raises
    ------
    ValueError
        If the magic number is wrong, or the size is not what the header says.
    """
    magic = int.from_bytes(content[:4], "big")
    if len(content) < 4 or magic not in _NUM_AXES:
        found = f"magic number {magic}" if len(content) >= 4 else f"{len(content)} bytes"
        message = "Expected an IDX file of images (magic number 2051) or labels (2049). "
        message += f"Received: {path} with {found}."
        raise ValueError(message)
    start = 4 * (1 + _NUM_AXES[magic])
    if len(content) < start:
        message = f"Expected a header of {start} bytes in {path}. "
        message += f"Received: {len(content)} bytes in all; it is truncated: fetch it again."
        raise ValueError(message)
    shape = struct.unpack(f">{_NUM_AXES[magic]}I", content[4:start])
    size = start + math.prod(shape)
    if len(content) != size:
        sizes = " x ".join(map(str, shape))
        message = f"Expected {size} bytes in {path}, whose header announces {sizes} values. "
        message += f"Received: {len(content)} bytes; fetch it again."
        raise ValueError(message)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def as_idx(values: UInt8[np.ndarray, "*n"]) -> bytes:
    """The bytes of the IDX file that holds `values`: images with three axes, labels with one.

    Examples
    --------
    >>> parse_idx(as_idx(np.array([7, 9], np.uint8)), "labels").tolist()
    [7, 9]
    """
    header = struct.pack(f">{1 + values.ndim}I", _MAGIC[values.ndim], *values.shape)
    return header + values.tobytes()
