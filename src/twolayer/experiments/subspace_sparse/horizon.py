"""How long reflective targets stay unlearned: Theorem 3.4 under SGD."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from twolayer.experiments.options import Stage, at_least, coordinates, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory, Verdict
from twolayer.results import Result


@experiment(
    paper="subspace_sparse",
    statement="Within a time short against log d, SGD does not take a reflective target below "
    "half of its floor.",
    reference="chen2024subspace, Theorem 3.4 and Appendix B.2",
    quick={"dims": "64,256", "seeds": 4},
)
def constant_time_floor(
    *,
    target: str = "z1*z2",
    activation: str = "cos_sin",
    dims: str = "64,256,1024",
    time_per_decade: float = 1.0,
    step: float = 0.1,
    width_ratio: float = 2.0,
    seeds: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """SGD up to ``t = time_per_decade * log10 d`` against the floor and the explicit bound.

    The bound (3.3) with its explicit constants says something only for astronomically large d;
    it is reported as vacuous where it is. Statement (3.4), half of the floor for large d, is what
    is tested.

    Parameters
    ----------
    target
        A polynomial with a reflective subspace.
    activation
        Its name: bounded and smooth.
    dims
        Input dimensions separated by commas.
    time_per_decade
        Training time for each factor 10 in d.
    step
        Learning rate times dimension.
    width_ratio
        Neurons for each input dimension.
    seeds
        Networks for each dimension.
    seed
        Seed of all randomness.
    """
    positive(time_per_decade=time_per_decade, step=step, width_ratio=width_ratio)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    sizes = sorted(set(whole_numbers("dims", dims)))
    at_least(max(coordinates(target, activation), 2), dimension=min(sizes))

    import jax
    import numpy as np

    from twolayer.activations import activation_of
    from twolayer.dynamics import SGD, in_single_precision, simulate
    from twolayer.inputs import Gaussian
    from twolayer.networks import mean_field_network
    from twolayer.targets import Polynomial
    from twolayer.tasks import Regression
    from twolayer.theory.mean_field import loss_lower_bound

    polynomial, function = Polynomial(target), activation_of(activation)
    predictions, trajectories, findings = [], [], []
    for d in sizes:
        times = np.linspace(0.0, time_per_decade * math.log10(d), 7)
        bound = loss_lower_bound(polynomial, activation=function, times=times[1:], dim=float(d))
        run = simulate(
            SGD(step / d),
            in_single_precision(
                partial(mean_field_network, max(round(width_ratio * d), 2), d, function)
            ),
            Regression(Gaussian(d), polynomial),
            times=times,
            seeds=seeds,
            key=jax.random.key(seed),
            progress=Stage(progress, f"SGD, d = {d}"),
        )
        predictions.append(replace(bound.loss, name=f"explicit bound, d = {d}"))
        trajectories.append(replace(run, name=f"SGD, d = {d}"))
        findings.append(_finding(target, d, bound, run))
    findings += _deficit_finding(target, sizes, bound.floor, trajectories)
    return Result(
        predictions=tuple(predictions), trajectories=tuple(trajectories), findings=tuple(findings)
    )


def _deficit_finding(
    target: str, sizes: list[int], floor: float, runs: list[Trajectory]
) -> list[Finding]:
    """How far SGD gets below the floor within one time, over the dimension: (3.3)."""
    import numpy as np

    from twolayer.compare import compare_sizes

    times = runs[0].time  # the shortest
    below = [
        Trajectory(
            "loss",
            times,
            np.minimum([np.interp(times, run.time, curve) for curve in run.value], floor),
            run.status,
        )
        for run in runs
    ]
    reached = min(float(np.nanmax(floor - run.value)) for run in below)
    if floor == 0 or len(sizes) < 2 or reached <= 0:
        return []
    constant = Prediction("loss", times, np.full(times.shape, floor), "lower", "")
    shrinks = compare_sizes(constant, below, sizes)
    return [
        Finding(
            "deficit shrinks",
            f"What SGD on {target} gains on the floor up to t = {times[-1]:.3g} falls at least "
            "like d^-1/2.",
            shrinks.rate,
            shrinks.slope,
            shrinks.slope_error,
            shrinks.verdict,
            "chen2024subspace, (3.3), which is for the flow",
            shrinks.reason,
        )
    ]


def _finding(target: str, d: int, bound, run) -> Finding:
    import numpy as np

    from twolayer.numerics.montecarlo import mean_and_error

    finished = np.asarray(run.value)[[status == "finished" for status in run.status]]
    lowest = mean_and_error(finished.min(axis=1)) if len(finished) else (math.nan, math.nan)
    half = bound.floor / 2
    verdict: Verdict = "failed"
    if len(finished) and bound.floor > 0:
        low = lowest[0] - half
        verdict = "agrees" if low > 4 * lowest[1] else "disagrees"
        if abs(low) <= 4 * lowest[1]:
            verdict = "undecided"
    note = f"floor {bound.floor:g}"
    if bound.floor == 0:
        note = "the target has no reflective subspace with this activation: no floor to test"
    elif np.all(bound.loss.value <= 0):
        note += (
            f"; the bound with explicit constants is vacuous here: at T = {run.time[-1]:.3g} it "
            f"needs d >= 10^{bound.log10_dim[-1]:.4g}"
        )
    return Finding(
        f"d = {d}",
        f"SGD on {target} stays above half the floor up to t = {run.time[-1]:.3g} at d = {d}.",
        half,
        float(lowest[0]),
        float(lowest[1]),
        verdict,
        "chen2024subspace, (3.4), which is for the flow; Appendix B.2 has half as much for SGD",
        note,
    )
