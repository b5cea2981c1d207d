"""How far the gradient of n samples points away from that of the law they are from."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

REFERENCE = "derived here, from the noise E[y^2 |x|^2 1(w.x > b)] - |G|^2 of a single sample"


def expected_cosine(
    norm: Float[np.ndarray, "..."] | float,
    noise: Float[np.ndarray, "..."] | float,
    num_samples: Float[np.ndarray, "..."] | float,
) -> Float[np.ndarray, "..."]:
    r"""The cosine between the gradient of n samples and that of their law.

    .. math:: \cos(\hat G, G) \approx \Big(1 + \frac{\text{noise}}{n |G|^2}\Big)^{-1/2}, \qquad
              \text{noise} = \operatorname{Tr} \operatorname{Cov}(y\, x\, 1(w \cdot x > b))

    Derived here. The noise is taken orthogonal to G and of its expected length: right up to a
    relative order of one over the effective dimension of the inputs, wrong in few dimensions.

    Parameters
    ----------
    norm
        The length of G.
    noise
        As `Gradients.noise` has it; about ``d q v`` for d coordinates of variance v, of which
        the neuron sees the share q.
    num_samples
        The number n.

    Raises
    ------
    ValueError
        If a length, a noise or a number of samples is not positive (a noise may be 0).

    Examples
    --------
    >>> round(float(expected_cosine(0.0798, 50.5, 20_000)), 3)
    0.846
    """
    norm, noise, num_samples = (np.asarray(v, np.float64) for v in (norm, noise, num_samples))
    if not (np.all(norm > 0) and np.all(noise >= 0) and np.all(num_samples > 0)):
        message = "Expected gradients that are not 0, noise of at least 0 and at least one sample. "
        message += f"Received: lengths from {np.min(norm):g}, noise from {np.min(noise):g}, "
        message += f"samples from {np.min(num_samples):g}."
        raise ValueError(message)
    return 1 / np.sqrt(1 + noise / (num_samples * norm**2))


def samples_for_cosine(cosine: float, *, norm: float, noise: float) -> float:
    r"""The number of samples at which that cosine is expected, `expected_cosine` inverted.

    .. math:: n = \frac{\text{noise}}{|G|^2}\, \frac{\cos^2}{1 - \cos^2}

    With ``cosine = 1 - gamma`` and ``norm = B_G``: the samples that keep gradients of that length
    inside a cone, about ``noise / (2 gamma B_G^2)``.

    Raises
    ------
    ValueError
        If the cosine is not inside (0, 1), or the length or the noise is not positive.

    Examples
    --------
    >>> round(samples_for_cosine(0.95, norm=0.1, noise=50.0))
    46282
    """
    if not 0 < cosine < 1:
        message = f"Expected a cosine between 0 and 1. Received: {cosine!r}."
        raise ValueError(message)
    if not (0 < norm < math.inf and 0 < noise < math.inf):
        message = "Expected a positive length of the gradient and a positive noise. "
        message += f"Received: {norm!r} and {noise!r}."
        raise ValueError(message)
    return noise / norm**2 * cosine**2 / (1 - cosine**2)
