"""The least free energy by three independent routes."""

from __future__ import annotations

from twolayer.experiments.mean_field_langevin.setting import CASES, cases_of, curve_problem, named
from twolayer.experiments.options import Stage, at_least, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Trajectory
from twolayer.results import Result

_DIGITS = 1e-9  # relative agreement asked of the two deterministic routes


@experiment(
    paper="mean_field_langevin",
    statement="Dual problem, Fokker-Planck flow and particles find the same least free energy.",
    reference="derived here; duality as in nitanda2022convex",
    quick={"cases": "0.5,0.5,0.1; 1,1,0.3", "points": 60, "width": 1000, "horizon": 300.0},
)
def langevin_optimum(
    *,
    cases: str = CASES,
    points: int = 120,
    width: int = 2000,
    step: float = 0.2,
    horizon: float = 1000.0,
    seeds: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The optimum from quadrature of the dual, from the flow on a grid, and from particles.

    Labels ``tanh(1.5 x) + 0.3 sin(2 x)`` at 16 points, a tanh network without bias.

    Parameters
    ----------
    cases
        ``output decay, input decay, temperature`` separated by semicolons.
    points
        Grid points of each axis for the Fokker-Planck flow.
    width
        Particles.
    step
        Their time step.
    horizon
        How long they train; averages are over the second half.
    seeds
        Independent runs of the particles.
    seed
        Seed of all randomness.
    """
    triples = cases_of(cases)
    at_least(10, points=points)
    at_least(2, width=width, seeds=seeds)
    at_least(0, seed=seed)
    positive(step=step, horizon=horizon)

    import jax
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.dynamics.langevin import Langevin, train_langevin
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.theory.langevin.dual import solve_dual
    from twolayer.theory.langevin.fokker_planck import fokker_planck
    from twolayer.theory.langevin.grid import parameter_grid

    findings, trajectories = [], []
    for case in triples:
        problem, name = curve_problem(case), named(case)
        optimum = solve_dual(problem)
        # Steps of any size are stable: a few long ones reach the end of the flow.
        times = np.concatenate([[0.0], np.cumsum(np.full(16, 100.0 / min(case)))])
        flow = fokker_planck(parameter_grid(problem, num_points=points), times=times)
        allowed = _DIGITS * optimum.energy + optimum.error
        found = float(flow.energy[-1])
        findings.append(
            Finding(
                f"energy, {name}",
                f"The Fokker-Planck flow ends at the optimum of the dual problem ({name}).",
                optimum.energy,
                found,
                allowed,
                "agrees" if abs(found - optimum.energy) <= allowed else "disagrees",
                "derived here",
                f"difference {found - optimum.energy:.1e}; duality gap {optimum.gap:.1e}",
            )
        )
        run = train_langevin(
            Langevin(step),  # type: ignore[arg-type]
            problem,
            width,
            times=np.linspace(0, horizon, 41),
            seeds=seeds,
            key=jax.random.key(seed),
            progress=Stage(progress, f"particles, {name}"),
        )
        mean, error = mean_and_error(run.mean_risk)
        # The bias of N particles is first order in 1 / N: the mean variance of a neuron's output.
        bias = optimum.mean_variance / width
        margin = student_factor(seeds) * float(error) + bias
        verdict = "agrees" if abs(float(mean) - optimum.risk) <= margin else "disagrees"
        findings.append(
            Finding(
                f"risk, {name}",
                f"Particles at equilibrium have the risk of the optimum ({name}).",
                optimum.risk,
                float(mean),
                float(error),
                verdict if "diverged" not in run.trajectory.status else "failed",
                "derived here",
                f"{width} particles, which may add {bias:.1e}",
            )
        )
        trajectories.append(
            Trajectory(name, run.trajectory.time, run.trajectory.value, run.trajectory.status)
        )
    return Result(quantity="risk", findings=tuple(findings), trajectories=tuple(trajectories))
