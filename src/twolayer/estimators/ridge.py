"""Weighted ridge regression with an intercept, streamed over samples, its penalty by hold-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
_BLOCK = 4096  # samples whose features are held at a time
_FEW = 300  # samples up to which every one is held out once
_SOME = 1000  # up to which three fifths are
_FOLDS = 5
_ROUNDING = 4 * float(np.finfo(float).eps)

Features = Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n m"]]


class ReadOut(NamedTuple):
    """Output weights and intercept: ``f(x) = h(x) coefficients + intercept``."""

    coefficients: Float[np.ndarray, "m k"]
    intercept: Float[np.ndarray, " k"]


class Moments(NamedTuple):
    """Weighted sums over samples: all that ridge regression needs of them.

    Attributes
    ----------
    gram, cross
        ``sum w h h^T`` and ``sum w h y^T``.
    features, targets
        ``sum w h`` and ``sum w y``.
    weight
        ``sum w``.
    """

    gram: Float[np.ndarray, "m m"]
    cross: Float[np.ndarray, "m k"]
    features: Float[np.ndarray, " m"]
    targets: Float[np.ndarray, " k"]
    weight: float

    def plus(self, other: Moments) -> Moments:
        """The moments of both sets of samples together."""
        return Moments(
            self.gram + other.gram,
            self.cross + other.cross,
            self.features + other.features,
            self.targets + other.targets,
            self.weight + other.weight,
        )


def moments(
    features: Features,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "n k"],
    weights: Float[np.ndarray, " n"],
) -> Moments:
    """The moments of features and targets, a block of samples at a time."""
    total: Moments | None = None
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        h = features(x[rows]).astype(np.float64)  # else rounding makes the matrix indefinite
        weighted = h * weights[rows, None]
        part = Moments(
            weighted.T @ h,
            weighted.T @ y[rows],
            weighted.sum(axis=0),
            weights[rows] @ y[rows],
            float(weights[rows].sum()),
        )
        total = part if total is None else total.plus(part)
    if total is None:
        message = "Expected at least one sample."
        raise ValueError(message)
    return total


def solve(sums: Moments, penalties: Sequence[float]) -> list[ReadOut]:
    """The read-out of each penalty, relative to the mean square of a centred feature.

    Minimises ``mean w |y - a^T h - c|^2 + penalty * s |a|^2`` with s that mean square; the
    intercept c is not penalised.
    """
    mean_h, mean_y = sums.features / sums.weight, sums.targets / sums.weight
    gram = sums.gram / sums.weight - np.outer(mean_h, mean_h)
    cross = sums.cross / sums.weight - np.outer(mean_h, mean_y)
    size = float(np.trace(gram)) / len(gram)
    # where features hardly vary, what is left of them is rounding of their squares
    rounding = _ROUNDING * float(np.trace(sums.gram)) / sums.weight
    found = []
    for penalty in penalties:
        factor = _factor(gram, max(max(penalty, 1e-10) * size, rounding))
        a = cho_solve(factor, cross, check_finite=False)
        found.append(ReadOut(a, mean_y - mean_h @ a))
    return found


def _factor(gram: Float[np.ndarray, "k k"], shift: float) -> Any:
    """The Cholesky factor of ``gram + shift``, with as much more as rounding of `gram` needs."""
    shift = max(shift, np.finfo(float).tiny)
    while True:
        try:
            return cho_factor(gram + shift * np.eye(len(gram)), check_finite=False)
        except np.linalg.LinAlgError:
            if not 0 < shift < 1e300:
                raise
            shift *= 100


def read_outs(
    features: Features,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "n k"],
    weights: Float[np.ndarray, " n"],
    penalties: Sequence[float],
) -> list[ReadOut]:
    """What `solve` finds of these samples' moments, through the smaller of two matrices.

    With fewer samples than features, ``a = U^T (U U^T + shift)^-1 v`` where U and v are centred
    features and targets times the roots of the samples' shares.
    """
    if len(x) > _BLOCK:
        return solve(moments(features, x, y, weights), penalties)
    h = features(x).astype(np.float64)
    if len(h) >= h.shape[1]:
        return solve(moments(lambda _: h, x, y, weights), penalties)
    shares = weights / weights.sum()
    mean_h, mean_y = shares @ h, shares @ y
    root = np.sqrt(shares)[:, None]
    U, v = root * (h - mean_h), root * (y - mean_y)
    gram = U @ U.T
    size = float(np.trace(gram)) / h.shape[1]
    rounding = _ROUNDING * float(shares @ np.sum(h**2, axis=1))
    found = []
    for penalty in penalties:
        factor = _factor(gram, max(max(penalty, 1e-10) * size, rounding))
        a = U.T @ cho_solve(factor, v, check_finite=False)
        found.append(ReadOut(a, mean_y - mean_h @ a))
    return found


def folds(
    number: int, groups: Int[np.ndarray, " n"] | None, generator: np.random.RandomState
) -> list[Int[np.ndarray, " n"]]:
    """Rows to hold out: each once where they are few, else three fifths, or one.

    With `groups`, of classes say, every part has about the share of each that the whole has.
    """
    order = generator.permutation(number)
    if groups is not None:
        order = order[np.argsort(groups[order], kind="stable")]
    parts = [order[k::_FOLDS] for k in range(_FOLDS)]
    parts = [part for part in parts if 0 < len(part) < number]
    return parts[: _FOLDS if number <= _FEW else 3 if number <= _SOME else 1]


class Choice(NamedTuple):
    """What did best on held-out samples.

    Attributes
    ----------
    candidate
        Its number.
    penalty
        Of its read-out.
    outputs, outside
        Its outputs on the held-out samples, and these.
    """

    candidate: int
    penalty: float
    outputs: Float[np.ndarray, "r k"]
    outside: Any


def choose(
    samples: Any,
    candidates: Sequence[Callable[[Any], Features]],
    penalties: Sequence[float],
    generator: np.random.RandomState,
) -> Choice:
    """The first layer and the penalty with the least square error on held-out samples.

    Each candidate makes a first layer from the samples that are not held out.
    """
    number = len(samples.x)
    held = folds(number, samples.groups, generator)
    scores = np.zeros((len(candidates), len(penalties)))
    outputs = np.zeros((*scores.shape, number, samples.y.shape[1]))
    for part in held:
        inside = samples.rows(np.setdiff1d(np.arange(number), part))
        outside = samples.rows(part)
        for c, candidate in enumerate(candidates):
            features = candidate(inside)
            h = features(outside.x)
            found = read_outs(features, inside.x, inside.y, inside.weights, penalties)
            for k, read in enumerate(found):
                outputs[c, k, part] = h @ read.coefficients + read.intercept
                gap = np.sum((outputs[c, k, part] - outside.y) ** 2, axis=1)
                scores[c, k] += outside.weights @ gap
    best = np.unravel_index(int(np.argmin(scores)), scores.shape)
    rows = np.concatenate(held) if held else np.zeros(0, int)
    return Choice(int(best[0]), penalties[int(best[1])], outputs[best][rows], samples.rows(rows))


def penalties_of(penalty: float | str) -> tuple[float, ...]:
    """The penalties to choose from: all for ``"auto"``, else the one.

    Raises
    ------
    ValueError
        If it is neither ``"auto"`` nor a number of at least 0.
    """
    if penalty == "auto":
        return PENALTIES
    number = isinstance(penalty, (int, float)) and not isinstance(penalty, bool)
    if not number or not 0 <= float(penalty) < np.inf:
        message = f"Expected a penalty of at least 0, or 'auto'. Received: {penalty!r}."
        raise ValueError(message)
    return (float(penalty),)
