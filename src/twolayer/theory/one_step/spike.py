r"""The first gradient as a spike plus a bulk."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.precision import in_float64
from twolayer.outcomes import Assumption
from twolayer.theory.one_step.errors import number
from twolayer.theory.one_step.regimes import check_share


@dataclass(frozen=True)
class GradientSpike:
    """``G = u v^T + Delta``.

    Attributes
    ----------
    left
        ``u``, an entry a neuron.
    right
        ``v``, an entry a coordinate of the input.
    bulk
        ``Delta``.
    spike_norm, bulk_norm
        The operator norms ``|u| |v|`` and ``|Delta|``.
    left_alignment, right_alignment
        Squared cosines of u and v with the leading singular vectors of G.
    """

    left: Float[np.ndarray, " k"]
    right: Float[np.ndarray, " d"]
    bulk: Float[np.ndarray, "k d"]
    spike_norm: float
    bulk_norm: float
    left_alignment: float
    right_alignment: float


@dataclass(frozen=True)
class NormExponents:
    """How the two operator norms scale with the width at most.

    Attributes
    ----------
    spike, bulk
        ``|u v^T| = O(k^spike)`` and ``|Delta| = O(k^bulk)`` up to logarithms.
    assumptions
        Where they say something, with its margin.
    reference
        Bib key and lemma.
    """

    spike: float
    bulk: float
    assumptions: tuple[Assumption, ...]
    reference: str


def gradient_spike(
    gradient: ArrayLike,
    network: TwoLayerNetwork,
    x: ArrayLike,
    y: ArrayLike,
    *,
    bulk_std: float = 1.0,
) -> GradientSpike:
    r"""The rank-one part of minus the first layer's gradient, and what it leaves.

    .. math:: u = E[s'(b z)]\, a, \qquad
              v = \frac{scale}{m} X^\top (y - f_0), \qquad f_0 = scale \sum_i a_i\, E s(b z)

    demir2025asymptotic, Lemma 1, where the read-out is random and f_0 is of order 1/sqrt(k). With
    a constant read-out f_0 is of order one and belongs to v (derived here).

    Parameters
    ----------
    gradient
        ``(1/m) [scale a (y - f)^T o s'(W X^T)] X``: minus the gradient of half the mean square.
    network
        The network before the step.
    x, y
        The samples of the step, one a row.
    bulk_std
        ``b``, the standard deviation of a neuron's input outside the data's spikes.

    Raises
    ------
    ValueError
        If the shapes do not fit together, a number is not finite, or the network has biases.

    Examples
    --------
    >>> from twolayer.activations import activation_of
    >>> network = TwoLayerNetwork(jnp.ones(2), jnp.zeros((2, 3)), None, activation_of("x"), 0.5)
    >>> found = gradient_spike(np.full((2, 3), 0.5), network, np.ones((4, 3)), np.ones(4))
    >>> found.left.tolist(), found.right.tolist(), found.bulk_norm
    ([1.0, 1.0], [0.5, 0.5, 0.5], 0.0)
    """
    G, inputs, labels = (np.asarray(part, dtype=np.float64) for part in (gradient, x, y))
    shape = (network.width, network.dim)
    fits = G.shape == shape and inputs.shape == (labels.size, shape[1]) and labels.ndim == 1
    if not (fits and labels.size and all(np.all(np.isfinite(p)) for p in (G, inputs, labels))):
        message = f"Expected a finite gradient of shape {shape} and samples with a label each. "
        message += f"Received: shapes {G.shape}, {inputs.shape} and {labels.shape}."
        raise ValueError(message)
    if network.b is not None:
        message = "Expected a network without biases. Received: one with biases, whose neurons "
        message += "have no common mean slope."
        raise ValueError(message)
    mean, slope = _moments(network, number("bulk_std", bulk_std, above=0.0))
    a, scale = np.asarray(network.a, dtype=np.float64), float(network.scale)
    left = slope * a
    right = scale * inputs.T @ (labels - scale * a.sum() * mean) / labels.size
    bulk = G - np.outer(left, right)
    vectors, _, covectors = np.linalg.svd(G, full_matrices=False)
    return GradientSpike(
        left,
        right,
        bulk,
        float(np.linalg.norm(left) * np.linalg.norm(right)),
        float(np.linalg.norm(bulk, 2)),
        _squared_cosine(left, vectors[:, 0]),
        _squared_cosine(right, covectors[0]),
    )


def norm_exponents(alpha: float, beta: float) -> NormExponents:
    r"""``|u v^T| = O(k^{-t/2})`` and ``|Delta| = O(k^{-t})``, ``t = 1 - beta (1 - alpha)``.

    demir2025asymptotic, Lemma 1, up to logarithms, with dim, samples and width in proportion.
    Bounds from above: what is measured falls faster where the labels do not see the spikes.

    Examples
    --------
    >>> exponents = norm_exponents(0.5, 0.74)
    >>> round(exponents.spike, 4), round(exponents.bulk, 4)
    (-0.315, -0.63)
    """
    t = 1 - check_share("beta", beta) * (1 - check_share("alpha", alpha))
    return NormExponents(
        -t / 2,
        -t,
        (
            Assumption(
                "the spike outgrows the bulk",
                t > 0,
                t / 2,
                "margin: difference of the exponents; at 0 the lemma does not tell them apart",
            ),
            Assumption(
                "activation with bounded derivatives, random read-out, centred components",
                None,
                detail="asked for by the lemma",
            ),
        ),
        "demir2025asymptotic, Lemma 1",
    )


@in_float64
def _moments(network: TwoLayerNetwork, bulk_std: float) -> tuple[float, float]:
    """``E s(b z)`` and ``E s'(b z)``."""
    variance = jnp.asarray(bulk_std**2)
    mean, slope = np.asarray(network.activation.derivatives(1, variance), dtype=np.float64)
    return float(mean), float(slope)


def _squared_cosine(first: np.ndarray, second: np.ndarray) -> float:
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float((first @ second / lengths) ** 2) if lengths else 0.0
