"""Means of sampled quantities, always together with their standard errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class MeanAndError(NamedTuple):
    """A sample mean with the standard error of that mean."""

    mean: Float[np.ndarray, "*t"]
    error: Float[np.ndarray, "*t"]


def mean_and_error(samples: Float[np.ndarray, "n *t"]) -> MeanAndError:
    """Mean over the first axis and its standard error ``std / sqrt(n)`` (infinite for n = 1).

    Examples
    --------
    >>> mean_and_error(np.array([1.0, 3.0]))
    MeanAndError(mean=np.float64(2.0), error=np.float64(1.0))
    """
    samples = np.asarray(samples, dtype=np.float64)
    n = samples.shape[0]
    mean = samples.mean(axis=0)
    if n < 2:
        return MeanAndError(mean, np.full_like(mean, np.inf))
    return MeanAndError(mean, samples.std(axis=0, ddof=1) / np.sqrt(n))
