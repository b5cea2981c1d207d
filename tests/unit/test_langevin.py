"""Noisy gradient descent of particles: gradients, averages, seeds, divergence, devices."""

import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_allclose, finite_difference
from langevin_optimum import RISK, optimum_problem
from twolayer.activations import tanh
from twolayer.activations.facts import FACTS
from twolayer.activations.functions import FunctionActivation
from twolayer.dynamics.langevin import (
    Langevin,
    Logarithmic,
    Minibatch,
    risk_gradient,
    train_langevin,
)
from twolayer.dynamics.langevin.langevin import potential_gradient
from twolayer.free_energy import FreeEnergy, Particles
from twolayer.losses import LogisticLoss, SquareLoss

N, DIM, SAMPLES = 5, 3, 7


def random_problem(key, *, outputs=1, loss=None, **options):
    keys = jax.random.split(key, 2)
    x = jax.random.normal(keys[0], (SAMPLES, DIM))
    y = jax.random.normal(keys[1], (SAMPLES, outputs))
    y = jnp.sign(y) if isinstance(loss, LogisticLoss) else y
    return FreeEnergy(x, y, tanh, 0.3, 0.7, 0.1, loss or SquareLoss(), **options)


def random_particles(key, *, outputs=1):
    keys = jax.random.split(key, 2)
    return Particles(jax.random.normal(keys[0], (N, outputs)), jax.random.normal(keys[1], (N, DIM)))


CASES = [
    ("free", 1, SquareLoss()),
    ("free", 2, LogisticLoss()),
    ("fixed", 1, LogisticLoss()),
    ("clipped", 2, SquareLoss()),
]


@pytest.mark.parametrize(("output", "outputs", "loss"), CASES)
def test_the_gradient_is_that_of_the_risk(getkey, output, outputs, loss):
    """By hand and in blocks that don't divide the samples: the gradient of N times the risk."""
    problem = random_problem(getkey(), outputs=outputs, loss=loss, output=output, bound=1.7)
    particles = random_particles(getkey(), outputs=outputs)

    @jax.jit
    def all_ways(particles):
        expected = jax.grad(lambda part: N * problem.risk(part))(particles)
        by_hand = (risk_gradient(problem, particles, block_size=size) for size in (None, 3))
        return expected, problem.outputs(particles), *by_hand

    expected, f, *by_hand = all_ways(particles)
    for found in by_hand:
        assert_allclose(found.gradient.a, expected.a, loss=1e-6)
        assert_allclose(found.gradient.W, expected.W, loss=1e-6)
        assert_allclose(found.residual, loss.slope(f, problem.y), loss=1e-6)
        assert_allclose(found.loss, jnp.sum(loss(f, problem.y), axis=1), loss=1e-6)


def test_the_force_is_the_gradient_of_the_potential(getkey):
    """Finite differences of ``N R + sum_j (la a_j^2 + lw |w_j|^2) / 2`` in NumPy."""
    problem, particles = random_problem(getkey()), random_particles(getkey())
    x, y = np.asarray(problem.x), np.asarray(problem.y)

    def potential(flat):
        a, W = flat[:N, None], flat[N:].reshape(N, DIM)
        risk = np.mean((np.tanh(x @ W.T) @ a / N - y) ** 2) / 2
        return N * risk + 0.3 / 2 * np.sum(a**2) + 0.7 / 2 * np.sum(W**2)

    flat = np.concatenate([np.ravel(particles.a), np.ravel(particles.W)])
    found = eqx.filter_jit(potential_gradient)(problem, particles)
    found = np.concatenate([np.ravel(found.a), np.ravel(found.W)])
    # Central differences at step 1e-5: error of order 1e-10, rounding of order 1e-11.
    np.testing.assert_allclose(found, finite_difference(potential, flat), rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_residual_and_risk_are_averaged_over_the_second_half(getkey):
    """The averages are those of the particles that the last half of the steps started from."""
    problem = optimum_problem()
    run = train_langevin(
        Langevin(1.0),
        problem,
        20,
        times=[2, 3, 4],
        seeds=2,
        key=getkey(),
        observe=lambda part: (problem.outputs(part) - problem.y, problem.risk(part)),
    )
    residuals, risks = run.observed
    assert residuals.shape == (2, 3, 16, 1)
    assert_allclose(run.residual, residuals[:, :2].mean(axis=1), loss=1e-6)
    assert_allclose(run.mean_risk, risks[:, :2].mean(axis=1), loss=1e-6)
    assert_allclose(run.trajectory.value, risks, loss=1e-6)


SVRG = Langevin(0.1, batches=Minibatch(1, variance_reduction="svrg", refresh=3))


@pytest.mark.slow
def test_batches_average_each_sample_over_its_visits(getkey):
    """After one step of one sample, its residual is that of the start, the others of the end."""
    problem = optimum_problem()
    run = train_langevin(
        SVRG,
        problem,
        20,
        times=[0, 0.1],
        seeds=2,
        key=getkey(),
        observe=lambda part: problem.outputs(part) - problem.y,
    )
    start, end = np.moveaxis(run.observed, 1, 0)
    seen = np.isclose(run.residual, start, rtol=1e-12)
    assert np.all(seen.sum(axis=1) == 1)
    assert_allclose(run.residual[~seen], end[~seen], loss=1e-6)
    assert_allclose(run.mean_risk, start[seen] ** 2 / 2, loss=1e-6)


def test_pauses_change_nothing(getkey):
    """Noise and the reference of the control variate live across pauses."""
    problem, key = optimum_problem(), getkey()
    run = train_langevin(SVRG, problem, 20, times=[2.0], seeds=2, key=key)
    often = train_langevin(SVRG, problem, 20, times=np.arange(21) / 10, seeds=2, key=key)
    assert_allclose(often.particles.W, run.particles.W, loss=1e-5)


def test_a_run_depends_on_key_and_seed_alone(getkey):
    """Neither company nor pauses, nor blocks of samples, change a seed's run."""
    problem, key = optimum_problem(), getkey()
    run = train_langevin(Langevin(0.2), problem, 20, times=[7], seeds=2, key=key)
    alone = train_langevin(
        Langevin(0.2, block_size=5), problem, 20, times=[1, 2.4, 7], seeds=[1], key=key
    )
    other = train_langevin(Langevin(0.2), problem, 20, times=[7], seeds=2, key=getkey())
    assert_allclose(alone.particles.W[0], run.particles.W[1], loss=1e-5)
    assert_allclose(alone.trajectory.value[0, 2], run.trajectory.value[1, 0], loss=1e-5)
    assert len(set(np.ravel(run.particles.a)) | set(np.ravel(other.particles.a))) == 80


@pytest.mark.slow
def test_single_precision(getkey):
    """Inputs in single precision train so, whatever JAX's setting; risks are seen in double."""
    x, y = (jnp.asarray(part, jnp.float32) for part in (np.eye(4, 3), np.ones(4)))
    problem, options = FreeEnergy(x, y, tanh, 0.1, 0.1, 0.1), {"times": [0, 3], "key": getkey()}
    run = train_langevin(Langevin(0.1), problem, 8, **options)
    assert run.particles.W.dtype == jnp.float32
    assert run.trajectory.details["dtype"] == "float32"
    assert run.trajectory.value.dtype == np.float64
    with jax.enable_x64(False):
        again = train_langevin(Langevin(0.1), problem, 8, **options)
    assert_allclose(again.particles.W, run.particles.W, loss=0.1)


@pytest.mark.slow
def test_seeds_that_wait_run_as_alone(getkey):
    """Seeds of many particles run one after the other, with the same outcome."""
    problem, key = random_problem(getkey()), getkey()
    run = train_langevin(Langevin(0.2), problem, 40_000, times=[0.6], seeds=2, key=key)
    alone = train_langevin(Langevin(0.2), problem, 40_000, times=[0.6], seeds=[1], key=key)
    assert_allclose(run.particles.a[1], alone.particles.a[0], loss=1e-5)


def test_values_never_recompile(getkey):
    """Other steps, temperatures, decays, schedules and horizons reuse the compiled program."""
    traces = []

    def counting(z):
        traces.append(1)
        return jnp.tanh(z)

    activation = FunctionActivation(counting, FACTS["tanh"])
    for step, decay, temperature in ((0.1, 0.3, 0.1), (0.2, 0.4, 0.05)):
        problem = FreeEnergy(np.eye(2), np.ones(2), activation, decay, decay, temperature)
        schedule = Logarithmic(temperature, decay)
        algorithm = Langevin(step, temperature=schedule, anneal_decay=True)
        train_langevin(algorithm, problem, 4, times=[10 * decay], key=getkey())
        first = len(traces) if step == 0.1 else first
    assert 0 < first == len(traces)


def test_an_explosion_is_reported_with_the_step_that_would_do(getkey):
    """Where the potential is quadratic, the advice is 2 / curvature, and following it helps."""
    problem, key = FreeEnergy(np.zeros((16, 1)), np.zeros(16), tanh, 0.5, 0.5, 0.1), getkey()
    run = train_langevin(Langevin(50.0), problem, 20, times=[0, 500, 2500], seeds=2, key=key)
    assert run.trajectory.status == ("diverged", "diverged")
    assert np.all(np.isfinite(run.trajectory.value[:, 0]))
    assert np.all(np.isnan(run.trajectory.value[:, 1:]))
    advice = run.trajectory.details["advice"]
    first, last, step = map(float, re.findall(r"[\d.]+", advice))
    assert 0 <= first < last <= 50
    assert 3.8 <= step <= 4  # 2 / .5, less what power iteration and rounding down to 2 digits take
    for factor, status in ((0.97, "finished"), (1.1, "diverged")):
        algorithm, times = Langevin(factor * step), [400 * step]
        again = train_langevin(algorithm, problem, 20, times=times, seeds=2, key=key)
        assert again.trajectory.status == (status, status)


def test_advice_takes_the_interaction_into_account(getkey):
    """Features that all agree are stiffer than weight decay: a step that ignores it explodes."""
    problem = FreeEnergy(np.ones((16, 1)), np.ones(16), tanh, 0.05, 0.05, 0.01)
    start = Particles(jnp.ones((20, 1)), 3 * jnp.ones((20, 1)))  # every feature is nearly 1
    options = {"seeds": 2, "key": getkey()}
    run = train_langevin(Langevin(8.0), problem, start, times=[0, 4000], **options)
    assert "diverged" in run.trajectory.status
    step = float(run.trajectory.details["advice"].split()[-1])
    assert abs(step - 2 / 1.05) < 0.1 * step  # the Hessian's top eigenvalue is s^2 + la
    again = train_langevin(Langevin(0.7 * step), problem, start, times=[4000], **options)
    assert again.trajectory.status == ("finished", "finished")


def test_one_explosion_harms_nobody_else(getkey):
    """Its neighbour runs on as alone."""
    problem, key = optimum_problem(), getkey()
    tame = problem.reference(20, key=getkey())
    both = jax.tree.map(lambda x: jnp.stack([x, 1e7 * x]), tame)
    alike = jax.tree.map(lambda x: jnp.stack([x, x]), tame)
    options = {"times": [0, 1, 2], "seeds": 2, "key": key}
    run = train_langevin(Langevin(0.5), problem, both, **options)
    alone = train_langevin(Langevin(0.5), problem, alike, **options)
    assert run.trajectory.status == ("finished", "diverged")
    assert_allclose(run.trajectory.value[0], alone.trajectory.value[0], loss=1e-5)


def test_progress_and_interrupts(getkey):
    """Progress rises to the number of steps; Ctrl-C keeps what was observed."""
    problem, calls = optimum_problem(), []

    def watch(done, total):
        calls.append((done, total))
        if done > 15:
            raise KeyboardInterrupt

    run = train_langevin(
        Langevin(0.1), problem, 20, times=[0, 1, 2, 3], seeds=2, key=getkey(), progress=watch
    )
    assert run.trajectory.status == ("stopped", "stopped")
    assert run.trajectory.time.tolist() == [0, 1]
    assert run.trajectory.value.shape == (2, 2)
    assert np.all(np.diff([done for done, _ in calls]) > 0)
    assert {total for _, total in calls} == {30.0}


@pytest.mark.parametrize("step", [0.0, -0.1, np.nan, np.inf])
def test_the_step_is_positive(step):
    """Other steps are refused in one sentence."""
    with pytest.raises(ValueError, match="positive step"):
        Langevin(step)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"integrator": "verlet"}, "leimkuhler_matthews"),
        ({"temperature": -1.0}, "at least 0"),
        ({"block_size": 0}, "block_size"),
        ({"block_size": True}, "block_size"),
    ],
)
def test_options_are_checked(options, message):
    """Unknown integrators, negative temperatures, empty blocks."""
    with pytest.raises(ValueError, match=message):
        Langevin(0.1, **options)


@pytest.mark.parametrize(
    "arguments", [{"size": 0}, {"size": 2, "refresh": 0}, {"size": 1, "variance_reduction": "saga"}]
)
def test_batches_are_checked(arguments):
    """Batches of nothing and unknown variance reductions are refused."""
    with pytest.raises(ValueError, match="Expected"):
        Minibatch(**arguments)


def test_runs_are_checked(getkey):
    """Batches beyond the data, no particles, particles of another shape, no time."""
    problem, options = optimum_problem(), {"times": [1], "key": getkey()}
    with pytest.raises(ValueError, match="at most the 16 samples"):
        train_langevin(Langevin(0.1, batches=Minibatch(17)), problem, 4, **options)
    for number in (0, True, 2.0):
        with pytest.raises(ValueError, match="particles to be a whole number"):
            train_langevin(Langevin(0.1), problem, number, **options)
    for shapes in (((4, 1), (4, 2)), ((4, 2), (4, 1)), ((0, 1), (0, 1)), ((3, 4, 1), (3, 4, 1))):
        with pytest.raises(ValueError, match="Received: shapes"):
            train_langevin(Langevin(0.1), problem, Particles(*map(jnp.ones, shapes)), **options)
    with pytest.raises(ValueError, match="larger step"):
        train_langevin(Langevin(1e-9), problem, 4, times=[10], key=getkey())
    with pytest.raises(ValueError, match="at least one seed"):
        train_langevin(Langevin(0.1), problem, 4, times=[1], seeds=0, key=getkey())


@pytest.mark.slow
def test_devices_change_nothing():
    """On 1, 2 and 8 devices the same numbers to rounding, and particles are really divided."""
    program = Path(__file__).with_name("langevin_on_devices.py")
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("integrator", "step", "bias", "allowed"),
    [
        ("leimkuhler_matthews", 0.8, 0.0, 5e-4),
        ("euler_maruyama", 0.8, 0.0087, 1e-3),
        ("underdamped", 0.2, 0.0006, 4e-4),
    ],
)
def test_stationary_risk(getkey, integrator, step, bias, allowed):
    """The risk's stationary mean: off by the order of the step, but for Leimkuhler-Matthews.

    The bias of Euler-Maruyama was measured with other code, as .0087 +- .001; that of the
    underdamped scheme is of the first order too (.0014 at .4, .0006 at .2, .0002 at .1, each
    +- .0001). Fluctuations of N = 2000 particles add .05 / N = 2e-5.
    """
    run = train_langevin(
        Langevin(step, integrator), optimum_problem(), 2000, times=[600], seeds=16, key=getkey()
    )
    error = np.std(run.mean_risk, ddof=1) / 4
    assert error < 2e-4
    assert abs(np.mean(run.mean_risk) - RISK - bias) < allowed


@pytest.mark.slow
def test_batches_fluctuate_about_the_same_risk(getkey):
    """Batches of one sample find the optimal risk with more noise, a control variate with less."""
    spread = {}
    for refresh in (None, 0, 16):
        batches = None if refresh is None else Minibatch(1)
        if refresh:
            batches = Minibatch(1, variance_reduction="svrg", refresh=refresh)
        run = train_langevin(
            Langevin(0.2, batches=batches),
            optimum_problem(),
            1000,
            times=np.arange(100, 300, 10),
            seeds=16,
            key=getkey(),
        )
        means = np.mean(run.trajectory.value, axis=1)
        # Plain batches heat the particles: half a step times the variance of the gradient.
        assert abs(np.mean(means) - RISK) < 4 * np.std(means, ddof=1) / 4 + 5e-4
        spread[refresh] = np.std(run.trajectory.value)
    assert spread[None] < spread[0] / 4
    assert spread[16] < spread[0] / 2
