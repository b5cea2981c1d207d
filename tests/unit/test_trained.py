"""Networks trained elsewhere: each figure of an examination has an independent source."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.helpers import gaussian_mean, numpy_value

from twolayer.activations import activation_of
from twolayer.networks import TwoLayerNetwork
from twolayer.trained import examine, from_arrays
from twolayer.trained.measures import (
    Neurons,
    _series,
    gradient_moment,
    linearised,
    polynomial_shares,
    tangent_kernel,
)

M, D, N = 12, 4, 9
GENERATOR = np.random.default_rng(5)
W, B, A = GENERATOR.normal(size=(M, D)), GENERATOR.normal(size=M), GENERATOR.normal(size=M)
X = GENERATOR.normal(size=(N, D))


def values(network, x):
    """The network by the sum that defines it, in NumPy and SciPy."""
    bias = 0.0 if network.b is None else np.asarray(network.b)
    z = x @ np.asarray(network.W).T + bias
    return float(network.scale) * numpy_value(network.activation)(z) @ np.asarray(network.a)


# --- Measures


@pytest.mark.parametrize(("name", "biased"), [("tanh", True), ("relu", True), ("tanh", False)])
def test_gradients_are_those_of_automatic_differentiation(name, biased):
    """Tangent kernel, linearised network and sensitivity against jax.grad of the network itself."""
    bias = B if biased else None
    network = from_arrays(A, W, bias, activation=name, scale=0.3)

    def parameters(x):
        def value(a, w, b):
            return TwoLayerNetwork(a, w, b if biased else None, network.activation, 0.3)(x)

        slopes = jax.grad(value, argnums=(0, 1, 2))(*map(jnp.asarray, (A, W, B)))
        return np.concatenate([np.ravel(slope) for slope in slopes])

    jacobian = np.stack([parameters(jnp.asarray(x)) for x in X])
    neurons = Neurons.of(network)
    kernel = tangent_kernel(neurons, X, np.ones(M, bool))
    np.testing.assert_allclose(kernel, jacobian @ jacobian.T, atol=1e-10)
    step = np.random.default_rng(1).normal(size=M * (D + 2))
    step[-M:] *= biased
    later = Neurons.of(
        from_arrays(
            A + step[:M], W + step[M : M + M * D].reshape(M, D),
            None if bias is None else B + step[-M:], activation=name, scale=0.3,
        )
    )  # fmt: skip
    np.testing.assert_allclose(
        linearised(neurons, later, X), values(network, X) + jacobian @ step, atol=1e-10
    )
    slopes = np.stack([jax.grad(network)(jnp.asarray(x)) for x in X])
    np.testing.assert_allclose(gradient_moment(neurons, X), slopes.T @ slopes / N, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_hermite_series_with_a_bias(name):
    """Coefficients under a shifted Gaussian against SciPy's adaptive quadrature, kink included."""
    s, mean, spread = numpy_value(activation_of(name)), 0.7, 1.3
    found = _series(activation_of(name), np.asarray([mean]), np.asarray([spread]), 4)[0]
    norms = np.sqrt([1, 1, 2, 6, 24])
    polynomials = [1, lambda g: g, lambda g: g**2 - 1, lambda g: g**3 - 3 * g, None]
    polynomials[0], polynomials[4] = lambda g: 1.0, lambda g: g**4 - 6 * g**2 + 3
    expected = [
        gaussian_mean(lambda g, p=p: s(mean + spread * g) * p(g), breakpoints=[-mean / spread])
        for p in polynomials
    ]
    np.testing.assert_allclose(found, expected / norms, atol=1e-9)


def test_polynomial_shares_of_one_neuron():
    """For Gaussian inputs they are the Hermite series' sums of squares over the variance."""
    bias, size = 0.4, 1.5
    x = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]  # a quantile rule, no sampling
    network = Neurons.of(from_arrays([2.0], [[size]], [bias], activation="relu"))
    found = polynomial_shares(network, x, 3)
    s = numpy_value(activation_of("relu"))
    edges = [-bias / size]
    polynomials = [lambda g: 1.0, lambda g: g, lambda g: g**2 - 1, lambda g: g**3 - 3 * g]
    c = [
        gaussian_mean(lambda g, p=p: s(size * g + bias) * p(g), breakpoints=edges)
        for p in polynomials
    ]
    second = gaussian_mean(lambda g: s(size * g + bias) ** 2, breakpoints=edges)
    squares = np.asarray(c) ** 2 / [1, 1, 2, 6]
    expected = np.cumsum([0.0, *squares[1:]]) / (second - squares[0])
    # the rule cuts tails at 3.7 standard deviations: moments are off by under a percent
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_a_polynomial_network_has_its_degree():
    """A cubic network is explained by degree 3 to the last digit, and not by degree 2."""
    cubic = from_arrays(A, W, B, activation="x^3 - x")
    x = np.random.default_rng(2).normal(size=(400, D))
    found = examine(cubic, inputs=x)
    assert found.degree == 3
    assert abs(1 - found.polynomial_shares[3]) < 1e-12
    assert found.polynomial_shares[2] < 0.9


# --- Examination


def planted(size, *, activation="tanh", movers=20, width=60, dim=30):
    """A network of which the first `movers` neurons moved along e_1 or e_2, by `size`."""
    generator = np.random.default_rng(3)
    start = generator.normal(size=(width, dim)) / np.sqrt(dim)
    a = np.ones(width)
    moved = start.copy()
    moved[:movers, 0] += size * (-1) ** np.arange(movers) * (np.arange(movers) % 4 < 2)
    moved[:movers, 1] += size * (-1) ** np.arange(movers) * (np.arange(movers) % 4 >= 2)
    options = {"activation": activation, "scale": 1 / width, "intercept": 0.5}
    return from_arrays(a, start, **options), from_arrays(a, moved, **options)


def test_planted_features_and_their_ticket_are_found():
    """The two directions, and exactly the neurons that moved along them."""
    start, end = planted(4.0)
    found = examine(end, initial=start)
    movement = found.movement
    assert found.width == 60  # the intercept's neuron is none
    np.testing.assert_allclose(
        np.sort(np.abs(movement.features) @ np.eye(30)[:, :2], axis=1), [[0, 1], [0, 1]], atol=1e-9
    )
    assert movement.ticket.tolist() == [True] * 20 + [False] * 41
    moved, first = (np.asarray(network.W)[:60] for network in (end, start))
    assert movement.weights == pytest.approx(np.sqrt(20 * 16 / np.sum(first**2)))
    assert movement.outputs == 0
    cosines = np.sum(moved * first, axis=1)
    cosines /= np.linalg.norm(moved, axis=1) * np.linalg.norm(first, axis=1)
    np.testing.assert_allclose(movement.cosine[:60], cosines, atol=1e-12)
    assert np.isnan(movement.cosine[60])
    assert movement.linearised_error > 0.5
    assert found.conclusion.startswith("Features were learned")
    assert "common directions of movement: 2, with 20 neurons" in str(found)


def test_the_linearised_error_shrinks_with_the_movement():
    """A tenth of the movement, a tenth of what the linearisation misses: kernel regime."""
    sizes = (0.02, 0.002)
    found = []
    for size in sizes:
        start, end = planted(size)
        found.append(examine(end, initial=start, gamma=0.1))
    errors = [each.movement.linearised_error for each in found]
    changes = [each.movement.kernel_change for each in found]
    # second order against first; tanh's own curvature leaves some percent at the larger size
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    assert changes[0] / changes[1] == pytest.approx(10, rel=0.05)
    assert found[1].conclusion.startswith("Kernel regime")


def descent(scale, width=60, steps=400):
    """Gradient descent on the square loss in plain NumPy, from an output of 0."""
    generator = np.random.default_rng(8)
    x = generator.normal(size=(150, 5))
    y = np.tanh(x[:, 0] * x[:, 1]) + x[:, 0]
    w = np.repeat(generator.normal(size=(width // 2, 5)) / np.sqrt(5), 2, axis=0)
    a = np.tile([1.0, -1.0], width // 2)
    start = from_arrays(a, w, activation="tanh", scale=scale)
    rate = 1 / (scale**2 * width)  # so that outputs move equally fast at every scale
    for _ in range(steps):
        h = np.tanh(x @ w.T)
        residual = (scale * h @ a - y) / len(x)
        step_a = scale * h.T @ residual
        step_w = scale * ((1 - h**2) * a * residual[:, None]).T @ x
        a, w = a - rate * step_a, w - rate * step_w
    end = from_arrays(a, w, activation="tanh", scale=scale)
    loss = np.mean((values(end, x) - y) ** 2) / np.var(y)
    return examine(end, initial=start, inputs=x), loss


def test_a_large_output_scale_makes_a_kernel_of_training():
    """Both scales learn these samples; the large one hardly moves, the mean-field one does."""
    features, loss = descent(1 / 60)
    assert loss < 0.2
    kernel, loss = descent(3.0)
    assert loss < 0.2
    assert kernel.conclusion.startswith("Kernel regime")
    assert kernel.movement.kernel_change < 0.02 < 1 < features.movement.kernel_change
    assert kernel.movement.linearised_error < 0.02 < 0.2 < features.movement.linearised_error


def test_a_network_that_did_not_move():
    """All figures of movement are 0, and the sentence says so."""
    start, _ = planted(1.0)
    found = examine(start, initial=start)
    assert found.conclusion.startswith("The network is its initialisation")
    assert found.movement.kernel_change == found.movement.linearised_error == 0
    assert found.movement.kernel_alignment == pytest.approx(1)
    assert not found.movement.ticket.any()
    assert len(found.movement.features) == 0


def test_directions_and_ranks():
    """One direction is rank 1; orthogonal rows of equal length have full rank."""
    v = np.asarray([3.0, 4.0, 0.0, 0.0]) / 5
    line = examine(from_arrays(A, A[:, None] * v, B, activation="tanh"), inputs=X)
    assert line.effective_rank == pytest.approx(1)
    assert line.number == 1
    np.testing.assert_allclose(np.abs(line.directions[0]), np.abs(v), atol=1e-8)
    square = examine(from_arrays(np.ones(4), 2 * np.eye(4), activation="tanh"), inputs=X)
    assert square.effective_rank == pytest.approx(4)
    assert square.movement is square.matching is square.teacher_error is None


def test_a_teacher_is_found_again():
    """A rescaled, shuffled copy of a ReLU teacher matches it exactly; a wrong one does not."""
    teacher = from_arrays(np.asarray([1.0, -2.0, 0.5]), W[:3])
    sizes, order = np.asarray([2.0, 0.5, 3.0]), np.asarray([2, 0, 1])
    copy = from_arrays(
        (np.asarray(teacher.a) / sizes)[order], (W[:3] * sizes[:, None])[order], scale=1.0
    )
    found = examine(copy, teacher=teacher)
    assert found.matching.cluster.tolist() == order.tolist()
    assert np.max(found.matching.angle) < 1e-7
    mass = np.abs([1.0, -2.0, 0.5]) * np.linalg.norm(W[:3], axis=1)
    np.testing.assert_allclose(found.matching.cluster_mass, mass)
    assert found.teacher_error < 1e-20
    doubled = examine(from_arrays(2 * np.asarray(copy.a), copy.W), teacher=teacher)
    truth = values(teacher, np.random.default_rng(0).standard_normal((1000, D)))
    assert doubled.teacher_error == pytest.approx(np.mean(truth**2) / np.var(truth))
    bare = examine(copy, teacher=W[:3])
    assert bare.teacher_error is None
    assert bare.matching.cluster.tolist() == order.tolist()


def test_a_teacher_too_wide_to_match(monkeypatch):
    """Its outputs are compared, its neurons are not."""
    monkeypatch.setattr("twolayer.trained.examination._LARGEST", 10)
    network = from_arrays(A, W)
    found = examine(network, teacher=network, inputs=X)
    assert found.matching is None
    assert found.teacher_error == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"degree": 0}, "degree from 1"),
        ({"degree": True}, "degree from 1"),
        ({"gamma": 1.0}, "gamma"),
        ({"inputs": X[:, :2]}, "at least two inputs"),
        ({"inputs": X[:1]}, "at least two inputs"),
        ({"inputs": np.full((3, D), np.nan)}, "at least two inputs"),
        ({"initial": "network"}, "initial network as one TwoLayerNetwork"),
        ({"initial": from_arrays(A[:3], W[:3])}, "same shape"),
        ({"initial": from_arrays(A, W, activation="tanh")}, "one activation"),
        ({"teacher": from_arrays(A, W[:, :2])}, "dimension"),
        ({"teacher": from_arrays(A, W, activation="tanh")}, "one activation"),
    ],
)
def test_wrong_use_of_examine(options, match):
    """One sentence says what was expected."""
    with pytest.raises(ValueError, match=match):
        examine(from_arrays(A, W), **options)


def test_zero_networks():
    """Zero output weights are examined; a network without input weights is refused."""
    silent = examine(from_arrays(0 * A, W), inputs=X)
    assert silent.number == 0
    with pytest.raises(ValueError, match="zeros alone"):
        examine(from_arrays(A, 0 * W))
