r"""How steep the loss is in the directions that an exactly parameterized student has.

With one student a teacher, ``L = |R_1|^2 / 2`` to leading order and ``|R_1|^2 = v^T M v``.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import angle, sine_gap, supplement, unit
from twolayer.theory.local_convergence.configuration import checked_teacher


def sign_covariance(
    a: Float[np.ndarray, " d"], b: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "d d"]:
    r"""``M(a, b) = E[x x^T sgn(a.x) sgn(b.x)]``.

    .. math:: M = (1 - \tfrac{2\theta}{\pi}) I + \tfrac2\pi \sin\theta
              [\cos\theta (a a^T - e e^T) + \sin\theta (a e^T + e a^T)]

    for unit a and b, e the unit part of b orthogonal to a (derived here). Right also at small
    angles, at angles near pi, and for parallel vectors.

    Examples
    --------
    >>> M = sign_covariance(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    >>> bool(np.allclose(M, 2 / np.pi * np.array([[0, 1], [1, 0]])))
    True
    """
    first, second = unit(np.asarray(a, dtype=float)), unit(np.asarray(b, dtype=float))
    theta = float(angle(first, second))
    obtuse = theta > np.pi / 2
    apart = float(supplement(first, second)) if obtuse else theta
    if obtuse:  # M(a, b) = -M(a, -b)
        second = -second
    # b - cos(t) a = (b - a) + (1 - cos t) a, without cancellation at small t
    other = unit((second - first) + 2 * np.sin(apart / 2) ** 2 * first)
    own, cross = np.outer(first, first) - np.outer(other, other), np.outer(first, other)
    turn = np.cos(apart) * own + np.sin(apart) * (cross + cross.T)
    M = (1 - 2 * apart / np.pi) * np.eye(len(first)) + (2 / np.pi) * np.sin(apart) * turn
    return -M if obtuse else M


def flatness_matrix(teacher: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "rd rd"]:
    """The blocks ``M(w*_i, w*_j)``: ``|R_1|^2 = v^T M v`` for deviations v, row after row.

    zhou2021local, Lemma 11 and C.4; it is also the Hessian at the exactly parameterized minimum
    with respect to ``u_i = |w_i| w_i``.

    Examples
    --------
    >>> flatness_matrix(np.array([[1.0, 0.0]]))
    array([[1., 0.],
           [0., 1.]])
    """
    V = checked_teacher(teacher)
    return np.block([[sign_covariance(a, b) for b in V] for a in V])


def least_flatness(teacher: Float[np.ndarray, "r d"]) -> float:
    """The least eigenvalue of M: at least of order ``Delta^3 / r^3`` (Lemma 11).

    See Also
    --------
    least_flatness_of_pair : the closed form for two teachers, accurate at small angles.

    Examples
    --------
    >>> round(least_flatness(np.eye(2)), 6) == round(1 - 2 / np.pi, 6)
    True
    """
    return float(np.linalg.eigvalsh(flatness_matrix(teacher))[0])


def exact_hessian(teacher: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "rd rd"]:
    r"""The Hessian in the weights at the minimum of a student with one neuron a teacher.

    .. math:: H = J M J, \qquad J_{ii} = \|w^*_i\|^{1/2} (I + \bar w^*_i \bar w^{*T}_i)

    (derived here, from ``u = |w| w``). Such a student converges exponentially: ``L`` falls like
    ``exp(-2 lambda t)``, lambda the least eigenvalue that the start excites.

    Examples
    --------
    >>> exact_hessian(np.array([[2.0, 0.0]]))
    array([[8., 0.],
           [0., 2.]])
    """
    V = checked_teacher(teacher)
    r, d = V.shape
    J = np.zeros((r, d, r, d))
    for i, v in enumerate(V):
        direction = unit(v)
        projector = np.outer(direction, direction)
        J[i, :, i, :] = np.sqrt(np.linalg.norm(v)) * (np.eye(d) + projector)
    J = J.reshape(r * d, r * d)
    return J @ flatness_matrix(V) @ J


def least_flatness_of_pair(separation: float) -> float:
    r"""The least eigenvalue of M for two teachers at a signed angle.

    .. math:: \lambda_{\min} = \tfrac2\pi (\Delta - \sin\Delta) = \tfrac{\Delta^3}{3\pi} + \dots,
              \qquad \Delta = \min(\theta, \pi - \theta)

    (derived here): the power ``Delta^3`` of Lemma 11 of zhou2021local cannot be improved.

    Raises
    ------
    ValueError
        If the angle is not between 0 and pi.

    Examples
    --------
    >>> round(least_flatness_of_pair(1e-3) / (1e-9 / (3 * np.pi)), 6)
    1.0
    """
    if not 0 < separation < np.pi:
        message = f"Expected an angle between 0 and pi. Received: {separation!r}."
        raise ValueError(message)
    return float(2 / np.pi * sine_excess(min(separation, np.pi - separation)))


def sine_excess(t: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
    """``t - sin t``, ``t^3 / 6`` at small t, to full relative accuracy.

    Examples
    --------
    >>> round(float(sine_excess(1e-5)) * 6e15, 6)
    1.0
    """
    t = np.asarray(t, dtype=np.float64)
    return 2 * t * np.sin(t / 2) ** 2 - sine_gap(t)
