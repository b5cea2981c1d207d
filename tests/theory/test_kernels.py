"""Kernels of infinitely wide lazy networks, against neural-tangents, quadrature and networks."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special

from helpers import assert_allclose, assert_within_sem
from twolayer.theory.kernels import neural_tangent_kernel, random_feature_kernel

ORACLE = json.loads((Path(__file__).parents[1] / "data/ntk_two_layer_kernels.json").read_text())


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "sin"])
def test_kernels_of_neural_tangents(name):
    """Both kernels are those that neural-tangents 0.6.5 computes for the same networks."""
    x, test = np.asarray(ORACLE["x"]), np.asarray(ORACLE["x_test"])
    known, d = ORACLE["act"][name], x.shape[1]
    rf = random_feature_kernel(x, activation=name, weight_variance=1 / d)
    options = {"activation": name, "weight_variance": 1 / d, "tangent_weight": 1 / d}
    # 1e-9: neural-tangents' own square roots lose half of the digits near correlation 1
    np.testing.assert_allclose(rf, known["nngp"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(neural_tangent_kernel(x, **options), known["ntk"], rtol=0, atol=1e-9)
    across = neural_tangent_kernel(test, x, **options)
    np.testing.assert_allclose(across, known["ntk_test_train"], rtol=0, atol=1e-9)


def by_quadrature(function, x, z, variance, bias):
    """``E function(w.x + b) function(w.z + b)``, b = +-bias: the inner mean is over u given v."""
    q11, q12, q22 = (variance * (a @ b) for a, b in ((x, x), (x, z), (z, z)))
    total = 0.0
    for b in (bias, -bias):

        def inner(u, b=b):
            mean, spread = q12 / q11 * u, math.sqrt(q22 - q12**2 / q11)
            kink = (-b - mean) / spread

            def integrand(g):
                return function(mean + spread * g + b) * math.exp(-g * g / 2)

            edges = [-9.0, min(max(kink, -9.0), 9.0), 9.0]
            parts = [
                integrate.quad(integrand, low, high, epsabs=1e-11)[0]
                for low, high in itertools.pairwise(edges)
            ]
            weight = math.exp(-u * u / (2 * q11)) / math.sqrt(q11) / (2 * math.pi)
            return sum(parts) * weight * function(u + b)

        reach, kink = 9 * math.sqrt(q11), -b
        for low, high in ((-reach, kink), (kink, reach)):
            total += integrate.quad(inner, low, high, epsabs=1e-10, limit=100)[0] / 2
    return total


RELU = (lambda t: max(t, 0.0), lambda t: float(t > 0))
ERF = (special.erf, lambda t: 2 / math.sqrt(math.pi) * math.exp(-t * t))


@pytest.mark.parametrize(("name", "functions"), [("relu", RELU), ("erf", ERF)])
def test_kernels_with_biases(name, functions):
    """With biases of both signs, values and slopes are the means over the pair of neurons."""
    generator = np.random.default_rng(3)
    x = generator.standard_normal((2, 3))
    variance, bias, c = 0.7, 0.8, 0.3
    options = {"activation": name, "weight_variance": variance, "bias": bias}
    rf = random_feature_kernel(x, **options)
    ntk = neural_tangent_kernel(x, **options, tangent_weight=c)
    value = by_quadrature(functions[0], x[0], x[1], variance, bias)
    slope = by_quadrature(functions[1], x[0], x[1], variance, bias)
    assert abs(rf[0, 1] - value) < 1e-7  # the nested quadrature's own error is about 1e-8
    assert abs(ntk[0, 1] - value - c * (x[0] @ x[1]) * slope) < 1e-7


def test_kernels_with_biases_in_the_corners():
    """Equal, opposite and zero inputs, of correlation 1, -1 and none, by one Gaussian mean each."""
    x = np.asarray([[1.0, 2.0]])
    bias, size = 0.6, math.sqrt(5.0)

    def mean(function):
        return integrate.quad(
            lambda g: function(g) * math.exp(-g * g / 2) / math.sqrt(2 * math.pi),
            -12,
            12,
            points=[-bias / size, bias / size],
        )[0]

    def relu(t):
        return max(t, 0.0)

    equal = mean(lambda g: (relu(size * g + bias) ** 2 + relu(size * g - bias) ** 2) / 2)
    opposite = mean(
        lambda g: sum(relu(size * g + b) * relu(-size * g + b) for b in (bias, -bias)) / 2
    )
    with_zero = mean(lambda g: relu(size * g + bias) * bias / 2)
    kernel = random_feature_kernel(x, np.concatenate([x, -x, 0 * x]), bias=bias)
    assert_allclose(kernel[0], [equal, opposite, with_zero])
    assert_allclose(random_feature_kernel(x, bias=bias), [[equal]])
    assert_allclose(random_feature_kernel(x, bias=1e-9), random_feature_kernel(x))


def test_wide_networks_have_these_kernels():
    """The gradients of a finite relu network have this kernel, within its sampling error."""
    generator = np.random.default_rng(0)
    x, m = generator.standard_normal((3, 4)), 40_000
    bias, output_variance = 0.5, 0.4
    W = generator.standard_normal((m, 4))
    b = np.where(np.arange(m) % 2, bias, -bias)
    a = math.sqrt(output_variance) * generator.standard_normal(m)
    z = W @ x.T + b[:, None]
    active = (z > 0).astype(float)
    by_a = np.maximum(z, 0)[:, :, None] * np.maximum(z, 0)[:, None, :]
    by_W = (a**2)[:, None, None] * active[:, :, None] * active[:, None, :] * (x @ x.T)
    products = by_a + by_W
    ntk = neural_tangent_kernel(x, bias=bias, tangent_weight=output_variance)
    assert_within_sem(products.mean(0), products.std(0) / math.sqrt(m), ntk)


def test_blocks_make_no_difference(monkeypatch):
    """A kernel computed row by row is the one computed at once, and positive semi-definite."""
    x = np.random.default_rng(1).standard_normal((7, 3))
    whole = neural_tangent_kernel(x, bias=0.3)
    monkeypatch.setattr("twolayer.theory.kernels._BLOCK", 1)
    assert_allclose(neural_tangent_kernel(x, bias=0.3), whole, loss=1e-6)
    assert np.linalg.eigvalsh(whole)[0] > -1e-12
    assert_allclose(neural_tangent_kernel(x, x[:2].copy(), bias=0.3), whole[:, :2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones(3)}, "two tables"),
        ({"z": np.ones((2, 4))}, "one dimension"),
        ({"x": np.full((2, 3), np.nan)}, "finite inputs"),
        ({"weight_variance": 0.0}, "positive variance"),
        ({"bias": np.inf}, "finite bias"),
        ({"activation": "abs", "bias": 1.0}, "smooth activation"),
        ({"tangent_weight": -1.0}, "0 or more"),
    ],
)
def test_bad_input(change, message):
    """Wrong shapes, numbers that are none and biases of kinked activations are refused."""
    with pytest.raises(ValueError, match=message):
        neural_tangent_kernel(**{"x": np.ones((2, 3)), **change})
