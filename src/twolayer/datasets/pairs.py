"""Two classes of images as a mixture: real images plus noise, and Gaussians of equal moments."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.inputs import GaussianMixture
from twolayer.tasks import Classification

Variant = Literal["demeaned", "means-kept"]
_VARIANTS = ("demeaned", "means-kept")
_ROUNDING = 1e-26  # the variance that the mean of equal images leaves, as a part of its square


class ImagePair(eqx.Module):
    """Images of two classes, drawn with replacement, plus fresh noise ``N(0, I)``; y is 1 or -1.

    Made by `image_pair`. The law of x given the class has exactly the moments `means` and
    `covariances`.

    Attributes
    ----------
    first, second
        The scaled images of the two classes, one a row.
    shifts, scales
        What was subtracted from each class's images, and what they were then multiplied by.
    proportion
        The first class's share.
    classes
        The names of the two classes among the labels.
    balanced
        Whether n samples hold the classes in exact proportion and in their order, as the
        experiments of demir2025asymptotic draw them, rather than independently.
    """

    first: Float[Array, "a d"] = eqx.field(converter=jnp.asarray)
    second: Float[Array, "b d"] = eqx.field(converter=jnp.asarray)
    shifts: Float[Array, "2 d"] = eqx.field(converter=jnp.asarray)
    scales: Float[Array, " 2"] = eqx.field(converter=jnp.asarray)
    proportion: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    classes: tuple[Hashable, Hashable] = eqx.field(static=True)
    balanced: bool = eqx.field(static=True, default=True)

    @property
    def dim(self) -> int:
        """The number d of pixels."""
        return self.first.shape[-1]

    @property
    def means(self) -> Float[np.ndarray, "2 d"]:
        """``E[x | class]``, in double precision."""
        return np.stack([pool.mean(axis=0) for pool in self._pools()])

    @property
    def covariances(self) -> Float[np.ndarray, "2 d d"]:
        """``Cov[x | class]``, the noise's identity included, in double precision."""
        centred = [pool - pool.mean(axis=0) for pool in self._pools()]
        return np.stack([np.eye(self.dim) + c.T @ c / len(c) for c in centred])

    @property
    def traces(self) -> Float[np.ndarray, " 2"]:
        """The traces of the covariances, ``d + theta`` in both classes if they were equalised."""
        return np.array([self.dim + pool.var(axis=0).sum() for pool in self._pools()])

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Noisy images and their labels, 1 for the first class and -1 for the second."""
        key_class, key_first, key_second, key_noise = jax.random.split(key, 4)
        dtype = self.first.dtype
        if self.balanced:
            place = (jnp.arange(num_samples, dtype=dtype) + 0.5) / num_samples
        else:
            place = jax.random.uniform(key_class, (num_samples,), dtype)
        is_first = place < self.proportion
        rows = jax.random.randint(key_first, (num_samples,), 0, self.first.shape[0])
        other_rows = jax.random.randint(key_second, (num_samples,), 0, self.second.shape[0])
        images = jnp.where(is_first[:, None], self.first[rows], self.second[other_rows])
        x = images + jax.random.normal(key_noise, images.shape, dtype)
        return x, jnp.where(is_first, 1.0, -1.0).astype(dtype)

    def split(self, fraction: float, *, key: PRNGKeyArray) -> tuple[ImagePair, ImagePair]:
        """Two pairs without a common image: this share of each class, at random, and the rest.

        Images come back when they are drawn with replacement: train on one part and test on the
        other. Both keep the shifts and scales of the whole.

        Raises
        ------
        ValueError
            If a part would be without images of a class.
        """
        parts: list[tuple[Array, Array]] = []
        for pool, own in zip((self.first, self.second), jax.random.split(key), strict=True):
            size = pool.shape[0]
            valid = _is_number(fraction) and 0 < fraction < 1
            count = round(fraction * size) if valid else 0
            if not 0 < count < size:
                message = f"Expected a fraction that leaves images of each class ({size} in one) "
                message += f"in both parts. Received: {fraction!r}."
                raise ValueError(message)
            rows = jax.random.permutation(own, size)
            parts.append((pool[rows[:count]], pool[rows[count:]]))
        (first, other_first), (second, other_second) = parts
        return self._with_pools(first, second), self._with_pools(other_first, other_second)

    def with_images(self, data: tuple[Any, Any]) -> ImagePair:
        """Other images of the same classes, under the shifts and scales of these.

        For a test on images that had no part in choosing them, such as Fashion-MNIST's test set.

        Raises
        ------
        ValueError
            As for `image_pair`, or if the images are of another size.
        """
        pools = [_pool(*_table(data), name) for name in self.classes]
        if pools[0].shape[1] != self.dim:
            message = f"Expected images of {self.dim} pixels. Received: {pools[0].shape[1]}."
            raise ValueError(message)
        shifts, scales = np.asarray(self.shifts), np.asarray(self.scales)
        moved = [
            scale * (pool - shift) for pool, shift, scale in zip(pools, shifts, scales, strict=True)
        ]
        return self._with_pools(*map(jnp.asarray, moved))

    def _with_pools(self, first: Array, second: Array) -> ImagePair:
        return eqx.tree_at(lambda pair: (pair.first, pair.second), self, (first, second))

    def _pools(self) -> list[Float[np.ndarray, "n d"]]:
        return [np.asarray(pool, np.float64) for pool in (self.first, self.second)]


def image_pair(
    data: tuple[Any, Any],
    first: Hashable,
    second: Hashable,
    *,
    variant: Variant = "demeaned",
    equal_traces: bool = True,
    strength: float | None = None,
    proportion: float = 0.5,
    balanced: bool = True,
) -> ImagePair:
    r"""Two classes of images, standardised as in the image experiments of demir2025asymptotic.

    .. math:: x = \sqrt{\theta / \operatorname{Tr} S_c}\, (\text{image} - \text{shift}_c) + g,
              \qquad g \sim N(0, I), \quad y = \pm 1,

    with ``S_c`` the covariance of class c. That is the paper's order of steps in one: the second
    class is multiplied by ``sqrt(Tr S_1 / Tr S_2)``, then both by ``sqrt(theta / Tr S_1)``. A
    common factor of all images has no effect.

    Parameters
    ----------
    data
        Images, one a row of any shape, and their labels: `fashion_mnist()`, or arrays of your own.
        Bytes are divided by 255.
    first, second
        The labels of the two classes, which get y = 1 and y = -1.
    variant
        ``"demeaned"`` subtracts from each class its own mean, as in the paper's Figures 3 and 7;
        ``"means-kept"`` the midpoint of the two means from both, as in Figure 8.
    equal_traces
        Whether each class is divided by the root of its own trace; otherwise both are by that of
        the mean trace, and the mean of ``Tr S_c`` is theta.
    strength
        The trace theta of the structured part; the number of pixels by default.
    proportion
        The first class's share of the samples.
    balanced
        Whether samples hold the classes in exact proportion and in their order.

    Raises
    ------
    ValueError
        If images and labels don't fit together or are not finite, a class is absent or without
        variation, the two are the same, or an option is out of its range.

    Examples
    --------
    >>> data = np.arange(24.0).reshape(6, 2, 2) ** 2, np.array([0, 0, 0, 1, 1, 1])
    >>> pair = image_pair(data, 0, 1)
    >>> pair.traces.round(3).tolist()  # 4 pixels of unit noise, strength 4
    [8.0, 8.0]
    >>> pair.sample(4, key=jax.random.key(0))[1].tolist()
    [1.0, 1.0, -1.0, -1.0]
    """
    if variant not in _VARIANTS:
        message = f"Expected the variant to be one of {', '.join(_VARIANTS)}. "
        message += f"Received: {variant!r}."
        raise ValueError(message)
    if not (_is_number(proportion) and 0 <= proportion <= 1):
        message = f"Expected a proportion in [0, 1]. Received: {proportion!r}."
        raise ValueError(message)
    if first == second:
        message = f"Expected two different classes. Received: {first!r} twice."
        raise ValueError(message)
    images, labels = _table(data)
    pools = [_pool(images, labels, name) for name in (first, second)]
    dim = pools[0].shape[1]
    theta = dim if strength is None else strength
    if not (_is_number(theta) and 0 < theta < math.inf):
        message = f"Expected a strength above 0. Received: {strength!r}."
        raise ValueError(message)
    means = np.stack([pool.mean(axis=0) for pool in pools])
    traces = np.array([pool.var(axis=0).sum() for pool in pools])
    for name, trace, mean in zip((first, second), traces, means, strict=True):
        if trace <= _ROUNDING * np.sum(mean**2):
            message = "Expected images that differ within each class. "
            message += f"Received: equal ones, or a single one, of class {name!r}."
            raise ValueError(message)
    scales = np.sqrt(theta / (traces if equal_traces else np.full(2, traces.mean())))
    shifts = means if variant == "demeaned" else np.broadcast_to(means.mean(axis=0), means.shape)
    moved = [scales[c] * (pools[c] - shifts[c]) for c in (0, 1)]
    return ImagePair(*moved, shifts, scales, float(proportion), (first, second), balanced)  # type: ignore[arg-type]


def gaussian_surrogate(pair: ImagePair) -> Classification:
    """The Gaussian mixture with the pair's proportions, means, covariances and labels.

    That training on it ends at the errors of training on the images themselves is no theorem for
    images, but what such experiments test.

    Examples
    --------
    >>> data = np.arange(24.0).reshape(6, 4) ** 2, np.array([0, 0, 0, 1, 1, 1])
    >>> gaussian_surrogate(image_pair(data, 0, 1)).inputs.traces.round(3).tolist()
    [8.0, 8.0]
    """
    share = float(pair.proportion)
    mixture = GaussianMixture.from_covariances(
        pair.means, pair.covariances, [share, 1 - share], balanced=pair.balanced
    )
    return Classification(mixture, [1.0, -1.0])  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)


def _table(data: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images, still as they came but one a row, and labels."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        message = f"Expected a pair of images and labels. Received: a {type(data).__name__}."
        raise ValueError(message)
    images, labels = (np.asarray(part) for part in data)
    if images.ndim < 2 or labels.shape != images.shape[:1] or not images.size:
        message = "Expected images, one a row, and one label for each. "
        message += f"Received: shapes {images.shape} and {labels.shape}."
        raise ValueError(message)
    if images.dtype.kind not in "uif":
        message = f"Expected images of numbers. Received: {images.dtype} values."
        raise ValueError(message)
    if images.dtype.kind == "f" and not np.all(np.isfinite(images)):
        message = "Expected images of finite numbers. Received: NaN or infinity among them; drop "
        message += "or fill those images."
        raise ValueError(message)
    if labels.dtype.kind == "f" and not np.all(np.isfinite(labels)):
        message = "Expected a class for each image. Received: NaN or infinity among the labels; "
        message += "drop those images."
        raise ValueError(message)
    return images.reshape(len(images), -1), labels


def _pool(images: np.ndarray, labels: np.ndarray, name: Hashable) -> Float[np.ndarray, "n d"]:
    """The images of one class in double precision, bytes as parts of 255."""
    own = images[labels == name]
    if not len(own):
        known = ", ".join(str(label) for label in np.unique(labels)[:12])
        message = f"Expected a class among the labels {known}. Received: {name!r}."
        raise ValueError(message)
    return own / 255.0 if images.dtype == np.uint8 else own.astype(np.float64)
