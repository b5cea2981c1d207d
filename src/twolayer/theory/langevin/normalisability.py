r"""Whether the proximal Gibbs law exists where the activation is unbounded.

A feature that grows like ``l z`` on the left and ``r z`` on the right makes the field grow like
``g(w) = |w| c(w / |w|)``, and ``|g|^2 / (2 la)`` then competes with the weight decay of w.
Derived here: the law exists if ``sup_u |c(u)|^2 < la lw``, and doesn't if the supremum is larger.
At equality it doesn't either for homogeneous activations such as relu and one or two input
weights; with three, a peak of c at a kink can be so sharp that it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.outcomes import Assumption
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, inputs

_STARTS, _BEST, _MAX_CIRCLES = 64, 4, 100
_ROUNDING = 1e-12


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


def field_growth(gibbs: ProximalGibbs) -> FieldGrowth:
    r"""Bounds of ``sup_u |c(u)|``, exact for one or two input weights.

    In the plane ``c(u) = V u`` with one matrix V between two neighbouring angles at which some
    ``u . x_i`` changes sign, so that the maximum on each arc is in closed form. In more
    dimensions, the lower bound is the best of some searches along great circles, each of them
    exact, and the upper one the least of ``||r||_op ||x||_op / n``, ``mean |r| |x|`` and
    Cauchy-Schwarz for the positive and the negative slopes apart (derived here).

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
    lower = float(sizes[best])
    upper = lower * (1 + _ROUNDING) if dim <= 2 else max(lower, _upper_bound(gibbs))
    return FieldGrowth(lower, upper, directions[best])


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
    apart = np.diff(both, prepend=both[-1] - 2 * math.pi) > _ROUNDING
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


def normalisability(gibbs: ProximalGibbs) -> Assumption:
    """Whether the proximal Gibbs law exists; its margin is ``la lw - sup_u |c(u)|^2``.

    Always, for a bounded activation; and where the output weight is fixed or clipped and the
    activation is asymptotically linear. Undecided between the two bounds of `field_growth`, and
    for activations of which nothing is known at infinity. Where it doesn't exist, neither do a
    duality gap or a rate at this moment; training may get to where it exists. Derived here.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> from twolayer.free_energy import FreeEnergy
    >>> problem = FreeEnergy([[1.0]], [1.0], relu, 0.5, 0.5, 0.1)
    >>> [normalisability(ProximalGibbs(problem, np.array([r]))).holds for r in (-0.4, -0.5)]
    [True, False]
    """
    problem, s = gibbs.problem, gibbs.bounds
    name = "the proximal Gibbs law exists"
    if s.asymptotic_slopes is None:
        shape = f"the growth of {problem.activation.facts.name} at infinity is not known"
        return Assumption(name, None, None, shape)
    allowed = float(problem.output_decay) * float(problem.input_decay)
    if problem.output != "free":
        detail = "the field grows linearly and the output weight is bounded; margin: lw"
        return Assumption(name, True, float(problem.input_decay), detail)
    if s.bounded:
        return Assumption(name, True, allowed, "the activation is bounded; margin: la lw")
    growth = field_growth(gibbs)
    largest = f"sup |c|^2 is {growth.lower**2:.6g}"
    if growth.upper > growth.lower * (1 + 2 * _ROUNDING):
        largest = f"sup |c|^2 is between {growth.lower**2:.6g} and {growth.upper**2:.6g}"
    detail = f"{largest}, and la lw is {allowed:.6g}"
    if growth.upper**2 < allowed:
        return Assumption(name, True, allowed - growth.upper**2, detail)
    decided_at_equality = s.homogeneous and problem.dim <= 2
    if growth.lower**2 > allowed or (decided_at_equality and growth.lower**2 == allowed):
        return Assumption(name, False, allowed - growth.lower**2, f"{detail}: no certificate yet")
    return Assumption(name, None, None, detail)


def check_normalisable(gibbs: ProximalGibbs) -> None:
    """Raise unless the proximal Gibbs law is known to exist.

    Raises
    ------
    ValueError
        If it doesn't exist, or if that could not be decided.
    """
    assumption = normalisability(gibbs)
    if not assumption.holds:
        message = "Expected slopes whose proximal Gibbs law exists; weight decay mends it. "
        message += f"Received: {assumption.detail}."
        raise ValueError(message)


def homogeneous_log_sobolev(gibbs: ProximalGibbs) -> float:
    r"""A log-Sobolev constant of w's law, ``(lw - max c^2 / la) / tau``, for one input weight.

    On each half-line the potential of w is quadratic, and its slope is continuous at 0: this is
    Bakry and Emery's criterion (derived here). Not positive where the law doesn't exist.

    Raises
    ------
    ValueError
        If there are several input weights, the output weight isn't free or the activation isn't
        homogeneous.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> from twolayer.free_energy import FreeEnergy
    >>> problem = FreeEnergy([[1.0]], [1.0], relu, 0.5, 0.5, 0.1)
    >>> round(homogeneous_log_sobolev(ProximalGibbs(problem, np.array([-0.4]))), 9)
    1.8
    """
    problem = gibbs.problem
    if problem.dim != 1 or problem.output != "free" or not gibbs.bounds.homogeneous:
        message = "Expected one input weight, a free output and a homogeneous activation. "
        message += f"Received: {problem.dim} weights, a {problem.output} output, "
        message += f"{problem.activation.facts.name}."
        raise ValueError(message)
    growth = field_growth(gibbs).upper
    stiffness = float(problem.input_decay) - growth**2 / float(problem.output_decay)
    return stiffness / float(problem.temperature)
