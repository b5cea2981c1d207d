r"""The dual of the free energy and its optimum, without simulating particles.

For every choice of slopes r, with Z(r) the partition function of ``pi_r`` against gamma,

.. math::
    D(r) = -\frac1n \sum_i l^*(r_i, y_i) - \tau \log Z(r) \;\le\; J^* \;\le\; J(\pi_r)
         = D(r) + \frac1n \sum_i \bigl(l(f_i) + l^*(r_i) - r_i f_i\bigr),
    \qquad f = f_{\pi_r}

with equality at the slopes of the optimum (derived here; the identity
``J(mu) - D(r_mu) = tau KL(mu | pi_mu)`` behind it is Theorem 3 of nitanda2022convex).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy
from twolayer.theory.langevin.averages import (
    GibbsAverages,
    curvatures,
    fenchel_gap,
    gibbs_averages,
    mean_conjugate,
    mean_loss,
)
from twolayer.theory.langevin.normalisability import check_normalisable, normalisability
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, loss_slopes
from twolayer.theory.langevin.quadrature import (
    LARGEST_TABLE,
    InputNodes,
    input_nodes,
    num_nodes,
    reach_of,
)

_FIRST_LEVEL, _LAST_LEVEL = 1, 8
_MAX_ITERATIONS, _MAX_HALVINGS = 100, 40
_ROUNDING = 1e-13


@dataclass(frozen=True)
class DualityGap:
    """The two bounds of ``J*`` that slopes give.

    Attributes
    ----------
    lower
        ``D(r)``; minus infinity where a slope does not occur.
    upper
        ``J(pi_r)``.
    gap
        Their difference, computed without cancellation.
    risk
        ``R(pi_r)``.
    averages
        Outputs and moments under ``pi_r``.
    error
        The numerical error of the bounds: the larger change when the spacing was halved.
    """

    lower: float
    upper: float
    gap: float
    risk: float
    averages: GibbsAverages
    error: float


@dataclass(frozen=True)
class MeanFieldOptimum:
    """The minimiser of the free energy, the proximal Gibbs law of its own slopes.

    Attributes
    ----------
    energy
        ``J*``, from above: J at the proximal Gibbs law of `slopes`.
    dual
        ``J*`` from below: D at `slopes`.
    gap
        Their difference, computed without cancellation.
    risk
        ``R*``, the risk of the optimum.
    error
        Numerical error of the energy: its change when the spacing was halved.
    outputs
        The ``f_i`` of the optimum.
    covariance
        ``Cov(phi_i, phi_j)`` of ``phi_i = u s(w . x_i)`` under the optimum.
    mean_square_output, mean_square_input
        ``E |a|^2`` and ``E |w|^2``.
    law
        The optimum itself.
    iterations
        Newton steps taken.
    """

    energy: float
    dual: float
    gap: float
    risk: float
    error: float
    outputs: Float[np.ndarray, "n k"]
    covariance: Float[np.ndarray, "nk nk"]
    mean_square_output: float
    mean_square_input: float
    law: ProximalGibbs
    iterations: int

    @property
    def slopes(self) -> Float[np.ndarray, "n k"]:
        """The ``r_i = l'(f_i, y_i)``: residuals, for the square loss."""
        return self.law.slopes

    @property
    def mean_variance(self) -> float:
        """``tr C / n``: the mean over samples of the variance of a neuron's contribution."""
        return float(np.trace(self.covariance)) / self.law.problem.num_samples


def duality_gap(gibbs: ProximalGibbs, *, tolerance: float = 1e-12) -> DualityGap:
    """``D(r)`` and ``J(pi_r)`` by quadrature, for one or two input weights.

    The spacing is halved until both change by less than the tolerance, or the nodes fill the
    memory that is allowed; the error says which.

    Raises
    ------
    ValueError
        If there are more than two input weights, or the proximal Gibbs law does not exist.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> bounds = duality_gap(ProximalGibbs(problem, np.array([-0.7])))
    >>> bool(bounds.lower < solve_dual(problem).energy < bounds.upper)
    True
    """
    check_normalisable(gibbs)
    table = _Table(gibbs.problem)
    last: DualityGap | None = None
    for level in range(_FIRST_LEVEL, _LAST_LEVEL + 1):
        if last is not None and not table.refine(level, gibbs):
            break
        new = _bounds(gibbs, gibbs_averages(gibbs, table.nodes(gibbs)), last)
        last, done = new, new.error <= tolerance
        if done:
            break
    assert last is not None
    return last


def _bounds(gibbs: ProximalGibbs, averages: GibbsAverages, before: DualityGap | None) -> DualityGap:
    problem = gibbs.problem
    lower = -mean_conjugate(problem, gibbs.slopes)
    lower -= float(problem.temperature) * averages.log_partition
    risk = mean_loss(problem, averages.outputs)
    if math.isfinite(lower):
        gap = fenchel_gap(problem, gibbs.slopes, averages.outputs)
        upper = lower + gap
    else:
        tied = float(np.sum(gibbs.slopes * averages.outputs)) / problem.num_samples
        gap, upper = (
            math.inf,
            risk - tied - float(problem.temperature) * averages.log_partition,
        )
    error = math.inf
    if before is not None:
        change = abs(lower - before.lower) if math.isfinite(lower) else 0.0
        error = max(change, abs(upper - before.upper), _ROUNDING * abs(upper))
    return DualityGap(lower, upper, gap, risk, averages, error)


@dataclass
class _Table:
    """The nodes of the current level, made anew when the law outgrows them."""

    problem: FreeEnergy
    level: int = _FIRST_LEVEL
    reach: float = 0.0
    kept: InputNodes | None = field(default=None, repr=False)

    def nodes(self, gibbs: ProximalGibbs) -> InputNodes:
        reach = reach_of(gibbs)
        if self.kept is None or not reach <= self.reach <= 2 * reach:
            self.reach = 1.05 * reach
            self.kept = input_nodes(self.problem, self.reach, self.level)
        return self.kept

    def refine(self, level: int, gibbs: ProximalGibbs) -> bool:
        """Go to a level, if its nodes fit into memory."""
        entries = num_nodes(self.problem, 1.05 * reach_of(gibbs), level) * self.problem.num_samples
        if entries > LARGEST_TABLE:
            return False
        self.level, self.kept = level, None
        return True


def solve_dual(problem: FreeEnergy, *, tolerance: float = 1e-12) -> MeanFieldOptimum:
    r"""The optimum ``mu*`` by Newton's method on the concave dual, for one or two input weights.

    .. math::
        \Bigl(I + \frac{C L}{n \tau}\Bigr) \Delta f = f_{\pi_r} - f, \qquad r = l'(f),\ L = l''(f)

    This is Newton's step for ``max_r D(r)``, whose Hessian is
    ``-(diag(l*'') / n + C / (n^2 tau))`` with C the covariance of ``phi_i``, written in ``f`` so
    that r never leaves the slopes that occur; it is damped until D increases. Each time the
    spacing of the quadrature is halved until the energy and the outputs stay within the tolerance
    (the outputs within its square root). Derived here.

    Raises
    ------
    ValueError
        If there are more than two input weights, the tolerance isn't positive, or the growth of
        the activation is not known.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> x = np.linspace(-2, 2, 16)
    >>> y = np.tanh(1.5 * x) + 0.3 * np.sin(2 * x)
    >>> optimum = solve_dual(FreeEnergy(x, y, tanh, 0.5, 0.5, 0.1))
    >>> round(optimum.energy, 9), optimum.gap < 1e-12
    (0.315221672, True)
    """
    if not tolerance > 0:
        message = f"Expected a positive tolerance. Received: {tolerance!r}."
        raise ValueError(message)
    f, iterations = feasible_start(problem), 0
    table = _Table(problem)
    last: MeanFieldOptimum | None = None
    for level in range(_FIRST_LEVEL, _LAST_LEVEL + 1):
        if last is not None and not table.refine(level, last.law):
            break
        f, steps = newton(problem, table.nodes, f)
        iterations += steps
        new = _optimum(problem, table, f, iterations, last)
        done = new.error <= tolerance
        if last is not None:
            scale = 1 + float(np.max(np.abs(f)))
            done &= float(np.max(np.abs(f - last.outputs))) <= math.sqrt(tolerance) * scale
        last = new
        if done:
            break
    assert last is not None
    return last


def feasible_start(problem: FreeEnergy) -> Float[np.ndarray, "n k"]:
    """Zero outputs, or some closer to the labels where the law of those doesn't exist."""
    f = np.zeros((problem.num_samples, problem.num_outputs))
    for _ in range(200):
        r = loss_slopes(problem, f)
        if normalisability(ProximalGibbs(problem, r)).holds:
            return f
        f = f - r / 2
    check_normalisable(ProximalGibbs(problem, loss_slopes(problem, f)))
    return f


def newton(
    problem: FreeEnergy,
    nodes: Callable[[ProximalGibbs], InputNodes],
    f: Float[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, "n k"], int]:
    """The outputs at which the dual on these nodes is largest, and how many steps it took."""
    n, tau = problem.num_samples, float(problem.temperature)
    for iteration in range(_MAX_ITERATIONS):
        gibbs = ProximalGibbs(problem, loss_slopes(problem, f))
        averages = gibbs_averages(gibbs, nodes(gibbs), covariance=True)
        residual = (averages.outputs - f).reshape(-1)
        size = float(np.max(np.abs(residual)))
        if size <= _ROUNDING * (1 + float(np.max(np.abs(f)))):
            return f, iteration
        curvature = curvatures(problem, f).reshape(-1)
        assert averages.covariance is not None
        jacobian = np.eye(residual.size) + averages.covariance * curvature / (n * tau)
        step = np.linalg.solve(jacobian, residual)
        slope = float((curvature * residual) @ step) / n
        value = _dual_value(problem, f, averages)
        moved = _damped(problem, nodes, f, step.reshape(f.shape), (value, slope))
        if moved is None:
            return f, iteration
        f = moved
    return f, _MAX_ITERATIONS


def _damped(
    problem: FreeEnergy,
    nodes: Callable[[ProximalGibbs], InputNodes],
    f: np.ndarray,
    step: np.ndarray,
    value_and_slope: tuple[float, float],
) -> np.ndarray | None:
    """The longest of the steps 1, 1/2, 1/4, ... that increases D; none where all are rounding."""
    value, slope = value_and_slope
    rounding = _ROUNDING * (1 + abs(value))
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        trial = f + length * step
        gibbs = ProximalGibbs(problem, loss_slopes(problem, trial))
        if normalisability(gibbs).holds:
            averages = gibbs_averages(gibbs, nodes(gibbs))
            increase = _dual_value(problem, trial, averages) - value
            if increase >= 1e-4 * length * slope - rounding:
                return trial if np.any(trial != f) else None
        length /= 2
    return None


def _dual_value(problem: FreeEnergy, f: np.ndarray, averages: GibbsAverages) -> float:
    """``D(l'(f))``, where ``l*(l'(f)) = f l'(f) - l(f)``."""
    tied = float(np.sum(f * loss_slopes(problem, f))) / problem.num_samples
    return mean_loss(problem, f) - tied - float(problem.temperature) * averages.log_partition


def _optimum(
    problem: FreeEnergy,
    table: _Table,
    f: np.ndarray,
    iterations: int,
    before: MeanFieldOptimum | None,
) -> MeanFieldOptimum:
    gibbs = ProximalGibbs(problem, loss_slopes(problem, f))
    averages = gibbs_averages(gibbs, table.nodes(gibbs), covariance=True)
    dual = _dual_value(problem, f, averages)
    gap = fenchel_gap(problem, gibbs.slopes, averages.outputs)
    energy = dual + gap
    error = math.inf
    if before is not None:
        error = max(abs(energy - before.energy), _ROUNDING * abs(energy))
    assert averages.covariance is not None
    return MeanFieldOptimum(
        energy,
        dual,
        gap,
        mean_loss(problem, averages.outputs),
        error,
        averages.outputs,
        averages.covariance,
        averages.mean_square_output,
        averages.mean_square_input,
        gibbs,
        iterations,
    )
