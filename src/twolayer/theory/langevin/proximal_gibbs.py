"""The law of neurons that is best against a frozen slope of the loss, and bounds of its field g."""

from __future__ import annotations

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.activations import Activation
from twolayer.free_energy import FreeEnergy, Particles
from twolayer.numerics.precision import in_float64
from twolayer.theory.langevin.activation_bounds import ActivationBounds, activation_bounds
from twolayer.theory.langevin.output_weights import OutputWeights, output_weights


@dataclass(frozen=True)
class ProximalGibbs:
    r"""The law ``pi_r`` of a neuron in the field of frozen slopes ``r_i = l'(f_i, y_i)``.

    .. math::
        \pi_r \propto e^{-V_r / \tau}, \quad
        V_r(a, w) = a \cdot g(w) + \tfrac{\lambda_a}2 |a|^2 + \tfrac{\lambda_w}2 |w|^2, \quad
        g(w) = \frac1n \sum_i r_i\, s(w \cdot x_i)

    For a free output weight ``a | w ~ N(-g(w) / la, tau / la)``, and w has the density
    ``exp((|g|^2 / (2 la) - lw |w|^2 / 2) / tau)``: no bound of a is needed. With a fixed output
    weight the law is one of w alone; a clipped one replaces a by ``bound * tanh(a)`` in ``a . g``.
    Both in `OutputWeights`. The law may not exist if the activation is unbounded: see
    `normalisability`. Derived here (in the setting of zhang2022meanfield, both layers trained); in
    general the proximal Gibbs law is that of nitanda2022convex.

    Attributes
    ----------
    problem
        The free energy that it belongs to.
    slopes
        The ``r``, one row a sample and one column an output.

    Raises
    ------
    ValueError
        If the slopes aren't one finite number for each sample and output.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> gibbs = ProximalGibbs(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1), np.array([-1.0]))
    >>> float(gibbs.output.mean(gibbs.field(np.array([[20.0]])))[0, 0])
    2.0
    """

    problem: FreeEnergy
    slopes: Float[np.ndarray, "n k"]

    def __post_init__(self):
        """Make a table of doubles out of the slopes."""
        r = np.asarray(self.slopes, dtype=np.float64)
        r = r[:, None] if r.ndim == 1 else r
        expected = (self.problem.num_samples, self.problem.num_outputs)
        if r.shape != expected or not np.all(np.isfinite(r)):
            received = f"shape {r.shape}" if r.shape != expected else "NaN or infinity among them"
            message = f"Expected finite slopes of shape {expected}. Received: {received}."
            raise ValueError(message)
        object.__setattr__(self, "slopes", r)

    @property
    def output(self) -> OutputWeights:
        """The law of the output weight given g."""
        return output_weights(self.problem)

    @property
    def bounds(self) -> ActivationBounds:
        """What is known of the size of the activation."""
        return activation_bounds(self.problem.activation)

    def field(self, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, "q k"]:
        """``g(w) = (1 / n) sum_i r_i s(w . x_i)``: what pulls the output weight of a neuron."""
        return features(self.problem, w) @ self.slopes / self.problem.num_samples

    def jacobian(self, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, "q k p"]:
        """``dg / dw``."""
        x = inputs(self.problem)
        slopes = feature_slopes(self.problem, w)
        return np.einsum("qi,ik,ip->qkp", slopes, self.slopes, x) / x.shape[0]

    def log_tilt(self, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, " q"]:
        """Log-density of w against the reference ``N(0, (tau / lw) I)``, unnormalised."""
        return self.output.log_tilt(self.field(w)).sum(axis=1)

    def log_tilt_and_gradient(
        self, w: Float[np.ndarray, "q p"]
    ) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "q p"]]:
        """The tilt and its gradient, ``-E[u | w] . dg / dw / tau``."""
        x = inputs(self.problem)
        s, slopes = _both(self.problem, np.asarray(w, dtype=np.float64) @ x.T)
        output = self.output.moments(s @ self.slopes / len(x))
        pull = slopes * (output.mean @ self.slopes.T)
        scale = float(self.problem.temperature) * self.problem.num_samples
        return output.log_tilt.sum(axis=1), -pull @ x / scale

    def log_density(self, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, " q"]:
        """Log-density of w, unnormalised: the tilt minus ``lw |w|^2 / (2 tau)``."""
        w = np.asarray(w, dtype=np.float64)
        stiffness = float(self.problem.input_decay) / float(self.problem.temperature)
        return self.log_tilt(w) - stiffness * np.sum(w**2, axis=1) / 2


def proximal_gibbs(problem: FreeEnergy, particles: Particles) -> ProximalGibbs:
    """The proximal Gibbs law of the empirical law of some particles.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> proximal_gibbs(problem, Particles(jnp.zeros((2, 1)), jnp.ones((2, 1)))).slopes
    array([[-1.]])
    """
    return ProximalGibbs(problem, loss_slopes(problem, particle_outputs(problem, particles)))


def inputs(problem: FreeEnergy) -> Float[np.ndarray, "n p"]:
    """The samples in double precision."""
    return np.asarray(problem.x, dtype=np.float64)


def features(problem: FreeEnergy, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, "q n"]:
    """``s(w . x_i)`` in double precision."""
    return _values(problem, np.asarray(w, dtype=np.float64) @ inputs(problem).T)


def feature_slopes(problem: FreeEnergy, w: Float[np.ndarray, "q p"]) -> Float[np.ndarray, "q n"]:
    """``s'(w . x_i)`` in double precision."""
    return _both(problem, np.asarray(w, dtype=np.float64) @ inputs(problem).T)[1]


@in_float64
def _values(problem: FreeEnergy, z: np.ndarray) -> np.ndarray:
    return np.asarray(_activate(problem.activation, jnp.asarray(z)))


@in_float64
def _both(problem: FreeEnergy, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value, slope = _activate_with_slope(problem.activation, jnp.asarray(z))
    return np.asarray(value), np.asarray(slope)


@eqx.filter_jit
def _activate(activation: Activation, z: Array) -> Array:
    return activation(z)


@eqx.filter_jit
def _activate_with_slope(activation: Activation, z: Array) -> tuple[Array, Array]:
    return jax.jvp(activation, (z,), (jnp.ones_like(z),))


def particle_outputs(problem: FreeEnergy, particles: Particles) -> Float[np.ndarray, "n k"]:
    """``f(x_i) = (1 / N) sum_j u_j s(w_j . x_i)`` in double precision.

    Raises
    ------
    ValueError
        If the particles don't fit the problem or aren't finite.
    """
    a, w = (np.asarray(leaf, dtype=np.float64) for leaf in (particles.a, particles.W))
    fit = a.ndim == w.ndim == 2 and len(a) == len(w) > 0
    if not fit or w.shape[1] != problem.dim or a.shape[1] != problem.num_outputs:
        message = f"Expected particles with {problem.dim} input and {problem.num_outputs} output "
        message += f"weights. Received: shapes {w.shape} and {a.shape}."
        raise ValueError(message)
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(w))):
        message = "Expected finite particles. Received: NaN or infinity among them."
        raise ValueError(message)
    return features(problem, w).T @ _output_weights_of(problem, a) / len(w)


def _output_weights_of(problem: FreeEnergy, a: np.ndarray) -> np.ndarray:
    if problem.output == "free":
        return a
    bound = float(problem.bound)
    return bound * np.tanh(a) if problem.output == "clipped" else np.full_like(a, bound)


@in_float64
def loss_slopes(problem: FreeEnergy, f: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """``r_i = l'(f_i, y_i)`` in double precision."""
    return np.asarray(problem.loss.slope(jnp.asarray(f), labels(problem)))


def labels(problem: FreeEnergy) -> jax.Array:
    """The labels in double precision, to be used where it is switched on."""
    return jnp.asarray(np.asarray(problem.y, dtype=np.float64))


@dataclass(frozen=True)
class FieldBounds:
    r"""Bounds of the field ``g(w) = (1 / n) sum_i r_i s(w . x_i)`` over all w, infinity included.

    Attributes
    ----------
    largest
        ``M >= sup |g|``.
    smallest
        At most ``inf |g|``.
    low, high
        Bounds of g from below and above, one an output.
    lipschitz
        ``G >= sup ||dg / dw||``.
    margin
        By how much `largest` may exceed the supremum; ``None`` where that is not known.
    """

    largest: float
    smallest: float
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    lipschitz: float
    margin: float | None = None

    @property
    def oscillation_of_square(self) -> float:
        """A bound of ``sup |g|^2 - inf |g|^2``, which is at most ``M^2``."""
        return self.largest**2 - self.smallest**2


def field_bounds(gibbs: ProximalGibbs) -> FieldBounds:
    r"""Bounds of g in closed form, for any number of inputs.

    .. math::
        M \le \sup|s| \tfrac1n \sum_i |r_i|, \qquad
        G \le \sup|s'| \min\Bigl(\tfrac1n \sum_i |r_i| |x_i|,
              \|\tfrac1n \textstyle\sum r_i r_i^T\|^{1/2} \|\tfrac1n \sum x_i x_i^T\|^{1/2}\Bigr)

    and M is at most the norm of the bounds of each output, which use the range of s (derived
    here). Infinite where the activation is unbounded.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [3.0]], [1.0, 2.0], tanh, 0.5, 0.5, 0.1)
    >>> bounds = field_bounds(ProximalGibbs(problem, np.array([1.0, -2.0])))
    >>> bounds.largest, bounds.lipschitz
    (1.5, 3.5)
    """
    r, x, s = gibbs.slopes, inputs(gibbs.problem), gibbs.bounds
    positive, negative = np.maximum(r, 0).mean(axis=0), np.maximum(-r, 0).mean(axis=0)
    high = _product(positive, s.high) - _product(negative, s.low)
    low = _product(positive, s.low) - _product(negative, s.high)
    sizes = np.linalg.norm(r, axis=1)
    by_output = np.linalg.norm(np.maximum(np.abs(low), np.abs(high)))
    largest = min(float(by_output), float(_product(sizes.mean(), s.absolute)))
    by_norms = np.mean(sizes * np.linalg.norm(x, axis=1))
    by_covariance = math.sqrt(_second_moment_norm(r) * _second_moment_norm(x))
    lipschitz = _product(min(by_norms, by_covariance), s.slope)
    return FieldBounds(largest, 0.0, low, high, float(lipschitz))


def _product(factor, bound: float):
    """The product, with 0 times infinity put to 0."""
    return np.where(factor == 0, 0.0, factor) * bound if math.isfinite(bound) else np.where(
        factor == 0, 0.0, np.copysign(math.inf, bound)
    )  # fmt: skip


def _second_moment_norm(rows: np.ndarray) -> float:
    """The largest eigenvalue of ``(1 / n) sum_i v_i v_i^T`` over the rows v_i."""
    return float(np.linalg.norm(rows, ord=2) ** 2) / len(rows)


def scanned_field_bounds(gibbs: ProximalGibbs, num_nodes: int = 2**15) -> FieldBounds:
    r"""Sharp bounds of g for one input weight and a bounded monotone activation.

    Values on a grid of ``[-W, W]`` and at infinity, with a rigorous allowance (derived here) for
    what lies between the nodes, ``K h^2 / 8`` with ``K = sup|s''| (1 / n) sum |r_i| x_i^2``, and
    beyond them: there the i-th term is as close to its limit as ``s(W |x_i|)``. Floating-point
    rounding, about 1e-15, is not included.

    Raises
    ------
    ValueError
        If there are several input weights, the activation has no limits at infinity, or there
        are fewer than two nodes.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [3.0]], [1.0, 2.0], tanh, 0.5, 0.5, 0.1)
    >>> bounds = scanned_field_bounds(ProximalGibbs(problem, np.array([1.0, -2.0])))
    >>> round(bounds.largest, 5), round(bounds.lipschitz, 2)
    (0.67897, 2.5)
    """
    problem, s = gibbs.problem, gibbs.bounds
    if problem.dim != 1 or s.limits is None:
        message = "Expected one input weight and a bounded monotone activation. Received: "
        message += f"{problem.dim} weights and {problem.activation.facts.name}; use field_bounds."
        raise ValueError(message)
    if isinstance(num_nodes, bool) or num_nodes < 2:
        message = f"Expected at least 2 nodes. Received: {num_nodes!r}."
        raise ValueError(message)
    coarse = field_bounds(gibbs)
    x, size = np.abs(inputs(problem)[:, 0]), np.linalg.norm(gibbs.slopes, axis=1)
    weight, present = size / len(x), x > 0
    curvature = s.curvature * float(weight @ x**2)
    # where the nearest sample's feature has saturated
    reach = 12.0 / float(x[present].min()) if present.any() else 1.0
    reach = min(reach, num_nodes * 0.02 / float(x.max()) if present.any() else 1.0)
    nodes = np.linspace(-reach, reach, num_nodes)
    step = 2 * reach / (num_nodes - 1)
    ends = np.array([-reach, reach])
    # distance from the limits and slope left beyond the ends; samples at 0 have neither
    rest = weight * present
    distances = np.abs(features(problem, ends[:, None]) - _limits(gibbs, np.sign(ends)))
    beyond = float(rest @ distances.max(axis=0))
    steep = float((rest * x) @ np.abs(feature_slopes(problem, ends[:, None])).max(axis=0))
    inside, outside = gibbs.field(nodes[:, None]), field_at_infinity(gibbs)
    between = curvature * step**2 / 8
    g_inside, g_outside = np.linalg.norm(inside, axis=1), np.linalg.norm(outside, axis=1)
    steepest = float(np.max(np.linalg.norm(gibbs.jacobian(nodes[:, None])[:, :, 0], axis=1)))
    lipschitz = min(coarse.lipschitz, max(steepest + curvature * step / 2, steep))
    largest = max(float(g_inside.max()) + between, float(g_outside.max()) + beyond)
    smallest = min(float(g_inside.min()) - lipschitz * step / 2, float(g_outside.min()) - beyond)
    low = np.minimum(inside.min(axis=0) - between, outside.min(axis=0) - beyond)
    high = np.maximum(inside.max(axis=0) + between, outside.max(axis=0) + beyond)
    # where the closed form is attained it is the sharper one
    largest = min(largest, coarse.largest)
    low, high = np.maximum(low, coarse.low), np.minimum(high, coarse.high)
    margin = max(0.0, largest - max(float(g_inside.max()), float(g_outside.max())))
    return FieldBounds(largest, max(smallest, 0.0), low, high, lipschitz, margin)


def field_at_infinity(gibbs: ProximalGibbs) -> Float[np.ndarray, "2 k"]:
    """The limits of g for one input weight going to minus infinity and to infinity.

    Raises
    ------
    ValueError
        If there are several input weights, or the activation has no limits at infinity.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0], [-3.0]], [1.0, 2.0], tanh, 0.5, 0.5, 0.1)
    >>> field_at_infinity(ProximalGibbs(problem, np.array([1.0, -2.0]))).tolist()
    [[-1.5], [1.5]]
    """
    if gibbs.problem.dim != 1 or gibbs.bounds.limits is None:
        message = "Expected one input weight and an activation with limits at infinity. Received: "
        message += f"{gibbs.problem.dim} weights and {gibbs.problem.activation.facts.name}."
        raise ValueError(message)
    return _limits(gibbs, np.array([-1.0, 1.0])) @ gibbs.slopes / len(gibbs.slopes)


def _limits(gibbs: ProximalGibbs, signs: np.ndarray) -> np.ndarray:
    """``lim s(t x_i)`` for t going to each sign's infinity."""
    assert gibbs.bounds.limits is not None
    left, right = gibbs.bounds.limits
    x = inputs(gibbs.problem)[:, 0]
    at_zero = float(_values(gibbs.problem, np.zeros(1))[0])
    towards = np.multiply.outer(signs, np.sign(x))
    return np.where(towards > 0, right, np.where(towards < 0, left, at_zero))
