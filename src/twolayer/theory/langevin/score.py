"""The gradient of a neuron's potential, and particles as points."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy, Particles
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, particle_outputs

_ENTRIES = 2**22  # of the table particles x samples held in memory


def points(problem: FreeEnergy, particles: Particles) -> Float[np.ndarray, "N q"]:
    """The parameters whose law has a density: ``(a, w)``, or w where output weights are fixed.

    Raises
    ------
    ValueError
        If the particles don't fit the problem or aren't finite.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> points(problem, Particles(np.full((2, 1), 3.0), np.full((2, 1), 4.0))).tolist()
    [[3.0, 4.0], [3.0, 4.0]]
    """
    a, w = (np.asarray(leaf, dtype=np.float64) for leaf in (particles.a, particles.W))
    fit = a.ndim == w.ndim == 2 and len(a) == len(w) > 0
    if not fit or w.shape[1] != problem.dim or a.shape[1] != problem.num_outputs:
        message = f"Expected particles with {problem.dim} input and {problem.num_outputs} output "
        message += f"weights. Received: shapes {w.shape} and {a.shape}."
        raise ValueError(message)
    together = w if problem.output == "fixed" else np.hstack([a, w])
    if not np.all(np.isfinite(together)):
        message = "Expected finite particles. Received: NaN or infinity among them."
        raise ValueError(message)
    return together


def decays(problem: FreeEnergy) -> Float[np.ndarray, " q"]:
    """The weight decay of each coordinate of `points`."""
    outputs = 0 if problem.output == "fixed" else problem.num_outputs
    la, lw = float(problem.output_decay), float(problem.input_decay)
    return np.concatenate([np.full(outputs, la), np.full(problem.dim, lw)])


def data_force(gibbs: ProximalGibbs, particles: Particles) -> Float[np.ndarray, "N q"]:
    r"""The gradient of ``u . g(w)`` at each particle: that of the potential without weight decay.

    It is ``(g(w), a dg/dw)`` for a free output weight ``u = a``, ``bound * dg/dw`` for a fixed
    one, and has the factor ``bound (1 - tanh(a)^2)`` in front of g for a clipped one.
    """
    theta, u, slope = _weights(gibbs.problem, particles)
    k, p = slope.shape[1], gibbs.problem.dim
    force = np.empty_like(theta)
    for rows in _chunks(gibbs.problem, len(theta)):
        w = theta[rows, -p:]
        force[rows, -p:] = np.einsum("Nk,Nkp->Np", u[rows], gibbs.jacobian(w))
        if k:
            force[rows, :k] = slope[rows] * gibbs.field(w)
    return force


def pull(gibbs: ProximalGibbs, particles: Particles) -> Float[np.ndarray, " N"]:
    """``u . g(w)`` at each particle: its potential without weight decay."""
    theta, u, _ = _weights(gibbs.problem, particles)
    values = np.empty(len(theta))
    for rows in _chunks(gibbs.problem, len(theta)):
        values[rows] = np.sum(u[rows] * gibbs.field(theta[rows, -gibbs.problem.dim :]), axis=1)
    return values


def _weights(
    problem: FreeEnergy, particles: Particles
) -> tuple[Float[np.ndarray, "N q"], Float[np.ndarray, "N k"], np.ndarray]:
    """Points, output weights u, and du/da (no columns where output weights are fixed)."""
    theta, bound = points(problem, particles), float(problem.bound)
    a = theta[:, : theta.shape[1] - problem.dim]
    if problem.output == "fixed":
        return theta, np.full((len(theta), problem.num_outputs), bound), a
    if problem.output == "clipped":
        return theta, bound * np.tanh(a), bound * (1 - np.tanh(a) ** 2)
    return theta, a, np.ones_like(a)


def _chunks(problem: FreeEnergy, num_particles: int) -> Iterator[slice]:
    size = max(1, _ENTRIES // (problem.num_samples + problem.dim * problem.num_outputs))
    return (slice(start, start + size) for start in range(0, num_particles, size))


def score(gibbs: ProximalGibbs, particles: Particles) -> Float[np.ndarray, "N q"]:
    """``grad log pi_r = -grad V_r / tau`` at each particle, which needs no normalisation."""
    theta = points(gibbs.problem, particles)
    gradient = data_force(gibbs, particles) + decays(gibbs.problem) * theta
    return -gradient / float(gibbs.problem.temperature)


def mean_outputs(problem: FreeEnergy, particles: Particles) -> Float[np.ndarray, "n k"]:
    """The network's outputs, with the memory of some particles at a time."""
    total = np.zeros((problem.num_samples, problem.num_outputs))
    for rows in _chunks(problem, len(particles.W)):
        part = Particles(particles.a[rows], particles.W[rows])
        total += particle_outputs(problem, part) * len(part.W)
    return total / len(particles.W)
