"""The potential of one neuron in the field of all: what the mean-field flow descends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.activations.functions import Activation, root_factorials
from twolayer.numerics.hermite import multi_indices
from twolayer.numerics.quadrature import sphere_cosine
from twolayer.targets import Polynomial, evaluate_monomials
from twolayer.theory.mean_field.population import Numbers, Population

_COMMON_DEGREE, _FEW = 3, 35  # targets of low degree share one program if it has few monomials
_MANY = 50  # dimensions from which on two angles suffice: error below 1e-4, else three: 1e-5

Schedule = Callable[[Float[Array, ""]], Float[Array, ""]]


class Overlap(NamedTuple):
    """``E g(x) s(w_i . x)`` of a function g with each neuron, and its derivatives."""

    value: Float[Array, " m"]
    along_w: Float[Array, "m p"]
    along_s: Float[Array, " m"]


class MeanField(eqx.Module):
    r"""The velocity of the neurons ``(a, w, s)`` under the mean-field flow, and their loss.

    .. math:: \dot\theta = -\xi(t) \nabla_\theta \Phi(\theta; \rho), \qquad
              \Phi(\theta; \rho) = a\,(Q(w, s) - P(w, s))

    (chen2024subspace, equations 2.4 and 2.5) with the overlaps of a neuron with the target,
    ``P = E h*(z) s(w.x) = sum_D h_D(w) mu_D(|w|^2 + s^2)``, h_D the homogeneous parts of the
    target's Hermite symbol and ``mu_D(q) = E s^(D)(sqrt(q) G)``; and with the network,
    ``Q_i = sum_j c_j a_j U_ij``, ``U_ij = E s(w_i.x) s(w_j.x)`` averaged over the angle between
    the two neurons' other directions (derived here). Both are exact for every activation that
    knows its derivatives and its dual.

    Attributes
    ----------
    exponents, coefficients
        The monomials of the target's Hermite symbol.
    second_moment
        ``E h*^2``.
    activation
        The function s.
    cosines, cosine_weights
        Gauss rule for the angle; the single node 0 in the limit of many dimensions.
    schedules
        The learning rates ``xi_a(t)`` and ``xi_w(t)``.
    """

    exponents: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    coefficients: Float[Numbers, " c"]
    second_moment: Float[Numbers, ""]
    activation: Activation
    cosines: Float[Numbers, " l"]
    cosine_weights: Float[Numbers, " l"]
    schedules: tuple[Schedule, Schedule]

    def velocity(self, time: Float[Array, ""], population: Population) -> Population:
        """The velocity of each neuron; the weights stay."""
        target = self.target_overlap(population)
        network = self.network_overlap(population)
        rate_a, rate_w = (schedule(time) for schedule in self.schedules)
        rate_w = rate_w * population.a
        return Population(
            rate_a * (target.value - network.value),
            rate_w[:, None] * (target.along_w - network.along_w),
            rate_w * (target.along_s - network.along_s),
            jnp.zeros_like(population.weight),
        )

    def loss(self, population: Population) -> Float[Array, ""]:
        """``1/2 E (f - h*)^2 = 1/2 E h*^2 - sum_i c_i a_i P_i + 1/2 sum_i c_i a_i Q_i``."""
        target = self.target_overlap(population).value
        network = self.network_overlap(population).value
        mass = population.weight * population.a
        return jnp.asarray(self.second_moment) / 2 - mass @ target + mass @ network / 2

    def target_overlap(self, population: Population) -> Overlap:
        """``P = E h*(z) s(w.x)`` for each neuron, with its derivatives."""
        w, s = population.w, population.s
        gradient = jax.vmap(jax.value_and_grad(self._target_overlap, argnums=(0, 1)))
        value, (along_w, along_q) = gradient(w, _length(population))
        return Overlap(value, along_w + 2 * w * along_q[:, None], 2 * s * along_q)

    def _target_overlap(self, w: Array, q: Array) -> Array:
        degrees = np.asarray([sum(alpha) for alpha in self.exponents], dtype=int)
        top = int(max(degrees, default=0))
        derivatives = self.activation.derivatives(top, q) * root_factorials(top)
        return evaluate_monomials(
            self.exponents, jnp.asarray(self.coefficients) * derivatives[degrees], w
        )

    def network_overlap(self, population: Population) -> Overlap:
        """``Q = E f(x) s(w.x)`` for each neuron, with its derivatives."""
        w, s = population.w, population.s
        mass = population.weight * population.a
        length = _length(population)
        q11, q22, products = length[:, None], length[None, :], w @ w.T
        lengths = s[:, None] * s[None, :]

        def at_angle(total, rule):
            cosine, share = rule
            kernel, along_q11, along_q12 = _pair(
                self.activation, q11, products + cosine * lengths, q22
            )
            pull = along_q12 * mass[None, :]
            terms = (kernel @ mass, along_q11 @ mass, pull @ w, cosine * (pull @ s))
            return jax.tree.map(lambda old, new: old + share * new, total, terms), None

        zero = (jnp.zeros_like(s), jnp.zeros_like(s), jnp.zeros_like(w), jnp.zeros_like(s))
        rule = (self.cosines, self.cosine_weights)
        (value, along_q, along_w, along_s), _ = jax.lax.scan(at_angle, zero, rule)
        return Overlap(value, along_w + 2 * w * along_q[:, None], along_s + 2 * s * along_q)


def _length(population: Population) -> Float[Array, " m"]:
    return jnp.sum(population.w**2, axis=-1) + population.s**2


def _pair(activation: Activation, q11, q12, q22):
    """The dual and its derivatives along the first neuron's length and the product."""
    kernel, along_q11 = jax.jvp(
        lambda q: activation.dual(q, q12, q22), (q11,), (jnp.ones_like(q11),)
    )
    _, along_q12 = jax.jvp(lambda q: activation.dual(q11, q, q22), (q12,), (jnp.ones_like(q12),))
    return kernel, along_q11, along_q12


class Constant(eqx.Module):
    """The schedule that is `rate` at every time."""

    rate: Float[Numbers, ""]

    def __init__(self, rate: float):
        self.rate = np.asarray(rate, dtype=np.float64)

    def __call__(self, time: Float[Array, ""]) -> Float[Array, ""]:
        """The rate, whatever the time."""
        return jnp.asarray(self.rate, time.dtype)


def mean_field(
    target: Polynomial,
    activation: Activation,
    dim: float = math.inf,
    schedules: tuple[Schedule, Schedule] | None = None,
) -> MeanField:
    """The mean field of a target in `dim` dimensions, exact at each for infinite width.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> from twolayer.theory.mean_field.population import limit_population
    >>> float(mean_field(Polynomial("2*z1"), tanh).loss(limit_population(1, 4)))
    2.0
    """
    rule = (np.zeros(1), np.ones(1))
    if dim < math.inf and dim > target.dim:
        rest = int(dim) - target.dim
        rule = sphere_cosine(2 if rest >= _MANY else 3, rest)
    return MeanField(
        *_symbol(target),
        np.asarray(target.second_moment),
        activation,
        *rule,
        schedules or (Constant(1.0), Constant(1.0)),
    )


def _symbol(target: Polynomial) -> tuple[tuple[tuple[int, ...], ...], Float[np.ndarray, " c"]]:
    """The symbol's monomials, with those that are absent so that equal shapes compile once."""
    degree = max(target.degree, _COMMON_DEGREE)
    if math.comb(degree + target.dim, degree) > _FEW:
        return target.symbol_exponents, np.asarray(target.symbol_coefficients)
    known = dict(zip(target.symbol_exponents, target.symbol_coefficients, strict=True))
    exponents = multi_indices(target.dim, degree)
    return exponents, np.asarray([float(known.get(alpha, 0.0)) for alpha in exponents])
