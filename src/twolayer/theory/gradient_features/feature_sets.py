"""Gradient feature sets: directions that simplified gradients point along, how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv

REFERENCE = "shi2023provable, gradient feature set as recalled; greedy net derived here"
_CANDIDATES = 4096  # rows tried as centres of a cone
_NEAR = 2**27  # entries of the table of who is near whom
_RECENTRED = 5
_POWER_STEPS = 3
_FULL = 0.9  # of the members of the cone before


@dataclass(frozen=True)
class Probability:
    """A probability from independent draws.

    Attributes
    ----------
    value
        The share of hits.
    lower, upper
        The Clopper-Pearson interval.
    num_draws
        The number of draws.
    """

    value: Float[np.ndarray, "..."]
    lower: Float[np.ndarray, "..."]
    upper: Float[np.ndarray, "..."]
    num_draws: int


@dataclass(frozen=True)
class FeatureSet:
    """A net of the gradient feature set ``S_{p, gamma, B_G}``, most probable features first.

    The set itself is a union of neighbourhoods of these; each entry's probability exceeds p at
    the joint confidence.

    Attributes
    ----------
    directions
        Unit vectors D, one a row; -D is the same feature.
    signs
        The sign s of the threshold b that goes with each.
    probability, lower, upper
        Of a hit, with its simultaneous Clopper-Pearson interval.
    gamma, least_norm, least_probability
        The ``gamma, B_G, p`` of the set.
    confidence
        That all intervals hold at once.
    num_draws
        Draws that the probabilities are from; none of them was used to find the directions,
        unless nothing was held out.
    num_candidates
        Directions that were found and counted.
    """

    directions: Float[np.ndarray, "f d"]
    signs: Int[np.ndarray, " f"]
    probability: Float[np.ndarray, " f"]
    lower: Float[np.ndarray, " f"]
    upper: Float[np.ndarray, " f"]
    gamma: float
    least_norm: float
    least_probability: float
    confidence: float
    num_draws: int
    num_candidates: int

    def __len__(self) -> int:
        return len(self.directions)


def feature_set(
    gradients: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    *,
    gamma: float,
    least_norm: float,
    least_probability: float,
    confidence: float = 0.95,
    held_out: float = 0.5,
) -> FeatureSet:
    r"""The features that independent draws of (w, b) show to be hit with probability p or more.

    .. math:: S_{p, \gamma, B_G} = \Big\{(D, s):
              P\big[|\langle G, D\rangle| > (1 - \gamma) |G|,\ |G| \ge B_G,\ \text{sign}\, b = s
              \big] \ge p\Big\}

    Directions are found on the first draws, by greedy covering: the gradient with most others in
    its cone, recentred on them, then again among those that are left. They are counted on the
    draws held out, and kept if the lower end of their interval is p at least.

    Parameters
    ----------
    gradients
        ``G(w, b)`` of independent draws, a draw a row. (Of a symmetric initialisation take one
        neuron of each four; shuffle neurons that come in an order.)
    b
        Their thresholds; see `signs_of` for those that are 0.
    gamma
        How far from a feature its cone reaches, in (0, 1).
    least_norm
        The ``B_G``.
    least_probability
        The p.
    confidence
        That all intervals hold at once.
    held_out
        The share of draws, the last ones, that are only counted; 0 counts the same draws that
        were searched, which makes probabilities look too large.

    Raises
    ------
    ValueError
        If shapes don't fit together or are not finite, or a number is out of its range.

    Examples
    --------
    >>> G = np.repeat(np.eye(3)[:2], 200, axis=0)[np.random.default_rng(0).permutation(400)]
    >>> found = feature_set(G, np.ones(400), gamma=0.05, least_norm=0.5, least_probability=0.2)
    >>> abs(found.directions[np.argsort(found.directions[:, 1] ** 2)]).round(3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    gradients, signs = _checked(gradients, b)
    _check_shares(gamma, least_probability, confidence, held_out)
    if not 0 <= least_norm < np.inf:
        message = f"Expected a least norm from 0 on. Received: {least_norm!r}."
        raise ValueError(message)
    m, d = gradients.shape
    searched = m - int(held_out * m)
    if searched == m and held_out:
        message = f"Expected draws to hold out. Received: {m} draws, of which a share of "
        message += f"{held_out!r} is none."
        raise ValueError(message)
    counted = slice(searched if held_out else 0, m)
    least_hits = max(1.0, 0.5 * least_probability * searched)  # a chance deficit is forgiven
    directions, own = np.empty((0, d)), np.empty(0, dtype=int)
    for sign in (1, -1):
        rows = np.flatnonzero(signs[:searched] == sign)
        units = _units(gradients[rows], least_norm)
        found = _cover(units, gamma, least_hits)
        directions = np.concatenate([directions, found])
        own = np.concatenate([own, np.full(len(found), sign)])
    hits = _hits(gradients[counted], signs[counted], directions, own, gamma, least_norm)
    draws = m - counted.start
    joint = 1 - (1 - confidence) / max(len(own), 1)
    lower, upper = clopper_pearson(hits, draws, joint)
    kept = np.flatnonzero(lower >= least_probability)
    kept = kept[np.argsort(-hits[kept], kind="stable")]
    return FeatureSet(
        directions[kept], own[kept], hits[kept] / draws, lower[kept], upper[kept], gamma,
        least_norm, least_probability, confidence, draws, len(own),
    )  # fmt: skip


def hit_probability(
    direction: Float[np.ndarray, " d"],
    sign: int,
    gradients: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    *,
    gamma: Float[np.ndarray, "..."] | float,
    least_norm: Float[np.ndarray, "..."] | float,
    confidence: float = 0.95,
) -> Probability:
    """How often gradients point along one feature: over gamma, over B_G, or both broadcast.

    Parameters
    ----------
    direction
        The feature D, of any length; chosen without looking at these draws.
    sign
        Its s, 1 or -1.
    gradients, b
        Of independent draws, as for `feature_set`.
    gamma, least_norm
        Numbers or arrays that broadcast together.
    confidence
        Of each interval by itself.

    Raises
    ------
    ValueError
        If shapes don't fit together or are not finite, the direction is 0, the sign is not 1 or
        -1, or a number is out of its range.

    Examples
    --------
    >>> G = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [1.0, 0.0]])
    >>> east = np.array([1.0, 0.0])
    >>> hit_probability(east, 1, G, np.ones(4), gamma=0.1, least_norm=[0, 1.5]).value
    array([0.75, 0.25])
    """
    gradients, signs = _checked(gradients, b)
    gamma, least_norm = np.broadcast_arrays(np.asarray(gamma, float), np.asarray(least_norm, float))
    _check_shares(np.min(gamma), 0.5, confidence, 0.0)
    _check_shares(np.max(gamma), 0.5, confidence, 0.0)
    if not np.all((least_norm >= 0) & np.isfinite(least_norm)):
        message = f"Expected least norms from 0 on. Received: {least_norm.tolist()!r}."
        raise ValueError(message)
    direction = np.asarray(direction, np.float64)
    length = np.linalg.norm(direction)
    if direction.shape != gradients.shape[1:] or not 0 < length < np.inf or sign not in {1, -1}:
        message = f"Expected a direction of {gradients.shape[1]} coordinates that is not 0 and a "
        message += f"sign 1 or -1. Received: shape {direction.shape}, length {length:g}, {sign!r}."
        raise ValueError(message)
    own = gradients[signs == sign]
    norms = np.linalg.norm(own, axis=1)
    cosines = np.abs(own @ (direction / length)) / np.where(norms > 0, norms, 1.0)
    inside = cosines > 1 - gamma[..., None]
    hits = np.sum(inside & (norms >= least_norm[..., None]) & (norms > 0), axis=-1)
    lower, upper = clopper_pearson(hits, len(gradients), confidence)
    return Probability(hits / len(gradients), lower, upper, len(gradients))


def clopper_pearson(
    hits: Int[np.ndarray, "..."] | int, draws: int, confidence: float = 0.95
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """The interval that holds the probability behind so many hits at the confidence or more.

    clopper1934use, from quantiles of the beta distribution; half of what may go wrong on each
    side.

    Raises
    ------
    ValueError
        If there are more hits than draws, negative ones or no draw, or the confidence is not
        inside (0, 1).

    Examples
    --------
    >>> low, high = clopper_pearson(0, 10)
    >>> round(float(low), 4), round(float(high), 4)
    (0.0, 0.3085)
    """
    hits = np.asarray(hits)
    if draws < 1 or np.any(hits < 0) or np.any(hits > draws) or not 0 < confidence < 1:
        message = "Expected hits from 0 to the number of draws, at least one draw, and a "
        message += f"confidence in (0, 1). Received: {hits!r} of {draws!r}, {confidence!r}."
        raise ValueError(message)
    tail = (1 - confidence) / 2
    lower = np.where(hits > 0, betaincinv(np.maximum(hits, 1), draws - hits + 1, tail), 0.0)
    misses = np.maximum(draws - hits, 1)
    upper = np.where(hits < draws, betaincinv(hits + 1, misses, 1 - tail), 1.0)
    return lower, upper


def signs_of(b: Float[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """The signs of thresholds; those that are 0 take 1 and -1 in turn, as either is as good.

    Examples
    --------
    >>> signs_of(np.array([-2.0, 0.0, 0.0, 1.0])).tolist()
    [-1, 1, -1, 1]
    """
    signs = np.sign(np.asarray(b, np.float64)).astype(int)
    zero = np.flatnonzero(signs == 0)
    signs[zero] = 1 - 2 * (np.arange(len(zero)) % 2)
    return signs


def _checked(gradients: object, b: object) -> tuple[np.ndarray, np.ndarray]:
    gradients, b = np.asarray(gradients), np.asarray(b, np.float64)
    if gradients.ndim != 2 or not gradients.size or b.shape not in ((), gradients.shape[:1]):
        message = "Expected one gradient a row and one threshold for each. "
        message += f"Received: shapes {gradients.shape} and {b.shape}."
        raise ValueError(message)
    if not (np.all(np.isfinite(gradients)) and np.all(np.isfinite(b))):
        message = "Expected finite gradients and thresholds. Received: NaN or infinity among them."
        raise ValueError(message)
    return gradients, signs_of(np.broadcast_to(b, gradients.shape[:1]))


def _check_shares(gamma: float, probability: float, confidence: float, held_out: float) -> None:
    if not (0 < gamma < 1 and 0 < probability < 1 and 0 < confidence < 1 and 0 <= held_out < 1):
        message = "Expected gamma, probability and confidence inside (0, 1), and a share held out "
        message += f"from 0 to below 1. Received: {gamma!r}, {probability!r}, {confidence!r} and "
        message += f"{held_out!r}."
        raise ValueError(message)


def _units(gradients: np.ndarray, least_norm: float) -> Float[np.ndarray, "n d"]:
    """Directions of the gradients that are long enough, in single precision."""
    norms = np.linalg.norm(gradients, axis=1)
    long = (norms >= least_norm) & (norms > 0)
    return (gradients[long] / norms[long, None]).astype(np.float32)


def _cover(
    units: Float[np.ndarray, "n d"], gamma: float, least_hits: float
) -> Float[np.ndarray, "f d"]:
    """Centres of cones, each the fullest of what those before it leave, with enough new hits."""
    n, d = units.shape
    if n < least_hits:
        return np.empty((0, d))
    # Rows are exchangeable: if there are many, some of them stand for all.
    starts = units[:: -(-n // max(1, min(_CANDIDATES, _NEAR // n)))]
    near = _inside(units @ starts.T, gamma)
    counts = near.sum(axis=0)
    left, centres = np.ones(n, dtype=bool), []
    while counts[best := int(np.argmax(counts))] >= least_hits:
        centre, new = _recentred(units, left, starts[best], gamma)
        if new.sum() >= least_hits:
            centres.append(centre)
        new |= near[:, best] & left  # so that each round makes progress
        counts = counts - near[new].sum(axis=0)
        left &= ~new
        if 2 * left.sum() < len(left):
            units, near, left = units[left], near[left], np.ones(int(left.sum()), dtype=bool)
    return np.asarray(centres, np.float64).reshape(-1, d)


def _recentred(
    units: np.ndarray, left: np.ndarray, start: np.ndarray, gamma: float
) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
    """The last of some cones, each about the leading direction of the one before, if still full."""
    # Centres that the start's cone leads to, and what is in their cones, are within three angles.
    wide = np.cos(min(3 * np.arccos(1 - gamma), np.pi / 2))
    local = np.flatnonzero((np.abs(units @ start) >= np.float32(wide)) & left)
    own = units[local]
    centre, best, members = start, start, np.zeros(len(local), dtype=bool)
    for _ in range(_RECENTRED + 1):
        inside = _inside(own @ centre, gamma)
        # The fullest cone may owe that to strays on one side: the better centred one is taken.
        if inside.sum() >= _FULL * members.sum():
            best, members = centre, inside
        cone = own[inside]
        for _ in range(_POWER_STEPS):
            centre = cone.T @ (cone @ centre)
            centre = centre / max(float(np.linalg.norm(centre)), 1e-30)
    new = np.zeros(len(left), dtype=bool)
    new[local[members]] = True
    return best, new


def _hits(
    gradients: np.ndarray,
    signs: np.ndarray,
    directions: np.ndarray,
    own: np.ndarray,
    gamma: float,
    least_norm: float,
) -> Int[np.ndarray, " f"]:
    """How many gradients of the right sign are long enough and in each feature's cone."""
    hits = np.zeros(len(own), dtype=int)
    for sign in (1, -1):
        units = _units(gradients[signs == sign], least_norm)
        chosen = own == sign
        cosines = units @ directions[chosen].T.astype(np.float32)
        hits[chosen] = _inside(cosines, gamma).sum(axis=0)
    return hits


def _inside(cosines: np.ndarray, gamma: float) -> Bool[np.ndarray, "..."]:
    # one single-precision scalar: a double one would widen the whole table
    return np.abs(cosines, out=cosines) > np.float32(1 - gamma)
