"""Networks of gradient features written down by hand, and bounds of OPT that they give."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from twolayer.inputs import GaussianMixture
from twolayer.networks import TwoLayerNetwork
from twolayer.tasks import Classification
from twolayer.theory.gradient_features.induced_networks import relu_network


def parity_network(features: Float[np.ndarray, "r d"], block_size: int) -> TwoLayerNetwork:
    r"""A network that computes the parities of r blocks of k units from their sums alone.

    .. math:: f(x) = \sum_j \sum_{v = -k, -k+2, \dots, k} (-1)^{(k - v)/2}\,
              \mathrm{tri}(2 (\sqrt k \langle D_j, x\rangle - v))

    with ``tri(t) = relu(t + 1) - 2 relu(t) + relu(t - 1)``: 3 r (k + 1) neurons of unit
    directions, ``|a| <= 4 sqrt(k)``, biases from ``1 / (2 sqrt(k))`` (k odd) to
    ``(k + 1/2) / sqrt(k)``, both signs. Its hinge loss on structured parities is 0 (derived here;
    shi2022theoretical, Lemma 4, has 3 (k + 1) truncated units for one block).

    Parameters
    ----------
    features
        The unit vectors ``D_j = sum_{l in A_j} M_l / sqrt(k)``, one a row.
    block_size
        The number k of units in a block. Where it is even one bias is 0.

    Raises
    ------
    ValueError
        If the features are no unit vectors, or the size is not positive.

    Examples
    --------
    >>> from twolayer.theory.gradient_features.induced_networks import values
    >>> network = parity_network(np.ones((1, 3)) / np.sqrt(3), 3)
    >>> values(network, np.asarray([[1.0, 1, 1], [1, -1, 1], [0, 0, 0]])).round(6).tolist()
    [1.0, -1.0, 0.0]
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or np.max(np.abs(np.linalg.norm(features, axis=1) - 1)) > 1e-4:
        message = "Expected unit vectors, one a row. Received: "
        message += f"{'others' if features.ndim == 2 else f'shape {features.shape}'}."
        raise ValueError(message)
    if isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1:
        message = f"Expected a block of at least one unit. Received: {block_size!r}."
        raise ValueError(message)
    k, root = block_size, math.sqrt(block_size)
    v = np.arange(-k, k + 1, 2)
    chi = 1 - (k - v) % 4  # (-1)^((k - v) / 2), as k - v is even
    a = 2 * root * np.multiply.outer(chi, [1.0, -2.0, 1.0]).reshape(-1)
    b = np.add.outer(v, [-0.5, 0.0, 0.5]).reshape(-1) / root
    r = len(features)
    return relu_network(np.tile(a, r), np.repeat(features, len(b), axis=0), np.tile(b, r))


def mixture_network(task: Classification) -> TwoLayerNetwork:
    """One neuron a cluster: ``f(x) = sum_j y_j (4 / |mu_j|) relu(<D_j, x> - |mu_j| / 2)``.

    With ``D_j = mu_j / |mu_j|``: at the mean of cluster j it is 2 y_j, and away from the clusters
    0 (derived here).

    Raises
    ------
    ValueError
        If a mean is 0, or labels other than 1 and -1.

    Examples
    --------
    >>> from twolayer.tasks import xor_mixture
    >>> from twolayer.theory.gradient_features.induced_networks import values
    >>> network = mixture_network(xor_mixture(np.asarray([3.0, 0.0]), np.asarray([0.0, 3.0])))
    >>> values(network, np.asarray([[0.0, -3.0]])).round(6).tolist()
    [-2.0]
    """
    means, labels, _ = _clusters(task)
    lengths = np.linalg.norm(means, axis=1)
    return relu_network(4 * labels / lengths, means / lengths[:, None], lengths / 2)


def mixture_hinge_bound(task: Classification) -> float:
    r"""An upper bound of the hinge loss of `mixture_network`, hence of OPT.

    .. math:: \mathrm{OPT} \le \sum_j p_j \Big[ \frac{4 \sigma_{jj}}{|\mu_j|}
              L\Big(\frac{|\mu_j|}{4 \sigma_{jj}}\Big) + \sum_{i : y_i \ne y_j}
              \frac{4 \sigma_{ij}}{|\mu_i|} L\Big(\frac{|\mu_i| / 2 - \langle D_i, \mu_j\rangle}
              {\sigma_{ij}}\Big) \Big], \qquad L(t) = E (G - t)_+

    with ``sigma_ij^2 = D_i' Sigma_j D_i`` (derived here, from ``(1 - u - v)_+ <= (1 - u)_+ + |v|``
    and ``(1 - u - v)_+ <= (1 - u)_+`` for v of the right sign). For r orthogonal means of length
    mu it is at most ``(4 sigma / mu) (L(mu / 4 sigma) + (r - 1) L(mu / 2 sigma))``.

    Raises
    ------
    ValueError
        As for `mixture_network`.

    Examples
    --------
    >>> from twolayer.tasks import xor_mixture
    >>> round(mixture_hinge_bound(xor_mixture(np.asarray([9.0, 0]), np.asarray([0, 9.0]))), 4)
    0.0019
    """
    means, labels, covariances = _clusters(task)
    proportions = np.asarray(task.inputs.proportions, np.float64)
    lengths = np.linalg.norm(means, axis=1)
    D = means / lengths[:, None]
    spread = np.sqrt(np.maximum(np.einsum("id,jde,ie->ij", D, covariances, D), 0.0))
    own = np.diagonal(spread)
    total = proportions @ (4 / lengths * _tail_mean(lengths / 4, own))
    height = lengths[:, None] / 2 - D @ means.T
    wrong = 4 / lengths[:, None] * _tail_mean(height, spread)
    return float(total + np.sum(np.where(labels[:, None] != labels, wrong, 0.0) @ proportions))


def halfspace_network(direction: Float[np.ndarray, " d"], slope: float) -> TwoLayerNetwork:
    """``f(x) = R relu(<u, x>) - R relu(-<u, x>) = R <u, x>`` with u along `direction`, slope R.

    Raises
    ------
    ValueError
        If the direction is 0 or the slope not positive.

    Examples
    --------
    >>> from twolayer.theory.gradient_features.induced_networks import values
    >>> values(halfspace_network(np.asarray([0.0, 2.0]), 3.0), np.asarray([[5.0, -1.0]])).tolist()
    [-3.0]
    """
    direction = np.asarray(direction, np.float64)
    length = float(np.linalg.norm(direction))
    if not 0 < length < math.inf or not 0 < slope < math.inf:
        message = "Expected a direction that is not zero and a positive slope. "
        message += f"Received: length {length:g} and slope {slope!r}."
        raise ValueError(message)
    u = direction / length
    return relu_network(np.asarray([slope, -slope]), np.stack([u, -u]), np.zeros(2))


def halfspace_hinge(slope: float) -> float:
    """``E (1 - R |G|)_+`` for a standard normal G: the hinge loss of `halfspace_network`.

    On ``y = sign <u, x>`` with standard normal x; below ``1 / (R sqrt(2 pi))`` (derived here).

    Raises
    ------
    ValueError
        If the slope is not positive.

    Examples
    --------
    >>> round(halfspace_hinge(10.0), 5), round(0.1 / math.sqrt(2 * math.pi), 5)
    (0.03986, 0.03989)
    """
    if not 0 < slope < math.inf:
        message = f"Expected a positive slope. Received: {slope!r}."
        raise ValueError(message)
    edge = 1 / slope
    density = (1 - math.exp(-(edge**2) / 2)) / math.sqrt(2 * math.pi)
    return float(2 * (ndtr(edge) - 0.5 - slope * density))


def _clusters(task: Classification) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inputs: GaussianMixture = task.inputs
    means, labels = np.asarray(inputs.means, np.float64), np.asarray(task.labels, np.float64)
    if not np.all(np.linalg.norm(means, axis=1) > 0):
        message = "Expected clusters away from the origin. Received: a mean that is 0; it has no "
        message += "direction of its own."
        raise ValueError(message)
    if not np.all(np.abs(labels) == 1):
        message = f"Expected labels 1 and -1. Received: {labels.tolist()}."
        raise ValueError(message)
    return means, labels, np.asarray(inputs.covariances, np.float64)


def _tail_mean(height: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """``E (s G - h)_+ = s (phi(t) - t Q(t))`` with ``t = h / s``; ``(-h)_+`` at s = 0."""
    safe = np.where(spread > 0, spread, 1.0)
    t = height / safe
    tail = safe * (np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) - t * ndtr(-t))
    return np.where(spread > 0, tail, np.maximum(-height, 0.0))
