"""Algorithm 1 of chen2024subspace: kernel, exponents, losses, and the gap to the Taylor flow."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from twolayer.activations import activation_of, cos_sin, sin
from twolayer.numerics.hermite import hermite_values, multi_indices
from twolayer.numerics.precision import in_float64
from twolayer.numerics.quadrature import gauss_hermite, gauss_legendre, tensor_rule
from twolayer.numerics.rational import RationalPolynomial
from twolayer.targets import Polynomial
from twolayer.theory.mean_field import (
    Constant,
    Population,
    algorithm_one,
    kernel_exponent,
    mean_field,
    taylor_flow,
)
from twolayer.theory.mean_field.readout_kernel import (
    population_means,
    readout_features,
    readout_kernel,
    smallest_eigenvalue,
)
from twolayer.theory.mean_field.solve import flow_from

# target: lambda_min at T = 2, time, loss; from another implementation with 16 to 24 nodes
KNOWN = [
    ("z1", 0.377, 10, 2.7e-4),
    ("z1 + z1*z2", 5.487e-4, 1e3, 2.32e-8),
    ("z1 + He2(z1)*z2", 1.51611e-7, 1e8, 1.272e-15),
    ("z1 + z1*z2 + z2*z3", 1.464e-6, 1e5, 1.391e-3),
    ("z1 + z1*z2 + z1*z2*z3", 1.435e-11, 1e6, 0.09703),
]


@pytest.mark.parametrize(("text", "smallest", "time", "loss"), KNOWN)
def test_kernel_and_loss_agree_with_an_independent_implementation(text, smallest, time, loss):
    """lambda_min and the loss of a staircase after a long second phase."""
    result = algorithm_one(text, activation=cos_sin, times=[0, time])
    assert result.kernel.smallest == pytest.approx(smallest, rel=2e-3)
    assert result.loss.value[1] == pytest.approx(loss, rel=2e-2)
    assert np.all(result.loss.value <= result.bound.value * (1 + 1e-9))  # Theorem 4.3
    assert result.loss.assumptions[0].holds


@pytest.mark.parametrize(
    ("text", "essential"), [("z2", "z1"), ("3/5*z1 + 4/5*z2", "z1"), ("z2 + z2*z3", "z1 + z1*z2")]
)
def test_coordinates_that_the_target_ignores_do_not_slow_it(text, essential):
    """The least eigenvalue is that on polynomials of the essential coordinates."""
    populations = 2
    kernel, own = (
        algorithm_one(
            h, activation=cos_sin, times=[10], num_populations=populations
        ).kernel.smallest
        for h in (text, essential)
    )
    assert kernel == pytest.approx(own, rel=1e-6) != 0


def test_a_constant_is_learned_at_rate_one():
    """Degree 0: the read-out activation is the constant 1."""
    result = algorithm_one("3", activation=cos_sin, times=[0, 1])
    np.testing.assert_allclose(result.bound.value, 4.5 * np.exp([0, -2]))
    np.testing.assert_allclose(result.loss.value, result.bound.value)


def test_observed_rate_may_exceed_the_bound():
    """By symmetry z1 + z1 z2 + z2 z3 has no part in the slowest direction: 2.6e-24 at 1e6."""
    result = algorithm_one("z1 + z1*z2 + z2*z3", activation=cos_sin, times=[1e6])
    assert result.loss.value[0] < 1e-20 < result.bound.value[0]


@pytest.mark.parametrize(
    ("text", "floor"),
    [("z1*z2", 0.5), ("He2(z1)", 1), ("z1 + z1*z2*z3", 0.5), ("z1 + z2 + z1*z2", 0.25)],
)
def test_reflective_target_stops_at_its_floor(text, floor):
    """lambda_min is 0 and the loss ends exactly at the floor of Theorem 3.4."""
    result = algorithm_one(text, activation=cos_sin, times=[1e8])
    assert result.kernel.smallest == 0
    assert result.loss.value[0] == pytest.approx(floor, abs=1e-9)
    assert result.loss.assumptions[0].holds is False


# target: exponent 2 n s of lambda_min and the paper's bound
EXPONENTS = [
    ("z1 + z1*z2", 8, 48),
    ("z1 + He2(z1)*z2", 18, 180),
    ("z1 + z1*z2 + z2*z3", 12, 120),
    ("z1 + z1*z2 + z1*z2*z3", 24, 480),
]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "derived", "paper"), EXPONENTS)
def test_smallest_eigenvalue_grows_as_derived(text, derived, paper):
    """The slope of log lambda_min is 2 n s, far below the exponent of Proposition 4.4."""
    exponent = kernel_exponent(text, activation=cos_sin, durations=(0.01, 0.02))
    assert (exponent.derived, exponent.paper) == (derived, paper)
    assert exponent.slope_error < 1e-6
    assert abs(exponent.slope - derived) < 0.03  # first order in T is left
    coarser = kernel_exponent(text, activation=cos_sin, durations=(0.02, 0.04))
    assert abs(exponent.slope - derived) < 0.6 * abs(coarser.slope - derived)


def test_without_averaging_the_exponent_is_larger():
    """One population instead of p: slope 12 instead of 8, yet a faster loss at first."""
    alone = kernel_exponent(
        "z1 + z1*z2", activation=cos_sin, durations=(0.05, 0.1), num_populations=1
    )
    assert abs(alone.slope - 12) < 0.15
    result = algorithm_one("z1 + z1*z2", activation=cos_sin, times=[100], num_populations=1)
    assert result.kernel.smallest == pytest.approx(5.633e-6, rel=1e-3)
    assert result.loss.value[0] == pytest.approx(0.0093, abs=1e-4)


def test_two_populations_suffice_for_three_coordinates():
    """With m = 2 < p = 3 the slope is 12 too: a case for the paper's conjecture."""
    exponent = kernel_exponent("z1 + z1*z2 + z2*z3", activation=cos_sin, num_populations=2)
    assert abs(exponent.slope - 12) < 0.05


def test_features_are_projections_of_the_second_activation():
    """phi_alpha(u) = E (1 + u.z)^n h_alpha(z), by Gauss-Hermite quadrature."""
    degree, u = 3, np.array([[0.3, -0.7], [1.1, 0.4]])
    indices = multi_indices(2, degree)
    z, share = tensor_rule(gauss_hermite(8), 2)
    basis = np.stack(
        [
            hermite_values(z[:, 0], degree)[:, i] * hermite_values(z[:, 1], degree)[:, j]
            for i, j in indices
        ],
        axis=1,
    )
    expected = ((1 + u @ z.T) ** degree * share) @ basis
    np.testing.assert_allclose(readout_features(u, indices), expected, rtol=1e-12, atol=1e-13)


def test_means_over_populations_are_the_tensor_rule():
    """Unordered draws with their multiplicities give what all ordered draws give."""
    rng = np.random.default_rng(0)
    w, weight = rng.normal(size=(5, 2)), rng.dirichlet(np.ones(5))
    u, share = population_means(w, weight, 3)
    chosen, product = tensor_rule((np.arange(5.0), weight), 3)
    every = w[chosen.astype(int)].mean(axis=1)
    assert share.sum() == pytest.approx(1)
    np.testing.assert_allclose(share @ np.exp(u), product @ np.exp(every))


def test_second_phase_is_the_linear_flow():
    """The closed form is the solution of g' = -K g by time stepping."""
    target = Polynomial("z1 + z1*z2")
    rng = np.random.default_rng(1)
    w, weight = rng.normal(size=(7, 2)), np.full(7, 1 / 7)
    kernel = readout_kernel(target, w, weight, 2)
    indices = multi_indices(2, 2)
    u, share = population_means(w, weight, 2)
    features = readout_features(u, indices)
    K = features.T @ (share[:, None] * features)
    g0 = np.array([{(1, 0): 1.0, (1, 1): 1.0}.get(alpha, 0.0) for alpha in indices])
    times = np.array([0.0, 0.1, 0.5, 2.0])
    g = solve_ivp(lambda _, g: -K @ g, (0, 2), g0, "LSODA", times, rtol=1e-10, atol=1e-12).y
    np.testing.assert_allclose(kernel.loss(times), np.sum(g**2, axis=0) / 2, rtol=1e-7)
    np.testing.assert_allclose(kernel.eigenvalues, np.linalg.eigvalsh(K), rtol=1e-8)
    assert kernel.smallest == pytest.approx(kernel.eigenvalues[0], rel=1e-9)


def test_smallest_eigenvalue_is_accurate_where_decompositions_are_not():
    """Weights (r, r^2 e): lambda_min is found down to 1e-40, where an SVD shows 1e-32."""
    shape = np.random.default_rng(2).normal(size=(40, 2))
    weight = np.full(40, 1 / 40)
    radii = np.array([1e-3, 1e-5])
    found = [smallest_eigenvalue(shape * [r, r**2], weight, 1, 2, 2)[0] for r in radii]
    # the smallest direction is dual to u_2^2, of size r^4: lambda ~ r^8
    assert found[1] < 1e-38
    assert np.log(found[0] / found[1]) / np.log(100) == pytest.approx(8, abs=1e-3)


R7_SYMBOL = {
    (1, 0, 0): 1,
    (1, 1, 0): 2,
    (0, 1, 1): 1,
    (3, 0, 0): Fraction(-2, 3) - Fraction(1, 2),
    (2, 0, 1): -1,
    (1, 2, 0): Fraction(-1, 2),
    (1, 0, 2): Fraction(-1, 2),
}


@pytest.mark.slow
@in_float64
def test_true_flow_leaves_the_plane_of_the_taylor_flow():
    """A target whose Taylor flow is (t, t^2, 0), while the true first phase has w_3 ~ T^4."""
    target = Polynomial(RationalPolynomial(3, R7_SYMBOL).from_symbol())
    activation = activation_of("x + x^2/2 + x^3/6")
    times = np.array([0.05, 0.1, 0.2, 0.4])
    plane = taylor_flow(target, activation, times)
    np.testing.assert_allclose(plane, np.stack([times, times**2, 0 * times], 1), atol=1e-9)
    assert np.max(np.abs(plane[:, 2])) < 3e-15
    # two neurons without weight at the ends of the interval see the largest value
    nodes, weights = gauss_legendre(16)
    start = Population(
        np.append(nodes, [-1, 1]), np.zeros((18, 3)), np.zeros(18), np.append(weights / 2, [0, 0])
    )
    field = mean_field(target, activation, schedules=(Constant(0.0), Constant(1.0)))
    w = np.abs(flow_from(field, start, times, None, (1e-10, 1e-18))[0].w[..., 2])
    np.testing.assert_allclose(
        w[:, :-2].max(axis=1), [3.322e-7, 5.247e-6, 8.168e-5, 1.231e-3], rtol=1e-3
    )
    np.testing.assert_allclose(
        w[:, -2:].max(axis=1), [3.43e-7, 5.42e-6, 8.43e-5, 1.27e-3], rtol=2e-3
    )


@pytest.mark.slow
def test_taylor_flow_starts_as_the_recursion_says():
    """w = (m_1 c_1 t, m_1 m_2 c_1 c_12 t^2 / 2) for z1 + z1 z2: here (t, -t^2 / 2)."""
    t = 1e-3
    w = taylor_flow(Polynomial("z1 + z1*z2"), cos_sin, [t])
    np.testing.assert_allclose(w[0] / [t, t**2], [1, -0.5], rtol=2e-3)


@pytest.mark.slow
def test_odd_activation_cannot_reach_the_second_coordinate():
    """Without even part sin keeps w_2 at 0: lambda_min vanishes."""
    result = algorithm_one("z1 + z1*z2", activation=sin, times=[1e9])
    assert result.kernel.smallest == 0
    assert result.loss.value[0] == pytest.approx(0.5)


def test_wrong_use_is_named():
    """No derivatives at 0, no time, too few nodes for the features: one sentence each."""
    with pytest.raises(ValueError, match="derivatives at 0"):
        algorithm_one("z1", activation="relu", times=[1])
    with pytest.raises(ValueError, match="positive length"):
        algorithm_one("z1", activation="tanh", times=[1], duration=0.0)
    with pytest.raises(ValueError, match="more nodes"):
        readout_kernel(Polynomial("z1*z2"), np.eye(2), np.ones(2) / 2, 1)
