"""Closed-form error curves and the first layer's spike after a step of order 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.one_step.isotropic import (
    ERROR_NAMES,
    Case,
    check_functions,
    finer,
    finite_size,
    held,
    predictions,
    told_apart,
    trained,
    trajectories,
    trajectory,
)
from twolayer.experiments.one_step.setting import stage
from twolayer.experiments.options import numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    from twolayer.theory.one_step.errors import ErrorCurves

_RATES = "learning rate"


@experiment(
    paper="one_step",
    statement="After a step with a learning rate of order 1 the first layer has one spike of "
    "known size and direction, and the errors of the read-out follow a closed form.",
    reference="derived here, in the setting of ba2022high",
    quick={"learning_rates": "0,2,8", "dim": 200, "trials": 12},
)
def small_learning_rate_curve(
    *,
    activation: str = "tanh",
    link: str = "centred softplus",
    learning_rates: str = "0,1,2,4,6,8",
    dim: int = 400,
    width_ratio: float = 2.0,
    sample_ratio: float = 2.0,
    step_ratio: float = 2.0,
    scaled_ridge: float = 6.0,
    noise_std: float = 0.25,
    trials: int = 24,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Errors, largest singular value and alignment against the learning rate.

    The setting of ba2022high. Singular value and alignment are those of the actual first layer
    after the actual step. What the errors must refuse is the theory of untrained features; what
    the singular value must refuse is the theory of half the learning rate.

    Parameters
    ----------
    activation
        The network's.
    link
        The label's function of one coordinate; "centred softplus" is it less its Gaussian mean.
    learning_rates
        Increasing, separated by commas; ``sqrt(width)`` times them is taken.
    dim
        Input dimension.
    width_ratio
        Neurons for each dimension.
    sample_ratio
        Samples of the read-out for each dimension.
    step_ratio
        Samples of the step for each dimension.
    scaled_ridge
        Penalty of the read-out times the width.
    noise_std
        Standard deviation of the label noise.
    trials
        Networks and data sets at each learning rate.
    seed
        Seed of all randomness.
    """
    case = Case(
        dim, width_ratio, sample_ratio, step_ratio, scaled_ridge, noise_std, trials, seed
    )  # fmt: skip
    case.check()
    rates = numbers("learning_rates", learning_rates, 0.0, 1e3)
    check_functions(activation, link)
    places = finer(rates)
    theory = predictions(
        activation, _RATES, places, [_small_rate(case, activation, link, rate) for rate in places]
    )
    runs = trajectories(
        activation,
        _RATES,
        rates,
        [
            trained(case, activation, link, rate, progress=stage(progress, "errors", k, len(rates)))
            for k, rate in enumerate(rates)
        ],
    )
    bias = finite_size(dim)
    findings = []
    for curve, what in ERROR_NAMES.items():
        statement = f"The {what} after one step of order 1 is the closed form at every learning "
        statement += "rate."
        findings.append(held(statement, theory[curve], runs[curve], bias=bias))
    untrained = predictions(
        activation, _RATES, rates, [_small_rate(case, activation, link, 0.0)] * len(rates)
    )
    statement = "The theory of untrained features does not predict the test error after the step."
    findings.append(
        told_apart("control, errors", statement, untrained["test"], runs["test"], bias=bias)
    )
    spikes, seen = _spikes(case, activation, link, rates, stage(progress, "spikes", 0, 1))
    findings += _spike_findings(spikes, seen, bias)
    return Result(
        quantity="error",
        predictions=tuple(theory.values()),
        trajectories=tuple(runs.values()),
        findings=tuple(findings),
        details={
            "spikes": {name: {"predicted": spikes[name], "measured": seen[name]} for name in seen}
        },
    )


def _small_rate(case: Case, activation: str, link: str, rate: float) -> ErrorCurves:
    from twolayer.experiments.one_step.isotropic import function_of
    from twolayer.theory.one_step.small_learning_rate import small_learning_rate

    return small_learning_rate(
        function_of(activation),
        function_of(link),
        learning_rate=rate,
        step_ratio=case.step_ratio,
        width_ratio=case.width_ratio,
        sample_ratio=case.sample_ratio,
        scaled_ridge=case.scaled_ridge,
        noise_std=case.noise_std,
    )


def _spikes(
    case: Case, activation: str, link: str, rates: list[float], progress
) -> tuple[dict[str, Prediction], dict[str, Trajectory]]:
    """Largest singular value of the first layer and squared alignment of its input direction.

    Also the singular value that half the learning rate would predict.
    """
    import equinox as eqx
    import jax
    import numpy as np

    from twolayer.dynamics.one_step import first_layer_step
    from twolayer.experiments.one_step.isotropic import function_of
    from twolayer.theory.one_step.small_learning_rate import first_layer_spike

    step, task = eqx.filter_jit(first_layer_step), case.task(link)
    sample = eqx.filter_jit(lambda key: task.sample(case.num_step_samples, key=key))
    initial = eqx.filter_jit(case.initial(activation))
    values = np.empty((2, case.trials, len(rates)))
    for trial in range(case.trials):
        key = jax.random.fold_in(jax.random.key(case.seed + 1), trial)
        key_network, key_data = jax.random.split(key)
        network, (x, y) = initial(key=key_network), sample(key_data)
        x, y = (part.astype(network.W.dtype) for part in (x, y))
        for k, rate in enumerate(rates):
            W = step(network, x, y, rate * case.width**0.5).W
            squares, vectors = np.linalg.eigh(np.asarray(W.T @ W, dtype=np.float64))
            values[:, trial, k] = np.sqrt(squares[-1]), vectors[0, -1] ** 2
        progress(trial + 1, case.trials)

    def theory(factor: float) -> list:
        return [
            first_layer_spike(
                function_of(activation), function_of(link), learning_rate=factor * rate,
                step_ratio=case.step_ratio, width_ratio=case.width_ratio,
                noise_std=case.noise_std,
            )
            for rate in rates
        ]  # fmt: skip

    def curve(name: str, found: list[float]) -> Prediction:
        return Prediction(
            name, np.asarray(rates), np.asarray(found), "asymptotic",
            "derived here, in the setting of ba2022high", grid_name=_RATES,
        )  # fmt: skip

    found = theory(1.0)
    singular, aligned = "largest singular value", "squared alignment"
    predicted = {
        singular: curve(singular, [spike.singular_value for spike in found]),
        aligned: curve(aligned, [spike.alignment_squared for spike in found]),
        "half": curve("half", [spike.singular_value for spike in theory(0.5)]),
    }
    measured = {
        name: trajectory(name, _RATES, rates, part)
        for name, part in zip((singular, aligned), values, strict=True)
    }
    return predicted, measured


def _spike_findings(
    predicted: dict[str, Prediction], measured: dict[str, Trajectory], bias: float
) -> list[Finding]:
    """Size and direction of the spike, and the control of the size."""
    singular, aligned = measured
    statement = "The first layer's largest singular value after the step is the closed form: the "
    statement += "edge of the bulk up to a threshold, an outlier above it."
    findings = [held(statement, predicted[singular], measured[singular], bias=bias)]
    statement = "The squared alignment of the first layer's leading input direction with the "
    statement += "label's is the closed form, and 0 below the threshold."
    # an alignment lies between 0 and 1: what finite size adds is no share of a value near 0
    from twolayer.compare import compare

    found = compare(predicted[aligned], measured[aligned], tolerance=bias)
    findings.append(
        Finding(
            aligned,
            statement,
            float(predicted[aligned].value[-1]),
            float(predicted[aligned].value[-1] + found.gap[-1]),
            float(found.error[-1]),
            found.verdict,
            predicted[aligned].reference,
            f"{found.reason}; {bias:.2g} granted to the finite size",
        )
    )
    statement = "The theory of half the learning rate does not predict the singular value."
    findings.append(
        told_apart(
            "control, spike", statement, predicted["half"], measured[singular], bias=bias
        )
    )  # fmt: skip
    return findings
