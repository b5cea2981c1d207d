r"""One backward Euler step of the mean-field Fokker-Planck equation.

.. math:: \mu_+ = \mu + \Delta t\, Q_{\mu_+} \mu_+

The potential is the one of the new law. As that depends on the law through the outputs
``f_i = f_{\mu_+}(x_i)`` alone, the step is the root of n equations

.. math:: f = F(f) = \Phi\, (I - \Delta t\, Q_f)^{-1} \mu,

which Newton's method solves with a Jacobian that Broyden's update keeps from one iteration, and
from one step, to the next. Whatever the step size, J does not increase (derived here): as J is
convex, ``J(mu_+) - J(mu) <= <dJ(mu_+), mu_+ - mu> = dt <log(mu_+/pi_+), tau Q_+ mu_+>``, which is
minus ``dt`` times a discrete Fisher information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.theory.langevin.generator import Edges, Resolvent
from twolayer.theory.langevin.grid import ParameterGrid

_MAX_ITERATIONS = 40
_FEATURE_TOLERANCE = 1e-8  # of the Jacobian, which need not be exact
_SLOW = 0.5  # a residual that falls by less calls for a new Jacobian
_MAX_HALVINGS = 6


@dataclass(frozen=True)
class Step:
    """The law after one step.

    Attributes
    ----------
    mass
        The masses.
    outputs
        What the potential was made from; it is off from the law's own outputs by `residual`.
    residual
        The largest difference.
    converged
        Whether the residual is below the tolerance.
    factorisations
        How many sparse linear systems were factorised.
    """

    mass: Float[np.ndarray, " c"]
    outputs: Float[np.ndarray, " n"]
    residual: float
    converged: bool
    factorisations: int


class ImplicitStepper:
    """Backward Euler on one grid; it remembers the Jacobians of the last steps, by step size.

    Attributes
    ----------
    grid
        Where the laws live.
    tolerance
        Of the outputs, relative to the largest label or output.
    """

    def __init__(self, grid: ParameterGrid, tolerance: float = 1e-12):
        self.grid, self.tolerance = grid, tolerance
        self._edges = Edges(grid.shape, grid.spacings, grid.temperature)
        # features through few functions: phi_i = sum_q C_iq psi_q
        left, sizes, right = np.linalg.svd(grid.features, full_matrices=False)
        keep = sizes > _FEATURE_TOLERANCE * sizes[0]
        self._coefficients = left[:, keep]
        self._functions = (sizes[keep, None] * right[keep]).T.copy()
        self._jacobians: dict[float, np.ndarray] = {}

    def step(
        self, mass: Float[np.ndarray, " c"], size: float, guess: Float[np.ndarray, " n"]
    ) -> Step:
        """One step of this size from the given masses; `guess` is near the new outputs."""
        result = self._solve(mass, size, guess)
        if not result.converged:  # follow the solution from a smaller step
            smaller = self._solve(mass, size / 8, self.grid.outputs(mass))
            again = self._solve(mass, size, smaller.outputs)
            count = result.factorisations + smaller.factorisations + again.factorisations
            best = min(result, again, key=lambda step: step.residual)
            result = Step(best.mass, best.outputs, best.residual, best.converged, count)
        return result

    def frozen_step(self, mass: Float[np.ndarray, " c"], size: float) -> Step:
        """A step in the potential of the old law, a control that may increase J."""
        outputs = self.grid.outputs(mass)
        new = self._factors(outputs, size).solve(mass)
        residual = float(np.max(np.abs(self.grid.outputs(new) - outputs)))
        return Step(new, outputs, residual, True, 1)

    def _solve(self, mass: np.ndarray, size: float, outputs: np.ndarray) -> Step:
        tolerance = self.tolerance * max(1.0, float(np.max(np.abs(self.grid.labels))))
        jacobian = self._jacobians.pop(size, None)
        kept = jacobian is not None  # from an earlier step: its first trial may go wrong
        factors = self._factors(outputs, size)
        new, count = factors.solve(mass), 1
        excess = self.grid.outputs(new) - outputs
        while count < _MAX_ITERATIONS and _size(excess) > tolerance:
            if jacobian is None:
                jacobian = self._fresh_jacobian(factors, new, outputs, size)
            change = -np.linalg.solve(jacobian, excess)
            for _ in range(1 if kept else _MAX_HALVINGS):
                trial_factors = self._factors(outputs + change, size)
                trial, count = trial_factors.solve(mass), count + 1
                trial_excess = self.grid.outputs(trial) - outputs - change
                ratio = _size(trial_excess) / _size(excess)
                if ratio < 1:
                    break
                change = change / 2
            if ratio < 1:
                update = trial_excess - excess - jacobian @ change
                jacobian = jacobian + np.outer(update, change) / (change @ change)
                outputs, new, excess, factors = outputs + change, trial, trial_excess, trial_factors
            elif not kept:
                break  # rounding, or a failure that the residual tells
            if ratio > _SLOW:
                jacobian = None
            kept = False
        if jacobian is not None:
            self._jacobians = {**dict(list(self._jacobians.items())[-2:]), size: jacobian}
        return Step(new, outputs, _size(excess), _size(excess) <= 10 * tolerance, count)

    def _potential(self, outputs: np.ndarray) -> np.ndarray:
        return -self.grid.log_gibbs(self.grid.slopes(outputs))

    def _factors(self, outputs: np.ndarray, size: float) -> Resolvent:
        return Resolvent(self._edges, self._potential(outputs), size)

    def _fresh_jacobian(
        self, factors: Resolvent, mass: np.ndarray, outputs: np.ndarray, size: float
    ) -> np.ndarray:
        """The derivative of ``F(f) - f``."""
        potential = self._potential(outputs)
        forced = self._edges.response(potential, mass, self._functions)
        moved = self._functions.T @ factors.solve(size * forced)
        per_slope = self._coefficients @ moved @ self._coefficients.T
        weights = self.grid.curvatures(outputs) / (self.grid.num_samples * self.grid.temperature)
        return per_slope * weights - np.eye(len(outputs))


def _size(excess: np.ndarray) -> float:
    return float(np.max(np.abs(excess)))
