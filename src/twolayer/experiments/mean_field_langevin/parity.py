"""Sparse parity by annealed noisy gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    from twolayer.free_energy import FreeEnergy

_TEST_SAMPLES = 2000
_LEARNED = 0.95


@experiment(
    paper="mean_field_langevin",
    statement="Halving the temperature again and again learns a parity of two coordinates, if "
    "weight decay falls with it; with a fixed weight decay nothing is learned.",
    reference="derived here; annealing as in suzuki2023feature",
    quick={"seeds": 2, "width": 300},
)
def sparse_parity(
    *,
    dim: int = 10,
    samples: int = 300,
    width: int = 500,
    step: float = 0.05,
    rounds: int = 6,
    steps_each: int = 500,
    temperature: float = 0.1,
    decay: float = 0.1,
    seeds: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Test accuracy on ``sign(z1 z2)`` after each halving of the temperature.

    Inputs are uniform on ``{+-1/sqrt(d)}^d``, the loss is logistic, both layers of a tanh network
    with bias are trained, all weights starting from N(0, 1). The objective is
    ``R + temperature * (decay * E |theta|^2 - entropy)``: annealing the temperature anneals
    weight decay with it. In the negative control it does not, and is ``decay * E |theta|^2``.

    Parameters
    ----------
    dim
        Input dimension.
    samples
        Training samples.
    width
        Particles.
    step
        Time step.
    rounds
        Temperatures, each half of the one before.
    steps_each
        Steps at each temperature.
    temperature
        The first temperature.
    decay
        Weight decay in units of the temperature.
    seeds
        Independent runs, each with a data set of its own.
    seed
        Seed of all randomness.
    """
    at_least(2, dim=dim, samples=samples, width=width, seeds=seeds)
    at_least(1, rounds=rounds, steps_each=steps_each)
    at_least(0, seed=seed)
    positive(step=step, temperature=temperature, decay=decay)

    import jax
    import numpy as np

    from twolayer.dynamics.langevin import Halving, Langevin, train_langevin

    times = step * steps_each * np.arange(rounds + 1)
    schedule = Halving(temperature, step * steps_each)  # type: ignore[arg-type]
    curves, findings = [], []
    for name, fixed in (("decay falls", False), ("decay fixed", True)):
        rows, statuses = [], []
        for k in range(seeds):
            problem, test = _problems(
                (dim, samples), temperature, 2 * decay * (1.0 if fixed else temperature), [seed, k]
            )
            run = train_langevin(
                Langevin(step, temperature=schedule, anneal_decay=not fixed),  # type: ignore[arg-type]
                problem,
                _standard_normal(problem, width, jax.random.key(seed), k),
                times=times,
                key=jax.random.fold_in(jax.random.key(seed), k),
                observe=test.accuracy,
                progress=Stage(progress, f"{name}, run {k + 1} of {seeds}"),
            )
            rows.append(np.asarray(run.observed)[0])
            statuses.append(run.trajectory.status[0])
        accuracy = np.stack(rows)
        curves.append(Trajectory(name, times, accuracy, tuple(statuses)))
        findings.append(_finding(name, accuracy[:, -1], fixed))
    level = np.full(times.shape, 0.5)
    chance = Prediction("chance", times, level, "exact", "derived here")
    return Result(
        quantity="accuracy",
        trajectories=tuple(curves),
        predictions=(chance,),
        findings=tuple(findings),
    )


class _Test:
    """Fresh samples on which the accuracy is measured."""

    def __init__(self, problem: FreeEnergy):
        self.problem = problem

    def accuracy(self, particles):
        """The share of right signs."""
        import jax.numpy as jnp

        right = self.problem.outputs(particles) * self.problem.y.astype(particles.W.dtype) > 0
        return jnp.mean(right.astype(particles.W.dtype))


def _problems(
    size: tuple[int, int], temperature: float, decay: float, seed: list[int]
) -> tuple[FreeEnergy, _Test]:
    import numpy as np

    from twolayer.activations import tanh
    from twolayer.free_energy import FreeEnergy, with_bias
    from twolayer.losses import LogisticLoss

    dim, samples = size
    generator = np.random.default_rng(seed)

    def problem(count: int) -> FreeEnergy:
        z = generator.choice([-1.0, 1.0], (count, dim))
        return FreeEnergy(
            with_bias(z / np.sqrt(dim)), z[:, 0] * z[:, 1], tanh, decay, decay, temperature,
            loss=LogisticLoss(),
        )  # type: ignore[arg-type]  # fmt: skip

    return problem(samples), _Test(problem(_TEST_SAMPLES))


def _standard_normal(problem: FreeEnergy, width: int, key, k: int):
    import jax
    import jax.numpy as jnp

    from twolayer.free_energy import Particles

    key_a, key_w = jax.random.split(jax.random.fold_in(key, 10_000 + k))
    dtype = jnp.float32  # in which the run then is: far below its own noise
    return Particles(
        jax.random.normal(key_a, (width, 1), dtype),
        jax.random.normal(key_w, (width, problem.dim), dtype),
    )


def _finding(name: str, accuracy, fixed: bool) -> Finding:
    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error

    mean, error = (float(part) for part in mean_and_error(accuracy))
    margin = student_factor(len(accuracy)) * error
    # A finite test set adds its own scatter, which the scatter of the runs contains.
    if fixed:
        verdict = "agrees" if abs(mean - 0.5) <= margin + 0.02 else "disagrees"
    else:
        verdict = "agrees" if mean >= _LEARNED else "disagrees"
    if margin > 0.2 or (verdict == "disagrees" and not fixed and mean + margin >= _LEARNED):
        verdict = "undecided"
    return Finding(
        name,
        "With a fixed weight decay the accuracy stays at chance."
        if fixed
        else f"The parity is learned to an accuracy of at least {_LEARNED:g}.",
        0.5 if fixed else _LEARNED,
        mean,
        error,
        verdict,
        "derived here",
        f"lowest {float(min(accuracy)):.3f}, highest {float(max(accuracy)):.3f}",
    )
