"""A data set through all of it: whether learned features beat a kernel, which, what to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.utils.multiclass import type_of_target

from twolayer.diagnose.advice import Advice, Spread, advise, data_spread
from twolayer.diagnose.directions import Directions, find_directions
from twolayer.diagnose.methods import (
    FIXED,
    LEARNED,
    METHODS,
    Gain,
    MethodError,
    compare_methods,
    gain,
    splits_of,
)
from twolayer.experiments.registry import Progress, silent, unknown

Verdict = Literal["features", "kernel", "equal", "no signal", "can't tell"]

_FOLDS = 5
_FEWEST = 20  # samples
_CONFIDENT = 0.975
_RELEVANT = 0.1  # of the error of the better family: a gap below it does not matter


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    conclusion
        One sentence.
    verdict
        ``"features"``: learned features beat every fixed kernel that was tried; ``"kernel"``: a
        fixed kernel is better; ``"equal"``: they differ by less than a tenth of their error;
        ``"no signal"``: nothing beats the best constant; ``"can't tell"``: the data don't decide.
    task
        ``"classification"`` or ``"regression"``.
    samples, rows, columns
        How many samples were used, how many there were, and how many inputs.
    methods
        Each method's error, the best constant's first.
    gain
        Of learned over fixed features.
    signal
        Of the best method over the best constant.
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
        kind = "error" if self.task == "classification" else "square error / variance"
        lines = [self.conclusion, "", f"{kind}, {_FOLDS} folds of {self.samples} samples:"]
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
        or a number is not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> found = diagnose(X, y, methods=("linear", "tangent kernel", "one step"))
    >>> found.task, found.signal.confidence > 0.99
    ('classification', True)
    """
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
    for name in methods:
        if name not in METHODS:
            raise ValueError(unknown("method", name, METHODS, f"choose from {', '.join(METHODS)}"))
    splits = splits_of(y, classes=classes, folds=_FOLDS, random_state=random_state)
    found = compare_methods(
        x, y, splits, names=methods, classes=classes, random_state=random_state, progress=progress
    )
    constant, rest = found[0], found[1:]
    families = [[m for m in rest if m.name in family] for family in (LEARNED, FIXED)]
    signal = gain(rest, [constant])
    over = gain(*families) if all(families) else gain(rest, rest)
    seen = signal.confidence > _CONFIDENT
    directions = advice = None
    if seen:
        solver = "layerwise" if over.first == "layer-wise" else "one_step"
        directions = find_directions(
            x, y, splits, solver=solver, classes=classes, random_state=random_state,
            progress=progress,
        )  # fmt: skip
        advice = advise(
            x, y, splits, rest, over, classes=classes, random_state=random_state, progress=progress
        )
    verdict = _verdict(signal, over, rest, both=all(families))
    return Diagnosis(
        _conclusion(verdict, signal, over, rest, directions),
        verdict,
        "classification" if classes else "regression",
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


def _verdict(signal: Gain, over: Gain, rest: Sequence[MethodError], *, both: bool) -> Verdict:
    if signal.confidence <= _CONFIDENT:
        return "no signal" if signal.difference < 2 * signal.standard_error else "can't tell"
    if not both:
        return "can't tell"
    best = min(method.error for method in rest)
    if over.confidence > _CONFIDENT:
        return "features"
    if over.confidence < 1 - _CONFIDENT:
        return "kernel"
    bound = abs(over.difference) + 2 * over.standard_error
    return "equal" if bound < _RELEVANT * best + 1e-3 else "can't tell"


def _conclusion(
    verdict: Verdict,
    signal: Gain,
    over: Gain,
    rest: Sequence[MethodError],
    directions: Directions | None,
) -> str:
    errors = {method.name: method.error for method in rest}
    gap = f"by {abs(over.difference):.3g} +- {over.standard_error:.2g}"
    if verdict == "no signal":
        return "No signal: no method predicts these labels better than a constant does."
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
    if signal.confidence <= _CONFIDENT:
        return "Can't tell: the data are too few to say whether there is anything to learn."
    return (
        f"Can't tell: the gap between learned features and fixed kernels, {over.difference:.3g}, "
        f"is within its error of {over.standard_error:.2g}."
    )


def _count(number: int) -> str:
    if number == 1:
        return "; one direction of the inputs carries what there is to learn"
    return f"; {number} directions of the inputs carry what there is to learn"
