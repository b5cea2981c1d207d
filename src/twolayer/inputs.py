"""Laws of the input ``x``."""

from abc import abstractmethod

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray


class Inputs(eqx.Module):
    """The law of an input vector in ``dim`` dimensions."""

    dim: eqx.AbstractVar[int]

    @abstractmethod
    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n d"]:
        """Independent samples, one a row."""


class Gaussian(Inputs):
    """The standard normal law ``N(0, I_dim)``.

    Attributes
    ----------
    dim
        The input dimension d, at least 1.

    Raises
    ------
    ValueError
        If `dim` is not a positive integer.

    Examples
    --------
    >>> import jax
    >>> Gaussian(3).sample(2, key=jax.random.key(0)).shape
    (2, 3)
    """

    dim: int = eqx.field(static=True)

    def __check_init__(self):
        if not isinstance(self.dim, int) or self.dim < 1:
            message = f"Expected a dimension of at least 1. Received: {self.dim!r}."
            raise ValueError(message)

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n d"]:
        """Independent standard normal vectors, one a row."""
        return jax.random.normal(key, (num_samples, self.dim))
