"""A data set through all of it: whether learned features beat a kernel, which, what to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import stats
from sklearn.utils.multiclass import type_of_target

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
    gain,
    splits_of,
)
from twolayer.experiments.registry import Progress, silent, unknown

Verdict = Literal["features", "kernel", "equal", "no signal", "can't tell"]

_FOLDS = 5
_FEWEST = 20  # samples
_CONFIDENT = 0.975
# Below the first there is no signal, above the second there is. Both are stricter than the gap of
# families: an association of all samples that is due to chance is the same in every fold, so that
# folds of noise differ less than independent ones would.
_SIGNAL = 0.985, 0.995
_LARGE = 1e100
# a gap does not matter that is below a tenth of the better family's error, or a fiftieth of what
# there is to learn
_RELEVANT = 0.1, 0.02


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
        ``"no signal"``: nothing beats the best constant; ``"can't tell"``: the data don't decide.
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
        Of the best method over the best constant; for classes in how scores rank the samples.
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
        lines = [self.conclusion, "", f"{self.measure}, {_FOLDS} folds of {self.samples} samples:"]
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
    x, y = _checked(X, y)
    notes: list[str] = []
    rows = len(x)
    generator = np.random.default_rng(random_state)
    if rows > max_samples:
        chosen = np.sort(generator.choice(rows, max_samples, replace=False))
        x, y = x[chosen], y[chosen]
        notes.append(f"{max_samples} of {rows} samples were drawn at random.")
    classes = _is_classification(y, task)
    x, y = _usable(x, y, classes, notes)
    varying = np.ptp(x, axis=0) > 0
    if not varying.any():
        message = "Expected an input that varies. Received: constant columns alone."
        raise ValueError(message)
    if not varying.all():
        notes.append(f"{np.sum(~varying)} constant columns were left out.")
        x = x[:, varying]
        names = None if names is None else tuple(np.asarray(names)[varying])
    names = names or tuple(f"x{k + 1}" for k in np.flatnonzero(varying))
    splits = splits_of(y, classes=classes, folds=_FOLDS, random_state=random_state)
    found, failures = compare_methods(
        x, y, splits, names=methods, classes=classes, random_state=random_state, progress=progress
    )
    notes += failures
    if len(found) == 1:
        message = f"Expected a method that can be trained on these data. Received: {failures[0]}"
        raise ValueError(message)
    ranked = by_ranks(found)
    signal = gain(ranked[1:], ranked[:1])
    seen = signal.confidence > _SIGNAL[1]
    labelled = gain(found[1:], found[:1]).confidence > _CONFIDENT
    measure = Measure(classes, 1.0 if classes else float(np.var(y)), ranks=seen and not labelled)
    if measure.ranks:
        notes.append(
            "No method's labels beat always naming the commonest class, but scores rank the "
            "samples: methods are compared by the area under the ROC curve."
        )
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


def _checked(X: Any, y: Any) -> tuple[Float[np.ndarray, "n d"], Any]:
    try:
        x = np.asarray(X, np.float64)
    except (TypeError, ValueError) as error:
        message = "Expected inputs that are numbers. Received: others; make columns of words into "
        message += "columns of numbers first ('twolayer diagnose FILE' does)."
        raise ValueError(message) from error
    labels = np.asarray(y)
    if x.ndim != 2 or labels.ndim != 1 or len(x) != len(labels):
        message = "Expected a table of inputs and one label for each of its rows. "
        message += f"Received: shapes {x.shape} and {labels.shape}."
        raise ValueError(message)
    if not np.all(np.isfinite(x)) or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
        message = "Expected finite numbers. Received: NaN or infinity among them; fill or drop "
        message += "them."
        raise ValueError(message)
    if labels.dtype.kind == "O" and any(one is None or one != one for one in labels):
        message = "Expected a label for each sample. Received: missing ones; drop their rows."
        raise ValueError(message)
    # squares of larger numbers overflow; every method standardises, so that units don't matter
    largest = np.max(np.abs(x), axis=0, initial=1.0)
    if largest.max(initial=1.0) > _LARGE:
        x = x / np.where(largest > _LARGE, largest, 1.0)
    return x, labels if labels.dtype.kind in "biuf" else labels.astype(str)


def _is_classification(y: Any, task: str) -> bool:
    if task not in {"auto", "classification", "regression"}:
        message = "Expected a task 'classification', 'regression' or 'auto'. "
        message += f"Received: {task!r}."
        raise ValueError(message)
    if task == "regression" and y.dtype.kind not in "biuf":
        message = "Expected numbers to predict. Received: words."
        raise ValueError(message)
    if task != "auto":
        return task == "classification"
    if y.dtype.kind not in "iuf":
        return True
    # whole numbers are classes where they are few beside the samples
    few = len(np.unique(y)) <= max(2, min(20, len(y) // 10))
    return few and type_of_target(y) in {"binary", "multiclass"}


def _usable(x: Any, y: Any, classes: bool, notes: list[str]) -> tuple[Any, Any]:
    """The samples of classes that have enough of them."""
    if classes:
        values, counts = np.unique(y, return_counts=True)
        rare = values[counts < _FOLDS]
        if len(values) - len(rare) < 2:
            sizes = ", ".join(f"{v} ({c})" for v, c in list(zip(values, counts, strict=True))[:8])
            message = f"Expected two classes with at least {_FOLDS} samples each. "
            message += f"Received: {sizes or 'none'}."
            raise ValueError(message)
        if rare.size:
            notes.append(f"{rare.size} classes with fewer than {_FOLDS} samples were left out.")
            kept = ~np.isin(y, rare)
            x, y = x[kept], y[kept]
    elif len(y) and np.ptp(np.asarray(y, np.float64)) == 0:
        message = f"Expected labels that vary. Received: {y[0]} alone."
        raise ValueError(message)
    if len(x) < _FEWEST:
        message = f"Expected at least {_FEWEST} samples. Received: {len(x)}."
        raise ValueError(message)
    return x, y if classes else np.asarray(y, np.float64)


def _verdict(
    signal: Gain, over: Gain, constant: MethodError, rest: Sequence[MethodError], *, both: bool
) -> Verdict:
    if signal.confidence <= _SIGNAL[1]:
        return "no signal" if signal.confidence <= _SIGNAL[0] else "can't tell"
    if not both:
        return "can't tell"
    best = min(method.error for method in rest)
    bound = abs(over.difference) + stats.t.ppf(_CONFIDENT, _FOLDS - 1) * over.standard_error
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
        return "No signal: with these samples no method predicts the labels better than a constant."
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
        return "Can't tell: the data are too few to say whether there is anything to learn."
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
