"""Equations of motion of the overlaps under stochastic gradient descent and gradient flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import LSODA

from twolayer.outcomes import Assumption, Prediction, Status
from twolayer.theory.order_parameters.committee import Committee, generalisation_error
from twolayer.theory.order_parameters.integrals import Integrals

_TOLERANCE = 1e-9  # of a step of the stochastic equations
_FINE = 1e-12  # of a step of gradient flow, whose late times show the smallest angles
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
class _Rates:
    """The coefficients of the terms of the equations; ``dv/dt`` has `outer` before it."""

    drift: float
    diffusion: float = 0.0
    noise: float = 0.0
    outer: float = 0.0
    decay: float = 0.0
    norm: bool = False
    tolerance: float = _TOLERANCE


def online_learning(
    committee: Committee,
    integrals: Integrals,
    times: Sequence[float] | Float[np.ndarray, " t"],
    *,
    learning_rate: float,
    second_layer_rate: float = 0.0,
    weight_decay: float = 0.0,
    noise_std: float = 0.0,
    quadratic_term: bool = True,
) -> OverlapFlow:
    r"""One-pass SGD in the limit of many inputs N, time being steps over N.

    .. math:: \dot R_{in} = \eta v_i F_{in} - \lambda R_{in}, \qquad
              \dot Q_{ik} = \eta (v_i F_{ik} + v_k F_{ki}) - 2 \lambda Q_{ik}
              + \eta^2 v_i v_k (G_{ik} + \sigma^2 J_{ik}), \qquad
              \dot v_i = \eta_2 E[g(\lambda_i) e] - \lambda v_i

    with ``F_ib = E[g'(l_i) l_b e]``, ``G_ik = E[g'(l_i) g'(l_k) e^2]`` and e teacher minus
    student. saad1995online for the soft committee; second layer, noise and decay as in the code of
    goldt2019dynamics. The step is ``w <- w - (eta / sqrt N) v g'(w.x/sqrt N) (f - y) x``, and
    those of the second layer and the decay carry ``1 / N``. An error of order ``1 / sqrt N`` in a
    single run remains.

    Parameters
    ----------
    committee
        The overlaps at the start, those of weights divided by ``sqrt N``.
    integrals
        Of the activation.
    times
        Increasing times from 0 on.
    learning_rate, second_layer_rate
        The steps eta and eta_2.
    weight_decay
        The decay lambda, of both layers.
    noise_std
        The standard deviation sigma of noise on the labels.
    quadratic_term
        Whether to keep ``eta^2 G``: without it the equations are wrong for SGD at a fixed rate,
        right as eta tends to 0.

    Raises
    ------
    ValueError
        If a rate is negative or not finite, or times don't increase from 0 or later.

    Examples
    --------
    >>> from twolayer.theory.order_parameters.integrals import erf_integrals
    >>> start = Committee(0.5 * np.eye(1), [[0.1]], np.eye(1))
    >>> flow = online_learning(start, erf_integrals, [0, 20], learning_rate=0.5)
    >>> bool(flow.risk.value[-1] < 0.02 * flow.risk.value[0])
    True
    """
    _check_rates(
        learning_rate=learning_rate, second_layer_rate=second_layer_rate,
        weight_decay=weight_decay, noise_std=noise_std,
    )  # fmt: skip
    rates = _Rates(
        learning_rate,
        learning_rate**2 if quadratic_term else 0.0,
        learning_rate**2 * noise_std**2,
        second_layer_rate,
        weight_decay,
    )
    return _solved(committee, integrals, times, rates, "saad1995online; goldt2019dynamics")


def dimensionless_learning(
    committee: Committee,
    integrals: Integrals,
    times: Sequence[float] | Float[np.ndarray, " t"],
    *,
    step_ratio: float,
    noise_variance: float = 0.0,
    quadratic_term: bool = True,
) -> OverlapFlow:
    r"""The same limit in the time ``steps * gamma / (p d)`` of arnaboldi2023from.

    .. math:: \dot M = \Psi_M, \qquad \dot Q = \Psi_{GF} + (\gamma / p) \Psi_{Var}

    with a student that is a mean over p neurons: its output weights are 1/p and the step is
    gamma. Beyond p, d and gamma only their ratio ``gamma / p`` is left; as it tends to 0 the
    equations become those of gradient flow, whatever the width. Their Theorem 1 bounds the
    distance of SGD by ``e^{C t} sqrt(gamma / (p d))``.

    Parameters
    ----------
    committee
        The overlaps at the start, with output weights whose sum is 1 in equal parts.
    integrals
        Of the activation.
    times
        Increasing times from 0 on.
    step_ratio
        ``gamma / p``; 0 is gradient flow. Infinity is the limit of the largest steps, where
        ``Q' = Psi_Var`` alone and M rests; time is then ``steps * gamma^2 / (p^2 d)``.
    noise_variance
        The variance of the noise on the labels.
    quadratic_term
        Whether to keep the part of ``Psi_Var`` that is not label noise.

    Raises
    ------
    ValueError
        If a rate is negative, times don't increase from 0 on, or output weights are not 1/p.

    Examples
    --------
    >>> from twolayer.theory.order_parameters.integrals import square_integrals
    >>> start = Committee(np.eye(2), 0.3 * np.ones((2, 1)), np.eye(1), np.full(2, 0.5))
    >>> flow = dimensionless_learning(start, square_integrals, [0, 1], step_ratio=0.0)
    >>> bool(flow.risk.value[1] < flow.risk.value[0])
    True
    """
    diffusive = step_ratio == math.inf
    _check_rates(step_ratio=0.0 if diffusive else step_ratio, noise_variance=noise_variance)
    p = committee.num_students
    weights = np.asarray(committee.student_weights)
    if not np.allclose(weights, 1 / p, rtol=1e-12, atol=0):
        message = f"Expected the {p} output weights of the student to be 1/{p}. "
        message += f"Received: {weights.tolist()}."
        raise ValueError(message)
    spread = float(p**2) if diffusive else p**2 * step_ratio
    rates = _Rates(
        0.0 if diffusive else p, spread if quadratic_term else 0.0, spread * noise_variance
    )
    return _solved(committee, integrals, times, rates, "arnaboldi2023from, Theorem 1 with its ODEs")


def overlap_gradient_flow(
    committee: Committee,
    integrals: Integrals,
    times: Sequence[float] | Float[np.ndarray, " t"],
    *,
    student: str = "plain",
) -> OverlapFlow:
    r"""Gradient flow of the population risk in overlaps: exact in any dimension, without limit.

    ``w_i' = -grad_i L`` gives ``R' = v_i F``, ``Q' = v_i F_ik + v_k F_ki`` (derived here). The
    overlaps know an angle theta only through ``1 - theta^2 / 2``: rounding hides angles below
    about 1e-8, and integration with a tolerance of 1e-12 a step those below about 1e-5.
    `OverlapFlow.resolved` tells from when on the curve means nothing; late times of students that
    turn to a teacher need the weights themselves.

    Parameters
    ----------
    committee
        The overlaps at the start.
    integrals
        Of the activation.
    times
        Increasing times from 0 on.
    student
        ``"plain"``, or ``"norm"`` for the student ``sum_i |w_i| |w_i . x|`` of zhou2021local:
        then the rows of the overlaps belong to ``u_i = |w_i| w_i``, all v_i are 1, and
        ``u_i' = -|u_i| (I + 3 u_i u_i^T / |u_i|^2) grad_{u_i} L``.

    Raises
    ------
    ValueError
        If times don't increase from 0 on, `student` is unknown, or the norm student has other
        output weights.

    Examples
    --------
    >>> from twolayer.theory.order_parameters.integrals import abs_integrals
    >>> start = Committee(np.eye(1), [[0.6]], np.eye(1))
    >>> flow = overlap_gradient_flow(start, abs_integrals, [0, 5], student="norm")
    >>> bool(flow.risk.value[1] < 1e-2 * flow.risk.value[0])
    True
    """
    if student not in {"plain", "norm"}:
        message = f"Expected the student 'plain' or 'norm'. Received: {student!r}."
        raise ValueError(message)
    norm = student == "norm"
    if norm and not np.all(committee.student_weights == 1):
        message = "Expected output weights 1 of the norm student. "
        message += f"Received: {np.asarray(committee.student_weights).tolist()}."
        raise ValueError(message)
    return _solved(
        committee, integrals, times, _Rates(1.0, norm=norm, tolerance=_FINE), "derived here"
    )


def _velocity(committee: Committee, integrals: Integrals, rates: _Rates):
    """The right-hand side on the packed state (upper triangle of Q, R, v)."""
    m, r = committee.num_students, committee.num_teachers
    upper = np.triu_indices(m)

    def velocity(_, state: np.ndarray) -> np.ndarray:
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

    return velocity


def _unpacked(state: np.ndarray, m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = m * (m + 1) // 2
    Q = np.zeros((*state.shape[:-1], m, m))
    i, k = np.triu_indices(m)
    Q[..., i, k] = Q[..., k, i] = state[..., :size]
    R = state[..., size : size + m * r].reshape(*state.shape[:-1], m, r)
    return Q, R, state[..., size + m * r :]


def _solved(committee, integrals, times, rates: _Rates, reference: str) -> OverlapFlow:
    t = _checked_times(times)
    m, r = committee.num_students, committee.num_teachers
    start = np.concatenate([
        committee.Q[np.triu_indices(m)],
        committee.R.ravel(),
        np.asarray(committee.student_weights),
    ])
    states = _integrated(_velocity(committee, integrals, rates), start, t, rates.tolerance)
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


def _integrated(velocity, start: np.ndarray, times: np.ndarray, rtol: float) -> np.ndarray:
    """The states at the given times, NaN from the time on at which they leave all bounds."""
    states = np.full((len(times), len(start)), np.nan)
    limit = _EXPLODED * max(1.0, float(np.max(np.abs(start))))
    first = int(times[0] == 0)
    states[:first] = start
    if len(times) == first:
        return states
    with np.errstate(all="ignore"):
        solver = LSODA(velocity, 0.0, start, float(times[-1]), rtol=rtol, atol=rtol / 100)
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


def _checked_times(times) -> np.ndarray:
    t = np.asarray(times, dtype=np.float64)
    if t.ndim != 1 or not len(t) or not np.all(np.isfinite(t)) or t[0] < 0 or any(np.diff(t) <= 0):
        message = f"Expected increasing times from 0 on. Received: {np.asarray(times).tolist()}."
        raise ValueError(message)
    return t


def _check_rates(**rates: float) -> None:
    for name, value in rates.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            message = f"Expected {name} to be a number of at least 0. Received: {value!r}."
            raise ValueError(message)
