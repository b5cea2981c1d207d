"""The kernel of Algorithm 1's second phase, where training is linear and solved exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float

from twolayer.numerics.hermite import multi_indices
from twolayer.targets import Polynomial
from twolayer.theory.learnability.chain import essential_basis

_ABSENT = 1e-12  # a direction of the weights below this share of the largest counts as absent
_WEIGHT_ERROR = 1e-10


@dataclass(frozen=True)
class ReadoutKernel:
    """``K = E phi(u) phi(u)^T`` by its eigen-decomposition, and the target in its eigenbasis.

    Attributes
    ----------
    eigenvalues
        Increasing.
    smallest
        The least of them on the polynomials that depend on the target's essential directions
        only, to a relative accuracy that the decomposition doesn't have; 0 where the first-layer
        weights miss one of these directions.
    smallest_error
        Its relative error for weights that are accurate to 1e-10.
    target
        Coefficients of h* in the eigenbasis.
    """

    eigenvalues: Float[np.ndarray, " k"]
    smallest: float
    smallest_error: float
    target: Float[np.ndarray, " k"]

    def loss(self, times: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """``1/2 |exp(-K t) g|^2``, the loss a time t after the readout started from 0."""
        decay = np.exp(-2 * np.multiply.outer(np.asarray(times, float), self.eigenvalues))
        return decay @ self.target**2 / 2


def readout_kernel(
    target: Polynomial,
    w: Float[np.ndarray, "q p"],
    weight: Float[np.ndarray, " q"],
    num_populations: int,
) -> ReadoutKernel:
    """The kernel for ``u`` the mean of independent draws from the weighted points `w`.

    chen2024subspace, equation 4.2; its features in closed form are derived here.
    """
    u, share = population_means(w, weight, num_populations)
    indices = multi_indices(w.shape[1], target.degree)
    features = readout_features(u, indices) * np.sqrt(share)[:, None]
    _, singular, vectors = np.linalg.svd(features, full_matrices=False)
    rest = len(indices) - len(singular)
    if rest:
        message = (
            f"Expected at least {len(indices)} means of weights for the features. Received: "
            f"{len(singular)}. Take more nodes or more populations."
        )
        raise ValueError(message)
    coefficients = _hermite_coefficients(target, indices)
    return ReadoutKernel(
        singular[::-1] ** 2,
        *smallest_eigenvalue(
            w, weight, num_populations, target.degree, len(essential_basis(target.exact.symbol()))
        ),
        (vectors @ coefficients)[::-1],
    )


def population_means(
    w: Float[np.ndarray, "q p"], weight: Float[np.ndarray, " q"], num_populations: int
) -> tuple[Float[np.ndarray, "r p"], Float[np.ndarray, " r"]]:
    """All means of `num_populations` points and their probabilities, order disregarded.

    Examples
    --------
    >>> means, share = population_means(np.array([[0.0], [1.0]]), np.array([0.5, 0.5]), 2)
    >>> means[:, 0], share
    (array([0. , 0.5, 1. ]), array([0.25, 0.5 , 0.25]))
    """
    chosen = np.asarray(list(combinations_with_replacement(range(len(w)), num_populations)))
    repeats = np.ones(len(chosen))
    run = np.ones(len(chosen))
    for k in range(1, num_populations):
        run = np.where(chosen[:, k] == chosen[:, k - 1], run + 1, 1.0)
        repeats *= run
    share = math.factorial(num_populations) / repeats * np.prod(weight[chosen], axis=1)
    return np.mean(w[chosen], axis=1), share


def readout_features(
    u: Float[np.ndarray, "r p"], indices: tuple[tuple[int, ...], ...]
) -> Float[np.ndarray, "r k"]:
    r"""``phi_alpha(u) = E (1 + u.z)^n h_alpha(z)``, exactly (derived here).

    .. math:: \phi_\alpha(u) = \sum_j \binom{n}{D+2j} \frac{(D+2j)!}{2^j j!}
              |u|^{2j} u^\alpha / \sqrt{\alpha!}, \qquad D = |\alpha|

    Examples
    --------
    >>> readout_features(np.array([[2.0]]), ((0,), (1,), (2,))) ** 2
    array([[25., 16., 32.]])
    """
    return _monomials(u, indices) @ _from_monomials(u.shape[1], indices).T


def smallest_eigenvalue(
    w: Float[np.ndarray, "q p"],
    weight: Float[np.ndarray, " q"],
    num_populations: int,
    degree: int,
    essential_dim: int,
) -> tuple[float, float]:
    """The least eigenvalue of the kernel, accurate however small it is, and its relative error.

    The features are monomials of the weights times a constant matrix X. In the principal axes
    of the weights the monomials are a well-conditioned matrix times a diagonal D that spans many
    orders of magnitude, so QR after dividing by D and ``1 / |X^-T D^-1 R^-1|^2`` lose nothing
    (derived here); a singular value decomposition keeps only what exceeds 1e-16 of the largest.
    """
    _, spread, axes = np.linalg.svd(w * np.sqrt(weight)[:, None], full_matrices=False)
    if essential_dim == 0:
        return 1.0, 0.0  # degree 0: the only feature is the constant 1
    if len(spread) < essential_dim or spread[essential_dim - 1] <= _ABSENT * spread[0]:
        return 0.0, 0.0
    # the weights have no component off the essential subspace
    u, share = population_means(w @ axes[:essential_dim].T, weight, num_populations)
    indices = multi_indices(essential_dim, degree)
    monomials = _monomials(u, indices) * np.sqrt(share)[:, None]
    scale = np.linalg.norm(monomials, axis=0)
    triangle = np.linalg.qr(monomials / scale, mode="r")
    error = _WEIGHT_ERROR * float(np.linalg.cond(triangle))
    inverse = np.linalg.inv(triangle) / scale[:, None]
    whole = np.linalg.solve(_from_monomials(essential_dim, indices).T, inverse)
    return float(1 / np.linalg.norm(whole, 2) ** 2), error


def _monomials(u: np.ndarray, indices: tuple[tuple[int, ...], ...]) -> np.ndarray:
    return np.prod(u[:, None, :] ** np.asarray(indices)[None], axis=2)


def _from_monomials(dim: int, indices: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """The matrix X with ``phi_alpha = sum_beta X_(alpha beta) u^beta``."""
    position = {alpha: k for k, alpha in enumerate(indices)}
    degree = max(map(sum, indices))
    matrix = np.zeros((len(indices), len(indices)))
    for row, alpha in enumerate(indices):
        D = sum(alpha)
        root = math.sqrt(math.prod(map(math.factorial, alpha)))
        for half in multi_indices(dim, (degree - D) // 2):
            j = sum(half)
            # |u|^(2j) = sum over |half| = j of j! / half! u^(2 half)
            ways = math.factorial(j) // math.prod(map(math.factorial, half))
            moment = math.factorial(D + 2 * j) / (2**j * math.factorial(j))
            beta = tuple(a + 2 * b for a, b in zip(alpha, half, strict=True))
            matrix[row, position[beta]] += math.comb(degree, D + 2 * j) * moment * ways / root
    return matrix


def _hermite_coefficients(
    target: Polynomial, indices: tuple[tuple[int, ...], ...]
) -> Float[np.ndarray, " k"]:
    known = dict(zip(target.symbol_exponents, target.symbol_coefficients, strict=True))
    return np.asarray([
        float(known.get(alpha, 0.0)) * math.sqrt(math.prod(map(math.factorial, alpha)))
        for alpha in indices
    ])
