"""Closed-form error curves after a step of the maximal size."""

from __future__ import annotations

from dataclasses import replace

from twolayer.experiments.one_step.isotropic import (
    ERROR_NAMES,
    Case,
    check_functions,
    finer,
    finite_size,
    function_of,
    held,
    predictions,
    told_apart,
    trained,
    trajectories,
)
from twolayer.experiments.one_step.setting import stage
from twolayer.experiments.options import numbers, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Prediction
from twolayer.results import Result

_SAMPLES = "samples for each dimension"


@experiment(
    paper="one_step",
    statement="After a step of the maximal size, with which a neuron moves as far as it was long, "
    "the errors of the read-out follow self-consistent equations.",
    reference="derived here, in the setting of cui2024asymptotics",
    quick={"dim": 200, "sample_ratios": "0.5,2", "trials": 16},
    full={"dim": 2000},  # as in the notebook to that paper
)
def maximal_learning_rate_curve(
    *,
    activation: str = "tanh",
    link: str = "sin",
    learning_rate: float = 3.0,
    dim: int = 400,
    width_ratio: float = 1.0,
    sample_ratios: str = "0.2,0.9,1.6,2.3,3",
    step_ratio: float = 20.0,
    scaled_ridge: float = 0.1,
    noise_std: float = 0.0,
    trials: int = 24,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Networks with equal output weights after one step against the number of samples.

    The setting of cui2024asymptotics. Initial weights are Gaussian, whose rows are not quite of
    length 1; the theory follows that. What it must refuse is the theory of untrained features, and
    that of small steps: the linear part of what is learnt, fitted at no cost.

    Parameters
    ----------
    activation
        The network's.
    link
        The label's function of one coordinate, before noise.
    learning_rate
        Of order 1; the width times it is taken.
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
        Networks and data sets at each point.
    seed
        Seed of all randomness.
    """
    ratios = numbers("sample_ratios", sample_ratios, 1e-3, 100.0)
    positive(learning_rate=learning_rate)
    case = Case(
        dim, width_ratio, ratios[0], step_ratio, scaled_ridge, noise_std, trials, seed
    )  # fmt: skip
    case.check()
    check_functions(activation, link)
    theory = _theory(case, activation, link, ratios, learning_rate)
    errors = [
        trained(
            replace(case, sample_ratio=ratio), activation, link, learning_rate, constant=True,
            progress=stage(progress, "errors", k, len(ratios)),
        )
        for k, ratio in enumerate(ratios)
    ]  # fmt: skip
    runs = trajectories(activation, _SAMPLES, ratios, errors)
    bias = finite_size(dim)
    findings = []
    for curve, what in ERROR_NAMES.items():
        statement = f"The {what} after one step of the maximal size is that of the theory at every "
        statement += "number of samples."
        findings.append(held(statement, theory[curve], runs[curve], bias=bias))
    wrong = {
        "untrained": _theory(case, activation, link, ratios, 0.0)["test"],
        "half the step": _theory(case, activation, link, ratios, learning_rate / 2)["test"],
    }
    for name, refused in wrong.items():
        statement = f"The theory of {name} does not predict the test error."
        findings.append(told_apart(f"control, {name}", statement, refused, runs["test"], bias=bias))
    return Result(
        quantity="error",
        predictions=tuple(theory.values()),
        trajectories=tuple(runs.values()),
        findings=tuple(findings),
    )


def _theory(
    case: Case, activation: str, link: str, ratios: list[float], learning_rate: float
) -> dict[str, Prediction]:
    from twolayer.theory.one_step.maximal_learning_rate import maximal_learning_rate

    places = finer(ratios, 9)
    found = maximal_learning_rate(
        function_of(activation),
        function_of(link),
        learning_rate=learning_rate,
        step_ratio=case.step_ratio,
        width_ratio=case.width_ratio,
        sample_ratio=places,
        scaled_ridge=case.scaled_ridge,
        noise_std=case.noise_std,
    )
    return predictions(activation, _SAMPLES, places, [found])
