"""Activations as JAX functions that carry their own Gaussian theory."""

import math
from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

from twolayer.activations.black_box import quadrature_derivatives, quadrature_dual
from twolayer.activations.facts import FACTS, Facts
from twolayer.activations.rectifier import rectifier_derivatives, rectifier_dual
from twolayer.numerics.gaussian import (
    along_last_axis,
    log_cosh_mean,
    mehler,
    series_dual,
    tanh_derivatives,
)
from twolayer.numerics.trigonometry import sine_cosine

_SERIES_DEGREE = 127  # Mehler series of tanh-like activations: error 2e-8 at variance 4
_SERIES_DEGREE_FLOAT32 = 31  # what single precision can represent


class Activation(eqx.Module):
    """A function ``s`` applied to each neuron, with its Gaussian expectations.

    Attributes
    ----------
    facts
        What is exactly known of it (parity, derivatives at 0, bounds), free of JAX.
    """

    facts: eqx.AbstractVar[Facts]

    @abstractmethod
    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """The value ``s(z)``."""

    @abstractmethod
    def derivatives(self, degree: int, variance: Float[Array, "..."]) -> Float[Array, "... k"]:
        """``E s^(k)(sqrt(variance) G) / sqrt(k!)`` for k = 0, ..., degree, in the last axis.

        The Hermite coefficients of ``x -> s(r x)`` are these times ``r^k`` (r^2 = variance), and
        they are smooth in the variance down to 0 where ``s`` is smooth. A weak derivative where
        ``s`` has a kink.
        """

    @abstractmethod
    def dual(
        self, q11: Float[Array, "..."], q12: Float[Array, "..."], q22: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """``E s(u) s(v)`` for centred Gaussians with covariance ``[[q11, q12], [q12, q22]]``."""


def hermite(activation: Activation, degree: int, scale: float = 1.0) -> Float[np.ndarray, " k"]:
    """Hermite coefficients ``E s(scale G) h_k(G)``, k = 0, ..., degree, in float64.

    The h_k are the normalised probabilists' Hermite polynomials.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> hermite(relu, 2) * np.sqrt(2 * np.pi)
    array([1.        , 1.25331414, 0.70710678])
    """
    with jax.enable_x64(True):
        derivatives = activation.derivatives(degree, jnp.asarray(float(scale) ** 2))
    return np.asarray(derivatives) * float(scale) ** np.arange(degree + 1)


def root_factorials(degree: int) -> Float[np.ndarray, " k"]:
    """``sqrt(k!)`` for k = 0, ..., degree."""
    return np.exp(gammaln(np.arange(degree + 1) + 1) / 2)


class Relu(Activation):
    """``s(z) = max(z, 0)``."""

    facts: Facts = eqx.field(static=True, default=FACTS["relu"])

    def __call__(self, z):
        return jnp.maximum(z, 0)

    def derivatives(self, degree, variance):
        even = rectifier_derivatives(degree, variance) / 2
        if degree < 1:
            return even
        return even.at[..., 1].set(0.5)

    def dual(self, q11, q12, q22):
        return (q12 + rectifier_dual(q11, q12, q22)) / 4


class Abs(Activation):
    """``s(z) = |z|``."""

    facts: Facts = eqx.field(static=True, default=FACTS["abs"])

    def __call__(self, z):
        return jnp.abs(z)

    def derivatives(self, degree, variance):
        return rectifier_derivatives(degree, variance)

    def dual(self, q11, q12, q22):
        return rectifier_dual(q11, q12, q22)


class Erf(Activation):
    """``s(z) = erf(z) = (2 / sqrt(pi)) int_0^z e^{-t^2} dt``."""

    facts: Facts = eqx.field(static=True, default=FACTS["erf"])

    def __call__(self, z):
        return jax.scipy.special.erf(z)

    def derivatives(self, degree, variance):
        # E erf(y + r G) = erf(y / sqrt(1 + 2 r^2)), and erf^(2n+1)(0) is known.
        at_zero = np.zeros(degree + 1)
        for n in range((degree + 1) // 2):
            k = 2 * n + 1
            at_zero[k] = (
                2 / math.sqrt(math.pi) * (-1) ** n * math.factorial(2 * n) / math.factorial(n)
            )
        scaled = along_last_axis(at_zero / root_factorials(degree), variance)
        return _powers(1 / jnp.sqrt(1 + 2 * variance), degree) * scaled

    def dual(self, q11, q12, q22):
        return 2 / math.pi * jnp.arcsin(2 * q12 / jnp.sqrt((1 + 2 * q11) * (1 + 2 * q22)))


class Gelu(Activation):
    """``s(z) = z Phi(z)``, with Phi the standard normal distribution function."""

    facts: Facts = eqx.field(static=True, default=FACTS["gelu"])

    def __call__(self, z):
        return z * jax.scipy.special.ndtr(z)

    def derivatives(self, degree, variance):
        # E s(y + r G) = y Phi(y / Q) + (r^2 / Q) phi(y / Q) with Q^2 = 1 + r^2, expanded in y.
        inverse = 1 / jnp.sqrt(1 + variance)
        values = [jnp.zeros_like(variance) for _ in range(degree + 1)]
        density = 1 / math.sqrt(2 * math.pi)
        for k in range(0, degree + 1, 2):
            n = k // 2
            from_density = (-1) ** n / (2**n * math.factorial(n)) * variance * inverse ** (k + 1)
            from_distribution = 0.0
            if n >= 1:
                m = n - 1
                from_distribution = (-1) ** m / (2**m * math.factorial(m) * (2 * m + 1))
            values[k] = (density * math.sqrt(math.factorial(k))) * (
                from_density + from_distribution * inverse ** (k - 1)
            )
        if degree >= 1:
            values[1] = jnp.full_like(variance, 0.5)
        return jnp.stack(values, axis=-1)

    def dual(self, q11, q12, q22):
        # Stein's lemma twice; the Gaussian densities tilt the covariance.
        determinant = (1 + q11) * (1 + q22) - q12**2
        root = 2 * math.pi * jnp.sqrt(determinant)
        angle = jnp.arcsin(q12 / jnp.sqrt((1 + q11) * (1 + q22))) / (2 * math.pi)
        return (
            q11 * (q22 - q12**2 / (1 + q11)) / root
            + q12 * (0.25 + angle)
            + q12**2 / ((1 + q22) * root)
        )


class Sinusoid(Activation):
    """``s(z) = A cos(z) + B sin(z)``: its mean-field flow needs neither quadrature nor sampling."""

    cosine: Float[Array, ""]
    sine: Float[Array, ""]
    facts: Facts = eqx.field(static=True)

    def __init__(self, cosine: float, sine: float, facts: Facts):
        self.cosine = np.asarray(cosine, dtype=np.float64)  # type: ignore[assignment]
        self.sine = np.asarray(sine, dtype=np.float64)  # type: ignore[assignment]
        self.facts = facts

    def __call__(self, z):
        sine, cosine = sine_cosine(z)
        return jnp.asarray(self.cosine, z.dtype) * cosine + jnp.asarray(self.sine, z.dtype) * sine

    def derivatives(self, degree, variance):
        cycle = [self.cosine, self.sine, -self.cosine, -self.sine]
        at_zero = jnp.stack([jnp.asarray(cycle[k % 4], variance.dtype) for k in range(degree + 1)])
        roots = jnp.asarray(root_factorials(degree), variance.dtype)
        return jnp.exp(-variance / 2)[..., None] * along_last_axis(at_zero / roots, variance)

    def dual(self, q11, q12, q22):
        mean = (q11 + q22) / 2
        squares = self.cosine**2, self.sine**2
        same = jnp.asarray((squares[0] + squares[1]) / 2, q12.dtype)
        opposite = jnp.asarray((squares[0] - squares[1]) / 2, q12.dtype)
        return same * jnp.exp(q12 - mean) + opposite * jnp.exp(-q12 - mean)


class Tanh(Activation):
    """``s(z) = tanh(z)``."""

    facts: Facts = eqx.field(static=True, default=FACTS["tanh"])

    def __call__(self, z):
        return jnp.tanh(z)

    def derivatives(self, degree, variance):
        return tanh_derivatives(degree, variance)

    def dual(self, q11, q12, q22):
        return _tanh_dual(q11, q12, q22)


class Sigmoid(Activation):
    """``s(z) = 1 / (1 + e^{-z}) = (1 + tanh(z / 2)) / 2``."""

    facts: Facts = eqx.field(static=True, default=FACTS["sigmoid"])

    def __call__(self, z):
        return jax.nn.sigmoid(z)

    def derivatives(self, degree, variance):
        halves = 0.5 ** (np.arange(degree + 1) + 1)
        slopes = tanh_derivatives(degree, variance / 4) * along_last_axis(halves, variance)
        return slopes.at[..., 0].set(0.5)

    def dual(self, q11, q12, q22):
        return (1 + _tanh_dual(q11 / 4, q12 / 4, q22 / 4)) / 4


class Softplus(Activation):
    """``s(z) = log(1 + e^z)``, the integral of the logistic function."""

    facts: Facts = eqx.field(static=True, default=FACTS["softplus"])

    def __call__(self, z):
        return jax.nn.softplus(z)

    def derivatives(self, degree, variance):
        # s(z) = z / 2 + log(2) + log(cosh(z / 2)), and s'(z) = (1 + tanh(z / 2)) / 2.
        mean = math.log(2) + log_cosh_mean(variance / 4)
        if degree == 0:
            return mean[..., None]
        k = np.arange(1, degree + 1)
        slopes = tanh_derivatives(degree - 1, variance / 4)
        slopes = slopes * along_last_axis(0.5**k / np.sqrt(k), variance)
        return jnp.concatenate([mean[..., None], slopes.at[..., 0].set(0.5)], axis=-1)

    def dual(self, q11, q12, q22):
        return series_dual(self.derivatives, (0, 0), _series_degree(q12), False, q11, q12, q22)


class PolynomialActivation(Activation):
    """``s(z) = sum_k c_k z^k``.

    Attributes
    ----------
    coefficients
        ``c_0, c_1, ...``.
    """

    coefficients: tuple[float, ...] = eqx.field(static=True)
    facts: Facts = eqx.field(static=True)

    def __call__(self, z):
        total = jnp.full_like(z, self.coefficients[-1])
        for coefficient in self.coefficients[-2::-1]:
            total = coefficient + z * total
        return total

    def derivatives(self, degree, variance):
        top = len(self.coefficients) - 1
        values = []
        for k in range(degree + 1):
            terms = jnp.zeros_like(variance)
            for j in range((top - k) // 2 + 1 if k <= top else 0):
                moment = math.factorial(k + 2 * j) / (2**j * math.factorial(j))
                terms = terms + self.coefficients[k + 2 * j] * moment * variance**j
            values.append(terms / math.sqrt(math.factorial(k)))
        return jnp.stack(values, axis=-1)

    def dual(self, q11, q12, q22):
        top = len(self.coefficients) - 1
        return mehler(self.derivatives(top, q11), self.derivatives(top, q22), q12)


class FunctionActivation(Activation):
    """Any JAX function of one variable that is smooth on each half-line.

    Its expectations are quadratures: use a built-in activation where there is one. Where
    ``facts.smooth`` is false the function may have a kink at 0, its dual is accurate to about
    three digits, and its derivatives lose digits at small variance.
    """

    function: Callable[[Array], Array] = eqx.field(static=True)
    facts: Facts = eqx.field(static=True)

    def __call__(self, z):
        return self.function(z)

    def derivatives(self, degree, variance):
        return quadrature_derivatives(self.function, self.facts.smooth, degree, variance)

    def dual(self, q11, q12, q22):
        return quadrature_dual(self.function, self.function, self.facts.smooth, q11, q12, q22)


def _tanh_dual(q11, q12, q22):
    """``E tanh(u) tanh(v)``; the error is largest at correlation +-1.

    There it is 2e-8 at variance 4, 6e-5 at 16, 5e-3 at 100.
    """
    return series_dual(tanh_derivatives, (0, 0), _series_degree(q12), True, q11, q12, q22)


def _series_degree(q12: Array) -> int:
    return _SERIES_DEGREE if q12.dtype == jnp.float64 else _SERIES_DEGREE_FLOAT32


def _powers(base: Array, degree: int) -> Array:
    """``1, base, ..., base^degree`` of a positive base in the last axis."""
    return base[..., None] ** along_last_axis(np.arange(degree + 1.0), base)
