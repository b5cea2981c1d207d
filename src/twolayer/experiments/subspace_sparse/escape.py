"""When training leaves the saddle of a reflective target."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twolayer.experiments.options import Stage, at_least, coordinates, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Verdict
from twolayer.results import Result


@experiment(
    paper="subspace_sparse",
    statement="The saddle of a leap-2 target lasts a time proportional to log d.",
    reference="derived here; Theorem 3.4 of chen2024subspace holds for times constant in d",
    quick={"dims": "32,256", "width": 200, "seeds": 4, "horizon": 8.0},
)
def escape_times(
    *,
    target: str = "z1*z2",
    activation: str = "cos_sin",
    dims: str = "32,128,512",
    width: int = 400,
    share: float = 0.9,
    horizon: float = 16.0,
    seeds: int = 6,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Escape times of the mean-field flow against those of finite networks in d dimensions.

    The escape time is the first at which the loss is below a share of the floor. Predicted: the
    dimension-free flow. Measured: gradient flow of finite networks, all d dimensions of them.

    Parameters
    ----------
    target
        A polynomial with a reflective subspace.
    activation
        Its name, or a polynomial in x.
    dims
        Input dimensions separated by commas: at least two.
    width
        Neurons of the finite networks, and of each draw of the flow.
    share
        The share of the floor that counts as escaped.
    horizon
        Training time of the finite networks.
    seeds
        Networks, and draws of the flow, at each dimension.
    seed
        Seed of all randomness.
    """
    positive(horizon=horizon, share=share)
    if share >= 1:
        message = f"Expected share to lie below 1: the loss starts at its floor. Received: {share}."
        raise ValueError(message)
    at_least(2, seeds=seeds, width=width)
    at_least(0, seed=seed)
    sizes = whole_numbers("dims", dims)
    at_least(2, number_of_dims=len(set(sizes)))
    at_least(max(coordinates(target, activation), 2), dimension=min(sizes))

    import jax
    import numpy as np

    from twolayer.activations import activation_of
    from twolayer.dynamics import GradientFlow, simulate
    from twolayer.inputs import Gaussian
    from twolayer.networks import mean_field_network
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.targets import Polynomial
    from twolayer.tasks import Regression
    from twolayer.theory.learnability import certify
    from twolayer.theory.mean_field import escape_times as predict

    polynomial, function = Polynomial(target), activation_of(activation)
    key_flow, key_network = jax.random.split(jax.random.key(seed))
    predicted = predict(
        polynomial,
        activation=function,
        dims=sizes,
        key=key_flow,
        num_draws=seeds,
        num_neurons=width,
        share=share,
    )
    certificate = certify(target, activation=activation)
    level = share * float(certificate.activation_loss_floor)
    times = np.linspace(0.0, horizon, 65)
    runs, escapes = [], []
    for d in sizes:
        run = simulate(
            GradientFlow(),
            partial(mean_field_network, width, d, function),
            Regression(Gaussian(d), polynomial),
            times=times,
            seeds=seeds,
            key=key_network,
            progress=Stage(progress, f"gradient flow, d = {d}"),
        )
        runs.append(replace(run, name=f"gradient flow, d = {d}"))
        escapes.append([_crossing(run.time, curve, level) for curve in run.value])
    with np.errstate(invalid="ignore"):  # infinite where the horizon is too short
        measured = mean_and_error(np.asarray(escapes).T)
    findings = [
        _finding(f"d = {d}", f"Escape time of {target} at d = {d}.",
                 (predicted.mean[k], predicted.error[k]), (measured.mean[k], measured.error[k]))
        for k, d in enumerate(sizes)
    ]  # fmt: skip
    slopes = _slopes(predicted.scale, np.asarray(escapes))
    scale = "log10 d" if certificate.isotropic_leap <= 2 else "the power of d expected of its leap"
    findings.append(
        _finding(
            "growth",
            f"The escape time of {target} grows in proportion to {scale}, at the predicted rate.",
            (predicted.slope, predicted.slope_error),
            (float(slopes.mean), float(slopes.error)),
        )
    )
    return Result(trajectories=tuple(runs), findings=tuple(findings))


def _slopes(scale, escapes):
    """Mean over seeds of the least-squares slope of escape times ``[k, s]``, and its error."""
    import numpy as np

    from twolayer.numerics.montecarlo import mean_and_error

    centred = np.asarray(scale) - np.mean(scale)
    with np.errstate(invalid="ignore"):
        return mean_and_error(centred @ escapes / np.sum(centred**2))


def _crossing(times, curve, level: float) -> float:
    """The first time below the level, interpolated; infinite if there is none."""
    import numpy as np

    below = np.flatnonzero(curve < level)
    if not len(below):
        return float("inf")
    k = int(below[0])
    if k == 0:
        return float(times[0])
    part = (curve[k - 1] - level) / (curve[k - 1] - curve[k])
    return float(times[k - 1] + part * (times[k] - times[k - 1]))


def _finding(
    name: str, statement: str, predicted: tuple[float, float], measured: tuple[float, float]
) -> Finding:
    import numpy as np

    error = float(np.hypot(predicted[1], measured[1]))
    verdict: Verdict = "undecided"
    if np.isfinite(error):
        verdict = "agrees" if abs(predicted[0] - measured[0]) <= 4 * error else "disagrees"
        if verdict == "agrees" and 4 * error > abs(predicted[0]) / 2:  # too large to tell
            verdict = "undecided"
    return Finding(
        name, statement, float(predicted[0]), float(measured[0]), error, verdict, "derived here"
    )
