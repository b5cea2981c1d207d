"""Learning problems: the joint law of inputs and labels."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.inputs import GaussianMixture, Inputs, check_finite, floats, isotropic_mixture


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
        y = floats(jax.vmap(self.target)(x))
        noise = jax.random.normal(key_noise, (num_samples,), y.dtype)
        return x, y + self.noise_std.astype(y.dtype) * noise


class Classification(eqx.Module):
    """Labels that name the component of a mixture: ``y = labels[c]`` for ``x`` from component c.

    Attributes
    ----------
    inputs
        The mixture.
    labels
        One number for each component, for instance 1 and -1.

    Raises
    ------
    ValueError
        If there is not one finite label for each component.

    Examples
    --------
    >>> import jax
    >>> from twolayer.inputs import spiked_mixture
    >>> task = Classification(spiked_mixture(jnp.eye(5)[:1], jnp.eye(5)[1:2], 3.0), [1.0, -1.0])
    >>> task.sample(4, key=jax.random.key(0))[1].tolist()
    [1.0, 1.0, -1.0, -1.0]
    """

    inputs: GaussianMixture
    labels: Float[Array, " c"] = eqx.field(converter=floats)

    def __check_init__(self):
        if self.labels.shape != (self.inputs.num_components,):
            message = f"Expected {self.inputs.num_components} labels, one for each component. "
            message += f"Received: {self.labels.shape[0] if self.labels.ndim else 'one number'}."
            raise ValueError(message)
        check_finite(labels=self.labels)

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Labelled samples."""
        x, component = self.inputs.sample_components(num_samples, key=key)
        return x, self.labels[component]


def xor_mixture(
    first: Float[Array | np.ndarray, "..."] | list[float],
    second: Float[Array | np.ndarray, "..."] | list[float],
    std: float = 1.0,
) -> Classification:
    """Clusters about ``+-first`` labelled 1 and about ``+-second`` labelled -1, a quarter each.

    Raises
    ------
    ValueError
        If the two are not vectors of one length, or as for `isotropic_mixture`.

    Examples
    --------
    >>> xor_mixture(jnp.asarray([3.0, 1.0]), jnp.asarray([1.0, -3.0])).inputs.means.tolist()
    [[3.0, 1.0], [-3.0, -1.0], [1.0, -3.0], [-1.0, 3.0]]
    """
    first, second = floats(first), floats(second)
    if first.ndim != 1 or first.shape != second.shape:
        message = "Expected two vectors of one length. "
        message += f"Received: shapes {first.shape} and {second.shape}."
        raise ValueError(message)
    means = jnp.stack([first, -first, second, -second])
    labels = jnp.asarray([1.0, 1.0, -1.0, -1.0], means.dtype)
    return Classification(isotropic_mixture(means, std), labels)


def binary_labels(y: object) -> Float[np.ndarray, " n"]:
    """The labels of two classes as -1 (the one that sorts first) and 1.

    Raises
    ------
    ValueError
        If there are not exactly two classes, or a label is missing.

    Examples
    --------
    >>> binary_labels(["cat", "dog", "cat"]).tolist()
    [-1.0, 1.0, -1.0]
    """
    values = np.asarray(y)
    if values.ndim != 1 or not values.size:
        message = f"Expected one label for each sample. Received: shape {values.shape}."
        raise ValueError(message)
    if np.issubdtype(values.dtype, np.floating) and not np.all(np.isfinite(values)):
        message = "Expected a label for each sample. Received: NaN or infinity among them; "
        message += "drop these samples."
        raise ValueError(message)
    classes = np.unique(values)
    if len(classes) != 2:
        message = "Expected labels of two classes. Received: "
        message += f"{len(classes)} class{'es' if len(classes) > 1 else ''}"
        message += "." if len(classes) > 6 else f", {', '.join(map(str, classes.tolist()))}."
        raise ValueError(message)
    return np.where(values == classes[1], 1.0, -1.0)


class Dataset(eqx.Module):
    """The empirical law of given samples: draws rows with replacement.

    Attributes
    ----------
    x, y
        Inputs, one a row, and their labels.

    Raises
    ------
    ValueError
        If the shapes don't fit together, or a number is not finite.

    Examples
    --------
    >>> import jax
    >>> x, y = Dataset(jnp.eye(2), jnp.ones(2)).sample(5, key=jax.random.key(0))
    >>> x.shape, y.tolist()
    ((5, 2), [1.0, 1.0, 1.0, 1.0, 1.0])
    """

    x: Float[Array, "n d"] = eqx.field(converter=floats)
    y: Float[Array, " n"] = eqx.field(converter=floats)

    def __check_init__(self):
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1] or not self.x.size:
            message = "Expected a table of inputs and one label for each of its rows. "
            message += f"Received: shapes {self.x.shape} and {self.y.shape}."
            raise ValueError(message)
        check_finite(inputs=self.x, labels=self.y)

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Rows drawn with replacement."""
        rows = jax.random.randint(key, (num_samples,), 0, self.x.shape[0])
        return self.x[rows], self.y[rows]
