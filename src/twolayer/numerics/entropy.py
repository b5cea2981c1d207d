"""Differential entropy from samples: nearest neighbours, kernel densities, Gaussian mixtures."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import special
from scipy.spatial import KDTree

from twolayer.numerics.montecarlo import MeanAndError, mean_and_error

_PAIRS = 2**22  # of points and centres, held in memory at a time


def nearest_neighbour_entropy(
    samples: Float[np.ndarray, "N d"], num_neighbours: int = 1
) -> MeanAndError:
    """The entropy ``-E log p``: the mean of `nearest_neighbour_surprisals`.

    The error is that of the mean as if they were independent.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> estimate = nearest_neighbour_entropy(rng.uniform(0, 2, (4000, 1)))
    >>> bool(abs(estimate.mean - np.log(2)) < 3 * estimate.error)
    True
    """
    return mean_and_error(nearest_neighbour_surprisals(samples, num_neighbours))


def kernel_density_entropy(samples: Float[np.ndarray, "N d"]) -> MeanAndError:
    """The entropy ``-E log p``: the mean of `kernel_density_surprisals`.

    The error is that of the mean as if they were independent.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> estimate = kernel_density_entropy(3 * rng.standard_normal((4000, 1)))
    >>> bool(abs(estimate.mean - np.log(3) - np.log(2 * np.pi * np.e) / 2) < 0.05)
    True
    """
    return mean_and_error(kernel_density_surprisals(samples))


def nearest_neighbour_surprisals(
    samples: Float[np.ndarray, "N d"], num_neighbours: int = 1
) -> Float[np.ndarray, " N"]:
    r"""``-log p`` at each sample from the distance to its k-th nearest neighbour.

    .. math::
        \psi(N) - \psi(k) + \log \frac{\pi^{d/2}}{\Gamma(1 + d/2)} + d \log \varepsilon_i

    with ``epsilon_i`` that distance (kozachenko1987sample for k = 1, kraskov2004estimating). Each
    is noisy, by a standard deviation of ``sqrt(psi'(k))``; their mean estimates the entropy.

    For N = 3000 standard normal samples in d = 1, 2, 5, 10, 20 we measured a bias of the mean of
    .00, .00, -.06, -.03, .66 with one neighbour and of -.01, -.01, -.08, .05, 1.05 with five
    (+- .01), where its standard error is .03 to .05: distances in many dimensions hardly resolve
    a density, and beyond d = 5 the estimate should not be trusted.

    Parameters
    ----------
    samples
        One a row, no more than k alike.
    num_neighbours
        The ``k``: more reduce the variance and increase the bias.

    Raises
    ------
    ValueError
        If there are at most k samples, more than k coincide, or one is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> surprisals = nearest_neighbour_surprisals(rng.uniform(0, 2, (4000, 1)))
    >>> bool(abs(surprisals.mean() - np.log(2)) < 0.06)
    True
    """
    samples = _checked(samples, num_neighbours)
    n, d = samples.shape
    distance, _ = KDTree(samples).query(samples, k=num_neighbours + 1)
    if np.min(distance[:, -1]) == 0:
        message = "Expected samples that differ from one another. Received: some that coincide."
        raise ValueError(message)
    log_ball = d / 2 * math.log(math.pi) - special.gammaln(1 + d / 2)
    constant = special.digamma(n) - special.digamma(num_neighbours) + log_ball
    return constant + d * np.log(distance[:, -1])


def kernel_density_surprisals(samples: Float[np.ndarray, "N d"]) -> Float[np.ndarray, " N"]:
    r"""``-log p`` at each sample by a Gaussian kernel estimate that leaves out the sample itself.

    .. math::
        -\log \frac{1}{N - 1} \sum_{j \neq i}
            N(\theta_i;\, \theta_j,\, h^2 \hat\Sigma), \qquad h = N^{-1/(d + 4)}

    with the bandwidth of scott1992multivariate. Smoothing biases the mean upwards: for N = 3000
    standard normal samples in d = 1, 2, 5, 10, 20 we measured .00, .01, .10, .49, 1.81 (+- .01).

    Raises
    ------
    ValueError
        If the samples don't span the space, or one is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> surprisals = kernel_density_surprisals(3 * rng.standard_normal((4000, 1)))
    >>> bool(abs(surprisals.mean() - np.log(3) - np.log(2 * np.pi * np.e) / 2) < 0.05)
    True
    """
    samples = _checked(samples, 1)
    n, d = samples.shape
    centred = samples - samples.mean(axis=0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    if n <= d or singular[-1] <= singular[0] * n * np.finfo(float).eps:
        message = f"Expected samples that span {d} dimensions. Received: {n} that don't."
        raise ValueError(message)
    scale = singular / math.sqrt(n - 1)
    white = centred @ right.T / scale
    width = n ** (-1 / (d + 4))
    log_density = _log_mean_kernel(white, white, np.full(d, width), leave_out=True)
    return np.sum(np.log(scale)) - log_density


def mixture_log_density(
    points: Float[np.ndarray, "m d"],
    centres: Float[np.ndarray, "N d"],
    deviations: Float[np.ndarray, " d"],
) -> Float[np.ndarray, " m"]:
    """The log-density of ``(1 / N) sum_j N(centre_j, diag(deviations^2))``, streamed.

    Examples
    --------
    >>> mixture_log_density(np.zeros((1, 2)), np.zeros((3, 2)), np.array([1.0, 0.5]))
    array([-1.14472989])
    """
    return _log_mean_kernel(np.asarray(points), np.asarray(centres), np.asarray(deviations))


def _log_mean_kernel(
    points: np.ndarray, centres: np.ndarray, deviations: np.ndarray, *, leave_out: bool = False
) -> Float[np.ndarray, " m"]:
    """Log of the mean Gaussian kernel; without the point's own centre where they are the same."""
    origin = centres.mean(axis=0)  # distances cancel less about it
    points, centres = ((part - origin) / deviations for part in (points, centres))
    squares = np.sum(centres**2, axis=1)
    values = np.empty(len(points))
    chunk = max(1, _PAIRS // len(centres))
    for start in range(0, len(points), chunk):
        part = points[start : start + chunk]
        exponent = part @ centres.T - squares / 2
        if leave_out:
            rows = np.arange(len(part))
            exponent[rows, start + rows] = -np.inf
        values[start : start + chunk] = special.logsumexp(exponent, axis=1)
    count = len(centres) - leave_out
    log_norm = np.sum(np.log(deviations)) + points.shape[1] / 2 * math.log(2 * math.pi)
    return values - np.sum(points**2, axis=1) / 2 - math.log(count) - log_norm


def _checked(samples: np.ndarray, num_neighbours: int) -> np.ndarray:
    samples = np.asarray(samples, dtype=np.float64)
    if isinstance(num_neighbours, bool) or num_neighbours < 1:
        message = f"Expected at least one neighbour. Received: {num_neighbours!r}."
        raise ValueError(message)
    if samples.ndim != 2 or samples.shape[0] <= num_neighbours or samples.shape[1] == 0:
        message = f"Expected a table of more than {num_neighbours} samples. "
        message += f"Received: shape {samples.shape}."
        raise ValueError(message)
    if not np.all(np.isfinite(samples)):
        message = "Expected finite samples. Received: NaN or infinity among them."
        raise ValueError(message)
    return samples
