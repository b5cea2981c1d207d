r"""Noisy descent of a neuron in a frozen potential, as a chain that jumps between grid cells.

Rates of Scharfetter-Gummel: from a cell i to its neighbour j at distance h

.. math:: q_{ij} = \frac{\tau}{h^2} B(U_j - U_i), \qquad B(z) = \frac{z}{e^z - 1},
          \qquad U = V / \tau,

are reversible with respect to ``exp(-U)`` on the grid, to rounding; edges that would leave the box
are dropped, so that mass is kept. The error is of second order in h.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.sparse.linalg import splu

_LEAF = 16  # cells that are not cut any further
_SERIES = 0.02  # below it B' loses digits: three terms of its series leave 1e-16


class Edges:
    """The pairs of neighbouring cells of a grid of given shape and spacings.

    Attributes
    ----------
    low, high
        The two cells of each edge.
    conductance
        ``tau / h^2`` of each edge.
    """

    def __init__(self, shape: Sequence[int], spacings: Sequence[float], temperature: float = 1.0):
        cells = np.arange(np.prod(shape)).reshape(shape)
        low, high, conductance = [], [], []
        for axis, spacing in enumerate(spacings):
            size = shape[axis]
            low.append(np.take(cells, np.arange(size - 1), axis).ravel())
            high.append(np.take(cells, np.arange(1, size), axis).ravel())
            conductance.append(np.full(low[-1].size, temperature / spacing**2))
        self.shape, self.num_cells = tuple(shape), cells.size
        self.low, self.high = np.concatenate(low), np.concatenate(high)
        self.conductance = np.concatenate(conductance)

    @cached_property
    def dissection(self) -> np.ndarray:
        """The order in which cells are best eliminated."""
        cells = np.arange(self.num_cells).reshape(self.shape)
        return np.concatenate(_nested_dissection(cells)) if cells.ndim == 2 else cells

    @cached_property
    def elimination(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the diagonal, the rates up and those down go in a CSC matrix in that order."""
        place = np.argsort(self.dissection)
        low, high = place[self.low], place[self.high]
        rows, columns = np.concatenate([place, high, low]), np.concatenate([place, low, high])
        order = np.lexsort((rows, columns))
        counts = np.bincount(columns, minlength=self.num_cells)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return order, rows[order].astype(np.int32), starts.astype(np.int32)

    @cached_property
    def divergence(self) -> sp.csr_array:
        """What a unit flux along each edge from low to high adds to the cells."""
        edges = np.arange(self.low.size)
        ones = np.ones(edges.size)
        rows, columns = np.concatenate([self.high, self.low]), np.concatenate([edges, edges])
        values = np.concatenate([ones, -ones])
        return sp.csr_array((values, (rows, columns)), (self.num_cells, edges.size))

    def rates(
        self, potential: Float[np.ndarray, " c"]
    ) -> tuple[Float[np.ndarray, " e"], Float[np.ndarray, " e"]]:
        """Rates from low to high and back, for the potential ``U = V / tau``."""
        difference = potential[self.high] - potential[self.low]
        up, down = bernoulli(difference)
        return self.conductance * up, self.conductance * down

    def generator(self, potential: Float[np.ndarray, " c"]) -> sp.csc_array:
        """``Q``, which acts on vectors of masses: ``d mu / dt = Q mu``. Columns sum to 0."""
        up, down = self.rates(potential)
        rows = np.concatenate([self.high, self.low, self.low, self.high])
        columns = np.concatenate([self.low, self.high, self.low, self.high])
        values = np.concatenate([up, down, -up, -down])
        return sp.csc_array((values, (rows, columns)), (self.num_cells, self.num_cells))

    def response(
        self,
        potential: Float[np.ndarray, " c"],
        mass: Float[np.ndarray, " c"],
        changes: Float[np.ndarray, "c q"],
    ) -> Float[np.ndarray, "c q"]:
        """The derivative of ``Q mu`` in the potential ``U``, along each of several changes."""
        difference = potential[self.high] - potential[self.low]
        slope_up, slope_down = bernoulli_slopes(difference)
        sensitivity = self.conductance * (slope_up * mass[self.low] + slope_down * mass[self.high])
        return self.divergence @ (sensitivity[:, None] * (changes[self.high] - changes[self.low]))


def bernoulli(
    z: Float[np.ndarray, "*s"],
) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """``B(z) = z / (e^z - 1)`` and ``B(-z)``, which is larger by z.

    Examples
    --------
    >>> bernoulli(np.array([0.0, 1000.0]))
    (array([1., 0.]), array([   1., 1000.]))
    """
    size = np.abs(z)
    safe = np.where(size == 0, 1.0, size)
    small = np.where(size == 0, 1.0, safe * np.exp(-safe) / -np.expm1(-safe))
    return small + np.maximum(-z, 0), small + np.maximum(z, 0)


def bernoulli_slopes(
    z: Float[np.ndarray, "*s"],
) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """``B'(z)`` and ``B'(-z)``, whose sum is -1.

    Examples
    --------
    >>> bernoulli_slopes(np.zeros(1))
    (array([-0.5]), array([-0.5]))
    """
    value, mirrored = bernoulli(z)
    near = np.abs(z) < _SERIES
    safe = np.where(near, 1.0, z)
    series = -1 / 2 + z / 6 - z**3 / 180
    slope = np.where(near, series, value * (1 - mirrored) / safe)
    return slope, -1 - slope


class Resolvent:
    """``(I - dt Q)^{-1}`` by sparse LU factors.

    The matrix is an M-matrix whose columns sum to 1. Eliminated without pivoting, every step adds
    numbers of one sign only, so that masses are solved for masses: none turns negative, and their
    sum is kept to rounding.
    """

    def __init__(self, edges: Edges, potential: Float[np.ndarray, " c"], step: float):
        up, down = edges.rates(potential)
        cells = edges.num_cells
        leaving = np.bincount(edges.low, up, cells) + np.bincount(edges.high, down, cells)
        values = np.concatenate([1 + step * leaving, -step * up, -step * down])
        order, indices, starts = edges.elimination
        matrix = sp.csc_array((values[order], indices, starts), (cells, cells))
        self._order = edges.dissection
        self._factors = splu(
            matrix,
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def solve(self, right: Float[np.ndarray, "c *q"]) -> Float[np.ndarray, "c *q"]:
        """The resolvent applied to a vector, or to columns."""
        solution = np.empty_like(right)
        solution[self._order] = self._factors.solve(right[self._order])
        return solution


def _nested_dissection(cells: np.ndarray) -> list[np.ndarray]:
    """An elimination order with little fill: two halves, then the line that separates them."""
    if cells.size <= _LEAF or min(cells.shape) <= 2:
        return [cells.ravel()]
    cells = cells if cells.shape[0] >= cells.shape[1] else cells.T
    middle = cells.shape[0] // 2
    halves = _nested_dissection(cells[:middle]) + _nested_dissection(cells[middle + 1 :])
    return [*halves, cells[middle]]
