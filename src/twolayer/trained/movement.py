"""How far a network is from its initialisation, and along which features it moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from twolayer.theory.gradient_features.tickets import ticket_mask
from twolayer.trained.measures import (
    Neurons,
    linearised,
    outputs,
    participation,
    tangent_kernel,
)

_KERNEL_INPUTS = 400  # used for the kernels
_LEAST_SHARE = 0.05  # of all movement that a feature gathers
_SHORT = 0.1  # of the root mean square movement: less is none
_CANDIDATES = 1000  # neurons around which features are sought


@dataclass(frozen=True)
class Movement:
    """The trained network against its initialisation.

    Attributes
    ----------
    weights, outputs
        ``|W - W_0| / |W_0|`` and ``|a - a_0| / |a_0|``, Frobenius norms.
    cosine
        The cosine between each neuron's input weights and its initial ones; NaN for an intercept's.
    initial_rank
        The effective rank of the first layer before training.
    kernel_change
        ``|K - K_0| / |K_0|`` of the tangent kernels on the inputs: 0 in the kernel regime.
    kernel_alignment
        The cosine between the two kernels: 1 where only the scale changed.
    linearised_error
        The root mean square of ``f - f_lin`` over that of ``f - f_0``, f_lin being the network
        linearised at its initialisation: 0 in the kernel regime.
    features
        Directions, unit vectors one a row, that many neurons moved along, the strongest first.
    ticket
        The neurons that moved along one of them: candidates for a winning ticket.
    ticket_share
        The squared correlation of what these neurons put out with what the network does.
    """

    weights: float
    outputs: float
    cosine: Float[np.ndarray, " m"]
    initial_rank: float
    kernel_change: float
    kernel_alignment: float
    linearised_error: float
    features: Float[np.ndarray, "f d"]
    ticket: Bool[np.ndarray, " m"]
    ticket_share: float


def movement_of(
    first: Neurons,
    last: Neurons,
    x: Float[np.ndarray, "n d"],
    real: Bool[np.ndarray, " m"],
    gamma: float,
) -> Movement:
    """The movement from `first` to `last`, of neurons that are `real` (no intercept's)."""
    few = x[np.linspace(0, len(x) - 1, min(len(x), _KERNEL_INPUTS)).astype(int)]
    before, after = tangent_kernel(first, few, real), tangent_kernel(last, few, real)
    start, end = outputs(first, few), outputs(last, few)
    missed, changed = end - linearised(first, last, few), end - start
    delta = np.where(real[:, None], last.W - first.W, 0.0)
    lengths = np.linalg.norm(delta, axis=1)
    shortest = _SHORT * float(np.sqrt(np.mean(lengths[real] ** 2)))
    features = _features(delta, np.abs(last.a) * lengths, gamma)
    signs = np.ones(len(features), int)
    ticket = ticket_mask(
        delta, np.zeros(len(delta)), features, signs, gamma=gamma, least_norm=shortest
    )
    products = np.sum(first.W * last.W, axis=1)
    norms = np.linalg.norm(first.W, axis=1) * np.linalg.norm(last.W, axis=1)
    a, a_first = last.a[real] / last.scale, first.a[real] / first.scale
    return Movement(
        ratio(np.linalg.norm(delta), np.linalg.norm(first.W[real])),
        ratio(np.linalg.norm(a - a_first), np.linalg.norm(a_first)),
        np.divide(products, norms, out=np.full(len(norms), np.nan), where=norms > 0),
        effective_rank(first.W[real]),
        ratio(np.linalg.norm(after - before), np.linalg.norm(before)),
        ratio(np.sum(after * before), np.linalg.norm(after) * np.linalg.norm(before)),
        ratio(np.linalg.norm(missed), np.linalg.norm(changed)),
        features,
        ticket,
        _squared_correlation(outputs(last.only(ticket), few), end) if ticket.any() else 0.0,
    )


def effective_rank(W: Float[np.ndarray, "m d"]) -> float:
    """``(sum v)^2 / sum v^2`` over the squared singular values v."""
    return participation(np.linalg.svd(W, compute_uv=False) ** 2)


def ratio(part: Any, whole: Any) -> float:
    """0 / 0 is 0: nothing of nothing."""
    part, whole = float(part), float(whole)
    return 0.0 if part == 0 else part / whole if whole else float("inf")


def _features(
    moves: Float[np.ndarray, "m d"], weights: Float[np.ndarray, " m"], gamma: float
) -> Float[np.ndarray, "f d"]:
    """Directions that gather the most movement within their cones, one after the other."""
    lengths = np.linalg.norm(moves, axis=1)
    units = moves / np.maximum(lengths, np.finfo(float).tiny)[:, None]
    candidates = np.argsort(-weights, kind="stable")[:_CANDIDATES]
    near = np.abs(units[candidates] @ units.T) > 1 - gamma
    left, total, found = weights.copy(), float(weights.sum()), []
    while total and len(found) < 20:
        gathered = near @ left
        best = int(np.argmax(gathered))
        if gathered[best] < _LEAST_SHARE * total:
            break
        members = near[best] & (left > 0)
        own = units[candidates[best]]
        signed = units[members] * np.sign(units[members] @ own)[:, None]
        centre = left[members] @ signed
        found.append(centre / np.linalg.norm(centre))
        left[near[best]] = 0.0
    return np.asarray(found).reshape(-1, moves.shape[1])


def _squared_correlation(f: np.ndarray, g: np.ndarray) -> float:
    f, g = f - f.mean(), g - g.mean()
    return ratio((f @ g) ** 2, (f @ f) * (g @ g))
