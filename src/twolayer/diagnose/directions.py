"""Which directions of the inputs a fitted network reads, and what the labels do along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from twolayer.diagnose.methods import (
    SOLVER_OF,
    Measure,
    Splits,
    corrected_error,
    fit,
    order_error,
    ranking_error,
)
from twolayer.estimators import (
    RandomFeaturesClassifier,
    RandomFeaturesRegressor,
    TwoLayerClassifier,
    TwoLayerRegressor,
)
from twolayer.estimators.first_layers import gradient_moment
from twolayer.experiments.registry import Progress
from twolayer.numerics.hermite import hermite_values, multi_indices

_DIMENSIONS = (1, 2, 3, 5, 8, 13)
_HIGHEST = 5  # Hermite degree that is tried
_JOINT = 3  # directions along which degrees are counted together
_CLEAR = 5.0  # standard deviations above chance that make a degree's coefficients clear
_FLIPS = 300  # random signs that say what chance does


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
        The information exponent along the first three directions together: the least k of at
        least 1 with a Hermite coefficient of degree k that is clearly not 0, ``None`` if there is
        none up to 5; and for each k by how many standard deviations the squared coefficients
        exceed what chance makes of them.
    """

    vectors: Float[np.ndarray, "k d"]
    shares: Float[np.ndarray, " k"]
    number: int | None
    number_errors: dict[int, tuple[float, float]]
    degree: int | None
    degree_errors: dict[int, tuple[float, float]]
    exponent: int | None
    coefficients: list[float]


def leading_directions(
    model: Any, x: Float[np.ndarray, "n d"], number: int
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """Eigenvectors of the gradient's second moment in standardised inputs, and their shares.

    The largest come first; shares are of its trace.
    """
    scaled = model._scaled(x)
    moment = gradient_moment(model.weights_, model.biases_, model.read_out_.coefficients, scaled)
    values, vectors = np.linalg.eigh(moment)
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


def whitened(
    z: Float[np.ndarray, "n k"], other: Float[np.ndarray, "r k"]
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "r k"]]:
    """Both tables less the mean of the first, turned so that its columns are uncorrelated."""
    mean = z.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))
    # columns that say nothing of their own stay small instead of becoming noise
    scale = 1 / np.sqrt(np.maximum(values, 1e-6 * max(float(values[-1]), 1e-30)))
    root = (vectors * scale) @ vectors.T
    return (z - mean) @ root, (other - mean) @ root


def find_directions(
    x: Float[np.ndarray, "n d"],
    y: Any,
    splits: Splits,
    *,
    method: str,
    measure: Measure,
    random_state: int,
    progress: Progress,
) -> Directions:
    """Directions of that method's network, how many, which degree, the information exponent.

    Directions are learned on the training part of each split, and what is done with them is judged
    on its held-out part.
    """
    network = (TwoLayerClassifier if measure.classes else TwoLayerRegressor)(
        solver=SOLVER_OF.get(method, "recursive"), random_state=random_state
    )
    generator = np.random.default_rng(random_state)
    dims = [k for k in _DIMENSIONS if k < x.shape[1]] + [x.shape[1]]
    widths: dict[int, list[float]] = {k: [] for k in dims}
    degrees: dict[int, list[float]] = {k: [] for k in range(_HIGHEST + 1)}
    squares = np.zeros((_HIGHEST, _FLIPS + 1))
    for fold, (inside, outside) in enumerate(splits):
        progress("directions", fold, len(splits))
        fitted = fit(network, x[inside], y[inside])
        vectors, _ = leading_directions(fitted, x[inside], max(dims))
        z_in, z_out = (fitted._scaled(x[rows]) @ vectors.T for rows in (inside, outside))
        parts = (y[inside], y[outside])
        for k in dims:
            widths[k].append(
                _error(z_in[:, :k], z_out[:, :k], parts, measure, random_state=random_state)
            )
        joint = min(_JOINT, len(vectors))
        white_in, white_out = whitened(z_in[:, :joint], z_out[:, :joint])
        g_in, g_out = (
            np.stack([normal_scores(z[:, j], white_in[:, j]) for j in range(joint)], axis=1)
            for z in (white_in, white_out)
        )
        for degree in degrees:
            h_in, h_out = (hermite_features(g, degree) for g in (g_in, g_out))
            degrees[degree].append(_linear_error(h_in, h_out, parts, measure))
        squares += squared_coefficients(g_out, parts[1], generator, classes=measure.classes)
    progress("directions", len(splits), len(splits))
    fitted = fit(network, x, y)
    vectors, shares = leading_directions(fitted, x, min(10, x.shape[1]))
    number = _enough(widths)
    chance = squares[:, 1:]
    scores = (squares[:, 0] - chance.mean(axis=1)) / np.maximum(chance.std(axis=1), 1e-30)
    clear = np.flatnonzero(scores > _CLEAR)
    return Directions(
        vectors,
        shares,
        None if number == x.shape[1] and number > _DIMENSIONS[-1] else number,
        {k: (float(np.mean(e)), corrected_error(np.asarray(e))) for k, e in widths.items()},
        _enough(degrees),
        {k: (float(np.mean(e)), corrected_error(np.asarray(e))) for k, e in degrees.items()},
        int(clear[0]) + 1 if clear.size else None,
        scores.tolist(),
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


def _error(
    z_in: Any, z_out: Any, y: Sequence[Any], measure: Measure, *, random_state: int
) -> float:
    """Of random features in the projections alone."""
    kind = RandomFeaturesClassifier if measure.classes else RandomFeaturesRegressor
    return measure.of(fit(kind(300, random_state=random_state), z_in, y[0]), z_out, y[1])


def _linear_error(h_in: Any, h_out: Any, y: Sequence[Any], measure: Measure) -> float:
    """Of ridge regression on given features (of class indicators for classes)."""
    classes = measure.classes
    names = np.unique(y[0])
    table = (y[0][:, None] == names[None]).astype(float) if classes else y[0][:, None]
    mean_h, mean_y = h_in.mean(axis=0), table.mean(axis=0)
    centred = h_in - mean_h
    gram = centred.T @ centred + 1e-3 * len(h_in) * np.eye(h_in.shape[1])
    a = np.linalg.solve(gram, centred.T @ (table - mean_y)) if h_in.shape[1] else None
    out = mean_y + ((h_out - mean_h) @ a if a is not None else np.zeros((len(h_out), 1)))
    if measure.ranks:
        return ranking_error(out, names, y[1]) if classes else order_error(out[:, 0], y[1])
    if classes:
        return float(np.mean(names[np.argmax(out, axis=1)] != y[1]))
    return float(np.mean((out[:, 0] - y[1]) ** 2) / measure.variance)


def squared_coefficients(
    z: Float[np.ndarray, "n k"], y: Any, generator: np.random.Generator, *, classes: bool
) -> Float[np.ndarray, "g r"]:
    """Squared coefficients ``E y He_p(z)`` over their variances, summed over each degree ``|p|``.

    The first column is what the samples say, the others what they would say if each sample's
    term had a random sign: how large the sums are by chance where every coefficient is 0,
    whatever the terms' variances and correlations. Turning z changes little, so that sums of
    different splits can be added although their directions differ.
    """
    table = (y[:, None] == np.unique(y)[None]).astype(float) if classes else y[:, None]
    table = table - table.mean(axis=0)
    signs = generator.choice([-1.0, 1.0], size=(_FLIPS, len(z)))
    signs = np.concatenate([np.ones((1, len(z))), signs])
    tables = [hermite_values(column, _HIGHEST) for column in z.T]
    found = np.zeros((_HIGHEST, _FLIPS + 1))
    for p in multi_indices(z.shape[1], _HIGHEST):
        if any(p):
            basis = np.prod([t[:, k] for t, k in zip(tables, p, strict=True)], axis=0)
            terms = basis[:, None] * table
            size = np.maximum(terms.std(axis=0, ddof=1), 1e-30) * np.sqrt(len(z))
            found[sum(p) - 1] += np.sum((signs @ terms / size) ** 2, axis=1)
    return found
