"""ReLU neurons: when the proximal Gibbs law exists, in time."""

from __future__ import annotations

from twolayer.experiments.mean_field_langevin.setting import cases_of, curve_problem
from twolayer.experiments.options import Stage, at_least, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result


@experiment(
    paper="mean_field_langevin",
    statement="For ReLU the proximal Gibbs law need not exist at the start; training gets to where "
    "it does, and only then is there a certificate.",
    reference="derived here",
    quick={"width": 2000, "horizon": 16.0, "seeds": 3},
)
def relu_normalisability(
    *,
    case: str = "0.3,0.3,0.05",
    width: int = 8000,
    step: float = 0.05,
    horizon: float = 24.0,
    seeds: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The growth ``sup |c|`` of the field g at infinity along training, against its threshold.

    With ``g(w) = |w| c(w / |w|)`` the law exists if ``sup |c|^2 < output decay * input decay``.

    Parameters
    ----------
    case
        ``output decay, input decay, temperature``.
    width
        Particles.
    step
        Time step.
    horizon
        Training time.
    seeds
        Independent runs.
    seed
        Seed of all randomness.
    """
    (triple,) = cases_of(case)[:1]
    at_least(2, width=width, seeds=seeds)
    at_least(0, seed=seed)
    positive(step=step, horizon=horizon)

    import jax
    import numpy as np

    from twolayer.dynamics.langevin import Langevin, train_langevin
    from twolayer.theory.langevin.normalisability import field_growth, normalisability
    from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs

    problem = curve_problem(triple, activation="relu")
    run = train_langevin(
        Langevin(step),  # type: ignore[arg-type]
        problem,
        width,
        times=np.linspace(0, horizon, 13),
        seeds=seeds,
        key=jax.random.key(seed),
        observe=lambda particles: problem.loss.slope(problem.outputs(particles), problem.y),
        progress=Stage(progress, "particles"),
    )
    slopes = np.asarray(run.observed, dtype=np.float64)
    laws = [[ProximalGibbs(problem, r) for r in of_seed] for of_seed in slopes]
    growth = np.array([[field_growth(law).lower for law in of_seed] for of_seed in laws])
    first = normalisability(ProximalGibbs(problem, -np.asarray(problem.y)))
    ends = [normalisability(of_seed[-1]) for of_seed in laws]
    threshold = float(np.sqrt(triple[0] * triple[1]))
    times = run.trajectory.time
    return Result(
        quantity="sup |c|",
        trajectories=(Trajectory("sup |c|", times, growth, run.trajectory.status),),
        predictions=(
            Prediction(
                "threshold", times, np.full(times.shape, threshold), "upper", "derived here"
            ),
        ),
        findings=(
            _existence("before training", False, [first.holds], first.detail),
            _existence("after training", True, [end.holds for end in ends], ends[-1].detail),
        ),
    )


def _existence(name: str, expected: bool, found: list[bool | None], detail: str) -> Finding:
    words = {True: "exists", False: "does not exist", None: "undecided"}
    answers = {words[answer] for answer in found}
    measured = answers.pop() if len(answers) == 1 else "differs between seeds"
    verdict = "agrees" if measured == words[expected] else "disagrees"
    return Finding(
        name,
        f"The proximal Gibbs law {words[expected]} {name}.",
        words[expected],
        measured,
        0.0,
        "undecided" if measured == "undecided" else verdict,
        "derived here",
        detail,
    )
