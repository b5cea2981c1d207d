"""Finite numbers of particles and finite steps: how far they are from the limit."""

from __future__ import annotations

from twolayer.experiments.mean_field_langevin.setting import cases_of, curve_problem
from twolayer.experiments.options import Stage, at_least, numbers, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

INTEGRATORS = ("leimkuhler_matthews", "euler_maruyama", "underdamped")


@experiment(
    paper="mean_field_langevin",
    statement="Leimkuhler-Matthews steps leave no measurable bias where Euler-Maruyama steps of "
    "the same cost and size do.",
    reference="derived here",
    quick={"steps": "0.4,0.8", "horizon": 600.0, "seeds": 6, "width": 1000},
)
def integrator_bias(
    *,
    steps: str = "0.1,0.2,0.4,0.8",
    case: str = "0.5,0.5,0.1",
    width: int = 2000,
    horizon: float = 2000.0,
    seeds: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The stationary risk of each integrator against the optimum's, over the step.

    Parameters
    ----------
    steps
        Time steps.
    case
        ``output decay, input decay, temperature``.
    width
        Particles.
    horizon
        Training time; averages are over its second half.
    seeds
        Independent runs.
    seed
        Seed of all randomness.
    """
    (triple,) = cases_of(case)[:1]
    sizes = numbers("steps", steps, 1e-4, 1e2)
    at_least(2, width=width, seeds=seeds)
    at_least(0, seed=seed)
    positive(horizon=horizon)

    import jax
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.dynamics.langevin import Langevin, train_langevin
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.theory.langevin.dual import solve_dual

    problem = curve_problem(triple)
    optimum = solve_dual(problem)
    allowed = optimum.mean_variance / width
    trajectories, measured = [], {}
    for integrator in INTEGRATORS:
        rows = []
        for k, step in enumerate(sizes):
            run = train_langevin(
                Langevin(step, integrator),  # type: ignore[arg-type]
                problem,
                width,
                times=[0.0, horizon],
                seeds=seeds,
                key=jax.random.key(seed),
                progress=Stage(progress, f"{integrator}, step {step:g} ({k + 1} of {len(sizes)})"),
            )
            rows.append(run.mean_risk)
        values = np.stack(rows, axis=1)
        finite = np.all(np.isfinite(values), axis=1).tolist()
        measured[integrator] = mean_and_error(values)
        trajectories.append(
            Trajectory(
                integrator.replace("_", "-"), np.asarray(sizes), values,
                tuple("finished" if good else "diverged" for good in finite), grid_name="step",
            )
        )  # fmt: skip
    mean, error = measured["leimkuhler_matthews"]
    margin = student_factor(seeds) * error + allowed
    worst = int(np.argmax(np.abs(mean - optimum.risk) - margin))
    rough, rough_error = (part[-1] for part in measured["euler_maruyama"])
    seen = rough - optimum.risk > student_factor(seeds) * rough_error + allowed
    findings = (
        Finding(
            "Leimkuhler-Matthews",
            "At every step the stationary risk is the optimum's.",
            optimum.risk,
            float(mean[worst]),
            float(error[worst]),
            "agrees" if np.all(np.abs(mean - optimum.risk) <= margin) else "disagrees",
            "derived here",
            f"at step {sizes[worst]:g}; {width} particles may add {allowed:.1e}",
        ),
        Finding(
            "Euler-Maruyama",
            "At the largest step the stationary risk exceeds the optimum's.",
            "above",
            "above" if seen else "not above",
            float(rough_error),
            "agrees" if seen else "undecided",
            "derived here",
            f"excess {rough - optimum.risk:.2e} +- {rough_error:.1e} at step {sizes[-1]:g}",
        ),
    )
    limit = np.full(len(sizes), optimum.risk)
    predictions = (
        Prediction(
            "optimum", np.asarray(sizes), limit, "asymptotic", "derived here", grid_name="step"
        ),
    )
    return Result(
        quantity="risk",
        findings=findings,
        trajectories=tuple(trajectories),
        predictions=predictions,
    )


@experiment(
    paper="mean_field_langevin",
    statement="The stationary risk of N particles exceeds the optimum's by a constant over N, "
    "which the covariance at the optimum gives.",
    reference="derived here; the O(1/N) error as in nitanda2024improved",
    quick={"widths": "5,10", "horizon": 2000.0, "seeds": 64},
)
def particle_error(
    *,
    widths: str = "5,10,20,40",
    case: str = "0.5,0.5,0.1",
    step: float = 0.1,
    horizon: float = 8000.0,
    seeds: int = 128,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """``N (E R_N - R*)`` against its first-order formula.

    Parameters
    ----------
    widths
        Numbers of particles.
    case
        ``output decay, input decay, temperature``.
    step
        Time step.
    horizon
        Training time; averages are over its second half.
    seeds
        Independent runs.
    seed
        Seed of all randomness.
    """
    (triple,) = cases_of(case)[:1]
    sizes = whole_numbers("widths", widths)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    positive(step=step, horizon=horizon)

    import jax
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.dynamics.langevin import Langevin, train_langevin
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.theory.langevin.chaos import particle_risk_bias
    from twolayer.theory.langevin.dual import solve_dual

    problem = curve_problem(triple)
    optimum = solve_dual(problem)
    constant = float(particle_risk_bias(problem, [1]).value[0])
    rows, findings = [], []
    for width in sizes:
        run = train_langevin(
            Langevin(step),  # type: ignore[arg-type]
            problem,
            width,
            times=[0.0, horizon],
            seeds=seeds,
            key=jax.random.key(seed),
            progress=Stage(progress, f"{width} particles"),
        )
        scaled = width * (np.asarray(run.mean_risk) - optimum.risk)
        rows.append(scaled)
        mean, error = (float(part) for part in mean_and_error(scaled))
        # The next order of the expansion is again smaller by 1 / N.
        margin = student_factor(seeds) * error + constant / width
        verdict = "agrees" if abs(mean - constant) <= margin else "disagrees"
        if not np.isfinite(mean):
            verdict = "failed"
        elif verdict == "agrees" and margin > constant:
            verdict = "undecided"
        findings.append(
            Finding(
                f"N = {width}",
                f"N times the excess risk of {width} particles is the first-order constant.",
                constant,
                mean,
                error,
                verdict,
                "derived here",
                "the next order may add the constant over N",
            )
        )
    places = np.asarray(sizes, dtype=np.float64)
    return Result(
        findings=tuple(findings),
        trajectories=(
            Trajectory(
                "N (R_N - R*)", places, np.stack(rows, axis=1), ("finished",) * seeds,
                grid_name="particles",
            ),
        ),
        predictions=(
            Prediction(
                "N (R_N - R*)", places, np.full(places.shape, constant), "asymptotic",
                "derived here", grid_name="particles",
            ),
        ),
    )  # fmt: skip
