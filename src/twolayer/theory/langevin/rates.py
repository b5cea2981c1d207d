r"""Guarantees of exponential convergence: ``J(mu_t) - J*`` is at most a curve that is computed.

While the proximal Gibbs law of ``mu_t`` has the log-Sobolev constant ``rho_t`` (see
`gibbs_log_sobolev`),

.. math:: J(\mu_t) - J^* \le (J(\mu_0) - J^*) \exp\Bigl(-\int_0^t 2 \tau \rho_s \, ds\Bigr)

as ``dJ/dt = -tau^2 I(mu_t | pi_t) <= -2 tau^2 rho_t KL(mu_t | pi_t) <= -2 tau rho_t (J - J*)``
(derived here, in the spirit of zhang2022meanfield: both layers trained, output weights unbounded,
a constant that depends on time). The constants need neither the width nor the number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from twolayer.free_energy import FreeEnergy
from twolayer.outcomes import Assumption, Prediction
from twolayer.theory.langevin.activation_bounds import activation_bounds
from twolayer.theory.langevin.energy_bounds import field_size, slope_bound
from twolayer.theory.langevin.log_sobolev import (
    SHEAR,
    LogSobolevBound,
    gibbs_constant,
    gibbs_log_sobolev,
)
from twolayer.theory.langevin.proximal_gibbs import FieldBounds, ProximalGibbs

Scheme = Literal["flow", "backward_euler"]
_USEFUL = 0.5  # a curve that stays above this share of its start says next to nothing
_DISCRETE = "derived here: backward Euler, J is convex"


def energy_rate(problem: FreeEnergy, energy: float) -> float:
    r"""``2 tau rho`` for every law whose free energy is at most this: it falls with J.

    For a free output weight and the square loss, with ``|s| <= B`` and ``|s'| <= 1``, at least

    .. math:: \frac{2}{1/\lambda_a + (1 + 2 J \|\Sigma\| / \lambda_a^2)
              \exp(B^2 J / (\lambda_a \tau)) / \lambda_w}, \qquad
              \Sigma = \tfrac1n \textstyle\sum_i x_i x_i^T

    (derived here, in the spirit of zhang2022meanfield); what is returned is the eigenvalue that
    this bounds, and Holley and Stroock's constant for fixed or clipped output weights. It never
    exceeds ``2 min(la, lw)``, and is 0 where the activation or its slope is unbounded.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.7, 0.1)
    >>> round(energy_rate(problem, 0.0), 12)
    1.0
    """
    largest, lipschitz = field_size(problem, energy)
    if not (math.isfinite(largest) and math.isfinite(lipschitz)):
        return 0.0
    if problem.output == "fixed":  # sup g - inf g is what counts
        s = activation_bounds(problem.activation)
        half = np.array([slope_bound(problem, energy) * (s.high - s.low) / 2])
    else:  # the sum of |g_k| over k outputs is at most sqrt(k) |g|
        half = np.full(problem.num_outputs, largest / math.sqrt(problem.num_outputs))
    field = FieldBounds(largest, 0.0, -half, half, lipschitz)
    return 2 * float(problem.temperature) * gibbs_constant(problem, field)


def trajectory_certificate(
    problem: FreeEnergy,
    *,
    time: Float[np.ndarray, " t"],
    energy: Float[np.ndarray, " t"],
    optimal_energy: float,
    slopes: Float[np.ndarray, "t n"] | None = None,
    bounds: Literal["closed", "scanned"] = "closed",
    scheme: Scheme = "flow",
) -> Prediction:
    r"""A bound of ``J(mu_t) - J*`` from what was seen along one run.

    With slopes, rho is that of the current proximal Gibbs law, which need not grow with time; the
    flow is then credited the smaller of the two constants at the ends of each interval (exact for
    ``"backward_euler"``, where the new one counts: ``gap_{k+1} <= gap_k / (1 + 2 tau rho_{k+1}
    dt)``, derived here). Without, rho follows from J, which does not increase: that is rigorous
    between the times as well.

    Parameters
    ----------
    problem
        The problem.
    time, energy
        When J was computed, and J.
    optimal_energy
        ``J*``, or any lower bound of it such as the dual: the curve then bounds the excess over
        that, and more.
    slopes
        ``l'(f_i, y_i)`` at each time.
    bounds
        As in `gibbs_log_sobolev`.
    scheme
        Whether the run was the flow in continuous time or backward Euler with steps from each
        time to the next.

    Raises
    ------
    ValueError
        If the arrays do not fit, or the scheme is neither of the two.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 1.0, 1.0, 0.3)
    >>> curve = trajectory_certificate(
    ...     problem, time=np.array([0.0, 1.0]), energy=np.array([0.5, 0.4]), optimal_energy=0.3
    ... )
    >>> bool(0 < curve.value[1] < curve.value[0] == 0.2)
    True
    """
    instants, energies = np.asarray(time, dtype=np.float64), np.asarray(energy, dtype=np.float64)
    fits = instants.ndim == 1 and instants.shape == energies.shape and instants.size > 0
    if not fits or (slopes is not None and len(slopes) != len(instants)):
        message = "Expected as many energies and slopes as times. Received: "
        message += f"{instants.shape}, {energies.shape}, {None if slopes is None else len(slopes)}."
        raise ValueError(message)
    if scheme not in {"flow", "backward_euler"}:
        message = f"Expected scheme to be 'flow' or 'backward_euler'. Received: {scheme!r}."
        raise ValueError(message)
    if slopes is None:
        rates = np.array([energy_rate(problem, float(e)) for e in energies])
        left, extra = rates[:-1], ()
    else:
        constants = [gibbs_log_sobolev(ProximalGibbs(problem, r), bounds=bounds) for r in slopes]
        rates = 2 * float(problem.temperature) * np.array([_usable(c) for c in constants])
        left, extra = np.minimum(rates[:-1], rates[1:]), (_existence(instants, constants),)
    steps = np.diff(instants)
    losses = np.log1p(rates[1:] * steps) if scheme == "backward_euler" else left * steps
    exponent = np.concatenate([[0.0], np.cumsum(losses)])
    value = (energies[0] - optimal_energy) * np.exp(-exponent)
    reference = _reference(problem)
    if scheme == "backward_euler":
        reference = f"{reference}; {_DISCRETE}"
    assumptions = (*extra, *_assumptions(problem, float(exponent[-1]), slopes is None))
    return Prediction("excess free energy", instants, value, "upper", reference, assumptions)


def a_priori_certificate(
    problem: FreeEnergy,
    *,
    times: Float[np.ndarray, " t"],
    initial_energy: float,
    optimal_energy: float,
    optimal_upper: float | None = None,
) -> Prediction:
    r"""A bound of ``J(mu_t) - J*`` before anything is run: ``u' = -r(J* + u) u``.

    r is `energy_rate`. As J is at most ``J* + u``, and r falls with J, u stays above the excess
    (derived here, in the spirit of zhang2022meanfield). From the reference gamma, ``J_0`` is the
    risk of the zero function.

    Parameters
    ----------
    problem
        The problem.
    times
        When to report; the start is at time 0.
    initial_energy
        ``J(mu_0)``.
    optimal_energy
        ``J*``, or a lower bound of it.
    optimal_upper
        An upper bound of ``J*`` where it is not known: J at some proximal Gibbs law. It takes the
        place of ``J*`` in r.

    Raises
    ------
    ValueError
        If the times decrease or are negative, or the energies are in the wrong order.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 1.0, 1.0, 0.3)
    >>> curve = a_priori_certificate(
    ...     problem, times=np.array([0.0, 1.0]), initial_energy=0.5, optimal_energy=0.3
    ... )
    >>> bool(0 < curve.value[1] < curve.value[0])
    True
    """
    instants = np.asarray(times, dtype=np.float64)
    if instants.ndim != 1 or not instants.size or instants[0] < 0 or np.any(np.diff(instants) < 0):
        message = f"Expected times from 0 on that do not decrease. Received: {times!r}."
        raise ValueError(message)
    ceiling = optimal_energy if optimal_upper is None else optimal_upper
    if not optimal_energy <= ceiling or not optimal_energy <= initial_energy:
        message = "Expected J* to be at most its upper bound and the initial energy. Received: "
        message += f"{optimal_energy}, {ceiling}, {initial_energy}."
        raise ValueError(message)
    start = initial_energy - optimal_energy

    def rate(log_decay: float) -> float:
        # J <= min(J_0, J* + u)
        energy = min(ceiling + start * math.exp(-log_decay), initial_energy)
        return energy_rate(problem, energy)

    exponent = _log_decay(rate, instants)
    value = start * np.exp(-exponent)
    assumptions = _assumptions(problem, float(exponent[-1]), True)
    reference = _reference(problem)
    return Prediction("excess free energy", instants, value, "upper", reference, assumptions)


def uniform_certificate(
    problem: FreeEnergy,
    *,
    times: Float[np.ndarray, " t"],
    initial_energy: float,
    optimal_energy: float,
) -> Prediction:
    r"""A bound of ``J(mu_t) - J*`` with one rate for all times, `energy_rate` at the start.

    It holds at all times since J does not increase. For a Lipschitz loss it does not vanish
    however large J is at the start: the logistic loss has ``|l'| <= 1``, so that always
    ``M <= sup|s|`` and ``G <= sup|s'| ||Sigma||^(1/2)`` (derived here).

    Parameters
    ----------
    problem
        The problem.
    times
        When to report; the start is at time 0.
    initial_energy
        ``J(mu_0)``.
    optimal_energy
        ``J*``, or a lower bound of it.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> from twolayer.losses import LogisticLoss
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 1.0, 1.0, 0.3, LogisticLoss())
    >>> curve = uniform_certificate(
    ...     problem, times=np.array([0.0, 1.0]), initial_energy=9.0, optimal_energy=0.5
    ... )
    >>> bool(0 < curve.value[1] < curve.value[0])
    True
    """
    instants = np.asarray(times, dtype=np.float64)
    rate = energy_rate(problem, initial_energy)
    value = (initial_energy - optimal_energy) * np.exp(-rate * instants)
    assumptions = _assumptions(problem, rate * float(instants[-1]), True)
    reference = _reference(problem)
    return Prediction("excess free energy", instants, value, "upper", reference, assumptions)


def measured_rates(
    time: Float[np.ndarray, " t"],
    excess: Float[np.ndarray, " t"],
    *,
    scheme: Scheme = "flow",
    floor: float = 1e-12,
) -> Float[np.ndarray, " t"]:
    """The rate at which ``J - J*`` falls in each interval; NaN once it is below the floor.

    ``log(gap_k / gap_{k+1}) / dt`` for the flow. Backward Euler divides a mode that decays at
    rate m by ``1 + m dt``, so that there it is ``2 (sqrt(gap_k / gap_{k+1}) - 1) / dt``.

    Examples
    --------
    >>> measured_rates(np.array([0.0, 1.0]), np.array([1.0, 0.25]), scheme="backward_euler")
    array([2.])
    """
    gaps = np.asarray(excess, dtype=np.float64)
    usable = gaps[1:] > floor
    ratio = np.divide(gaps[:-1], gaps[1:], out=np.ones(len(gaps) - 1), where=usable)
    steps = np.diff(np.asarray(time, dtype=np.float64))
    rates = 2 * (np.sqrt(ratio) - 1) if scheme == "backward_euler" else np.log(ratio)
    return np.where(usable, rates / steps, np.nan)


def _log_decay(rate: Callable[[float], float], instants: np.ndarray) -> np.ndarray:
    """``v`` with ``v' = rate(v)``, ``v(0) = 0``: the logarithm of ``u_0 / u``, from below."""
    if instants[-1] == 0:
        return np.zeros_like(instants)
    solution = solve_ivp(
        lambda _, v: [rate(float(v[0]))],
        (0.0, float(instants[-1])),
        [0.0],
        method="DOP853",
        t_eval=np.unique(instants),
        rtol=1e-9,
        atol=1e-12,
    )
    # what the integrator may be off by is taken away
    safe = np.maximum(solution.y[0] * (1 - 1e-6) - 1e-9, 0.0)
    return safe[np.searchsorted(solution.t, instants)]


def _usable(constant: LogSobolevBound) -> float:
    return 0.0 if constant.vacuous else constant.value


def _existence(instants: np.ndarray, constants: list[LogSobolevBound]) -> Assumption:
    """Whether there was a proximal Gibbs law with a constant at all times."""
    usable = np.array([_usable(c) > 0 for c in constants])
    name = "the proximal Gibbs law has a log-Sobolev constant in closed form"
    if usable.all():
        return Assumption(name, True, float(min(c.value for c in constants)), constants[-1].name)
    if not usable.any():
        return Assumption(name, False, None, "at no time: no certificate")
    since = instants[len(usable) - int(np.argmin(usable[::-1]))] if usable[-1] else math.inf
    return Assumption(
        name, None, None, f"not at all times, but from {since:g} on: no certificate before"
    )


def _reference(problem: FreeEnergy) -> str:
    return (
        SHEAR if problem.output == "free" else "derived here, by the theorem of nitanda2022convex"
    )


def _assumptions(problem: FreeEnergy, exponent: float, energy_only: bool) -> tuple[Assumption, ...]:
    s = activation_bounds(problem.activation)
    limit = Assumption(
        "the limit of infinite width, in continuous time or by backward Euler",
        None,
        detail="about the run: finite networks and explicit steps add their own errors",
    )
    useful = Assumption(
        "bound not vacuous: it falls by half at least",
        exponent >= -math.log(_USEFUL),
        exponent + math.log(_USEFUL),
        f"it falls by a factor of exp({exponent:.4g})",
    )
    if not energy_only:
        return limit, useful
    holds = s.bounded and math.isfinite(s.slope) and math.isfinite(slope_bound(problem, 1.0))
    bounded = Assumption(
        "bounded activation with bounded slope, square or logistic loss",
        holds,
        None,
        f"sup|s| = {s.absolute:g}, sup|s'| = {s.slope:g}{'' if holds else ': no certificate'}",
    )
    return limit, bounded, useful
