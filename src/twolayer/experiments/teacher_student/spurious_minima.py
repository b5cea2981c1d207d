"""How often gradient descent ends in a spurious minimum, against published counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.theory.landscape import CriticalPoint, Group

_FEWEST = 10  # bad runs for a mean with an error bar
_RARE = 0.0027  # a p-value below it: three standard deviations, two-sided
_DIGITS = 1e-6
_SOFT = 0.01  # six digits of an eigenvalue are relative to this where it is smaller
_BAD = 1e-3  # the threshold of safran2018spurious
_MOST_CLASSES = 3
_PRINTED = 5e-5  # published means have four decimals
_LOOKS = (1e-4, 1e-6, 1e-8, 1e-11)  # gradient norms: at each, good runs are taken out
_WIDEST = 0.15  # of a three-sigma interval of our share that still tells something
_CONTROL_SHARE = 0.1  # a control needs a share that one more neuron visibly takes away
_PUBLISHED = range(6, 21)


@dataclass(frozen=True)
class _Case:
    """The ends of all runs with k teachers and n neurons."""

    k: int
    n: int
    runs: int
    points: list[CriticalPoint]  # of the bad runs
    groups: tuple[Group, ...]
    unfinished: int  # bad runs whose gradient did not vanish

    @property
    def bad(self) -> int:
        return len(self.points)

    @property
    def share(self) -> float:
        return self.bad / self.runs

    @property
    def error(self) -> float:
        """Standard deviation of the share given the count, every share as likely beforehand."""
        b, r = self.bad, self.runs
        return ((b + 1) * (r - b + 1) / (r + 3)) ** 0.5 / (r + 2)

    @property
    def name(self) -> str:
        return f"k = {self.k}, n = {self.n}"


@experiment(
    paper="teacher_student",
    statement="From k = 6 on, gradient descent of k ReLU neurons on k orthonormal teachers ends in "
    "spurious minima as often as published, in known families; one more neuron all but removes "
    "them and two more do.",
    reference="safran2018spurious; safran2021effects, Sections 1 and 4",
    quick={"teachers": "9,12", "extra": "0,1", "runs": 120},
)
def spurious_minima(
    *,
    teachers: str = "6,7,8,9,10,11,12,13,14,15,16,17,18,19,20",
    extra: str = "0,1,2",
    runs: int = 300,
    step: float = 5.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Counts of bad runs of gradient descent on the exact risk, by Fisher's test.

    The teacher is ``sum_i relu(x_i)`` over k inputs, the student ``sum_j relu(w_j.x)`` starts from
    ``w_j ~ N(0, I/k)``, and a run is bad if its loss stays above 0.001 until its gradient is
    below 1e-11.
    A published count is itself a sample, so both counts are held against one common probability.

    Parameters
    ----------
    teachers
        Numbers k of teachers and of inputs, from 6 to 20.
    extra
        How many neurons the student has more than the teacher: 0, 1 or 2.
    runs
        Random starts for each size of teacher and student.
    step
        The step of gradient descent, times k. Steps are halved where the loss rises.
    seed
        Seed of the starts.
    """
    sizes = whole_numbers("teachers", teachers)
    wider = [0 if part.strip() == "0" else whole_numbers("extra", part)[0]
             for part in str(extra).split(",")]  # fmt: skip
    if not set(sizes) <= set(_PUBLISHED) or len(set(sizes)) < len(sizes):
        message = f"Expected different numbers of teachers from 6 to 20. Received: {teachers!r}."
        raise ValueError(message)
    if not set(wider) <= {0, 1, 2} or len(set(wider)) < len(wider):
        message = f"Expected extra neurons among 0, 1, 2, each once. Received: {extra!r}."
        raise ValueError(message)
    at_least(20, runs=runs)
    at_least(0, seed=seed)
    positive(step=step)

    cases = []
    for k in sizes:
        for more in wider:
            stage = Stage(progress, f"k = {k}, {more} more neurons")
            cases.append(_runs(k, k + more, runs, step, seed))
            stage(1, 1)
    findings = [finding for case in cases for finding in _findings(case)]
    findings += list(_controls(cases))
    curves = [_curve(cases, more) for more in wider]
    return Result(
        predictions=tuple(p for p, _ in curves if p is not None),
        trajectories=tuple(t for _, t in curves),
        findings=tuple(findings),
        details={"minima": [row for case in cases for row in _rows(case)]},
    )


def _runs(k: int, n: int, runs: int, step: float, seed: int) -> _Case:
    """Only runs whose loss is still large go on: towards wide global minima descent crawls."""
    import jax
    import numpy as np

    from twolayer.dynamics.teacher_student import descend
    from twolayer.teacher_student import TeacherStudent
    from twolayer.theory.landscape import census, critical_point

    teacher = np.eye(k)
    W = np.random.default_rng([seed, k, n]).normal(size=(runs, n, k)) / np.sqrt(k)
    # Good runs rest at a global minimum, so that one compiled program serves all rounds.
    done = np.concatenate([teacher, *[teacher[:1]] * (n - k)])
    done[np.r_[0, k:n]] /= n - k + 1
    bad, status = np.ones(runs, bool), np.full(runs, "finished")
    with jax.enable_x64(True):
        for level in _LOOKS:
            starts = np.where(bad[:, None, None], W, done)
            descent = descend(
                TeacherStudent(teacher), starts, learning_rate=step / k, gradient_norm=level
            )
            W[bad] = np.asarray(descent.W)[bad]
            status = np.array(descent.status)
            bad &= ~(np.asarray(descent.losses) < _BAD)
            if not np.any(bad):
                break
    points = [critical_point(end, teacher) for end in W[bad]]
    return _Case(k, n, runs, points, census(points), int(np.sum(status[bad] != "finished")))


def _findings(case: _Case) -> Iterator[Finding]:
    from twolayer.theory.landscape import published_counts

    if published_counts(case.k, case.n):  # nothing was published beyond 20 neurons
        yield _count_finding(case)
    if case.n == case.k and case.bad >= _FEWEST:
        yield from _mean_findings(case)
    if case.groups and case.n == case.k:
        yield _family_finding(case)
        yield _split_finding(case)


def _count_finding(case: _Case) -> Finding:
    """Our count against the latest published one; all published ones in the note."""
    from scipy import stats

    from twolayer.theory.landscape import compare_counts, published_counts

    published = published_counts(case.k, case.n)
    reference, runs, share = published[0], case.runs, case.share
    theirs = reference.bad / reference.runs
    tests = [compare_counts(case.bad, runs, count) for count in published]
    test = tests[0]
    interval = stats.binomtest(case.bad, runs).proportion_ci(1 - _RARE)
    verdict = "agrees"
    if case.unfinished:
        verdict = "undecided"
    elif test.p_value < _RARE:
        verdict = "disagrees"
    elif interval.high - interval.low > max(theirs, _WIDEST):
        verdict = "undecided"
    counts = "; ".join(
        f"{count.bad} of {count.runs} ({count.source}: p = {held.p_value:.2g})"
        for count, held in zip(published, tests, strict=True)
    )
    note = f"{case.bad} of {runs} bad against {counts}"
    if test.p_value_of_rate < _RARE <= test.p_value:
        note += "; the published share, taken as exact, would be refused"
    if case.unfinished:
        note += f"; {case.unfinished} runs did not finish"
    return Finding(
        f"share of bad runs, {case.name}",
        f"Gradient descent of {case.n} neurons on {case.k} teachers ends badly as often as "
        "published.",
        theirs,
        share,
        case.error,
        verdict,
        reference.source,
        note,
    )


def _mean_findings(case: _Case) -> Iterator[Finding]:
    """Mean loss and eigenvalue of the bad runs: they weigh the families by their frequency."""
    import numpy as np

    from twolayer.theory.landscape import published_counts, published_means

    means, older = published_means(case.k), published_counts(case.k, case.n)[-1]
    assert means is not None  # published for each k that the options allow
    ours = np.array([[point.loss, point.least_eigenvalue] for point in case.points])
    deviation = np.std(ours, axis=0, ddof=1)
    # our deviation stands for theirs, which was not published
    errors = deviation * np.sqrt(1 / case.bad + 1 / older.bad) + _PRINTED
    for j, what in enumerate(("loss", "least eigenvalue")):
        gap = abs(float(np.mean(ours[:, j])) - means[j])
        yield Finding(
            f"mean {what}, {case.name}",
            f"The bad runs of {case.n} neurons have the published mean {what}.",
            means[j],
            float(np.mean(ours[:, j])),
            float(errors[j]),
            "agrees" if gap < 3 * errors[j] else "disagrees",
            older.source,
            f"{case.bad} bad runs against {older.bad}; gap of {gap / errors[j]:.1f} errors",
        )


def _family_finding(case: _Case) -> Finding:
    """Loss and least eigenvalue of every kind of end against the family of its class."""
    gaps, unknown, minima = [], [], True
    for group in case.groups:
        point = group.first
        minima &= point.kind == "spurious minimum"
        sizes = point.symmetry.neurons if point.symmetry else ()
        known = _family_of(sizes, point.loss) if 1 < len(sizes) <= _MOST_CLASSES else None
        if known is None:
            unknown.append(
                f"{group.count} of class {point.symmetry.name if point.symmetry else '?'}"
            )
            continue
        gaps += [
            abs(point.loss - known[0]) / known[0],
            abs(point.least_eigenvalue - known[1]) / max(abs(known[1]), _SOFT),
        ]
    worst = max(gaps, default=float("nan"))
    verdict = "agrees" if worst < _DIGITS and minima else "disagrees"
    if unknown and verdict == "agrees":
        verdict = "undecided"
    most = max(case.groups, key=lambda group: group.count)
    note = f"largest relative gap of {len(gaps) // 2} kinds of minima: {worst:.1e}; most frequent "
    note += f"with {most.count} runs: {most.first.symmetry.name if most.first.symmetry else '?'}"
    if unknown:
        note += f"; no family computed for {', '.join(unknown)}"
    return Finding(
        f"families, {case.name}",
        f"Every spurious end of {case.k} neurons is a minimum of a symmetric family, its loss and "
        "least Hessian eigenvalue those of the family to six digits.",
        0.0,
        worst,
        _DIGITS,
        verdict,
        "derived here; minima of safran2021effects",
        note,
    )


def _family_of(sizes: tuple[int, ...], loss: float) -> tuple[float, float] | None:
    """Loss and eigenvalue of the family of this class that has this loss."""
    from twolayer.theory.landscape import family

    orders = set(itertools.permutations(sizes))
    candidates = [family(order, mirror=mirror) for order in orders for mirror in ("all", "own")]
    best = min(candidates, key=lambda point: abs(point.loss - loss))
    close = abs(best.loss - loss) < 1e-3 * loss
    return (best.loss, best.least_eigenvalue) if close else None


def _split_finding(case: _Case) -> Finding:
    """Theorem 14 asks for small norms; Theorem 16 for each neuron to be splittable."""
    largest = max(group.first.norm_sum for group in case.groups)
    fewest = min(group.first.splits for group in case.groups)
    return Finding(
        f"splits, {case.name}",
        f"Splitting any neuron of a spurious minimum of {case.k} neurons makes it a saddle.",
        case.n,
        fewest,
        0.0,
        "agrees" if fewest == case.n and largest < 1 else "disagrees",
        "safran2021effects, Theorems 14 and 16 and Section 4.2",
        f"fewest splittable neurons of {len(case.groups)} kinds of minima; sum of the norms over "
        f"k at most {largest:.6f}",
    )


def _controls(cases: list[_Case]) -> Iterator[Finding]:
    """One more neuron must be told apart from none by the same test."""
    from twolayer.theory.landscape import compare_counts, published_counts

    for case in cases:
        published = published_counts(case.k, case.k)[0]
        if case.n != case.k + 1 or published.bad < _CONTROL_SHARE * published.runs:
            continue
        p_value = compare_counts(case.bad, case.runs, published).p_value
        yield Finding(
            f"control, {case.name}",
            f"The count with {case.n} neurons is not the one published for {case.k}.",
            f"p below {_RARE}",
            p_value,
            0.0,
            "agrees" if p_value < _RARE else "undecided",
            published.source,
            "negative control of the test of counts",
        )


def _curve(cases: list[_Case], more: int) -> tuple[Prediction | None, Trajectory]:
    """Published and measured shares over k."""
    import numpy as np

    from twolayer.theory.landscape import published_counts

    chosen = [case for case in cases if case.n == case.k + more]
    grid = np.array([float(case.k) for case in chosen])
    name = f"share of bad runs, n = k + {more}" if more else "share of bad runs, n = k"
    share = np.array([case.share for case in chosen])
    measured = Trajectory(
        name, grid, share[None], ("finished",),
        error=np.array([[case.error for case in chosen]]), grid_name="teachers",
    )  # fmt: skip
    counts = [published_counts(case.k, case.n) for case in chosen]
    if not all(counts):
        return None, measured
    theirs = np.array([count[0].bad / count[0].runs for count in counts])
    samples = np.array([count[0].runs for count in counts])
    error = np.sqrt(theirs * (1 - theirs) / samples)
    published = Prediction(
        name, grid, theirs, "exact", counts[0][0].source, grid_name="teachers", error=error
    )
    return published, measured


def _rows(case: _Case) -> Iterator[dict[str, object]]:
    size = {"teachers": case.k, "neurons": case.n}
    yield {**size, "count": case.runs - case.bad, "kind": "global minimum"}
    for group in case.groups:
        point = group.first
        yield {
            **size,
            "count": group.count,
            "kind": point.kind,
            "class": point.symmetry.name if point.symmetry else "",
            "loss": point.loss,
            "least_eigenvalue": _number(point.least_eigenvalue),
        }


def _number(value: float | np.floating) -> float | None:
    """JSON knows no NaN."""
    return float(value) if math.isfinite(value) else None
