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

_STARTS, _ASCENTS = 64, 100
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
    dimensions, the lower bound is the best of some ascents, ``u <- V(u)^T V(u) u / |.|``, and the
    upper one the least of ``||r||_op ||x||_op``, ``mean |r| |x|`` and Cauchy-Schwarz for the
    positive and the negative slopes apart (derived here).

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
        directions = _planar_candidates(gibbs)
    else:
        directions = _ascents(gibbs)
    sizes = np.linalg.norm(asymptotic_field(gibbs, directions), axis=1)
    best = int(np.argmax(sizes))
    lower = float(sizes[best])
    upper = lower * (1 + _ROUNDING) if dim <= 2 else max(lower, _upper_bound(gibbs))
    return FieldGrowth(lower, upper, directions[best])


def _planar_candidates(gibbs: ProximalGibbs) -> Float[np.ndarray, "q 2"]:
    """All the angles at which ``|c|`` can be largest."""
    x = inputs(gibbs.problem)
    edges = sign_changes(x)
    ends = np.append(edges[1:], edges[0] + 2 * math.pi)
    middles = (edges + ends) / 2
    matrices = _matrices(gibbs, _unit(middles))
    squares = np.einsum("qka,qkb->qab", matrices, matrices)
    # u^T Q u = const + |.| cos(2 angle - phase)
    phase = np.arctan2(2 * squares[:, 0, 1], squares[:, 0, 0] - squares[:, 1, 1])
    peaks = phase / 2
    peaks = peaks + math.pi * np.ceil((edges - peaks) / math.pi)
    return _unit(np.concatenate([edges, peaks[peaks <= ends]]))


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


def _matrices(gibbs: ProximalGibbs, directions: np.ndarray) -> Float[np.ndarray, "q k p"]:
    """The V with ``c = V u`` near each direction."""
    left, right = _asymptotic_slopes(gibbs)
    x = inputs(gibbs.problem)
    active = np.where(directions @ x.T > 0, right, left)
    return np.einsum("qi,ik,ip->qkp", active, gibbs.slopes, x, optimize=True) / len(x)


def _ascents(gibbs: ProximalGibbs) -> Float[np.ndarray, "q p"]:
    """Directions of large ``|c|``, from fixed starts; `|c|` is convex on each linear piece."""
    x = inputs(gibbs.problem)
    starts = np.random.default_rng(0).normal(size=(_STARTS, x.shape[1]))
    starts = np.concatenate([starts, x[:_STARTS], -x[:_STARTS]])
    starts = starts[np.linalg.norm(starts, axis=1) > 0]
    u = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    best, value = u, np.linalg.norm(asymptotic_field(gibbs, u), axis=1)
    for _ in range(_ASCENTS):
        matrices = _matrices(gibbs, u)
        step = np.einsum("qka,qkb,qb->qa", matrices, matrices, u, optimize=True)
        size = np.linalg.norm(step, axis=1, keepdims=True)
        u = np.where(size > 0, step / np.where(size > 0, size, 1.0), u)
        new = np.linalg.norm(asymptotic_field(gibbs, u), axis=1)
        better = new > value * (1 + _ROUNDING)
        best, value = np.where(better[:, None], u, best), np.where(better, new, value)
        if not better.any():
            break
    return best


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
