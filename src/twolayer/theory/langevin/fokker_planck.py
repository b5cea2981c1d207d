"""The law of neurons under noisy gradient descent in the mean-field limit, without sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy
from twolayer.outcomes import Status
from twolayer.theory.langevin.grid import ParameterGrid, parameter_grid
from twolayer.theory.langevin.implicit_step import ImplicitStepper, Step

_SAFETY = 0.8  # the next step aims at this share of the step that would just do
_CHANGE = (0.2, 4.0)  # the least and the largest change of the step
_SMALLEST = 1e-6  # a step that must become this much of an interval has failed


@dataclass(frozen=True, eq=False)
class FokkerPlanck:
    """The mean-field flow on a grid.

    Attributes
    ----------
    grid
        The grid.
    time
        The times.
    energy
        The free energy J.
    risk
        The risk alone.
    dual
        ``D(l'(f))``, a lower bound of the least J on the grid.
    gap
        ``tau KL(mu | pi_mu)``, computed from the densities; equal to ``energy - dual``.
    total_mass
        The sum of the masses, which stays 1.
    lowest_mass
        The least mass of a cell, never negative.
    outputs
        ``f(x_i)`` at each time.
    residual
        How far each step is from solving its equations, in units of the output.
    mass
        The law at the last time, one mass a cell.
    masses
        The laws at all times, where asked for.
    status
        ``"stopped"`` where a step could not be solved: the curves end before it.
    """

    grid: ParameterGrid
    time: Float[np.ndarray, " t"]
    energy: Float[np.ndarray, " t"]
    risk: Float[np.ndarray, " t"]
    dual: Float[np.ndarray, " t"]
    gap: Float[np.ndarray, " t"]
    total_mass: Float[np.ndarray, " t"]
    lowest_mass: Float[np.ndarray, " t"]
    outputs: Float[np.ndarray, "t n"]
    residual: Float[np.ndarray, " t"]
    mass: Float[np.ndarray, " c"]
    masses: Float[np.ndarray, "t c"] | None
    status: Status

    @property
    def density(self) -> Float[np.ndarray, "..."]:
        """The density at the last time on the axes of the grid."""
        return self.mass.reshape(self.grid.shape) / float(np.prod(self.grid.spacings))

    @property
    def slopes(self) -> Float[np.ndarray, "t n"]:
        """``l'(f_i, y_i)`` at each time: the residuals, for the square loss."""
        return np.stack([self.grid.slopes(f) for f in self.outputs])


def fokker_planck(
    space: FreeEnergy | ParameterGrid,
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    start: Float[np.ndarray, " c"] | None = None,
    accuracy: float | None = None,
    potential: Literal["implicit", "frozen"] = "implicit",
    keep_masses: bool = False,
) -> FokkerPlanck:
    r"""The flow ``d mu / dt = div(mu grad V_mu) + tau Lap mu`` on a grid of neuron parameters.

    Backward Euler in time with the potential of the new law, Scharfetter-Gummel in space (see
    `ImplicitStepper` and `Edges`). For steps of any size masses stay positive and sum to 1, and J
    does not increase (derived here). The errors are of first order in the step and of second
    order in the grid's spacing; the equilibrium is the exact minimiser on the grid.

    Parameters
    ----------
    space
        A grid, or a problem to put on a grid with the default settings of `parameter_grid`.
    times
        When to report; the first is that of the start, and without `accuracy` one step is made
        from each time to the next.
    start
        Masses to start from, by default those of the reference gamma; see
        `ParameterGrid.gaussian`.
    accuracy
        Choose the steps between the times: the change of J in each may differ by this from the
        change in two steps of half the size, which are then taken.
    potential
        ``"frozen"`` keeps that of the old law through each step. It is a control: J increases
        when the steps are large.
    keep_masses
        Whether to keep the law at every time.

    Raises
    ------
    ValueError
        If times do not increase, the start is not a law on the grid, the accuracy is not
        positive, or the potential is neither of the two.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [2.0]], [0.5, 1.0], tanh, 0.5, 0.5, 0.1)
    >>> grid = parameter_grid(problem, num_points=30)
    >>> flow = fokker_planck(grid, times=[0.0, 1.0, 10.0])
    >>> bool(flow.energy[0] > flow.energy[1] > flow.energy[2] > flow.dual[2])
    True
    """
    grid = space if isinstance(space, ParameterGrid) else parameter_grid(space)
    instants = _checked_times(times)
    mass = grid.reference if start is None else _checked_start(grid, start)
    if accuracy is not None and not accuracy > 0:
        message = f"Expected a positive accuracy. Received: {accuracy!r}."
        raise ValueError(message)
    if potential not in {"implicit", "frozen"}:
        message = f"Expected potential to be 'implicit' or 'frozen'. Received: {potential!r}."
        raise ValueError(message)
    stepper = ImplicitStepper(grid)
    masses, residuals = [mass], [0.0]
    rows = [_observables(grid, mass)]
    status: Status = "finished"
    march = _March(stepper, accuracy, mass)
    for duration in np.diff(instants):
        if potential == "frozen":
            step = stepper.frozen_step(mass, float(duration))
        else:
            step = march.advance(mass, float(duration))
        if not step.converged:
            status = "stopped"
            break
        mass = step.mass
        rows.append(_observables(grid, mass))
        residuals.append(step.residual)
        if keep_masses:
            masses.append(mass)
    return FokkerPlanck(
        grid=grid,
        time=instants[: len(rows)],
        residual=np.asarray(residuals),
        mass=mass,
        masses=np.stack(masses) if keep_masses else None,
        status=status,
        **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
    )


class _March:
    """Steps from one time to the next, with outputs guessed from the last two."""

    def __init__(self, stepper: ImplicitStepper, accuracy: float | None, mass: np.ndarray):
        self.stepper, self.grid, self.accuracy = stepper, stepper.grid, accuracy
        self.trend = np.zeros_like(self.grid.outputs(mass))  # per unit of time
        self.trial = 0.0

    def advance(self, mass: np.ndarray, duration: float) -> Step:
        """The law after `duration`."""
        if self.accuracy is None:
            return self._one(mass, duration)
        left, step = duration, None
        self.trial = self.trial or duration
        while left > 1e-12 * duration:
            size = left if left < 1.01 * self.trial else self.trial
            whole, half = self._one(mass, size), self._one(mass, size / 2)
            step = self._one(half.mass, size / 2)
            error = abs(self.grid.energy(whole.mass) - self.grid.energy(step.mass))
            good = whole.converged and half.converged and step.converged
            ratio = _SAFETY * np.sqrt(self.accuracy / max(error, 1e-300)) if good else 0.0
            if ratio < _SAFETY:
                if size < _SMALLEST * duration:
                    return Step(step.mass, step.outputs, step.residual, False, 0)
            else:
                mass, left = step.mass, left - size
            self.trial = float(size * np.clip(ratio, *_CHANGE))
        assert step is not None
        return step

    def _one(self, mass: np.ndarray, size: float) -> Step:
        outputs = self.grid.outputs(mass)
        step = self.stepper.step(mass, size, outputs + size * self.trend)
        self.trend = (self.grid.outputs(step.mass) - outputs) / size
        return step


def _observables(grid: ParameterGrid, mass: np.ndarray) -> dict[str, np.ndarray]:
    outputs = grid.outputs(mass)
    slopes = grid.slopes(outputs)
    values = {
        "energy": grid.energy(mass),
        "risk": grid.risk(outputs),
        "dual": grid.dual(slopes),
        "gap": grid.gap(mass),
        "total_mass": mass.sum(),
        "lowest_mass": mass.min(),
    }
    return {"outputs": outputs, **{name: np.asarray(v) for name, v in values.items()}}


def _checked_times(times: Sequence[float] | np.ndarray) -> np.ndarray:
    instants = np.asarray(times, dtype=np.float64)
    if (
        instants.ndim != 1
        or not instants.size
        or not np.all(np.isfinite(instants))
        or not np.all(np.diff(instants) > 0)
    ):
        message = f"Expected finite times that increase. Received: {times!r}."
        raise ValueError(message)
    return instants


def _checked_start(grid: ParameterGrid, start: np.ndarray) -> np.ndarray:
    mass = np.asarray(start, dtype=np.float64)
    law = mass.shape == grid.log_reference.shape and np.all(mass >= 0)
    if not law or not abs(mass.sum() - 1) < 1e-9:
        message = f"Expected {grid.log_reference.size} masses of cells that sum to 1. "
        message += f"Received: shape {mass.shape}, sum {mass.sum()}."
        raise ValueError(message)
    return mass
