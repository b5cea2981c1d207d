"""The gradient step, and errors of read-outs on it, against NumPy on the same numbers."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import ACTIVATIONS, assert_allclose, assert_within_sem, finite_difference
from twolayer.activations import relu, tanh
from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.dynamics.base import in_single_precision
from twolayer.dynamics.one_step import (
    Errors,
    OneStep,
    first_layer_gradient,
    first_layer_step,
    readout_errors,
    train_one_step,
)
from twolayer.dynamics.readout import Fit, Logistic, Ridge
from twolayer.inputs import Gaussian, spiked_mixture
from twolayer.networks import TwoLayerNetwork, one_step_network
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.risks import EmpiricalRisk
from twolayer.targets import Polynomial, SingleIndex
from twolayer.tasks import Regression

DIM, WIDTH, SAMPLES = 6, 7, 12
GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(SAMPLES, DIM)) * np.array([3.0, 1, 1, 1, 1, 1])
Y = np.maximum(X[:, 0], 0) + 0.2 * X[:, 1] ** 2
W = GENERATOR.normal(size=(WIDTH, DIM)) / np.sqrt(DIM)
A = GENERATOR.normal(size=WIDTH)
SCALE = WIDTH**-0.5


def fixed_network(activation=tanh, *, bias=False, key=None):
    """One and the same network, whatever the key."""
    del key
    b = jnp.linspace(-0.5, 0.5, WIDTH) if bias else None
    return TwoLayerNetwork(jnp.asarray(A), jnp.asarray(W), b, activation, SCALE)


class Fixed(eqx.Module):
    """A task whose samples are one and the same table: training and test data are known."""

    x: jax.Array = eqx.field(converter=jnp.asarray)
    y: jax.Array = eqx.field(converter=jnp.asarray)

    def sample(self, num_samples, *, key):
        del key
        return self.x[:num_samples], self.y[:num_samples]


def stepped(W, eta, steps, x=X, y=Y):
    """demir2025asymptotic in NumPy: W + eta G, G = (1/m) ((w r^T / sqrt k) o s'(W X^T)) X."""
    for _ in range(steps):
        z = W @ x.T
        residual = y - SCALE * A @ np.tanh(z)
        W = W + eta / len(y) * ((SCALE * np.outer(A, residual)) * (1 - np.tanh(z) ** 2)) @ x
    return W


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_the_step_follows_the_gradient_of_the_empirical_risk(name, bias):
    """G is minus jax.grad of 1/(2n) sum (f - y)^2 in W: sign, 1/n and scale included."""
    network = fixed_network(ACTIVATIONS[name], bias=bias)

    @jax.jit
    def both(W, x, y):
        def of_weights(W):
            return EmpiricalRisk(x, y)(eqx.tree_at(lambda leaf: leaf.W, network, W))

        moved = first_layer_step(eqx.tree_at(lambda leaf: leaf.W, network, W), x, y, 0.3)
        return first_layer_gradient(network, x, y), jax.grad(of_weights)(W), moved

    ours, theirs, after = both(network.W, jnp.asarray(X), jnp.asarray(Y))
    assert_allclose(ours, -theirs, loss=1e-4)
    assert_allclose(after.W, W + 0.3 * np.asarray(ours), loss=1e-6)
    np.testing.assert_array_equal(after.a, network.a)
    assert (after.b is not None) == bias


def test_the_step_follows_finite_differences():
    """G is minus the gradient of the risk by differences in NumPy, and the paper's formula."""

    def risk(flat):
        output = SCALE * A @ np.tanh(flat.reshape(WIDTH, DIM) @ X.T)
        return np.mean((output - Y) ** 2) / 2

    gradient = first_layer_gradient(fixed_network(), jnp.asarray(X), jnp.asarray(Y))
    np.testing.assert_allclose(
        np.asarray(gradient).ravel(), -finite_difference(risk, W.ravel()), atol=1e-8
    )
    assert_allclose(W + np.asarray(gradient), stepped(W, 1.0, 1), loss=1e-6)


def numpy_errors(W, ridge, value=np.tanh):
    """Generalization, its error, training error and residual, all on the one table."""
    features = SCALE * value(X @ W.T)
    gram = features.T @ features + ridge * SAMPLES * np.eye(WIDTH)
    w = np.linalg.solve(gram, features.T @ Y)
    loss = (Y - features @ w) ** 2 / 2
    return loss.mean(), loss.std() / np.sqrt(SAMPLES), loss.mean() + ridge / 2 * w @ w, loss.mean()


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_errors_are_those_of_numpy(steps):
    """No step is random features, one the paper's, two repeat it on the same samples."""
    algorithm = OneStep(1.5, Ridge(0.01), SAMPLES, SAMPLES, steps)
    [errors] = train_one_step(
        algorithm, fixed_network, Fixed(X, Y), trials=1, key=jax.random.key(0)
    )
    expected = numpy_errors(stepped(W, 1.5, steps), 0.01)
    for ours, theirs in zip(errors, expected, strict=True):
        assert_allclose(ours, [theirs], loss=1e-4)
    assert errors.status == ("finished",)


def test_the_step_may_have_samples_of_its_own_number():
    """With `num_step_samples` the step sees so many, the read-out all."""
    algorithm = OneStep(1.5, Ridge(0.01), SAMPLES, SAMPLES, num_step_samples=8)
    [errors] = train_one_step(
        algorithm, fixed_network, Fixed(X, Y), trials=1, key=jax.random.key(0)
    )
    expected = numpy_errors(stepped(W, 1.5, 1, X[:8], Y[:8]), 0.01)
    for ours, theirs in zip(errors, expected, strict=True):
        assert_allclose(ours, [theirs], loss=1e-4)


def test_the_gradient_step_sees_the_activation_itself():
    """An equivalent replaces the activation in the read-out alone, after one and the same step."""
    cubic = ACTIVATIONS["cubic"]
    equivalents = (HermiteEquivalent.of(cubic, 3),)
    algorithm = OneStep(0.01, Ridge(0.1), SAMPLES, SAMPLES)
    own, *others = train_one_step(
        algorithm,
        partial(fixed_network, cubic),
        Fixed(X, Y),
        equivalents=equivalents,
        trials=1,
        key=jax.random.key(0),
    )
    for other in others:  # a polynomial is its own equivalent, without noise
        for ours, theirs in zip(own, other, strict=True):
            assert_allclose(theirs, ours, loss=1e-2)


class Given(eqx.Module):
    """A read-out that has its weights already; reports moments of the features it was shown."""

    weights: jax.Array = eqx.field(converter=jnp.asarray)

    def fit(self, features, y):
        del y
        return Fit(self.weights, jnp.mean(features), jnp.mean(features**2))

    def loss(self, output, y, noise):
        return Ridge(1.0).loss(output, y, noise)


def test_test_errors_average_the_noise_exactly(getkey):
    """Drawing the equivalent's noise on each test sample gives the reported mean.

    And the training features have second moment scale^2 (polynomial^2 + h*^2).
    """
    equivalent = HermiteEquivalent.of(tanh, 1, scale=0.9)
    weights = np.cos(np.arange(WIDTH))
    algorithm = OneStep(1.0, Given(weights), SAMPLES, SAMPLES)
    network = fixed_network()

    runs = [
        readout_errors(
            algorithm,
            network,
            Fixed(X, Y),
            equivalents=(equivalent,),
            key=getkey(),
            key_noise=getkey(),
        )
        for _ in range(60)
    ]
    polynomial = np.asarray(equivalent(jnp.asarray(X @ W.T)))
    noise = float(equivalent.noise)
    noisy = polynomial + noise * GENERATOR.normal(size=(20_000, *polynomial.shape))
    output = SCALE * noisy @ weights
    sampled = np.mean((Y - output) ** 2 / 2, axis=1)
    closed = {float(run[1].generalization) for run in runs}
    assert len(closed) == 1  # no noise in the test error
    assert_within_sem(*mean_and_error(sampled), closed.pop())
    shown = np.array([run[1].training for run in runs])
    expected = SCALE**2 * (np.mean(polynomial**2) + noise**2)
    assert_within_sem(*mean_and_error(shown), expected)
    shown = np.array([run[1].residual for run in runs])
    mean, error = mean_and_error(shown)
    assert_within_sem(mean, error, SCALE * np.mean(polynomial))
    # independent for every neuron and sample: the mean of n k of them fluctuates like 1/sqrt(n k)
    spread = SCALE * noise / np.sqrt(SAMPLES * WIDTH)
    assert shown.std(ddof=1) == pytest.approx(spread, rel=4 / np.sqrt(2 * len(runs)))


class Counted(eqx.Module):
    """A task that notes how many samples were asked for at a time (once a compilation)."""

    task: Regression
    asked: list = eqx.field(static=True)

    def sample(self, num_samples, *, key):
        self.asked.append(num_samples)
        return self.task.sample(num_samples, key=key)


class Log(list):
    """A list that a compiled function can be keyed by."""

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return self is other


def mixture_task(strength=3.0):
    gammas = np.eye(DIM)
    inputs = spiked_mixture(gammas[:1], gammas[1:2], strength)
    return Counted(Regression(inputs, SingleIndex(np.ones(DIM) / DIM, relu)), COMPILED)


COMPILED = Log()
INITIAL = partial(one_step_network, WIDTH, DIM, tanh, trace=DIM + 3.0)
EQUIVALENTS = (HermiteEquivalent.of(tanh, 1),)
ALGORITHM = OneStep(1.0, Ridge(0.01), SAMPLES, SAMPLES)
TABLE = OneStep(1.5, Ridge(0.01), SAMPLES, SAMPLES)  # training and testing on the one table


def run(initial=INITIAL, task=None, algorithm=ALGORITHM, seed=0, trials=3, **options):
    return train_one_step(
        algorithm,
        initial,
        mixture_task() if task is None else task,
        equivalents=options.pop("equivalents", EQUIVALENTS),
        trials=trials,
        key=jax.random.key(seed),
        **options,
    )


def test_the_standard_error_is_that_of_the_test_samples(getkey):
    """Over many independent test sets the mean loss fluctuates as the reported error says.

    However many test samples, at most 1000 are held at a time, and all are used.
    """
    algorithm = OneStep(1.0, Given(np.cos(np.arange(WIDTH))), SAMPLES, 1500)  # two blocks
    log = Log()
    task = Counted(Regression(Gaussian(DIM), SingleIndex(np.ones(DIM), relu)), log)
    runs = [
        readout_errors(algorithm, fixed_network(), task, key=getkey(), key_noise=getkey())[0]
        for _ in range(100)
    ]
    means, errors = (np.array([getattr(r, name) for r in runs])
                     for name in ("generalization", "generalization_error"))  # fmt: skip
    assert set(log) == {SAMPLES, 750}
    # the standard deviation of 100 numbers is known to 7 %
    assert means.std(ddof=1) == pytest.approx(np.mean(errors), rel=4 * 0.07)


def test_trials_and_their_data():
    """Each trial has its own network; with `same_data` all see the same samples, else their own."""
    for same_data in (False, True):
        network, *models = run(same_data=same_data)
        for errors in (network, *models):
            assert len(set(errors.generalization.tolist())) == 3
        fixed, _ = run(fixed_network, same_data=same_data)
        assert len(set(fixed.generalization.tolist())) == (1 if same_data else 3)


def test_a_key_decides_and_trials_do_not_depend_on_how_many_there_are():
    """The same key gives the same errors, trial by trial; another key others."""
    first, again, other = run(), run(trials=2), run(seed=1)
    for one, two in zip(first, again, strict=True):
        for ours, theirs in zip(one, two, strict=True):
            np.testing.assert_array_equal(ours[:2], theirs)
    assert not np.any(first[0].generalization == other[0].generalization)


@pytest.mark.slow
def test_precisions_agree():
    """On the same samples single precision gives double's errors, with 64-bit types off too.

    The read-out is solved in double; what is left is the rounding of the features, measured: 1e-7.
    """

    def single():
        initial = in_single_precision(fixed_network)
        return run(initial, Fixed(X, Y), TABLE, trials=1, equivalents=())[0]

    [double] = run(fixed_network, Fixed(X, Y), TABLE, trials=1, equivalents=())
    mixed = single()
    with jax.enable_x64(False):
        narrow = single()
        assert jnp.ones(1).dtype == jnp.float32
    for ours in (mixed, narrow):
        for part, truth in zip(ours, double, strict=True):
            assert part.dtype in {np.dtype(np.float64), np.dtype(np.float32)}
            np.testing.assert_allclose(part, truth, rtol=1e-5)


def test_a_run_that_diverges_says_so():
    """Weights that leave the finite numbers end in a status, not in an exception."""
    algorithm = eqx.tree_at(lambda a: a.learning_rate, TABLE, jnp.asarray(1e308))
    errors, _ = run(partial(fixed_network, relu), Fixed(X, Y), algorithm)
    assert errors.status == ("diverged",) * 3


def test_status_of_one_and_of_many_trials():
    """A trial is finished only if both its errors are finite."""
    nan = np.nan
    many = Errors(*map(np.asarray, ([1.0, nan, 1.0], [0.1] * 3, [1.0, 1.0, np.inf], [1.0] * 3)))
    assert many.status == ("finished", "diverged", "diverged")
    assert Errors(*map(np.asarray, (1.0, 0.1, 1.0, 1.0))).status == ("finished",)


def test_other_numbers_compile_nothing():
    """Rates, penalties and strengths of the data reuse the programs of the first run."""
    run()
    before = list(COMPILED)
    assert set(before) == {SAMPLES}
    for k in (2.0, 3.0):
        run(task=mixture_task(k), algorithm=OneStep(k, Ridge(k), SAMPLES, SAMPLES), trials=2)
    assert before == list(COMPILED)


@pytest.mark.slow
def test_targets_that_are_polynomials():
    """A target with rational coefficients trains like any other."""
    [errors, _] = run(task=Regression(Gaussian(DIM), Polynomial("z1 + z1*z2")))
    assert errors.status == ("finished",) * 3


def test_classes_by_logistic_regression():
    """Labels 1 and -1 are learned: the loss is log 2 before any fit, and both models descend."""
    table, algorithm = Fixed(X, np.sign(X[:, 0])), OneStep(1.5, Logistic(1e-2), SAMPLES, SAMPLES)
    for errors in run(fixed_network, table, algorithm, trials=1):
        assert errors.generalization[0] < errors.training[0] < np.log(2) - 0.1


def test_progress_is_reported_after_each_trial():
    """The callback sees how many trials are done, of how many."""
    calls = []
    run(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_the_initial_law():
    """Input weights have variance 1 / trace, output weights 1 / k, the scale is 1 / sqrt(k)."""
    network = one_step_network(400, 300, tanh, trace=450.0, key=jax.random.key(1))
    assert_within_sem(*mean_and_error(np.asarray(network.W).ravel() ** 2), 1 / 450)
    assert_within_sem(*mean_and_error(np.asarray(network.a) ** 2), 1 / 400)
    assert_within_sem(*mean_and_error(np.asarray(network.W).ravel()), 0.0)
    assert float(network.scale) == 400**-0.5
    assert network.b is None


@pytest.mark.parametrize("trace", [0.0, -1.0, np.nan, np.inf])
def test_traces_are_positive(trace):
    """What is no trace of a covariance is refused."""
    make = getattr(one_step_network, "__wrapped__", one_step_network)
    with pytest.raises(ValueError, match="Expected the trace"):
        make(4, 3, tanh, trace=trace, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"num_test": -1}, "num_test"),
        ({"num_test": True}, "num_test.*True"),
        ({"num_step_samples": 0}, "num_step_samples"),
        ({"steps": -1}, "steps to be a whole number from 0 on. Received: -1"),
        ({"steps": True}, "steps"),
        ({"learning_rate": np.nan}, "finite learning_rate"),
    ],
)
def test_what_is_no_algorithm_is_refused(change, complaint):
    """Sizes that are none, negative steps and a NaN as learning rate: one sentence each."""
    fine = {"learning_rate": 1.0, "readout": Ridge(0.1), "num_samples": 3, "num_test": 3}
    with pytest.raises(ValueError, match=complaint):
        OneStep(**{**fine, **change})


@pytest.mark.parametrize("trials", [0, True])
def test_what_is_no_number_of_trials_is_refused(trials):
    """At least one whole trial."""
    with pytest.raises(ValueError, match="trials"):
        run(trials=trials)
