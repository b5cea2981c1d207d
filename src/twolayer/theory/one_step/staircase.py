r"""One gradient step of size k^s: how many powers of the learnt projection are fitted freely."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from twolayer.activations import Activation
from twolayer.outcomes import Assumption
from twolayer.theory.one_step.coefficients import UnitRows, coefficients, hermite_means
from twolayer.theory.one_step.errors import ErrorCurves, grid_of, number
from twolayer.theory.one_step.random_features import (
    activation_assumptions,
    added,
    isotropic_assumptions,
    isotropic_errors,
    solve_bulk,
)
from twolayer.theory.one_step.small_learning_rate import spike_of

_MOST_POWERS = 30  # further monomials are dependent to rounding


def staircase_limit(
    activation: str | Activation | UnitRows,
    link: str | Activation,
    *,
    exponent: float,
    step_ratio: float,
    width_ratio: ArrayLike,
    sample_ratio: ArrayLike,
    scaled_ridge: ArrayLike,
    noise_std: float = 0.0,
) -> ErrorCurves:
    r"""Errors of ridge regression on the features after a step with learning rate ``k^exponent``.

    The regime of moniri2024theory: with ``(l - 1) / (2 l) < exponent < l / (2 l + 2)`` the
    features have l diverging spikes ``c_p kappa^p``, p = 1, ..., l, with ``kappa = v . x`` the
    projection on the gradient's direction v and ``c_p`` proportional to ``E s He_p``. In the limit
    these powers, and the constant where the activation has a mean, are fitted at no cost. With
    ``zeta = v . xi`` and P the projection on their span, the errors are those of
    `random_features_ridge` with

    .. math:: t_1^2 \to t_1^2 (1 - \zeta^2), \qquad
              \rho \to E y^2 - \|P y\|^2, \qquad
              E[y\, He_q(\kappa)] = \zeta^q E[link(z) He_q(z)],
    .. math:: t_0 \to E[y\, (1 - P) 1], \qquad B / (1 + B) \to B / (1 + B \|(1 - P) 1\|^2).

    Derived here; the step is that of `small_learning_rate`. A power whose coefficient ``E s He_p``
    is 0 is not in the span. The limit is approached slowly: the p-th spike is of size
    ``k^{p exponent - (p - 1) / 2}``.

    Parameters
    ----------
    activation
        The activation s, with a slope ``E z s(z)``; `UnitRows` of it for rows of length 1, the
        setting of moniri2024theory.
    link
        The teacher's function of one variable.
    exponent
        Growth of the learning rate, inside (0, 1/2) and off the thresholds ``(l - 1) / (2 l)``.
    step_ratio
        ``m0 / d``, samples of the gradient step.
    width_ratio, sample_ratio
        ``k / d`` and ``m / d``; one of them may be a list, which becomes the grid.
    scaled_ridge
        ``ridge * k``: a number, or one for each point.
    noise_std
        Standard deviation of the label noise, in both sets of samples.

    Raises
    ------
    ValueError
        If the exponent is outside (0, 1/2) or at a threshold, or the activation has no slope.

    Examples
    --------
    >>> curves = staircase_limit(
    ...     "tanh", "x + x^3", exponent=0.1, step_ratio=10.0, width_ratio=1.0,
    ...     sample_ratio=[2.0, 4.0], scaled_ridge=1.0,
    ... )  # fmt: skip
    >>> bool(curves.test.value[1] < curves.test.value[0])
    True
    """
    grid = grid_of(width_ratio=width_ratio, sample_ratio=sample_ratio)
    level, margin = staircase_level(exponent)
    features, teacher = coefficients(activation), coefficients(link)
    noise = number("noise_std", noise_std, at_least=0.0)
    if features.slope == 0.0:
        message = (
            "Expected an activation with a slope E z s(z), without which the gradient has no "
            f"spike. Received: {activation!r}."
        )
        raise ValueError(message)
    _, zeta = spike_of(features, teacher, 1.0, (step_ratio, noise))
    hermites = hermite_means(activation, level)
    powers = [p for p in range(level + 1) if hermites[p]]
    fitted, constant = projection(link, powers, zeta)
    bulk = solve_bulk(features, grid, scaled_ridge)
    rest = teacher.slope**2 * (1 - zeta**2)
    return isotropic_errors(
        grid,
        bulk,
        max(teacher.second_moment - fitted, 0.0) + noise**2,
        added((rest * bulk.gain, rest * bulk.gain_change), bulk.constant(*constant)),
        assumptions=(
            *isotropic_assumptions(bulk),
            *activation_assumptions(activation, bulk),
            *_assumptions(exponent, level, margin, hermites),
        ),
        reference="derived here, in the regime of moniri2024theory",
    )


def staircase_level(exponent: float) -> tuple[int, float]:
    """The level l with ``(l - 1) / (2 l) < exponent < l / (2 l + 2)``, and the nearer distance.

    Raises
    ------
    ValueError
        If the exponent is outside (0, 1/2), at a threshold, or belongs to a level above 30.

    Examples
    --------
    >>> [staircase_level(s)[0] for s in (0.2, 0.3, 0.35)]
    [1, 2, 3]
    """
    s = number("exponent", exponent)
    # (l - 1) / (2 l) < s  <=>  l < 1 / (1 - 2 s)
    level = max(math.ceil(1 / (1 - 2 * s) - 1e-9) - 1, 1) if 0 < s < 1 / 2 else 0
    margin = min(s - (level - 1) / (2 * level), level / (2 * level + 2) - s) if level else 0.0
    if not 1 <= level <= _MOST_POWERS or margin < 1e-9:
        message = (
            f"Expected an exponent inside (0, {_MOST_POWERS / (2 * _MOST_POWERS + 2):.4g}) and off "
            f"the thresholds 1/4, 1/3, 3/8, ... (l - 1) / (2 l). Received: {exponent!r}."
        )
        raise ValueError(message)
    return level, margin


def projection(
    link: str | Activation, powers: list[int], zeta: float
) -> tuple[float, tuple[float, float]]:
    r"""``|P y|^2`` and the rest of the constant, ``E[y (1 - P) 1]`` and ``|(1 - P) 1|^2``.

    P projects on the span of ``kappa^p``, ``y = link(z)``, and zeta is the correlation of kappa
    and z. In the basis of normalised Hermite polynomials of kappa, by a QR factorisation in
    place of the Gram system.

    Examples
    --------
    >>> round(projection("x^2", [0, 2], 0.5)[0], 12)  # 1 + 2 zeta^4
    1.125
    >>> fitted, (product, left) = projection("x^2", [2], 0.0)  # (E kappa^2)^2 / E kappa^4
    >>> np.round([fitted, product, left], 6)
    array([0.333333, 0.666667, 0.666667])
    """
    degree = max(powers, default=0)
    roots = np.sqrt([float(math.factorial(j)) for j in range(degree + 1)])
    y = hermite_means(link, degree) / roots * zeta ** np.arange(degree + 1)
    basis = np.zeros((degree + 1, len(powers)))
    for column, power in enumerate(powers):
        basis[:, column] = _power_in_hermite(power, degree) * roots
    columns, _ = np.linalg.qr(basis / np.linalg.norm(basis, axis=0))
    along, one = columns.T @ y, columns[0]
    return float(along @ along), (float(y[0] - along @ one), max(1.0 - float(one @ one), 0.0))


def _power_in_hermite(power: int, degree: int) -> np.ndarray:
    """Coefficients of ``x^power`` on ``He_0, ..., He_degree``: p! / (2^j j! (p - 2j)!)."""
    row = np.zeros(degree + 1)
    for j in range(power // 2 + 1):
        ways = 2**j * math.factorial(j) * math.factorial(power - 2 * j)
        row[power - 2 * j] = math.factorial(power) / ways
    return row


def _assumptions(
    exponent: float, level: int, margin: float, hermites: np.ndarray
) -> tuple[Assumption, ...]:
    sizes = [p * exponent - (p - 1) / 2 for p in (level, level + 1)]
    absent = [str(p) for p in range(1, level + 1) if hermites[p] == 0]
    return (
        Assumption(
            "learning rate k^s off the thresholds (l - 1) / (2 l)",
            True,
            margin,
            f"margin: distance of s to the nearer one. Level {level}: the last free spike is of "
            f"size k^{sizes[0]:.3g}, the first of those left out k^{sizes[1]:.3g}",
        ),
        Assumption(
            "all Hermite coefficients up to the level",
            not absent,
            float(np.min(np.abs(hermites[1:]))),
            detail=f"powers {', '.join(absent)} of the projection are not learnt: E s He_p = 0"
            if absent
            else "margin: the least |E s He_p|; the p-th spike is in proportion to it",
        ),
    )
