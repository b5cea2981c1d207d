"""From the true rate of convergence down to what closed forms can guarantee."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from twolayer.outcomes import Kind
from twolayer.theory.langevin.barthe_roberto import barthe_roberto
from twolayer.theory.langevin.grid import GridOptimum, ParameterGrid, grid_optimum
from twolayer.theory.langevin.log_sobolev import (
    SHEAR,
    bakry_emery,
    gibbs_constant,
    published_constants,
    shear_constant,
)
from twolayer.theory.langevin.numeric_log_sobolev import numeric_log_sobolev
from twolayer.theory.langevin.proximal_gibbs import (
    FieldBounds,
    ProximalGibbs,
    field_bounds,
    scanned_field_bounds,
)
from twolayer.theory.langevin.spectrum import spectrum

_VACUOUS = 1e-3  # of the true rate
_LINE_POINTS = 8001
_LINE_REACH = 9.0


@dataclass(frozen=True)
class Rate:
    """A rate of ``J - J*`` near the optimum, or a bound of it.

    Attributes
    ----------
    name
        Where it comes from.
    value
        The rate.
    kind
        ``"exact"`` on the grid; ``"upper"`` for an estimate from above of a constant that would
        be a lower bound; ``"lower"`` for a guaranteed rate.
    reference
        Bib key and theorem number, or ``"derived here"``.
    share
        What share of the true rate it is.
    below
        The name of the next larger rate that it can't exceed; empty for the largest.
    """

    name: str
    value: float
    kind: Kind
    reference: str
    share: float
    below: str = ""

    @property
    def vacuous(self) -> bool:
        """Whether it is less than a thousandth of the true rate."""
        return self.share < _VACUOUS


def rate_chain(grid: ParameterGrid, optimum: GridOptimum | None = None) -> tuple[Rate, ...]:
    r"""Rates at the optimum, each at most the one it is `below`, up to the error of the grid.

    ``2 m >= 2 tau kappa >= 2 tau rho >= `` what a lemma gives with a numerical constant of the
    law of w, and that at least what it gives with the constant of Barthe and Roberto, and with
    that of Holley and Stroock. Neither of these two is always the larger: the former loses a
    factor even for a normal law, the latter more and more as the temperature falls. Where the
    output weight is fixed or clipped, the constants of Bakry and Emery and of Holley and Stroock
    are those of the whole law. The published uniform constants come last: they hold at all times
    and for all data whose slopes are as large as those of the optimum, and are not comparable
    otherwise.

    Parameters
    ----------
    grid
        The grid; all rates are those of its chain, except for the closed forms, which belong to
        the continuum.
    optimum
        Its optimum, where it is known already.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> from twolayer.free_energy import FreeEnergy
    >>> from twolayer.theory.langevin.grid import parameter_grid
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 1.0, 1.0, 0.3)
    >>> chain = rate_chain(parameter_grid(problem, num_points=30))
    >>> [rate.name for rate in chain[:3]]
    ['linearised flow', 'spectral gap', 'log-Sobolev, numeric']
    """
    optimum = grid_optimum(grid) if optimum is None else optimum
    problem, tau = grid.problem, grid.temperature
    gibbs = ProximalGibbs(problem, grid.slopes(optimum.outputs))
    modes = spectrum(grid, optimum, num_modes=1)
    log_mass = grid.log_gibbs(grid.slopes(optimum.outputs)).reshape(grid.shape)
    joint = numeric_log_sobolev(log_mass, grid.spacings)
    numeric, oscillation = "log-Sobolev, numeric", "Holley-Stroock"
    rows: list[tuple[str, float, Kind, str, str]] = [
        ("linearised flow", float(modes.rates[0]), "exact", "derived here", ""),
        ("spectral gap", modes.spectral_gap, "lower", "derived here", "linearised flow"),
        (numeric, 2 * tau * joint.value, "upper", "derived here", "spectral gap"),
    ]
    bounds = _field_bounds(gibbs)
    if problem.output == "free":
        of_inputs = np.asarray(logsumexp(log_mass, axis=0))
        constant = numeric_log_sobolev(of_inputs, grid.spacings[1:]).value
        sheared, oscillation = "shear, numeric law of w", "shear, Holley-Stroock"
        constants: list[tuple[str, float | None, Kind, str]] = [
            (sheared, constant, "upper", numeric),
            ("shear, Barthe-Roberto", _line(gibbs), "lower", sheared),
            (oscillation, None, "lower", sheared),
        ]
        for name, constant, kind, below in constants:
            value = 2 * tau * shear_constant(problem, bounds, input_constant=constant)
            rows.append((name, value, kind, SHEAR, below))
    else:
        if len(grid.shape) == 1:
            line = 2 * tau * _line(gibbs)
            rows.append(("Barthe-Roberto", line, "lower", "barthe2003sobolev", numeric))
        if problem.output == "fixed":
            curved = bakry_emery(gibbs)
            value = 2 * tau * curved.value
            rows.append((curved.name, value, "lower", curved.reference, numeric))
        tilt = 2 * tau * gibbs_constant(problem, bounds)
        rows.append((oscillation, tilt, "lower", "Holley and Stroock", numeric))
    slope = float(np.max(np.abs(gibbs.slopes)))
    for known in published_constants(problem, slope=slope):
        value = 2 * tau * known.value
        rows.append((known.name, value, "lower", known.reference, oscillation))
    largest = rows[0][1]
    return tuple(
        Rate(name, value, kind, reference, value / largest, below)
        for name, value, kind, reference, below in rows
    )


def _field_bounds(gibbs: ProximalGibbs) -> FieldBounds:
    sharp = gibbs.problem.dim == 1 and gibbs.bounds.limits is not None
    return scanned_field_bounds(gibbs) if sharp else field_bounds(gibbs)


def _line(gibbs: ProximalGibbs) -> float:
    """The constant of Barthe and Roberto for the law of the one input weight."""
    problem = gibbs.problem
    points = np.linspace(-1, 1, _LINE_POINTS) * np.sqrt(
        float(problem.temperature) / float(problem.input_decay)
    )
    tilt = float(np.ptp(gibbs.log_tilt(_LINE_REACH * points[:, None])))
    points *= np.sqrt(_LINE_REACH**2 + 2 * tilt)
    return barthe_roberto(points, gibbs.log_density(points[:, None])).lower
