"""Which directions of the inputs a fitted network reads, and what the labels do along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from twolayer.diagnose.methods import Splits, corrected_error, fit, loss_of
from twolayer.estimators import (
    RandomFeaturesClassifier,
    RandomFeaturesRegressor,
    TwoLayerClassifier,
    TwoLayerRegressor,
)
from twolayer.experiments.registry import Progress
from twolayer.numerics.hermite import hermite_values, multi_indices

_DIMENSIONS = (1, 2, 3, 5, 8, 13)
_HIGHEST = 5  # Hermite degree that is tried
_JOINT = 3  # directions along which degrees are counted together
_CLEAR = 3.5  # standard errors that a coefficient must lie from 0


@dataclass(frozen=True)
class Directions:
    """What is learned of the inputs.

    Attributes
    ----------
    vectors
        Leading directions for standardised inputs, one a row, the strongest first.
    shares
        The share of the network's mean squared gradient along each.
    number, number_errors
        How many are enough, ``None`` if more than were tried; and the error with each number
        tried, with its standard error.
    degree, degree_errors
        The Hermite degree along them that is enough, and the error with each degree tried.
    exponent, coefficients
        The information exponent along the first direction: the least k of at least 1 whose Hermite
        coefficient is clearly not 0, ``None`` if there is none up to 5; and ``z`` scores.
    """

    vectors: Float[np.ndarray, "k d"]
    shares: Float[np.ndarray, " k"]
    number: int | None
    number_errors: dict[int, tuple[float, float]]
    degree: int | None
    degree_errors: dict[int, tuple[float, float]]
    exponent: int | None
    coefficients: list[float]


def gradient_moment(model: Any, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    """``mean over x of sum_c grad f_c grad f_c^T``, of a fitted network in standardised inputs."""
    scaled = model._scaled(x)
    gates = (scaled @ model.weights_.T + model.biases_ > 0).astype(np.float64)
    a = model.read_out_.coefficients
    W = model.weights_.astype(np.float64)
    moment = np.zeros((W.shape[1], W.shape[1]))
    for column in (a - a.mean(axis=1, keepdims=True) if a.shape[1] > 1 else a).T:
        gradients = gates @ (column[:, None] * W)
        moment += gradients.T @ gradients / len(x)
    return moment


def leading_directions(
    model: Any, x: Float[np.ndarray, "n d"], number: int
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """Eigenvectors of `gradient_moment`, the largest first, and their shares of the trace."""
    values, vectors = np.linalg.eigh(gradient_moment(model, x))
    order = np.argsort(values)[::-1][:number]
    total = max(float(values.sum()), np.finfo(float).tiny)
    return vectors[:, order].T, values[order] / total


def normal_scores(
    z: Float[np.ndarray, " n"], reference: Float[np.ndarray, " r"] | None = None
) -> Float[np.ndarray, " n"]:
    """A column made standard normal by its ranks among those of `reference`."""
    known = np.sort(z if reference is None else reference)
    place = np.searchsorted(known, z, "left") + np.searchsorted(known, z, "right")
    return stats.norm.ppf((place / 2 + 0.5) / (len(known) + 1))


def find_directions(
    x: Float[np.ndarray, "n d"],
    y: Any,
    splits: Splits,
    *,
    solver: str,
    classes: bool,
    random_state: int,
    progress: Progress,
) -> Directions:
    """Directions, how many of them, which degree, and the information exponent.

    Directions are learned on the training part of each split, and what is done with them is judged
    on its held-out part.
    """
    network = (TwoLayerClassifier if classes else TwoLayerRegressor)(
        solver=solver, random_state=random_state
    )
    variance = 1.0 if classes else float(np.var(y))
    settings = {"classes": classes, "variance": variance, "random_state": random_state}
    dims = [k for k in _DIMENSIONS if k < x.shape[1]] + [x.shape[1]]
    widths: dict[int, list[float]] = {k: [] for k in dims}
    degrees: dict[int, list[float]] = {k: [] for k in range(_HIGHEST + 1)}
    scores: list[np.ndarray] = []
    first = np.zeros(x.shape[1])
    for fold, (inside, outside) in enumerate(splits):
        progress("directions", fold, len(splits))
        fitted = fit(network, x[inside], y[inside])
        vectors, _ = leading_directions(fitted, x[inside], max(dims))
        first = vectors[0] if fold == 0 else first
        vectors[0] *= np.sign(vectors[0] @ first) or 1.0  # so that odd coefficients add up
        z_in, z_out = (fitted._scaled(x[rows]) @ vectors.T for rows in (inside, outside))
        parts = (y[inside], y[outside])
        for k in dims:
            widths[k].append(_error(z_in[:, :k], z_out[:, :k], parts, **settings))
        joint = min(_JOINT, len(vectors))
        columns = range(joint)
        g_in, g_out = (
            np.stack([normal_scores(z[:, j], z_in[:, j]) for j in columns], axis=1)
            for z in (z_in, z_out)
        )
        for degree in degrees:
            h_in, h_out = (hermite_features(g, degree) for g in (g_in, g_out))
            degrees[degree].append(_linear_error(h_in, h_out, parts, **settings))
        scores.append(_coefficients(normal_scores(z_out[:, 0]), y[outside], classes=classes))
    progress("directions", len(splits), len(splits))
    fitted = fit(network, x, y)
    vectors, shares = leading_directions(fitted, x, min(10, x.shape[1]))
    number = _enough(widths)
    coefficients = np.sum(scores, axis=0) / np.sqrt(len(scores))
    clear = np.flatnonzero(np.max(np.abs(coefficients), axis=1) > _CLEAR)
    return Directions(
        vectors,
        shares,
        None if number == x.shape[1] and number > _DIMENSIONS[-1] else number,
        {k: (float(np.mean(e)), corrected_error(np.asarray(e))) for k, e in widths.items()},
        _enough(degrees),
        {k: (float(np.mean(e)), corrected_error(np.asarray(e))) for k, e in degrees.items()},
        int(clear[0]) + 1 if clear.size else None,
        np.max(np.abs(coefficients), axis=1).tolist(),
    )


def hermite_features(z: Float[np.ndarray, "n k"], degree: int) -> Float[np.ndarray, "n m"]:
    """All products of Hermite polynomials of the columns, of total degree 1 to `degree`."""
    tables = [hermite_values(column, degree) for column in z.T]
    powers = [p for p in multi_indices(z.shape[1], degree) if any(p)]
    columns = [np.prod([t[:, k] for t, k in zip(tables, p, strict=True)], axis=0) for p in powers]
    return np.stack(columns, axis=1) if columns else np.zeros((len(z), 0))


def _enough(errors: dict[int, list[float]]) -> int:
    """The least whose error exceeds the best one by no more than the standard error of the gap."""
    table = {k: np.asarray(e) for k, e in errors.items()}
    best = min(table.values(), key=np.mean)
    for k in sorted(table):
        gap = table[k] - best
        if gap.mean() <= max(corrected_error(gap), 1e-3 * abs(best.mean())):
            return k
    return max(table)


def _error(z_in: Any, z_out: Any, y: Sequence[Any], **settings: Any) -> float:
    """Of random features in the projections alone."""
    classes = settings["classes"]
    kind = RandomFeaturesClassifier if classes else RandomFeaturesRegressor
    model = fit(kind(300, random_state=settings["random_state"]), z_in, y[0])
    losses = loss_of(model, z_out, y[1], classes=classes, variance=settings["variance"])
    return float(losses.mean())


def _linear_error(h_in: Any, h_out: Any, y: Sequence[Any], **settings: Any) -> float:
    """Of ridge regression on given features (of class indicators for classes)."""
    classes = settings["classes"]
    names = np.unique(y[0])
    table = (y[0][:, None] == names[None]).astype(float) if classes else y[0][:, None]
    mean_h, mean_y = h_in.mean(axis=0), table.mean(axis=0)
    centred = h_in - mean_h
    gram = centred.T @ centred + 1e-3 * len(h_in) * np.eye(h_in.shape[1])
    a = np.linalg.solve(gram, centred.T @ (table - mean_y)) if h_in.shape[1] else None
    out = mean_y + ((h_out - mean_h) @ a if a is not None else np.zeros((len(h_out), 1)))
    if classes:
        return float(np.mean(names[np.argmax(out, axis=1)] != y[1]))
    return float(np.mean((out[:, 0] - y[1]) ** 2) / settings["variance"])


def _coefficients(z: Any, y: Any, *, classes: bool) -> Float[np.ndarray, "k c"]:
    """``E y He_k(z)`` in standard errors, for k = 1, ..., 5."""
    basis = hermite_values(z, _HIGHEST)[:, 1:]
    table = (y[:, None] == np.unique(y)[None]).astype(float) if classes else y[:, None]
    terms = basis[:, :, None] * (table - table.mean(axis=0))[:, None, :]
    error = terms.std(axis=0, ddof=1) / np.sqrt(len(z))
    return terms.mean(axis=0) / np.maximum(error, np.finfo(float).tiny)
