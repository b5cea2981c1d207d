r"""One gradient step of size Theta(1): one spike in the first layer, and what it is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from twolayer.activations import Activation
from twolayer.outcomes import Assumption
from twolayer.theory.one_step.coefficients import Coefficients, UnitRows, bare, coefficients
from twolayer.theory.one_step.errors import ErrorCurves, grid_of, number
from twolayer.theory.one_step.random_features import (
    Bulk,
    activation_assumptions,
    added,
    isotropic_assumptions,
    isotropic_errors,
    residual_power,
    solve_bulk,
)


@dataclass(frozen=True)
class FirstLayerSpike:
    r"""The rank-one change of the first layer, ``W1 = W0 + size a v^T`` with unit a and v.

    Attributes
    ----------
    size
        ``r``.
    direction_alignment
        ``zeta^2 = (v . xi)^2``, of the gradient's direction with the teacher.
    threshold
        ``(k / d)^(1/4)``: only above it does the spike leave the bulk.
    singular_value
        The largest singular value of W1.
    alignment_squared
        ``(u_1 . xi)^2`` of the singular vector u_1 in input space with the teacher; 0 below the
        threshold.
    """

    size: float
    direction_alignment: float
    threshold: float
    singular_value: float
    alignment_squared: float


def small_learning_rate(
    activation: str | Activation | UnitRows,
    link: str | Activation,
    *,
    learning_rate: float,
    step_ratio: float,
    width_ratio: ArrayLike,
    sample_ratio: ArrayLike,
    scaled_ridge: ArrayLike,
    noise_std: float = 0.0,
) -> ErrorCurves:
    r"""Errors of ridge regression on the features after one step with a learning rate Theta(1).

    The setting of ba2022high: ``f(x) = a . s(W x) / sqrt(k)``, ``W0 ~ N(0, 1/d)``,
    ``a ~ N(0, 1/k)``, one step ``W1 = W0 - learning_rate sqrt(k) grad_W`` of the half mean square
    error on m0 samples, then ridge regression on m fresh ones. The step adds the spike
    ``r a v^T`` of `first_layer_spike`; everything else of the gradient vanishes. So the errors
    are those of `random_features_ridge` with

    .. math:: A(\tau) = 1 - \tau \Big[ m_R - \frac{\mu_1^2 r^2 \zeta^2 m_R^2}
              {1 + \mu_1^2 (1 + r^2) m_R} \Big].

    Derived here (a rank-one update of the resolvent).

    Parameters
    ----------
    activation
        The activation s; `UnitRows` of it for rows of length 1.
    link
        The teacher's function of one variable; `centred` takes its mean off.
    learning_rate
        eta, not negative; with 0 it is `random_features_ridge`.
    step_ratio
        ``m0 / d``, samples of the gradient step.
    width_ratio, sample_ratio
        ``k / d`` and ``m / d``; one of them may be a list, which becomes the grid.
    scaled_ridge
        ``ridge * k``: a number, or one for each point.
    noise_std
        Standard deviation of the label noise, in both sets of samples.

    Examples
    --------
    >>> from twolayer.theory.one_step.coefficients import centred
    >>> curves = small_learning_rate(
    ...     "tanh", centred("softplus"), learning_rate=4.0, step_ratio=2.0,
    ...     width_ratio=2.0, sample_ratio=2.0, scaled_ridge=6.0, noise_std=0.25,
    ... )  # fmt: skip
    >>> round(2 * float(curves.test.value[0]), 4)
    0.2658
    """
    grid = grid_of(width_ratio=width_ratio, sample_ratio=sample_ratio)
    features, teacher = coefficients(activation), coefficients(link)
    noise = number("noise_std", noise_std, at_least=0.0)
    eta = number("learning_rate", learning_rate, at_least=0.0)
    size, zeta = spike_of(features, teacher, eta, (step_ratio, noise))
    bulk = solve_bulk(features, grid, scaled_ridge)
    gain, change = _gain_with_spike(features, bulk, size, zeta)
    return isotropic_errors(
        grid,
        bulk,
        residual_power(features, teacher, noise),
        added((teacher.slope**2 * gain, teacher.slope**2 * change), bulk.constant(teacher.mean)),
        assumptions=(
            *isotropic_assumptions(bulk),
            *activation_assumptions(activation, bulk),
            *_assumptions(activation, eta),
        ),
        reference="derived here, in the setting of ba2022high",
    )


def first_layer_spike(
    activation: str | Activation | UnitRows,
    link: str | Activation,
    *,
    learning_rate: float,
    step_ratio: float,
    width_ratio: float,
    noise_std: float = 0.0,
) -> FirstLayerSpike:
    r"""The spike of the first layer after one step, and how much of it can be seen.

    With ``q^2 = t_1^2 + (t_2 + noise_std^2) d / m0``, ``r = learning_rate mu_1 q``,
    ``zeta = t_1 / q`` and ``psi = k / d``, for ``r > psi^{1/4}``

    .. math:: s_1 = \sqrt{(1 + r^2) (\psi + r^2)} / r, \qquad
              \langle u_1, \xi \rangle^2
              = \zeta^2 \Big( 1 - \frac{\psi + r^2}{r^2 (r^2 + 1)} \Big),

    else the edge ``1 + sqrt(psi)`` of the bulk and 0. Derived here: a rank-one perturbation of a
    Gaussian matrix, in the setting of `small_learning_rate`.

    Parameters
    ----------
    activation
        The activation s; `UnitRows` of it for rows of length 1.
    link
        The teacher's function of one variable.
    learning_rate
        eta, not negative.
    step_ratio
        ``m0 / d``, samples of the gradient step.
    width_ratio
        ``k / d``.
    noise_std
        Standard deviation of the label noise.

    Examples
    --------
    >>> from twolayer.theory.one_step.coefficients import centred
    >>> spike = first_layer_spike(
    ...     "tanh", centred("softplus"), learning_rate=4.0, step_ratio=2.0, width_ratio=1.5,
    ...     noise_std=0.25,
    ... )  # fmt: skip
    >>> round(spike.singular_value, 3), round(spike.alignment_squared, 3)
    (2.358, 0.319)
    """
    psi = number("width_ratio", width_ratio, above=0.0)
    noise = number("noise_std", noise_std, at_least=0.0)
    eta = number("learning_rate", learning_rate, at_least=0.0)
    r, zeta = spike_of(coefficients(activation), coefficients(link), eta, (step_ratio, noise))
    threshold = psi**0.25
    if r <= threshold:
        return FirstLayerSpike(r, zeta**2, threshold, 1 + math.sqrt(psi), 0.0)
    seen = 1 - (psi + r**2) / (r**2 * (r**2 + 1))
    singular_value = math.sqrt((1 + r**2) * (psi + r**2)) / r
    return FirstLayerSpike(r, zeta**2, threshold, singular_value, zeta**2 * seen)


def spike_of(
    features: Coefficients, teacher: Coefficients, learning_rate: float, data: tuple[float, float]
) -> tuple[float, float]:
    """Size ``|r|`` and alignment ``|zeta|`` of the spike, from data ``(m0 / d, noise_std)``.

    Raises
    ------
    ValueError
        If the step's ratio is not positive and finite.

    Examples
    --------
    >>> spike_of(coefficients("x"), coefficients("x"), 2.0, (1e12, 0.0))
    (2.0..., 0.99...)
    """
    ratio, noise = number("step_ratio", data[0], above=0.0), data[1]
    length = math.sqrt(teacher.slope**2 + (teacher.second_moment + noise**2) / ratio)
    if length == 0.0:  # no label, no gradient
        return 0.0, 0.0
    return abs(learning_rate * features.slope) * length, abs(teacher.slope) / length


def _gain_with_spike(
    features: Coefficients, bulk: Bulk, size: float, zeta: float
) -> tuple[np.ndarray, np.ndarray]:
    """``A(tau)`` and ``nu' A'(tau)`` with the spike."""
    m, m_slope = bulk.trace, bulk.trace_slope
    strength = (features.slope * size * zeta) ** 2
    spread = features.slope**2 * (1 + size**2)
    more = strength * m**2 / (1 + spread * m)
    more_slope = strength * m * (2 + spread * m) / (1 + spread * m) ** 2 * m_slope
    gain = bulk.gain + bulk.tau * more
    return gain, bulk.gain_change + bulk.nu * (more + bulk.tau * more_slope)


def _assumptions(
    activation: str | Activation | UnitRows, learning_rate: float
) -> tuple[Assumption, ...]:
    facts = bare(activation).facts
    return (
        Assumption(
            "activation odd",
            facts.even_degree < 0,
            detail="ba2022high, Theorem 3, proves Gaussian equivalence after the step for smooth "
            "odd ones; simulations agree for others",
        ),
        Assumption(
            "learning rate small against sqrt(width)",
            None,
            detail=f"it is {learning_rate:g}; one that grows with the width also learns powers of "
            "the spike's projection, see staircase_limit",
        ),
    )
