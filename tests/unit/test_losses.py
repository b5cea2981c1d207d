"""Losses: slopes, curvatures and conjugates against differences and SciPy's optimiser."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from twolayer.losses import LogisticLoss, SquareLoss

CASES = [
    (SquareLoss(), 0.7),
    (SquareLoss(), -2.0),
    (LogisticLoss(), 1.0),
    (LogisticLoss(), -1.0),
]


@pytest.mark.parametrize(("loss", "label"), CASES)
def test_slope_and_curvature_are_the_derivatives(loss, label):
    """Central differences of the value give the slope, those of the slope the curvature."""
    f, step = jnp.linspace(-4.0, 4.0, 9), 1e-5
    y = jnp.full_like(f, label)
    for function, derivative in ((loss, loss.slope), (loss.slope, loss.curvature)):
        difference = (function(f + step, y) - function(f - step, y)) / (2 * step)
        # error of the difference: step^2 / 6 and rounding / step, both below 1e-10
        np.testing.assert_allclose(derivative(f, y), difference, atol=1e-9)


@pytest.mark.parametrize(("loss", "label"), CASES)
def test_curvature_bound_is_attained(loss, label):
    """No curvature exceeds the bound, and one at 0 equals it."""
    f = jnp.linspace(-9.0, 9.0, 181)
    curvature = loss.curvature(f, jnp.full_like(f, label))
    np.testing.assert_allclose(float(curvature.max()), loss.curvature_bound, rtol=1e-14)


@pytest.mark.parametrize(("loss", "label"), CASES)
def test_conjugate_is_the_supremum(loss, label):
    """``sup_f r f - l(f)``, found by SciPy, is the conjugate at each slope that occurs."""
    y = jnp.asarray(label)
    for f in (-3.0, -0.4, 0.0, 1.3):
        r = float(loss.slope(jnp.asarray(f), y))

        def negative(t, slope=r):
            return float(loss(jnp.asarray(float(t)), y)) - slope * float(t)

        best = minimize_scalar(negative, bracket=(-5.0, 5.0), tol=1e-12)
        np.testing.assert_allclose(float(loss.conjugate(jnp.asarray(r), y)), -best.fun, atol=1e-9)


def test_logistic_conjugate_at_and_beyond_the_ends_of_its_domain():
    """Zero at slopes 0 and -y, infinite beyond them."""
    loss = LogisticLoss()
    for y in (1.0, -1.0):
        slopes = jnp.asarray([0.0, -y, 0.1 * y, -1.1 * y])
        values = np.asarray(loss.conjugate(slopes, jnp.full(4, y)))
        assert values.tolist() == [0.0, 0.0, np.inf, np.inf]


def test_logistic_loss_is_exact_far_out():
    """No overflow at large margins: the loss is linear on one side and ``e^-f`` on the other."""
    loss = LogisticLoss()
    f, y = jnp.asarray([-1000.0, 700.0]), jnp.ones(2)
    np.testing.assert_allclose(loss(f, y), [1000.0, np.exp(-700.0)], rtol=1e-12)
    np.testing.assert_allclose(loss.slope(f, y), [-1.0, -np.exp(-700.0)], rtol=1e-12)


def test_labels_of_the_logistic_loss_are_signs():
    """Labels 0 and 1 are refused with one sentence that names the right ones."""
    LogisticLoss().check_labels(np.array([1.0, -1.0]))
    SquareLoss().check_labels(np.array([0.3]))
    with pytest.raises(ValueError, match="labels 1 and -1"):
        LogisticLoss().check_labels(np.array([0.0, 1.0]))
