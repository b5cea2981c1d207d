"""Families of spurious minima: critical points that keep a group of permutations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import optimize

from twolayer.theory.landscape.risk import (
    hessian_row,
    least_eigenvalue,
    relu_risk,
    relu_risk_gradient,
)

Mirror = Literal["all", "own"]
SPURIOUS = 1e-3  # losses from here on are no global minimum (safran2018spurious)
_SMALL_STEP = 1e-13
_ROUNDS = 12
_SHIFTS = (-0.5, -0.2, 0.2, 0.5)


@dataclass(frozen=True)
class Family:
    """A critical point of as many orthonormal neurons as teachers that keeps a symmetry.

    Attributes
    ----------
    sizes
        Sizes of the classes of neurons that permutations may exchange, with their teachers alike.
    mirror
        What the first class is a reflection of its teachers about: their ``"own"`` mean or the
        mean of ``"all"`` teachers.
    weights
        The student, shape ``[k, k]``, in coordinates where the teacher is the identity.
    loss, gradient_norm, least_eigenvalue
        The risk there, the norm of its gradient and the least eigenvalue of its Hessian.
    """

    sizes: tuple[int, ...]
    mirror: Mirror
    weights: Float[np.ndarray, "k k"]
    loss: float
    gradient_norm: float
    least_eigenvalue: float

    @property
    def is_spurious_minimum(self) -> bool:
        """Whether it is a local minimum and no global one."""
        return self.loss > SPURIOUS and self.least_eigenvalue > 0


def family(sizes: Sequence[int], *, mirror: Mirror = "all") -> Family:
    r"""The critical point next to a reflection of the first neurons, to rounding.

    ``k = sum(sizes)`` ReLU neurons on the teacher ``v_i = e_i``. The start is ``w_i = v_i`` except
    for the first class, whose neurons are reflected, ``w_i = -v_i + 2 mean(v)``, the mean over all
    teachers or over the class. The points that are constant on the orbits of permuting neurons
    and teachers of each class together form a space of at most ``c (c + 1)`` dimensions for c
    classes, which the gradient flow keeps; there a trust region method and Newton's method with
    the exact Hessian find the critical point. With three classes the first two are reflected as
    one, and the search starts off the point that treats them alike, along the direction of least
    curvature. Derived here; for k up to 22 it gives every minimum that safran2021effects found.

    Parameters
    ----------
    sizes
        Two sizes ``(p, k - p)``, or three ``(p, q, k - p - q)``.
    mirror
        About which mean the first class is reflected.

    Raises
    ------
    ValueError
        Unless there are two or three positive sizes and `mirror` is ``"all"`` or ``"own"``.

    Examples
    --------
    >>> point = family((1, 6))
    >>> round(point.loss, 6), round(point.least_eigenvalue, 6)
    (0.023203, 0.014059)
    """
    sizes = tuple(sizes)
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s >= 1 for s in sizes)
    if not whole or len(sizes) not in {2, 3}:
        message = f"Expected two or three positive class sizes. Received: {sizes!r}."
        raise ValueError(message)
    if mirror not in {"all", "own"}:
        message = f"Expected the mirror 'all' or 'own'. Received: {mirror!r}."
        raise ValueError(message)
    if len(sizes) == 2:
        return _at(sizes, mirror, _Reduced(sizes).critical_point(_reflected(sizes, mirror)))
    alike = family((sizes[0] + sizes[1], sizes[2]), mirror=mirror).weights
    reduced = _Reduced(sizes)
    softest = np.linalg.eigh(reduced.scaled_hessian(reduced.coordinates(alike)))[1][:, 0]
    shift = np.tensordot(softest / reduced.lengths, reduced.basis, 1)
    # Both ways along the softest direction, near and far: the lowest end is the family's.
    ends = [reduced.critical_point(alike + s * shift) for s in _SHIFTS]
    return _at(sizes, mirror, min(ends, key=lambda W: relu_risk(W, np.eye(len(W)))))


def families(k: int) -> tuple[Family, ...]:
    """The spurious minima of two classes that reflections lead to, by loss.

    For k neurons on k orthonormal teachers; nothing proves that there are no others.

    Parameters
    ----------
    k
        The number of neurons, teachers and dimensions.

    Raises
    ------
    ValueError
        Unless k is a whole number of at least 2.

    Examples
    --------
    >>> [point.sizes for point in families(5)], [point.sizes for point in families(7)]
    ([], [(1, 6), (6, 1)])
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 2:
        message = f"Expected at least 2 neurons. Received: {k!r}."
        raise ValueError(message)
    found: list[Family] = []
    for p, mirror in itertools.product(range(1, k), ("all", "own")):
        point = family((p, k - p), mirror=mirror)
        known = any(
            abs(point.loss - other.loss) < 1e-9 and point.sizes == other.sizes for other in found
        )
        if point.is_spurious_minimum and not known:
            found.append(point)
    return tuple(sorted(found, key=lambda point: point.loss))


def _at(sizes: tuple[int, ...], mirror: Mirror, W: np.ndarray) -> Family:
    V = np.eye(len(W))
    gradient = float(np.linalg.norm(relu_risk_gradient(W, V)))
    return Family(sizes, mirror, W, relu_risk(W, V), gradient, least_eigenvalue(W, V))


def _reflected(sizes: tuple[int, ...], mirror: Mirror) -> np.ndarray:
    k, p = sum(sizes), sizes[0]
    W = np.eye(k)
    mean = np.full(k, 1 / k) if mirror == "all" else np.repeat([1 / p, 0.0], [p, k - p])
    W[:p] = 2 * mean - W[:p]
    return W


class _Reduced:
    """The risk on the students that permutations of the neurons of each class leave alone."""

    def __init__(self, sizes: tuple[int, ...]):
        k = sum(sizes)
        label = np.repeat(np.arange(len(sizes)), sizes)
        orbits = []
        for a, b in itertools.product(range(len(sizes)), repeat=2):
            block = np.outer(label == a, label == b).astype(float)
            orbits += [block * np.eye(k), block * (1 - np.eye(k))] if a == b else [block]
        self.basis = np.array([orbit for orbit in orbits if np.any(orbit)])
        self.lengths = np.sqrt(np.sum(self.basis, axis=(1, 2)))
        self._teacher = np.eye(k)
        self._first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._sizes = sizes

    def coordinates(self, W: np.ndarray) -> np.ndarray:
        return np.tensordot(self.basis, W, 2) / self.lengths**2

    def weights(self, z: np.ndarray) -> np.ndarray:
        return np.tensordot(z, self.basis, 1)

    def loss(self, z: np.ndarray) -> float:
        return relu_risk(self.weights(z), self._teacher)

    def gradient(self, z: np.ndarray) -> np.ndarray:
        return np.tensordot(self.basis, relu_risk_gradient(self.weights(z), self._teacher), 2)

    def hessian(self, z: np.ndarray) -> np.ndarray:
        """One row of blocks a class is enough: the others are permutations of it."""
        W = self.weights(z)
        H = np.zeros((z.size, z.size))
        for size, i in zip(self._sizes, self._first, strict=True):
            row = hessian_row(W, self._teacher, int(i))
            image = np.tensordot(row, self.basis, axes=([1, 2], [1, 2]))
            H += size * self.basis[:, i, :] @ image
        return (H + H.T) / 2

    def scaled_hessian(self, z: np.ndarray) -> np.ndarray:
        """In coordinates of unit length, with the eigenvalues of the full Hessian."""
        return self.hessian(z) / np.outer(self.lengths, self.lengths)

    def critical_point(self, W: np.ndarray) -> np.ndarray:
        z = optimize.minimize(
            self.loss, self.coordinates(W), jac=self.gradient, hess=self.hessian,
            method="trust-exact", options={"gtol": 1e-8, "maxiter": 500},
        ).x  # fmt: skip
        for _ in range(_ROUNDS):
            step = np.linalg.lstsq(self.hessian(z), self.gradient(z))[0]
            z = z - step
            if np.max(np.abs(step)) < _SMALL_STEP:
                break
        return self.weights(z)
