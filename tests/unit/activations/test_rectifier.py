import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from twolayer.activations.rectifier import rectifier_derivatives, rectifier_dual


@pytest.mark.parametrize("degrees", [0, 60, 90, 120, 179, 180])
def test_dual_by_the_angle_between_neurons(degrees):
    """For unit vectors E |u||v| is the average of |cos t cos(t - angle)| times E R^2 = 2."""
    angle = math.radians(degrees)
    mean, _ = integrate.quad(
        lambda t: abs(math.cos(t) * math.cos(t - angle)),
        0,
        2 * math.pi,
        points=[math.pi / 2, 3 * math.pi / 2, angle + math.pi / 2],
        limit=200,
    )
    one = jnp.asarray(1.0)
    value = float(rectifier_dual(one, jnp.asarray(math.cos(angle)), one))
    assert value == pytest.approx(mean / math.pi, abs=1e-8)


def test_gradient_approaches_its_value_at_full_correlation():
    """The slope in q12 is continuous up to rho = 1, where it is E sign(u)^2 = 1."""
    slope = jax.grad(lambda q12: rectifier_dual(jnp.asarray(2.0), q12, jnp.asarray(2.0)))
    assert float(slope(jnp.asarray(2.0))) == 1.0
    assert float(slope(jnp.asarray(-2.0))) == -1.0
    for gap in (1e-2, 1e-4, 1e-6):
        # (2 / pi) arcsin(1 - gap) = 1 - (2 / pi) sqrt(2 gap) to leading order
        expected = 1 - 2 / math.pi * math.sqrt(2 * gap)
        assert float(slope(jnp.asarray(2.0 * (1 - gap)))) == pytest.approx(expected, abs=gap)


def test_gradient_at_a_dead_neuron_is_zero():
    """With w = 0 the gradient of E |w.x||v.x| in w is 0, not NaN."""
    v = jnp.asarray([0.3, -1.0])
    gradient = jax.grad(lambda w: rectifier_dual(w @ w, w @ v, v @ v))(jnp.zeros(2))
    np.testing.assert_array_equal(gradient, 0.0)


def test_second_derivatives_are_finite():
    """Hessians exist everywhere, at full correlation with the subgradient 0 of the angle."""
    hessian = jax.hessian(lambda q: rectifier_dual(q[0], q[1], q[2]))
    for q in ([1.0, 0.3, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]):
        assert np.all(np.isfinite(hessian(jnp.asarray(q))))


def test_even_derivatives_by_hand():
    """E |y + r G| is sqrt(2/pi) (r + y^2/(2r) - y^4/(24 r^3) + y^6/(240 r^5) - ...)."""
    r = 0.8
    values = np.asarray(rectifier_derivatives(6, jnp.asarray(r**2)))
    roots = np.sqrt([math.factorial(k) for k in range(7)])
    taylor = math.sqrt(2 / math.pi) * np.array([
        r,
        0,
        1 / (2 * r),
        0,
        -1 / (24 * r**3),
        0,
        1 / (240 * r**5),
    ])
    expected = taylor * [math.factorial(k) for k in range(7)]
    np.testing.assert_allclose(values * roots, expected, rtol=1e-12)
