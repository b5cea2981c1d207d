"""The free energy of a law of neurons from particles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.free_energy import FreeEnergy, Particles
from twolayer.numerics.entropy import (
    kernel_density_surprisals,
    mixture_log_density,
    nearest_neighbour_surprisals,
)
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.numerics.precision import in_float64
from twolayer.outcomes import Kind
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, labels, loss_slopes
from twolayer.theory.langevin.score import data_force, decays, mean_outputs, points, pull

Estimator = Literal["nearest_neighbours", "kernel_density"]

_ENTRIES = 2**21  # of the table particles x samples x nodes held in memory
_NODES = np.arange(-32, 33) / 4  # of the trapezoidal rule for the mean of a feature


@dataclass(frozen=True)
class FreeEnergyEstimate:
    """A sampled free energy ``J = R + tau KL(mu | gamma)``.

    Attributes
    ----------
    value, error
        J and its standard error.
    risk, divergence
        ``R`` and ``KL(mu | gamma)``.
    kind
        ``"upper"``: it estimates, without bias, the free energy of a law with a density, which
        bounds the optimum from above. ``"asymptotic"``: it is right for many particles.
    """

    value: float
    error: float
    risk: float
    divergence: float
    kind: Kind


def free_energy_estimate(
    problem: FreeEnergy,
    particles: Particles,
    estimator: Estimator = "nearest_neighbours",
    *,
    num_neighbours: int = 1,
) -> FreeEnergyEstimate:
    r"""The free energy of the law that particles were drawn from.

    .. math:: \hat J = R(\mu_N) + \tau (-\hat H + \log Z_\gamma)
                  + \tfrac1N \sum_j \tfrac{\lambda_a}2 |a_j|^2 + \tfrac{\lambda_w}2 |w_j|^2

    with one of the entropy estimates ``H`` of `twolayer.numerics.entropy`; their bias, which
    `error` leaves out, enters times tau and makes the result worthless beyond five coordinates
    or so. The risk of N independent particles is high by ``mean_i Var(a s(w . x_i)) / 2N`` for the
    square loss. Derived here; the error is that of the mean over particles of
    ``u . g(w) - tau log gamma`` and minus tau the estimated surprisals, as if independent.

    Parameters
    ----------
    problem
        The free energy.
    particles
        The sample.
    estimator
        ``"nearest_neighbours"`` or ``"kernel_density"``.
    num_neighbours
        For the former.

    Raises
    ------
    ValueError
        If the estimator is unknown, or particles don't fit.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[0.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> particles = problem.reference(4000, key=jax.random.key(0))
    >>> estimate = free_energy_estimate(problem, particles)  # of the reference law: J = R = 1/2
    >>> bool(abs(estimate.value - 0.5) < 4 * estimate.error), estimate.error < 0.003
    (True, True)
    """
    if estimator not in {"nearest_neighbours", "kernel_density"}:
        message = "Expected the estimator 'nearest_neighbours' or 'kernel_density'. "
        message += f"Received: {estimator!r}."
        raise ValueError(message)
    theta, tau = points(problem, particles), float(problem.temperature)
    if estimator == "nearest_neighbours":
        surprisals = nearest_neighbour_surprisals(theta, num_neighbours)
    else:
        surprisals = kernel_density_surprisals(theta)
    f = mean_outputs(problem, particles)
    gibbs = ProximalGibbs(problem, loss_slopes(problem, f))
    log_ratio = -surprisals - _log_reference(problem, theta)
    error = mean_and_error(pull(gibbs, particles) + tau * log_ratio).error
    divergence = float(np.mean(log_ratio))
    risk = _risk(problem, f)
    return FreeEnergyEstimate(risk + tau * divergence, float(error), risk, divergence, "asymptotic")


def one_step_free_energy(
    problem: FreeEnergy,
    particles: Particles,
    *,
    step: float,
    num_samples: int | None = None,
    key: PRNGKeyArray,
) -> FreeEnergyEstimate:
    r"""The free energy of the law after one more step, which is a mixture of Gaussians.

    .. math::
        \nu = \frac1N \sum_j N\Bigl(e^{-\lambda h} \theta_j
            - \tfrac{1 - e^{-\lambda h}}{\lambda} \nabla U(\theta_j),\;
            \tfrac\tau\lambda (1 - e^{-2 \lambda h}) I\Bigr), \qquad h = \mathrm{step},

    the law of a particle that follows its Langevin equation for a time h with the gradient of
    ``U = u . g(w)`` frozen and weight decay exact, with lambda that of each coordinate (derived
    here). Its density is explicit, its risk a one-dimensional quadrature, and ``J(nu) >= J*``
    whatever the particles are: `value` is unbiased for J(nu) up to the quadrature (an error of
    1e-6 where a neuron's input has standard deviation 3, far less below), so that value + 2 error
    bounds the optimum with a confidence of 97 %. The bound is loose for small steps, where the
    Gaussians don't overlap, the more so the more parameters a neuron has, and for large ones,
    where frozen gradients mislead: try several.

    Parameters
    ----------
    problem
        The free energy.
    particles
        Where the step starts.
    step
        Its length h.
    num_samples
        Samples of the mixture for its entropy, rounded up to a multiple of the particles; by
        default as many as particles.
    key
        Decides the samples.

    Raises
    ------
    ValueError
        If the step is not positive, there are fewer than two samples, particles don't fit, or the
        activation is not smooth.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[0.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> particles = problem.reference(500, key=jax.random.key(0))
    >>> estimate = one_step_free_energy(problem, particles, step=9.0, key=jax.random.key(1))
    >>> bool(0.5 - 4 * estimate.error < estimate.value < 0.52)
    True
    """
    if not 0 < step < math.inf:
        message = f"Expected a positive step. Received: {step!r}."
        raise ValueError(message)
    theta = points(problem, particles)
    N, q = theta.shape
    draws = 1 if num_samples is None else -(-num_samples // N)
    if isinstance(num_samples, bool) or draws * N < 2:
        message = f"Expected at least two samples. Received: {num_samples!r}."
        raise ValueError(message)
    if not problem.activation.facts.smooth:
        message = "Expected a smooth activation, whose means are quadratures. "
        message += f"Received: {problem.activation.facts.name}."
        raise ValueError(message)
    gibbs = ProximalGibbs(problem, loss_slopes(problem, mean_outputs(problem, particles)))
    rate, tau = decays(problem), float(problem.temperature)
    lost = -np.expm1(-rate * step)
    centres = (1 - lost) * theta - lost / rate * data_force(gibbs, particles)
    deviations = np.sqrt(-tau / rate * np.expm1(-2 * rate * step))
    with jax.enable_x64(True):
        noise = np.asarray(jax.random.normal(key, (draws, N, q), jnp.float64))
    samples = (centres + deviations * noise).reshape(-1, q)
    log_ratio = mixture_log_density(samples, centres, deviations) - _log_reference(problem, samples)
    risk = _risk(problem, _mixture_outputs(problem, centres, deviations))
    divergence = float(np.mean(log_ratio))
    # As if components were drawn at random; drawing each equally often only lowers the error.
    error = tau * float(mean_and_error(log_ratio).error)
    return FreeEnergyEstimate(risk + tau * divergence, error, risk, divergence, "upper")


def _log_reference(problem: FreeEnergy, theta: Float[np.ndarray, "m q"]) -> Float[np.ndarray, " m"]:
    """The log-density of the reference law."""
    stiffness = decays(problem) / float(problem.temperature)
    return np.sum(np.log(stiffness / (2 * math.pi))) / 2 - theta**2 @ stiffness / 2


def _mixture_outputs(
    problem: FreeEnergy, centres: Float[np.ndarray, "N q"], deviations: Float[np.ndarray, " q"]
) -> Float[np.ndarray, "n k"]:
    """``E u s(w . x_i)`` of the mixture: in each component u and w are independent."""
    k, x = problem.num_outputs, np.asarray(problem.x, dtype=np.float64)
    w, spread = centres[:, -problem.dim :], deviations[-1] * np.linalg.norm(x, axis=1)
    u = _mean_output_weights(problem, centres, deviations)
    weights = _normal_weights()
    total = np.zeros((len(x), k))
    chunk = max(1, _ENTRIES // (len(x) * len(weights)))
    for start in range(0, len(w), chunk):
        z = (w[start : start + chunk] @ x.T)[..., None] + spread[:, None] * _NODES
        total += (_values(problem, z) @ weights).T @ u[start : start + chunk]
    return total / len(w)


def _mean_output_weights(
    problem: FreeEnergy, centres: Float[np.ndarray, "N q"], deviations: Float[np.ndarray, " q"]
) -> Float[np.ndarray, "N k"]:
    """``E u`` of each component."""
    k, bound = problem.num_outputs, float(problem.bound)
    if problem.output == "fixed":
        return np.full((len(centres), k), bound)
    a = centres[:, :k]
    if problem.output == "free":
        return a
    return bound * np.tanh(a[..., None] + deviations[0] * _NODES) @ _normal_weights()


def _normal_weights() -> Float[np.ndarray, " t"]:
    """Of the trapezoidal rule for ``E g(G)``: its error is exponentially small for analytic g."""
    weights = np.exp(-(_NODES**2) / 2)
    return weights / weights.sum()


@in_float64
def _values(problem: FreeEnergy, z: np.ndarray) -> np.ndarray:
    return np.asarray(problem.activation(jnp.asarray(z)))


@in_float64
def _risk(problem: FreeEnergy, f: Float[np.ndarray, "n k"]) -> float:
    """The mean loss of given outputs."""
    return float(jnp.sum(problem.loss(jnp.asarray(f), labels(problem)))) / problem.num_samples
