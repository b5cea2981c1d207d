"""Inputs built from a hidden dictionary, ``x = M phi``, with a parity of hidden units as label."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.inputs import check_finite, floats
from twolayer.networks import check_positive


class StructuredParity(eqx.Module):
    """Parities of r blocks of k hidden units, with inputs that give the blocks away.

    ``x = M phi`` with an orthonormal dictionary M, whose first ``r k`` columns are the relevant
    ones, block after block. With probability ``p_A`` each, for each block and each sign, all the
    block's units are that sign and the other relevant units are 0; else the relevant units are
    uniform on ``{-1, 1}^(rk)``. Each of the other units is 1 or -1 with probability ``p_o`` each,
    else 0. The label is the sign of the sum over blocks of the product of the block's units.

    Attributes
    ----------
    dictionary
        Orthonormal columns, as many as dimensions.
    num_blocks, block_size
        The odd numbers r and k.
    block_probability
        The ``p_A``; 0 removes the structure.
    background
        The ``p_o``.

    Raises
    ------
    ValueError
        If the dictionary is not orthonormal or has too few columns, r or k is not odd, or a
        probability leaves its range.

    Examples
    --------
    >>> import jax
    >>> task = StructuredParity(jnp.eye(8), 1, 3, 0.25, 0.1)
    >>> x, y = task.sample(4, key=jax.random.key(0))
    >>> bool(jnp.all(y == jnp.sign(jnp.prod(x[:, :3], axis=1)))), task.uniform_weight
    (True, 0.5)
    """

    dictionary: Float[Array, "d d"] = eqx.field(converter=floats)
    num_blocks: int = eqx.field(static=True)
    block_size: int = eqx.field(static=True)
    block_probability: float = eqx.field(static=True)
    background: float = eqx.field(static=True)

    def __check_init__(self):
        check_positive(num_blocks=self.num_blocks, block_size=self.block_size)
        _check_orthonormal(self.dictionary, square=True)
        relevant = self.num_blocks * self.block_size
        if self.num_blocks % 2 == 0 or self.block_size % 2 == 0:
            message = "Expected an odd number of blocks of odd size: else labels would be 0, or "
            message += f"the signs of a block the same. Received: {self.num_blocks} blocks of "
            message += f"{self.block_size}."
            raise ValueError(message)
        if relevant > self.dictionary.shape[0]:
            message = f"Expected a dictionary of at least {relevant} columns. "
            message += f"Received: {self.dictionary.shape[0]}."
            raise ValueError(message)
        if not 0 <= 2 * self.num_blocks * self.block_probability <= 1:
            message = "Expected a block probability between 0 and 1 / (2 blocks). "
            message += f"Received: {self.block_probability!r}."
            raise ValueError(message)
        if not 0 <= self.background <= 0.5:
            message = "Expected a background probability between 0 and 1/2. "
            message += f"Received: {self.background!r}."
            raise ValueError(message)

    @property
    def dim(self) -> int:
        """The input dimension d."""
        return self.dictionary.shape[0]

    @property
    def uniform_weight(self) -> float:
        """The share ``1 - 2 r p_A`` of inputs whose relevant units are uniform."""
        return 1 - 2 * self.num_blocks * self.block_probability

    @property
    def features(self) -> Float[Array, "r d"]:
        """The unit vectors ``D_j = sum_{l in A_j} M_l / sqrt(k)``, one a row."""
        relevant = self.dictionary[:, : self.num_blocks * self.block_size]
        blocks = relevant.T.reshape(self.num_blocks, self.block_size, self.dim)
        return jnp.sum(blocks, axis=1) / math.sqrt(self.block_size)

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Labelled samples."""
        phi, y = self.sample_hidden(num_samples, key=key)
        return phi @ self.dictionary.T, y

    def sample_hidden(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Hidden units ``phi``, one sample a row, and the labels."""
        dtype = self.dictionary.dtype
        r, k = self.num_blocks, self.block_size
        key_kind, key_signs, key_background = jax.random.split(key, 3)
        signs = jax.random.rademacher(key_signs, (num_samples, r, k), dtype)
        # Place 2 j and 2 j + 1 of the unit interval, each p_A long: block j with sign + and -.
        place = jax.random.uniform(key_kind, (num_samples,), dtype)
        kind = jnp.floor(place / max(self.block_probability, 1e-30))
        kind = jnp.minimum(kind, 2 * r - 1)  # against rounding, just below the end of the last
        block = jnp.floor(kind / 2)
        sign = 1 - 2 * (kind - 2 * block)
        own = block[:, None] == jnp.arange(r, dtype=dtype)[None]
        all_equal = jnp.where(own, sign[:, None], 0.0).astype(dtype)[:, :, None]
        structured = (place < 1 - self.uniform_weight)[:, None, None]
        relevant = jnp.where(structured, all_equal, signs)
        y = jnp.sign(jnp.sum(jnp.prod(relevant, axis=2), axis=1))
        u = jax.random.uniform(key_background, (num_samples, self.dim - r * k), dtype)
        one, other = u < self.background, u > 1 - self.background
        rest = jnp.where(one, 1.0, jnp.where(other, -1.0, 0.0)).astype(dtype)
        return jnp.concatenate([relevant.reshape(num_samples, r * k), rest], axis=1), y


class CodedParity(eqx.Module):
    """The parity of k of D hidden units in {0, 1}, seen through a dictionary and standardised.

    ``x = M (phi - E phi) / std``, each unit by its own standard deviation. With probability
    `structured` the k relevant units, the dictionary's first columns, are all 1 or all 0 with
    equal chance; else they are uniform. Each other unit is 1 with probability `background`. The
    label is 1 where the number of relevant ones is odd. A case of the model of shi2022theoretical,
    whose simulation does not state its law of the relevant units.

    Attributes
    ----------
    dictionary
        Orthonormal columns, one for each hidden unit.
    relevant
        The odd number k of relevant units.
    structured
        The share of inputs that give the relevant units away; 0 removes the structure.
    background
        The probability of a one among the other units.

    Raises
    ------
    ValueError
        If the dictionary is not orthonormal or has too few columns, k is not odd, or a
        probability leaves its range.

    Examples
    --------
    >>> import jax
    >>> task = CodedParity(jnp.eye(6)[:, :5], 3)
    >>> x, y = task.sample(3, key=jax.random.key(0))
    >>> x.shape, abs(y).tolist()
    ((3, 6), [1.0, 1.0, 1.0])
    """

    dictionary: Float[Array, "d D"] = eqx.field(converter=floats)
    relevant: int = eqx.field(static=True)
    structured: float = eqx.field(static=True, default=0.5)
    background: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        check_positive(relevant=self.relevant)
        _check_orthonormal(self.dictionary, square=False)
        if self.relevant % 2 == 0 or self.relevant > self.dictionary.shape[1]:
            message = "Expected an odd number of relevant units, at most "
            message += f"{self.dictionary.shape[1]}. Received: {self.relevant}."
            raise ValueError(message)
        if not 0 <= self.structured <= 1 or not 0 < self.background < 1:
            message = "Expected a structured share from 0 to 1 and a background inside (0, 1). "
            message += f"Received: {self.structured!r} and {self.background!r}."
            raise ValueError(message)

    @property
    def dim(self) -> int:
        """The input dimension d."""
        return self.dictionary.shape[0]

    @property
    def feature(self) -> Float[Array, " d"]:
        """The unit vector along the sum of the relevant columns."""
        return jnp.sum(self.dictionary[:, : self.relevant], axis=1) / math.sqrt(self.relevant)

    def sample(
        self, num_samples: int, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Labelled samples."""
        dtype, k = self.dictionary.dtype, self.relevant
        keys = jax.random.split(key, 4)
        kind = jax.random.uniform(keys[0], (num_samples, 1), dtype) < self.structured
        common = jax.random.bernoulli(keys[1], 0.5, (num_samples, 1))
        own = jax.random.bernoulli(keys[2], 0.5, (num_samples, k))
        units = jnp.where(kind, common, own).astype(dtype)
        rest = jax.random.uniform(keys[3], (num_samples, self.dictionary.shape[1] - k), dtype)
        p = self.background
        y = 2 * jnp.mod(jnp.sum(units, axis=1), 2) - 1
        phi = jnp.concatenate(
            [2 * units - 1, ((rest < p).astype(dtype) - p) / math.sqrt(p * (1 - p))], axis=1
        )
        return phi @ self.dictionary.T, y


def _check_orthonormal(dictionary: Array, *, square: bool) -> None:
    shape = dictionary.shape
    if len(shape) != 2 or shape[1] > shape[0] or (square and shape[1] < shape[0]) or not shape[1]:
        message = f"Expected a {'square ' if square else ''}dictionary with one column a hidden "
        message += f"unit, no more than dimensions. Received: an array of shape {shape}."
        raise ValueError(message)
    check_finite(dictionary=dictionary)
    try:
        columns = np.asarray(dictionary, np.float64)
    except jax.errors.TracerArrayConversionError:  # made inside a compiled function
        return
    if np.max(np.abs(columns.T @ columns - np.eye(shape[1]))) > 1e-4:
        message = "Expected orthonormal columns. Received: others; orthonormalise them."
        raise ValueError(message)
