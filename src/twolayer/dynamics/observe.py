"""What is measured along a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.inputs import Gaussian
from twolayer.networks import TwoLayerNetwork
from twolayer.risks import PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

_CHUNK = 512  # samples held in memory at a time


class Estimate(NamedTuple):
    """A sampled number and its standard error."""

    value: Float[Array, "*s"] | Float[np.ndarray, "*s"]
    error: Float[Array, "*s"] | Float[np.ndarray, "*s"]


class SampledRisk(eqx.Module):
    """``1/2 E (f(x) - y)^2`` estimated on fresh samples, streamed, with its standard error.

    The samples depend on `key` alone, so that one curve's noise is common to all its points.

    Attributes
    ----------
    task
        Where the samples come from.
    key
        Decides the samples.
    num_samples
        How many; rounded up to a multiple of 512.
    """

    task: Any
    key: PRNGKeyArray
    num_samples: int = eqx.field(static=True, default=8192)

    def __call__(self, network: TwoLayerNetwork) -> Estimate:
        """The estimated risk of one network."""
        num_chunks = -(-self.num_samples // _CHUNK)

        def add(k: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            x, y = self.task.sample(_CHUNK, key=jax.random.fold_in(self.key, k))
            losses = (jax.vmap(network)(x.astype(dtype)) - y.astype(dtype)) ** 2 / 2
            return sums[0] + jnp.sum(losses), sums[1] + jnp.sum(losses**2)

        dtype = network.W.dtype
        zero = jnp.zeros((), dtype)
        first, second = jax.lax.fori_loop(0, num_chunks, add, (zero, zero))
        n = num_chunks * _CHUNK
        mean = first / n
        return Estimate(mean, jnp.sqrt(jnp.maximum(second / n - mean**2, 0) / (n - 1)))


def has_population_risk(task: Any) -> bool:
    """Whether the population risk of a bias-free network on the task has a closed form here."""
    return (
        isinstance(task, Regression)
        and isinstance(task.inputs, Gaussian)
        and isinstance(task.target, Polynomial)
    )


def population_risk(task: Any) -> PopulationRisk:
    """The population risk of a polynomial of Gaussian inputs, in closed form.

    It is the risk against the target itself: label noise, which no network can predict, would
    add ``noise_std^2 / 2`` at all times and is left out.

    Raises
    ------
    ValueError
        If the task is any other.

    Examples
    --------
    >>> task = Regression(Gaussian(2), Polynomial("z1"))
    >>> isinstance(population_risk(task), PopulationRisk)
    True
    """
    if not has_population_risk(task):
        message = (
            "Expected a Regression of a Polynomial on Gaussian inputs, whose population risk has "
            f"a closed form. Received: {type(task).__name__}. Did you perhaps mean to give a risk?"
        )
        raise ValueError(message)
    return PopulationRisk(task.target)


def default_risk(task: Any, network: TwoLayerNetwork, *, key: PRNGKeyArray) -> Any:
    """The exact population risk where there is one, else the risk on fresh samples.

    Either is against labels without noise, where the task has a target.
    """
    if has_population_risk(task) and network.b is None:
        return population_risk(task)
    if isinstance(task, Regression):
        task = Regression(task.inputs, task.target)
    return SampledRisk(task, key)
