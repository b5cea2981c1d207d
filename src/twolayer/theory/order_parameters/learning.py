"""Overlaps under stochastic gradient descent in many dimensions, and under gradient flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from twolayer.theory.order_parameters.committee import Committee
from twolayer.theory.order_parameters.equations import OverlapFlow, Rates, solve
from twolayer.theory.order_parameters.integrals import Integrals

_FINE = 1e-12  # of a step of gradient flow, whose late times show the smallest angles


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
    rates = Rates(
        learning_rate,
        learning_rate**2 if quadratic_term else 0.0,
        learning_rate**2 * noise_std**2,
        second_layer_rate,
        weight_decay,
    )
    return solve(committee, integrals, times, rates, "saad1995online; goldt2019dynamics")


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
    rates = Rates(
        0.0 if diffusive else p, spread if quadratic_term else 0.0, spread * noise_variance
    )
    return solve(committee, integrals, times, rates, "arnaboldi2023from, Theorem 1 with its ODEs")


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
    return solve(
        committee, integrals, times, Rates(1.0, norm=norm, tolerance=_FINE), "derived here"
    )


def _check_rates(**rates: float) -> None:
    for name, value in rates.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            message = f"Expected {name} to be a number of at least 0. Received: {value!r}."
            raise ValueError(message)
