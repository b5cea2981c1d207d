r"""One gradient step of the maximal size: the activation acts on the spike without expansion."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from twolayer.activations import Activation
from twolayer.numerics.quadrature import gauss_hermite
from twolayer.outcomes import Assumption
from twolayer.theory.one_step.coefficients import (
    UnitRows,
    bare,
    coefficients,
    gaussian_rule,
    values_of,
)
from twolayer.theory.one_step.errors import ErrorCurves, along, error_curves, grid_of, number
from twolayer.theory.one_step.maximal_step import StepLaw, bulk_spectrum, step_law

REFERENCE = "derived here, in the setting of cui2024asymptotics"
_NODES = 80
_SMALL_SPIKE = 0.3
_ROUNDS = 500
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Profiles:
    """Means over the bulk, given the component ``kappa = v . x`` of a sample along the spike.

    Attributes
    ----------
    weights
        Probabilities of the values of kappa, shape ``[q]``.
    mean, slope, rest
        ``mu_0``, ``mu_1`` and ``mu_2^2`` of a neuron's feature.
    directions
        What ``alpha_i`` and ``N_i`` change in the feature's mean, shape ``[2, q]``.
    target, target_slope, target_power
        ``E y``, ``E dy / d(z . x) sqrt(1 - gamma^2)`` and ``E y^2``.
    """

    weights: Float[np.ndarray, " q"]
    mean: Float[np.ndarray, " q"]
    slope: Float[np.ndarray, " q"]
    rest: Float[np.ndarray, " q"]
    directions: Float[np.ndarray, "2 q"]
    target: Float[np.ndarray, " q"]
    target_slope: Float[np.ndarray, " q"]
    target_power: Float[np.ndarray, " q"]


def maximal_learning_rate(
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
    r"""Errors of ridge regression on the features after one step of the maximal size.

    The setting of cui2024asymptotics: ``f(x) = a . s(W x) / sqrt(k)`` with the constant read-out
    ``a = 1 / sqrt(k)``, ``W0 ~ N(0, 1/d)``, one step ``W0 - learning_rate k grad_W`` of the half
    mean square error on m0 samples of a single-index teacher, then ridge regression on m fresh
    ones. (`OneStep` takes that step with the learning rate ``learning_rate * k``.) Given
    ``kappa = v . x`` along the gradient's direction a feature is ``mu_0 + mu_1 p_i . x + mu_2 g``
    with coefficients that depend on kappa, and with residuals ``r = (y - phi . w) / (1 + V)`` of
    the training samples

    .. math:: test = \tfrac12 E[err(\kappa)], \quad
              train = \tfrac12 E\frac{err(\kappa)}{(1 + V(\kappa))^2}, \quad
              objective = \tfrac12 E[y\, r].

    Their self-consistent equations are those of cui2024asymptotics, with the first layer of
    `step_law` in place of ``sqrt(c) W0 + r 1 v^T``. That is what makes them agree with
    simulations to the percent: the printed ones are up to 5 % off (derived here).

    Parameters
    ----------
    activation
        The activation s; `UnitRows` of it for initial rows of length 1.
    link
        The teacher's function of one variable.
    learning_rate
        Theta(1) in units in which the spike is of the order of the initial weights.
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
    >>> curves = maximal_learning_rate(
    ...     "tanh", "sin", learning_rate=3.0, step_ratio=20.0,
    ...     width_ratio=1.0, sample_ratio=[0.9, 2.3], scaled_ridge=[0.1 / 0.9, 0.1 / 2.3],
    ... )  # fmt: skip
    >>> np.round(2 * curves.test.value, 4)
    array([0.041 , 0.0326])
    """
    grid = grid_of(width_ratio=width_ratio, sample_ratio=sample_ratio)
    ridge = along(grid, "scaled_ridge", scaled_ridge)
    noise = number("noise_std", noise_std, at_least=0.0)
    law = step_law(
        activation,
        link,
        learning_rate=number("learning_rate", learning_rate, at_least=0.0),
        step_ratio=number("step_ratio", step_ratio, above=0.0),
        noise_std=noise,
    )
    profiles = profiles_of(law, activation, link, noise_std=noise)
    points = zip(grid.columns["width_ratio"], grid.columns["sample_ratio"], ridge, strict=True)
    solved = [point_errors(law, profiles, *map(float, point)) for point in points]
    errors = np.array([row[:3] for row in solved]).T / 2
    curves = error_curves(
        grid,
        (errors[0], errors[1], errors[2]),
        reference=REFERENCE,
        assumptions=_assumptions(law, activation, min(row[3] for row in solved)),
    )
    if all(row[4] for row in solved):
        return curves
    stopped = [replace(c, status="stopped") for c in (curves.test, curves.train, curves.objective)]
    return ErrorCurves(*stopped)


def profiles_of(
    law: StepLaw,
    activation: str | Activation | UnitRows,
    link: str | Activation,
    *,
    noise_std: float = 0.0,
) -> Profiles:
    """The means over the bulk of features and labels, at Gauss nodes of kappa.

    Examples
    --------
    >>> law = step_law("tanh", "sin", learning_rate=0.0, step_ratio=2.0)
    >>> profiles = profiles_of(law, "tanh", "sin")
    >>> bool(np.allclose(profiles.mean, 0.0)), bool(np.ptp(profiles.slope) < 1e-12)
    (True, True)
    """
    kappa, share = gauss_hermite(_NODES)
    z, weights = gaussian_rule()
    c, gamma = law.variance, law.alignment
    values = values_of(bare(activation), law.spike * kappa[:, None] + math.sqrt(c) * z)
    mean = values @ weights
    linear = values @ (weights * z)
    curved = values @ (weights * (z**2 - 1))
    slope = linear / math.sqrt(c)
    centre = values - mean[:, None] - linear[:, None] * z
    target = values_of(link, gamma * kappa[:, None] + math.sqrt(1 - gamma**2) * z)
    return Profiles(
        share,
        mean,
        slope,
        centre**2 @ weights,
        np.stack([kappa * slope, curved / (2 * c)]),
        target @ weights,
        target @ (weights * z),
        target**2 @ weights + noise_std**2,
    )


def point_errors(
    law: StepLaw, profiles: Profiles, psi: float, alpha: float, scaled_ridge: float
) -> tuple[float, float, float, float, bool]:
    """Twice test, train and objective; the distance to instability; whether all converged.

    At ``psi = k / d`` and ``alpha = m / d``. Only the two traces ``V_1, V_2`` are iterated: their
    map is monotone and scalable, so it converges from anywhere, and its derivative is at hand.
    All else is linear in them.
    """
    a = alpha / psi
    penalty = scaled_ridge * a  # of the sum of squares
    p = profiles
    squares = np.stack([p.slope**2, p.rest])
    traces, converged = np.ones(2), False
    for _ in range(_ROUNDS):
        share = p.weights / (1 + traces @ squares)
        twice = share / (1 + traces @ squares)
        hats = a * (squares @ share)
        tau = (penalty + hats[1]) / hats[0]
        bulk = bulk_spectrum(law, psi, tau)
        after = np.array([bulk.share, bulk.trace]) / hats[0]
        # Each is the mean of f(D) / (hat_1 (D + tau))^2 over the bulk, f = D^2, D and 1.
        once = bulk.trace - tau * bulk.trace_drop
        second = np.array([bulk.share - tau * once, once, bulk.trace_drop]) / hats[0] ** 2
        mixing = np.array([second[:2], second[1:]])
        feedback = mixing @ (a * (squares * twice) @ squares.T)
        gain = float(np.max(np.abs(np.linalg.eigvals(feedback))))
        converged = bool(np.max(np.abs(after / traces - 1)) < _TOLERANCE)
        if converged:
            break
        newton = traces + np.linalg.solve(np.eye(2) - feedback, after - traces)
        traces = newton if gain < 1 and np.all(newton > 0) else after
    fit, pull = _fit_along_kappa(law, p, share, a, psi * traces[1])

    across = a * float(share @ (p.slope * p.target_slope))
    overlap = across * bulk.teacher / hats[0]
    extra = psi * float(pull @ law.fluctuations @ pull)
    teacher = np.array([bulk.teacher - tau * bulk.teacher_drop, bulk.teacher_drop])
    source = extra * second[1:] + across**2 / hats[0] ** 2 * teacher
    bias = p.target_power + fit**2 - 2 * fit * p.target - 2 * overlap * p.slope * p.target_slope
    lengths = np.linalg.solve(
        np.eye(2) - feedback, mixing @ (a * (squares * twice) @ bias) + source
    )
    error = np.maximum(bias + lengths @ squares, 0.0)
    gained = fit * p.target + overlap * p.slope * p.target_slope
    return (
        float(p.weights @ error),
        float(twice @ error),
        float(share @ (p.target_power - gained)),
        1 - gain,
        converged,
    )


def _fit_along_kappa(
    law: StepLaw, p: Profiles, share: np.ndarray, a: float, trace: float
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "2"]]:
    """The output's mean given kappa, and the force on the two directions of the rows' law.

    The direction that all neurons share is fitted without cost: its features grow with the width.
    """
    basis = np.concatenate([p.mean[None], p.directions])
    gram, cross = (basis * share) @ basis.T, (basis * share) @ p.target
    system, right = np.eye(3), np.zeros(3)
    transfer = a * trace * law.fluctuations
    system[1:] += transfer @ gram[1:]
    right[1:] = transfer @ cross[1:]
    if gram[0, 0] > 1e-20 * float(share @ p.rest):
        system[0], right[0] = gram[0], cross[0]
    fit = np.linalg.solve(system, right) @ basis
    return fit, a * (p.directions * share) @ (p.target - fit)


def _assumptions(
    law: StepLaw, activation: str | Activation | UnitRows, stability: float
) -> tuple[Assumption, ...]:
    z, weights = gaussian_rule()
    function = bare(activation)
    known = coefficients(function)
    even = (values_of(function, z) + values_of(function, -z)) / 2 - known.mean
    uneven = float(weights @ even**2) / (known.second_moment - known.mean**2)
    return (
        Assumption(
            "dimension, width and samples large and in proportion",
            None,
            detail="isotropic Gaussian inputs; at finite size the gap is of order 1 / dim",
        ),
        Assumption(
            "constant read-out in the step, spike of order one",
            True if not law.spike or abs(law.spike) > _SMALL_SPIKE else None,
            abs(law.spike),
            "margin: the spike's size r; the fit along it is taken as free, which asks for a large "
            "k r^2 (without a spike these are random features)",
        ),
        Assumption(
            "activation odd up to a constant",
            uneven < 1e-12,
            -uneven if uneven >= 1e-12 else 0.0,
            "margin: minus the even part's share; elsewhere the gradient's noise is correlated "
            "between neurons, and errors are some percent too high: use conditional_equivalent",
        ),
        Assumption(
            "activation smooth",
            bool(function.facts.smooth),
            detail="proofs of Gaussian equivalence ask for it",
        ),
        Assumption(
            "away from the interpolation peak",
            stability > 0,
            stability,
            "margin: 1 minus the gain of the training noise; where it is small, so must 1/dim be",
        ),
    )
