"""How far particles are from a proximal Gibbs law, by its score alone."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.free_energy import FreeEnergy, Particles
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs
from twolayer.theory.langevin.score import decays, points, score

_PAIRS = 2**21  # of particles, held in memory at a time
_RESAMPLES = 400  # of the wild bootstrap; p-values are multiples of 1 / 401


@dataclass(frozen=True)
class SteinDiscrepancy:
    """A squared kernel Stein discrepancy.

    Attributes
    ----------
    squared
        Its unbiased estimate, which may be negative where the truth is near 0.
    null_deviation
        How much the estimate would scatter about 0 if the particles had the law.
    p_value
        How often it would then come out as large: small where they don't have it.
    """

    squared: float
    null_deviation: float
    p_value: float


def stein_discrepancy(
    gibbs: ProximalGibbs, particles: Particles, *, key: PRNGKeyArray
) -> SteinDiscrepancy:
    r"""The squared kernel Stein discrepancy between particles and a proximal Gibbs law.

    .. math::
        \frac{1}{N(N-1)} \sum_{i \neq j} s_i \cdot s_j\, k + s_i \cdot \nabla_j k
            + s_j \cdot \nabla_i k + \mathrm{tr} \nabla_i \nabla_j k, \qquad
        k(z, z') = (1 + |z - z'|^2)^{-1/2}, \quad s = \nabla \log \pi_r

    (liu2016kernelized, with the kernel of gorham2017measuring). It needs neither a density of the
    particles nor a normalisation of the law, in any dimension. Coordinates are measured in units
    of the reference law's standard deviations ``sqrt(tau / la)`` and ``sqrt(tau / lw)``: our
    choice, as are the kernel's scale 1 and exponent -1/2.

    With the law ``pi_mu`` of the particles themselves it vanishes in the limit if and only if mu
    is optimal; it is no bound of ``J(mu) - J*``. The scatter under the null hypothesis is that of
    a wild bootstrap (random signs in front of the particles), which takes them as independent and
    the law as given. For the law of the same N particles the score is off by ``O(N^-1/2)``, and
    the estimate by about its scatter (.8 +- .3 of it at an optimum where we measured it). Pairs
    are streamed: time N^2, memory N.

    Parameters
    ----------
    gibbs
        The law; for the particles' own see `proximal_gibbs`, for one with less noise take the
        slopes averaged along a run.
    particles
        The particles.
    key
        Decides the signs.

    Raises
    ------
    ValueError
        If there are fewer than two particles.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[0.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> gibbs = ProximalGibbs(problem, np.array([1.0]))  # the reference law: tanh(0) is 0
    >>> particles = problem.reference(500, key=jax.random.key(0))
    >>> far = Particles(particles.a + 1, particles.W)
    >>> found = [stein_discrepancy(gibbs, p, key=jax.random.key(1)) for p in (particles, far)]
    >>> found[0].p_value > 0.05, found[1].p_value < 0.01
    (True, True)
    """
    N = particles.W.shape[0]
    if N < 2:
        message = f"Expected at least two particles. Received: {N}."
        raise ValueError(message)
    unit = _units(gibbs.problem)
    z, s = points(gibbs.problem, particles) / unit, score(gibbs, particles) * unit
    signs = np.asarray(jax.random.rademacher(key, (N, _RESAMPLES)), np.float64)
    total, resampled = 0.0, np.zeros(_RESAMPLES)
    chunk = max(1, _PAIRS // N)
    for start in range(0, N, chunk):
        rows = slice(start, start + chunk)
        kernel = stein_kernel(z[rows], s[rows], z, s)
        kernel[np.arange(len(kernel)), start + np.arange(len(kernel))] = 0
        total += kernel.sum()
        resampled += np.einsum("ib,ib->b", signs[rows], kernel @ signs)
    pairs = N * (N - 1)
    observed = total / pairs
    p_value = (1 + np.sum(resampled / pairs >= observed)) / (1 + _RESAMPLES)
    return SteinDiscrepancy(observed, float(np.std(resampled / pairs)), float(p_value))


def stein_kernel(
    z: Float[np.ndarray, "m q"],
    s: Float[np.ndarray, "m q"],
    z2: Float[np.ndarray, "N q"],
    s2: Float[np.ndarray, "N q"],
) -> Float[np.ndarray, "m N"]:
    r"""The Stein kernel of ``k = (1 + r^2)^{-1/2}`` at points z, z' with scores s, s'.

    With ``D = 1 + |z - z'|^2`` and q coordinates it is

    .. math:: D^{-1/2} s \cdot s' + D^{-3/2} ((s - s') \cdot (z - z') + q) - 3 D^{-5/2} (D - 1).

    Examples
    --------
    >>> stein_kernel(np.zeros((1, 2)), np.ones((1, 2)), np.zeros((1, 2)), np.ones((1, 2)))
    array([[4.]])
    """
    centre = z2.mean(axis=0)  # distances cancel less about it
    z, z2 = z - centre, z2 - centre
    squares = np.sum(z**2, axis=1)[:, None] + np.sum(z2**2, axis=1) - 2 * z @ z2.T
    squares = np.maximum(squares, 0)
    inverse = 1 / (1 + squares)
    along = np.sum(s * z, axis=1)[:, None] + np.sum(s2 * z2, axis=1) - s @ z2.T - z @ s2.T
    bracket = along + z.shape[1] - 3 * squares * inverse
    return np.sqrt(inverse) * (s @ s2.T + inverse * bracket)


def _units(problem: FreeEnergy) -> Float[np.ndarray, " q"]:
    """Standard deviations of the reference law."""
    return np.sqrt(float(problem.temperature) / decays(problem))
