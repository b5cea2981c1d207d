r"""How much student mass can point away from all teachers, from the loss alone.

A dual certificate without hidden constants: the test function of zhou2021local, C.4.4,

.. math:: h(x) = \sqrt{\pi/2} - \sum_k h_l(\bar w^*_k.x) / s_l,

has ``<h, |w.x|> = |w| (1 - sum_k cos^l ang(w, w*_k))`` for even l >= 2, so ``<h, f - f*>`` is a
closed form, at most ``|h| sqrt(2 L)`` by Cauchy and Schwarz (derived here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from twolayer.numerics.angles import unit
from twolayer.theory.local_convergence.absolute_value import hermite_coefficient
from twolayer.theory.local_convergence.configuration import (
    checked_pair,
    checked_teacher,
    sign_free_angles,
)

_DEGREES = tuple(range(2, 42, 2))


@dataclass(frozen=True)
class FarMassCertificate:
    """The certificate at each degree l.

    Attributes
    ----------
    degrees
        Even degrees l, ``[k]``.
    statistic
        ``D_l = <h_l, R> = sum_j |w_j|^2 (1 - sum_k cos^l ang(w_j, w*_k)) + sum_i |w*_i|
        sum_{k != i} cos^l ang(w*_i, w*_k)``, ``[k]``.
    norm
        ``|h_l|``, ``[k]``.
    """

    degrees: Int[np.ndarray, " k"]
    statistic: Float[np.ndarray, " k"]
    norm: Float[np.ndarray, " k"]

    @property
    def loss_bound(self) -> float:
        """The loss is at least this: the best of ``D_l^2 / (2 |h_l|^2)``."""
        return float(np.max(self.statistic**2 / self.norm**2) / 2)


def far_mass_certificate(
    W: Float[np.ndarray, "m d"],
    teacher: Float[np.ndarray, "r d"],
    *,
    degrees: Sequence[int] = _DEGREES,
) -> FarMassCertificate:
    """Evaluate the certificate for a student.

    Examples
    --------
    A student orthogonal to the teacher costs loss, whatever its width:

    >>> W = np.array([[1.0, 0.0], [0.0, 0.5]])
    >>> certificate = far_mass_certificate(W, np.array([[1.0, 0.0]]))
    >>> bool(0.004 < certificate.loss_bound < 0.03)
    True
    """
    students, V = checked_pair(W, teacher)
    orders = _even(degrees)
    masses, weights = np.sum(students**2, axis=1), np.linalg.norm(V, axis=1)
    away = 1 - _powers(students, V, orders)
    others = _powers(V, V, orders) - 1
    statistic = away @ masses + others @ weights
    return FarMassCertificate(orders, statistic, _norms(V, orders))


def far_mass_bound(
    teacher: Float[np.ndarray, "r d"], *, loss: float, degrees: Sequence[int] = _DEGREES
) -> Float[np.ndarray, " k"]:
    """``|h_l| sqrt(2 L)``: the largest ``D_l`` that a student of this loss can have.

    Raises
    ------
    ValueError
        If the loss is negative, or a degree is not even and at least 2.

    Examples
    --------
    >>> float(far_mass_bound(np.eye(2), loss=0.0, degrees=[2])[0])
    0.0
    """
    if not loss >= 0:
        message = f"Expected a loss of at least 0. Received: {loss!r}."
        raise ValueError(message)
    return _norms(checked_teacher(teacher), _even(degrees)) * np.sqrt(2 * loss)


def _even(degrees: Sequence[int]) -> np.ndarray:
    orders = np.asarray(degrees)
    if orders.ndim != 1 or not len(orders) or not np.all((orders >= 2) & (orders % 2 == 0)):
        message = f"Expected even degrees of at least 2. Received: {degrees!r}."
        raise ValueError(message)
    return orders.astype(int)


def _powers(U: np.ndarray, V: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """``sum_k cos^l ang(u, v_k)`` for each degree and each u."""
    cosines = np.cos(sign_free_angles(U, V))
    return np.sum(cosines[None] ** orders[:, None, None], axis=2)


def _norms(V: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """``|h|^2 = pi/2 + s_l^{-2} sum_{k,j} (wb_k . wb_j)^l``."""
    cosines = unit(V) @ unit(V).T
    sums = np.sum(cosines[None] ** orders[:, None, None], axis=(1, 2))
    sizes = np.array([hermite_coefficient(int(order)) for order in orders])
    return np.sqrt(np.pi / 2 + sums / sizes**2)
