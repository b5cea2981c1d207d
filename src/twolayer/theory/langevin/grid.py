"""The free energy of laws of neurons with one or two parameters, exactly, on a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, xlogy

from twolayer.free_energy import FreeEnergy
from twolayer.theory.langevin.energy_bounds import field_size, reference_energy

_MAX_NEWTON = 100
_MAX_HALVINGS = 30
_TAIL = 7.0  # standard deviations of the reference kept: they leave 3e-12 of its mass outside


@dataclass(frozen=True, eq=False)
class ParameterGrid:
    """A box of neuron parameters cut into cells, with all that the free energy needs there.

    A law is a vector of cell masses that sum to 1. With the reference normalised on the same
    cells, duality holds on the grid as it does in the continuum, to rounding:
    ``energy(mu) - dual(slopes(outputs(mu))) = tau KL(mu | gibbs(...))``.

    Attributes
    ----------
    problem
        Whose free energy it is.
    axes
        Equally spaced points of each parameter: a (where it is trained), then w.
    features
        What a neuron in each cell outputs at each sample, ``a s(w . x_i)``.
    log_reference
        Logarithms of the masses of the reference gamma.
    """

    problem: FreeEnergy
    axes: tuple[Float[np.ndarray, " m"], ...]
    features: Float[np.ndarray, "n c"]
    log_reference: Float[np.ndarray, " c"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points of each axis."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def spacings(self) -> tuple[float, ...]:
        """The distance of neighbouring points on each axis."""
        return tuple(float(axis[1] - axis[0]) for axis in self.axes)

    @property
    def temperature(self) -> float:
        """The temperature tau."""
        return float(self.problem.temperature)

    @property
    def num_samples(self) -> int:
        """The number n of samples."""
        return self.features.shape[0]

    @cached_property
    def labels(self) -> Float[np.ndarray, " n"]:
        """The label of each sample."""
        return np.asarray(self.problem.y, dtype=np.float64)[:, 0]

    @property
    def reference(self) -> Float[np.ndarray, " c"]:
        """The masses of gamma, where training starts by default."""
        return np.exp(self.log_reference)

    def gaussian(
        self, mean: float | Sequence[float], std: float | Sequence[float]
    ) -> Float[np.ndarray, " c"]:
        """The masses of a Gaussian with independent parameters, normalised on the grid.

        Raises
        ------
        ValueError
            If a standard deviation is not positive, or numbers do not fit the axes.
        """
        means, stds = (np.asarray(v, dtype=np.float64).ravel() for v in (mean, std))
        dim = len(self.axes)
        if means.size not in {1, dim} or stds.size not in {1, dim} or not np.all(stds > 0):
            message = f"Expected {dim} means and positive standard deviations. "
            message += f"Received: {mean!r} and {std!r}."
            raise ValueError(message)
        points = np.meshgrid(*self.axes, indexing="ij")
        pairs = zip(np.broadcast_to(means, dim), np.broadcast_to(stds, dim), strict=True)
        terms = [((p - m) / s).ravel() ** 2 for p, (m, s) in zip(points, pairs, strict=True)]
        log = -np.sum(terms, axis=0) / 2
        return np.exp(log - _log_total(log))

    def outputs(self, mass: Float[np.ndarray, " c"]) -> Float[np.ndarray, " n"]:
        """``f_mu(x_i)`` at every sample."""
        return self.features @ mass

    def slopes(self, outputs: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """``l'(f_i, y_i)``: the residuals, for the square loss."""
        return self._of_loss("slope", outputs)

    def curvatures(self, outputs: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """``l''(f_i, y_i)``."""
        return self._of_loss("curvature", outputs)

    def risk(self, outputs: Float[np.ndarray, " n"]) -> float:
        """The mean loss of these outputs."""
        return float(np.mean(self._of_loss("__call__", outputs)))

    def _of_loss(self, name: str, values: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            function = getattr(self.problem.loss, name)
            return np.asarray(function(jnp.asarray(values), jnp.asarray(self.labels)))

    def energy(self, mass: Float[np.ndarray, " c"]) -> float:
        """``J(mu) = R(mu) + tau KL(mu | gamma)``."""
        divergence = self.divergence(mass, self.log_reference)
        return self.risk(self.outputs(mass)) + self.temperature * divergence

    def divergence(
        self, mass: Float[np.ndarray, " c"], log_other: Float[np.ndarray, " c"]
    ) -> float:
        """``KL(mu | other)``, the other law given by logarithms of its masses."""
        return math.fsum(xlogy(mass, mass) - mass * log_other)

    def log_gibbs(self, slopes: Float[np.ndarray, " n"]) -> Float[np.ndarray, " c"]:
        """Logarithms of the masses of ``pi ~ gamma exp(-(1/(n tau)) sum_i slopes_i phi_i)``."""
        log = self._log_weights(slopes)
        return log - _log_total(log)

    def dual(self, slopes: Float[np.ndarray, " n"]) -> float:
        """``D(r) = -mean_i l*(r_i) - tau log E_gamma exp(-r . phi / (n tau))``, at most J."""
        conjugate = float(np.mean(self._of_loss("conjugate", slopes)))
        return -conjugate - self.temperature * _log_total(self._log_weights(slopes))

    def gap(self, mass: Float[np.ndarray, " c"]) -> float:
        """``tau KL(mu | pi_mu) = J - D``: at least what is left to gain."""
        log_gibbs = self.log_gibbs(self.slopes(self.outputs(mass)))
        return self.temperature * self.divergence(mass, log_gibbs)

    def _log_weights(self, slopes: np.ndarray) -> np.ndarray:
        return self.log_reference - slopes @ self.features / (self.num_samples * self.temperature)


@dataclass(frozen=True, eq=False)
class GridOptimum:
    """The least free energy on a grid.

    Attributes
    ----------
    mass
        The law: a proximal Gibbs law that is its own.
    outputs
        ``f(x_i)``.
    energy
        ``J*``.
    dual
        The same from below.
    risk
        The risk alone.
    """

    mass: Float[np.ndarray, " c"]
    outputs: Float[np.ndarray, " n"]
    energy: float
    dual: float
    risk: float


def parameter_grid(
    problem: FreeEnergy,
    *,
    num_points: int | Sequence[int] = 100,
    half_widths: Sequence[float] | None = None,
) -> ParameterGrid:
    r"""A grid on the box ``[-A, A] x [-W, W]`` (or what of it the problem trains).

    By default the box holds all but 3e-12 of each proximal Gibbs law on the way from gamma:
    with ``|g| <= M`` while J is below its first value, and u = 7,

    .. math:: A = M / \lambda_a + u \sqrt{\tau/\lambda_a}, \qquad
              W = \sqrt{(u^2 \tau + M^2 / \lambda_a) / \lambda_w}

    for free output weights, and ``sqrt((u^2 tau + 4 b M) / decay)`` for fixed or clipped ones.
    (derived here). Give `half_widths` for another start.

    Parameters
    ----------
    problem
        With one parameter (fixed output weight, one input weight) or two (a and w, or a fixed
        output weight and two input weights).
    num_points
        Points of each axis.
    half_widths
        Half the length of the box along each axis.

    Raises
    ------
    ValueError
        If there are more than two parameters, fewer than three points, a half width is not
        positive, or none is given for an unbounded activation.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [2.0]], [0.5, 1.0], tanh, 0.5, 0.5, 0.1)
    >>> grid = parameter_grid(problem, num_points=60)
    >>> round(grid.energy(grid.reference), 12)
    0.3125
    """
    trains_output = problem.output != "fixed"
    dim = problem.dim + (problem.num_outputs if trains_output else 0)
    if dim > 2:
        message = f"Expected at most two parameters a neuron for a grid. Received: {dim}. "
        message += "Use particles or the dual problem instead."
        raise ValueError(message)
    sizes = (num_points,) * dim if isinstance(num_points, int) else tuple(num_points)
    widths = _half_widths(problem) if half_widths is None else np.asarray(half_widths, dtype=float)
    if len(sizes) != dim or min(sizes) < 3:
        message = f"Expected at least 3 points on each of {dim} axes. Received: {num_points!r}."
        raise ValueError(message)
    if widths.shape != (dim,) or not np.all((widths > 0) & np.isfinite(widths)):
        message = f"Expected {dim} positive half widths. Received: {half_widths!r}."
        raise ValueError(message)
    axes = tuple(np.linspace(-w, w, size) for w, size in zip(widths, sizes, strict=True))
    points = [p.ravel() for p in np.meshgrid(*axes, indexing="ij")]
    decays = _decays(problem)
    weights = np.stack(points[1:] if trains_output else points)
    with jax.enable_x64(True):
        x = np.asarray(problem.x, dtype=np.float64)
        features = np.array(problem.activation(jnp.asarray(x @ weights)))
    bound = float(problem.bound)
    multiplier = {"free": points[0], "fixed": bound, "clipped": bound * np.tanh(points[0])}
    features *= multiplier[problem.output]
    exponent = np.sum([decay * p**2 for decay, p in zip(decays, points, strict=True)], axis=0)
    log = -exponent / (2 * float(problem.temperature))
    return ParameterGrid(problem, axes, features, log - _log_total(log))


def grid_optimum(grid: ParameterGrid, *, tolerance: float = 1e-13) -> GridOptimum:
    r"""The minimiser of J over all laws on the grid: the root of ``f = f_{\pi_{l'(f)}}``.

    Newton's method in the n outputs, whose direction always increases the dual (derived here):
    with C the covariance of the features under pi and L the diagonal of the ``l''``,

    .. math:: \delta f = -(I + C L / (n \tau))^{-1} (f - f_\pi).

    Raises
    ------
    RuntimeError
        If Newton's method stalls.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [2.0]], [0.5, 1.0], tanh, 0.5, 0.5, 0.1)
    >>> optimum = grid_optimum(parameter_grid(problem, num_points=40))
    >>> bool(abs(optimum.energy - optimum.dual) < 1e-14)
    True
    """
    outputs = np.zeros(grid.num_samples)
    scale = max(1.0, float(np.max(np.abs(grid.labels))))
    dual = grid.dual(grid.slopes(outputs))
    for _ in range(_MAX_NEWTON):
        mass = np.exp(grid.log_gibbs(grid.slopes(outputs)))
        excess = outputs - grid.outputs(mass)
        if np.max(np.abs(excess)) <= tolerance * scale:
            return GridOptimum(mass, outputs, grid.energy(mass), dual, grid.risk(outputs))
        centred = grid.features - grid.outputs(mass)[:, None]
        covariance = (centred * mass) @ centred.T
        weights = grid.curvatures(outputs) / (grid.num_samples * grid.temperature)
        change = -np.linalg.solve(np.eye(len(outputs)) + covariance * weights, excess)
        for _ in range(_MAX_HALVINGS):
            trial = grid.dual(grid.slopes(outputs + change))
            if trial >= dual - 1e-14 * (1 + abs(dual)):
                break
            change = change / 2
        outputs, dual = outputs + change, trial
    message = f"The optimum on the grid was not found: residual {np.max(np.abs(excess)):.1e}."
    raise RuntimeError(message)


def _log_total(log: np.ndarray) -> float:
    """The logarithm of the sum of masses given by their logarithms."""
    return float(np.asarray(logsumexp(log)))


def _decays(problem: FreeEnergy) -> tuple[float, ...]:
    """The weight decay of each parameter."""
    of_input = (float(problem.input_decay),) * problem.dim
    return of_input if problem.output == "fixed" else (float(problem.output_decay), *of_input)


def _half_widths(problem: FreeEnergy) -> np.ndarray:
    largest, _ = field_size(problem, reference_energy(problem))
    if not math.isfinite(largest):
        message = "Expected half_widths for an unbounded activation. Received: none."
        raise ValueError(message)
    tau, decays = float(problem.temperature), np.asarray(_decays(problem))
    if problem.output == "free":
        of_output = largest / decays[:1] + _TAIL * np.sqrt(tau / decays[:1])
        of_input = np.sqrt((_TAIL**2 * tau + largest**2 / decays[0]) / decays[1:])
        return np.concatenate([of_output, of_input])
    return np.sqrt((_TAIL**2 * tau + 4 * float(problem.bound) * largest) / decays)
