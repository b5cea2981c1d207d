"""Long explicit steps along slow flows: right, of second order, and few."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twolayer.numerics.ode import integrate
from twolayer.numerics.stabilised import stabilised

RATES = jnp.asarray([0.5, 30.0, 2000.0])


class Driven(eqx.Module):
    """``y_i' = -rate_i (y_i - sin t) + cos t`` on a tree: ``sin t`` solves it, stiffly."""

    rates: jax.Array

    def __call__(self, t, y):
        return {"y": -self.rates * (y["y"] - jnp.sin(t)) + jnp.cos(t)}


@eqx.filter_jit
def solved(rtol):
    times = jnp.asarray([0.0, 1.0, 1.5, 4.0])
    field = Driven(RATES)
    return stabilised(
        lambda t, y: field(t, {"y": y})["y"], jnp.ones(3), times,
        rtol=rtol, atol=rtol, max_steps=20_000,
    )  # fmt: skip


def exact():
    times = np.array([0.0, 1.0, 1.5, 4.0])
    return np.sin(times)[:, None] + np.exp(-np.asarray(RATES) * times[:, None])


def test_error_follows_the_tolerance_and_the_order_is_two():
    """A thousand times less tolerance: ten times the steps (order 2), a hundredth of the error."""
    coarse, fine = solved(1e-4), solved(1e-7)
    assert bool(coarse.finished)
    assert bool(fine.finished)
    errors = [np.abs(run.states - exact()).max() for run in (coarse, fine)]
    assert errors[0] < 1e-2
    assert errors[1] < 1e-4
    assert errors[1] < errors[0] / 30
    ratio = float(fine.num_steps) / float(coarse.num_steps)
    assert 5 < ratio < 20


def test_a_stiff_flow_takes_few_evaluations():
    """An ordinary explicit method needs rate * time / 3 = 2700 steps of 5 evaluations or more."""
    run = solved(1e-4)
    assert int(run.num_evaluations) < 2700
    assert int(run.num_steps) < 500


@pytest.mark.parametrize("solver", [pytest.param("implicit", marks=pytest.mark.slow), "stabilised"])
def test_all_solvers_of_the_wrapper_agree(solver):
    """The same tree, the same flow, by the choice of a name."""
    times = jnp.asarray([0.0, 1.0, 1.5, 4.0])
    flow = integrate(Driven(RATES), {"y": jnp.ones(3)}, times, rtol=1e-6, atol=1e-6, solver=solver)
    assert bool(flow.finished)
    np.testing.assert_allclose(flow.states["y"], exact(), atol=1e-3)


def test_what_leaves_the_finite_numbers_is_not_finished():
    """``y' = y^2`` from 1 is infinite at time 1: NaN from there, and told so."""
    run = jax.jit(
        lambda y: stabilised(
            lambda t, y: y * y, y, jnp.asarray([0.0, 0.5, 2.0]),
            rtol=1e-5, atol=1e-5, max_steps=2000,
        )
    )(jnp.ones(1))  # fmt: skip
    assert not bool(run.finished)
    np.testing.assert_allclose(run.states[1], 2.0, rtol=1e-3)
    assert np.isnan(run.states[2, 0])
