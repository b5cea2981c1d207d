"""Closed-form error curves below a step of order 1: the fixed first layer, random features."""

from __future__ import annotations

from dataclasses import replace
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
)
from twolayer.experiments.one_step.setting import stage
from twolayer.experiments.options import numbers, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Convergence, Finding
from twolayer.results import Result

_SAMPLES = "samples for each dimension"

if TYPE_CHECKING:
    import numpy as np

    from twolayer.dynamics.one_step import Errors
    from twolayer.networks import TwoLayerNetwork
    from twolayer.theory.one_step.errors import ErrorCurves


@experiment(
    paper="one_step",
    statement="On one fixed first layer, the second moments of its features alone predict test "
    "error, training error and penalised training error of the read-out.",
    reference="derived here; equal to the state evolution of loureiro2021learning",
    quick={"trials": 12},
)
def deterministic_equivalent(
    *,
    activations: str = "relu,erf",
    learning_rate: float = 8.0,
    dim: int = 200,
    width_ratio: float = 2.0,
    sample_ratios: str = "0.5,2",
    step_ratio: float = 2.0,
    scaled_ridge: float = 0.2,
    noise_std: float = 0.25,
    trials: int = 40,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Ridge regression on one network after a step, over many draws of its training set.

    Inputs are isotropic and the label's link is the activation, so that both second moments of
    the features, ``E phi phi^T`` and ``E phi y``, are its dual kernel. The equivalent is that of
    loureiro2021learning; what it must refuse is the second moments of the untrained layer.

    Parameters
    ----------
    activations
        Names separated by commas.
    learning_rate
        Of the step, in units in which 1 changes the errors: ``sqrt(width)`` times it is taken.
    dim
        Input dimension.
    width_ratio
        Neurons for each dimension.
    sample_ratios
        Samples of the read-out for each dimension, separated by commas.
    step_ratio
        Samples of the step for each dimension.
    scaled_ridge
        Penalty of the read-out times the width.
    noise_std
        Standard deviation of the label noise.
    trials
        Training sets.
    seed
        Seed of all randomness.
    """
    ratios = numbers("sample_ratios", sample_ratios, 1e-3, 100.0)
    case = Case(
        dim, width_ratio, ratios[0], step_ratio, scaled_ridge, noise_std, trials, seed
    )  # fmt: skip
    case.check()
    names = [part.strip() for part in activations.split(",")]
    check_functions(*names)
    places = finer(ratios)
    curves, measured, findings = [], [], []
    bias = finite_size(dim)
    for name in names:
        untrained, network = _first_layer(case, name, learning_rate)
        errors = [
            _on_fixed_layer(
                replace(case, sample_ratio=ratio),
                name,
                network,
                stage(progress, name, k, len(ratios)),
            )
            for k, ratio in enumerate(ratios)
        ]
        theory, before = (
            predictions(name, _SAMPLES, places, [_from_moments(case, places, layer)])
            for layer in (network, untrained)
        )
        runs = trajectories(name, _SAMPLES, ratios, errors)
        for curve, what in ERROR_NAMES.items():
            statement = f"The {what} of ridge regression on one first layer of {name} neurons is "
            statement += "that of its deterministic equivalent at every number of samples."
            findings.append(held(statement, theory[curve], runs[curve], bias=bias))
        statement = f"The second moments of the {name} layer before its step do not predict the "
        statement += "test error after it."
        findings.append(
            told_apart(f"control, {name}", statement, before["test"], runs["test"], bias=bias)
        )
        curves += theory.values()
        measured += runs.values()
    return Result(
        quantity="error",
        predictions=tuple(curves),
        trajectories=tuple(measured),
        findings=tuple(findings),
    )


def _first_layer(
    case: Case, name: str, learning_rate: float
) -> tuple[TwoLayerNetwork, TwoLayerNetwork]:
    """One network before and after its step."""
    import equinox as eqx
    import jax

    from twolayer.dynamics.one_step import first_layer_step

    key_network, key_data = jax.random.split(jax.random.key(case.seed))
    network = case.initial(name)(key=key_network)
    x, y = case.task(name).sample(case.num_step_samples, key=key_data)
    x, y = (part.astype(network.W.dtype) for part in (x, y))
    rate = learning_rate * case.width**0.5
    return network, eqx.filter_jit(first_layer_step)(network, x, y, rate)


def _on_fixed_layer(case: Case, name: str, network: TwoLayerNetwork, progress) -> Errors:
    """Errors of the read-out over many training sets."""
    import jax
    import numpy as np

    from twolayer.dynamics.one_step import Errors, readout_errors

    algorithm, task, rows = case.algorithm(0.0), case.task(name), []
    for trial in range(case.trials):
        key = jax.random.fold_in(jax.random.key(case.seed + 1), trial)
        [errors] = readout_errors(algorithm, network, task, key=key, key_noise=key)
        rows.append(errors)
        progress(trial + 1, case.trials)
    return Errors(*(np.asarray(part) for part in zip(*rows, strict=True)))


def _from_moments(case: Case, ratios: list[float], network: TwoLayerNetwork) -> ErrorCurves:
    """The deterministic equivalent on this layer."""
    from twolayer.theory.one_step.deterministic_equivalent import deterministic_equivalent

    covariance, cross, second_moment = second_moments(network, case.noise_std)
    return deterministic_equivalent(
        covariance,
        cross,
        second_moment,
        num_samples=[ratio * case.dim for ratio in ratios],
        ridge=case.scaled_ridge / case.width,
    )


def second_moments(
    network: TwoLayerNetwork, noise_std: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """``E phi phi^T``, ``E phi y`` and ``E y^2`` for isotropic x and ``y = s(x_1) + noise``.

    Features and link have one activation s, so that all three are its dual kernel.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    with jax.enable_x64(True):
        weights = jnp.asarray(np.asarray(network.W, dtype=np.float64))
        gram = weights @ weights.T
        lengths = jnp.diagonal(gram)
        dual = jax.jit(network.activation.dual)
        covariance = dual(
            jnp.broadcast_to(lengths[:, None], gram.shape),
            gram,
            jnp.broadcast_to(lengths[None], gram.shape),
        )
        cross = dual(lengths, weights[:, 0], jnp.ones_like(lengths))
        second_moment = float(dual(*jnp.ones((3, 1)))[0])
    scale = float(network.scale)
    return (
        scale**2 * np.asarray(covariance),
        scale * np.asarray(cross),
        second_moment + noise_std**2,
    )


@experiment(
    paper="one_step",
    statement="Errors of ridge regression on the features of an untrained layer follow a closed "
    "form in the ratios of width and samples to the dimension, nearer the larger the dimension.",
    reference="derived here",
    quick={"dims": "50,200", "activations": "relu,tanh", "sample_ratios": "0.5,2", "trials": 24},
)
def random_features_curve(
    *,
    activations: str = "relu,tanh,softplus",
    link: str = "tanh",
    dims: str = "100,200,400",
    width_ratio: float = 2.0,
    sample_ratios: str = "0.5,1,2,3,4",
    scaled_ridge: float = 0.2,
    noise_std: float = 0.25,
    trials: int = 24,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Random features of isotropic inputs against the theory of their equivalent noisy features.

    The setting of gerace2020generalisation; the closed form here is ours. The largest dimension is
    held against it, and the gap of all dimensions must shrink. What it must refuse is the theory of
    linear features.

    Parameters
    ----------
    activations
        Names separated by commas; "centred relu" is ReLU less its Gaussian mean.
    link
        The label's function of one coordinate, before noise.
    dims
        Input dimensions, increasing, separated by commas.
    width_ratio
        Neurons for each dimension.
    sample_ratios
        Samples for each dimension, separated by commas.
    scaled_ridge
        Penalty of the read-out times the width.
    noise_std
        Standard deviation of the label noise.
    trials
        Networks and data sets at each point.
    seed
        Seed of all randomness.
    """
    ratios = numbers("sample_ratios", sample_ratios, 1e-3, 100.0)
    sizes = whole_numbers("dims", dims)
    cases = [
        Case(dim, width_ratio, ratios[0], 1.0, scaled_ridge, noise_std, trials, seed)
        for dim in sorted(sizes)
    ]
    for case in cases:
        case.check()
    names = [part.strip() for part in activations.split(",")]
    check_functions(link, *names)

    from twolayer.compare import compare_sizes

    curves, measured, comparisons, findings = [], [], [], []
    for name in names:
        theory = _random_features(cases[-1], ratios, name, link, name)
        runs = []
        for j, case in enumerate(cases):
            errors = []
            for k, ratio in enumerate(ratios):
                hook = stage(progress, name, j * len(ratios) + k, len(cases) * len(ratios))
                errors.append(trained(replace(case, sample_ratio=ratio), name, link, progress=hook))
            runs.append(trajectories(name, _SAMPLES, ratios, errors))
        bias = finite_size(cases[-1].dim)
        for curve, what in ERROR_NAMES.items():
            statement = f"The {what} on random {name} features is the closed form at every number "
            statement += "of samples."
            findings.append(held(statement, theory[curve], runs[-1][curve], bias=bias))
        linear = _random_features(cases[-1], ratios, "x", link, name)
        statement = f"Linear features do not predict the test error on {name} features."
        findings.append(
            told_apart(f"control, {name}", statement, linear["test"], runs[-1]["test"], bias=bias)
        )
        if len(cases) > 1:
            # nothing of it is measured on test samples, whose number is not that of the case
            objectives = [run["objective"] for run in runs]
            shrinking = compare_sizes(theory["objective"], objectives, [case.dim for case in cases])
            comparisons.append(shrinking)
            findings.append(_shrinks(name, shrinking, trials))
        curves += theory.values()
        measured += runs[-1].values()
    return Result(
        quantity="error",
        predictions=tuple(curves),
        trajectories=tuple(measured),
        comparisons=tuple(comparisons),
        findings=tuple(findings),
    )


def _random_features(
    case: Case, ratios: list[float], activation: str, link: str, name: str
) -> dict:
    """The closed form along the numbers of samples, with the name of what it is held against."""
    from twolayer.experiments.one_step.isotropic import function_of
    from twolayer.theory.one_step.random_features import random_features_ridge

    places = finer(ratios)
    found = random_features_ridge(
        function_of(activation),
        function_of(link),
        width_ratio=case.width_ratio,
        sample_ratio=places,
        scaled_ridge=case.scaled_ridge,
        noise_std=case.noise_std,
    )
    return predictions(name, _SAMPLES, places, [found])


def _shrinks(name: str, shrinking: Convergence, trials: int) -> Finding:
    """The gap of a single network to the limit, fluctuations included, falls with the dimension."""
    statement = f"The penalised training error on one set of random {name} features comes to the "
    statement += "closed form as the dimension grows, at a rate of 1 / sqrt(dim) or faster."
    return Finding(
        f"rate, {name}",
        statement,
        shrinking.rate,
        float(shrinking.slope),
        float(shrinking.slope_error),
        shrinking.verdict,
        "derived here",
        f"{shrinking.reason}; {trials} networks at each size",
    )
