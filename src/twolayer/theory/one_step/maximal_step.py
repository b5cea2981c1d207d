r"""The law of the first layer after one step of the maximal size, neuron by neuron.

With the constant read-out every neuron takes the same spike,

.. math:: w_i = (r + \alpha_i) v + p_i, \qquad p_i \perp v, \qquad |p_i|^2 = c + N_i,

where v is the unit vector along ``X^T (y - f_0)``. The rows p_i are Gaussian given the samples of
the step, and the small ``alpha_i, N_i ~ 1 / sqrt(d)`` are independent from neuron to neuron. As
directions in the space of neurons they count as much as the bulk does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from twolayer.activations import Activation
from twolayer.numerics.precision import in_float64
from twolayer.numerics.quadrature import gauss_hermite
from twolayer.theory.one_step.coefficients import (
    UnitRows,
    bare,
    gaussian_rule,
    hermite_means,
    values_of,
)

_TINY = 1e-30  # imaginary step of exact derivatives


@dataclass(frozen=True)
class Samples:
    """The joint law of what a sample of the step brings, as weighted points.

    Attributes
    ----------
    y
        The residual ``y - f_0``, shape ``[q]``.
    along
        ``E[v . x | .]``, whose deviation has variance ``1 - alignment^2``.
    across
        ``E[z . x | .]`` along the unit vector z of the teacher's part orthogonal to v; its
        deviation has variance ``alignment^2``.
    weights
        Their probabilities.
    """

    y: Float[np.ndarray, " q"]
    along: Float[np.ndarray, " q"]
    across: Float[np.ndarray, " q"]
    weights: Float[np.ndarray, " q"]

    def mean(self, values: np.ndarray) -> Any:
        """Their expectation, complex where the values are."""
        return self.weights @ values


@dataclass(frozen=True)
class StepLaw:
    """The first layer after the step.

    Attributes
    ----------
    spike
        ``r``.
    alignment
        ``gamma = v . xi``.
    initial
        ``b^2``, the variance of a neuron's input from its initial weights.
    gradient
        ``s``, with ``d E p p^T = b^2 + s T`` given the samples, ``T`` the mean of
        ``(y - f_0)^2 x x^T`` over them.
    fluctuations
        ``d`` times the covariance of ``(alpha_i, N_i)``.
    step_ratio
        ``m0 / d``.
    samples
        What T is made of.
    """

    spike: float
    alignment: float
    initial: float
    gradient: float
    fluctuations: Float[np.ndarray, "2 2"]
    step_ratio: float
    samples: Samples

    @property
    def variance(self) -> float:
        """``c``, the mean of ``|p_i|^2``."""
        return self.initial + self.gradient * float(self.samples.mean(self.samples.y**2))


@dataclass(frozen=True)
class Spectrum:
    """Traces of the bulk ``P`` (a neuron's p_i a row) at one tau, k neurons in d dimensions.

    Attributes
    ----------
    trace, trace_drop
        ``Tr (P P^T + tau)^{-1} / k`` and minus its derivative.
    share
        ``1 - tau trace``, without cancellation.
    teacher, teacher_drop
        ``z^T P^T (P P^T + tau)^{-1} P z`` and minus its derivative.
    """

    trace: float
    trace_drop: float
    share: float
    teacher: float
    teacher_drop: float


def step_law(
    activation: str | Activation | UnitRows,
    link: str | Activation,
    *,
    learning_rate: float,
    step_ratio: float,
    noise_std: float = 0.0,
) -> StepLaw:
    r"""The law of the first layer after ``W0 + learning_rate * k * G`` with ``a = 1 / sqrt(k)``.

    With ``q^2 = t_1^2 + E(y - f_0)^2 d / m0``: ``r = learning_rate mu_1 q`` and
    ``gamma = t_1 / q`` as in cui2024asymptotics. Its bulk ``c W0`` is right to leading order in
    ``d / m0``; here the gradient's noise keeps its covariance in input space, and the
    fluctuations of the rows' lengths and of their shares of the spike are followed to first
    order. Derived here, exact in the limit for activations that are odd up to a constant.

    Raises
    ------
    ValueError
        If the activation has no linear part, or nothing is left of the labels to learn.

    Examples
    --------
    >>> law = step_law("tanh", "sin", learning_rate=3.0, step_ratio=20.0)
    >>> round(law.spike, 4), round(law.alignment, 4), round(law.variance, 4)
    (1.1341, 0.9719, 1.019)
    """
    z, weights = gaussian_rule()
    function = bare(activation)
    mean, mu1, second, third = map(float, hermite_means(function, 3))
    slopes = slopes_of(function, z)
    noise = slopes - mu1
    samples, q, alignment = _samples(link, mean, (step_ratio, noise_std))
    if not mu1:
        message = "Expected an activation with a linear part, E z s(z) not 0. Received: "
        message += f"{function.facts.name!r}; no spike of order one forms from its gradient."
        raise ValueError(message)

    def expect(values: np.ndarray) -> float:
        return float(weights @ values)

    y, along = samples.y, samples.along
    power = float(samples.mean(y**2))
    spread = expect(noise**2)
    eta, ratio = learning_rate, step_ratio
    initial = 1 + eta * float(samples.mean(y)) * second
    grown = eta**2 * power / ratio  # times the variance of s': what the gradient's noise adds
    # The length xi_i = |w_i|^2 - 1 of the initial row, its component omega_i along v, and noise.
    spike_by_length = eta * q * third / 2
    spike_by_component = 1 + eta * float(samples.mean(y * (along**2 + 1 - alignment**2))) * second
    length_by_length = initial**2 + grown * (expect((z**2 - 1) * slopes**2) / 2 - mu1 * third)
    length_by_component = 2 * initial * eta * q * third
    spike_noise = (
        eta**2 / ratio * spread * float(samples.mean(y**2 * (along**2 + 1 - alignment**2)))
    )
    both_noise = eta**3 / ratio**2 * float(samples.mean(y**3 * along)) * expect(noise**3)
    length_noise = (
        4 * grown * (expect((z * slopes) ** 2) - second**2 - (mu1 + third) ** 2)
        + eta**4 / ratio**3 * float(samples.mean(y**4)) * (expect(noise**4) - spread**2)
        + 2 * (grown * spread) ** 2
    )
    lengths = 0.0 if isinstance(activation, UnitRows) else 2.0
    by_length = np.array([spike_by_length, length_by_length])
    by_component = np.array([spike_by_component, length_by_component])
    return StepLaw(
        eta * mu1 * q,
        alignment,
        initial**2,
        eta**2 * spread / ratio,
        lengths * np.outer(by_length, by_length)
        + np.outer(by_component, by_component)
        + np.array([[spike_noise, both_noise], [both_noise, length_noise]]),
        ratio,
        samples,
    )


def _samples(
    link: str | Activation, initial_output: float, data: tuple[float, float]
) -> tuple[Samples, float, float]:
    """The law of a sample of the step, ``q`` and the alignment ``t_1 / q``."""
    step_ratio, noise_std = data
    u, weights = gaussian_rule()
    y = values_of(link, u) - initial_output
    if noise_std:
        g, share = gauss_hermite(24)
        y = (y[:, None] + noise_std * g).ravel()
        u, weights = np.repeat(u, g.size), np.outer(weights, share).ravel()
    power, linear = float(weights @ y**2), float(weights @ (u * y))
    if not power > 1e-24:
        message = "Expected labels that differ from the initial output E s(z). Received: a link "
        message += "equal to it, without noise; the gradient vanishes."
        raise ValueError(message)
    q = math.sqrt(linear**2 + power / step_ratio)
    alignment = linear / q
    rest = math.sqrt(power / step_ratio) / q
    # v contains each sample itself, in proportion to its residual: x . v is shifted by that.
    own = y / math.sqrt(step_ratio * power)
    samples = Samples(y, alignment * u + rest * own, rest * u - alignment * own, weights)
    return samples, q, alignment


@in_float64
def slopes_of(activation: Activation, z: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    """The derivative at NumPy points, in double precision.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> slopes_of(relu, np.array([-1.0, 2.0]))
    array([0., 1.])
    """
    points = jnp.asarray(z)
    return np.asarray(jax.jvp(activation, (points,), (jnp.ones_like(points),))[1])


def bulk_spectrum(law: StepLaw, psi: float, tau: float) -> Spectrum:
    r"""Traces of the bulk, whose rows have the covariance ``(b^2 + s T) / d``.

    With ``g = tau Tr (P P^T + tau)^{-1} / k`` and ``kappa = Tr (P^T P + tau)^{-1} / d``

    .. math:: \psi (1 - g) = 1 - \tau \kappa, \qquad
       \frac1\kappa = \tau + \psi g b^2
          + \epsilon\, E \frac{y^2}{1 + y^2 \epsilon \kappa d / m_0}, \quad \epsilon = \psi g s.

    Derived here: the sample covariance of Gaussian rows, of which T itself is one.

    Examples
    --------
    >>> law = step_law("tanh", "sin", learning_rate=0.0, step_ratio=2.0)
    >>> bulk = bulk_spectrum(law, psi=1.0, tau=2.0)  # Marchenko-Pastur: 2 m^2 + 2 m = 1
    >>> round(bulk.trace * (2 * bulk.trace + 2), 10)
    1.0
    """
    # In u = psi g below psi = 1 and u = tau kappa above: either is small where it matters.
    least = max(0.0, 1 - psi)

    def state(u: Any, tau: Any) -> tuple[Any, Any]:
        return (u + least) / tau, (u + least - (1 - psi)) / psi if psi > 1 else u / psi

    def excess(u: Any, tau: Any = tau) -> Any:
        kappa, g = state(u, tau)
        return kappa * _inverse_kappa(law, psi, tau, kappa, g) - 1

    root: Any = brentq(excess, 0.0, min(1.0, psi), xtol=1e-300, rtol=np.float64(1e-15))
    u = float(root)
    step = 1j * _TINY  # f(x + i h) has the imaginary part h f'(x), to rounding
    slope = -np.imag(excess(u, tau + step)) / np.imag(excess(u + step))
    moved, moved_tau = u + step * slope, tau + step
    g, g_moved = state(u, tau)[1], state(moved, moved_tau)[1]
    teacher = _teacher(law, psi, moved_tau, *state(moved, moved_tau))
    return Spectrum(
        float(g / tau),
        float(-np.imag(g_moved / moved_tau) / _TINY),
        float((1 - least - u) / psi),
        float(np.real(teacher)),
        float(-np.imag(teacher) / _TINY),
    )


def _inverse_kappa(law: StepLaw, psi: float, tau: Any, kappa: Any, g: Any) -> Any:
    epsilon = psi * g * law.gradient
    squares = law.samples.y**2
    mean = law.samples.mean(squares / (1 + squares * (epsilon * kappa / law.step_ratio)))
    return tau + psi * g * law.initial + epsilon * mean


def _teacher(law: StepLaw, psi: float, tau: Any, kappa: Any, g: Any) -> Any:
    """``1 - tau z^T (P^T P + tau)^{-1} z``: samples with large y have large z . x as well."""
    y, across = law.samples.y, law.samples.across
    epsilon = psi * g * law.gradient
    share = epsilon * kappa / law.step_ratio
    left = 1 / (1 + y**2 * share)
    spread = law.samples.mean(y**2 * (across**2 + law.alignment**2) * left)
    # v is the residuals' own direction, so sum_j y_j x_j has no part across it.
    own = share * law.samples.mean(y**3 * across * left) ** 2 / law.samples.mean(y**2 * left)
    strength = psi * g * law.initial + epsilon * (spread + own)
    return strength / (tau + strength)
