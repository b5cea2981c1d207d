"""How fast the field of a proximal Gibbs law grows where the activation is unbounded."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, inputs

_STARTS, _BEST, _MAX_CIRCLES = 64, 4, 100
_COVERED_DIM = 6  # beyond it the sphere has too many cells
_MAX_CELLS, _BATCH = 2**18, 2**11
_SLACK = 1e-3
ROUNDING = 1e-12


@dataclass(frozen=True)
class FieldGrowth:
    """How fast the field grows: ``sup |c(u)|`` over unit vectors u lies between two bounds.

    Attributes
    ----------
    lower, upper
        The bounds; equal up to rounding for one or two input weights.
    direction
        A unit vector at which the lower bound is attained.
    """

    lower: float
    upper: float
    direction: Float[np.ndarray, " p"]


def asymptotic_field(
    gibbs: ProximalGibbs, directions: Float[np.ndarray, "q p"]
) -> Float[np.ndarray, "q k"]:
    """``c(u) = lim g(t u) / t`` for t to infinity; 0 for a bounded activation.

    Raises
    ------
    ValueError
        If the slopes of the activation at infinity aren't known.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> from twolayer.free_energy import FreeEnergy
    >>> gibbs = ProximalGibbs(FreeEnergy([[2.0]], [1.0], relu, 0.5, 0.5, 0.1), np.array([-1.0]))
    >>> asymptotic_field(gibbs, np.array([[1.0], [-1.0]]))[:, 0].tolist()
    [-2.0, 0.0]
    """
    left, right = _asymptotic_slopes(gibbs)
    z = np.asarray(directions, dtype=np.float64) @ inputs(gibbs.problem).T
    return np.where(z > 0, right * z, left * z) @ gibbs.slopes / gibbs.problem.num_samples


def _asymptotic_slopes(gibbs: ProximalGibbs) -> tuple[float, float]:
    slopes = gibbs.bounds.asymptotic_slopes
    if slopes is None:
        message = "Expected an activation that is bounded or asymptotically linear. Received: "
        message += f"{gibbs.problem.activation.facts.name}."
        raise ValueError(message)
    return slopes


def field_growth(gibbs: ProximalGibbs, *, threshold: float | None = None) -> FieldGrowth:
    r"""Bounds of ``sup_u |c(u)|``, exact for one or two input weights.

    In the plane ``c(u) = V u`` with one matrix V between two neighbouring angles at which some
    ``u . x_i`` changes sign, so that the maximum on each arc is in closed form. In more
    dimensions, the lower bound is the best of some searches along great circles, each of them
    exact. The upper one is the least of ``||r||_op ||x||_op / n``, ``mean |r| |x|`` and
    Cauchy-Schwarz for the positive and the negative slopes apart; and, up to six dimensions, the
    largest over cells that cover the sphere, halved where their bound is largest until it is
    within a thousandth of the lower one or there are 262,144 of them (derived here).

    Parameters
    ----------
    gibbs
        The law.
    threshold
        Where given, the bounds need only be good enough to tell on which side of it they are.

    Raises
    ------
    ValueError
        If the slopes of the activation at infinity aren't known.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> from twolayer.free_energy import FreeEnergy
    >>> problem = FreeEnergy([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0], relu, 0.5, 0.5, 0.1)
    >>> round(field_growth(ProximalGibbs(problem, np.array([-1.0, -1.0]))).upper, 6)
    0.707107
    """
    left, right = _asymptotic_slopes(gibbs)
    x = inputs(gibbs.problem)
    dim = x.shape[1]
    if left == right == 0:
        return FieldGrowth(0.0, 0.0, np.eye(dim)[0])
    if dim == 1:
        directions = np.array([[-1.0], [1.0]])
    elif dim == 2:
        angle, _ = _circle_maximum(x, gibbs.slopes, (left, right))
        directions = _unit(np.array([angle]))
    else:
        directions = _searches(gibbs, (left, right))
    sizes = np.linalg.norm(asymptotic_field(gibbs, directions), axis=1)
    best = int(np.argmax(sizes))
    lower, direction = float(sizes[best]), directions[best]
    if dim <= 2:
        return FieldGrowth(lower, lower * (1 + ROUNDING), direction)
    upper = max(lower, _upper_bound(gibbs))
    decided = threshold is not None and not lower <= threshold <= upper
    if not decided and dim <= _COVERED_DIM:
        covered = _covering_bound(x, gibbs.slopes, (left, right), lower, threshold)
        upper = max(lower, min(upper, covered))
    return FieldGrowth(lower, upper, direction)


def _circle_maximum(
    x: Float[np.ndarray, "n 2"], r: Float[np.ndarray, "n k"], slopes: tuple[float, float]
) -> tuple[float, float]:
    """The angle at which ``|c|`` is largest in a plane, and its value."""
    left, right = slopes
    rank_one = r[:, :, None] * x[:, None, :] / len(x)
    present = np.flatnonzero(np.linalg.norm(x, axis=1) > 0)
    turned = np.arctan2(x[present, 0], -x[present, 1])
    angles = np.concatenate([turned, np.where(turned > 0, turned - math.pi, turned + math.pi)])
    samples = np.concatenate([present, present])
    order = np.argsort(angles)
    edges, samples = angles[order], samples[order]
    if not len(edges):
        return 0.0, 0.0
    ends = np.append(edges[1:], edges[0] + 2 * math.pi)
    # V on the last arc, which is also before the first edge; each edge turns one sample on or off
    before = np.where(x @ _unit((edges[-1:] + ends[-1:]) / 2)[0] > 0, right, left)
    turns = np.stack([-np.sin(edges), np.cos(edges)], axis=1)
    rising = np.sign(np.einsum("ea,ea->e", turns, x[samples]))
    changes = (right - left) * rising[:, None, None] * rank_one[samples]
    matrices = np.einsum("i,ika->ka", before, rank_one) + np.cumsum(changes, axis=0)
    squares = np.einsum("eka,ekb->eab", matrices, matrices)
    # u^T Q u = constant + size * cos(2 angle - phase)
    phase = np.arctan2(2 * squares[:, 0, 1], squares[:, 0, 0] - squares[:, 1, 1])
    peaks = phase / 2 + math.pi * np.ceil((edges - phase / 2) / math.pi)
    candidates = np.where(peaks <= ends, peaks, edges)
    values = [np.einsum("eab,ea,eb->e", squares, u, u) for u in map(_unit, (edges, candidates))]
    best = int(np.argmax(np.concatenate(values)))
    angle = np.concatenate([edges, candidates])[best]
    return float(angle), math.sqrt(max(0.0, float(np.concatenate(values)[best])))


def sign_changes(x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " e"]:
    """The angles in ``[-pi, pi)`` of plane vectors orthogonal to some input, sorted; -pi if none.

    Examples
    --------
    >>> (sign_changes(np.array([[1.0, 0.0], [2.0, 0.0]])) / np.pi).tolist()
    [-0.5, 0.5]
    """
    present = x[np.linalg.norm(x, axis=1) > 0]
    turned = np.arctan2(present[:, 0], -present[:, 1])
    both = np.concatenate([turned, np.where(turned > 0, turned - math.pi, turned + math.pi)])
    both = np.sort(np.where(both >= math.pi, -math.pi, both))
    if not len(both):
        return np.array([-math.pi])
    apart = np.diff(both, prepend=both[-1] - 2 * math.pi) > ROUNDING
    return both[apart] if apart.any() else both[:1]


def _unit(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _searches(gibbs: ProximalGibbs, slopes: tuple[float, float]) -> Float[np.ndarray, "q p"]:
    """Directions of large ``|c|``: along great circles of the gradient, then random ones."""
    x, r = inputs(gibbs.problem), gibbs.slopes
    rng = np.random.default_rng(0)
    starts = np.concatenate([rng.normal(size=(_STARTS, x.shape[1])), x[:_STARTS], -x[:_STARTS]])
    sizes = np.linalg.norm(starts, axis=1)
    starts = starts[sizes > 0] / sizes[sizes > 0, None]
    heights = np.linalg.norm(asymptotic_field(gibbs, starts), axis=1)
    found = []
    for u in starts[np.argsort(-heights)[:_BEST]]:
        value, failures = 0.0, 0
        for turn in range(_MAX_CIRCLES):
            matrix = (r.T * np.where(x @ u > 0, slopes[1], slopes[0])) @ x
            other = matrix.T @ (matrix @ u) if turn % 2 == 0 else rng.normal(size=u.shape)
            across = other - (other @ u) * u
            size = float(np.linalg.norm(across))
            if not size > 1e-7 * float(np.linalg.norm(other)):  # the rest is rounding
                failures += 1
                continue
            plane = np.stack([u, across / size], axis=1)
            angle, new = _circle_maximum(x @ plane, r, slopes)
            failures = 0 if new > value * (1 + 1e-9) else failures + 1
            if new > value:
                value, u = new, plane @ _unit(np.array([angle]))[0]
                u = u / np.linalg.norm(u)
            if failures > 2 * x.shape[1]:
                break
        found.append(u)
    return np.array(found)


def _upper_bound(gibbs: ProximalGibbs) -> float:
    left, right = _asymptotic_slopes(gibbs)
    r, x = gibbs.slopes, inputs(gibbs.problem)
    steepest, n = max(abs(left), abs(right)), len(x)
    bounds = [
        steepest * np.linalg.norm(r, ord=2) * np.linalg.norm(x, ord=2) / n,
        steepest * float(np.mean(np.linalg.norm(r, axis=1) * np.linalg.norm(x, axis=1))),
    ]
    # l z or r z is (l + r) / 2 z + (r - l) / 2 |z|
    odd, even = abs(left + right) / 2, abs(right - left) / 2
    each = []
    for output in r.T:
        parts = [np.maximum(output, 0), np.maximum(-output, 0)]
        drifts = [float(np.linalg.norm(part @ x)) / n for part in parts]
        spreads = [
            math.sqrt(part.mean()) * float(np.linalg.norm(np.sqrt(part)[:, None] * x, ord=2))
            / math.sqrt(n)
            for part in parts
        ]  # fmt: skip
        whole = odd * float(np.linalg.norm(output @ x)) / n + even * max(spreads)
        one_sided = max(odd * d + even * s for d, s in zip(drifts, spreads, strict=True))
        # a feature of one sign: terms of the other sign can only diminish |c|
        each.append(min(whole, one_sided) if left <= 0 <= right else whole)
    return min(*map(float, bounds), float(np.linalg.norm(each)))


def _covering_bound(
    x: Float[np.ndarray, "n p"],
    r: Float[np.ndarray, "n k"],
    slopes: tuple[float, float],
    lower: float,
    threshold: float | None,
) -> float:
    """An upper bound of ``|c|`` from cells of the cube's surface, the worst of them halved."""
    dim = x.shape[1]
    enough = max(lower * (1 + _SLACK), 0.0 if threshold is None else threshold * (1 - ROUNDING))
    faces = np.array([sign * row for row in np.eye(dim) for sign in (-1.0, 1.0)])
    centres, halves = faces, np.ones(len(faces))
    bounds = cell_bounds(x, r, slopes, centres, halves)
    used = len(centres)
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=dim - 1)))
    while used + _BATCH * len(corners) <= _MAX_CELLS or used <= len(faces):
        worst = np.flatnonzero(bounds > enough)
        if not len(worst):
            break
        worst = worst[np.argsort(-bounds[worst])[: max(1, _BATCH // len(corners))]]
        children = _halved(centres[worst], halves[worst], corners)
        sizes = np.repeat(halves[worst] / 2, len(corners))
        kept = np.ones(len(bounds), dtype=bool)
        kept[worst] = False
        centres = np.concatenate([centres[kept], children])
        halves = np.concatenate([halves[kept], sizes])
        bounds = np.concatenate([bounds[kept], cell_bounds(x, r, slopes, children, sizes)])
        used += len(children)
    return float(bounds.max()) * (1 + ROUNDING)


def _halved(
    centres: Float[np.ndarray, "q p"],
    halves: Float[np.ndarray, " q"],
    corners: Float[np.ndarray, "c e"],
) -> Float[np.ndarray, "b p"]:
    """The centres of the cells' halves in every direction along their face."""
    dim = centres.shape[1]
    face = np.argmax(np.abs(centres), axis=1)
    along = np.array([[j for j in range(dim) if j != i] for i in range(dim)])[face]
    children = np.repeat(centres[:, None, :], len(corners), axis=1)
    shifts = halves[:, None, None] * corners
    rows = np.arange(len(centres))[:, None, None]
    children[rows, np.arange(len(corners))[None, :, None], along[:, None, :]] += shifts
    return children.reshape(-1, dim)


def cell_bounds(
    x: Float[np.ndarray, "n p"],
    r: Float[np.ndarray, "n k"],
    slopes: tuple[float, float],
    centres: Float[np.ndarray, "q p"],
    halves: Float[np.ndarray, " q"],
) -> Float[np.ndarray, " q"]:
    """Bounds of ``|c(v)| / |v|`` over cells: V at the centre, plus what may change sign inside."""
    left, right = slopes
    n, dim = x.shape
    radius = halves * math.sqrt(dim - 1)
    z = centres @ x.T
    matrices = np.einsum("qi,ik,ip->qkp", np.where(z > 0, right, left), r, x, optimize=True) / n
    norms = np.linalg.norm(matrices, ord=2, axis=(1, 2))
    at_centre = np.linalg.norm(np.einsum("qkp,qp->qk", matrices, centres), axis=1)
    # a sample that changes sign inside adds at most what it is beyond its zero
    beyond = np.maximum(np.multiply.outer(radius, np.linalg.norm(x, axis=1)) - np.abs(z), 0.0)
    turned = abs(right - left) * beyond @ np.linalg.norm(r, axis=1) / n
    least = np.maximum(1.0, np.linalg.norm(centres, axis=1) - radius)
    return np.minimum(norms + turned / least, (at_centre + radius * norms + turned) / least)
