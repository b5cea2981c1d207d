"""Integrators are exact where they claim to be, and batches are unbiased."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from helpers import assert_allclose, assert_within_sem
from twolayer.activations import tanh
from twolayer.dynamics.langevin import (
    EulerMaruyama,
    Halving,
    Langevin,
    LeimkuhlerMatthews,
    Logarithmic,
    Minibatch,
    Underdamped,
    risk_gradient,
)
from twolayer.dynamics.langevin.integrators import Integrator, as_integrator
from twolayer.dynamics.langevin.langevin import potential_gradient, whole
from twolayer.free_energy import FreeEnergy, Particles

TAU = 0.1


def kinetic_flow(gamma, step):
    """Transition, response to a constant force and covariance per unit temperature.

    Of ``dx = v dt, dv = -gamma v dt - g dt + sqrt(2 gamma) dB``, by matrix exponentials: Van
    Loan's block matrix for the covariance, an augmented state for the force.
    """
    drift = np.array([[0.0, 1.0], [0.0, -gamma]])
    noise = np.diag([0.0, 2 * gamma])
    zero = np.zeros((2, 2))
    blocks = linalg.expm(step * np.block([[-drift, noise], [zero, drift.T]]))
    transition = linalg.expm(step * drift)
    augmented = np.zeros((3, 3))
    augmented[:2, :2], augmented[:2, 2] = drift, (0, -1)
    return transition, linalg.expm(step * augmented)[:2, 2], transition @ blocks[:2, 2:]


def moved(integrator, theta, memory, gradient, *, step, tau=TAU, key=None):
    key = jax.random.key(7) if key is None else key
    return move(integrator, theta, memory, gradient, np.asarray(step), np.asarray(tau), key)


@eqx.filter_jit
def move(integrator, theta, memory, gradient, step, tau, key):
    parts = (jnp.asarray(part, theta.dtype) for part in (step, tau))
    return integrator.move(theta, memory, gradient, *parts, key=key)


@pytest.mark.parametrize(("gamma", "step"), [(2.0, 0.2), (1.0, 0.02), (4.0, 2.0)])
def test_underdamped_is_the_exact_flow_of_a_frozen_force(gamma, step):
    """Without noise the means, with it the joint covariance of position and velocity."""
    transition, response, covariance = kinetic_flow(gamma, step)
    x, v, g = (jnp.full((200_000, 1), value) for value in (0.7, -1.1, 0.4))
    integrator = Underdamped(gamma)
    still = moved(integrator, x[:1], v[:1], g[:1], step=step, tau=0.0)
    mean = transition @ [0.7, -1.1] + 0.4 * response
    assert_allclose(np.ravel(still), mean, loss=1e-5)
    noise = np.stack(moved(integrator, x, v, g, step=step))[..., 0] - mean[:, None]
    for j, k in ((0, 0), (0, 1), (1, 1)):
        products = noise[j] * noise[k] / TAU
        error = np.std(products) / np.sqrt(products.size)
        assert_within_sem(np.mean(products), error, covariance[j, k])
        assert error < covariance[j, k] / 100


def test_underdamped_loses_no_digits_at_small_steps():
    """In single precision at friction times step 1e-3, where plain formulas cancel to nothing."""
    zero = jnp.zeros((50_000, 1), jnp.float32)
    integrator = Underdamped(1.0)
    x, v = (np.asarray(part, float) for part in moved(integrator, zero, zero, zero, step=1e-3))
    _, _, covariance = kinetic_flow(1.0, 1e-3)
    rest = x - v * covariance[0, 1] / covariance[1, 1]
    expected = TAU * (covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1])
    assert_within_sem(np.mean(rest**2), np.std(rest**2) / np.sqrt(rest.size), expected)
    force = moved(integrator, zero[:1], zero[:1], zero[:1] + 1, step=1e-3, tau=0.0)[0]
    assert abs(float(force[0, 0]) / -5e-7 - 1) < 1e-3  # -step^2 / 2 (1 - step / 3 + ...)


def stationary_variance(name, decay, step):
    """Of each scheme's linear recursion ``state' = A state + noise``, by a Lyapunov equation."""
    if name == "underdamped":
        transition, response, noise = kinetic_flow(2.0, step)
        transition = transition + decay * np.outer(response, [1.0, 0.0])
        return linalg.solve_discrete_lyapunov(transition, TAU * noise)[0, 0]
    if name == "euler_maruyama":
        return 2 * TAU * step / (1 - (1 - step * decay) ** 2)
    return TAU / decay


@pytest.mark.parametrize("name", ["leimkuhler_matthews", "euler_maruyama", "underdamped"])
def test_stationary_variance_of_a_quadratic_potential(name):
    """Leimkuhler-Matthews has the exact one at any step; the others what their recursion says."""
    decay, step, integrator = 0.5, 1.2, as_integrator(name)
    key = jax.random.key(3)
    theta = jnp.zeros((100_000, 1))
    memory = integrator.start(theta, jnp.asarray(TAU), key=jax.random.fold_in(key, 0))

    @jax.jit
    def run(theta, memory):
        def one(k, carry):
            theta, memory = carry
            fresh = jax.random.fold_in(key, k)
            return moved(integrator, theta, memory, decay * theta, step=step, key=fresh)

        return jax.lax.fori_loop(1, 80, one, (theta, memory))[0]

    squares = np.asarray(run(theta, memory)) ** 2
    error = np.std(squares) / np.sqrt(squares.size)
    expected = stationary_variance(name, decay, step)
    assert_within_sem(np.mean(squares), error, expected)
    if name != "leimkuhler_matthews":
        assert abs(expected - TAU / decay) > 6 * error


@pytest.mark.parametrize("curvature", [0.3, 20.0])
def test_largest_steps_are_where_the_map_loses_stability(curvature):
    """The spectral radius of the linear map is 1 at the largest step, less below, more above."""

    def radius(integrator, step):
        if not isinstance(integrator, Underdamped):
            return abs(1 - step * curvature)
        transition, response, _ = kinetic_flow(float(integrator.friction), step)
        transition = transition + curvature * np.outer(response, [1.0, 0.0])
        return np.max(np.abs(np.linalg.eigvals(transition)))

    integrators = EulerMaruyama(), LeimkuhlerMatthews(), Underdamped(0.5), Underdamped(5.0)
    for integrator in integrators:
        step = integrator.largest_step(curvature)
        assert radius(integrator, 0.98 * step) < 1 < radius(integrator, 1.02 * step)


@eqx.filter_jit
def displacements(algorithm, problem, state, tick, keys):
    """Where one step leads for each key."""

    def one(key):
        after, _ = algorithm.advance(problem, state, (tick, tick + 1, tick), key=key)
        return flat(jax.tree.map(jnp.subtract, after.theta, state.theta))

    return jax.vmap(one)(keys)


def flat(theta):
    return jnp.concatenate([theta.a.ravel(), theta.W.ravel()])


class NoiseFree(Integrator):
    """Plain gradient descent, which compiles in half the time."""

    def start(self, theta, temperature, *, key):
        return None

    def move(self, theta, memory, gradient, step, temperature, *, key):
        return jax.tree.map(lambda x, g: x - step * g, theta, gradient), memory

    def largest_step(self, curvature):
        return 2 / curvature


def steps_of(batches, *, distance=1.0, tick=1):
    """The displacements of one noise-free step for many keys, and that of all samples."""
    keys = jax.random.split(jax.random.key(1), 3)
    x, y = jax.random.normal(keys[0], (5, 2)), jnp.arange(5.0)[:, None]
    problem = FreeEnergy(x, y, tanh, 0.3, 0.4, TAU)
    theta, other = (problem.reference(4, key=key) for key in keys[1:])
    other = jax.tree.map(lambda p, q: p + distance * (q - p), theta, other)
    algorithm = Langevin(0.1, NoiseFree(), batches=batches)
    state = algorithm.start(problem, theta, key=keys[1])
    if batches.anchored:
        there = eqx.filter_jit(risk_gradient)(problem, other).gradient
        state = state._replace(reference=(other, there))
    found = displacements(
        algorithm, problem, state, jnp.asarray(tick), jax.random.split(keys[0], 200)
    )
    full = eqx.filter_jit(potential_gradient)(problem, theta)
    return np.asarray(found), -0.1 * np.asarray(flat(full))


@pytest.mark.parametrize(("output", "outputs"), [("fixed", 1), ("clipped", 2)])
def test_a_step_follows_the_potential(output, outputs):
    """Without noise, along its gradient; fixed output weights don't move."""
    keys = jax.random.split(jax.random.key(2), 4)
    x, y = jax.random.normal(keys[0], (5, 2)), jax.random.normal(keys[1], (5, outputs))
    problem = FreeEnergy(x, y, tanh, 0.3, 0.4, TAU, output=output, bound=1.5)
    a, W = jax.random.normal(keys[2], (4, outputs)), jax.random.normal(keys[3], (4, 2))

    def potential(particles):
        decay = 0.0 if output == "fixed" else 0.3 * jnp.sum(particles.a**2) / 2
        return 4 * problem.risk(particles) + decay + 0.4 * jnp.sum(particles.W**2) / 2

    algorithm = Langevin(0.1, NoiseFree())
    state = algorithm.start(problem, Particles(a, W), key=keys[0])
    ticks = tuple(jnp.asarray(t) for t in (0, 1, 0))
    after, _ = eqx.filter_jit(algorithm.advance)(problem, state, ticks, key=keys[0])
    gradient = eqx.filter_jit(jax.grad(potential))(Particles(a, W))
    assert_allclose(after.theta.W, W - 0.1 * gradient.W, loss=1e-6)
    if output == "fixed":
        assert after.theta.a is None
        assert whole(problem, after.theta).a.tolist() == [[1.5]] * 4
    else:
        assert_allclose(after.theta.a, a - 0.1 * gradient.a, loss=1e-6)


@pytest.mark.slow
def test_batches_are_unbiased():
    """The steps of all batches of one sample average to that of all samples."""
    for batches in (Minibatch(1), Minibatch(1, variance_reduction="svrg", refresh=7)):
        found, full = steps_of(batches)
        _, index = np.unique(np.round(found, 10), axis=0, return_index=True)
        assert len(index) == 5
        assert_allclose(np.mean(found[index], axis=0), full, loss=1e-5)
        assert np.max(np.abs(found - full)) > 1e-3


def test_svrg_reduces_the_variance_and_refreshes():
    """Near its reference by ten times and more; at a refresh there is none left."""
    svrg = Minibatch(1, variance_reduction="svrg", refresh=7)
    plain, full = steps_of(Minibatch(1))
    near, _ = steps_of(svrg, distance=0.1)
    fresh, _ = steps_of(svrg, tick=14)
    assert np.sum(np.var(near, axis=0)) < 0.1 * np.sum(np.var(plain, axis=0))
    assert_allclose(fresh, np.broadcast_to(full, fresh.shape), loss=1e-5)


def test_batches_without_replacement_are_distinct(getkey):
    """All pairs come up, equally often, and none twice the same sample."""
    batches = Minibatch(2, replacement=False)
    draw = jax.jit(jax.vmap(lambda key: batches.draw(4, key=key)))
    rows = np.sort(draw(jax.random.split(getkey(), 6000)), axis=1)
    pairs, counts = np.unique(rows, axis=0, return_counts=True)
    assert pairs.tolist() == [[j, k] for j in range(4) for k in range(j + 1, 4)]
    assert_within_sem(counts / 6000, np.sqrt(5 / 36 / 6000), 1 / 6)


def annealed(anneal_decay):
    """One step from 1 at a third of the problem's temperature, without data or noise."""
    problem = FreeEnergy(np.zeros((1, 1)), np.zeros(1), tanh, 0.5, 0.5, 0.3)
    algorithm = Langevin(1.0, "euler_maruyama", temperature=0.1, anneal_decay=anneal_decay)
    theta = Particles(jnp.ones((20_000, 1)), jnp.ones((20_000, 1)))
    key = jax.random.key(0)
    state = algorithm.start(problem, theta, key=key)
    ticks = tuple(jnp.asarray(t) for t in (0, 1, 0))
    return np.asarray(algorithm.advance(problem, state, ticks, key=key)[0].theta.W)


@pytest.mark.parametrize(("anneal_decay", "mean"), [(True, 1 - 0.5 / 3), (False, 0.5)])
def test_annealing_scales_decay_only_if_asked(anneal_decay, mean):
    """Noise follows the schedule; weight decay follows it where gamma is to stay."""
    after = annealed(anneal_decay)
    error = np.sqrt(0.2 / after.size)
    assert_within_sem(np.mean(after), error, mean)
    squares = (after - mean) ** 2
    assert_within_sem(np.mean(squares), np.std(squares) / np.sqrt(after.size), 0.2)


def test_schedules():
    """Halvings happen at whole periods, in single precision too."""
    for dtype in (jnp.float32, jnp.float64):
        t = jnp.arange(0, 7, dtype=dtype) * jnp.asarray(0.7, dtype)
        values = Halving(0.8, 0.7)(t)
        assert_allclose(values, 0.8 / 2.0 ** np.arange(7))
    values = Logarithmic(0.2, 0.3)(jnp.asarray([0.0, np.e**2 - np.e]))
    assert_allclose(values, [0.5, 0.35])


@pytest.mark.parametrize("friction", [0.0, -1.0, np.nan])
def test_friction_is_positive(friction):
    """Without friction there is no temperature."""
    with pytest.raises(ValueError, match="positive friction"):
        Underdamped(friction)
