"""Probabilities of features that follow from a formula, without draws."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

_RADII = 400
_ANGLES = 4096


def exclusive_hit_probability(
    threshold: float, std: float, norm: float, num_components: int
) -> tuple[float, float]:
    r"""Bracket of the probability that a gradient points to one mean of a Gaussian mixture alone.

    .. math:: p \approx \tfrac12\, Q\Big(\frac{\beta + c \sigma}{\mu}\Big)
              \Phi\Big(\frac{\beta - c \sigma}{\mu}\Big)^{r - 1}, \qquad c \in [0, \tfrac12]

    The threshold cuts off one of r clusters with orthogonal means: ``w.mu_j`` is above it and all
    others are below. Derived here, for widths well below the distance of the means; how far above
    the threshold a cluster must be is what the bracket leaves open.

    Parameters
    ----------
    threshold
        ``beta = b / (sigma_w sqrt(d))``, b the size of the thresholds.
    std
        The components' standard deviation.
    norm
        ``|mu| / sqrt(d)``.
    num_components
        The number r.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> [round(p, 4) for p in exclusive_hit_probability(1.4, 0.3, 1.0, 6)]
    [0.0173, 0.0265]
    """
    if not (threshold > 0 and std > 0 and norm > 0 and num_components >= 1):
        message = "Expected positive numbers. "
        message += f"Received: {threshold!r}, {std!r}, {norm!r}, {num_components!r}."
        raise ValueError(message)

    def at(c: float) -> float:
        above = float(ndtr(-(threshold + c * std) / norm))
        return above * float(ndtr((threshold - c * std) / norm)) ** (num_components - 1) / 2

    return at(0.5), at(0.0)


def planar_hit_probability(gamma: float) -> float:
    r"""``arccos(1 - gamma) / pi``: a feature of a plane in which gradients point anywhere.

    For either sign of the threshold, both equally likely. Derived here; it holds at ``B_G = 0`` for
    laws whose gradients fill a plane evenly, such as ``y = sign(z_1 z_2)`` of a standard normal
    input in many dimensions, at ``b = 0``.

    Raises
    ------
    ValueError
        If gamma is not inside (0, 1).

    Examples
    --------
    >>> round(planar_hit_probability(0.05), 4)
    0.1011
    """
    if not 0 < gamma < 1:
        message = f"Expected gamma inside (0, 1). Received: {gamma!r}."
        raise ValueError(message)
    return math.acos(1 - gamma) / math.pi


def xor_hit_probability(
    dim: int, norm: float, std: float, *, gamma: float, least_norm: float = 0.0
) -> float:
    r"""The probability of the feature ``mu_1`` of an XOR mixture at ``b = 0``, for either sign.

    .. math:: G = \tfrac14 [\mu_1 (2 \Phi(t_1) - 1) - \mu_2 (2 \Phi(t_2) - 1)] +
              \tfrac{\sigma}{2} \hat w [\phi(t_1) - \phi(t_2)], \qquad t_i = \hat w \cdot \mu_i /
              \sigma

    depends on w only through two coordinates of a point on the sphere: a rule over their polar
    coordinates, to about 1e-3 of the probability. Derived here; means orthogonal and equally long.

    Parameters
    ----------
    dim
        The dimension, at least 3.
    norm, std
        ``|mu|`` and sigma.
    gamma, least_norm
        The cone, and the ``B_G``.

    Raises
    ------
    ValueError
        If the dimension is below 3, gamma is not inside (0, 1), or a length is out of its range.

    Examples
    --------
    >>> round(xor_hit_probability(100, 3.0, 1.0, gamma=0.05, least_norm=0.1), 3)
    0.082
    """
    if dim < 3 or not (0 < gamma < 1 and norm > 0 and std > 0 and least_norm >= 0):
        message = "Expected at least 3 dimensions, positive norm and standard deviation, gamma "
        message += f"inside (0, 1) and a least norm from 0 on. Received: {dim!r}, {norm!r}, "
        message += f"{std!r}, {gamma!r} and {least_norm!r}."
        raise ValueError(message)
    # The square of the two coordinates' radius has the law Beta(1, (d - 2) / 2).
    level = (np.arange(_RADII) + 0.5) / _RADII
    radius = np.sqrt(1 - (1 - level) ** (2 / (dim - 2)))[:, None]
    angle = 2 * np.pi * (np.arange(_ANGLES) + 0.5) / _ANGLES
    first, second = radius * np.cos(angle), radius * np.sin(angle)
    t, u = first * norm / std, second * norm / std
    tilt = std / 2 * (np.exp(-(t**2) / 2) - np.exp(-(u**2) / 2)) / math.sqrt(2 * math.pi)
    along = norm / 4 * (2 * ndtr(t) - 1) + tilt * first
    across = -norm / 4 * (2 * ndtr(u) - 1) + tilt * second
    length = np.sqrt(along**2 + across**2 + tilt**2 * (1 - radius**2))
    hit = (np.abs(along) > (1 - gamma) * length) & (length >= least_norm)
    return float(np.mean(hit)) / 2
