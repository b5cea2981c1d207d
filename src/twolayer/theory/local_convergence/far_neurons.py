r"""The least gradient at small losses: a problem about far neurons alone.

Far neurons of mass s cost a loss of order ``s^2``, while the clusters at the teachers re-adjust by
vectors of order s at no other cost. So as L falls, with ``R = sum_k |u_k.x| - sum_i c_i.x
sgn(w*_i.x)`` and the best c, loss and gradient become those of R; both are homogeneous in the far
neurons, and ``|grad L| / L^{3/4}`` depends on their directions and ratios only (derived here).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from twolayer.numerics.angles import angle, unit
from twolayer.theory.local_convergence.absolute_value import absolute_kernel, output_vectors
from twolayer.theory.local_convergence.configuration import checked_pair, checked_teacher
from twolayer.theory.local_convergence.flatness import flatness_matrix, sign_covariance

_ROUNDING = 1e-13  # of (sum |u|)^2: a loss below it has no digits
_NO_LOSS = 1e3  # the logarithm of a constant that no far neurons have


def far_neurons_limit(
    far: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "r d"]
) -> tuple[float, Float[np.ndarray, "n d"]]:
    r"""Loss and gradient of far neurons beside re-adjusted clusters, to leading order in them.

    .. math:: L = \tfrac12 \bigl(\textstyle\sum_{kl} k(u_k, u_l) - P^T M^{-1} P\bigr), \qquad
              P_i = \sum_k E[|u_k.x|\, x\, \mathrm{sgn}(w^*_i.x)]

    Parameters
    ----------
    far
        The far neurons, of any size: the loss scales like its fourth power.
    teacher
        Teacher neurons.

    Examples
    --------
    >>> value, slope = far_neurons_limit(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    >>> bool(np.isclose(value, (1 - 4 / np.pi**2) / 2)), slope.round(6).tolist()
    (True, [[0.0, 1.189431]])
    """
    students, V = checked_pair(far, teacher)
    return _limit(students, unit(V), flatness_matrix(V))


def far_neurons_constant(far: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "r d"]) -> float:
    """The limit of ``|grad L| / L^{3/4}`` as these far neurons shrink together.

    Raises
    ------
    ValueError
        If the far neurons are zero or all lie along teachers: they cost no loss then.

    Examples
    --------
    >>> constant = far_neurons_constant(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    >>> round(constant, 5)
    2.95379
    """
    value, slope = far_neurons_limit(far, teacher)
    if not value > _least_loss(np.asarray(far, dtype=np.float64)):
        message = "Expected far neurons off the teachers, whose loss is more than rounding. "
        message += f"Received: loss {value:.3g}."
        raise ValueError(message)
    return float(np.linalg.norm(slope)) / value**0.75


def worst_far_neurons(
    teacher: Float[np.ndarray, "r d"], num_far: int, *, starts: int = 6, seed: int = 0
) -> tuple[float, Float[np.ndarray, "n d"]]:
    """The least constant of so many far neurons, and the neurons, scaled to mass 1.

    A local search from random starts: an upper bound of the true minimum.

    Parameters
    ----------
    teacher
        Teacher neurons.
    num_far
        How many far neurons: students less teachers.
    starts
        Random starts.
    seed
        Seed of the starts.

    Raises
    ------
    ValueError
        If `num_far` or `starts` is below 1.

    Examples
    --------
    >>> constant, _ = worst_far_neurons(np.array([[1.0, 0.0]]), 1)
    >>> round(constant, 4)
    2.8315
    """
    if num_far < 1 or starts < 1:
        message = "Expected at least one far neuron and one start. Received: "
        message += f"{num_far!r} and {starts!r}."
        raise ValueError(message)
    V = checked_teacher(teacher)
    directions, M = unit(V), flatness_matrix(V)
    rng = np.random.default_rng(seed)

    def logarithm(w: np.ndarray) -> float:
        far = w.reshape(num_far, -1)
        value, slope = _limit(far, directions, M)
        if not value > _least_loss(far):  # all have reached a teacher: no finite ratio there
            return _NO_LOSS
        return float(np.log(np.linalg.norm(slope)) - 0.75 * np.log(value))

    best = (np.inf, np.zeros((num_far, V.shape[1])))
    for _ in range(starts):
        start = rng.normal(size=(num_far, V.shape[1]))
        found = minimize(logarithm, start.ravel(), method="BFGS", options={"gtol": 1e-6})
        if found.fun < min(best[0], _NO_LOSS):
            best = (float(found.fun), found.x.reshape(num_far, -1))
    return float(np.exp(best[0])), best[1] / np.linalg.norm(best[1])


def _least_loss(far: np.ndarray) -> float:
    return _ROUNDING * float(np.sum(far**2)) ** 2


def _limit(far: np.ndarray, directions: np.ndarray, M: np.ndarray) -> tuple[float, np.ndarray]:
    u, own = output_vectors(far), unit(far)
    norms = np.linalg.norm(u, axis=1)
    pulls = np.sum(_signed_field(directions, u, norms), axis=1)  # E[|u.x| x sgn(w_i.x)], over k
    c = np.linalg.solve(M, pulls.ravel())
    value = (float(np.sum(absolute_kernel(u, u))) - float(pulls.ravel() @ c)) / 2
    fields = np.sum(_signed_field(own, u, norms), axis=1)
    for k, direction in enumerate(own):
        for i, teacher in enumerate(directions):
            fields[k] -= sign_covariance(direction, teacher) @ c.reshape(directions.shape)[i]
    inward = np.sum(fields * own, axis=1, keepdims=True)
    return value, np.linalg.norm(far, axis=1, keepdims=True) * (fields + inward * own)


def _signed_field(a: np.ndarray, u: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """``E[|u.x| x sgn(a.x)]`` for unit a, ``[a, u, d]``."""
    theta = angle(a[:, None], u[None])
    along = (norms[None] * np.sin(theta))[..., None] * a[:, None]
    return (2 / np.pi) * (along + (np.pi / 2 - theta)[..., None] * u[None])
