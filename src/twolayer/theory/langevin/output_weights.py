r"""The output weight of a neuron given its input weights, under a proximal Gibbs law.

A neuron feels its output weight u only through ``u . g(w)``, so that for every kind of output the
law of u given w is the exponential family with the log-partition function

.. math:: \psi(g) = \log E_\gamma\, e^{-u \cdot g / \tau},
          \quad E[u \mid w] = -\tau \psi'(g), \quad Var[u \mid w] = \tau^2 \psi''(g),

a sum over the coordinates of g (derived here). `psi` is by how much the law of w is tilted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy

_CLIPPED_STEP = 0.2  # of the scales on which the integrand over a varies: error 3e-14
_TAIL = 40.0  # e^-40 of the mass is left out
_CHUNK = 2**20


class OutputMoments(NamedTuple):
    """What integrals over the output weights need, at each value of g.

    Attributes
    ----------
    log_tilt
        ``psi(g)``.
    mean, variance
        Of u given g.
    second_moment
        ``E[a^2 | g]`` of the parameter a that is trained, which for clipped outputs isn't u.
    """

    log_tilt: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    second_moment: np.ndarray


class OutputWeights(Protocol):
    """The law of the output weight u given the value of g, each coordinate on its own."""

    def log_tilt(self, g: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
        """``psi(g)``, coordinate by coordinate."""
        ...

    def mean(self, g: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
        """``E[u | g]``."""
        ...

    def moments(self, g: Float[np.ndarray, "*s"]) -> OutputMoments:
        """Both, and the second moments, in one go."""
        ...


@dataclass(frozen=True)
class FreeOutputWeights:
    """``u = a`` with ``a | w ~ N(-g / la, tau / la)``.

    Examples
    --------
    >>> float(FreeOutputWeights(0.5, 0.1).mean(np.array(2.0)))
    -4.0
    """

    decay: float
    temperature: float

    def log_tilt(self, g):
        """``g^2 / (2 la tau)``."""
        return g**2 / (2 * self.decay * self.temperature)

    def mean(self, g):
        """``-g / la``."""
        return -g / self.decay

    def moments(self, g):
        """The variance is ``tau / la``."""
        mean, variance = self.mean(g), np.full_like(g, self.temperature / self.decay)
        return OutputMoments(self.log_tilt(g), mean, variance, mean**2 + variance)


@dataclass(frozen=True)
class FixedOutputWeights:
    """``u = bound`` for every neuron: only w is random."""

    bound: float
    temperature: float

    def log_tilt(self, g):
        """``-bound g / tau``."""
        return -self.bound * g / self.temperature

    def mean(self, g):
        """The bound."""
        return np.full_like(g, self.bound)

    def moments(self, g):
        """The variance is 0."""
        mean = self.mean(g)
        return OutputMoments(self.log_tilt(g), mean, np.zeros_like(g), mean**2)


@dataclass(frozen=True)
class ClippedOutputWeights:
    r"""``u = bound * tanh(a)`` with ``a | w`` of density ``e^{-(la a^2 / 2 + u g) / tau}``.

    There is no closed form: the trapezoidal rule over a, whose error falls off exponentially in
    the inverse step.
    """

    bound: float
    decay: float
    temperature: float

    def log_tilt(self, g):
        """``psi(g)``."""
        return self.moments(g).log_tilt

    def mean(self, g):
        """``E[u | g]``."""
        return self.moments(g).mean

    def moments(self, g):
        """One integral over a for each value of g."""
        flat = np.asarray(g, dtype=np.float64).reshape(-1)
        largest = float(np.max(np.abs(flat), initial=0.0))
        deviation = math.sqrt(self.temperature / self.decay)
        # beyond it the exponent has fallen by _TAIL from its value at a = 0
        energy = 2 * self.bound * largest / self.temperature + 2 * _TAIL
        reach = deviation * math.sqrt(2 * energy)
        # the tilt steepens the integrand where tanh bends
        sharp = math.sqrt(1 + self.bound * largest / self.temperature)
        step = _CLIPPED_STEP * min(2 * deviation, 1.0, 2.0 / sharp)
        a = np.arange(-math.ceil(reach / step), math.ceil(reach / step) + 1) * step
        u = self.bound * np.tanh(a)
        log_reference = -((a / deviation) ** 2) / 2
        log_norm = np.log(np.sum(np.exp(log_reference)))
        values = np.empty((4, flat.size))
        chunk = max(1, _CHUNK // a.size)
        for start in range(0, flat.size, chunk):
            part = flat[start : start + chunk]
            exponent = log_reference - np.multiply.outer(part, u / self.temperature)
            top = exponent.max(axis=1)
            weights = np.exp(exponent - top[:, None])
            total = weights.sum(axis=1)
            mean = weights @ u / total
            values[0, start : start + chunk] = top + np.log(total) - log_norm
            values[1, start : start + chunk] = mean
            # centred at tanh of the most likely a, where weights @ u^2 would cancel
            centre = u[np.argmax(exponent, axis=1)]
            near = np.einsum("qa,qa->q", weights, (u - centre[:, None]) ** 2) / total
            values[2, start : start + chunk] = near - (mean - centre) ** 2
            values[3, start : start + chunk] = weights @ a**2 / total
        return OutputMoments(*values.reshape(4, *np.shape(g)))


def output_weights(problem: FreeEnergy) -> OutputWeights:
    """The law of output weights that belongs to a problem.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> output_weights(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.25))
    FreeOutputWeights(decay=0.5, temperature=0.25)
    """
    decay, temperature = float(problem.output_decay), float(problem.temperature)
    bound = float(problem.bound)
    if problem.output == "free":
        return FreeOutputWeights(decay, temperature)
    if problem.output == "fixed":
        return FixedOutputWeights(bound, temperature)
    return ClippedOutputWeights(bound, decay, temperature)
