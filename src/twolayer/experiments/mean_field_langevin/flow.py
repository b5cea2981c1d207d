"""Identities and inequalities along the mean-field flow, on a grid."""

from __future__ import annotations

from twolayer.experiments.mean_field_langevin.setting import CASES, cases_of, curve_problem, named
from twolayer.experiments.options import at_least, numbers, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction
from twolayer.results import Result

_ROUNDING = 1e-11


@experiment(
    paper="mean_field_langevin",
    statement="Along the flow the duality gap is tau KL(mu | pi_mu), the free energy lies in its "
    "sandwich, and it never grows.",
    reference="derived here; the identity as in nitanda2022convex, Theorem 3",
    quick={"cases": "0.5,0.5,0.1", "points": 50},
)
def free_energy_flow(
    *,
    cases: str = CASES,
    points: int = 100,
    horizon: float = 40.0,
    progress: Progress = silent,
) -> Result:
    """Free energy, dual value and both sides of the entropy sandwich along the flow.

    Parameters
    ----------
    cases
        ``output decay, input decay, temperature`` separated by semicolons.
    points
        Grid points of each axis.
    horizon
        Time.
    """
    triples = cases_of(cases)
    at_least(10, points=points)
    positive(horizon=horizon)

    import numpy as np

    from twolayer.theory.langevin.fokker_planck import fokker_planck
    from twolayer.theory.langevin.grid import grid_optimum, parameter_grid

    times = np.concatenate([[0.0], np.geomspace(horizon / 200, horizon, 40)])
    findings, predictions = [], []
    for k, case in enumerate(triples):
        progress("flow", k, len(triples))
        name = named(case)
        grid = parameter_grid(curve_problem(case), num_points=points)
        optimum = grid_optimum(grid)
        flow = fokker_planck(grid, times=times, keep_masses=True)
        assert flow.masses is not None
        log_optimum = grid.log_gibbs(grid.slopes(optimum.outputs))
        to_optimum = [grid.temperature * grid.divergence(mu, log_optimum) for mu in flow.masses]
        excess = flow.energy - optimum.energy
        identity = float(np.max(np.abs(flow.energy - flow.dual - flow.gap)))
        below = float(np.max(np.asarray(to_optimum) - excess))
        above = float(np.max(excess - flow.gap))
        findings += [
            _at_most(f"identity, {name}", "J - D(l') = tau KL(mu | pi_mu)", identity),
            _at_most(f"lower side, {name}", "tau KL(mu | mu*) <= J - J*", below),
            _at_most(f"upper side, {name}", "J - J* <= tau KL(mu | pi_mu)", above),
            _at_most(f"descent, {name}", "J never grows", float(np.max(np.diff(flow.energy)))),
        ]
        predictions.append(
            Prediction(f"J - J*, {name}", times, np.maximum(excess, 0), "exact", "derived here")
        )
    progress("flow", len(triples), len(triples))
    return Result(quantity="J - J*", findings=tuple(findings), predictions=tuple(predictions))


def _at_most(name: str, statement: str, violation: float) -> Finding:
    """A statement that holds up to rounding."""
    return Finding(
        name,
        f"{statement} at every time, up to rounding.",
        0.0,
        max(violation, 0.0),
        _ROUNDING,
        "agrees" if violation <= _ROUNDING else "disagrees",
        "derived here",
        f"largest violation {violation:.1e}",
    )


@experiment(
    paper="mean_field_langevin",
    statement="With the potential of the new law, steps of any size lower the free energy; with "
    "that of the old law, long steps raise it.",
    reference="derived here",
    quick={"points": 50, "durations": "1,10,100", "steps": 8},
)
def energy_stability(
    *,
    case: str = "0.5,0.5,0.1",
    scale: float = 6.0,
    durations: str = "0.1,1,10,100",
    steps: int = 12,
    points: int = 80,
    progress: Progress = silent,
) -> Result:
    """The free energy over steps of very different size, and the scheme that is not stable.

    Parameters
    ----------
    case
        ``output decay, input decay, temperature``.
    scale
        Factor of the labels: large ones couple the neurons strongly.
    durations
        Lengths of the time steps.
    steps
        Steps of each length.
    points
        Grid points of each axis.
    """
    (triple,) = cases_of(case)[:1]
    lengths = numbers("durations", durations, 1e-6, 1e6)
    at_least(10, points=points)
    at_least(1, steps=steps)
    positive(scale=scale)

    import numpy as np

    from twolayer.theory.langevin.fokker_planck import fokker_planck
    from twolayer.theory.langevin.grid import parameter_grid

    grid = parameter_grid(curve_problem(triple, scale=scale), num_points=points)
    findings, predictions, frozen_rise = [], [], 0.0
    for k, length in enumerate(lengths):
        progress("steps", k, len(lengths))
        times = length * np.arange(steps + 1)
        flow = fokker_planck(grid, times=times)
        rise = float(np.max(np.diff(flow.energy))) if flow.status == "finished" else float("nan")
        size = float(flow.energy[0])
        findings.append(
            Finding(
                f"implicit, step {length:g}",
                f"Steps of {length:g} with the potential of the new law never raise J.",
                0.0,
                max(rise, 0.0),
                _ROUNDING * size,
                "agrees" if rise <= _ROUNDING * size else "disagrees",
                "derived here",
                f"J falls from {size:.4g} to {flow.energy[-1]:.4g} in {steps} steps",
            )
        )
        predictions.append(
            Prediction(f"step {length:g}", times, flow.energy, "exact", "derived here")
        )
        frozen = fokker_planck(grid, times=times, potential="frozen")
        frozen_rise = max(frozen_rise, float(np.max(np.diff(frozen.energy))))
    progress("steps", len(lengths), len(lengths))
    findings.append(
        Finding(
            "frozen potential",
            "With the potential of the old law, the longest steps raise J.",
            "raised",
            "raised" if frozen_rise > 0.01 * predictions[0].value[0] else "not raised",
            0.0,
            "agrees" if frozen_rise > 0.01 * predictions[0].value[0] else "disagrees",
            "derived here",
            f"largest rise in one step: {frozen_rise:.3g}",
        )
    )
    return Result(quantity="J", findings=tuple(findings), predictions=tuple(predictions))
