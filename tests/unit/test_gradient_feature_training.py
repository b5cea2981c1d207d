"""Algorithm 1 of gradient feature learning, against autodiff, SciPy and brute force."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from helpers import assert_allclose
from twolayer.dynamics.gradient_features import (
    GradientFeatures,
    draw_samples,
    first_gradients,
    first_step,
    kink_learning_rate,
    symmetric_network,
    train_both_layers,
    train_gradient_features,
    train_top_layer,
)
from twolayer.dynamics.gradient_features.later_steps import batch_outputs
from twolayer.losses import HingeLoss, LogisticLoss
from twolayer.networks import TwoLayerNetwork
from twolayer.tasks import Dataset, xor_mixture

DIM, QUARTER, SAMPLES = 5, 6, 300
XOR = xor_mixture(4 * np.eye(DIM)[0], 4 * np.eye(DIM)[1])


@pytest.fixture(scope="module")
def samples():
    x, y = draw_samples(XOR, SAMPLES, key=jax.random.key(7))
    return np.asarray(x), np.asarray(y)


@pytest.fixture(scope="module")
def network():
    return symmetric_network(QUARTER, DIM, bias=0.7, output_std=0.3, key=jax.random.key(3))


def brute_force(network, x, y):
    """Simplified gradients and moments neuron by neuron, with thresholds of the paper's sign."""
    x, y, W, b = (np.asarray(part) for part in (x, y, network.W, network.b))
    gradients = [
        np.mean((y * (x @ w + c > 0))[:, None] * x, axis=0) for w, c in zip(W, b, strict=True)
    ]
    moments = [np.mean(y * np.maximum(x @ w + c, 0)) for w, c in zip(W, b, strict=True)]
    return np.stack(gradients), np.asarray(moments)


def features(network, x):
    return np.maximum(np.asarray(x) @ np.asarray(network.W).T + np.asarray(network.b), 0.0)


def outputs(network, x):
    return features(network, x) @ np.asarray(network.a)


def small(**options):
    sizes = {"quarter": QUARTER, "num_samples": SAMPLES, "num_test": SAMPLES, "steps": 40}
    return GradientFeatures(**sizes | {"precision": "float64"} | options)


def test_symmetric_network_is_zero(network, samples):
    """Its four parts cancel at every input, and both bias signs occur at both output signs."""
    assert np.max(np.abs(outputs(network, samples[0]))) < 1e-12
    signs = {(float(s), float(t)) for s, t in np.sign(np.stack([network.b, network.a], axis=1))}
    assert signs == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert_allclose(np.abs(network.b), 0.7, loss=1e-6)


def test_scales_of_the_initial_law():
    """Standard deviations of the independent quarter; sign weights have one size."""
    network = symmetric_network(
        4000, 1, bias=0.0, input_std=2.0, output_std=0.5, key=jax.random.key(0)
    )
    # the standard deviation of n normal numbers has a standard error of sigma / sqrt(2 n)
    assert abs(np.std(network.a[:4000]) / 0.5 - 1) < 4 / np.sqrt(8000)
    assert abs(np.std(network.W[:4000]) / 2.0 - 1) < 4 / np.sqrt(8000)
    signs = symmetric_network(
        QUARTER, DIM, bias=0.0, input_std=2.0, signs=True, key=jax.random.key(0)
    )
    assert np.all(np.abs(signs.W) == 2.0)


def test_first_gradients_by_brute_force(network, samples):
    """All four parts, from a quarter of the products, in blocks that do not fit the samples."""
    found = first_gradients(network, *samples)
    gradients, moments = brute_force(network, *samples)
    assert_allclose(found.input, gradients, loss=1e-5)
    assert_allclose(found.output, moments, loss=1e-5)


def test_first_gradients_where_samples_lie_on_the_kink():
    """On the hypercube with sign weights every third sample does: neither gate lets it through."""
    rng = np.random.default_rng(0)
    x, y = rng.choice([-1.0, 1.0], (200, DIM)), rng.choice([-1.0, 1.0], 200)
    network = symmetric_network(QUARTER, DIM, bias=1.0, signs=True, key=jax.random.key(1))
    tied = np.mean(x @ np.asarray(network.W).T + np.asarray(network.b)[None] == 0)
    assert tied > 0.2
    gradients, moments = brute_force(network, x, y)
    found = first_gradients(network, jnp.asarray(x), jnp.asarray(y))
    assert_allclose(found.input, gradients, loss=1e-5)
    assert_allclose(found.output, moments, loss=1e-5)


@pytest.mark.parametrize("loss", [LogisticLoss(), HingeLoss()])
def test_first_step_is_the_gradient_step_with_weight_decay(loss, network, samples):
    """Autodiff of the mean loss plus ``1/(2 eta) (|a|^2 + |W|^2)``, a step of size eta."""
    x, y = samples
    eta = 0.37

    def objective(weights):
        f = batch_outputs(TwoLayerNetwork(*weights, network.b, network.activation, 1.0), x)
        decay = sum(jnp.sum(w**2) for w in weights) / (2 * eta)
        return jnp.mean(loss(f, y)) + decay

    gradient = eqx.filter_jit(jax.grad(objective))((network.a, network.W))
    slope = abs(float(loss.slope(jnp.zeros(()), jnp.ones(()))))
    stepped = first_step(network, first_gradients(network, x, y), jnp.asarray(eta * slope))
    assert_allclose(stepped.a, network.a - eta * gradient[0], loss=1e-5)
    assert_allclose(stepped.W, network.W - eta * gradient[1], loss=1e-5)


def test_learning_rate_puts_the_median_kink_at_its_place(network, samples):
    """The median of ``|w_i|`` after the step is the bias over the distance."""
    gradients = first_gradients(network, *samples)
    rate = kink_learning_rate(network, gradients, kink=1.7, bias=0.7)
    stepped = first_step(network, gradients, rate)
    assert_allclose(np.median(np.linalg.norm(stepped.W, axis=1)), 0.7 / 1.7, loss=1e-4)


@pytest.fixture(scope="module")
def convex(samples):
    """A network of few features, and the logistic minimum over its output weights by SciPy."""
    x, y = samples
    W, b = np.random.default_rng(1).standard_normal((2, 4, DIM))[0], np.array([0.5, -0.5, 1, -1])
    network = TwoLayerNetwork(jnp.zeros(4), jnp.asarray(W), jnp.asarray(b), XOR_RELU, 1.0)
    H, labels = features(network, x), np.asarray(y)

    def mean_loss(a):
        return float(np.mean(np.logaddexp(0, -labels * (H @ a))))

    least = optimize.minimize(mean_loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    L = np.linalg.eigvalsh(H.T @ H / len(H))[-1] / 4
    return network, mean_loss, least, L


XOR_RELU = symmetric_network(1, 1, bias=0.0, key=jax.random.key(0)).activation


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("steps", [5, 50])
def test_top_layer_obeys_its_rate(accelerated, steps, convex, samples):
    """Excess loss at most ``L |a*|^2 / (2 T)``, or ``2 L |a*|^2 / (T + 1)^2``, of SciPy's a*."""
    network, mean_loss, least, L = convex
    trained = train_top_layer(network, *samples, LogisticLoss(), jnp.asarray(steps), accelerated)
    excess = mean_loss(np.asarray(trained.a)) - least.fun
    distance = float(least.x @ least.x)
    bound = 2 * L * distance / (steps + 1) ** 2 if accelerated else L * distance / (2 * steps)
    assert 0 < excess <= bound


def test_step_of_the_top_layer_is_one_over_the_curvature(convex, samples):
    """One plain step is ``a - gradient / L`` with L from NumPy's eigenvalues."""
    network, _, _, L = convex
    trained = train_top_layer(network, *samples, LogisticLoss(), jnp.asarray(1), False)
    H, y = features(network, samples[0]), np.asarray(samples[1])
    # sixty digits of power iteration at the gap of these features leave 1e-6
    np.testing.assert_allclose(trained.a, (y / 2) @ H / len(H) / L, rtol=1e-5)


def test_hinge_loss_of_the_top_layer_nears_the_linear_programme(convex, samples):
    """Subgradient steps come close to the minimum that SciPy's linear programme finds."""
    network = convex[0]
    H, y = features(network, samples[0]), np.asarray(samples[1])
    n, m = H.shape
    cost = np.concatenate([np.zeros(2 * m), np.full(n, 1 / n)])
    margins = -y[:, None] * np.concatenate([H, -H], axis=1)
    upper = np.concatenate([margins, -np.eye(n)], axis=1)
    least = optimize.linprog(cost, A_ub=upper, b_ub=-np.ones(n)).fun
    trained = train_top_layer(network, *samples, HingeLoss(), jnp.asarray(3000))
    found = float(np.mean(np.maximum(0, 1 - y * (H @ np.asarray(trained.a)))))
    # a subgradient method whose steps fall to 0 is within a few per cent after 3000
    assert least - 1e-9 <= found < least + 0.05 * (1 - least)


@pytest.mark.slow
def test_both_layers_take_the_stochastic_gradient_step(network, samples):
    """One step on a batch drawn with the documented key, against NumPy's gradient."""
    source, key = Dataset(*samples), jax.random.key(5)
    start = eqx.tree_at(lambda f: f.a, network, jnp.asarray(np.asarray(network.a) + 0.1))
    trained = train_both_layers(start, source, LogisticLoss(), jnp.asarray(1), 20, key=key)
    x, y = (np.asarray(v) for v in source.sample(20, key=jax.random.fold_in(key, 1)))
    first = np.asarray(source.sample(20, key=jax.random.fold_in(key, 0))[0])
    a, W, b = (np.asarray(part) for part in (start.a, start.W, start.b))
    rate = 0.5 / np.mean(np.sum(np.maximum(first @ W.T + b, 0) ** 2, axis=1))
    z = x @ W.T + b
    h = np.maximum(z, 0)
    slope = -y / (1 + np.exp(y * (h @ a)))
    assert_allclose(trained.a, a - rate * slope @ h / 20, loss=1e-4)
    assert_allclose(trained.W, W - rate * ((slope[:, None] * (z > 0)) * a).T @ x / 20, loss=1e-4)
    assert np.all(np.asarray(trained.b) == b)


def test_run_reports_what_it_did(samples):
    """Shapes, the same first step at the same seed, different ones at different seeds."""
    run = train_gradient_features(small(), XOR, seeds=2, key=jax.random.key(1))
    again = train_gradient_features(small(), XOR, seeds=1, key=jax.random.key(1))
    assert run.gradients.shape == (2, 4 * QUARTER, DIM)
    assert run.status == ("finished", "finished")
    assert np.array_equal(run.gradients[0], again.gradients[0])
    assert not np.allclose(run.gradients[0], run.gradients[1])
    trained, accuracy = run.trained[0], run.accuracy[0]
    own = np.mean(outputs(trained, samples[0]) * samples[1] > 0)
    # two estimates of one accuracy, each from 300 samples
    assert abs(own - accuracy) < 4 * np.sqrt(2) * max(run.accuracy_error[0], 1 / SAMPLES)


@pytest.mark.slow
def test_tickets_of_different_sizes_train_as_alone():
    """Neurons that fill a smaller ticket up to the size of the largest change nothing."""
    mask = np.zeros((2, 4 * QUARTER), bool)
    mask[0, 3:7], mask[1, :6] = True, True
    key = jax.random.key(1)
    together = train_gradient_features(small(), XOR, seeds=2, key=key, mask=mask)
    alone = train_gradient_features(small(), XOR, seeds=1, key=key, mask=mask[:1])
    assert_allclose(together.trained[0].a, alone.trained[0].a, loss=1e-4)
    assert together.accuracy[0] == alone.accuracy[0]


@pytest.mark.parametrize("layers", ["top", pytest.param("both", marks=pytest.mark.slow)])
def test_a_ticket_keeps_its_neurons_and_the_first_step(layers):
    """The mask removes neurons after the step, row by row of the seeds."""
    algorithm = small(layers=layers)
    mask = np.zeros((2, 4 * QUARTER), bool)
    mask[0, :6], mask[1, 3:7] = True, True
    key = jax.random.key(1)
    full = train_gradient_features(algorithm, XOR, seeds=2, key=key)
    ticket = train_gradient_features(algorithm, XOR, seeds=2, key=key, mask=mask)
    for k in range(2):
        assert np.array_equal(full.stepped[k].W, ticket.stepped[k].W)
        assert ticket.trained[k].width == (6, 4)[k]
        assert np.array_equal(ticket.trained[k].b, np.asarray(full.stepped[k].b)[mask[k]])
        if layers == "top":
            assert np.array_equal(ticket.trained[k].W, np.asarray(full.stepped[k].W)[mask[k]])


def test_given_samples_are_taken_as_they_are(samples):
    """The first rows, in order; labels of any two names; other rows where fresh ones are asked."""
    x, y = (np.asarray(part) for part in samples)
    data = Dataset(x, np.where(y > 0, 7.0, 3.0))
    algorithm = small(num_samples=100)
    run = train_gradient_features(algorithm, data, key=jax.random.key(2))
    gradients, _ = brute_force(run.initial[0], x[:100], y[:100])
    assert_allclose(run.gradients[0], gradients, loss=1e-4)
    right = np.mean(outputs(run.trained[0], x) * y > 0)
    assert run.accuracy[0] == pytest.approx(right)
    fresh = small(num_samples=100, num_step_samples=200, fresh=True)
    other = train_gradient_features(fresh, data, key=jax.random.key(2))
    gradients, _ = brute_force(other.initial[0], x[:200], y[:200])
    assert_allclose(other.gradients[0], gradients, loss=1e-4)
    loss = np.logaddexp(0, -y * outputs(other.trained[0], x))
    assert other.training_loss[0] == pytest.approx(np.mean(loss[200:300]))


def test_biases_after_a_step_without(samples):
    """Where all kinks went through the origin they are moved; else the biases stay."""
    data = Dataset(*samples)
    run = train_gradient_features(small(bias=0.0), data, key=jax.random.key(1))
    assert np.all(np.asarray(run.initial[0].b) == 0)
    assert np.all(np.abs(np.asarray(run.stepped[0].b)) == 1)
    run = train_gradient_features(small(bias=0.5), data, key=jax.random.key(1))
    assert np.array_equal(run.initial[0].b, run.stepped[0].b)


def test_an_output_of_zero_is_half_right(samples):
    """A ticket of one neuron is silent on half of the inputs: there it can only guess."""
    mask = np.zeros(4 * QUARTER, bool)
    mask[0] = True
    data = Dataset(*samples)
    run = train_gradient_features(small(bias=3.0), data, key=jax.random.key(1), mask=mask)
    f = outputs(run.trained[0], samples[0])
    assert np.mean(f == 0) > 0.2
    right = np.mean(f * samples[1] > 0) + np.mean(f == 0) / 2
    assert run.accuracy[0] == pytest.approx(right)


def test_a_constant_column_does_no_harm(samples):
    """A feature that is the same in all samples is a bias, nothing to divide by."""
    x = np.asarray(samples[0]).copy()
    x[:, -1] = 1.0
    run = train_gradient_features(small(), Dataset(x, samples[1]), key=jax.random.key(0))
    assert run.status == ("finished",)
    assert run.accuracy[0] > 0.9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quarter": 0}, "quarter"),
        ({"num_samples": True}, "num_samples"),
        ({"bias": -1.0}, "bias"),
        ({"bias": float("nan")}, "bias"),
        ({"kink": 0.0}, "kink"),
        ({"later_bias": 0.0}, "later_bias"),
        ({"input_std": 0.0}, "input_std"),
        ({"layers": "bottom"}, "'top' or 'both'"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_bad_options(options, words):
    """A sentence names what is wrong."""
    with pytest.raises(ValueError, match=words):
        small(**options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:50], y[:50]), "at least 300 rows"),
        (lambda x, y: (x, np.ones_like(y)), "1 class"),
        (lambda x, y: (x, np.arange(len(y)) % 3.0), "3 classes"),
    ],
)
def test_bad_samples(change, words, samples):
    """Too few rows, one class, three classes."""
    x, y = change(*map(np.asarray, samples))
    with pytest.raises(ValueError, match=words):
        train_gradient_features(small(), Dataset(x, y), key=jax.random.key(0))


@pytest.mark.parametrize(
    "mask", [np.ones(3, bool), np.zeros(4 * QUARTER, bool), np.ones(4 * QUARTER)]
)
def test_bad_masks(mask):
    """A wrong length, a mask that keeps nothing, numbers instead of booleans."""
    with pytest.raises(ValueError, match="mask"):
        train_gradient_features(small(), XOR, key=jax.random.key(0), mask=mask)


@pytest.mark.slow
def test_xor_is_learned_where_its_own_frozen_layer_cannot():
    """d = 100, n = 8000: above .95 after the step, below .75 without it, Bayes .966."""
    from twolayer.baselines import RandomFeatures

    task = xor_mixture(3 * np.eye(100)[0], 3 * np.eye(100)[1])
    x, y = task.sample(28_000, key=jax.random.key(0))
    algorithm = GradientFeatures(100, 8000, bias=5.0, kink=2.0)
    test = Dataset(x[8000:], y[8000:])
    run = train_gradient_features(algorithm, Dataset(x, y), key=jax.random.key(1), test=test)
    assert run.accuracy[0] > 0.95
    first = run.initial[0]
    frozen = RandomFeatures(neurons=(first.W, first.b), random_state=0)
    frozen.fit(np.asarray(x[:8000]), np.asarray(y[:8000]))
    assert frozen.score(np.asarray(test.x), np.asarray(test.y)) < 0.75


@pytest.mark.slow
def test_uniform_parity_is_learned_as_its_gradients_turn():
    """d = 101, k = 2: accuracy and share in the plane rise with the samples of the first step."""
    from twolayer.inputs import Hypercube
    from twolayer.targets import Parity
    from twolayer.tasks import Regression

    task = Regression(Hypercube(101), Parity((0, 1)))
    shares, accuracies = [], []
    for count in (1000, 5000):
        algorithm = GradientFeatures(
            100, 2000, num_step_samples=count, bias=0.0, signs=True, num_test=2000
        )
        run = train_gradient_features(algorithm, task, key=jax.random.key(0))
        W = np.asarray(run.stepped[0].W)
        shares.append(np.mean(np.linalg.norm(W[:, :2], axis=1) / np.linalg.norm(W, axis=1)))
        accuracies.append(run.accuracy[0])
    # the law of the cosine: |G|^2 = 2 (C(100, 50) 2^-101)^2 against a noise of 101 / 2 a sample
    for share, count in zip(shares, (1000, 5000), strict=True):
        G = 2 * (np.prod(np.arange(1, 101, 2) / np.arange(2, 102, 2)) / 2) ** 2
        assert abs(share - 1 / np.sqrt(1 + 101 / 2 / (count * G))) < 0.03
    assert accuracies[0] < 0.8
    assert accuracies[1] > 0.9
