"""Fourier coefficients of a threshold of a sum of signs: gradients of parities, exactly."""

from __future__ import annotations

from fractions import Fraction
from math import comb, isfinite, sqrt

REFERENCE = "derived here, from the Fourier expansion of a threshold of a sum of signs"


def threshold_coefficient(dim: int, order: int, threshold: float = 0.0) -> Fraction:
    r"""The exact ``E[x_1 ... x_s 1(x_1 + ... + x_d > b)]`` for x uniform on ``{-1, 1}^d``.

    .. math:: \xi_s(b) = 2^{-d} \sum_{t:\ d - 2t > b} \sum_j (-1)^j \binom{s}{j} \binom{d-s}{t-j}

    Derived here: t counts the coordinates that are -1, j those among the first s.

    Parameters
    ----------
    dim
        The dimension d.
    order
        The number s of signs in the product.
    threshold
        The number b.

    Raises
    ------
    ValueError
        If the order is not between 0 and the dimension, or the threshold is not finite.

    Examples
    --------
    >>> threshold_coefficient(3, 1), threshold_coefficient(3, 3)
    (Fraction(1, 4), Fraction(-1, 4))
    """
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (dim, order))
    if not whole or dim < 1 or not 0 <= order <= dim:
        message = "Expected a dimension of at least 1 and an order from 0 to it. "
        message += f"Received: {dim!r} and {order!r}."
        raise ValueError(message)
    if not isfinite(threshold):
        message = f"Expected a finite threshold. Received: {threshold!r}."
        raise ValueError(message)
    total = sum(
        (-1) ** j * comb(order, j) * comb(dim - order, t - j)
        for t in range(dim + 1)
        if dim - 2 * t > threshold
        for j in range(min(order, t) + 1)
    )
    return Fraction(total, 2**dim)


def parity_coefficients(dim: int, degree: int, threshold: float = 0.0) -> tuple[Fraction, Fraction]:
    r"""The exact sizes of the two kinds of gradient entries of a parity, ``xi_{k-1}, xi_{k+1}``.

    For x uniform on the hypercube, ``y = prod_{l in A} x_l`` with ``|A| = k`` and weights
    ``w in {-1, 1}^d`` with ``chi = prod_{l in A} w_l``,

    .. math:: E[y\, x_l\, 1(w \cdot x > b)] =
              \chi\, w_l\, \xi_{k-1}(b)\ (l \in A), \qquad \chi\, w_l\, \xi_{k+1}(b)\ (l \notin A).

    Derived here; at b = 0, with k even and d odd, their ratio is ``-(k - 1) / (d - k)``. For
    k = d there is no entry of the second kind, and it is 0.

    Raises
    ------
    ValueError
        If the degree is not between 1 and the dimension, or the threshold is not finite.

    Examples
    --------
    >>> inside, outside = parity_coefficients(41, 4)
    >>> outside / inside
    Fraction(-3, 37)
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= dim:
        message = f"Expected a degree from 1 to the dimension {dim!r}. Received: {degree!r}."
        raise ValueError(message)
    inside = threshold_coefficient(dim, degree - 1, threshold)
    if degree == dim:
        return inside, Fraction(0)
    return inside, threshold_coefficient(dim, degree + 1, threshold)


def parity_gradient_norm(dim: int, degree: int, threshold: float = 0.0) -> float:
    """The length ``sqrt(k xi_{k-1}^2 + (d - k) xi_{k+1}^2)`` of each such gradient.

    Raises
    ------
    ValueError
        As for `parity_coefficients`.

    Examples
    --------
    >>> round(parity_gradient_norm(51, 2), 4)
    0.0798
    """
    inside, outside = parity_coefficients(dim, degree, threshold)
    return sqrt(degree * inside**2 + (dim - degree) * outside**2)


def parity_cosine(dim: int, degree: int, threshold: float = 0.0) -> float:
    r"""The cosine of each such gradient with its feature ``chi w_A / sqrt(k)``, up to its sign.

    At b = 0, with k even and d odd, it is ``1 / sqrt(1 + (k-1)^2 / (k (d-k)))``.

    Raises
    ------
    ValueError
        As for `parity_coefficients`, or if the gradient is 0.

    Examples
    --------
    >>> round(parity_cosine(41, 2), 4)
    0.9937
    """
    inside, outside = parity_coefficients(dim, degree, threshold)
    square = degree * inside**2 + (dim - degree) * outside**2
    if not square:
        message = "Expected a threshold at which the gradient is not 0: an odd degree needs "
        message += f"another than 0. Received: {threshold!r} at degree {degree}."
        raise ValueError(message)
    return sqrt(degree * inside**2 / square)
