"""The equations of motion of overlaps: their right-hand side, and its integration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import LSODA

from twolayer.outcomes import Assumption, Prediction, Status
from twolayer.theory.order_parameters.committee import Committee, generalisation_error
from twolayer.theory.order_parameters.integrals import Integrals

_TOLERANCE = 1e-9  # of a step of the stochastic equations
_EXPLODED = 1e8  # a flow whose overlaps grow by this factor will not come back
_BLIND = 10.0  # an angle is 2 % off at so many roots of the tolerance


@dataclass(frozen=True)
class OverlapFlow:
    """A solution of the equations of motion.

    Attributes
    ----------
    risk
        ``1/2 E (student - teacher)^2`` without the label noise, over time.
    Q, R
        The overlaps at each time, shapes ``[t, m, m]`` and ``[t, m, r]``.
    student_weights
        The output weights at each time, shape ``[t, m]``.
    least_angle
        The smallest angle, up to sign, between a student neuron and a teacher neuron, at each
        time.
    resolved
        Whether that angle exceeds what overlaps can tell, at each time.
    """

    risk: Prediction
    Q: Float[np.ndarray, "t m m"]
    R: Float[np.ndarray, "t m r"]
    student_weights: Float[np.ndarray, "t m"]
    least_angle: Float[np.ndarray, " t"]
    resolved: np.ndarray


@dataclass(frozen=True)
class Rates:
    """The coefficients of the terms of the equations.

    Attributes
    ----------
    drift
        Of the mean pull on the weights.
    diffusion, noise
        Of the terms of second order in the step: from the error, and from unit label noise.
    outer
        Of the output weights' own gradient.
    decay
        Weight decay of both layers.
    norm
        Whether the rows of the overlaps are ``|w| w`` of norm students.
    tolerance
        Relative tolerance of a step of the integration.
    """

    drift: float
    diffusion: float = 0.0
    noise: float = 0.0
    outer: float = 0.0
    decay: float = 0.0
    norm: bool = False
    tolerance: float = _TOLERANCE


def solve(
    committee: Committee,
    integrals: Integrals,
    times: Sequence[float] | Float[np.ndarray, " t"],
    rates: Rates,
    reference: str,
) -> OverlapFlow:
    """The overlaps at the given times.

    Raises
    ------
    ValueError
        If times don't increase from 0 or later.
    """
    t = np.asarray(times, dtype=np.float64)
    if t.ndim != 1 or not len(t) or not np.all(np.isfinite(t)) or t[0] < 0 or any(np.diff(t) <= 0):
        message = f"Expected increasing times from 0 on. Received: {np.asarray(times).tolist()}."
        raise ValueError(message)
    m, r = committee.num_students, committee.num_teachers
    start = np.concatenate([
        committee.Q[np.triu_indices(m)],
        committee.R.ravel(),
        np.asarray(committee.student_weights),
    ])
    states = _integrated(velocity(committee, integrals, rates), start, t, rates.tolerance)
    status: Status = "finished" if np.all(np.isfinite(states)) else "diverged"
    Q, R, v = _unpacked(states, m, r)
    risk = np.array([_risk(committee, integrals, *row) for row in zip(Q, R, v, strict=True)])
    angle = np.array([_least_angle(*row, committee.T) for row in zip(Q, R, strict=True)])
    least = _BLIND * math.sqrt(rates.tolerance)
    resolved = angle > least
    assumption = Assumption(
        "angles between student and teacher resolved",
        bool(np.all(resolved)),
        float(np.nanmin(angle) - least) if np.any(np.isfinite(angle)) else None,
        f"in radians; below {least:.0e} the overlaps of the solution no longer tell the angle",
    )
    kind = "exact" if reference == "derived here" else "asymptotic"  # gradient flow has no limit
    prediction = Prediction("risk", t, risk, kind, reference, (assumption,), status=status)
    return OverlapFlow(prediction, Q, R, v, angle, resolved)


def velocity(
    committee: Committee, integrals: Integrals, rates: Rates
) -> Callable[[float, np.ndarray], np.ndarray]:
    """The right-hand side on the packed state: upper triangle of Q, then R, then v."""
    m, r = committee.num_students, committee.num_teachers
    upper = np.triu_indices(m)

    def right_hand_side(_: float, state: np.ndarray) -> np.ndarray:
        Q, R, v = _unpacked(state, m, r)
        C = np.block([[Q, R], [R.T, committee.T]])
        signs = np.concatenate([-v, np.asarray(committee.teacher_weights)])
        moved = integrals.drifts(C, m) @ signs
        if rates.norm:
            own = np.maximum(np.diagonal(Q), 1e-300)
            along = np.diagonal(moved) / own
            moved = np.sqrt(own)[:, None] * (moved + 3 * along[:, None] * C[:m])
        else:
            moved = rates.drift * v[:, None] * moved
        dQ = moved[:, :m] + moved[:, :m].T - 2 * rates.decay * Q
        if rates.diffusion:
            dQ = dQ + rates.diffusion * np.outer(v, v) * integrals.diffusions(C, m, signs)
        if rates.noise:
            dQ = dQ + rates.noise * np.outer(v, v) * integrals.slopes(C, m)
        dv = np.zeros(m)
        if rates.outer:
            dv = rates.outer * (integrals.values(C) @ signs)[:m]
        dv = dv - rates.decay * v
        return np.concatenate([dQ[upper], (moved[:, m:] - rates.decay * R).ravel(), dv])

    return right_hand_side


def _unpacked(state: np.ndarray, m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = m * (m + 1) // 2
    Q = np.zeros((*state.shape[:-1], m, m))
    i, k = np.triu_indices(m)
    Q[..., i, k] = Q[..., k, i] = state[..., :size]
    R = state[..., size : size + m * r].reshape(*state.shape[:-1], m, r)
    return Q, R, state[..., size + m * r :]


def _integrated(field, start: np.ndarray, times: np.ndarray, rtol: float) -> np.ndarray:
    """The states at the given times, NaN from the time on at which they leave all bounds."""
    states = np.full((len(times), len(start)), np.nan)
    limit = _EXPLODED * max(1.0, float(np.max(np.abs(start))))
    first = int(times[0] == 0)
    states[:first] = start
    if len(times) == first:
        return states
    with np.errstate(all="ignore"):
        solver = LSODA(field, 0.0, start, float(times[-1]), rtol=rtol, atol=rtol / 100)
        seen = first
        while seen < len(times):
            solver.step()
            size = float(np.max(np.abs(solver.y)))
            if solver.status == "failed" or not size < limit:
                break
            reached = int(np.searchsorted(times, solver.t, side="right"))
            if reached > seen:
                states[seen:reached] = solver.dense_output()(times[seen:reached]).T
                seen = reached
    return states


def _risk(committee: Committee, integrals: Integrals, Q, R, v) -> float:
    if not np.all(np.isfinite(Q)):
        return math.nan
    moved = object.__new__(Committee)  # rounding may leave it a little indefinite: not checked
    for name, value in zip(
        ("Q", "R", "T", "student_weights", "teacher_weights"),
        (Q, R, committee.T, v, committee.teacher_weights),
        strict=True,
    ):
        object.__setattr__(moved, name, value)
    return generalisation_error(moved, integrals)


def _least_angle(Q, R, T) -> float:
    squares = np.outer(np.diagonal(Q), np.diagonal(T))
    root = np.sqrt(np.maximum(squares - R**2, 0.0))
    return float(np.min(np.arctan2(root, np.abs(R)))) if np.all(np.isfinite(R)) else math.nan
