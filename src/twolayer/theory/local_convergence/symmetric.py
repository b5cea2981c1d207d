r"""Gradient flows that symmetry reduces to two numbers: exact curves and their late constants.

The state is the excess e of the average neuron over the teacher along it, and one more number; the
losses are sums of small terms, so late times keep their digits. All derived here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import sine_gap
from twolayer.outcomes import Prediction
from twolayer.theory.local_convergence.flatness import sine_excess

_RTOL = 1e-10
Times = Sequence[float] | Float[np.ndarray, " t"]


def balanced_pair_loss(
    angle: Float[np.ndarray, "..."] | float, *, norm: float = 1.0
) -> Float[np.ndarray, "..."]:
    r"""The loss of two students at angles ``+-delta`` whose average is the teacher.

    .. math:: L = \tfrac{A^2}\pi (\delta \sec^2\delta - \tan\delta)
                = \tfrac{2 A^2}{3 \pi} \delta^3 + \dots, \qquad A = \|w^*\|

    The exact form of Claim 2 of zhou2021local (derived here): cubic in the angle, where an exactly
    parameterized student has a quadratic loss, so the Hessian is degenerate.

    Raises
    ------
    ValueError
        If an angle is not in [0, pi/2).

    Examples
    --------
    >>> f"{balanced_pair_loss(1e-6):.6e}"
    '2.122066e-19'
    """
    delta = np.asarray(angle, dtype=np.float64)
    if not np.all((delta >= 0) & (delta < np.pi / 2)):
        message = f"Expected angles in [0, pi/2). Received: {angle!r}."
        raise ValueError(message)
    return norm**2 / (2 * np.pi) * sine_excess(2 * delta) / np.cos(delta) ** 2


def symmetric_pair_constant(*, norm: float = 1.0) -> float:
    """The limit ``pi^2 / (12 A)`` of ``L t^3``, where ``delta(t) -> pi / (2 A t)``.

    Examples
    --------
    >>> round(symmetric_pair_constant(), 5)
    0.82247
    """
    return np.pi**2 / (12 * norm)


def orthogonal_student_constant() -> float:
    """The limit ``1 / (32 (1 - 4 / pi^2))`` of ``L t^2``, whatever the teacher's norm.

    Examples
    --------
    >>> round(orthogonal_student_constant(), 6)
    0.052546
    """
    return 1 / (32 * (1 - 4 / np.pi**2))


def symmetric_pair_flow(
    times: Times, *, angle: float, norm: float = 1.0
) -> tuple[Prediction, Prediction]:
    r"""Loss and angle of two equal students at ``+-delta`` of one teacher along gradient flow.

    With the students' common ``|w|^2 = g`` and ``e = 2 g cos(delta) - A``,

    .. math:: L = \tfrac12 \bigl(e^2 + \tfrac8\pi e\, g\, s(\delta)
              + \tfrac4\pi g^2 (2\delta - \sin 2\delta)\bigr)

    and the flow is that of ``L`` in the length and the angle of one student. They start balanced,
    with e = 0.

    Parameters
    ----------
    times
        Increasing times from 0 on.
    angle
        The initial angle, in (0, pi/2).
    norm
        A, the teacher's norm.

    Raises
    ------
    ValueError
        If the angle is not in (0, pi/2), the norm not positive, or the times do not increase.

    Examples
    --------
    >>> loss, delta = symmetric_pair_flow([0.0, 1e4], angle=0.3)
    >>> round(float(loss.value[1]) * 1e12, 2), round(float(delta.value[1]) * 1e4, 2)
    (0.82, 1.57)
    """
    _check_pair(angle, norm)

    def field(t: float, state: np.ndarray) -> np.ndarray:
        del t
        e, delta = state  # lengths in units of the teacher's, times of its inverse
        g = (1 + e) / (2 * np.cos(delta))  # |w|^2
        along_e = e + (4 / np.pi) * g * sine_gap(delta)  # at fixed |w| and delta
        sine = np.sin(delta)
        in_angle = (4 / np.pi) * e * g * delta * sine + (8 / np.pi) * (g * sine) ** 2
        in_angle += along_e * (-2 * g * sine)
        in_length = (8 / np.pi) * (e * sine_gap(delta) + g * sine_excess(2 * delta))
        in_length = (in_length + 4 * np.cos(delta) * along_e) * g  # |w| dL/d|w|
        turn = -in_angle / (2 * g)
        return np.array([-2 * np.cos(delta) * in_length - 2 * g * sine * turn, turn])

    e, delta = _solved(field, [0.0, angle], times, clock=norm)
    g = (1 + e) / (2 * np.cos(delta))
    loss = e**2 + (8 / np.pi) * e * g * sine_gap(delta)
    loss = (loss + (4 / np.pi) * g**2 * sine_excess(2 * delta)) / 2
    return _predictions(times, norm**2 * loss, delta, "angle")


def orthogonal_student_flow(
    times: Times, *, mass: float, norm: float = 1.0
) -> tuple[Prediction, Prediction]:
    r"""Loss and mass of a student orthogonal to the one teacher, beside a perfect cluster.

    It stays orthogonal. With its mass ``s = |w|^2`` and the excess e of the cluster,

    .. math:: L = \tfrac12 (e^2 + s^2 + \tfrac4\pi e s), \qquad
              \dot e = -4 (A + e) (e + \tfrac2\pi s), \quad
              \dot s = -4 s (s + \tfrac2\pi e),

    and ``L t^2`` tends to `orthogonal_student_constant`: the conjectured worst rate is attained.
    The start has e = 0.

    Parameters
    ----------
    times
        Increasing times from 0 on.
    mass
        The initial mass.
    norm
        A, the teacher's norm.

    Raises
    ------
    ValueError
        If mass or norm is not positive, or the times do not increase.

    Examples
    --------
    >>> loss, mass = orthogonal_student_flow([0.0, 1e5], mass=0.1)
    >>> round(float(loss.value[1]) * 1e10, 4)
    0.0525
    """
    if not (0 < mass < np.inf and 0 < norm < np.inf):
        message = f"Expected a positive mass and norm. Received: {mass!r} and {norm!r}."
        raise ValueError(message)

    def field(t: float, state: np.ndarray) -> np.ndarray:
        del t
        e, s = state  # in units of the teacher's norm, times of its inverse
        return np.array([
            -4 * (1 + e) * (e + 2 * s / np.pi),
            -4 * s * (s + 2 * e / np.pi),
        ])

    e, s = _solved(field, [0.0, mass / norm], times, clock=norm)
    loss = norm**2 * (e**2 + s**2 + (4 / np.pi) * e * s) / 2
    return _predictions(times, loss, norm * s, "mass")


def rectifier_pair_flow(
    times: Times, *, angle: float, norm: float = 1.0
) -> tuple[Prediction, Prediction]:
    r"""Loss and angle of two equal ReLU students at ``+-theta`` of one teacher.

    The first toy case of xu2023over in continuous time. With the students' length g and
    ``e = 2 g cos(theta) - |v|``,

    .. math:: L = \tfrac14 e^2 + \tfrac1\pi e\, g\, s(\theta)
              + \tfrac1{2\pi} g^2 (2\theta - \sin 2\theta),

    ``theta t -> pi`` and ``L t^3 -> pi^2 |v|^2 / 6`` (derived here). The start has e = 0.

    Parameters
    ----------
    times
        Increasing times from 0 on.
    angle
        The initial angle of each student to v, in (0, pi/2).
    norm
        ``|v|``.

    Raises
    ------
    ValueError
        If the angle is not in (0, pi/2), the norm not positive, or the times do not increase.

    Examples
    --------
    >>> loss, theta = rectifier_pair_flow([0.0, 1e5], angle=0.3)
    >>> round(float(theta.value[1]) * 1e5, 2), round(float(loss.value[1]) * 1e15, 2)
    (3.14, 1.64)
    """
    _check_pair(angle, norm)

    def field(t: float, state: np.ndarray) -> np.ndarray:
        del t
        e, theta = state  # lengths in units of the teacher's
        g = (1 + e) / (2 * np.cos(theta))
        along_e = e / 2 + g * sine_gap(theta) / np.pi
        sine = np.sin(theta)
        in_angle = -2 * g * sine * along_e + (e * g * theta * sine + 2 * (g * sine) ** 2) / np.pi
        in_length = 2 * np.cos(theta) * along_e
        in_length += (e * sine_gap(theta) + g * sine_excess(2 * theta)) / np.pi
        turn = -in_angle / (2 * g**2)
        return np.array([-np.cos(theta) * in_length - 2 * g * sine * turn, turn])

    e, theta = _solved(field, [0.0, angle], times)
    g = (1 + e) / (2 * np.cos(theta))
    loss = e**2 / 4 + (e * g * sine_gap(theta) + g**2 * sine_excess(2 * theta) / 2) / np.pi
    return _predictions(times, norm**2 * loss, theta, "angle")


def _check_pair(angle: float, norm: float) -> None:
    if not (0 < angle < np.pi / 2 and 0 < norm < np.inf):
        message = "Expected an angle in (0, pi/2) and a positive norm. Received: "
        message += f"{angle!r} and {norm!r}."
        raise ValueError(message)


def _solved(
    field: Callable[[float, np.ndarray], np.ndarray],
    start: list[float],
    times: Times,
    *,
    clock: float = 1.0,
) -> np.ndarray:
    """The flow at ``clock * times``, by an implicit method: e relaxes fast, the rest slowly."""
    from scipy.integrate import solve_ivp

    instants = np.asarray(times, dtype=np.float64)
    if (
        instants.ndim != 1
        or len(instants) == 0
        or not np.all(np.isfinite(instants))
        or instants[0] < 0
        or np.any(np.diff(instants) <= 0)
    ):
        message = f"Expected increasing times from 0 on. Received: {times!r}."
        raise ValueError(message)
    if instants[-1] == 0:
        return np.array(start)[:, None]
    instants = clock * instants
    path = solve_ivp(
        field, (0.0, instants[-1]), start, "LSODA", t_eval=instants, rtol=_RTOL, atol=[1e-13, 1e-16]
    )
    return path.y


def _predictions(
    times: Times, loss: np.ndarray, other: np.ndarray, name: str
) -> tuple[Prediction, Prediction]:
    instants = np.asarray(times, dtype=np.float64)
    curve = Prediction("loss", instants, loss, "exact", "derived here")
    return curve, replace(curve, name=name, value=other)
