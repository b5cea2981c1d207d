"""Ridge and logistic read-outs against NumPy, scikit-learn and their own optimality conditions."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from helpers import assert_allclose, gaussian_mean
from twolayer.dynamics.readout import Logistic, Ridge

SHAPES = [(40, 25), (25, 40), (30, 30)]  # primal, dual, and where they meet


def problem(n, k, seed=0, classes=False):
    """Features of a single-index problem through ReLU, and its labels."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 30))
    features = np.maximum(x @ generator.normal(size=(30, k)) / math.sqrt(30), 0) / math.sqrt(k)
    y = x[:, 0] + 0.3 * generator.normal(size=n)
    return features, np.sign(y) if classes else y


@eqx.filter_jit
def fit(readout, features, y):
    return readout.fit(features, y)


def least_squares(features, y, ridge):
    """The ridge solution as a plain least-squares problem with k more rows, by NumPy's SVD."""
    n, k = features.shape
    design = np.concatenate([features, math.sqrt(n * ridge) * np.eye(k)])
    return np.linalg.lstsq(design, np.concatenate([y, np.zeros(k)]), rcond=None)[0]


@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_ridge_is_augmented_least_squares(n, k):
    """Weights are NumPy's, residual and objective what their definitions say."""
    features, y = problem(n, k)
    result = fit(Ridge(0.01), jnp.asarray(features), jnp.asarray(y))
    weights = least_squares(features, y, 0.01)
    assert_allclose(result.weights, weights, loss=1e-4)
    residual = np.mean((y - features @ weights) ** 2) / 2
    assert_allclose(result.residual, residual, loss=1e-4)
    assert_allclose(result.objective, residual + 0.01 / 2 * weights @ weights, loss=1e-4)


def test_ridge_minimises_its_objective():
    """The objective's gradient at the weights is 0, and at others the objective is larger."""
    features, y = problem(40, 25)

    def objective(w):
        return np.mean((y - features @ w) ** 2) / 2 + 0.05 * w @ w / 2

    result = fit(Ridge(0.05), jnp.asarray(features), jnp.asarray(y))
    weights = np.asarray(result.weights)
    assert_allclose(objective(weights), result.objective, loss=1e-4)
    for factor in (0.99, 1.01):
        assert objective(factor * weights) > objective(weights)


@pytest.mark.parametrize("ridge", [1e-4, 1e-7, 1e-10])
def test_single_precision_is_refined(ridge):
    """Single-precision features give double-precision weights, up to condition 4e8 at k = n.

    Measured against NumPy's SVD in double: 1e-14, 1e-10 and 5e-9, where a solution in single
    alone is off by 7e-6, 1e-3 and 0.7.
    """
    features, y = problem(200, 200)
    features, y = features.astype(np.float32), y.astype(np.float32)
    truth = least_squares(features.astype(np.float64), y.astype(np.float64), ridge)
    result = fit(Ridge(ridge), jnp.asarray(features), jnp.asarray(y))
    gram = features.T @ features + np.float32(200 * ridge) * np.eye(200, dtype=np.float32)
    plain = np.linalg.solve(gram, features.T @ y)
    condition = np.linalg.cond(gram.astype(np.float64))
    size = np.linalg.norm(truth)
    error = np.linalg.norm(np.asarray(result.weights) - truth) / size
    assert result.weights.dtype == jnp.float64
    assert error < 1e-14 * condition + 1e-8
    assert np.linalg.norm(plain - truth) / size > 100 * error


@pytest.mark.slow
def test_single_precision_without_wide_types():
    """With 64-bit types off everything stays single, to single's own accuracy."""
    features, y = problem(40, 25)
    truth = least_squares(features, y, 0.1)
    with jax.enable_x64(False):
        for readout in (Ridge(0.1), Logistic(0.1)):
            result = fit(readout, jnp.asarray(features), jnp.asarray(y))
            assert result.weights.dtype == jnp.float32
            if isinstance(readout, Ridge):
                np.testing.assert_allclose(result.weights, truth, rtol=1e-4, atol=1e-5)


def shapes_inside(program):
    """The shapes of all arrays of a program, those of its loops and branches included."""
    for line in program.eqns:
        yield from (variable.aval.shape for variable in line.outvars)
        for inner in jax.tree.leaves(
            list(line.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            if hasattr(inner, "jaxpr"):
                yield from shapes_inside(inner.jaxpr)
            elif hasattr(inner, "eqns"):
                yield from shapes_inside(inner)


@pytest.mark.parametrize("readout", [Ridge(0.1), Logistic(0.1)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_only_the_smaller_square_is_formed(readout, dtype):
    """With k > n no array is k x k, with n > k none is n x n."""
    for n, k in ((7, 19), (19, 7)):
        program = jax.make_jaxpr(readout.fit)(jnp.zeros((n, k), dtype), jnp.zeros(n, dtype))
        shapes = set(shapes_inside(program.jaxpr))
        assert (7, 7) in shapes
        assert (19, 19) not in shapes


def slope(features, y, ridge, weights):
    """The gradient of the logistic objective, by hand, over that of its penalty."""
    chance = 1 / (1 + np.exp(y * (features @ weights)))
    gradient = -features.T @ (y * chance) / len(y) + ridge * weights
    return np.linalg.norm(gradient) / np.linalg.norm(ridge * weights)


@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_logistic_is_that_of_scikit_learn(n, k):
    """Weights agree with scikit-learn's at C = 1 / (n ridge) without intercept."""
    features, y = problem(n, k, classes=True)
    result = fit(Logistic(0.01), jnp.asarray(features), jnp.asarray(y))
    theirs = LogisticRegression(C=1 / (n * 0.01), fit_intercept=False, tol=1e-10, max_iter=10_000)
    weights = theirs.fit(features, y).coef_[0]
    np.testing.assert_allclose(result.weights, weights, rtol=1e-5, atol=1e-5)
    assert slope(features, y, 0.01, np.asarray(result.weights)) < 1e-7
    residual = np.mean(np.log1p(np.exp(-y * (features @ weights))))
    np.testing.assert_allclose(result.residual, residual, rtol=1e-6)
    objective = residual + 0.01 / 2 * weights @ weights
    np.testing.assert_allclose(result.objective, objective, rtol=1e-8)


@pytest.mark.parametrize("ridge", [1e-6, 1e-12])
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_logistic_on_separable_data(n, k, ridge):
    """Where margins grow like log(1 / ridge), Newton's method still ends at the minimum."""
    features, _ = problem(n, k)
    y = np.where(features @ np.cos(np.arange(k)) > 0, 1.0, -1.0)
    weights = np.asarray(fit(Logistic(ridge), jnp.asarray(features), jnp.asarray(y)).weights)
    assert np.min(y * (features @ weights)) > 0
    assert slope(features, y, ridge, weights) < 1e-6


@pytest.mark.slow
def test_logistic_from_single_precision_features():
    """Single-precision features give the minimum in double."""
    features, y = problem(30, 30, classes=True)
    features = features.astype(np.float32)
    result = fit(Logistic(1e-3), jnp.asarray(features), jnp.asarray(y, jnp.float32))
    assert slope(features.astype(np.float64), y, 1e-3, np.asarray(result.weights)) < 1e-7


def test_logistic_with_one_class_only():
    """Labels all alike have a minimum too: the gradient vanishes at it."""
    features, _ = problem(30, 30)
    result = fit(Logistic(1e-3), jnp.asarray(features), jnp.ones(30))
    assert slope(features, np.ones(30), 1e-3, np.asarray(result.weights)) < 1e-7


@pytest.mark.parametrize("readout", [Ridge(0.1), Logistic(0.1)])
def test_infinite_features_end_in_nan(readout):
    """Features that overflowed give an objective that is no number: no loop, no exception."""
    features = np.full((30, 30), np.inf)
    assert not np.isfinite(fit(readout, jnp.asarray(features), jnp.asarray(features[0])).objective)


def test_expected_losses_are_gaussian_means():
    """The loss of output + noise g is its mean over g, for either read-out; without noise itself.

    The logistic loss to rounding of the quadrature up to noise 3, to 1e-3 at any noise.
    """
    output, y = jnp.asarray([0.3, -1.5, 20.0]), jnp.asarray([1.0, 1.0, -1.0])
    losses = {
        Ridge: lambda f, label: (f - label) ** 2 / 2,
        Logistic: lambda f, label: np.logaddexp(0, -label * f),
    }
    for kind, loss in losses.items():
        mean_loss = jax.jit(lambda noise, kind=kind: kind(1.0).loss(output, y, noise))
        for noise in (0.0, 0.4, 3.0, 100.0):
            ours = mean_loss(jnp.asarray(noise))
            expected = [
                gaussian_mean(
                    lambda g, f=f, t=t, s=noise, loss=loss: loss(f + s * g, t),
                    breakpoints=(-1.0, -0.1, 0.0, 0.1, 1.0),
                )
                for f, t in zip(output.tolist(), y.tolist(), strict=True)
            ]
            exact = noise <= 3 or kind is Ridge
            np.testing.assert_allclose(ours, expected, rtol=1e-8 if exact else 1e-3)


def test_new_penalties_compile_nothing():
    """The penalty is an array: a batch of them runs in one program, each with its own result."""
    features, y = problem(40, 25)
    ridges = jnp.asarray([0.1, 1.0])

    @jax.jit
    @jax.vmap
    def weights(ridge):
        return Ridge(ridge).fit(jnp.asarray(features), jnp.asarray(y)).weights

    for ours, ridge in zip(weights(ridges), (0.1, 1.0), strict=True):
        assert_allclose(ours, least_squares(features, y, ridge), loss=1e-4)


@pytest.mark.parametrize("kind", [Ridge, Logistic])
@pytest.mark.parametrize("ridge", [0.0, -1.0, math.nan, math.inf])
def test_penalties_are_positive(kind, ridge):
    """Zero, negative and infinite penalties and NaN raise one sentence."""
    with pytest.raises(ValueError, match=r"Expected a positive ridge penalty\. Received"):
        kind(ridge)
