"""The symmetry class of a student: which neurons and which teachers it doesn't tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_TOLERANCE = 1e-6  # of the largest overlap: descent to a gradient of 1e-9 leaves about 1e-7


@dataclass(frozen=True)
class SymmetryClass:
    """A matrix of overlaps up to permutations of its rows and of its columns.

    Attributes
    ----------
    neurons, teachers
        The sizes of the classes of rows and of columns, sorted by their signatures below.
    neuron_labels, teacher_labels
        The class of each row and each column.
    overlaps
        Mean overlap of each class of neurons with each class of teachers: off the matching, where
        the teachers are as many as the neurons of the class and each neuron has its own.
    own
        The overlap of a neuron with its own teacher, where it differs from that mean; else NaN.
    """

    neurons: tuple[int, ...]
    teachers: tuple[int, ...]
    neuron_labels: Int[np.ndarray, " n"]
    teacher_labels: Int[np.ndarray, " k"]
    overlaps: Float[np.ndarray, "a b"]
    own: Float[np.ndarray, " a"]

    @property
    def name(self) -> str:
        """The sizes as text, ``"1+6"`` say."""
        return "+".join(str(size) for size in self.neurons)


def symmetry_class(
    overlaps: Float[np.ndarray, "n k"], *, tolerance: float = _TOLERANCE
) -> SymmetryClass:
    """Group neurons and teachers that permutations could exchange.

    Two neurons stay in one class while, for each class of teachers, they hold the same multiset
    of overlaps with it; teachers likewise; and so on until no class splits (colour refinement).
    A class is a union of orbits under the permutations of rows and columns that keep the matrix,
    in practice one orbit; permuting rows and columns does not change the sizes.
    Classes are sorted by the overlap of their neurons with their own teachers, least first.

    Parameters
    ----------
    overlaps
        ``w_i . v_j``, shape ``[n, k]``.
    tolerance
        Overlaps closer than this share of the largest are equal.

    Raises
    ------
    ValueError
        Unless `overlaps` is a finite matrix and `tolerance` lies between 0 and 1.

    Examples
    --------
    >>> symmetry_class(np.diag([-0.6, 1.0, 1.0]) + 0.2).name
    '1+2'
    """
    M = np.asarray(overlaps, dtype=np.float64)
    if M.ndim != 2 or not M.size or not np.all(np.isfinite(M)):
        message = "Expected a finite matrix of overlaps, a row for each neuron. "
        message += f"Received: shape {M.shape}."
        raise ValueError(message)
    if not 0 < tolerance < 1:
        message = f"Expected a tolerance between 0 and 1. Received: {tolerance!r}."
        raise ValueError(message)
    levels = _levels(M, tolerance)
    rows, columns = np.zeros(len(M), int), np.zeros(M.shape[1], int)
    while True:
        new_rows = _refined(levels, rows, columns)
        new_columns = _refined(levels.T, columns, new_rows)
        if new_rows.max() == rows.max() and new_columns.max() == columns.max():
            break
        rows, columns = new_rows, new_columns
    return _described(M, levels, rows, columns)


def _levels(M: np.ndarray, tolerance: float) -> np.ndarray:
    """Overlaps replaced by whole numbers, equal for those that a chain of near values joins."""
    order = np.argsort(M, axis=None)
    values = M.ravel()[order]
    steps = np.diff(values, prepend=values[0]) > tolerance * np.max(np.abs(M))
    levels = np.empty(M.size, int)
    levels[order] = np.cumsum(steps)
    return levels.reshape(M.shape)


def _refined(levels: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Labels of rows after one round: old label and the sorted (class, level) pairs of the row."""
    pairs = others * (levels.max() + 1) + levels
    signatures = np.column_stack([own, np.sort(pairs, axis=1)])
    return np.unique(signatures, axis=0, return_inverse=True)[1].reshape(-1)


def _described(
    M: np.ndarray, levels: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> SymmetryClass:
    classes, teachers = rows.max() + 1, columns.max() + 1
    mean, own = np.empty((classes, teachers)), np.full(classes, np.nan)
    for a in range(classes):
        for b in range(teachers):
            block = np.ix_(rows == a, columns == b)
            matching, rest = _matching(levels[block])
            values = M[block]
            if matching is None:
                mean[a, b] = np.mean(values)
            else:
                mean[a, b] = np.mean(values[levels[block] == rest])
                own[a] = np.mean(values[levels[block] == matching])
    keys = np.where(np.isnan(own), np.max(mean, axis=1), own)
    # a single neuron has a block of one entry: its own teacher is the single one it is furthest on
    single = np.flatnonzero(np.bincount(columns) == 1)
    for a in np.flatnonzero((np.bincount(rows) == 1) & np.isnan(own)):
        if single.size:
            overlaps = mean[a, single]
            keys[a] = overlaps[np.argmax(np.abs(overlaps))]
    order = np.lexsort((np.bincount(rows), keys))
    rank = np.argsort(order)
    sizes = np.bincount(columns)
    by_size = np.lexsort((np.arange(teachers), sizes))
    return SymmetryClass(
        tuple(int(size) for size in np.bincount(rows)[order]),
        tuple(int(size) for size in sizes[by_size]),
        rank[rows],
        np.argsort(by_size)[columns],
        mean[order][:, by_size],
        own[order],
    )


def _matching(levels: np.ndarray) -> tuple[int | None, int | None]:
    """The level that stands once in each row and column of a square block, and the other one."""
    values, counts = np.unique(levels, return_counts=True)
    size = len(levels)
    if levels.shape != (size, size) or size < 2 or len(values) != 2:
        return None, None
    for value, other, count in zip(values, values[::-1], counts, strict=True):
        once = levels == value
        if count == size and np.all(once.sum(axis=0) == 1) and np.all(once.sum(axis=1) == 1):
            return int(value), int(other)
    return None, None
