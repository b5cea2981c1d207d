"""The gradient of the risk at every particle, by hand and in blocks of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twolayer.free_energy import FreeEnergy, Particles

BLOCK_BYTES = 2**21  # pre-activations of a block; they should stay in the processor's cache
SMALLEST_BLOCK = 32  # below it a matrix product is no longer one


class Block(NamedTuple):
    """Some samples, and which of them no block before had.

    Attributes
    ----------
    x, y, fresh
        Inputs, labels, and whether each is new.
    """

    x: Float[Array, "b p"]
    y: Float[Array, "b k"]
    fresh: Bool[Array, " b"]


class RiskGradient(NamedTuple):
    """What `risk_gradient` returns.

    Attributes
    ----------
    gradient
        The gradient of ``N R`` at each particle: the first variation's, without weight decay.
    residual
        The slope ``l'(f(x_i), y_i)`` at each sample, one column an output.
    loss
        The loss at each sample, summed over outputs.
    """

    gradient: Particles
    residual: Float[Array, "n k"]
    loss: Float[Array, " n"]


def risk_gradient(
    problem: FreeEnergy, particles: Particles, *, block_size: int | None = None
) -> RiskGradient:
    r"""The gradient of the risk at every particle, times their number.

    .. math::
        \partial_{a_j} N R = g(w_j), \quad
        \partial_{w_j} N R = \frac1n \sum_i (a_j \cdot r_i)\, s'(w_j \cdot x_i)\, x_i, \qquad
        g(w) = \frac1n \sum_i r_i\, s(w \cdot x_i), \quad r_i = l'(f(x_i), y_i)

    (derived here by the chain rule). A clipped output weight has the factor
    ``bound (1 - tanh(a)^2)`` in the first; a fixed one has no gradient. Samples are taken in
    blocks, forward through all neurons and backward at once, so that memory does not grow with
    their number and the features of a block never leave the cache.

    Parameters
    ----------
    problem
        What is minimised.
    particles
        The neurons.
    block_size
        Samples in a block; by default so many that their pre-activations take 2 MiB. Any number
        gives the same gradient up to rounding.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [2.0]], [0.0, 0.0], tanh, 0.5, 0.5, 0.1)
    >>> found = risk_gradient(problem, Particles(jnp.ones((3, 1)), jnp.zeros((3, 1))))
    >>> found.gradient.a.ravel().tolist(), found.residual.ravel().tolist()
    ([0.0, 0.0, 0.0], [0.0, 0.0])
    """
    W, n = particles.W, problem.num_samples
    outer = problem.output_weights(particles.a)

    def add(sums: tuple[Array, Array], block: Block) -> tuple[tuple[Array, Array], Array, Array]:
        value, slope, residual, loss = _forward(problem, outer, W, block)
        seen = jnp.where(block.fresh[:, None], residual, 0) / n
        to_a, to_W = _backward(outer, value, slope, block.x, seen)
        return (sums[0] + to_a, sums[1] + to_W), residual, loss

    sums = jnp.zeros_like(outer), jnp.zeros_like(W)
    (to_a, to_W), residual, loss = _over_blocks(problem, W, block_size, add, sums)
    if outer.shape[1] == 1:  # taken out of the sum over samples, see _backward
        to_W = outer * to_W
    gradient = Particles(_through_output(problem, particles.a, to_a), to_W)
    return RiskGradient(gradient, residual, loss)


def residuals(
    problem: FreeEnergy, particles: Particles
) -> tuple[Float[Array, "n k"], Float[Array, " n"]]:
    """The slope ``l'(f(x_i), y_i)`` and the loss at each sample, in blocks."""
    outer = problem.output_weights(particles.a)

    def add(sums: tuple[()], block: Block) -> tuple[tuple[()], Array, Array]:
        _, _, residual, loss = _forward(problem, outer, particles.W, block)
        return sums, residual, loss

    return _over_blocks(problem, particles.W, None, add, ())[1:]


def samples_of(problem: FreeEnergy, rows: Int[Array, " b"]) -> FreeEnergy:
    """The same problem on some of its samples."""
    return eqx.tree_at(lambda p: (p.x, p.y), problem, (problem.x[rows], problem.y[rows]))


def _over_blocks(
    problem: FreeEnergy,
    W: Float[Array, "N p"],
    size: int | None,
    add: Callable[[Any, Block], tuple[Any, Array, Array]],
    sums: Any,
) -> tuple[Any, Float[Array, "n k"], Float[Array, " n"]]:
    """The sums over all blocks; residuals and losses of all samples."""
    n = problem.num_samples
    size = min(n, size or max(SMALLEST_BLOCK, BLOCK_BYTES // (W.dtype.itemsize * W.shape[0])))

    def one(i: Int[Array, ""] | int, carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        # The last block reaches back into the one before, whose samples then count as seen.
        first = jnp.minimum(i * size, n - size)
        rows = (jax.lax.dynamic_slice_in_dim(part, first, size) for part in (problem.x, problem.y))
        x, y = (part.astype(W.dtype) for part in rows)
        sums, residual, loss = add(carry[0], Block(x, y, first + jnp.arange(size) >= i * size))
        residual = jax.lax.dynamic_update_slice_in_dim(carry[1], residual, first, 0)
        return sums, residual, jax.lax.dynamic_update_slice_in_dim(carry[2], loss, first, 0)

    carry = sums, jnp.zeros(problem.y.shape, W.dtype), jnp.zeros(n, W.dtype)
    if size == n:
        return one(0, carry)
    return jax.lax.fori_loop(0, -(-n // size), one, carry)


def _forward(
    problem: FreeEnergy, outer: Float[Array, "N k"], W: Float[Array, "N p"], block: Block
) -> tuple[Array, Array, Array, Array]:
    """Features and their slopes ``[N, b]``, residuals ``[b, k]`` and losses ``[b]``."""
    z = W @ block.x.T
    value, slope = jax.jvp(problem.activation, (z,), (jnp.ones_like(z),))
    f = (outer.T @ value).T / W.shape[0]
    loss = jnp.sum(problem.loss(f, block.y), axis=1)
    return value, slope, problem.loss.slope(f, block.y), loss


def _backward(
    outer: Float[Array, "N k"],
    value: Float[Array, "N b"],
    slope: Float[Array, "N b"],
    x: Float[Array, "b p"],
    residual: Float[Array, "b k"],
) -> tuple[Float[Array, "N k"], Float[Array, "N p"]]:
    """What a block adds to ``g(w_j)`` and to the gradient in w.

    With one output the latter is without its factor a, which no sample changes.
    """
    one_output = residual.shape[1] == 1
    push = residual.T if one_output else outer @ residual.T
    return value @ residual, (slope * push) @ x


def _through_output(
    problem: FreeEnergy, a: Float[Array, "N k"], g: Float[Array, "N k"]
) -> Float[Array, "N k"]:
    """The derivative in a itself, from that in the output weight."""
    if problem.output == "clipped":
        return problem.bound.astype(a.dtype) * (1 - jnp.tanh(a) ** 2) * g
    return g if problem.output == "free" else jnp.zeros_like(g)
