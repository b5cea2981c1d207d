"""The polynomial with noise that stands for an activation after one gradient step."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.activations.functions import Activation, hermite
from twolayer.numerics.hermite import hermite_values
from twolayer.numerics.quadrature import kinked_gaussian

_NODES = 512  # tanh(30 g)^2 to 1e-12


class HermiteEquivalent(eqx.Module):
    """``sum_{j<=L} h_j He_j(z / b) / j! + h* g`` in place of ``s(z)``, with fresh ``g ~ N(0, 1)``.

    demir2025asymptotic, Eq. 16 and 17: ``h_j = E He_j(G) s(b G)`` and
    ``(h*)^2 = E s(b G)^2 - sum_{j<=L} h_j^2 / j!``, where b^2 is the variance of a neuron's
    input under the bulk of the data. Only the read-out sees it: the gradient step is taken with
    the activation itself.

    Attributes
    ----------
    coefficients
        ``h_j / sqrt(j!)``, those of the normalised Hermite polynomials, j = 0, ..., L.
    noise
        The ``h*``; the noise is drawn anew for every neuron and sample.
    scale
        The ``b``.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> linear = HermiteEquivalent.of(relu, 1)
    >>> round(float(linear(jnp.asarray(2.0))) - (2 * math.pi) ** -0.5, 5)
    1.0
    >>> round(float(linear.noise) ** 2, 5) == round(0.25 - 0.5 / math.pi, 5)
    True
    """

    coefficients: Float[Array, " k"] = eqx.field(converter=jnp.asarray)
    noise: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    scale: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    @classmethod
    def of(cls, activation: Activation, degree: int, *, scale: float = 1.0) -> HermiteEquivalent:
        """The equivalent of polynomial degree `degree` (the paper's l is one more).

        Raises
        ------
        ValueError
            If the degree is not a whole number of at least 0, or the scale is not positive.
        """
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
            message = f"Expected a degree of at least 0. Received: {degree!r}."
            raise ValueError(message)
        if not 0 < scale < math.inf:
            message = f"Expected a positive scale. Received: {scale!r}."
            raise ValueError(message)
        coefficients = hermite(activation, degree, scale)
        # E (s - polynomial)^2 rather than the difference of the squares, which cancels.
        nodes, weights = kinked_gaussian(_NODES)
        rest = _values(activation, scale * nodes) - hermite_values(nodes, degree) @ coefficients
        return cls(coefficients, math.sqrt(weights @ rest**2), scale)  # type: ignore[arg-type]

    @property
    def degree(self) -> int:
        """The polynomial degree L."""
        return self.coefficients.shape[0] - 1

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """The polynomial part at a neuron's input."""
        x = z / self.scale.astype(z.dtype)
        c = self.coefficients.astype(z.dtype)
        # Clenshaw's recurrence for h_{k+1} = (x h_k - sqrt(k) h_{k-1}) / sqrt(k + 1).
        after, value = jnp.zeros_like(x), jnp.zeros_like(x)
        for k in range(self.degree, -1, -1):
            after, value = (
                value,
                (c[k] + x * value / math.sqrt(k + 1) - math.sqrt((k + 1) / (k + 2)) * after),
            )
        return value


def second_moment(activation: Activation, scale: float = 1.0) -> float:
    """``E s(scale G)^2`` in float64, by quadrature: s may have a kink at 0.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> round(second_moment(relu, 2.0), 12)
    2.0
    """
    nodes, weights = kinked_gaussian(_NODES)
    return float(weights @ _values(activation, scale * nodes) ** 2)


def _values(activation: Activation, z: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    with jax.enable_x64(True):
        return np.asarray(activation(jnp.asarray(z)))
