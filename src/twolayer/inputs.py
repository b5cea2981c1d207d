"""Laws of the input ``x``."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

_ROUNDING = 1e-6


def floats(values: object) -> Array:
    """`values` as an array of real numbers: whole ones become floats, floats keep their precision.

    Examples
    --------
    >>> floats([1, -1]).tolist()
    [1.0, -1.0]
    """
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def check_finite(**parts: Array) -> None:
    """Raise unless all numbers are finite (inside a compiled program nothing is known).

    Raises
    ------
    ValueError
        Naming the first array with another.
    """
    for name, part in parts.items():
        try:
            finite = np.isfinite(np.asarray(part))  # not JAX's, which compiles for each shape
        except jax.errors.TracerArrayConversionError:
            return
        if not np.all(finite):
            message = f"Expected finite {name}. Received: NaN or infinity among them; "
            message += "drop or replace them."
            raise ValueError(message)


def _check_dimension(dim: object) -> None:
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
        message = f"Expected a dimension of at least 1. Received: {dim!r}."
        raise ValueError(message)


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
        _check_dimension(self.dim)

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n d"]:
        """Independent standard normal vectors, one a row."""
        return jax.random.normal(key, (num_samples, self.dim))


class Hypercube(Inputs):
    """The uniform law on the corners ``{-1, 1}^dim``.

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
    >>> abs(Hypercube(3).sample(2, key=jax.random.key(0))).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    dim: int = eqx.field(static=True)

    def __check_init__(self):
        _check_dimension(self.dim)

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Float[Array, "n d"]:
        """Independent corners, one a row."""
        return jax.random.rademacher(key, (num_samples, self.dim), floats(0).dtype)


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
        If the shapes don't fit together, a proportion is negative or they don't add up to 1,
        directions are not orthonormal, a strength is below -1 (no covariance), or if anything
        is not finite.

    Examples
    --------
    >>> import jax
    >>> gamma = jnp.eye(4)[:2, None, :]  # one direction in each of two components
    >>> inputs = GaussianMixture([0.5, 0.5], jnp.zeros((2, 4)), gamma, jnp.ones((2, 1)))
    >>> inputs.sample(3, key=jax.random.key(0)).shape
    (3, 4)
    """

    proportions: Float[Array, " c"] = eqx.field(converter=floats)
    means: Float[Array, "c d"] = eqx.field(converter=floats)
    directions: Float[Array, "c r d"] = eqx.field(converter=floats)
    strengths: Float[Array, "c r"] = eqx.field(converter=floats)
    balanced: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        parts = (self.proportions, self.means, self.directions, self.strengths)
        shapes = tuple(part.shape for part in parts)
        c, r, d = shapes[2] if len(shapes[2]) == 3 else (0, 0, 0)
        if not c or not d or shapes != ((c,), (c, d), (c, r, d), (c, r)):
            message = "Expected proportions [c], means [c, d], directions [c, r, d] and strengths "
            message += f"[c, r]. Received: shapes {', '.join(map(str, shapes))}."
            raise ValueError(message)
        try:
            rho, _, directions, strengths = (np.asarray(part) for part in parts)
        except jax.errors.TracerArrayConversionError:  # made inside a compiled function
            return
        names = ("proportions", "means", "directions", "strengths")
        check_finite(**dict(zip(names, parts, strict=True)))
        if np.any(rho < 0) or abs(rho.sum() - 1) > _ROUNDING:
            message = "Expected proportions in [0, 1] that add up to 1. "
            message += f"Received: {rho.tolist()}."
            raise ValueError(message)
        gram = directions @ np.swapaxes(directions, 1, 2)
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
            If a covariance is not symmetric, not finite or has a negative eigenvalue, or as for
            the class.
        """
        covariances = np.asarray(covariances, np.float64)
        if covariances.ndim != 3 or covariances.shape[1] != covariances.shape[2]:
            message = "Expected one square covariance for each component. "
            message += f"Received: an array of shape {covariances.shape}."
            raise ValueError(message)
        if not np.all(np.isfinite(covariances)):
            message = "Expected finite covariances. Received: NaN or infinity among them."
            raise ValueError(message)
        size = np.max(np.abs(covariances), initial=0.0)
        if np.max(np.abs(covariances - np.swapaxes(covariances, 1, 2))) > _ROUNDING * size:
            message = "Expected symmetric covariances. Received: an asymmetric one."
            raise ValueError(message)
        values, vectors = np.linalg.eigh(covariances)
        if values.min() < -_ROUNDING * size:
            message = "Expected positive semi-definite covariances. "
            message += f"Received: one with an eigenvalue of {values.min():.3g}."
            raise ValueError(message)
        directions = np.swapaxes(vectors, 1, 2)
        means = np.asarray(means, np.float64)
        rho = np.asarray(proportions, np.float64)
        return cls(rho, means, directions, np.maximum(values, 0) - 1, balanced)  # type: ignore[arg-type]

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
        return jnp.eye(self.dim, dtype=spikes.dtype)[None] + spikes

    @property
    def traces(self) -> Float[Array, " c"]:
        """``Tr Sigma_c`` of each component."""
        return self.dim + jnp.sum(self.strengths, axis=1)

    @property
    def mean(self) -> Float[Array, " d"]:
        """``E x``: the mean of the components' means."""
        return self.proportions @ self.means

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """``Cov x``: the mean of the components' covariances plus the covariance of their means."""
        apart = self.means - self.mean[None]
        between = jnp.einsum("c,cd,ce->de", self.proportions, apart, apart)
        return jnp.einsum("c,cde->de", self.proportions, self.covariances) + between

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
        component = jnp.minimum(component, last.astype(component.dtype))
        g = jax.random.normal(key_x, (num_samples, self.dim), self.means.dtype)
        roots = jnp.sqrt(jnp.maximum(1 + self.strengths, 0)) - 1
        x = g + self.means[component]
        for c in range(self.num_components):  # no sample keeps a d x d matrix of its own
            own = jnp.where(component == c, 1.0, 0.0).astype(g.dtype)
            along = (g @ self.directions[c].T) * (own[:, None] * roots[c][None])
            x = x + along @ self.directions[c]
        return x, component


def spiked_mixture(
    first: Float[Array | np.ndarray, "r d"],
    second: Float[Array | np.ndarray, "r d"],
    strengths: Float[Array | np.ndarray, "..."] | float,
    *,
    proportion: Float[Array, ""] | float = 0.5,
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
        If the two sets of directions or the strengths differ in shape, or as for
        `GaussianMixture`: if the proportion is outside [0, 1], say.

    Examples
    --------
    >>> spiked_mixture(jnp.eye(5)[:1], jnp.eye(5)[1:2], 3.0).traces.tolist()
    [8.0, 8.0]
    """
    if jnp.shape(first) != jnp.shape(second) or jnp.ndim(first) != 2:
        message = "Expected as many directions for the one component as for the other, one a row. "
        message += f"Received: shapes {jnp.shape(first)} and {jnp.shape(second)}."
        raise ValueError(message)
    directions = floats(jnp.stack([jnp.asarray(first), jnp.asarray(second)]))
    strengths = jnp.asarray(strengths, directions.dtype)
    if strengths.shape not in ((), directions.shape[:2]):
        message = f"Expected one strength, or strengths of shape {directions.shape[:2]}. "
        message += f"Received: shape {strengths.shape}."
        raise ValueError(message)
    return GaussianMixture(  # type: ignore[call-arg]
        jnp.asarray([proportion, 1 - proportion], directions.dtype),
        jnp.zeros((2, directions.shape[-1]), directions.dtype),
        directions,
        jnp.broadcast_to(strengths, directions.shape[:2]),
        balanced=True,
    )


def isotropic_mixture(
    means: Float[Array | np.ndarray, "..."],
    std: float,
    *,
    proportions: Float[Array | np.ndarray, " c"] | list[float] | None = None,
) -> GaussianMixture:
    """Components ``N(mu_c, std^2 I)``, as frequent as `proportions` say, equally by default.

    Raises
    ------
    ValueError
        If the standard deviation is not positive, the means are no table, or as for
        `GaussianMixture`.

    Examples
    --------
    >>> isotropic_mixture(jnp.eye(2), 0.5).traces.tolist()
    [0.5, 0.5]
    """
    means = floats(means)
    if means.ndim != 2 or not means.size:
        message = f"Expected one mean a row. Received: an array of shape {means.shape}."
        raise ValueError(message)
    if not 0 < std < np.inf:
        message = f"Expected a positive standard deviation. Received: {std!r}."
        raise ValueError(message)
    c, d = means.shape
    rank = 0 if std == 1 else d  # the unit covariance needs no direction
    rho = np.full(c, 1 / c) if proportions is None else np.asarray(proportions)
    return GaussianMixture(  # type: ignore[call-arg]
        jnp.asarray(rho, means.dtype),
        means,
        jnp.broadcast_to(jnp.eye(rank, d, dtype=means.dtype), (c, rank, d)),
        jnp.full((c, rank), std**2 - 1, means.dtype),
    )
