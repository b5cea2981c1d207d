"""Closed forms of the simplified gradient ``G(w, b) = E[y x 1(w.x > b)]``, law by law."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from twolayer.inputs import GaussianMixture
from twolayer.numerics.quadrature import kinked_gaussian, tensor_rule
from twolayer.sparse_coding import StructuredParity
from twolayer.theory.gradient_features.parity_coefficients import (
    parity_coefficients,
    threshold_coefficient,
)

_BLOCK = 2**22  # numbers held at once, neurons times nodes
_NODES = {1: (256, 192), 2: (64, 48), 3: (32, 24)}  # a coordinate, fine and coarse
_REACH = 8.0  # standard deviations of the rule
ENUMERABLE = 12  # relevant signs whose 2^12 patterns are summed one by one


class Moments(NamedTuple):
    """Expectations over the law of (x, y), for each neuron.

    Attributes
    ----------
    value
        ``E[y x 1(w.x > b)]``.
    error
        Its numerical error, where it comes from a quadrature rule; 0 else.
    second_moment
        ``E[y^2 |x|^2 1(w.x > b)]``.
    """

    value: Float[np.ndarray, "m d"]
    error: Float[np.ndarray, "m d"]
    second_moment: Float[np.ndarray, " m"]


def mixture_moments(
    inputs: GaussianMixture,
    labels: Float[np.ndarray, " c"],
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
) -> Moments:
    r"""Exact for any mixture of Gaussians whose components carry the labels.

    .. math:: G = \sum_c \rho_c y_c \Big[\mu_c \Phi(t_c) + \frac{\Sigma_c w}{s_c} \phi(t_c)\Big],
              \qquad s_c^2 = w^\top \Sigma_c w,\quad t_c = (w \cdot \mu_c - b) / s_c

    Derived here, from the mean of a Gaussian beyond a hyperplane.
    """
    rho, means, directions, strengths = (
        np.asarray(part, np.float64)
        for part in (inputs.proportions, inputs.means, inputs.directions, inputs.strengths)
    )
    value, second = np.zeros_like(W), np.zeros(len(W))
    for c in range(len(rho)):
        along = W + ((W @ directions[c].T) * strengths[c]) @ directions[c]  # Sigma w
        spread = np.sqrt(np.maximum(np.sum(along * W, axis=1), 0.0))
        margin = W @ means[c] - b
        t = standardised(margin, spread)
        unit = along / np.where(spread > 0, spread, 1.0)[:, None]
        mass, density = ndtr(t), normal_density(t)
        own = means[c] * mass[:, None] + unit * density[:, None]
        value += rho[c] * labels[c] * own
        trace = means.shape[1] + strengths[c].sum()
        slope = 2 * unit @ means[c] - np.sum(unit**2, axis=1) * np.where(density > 0, t, 0.0)
        total = (means[c] @ means[c] + trace) * mass + slope * density
        second += rho[c] * labels[c] ** 2 * total
    return Moments(value, np.zeros_like(value), second)


def halfspace_moments(
    direction: Float[np.ndarray, " d"], W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"]
) -> Moments:
    r"""Exact for ``y = sign(u.x)``, ``x ~ N(0, I)``, u of length 1.

    .. math:: G = \sqrt{2/\pi}\, Q(\beta / \rho)\, u + \phi(\beta)
              (2 \Phi(\beta c / \rho) - 1)\, \hat w, \qquad
              \beta = b / |w|,\quad c = \hat w \cdot u,\quad \rho = \sqrt{1 - c^2}

    Derived here, by Stein's identity; at b = 0 it is ``u / sqrt(2 pi)`` for every w.
    """
    length = np.linalg.norm(W, axis=1)
    unit = W / np.where(length > 0, length, 1.0)[:, None]
    beta = -standardised(-b, length)
    c = unit @ direction
    rho = np.sqrt(np.maximum(1 - c**2, 0.0))
    aligned = np.sqrt(2 / np.pi) * ndtr(standardised(-beta, rho, at_zero=0.0))
    finite = np.where(np.isfinite(beta), beta, 0.0)
    tilt = normal_density(beta) * (2 * ndtr(standardised(finite * c, rho, at_zero=0.0)) - 1)
    value = aligned[:, None] * direction + tilt[:, None] * unit
    second = W.shape[1] * ndtr(-beta) + finite * normal_density(beta)
    return Moments(value, np.zeros_like(value), second)


def multi_index_moments(
    directions: Float[np.ndarray, "k d"],
    link: Callable[[Any], Any],
    W: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    *,
    noise_std: float = 0.0,
) -> Moments:
    r"""To the error of a rule for ``y = link(z)``, ``z = U x``, ``x ~ N(0, I)``, k at most 3.

    .. math:: G = U^\top E\big[y z\, Q(\tau)\big] + \hat w_\perp E\big[y\, \phi(\tau)\big], \qquad
              \tau = (b - c \cdot z) / \rho,\quad c = U w,\quad \rho = |w_\perp|

    with ``w_perp`` the part of w orthogonal to the directions. Derived here: given z the neuron
    sees one more standard normal number. The rule has a kink at 0 in each coordinate, where
    products of signs jump; the error is the difference from a coarser one, and grows as w
    approaches the span of the directions.
    """
    k, d = directions.shape
    c = W @ directions.T
    apart = W - c @ directions
    rho = np.linalg.norm(apart, axis=1)
    unit = apart / np.where(rho > 0, rho, 1.0)[:, None]

    def integrated(nodes: int) -> tuple[np.ndarray, np.ndarray]:
        z, weights = tensor_rule(kinked_gaussian(nodes, _REACH), k)
        with jax.enable_x64(True):
            y = np.asarray(jax.vmap(link)(jax.numpy.asarray(z)), np.float64).reshape(-1)
        signed, squared = weights * y, weights * (y**2 + noise_std**2)
        value, second = np.empty_like(W), np.empty(len(W))
        for rows in _blocks(len(W), len(y)):
            tau = -standardised(c[rows] @ z.T - b[rows, None], rho[rows, None])
            seen, density = ndtr(-tau), normal_density(tau)
            value[rows] = (seen @ (signed[:, None] * z)) @ directions
            value[rows] += unit[rows] * (density @ signed)[:, None]
            rest = np.where(density > 0, tau, 0.0) * density
            second[rows] = seen @ (squared * (np.sum(z**2, axis=1) + d - k)) + rest @ squared
        return value, second

    fine, coarse = _NODES[k]
    value, second = integrated(fine)
    return Moments(value, np.abs(value - integrated(coarse)[0]), second)


def sign_parity_moments(
    coordinates: tuple[int, ...], W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"]
) -> Moments:
    """Exact for a parity on the uniform hypercube and weights that are all ``+-1`` times one size.

    By `parity_coefficients`, one pair for each different ``b / size``.
    """
    d, k = W.shape[1], len(coordinates)
    sizes = np.abs(W[:, 0])
    signs = np.sign(W)
    chi = np.prod(signs[:, coordinates], axis=1)
    inside = np.zeros(d, dtype=bool)
    inside[list(coordinates)] = True
    value, second = np.empty_like(W), np.empty(len(W))
    thresholds = b / sizes
    for threshold in np.unique(thresholds):
        rows = thresholds == threshold
        pair = [float(xi) for xi in parity_coefficients(d, k, float(threshold))]
        value[rows] = (chi[rows, None] * signs[rows]) * np.where(inside, *pair)
        second[rows] = d * float(threshold_coefficient(d, 0, float(threshold)))
    return Moments(value, np.zeros_like(value), second)


def structured_parity_moments(
    task: StructuredParity, W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"]
) -> Moments:
    r"""Asymptotic in the number of background units, exact in the relevant ones.

    With ``v = M^T w``, over patterns c of the relevant units A, of probability ``P_c`` and label
    ``y_c``, and ``tau^2 = 2 p_o sum_{l not in A} v_l^2``:

    .. math:: (M^\top G)_l \approx \sum_c P_c y_c c_l\, Q\Big(\frac{b - c \cdot v_A}{\tau}\Big)
              \ (l \in A), \qquad
              2 p_o \frac{v_l}{\tau} \sum_c P_c y_c\,
              \phi\Big(\frac{b - c \cdot v_A}{\tau}\Big)\ (l \notin A).

    Derived here, by the central limit theorem for the background. With more than 12 relevant units
    the uniform patterns are left out: their sum, of random signs, is small.
    """
    patterns, mass, labels = relevant_patterns(task)
    M = np.asarray(task.dictionary, np.float64)
    v, variance = W @ M, 2 * task.background
    hidden, second = background_moments(patterns, mass, labels, (v, b), variance)
    relevant = patterns.shape[1]
    if relevant > ENUMERABLE:
        spread = np.sqrt(np.sum(v[:, :relevant] ** 2, axis=1)
                         + variance * np.sum(v[:, relevant:] ** 2, axis=1))  # fmt: skip
        power = task.uniform_weight * (relevant + variance * (v.shape[1] - relevant))
        second = second + power * ndtr(standardised(-b, spread))
    value = hidden @ M.T
    return Moments(value, np.zeros_like(value), second)


def relevant_patterns(
    task: StructuredParity,
) -> tuple[Float[np.ndarray, "c a"], Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """The relevant units' patterns, their probabilities and their labels."""
    r, k = task.num_blocks, task.block_size
    own = np.repeat(np.eye(r), k, axis=1)
    patterns, mass = np.concatenate([own, -own]), np.full(2 * r, task.block_probability)
    labels = np.repeat([1.0, -1.0], r)  # k is odd
    if r * k <= ENUMERABLE:
        signs = np.asarray(list(product((1.0, -1.0), repeat=r * k)))
        votes = np.prod(signs.reshape(-1, r, k), axis=2).sum(axis=1)
        patterns = np.concatenate([patterns, signs])
        mass = np.concatenate([mass, np.full(len(signs), task.uniform_weight / len(signs))])
        labels = np.concatenate([labels, np.sign(votes)])
    return patterns, mass, labels


def background_moments(
    patterns: Float[np.ndarray, "c a"],
    mass: Float[np.ndarray, " c"],
    labels: Float[np.ndarray, " c"],
    neurons: tuple[Float[np.ndarray, "m e"], Float[np.ndarray, " m"]],
    variance: float,
) -> tuple[Float[np.ndarray, "m e"], Float[np.ndarray, " m"]]:
    """Moments over patterns of the first units, the other units being independent and many."""
    v, b = neurons
    relevant, background = np.split(v, [patterns.shape[1]], axis=1)
    tau = np.sqrt(variance * np.sum(background**2, axis=1))
    value, second = np.empty_like(v), np.empty(len(v))
    signed, power = mass * labels, np.sum(patterns**2, axis=1) + variance * background.shape[1]
    for rows in _blocks(len(v), len(patterns)):
        t = standardised(relevant[rows] @ patterns.T - b[rows, None], tau[rows, None])
        seen, density = ndtr(t), normal_density(t)
        slope = variance * (density @ signed) / np.where(tau[rows] > 0, tau[rows], 1.0)
        value[rows] = np.concatenate(
            [seen @ (signed[:, None] * patterns), background[rows] * slope[:, None]], axis=1
        )
        second[rows] = seen @ (mass * power)
    return value, second


def standardised(
    margin: Float[np.ndarray, "..."],
    spread: Float[np.ndarray, "..."],
    at_zero: float = -np.inf,
) -> Float[np.ndarray, "..."]:
    """``margin / spread``; without a spread, infinite with the margin's sign, or `at_zero`.

    Examples
    --------
    >>> standardised(np.array([1.0, 1.0, 0.0]), np.array([2.0, 0.0, 0.0])).tolist()
    [0.5, inf, -inf]
    """
    safe = np.where(spread > 0, spread, 1.0)
    limit = np.where(margin > 0, np.inf, np.where(margin < 0, -np.inf, at_zero))
    return np.where(spread > 0, margin / safe, limit)


def normal_density(t: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The density of N(0, 1), 0 at infinity."""
    return np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)


def _blocks(neurons: int, nodes: int):
    step = max(1, _BLOCK // nodes)
    return (slice(start, start + step) for start in range(0, neurons, step))
