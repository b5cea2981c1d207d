r"""The residual as a flat and a spiky part, and the loss without cancellation.

With the partition into clusters ``T_i`` and the deviations ``v_i`` of their average neurons,

.. math:: R = f - f^* = R_1 + R_2, \qquad R_1 = \sum_i v_i.x\, \mathrm{sgn}(w^*_i.x), \qquad
          R_2 = \sum_i \sum_{j \in T_i} p_j \ge 0, \quad
          p_j = u_j.x\, (\mathrm{sgn}(u_j.x) - \mathrm{sgn}(w^*_i.x))

(zhou2021local, equation 3 and Lemma C.3). Every term below is small where its neuron is near its
teacher, so a loss of 1e-30 keeps its digits. Within one cluster the terms are closed forms. Across
clusters a neuron at a small angle is written as its way from its teacher's ray: with
``a_s = (u.w) w + s D``, D orthogonal to w, ``p = int_0^1 2 (1 - s) (D.x)^2 delta(a_s.x) ds``.
All derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import angle, sine_gap, unit
from twolayer.theory.local_convergence.absolute_value import absolute_kernel, output_vectors
from twolayer.theory.local_convergence.configuration import sign_free_angles
from twolayer.theory.local_convergence.flatness import flatness_matrix, sine_excess
from twolayer.theory.local_convergence.matching import match_neurons

# Up to this angle, as a share of the teacher's separation, ten nodes give the way to 12 digits.
_SMALL = 0.2
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS * (1 - _NODES) / 2  # of int_0^1 2 (1 - s) g(s) ds


@dataclass(frozen=True)
class ResidualDecomposition:
    """Second moments of the two parts of the residual.

    Attributes
    ----------
    flat
        ``|R_1|^2 = v^T M v``.
    cross
        ``<R_1, R_2>``, of either sign.
    spiky
        ``|R_2|^2``.
    loss
        ``L = (flat + 2 cross + spiky) / 2``, to full relative accuracy near zero loss.
    """

    flat: float
    cross: float
    spiky: float

    @property
    def loss(self) -> float:
        """``L = (flat + 2 cross + spiky) / 2``."""
        return (self.flat + 2 * self.cross + self.spiky) / 2


@dataclass(frozen=True)
class _Spikes:
    """Aligned neurons u, unit teachers w of their clusters, ``u = height w + D``; who is near."""

    u: np.ndarray
    w: np.ndarray
    angle: np.ndarray
    near: np.ndarray
    height: np.ndarray
    D: np.ndarray


def decompose_residual(
    W: Float[np.ndarray, "m d"], teacher: Float[np.ndarray, "r d"]
) -> ResidualDecomposition:
    """The parts of the residual and the loss, accurate for losses down to 1e-30.

    Costs of order ``100 m^2``. The loss of students
    that are far from every teacher comes out like that of `loss`, to about 1e-15.

    Examples
    --------
    Two students at angles ``+-delta`` of one teacher, their average equal to it (Claim 2 of
    zhou2021local):

    >>> delta = 1e-6
    >>> W = np.array([[1.0, np.tan(delta)], [1.0, -np.tan(delta)]]) / np.sqrt(2)
    >>> W *= np.cos(delta) ** 0.5
    >>> f"{decompose_residual(W, np.array([[1.0, 0.0]])).loss:.6e}"
    '2.122066e-19'
    """
    matching = match_neurons(W, teacher)
    V = np.asarray(teacher, dtype=np.float64)
    directions, v = unit(V), matching.deviation
    flat = float(v.ravel() @ flatness_matrix(V) @ v.ravel())
    kept = matching.mass > 0
    u, cluster = output_vectors(matching.aligned[kept]), matching.cluster[kept]
    w = directions[cluster]
    height = np.sum(u * w, axis=1)
    delta = matching.angle[kept]
    near = delta <= _SMALL * np.minimum(1.0, _separations(V))[cluster]
    spikes = _Spikes(u, w, delta, near, height, u - height[:, None] * w)
    own = cluster[:, None] == cluster[None, :]
    products = np.where(own, _within(spikes), 0.0)
    rows, columns = np.nonzero(np.triu(~own))
    if len(rows):
        products[rows, columns] = products[columns, rows] = _across(spikes, rows, columns)
    ours = cluster[None, :] == np.arange(len(V))[:, None]
    slopes = np.where(ours, _own_slope(spikes, v[cluster])[None, :], 0.0)
    for teacher_index, mine in enumerate(ours):
        others = np.nonzero(~mine)[0]
        if len(others):
            slopes[teacher_index, others] = _slope(
                spikes, others, v[teacher_index], directions[teacher_index]
            )
    return ResidualDecomposition(flat, float(np.sum(slopes)), float(np.sum(products)))


def _separations(V: np.ndarray) -> np.ndarray:
    """The angle of each teacher to the nearest other one; pi/2 at most."""
    return np.min(sign_free_angles(V, V) + np.pi * np.eye(len(V)), axis=1)


def _within(spikes: _Spikes) -> np.ndarray:
    """``E p_a p_b`` of one cluster; what stands for pairs of two clusters is not used."""
    u, delta = spikes.u, spikes.angle
    norms = np.linalg.norm(u, axis=1)
    c = angle(u[:, None], u[None])
    eta = np.maximum(delta[:, None] + delta[None] - c, 0.0)
    wedge = np.sin(c) * 2 * np.sin(eta / 2) ** 2 + np.cos(c) * sine_excess(eta)
    return (2 / np.pi) * norms[:, None] * norms[None] * wedge


def _own_slope(spikes: _Spikes, v: np.ndarray) -> np.ndarray:
    """``E[v.x sgn(w.x) p]`` with the neuron's own teacher w and ``v [m, d]``."""
    norms, n = np.linalg.norm(spikes.u, axis=1), unit(spikes.D)
    along = np.sum(v * spikes.w, axis=1) * sine_gap(spikes.angle)
    return (
        (2 / np.pi) * norms * (along - spikes.angle * np.sin(spikes.angle) * np.sum(v * n, axis=1))
    )


def _slope(spikes: _Spikes, which: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """``E[v.x sgn(w.x) p]`` for the neurons `which`, w the teacher of another cluster."""
    small = spikes.near[which]
    values = np.empty(len(which))
    near, far = which[small], which[~small]
    if len(near):
        a, D, density = _way(spikes, near)
        moment = _sign_moment(_off(v, a), D, _off(w, a))
        values[small] = (density * moment) @ _WEIGHTS
    u = spikes.u[far]
    values[~small] = _signed_mean(w, v, u) - _sign_product(v, u, w, spikes.w[far])
    return values


def _across(spikes: _Spikes, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``E p_a p_b`` for pairs of neurons of two clusters."""
    small = spikes.near
    values = np.empty(len(rows))
    both = small[rows] & small[columns]
    values[both] = _both_near(spikes, rows[both], columns[both])
    neither = ~small[rows] & ~small[columns]
    values[neither] = _both_far(spikes, rows[neither], columns[neither])
    mixed = ~both & ~neither
    near = np.where(small[rows[mixed]], rows[mixed], columns[mixed])
    far = np.where(small[rows[mixed]], columns[mixed], rows[mixed])
    if len(near):
        a, D, density = _way(spikes, near)
        y, z = _off(spikes.u[far][:, None], a), _off(spikes.w[far][:, None], a)
        moment = _absolute_moment(y, D) - _sign_moment(y, D, z)
        values[mixed] = (density * moment) @ _WEIGHTS
    return values


def _both_near(spikes: _Spikes, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Two ways from the rays: ``E (D_a.x)^2 (D_b.x)^2 delta(a_s.x) delta(b_t.x)``, integrated."""
    if not len(rows):
        return np.empty(0)

    def gram(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.sum(left[rows] * right[columns], axis=1)[:, None, None]

    s, t = _NODES[None, :, None], _NODES[None, None, :]
    high_a, high_b = (spikes.height[k][:, None, None] for k in (rows, columns))
    square_a, square_b = (np.sum(spikes.D[k] ** 2, axis=1)[:, None, None] for k in (rows, columns))
    DD = gram(spikes.D, spikes.D)
    Da_b = high_b * gram(spikes.D, spikes.w) + t * DD
    a_Db = high_a * gram(spikes.w, spikes.D) + s * DD
    ab = high_a * high_b * gram(spikes.w, spikes.w) + t * high_a * gram(spikes.w, spikes.D)
    ab = ab + s * Da_b
    aa, bb = high_a**2 + s**2 * square_a, high_b**2 + t**2 * square_b
    Da_a, Db_b = s * square_a, t * square_b
    det = aa * bb - ab**2

    def off_both(xy, xa, xb, ya, yb):
        """The product of two vectors less their parts in the plane of a_s and b_t."""
        return xy - (xa * (ya * bb - yb * ab) + xb * (yb * aa - ya * ab)) / det

    left = off_both(square_a, Da_a, Da_b, Da_a, Da_b)
    right = off_both(square_b, a_Db, Db_b, a_Db, Db_b)
    mixed = off_both(DD, Da_a, Da_b, a_Db, Db_b)
    integrand = (left * right + 2 * mixed**2) / (2 * np.pi * np.sqrt(det))
    return np.einsum("kst,s,t->k", integrand, _WEIGHTS, _WEIGHTS)


def _both_far(spikes: _Spikes, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``p = |u.x| - u.x sgn(w.x)`` multiplied out: no cancellation that matters at large angles."""
    ua, ub, wa, wb = spikes.u[rows], spikes.u[columns], spikes.w[rows], spikes.w[columns]
    values = [absolute_kernel(a[None], b[None])[0, 0] for a, b in zip(ua, ub, strict=True)]
    signed = _signed_mean(wb, ub, ua) + _signed_mean(wa, ua, ub)
    return np.asarray(values) - signed + _sign_product(ua, ub, wa, wb)


def _way(spikes: _Spikes, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit ``a_s``, D off it, and the density of ``a_s.x`` at 0: ``[k, s, d]`` and ``[k, s]``."""
    D = spikes.D[which][:, None, :]
    path = (spikes.height[which][:, None] * spikes.w[which])[:, None, :]
    path = path + _NODES[None, :, None] * D
    a = unit(path)
    return a, _off(D, a), 1 / (np.sqrt(2 * np.pi) * np.linalg.norm(path, axis=2))


def _off(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The part of x orthogonal to the unit vectors a."""
    return x - np.sum(x * a, axis=-1, keepdims=True) * a


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sum(x * y, axis=-1)


def _sign_moment(y: np.ndarray, t: np.ndarray, z: np.ndarray) -> np.ndarray:
    """``E (y.x) (t.x)^2 sgn(z.x)``."""
    size = _dot(z, z)
    skew = _dot(y, z) * (_dot(t, t) - _dot(t, z) ** 2 / size) + 2 * _dot(t, z) * _dot(y, t)
    return np.sqrt(2 / (np.pi * size)) * skew


def _absolute_moment(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``E |y.x| (t.x)^2``."""
    size = np.sqrt(_dot(y, y))
    return np.sqrt(2 / np.pi) * (size * _dot(t, t) + _dot(y, t) ** 2 / size)


def _signed_mean(w: np.ndarray, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """``E sgn(w.x) v.x |u.x|`` for unit w."""
    theta = angle(w, u)
    across = _dot(w, v) * np.linalg.norm(u, axis=-1) * np.sin(theta)
    return (2 / np.pi) * (across + _dot(v, u) * (np.pi / 2 - theta))


def _sign_product(v: np.ndarray, u: np.ndarray, w: np.ndarray, z: np.ndarray) -> np.ndarray:
    """``E v.x u.x sgn(w.x) sgn(z.x)`` for unit w and z."""
    theta = angle(w, z)
    e = unit(z - _dot(w, z)[..., None] * w)
    vw, uw, ve, ue = _dot(v, w), _dot(u, w), _dot(v, e), _dot(u, e)
    turn = np.cos(theta) * (vw * uw - ve * ue) + np.sin(theta) * (vw * ue + ve * uw)
    return (1 - 2 * theta / np.pi) * _dot(v, u) + (2 / np.pi) * np.sin(theta) * turn
