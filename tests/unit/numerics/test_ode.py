import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from twolayer.numerics.ode import integrate


class Linear(eqx.Module):
    """``y' = matrix y``."""

    matrix: jax.Array

    def __call__(self, t, y):
        return self.matrix @ y


class Pendulum(eqx.Module):
    """A driven pendulum: nonlinear and time dependent."""

    drive: jax.Array

    def __call__(self, t, y):
        return {"angle": y["speed"], "speed": -jnp.sin(y["angle"]) + self.drive * jnp.cos(t)}


class OntoFirstAxis(eqx.Module):
    def __call__(self, y):
        return y.at[1:].set(0.0)


def test_linear_flow_is_the_matrix_exponential():
    """y' = A y is solved to the tolerance asked for, at each reported time."""
    matrix = jnp.asarray([[0.0, 1.0], [-4.0, -0.1]])
    times = jnp.linspace(0.0, 10.0, 21)
    flow = integrate(Linear(matrix), jnp.asarray([1.0, 0.0]), times)
    expected = np.stack([jax.scipy.linalg.expm(matrix * t) @ np.array([1.0, 0.0]) for t in times])
    assert bool(flow.finished)
    np.testing.assert_allclose(flow.states, expected, atol=1e-5)


def test_states_are_trees_and_agree_with_lsoda():
    """SciPy's LSODA, another algorithm in another language, finds the same driven pendulum."""
    times = np.linspace(0.0, 20.0, 11)
    flow = integrate(
        Pendulum(jnp.asarray(0.7)),
        {"angle": jnp.asarray(1.0), "speed": jnp.asarray(0.0)},
        jnp.asarray(times),
        rtol=1e-10,
        atol=1e-12,
    )
    referee = solve_ivp(
        lambda t, y: [y[1], -np.sin(y[0]) + 0.7 * np.cos(t)],
        (0.0, 20.0),
        [1.0, 0.0],
        method="LSODA",
        t_eval=times,
        rtol=1e-11,
        atol=1e-12,
    )
    np.testing.assert_allclose(flow.states["angle"], referee.y[0], atol=1e-7)
    np.testing.assert_allclose(flow.states["speed"], referee.y[1], atol=1e-7)


@pytest.mark.parametrize("rtol", [1e-5, 1e-9])
def test_error_follows_the_tolerance(rtol):
    """Asking for four more digits gives them."""
    flow = integrate(
        Linear(jnp.asarray([[0.0, 1.0], [-1.0, 0.0]])),
        jnp.asarray([1.0, 0.0]),
        jnp.asarray([0.0, 2 * np.pi]),
        rtol=rtol,
        atol=rtol / 100,
    )
    error = np.max(np.abs(np.asarray(flow.states[-1]) - [1.0, 0.0]))
    assert error < 20 * rtol


@pytest.mark.slow
def test_projection_holds_an_unstable_subspace():
    """With the projection an exact saddle stays; without it a perturbation of 1e-12 grows."""
    matrix = jnp.diag(jnp.asarray([-0.1, 2.0]))
    initial = jnp.asarray([1.0, 1e-12])
    times = jnp.asarray([0.0, 10.0, 20.0])
    held = integrate(Linear(matrix), initial, times, project=OntoFirstAxis())
    free = integrate(Linear(matrix), initial, times)
    np.testing.assert_array_equal(held.states[:, 1], 0.0)
    np.testing.assert_allclose(held.states[:, 0], np.exp(-0.1 * np.asarray(times)), rtol=1e-6)
    assert abs(float(free.states[-1, 1])) > 1e3


def test_blow_up_is_reported_not_raised():
    """y' = y^2 leaves the numbers at t = 1: finished is False, nothing raises."""
    flow = integrate(
        lambda t, y: y**2, jnp.asarray(1.0), jnp.asarray([0.0, 0.5, 2.0]), max_steps=4096
    )
    assert not bool(flow.finished)
    assert float(flow.states[1]) == pytest.approx(2.0, rel=1e-5)


def test_step_limit_is_reported():
    """Running out of steps counts as not finished."""
    flow = integrate(
        Linear(jnp.asarray([[0.0, 50.0], [-50.0, 0.0]])),
        jnp.asarray([1.0, 0.0]),
        jnp.asarray([0.0, 100.0]),
        max_steps=10,
    )
    assert not bool(flow.finished)
    assert int(flow.num_steps) <= 10


def test_new_values_do_not_recompile():
    """Changing the matrix, the start and the times reuses the compiled program."""
    traces = []

    class Counted(eqx.Module):
        matrix: jax.Array

        def __call__(self, t, y):
            traces.append(1)
            return self.matrix @ y

    times = jnp.linspace(0.0, 1.0, 3)
    integrate(Counted(jnp.eye(2)), jnp.ones(2), times)
    first = len(traces)
    integrate(Counted(2 * jnp.eye(2)), 3 * jnp.ones(2), 2 * times)
    assert first > 0
    assert len(traces) == first
