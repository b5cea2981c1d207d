"""The free energy's data, outputs, risk and reference law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.activations import tanh
from twolayer.free_energy import FreeEnergy, Particles, with_bias
from twolayer.losses import LogisticLoss

X = np.array([[0.5, -1.0], [2.0, 0.3], [-0.7, 0.9]])
Y = np.array([1.0, -1.0, 1.0])


def particles(num_outputs=1):
    """Five particles from NumPy's generator."""
    rng = np.random.default_rng(0)
    return Particles(
        jnp.asarray(rng.normal(size=(5, num_outputs))), jnp.asarray(rng.normal(size=(5, 2)))
    )


@pytest.mark.parametrize("output", ["free", "fixed", "clipped"])
def test_outputs_and_risk_by_hand(output):
    """Each kind of output weight against a double loop in NumPy, for the logistic loss."""
    problem = FreeEnergy(X, Y, tanh, 0.5, 0.7, 0.1, LogisticLoss(), output, 1.5)
    sample = particles()
    f = np.zeros(3)
    for a, w in zip(np.asarray(sample.a)[:, 0], np.asarray(sample.W), strict=True):
        weight = {"free": a, "fixed": 1.5, "clipped": 1.5 * np.tanh(a)}[output]
        f += weight * np.tanh(X @ w) / 5
    # ten roundings of numbers of order 1
    np.testing.assert_allclose(problem.outputs(sample)[:, 0], f, atol=1e-14)
    risk = np.mean(np.log1p(np.exp(-Y * f)))
    np.testing.assert_allclose(float(problem.risk(sample)), risk, rtol=1e-13)


def test_losses_of_several_outputs_add_up():
    """The risk of two outputs is the sum of their risks."""
    labels = np.stack([Y, 2 * Y], axis=1)
    sample = particles(2)
    both = FreeEnergy(X, labels, tanh, 0.5, 0.7, 0.1).risk(sample)
    each = [
        FreeEnergy(X, labels[:, j], tanh, 0.5, 0.7, 0.1).risk(
            Particles(sample.a[:, j : j + 1], sample.W)
        )
        for j in range(2)
    ]
    np.testing.assert_allclose(float(both), float(sum(each)), rtol=1e-14)


def test_reference_has_the_variances_of_gamma():
    """Particles drawn from gamma have variances tau / la and tau / lw."""
    problem = FreeEnergy(X, Y, tanh, 0.5, 2.0, 0.1)
    sample = problem.reference(20_000, key=jax.random.key(1))
    for values, variance in ((sample.a, 0.1 / 0.5), (sample.W, 0.1 / 2.0)):
        squares = np.asarray(values) ** 2
        sem = squares.std(axis=0) / np.sqrt(len(squares))
        assert_within_sem(squares.mean(axis=0), sem, variance)


def test_numbers_stay_double_whatever_the_precision_of_jax():
    """With 64 bits off, 0.1 is stored as 0.1, particles are single and nothing warns."""
    with jax.enable_x64(False):
        problem = FreeEnergy([[1], [2]], [0.1, 1], tanh, 0.5, 0.1, 0.1)
        sample = problem.reference(4, key=jax.random.key(0))
        risk = eqx.filter_jit(lambda p, s: p.risk(s))(problem, sample)
    assert float(problem.temperature) == 0.1
    assert float(problem.y[0, 0]) == 0.1
    assert sample.W.dtype == risk.dtype == np.float32


def test_a_traced_temperature_is_allowed():
    """A problem can be made inside a compiled function, whose numbers aren't known yet."""

    @eqx.filter_jit
    def temperature(tau):
        return FreeEnergy(X, Y, tanh, 0.5, 0.7, tau).temperature * 2

    assert float(temperature(jnp.asarray(0.3))) == pytest.approx(0.6)


def test_the_network_of_some_particles_has_their_outputs():
    """``Particles.network`` is the mean over neurons; several outputs are refused."""
    problem = FreeEnergy(X, Y, tanh, 0.5, 0.7, 0.1)
    sample = particles()
    network = sample.network(tanh)
    outputs = jax.vmap(network)(jnp.asarray(X))
    np.testing.assert_allclose(outputs, problem.outputs(sample)[:, 0], atol=1e-14)
    with pytest.raises(ValueError, match="one output"):
        particles(2).network(tanh)


def test_bias_is_the_last_input():
    """``with_bias`` appends a column of ones."""
    assert np.asarray(with_bias(X))[:, 2].tolist() == [1.0, 1.0, 1.0]
    assert np.asarray(with_bias(X))[:, :2].tolist() == X.tolist()
    with jax.enable_x64(False):  # doubles stay doubles, as in the problem itself
        assert with_bias(X).dtype == np.float64
        assert with_bias(jnp.asarray(X)).dtype == np.float32


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "at least one sample"),
        ({"y": [1.0]}, "at least one sample"),
        ({"x": np.full((3, 2), np.nan)}, "finite samples"),
        ({"y": [1.0, np.inf, 0.0]}, "finite samples"),
        ({"output_decay": 0.0}, "output_decay to be a positive"),
        ({"input_decay": -1.0}, "input_decay to be a positive"),
        ({"temperature": np.nan}, "temperature to be a positive"),
        ({"bound": np.inf}, "bound to be a positive"),
        ({"temperature": np.ones(2)}, "temperature to be a positive"),
        ({"output": "frozen"}, "'free', 'fixed' or 'clipped'"),
        ({"output": "fixed", "y": np.ones((3, 2))}, "one output"),
        ({"loss": LogisticLoss(), "y": [0.0, 1.0, 1.0]}, "labels 1 and -1"),
    ],
)
def test_bad_problems_are_refused(change, sentence):
    """Every wrong argument is met by one sentence."""
    arguments = {
        "x": X, "y": Y, "activation": tanh, "output_decay": 0.5, "input_decay": 0.5,
        "temperature": 0.1,
    }  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        FreeEnergy(**(arguments | change))


@pytest.mark.parametrize("size", [0, -1, True])
def test_reference_needs_a_whole_number_of_particles(size):
    """No particles, fewer, and a truth value are refused."""
    with pytest.raises(ValueError, match="num_particles"):
        FreeEnergy(X, Y, tanh, 0.5, 0.5, 0.1).reference(size, key=jax.random.key(0))
