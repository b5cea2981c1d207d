"""Images of which only some principal directions keep their law; the rest is made Gaussian."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.datasets import ImagePair


class PartlyGaussian(eqx.Module):
    """Two classes of images, Gaussian in all but the leading principal directions of each.

    With as many directions kept as there are pixels these are the images themselves, with none
    the Gaussian mixture of their means and covariances. Made by `partly_gaussian`.

    Attributes
    ----------
    pair
        The images' parts in the directions kept.
    roots
        Symmetric roots of the covariances of the other parts.
    """

    pair: ImagePair
    roots: Float[Array, "2 d d"] = eqx.field(converter=jnp.asarray)

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Labelled samples: the same images and noise whatever is kept."""
        key_pair, key_rest = jax.random.split(key)
        x, y = self.pair.sample(num_samples, key=key_pair)
        g = jax.random.normal(key_rest, x.shape, x.dtype)
        return x + jnp.where(y[:, None] > 0, g @ self.roots[0], g @ self.roots[1]), y


def partly_gaussian(pair: ImagePair, kept: int) -> PartlyGaussian:
    """Keep the law of each class's images in its `kept` leading principal directions.

    Means and covariances stay those of `pair`.
    """
    pools, roots = [], []
    for part in (pair.first, pair.second):
        pool = np.asarray(part, np.float64)
        mean = pool.mean(axis=0)
        values, vectors = np.linalg.eigh((pool - mean).T @ (pool - mean) / len(pool))
        rest, main = np.split(vectors, [pool.shape[1] - kept], axis=1)
        pools.append(mean + (pool - mean) @ main @ main.T)
        spread = np.sqrt(np.maximum(values[: rest.shape[1]], 0))
        roots.append((rest * spread[None]) @ rest.T)
    moved = eqx.tree_at(lambda p: (p.first, p.second), pair, tuple(map(jnp.asarray, pools)))
    return PartlyGaussian(moved, np.stack(roots))  # type: ignore[arg-type]
