"""The regularised risk that noisy gradient descent minimises over laws of neurons."""

from __future__ import annotations

import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.activations.functions import Activation
from twolayer.losses import Loss, SquareLoss
from twolayer.networks import TwoLayerNetwork, check_positive

Output = Literal["free", "fixed", "clipped"]


def _number(value: object) -> Any:
    """A float array; what is no JAX array yet stays a NumPy double, whatever JAX's precision."""
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _table(values: object) -> Any:
    array = _number(values)
    return array[:, None] if array.ndim == 1 else array


def _known(value: object) -> np.ndarray | None:
    """The value, or nothing where it is traced inside a compiled function."""
    try:
        return np.asarray(value)
    except jax.errors.TracerArrayConversionError:
        return None


class Particles(eqx.Module):
    """N neurons: a sample of the law ``mu`` of ``theta = (a, w)``.

    Attributes
    ----------
    a
        Output weights, one row a neuron and one column an output.
    W
        Input weights, one row a neuron.
    """

    a: Float[Array, "N k"]
    W: Float[Array, "N p"]

    def network(self, activation: Activation) -> TwoLayerNetwork:
        """The network ``(1 / N) sum_j a_j s(w_j . x)``.

        Raises
        ------
        ValueError
            If there are several outputs.
        """
        if self.a.shape[1] != 1:
            message = f"Expected one output. Received: {self.a.shape[1]}."
            raise ValueError(message)
        return TwoLayerNetwork(self.a[:, 0], self.W, None, activation, 1 / self.a.shape[0])  # type: ignore[arg-type]


class FreeEnergy(eqx.Module):
    r"""``J(mu) = R(mu) + tau KL(mu | gamma)``: risk, weight decay and entropy of a law of neurons.

    .. math::
        R(\mu) = \frac1n \sum_i l\Bigl(\int a\, s(w \cdot x_i)\, d\mu(a, w),\, y_i\Bigr), \qquad
        \gamma = N(0, \tau/\lambda_a) \otimes N(0, (\tau/\lambda_w) I)

    The Gaussian reference is weight decay and entropy in one, so that J is at least 0. Up to a
    constant it is ``R + E (la a^2 + lw |w|^2) / 2 + tau E log mu``.

    Attributes
    ----------
    x
        Inputs, one a row; append a column of ones for a bias (`with_bias`).
    y
        Labels, one a row (and a column an output).
    activation
        The function ``s``.
    output_decay, input_decay
        The ``la`` and ``lw``, positive.
    temperature
        The ``tau``, positive.
    loss
        `SquareLoss` or `LogisticLoss`.
    output
        ``"free"``: the output weight a is trained and unbounded. ``"fixed"``: every neuron's
        output weight is `bound`, and w alone is trained. ``"clipped"``: a is trained and acts as
        ``bound * tanh(a)``. The last two are what other papers assume.
    bound
        The output weight of the last two.

    Raises
    ------
    ValueError
        If there is no sample, shapes don't fit, a number is not finite, or a decay, the
        temperature or the bound is not positive.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [2.0]], [0.5, 1.0], tanh, 0.5, 0.5, 0.1)
    >>> float(problem.risk(Particles(jnp.zeros((3, 1)), jnp.ones((3, 1)))))
    0.3125
    """

    x: Float[Array, "n p"] = eqx.field(converter=_table)
    y: Float[Array, "n k"] = eqx.field(converter=_table)
    activation: Activation
    output_decay: Float[Array, ""] = eqx.field(converter=_number)
    input_decay: Float[Array, ""] = eqx.field(converter=_number)
    temperature: Float[Array, ""] = eqx.field(converter=_number)
    loss: Loss = eqx.field(default_factory=SquareLoss)
    output: Output = eqx.field(static=True, default="free")
    bound: Float[Array, ""] = eqx.field(converter=_number, default=1.0)

    def __check_init__(self):
        x, y = self.x, self.y
        if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0] or not x.size:
            message = "Expected at least one sample, and one label for each. "
            message += f"Received: inputs {x.shape} and labels {y.shape}."
            raise ValueError(message)
        for sample in (_known(x), _known(y)):
            if sample is not None and not np.all(np.isfinite(sample)):
                message = "Expected finite samples. Received: NaN or infinity among them."
                raise ValueError(message)
        for name in ("output_decay", "input_decay", "temperature", "bound"):
            value = _known(getattr(self, name))
            if value is not None and (value.shape != () or not 0 < value < math.inf):
                message = f"Expected {name} to be a positive number. Received: {value!s}."
                raise ValueError(message)
        if self.output not in {"free", "fixed", "clipped"}:
            message = "Expected output to be 'free', 'fixed' or 'clipped'. "
            message += f"Received: {self.output!r}."
            raise ValueError(message)
        if self.output == "fixed" and y.shape[1] != 1:
            message = f"Expected one output where its weight is fixed. Received: {y.shape[1]}."
            raise ValueError(message)
        known = _known(y)
        if known is not None:
            self.loss.check_labels(known)

    @property
    def num_samples(self) -> int:
        """The number n of samples."""
        return self.x.shape[0]

    @property
    def dim(self) -> int:
        """The number p of input weights of a neuron."""
        return self.x.shape[1]

    @property
    def num_outputs(self) -> int:
        """The number k of outputs."""
        return self.y.shape[1]

    def output_weights(self, a: Float[Array, "N k"]) -> Float[Array, "N k"]:
        """What multiplies a neuron's feature: a itself, the bound, or ``bound * tanh(a)``."""
        if self.output == "free":
            return a
        bound = self.bound.astype(a.dtype)
        return bound * jnp.tanh(a) if self.output == "clipped" else jnp.full_like(a, bound)

    def outputs(self, particles: Particles) -> Float[Array, "n k"]:
        """``f(x_i) = (1 / N) sum_j a_j s(w_j . x_i)`` at every sample."""
        features = self.activation(self.x.astype(particles.W.dtype) @ particles.W.T)
        return features @ self.output_weights(particles.a) / particles.W.shape[0]

    def risk(self, particles: Particles) -> Float[Array, ""]:
        """``R``: the mean loss over the samples, without weight decay or entropy."""
        f = self.outputs(particles)
        return jnp.sum(self.loss(f, self.y.astype(f.dtype))) / self.num_samples

    def reference(self, num_particles: int, *, key: PRNGKeyArray) -> Particles:
        """Particles drawn from ``gamma``, where training starts by default.

        Raises
        ------
        ValueError
            If the number is below 1.
        """
        check_positive(num_particles=num_particles)
        key_a, key_w = jax.random.split(key)
        dtype = jax.dtypes.canonicalize_dtype(self.x.dtype)
        a = jax.random.normal(key_a, (num_particles, self.num_outputs), dtype)
        W = jax.random.normal(key_w, (num_particles, self.dim), dtype)
        spread_a = jnp.sqrt(self.temperature / self.output_decay).astype(dtype)
        spread_w = jnp.sqrt(self.temperature / self.input_decay).astype(dtype)
        return Particles(spread_a * a, spread_w * W)


def with_bias(x: Float[Array | np.ndarray, "n d"]) -> Float[Array | np.ndarray, "n p"]:
    """The inputs with a last column of ones, so that the last input weight is a bias.

    Examples
    --------
    >>> with_bias(np.zeros((1, 2))).tolist()
    [[0.0, 0.0, 1.0]]
    """
    namespace = jnp if isinstance(x, jax.Array) else np
    return namespace.concatenate([x, namespace.ones((x.shape[0], 1), x.dtype)], axis=1)
