"""What to use: width, step, method; and where the data stand in the theory of one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from twolayer.diagnose.methods import (
    Measure,
    MethodError,
    Splits,
    corrected_error,
    estimator,
    fit,
)
from twolayer.experiments.registry import Progress
from twolayer.theory.one_step.regimes import paper_degree

_WIDTHS = (30, 100, 300, 1000)


@dataclass(frozen=True)
class Advice:
    """Recommendations, each by cross validation.

    Attributes
    ----------
    method
        The fastest among those whose error exceeds the least by less than the error of the gap.
    width
        The least number of neurons of the one-step network that is enough.
    width_errors
        The error with each width tried, with its standard error.
    learning_rate
        The step of the one-step network, in the units of demir2025asymptotic; 0 where the
        hold-out prefers no step.
    more_samples
        By how much the error falls when the training samples double, and its standard error.
    sentences
        The same in words.
    """

    method: str
    width: int
    width_errors: dict[int, tuple[float, float]]
    learning_rate: float
    more_samples: tuple[float, float]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """How uneven standardised inputs are, and the regime of data and step.

    Attributes
    ----------
    strength
        The largest excess, over classes, of the top eigenvalue of a class's covariance over the
        median one: the ``theta`` of a spiked covariance.
    effective_dim
        ``(sum l)^2 / sum l^2`` of the eigenvalues of the covariance.
    alpha, beta
        From ``theta = d^(beta (1 - alpha))`` and the step ``eta = d^(alpha beta)`` of
        demir2025asymptotic; ``None`` where they leave [0, 1], outside what the theory covers.
    degree
        The degree of the polynomial model that this regime needs, by their Theorem 4.
    """

    strength: float
    effective_dim: float
    alpha: float | None
    beta: float | None
    degree: int | None


def advise(
    x: Float[np.ndarray, "n d"],
    y: Any,
    splits: Splits,
    methods: Sequence[MethodError],
    measure: Measure,
    *,
    random_state: int,
    progress: Progress,
) -> Advice:
    """Recommendations for these samples."""
    best = min(methods, key=lambda method: method.error)
    close = [m for m in methods if (m.folds - best.folds).mean() <= _margin(m, best)]
    method = min(close, key=lambda m: m.seconds).name
    model = estimator("one step", classes=measure.classes, random_state=random_state)
    errors: dict[int, list[float]] = {}
    for k, width in enumerate(_WIDTHS):
        progress("widths", k, len(_WIDTHS) + 1)
        model.set_params(width=width)
        errors[width] = _errors(model, x, y, splits, measure)
    progress("widths", len(_WIDTHS), len(_WIDTHS) + 1)
    table = {width: np.asarray(found) for width, found in errors.items()}
    least = min(table.values(), key=np.mean)
    width = next(
        w for w in _WIDTHS if (gap := table[w] - least).mean() <= max(corrected_error(gap), 1e-12)
    )
    model.set_params(width=width)
    halves = [
        (_half(inside, y, measure, random_state=random_state), outside)
        for inside, outside in splits
    ]
    fewer = np.asarray(_errors(model, x, y, halves, measure))
    fall = fewer - table[width]
    fit(model, x, y)
    rate = _learning_rate(model, width)
    progress("widths", len(_WIDTHS) + 1, len(_WIDTHS) + 1)
    more = float(fall.mean()), corrected_error(fall)
    return Advice(
        method,
        width,
        {w: (float(t.mean()), corrected_error(t)) for w, t in table.items()},
        rate,
        more,
        _sentences(method, _enough_neurons(width), rate, more),
    )


def _margin(one: MethodError, best: MethodError) -> float:
    return max(corrected_error(one.folds - best.folds), 1e-12)


def _half(rows: Any, y: Any, measure: Measure, *, random_state: int) -> Any:
    """A random half of the rows, with each class's share kept and no class lost."""
    generator = np.random.default_rng(random_state)
    rows = generator.permutation(rows)
    if measure.classes:
        rows = rows[np.argsort(y[rows], kind="stable")]
        _, places = np.unique(y[rows], return_index=True)
        return np.concatenate([part[: -(-len(part) // 2)] for part in np.split(rows, places[1:])])
    return rows[: len(rows) // 2]


def _errors(model: Any, x: Any, y: Any, splits: Splits, measure: Measure) -> list[float]:
    return [
        measure.of(fit(model, x[inside], y[inside]), x[outside], y[outside])
        for inside, outside in splits
    ]


def _learning_rate(model: Any, width: int) -> float:
    """The eta of ``W + eta G`` where the output weights are N(0, 1/k) and the network 1/sqrt(k)."""
    if not model.step_:
        return 0.0
    change = np.linalg.norm(model.weights_ - model.initial_weights_, axis=1)
    return float(np.median(change) / model.median_gradient_ * width)


def _enough_neurons(width: int) -> str:
    if width == _WIDTHS[-1]:
        return f"{width} neurons or more do best in a one-step network"
    return f"{width} neurons are enough for a one-step network"


def _sentences(method: str, width: str, rate: float, more: tuple[float, float]) -> tuple[str, ...]:
    step = f"one step of about {rate:.3g}" if rate else "no step at all: random features"
    better = more[0] > 2 * more[1]
    samples = (
        f"More samples help: twice as many took {more[0]:.3g} +- {more[1]:.2g} off the error."
        if better
        else f"More samples don't visibly help: twice as many changed the error by {-more[0]:.3g} "
        f"+- {more[1]:.2g}."
    )
    return (
        f"Method: {method}, the fastest among those that do best.",
        f"Width: {width}; hold-out prefers {step}.",
        samples,
    )


def data_spread(
    x: Float[np.ndarray, "n d"], y: Any, advice: Advice | None, *, classes: bool
) -> Spread:
    """Eigenvalues of the inputs' covariance, and what they mean for one step."""
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    d = x.shape[1]
    parts = [scaled[y == value] for value in np.unique(y)] if classes else [scaled]
    strengths = []
    for part in parts:
        values = np.linalg.eigvalsh(np.atleast_2d(np.cov(part.T))) if len(part) > 1 else np.ones(d)
        middle = float(np.median(values[values > 1e-9])) if np.any(values > 1e-9) else 1.0
        strengths.append(values[-1] / middle - 1)
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(scaled.T)))
    effective = float(values.sum() ** 2 / np.sum(values**2))
    strength = float(max(strengths))
    alpha = beta = degree = None
    if advice is not None and advice.learning_rate > 0 and d > 1 and strength > 0:
        data = math.log(strength) / math.log(d)
        step = math.log(advice.learning_rate) / math.log(d)
        total = data + step
        if data >= 0 and step >= 0 and 0 < total <= 1:
            alpha, beta = step / total, total
            degree = paper_degree(beta).degree
    return Spread(strength, effective, alpha, beta, degree)
