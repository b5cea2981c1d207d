"""Algorithm 1 on finite networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twolayer.activations import cos_sin
from twolayer.dynamics.base import with_parameters
from twolayer.dynamics.gradient_flow import GradientFlow
from twolayer.dynamics.layerwise import Layerwise, train_layerwise
from twolayer.dynamics.simulate import simulate
from twolayer.inputs import Gaussian
from twolayer.risks import PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

DIM, WIDTH = 5, 300


def task_of(text):
    return Regression(Gaussian(DIM), Polynomial(text))


@pytest.mark.slow
def test_the_second_phase_is_the_flow_of_the_output_layer(getkey):
    """The closed form is what integrating the population flow of ``(1 + z)^n`` from a = 0 gives."""
    task = task_of("z1 + z1*z2")
    algorithm = Layerwise(cos_sin, width=12, duration=1.5)
    run = train_layerwise(algorithm, task, times=[0, 1, 3], key=getkey())
    (network,) = run.networks
    start = with_parameters(network, (jnp.zeros_like(network.a), network.W, None))
    flow = simulate(
        GradientFlow(schedule_w=0.0, rtol=1e-9), start, task, times=[0, 1, 3], key=getkey()
    )
    np.testing.assert_allclose(run.trajectory.value, flow.value, rtol=1e-6)
    np.testing.assert_allclose(
        PopulationRisk(task.target)(network), run.trajectory.value[0, -1], rtol=1e-9
    )


def test_the_loss_restarts_at_half_the_second_moment_and_falls(getkey):
    """After the reset the network is 0, and z1 is learned as fast as the mean-field theory says."""
    run = train_layerwise(
        Layerwise(cos_sin, width=WIDTH, duration=2.0),
        task_of("z1"),
        times=[0, 1, 10],
        seeds=4,
        key=getkey(),
    )
    np.testing.assert_allclose(run.trajectory.value[:, 0], 0.5, rtol=1e-12)
    assert np.all(np.diff(run.trajectory.value, axis=1) < 0)
    # The mean-field value at t - T = 10 is 2.7e-4; 300 neurons scatter about it by some 15 %.
    np.testing.assert_allclose(run.trajectory.value[:, 2], 2.7e-4, rtol=0.5)
    assert all(np.all(network.W[:, 1:] == 0) for network in run.networks)
    assert run.networks[0].dim == DIM


def test_populations_are_averaged_independently(getkey):
    """Averaging p populations shrinks the spread of the input weights by the root of p."""
    spreads = []
    for populations, seeds in ((1, 4), (4, 1)):  # four populations in all: one program
        algorithm = Layerwise(cos_sin, width=WIDTH, duration=0.5, populations=populations)
        run = train_layerwise(algorithm, task_of("z1"), times=[0], seeds=seeds, key=getkey())
        spreads.append(float(jnp.std(run.networks[0].W[:, 0])))
    np.testing.assert_allclose(spreads[0] / spreads[1], 2, rtol=0.2)  # 6 % standard error


@pytest.mark.slow
def test_a_reflective_target_is_not_learned(getkey):
    """On z1 z2 the first phase has no force and the loss stays at its floor."""
    run = train_layerwise(
        Layerwise(cos_sin, width=20, duration=2.0), task_of("z1*z2"), times=[0, 1e6], key=getkey()
    )
    np.testing.assert_allclose(run.trajectory.value, 0.5, rtol=1e-9)


@pytest.mark.slow
def test_sgd_does_what_the_flow_does(getkey):
    """With a small step one-pass SGD ends near the flow of the same sizes."""
    key, task = getkey(), task_of("z1")
    options = {"times": [0, 2, 4], "seeds": 4, "key": key}
    sgd = Layerwise(cos_sin, width=WIDTH, duration=2.0, learning_rate=2e-3)
    flow = Layerwise(cos_sin, width=WIDTH, duration=2.0)
    noisy = train_layerwise(sgd, task, **options).trajectory
    smooth = train_layerwise(flow, task, **options).trajectory
    assert noisy.status == ("finished",) * 4
    np.testing.assert_allclose(noisy.value[:, 0], 0.5, rtol=1e-12)
    gap = np.mean(noisy.value, axis=0) - np.mean(smooth.value, axis=0)
    error = np.std(noisy.value, axis=0, ddof=1) / 2 + 0.01  # the step's own bias
    assert np.all(np.abs(gap) < 4 * error)


def test_a_diverging_phase_ends_as_diverged(getkey):
    """A step far too large in SGD gives a curve of NaN and the status, not an exception."""
    algorithm = Layerwise(cos_sin, width=10, duration=1e6, learning_rate=1e3)
    run = train_layerwise(algorithm, task_of("z1 + z1*z2"), times=[0, 1e6], key=getkey())
    assert run.trajectory.status == ("diverged",)
    assert np.isnan(run.trajectory.value[0, -1])


def test_an_interrupt_in_the_first_phase_stops_the_run(getkey):
    """Stopped before the reset, there is no curve, and the status says why."""

    def interrupt(done, total):
        raise KeyboardInterrupt

    algorithm = Layerwise(cos_sin, width=10, learning_rate=0.1)
    run = train_layerwise(algorithm, task_of("z1"), times=[0, 1], key=getkey(), progress=interrupt)
    assert run.trajectory.status == ("stopped",)
    assert run.trajectory.value.shape == (1, 0)


def test_only_polynomials_of_gaussians(getkey):
    """A target without a Hermite symbol is refused; so is one with too many coordinates."""
    algorithm = Layerwise(cos_sin, width=10)
    with pytest.raises(ValueError, match="closed form"):
        train_layerwise(
            algorithm, Regression(Gaussian(2), lambda x: jnp.abs(x[0])), times=[1], key=getkey()
        )
    wide = Regression(Gaussian(8), Polynomial("z1*z2*z3*z4 + z5*z6*z7*z8"))
    with pytest.raises(ValueError, match="quadrature nodes"):
        train_layerwise(algorithm, wide, times=[1], key=jax.random.key(0))
