"""The methods that a diagnosis compares, and their errors on the same splits."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

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
LEARNED = ("one step", "layer-wise", "langevin", "trained network")
METHODS = FIXED + LEARNED

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
    """

    name: str
    folds: Float[np.ndarray, " f"]
    seconds: float

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


def splits_of(y: Any, *, classes: bool, folds: int, random_state: int) -> Splits:
    """The same splits for all methods, with the classes' shares kept."""
    kind = StratifiedKFold if classes else KFold
    return list(kind(folds, shuffle=True, random_state=random_state).split(np.zeros(len(y)), y))


def estimator(name: str, *, classes: bool, random_state: int) -> Any:
    """The untrained estimator of that name."""
    if name == "linear":
        model: Any = (
            LogisticRegression(max_iter=1000) if classes else RidgeCV(np.logspace(-3, 4, 15))
        )
        return make_pipeline(StandardScaler(), model)
    if name == "rbf kernel":
        machine = SVC() if classes else SVR()
        search = GridSearchCV(machine, {"C": [1.0, 10.0, 100.0]}, cv=3)
        return make_pipeline(StandardScaler(), search)
    if name == "tangent kernel":
        return (NTKClassifier if classes else NTKRegressor)(random_state=random_state)
    if name == "random features":
        kind = RandomFeaturesClassifier if classes else RandomFeaturesRegressor
        return kind(random_state=random_state)
    solvers: dict[str, str] = dict(
        zip(LEARNED, ("one_step", "layerwise", "langevin", "sgd"), strict=True)
    )
    kind = TwoLayerClassifier if classes else TwoLayerRegressor
    return kind(solver=solvers[name], random_state=random_state)


def loss_of(
    model: Any, x: Any, y: Any, *, classes: bool, variance: float
) -> Float[np.ndarray, " n"]:
    """The error of each sample: 0 or 1, or the square over the variance."""
    found = model.predict(x)
    return (found != y).astype(float) if classes else (found - y) ** 2 / variance


def compare_methods(
    x: Float[np.ndarray, "n d"],
    y: Any,
    splits: Splits,
    *,
    names: Sequence[str],
    classes: bool,
    random_state: int,
    progress: Progress,
) -> list[MethodError]:
    """Every method on every split, and the best constant."""
    variance = 1.0 if classes else float(np.var(y))
    found = [_constant(y, splits, classes=classes, variance=variance)]
    for k, name in enumerate(names):
        progress("methods", k, len(names))
        model = estimator(name, classes=classes, random_state=random_state)
        errors, start = [], time.perf_counter()
        for inside, outside in splits:
            fitted = fit(clone(model), x[inside], y[inside])
            losses = loss_of(fitted, x[outside], y[outside], classes=classes, variance=variance)
            errors.append(losses.mean())
        seconds = (time.perf_counter() - start) / len(splits)
        found.append(MethodError(name, np.asarray(errors), seconds))
    progress("methods", len(names), len(names))
    return found


def fit(model: Any, x: Any, y: Any) -> Any:
    """The trained model; a solver that stops at its limit of steps is no reason to complain."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y)


def _constant(y: Any, splits: Splits, *, classes: bool, variance: float) -> MethodError:
    errors = []
    for inside, outside in splits:
        if classes:
            values, counts = np.unique(y[inside], return_counts=True)
            errors.append(np.mean(y[outside] != values[np.argmax(counts)]))
        else:
            errors.append(np.mean((y[outside] - y[inside].mean()) ** 2) / variance)
    return MethodError("constant", np.asarray(errors), 0.0)


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
    names = [min(family, key=lambda method: method.error).name for family in (first, second)]
    return Gain(names[0], names[1], difference, error, confidence)
