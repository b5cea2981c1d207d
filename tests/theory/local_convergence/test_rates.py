"""Exponents, exact symmetric flows, rate fits and the single ReLU neuron."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from helpers import finite_difference
from twolayer.theory.local_convergence import (
    decompose_residual,
    far_neuron_constant,
    far_neuron_loss,
    far_neurons_constant,
    far_neurons_limit,
    fit_late_constant,
    fit_power,
    gradient,
    log10_initial_scale,
    loss_along_exponent,
    orthogonal_student_constant,
    orthogonal_student_flow,
    rectifier_gradient,
    rectifier_gradient_ratio,
    rectifier_loss,
    rectifier_pair_flow,
    slow_start,
    symmetric_pair_constant,
    symmetric_pair_flow,
    transverse_parts,
    transverse_spread,
    worst_far_neuron,
    worst_far_neurons,
)


@pytest.mark.parametrize("theta", [0.3, 0.7344, 1.2, math.pi / 2])
def test_one_far_neuron(theta):
    """Loss and gradient of a tiny far neuron beside the best single cluster, found numerically."""
    mass = 1e-5
    far = math.sqrt(mass) * np.array([math.cos(theta), math.sin(theta)])

    def students(w):
        return np.array([w, far])

    start = np.array([1.0, 0.0])
    best = optimize.root(lambda w: gradient(students(w), [[1.0, 0.0]])[0], start, tol=1e-14)
    W = students(best.x)
    value = decompose_residual(W, [[1.0, 0.0]]).loss
    # corrections of relative order sqrt(mass): the cluster's own kink
    assert value / (mass**2 / 2) == pytest.approx(far_neuron_loss(theta), rel=1e-2)
    slope = np.linalg.norm(gradient(W, [[1.0, 0.0]]))
    assert slope / value**0.75 == pytest.approx(far_neuron_constant(theta), rel=1e-2)


def test_the_worst_angle():
    """The minimum over a fine grid, and the value at a right angle by hand."""
    grid = np.linspace(0.05, np.pi / 2, 20001)
    theta, constant = worst_far_neuron()
    assert constant == pytest.approx(np.min(far_neuron_constant(grid)), rel=1e-7)
    assert theta == pytest.approx(grid[np.argmin(far_neuron_constant(grid))], abs=2e-4)
    C = 1 - 4 / math.pi**2
    slope = 4 / math.pi * 0  # dC/dtheta at pi/2, where both shadows are stationary in C
    expected = math.hypot(2 * C, slope / 2) / (C / 2) ** 0.75
    assert far_neuron_constant(np.pi / 2) == pytest.approx(expected)


def test_far_neurons_in_the_limit():
    """The closed form of one teacher; for two, tiny far neurons and clusters found numerically."""
    for theta in (0.4, 1.3):
        one = np.array([[math.cos(theta), math.sin(theta)]])
        assert far_neurons_constant(one, [[2.0, 0.0]]) == pytest.approx(far_neuron_constant(theta))
    teacher = np.array([[1.0, 0, 0], [0.3, 1.1, 0]])
    far = 1e-2 * np.array([[0.5, 0.4, 0.7], [-0.6, 0.5, 0.1]])
    start = teacher / np.sqrt(np.linalg.norm(teacher, axis=1))[:, None]

    def clusters(w):
        return np.concatenate([w.reshape(2, 3), far])

    best = optimize.root(lambda w: gradient(clusters(w), teacher)[:2].ravel(), start, tol=1e-15)
    value, slope = far_neurons_limit(far, teacher)
    # corrections of the order of the far neurons' mass, 1e-4, against loss and pull
    exact = decompose_residual(clusters(best.x), teacher).loss
    assert value == pytest.approx(exact, rel=2e-2)
    np.testing.assert_allclose(
        slope, gradient(clusters(best.x), teacher)[2:], atol=2e-2 * np.abs(slope).max()
    )


def test_the_worst_far_neurons():
    """More of them lower the least constant; one beside one teacher has a closed form."""
    one, _ = worst_far_neurons(np.eye(2)[:1], 1)
    two, far = worst_far_neurons(np.eye(2)[:1], 2)
    assert one == pytest.approx(worst_far_neuron()[1], rel=1e-6)
    assert two < one
    assert far_neurons_constant(3.3 * far, np.eye(2)[:1]) == pytest.approx(two, rel=1e-9)


@pytest.mark.parametrize(("exponent", "late"), [(1.0, 1.0), (0.75, 4.0), (2 / 3, 27.0)])
def test_losses_along_an_exponent(exponent, late):
    """They solve ``dL/dt = -c^2 L^(2 alpha)``; the late constants of 1/t, 1/t^2, 1/t^3."""
    c, power = 1.7, 2 * exponent - 1
    times = np.linspace(0, 5, 6)
    curve = loss_along_exponent(times, exponent=exponent, constant=c, initial_loss=0.3)
    path = integrate.solve_ivp(
        lambda t, y: -(c**2) * y ** (2 * exponent),
        (0, 5),
        [0.3],
        t_eval=times,
        rtol=1e-11,
        atol=1e-14,
    )
    np.testing.assert_allclose(curve.value, path.y[0], rtol=1e-8)
    far = loss_along_exponent([1e12], exponent=exponent, constant=c, initial_loss=0.3).value[0]
    assert far * 1e12 ** (1 / power) == pytest.approx(late / c ** (2 / power), rel=1e-3)


def test_exponents_below_one_are_a_conjecture():
    for exponent, marks in ((0.75, [None]), (0.99, [None]), (1.0, [])):
        curve = loss_along_exponent([1.0], exponent=exponent, constant=1.0, initial_loss=1.0)
        assert [a.holds for a in curve.assumptions] == marks
        assert curve.kind == "upper"


def test_exponential_decay_at_one_half():
    curve = loss_along_exponent([0.0, 2.0], exponent=0.5, constant=1.5, initial_loss=1.0)
    assert curve.value[1] == pytest.approx(math.exp(-4.5))


def brute_force(W, teacher, slope, times):
    """Gradient flow in all coordinates by SciPy."""
    path = integrate.solve_ivp(
        lambda t, w: -slope(w.reshape(W.shape), teacher).ravel(),
        (0, times[-1]), W.ravel(), "DOP853", t_eval=times, rtol=1e-10, atol=1e-13,
    )  # fmt: skip
    return path.y.T.reshape(-1, *W.shape)


TIMES = np.array([0.0, 0.3, 3.0, 15.0])


@pytest.mark.parametrize(("angle", "norm"), [(0.8, 1.0), (0.3, 2.0)])
def test_symmetric_pair_flow(angle, norm):
    W = np.array([[1.0, math.tan(angle)], [1.0, -math.tan(angle)]])
    W *= math.sqrt(norm * math.cos(angle) / 2)
    path = brute_force(W, [[norm, 0.0]], gradient, TIMES)
    values, angles = symmetric_pair_flow(TIMES, angle=angle, norm=norm)
    np.testing.assert_allclose(angles.value, np.arctan(path[:, 0, 1] / path[:, 0, 0]), rtol=1e-7)
    losses = [decompose_residual(w, [[norm, 0.0]]).loss for w in path]
    np.testing.assert_allclose(values.value, losses, rtol=1e-6)


def test_orthogonal_student_flow():
    norm, mass = 1.5, 0.2
    W = np.array([[math.sqrt(norm), 0.0], [0.0, math.sqrt(mass)]])
    path = brute_force(W, [[norm, 0.0]], gradient, TIMES)
    values, masses = orthogonal_student_flow(TIMES, mass=mass, norm=norm)
    np.testing.assert_allclose(masses.value, path[:, 1, 1] ** 2, rtol=1e-7)
    losses = [decompose_residual(w, [[norm, 0.0]]).loss for w in path]
    np.testing.assert_allclose(values.value, losses, rtol=1e-6)


@pytest.mark.parametrize("norm", [1.0, 2.0])
def test_rectifier_pair_flow(norm):
    angle = 0.6
    W = norm / 2 * np.array([[1.0, math.tan(angle)], [1.0, -math.tan(angle)]])
    v = np.array([norm, 0.0])
    path = brute_force(W, v, rectifier_gradient, TIMES)
    values, angles = rectifier_pair_flow(TIMES, angle=angle, norm=norm)
    np.testing.assert_allclose(angles.value, np.arctan(path[:, 0, 1] / path[:, 0, 0]), rtol=1e-7)
    np.testing.assert_allclose(values.value, [rectifier_loss(w, v) for w in path], rtol=1e-6)


@pytest.mark.parametrize("norm", [1e-6, 1e6])
def test_flows_know_no_units(norm):
    """``w* -> c w*`` and ``w -> sqrt(c) w`` (ReLU: c w) make losses c^2 and times 1/c (ReLU: 1)."""
    times = np.array([0.0, 1.0, 30.0, 1e4])
    for flow, start, clock, other in (
        (symmetric_pair_flow, {"angle": 1.5}, norm, 1.0),
        (orthogonal_student_flow, {"mass": 0.2}, norm, norm),
        (rectifier_pair_flow, {"angle": 1.5}, 1.0, 1.0),
    ):
        unit = flow(times, **start)
        if "mass" in start:
            start = {"mass": 0.2 * norm}
        scaled = flow(times / clock, **start, norm=norm)
        np.testing.assert_allclose(scaled[0].value, norm**2 * unit[0].value, rtol=1e-12)
        np.testing.assert_allclose(scaled[1].value, other * unit[1].value, rtol=1e-12)


def test_late_constants():
    """``L t^3`` and ``L t^2`` of the exact flows reach their limits like 1/t."""
    times = np.geomspace(1, 1e5, 60)
    for norm in (1.0, 3.0):
        pair, angle = symmetric_pair_flow(times, angle=0.4, norm=norm)
        constant, error = fit_late_constant(pair.grid, pair.value, power=3)
        assert constant == pytest.approx(symmetric_pair_constant(norm=norm), rel=1e-4)
        assert error < 1e-3 * constant
        assert angle.value[-1] * 1e5 == pytest.approx(np.pi / (2 * norm), rel=1e-3)
        far, _ = orthogonal_student_flow(times, mass=0.1, norm=norm)
        constant, _ = fit_late_constant(far.grid, far.value, power=2)
        assert constant == pytest.approx(orthogonal_student_constant(), rel=1e-4)
        relu, angle = rectifier_pair_flow(times, angle=0.4, norm=norm)
        constant, _ = fit_late_constant(relu.grid, relu.value, power=3)
        assert constant == pytest.approx(np.pi**2 * norm**2 / 6, rel=1e-4)
        assert angle.value[-1] * 1e5 == pytest.approx(np.pi, rel=1e-3)


def test_power_fits_know_their_error():
    rng = np.random.default_rng(0)
    t = np.geomspace(1, 1e4, 200)
    misses = []
    for _ in range(40):
        fit = fit_power(t, 3 * t**-2 * np.exp(0.1 * rng.normal(size=t.size)))
        misses.append((fit.slope + 2) / fit.error)
    # the drift is added to the scatter, so the error is somewhat too large, never far too small
    assert 0.3 < np.std(misses) < 1.2
    moving = fit_power(t, 1 / (t + 1e3) ** 2)  # its slope is still on the way to -2
    assert moving.error > 0.1
    assert abs(moving.slope + 2) < 4 * moving.error
    assert fit_power(t, 7 * t**1.5).log_constant == pytest.approx(math.log(7))


def test_the_error_of_a_fit_is_how_far_its_slope_has_to_go():
    """A slope that moves steadily ends as far from the fitted one as the error says."""
    x = np.linspace(0.0, math.log(10), 201)
    fit = fit_power(np.exp(x), np.exp(0.05 * x**2 - 3 * x))
    assert fit.slope == pytest.approx(-3 + 0.1 * np.mean(x), rel=1e-9)
    assert fit.error == pytest.approx(-3 + 0.1 * x[-1] - fit.slope, rel=0.02)


@pytest.mark.parametrize("start", [100.0, 1000.0])
def test_the_error_of_a_fit_covers_a_shift_of_time(start):
    """``L = (t + t_0)^-3``, the leading correction of every late flow here."""
    t = np.geomspace(1, 1e4, 60)
    fit = fit_power(t, (t + start) ** -3)
    assert 0.8 < abs(fit.slope + 3) / fit.error < 1.3


def test_the_scatter_of_a_line_is_its_standard_error():
    """Without curvature the error is that of least squares, by SciPy."""
    t, noise = np.geomspace(1, 10, 6), 0.1 * np.array([1.0, -1, 0, 0, -1, 1])
    fit = fit_power(t, t**-2 * np.exp(noise))  # the halves' slopes differ by less than scatter
    exact = stats.linregress(np.log(t), np.log(t**-2 * np.exp(noise)))
    assert fit.slope == pytest.approx(exact[0])
    assert fit.error == pytest.approx(exact[4])
    assert fit_power([1.0, 2, 4, 8], [1.0, 4, 16, 64]).num_points == 4  # four are enough


def test_a_late_constant_and_its_error():
    """``L = K / t^2 (1 + a / t^2)``: the error covers what the fit leaves of the correction."""
    t = np.geomspace(1, 100, 40)
    constant, error = fit_late_constant(t, 5 / t**2 * (1 + 20 / t**2), power=2)
    assert 0.1 * error < abs(constant - 5) < error
    late = slice(-10, None)  # the later half of the last decade's 20 points
    line = np.polyfit(t[late], (5 / t[late] ** 2 * (1 + 20 / t[late] ** 2)) ** -0.5, 1)
    assert constant == pytest.approx(line[0] ** -2, rel=1e-9)


def test_rectifier_loss_by_quadrature():
    W, v = np.array([[0.4, 0.3], [0.5, -0.6], [-0.2, 0.1]]), np.array([1.0, 0.2])

    def residual(t):
        x = np.array([math.cos(t), math.sin(t)])
        return np.sum(np.maximum(W @ x, 0)) - max(v @ x, 0.0)

    kinks = sorted(
        (math.atan2(u[1], u[0]) + shift) % (2 * np.pi)
        for u in [*W, v]
        for shift in (np.pi / 2, -np.pi / 2)
    )
    edges = [0.0, *kinks, 2 * np.pi]
    exact = sum(
        integrate.quad(lambda t: residual(t) ** 2, low, high)[0]
        for low, high in itertools.pairwise(edges)
    ) / (2 * np.pi)  # E |x|^2 = 2, and one half
    assert rectifier_loss(W, v) == pytest.approx(exact, rel=1e-9)
    slope = finite_difference(lambda w: rectifier_loss(w.reshape(3, 2), v), W.ravel())
    np.testing.assert_allclose(rectifier_gradient(W, v).ravel(), slope, atol=1e-9)


def test_rectifier_loss_keeps_small_numbers():
    """Two students at a tiny angle, their sum the teacher: ``theta^3 / (6 pi)``."""
    theta = 1e-8
    W = np.array([[0.5, 0.5 * theta], [0.5, -0.5 * theta]])
    exact = theta**3 / (6 * np.pi)
    assert rectifier_loss(W, np.array([1.0, 0.0])) == pytest.approx(exact, rel=1e-6)


def test_degenerate_starts():
    v = np.array([2.0, 0, 0])
    rng = np.random.default_rng(1)
    W = rng.normal(size=(4, 3))
    assert slow_start(W, v).holds
    assert not slow_start(W[:1], v).holds
    assert not slow_start(np.outer([1, 2.0, 3], v), v).holds
    assert not slow_start(np.outer([1, 2.0, 3], W[0]) + np.outer([1, -1, 0.5], v), v).holds
    z = transverse_parts(W, v)
    np.testing.assert_allclose(z @ v, 0, atol=1e-15)
    brute = sum(np.linalg.norm(z[i] - z[j]) for i in range(4) for j in range(i))
    assert transverse_spread(W, v) == pytest.approx(brute)


def test_gradient_ratio_of_theorem_7():
    """It has no units, stays of order 1 over decades of loss, and names its assumptions."""
    v, ratios = np.array([1.0, 0.0]), []
    for theta in (1e-1, 1e-2, 1e-3):
        W = np.array([[0.5, 0.5 * theta], [0.5, -0.5 * theta]])
        ratio, assumptions = rectifier_gradient_ratio(W, v)
        assert ratio == pytest.approx(rectifier_gradient_ratio(7 * W, 7 * v)[0])
        ratios.append(ratio)
    assert all(assumption.holds for assumption in assumptions)
    # at the start of the flow all of the gradient is in the angle
    W_slope = np.linalg.norm(rectifier_gradient(W, v))
    assert ratios[-1] == pytest.approx(W_slope * 2 ** (2 / 3) / rectifier_loss(W, v) ** (2 / 3))
    assert max(ratios) < 1.2 * min(ratios)
    wide = rectifier_gradient_ratio(np.array([[3.0, 0.1], [0.01, 0.1]]), v)[1]
    assert [a.holds for a in wide] == [False, False]


def test_assumptions_of_theorem_7_end_where_it_says():
    """``|v|/(4n) <= |w_i| <= 4|v|/n`` and ``L <= |v|^2 / n^14`` for n = 2 and a teacher of 3."""
    v = np.array([3.0, 0.0])
    for length, margin in ((0.2, -0.25 + 0.4 / 3), (0.4, -0.25 + 0.8 / 3), (5.9, 4 - 11.8 / 3)):
        W = np.array([[length, 0.0], [3.0 - length, 0.1]])
        held = rectifier_gradient_ratio(W, v)[1][0]
        assert held.margin == pytest.approx(margin, abs=1e-3)
        assert held.holds is (margin > 0)
    assert not rectifier_gradient_ratio(np.array([[6.1, 0.0], [-3.1, 0.1]]), v)[1][0].holds
    for miss, holds in ((0.046, True), (0.048, False)):  # (9 / 2^14 * 4)^(1/2) = 0.04688
        held = rectifier_gradient_ratio(np.array([[1.5, 0.0], [1.5 + miss, 0.0]]), v)[1][1]
        assert held.holds is holds
        assert held.margin == pytest.approx(math.log10(9 / 2**14 / (miss**2 / 4)))


def test_initial_scale_of_theorem_9():
    assert log10_initial_scale(1, 100) == pytest.approx(-1)
    assert log10_initial_scale(10, 1, norm=10.0) == pytest.approx(-4225)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: loss_along_exponent([0.0], exponent=0.4, constant=1, initial_loss=1), "1/2"),
        (lambda: loss_along_exponent([0.0], exponent=1, constant=0, initial_loss=1), "positive"),
        (lambda: symmetric_pair_flow([0.0, 1.0], angle=2.0), "angle in"),
        (lambda: rectifier_pair_flow([1.0, 0.5], angle=0.2), "increasing times"),
        (lambda: orthogonal_student_flow([0.0], mass=-1.0), "positive mass"),
        (lambda: symmetric_pair_flow([0.0, np.nan], angle=0.2), "increasing times"),
        (lambda: orthogonal_student_flow([0.0, np.inf], mass=1.0), "increasing times"),
        (lambda: fit_power(np.ones(3), np.ones(3)), "four points"),
        (lambda: fit_power(np.ones(9), np.arange(1.0, 10)), "four points"),
        (lambda: fit_power(np.array([]), np.array([])), "four points"),
        (lambda: fit_late_constant(np.arange(1.0, 9), -np.ones(8), power=3), "positive losses"),
        (lambda: fit_power(np.arange(9.0), np.ones(9)), "positive numbers"),
        (lambda: fit_late_constant(np.ones(3), np.ones(3), power=2), "four times"),
        (lambda: rectifier_loss(np.ones((2, 3)), np.ones(2)), "shapes"),
        (lambda: rectifier_loss(np.ones((2, 3)), np.zeros(3)), "different from zero"),
        (lambda: rectifier_gradient_ratio(np.array([[1.0, 0]]), np.array([1.0, 0])), "positive"),
        (lambda: loss_along_exponent([-1.0], exponent=1, constant=1, initial_loss=1), "from 0 on"),
        (lambda: worst_far_neurons(np.eye(2), 0), "one far neuron"),
        (lambda: far_neurons_constant([[0.3, 0.0]], [[1.0, 0.0], [0.6, 0.8]]), "off the teachers"),
        (lambda: far_neurons_constant([[0.123, 0], [0.06, 0.08]], [[1.0, 0], [0.6, 0.8]]), "loss"),
        (lambda: far_neurons_constant(np.zeros((1, 2)), np.eye(2)), "off the teachers"),
        (lambda: log10_initial_scale(0, 3), "positive numbers"),
    ],
)
def test_bad_input_is_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
