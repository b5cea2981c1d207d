"""Guaranteed rates: the chain of constants, and certificates along the flow."""

from __future__ import annotations

from dataclasses import replace

from twolayer.experiments.mean_field_langevin.setting import CASES, cases_of, curve_problem, named
from twolayer.experiments.options import at_least, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Verdict
from twolayer.results import Result

_ROUNDING = 1e-3  # of a rate: the constants of the continuum against those of the grid


@experiment(
    paper="mean_field_langevin",
    statement="Each guaranteed rate is at most the sharper one that it comes from, up to the "
    "linearised rate.",
    reference="derived here, in the spirit of zhang2022meanfield",
    quick={"cases": "0.5,0.5,0.1", "points": 30},
)
def rate_chain(
    *,
    cases: str = CASES,
    points: int = 60,
    progress: Progress = silent,
) -> Result:
    """The linearised rate and what each log-Sobolev constant guarantees of it.

    Parameters
    ----------
    cases
        ``output decay, input decay, temperature`` separated by semicolons.
    points
        Grid points of each axis.
    """
    triples = cases_of(cases)
    at_least(10, points=points)

    from twolayer.theory.langevin.grid import parameter_grid
    from twolayer.theory.langevin.rate_chain import rate_chain as chain_of

    findings = []
    for k, case in enumerate(triples):
        progress("constants", k, len(triples))
        chain = chain_of(parameter_grid(curve_problem(case), num_points=points))
        known = {rate.name: rate for rate in chain}
        for rate in chain[1:]:
            sharper = known[rate.below]
            holds = rate.value <= sharper.value * (1 + _ROUNDING)
            findings.append(
                Finding(
                    f"{rate.name}, {named(case)}",
                    f"The rate by '{rate.name}' is at most that by '{sharper.name}'.",
                    sharper.value,
                    rate.value,
                    _ROUNDING * sharper.value,
                    "agrees" if holds else "disagrees",
                    rate.reference,
                    f"{rate.kind}; {rate.share:.3g} of the true rate",
                )
            )
    progress("constants", len(triples), len(triples))
    return Result(findings=tuple(findings))


@experiment(
    paper="mean_field_langevin",
    statement="Along the flow the excess free energy stays below the certificate from the current "
    "slopes and below the one that is known in advance.",
    reference="derived here, in the spirit of zhang2022meanfield",
    quick={"cases": "1,1,0.3", "points": 50, "steps": 60},
)
def rate_certificates(
    *,
    cases: str = CASES,
    points: int = 80,
    horizon: float = 20.0,
    steps: int = 200,
    shift: float = 0.5,
    progress: Progress = silent,
) -> Result:
    """``J - J*`` from an asymmetric start against two certificates.

    Parameters
    ----------
    cases
        ``output decay, input decay, temperature`` separated by semicolons.
    points
        Grid points of each axis.
    horizon
        Time.
    steps
        Time steps.
    shift
        By how much the start is shifted against gamma, in both parameters.
    """
    triples = cases_of(cases)
    at_least(10, points=points)
    at_least(2, steps=steps)
    positive(horizon=horizon, shift=shift)

    import numpy as np

    from twolayer.theory.langevin.fokker_planck import fokker_planck
    from twolayer.theory.langevin.grid import grid_optimum, parameter_grid
    from twolayer.theory.langevin.rates import a_priori_certificate, trajectory_certificate

    times = np.linspace(0, horizon, steps + 1)
    findings, predictions = [], []
    for k, case in enumerate(triples):
        progress("flow", k, len(triples))
        problem = curve_problem(case)
        grid = parameter_grid(problem, num_points=points)
        optimum = grid_optimum(grid)
        stds = [(case[2] / decay) ** 0.5 for decay in case[:2]]
        flow = fokker_planck(grid, times=times, start=grid.gaussian(shift, stds))
        excess = np.maximum(flow.energy - optimum.energy, 0.0)
        name = named(case)
        energies = {"energy": flow.energy, "optimal_energy": optimum.energy}
        bounds = {
            "from the current slopes": trajectory_certificate(
                problem, time=flow.time, slopes=flow.slopes, bounds="scanned",
                scheme="backward_euler", **energies,
            ),
            "in advance": a_priori_certificate(
                problem, times=flow.time, initial_energy=float(flow.energy[0]),
                optimal_energy=optimum.energy,
            ),
        }  # fmt: skip
        predictions.append(
            Prediction(f"J - J*, {name}", flow.time, excess, "exact", "derived here")
        )
        for kind, bound in bounds.items():
            predictions.append(replace(bound, name=f"bound {kind}, {name}"))
            findings.append(_bound_finding(f"{kind}, {name}", kind, bound, excess))
    progress("flow", len(triples), len(triples))
    return Result(quantity="J - J*", findings=tuple(findings), predictions=tuple(predictions))


def _bound_finding(name: str, kind: str, bound: Prediction, excess) -> Finding:
    """A certificate holds where the excess stays below it; a vacuous one is called so."""
    import numpy as np

    slack = np.asarray(bound.value) * (1 + 1e-9) + 1e-12 - excess
    verdict: Verdict = "agrees" if np.all(slack >= 0) else "disagrees"
    note = f"it falls to {bound.value[-1] / bound.value[0]:.3g} of its start"
    if bound.value[-1] > 0.99 * bound.value[0]:
        note += ": vacuous over this time"
    return Finding(
        name,
        f"J - J* stays below the certificate {kind}.",
        float(bound.value[-1]),
        float(excess[-1]),
        1e-12,
        verdict,
        bound.reference,
        note,
    )
