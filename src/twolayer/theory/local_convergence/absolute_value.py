r"""Closed forms of the absolute-value student whose norms are its output weights.

Student ``f(x) = sum_j |w_j| |w_j . x| = sum_j |u_j . x|`` with ``u_j = |w_j| w_j``, teacher
``f*(x) = sum_i |w*_i . x|``, loss ``L = E (f - f*)^2 / 2`` over standard normal x: the setting of
zhou2021local, Definition 2.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import angle, sine_gap, supplement, unit
from twolayer.theory.local_convergence.configuration import checked_pair


def output_vectors(W: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
    """``u_j = |w_j| w_j``: the student is ``sum_j |u_j . x|``.

    Examples
    --------
    >>> output_vectors(np.array([[0.0, 2.0]]))
    array([[0., 4.]])
    """
    return np.linalg.norm(W, axis=1, keepdims=True) * W


def absolute_kernel(
    U: Float[np.ndarray, "m d"], V: Float[np.ndarray, "r d"]
) -> Float[np.ndarray, "m r"]:
    r"""``E |u.x| |v.x|`` for all pairs.

    .. math:: k(u, v) = |u \cdot v| + \tfrac2\pi \|u\| \|v\| (\sin t - t \cos t),
              \qquad t = \min(\theta, \pi - \theta)

    (derived here), free of cancellation: both terms are positive.

    Examples
    --------
    >>> k = absolute_kernel(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))[0, 0]
    >>> round(float(np.pi * k), 12)
    2.0
    """
    t = np.minimum(angle(U[:, None], V[None]), supplement(U[:, None], V[None]))
    norms = np.linalg.norm(U, axis=1)[:, None] * np.linalg.norm(V, axis=1)[None]
    return np.abs(U @ V.T) + (2 / np.pi) * norms * sine_gap(t)


def loss(W: Float[np.ndarray, "m d"], teacher: Float[np.ndarray, "r d"]) -> float:
    """The population loss as a sum of kernels: right to about 1e-15 of ``E f*^2``.

    See Also
    --------
    decompose_residual : the same without cancellation, for losses down to 1e-30.

    Examples
    --------
    >>> loss(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))
    0.0
    """
    students, V = checked_pair(W, teacher)
    both = np.concatenate([output_vectors(students), V])
    signs = np.concatenate([np.ones(len(students)), -np.ones(len(V))])
    return float(signs @ absolute_kernel(both, both) @ signs) / 2


def gradient(
    W: Float[np.ndarray, "m d"], teacher: Float[np.ndarray, "r d"]
) -> Float[np.ndarray, "m d"]:
    r"""The gradient of the population loss with respect to each ``w_j``.

    .. math:: \nabla_{w_j} L = \|w_j\| (I + \bar w_j \bar w_j^T) E[R(x)\, x\, \mathrm{sgn}(w_j.x)],
              \qquad E[|v.x|\, x\, \mathrm{sgn}(u.x)]
              = \tfrac2\pi [\|v\| \sin\theta\, \bar u + (\pi/2 - \theta) v]

    zhou2021local, Section 5.4; the closed form is derived here. It is 0 for a zero neuron.

    Examples
    --------
    >>> W = np.array([[1.0, 0.0]])
    >>> gradient(W, 3 * W)
    array([[-4.,  0.]])
    """
    students, V = checked_pair(W, teacher)
    u = output_vectors(students)
    others = np.concatenate([u, -V])  # a sign of v changes nothing but the sign of (pi/2 - t) v
    signs = np.concatenate([np.ones(len(u)), -np.ones(len(V))])
    directions = unit(students)
    theta = angle(directions[:, None], others[None])
    norms = np.linalg.norm(others, axis=1)
    along = np.sin(theta) @ (signs * norms)
    field = along[:, None] * directions + ((np.pi / 2 - theta) * signs) @ others
    field *= 2 / np.pi
    inward = np.sum(field * directions, axis=1, keepdims=True)
    return np.linalg.norm(students, axis=1, keepdims=True) * (field + inward * directions)


def hermite_coefficient(degree: int) -> float:
    r"""The coefficient ``s_k = E |x| h_k(x)`` of ``|x|`` in normalised Hermite polynomials.

    .. math:: s_0 = \sqrt{2/\pi}, \qquad
              s_k = (-1)^{k/2-1} \sqrt{\frac{2}{\pi k!}}\, (k-3)!! \quad (k \text{ even}),

    zhou2021local, Lemma C.11, with ``(-1)!! = 1``; 0 for odd k.

    Raises
    ------
    ValueError
        If `degree` is negative.

    Examples
    --------
    >>> round(hermite_coefficient(2) ** 2 * math.pi, 12)
    1.0
    """
    if degree < 0:
        message = f"Expected a degree of at least 0. Received: {degree}."
        raise ValueError(message)
    if degree % 2:
        return 0.0
    if degree == 0:
        return math.sqrt(2 / math.pi)
    half = degree // 2 - 1  # (k - 3)!! = (2 half)! / (2^half half!) = (2 half - 1)!!
    log_double = math.lgamma(2 * half + 1) - half * math.log(2) - math.lgamma(half + 1)
    log_size = (math.log(2 / math.pi) - math.lgamma(degree + 1)) / 2 + log_double
    return (-1) ** half * math.exp(log_size)
