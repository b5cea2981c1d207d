"""Laws of the input ``x``."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

_ROUNDING = 1e-6


def _floats(values: object) -> Array:
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


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
        if isinstance(self.dim, bool) or not isinstance(self.dim, int) or self.dim < 1:
            message = f"Expected a dimension of at least 1. Received: {self.dim!r}."
            raise ValueError(message)

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n d"]:
        """Independent standard normal vectors, one a row."""
        return jax.random.normal(key, (num_samples, self.dim))


class GaussianMixture(Inputs):
    """``x | c ~ N(mu_c, I + sum_q theta_cq gamma_cq gamma_cq^T)`` with ``P(c) = rho_c``.

    The structured data of demir2025asymptotic, Eq. 2 and 9. With as many directions as
    dimensions the covariances are arbitrary: see `from_covariances`.

    Attributes
    ----------
    proportions
        The ``rho_c``.
    means
        The ``mu_c``, one a row.
    directions
        The ``gamma_cq``, orthonormal within a component.
    strengths
        The ``theta_cq``, at least -1.
    balanced
        Whether n samples hold the components in exact proportion and in their order, as the
        paper's experiments draw them, rather than independently.

    Raises
    ------
    ValueError
        If a proportion is negative or they don't add up to 1, if directions are not orthonormal,
        if a strength is below -1 (no covariance), or if anything is not finite.

    Examples
    --------
    >>> import jax
    >>> gamma = jnp.eye(4)[:2, None, :]  # one direction in each of two components
    >>> inputs = GaussianMixture([0.5, 0.5], jnp.zeros((2, 4)), gamma, jnp.ones((2, 1)))
    >>> inputs.sample(3, key=jax.random.key(0)).shape
    (3, 4)
    """

    proportions: Float[Array, " c"] = eqx.field(converter=_floats)
    means: Float[Array, "c d"] = eqx.field(converter=_floats)
    directions: Float[Array, "c r d"] = eqx.field(converter=_floats)
    strengths: Float[Array, "c r"] = eqx.field(converter=_floats)
    balanced: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        parts = (self.proportions, self.means, self.directions, self.strengths)
        try:
            rho, means, directions, strengths = (np.asarray(part) for part in parts)
        except jax.errors.TracerArrayConversionError:  # made inside a compiled function
            return
        if not all(np.all(np.isfinite(part)) for part in (rho, means, directions, strengths)):
            message = "Expected a mixture of finite numbers. Received: NaN or infinity among them."
            raise ValueError(message)
        if np.any(rho < 0) or abs(rho.sum() - 1) > _ROUNDING:
            message = "Expected proportions in [0, 1] that add up to 1. "
            message += f"Received: {rho.tolist()}."
            raise ValueError(message)
        gram = np.einsum("crd,csd->crs", directions, directions)
        if directions.size and np.max(np.abs(gram - np.eye(gram.shape[-1]))) > 1e-4:
            message = "Expected orthonormal directions within each component. Received: others; "
            message += "orthonormalise them, or use GaussianMixture.from_covariances."
            raise ValueError(message)
        if np.any(strengths < -1 - _ROUNDING):
            message = "Expected strengths of at least -1: below, a covariance has a negative "
            message += f"eigenvalue. Received: {strengths.min():g}."
            raise ValueError(message)

    @classmethod
    def from_covariances(
        cls,
        means: Float[Array | np.ndarray, "c d"],
        covariances: Float[Array | np.ndarray, "c d d"],
        proportions: Float[Array | np.ndarray, " c"] | list[float],
        *,
        balanced: bool = False,
    ) -> "GaussianMixture":
        """The mixture with these moments, its directions the covariances' eigenvectors.

        Raises
        ------
        ValueError
            If a covariance is not symmetric or has a negative eigenvalue.
        """
        covariances = np.asarray(covariances, np.float64)
        size = max(float(np.max(np.abs(covariances))), 1e-300) if covariances.size else 1.0
        if np.max(np.abs(covariances - np.swapaxes(covariances, 1, 2))) > _ROUNDING * size:
            message = "Expected symmetric covariances. Received: an asymmetric one."
            raise ValueError(message)
        values, vectors = np.linalg.eigh(covariances)
        if values.min() < -_ROUNDING * size:
            message = "Expected positive semi-definite covariances. "
            message += f"Received: one with an eigenvalue of {values.min():.3g}."
            raise ValueError(message)
        directions = np.swapaxes(vectors, 1, 2)
        return cls(proportions, means, directions, np.maximum(values, 0) - 1, balanced)  # type: ignore[arg-type]

    @property
    def dim(self) -> int:
        """The input dimension d."""
        return self.means.shape[-1]

    @property
    def num_components(self) -> int:
        """The number C of components."""
        return self.means.shape[-2]

    @property
    def covariances(self) -> Float[Array, "c d d"]:
        """The covariance of each component."""
        spikes = jnp.einsum("cr,crd,cre->cde", self.strengths, self.directions, self.directions)
        return jnp.eye(self.dim, dtype=spikes.dtype) + spikes

    @property
    def traces(self) -> Float[Array, " c"]:
        """``Tr Sigma_c`` of each component."""
        return self.dim + jnp.sum(self.strengths, axis=1)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """``sum_c rho_c Sigma_c``: the mean of the components' covariances."""
        return jnp.einsum("c,cde->de", self.proportions, self.covariances)

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n d"]:
        """Samples of the mixture, one a row."""
        return self.sample_components(num_samples, key=key)[0]

    def sample_components(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
        """Samples, and the component that each is from."""
        key_component, key_x = jax.random.split(key)
        if self.balanced:
            place = (jnp.arange(num_samples, dtype=self.means.dtype) + 0.5) / num_samples
        else:
            place = jax.random.uniform(key_component, (num_samples,), self.means.dtype)
        # The place against the cumulated proportions; rounding must not leave the last one.
        component = jnp.searchsorted(jnp.cumsum(self.proportions), place, side="right")
        last = jnp.max(jnp.where(self.proportions > 0, jnp.arange(self.num_components), 0))
        component = jnp.minimum(component, last)
        g = jax.random.normal(key_x, (num_samples, self.dim), self.means.dtype)
        roots = jnp.sqrt(jnp.maximum(1 + self.strengths, 0)) - 1
        x = g + self.means[component]
        for c in range(self.num_components):  # no sample keeps a d x d matrix of its own
            own = jnp.where(component == c, 1.0, 0.0).astype(g.dtype)
            along = (g @ self.directions[c].T) * roots[c] * own[:, None]
            x = x + along @ self.directions[c]
        return x, component


def spiked_mixture(
    first: Float[Array, "r d"],
    second: Float[Array, "r d"],
    strengths: Float[Array, "2 r"] | float,
    *,
    proportion: float = 0.5,
) -> GaussianMixture:
    """Two centred components with spikes along the rows of `first` and `second`, balanced.

    Parameters
    ----------
    first, second
        Orthonormal directions of the two components.
    strengths
        The ``theta_cq``; one number for all.
    proportion
        The first component's share.

    Raises
    ------
    ValueError
        If the proportion is outside [0, 1], or as for `GaussianMixture`.

    Examples
    --------
    >>> spiked_mixture(jnp.eye(5)[:1], jnp.eye(5)[1:2], 3.0).traces.tolist()
    [8.0, 8.0]
    """
    if not 0 <= proportion <= 1:
        message = f"Expected a proportion in [0, 1]. Received: {proportion!r}."
        raise ValueError(message)
    directions = jnp.stack([first, second])
    return GaussianMixture(  # type: ignore[call-arg]
        jnp.asarray([proportion, 1 - proportion]),
        jnp.zeros((2, directions.shape[-1])),
        directions,
        jnp.broadcast_to(jnp.asarray(strengths), directions.shape[:2]),
        balanced=True,
    )
