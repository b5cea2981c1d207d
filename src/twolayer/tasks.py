"""Learning problems: the joint law of inputs and labels."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.inputs import Inputs


class Regression(eqx.Module):
    """Labels ``y = target(x) + noise_std * g`` with ``x`` from `inputs` and ``g ~ N(0, 1)``.

    Attributes
    ----------
    inputs
        The law of x.
    target
        Any function of one input vector; a PyTree, so that its numbers don't recompile.
    noise_std
        Standard deviation of the label noise.

    Examples
    --------
    >>> import jax
    >>> from twolayer.inputs import Gaussian
    >>> from twolayer.targets import Polynomial
    >>> x, y = Regression(Gaussian(5), Polynomial("z1*z2")).sample(3, key=jax.random.key(0))
    >>> x.shape, y.shape
    ((3, 5), (3,))
    """

    inputs: Inputs
    target: Callable[[Array], Array]
    noise_std: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Independent labelled samples."""
        key_x, key_noise = jax.random.split(key)
        x = self.inputs.sample(num_samples, key=key_x)
        noise = jax.random.normal(key_noise, (num_samples,))
        return x, jax.vmap(self.target)(x) + self.noise_std * noise
