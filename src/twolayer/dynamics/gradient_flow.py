"""Gradient flow of a finite network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.dynamics.base import (
    Dynamics,
    Parameters,
    Risk,
    as_schedule,
    neuron_velocity,
    parameters_of,
    with_parameters,
)
from twolayer.dynamics.observe import population_risk
from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.ode import integrate


class GradientFlow(Dynamics):
    r"""Gradient flow of a finite network on a risk, by adaptive integration.

    .. math:: \dot\theta_i = -\xi(t)\, \frac{1}{\mathrm{scale}} \nabla_{\theta_i} R(\theta)

    In the mean-field scaling this is (2.4) of chen2024subspace for the empirical measure of
    the neurons: the limit of SGD as its step goes to 0 with the network kept finite.

    Attributes
    ----------
    risk
        What descends. By default the population risk of the task, in closed form; an
        `EmpiricalRisk` trains on its samples.
    schedule_a, schedule_w
        ``xi_a(t)`` and ``xi_w(t)``: numbers or functions of time; biases move with ``xi_w``.
    rtol
        Relative tolerance of each integration step; never below 30 units of rounding.

    Examples
    --------
    >>> GradientFlow().ticks(np.array([0.0, 1.5]))
    array([0. , 1.5])
    """

    risk: Risk | None = None
    schedule_a: Callable[[Array], Array] = eqx.field(converter=as_schedule, default=1.0)
    schedule_w: Callable[[Array], Array] = eqx.field(converter=as_schedule, default=1.0)
    rtol: float = eqx.field(static=True, default=1e-6)

    def ticks(self, times: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """The times themselves."""
        return np.asarray(times, np.float64)

    def times(self, ticks: np.ndarray) -> Float[np.ndarray, " t"]:
        """The times themselves."""
        return ticks

    def advance(
        self,
        network: TwoLayerNetwork,
        task: Any,
        start: Float[Array, ""],
        stop: Float[Array, ""],
        *,
        key: PRNGKeyArray,
    ) -> TwoLayerNetwork:
        """The network at time `stop`, from the one at `start`; not finite if it is not reached."""
        del key  # nothing here is random
        risk = population_risk(task) if self.risk is None else self.risk
        dtype = network.W.dtype
        rtol = max(self.rtol, 30 * float(jnp.finfo(dtype).eps))
        flow = integrate(
            _Velocity(risk, network, self.schedule_a, self.schedule_w),
            parameters_of(network),
            jnp.stack([start, stop]).astype(dtype),
            rtol=rtol,
            atol=rtol / 100,
        )
        return with_parameters(network, jax.tree.map(lambda states: states[-1], flow.states))


class _Velocity(eqx.Module):
    risk: Risk
    network: TwoLayerNetwork
    schedule_a: Callable[[Array], Array]
    schedule_w: Callable[[Array], Array]

    def __call__(self, t: Float[Array, ""], parameters: Parameters) -> Parameters:
        a, W, b = neuron_velocity(self.risk, with_parameters(self.network, parameters))
        xi_a = self.schedule_a(t).astype(t.dtype)
        xi_w = self.schedule_w(t).astype(t.dtype)
        return xi_a * a, xi_w * W, None if b is None else xi_w * b
