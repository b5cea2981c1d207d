"""The first gradient as a spike plus a bulk."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from helpers import gaussian_mean, numpy_value
from twolayer.activations import activation_of
from twolayer.networks import TwoLayerNetwork
from twolayer.theory.one_step.spike import gradient_spike, norm_exponents

SLOPES = {
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "relu": lambda z: (z > 0) * 1.0,
    "softplus": lambda z: 1 / (1 + np.exp(-z)),
}


def gradient_of(name, size, readout, *, seed=0, std=1.0):
    """A network, samples of a linear teacher, and G by the formula of the paper's Section 2."""
    rng = np.random.default_rng(seed)
    n, k, m = size
    W = std * rng.standard_normal((k, n)) / math.sqrt(n)
    a = rng.standard_normal(k) / math.sqrt(k) if readout == "random" else np.full(k, k**-0.5)
    x = rng.standard_normal((m, n))
    y = x @ np.eye(n)[0]
    z = x @ W.T
    activation = activation_of(name)
    residual = y - numpy_value(activation)(z) @ a / math.sqrt(k)
    G = (residual[:, None] * SLOPES[name](z) * a).T @ x / (m * math.sqrt(k))
    network = TwoLayerNetwork(jnp.asarray(a), jnp.asarray(W), None, activation, k**-0.5)
    return G, network, x, y


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_spike_is_that_of_the_lemma(name):
    """u = E s'(b z) w by SciPy, v = X^T y / (m sqrt k) for f_0 = 0; the parts add up to G."""
    G, network, x, y = gradient_of(name, (30, 20, 40), "random", std=0.7)
    found = gradient_spike(G, network, x, y, bulk_std=0.7)
    value = numpy_value(network.activation)
    slope = gaussian_mean(lambda z: z * value(0.7 * z) / 0.7, breakpoints=[0.0])  # Stein
    a = np.asarray(network.a)
    np.testing.assert_allclose(found.left, slope * a, rtol=1e-9)
    initial = a.sum() / math.sqrt(20) * gaussian_mean(lambda z: value(0.7 * z), breakpoints=[0.0])
    np.testing.assert_allclose(found.right, x.T @ (y - initial) / (40 * math.sqrt(20)), rtol=1e-9)
    np.testing.assert_allclose(np.outer(found.left, found.right) + found.bulk, G, atol=1e-14)
    assert found.spike_norm == pytest.approx(np.linalg.norm(np.outer(found.left, found.right), 2))
    assert found.bulk_norm == pytest.approx(np.linalg.svd(found.bulk, compute_uv=False)[0])


@pytest.mark.parametrize("readout", ["random", "constant"])
@pytest.mark.parametrize("name", ["tanh", "relu", "softplus"])
def test_spike_is_what_stands_out(name, readout):
    """It is the leading singular pair, and any other multiple of it leaves a larger rest."""
    G, network, x, y = gradient_of(name, (300, 300, 1200), readout)
    found = gradient_spike(G, network, x, y)
    assert found.bulk_norm < 0.5 * found.spike_norm
    assert min(found.left_alignment, found.right_alignment) > 0.9
    spike = np.outer(found.left, found.right)
    for factor in (0.5, 0.8, 1.25, 2.0, -1.0):
        assert np.linalg.norm(G - factor * spike) > np.linalg.norm(found.bulk)


def test_a_constant_read_out_takes_its_output_off_the_labels():
    """With softplus and a constant read-out X^T y alone is the wrong direction."""
    G, network, x, y = gradient_of("softplus", (300, 300, 600), "constant")
    x = x + 0.2  # a mean of the inputs makes the constant visible
    z = x @ np.asarray(network.W).T
    a = np.asarray(network.a)
    residual = y - np.logaddexp(z, 0) @ a / math.sqrt(300)
    G = (residual[:, None] * SLOPES["softplus"](z) * a).T @ x / (600 * math.sqrt(300))
    found = gradient_spike(G, network, x, y)
    _, _, leading = np.linalg.svd(G)
    naive = x.T @ y
    assert found.right_alignment > 0.95
    assert (naive @ leading[0]) ** 2 / (naive @ naive) < 0.9


def test_bulk_shrinks_faster_than_the_spike():
    """From n = 100 to 800 the ratio falls by 8^(1/2) at alpha = 1, here by at least 2."""
    ratios = []
    for n in (100, 800):
        found = gradient_spike(*gradient_of("tanh", (n, n, 2 * n), "random"))
        ratios.append(found.bulk_norm / found.spike_norm)
    assert ratios[1] < ratios[0] / 2


@pytest.mark.parametrize(
    ("alpha", "beta", "spike", "bulk"),
    [(0.5, 0.74, -0.315, -0.63), (0.0, 0.74, -0.13, -0.26), (0.0, 1.0, 0, 0), (1.0, 1.0, -0.5, -1)],
)
def test_exponents_are_those_of_the_lemma(alpha, beta, spike, bulk):
    """t = 1 - beta (1 - alpha), halved for the spike; at t = 0 the assumption fails."""
    found = norm_exponents(alpha, beta)
    assert (found.spike, found.bulk) == pytest.approx((spike, bulk), abs=1e-12)
    assert found.assumptions[0].holds is (bulk < 0)
    assert found.assumptions[0].margin == pytest.approx(spike - bulk, abs=1e-12)


def test_bad_input_is_refused():
    """One sentence each."""
    G, network, x, y = gradient_of("tanh", (6, 4, 8), "random")
    for bad in ((G.T, network, x, y), (G, network, x[:-1], y), (G, network, x, y[:, None])):
        with pytest.raises(ValueError, match=r"Expected a finite gradient of shape \(4, 6\)"):
            gradient_spike(*bad)
    with pytest.raises(ValueError, match="finite gradient"):
        gradient_spike(np.full_like(G, np.nan), network, x, y)
    with pytest.raises(ValueError, match="bulk_std"):
        gradient_spike(G, network, x, y, bulk_std=0.0)
    biased = TwoLayerNetwork(network.a, network.W, jnp.ones(4), network.activation, 1.0)
    with pytest.raises(ValueError, match="without biases"):
        gradient_spike(G, biased, x, y)
    with pytest.raises(ValueError, match=r"alpha as a number in \[0, 1\]"):
        norm_exponents(2.0, 0.5)
