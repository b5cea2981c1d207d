"""One step of noisy gradient descent, in several ways."""

import itertools
import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

_SERIES_TERMS = 22  # of entire series in u < 1: the last is below 1e-20
_BISECTIONS = 60


class Integrator(eqx.Module):
    """How particles move in one step, given the gradient of their potential where they are.

    `theta` and `gradient` are PyTrees of the same arrays; what a step remembers for the next is
    the integrator's own `memory`.
    """

    @abstractmethod
    def start(self, theta: Any, temperature: Float[Array, ""], *, key: PRNGKeyArray) -> Any:
        """The memory before the first step."""

    @abstractmethod
    def move(
        self,
        theta: Any,
        memory: Any,
        gradient: Any,
        step: Float[Array, ""],
        temperature: Float[Array, ""],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Any, Any]:
        """Particles and memory after one step."""

    @abstractmethod
    def largest_step(self, curvature: float) -> float:
        """The step beyond which a quadratic potential of this curvature is unstable."""


class EulerMaruyama(Integrator):
    r"""The plain scheme ``theta - step * grad V + sqrt(2 tau step) xi``.

    Its stationary law is wrong by the order of the step.
    """

    def start(self, theta, temperature, *, key):
        """Nothing is remembered."""
        del theta, temperature, key

    def move(self, theta, memory, gradient, step, temperature, *, key):
        """Particles and memory after one step."""
        size = jnp.sqrt(2 * temperature * step)
        moved = jax.tree.map(
            lambda x, g, xi: x - step * g + size * xi, theta, gradient, normal_like(theta, key=key)
        )
        return moved, memory

    def largest_step(self, curvature):
        """``2 / curvature``."""
        return 2 / curvature


class LeimkuhlerMatthews(Integrator):
    r"""``theta - step * grad V + sqrt(tau step / 2) (xi_k + xi_{k+1})``, noise used twice.

    The same cost as Euler-Maruyama and a stationary law whose error is of the second order in
    the step (leimkuhler2013rational); for a quadratic potential it is exact at any stable step
    (derived here: the noise that a step shares with the next cancels the excess). On the way to
    stationarity it is of the first order, as Euler-Maruyama is.
    """

    def start(self, theta, temperature, *, key):
        """The first noise."""
        del temperature
        return normal_like(theta, key=key)

    def move(self, theta, memory, gradient, step, temperature, *, key):
        """Particles and memory after one step."""
        size = jnp.sqrt(temperature * step / 2)
        fresh = normal_like(theta, key=key)
        moved = jax.tree.map(
            lambda x, g, old, new: x - step * g + size * (old + new), theta, gradient, memory, fresh
        )
        return moved, fresh

    def largest_step(self, curvature):
        """``2 / curvature``."""
        return 2 / curvature


class Underdamped(Integrator):
    r"""Particles with a velocity: kinetic Langevin dynamics, exact while the force is frozen.

    .. math::
        d\theta = v\, dt, \qquad dv = -\gamma v\, dt - \nabla V\, dt + \sqrt{2\gamma\tau}\, dB

    The scheme of fu2024mean for N interacting particles. With ``u = friction * step``, position
    and velocity after a step are jointly Gaussian, with means and covariance (derived here)

    .. math::
        v' &= e^{-u} v - \tfrac{1 - e^{-u}}{\gamma} \nabla V, \quad
        \theta' = \theta + \tfrac{1 - e^{-u}}{\gamma} v
            - \tfrac{u - 1 + e^{-u}}{\gamma^2} \nabla V, \\
        \mathrm{Var}\,v' &= \tau (1 - e^{-2u}), \quad
        \mathrm{Cov}(\theta', v') = \tfrac{\tau}{\gamma} (1 - e^{-u})^2, \quad
        \mathrm{Var}(\theta' | v') = \tfrac{\tau}{\gamma^2} (2u - 4 \tanh(u / 2)).

    Attributes
    ----------
    friction
        The ``gamma``, positive.

    Raises
    ------
    ValueError
        If the friction is not positive.
    """

    friction: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=2.0)

    def __check_init__(self):
        if not 0 < self.friction < math.inf:
            message = f"Expected a positive friction. Received: {self.friction!s}."
            raise ValueError(message)

    def start(self, theta, temperature, *, key):
        """Velocities of the stationary law, ``N(0, tau I)``."""
        return jax.tree.map(lambda xi: jnp.sqrt(temperature) * xi, normal_like(theta, key=key))

    def move(self, theta, memory, gradient, step, temperature, *, key):
        """Particles and memory after one step."""
        gamma = self.friction.astype(step.dtype)
        u = gamma * step
        lost = -jnp.expm1(-u)
        deviation = jnp.sqrt(-temperature * jnp.expm1(-2 * u))
        # Cov / Var v = tanh(u / 2) / gamma
        slope, rest = jnp.tanh(u / 2) / gamma, jnp.sqrt(temperature * _conditional(u)) / gamma
        xi, zeta = normal_like((theta, theta), key=key)

        def position(x, v, g, xi, zeta):
            mean = x + lost / gamma * v - _drift(u) / gamma**2 * g
            return mean + slope * deviation * xi + rest * zeta

        def velocity(v, g, xi):
            return (1 - lost) * v - lost / gamma * g + deviation * xi

        moved = jax.tree.map(position, theta, memory, gradient, xi, zeta)
        return moved, jax.tree.map(velocity, memory, gradient, xi)

    def largest_step(self, curvature):
        """The step at which the frozen force drives the slowest oscillation out of the circle."""
        low, high = 0.0, 4 / curvature * (1 + float(self.friction)) + 4 / math.sqrt(curvature)
        while self._stable(high, curvature):
            low, high = high, 2 * high
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._stable(middle, curvature) else (low, middle)
        return low

    def _stable(self, step: float, curvature: float) -> bool:
        """Jury's conditions for the 2 x 2 map of a quadratic potential."""
        gamma = float(self.friction)
        u = gamma * step
        kept, c = math.exp(-u), -math.expm1(-u) / gamma
        b = (u + math.expm1(-u)) / gamma**2
        trace = 1 - curvature * b + kept
        determinant = kept * (1 - curvature * b) + curvature * c**2
        return abs(trace) < 1 + determinant and determinant < 1


INTEGRATORS = {
    "leimkuhler_matthews": LeimkuhlerMatthews,
    "euler_maruyama": EulerMaruyama,
    "underdamped": Underdamped,
}


def as_integrator(integrator: Any) -> Integrator:
    """An integrator as it is, or by its name.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if isinstance(integrator, Integrator):
        return integrator
    if integrator not in INTEGRATORS:
        message = f"Expected an integrator among {', '.join(INTEGRATORS)}. "
        message += f"Received: {integrator!r}."
        raise ValueError(message)
    return INTEGRATORS[integrator]()


def normal_like(tree: Any, *, key: PRNGKeyArray) -> Any:
    """Standard normals in the shape of each array: tables of as many rows.

    One draw gives all columns: it compiles in half the time of one draw for each array.
    """
    leaves, structure = jax.tree.flatten(tree)
    widths = [leaf.shape[1] for leaf in leaves]
    drawn = jax.random.normal(key, (leaves[0].shape[0], sum(widths)), leaves[0].dtype)
    ends = itertools.accumulate(widths)
    parts = [drawn[:, end - width : end] for width, end in zip(widths, ends, strict=True)]
    return jax.tree.unflatten(structure, parts)


def _conditional(u: Float[Array, ""]) -> Float[Array, ""]:
    """``2u - 4 tanh(u / 2) = u^3 / 6 - ...`` without cancellation."""
    terms = [(-1) ** (k - 1) * (2 * k - 4) / math.factorial(k) for k in range(3, _SERIES_TERMS)]
    small = u**3 * _horner(terms, u) / (1 + jnp.exp(-u))
    return jnp.where(u < 1, small, 2 * u - 4 * jnp.tanh(u / 2))


def _drift(u: Float[Array, ""]) -> Float[Array, ""]:
    """``u - 1 + exp(-u) = u^2 / 2 - ...`` without cancellation."""
    terms = [(-1) ** k / math.factorial(k) for k in range(2, _SERIES_TERMS)]
    return jnp.where(u < 1, u**2 * _horner(terms, u), u + jnp.expm1(-u))


def _horner(coefficients: list[float], u: Array) -> Array:
    total = jnp.zeros_like(u)
    for coefficient in reversed(coefficients):
        total = coefficient + u * total
    return total
