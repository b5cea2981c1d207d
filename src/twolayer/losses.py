"""Losses that are convex in the network's output, summed over outputs."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jaxtyping import Array, Float


class Loss(eqx.Module):
    """A function ``l(f, y)`` of one output and its label, convex in f."""

    @property
    @abstractmethod
    def curvature_bound(self) -> float:
        """The largest that the second derivative in f can be."""

    @abstractmethod
    def __call__(self, f: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """The loss ``l(f, y)``."""

    @abstractmethod
    def slope(self, f: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Its derivative in f."""

    @abstractmethod
    def curvature(self, f: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Its second derivative in f."""

    @abstractmethod
    def conjugate(self, r: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """``l*(r, y) = sup_f r f - l(f, y)``; infinite where no slope is r."""

    @abstractmethod
    def check_labels(self, y: Float[np.ndarray, "*s"]) -> None:
        """Raise unless the labels are some that the loss is made for."""


class SquareLoss(Loss):
    """``l(f, y) = (f - y)^2 / 2``, with conjugate ``r y + r^2 / 2``.

    Examples
    --------
    >>> float(SquareLoss()(jnp.asarray(3.0), jnp.asarray(1.0)))
    2.0
    """

    @property
    def curvature_bound(self):
        """The second derivative is 1."""
        return 1.0

    def __call__(self, f, y):
        """The loss ``l(f, y)``."""
        return (f - y) ** 2 / 2

    def slope(self, f, y):
        """Its derivative in f: the residual."""
        return f - y

    def curvature(self, f, y):
        """Its second derivative in f, which is 1."""
        return jnp.ones_like(f - y)

    def conjugate(self, r, y):
        """``r y + r^2 / 2``."""
        return r * y + r**2 / 2

    def check_labels(self, y):
        """Any finite number will do."""


class LogisticLoss(Loss):
    """``l(f, y) = log(1 + exp(-y f))`` for labels 1 and -1.

    Its conjugate at ``r = -y p`` is ``p log p + (1 - p) log(1 - p)`` for p in [0, 1].

    Examples
    --------
    >>> round(float(LogisticLoss()(jnp.asarray(0.0), jnp.asarray(1.0))), 6)
    0.693147
    """

    @property
    def curvature_bound(self):
        """The second derivative is at most 1/4, at f = 0."""
        return 0.25

    def __call__(self, f, y):
        """The loss ``l(f, y)``."""
        return jax.nn.softplus(-y * f)

    def slope(self, f, y):
        """Its derivative in f."""
        return -y * jax.nn.sigmoid(-y * f)

    def curvature(self, f, y):
        """Its second derivative in f."""
        return jax.nn.sigmoid(y * f) * jax.nn.sigmoid(-y * f)

    def conjugate(self, r, y):
        """``p log p + (1 - p) log(1 - p)`` with ``p = -y r``; infinite outside [0, 1]."""
        p = -y * r
        inside = (p >= 0) & (p <= 1)
        safe = jnp.where(inside, p, 0.5)
        return jnp.where(inside, xlogy(safe, safe) + xlogy(1 - safe, 1 - safe), jnp.inf)

    def check_labels(self, y):
        """Raise unless every label is 1 or -1.

        Raises
        ------
        ValueError
            If one is not.
        """
        if not np.all(np.abs(y) == 1):
            message = "Expected labels 1 and -1 for the logistic loss. Received: others."
            raise ValueError(message)


class HingeLoss(Loss):
    """``l(f, y) = max(0, 1 - y f)`` for labels 1 and -1.

    Its conjugate at ``r = -y p`` is ``-p`` for p in [0, 1]. It bounds the rate of wrong signs.

    Examples
    --------
    >>> float(HingeLoss()(jnp.asarray(0.25), jnp.asarray(1.0)))
    0.75
    """

    @property
    def curvature_bound(self):
        """There is none: the slope jumps at y f = 1."""
        return np.inf

    def __call__(self, f, y):
        """The loss ``l(f, y)``."""
        return jax.nn.relu(1 - y * f)

    def slope(self, f, y):
        """Its derivative in f: -y where y f < 1, else 0."""
        return jnp.where(y * f < 1, -y, jnp.zeros_like(y))

    def curvature(self, f, y):
        """Its second derivative in f where there is one: 0."""
        return jnp.zeros_like(f - y)

    def conjugate(self, r, y):
        """``-p`` with ``p = -y r``; infinite outside [0, 1]."""
        p = -y * r
        return jnp.where((p >= 0) & (p <= 1), -p, jnp.inf)

    def check_labels(self, y):
        """Raise unless every label is 1 or -1.

        Raises
        ------
        ValueError
            If one is not.
        """
        if not np.all(np.abs(y) == 1):
            message = "Expected labels 1 and -1 for the hinge loss. Received: others."
            raise ValueError(message)
