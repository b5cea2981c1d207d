"""Lottery tickets: which neurons the features say will win."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray


def ticket_mask(
    gradients: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    directions: Float[np.ndarray, "f d"],
    signs: Int[np.ndarray, " f"],
    *,
    gamma: float,
    least_norm: float = 0.0,
) -> Bool[np.ndarray, " m"]:
    r"""The neurons whose first gradient is in the cone of a feature, and long enough.

    .. math:: T = \{i: \exists j: |\langle G_i, D_j \rangle| > (1 - \gamma) |G_i|,\ |G_i| \ge B_G,
              \ \text{sign}\, b_i = s_j\}

    Derived here, after the lottery ticket reading that we recall of shi2023provable: features that
    a good network uses name its winning neurons. A neuron whose threshold is 0 goes with either
    sign.

    Parameters
    ----------
    gradients, b
        Of the neurons at the initialisation, and their thresholds.
    directions, signs
        The features, one a row; for instance of a `FeatureSet`.
    gamma, least_norm
        The cone, and the ``B_G``.

    Raises
    ------
    ValueError
        If shapes don't fit together, gamma is not inside (0, 1), or a feature is 0.

    Examples
    --------
    >>> G = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]])
    >>> b = np.array([1.0, 1.0, 1.0, -1.0])
    >>> ticket_mask(G, b, np.array([[2.0, 0.0]]), np.array([1]), gamma=0.1).tolist()
    [True, False, True, False]
    """
    gradients, b, directions, signs = (
        np.asarray(part, np.float64) for part in (gradients, b, directions, signs)
    )
    b = np.broadcast_to(b, gradients.shape[:1]) if b.ndim == 0 else b
    if (
        gradients.ndim != 2
        or b.shape != gradients.shape[:1]
        or directions.shape[1:] != gradients.shape[1:]
        or signs.shape != directions.shape[:1]
    ):
        message = "Expected gradients [m, d] with a threshold each and features [f, d] with a sign "
        message += f"each. Received: shapes {gradients.shape}, {b.shape}, {directions.shape} and "
        message += f"{signs.shape}."
        raise ValueError(message)
    lengths = np.linalg.norm(directions, axis=1)
    if not 0 < gamma < 1 or not np.all(lengths > 0):
        message = "Expected gamma inside (0, 1) and features that are not 0. "
        message += f"Received: {gamma!r} and lengths from {np.min(lengths, initial=0.0):g}."
        raise ValueError(message)
    norms = np.linalg.norm(gradients, axis=1)
    cosines = np.abs(gradients @ (directions / lengths[:, None]).T)
    inside = cosines > (1 - gamma) * norms[:, None]
    allowed = np.sign(b)[:, None] * signs >= 0
    return np.any(inside & allowed, axis=1) & (norms >= least_norm) & (norms > 0)


def longest_gradients(gradients: Float[np.ndarray, "m d"], size: int) -> Bool[np.ndarray, " m"]:
    """The `size` neurons with the longest gradients, the winners where lengths differ.

    Raises
    ------
    ValueError
        If the size is not between 1 and the number of neurons.

    Examples
    --------
    >>> longest_gradients(np.array([[3.0], [1.0], [2.0]]), 2).tolist()
    [True, False, True]
    """
    return _chosen(np.argsort(-np.linalg.norm(gradients, axis=1), kind="stable"), size)


def shortest_gradients(gradients: Float[np.ndarray, "m d"], size: int) -> Bool[np.ndarray, " m"]:
    """The `size` neurons with the shortest gradients, the losers.

    Raises
    ------
    ValueError
        If the size is not between 1 and the number of neurons.

    Examples
    --------
    >>> shortest_gradients(np.array([[3.0], [1.0], [2.0]]), 1).tolist()
    [False, True, False]
    """
    return _chosen(np.argsort(np.linalg.norm(gradients, axis=1), kind="stable"), size)


def random_ticket(width: int, size: int, *, key: PRNGKeyArray) -> Bool[np.ndarray, " m"]:
    """As many neurons without looking at their gradients.

    Raises
    ------
    ValueError
        If the size is not between 1 and the number of neurons.

    Examples
    --------
    >>> int(random_ticket(10, 4, key=jax.random.key(0)).sum())
    4
    """
    return _chosen(np.asarray(jax.random.permutation(key, width)), size)


def _chosen(order: np.ndarray, size: int) -> np.ndarray:
    if isinstance(size, bool) or not 1 <= size <= len(order):
        message = f"Expected a ticket of 1 to {len(order)} neurons. Received: {size!r}."
        raise ValueError(message)
    mask = np.zeros(len(order), dtype=bool)
    mask[order[:size]] = True
    return mask
