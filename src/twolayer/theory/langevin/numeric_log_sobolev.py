"""Log-Sobolev constants by minimisation on a grid: estimates from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import logsumexp, xlogy

from twolayer.theory.langevin.generator import Edges
from twolayer.theory.langevin.spectrum import spectral_gap, symmetrised

_TILTS = (0.3, -0.3, 1.0, -1.0, 2.0, -2.0)  # starts: exponentials of the slowest mode
_LARGEST_EXPONENT = 40.0


@dataclass(frozen=True)
class NumericLogSobolev:
    """The best constant found on a grid.

    Attributes
    ----------
    value
        The least of all quotients found, kappa included: an upper estimate of rho.
    found
        The least that the minimisation found on its own; near kappa it converges from above.
    spectral_gap
        ``kappa``, which no log-Sobolev constant exceeds.
    spread
        By how much the starts differ, relative to their least.
    """

    value: float
    found: float
    spectral_gap: float
    spread: float


def numeric_log_sobolev(
    log_mass: Float[np.ndarray, "..."], spacings: Sequence[float], *, max_iterations: int = 3000
) -> NumericLogSobolev:
    r"""``inf 2 int |grad f|^2 d pi / Ent(f^2)`` over functions on a grid, by L-BFGS.

    The quotient is not convex, so each start gives an upper estimate; the starts are exponentials
    of the slowest mode (which are the extremals of a Gaussian). The unknown is ``f sqrt(pi)``.
    Constants of the chain that `Edges` describes, ``O(h^2)`` from those of the continuum.

    Parameters
    ----------
    log_mass
        Logarithms of the masses, one axis a parameter.
    spacings
        The distance of neighbouring points on each axis.
    max_iterations
        Of each minimisation.

    Examples
    --------
    >>> x = np.linspace(-6, 6, 80)
    >>> estimate = numeric_log_sobolev(-(x**2) / 2, [x[1] - x[0]])
    >>> bool(0.98 < estimate.value <= estimate.spectral_gap < 1)
    True
    """
    log = log_mass.ravel() - float(np.asarray(logsumexp(log_mass)))
    matrix = symmetrised(Edges(log_mass.shape, spacings), log).tocsr()
    gap, mode = spectral_gap(log_mass, spacings)
    mass = np.exp(log)
    mode = mode.ravel() - mass @ mode.ravel()
    mode = mode / np.sqrt(mass @ mode**2)

    def quotient(u: np.ndarray) -> tuple[float, np.ndarray]:
        energy_slope = matrix @ u
        energy = float(u @ energy_slope)
        square = u * u
        total = float(square.sum())
        relative = np.log(np.maximum(square, 1e-300) / total) - log
        entropy = float(np.sum(xlogy(square, np.maximum(square, 1e-300) / total) - square * log))
        value = 2 * energy / entropy
        return value, (4 * energy_slope - 2 * value * u * relative) / entropy

    values = []
    for tilt in _TILTS:
        exponent = np.clip(tilt * mode, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        start = np.exp(log / 2 + exponent / 2)
        start /= np.linalg.norm(start)
        solved = minimize(
            quotient,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iterations, "gtol": 1e-11, "ftol": 0.0, "maxcor": 20},
        )
        values.append(float(solved.fun))
    found = min(values)
    return NumericLogSobolev(min(found, gap), found, gap, max(values) / found - 1)
