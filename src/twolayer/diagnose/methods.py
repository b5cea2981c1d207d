"""The methods that a diagnosis compares, and their errors on the same splits."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from twolayer.estimators import (
    NTKClassifier,
    NTKRegressor,
    RandomFeaturesClassifier,
    RandomFeaturesRegressor,
    TwoLayerClassifier,
    TwoLayerRegressor,
)
from twolayer.experiments.registry import Progress

FIXED = ("linear", "rbf kernel", "tangent kernel", "random features")
LEARNED = ("recursive", "one step", "layer-wise", "langevin", "trained network")
METHODS = FIXED + LEARNED
SOLVER_OF: dict[str, str] = dict(
    zip(LEARNED, ("recursive", "one_step", "layerwise", "langevin", "sgd"), strict=True)
)
_FEWEST_DIFFERENT = 10  # rows

Splits = Sequence[tuple[Int[np.ndarray, " i"], Int[np.ndarray, " o"]]]


@dataclass(frozen=True)
class MethodError:
    """What cross validation says of one method.

    Attributes
    ----------
    name
        One of `METHODS`, or ``"constant"`` for the best constant.
    folds
        Its error in each fold: the share of wrong labels, or the mean square error over the
        variance of the targets.
    seconds
        To train once, on average.
    ranks
        How badly its scores rank the samples of each fold, 1/2 for a constant: 1 - the area under
        the ROC curve, the mean over classes against the rest; for numbers (1 - rank correlation)
        / 2. Uneven classes hide from the share of wrong labels, and a few far targets from
        squares, what this sees.
    """

    name: str
    folds: Float[np.ndarray, " f"]
    seconds: float
    ranks: Float[np.ndarray, " f"]

    @property
    def error(self) -> float:
        """The mean over folds."""
        return float(np.mean(self.folds))

    @property
    def standard_error(self) -> float:
        """Of the mean; see `corrected_error`."""
        return corrected_error(self.folds)


def corrected_error(values: Float[np.ndarray, " f"]) -> float:
    """Standard error of a mean over folds, whose training sets overlap.

    The variance over f folds counts ``1/f + 1/(f - 1)`` times rather than ``1/f``: the correction
    of nadeau2003inference for cross validation.
    """
    number = len(values)
    return float(np.sqrt(np.var(values, ddof=1) * (1 / number + 1 / (number - 1))))


def copies_of(x: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"] | None:
    """For each row the number of its inputs, the same for copies; ``None`` where none matters.

    Rows that agree in a column of many different fractions are copies. Of inputs that take few
    values each, samples agree by chance, and a new one is likely to be as an old one: unless most
    are different, their agreeing is no copying.
    """
    _, inverse = np.unique(x, axis=0, return_inverse=True)
    groups, different = inverse.reshape(-1), int(inverse.max(initial=-1)) + 1
    if different == len(x) or different < _FEWEST_DIFFERENT:
        return None
    fractions = x.T[np.any(x != np.round(x), axis=0)]
    finest = max((len(np.unique(column)) for column in fractions), default=0)
    return groups if 2 * different > len(x) or 2 * finest > different else None


def splits_of(
    y: Any,
    *,
    classes: bool,
    folds: int,
    random_state: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Splits:
    """The same splits for all methods, with the classes' shares kept, and rows of a group together.

    The class of a group is that of its first row.
    """
    kind = StratifiedKFold if classes else KFold
    groups = np.arange(len(y)) if groups is None else groups
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    parts = kind(folds, shuffle=True, random_state=random_state).split(first, y[first])
    return [
        (np.flatnonzero(np.isin(inverse, inside)), np.flatnonzero(np.isin(inverse, outside)))
        for inside, outside in parts
    ]


def estimator(name: str, *, classes: bool, random_state: int) -> Any:
    """The untrained estimator of that name."""
    if name == "linear":
        model: Any = (
            LogisticRegression(max_iter=1000) if classes else RidgeCV(np.logspace(-3, 4, 15))
        )
        return make_pipeline(StandardScaler(), model)
    if name == "rbf kernel":
        return make_pipeline(StandardScaler(), _rbf_kernel(classes=classes))
    if name == "tangent kernel":
        return (NTKClassifier if classes else NTKRegressor)(random_state=random_state)
    if name == "random features":
        kind = RandomFeaturesClassifier if classes else RandomFeaturesRegressor
        return kind(random_state=random_state)
    kind = TwoLayerClassifier if classes else TwoLayerRegressor
    return kind(solver=SOLVER_OF[name], random_state=random_state)


def _rbf_kernel(*, classes: bool) -> Any:
    """A support vector machine for classes, ridge regression of scaled targets for numbers."""
    if classes:
        return GridSearchCV(SVC(), {"C": [0.3, 1.0, 10.0, 100.0]}, cv=3)
    choices = {"alpha": [1e-3, 1e-1, 1.0], "gamma": [None, 0.01]}  # None is 1 / d
    search = GridSearchCV(KernelRidge(kernel="rbf"), choices, cv=3)
    return TransformedTargetRegressor(search, transformer=StandardScaler())


@dataclass(frozen=True)
class Measure:
    """What counts as error: wrong labels, squares over a variance, or badly ranked samples."""

    classes: bool
    variance: float = 1.0
    ranks: bool = False

    @property
    def name(self) -> str:
        """In words."""
        if not self.classes:
            return "(1 - rank correlation) / 2" if self.ranks else "square error / variance"
        return "1 - area under ROC curve" if self.ranks else "error"

    def of(self, model: Any, x: Any, y: Any) -> float:
        """The error of a fitted model on held-out samples."""
        if self.ranks and self.classes:
            return ranking_error(model.decision_function(x), model.classes_, y)
        found = model.predict(x)
        if self.ranks:
            return order_error(found, y)
        if self.classes:
            return float(np.mean(found != y))
        return float(np.mean((found - y) ** 2) / self.variance)


def ranking_error(scores: Any, names: Any, y: Any) -> float:
    """1 - the area under the ROC curve of each class against the rest, the mean over classes.

    Scores are a column for each name, or for two classes one column that says how far the second
    is above the first.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    areas = []
    for column, name in zip(scores.T, names, strict=True):
        own = y == name
        inside, outside = int(own.sum()), int((~own).sum())
        if inside and outside:
            above = stats.rankdata(column)[own].sum() - inside * (inside + 1) / 2
            areas.append(above / (inside * outside))
    return 1 - float(np.mean(areas))


def order_error(found: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """``(1 - r) / 2`` with Spearman's rank correlation r, 0 where either is constant."""
    ranks = [stats.rankdata(values) for values in (found, y)]
    if any(np.ptp(one) == 0 for one in ranks):
        return 0.5
    return (1 - float(np.corrcoef(*ranks)[0, 1])) / 2


def compare_methods(
    x: Float[np.ndarray, "n d"],
    y: Any,
    splits: Splits,
    *,
    names: Sequence[str],
    classes: bool,
    random_state: int,
    progress: Progress,
) -> tuple[list[MethodError], list[str]]:
    """The best constant and every method on every split; and a note on each that failed."""
    measure = Measure(classes, 1.0 if classes else float(np.var(y)))
    found, failures = [_constant(y, splits, measure)], []
    for k, name in enumerate(names):
        progress("methods", k, len(names))
        model = estimator(name, classes=classes, random_state=random_state)
        errors, ranks, start = [], [], time.perf_counter()
        try:
            for inside, outside in splits:
                fitted = fit(clone(model), x[inside], y[inside])
                errors.append(measure.of(fitted, x[outside], y[outside]))
                ranked = replace(measure, ranks=True)
                ranks.append(ranked.of(fitted, x[outside], y[outside]))
        except (ValueError, np.linalg.LinAlgError) as error:
            failures.append(f"Method {name} failed and is left out: {error}")
            continue
        seconds = (time.perf_counter() - start) / len(splits)
        found.append(MethodError(name, np.asarray(errors), seconds, np.asarray(ranks)))
    progress("methods", len(names), len(names))
    return found, failures


def by_ranks(methods: Sequence[MethodError]) -> list[MethodError]:
    """The same methods with the errors of their ranking in place of wrong labels or squares."""
    return [replace(method, folds=method.ranks) for method in methods]


def fit(model: Any, x: Any, y: Any) -> Any:
    """The trained model; a solver that stops at its limit of steps is no reason to complain."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y)


def _constant(y: Any, splits: Splits, measure: Measure) -> MethodError:
    errors = []
    for inside, outside in splits:
        if measure.classes:
            values, counts = np.unique(y[inside], return_counts=True)
            errors.append(np.mean(y[outside] != values[np.argmax(counts)]))
        else:
            errors.append(np.mean((y[outside] - y[inside].mean()) ** 2) / measure.variance)
    return MethodError("constant", np.asarray(errors), 0.0, np.full(len(splits), 0.5))


@dataclass(frozen=True)
class Gain:
    """By how much one family of methods beats another, each represented by its best member.

    Attributes
    ----------
    first, second
        The best members on all folds.
    difference, standard_error
        Error of the second family less that of the first. In each fold the members are those that
        did best on the other folds, so that choosing them flatters neither.
    confidence
        That the difference is positive, from Student's law.
    """

    first: str
    second: str
    difference: float
    standard_error: float
    confidence: float


def gain(first: Sequence[MethodError], second: Sequence[MethodError]) -> Gain:
    """The gain of the first family over the second."""
    tables = [np.stack([method.folds for method in family]) for family in (first, second)]
    number = tables[0].shape[1]
    gaps = np.empty(number)
    for k in range(number):
        ours, theirs = (
            table[np.argmin(np.delete(table, k, axis=1).mean(axis=1)), k] for table in tables
        )
        gaps[k] = theirs - ours
    error = corrected_error(gaps)
    difference = float(gaps.mean())
    confidence = 0.5 * (1 + float(np.sign(difference)))  # no fold differs from another
    if error > 0:
        confidence = float(stats.t.cdf(difference / error, number - 1))
    names = [
        family[int(np.argmin(table.mean(axis=1)))].name
        for family, table in zip((first, second), tables, strict=True)
    ]
    return Gain(names[0], names[1], difference, error, confidence)
