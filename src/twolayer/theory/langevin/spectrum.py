"""How fast noisy descent converges in the end: the spectrum of the flow at its optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh, splu
from scipy.special import logsumexp

from twolayer.theory.langevin.generator import Edges
from twolayer.theory.langevin.grid import GridOptimum, ParameterGrid, grid_optimum

_DENSE = 300  # below it a dense matrix is quicker and eigsh may want more vectors than there are


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""The slowest modes of the flow linearised at its optimum, and of the frozen chain there.

    .. math:: \partial_t v = -A (\tau + K) v, \qquad A = -\tfrac1{\mu^*} \nabla \cdot (\mu^*
              \nabla), \qquad K v = \tfrac1n \sum_i l''_i\, \phi_i \langle \phi_i, v \rangle_{\mu^*}

    for ``mu = mu* (1 + v)`` (derived here). ``J - J*`` decays at twice the least rate m of
    ``A (tau + K)``, at least ``2 tau kappa`` with kappa the spectral gap of A, since K only helps.

    Attributes
    ----------
    rates
        ``2 m`` of each mode, slowest first: exponential rates of ``J - J*``.
    parities
        How each mode behaves where all parameters change sign: 1 for even, -1 for odd, in
        between where there is no such symmetry.
    frozen_rates
        ``2 tau kappa`` and the next ones: the same in the frozen potential of the optimum.
    frozen_parities
        Their parities.
    modes
        The ``v`` of each mode, one column a mode, of unit norm in ``L2(mu*)``.
    """

    rates: Float[np.ndarray, " q"]
    parities: Float[np.ndarray, " q"]
    frozen_rates: Float[np.ndarray, " q"]
    frozen_parities: Float[np.ndarray, " q"]
    modes: Float[np.ndarray, "c q"]

    @property
    def spectral_gap(self) -> float:
        """``2 tau kappa``: twice the spectral gap of the chain in the frozen potential."""
        return float(self.frozen_rates[0])


def spectrum(
    grid: ParameterGrid, optimum: GridOptimum | None = None, *, num_modes: int = 4
) -> Spectrum:
    """The slowest modes at the optimum, of the very chain that `fokker_planck` follows.

    Parameters
    ----------
    grid
        The grid: compare rates on the same one, they change with its spacing.
    optimum
        Its optimum, where it is known already.
    num_modes
        How many modes.

    Raises
    ------
    ValueError
        If there are not that many.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> from twolayer.free_energy import FreeEnergy
    >>> from twolayer.theory.langevin.grid import parameter_grid
    >>> problem = FreeEnergy([[1.0]], [0.0], tanh, 0.5, 0.7, 0.1)  # nothing to learn
    >>> grid = parameter_grid(problem, num_points=80)
    >>> bool(abs(spectrum(grid).spectral_gap - 2 * 0.5) < 0.01)
    True
    """
    if not 1 <= num_modes < grid.log_reference.size:
        message = f"Expected at least one mode and fewer than cells. Received: {num_modes!r}."
        raise ValueError(message)
    optimum = grid_optimum(grid) if optimum is None else optimum
    log_mass = grid.log_gibbs(grid.slopes(optimum.outputs))
    edges = Edges(grid.shape, grid.spacings, grid.temperature)
    inverse = _Inverse(edges, log_mass)
    root = np.exp(log_mass / 2)
    # K in L2 without weights: rows sqrt(mu* l''_i / n) phi_i, centred
    weights = np.sqrt(grid.curvatures(optimum.outputs) / grid.num_samples)
    centred = grid.features - grid.outputs(optimum.mass)[:, None]
    basis, sizes, _ = np.linalg.svd((weights[:, None] * centred * root).T, full_matrices=False)
    tau = grid.temperature
    shrink = 1 / np.sqrt(1 + sizes**2 / tau) - 1

    def root_inverse(v: np.ndarray) -> np.ndarray:
        """``(1 + K / tau)^(-1/2) v``."""
        return v + basis @ (shrink * (basis.T @ v))

    values, vectors = _largest(lambda v: root_inverse(inverse(root_inverse(v))), root, num_modes)
    scaled = np.stack([root_inverse(v) for v in vectors.T], axis=1)
    modes = np.divide(scaled, root[:, None], out=np.zeros_like(scaled), where=root[:, None] > 0)
    modes /= np.sqrt(np.sum(modes**2 * optimum.mass[:, None], axis=0))
    frozen_values, frozen = _largest(inverse, root, num_modes)
    return Spectrum(
        2 / values,
        _parities(scaled),
        2 / frozen_values,
        _parities(frozen),
        modes,
    )


def spectral_gap(
    log_mass: Float[np.ndarray, "..."], spacings: Sequence[float]
) -> tuple[float, Float[np.ndarray, "..."]]:
    """``kappa = inf int |grad f|^2 d pi / Var f`` of any law on a grid, and the f that attains it.

    Parameters
    ----------
    log_mass
        Logarithms of the masses, one axis a parameter.
    spacings
        The distance of neighbouring points on each axis.

    Examples
    --------
    >>> x = np.linspace(-14, 14, 401)
    >>> kappa, mode = spectral_gap(-(x**2) / 8, [x[1] - x[0]])
    >>> round(kappa, 3), mode.shape
    (0.25, (401,))
    """
    log = log_mass.ravel() - float(np.asarray(logsumexp(log_mass)))
    root = np.exp(log / 2)
    inverse = _Inverse(Edges(log_mass.shape, spacings), log)
    values, vectors = _largest(inverse, root, 1)
    mode = np.divide(vectors[:, 0], root, out=np.zeros_like(root), where=root > 0)
    return 1 / float(values[0]), mode.reshape(log_mass.shape)


def symmetrised(edges: Edges, log_mass: Float[np.ndarray, " c"]) -> sp.csc_array:
    """``-D^(-1/2) Q D^(1/2)`` with D the masses: ``tau A`` as a symmetric matrix."""
    up, down = edges.rates(-log_mass)
    cells = edges.num_cells
    leaving = np.bincount(edges.low, up, cells) + np.bincount(edges.high, down, cells)
    between = -np.sqrt(up * down)
    rows = np.concatenate([np.arange(cells), edges.low, edges.high])
    columns = np.concatenate([np.arange(cells), edges.high, edges.low])
    values = np.concatenate([leaving, between, between])
    return sp.csc_array((values, (rows, columns)), (cells, cells))


class _Inverse:
    """``(tau A)^{-1}`` on functions of mean zero, symmetrised by the square root of the masses."""

    def __init__(self, edges: Edges, log_mass: np.ndarray):
        matrix = symmetrised(edges, log_mass)
        # singular along the root of the masses: hold the heaviest cell at 0
        self._kept = np.delete(np.arange(log_mass.size), np.argmax(log_mass))
        self._factors = splu(
            matrix[self._kept][:, self._kept].tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        self._root = np.exp(log_mass / 2)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        v = v - self._root * (self._root @ v)
        solution = np.zeros_like(v)
        solution[self._kept] = self._factors.solve(v[self._kept])
        return solution - self._root * (self._root @ solution)


def _largest(operator, root: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric operator, falling, and their vectors."""
    size = root.size
    if size <= _DENSE:
        matrix = np.stack([operator(column) for column in np.eye(size)], axis=1)
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    else:
        linear = LinearOperator((size, size), matvec=operator, dtype=np.float64)  # type: ignore[call-arg]
        start = root * np.linspace(-1, 2, size)  # of no parity, and the same in each run
        values, vectors = eigsh(linear, k=count, which="LA", v0=start)
    order = np.argsort(values)[::-1][:count]
    return values[order], vectors[:, order]


def _parities(vectors: np.ndarray) -> np.ndarray:
    """``<v, v mirrored>``: the last cell is the mirror image of the first."""
    return np.sum(vectors * vectors[::-1], axis=0) / np.sum(vectors**2, axis=0)
