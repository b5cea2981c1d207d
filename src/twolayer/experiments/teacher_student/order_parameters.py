"""The equations of motion of the overlaps against one-pass SGD and an outside solution."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from twolayer.experiments.options import Stage, at_least, numbers, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.experiments.teacher_student.committee import (
    allowed,
    held,
    integrals_and_pairs,
    refused,
    renamed,
    sgd_run,
)
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

ACTIVATIONS = ("erf", "relu", "square")
_STATED = 4e-4  # by how much the outside solution, of Euler steps 1e-3, may be off
_EULER = 1e-3  # its first stored time is that of the start, one step after 0
_RISK = "risk_stored_euler_dt1e-3"
_ORACLE = "../shared/oracles/erf_committee_ode.json"


class _Case(NamedTuple):
    activation: str
    learning_rate: float
    horizon: float


@experiment(
    paper="teacher_student",
    statement="One-pass SGD of a student with few neurons follows closed equations for its "
    "overlaps with the teacher, the nearer the larger the dimension.",
    reference="saad1995online; for relu and square derived here",
    quick={"dims": "50,400", "seeds": 16},
)
def overlap_equations(
    *,
    cases: str = "erf 1 8; relu 0.5 8; square 0.05 4",
    dims: str = "100,400,1600",
    seeds: int = 24,
    points: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Risk of SGD over time against the solution of the equations, for a 2-2 committee.

    Parameters
    ----------
    cases
        ``activation learning-rate horizon`` separated by semicolons: erf, relu or square, the
        step of SGD, and how long to train, in steps over the dimension.
    dims
        Input dimensions. The equations are exact as it grows: the gap to them must shrink.
    seeds
        Independent runs of each dimension; they give the error bars.
    points
        How many times of a run are compared.
    seed
        Seed of all randomness.
    """
    chosen = _cases_of(cases)
    sizes = whole_numbers("dims", dims)
    at_least(2, seeds=seeds, points=points)
    at_least(0, seed=seed)
    _check_dims(sizes)

    import numpy as np

    from twolayer.compare import compare, compare_sizes
    from twolayer.theory.order_parameters import Committee, online_learning

    start = Committee([[0.5, 0.1], [0.1, 0.6]], [[0.2, -0.1], [0.05, 0.25]], np.eye(2))  # type: ignore[arg-type]
    findings, predictions, trajectories = [], [], []
    for case in chosen:
        integrals, pairs = integrals_and_pairs(case.activation)
        times = case.horizon * np.arange(1, points + 1) / points
        solved = {
            whole: online_learning(
                start, integrals, times, learning_rate=case.learning_rate, quadratic_term=whole
            ).risk
            for whole in (True, False)
        }
        runs = []
        for dim in sizes:
            progress(f"{case.activation}, dimension {dim}", 0, 1)
            run = sgd_run(
                start, pairs, case.learning_rate, times, dim, seeds, seed, padded_dim=sizes[-1]
            )
            runs.append(run)
        whole, without = (
            compare(curve, runs[-1], tolerance=allowed(curve, sizes[-1]))
            for curve in (solved[True], solved[False])
        )
        gaps = compare_sizes(solved[True], runs, [float(dim) for dim in sizes])
        findings += [
            held(case.activation, solved[True], whole, sizes[-1]),
            Finding(
                f"{case.activation}, over dimensions",
                f"The gap of one run of {case.activation} neurons to the equations falls like "
                "1 / sqrt(dim) or faster.",
                gaps.rate,
                gaps.slope,
                gaps.slope_error,
                gaps.verdict,
                "derived here",
                gaps.reason,
            ),
            refused(case.activation, solved[False], without),
        ]
        name = f"risk, {case.activation}"
        predictions.append(renamed(solved[True], name))
        trajectories.append(
            Trajectory(name, times, runs[-1].value, runs[-1].status, details=runs[-1].details)
        )
    return Result(
        findings=tuple(findings), predictions=tuple(predictions), trajectories=tuple(trajectories)
    )


@experiment(
    paper="teacher_student",
    statement="In the time steps * gamma / (p d) the only parameter of SGD left is gamma / p, and "
    "as it falls SGD becomes gradient flow.",
    reference="arnaboldi2023from, Theorem 1; saad1995online",
    quick={"seeds": 8, "step_ratios": "0.25,1", "horizon": 4.0, "dim": 200},
)
def learning_rate_scaling(
    *,
    step_ratios: str = "0.25,0.5,1",
    students: int = 4,
    dim: int = 400,
    horizon: float = 8.0,
    seeds: int = 16,
    noise_std: float = 0.2,
    oracle: str = _ORACLE,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """A mean over erf neurons at several step sizes, and a solution that others published.

    Parameters
    ----------
    step_ratios
        Values of ``gamma / p``: the step of SGD over the number of student neurons.
    students
        The number p of student neurons; the teacher has two.
    dim
        Input dimension d.
    horizon
        Training time, in units of ``p d / gamma`` steps.
    seeds
        Independent runs; they give the error bars.
    noise_std
        Standard deviation of noise on the labels.
    oracle
        A file with the solution of IdePHICS/DimensionlessDynamicsSGD (p = 10 erf neurons, two
        teachers). Without the file this comparison is left out.
    seed
        Seed of all randomness.
    """
    ratios = numbers("step_ratios", step_ratios, 1e-3, 1e2)
    at_least(2, students=students, seeds=seeds)
    at_least(0, seed=seed)
    positive(horizon=horizon, noise_std=noise_std)
    at_least(students + 2, dim=dim)

    import numpy as np

    from twolayer.compare import compare
    from twolayer.theory.order_parameters import (
        Committee,
        dimensionless_learning,
        erf_integrals,
    )

    p = students
    overlaps = 0.2 * np.cos(1.0 + np.arange(2 * p)).reshape(p, 2)
    start = Committee(
        0.5 * np.eye(p) + overlaps @ overlaps.T, overlaps, np.eye(2), np.full(p, 1 / p),
        np.full(2, 0.5),
    )  # fmt: skip
    _, pairs = integrals_and_pairs("erf")
    times = horizon * np.arange(1, 9) / 8

    def solution(ratio: float) -> Prediction:
        flow = dimensionless_learning(
            start, erf_integrals, times, step_ratio=ratio, noise_variance=noise_std**2
        )
        return flow.risk

    flow = solution(0.0)
    findings, predictions, trajectories = [], [], []
    for k, ratio in enumerate(ratios):
        progress("step ratios", k, len(ratios))
        steps = times / ratio  # in steps over d
        run = sgd_run(start, pairs, ratio * p, steps, dim, seeds, seed, noise_std=noise_std)
        run = Trajectory(f"risk, gamma/p = {ratio:g}", times, run.value, run.status)
        predicted = solution(ratio)
        name = f"gamma/p = {ratio:g}"
        judged = compare(predicted, run, tolerance=allowed(predicted, dim))
        findings.append(held(name, predicted, judged, dim, "arnaboldi2023from, Theorem 1"))
        if ratio == ratios[-1]:
            findings.append(
                refused(
                    name, flow, compare(flow, run, tolerance=allowed(flow, dim)), "gradient flow"
                )
            )
        predictions.append(renamed(predicted, run.name))
        trajectories.append(run)
    predictions.append(renamed(flow, "risk, gradient flow"))
    outside = _outside(oracle, Stage(progress, "outside solution"))
    if outside is None:
        first = findings[0]
        note = f"{first.note}; no file {oracle!r}: comparison with an outside solution left out"
        findings[0] = Finding(
            first.name, first.statement, first.predicted, first.measured, first.error,
            first.verdict, first.reference, note,
        )  # fmt: skip
    else:
        findings += outside
    return Result(
        findings=tuple(findings), predictions=tuple(predictions), trajectories=tuple(trajectories)
    )


def _outside(path: str, progress: Stage) -> list[Finding] | None:
    """Our solution against the stored one, at its own times, with and without label noise."""
    import numpy as np

    from twolayer.theory.order_parameters import (
        Committee,
        dimensionless_learning,
        erf_integrals,
    )

    if not Path(path).is_file():
        return None
    stored = _stored(path)
    M, Q, P = (np.asarray(stored[name]) for name in ("M0", "Q0", "P"))
    p, k = M.shape
    start = Committee(Q, M, P, np.full(p, 1 / p), np.full(k, 1 / k))
    times = np.asarray(stored["t"]) - _EULER
    risk = np.asarray(stored[_RISK])
    gaps = []
    for done, noise in enumerate((1e-3, 0.0)):
        progress(done, 2)
        ours = dimensionless_learning(
            start, erf_integrals, np.maximum(times, 0.0), step_ratio=5e-3, noise_variance=noise,
            quadratic_term=False,
        ).risk.value  # fmt: skip
        gaps.append(np.abs(ours / risk - 1))
    worst = int(np.argmax(gaps[0]))
    good, told = bool(gaps[0][worst] <= _STATED), bool(np.max(gaps[1]) > 10 * _STATED)
    source = "IdePHICS/DimensionlessDynamicsSGD, code of arnaboldi2023from"
    return [
        Finding(
            "outside solution",
            "The dimensionless equations of ten erf neurons have the solution that their authors "
            "published.",
            0.0,
            float(gaps[0][worst]),
            _STATED,
            "agrees" if good else "disagrees",
            source,
            f"largest relative gap of the risk, at time {times[worst]:.3g} of {times[-1]:.4g}; "
            "theirs takes Euler steps of 0.001",
        ),
        Finding(
            "outside solution, without noise",
            "Without the term of the label noise the equations miss the published solution.",
            "apart",
            "apart" if told else "not apart",
            _STATED,
            "agrees" if told else "disagrees",
            source,
            f"largest relative gap {np.max(gaps[1]):.2g}",
        ),
    ]


def _stored(path: str) -> dict[str, Any]:
    """The numbers of the outside solution."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        missing = [name for name in ("M0", "Q0", "P", "t", _RISK) if name not in stored]
    except (ValueError, TypeError):
        missing = ["a JSON object"]
    if missing:
        message = "Expected an outside solution with M0, Q0, P, t and risks. "
        message += f"Received: {path!r} without {', '.join(missing)}."
        raise ValueError(message)
    return stored


def _check_dims(dims: list[int]) -> None:
    """Raise unless there are two increasing dimensions that hold student and teacher."""
    if len(dims) < 2 or min(dims) < 4 or dims != sorted(set(dims)):
        message = "Expected two different dims or more, increasing, of at least 4: two neurons of "
        message += f"the student and two of the teacher. Received: {dims}."
        raise ValueError(message)


def _cases_of(text: str) -> list[_Case]:
    """Cases ``activation learning-rate horizon`` separated by semicolons."""
    cases = []
    for part in text.split(";"):
        words = part.split()
        try:
            case = _Case(words[0], float(words[1]), float(words[2]))
        except (IndexError, ValueError):
            case = _Case("", math.nan, math.nan)
        sizes = case.learning_rate, case.horizon
        if case.activation not in ACTIVATIONS or len(words) != 3 or not all(
            1e-6 <= size <= 1e6 for size in sizes
        ):  # fmt: skip
            message = "Expected cases like 'erf 1 8; relu 0.5 8': erf, relu or square, learning "
            message += f"rate and horizon, both positive. Received: {text!r}."
            raise ValueError(message)
        cases.append(case)
    return cases
