"""What of the images the error depends on: few directions' law, and a covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from twolayer.experiments.one_step.images import (
    QUICK,
    Variant,
    classes_of,
    pair_of,
    pixels,
)
from twolayer.experiments.one_step.setting import Problem, Setting, measured, model_errors, stage
from twolayer.experiments.one_step.verdicts import beyond, within
from twolayer.experiments.options import activations_of, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Finding, Prediction, Trajectory

_TOLERANCE = 0.05  # of the error


@experiment(
    paper="one_step",
    statement="Of images, the error depends on the law of a few principal directions and on the "
    "covariance of the others.",
    reference="derived here, after the conditional equivalence of demir2025asymptotic, Theorem 3",
    quick={**QUICK, "kept": "2,16", "activations": "relu", "trials": 12},
)
def image_universality(
    *,
    pair: str = "0,1",
    images: str = "fashion-mnist",
    variant: str = "demeaned",
    kept: str = "1,2,3,5,10,20,30",
    ratio: float = 1.0,
    activations: str = "relu,tanh,sigmoid",
    num_samples: int = 500,
    ridge: float = 1e-4,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Error of the network on images that are made Gaussian in all but some principal directions.

    With none kept they are the Gaussian mixture with the classes' means and covariances. Images
    of strength ``theta = dim`` plus noise ``N(0, I)``; learning rate 1. Each trial has data of its
    own, from the same images and noise whatever is kept.

    Parameters
    ----------
    pair
        The two classes.
    images
        fashion-mnist, or the digits that come with scikit-learn.
    variant
        demeaned: each class without its mean; means-kept: both less the midpoint of the means.
    kept
        Numbers of leading principal directions of each class that keep their law, increasing.
    ratio
        Neurons for each sample.
    activations
        Names separated by commas.
    num_samples
        Samples for the step, and again for the read-out.
    ridge
        Penalty of the read-out.
    trials
        Networks at each point.
    seed
        Seed of all randomness.
    """
    setting = Setting(pixels(images), num_samples, 0.0, 1.0, ridge, trials, seed)
    setting.check()
    counts = whole_numbers("kept", kept)
    if counts != sorted(set(counts)) or counts[-1] > setting.dim:
        message = "Expected kept as increasing whole numbers up to the number of pixels, "
        message += f"{setting.dim}. Received: {kept!r}."
        raise ValueError(message)
    chosen = _variant(variant)
    positive(ratio=ratio)
    names, classes = activations_of(activations), classes_of(pair)
    width = max(1, round(ratio * num_samples))
    counts = [0, *counts]
    problems = _problems(images, classes, chosen, [*counts, setting.dim])
    trajectories, predictions, findings, alone = [], [], [], []
    for name in names:
        errors = []
        for k, problem in enumerate(problems):
            hook = stage(progress, name, k, len(problems))
            network, *_ = model_errors(
                problem, setting, name, width=width, degree=None, same_data=False, progress=hook
            )
            errors.append(network.generalization)
        trajectory, prediction = _curves(name, counts, errors)
        trajectories.append(trajectory)
        predictions.append(prediction)
        gaps = [(error - errors[-1]) / errors[-1].mean() for error in errors[:-1]]
        findings.append(_few_are_enough(name, counts[-1], gaps[-1]))
        alone.append(gaps[0])
    findings.append(_moments_alone(names, alone))
    return Result(
        quantity="generalization error",
        predictions=tuple(predictions),
        trajectories=tuple(trajectories),
        findings=tuple(findings),
    )


def _variant(text: str) -> Variant:
    for known in get_args(Variant):
        if text == known:
            return known
    message = f"Expected the variant demeaned or means-kept. Received: {text!r}."
    raise ValueError(message)


def _problems(
    images: str, classes: tuple[int, int], variant: Variant, counts: list[int]
) -> list[Problem]:
    """The images with each number of principal directions kept."""
    from twolayer.experiments.one_step.partly_gaussian import partly_gaussian

    pair = pair_of(images, classes, variant)
    trace = float(pair.traces[0])
    return [Problem(partly_gaussian(pair, count), trace) for count in counts]


def _curves(
    name: str, counts: list[int], errors: list[np.ndarray]
) -> tuple[Trajectory, Prediction]:
    """Errors with so many directions kept, and those on the images themselves."""
    import numpy as np

    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Prediction

    mean, error = (np.full(len(counts), part) for part in mean_and_error(errors[-1]))
    axis = "principal directions that keep their law"
    return (
        measured(name, counts, np.stack(errors[:-1], axis=1), axis),
        Prediction(
            name, np.asarray(counts, np.float64), mean, "asymptotic", "derived here",
            grid_name=axis, error=error,
        ),
    )  # fmt: skip


def _few_are_enough(name: str, count: int, gap: np.ndarray) -> Finding:
    statement = f"The error of a {name} network does not change if all but {count} principal "
    statement += "directions of each class of images are made Gaussian."
    note = "error with these directions kept, relative to that on the images, less 1"
    label = f"{count} directions, {name}"
    return within(label, statement, "derived here", gap, _TOLERANCE, note)


def _moments_alone(names: list[str], gaps: list[np.ndarray]) -> Finding:
    """The negative control, for the activation that sees most of the images' law."""
    k = max(range(len(names)), key=lambda k: abs(gaps[k].mean()))
    statement = "Means and covariances of the images are not enough: on the Gaussian mixture that "
    statement += "shares them a network errs otherwise."
    note = f"{names[k]}: error on the mixture, relative to that on the images, less 1"
    return beyond("no directions", statement, "derived here", gaps[k], _TOLERANCE, note)
