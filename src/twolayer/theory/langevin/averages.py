"""Averages under a proximal Gibbs law, given nodes for the input weights."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy
from twolayer.numerics.precision import in_float64
from twolayer.theory.langevin.output_weights import OutputMoments
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, labels
from twolayer.theory.langevin.quadrature import InputNodes


@dataclass(frozen=True)
class GibbsAverages:
    r"""Averages under ``pi_r`` of a neuron's contribution ``phi_i = u s(w . x_i)`` and others.

    Attributes
    ----------
    log_partition
        ``log E_gamma exp(-u . g(w) / tau)``, of the law against the reference gamma.
    outputs
        ``f_i = E phi_i``, one row a sample.
    mean_square_output, mean_square_input
        ``E |a|^2`` and ``E |w|^2``.
    covariance
        ``Cov(phi_i, phi_j)``, outputs of one sample next to each other; ``None`` if not asked for.
    """

    log_partition: float
    outputs: Float[np.ndarray, "n k"]
    mean_square_output: float
    mean_square_input: float
    covariance: Float[np.ndarray, "nk nk"] | None = None


def gibbs_averages(
    gibbs: ProximalGibbs, nodes: InputNodes, *, covariance: bool = False
) -> GibbsAverages:
    r"""The averages, the output weights integrated out exactly.

    .. math:: f_i = E[m(w) s_i], \quad
              Cov(\phi_i, \phi_j) = E[(v(w) + m(w) m(w)^T) s_i s_j] - f_i f_j^T

    with ``s_i = s(w . x_i)``, m and v the mean and variance of the output weight given w
    (``-g / la`` and ``tau / la`` if it is free). Derived here.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> from twolayer.theory.langevin.quadrature import input_nodes, reach_of
    >>> gibbs = ProximalGibbs(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1), np.zeros(1))
    >>> averages = gibbs_averages(gibbs, input_nodes(gibbs.problem, reach_of(gibbs), 2))
    >>> round(averages.mean_square_input, 12)  # tau / lw
    0.2
    """
    s = nodes.features
    g = s @ gibbs.slopes / gibbs.problem.num_samples
    output = gibbs.output.moments(g)
    log_density = nodes.log_weights + output.log_tilt.sum(axis=1)
    density = np.exp(log_density - log_density.max())
    total = density.sum()
    log_partition = float(log_density.max() + np.log(total))
    density /= total
    f = s.T @ (density[:, None] * output.mean)
    return GibbsAverages(
        log_partition,
        f,
        float(density @ output.second_moment.sum(axis=1)),
        float(density @ np.sum(nodes.w**2, axis=1)),
        _covariance(s, density, output, f) if covariance else None,
    )


def _covariance(
    s: np.ndarray, density: np.ndarray, output: OutputMoments, f: np.ndarray
) -> Float[np.ndarray, "nk nk"]:
    n, k = f.shape
    mean, variance = output.mean, output.variance
    blocks = np.empty((n, k, n, k))
    for c in range(k):
        for d in range(c + 1):
            moment = mean[:, c] * mean[:, d] + (variance[:, c] if c == d else 0.0)
            block = s.T @ ((density * moment)[:, None] * s) - np.outer(f[:, c], f[:, d])
            blocks[:, c, :, d], blocks[:, d, :, c] = block, block.T
    return blocks.reshape(n * k, n * k)


@in_float64
def mean_loss(problem: FreeEnergy, f: Float[np.ndarray, "n k"]) -> float:
    """The risk of these outputs."""
    values = np.asarray(problem.loss(jnp.asarray(f), labels(problem)))
    return float(values.sum()) / problem.num_samples


@in_float64
def mean_conjugate(problem: FreeEnergy, slopes: Float[np.ndarray, "n k"]) -> float:
    """``(1 / n) sum_i l*(r_i)``; infinite if one slope does not occur."""
    values = np.asarray(problem.loss.conjugate(jnp.asarray(slopes), labels(problem)))
    return float(values.sum()) / problem.num_samples


@in_float64
def curvatures(problem: FreeEnergy, f: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """``l''(f_i, y_i)``."""
    return np.asarray(problem.loss.curvature(jnp.asarray(f), labels(problem)))


def fenchel_gap(
    problem: FreeEnergy, slopes: Float[np.ndarray, "n k"], f: Float[np.ndarray, "n k"]
) -> float:
    """``(1 / n) sum_i (l(f_i) + l*(r_i) - r_i f_i)``, which is at least 0.

    For the square loss ``(1 / 2n) sum_i (f_i - y_i - r_i)^2``. With the outputs of ``pi_r`` it is
    ``J(pi_r) - D(r)``: the partition function drops out (derived here).
    """
    r = np.asarray(slopes, dtype=np.float64)
    tied = float(np.sum(r * f)) / problem.num_samples
    return max(0.0, mean_loss(problem, f) + mean_conjugate(problem, r) - tied)
