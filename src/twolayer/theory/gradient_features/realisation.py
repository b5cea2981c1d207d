"""From an induced network to one whose first layer is what the gradient step left behind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from twolayer.networks import TwoLayerNetwork
from twolayer.theory.gradient_features.induced_networks import relu_network

REFERENCE = "derived here; a lemma of this kind is behind shi2023provable, Theorem 3.12"


@dataclass(frozen=True)
class Realisation:
    """An induced network built of the neurons of a first layer.

    Attributes
    ----------
    network
        ``f~``: that first layer with new output weights, most of them 0.
    hits
        ``|Lambda_j|`` for each neuron j of the induced network: how many neurons stand in for it.
    bound
        ``|f~(x) - f*(x)| <= bound |x|`` for every x; infinite where a neuron has no stand-in.
    distance
        The same with the measured in place of the allowed deviations: smaller, and as valid.
    output_norm
        ``|a~|_2``.
    """

    network: TwoLayerNetwork
    hits: Int[np.ndarray, " r"]
    bound: float
    distance: float
    output_norm: float


def realise(
    optimum: TwoLayerNetwork,
    first_layer: TwoLayerNetwork,
    *,
    gamma: float,
    tolerance: float,
) -> Realisation:
    r"""Realise ``f* = sum_j a_j relu(<D_j, x> - s_j beta_j)`` by neurons of a first layer.

    For each j the stand-ins are the neurons with a bias of sign ``s_j``, their weight within the
    cone of j and a kink at nearly the same distance, each with the same share of the output:

    .. math:: \Lambda_j = \{i : \operatorname{sign} b_i = s_j,\ \cos(w_i, D_j) > 1 - \gamma,\
              |\rho_i - 1| \le e\}, \quad \rho_i = \beta_j |w_i| / |b_i|, \quad
              \tilde a_i = \frac{a_j \beta_j}{|b_i|\, |\Lambda_j|}

    Then ``|f~(x) - f*(x)| <= sum_j |a_j| (sqrt(2 gamma) + e) |x|`` (derived here). A neuron
    that stands in for several j gets the sum of its shares.

    Parameters
    ----------
    optimum
        A relu network with biases, none of them 0.
    first_layer
        A relu network with biases, after the gradient step: its output weights don't matter.
    gamma
        Opening of the cones, in (0, 1).
    tolerance
        The e: relative deviation of the kinks, in [0, 1).

    Raises
    ------
    ValueError
        If the dimensions differ, biases are missing, a neuron of the optimum has no weight or no
        bias, or gamma or the tolerance is out of range.

    Examples
    --------
    >>> optimum = relu_network(np.ones(1), np.eye(2)[:1], np.asarray([0.5]))
    >>> layer = relu_network(np.zeros(2), np.asarray([[2.0, 0], [0, 2.0]]), np.ones(2))
    >>> realised = realise(optimum, layer, gamma=0.1, tolerance=0.1)
    >>> realised.hits.tolist(), np.asarray(realised.network.a).tolist(), realised.distance
    ([1], [0.5, 0.0], 0.0)
    """
    if not 0 < gamma < 1 or not 0 <= tolerance < 1:
        message = "Expected gamma inside (0, 1) and a tolerance in [0, 1). "
        message += f"Received: {gamma!r} and {tolerance!r}."
        raise ValueError(message)
    a, D, s, beta = _unit_neurons(optimum)
    if first_layer.b is None or first_layer.dim != D.shape[1]:
        message = f"Expected a first layer with biases on inputs of {D.shape[1]} coordinates. "
        message += f"Received: {first_layer.dim} coordinates, "
        message += f"{'no biases' if first_layer.b is None else 'biases'}."
        raise ValueError(message)
    W, b = np.asarray(first_layer.W, np.float64), -np.asarray(first_layer.b, np.float64)
    lengths = np.linalg.norm(W, axis=1)
    living = (lengths > 0) & (b != 0)
    units = W / np.where(living, lengths, 1.0)[:, None]
    outputs, hits = np.zeros(len(b)), np.zeros(len(a), int)
    distance = 0.0
    for j in range(len(a)):
        rho = beta[j] * lengths / np.where(living, np.abs(b), 1.0)
        near = (units @ D[j] > 1 - gamma) & (np.abs(rho - 1) <= tolerance)
        chosen = np.flatnonzero(near & (np.sign(b) == s[j]) & living)
        hits[j] = len(chosen)
        if not len(chosen):
            distance = math.inf
            continue
        outputs[chosen] += a[j] * beta[j] / (np.abs(b[chosen]) * len(chosen))
        apart = np.linalg.norm(rho[chosen, None] * units[chosen] - D[j], axis=1)
        distance += abs(a[j]) * float(np.mean(apart))
    allowed = float(np.sum(np.abs(a))) * (math.sqrt(2 * gamma) + tolerance)
    return Realisation(
        relu_network(outputs, W, b),
        hits,
        allowed if np.all(hits) else math.inf,
        float(distance),
        float(np.linalg.norm(outputs)),
    )


def expected_hits(
    gradient_norms: Float[np.ndarray, " n"],
    *,
    width: int,
    probability: float,
    kink: float,
    bias: float,
    rate: float,
    output_std: float,
    tolerance: float,
) -> float:
    r"""The expected number of stand-ins for one neuron, after the first step of Algorithm 1.

    .. math:: E|\Lambda_j| = \tfrac12\, \text{width}\; p\;
              P\big(\big| |a| |G|\, \eta |l'(0)|\, \beta_j / b - 1\big| \le e\big),
              \qquad a \sim N(0, \sigma_a^2)

    Derived here: after the step ``|w| = eta |l'(0)| |a| |G|``, so it is the random output weights
    that supply the kinks; half of the neurons have the sign of a that points along ``D_j``.

    Parameters
    ----------
    gradient_norms
        Lengths of gradients in the cone, over whose law the probability is averaged.
    width
        Number of neurons, ``4 m``, half of them with each sign of the bias.
    probability
        The p of the feature with its sign: that a neuron with a random one of the two signs has
        its gradient in the two-sided cone and the right sign.
    kink
        The ``beta_j``.
    bias
        The common size b of the biases.
    rate
        The first step's ``eta |l'(0)|``.
    output_std
        The ``sigma_a``.
    tolerance
        The e.

    Raises
    ------
    ValueError
        If a number is not positive, or the probability above 1.

    Examples
    --------
    >>> options = dict(width=800, probability=0.5, kink=1.0, bias=1.0, rate=1.0, tolerance=0.1)
    >>> round(expected_hits(np.ones(1), output_std=1.0, **options), 1)  # 200 P(.9 <= |a| <= 1.1)
    19.4
    """
    norms = np.asarray(gradient_norms, np.float64)
    sizes = (width, kink, bias, rate, output_std, tolerance)
    if not all(0 < size < math.inf for size in sizes) or not 0 <= probability <= 1:
        message = "Expected positive sizes and a probability. "
        message += f"Received: {', '.join(map(str, sizes))} and {probability!r}."
        raise ValueError(message)
    if norms.ndim != 1 or not len(norms) or not np.all(norms > 0):
        message = "Expected lengths of gradients, positive. Received: "
        message += "none." if not norms.size else "others; leave the neurons that are 0 out."
        raise ValueError(message)
    centre = bias / (norms * rate * kink * output_std)
    lowest = max(1 - tolerance, 0.0)  # a size |a| is not negative
    window = 2 * (ndtr((1 + tolerance) * centre) - ndtr(lowest * centre))
    return float(width * probability / 2 * np.mean(window))


def _unit_neurons(network: TwoLayerNetwork) -> tuple[np.ndarray, ...]:
    """Output weights, unit directions, signs and sizes of the biases."""
    W = np.asarray(network.W, np.float64)
    lengths = np.linalg.norm(W, axis=1)
    b = np.zeros(len(W)) if network.b is None else -np.asarray(network.b, np.float64)
    if not np.all(lengths > 0) or not np.all(b != 0):
        message = "Expected an induced network: neurons with a weight and a bias, none of them 0. "
        message += "Received: others."
        raise ValueError(message)
    a = float(network.scale) * np.asarray(network.a, np.float64) * lengths
    return a, W / lengths[:, None], np.sign(b), np.abs(b) / lengths
