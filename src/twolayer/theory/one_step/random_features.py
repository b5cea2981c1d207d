r"""Error curves of ridge regression on untrained (random) features of isotropic inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from twolayer.activations import Activation
from twolayer.outcomes import Assumption
from twolayer.theory.one_step.coefficients import Coefficients, UnitRows, bare, coefficients
from twolayer.theory.one_step.deterministic_equivalent import root_between
from twolayer.theory.one_step.errors import ErrorCurves, Grid, along, error_curves, grid_of, number

Column = Float[np.ndarray, " t"]


@dataclass(frozen=True)
class Bulk:
    r"""The equivalent ``phi = (mu_1 W x + mu_* z) / sqrt(k)`` of random features, solved.

    Attributes
    ----------
    nu
        The effective ridge ``nu' = k nu``.
    tau
        ``mu_*^2 + nu'``.
    share
        ``ridge / nu = 1 - df_1 / m``: the part of a residual that training leaves.
    left
        ``1 - df_2 / m``: test errors are amplified by its inverse.
    trace, trace_slope
        ``m_R(tau)`` and its derivative.
    gain, gain_change
        ``A(tau) = 1 - tau m_R``, what is explained of a linear target, and ``nu' A'(tau)``.
    shift, shift_change
        ``B(tau)``, the weight of the constant that the rows' lengths put into the features, and
        ``nu' B'(tau)``; 0 where there is none or the activation has a mean.
    """

    nu: Column
    tau: Column
    share: Column
    left: Column
    trace: Column
    trace_slope: Column
    gain: Column
    gain_change: Column
    shift: Column
    shift_change: Column

    def constant(self, coefficient: float, left: float = 1.0) -> tuple[Column, Column]:
        r"""``M`` and ``nu' M'`` of a constant target, ``coefficient^2 B / (1 + left B)``.

        `left` is the squared length of the constant, less than 1 where part of it is free.
        """
        amplified = 1 + left * self.shift
        return (
            coefficient**2 * self.shift / amplified,
            coefficient**2 * self.shift_change / amplified**2,
        )


def random_features_ridge(
    activation: str | Activation | UnitRows,
    link: str | Activation,
    *,
    width_ratio: ArrayLike,
    sample_ratio: ArrayLike,
    scaled_ridge: ArrayLike,
    noise_std: float = 0.0,
) -> ErrorCurves:
    r"""Errors of ridge regression on ``s(W x) / sqrt(k)`` with random W.

    Rows of W are N(0, I_d / d), inputs N(0, I_d), labels ``y = link(xi . x) + noise`` with
    ``|xi| = 1``. With ``psi = k / d``, ``alpha = m / d``, ``tau = mu_*^2 + nu'`` and the positive
    root of
    ``tau mu_1^2 m_R^2 + (tau + mu_1^2 (psi - 1)) m_R - 1 = 0``,

    .. math:: A(\tau) = 1 - \tau m_R, \quad
              df_1 / d = (\psi \mu_*^2 + \nu' A) / \tau, \quad
              ridge\, k = \nu' (1 - df_1 / m),
    .. math:: 2\, test = \frac{\rho - t_1^2 (A - \nu' A')}{1 - df_2 / m}, \quad
              train = (ridge\, k / \nu')^2\, test, \quad
              2\, objective = (ridge\, k / \nu') (\rho - t_1^2 A),

    ``rho = t_2 + noise_std^2``, less ``t_0^2`` where the activation has a mean: the constant is
    then fitted at no cost. Where it has none, a Gaussian row's length still shifts the mean of its
    feature (see `UnitRows`) and ``t_1^2 A`` becomes

    .. math:: t_1^2 A + \frac{t_0^2 B}{1 + B}, \qquad
              B = \tfrac12 E[s\, He_2]^2\, (\psi - A) / \tau.

    Derived here: `deterministic_equivalent` of the equivalent noisy linear features, with the
    spectrum of ``W W^T``.

    Parameters
    ----------
    activation
        The activation s; `UnitRows` of it for rows of length 1.
    link
        The teacher's function of one variable; `centred` takes its mean off.
    width_ratio, sample_ratio
        ``k / d`` and ``m / d``; one of them may be a list, which becomes the grid.
    scaled_ridge
        ``ridge * k``, which has a limit as the dimension grows: a number, or one for each point.
    noise_std
        Standard deviation of the label noise.

    Raises
    ------
    ValueError
        If a number is out of its range or two of them are lists.

    Examples
    --------
    >>> curves = random_features_ridge(
    ...     "relu", "tanh", width_ratio=1.5, sample_ratio=1.5, scaled_ridge=0.45, noise_std=0.2
    ... )
    >>> round(2 * float(curves.test.value[0]), 4)
    0.3061
    """
    grid = grid_of(width_ratio=width_ratio, sample_ratio=sample_ratio)
    features, teacher = coefficients(activation), coefficients(link)
    noise = number("noise_std", noise_std, at_least=0.0)
    bulk = solve_bulk(features, grid, scaled_ridge)
    return isotropic_errors(
        grid,
        bulk,
        residual_power(features, teacher, noise),
        added(
            (teacher.slope**2 * bulk.gain, teacher.slope**2 * bulk.gain_change),
            bulk.constant(teacher.mean),
        ),
        assumptions=(*isotropic_assumptions(bulk), *activation_assumptions(activation, bulk)),
    )


def added(*parts: tuple[Column, Column]) -> tuple[Column, Column]:
    """The sum of explained powers, each ``M`` with its ``nu' M'``.

    Examples
    --------
    >>> one = np.ones(1)
    >>> added((one, -one), (one, -one))
    (array([2.]), array([-2.]))
    """
    return sum(part[0] for part in parts), sum(part[1] for part in parts)  # type: ignore[return-value]


def residual_power(features: Coefficients, teacher: Coefficients, noise_std: float) -> float:
    """``rho``: E y^2 with the noise, without the squared mean where the features can fit one.

    Examples
    --------
    >>> residual_power(coefficients("tanh"), coefficients("x^2"), 1.0)
    4.0
    """
    free = teacher.mean**2 if features.mean else 0.0
    return max(teacher.second_moment - free, 0.0) + noise_std**2


def solve_bulk(features: Coefficients, grid: Grid, scaled_ridge: ArrayLike) -> Bulk:
    """The effective ridge and the resolvent along the grid.

    Raises
    ------
    ValueError
        If the ridge is not positive and finite.

    Examples
    --------
    >>> grid = grid_of(width_ratio=1.0, sample_ratio=1.0)
    >>> bulk = solve_bulk(coefficients("tanh"), grid, 0.1)
    >>> bool(abs(bulk.share * bulk.nu - 0.1) < 1e-12)
    True
    """
    ridge = along(grid, "scaled_ridge", scaled_ridge)
    psi, alpha = grid.columns["width_ratio"], grid.columns["sample_ratio"]
    nu = np.asarray([
        _effective_ridge(features, *map(float, row)) for row in zip(psi, alpha, ridge, strict=True)
    ])
    tau = features.rest + nu
    m, m_slope = resolvent(features, tau, psi)
    gain, gain_slope = _gain(features, psi, m, m_slope)
    x = nu / tau
    # Tr (Omega R)^2 = k - 2 nu' Tr R + nu'^2 Tr R^2 without its cancellations
    df2 = psi * (features.rest / tau) ** 2 + x * (2 - x) * gain + x * nu * gain_slope
    spread = 0.0 if features.mean else features.spread
    shift = spread * (psi - gain) / tau
    shift_change = -x * shift - spread * x * gain_slope
    return Bulk(
        nu,
        tau,
        share=ridge / nu,
        left=1 - df2 / alpha,
        trace=m,
        trace_slope=m_slope,
        gain=gain,
        gain_change=nu * gain_slope,
        shift=shift,
        shift_change=shift_change,
    )


def resolvent(features: Coefficients, tau: ArrayLike, psi: ArrayLike) -> tuple[Column, Column]:
    r"""``m_R(tau) = lim Tr (tau + mu_1^2 W^T W)^{-1} / d`` (W is k x d) and its derivative.

    Examples
    --------
    >>> m, slope = resolvent(coefficients("x"), np.array([1.0]), np.array([1.0]))
    >>> np.round(m, 6)
    array([0.618034])
    """
    tau, psi = np.asarray(tau, dtype=np.float64), np.asarray(psi, dtype=np.float64)
    square = features.slope**2
    linear = tau + square * (psi - 1)
    root = np.hypot(linear, 2 * np.sqrt(tau * square))
    # the form without cancellation on either side
    positive = 2 / (np.abs(linear) + root)
    safe = np.where(linear < 0, tau * square, 1.0)
    m = np.where(linear < 0, (np.abs(linear) + root) / (2 * safe), positive)
    return m, -(square * m**2 + m) / root


def isotropic_errors(
    grid: Grid,
    bulk: Bulk,
    power: ArrayLike,
    explained: tuple[ArrayLike, ArrayLike],
    *,
    assumptions: tuple[Assumption, ...],
    reference: str = "derived here",
) -> ErrorCurves:
    """The three errors from ``rho`` and the explained power ``M`` with its ``nu' dM/dtau``.

    Examples
    --------
    >>> grid = grid_of(width_ratio=1.0, sample_ratio=2.0)
    >>> bulk = solve_bulk(coefficients("tanh"), grid, 1e6)
    >>> curves = isotropic_errors(grid, bulk, 1.0, (0.0, 0.0), assumptions=())
    >>> np.round(curves.test.value, 4)
    array([0.5])
    """
    gain, change = map(np.asarray, explained)
    test = np.maximum(power - (gain - change), 0.0) / bulk.left  # 0 up to rounding
    return error_curves(
        grid,
        (test / 2, bulk.share**2 * test / 2, bulk.share * np.maximum(power - gain, 0.0) / 2),
        reference=reference,
        assumptions=assumptions,
    )


def isotropic_assumptions(bulk: Bulk) -> tuple[Assumption, ...]:
    """What every curve of this kind rests on.

    Examples
    --------
    >>> grid = grid_of(width_ratio=1.0, sample_ratio=2.0)
    >>> [a.holds for a in isotropic_assumptions(solve_bulk(coefficients("tanh"), grid, 0.1))]
    [None, True]
    """
    left = float(np.min(bulk.left))
    return (
        Assumption(
            "dimension, width and samples large and in proportion",
            None,
            detail="isotropic Gaussian inputs; at finite size the gap is of order 1 / dim",
        ),
        Assumption(
            "away from the interpolation peak",
            left > 0,
            left,
            "margin: the least 1 - df2 / m on the grid; where it is small, so must 1 / dim be",
        ),
    )


def activation_assumptions(
    activation: str | Activation | UnitRows, bulk: Bulk
) -> tuple[Assumption, ...]:
    """What is asked of the activation: smoothness by proofs, a mean of 0 or not too small.

    Examples
    --------
    >>> grid = grid_of(width_ratio=1.0, sample_ratio=2.0)
    >>> bulk = solve_bulk(coefficients("relu"), grid, 0.1)
    >>> [a.holds for a in activation_assumptions("relu", bulk)]
    [False, None]
    """
    function = bare(activation)
    mean = coefficients(function).mean
    return (
        Assumption(
            "activation smooth",
            bool(function.facts.smooth),
            detail="proofs of Gaussian equivalence ask for it; simulations agree for ReLU as well",
        ),
        Assumption(
            "activation without mean, or with one that the width amplifies",
            None if mean else True,
            mean**2 / float(np.max(bulk.nu)) if mean else None,
            "margin: mu_0^2 / nu'; the constant is free where the width times it is large",
        ),
    )


def _gain(features: Coefficients, psi: Column, m: Column, m_slope: Column) -> tuple[Column, Column]:
    """``A`` and its derivative, as ``psi mu_1^2 m / (1 + mu_1^2 m)``: no cancellation."""
    square = features.slope**2
    return psi * square * m / (1 + square * m), psi * square * m_slope / (1 + square * m) ** 2


def _effective_ridge(features: Coefficients, psi: float, alpha: float, ridge: float) -> float:
    """The root nu' of ``ridge = nu' (1 - df_1 / m)``; there is one, above the ridge."""

    def excess(log_nu: float) -> float:
        nu = math.exp(log_nu)
        tau = features.rest + nu
        m, slope = resolvent(features, tau, psi)
        gain, _ = _gain(features, psi, m, slope)  # type: ignore[arg-type]
        return float(nu - nu * (psi * features.rest + nu * gain) / tau / alpha) - ridge

    # nu' df_1 is at most the trace of the features' covariance
    upper = ridge + psi * (features.rest + features.slope**2) / alpha
    return math.exp(root_between(excess, math.log(ridge), math.log(upper)))
