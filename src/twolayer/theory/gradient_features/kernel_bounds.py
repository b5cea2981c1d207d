"""What fixed features cannot do: hinge losses that no kernel method with a bounded norm beats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, xlogy

PUBLISHED = "shi2022theoretical, Theorem 2"
STRONGER = "derived here, by Parseval's identity; stronger than shi2022theoretical, Theorem 2"
_LARGEST = 16  # dimensions of a hypercube that is enumerated


def published_kernel_bound(
    num_features: float, norm: float, block_size: int, background: float
) -> float:
    r"""Some parity of k hidden units has this hinge loss for all ``<w, Psi>`` with ``|w| <= B``.

    .. math:: p_o \Big(1 - \frac{\sqrt{2 N}\, B}{2^k}\Big)

    for N features ``|Psi_i| <= 1`` that don't depend on the data, ``3 < k <= D / 16`` and k odd
    (shi2022theoretical, Theorem 2). Where it is negative it says nothing and 0 is returned.

    Parameters
    ----------
    num_features
        The number N.
    norm
        The bound B of the weights.
    block_size
        The number k of relevant hidden units.
    background
        The probability p_o of the other units.

    Raises
    ------
    ValueError
        If a number is negative, k is not odd or below 4, or the probability is above 1/2.

    Examples
    --------
    >>> published_kernel_bound(50, 1.0, 5, 0.5)
    0.34375
    """
    if block_size % 2 == 0 or block_size <= 3 or not 0 <= background <= 0.5:
        message = "Expected an odd number of more than 3 units and a probability of at most 1/2. "
        message += f"Received: {block_size!r} and {background!r}."
        raise ValueError(message)
    _check_features(num_features, norm)
    return max(0.0, background * (1 - math.sqrt(2 * num_features) * norm / 2**block_size))


def kernel_bound(
    num_features: float,
    norm: float,
    dim: int,
    degree: int,
    *,
    uniform_weight: float = 1.0,
    activity: float = 1.0,
) -> float:
    r"""The mean over all parities of k of D units is at least this hinge loss; so is some parity's.

    .. math:: w_U \Big(1 - B\, E_T \sqrt{N / \tbinom{k + T}{k}} \Big), \qquad
              T \sim \mathrm{Bin}(D - k, \text{activity})

    Derived here from ``(1 - z)_+ >= 1 - z`` and Parseval's identity: of N features
    ``E Psi_i^2 <= 1`` the parities share a total correlation of at most N. On the share ``w_U``
    of inputs the relevant units are uniform and the label is their parity (one block, r = 1);
    the other units are signs with probability `activity`, else 0. Given which units are not 0,
    the inputs are uniform on a smaller cube. Where the bound is negative 0 is returned.

    Parameters
    ----------
    num_features
        N, or ``E |Psi|^2`` on uniform signs.
    norm
        The bound B of the weights.
    dim
        The number D of hidden units.
    degree
        The number k of relevant ones.
    uniform_weight
        The share ``w_U``, 1 for uniform parities.
    activity
        ``2 p_o`` for structured parities; 1 for uniform signs.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> round(kernel_bound(30, 1.0, 10, 3), 12)  # of 120 parities
    0.5
    """
    _check_features(num_features, norm)
    if not 1 <= degree <= dim:
        message = f"Expected between 1 and {dim} relevant units. Received: {degree!r}."
        raise ValueError(message)
    if not 0 <= uniform_weight <= 1 or not 0 <= activity <= 1:
        message = "Expected shares between 0 and 1. "
        message += f"Received: {uniform_weight!r} and {activity!r}."
        raise ValueError(message)
    rest = dim - degree
    t = np.arange(rest + 1)
    log_choose = gammaln(rest + 1) - gammaln(t + 1) - gammaln(rest - t + 1)
    log_weight = log_choose + xlogy(t, activity) + xlogy(rest - t, 1 - activity)
    log_parities = gammaln(degree + t + 1) - gammaln(t + 1) - gammaln(degree + 1)
    mean = float(np.sum(np.exp(log_weight - log_parities / 2)))
    return max(0.0, uniform_weight * (1 - norm * math.sqrt(num_features) * mean))


def average_kernel_bound(
    correlations: Float[np.ndarray, " p"], norm: float, *, uniform_weight: float = 1.0
) -> float:
    r"""The exact mean over parities for a given feature map, and a bound for each of them.

    .. math:: \operatorname*{mean}_A\, w_U (1 - B\, |E \chi_A \Psi|)_+

    is at most the mean over A of the least hinge loss over ``|w| <= B`` (derived here); equal to
    it where the functions ``<w, Psi>`` stay within [-1, 1], so for small B.

    Parameters
    ----------
    correlations
        ``|E chi_A Psi|`` for each A: see `parity_correlations`.
    norm
        The bound B.
    uniform_weight
        The share of inputs that the means are over.

    Raises
    ------
    ValueError
        If a number is negative, or the share above 1.

    Examples
    --------
    >>> average_kernel_bound(np.asarray([0.5, 0.1]), 2.0)
    0.4
    """
    correlations = np.asarray(correlations, np.float64)
    if not correlations.size or not np.all(correlations >= 0) or not norm >= 0:
        message = "Expected correlations and a norm of at least 0. "
        message += f"Received: {correlations.size} correlations, norm {norm!r}."
        raise ValueError(message)
    if not 0 <= uniform_weight <= 1:
        message = f"Expected a share between 0 and 1. Received: {uniform_weight!r}."
        raise ValueError(message)
    return float(uniform_weight * np.mean(np.maximum(1 - norm * correlations, 0.0)))


def parity_correlations(
    features: Callable[[np.ndarray], np.ndarray], dim: int, degree: int
) -> tuple[Int[np.ndarray, "p k"], Float[np.ndarray, " p"]]:
    """``|E chi_A Psi|`` of all parities of k among D uniform signs, exact (derived here).

    By the fast Walsh-Hadamard transform of the features at all ``2^D`` corners: every parity at
    the cost of D passes.

    Parameters
    ----------
    features
        The map Psi: from inputs ``[n, D]`` to ``[n, N]``.
    dim
        The number D, at most 16.
    degree
        The number k.

    Returns
    -------
    :
        The sets A, one a row, counted from 0, and the length of ``E chi_A Psi`` for each.

    Raises
    ------
    ValueError
        If there are too many dimensions to enumerate, or too few for the parities.

    Examples
    --------
    >>> sets, lengths = parity_correlations(lambda x: x[:, :2] * x[:, 1:], 3, 2)
    >>> sets.tolist(), lengths.tolist()
    ([[0, 1], [0, 2], [1, 2]], [1.0, 0.0, 1.0])
    """
    if not 1 <= degree <= dim <= _LARGEST:
        message = f"Expected 1 <= degree <= dimension <= {_LARGEST}: all corners are visited. "
        message += f"Received: degree {degree!r}, dimension {dim!r}."
        raise ValueError(message)
    values = np.asarray(features(corners(dim)), np.float64)
    transform = values.reshape((2,) * dim + (values.shape[1],))
    for axis in range(dim):
        first, second = np.take(transform, 0, axis), np.take(transform, 1, axis)
        transform = np.stack([first + second, first - second], axis)
    sets = np.asarray(list(itertools.combinations(range(dim), degree)))
    index = np.zeros((len(sets), dim), int)
    np.put_along_axis(index, sets, 1, axis=1)
    return sets, np.linalg.norm(transform[tuple(index.T)], axis=1) / 2**dim


def corners(dim: int) -> Float[np.ndarray, "n d"]:
    """All ``2^dim`` vectors of signs, one a row, the last sign changing fastest.

    Examples
    --------
    >>> corners(2).tolist()
    [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    """
    bits = np.arange(2**dim)[:, None] >> np.arange(dim)[::-1] & 1
    return 1.0 - 2.0 * bits


def parity_eigenvalue(kernel: Callable[[np.ndarray], np.ndarray], dim: int, degree: int) -> float:
    r"""The eigenvalue of a kernel ``K(x, z) = kappa(<x, z>)`` at the parities of k among D signs.

    .. math:: \lambda_k = E\,[\chi_A(x)\, \kappa(x_1 + \dots + x_D)]
              = 2^{-D} \sum_t \kappa(D - 2t) \sum_j (-1)^j \tbinom kj \tbinom{D - k}{t - j}

    By symmetry the same for every A, and ``|E chi_A Psi| = sqrt(lambda_k)`` for any features Psi
    of the kernel: functions of norm at most B have a hinge loss of at least
    ``1 - B sqrt(lambda_k)`` on *each* parity, and ``B sqrt(lambda_k) chi_A`` attains it where
    ``B sqrt(lambda_k) <= 1`` (derived here).

    Parameters
    ----------
    kernel
        The function kappa of an array of inner products.
    dim
        The number D.
    degree
        The number k, from 0 on.

    Raises
    ------
    ValueError
        If the degree exceeds the dimension.

    Examples
    --------
    >>> parity_eigenvalue(lambda s: s, 5, 1), parity_eigenvalue(lambda s: s, 5, 2)
    (1.0, 0.0)
    """
    if not 0 <= degree <= dim:
        message = f"Expected a degree between 0 and {dim}. Received: {degree!r}."
        raise ValueError(message)
    kappa = np.asarray(kernel(dim - 2.0 * np.arange(dim + 1)), np.float64)
    counts = [
        sum(
            (-1) ** j * math.comb(degree, j) * math.comb(dim - degree, t - j)
            for j in range(max(0, t - dim + degree), min(degree, t) + 1)
        )
        for t in range(dim + 1)
    ]
    return math.fsum(float(k) * (count / 2**dim) for k, count in zip(kappa, counts, strict=True))


def statistical_queries(dim: int, degree: int) -> float:
    """What statistical-query algorithms need on uniform inputs: queries, or one over the tolerance.

    At least ``C(D, k)^(1/3) / 2`` of either for an error below ``1/2 - C(D, k)^-3``, with the
    structure of the inputs removed (shi2022theoretical, Theorem 3).

    Raises
    ------
    ValueError
        If the degree is not between 1 and the dimension.

    Examples
    --------
    >>> round(statistical_queries(100, 5), 1)
    211.1
    """
    if not 1 <= degree <= dim:
        message = f"Expected a degree between 1 and {dim}. Received: {degree!r}."
        raise ValueError(message)
    return math.comb(dim, degree) ** (1 / 3) / 2


def _check_features(num_features: float, norm: float) -> None:
    if not num_features > 0 or not norm >= 0:
        message = "Expected features and a norm of at least 0. "
        message += f"Received: {num_features!r} and {norm!r}."
        raise ValueError(message)
