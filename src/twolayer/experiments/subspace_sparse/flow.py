"""Training of finite networks against the mean-field flow."""

from __future__ import annotations

import math
from functools import partial

from twolayer.experiments.options import Stage, at_least, coordinates, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding
from twolayer.results import Result

_MOST_STEPS = 10**8


@experiment(
    paper="subspace_sparse",
    statement="One-pass SGD follows the mean-field flow, ever closer as width and dimension grow.",
    reference="chen2024subspace, equations 2.3-2.5 and Appendix B.2; rate derived here",
    quick={"horizon": 6.0, "seeds": 6, "dims": "32,128"},
)
def mean_field_flow(
    *,
    target: str = "z1 + z1*z2",
    activation: str = "cos_sin",
    dims: str = "64,256",
    width_ratio: float = 2.0,
    step: float = 0.1,
    horizon: float = 10.0,
    seeds: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """The flow at d = infinity and at finite d, SGD at several sizes, and how the gap shrinks.

    The gap has three parts: finite width and finite dimension (each at most of order -1/2) and
    the noise of the steps, of the order of ``learning_rate * d``; the learning rate
    ``step / d * sqrt(smallest d / d)`` lets the last fall as d^(-1/2) too.

    Parameters
    ----------
    target
        The polynomial to learn.
    activation
        Its name, or a polynomial in x.
    dims
        Input dimensions, increasing, separated by commas: at least two.
    width_ratio
        Neurons for each input dimension.
    step
        Learning rate times dimension, at the smallest dimension.
    horizon
        Training time t = steps * learning rate.
    seeds
        Networks trained at each size.
    seed
        Seed of all randomness.
    """
    positive(width_ratio=width_ratio, step=step, horizon=horizon)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    sizes = whole_numbers("dims", dims)
    lowest = coordinates(target, activation)
    if len(sizes) < 2 or sizes != sorted(set(sizes)) or sizes[0] < lowest:
        message = (
            f"Expected at least two increasing dimensions from {lowest} on, "
            f"which the target reads. Received: {dims!r}."
        )
        raise ValueError(message)
    rates = [step / d * math.sqrt(sizes[0] / d) for d in sizes]
    if not rates[0] <= horizon <= _MOST_STEPS * rates[-1]:
        message = (
            f"Expected between 1 and {_MOST_STEPS:.0e} steps of SGD within horizon {horizon:g}. "
            f"Received: learning rates from {rates[-1]:.2g} to {rates[0]:.2g}."
        )
        raise ValueError(message)

    import jax
    import numpy as np

    from twolayer.activations import activation_of
    from twolayer.compare import compare, compare_sizes
    from twolayer.dynamics import SGD, in_single_precision, simulate
    from twolayer.inputs import Gaussian
    from twolayer.networks import mean_field_network
    from twolayer.targets import Polynomial
    from twolayer.tasks import Regression
    from twolayer.theory.learnability import certify
    from twolayer.theory.mean_field import mean_field_flow as predict

    polynomial, function = Polynomial(target), activation_of(activation)
    times = np.linspace(0.0, horizon, 13)
    # The step nearest to the last time may lie beyond it.
    last = max(round(horizon / rate) * rate for rate in rates)
    covered = np.append(times, last) if last > horizon * (1 + 1e-9) else times
    stage = Stage(progress, "flow")
    limit = predict(polynomial, activation=function, times=covered).loss
    stage(1, 2)
    finite = predict(polynomial, activation=function, times=covered, dim=sizes[-1]).loss
    stage(2, 2)
    runs = []
    for d, rate in zip(sizes, rates, strict=True):
        width = max(round(width_ratio * d), 2)
        runs.append(
            simulate(
                SGD(rate),
                in_single_precision(partial(mean_field_network, width, d, function)),
                Regression(Gaussian(d), polynomial),
                times=times,
                seeds=seeds,
                key=jax.random.key(seed),
                progress=Stage(progress, f"SGD, d = {d}"),
            )
        )
    convergence = compare_sizes(limit, runs, sizes)
    noise = step * math.sqrt(sizes[0] / sizes[-1]) * float(polynomial.second_moment) / 2
    allowed = 0.0
    if limit.status == finite.status == "finished":
        allowed = np.interp(runs[-1].time, covered, np.abs(limit.value - finite.value))
    largest = compare(finite, runs[-1], tolerance=noise + allowed)
    finding = Finding(
        "gap shrinks",
        f"The gap between SGD and the flow of {target} ({activation}) falls at least like d^-1/2.",
        convergence.rate,
        convergence.slope,
        convergence.slope_error,
        convergence.verdict,
        "derived here",
        convergence.reason,
    )
    return Result(
        predictions=(
            _named(limit, "flow, d = infinity"),
            _named(finite, f"flow, d = {sizes[-1]}"),
        ),
        trajectories=tuple(_named(r, f"SGD, d = {d}") for r, d in zip(runs, sizes, strict=True)),
        comparisons=(convergence, largest),
        findings=(finding,),
        details={"certificate": certify(target, activation=activation).to_json()},
    )


def _named(curve, name: str):
    from dataclasses import replace

    return replace(curve, name=name)
