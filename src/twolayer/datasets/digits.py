"""The handwritten digits that come with scikit-learn: small images that are always at hand."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def digits() -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    """1,797 images of 8 x 8 pixels from 0 to 16, and the digit that each shows.

    Examples
    --------
    >>> images, labels = digits()
    >>> images.shape, int(labels[0])
    ((1797, 8, 8), 0)
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels, np.float64).reshape(-1, 8, 8), np.asarray(labels)
