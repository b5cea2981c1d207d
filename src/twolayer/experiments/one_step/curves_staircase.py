"""Test errors after a step that grows with the width, against their stairs."""

from __future__ import annotations

from twolayer.experiments.one_step.isotropic import (
    Case,
    check_functions,
    function_of,
    prediction,
    trained,
    trajectories,
    trajectory,
)
from twolayer.experiments.one_step.setting import stage
from twolayer.experiments.one_step.verdicts import falls
from twolayer.experiments.options import numbers, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory, Verdict
from twolayer.results import Result

_REFERENCE = "derived here, in the regime of moniri2024theory"


@experiment(
    paper="one_step",
    statement="With a learning rate that grows like a power of the width, more and more powers of "
    "the learnt projection are fitted; the errors come down to their stair as the size grows.",
    reference=_REFERENCE,
    quick={"exponents": "0,0.3,0.42", "dims": "50,200", "trials": 24},
)
def staircase_curve(
    *,
    activation: str = "relu",
    link: str = "x + (x^2 - 1)/2",
    exponents: str = "0,0.2,0.3,0.42",
    dims: str = "50,100,200,400",
    width_ratio: float = 1.0,
    sample_ratio: float = 2.0,
    step_ratio: float = 10.0,
    scaled_ridge: float = 0.1,
    noise_std: float = 0.3,
    trials: int = 40,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Test errors after steps with a learning rate of width^exponent, at several dimensions.

    The limits are stairs, with a step at exponents 1/4, 1/3, 3/8, ... The p-th power's spike grows
    like the width to the power ``p exponent - (p - 1) / 2`` only, so finite networks cross from
    stair to stair smoothly: what is tested is that the error falls along the exponents, comes
    closer to its stair from above with the dimension, and ends below the first stair, which no
    theory of one linear spike goes below.

    Parameters
    ----------
    activation
        The network's.
    link
        The label's function of one coordinate.
    exponents
        Of the learning rate, between 0 and 1/2, separated by commas.
    dims
        Input dimensions, increasing, separated by commas.
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
        Networks and data sets at each point.
    seed
        Seed of all randomness.
    """
    powers = numbers("exponents", exponents, 0.0, 0.48)
    sizes = whole_numbers("dims", dims)
    cases = [
        Case(dim, width_ratio, sample_ratio, step_ratio, scaled_ridge, noise_std, trials, seed)
        for dim in sizes
    ]  # fmt: skip
    if sizes != sorted(set(sizes)) or len(sizes) < 2:
        message = f"Expected dims as two or more increasing numbers. Received: {dims!r}."
        raise ValueError(message)
    for case in cases:
        case.check()
    check_functions(activation, link)
    stairs = {s: _stair(cases[0], activation, link, s) for s in powers if s > 0}
    first = _stair(cases[0], activation, link, 0.1)
    runs = []
    for j, case in enumerate(cases):
        errors = []
        for k, power in enumerate(powers):
            hook = stage(progress, "errors", j * len(powers) + k, len(cases) * len(powers))
            errors.append(trained(case, activation, link, case.width**power, progress=hook))
        run = trajectories("", "exponent", powers, errors)["test"]
        runs.append(trajectory(f"dimension {case.dim}", "exponent", powers, run.value))
    largest = runs[-1]
    findings = [
        falls(
            "falls",
            "The test error falls as the exponent of the learning rate grows.",
            _REFERENCE,
            largest,
        )
    ]
    for k, power in enumerate(powers):
        if power > 0:
            findings.append(_approach(power, stairs[power], runs, k))
    findings.append(_below_first(first, largest))
    limit = _stairs(cases[0], activation, link, powers[-1])
    return Result(
        quantity="generalization error",
        predictions=(limit,),
        trajectories=tuple(runs),
        findings=tuple(findings),
    )


def _stair(case: Case, activation: str, link: str, exponent: float) -> Prediction:
    """The limit of the test error at one exponent."""
    from twolayer.theory.one_step.staircase import staircase_limit

    return staircase_limit(
        function_of(activation),
        function_of(link),
        exponent=exponent,
        step_ratio=case.step_ratio,
        width_ratio=case.width_ratio,
        sample_ratio=case.sample_ratio,
        scaled_ridge=case.scaled_ridge,
        noise_std=case.noise_std,
    ).test


def _stairs(case: Case, activation: str, link: str, largest: float) -> Prediction:
    """The limits along all stairs up to the one of the largest exponent."""
    edge, places, level = 1e-3, [], 1
    while (level - 1) / (2 * level) + edge < largest:
        places += [(level - 1) / (2 * level) + edge, level / (2 * level + 2) - edge]
        level += 1
    parts = [_stair(case, activation, link, place) for place in places]
    return prediction("limit", "exponent", places, parts)


def _approach(power: float, stair: Prediction, runs: list[Trajectory], k: int) -> Finding:
    """Whether the gap to the stair is positive and smaller at the largest size than at the least.

    Both sizes have their own networks, so the errors of the two means add as squares.
    """
    import numpy as np

    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error

    ends = [mean_and_error(run.value[:, k]) for run in (runs[0], runs[-1])]
    limit = float(stair.value[0])
    closer = float(ends[0].mean - ends[1].mean)
    error = float(np.hypot(ends[0].error, ends[1].error))
    factor = student_factor(runs[0].value.shape[0])
    above = float(ends[1].mean - limit + factor * ends[1].error)
    verdict: Verdict = "undecided"
    if not np.isfinite(closer):
        verdict = "failed"
    elif closer < -factor * error or above < 0:
        verdict = "disagrees"
    elif closer > factor * error:
        verdict = "agrees"
    sizes = " and ".join(run.name for run in (runs[0], runs[-1]))
    return Finding(
        f"exponent {power:g}",
        f"At exponent {power:g} the test error comes down towards its stair as the size grows.",
        limit,
        float(ends[1].mean),
        float(ends[1].error),
        verdict,
        stair.reference,
        f"gaps {float(ends[0].mean) - limit:.3g} and {float(ends[1].mean) - limit:.3g} at {sizes}; "
        f"their difference has an error of {error:.2g}",
    )


def _below_first(first: Prediction, run: Trajectory) -> Finding:
    """Whether the error at the largest exponent is below what one linear spike can reach."""
    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error

    values = run.value[:, -1]
    mean, error = (float(part) for part in mean_and_error(values))
    margin, limit = student_factor(len(values)) * error, float(first.value[0])
    verdict: Verdict = "undecided"
    if abs(mean - limit) > margin:
        verdict = "agrees" if mean < limit else "disagrees"
    statement = f"At exponent {run.time[-1]:g} the network fits more than the linear part of what "
    statement += "it has learnt: its test error is below the first stair."
    return Finding(
        "below the first stair",
        statement,
        f"below {limit:.4g}",
        mean,
        error,
        verdict,
        first.reference,
        run.name,
    )
