"""A data set through all of it: whether learned features beat a kernel, which, what to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from twolayer.diagnose.advice import Advice, Spread, advise, data_spread
from twolayer.diagnose.directions import Directions, find_directions
from twolayer.diagnose.methods import (
    FIXED,
    LEARNED,
    METHODS,
    Gain,
    Measure,
    MethodError,
    by_ranks,
    compare_methods,
    copies_of,
    gain,
    splits_of,
)
from twolayer.diagnose.samples import (
    FOLDS,
    cautions,
    checked,
    far_targets,
    is_classification,
    usable,
)
from twolayer.experiments.registry import Progress, silent, unknown

Verdict = Literal["features", "kernel", "equal", "no signal", "can't tell"]

_CONFIDENT = 0.975
# Below the first there is no signal, above the second there is. Both are stricter than the gap of
# families: an association of all samples that is due to chance is the same in every fold, so that
# folds of noise differ less than independent ones would.
_SIGNAL = 0.985, 0.995
# Half a rank correlation of chance has a standard deviation of 1/2 over the root of the number of
# samples, however alike the folds are: four of these.
_CHANCE = 2.0
# a gap does not matter that is below a tenth of the better family's error, or a fiftieth of what
# there is to learn
_RELEVANT = 0.1, 0.02
_BY_AREA = (
    "No method's labels beat always naming the commonest class, but scores rank the samples: "
    "methods are compared by the area under the ROC curve."
)
_BY_ORDER = (
    "Square errors don't show what there is to learn, as where a few far values decide them, but "
    "predictions rank the samples: methods are compared by rank correlation."
)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    conclusion
        One sentence.
    verdict
        ``"features"``: learned features beat every fixed kernel that was tried; ``"kernel"``: a
        fixed kernel is better; ``"equal"``: they differ by less than a tenth of their error or a
        fiftieth of what there is to learn;
        ``"no signal"``: nothing clearly beats the best constant; ``"can't tell"``: the data don't
        decide.
    task
        ``"classification"`` or ``"regression"``.
    measure
        What errors are: ``"error"``, the share of wrong labels; ``"1 - area under ROC curve"``
        where classes are so uneven that no method's labels beat the commonest class although
        their scores rank the samples; ``"square error / variance"`` for numbers.
    samples, rows, columns
        How many samples were used, how many there were, and how many inputs.
    methods
        Each method's error, the best constant's first.
    gain
        Of learned over fixed features.
    signal
        Of the best method over the best constant, in how outputs rank the samples; for numbers
        whose ranks are not clearly predicted in square errors.
    directions
        What is learned of the inputs; ``None`` where there is no signal.
    spread
        How uneven the inputs are, and the regime of data and step.
    advice
        Width, learning rate and method.
    names
        Of the inputs.
    notes
        What was done to the data.
    """

    conclusion: str
    verdict: Verdict
    task: str
    measure: str
    samples: int
    rows: int
    columns: int
    methods: tuple[MethodError, ...]
    gain: Gain
    signal: Gain
    directions: Directions | None
    spread: Spread
    advice: Advice | None
    names: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """The conclusion, the errors and the advice as text."""
        lines = [self.conclusion, "", f"{self.measure}, {FOLDS} folds of {self.samples} samples:"]
        for method in sorted(self.methods, key=lambda m: m.error):
            lines.append(
                f"  {method.name:16s} {method.error:.4f} +- {method.standard_error:.4f}"
                f"  {method.seconds:6.2f} s"
            )
        if self.advice is not None:
            lines += ["", *self.advice.sentences]
        return "\n".join([*lines, *self.notes])


def diagnose(
    X: Any,
    y: Any,
    *,
    task: str = "auto",
    methods: Sequence[str] = METHODS,
    max_samples: int = 3000,
    random_state: int = 0,
    progress: Progress = silent,
) -> Diagnosis:
    """Ask of a data set whether learned features beat a kernel, and which features they are.

    All methods see the same splits. The families of fixed and of learned features are each
    represented by the member that does best on the other folds, and their difference is judged
    with the standard error of nadeau2003inference; directions are learned on the training part of
    each split and judged on the rest.

    Parameters
    ----------
    X
        Inputs, one a row: an array or data frame of numbers.
    y
        Labels or numbers.
    task
        ``"classification"``, ``"regression"``, or ``"auto"`` to see it from the labels.
    methods
        Which of `twolayer.diagnose.METHODS` to try.
    max_samples
        More are not used: rows are drawn at random.
    random_state
        Seed of everything.
    progress
        Called with a stage, how much of it is done and how much there is.

    Raises
    ------
    ValueError
        If there are fewer than 20 samples, no two classes with 5 samples each, shapes don't fit,
        a number is not finite, or no method can be trained.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> found = diagnose(X, y, methods=("linear", "tangent kernel", "one step"))
    >>> found.task, found.signal.confidence > 0.99
    ('classification', True)
    """
    methods = _chosen(methods)
    names = tuple(map(str, getattr(X, "columns", ()))) or None
    x, y = checked(X, y)
    notes: list[str] = []
    rows = len(x)
    generator = np.random.default_rng(random_state)
    if rows > max_samples:
        chosen = np.sort(generator.choice(rows, max_samples, replace=False))
        x, y = x[chosen], y[chosen]
        notes.append(f"{max_samples} of {rows} samples were drawn at random.")
    classes = is_classification(y, task)
    groups = copies_of(x) if len(x) else None
    x, y, groups = usable(x, y, groups, classes, notes)
    varying = np.ptp(x, axis=0) > 0
    if not varying.any():
        message = "Expected an input that varies. Received: constant columns alone."
        raise ValueError(message)
    if not varying.all():
        notes.append(f"{np.sum(~varying)} constant columns were left out.")
        x = x[:, varying]
        names = None if names is None else tuple(np.asarray(names)[varying])
    names = names or tuple(f"x{k + 1}" for k in np.flatnonzero(varying))
    notes += cautions(x, y, groups, names)
    splits = splits_of(y, classes=classes, folds=FOLDS, random_state=random_state, groups=groups)
    found, failures = compare_methods(
        x, y, splits, names=methods, classes=classes, random_state=random_state, progress=progress
    )
    notes += failures
    if len(found) == 1:
        message = f"Expected a method that can be trained on these data. Received: {failures[0]}"
        raise ValueError(message)
    ranked = by_ranks(found)
    by_rank, plain = gain(ranked[1:], ranked[:1]), gain(found[1:], found[:1])
    # squares of noise are worse than a constant's, so that they see less where there is nothing
    number = len(x) if groups is None else len(np.unique(groups))
    clear = by_rank.confidence > _SIGNAL[1] and by_rank.difference > _CHANCE / np.sqrt(number)
    signal = by_rank if classes or clear else plain
    seen = signal.confidence > _SIGNAL[1]
    labelled = plain.confidence > _CONFIDENT
    measure = Measure(classes, 1.0 if classes else float(np.var(y)), ranks=seen and not labelled)
    if measure.ranks:
        notes.append(_BY_AREA if classes else _BY_ORDER)
        found = ranked
    constant, rest = found[0], found[1:]
    families = [[m for m in rest if m.name in family] for family in (LEARNED, FIXED)]
    over = gain(*families) if all(families) else gain(rest, rest)
    directions = advice = None
    if seen:
        directions = find_directions(
            x, y, splits, method=over.first, measure=measure, random_state=random_state,
            progress=progress,
        )  # fmt: skip
        advice = advise(x, y, splits, rest, measure, random_state=random_state, progress=progress)
    verdict = _verdict(signal, over, constant, rest, both=all(families))
    if verdict == "no signal" and not classes and far_targets(y):
        verdict = "can't tell"
    return Diagnosis(
        _conclusion(verdict, signal, over, rest, directions, both=all(families)),
        verdict,
        "classification" if classes else "regression",
        measure.name,
        len(x),
        rows,
        x.shape[1],
        tuple(found),
        over,
        signal,
        directions,
        data_spread(x, y, advice, classes=classes),
        advice,
        names,
        tuple(notes),
    )


def _chosen(methods: Sequence[str]) -> tuple[str, ...]:
    """The methods' names without repetition."""
    chosen = (methods,) if isinstance(methods, str) else tuple(dict.fromkeys(methods))
    for name in chosen:
        if name not in METHODS:
            raise ValueError(unknown("method", name, METHODS, f"choose from {', '.join(METHODS)}"))
    if not chosen:
        message = f"Expected at least one method of {', '.join(METHODS)}. Received: none."
        raise ValueError(message)
    return chosen


def _verdict(
    signal: Gain, over: Gain, constant: MethodError, rest: Sequence[MethodError], *, both: bool
) -> Verdict:
    if signal.confidence <= _SIGNAL[1]:
        return "no signal" if signal.confidence <= _SIGNAL[0] else "can't tell"
    if not both:
        return "can't tell"
    best = min(method.error for method in rest)
    bound = abs(over.difference) + stats.t.ppf(_CONFIDENT, FOLDS - 1) * over.standard_error
    if bound < max(_RELEVANT[0] * best, _RELEVANT[1] * (constant.error - best)):
        return "equal"
    if over.confidence > _CONFIDENT:
        return "features"
    return "kernel" if over.confidence < 1 - _CONFIDENT else "can't tell"


def _conclusion(
    verdict: Verdict,
    signal: Gain,
    over: Gain,
    rest: Sequence[MethodError],
    directions: Directions | None,
    *,
    both: bool,
) -> str:
    errors = {method.name: method.error for method in rest}
    gap = f"by {abs(over.difference):.3g} +- {over.standard_error:.2g}"
    if verdict == "no signal":
        return (
            "No signal: with these samples no method clearly predicts the labels better than a "
            "constant."
        )
    if verdict == "features":
        count = "" if directions is None or directions.number is None else _count(directions.number)
        return (
            f"Learned features beat fixed kernels {gap} ({over.first} {errors[over.first]:.3g}, "
            f"{over.second} {errors[over.second]:.3g}){count}."
        )
    if verdict == "kernel":
        return (
            f"A fixed kernel beats learned features {gap} ({over.second} "
            f"{errors[over.second]:.3g}, {over.first} {errors[over.first]:.3g})."
        )
    if verdict == "equal":
        return (
            f"Learned features and fixed kernels do equally well ({over.first} "
            f"{errors[over.first]:.3g}, {over.second} {errors[over.second]:.3g}): features are "
            "not what matters here."
        )
    if signal.confidence <= _SIGNAL[1]:
        return (
            "Can't tell whether there is anything to learn: the data are too few, or a few far "
            "ones hide the rest."
        )
    if not both:
        return (
            f"Can't tell whether features matter: only one family was tried; {over.first} has an "
            f"error of {errors[over.first]:.3g}."
        )
    return (
        f"Can't tell: the gap between learned features and fixed kernels, {over.difference:.3g}, "
        f"is within its error of {over.standard_error:.2g}."
    )


def _count(number: int) -> str:
    if number == 1:
        return "; one direction of the inputs carries what there is to learn"
    return f"; {number} directions of the inputs carry what there is to learn"
