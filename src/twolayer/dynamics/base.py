"""What every training algorithm has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.networks import TwoLayerNetwork
from twolayer.targets import Polynomial

Parameters = tuple[Float[Array, "*s m"], Float[Array, "*s m d"], Float[Array, "*s m"] | None]
Risk = Callable[[TwoLayerNetwork], Float[Array, ""]]
Tree = TypeVar("Tree")


class Dynamics(eqx.Module):
    """A training algorithm: how a network moves in time.

    It counts time in ticks of its own: steps for a stochastic algorithm, time itself for a flow.
    """

    @abstractmethod
    def ticks(self, times: Float[np.ndarray, " t"]) -> np.ndarray:
        """The ticks at the given times; whole numbers if the algorithm moves in steps."""

    @abstractmethod
    def times(self, ticks: np.ndarray) -> Float[np.ndarray, " t"]:
        """The times of the given ticks."""

    @abstractmethod
    def advance(
        self,
        network: TwoLayerNetwork,
        task: Any,
        start: Array,
        stop: Array,
        *,
        key: PRNGKeyArray,
    ) -> TwoLayerNetwork:
        """The network at tick `stop`, from the one at tick `start`.

        Where it pauses in between changes nothing but rounding: the randomness of a tick
        depends on `key` and the tick alone.
        """


class Constant(eqx.Module):
    """The schedule that is the same at all times.

    Attributes
    ----------
    value
        Its value.

    Examples
    --------
    >>> float(Constant(2.0)(jnp.asarray(7.0)))
    2.0
    """

    value: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The value at each time."""
        return jnp.broadcast_to(self.value.astype(t.dtype), t.shape)


def as_schedule(schedule: Any) -> Any:
    """A function of time as it is; a number as a `Constant`."""
    return schedule if callable(schedule) else Constant(schedule)


def parameters_of(network: TwoLayerNetwork) -> Parameters:
    """What training moves: output weights, input weights, biases."""
    return network.a, network.W, network.b


def with_parameters(network: TwoLayerNetwork, parameters: Parameters) -> TwoLayerNetwork:
    """The same network with other weights and biases."""
    return eqx.tree_at(parameters_of, network, parameters, is_leaf=lambda leaf: leaf is None)


def neuron_velocity(risk: Risk, network: TwoLayerNetwork) -> Parameters:
    r"""The velocity of each neuron under the gradient flow of a risk.

    .. math:: \dot\theta_i = -\frac{1}{\mathrm{scale}} \nabla_{\theta_i} R

    In the mean-field scaling (scale = 1/m) that is m times the gradient, so that a neuron's
    velocity does not depend on how many others there are: (2.4) of chen2024subspace. A plain sum
    (scale = 1) moves with the plain gradient.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> from twolayer.risks import EmpiricalRisk
    >>> network = TwoLayerNetwork(jnp.ones(2), jnp.ones((2, 1)), None, relu, 0.5)
    >>> a, W, b = neuron_velocity(EmpiricalRisk(jnp.ones((1, 1)), jnp.full(1, 3.0)), network)
    >>> a.tolist(), W.tolist()
    ([2.0, 2.0], [[2.0], [2.0]])
    """
    gradient = jax.grad(lambda parameters: risk(with_parameters(network, parameters)))(
        parameters_of(network)
    )
    return jax.tree.map(lambda leaf: -leaf / network.scale, gradient)


def cast(tree: Tree, dtype: Any) -> Tree:
    """The same tree with all its real arrays in `dtype`."""

    def leaf(x: Any) -> Any:
        is_array = isinstance(x, np.ndarray | np.generic | jax.Array)
        return jnp.asarray(x, dtype) if is_array and jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(leaf, tree)


def inexact(tree: Tree) -> Tree:
    """The same tree, its polynomials without their rational coefficients.

    These are not arrays: a program compiled with them would serve that polynomial alone.
    """

    def leaf(x: Any) -> Any:
        if not isinstance(x, Polynomial):
            return x
        bare = copy(x)
        object.__setattr__(bare, "exact", None)
        return bare

    return jax.tree.map(leaf, tree, is_leaf=lambda x: isinstance(x, Polynomial))


def in_single_precision(
    initialise: Callable[..., TwoLayerNetwork],
) -> Callable[..., TwoLayerNetwork]:
    """The same initialisation with weights in single precision, in which they then train.

    SGD gains a factor of two to three, and its rounding stays far below its own noise.

    Examples
    --------
    >>> from functools import partial
    >>> import twolayer as tl
    >>> initialise = in_single_precision(partial(tl.mean_field_network, 4, 3, tl.tanh))
    >>> initialise(key=jax.random.key(0)).W.dtype.name
    'float32'
    """

    def rounded(*, key: PRNGKeyArray) -> TwoLayerNetwork:
        return cast(initialise(key=key), jnp.float32)

    return rounded
