"""A problem of one input weight whose optimal law is known to all digits by quadrature."""

from functools import cache

import jax.numpy as jnp
import numpy as np
from scipy import optimize

from twolayer.activations import tanh
from twolayer.free_energy import FreeEnergy, Particles

DECAY, TAU = 0.5, 0.1
X = np.linspace(-2, 2, 16)
Y = np.tanh(1.5 * X) + 0.3 * np.sin(2 * X)
ENERGY = 0.315221672474  # J*, by quadrature in other code
RISK = 0.2071357656
GRID = np.linspace(-5, 5, 4001)  # of w: the mass outside is below 1e-20


def optimum_problem(**options):
    """Sixteen points on a line, in double precision."""
    return FreeEnergy(X[:, None], Y, tanh, DECAY, DECAY, TAU, **options)


def _law(residual):
    """Density of w on the grid, and the conditional mean of a, given the residuals."""
    g = np.tanh(np.outer(GRID, X)) @ residual / len(X)
    weights = np.exp((g**2 / (2 * DECAY) - DECAY * GRID**2 / 2) / TAU)
    return weights / weights.sum(), -g / DECAY


@cache
def optimal_residual():
    """The fixed point ``r = f_{pi_r} - y``, by SciPy."""

    def miss(residual):
        weights, mean = _law(residual)
        return (weights * mean) @ np.tanh(np.outer(GRID, X)) - Y - residual

    found = optimize.root(miss, -Y / 2, tol=1e-13).x
    assert np.max(np.abs(miss(found))) < 1e-11
    assert abs(np.mean(found**2) / 2 - RISK) < 1e-9
    return found


def optimal_particles(num_particles, rng):
    """Independent neurons of the optimal law."""
    weights, mean = _law(optimal_residual())
    cumulative = np.cumsum(weights) - weights / 2
    w = np.interp(rng.uniform(size=num_particles), cumulative, GRID)
    deviation = np.sqrt(TAU / DECAY)
    a = np.interp(w, GRID, mean) + deviation * rng.standard_normal(num_particles)
    return Particles(jnp.asarray(a)[:, None], jnp.asarray(w)[:, None])
