"""Whether the proximal Gibbs law exists for unbounded activations."""

import numpy as np
import pytest

from twolayer.activations import Activation, gelu, relu, sin, softplus, tanh
from twolayer.activations.catalogue import ACTIVATIONS, activation_of
from twolayer.free_energy import FreeEnergy
from twolayer.losses import SquareLoss
from twolayer.theory.langevin.dual import duality_gap, solve_dual
from twolayer.theory.langevin.field_growth import (
    asymptotic_field,
    cell_bounds,
    field_growth,
    sign_changes,
)
from twolayer.theory.langevin.normalisability import (
    check_normalisable,
    homogeneous_log_sobolev,
    normalisability,
)
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs

LINE = np.linspace(-2, 2, 16)
LABELS = np.tanh(1.5 * LINE) + 0.3 * np.sin(2 * LINE)


def random_gibbs(dim, num_outputs=1, activation: Activation = relu, seed=0, num_samples=9):
    """A law with random inputs and slopes and decays of 1/2."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_samples, dim))
    r = rng.normal(size=(num_samples, num_outputs))
    return ProximalGibbs(FreeEnergy(x, np.zeros_like(r), activation, 0.5, 0.5, 0.1), r)


@pytest.mark.parametrize("name", ["relu", "abs", "softplus", "gelu", "2*x - 1"])
@pytest.mark.parametrize("dim", [1, 3])
def test_asymptotic_field_is_the_limit_of_the_field(name, dim):
    """``g(t u) / t`` approaches ``c(u)`` like 1 / t."""
    gibbs = random_gibbs(dim, 2, activation_of(name))
    u = np.random.default_rng(1).normal(size=(20, dim))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    limit = asymptotic_field(gibbs, u)
    for t in (1e3, 1e6):
        # the offset of each feature is at most 1, the mean size of the slopes about 1
        np.testing.assert_allclose(gibbs.field(t * u) / t, limit, atol=3 / t)


@pytest.mark.parametrize("name", ["relu", "abs", "gelu", "x"])
@pytest.mark.parametrize("num_outputs", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_growth_in_the_plane_is_exact(name, num_outputs, seed):
    """A fine scan of the circle finds the supremum up to its own error, and never more."""
    gibbs = random_gibbs(2, num_outputs, activation_of(name), seed)
    growth = field_growth(gibbs)
    angles = np.linspace(0, 2 * np.pi, 40_001)
    u = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    scanned = np.linalg.norm(asymptotic_field(gibbs, u), axis=1).max()
    assert scanned <= growth.upper
    # at a kink the scan is off by its step, 8e-5, times the Lipschitz constant
    assert growth.lower - scanned < 1e-3 * growth.lower
    assert growth.upper == pytest.approx(growth.lower, rel=1e-11)
    attained = np.linalg.norm(asymptotic_field(gibbs, growth.direction[None]))
    assert attained == pytest.approx(growth.lower, rel=1e-12)


def test_growth_on_a_line_by_hand():
    """c is the mean of slope times input over the inputs on either side."""
    gibbs = ProximalGibbs(
        FreeEnergy([-1.0, 2.0, 3.0], [0.0] * 3, relu, 0.5, 0.5, 0.1), np.array([6.0, 1.0, -2.0])
    )
    # to the right (2 - 6) / 3, to the left 6 / 3
    np.testing.assert_allclose(asymptotic_field(gibbs, [[1.0], [-1.0]])[:, 0], [-4 / 3, 2.0])
    assert field_growth(gibbs).lower == pytest.approx(2.0)


@pytest.mark.parametrize("dim", [3, 6, 20])
@pytest.mark.parametrize("name", ["relu", "abs", "softplus", "x"])
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_growth_is_bracketed_in_more_dimensions(dim, name, num_outputs):
    """Random directions never beat the upper bound, and rarely the ascents."""
    gibbs = random_gibbs(dim, num_outputs, activation_of(name), seed=dim, num_samples=30)
    growth = field_growth(gibbs)
    u = np.random.default_rng(2).normal(size=(20_000, dim))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    found = np.linalg.norm(asymptotic_field(gibbs, u), axis=1).max()
    assert found <= growth.lower * (1 + 1e-9)
    assert growth.lower <= growth.upper
    # one sample a direction: no bound can be this loose
    assert growth.upper < 4 * growth.lower
    attained = np.linalg.norm(asymptotic_field(gibbs, growth.direction[None]))
    assert attained == pytest.approx(growth.lower, rel=1e-12)
    if name == "x":
        exact = np.linalg.norm(gibbs.slopes.T @ np.asarray(gibbs.problem.x), ord=2) / 30
        assert growth.lower == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("num_outputs", [1, 2])
@pytest.mark.parametrize("name", ["relu", "abs", "gelu"])
def test_three_input_weights_are_decided_to_a_thousandth(name, num_outputs):
    """Covering the sphere closes the bracket: two inputs and a bias are as good as exact."""
    growth = field_growth(random_gibbs(3, num_outputs, activation_of(name), num_samples=40))
    assert growth.lower <= growth.upper <= 1.0011 * growth.lower


def test_a_threshold_needs_no_more_than_a_side():
    """With a threshold the bounds are on the same side of it, as the full search says."""
    gibbs = random_gibbs(4, num_samples=40)
    full = field_growth(gibbs)
    for factor in (0.5, 0.97, 1.1, 3.0):
        threshold = factor * full.lower
        growth = field_growth(gibbs, threshold=threshold)
        assert (growth.lower > threshold) == (factor < 1)
        assert (growth.upper < threshold) == (factor > 1)
        assert growth.upper >= full.lower


@pytest.mark.parametrize("dim", [3, 5])
def test_no_point_of_a_cell_exceeds_its_bound(dim):
    """Random points of random cells of the cube's surface, for two outputs."""
    gibbs = random_gibbs(dim, 2, num_samples=12)
    rng = np.random.default_rng(4)
    halves = rng.choice([0.5, 0.1, 0.01], size=300)
    centres = rng.uniform(-1, 1, size=(300, dim)) * (1 - halves[:, None])
    face = rng.integers(dim, size=300)
    centres[np.arange(300), face] = rng.choice([-1.0, 1.0], size=300)
    x = np.asarray(gibbs.problem.x)
    bounds = cell_bounds(x, gibbs.slopes, (0.0, 1.0), centres, halves)
    tightest = np.full(300, np.inf)
    for _ in range(50):
        points = centres + halves[:, None] * rng.uniform(-1, 1, size=centres.shape)
        points[np.arange(300), face] = centres[np.arange(300), face]
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        values = np.linalg.norm(asymptotic_field(gibbs, points), axis=1)
        assert np.all(values <= bounds)
        tightest = np.minimum(tightest, bounds - values)
    # for small cells the bound is off by their size only
    assert np.max(tightest[halves == 0.01]) < 0.05


def test_upper_bound_is_attained_by_orthogonal_inputs():
    """Slopes of one sign on an orthonormal frame: Cauchy-Schwarz is sharp, and decides."""
    x, r = np.eye(4), np.full(4, -1.0)
    problem = FreeEnergy(x, np.ones(4), activation_of("abs"), 0.5, 0.5, 0.1)
    growth = field_growth(ProximalGibbs(problem, r))
    assert (growth.lower, growth.upper) == pytest.approx((0.5, 0.5))


def test_relu_on_the_golden_data():
    """At the start gamma the law does not exist; at the optimum it does (.507, .2637 and .3)."""
    problem = FreeEnergy(LINE, LABELS, relu, 0.3, 0.3, 0.05)
    start, optimum = ProximalGibbs(problem, -LABELS), solve_dual(problem).law
    assert field_growth(start).lower == pytest.approx(0.507, abs=5e-4)
    assert field_growth(optimum).lower == pytest.approx(0.2637, abs=5e-5)
    before, after = normalisability(start), normalisability(optimum)
    assert (before.holds, after.holds) == (False, True)
    assert before.margin == pytest.approx(0.09 - field_growth(start).lower ** 2)
    assert after.margin == pytest.approx(0.09 - field_growth(optimum).lower ** 2)
    assert "no certificate yet" in before.detail
    with pytest.raises(ValueError, match=r"sup \|c"):
        check_normalisable(start)


def test_the_partition_function_diverges_at_the_threshold():
    """``log Z`` grows without bound as ``c^2`` approaches ``la lw``, and not before."""
    problem = FreeEnergy([1.0], [0.0], relu, 0.5, 0.5, 0.1)
    values = [
        duality_gap(ProximalGibbs(problem, np.array([0.5 * (1 - rest)]))).averages.log_partition
        for rest in (0.5, 1e-2, 1e-4)
    ]
    # Z = (1 + (1 - c^2 / (la lw))^(-1/2)) / 2
    exact = [np.log((1 + (1 - (1 - rest) ** 2) ** -0.5) / 2) for rest in (0.5, 1e-2, 1e-4)]
    np.testing.assert_allclose(values, exact, atol=1e-9)
    assert normalisability(ProximalGibbs(problem, np.array([0.5]))).holds is False


def test_verdicts():
    """Bounded: yes. Output weight bounded: yes. Unknown growth: undecided. Between bounds: too."""
    x, y, r = LINE, LABELS, -100 * LABELS
    for activation in (tanh, sin):
        verdict = normalisability(ProximalGibbs(FreeEnergy(x, y, activation, 0.5, 0.5, 0.1), r))
        assert (verdict.holds, verdict.margin) == (True, 0.25)
    for output in ("fixed", "clipped"):
        problem = FreeEnergy(x, y, relu, 0.5, 0.5, 0.1, SquareLoss(), output, 1.0)
        assert normalisability(ProximalGibbs(problem, r)).holds is True
    cubic = ProximalGibbs(FreeEnergy(x, y, activation_of("x^3"), 0.5, 0.5, 0.1), r)
    assert normalisability(cubic).holds is None
    with pytest.raises(ValueError, match="bounded or asymptotically linear"):
        field_growth(cubic)
    # in six dimensions there is room between the bounds
    gibbs = random_gibbs(6, num_samples=30)
    growth = field_growth(gibbs)
    assert growth.lower < growth.upper
    decays = {
        False: 0.9 * growth.lower,
        None: (growth.lower + growth.upper) / 2,
        True: growth.upper * 1.1,
    }
    for holds, decay in decays.items():
        problem = FreeEnergy(gibbs.problem.x, gibbs.problem.y, relu, decay, decay, 0.1)
        assert normalisability(ProximalGibbs(problem, gibbs.slopes)).holds is holds


@pytest.mark.parametrize("activation", [softplus, gelu])
def test_equality_is_undecided_where_it_is(activation):
    """At the threshold an offset decides for softplus and gelu, which is not looked into."""
    gibbs = ProximalGibbs(FreeEnergy([1.0], [0.0], activation, 0.5, 0.5, 0.1), np.array([0.5]))
    assert normalisability(gibbs).holds is None


def test_every_built_in_activation_has_a_verdict_for_small_slopes():
    """With slopes of 1e-3 the law exists whatever the activation."""
    for activation in ACTIVATIONS.values():
        problem = FreeEnergy(LINE, LABELS, activation, 0.5, 0.5, 0.1)
        assert normalisability(ProximalGibbs(problem, np.full(16, 1e-3))).holds is True


def test_curvature_of_the_potential_on_the_line():
    """The constant is the least second derivative of ``-log`` density, by differences."""
    problem = FreeEnergy([1.0, -2.0], [0.0, 0.0], relu, 0.4, 0.5, 0.1)
    gibbs = ProximalGibbs(problem, np.array([0.3, 0.2]))
    w, step = np.array([[-1.0], [-0.3], [0.5], [2.0]]), 1e-3
    bends = [
        -(gibbs.log_density(w + step) + gibbs.log_density(w - step) - 2 * gibbs.log_density(w))
        / step**2
    ]
    # differences of a parabola are exact up to rounding, 1e-15 / step^2
    assert homogeneous_log_sobolev(gibbs) == pytest.approx(np.min(bends), abs=1e-7)
    for wrong in (
        random_gibbs(2),
        random_gibbs(1, activation=tanh),
        ProximalGibbs(FreeEnergy([1.0], [0.0], relu, 1, 1, 1, SquareLoss(), "fixed"), [0.0]),
    ):
        with pytest.raises(ValueError, match="one input weight, a free output"):
            homogeneous_log_sobolev(wrong)


def test_sign_changes_of_parallel_and_vanishing_inputs():
    """Parallel inputs share their two rays; an input at 0 has none."""
    x = np.array([[1.0, 1.0], [-2.0, -2.0], [0.0, 0.0], [0.0, 1.0]])
    expected = np.array([-1.0, -0.25, 0.0, 0.75]) * np.pi
    np.testing.assert_allclose(sign_changes(x), expected, atol=1e-15)
    assert sign_changes(np.zeros((2, 2))).tolist() == [-np.pi]
