"""The one loop: seeds, times, divergence, interrupts, precision, compilation."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.activations import cos_sin, relu
from twolayer.dynamics.base import in_single_precision
from twolayer.dynamics.observe import SampledRisk
from twolayer.dynamics.sgd import SGD
from twolayer.dynamics.simulate import simulate, stack, train
from twolayer.inputs import Gaussian
from twolayer.networks import mean_field_network
from twolayer.risks import PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

DIM, WIDTH = 4, 8
SMALL = SGD(0.05, block_size=8)


def task_of(text="z1 + z1*z2", noise_std=0.0):
    return Regression(Gaussian(DIM), Polynomial(text), noise_std)


initialise = partial(mean_field_network, WIDTH, DIM, cos_sin)


def test_same_key_same_curves_and_other_seeds_others(getkey):
    """A run is a function of its key; seeds and keys differ from one another."""
    key = getkey()
    run = simulate(SMALL, initialise, task_of(), times=[0, 1], seeds=3, key=key)
    again = simulate(SMALL, initialise, task_of(), times=[0, 1], seeds=3, key=key)
    other = simulate(SMALL, initialise, task_of(), times=[0, 1], seeds=3, key=getkey())
    assert np.array_equal(run.value, again.value)
    assert len(set(np.ravel(run.value)) | set(np.ravel(other.value))) == 12
    assert run.status == ("finished",) * 3


def test_seeds_share_no_randomness(getkey):
    """From one network, the endpoints of different seeds are uncorrelated draws."""
    network, key = initialise(key=getkey()), getkey()
    run = simulate(SMALL, network, task_of(), times=[0, 0.5], seeds=100, key=key)
    assert np.ptp(run.value[:, 0]) < 1e-14
    first, second = run.value[0::2, 1], run.value[1::2, 1]
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(50)


def test_a_seed_alone_is_the_seed_in_company(getkey):
    """A seed's curve depends on its own number, not on how many run beside it."""
    key = getkey()
    run = simulate(SMALL, initialise, task_of(), times=[0, 1], seeds=3, key=key)
    alone = simulate(SMALL, initialise, task_of(), times=[0, 1], seeds=[2], key=key)
    np.testing.assert_allclose(alone.value[0], run.value[2], rtol=1e-10)


def test_looking_more_often_changes_nothing(getkey):
    """Observation times leave the run as it is."""
    key = getkey()
    once = simulate(SMALL, initialise, task_of(), times=[1.5], key=key)
    often = simulate(SMALL, initialise, task_of(), times=[0, 0.1, 0.35, 1, 1.5], key=key)
    np.testing.assert_allclose(once.value[0, -1], often.value[0, -1], rtol=1e-10)


def test_chunks_change_nothing(getkey):
    """A run longer than one chunk is the run in one piece."""
    network, task, key = initialise(key=getkey()), task_of(), getkey()
    dynamics = SGD(1e-3)
    networks, keys = stack([network]), key[None]
    run = train(
        dynamics, networks, task, times=[3.0], keys=keys, observe=PopulationRisk(task.target)
    )
    direct = jax.jit(
        lambda n: dynamics.advance(n, task, jnp.asarray(0), jnp.asarray(3000), key=key)
    )
    np.testing.assert_allclose(run.networks.W[0], direct(network).W, rtol=1e-9, atol=1e-12)


def test_times_are_those_of_the_nearest_steps(getkey):
    """A time between two steps is reported as the step's; others as they were given."""
    run = simulate(
        SGD(0.1, block_size=8), initialise, task_of(), times=[0, 0.3, 0.52], key=getkey()
    )
    assert run.time.tolist() == [0.0, 0.3, 0.5]


def test_a_seed_that_explodes_ends_as_diverged(getkey):
    """One exploding seed is NaN from there on and says so; its neighbour goes on unharmed."""
    tame = mean_field_network(WIDTH, DIM, relu, key=getkey())
    wild = eqx.tree_at(lambda n: n.W, tame, 100 * tame.W)
    task, keys = task_of(), jax.random.split(getkey(), 2)
    options = {"times": [0.0, 5.0, 10.0], "observe": PopulationRisk(task.target)}
    run = train(SGD(0.1, block_size=8), stack([tame, wild]), task, keys=keys, **options).trajectory
    alone = train(SGD(0.1, block_size=8), stack([tame]), task, keys=keys[:1], **options).trajectory
    assert run.status == ("finished", "diverged")
    assert np.isfinite(run.value[1, 0])
    assert np.all(np.isnan(run.value[1, 1:]))
    np.testing.assert_allclose(run.value[0], alone.value[0], rtol=1e-9)


def test_a_huge_step_diverges(getkey):
    """With a step far beyond stability every seed ends as diverged, without an exception."""
    start = partial(mean_field_network, WIDTH, DIM, relu)
    dynamics = SGD(50.0, block_size=8)
    run = simulate(dynamics, start, task_of(), times=[0, 5000, 10000], seeds=2, key=getkey())
    assert run.status == ("diverged", "diverged")
    assert np.all(np.isfinite(run.value[:, 0]))
    assert np.all(np.isnan(run.value[:, 1:]))


def test_progress_runs_to_its_total(getkey):
    """Progress never falls and ends at the total, the number of steps."""
    calls = []
    simulate(
        SGD(1e-3, block_size=8),
        initialise,
        task_of(),
        times=[1, 4],
        key=getkey(),
        progress=lambda done, total: calls.append((done, total)),
    )
    done, total = np.transpose(calls)
    assert len(calls) > 2
    assert np.all(np.diff(done) > 0)
    assert done[-1] == total[0] == 4000


def test_an_interrupt_returns_what_was_finished(getkey):
    """Ctrl-C keeps the observations made so far and says that the run was stopped."""

    def interrupt(done, total):
        if done > 30:
            raise KeyboardInterrupt

    run = simulate(
        SMALL, initialise, task_of(), times=[0, 1, 2, 3], key=getkey(), progress=interrupt
    )
    assert run.status == ("stopped",)
    assert run.time.tolist() == [0, 1]
    assert run.value.shape == (1, 2)
    assert np.all(np.isfinite(run.value))


@pytest.mark.parametrize("x64", [True, False])
def test_the_network_decides_the_precision(getkey, x64):
    """Single-precision weights train in single precision, whatever JAX's setting."""
    with jax.enable_x64(x64):
        key = jax.random.key(1)
        task = task_of(noise_std=0.1)
        single = in_single_precision(initialise)
        run = simulate(SMALL, single, task, times=[0, 1], seeds=2, key=key)
    assert run.details["dtype"] == "float32"
    assert run.value.dtype == np.float64
    assert np.all(run.value[:, 1] < run.value[:, 0])


class CountingTask(eqx.Module):
    """A regression that counts how often it is traced."""

    task: Regression
    traces: list = eqx.field(static=True)

    def sample(self, num_samples, *, key):
        self.traces.append(1)
        return self.task.sample(num_samples, key=key)


def test_values_never_recompile(getkey):
    """Other steps, schedules, keys, horizons and coefficients reuse the compiled program."""
    traces = []

    class Hashable(list):
        __hash__ = object.__hash__

    traces = Hashable()
    observe = PopulationRisk(Polynomial("z1"))
    for learning_rate, text, horizon in ((0.1, "z1+z1*z2", 1), (0.03, "2*z1-z1*z2", 3)):
        simulate(
            SGD(learning_rate, schedule_a=learning_rate),
            initialise,
            CountingTask(task_of(text), traces),
            times=[0, horizon],
            key=getkey(),
            observe=observe,
        )
        seen = len(traces) if horizon == 1 else seen
    assert seen > 0
    assert len(traces) == seen


def test_sampled_risk_agrees_with_the_exact_one(getkey):
    """The sampled risk of a noise-free task is within its standard error of the closed form."""
    network, task = initialise(key=getkey()), task_of()
    value, error = SampledRisk(task, getkey())(network)
    exact = PopulationRisk(task.target)(network)
    assert_within_sem(value, error, exact)
    assert error < exact / 10


def test_a_task_without_closed_form_is_observed_on_samples(getkey):
    """Such a run carries standard errors, and label noise is left out of its loss."""
    polynomial = Polynomial("z1")
    task = Regression(Gaussian(DIM), lambda x: polynomial(x), 10.0)
    network = initialise(key=getkey())
    run = simulate(SMALL, network, task, times=[0], key=getkey())
    assert_within_sem(run.value[0, 0], run.error[0, 0], PopulationRisk(polynomial)(network))


@pytest.mark.parametrize("times", [[], [1, 1], [2, 1], [-1, 0], [0, np.inf], [[0, 1]]])
def test_times_must_increase(getkey, times):
    """Times that don't increase from 0 on are refused."""
    with pytest.raises(ValueError, match="increasing finite times"):
        simulate(SMALL, initialise, task_of(), times=times, key=getkey())


@pytest.mark.parametrize("seeds", [0, [], [-1]])
def test_there_is_at_least_one_seed(getkey, seeds):
    """No seed at all, or a negative one, is refused."""
    with pytest.raises(ValueError, match="at least one seed"):
        simulate(SMALL, initialise, task_of(), times=[1], seeds=seeds, key=getkey())


def test_network_and_task_have_inputs_of_one_dimension(getkey):
    """A network of another input dimension is one sentence, not an error of shapes."""
    start = partial(mean_field_network, WIDTH, DIM + 1, cos_sin)
    with pytest.raises(ValueError, match=f"dimension {DIM}"):
        simulate(SMALL, start, task_of(), times=[0, 1], key=getkey())
