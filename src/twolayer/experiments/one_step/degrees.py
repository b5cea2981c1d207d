"""The degree that is needed, and that one less is not enough, as sizes grow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twolayer.experiments.one_step.setting import (
    Setting,
    measured,
    mixture_problem,
    model_errors,
)
from twolayer.experiments.one_step.verdicts import beyond, within
from twolayer.experiments.options import activations_of, at_least, numbers, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.results import Result
from twolayer.theory.one_step.regimes import needed_degree

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Convergence, Finding

_TOLERANCE = 0.06  # of the error: what finite size adds
_REFERENCE = "demir2025asymptotic, Theorem 4; degrees for alpha > 0 derived here"


@experiment(
    paper="one_step",
    statement="Where labels depend on the data's spikes, the Hermite model of the needed degree "
    "generalizes like the network, and that of one degree less does not, the less the larger.",
    reference="demir2025asymptotic, Theorem 4; the negative control is derived here",
    quick={"dims": "64,256", "betas": "0.6", "trials": 8},
)
def aligned_degree(
    *,
    dims: str = "128,256,512,1024",
    alpha: float = 0.0,
    betas: str = "0.3,0.6",
    activation: str = "relu",
    penalty: float = 0.1,
    trials: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Gap between network and Hermite model of the needed degree, and of one less, over sizes.

    As many samples and neurons as dimensions; labels are ``ReLU(xi . x)`` with xi along the sum
    of the two components' spikes; each trial has data of its own. The gap of one trial is
    relative to the network's error.

    Parameters
    ----------
    dims
        Input dimensions, increasing.
    alpha
        Weighting: the share of the exponent in the learning rate.
    betas
        Strengths, increasing.
    activation
        Of the network.
    penalty
        Penalty of the read-out times the number of neurons: this has a limit.
    trials
        Networks at each size.
    seed
        Seed of all randomness.
    """
    sizes = whole_numbers("dims", dims)
    if sizes != sorted(set(sizes)) or len(sizes) < 2:
        message = f"Expected dims as at least two increasing whole numbers. Received: {dims!r}."
        raise ValueError(message)
    strengths = numbers("betas", betas, 0.0, 1.0)
    activations_of(activation)
    positive(penalty=penalty)
    at_least(2, trials=trials)
    settings = [
        [Setting(n, n, alpha, beta, penalty / n, trials, seed) for n in sizes] for beta in strengths
    ]
    for setting in (part for row in settings for part in row):
        setting.check()
    needed = [_needed(alpha, beta) for beta in strengths]
    comparisons, findings = [], []
    for row, degree in zip(settings, needed, strict=True):
        gaps = _gaps(row, activation, degree, progress)
        for k, part in enumerate((degree, degree - 1)):
            shrinking = _convergence(f"degree {part} at strength {row[0].beta:g}", sizes, gaps[k])
            judge = _one_less if k else _enough
            comparisons.append(shrinking)
            findings.append(judge(row[0], part, sizes[-1], gaps[k], shrinking))
    return Result(comparisons=tuple(comparisons), findings=tuple(findings))


def _needed(alpha: float, beta: float) -> int:
    degree = needed_degree(alpha, beta).degree
    if degree is None:
        message = "Expected alpha and betas for which a finite degree is enough. "
        message += f"Received: alpha = {alpha:g}, beta = {beta:g}; choose a smaller beta."
        raise ValueError(message)
    return degree


def _gaps(
    settings: list[Setting], activation: str, degree: int, progress: Progress
) -> list[list[np.ndarray]]:
    """Relative gaps of the needed degree and of one less: an array of trials for each size."""
    import numpy as np

    gaps: list[list[np.ndarray]] = [[], []]
    name = f"{activation}, strength {settings[0].beta:g}"
    work = [setting.dim**3 for setting in settings]
    for k, setting in enumerate(settings):
        # Sizes are weighted by their cost, so that the estimate of the time left is one.
        start, share = sum(work[:k]) / sum(work), work[k] / sum(work)

        def hook(done: float, total: float, start: float = start, share: float = share) -> None:
            progress(name, int(1000 * (start + share * done / total)), 1000)

        network, *models = model_errors(
            mixture_problem(setting, aligned=True), setting, activation, width=setting.dim,
            degree=(degree, degree - 1), same_data=False, progress=hook,
        )  # fmt: skip
        for gap, model in zip(gaps, models, strict=True):
            gap.append(np.asarray(model.generalization) / network.generalization - 1)
    return gaps


def _convergence(name: str, sizes: list[int], gaps: list[np.ndarray]) -> Convergence:
    """Whether the mean size of a trial's gap falls with the size; no rate is promised."""
    import numpy as np

    from twolayer.compare import compare_sizes
    from twolayer.outcomes import Prediction

    trajectories = [measured(name, [0.0], gap[:, None]) for gap in gaps]
    nothing = Prediction(name, np.zeros(1), np.zeros(1), "asymptotic", _REFERENCE)
    return compare_sizes(nothing, trajectories, sizes, rate=0.0)


def _enough(
    setting: Setting, degree: int, size: int, gaps: list[np.ndarray], shrinking: Convergence
) -> Finding:
    """The gap at the largest size is within the tolerance."""
    name = f"degree {degree} at strength {setting.beta:g}"
    statement = f"At weighting {setting.alpha:g} and strength {setting.beta:g} the Hermite model "
    statement += f"of degree {degree} generalizes like the network."
    note = f"{_shrinkage(size, shrinking)}; {_TOLERANCE:.0%} allowed for finite size"
    return within(name, statement, _REFERENCE, gaps[-1], _TOLERANCE, note)


def _one_less(
    setting: Setting, degree: int, size: int, gaps: list[np.ndarray], shrinking: Convergence
) -> Finding:
    """The negative control: the gap of one degree less is large and does not fall."""
    name = f"degree {degree} at strength {setting.beta:g}, one less than needed"
    statement = f"At weighting {setting.alpha:g} and strength {setting.beta:g} a Hermite model "
    statement += f"of degree {degree} is not enough: the relative gap does not vanish."
    note = _shrinkage(size, shrinking)
    found = beyond(name, statement, "derived here", gaps[-1], _TOLERANCE, note)
    falls = shrinking.slope > 2 * shrinking.slope_error
    return replace(found, verdict="disagrees") if falls and found.verdict == "agrees" else found


def _shrinkage(size: int, shrinking: Convergence) -> str:
    power = f"dim^{-shrinking.slope:+.2f} +- {shrinking.slope_error:.2f}"
    return f"at dimension {size}; its size in a trial goes like {power}"
