"""The dual of the free energy, its bounds of J*, and the optimum by Newton's method."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from scipy import integrate, special

from helpers import finite_difference
from twolayer.activations import relu, softplus, tanh
from twolayer.activations.catalogue import activation_of
from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss, SquareLoss
from twolayer.theory.langevin.averages import gibbs_averages, mean_conjugate
from twolayer.theory.langevin.dual import duality_gap, solve_dual
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, loss_slopes
from twolayer.theory.langevin.quadrature import input_nodes, reach_of

LINE = np.linspace(-2, 2, 16)
LABELS = np.tanh(1.5 * LINE) + 0.3 * np.sin(2 * LINE)
SIGNS = np.where(np.sin(3 * LINE) > 0, 1.0, -1.0)
# one-dimensional quadrature of an independent implementation, about 1e-12
GOLDEN = {
    (0.5, 0.5, 0.1): (0.315221672474, 0.2071357656, 0.10794892, 0.55271089, 0.40953054),
    (0.3, 0.3, 0.05): (0.258447982603, 0.1286222997, 0.13732784, 0.81328227, 0.54584227),
    (1.0, 1.0, 0.3): (0.360806965430, 0.2956690789, 0.09478738, 0.42146918, 0.37074371),
}
PLANE = np.random.default_rng(3).normal(size=(9, 2))
PLANE_LABELS = np.sin(PLANE[:, 0]) - 0.5 * PLANE[:, 1]

PROBLEMS = {
    "square": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1),
    "low temperature": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.004),
    "large labels": FreeEnergy(LINE, 6 * LABELS, tanh, 0.5, 0.5, 0.1),
    "logistic": FreeEnergy(LINE, SIGNS, tanh, 0.05, 0.05, 0.01, LogisticLoss()),
    "two outputs": FreeEnergy(LINE, np.stack([LABELS, np.cos(LINE)], 1), tanh, 0.5, 0.5, 0.1),
    "fixed": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1, SquareLoss(), "fixed", 2.0),
    "clipped": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1, SquareLoss(), "clipped", 2.0),
    "relu": FreeEnergy(LINE, LABELS + 0.5, relu, 0.3, 0.3, 0.05),
    "softplus": FreeEnergy(LINE, LABELS + 0.5, softplus, 0.3, 0.3, 0.05),
    "plane": FreeEnergy(PLANE, PLANE_LABELS, tanh, 0.3, 0.3, 0.05),
    "relu in the plane": FreeEnergy(PLANE, PLANE_LABELS, relu, 0.3, 0.3, 0.05),
}


class Grid:
    """The joint law of (a, w) on a brute-force grid: nothing of the library but the problem."""

    def __init__(self, problem, num=401, box=(7.0, 7.0)):
        self.tau, self.la, self.lw = (
            float(v) for v in (problem.temperature, problem.output_decay, problem.input_decay)
        )
        self.x, self.y = np.asarray(problem.x)[:, 0], np.asarray(problem.y)[:, 0]
        self.logistic = isinstance(problem.loss, LogisticLoss)
        a, w = (np.linspace(-side, side, num) for side in box)
        self.area = (a[1] - a[0]) * (w[1] - w[0])
        self.a, self.w = np.meshgrid(a, w, indexing="ij")
        self.u = self.a if problem.output == "free" else float(problem.bound) * np.tanh(self.a)
        self.features = np.tanh(self.w[..., None] * self.x)
        energy = (self.la * self.a**2 + self.lw * self.w**2) / 2
        self.log_reference = -energy / self.tau + np.log(np.sqrt(self.la * self.lw)) - np.log(
            2 * np.pi * self.tau
        )  # fmt: skip

    def gibbs(self, r):
        """The log-density of ``pi_r`` and its log-partition function."""
        g = self.features @ r / len(r)
        log_density = self.log_reference - self.u * g / self.tau
        log_partition = np.log(np.sum(np.exp(log_density)) * self.area)
        return log_density - log_partition, log_partition

    def outputs(self, log_density):
        density = np.exp(log_density) * self.area
        return np.einsum("aw,aw,awi->i", density, self.u, self.features, optimize=True)

    def divergence(self, one, other):
        return float(np.sum(np.exp(one) * (one - other)) * self.area)

    def loss(self, f):
        return np.logaddexp(0, -self.y * f) if self.logistic else (f - self.y) ** 2 / 2

    def slope(self, f):
        return -self.y * special.expit(-self.y * f) if self.logistic else f - self.y

    def energy(self, log_density):
        f = self.outputs(log_density)
        return np.mean(self.loss(f)) + self.tau * self.divergence(log_density, self.log_reference)

    def dual(self, r):
        if self.logistic:
            p = -self.y * r
            conjugate = special.xlogy(p, p) + special.xlogy(1 - p, 1 - p)
        else:
            conjugate = r * self.y + r**2 / 2
        return -np.mean(conjugate) - self.tau * self.gibbs(r)[1]


CASES = [
    FreeEnergy([-1.0, 0.4, 1.7], [0.5, -0.6, 1.0], tanh, 0.5, 0.6, 0.2),
    FreeEnergy([-1.0, 0.4, 1.7], [1.0, -1.0, 1.0], tanh, 0.5, 0.6, 0.2, LogisticLoss()),
    FreeEnergy([-1.0, 0.4, 1.7], [0.5, -0.6, 1.0], tanh, 0.5, 0.6, 0.2, SquareLoss(), "clipped", 2),
]
SLOPES = [np.array([-0.4, 0.5, -0.7]), np.array([-0.1, 0.8, -0.3])]


@pytest.mark.parametrize("problem", CASES, ids=["square", "logistic", "clipped"])
def test_both_bounds_against_a_grid_of_both_weights(problem):
    """D(r), J(pi_r), the outputs and the moments are those of the joint density on a grid."""
    grid = Grid(problem)
    for r in SLOPES:
        log_density, log_partition = grid.gibbs(r)
        bounds = duality_gap(ProximalGibbs(problem, r))
        # the trapezoidal rule on the grid is accurate to rounding
        np.testing.assert_allclose(bounds.averages.log_partition, log_partition, atol=1e-10)
        np.testing.assert_allclose(
            bounds.averages.outputs[:, 0], grid.outputs(log_density), atol=1e-10
        )
        np.testing.assert_allclose(bounds.lower, grid.dual(r), atol=1e-10)
        np.testing.assert_allclose(bounds.upper, grid.energy(log_density), atol=1e-10)
        np.testing.assert_allclose(bounds.upper - bounds.lower, bounds.gap, atol=1e-14)
        density = np.exp(log_density) * grid.area
        averages = bounds.averages
        assert averages.mean_square_output == pytest.approx(np.sum(density * grid.a**2), abs=1e-10)
        assert averages.mean_square_input == pytest.approx(np.sum(density * grid.w**2), abs=1e-10)
        assert bounds.error < 1e-11


@pytest.mark.parametrize("problem", CASES, ids=["square", "logistic", "clipped"])
def test_gap_of_any_law_is_its_divergence_from_its_proximal_gibbs_law(problem):
    """``J(mu) - D(r_mu) = tau KL(mu | pi_mu)`` for a law mu that is not its own proximal one."""
    grid = Grid(problem)
    for r in SLOPES:
        mu, _ = grid.gibbs(r)
        own = grid.slope(grid.outputs(mu))
        np.testing.assert_allclose(
            loss_slopes(problem, grid.outputs(mu)[:, None])[:, 0], own, atol=1e-14
        )
        lower = duality_gap(ProximalGibbs(problem, own)).lower
        divergence = grid.divergence(mu, grid.gibbs(own)[0])
        assert divergence > 5e-5
        np.testing.assert_allclose(
            grid.energy(mu) - lower, grid.tau * divergence, rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("problem", CASES, ids=["square", "logistic", "clipped"])
def test_covariance_against_the_grid(problem):
    """``Cov(phi_i, phi_j)`` includes the variance of the output weight given w."""
    grid = Grid(problem)
    gibbs = ProximalGibbs(problem, SLOPES[0])
    nodes = input_nodes(problem, reach_of(gibbs), 3)
    covariance = gibbs_averages(gibbs, nodes, covariance=True).covariance
    density = np.exp(grid.gibbs(SLOPES[0])[0]) * grid.area
    phi = grid.u[..., None] * grid.features
    mean = np.einsum("aw,awi->i", density, phi)
    expected = np.einsum("aw,awi,awj->ij", density, phi, phi, optimize=True) - np.outer(mean, mean)
    np.testing.assert_allclose(covariance, expected, atol=1e-10)


def test_covariance_of_two_outputs_by_sampling():
    """The blocks of several outputs are in the order of samples, then outputs."""
    problem = FreeEnergy([-1.0, 1.7], [[0.5, 0.1], [-0.6, 2.0]], tanh, 0.5, 0.6, 0.2)
    r = np.array([[0.5, -0.3], [-0.2, 0.9]])
    gibbs = ProximalGibbs(problem, r)
    nodes = input_nodes(problem, reach_of(gibbs), 3)
    covariance = gibbs_averages(gibbs, nodes, covariance=True).covariance
    # w by inverting its distribution function on the nodes, a by its conditional Gaussian
    rng = np.random.default_rng(0)
    density = np.exp(gibbs.log_density(nodes.w))
    cumulative = np.cumsum(density) / density.sum()
    w = np.interp(rng.uniform(size=400_000), cumulative, nodes.w[:, 0])
    w = w + 0.5 * (nodes.w[1, 0] - nodes.w[0, 0])  # middle of the cell
    s = np.tanh(np.multiply.outer(w, np.array([-1.0, 1.7])))
    a = -s @ r / 2 / 0.5 + np.sqrt(0.2 / 0.5) * rng.normal(size=(len(w), 2))
    phi = (s[:, :, None] * a[:, None, :]).reshape(len(w), 4)
    # standard errors are about 1e-3
    np.testing.assert_allclose(covariance, np.cov(phi.T), atol=8e-3)


@pytest.mark.parametrize("output", ["free", "fixed", "clipped"])
def test_gradient_of_the_dual_is_the_change_of_the_outputs(output):
    """``n dD / dr_i = f_i(pi_r) - l*'(r_i)``: the output is where the sign could be wrong."""
    problem = dataclasses.replace(CASES[0], output=output)

    def dual(r):
        return duality_gap(ProximalGibbs(problem, r)).lower

    r = SLOPES[0]
    f = duality_gap(ProximalGibbs(problem, r)).averages.outputs[:, 0]
    expected = (f - np.asarray(problem.y)[:, 0] - r) / 3
    np.testing.assert_allclose(finite_difference(dual, r), expected, atol=1e-8)


@pytest.mark.parametrize("slope", [0.3, -0.54])
def test_relu_on_the_line_in_closed_form(slope):
    """One sample at 1: ``Z = (1 + (1 - r^2 / (la lw))^(-1/2)) / 2`` and moments of Gaussians."""
    problem = FreeEnergy([1.0], [0.0], relu, 0.5, 0.6, 0.1)
    averages = duality_gap(ProximalGibbs(problem, np.array([slope]))).averages
    root = 1 / np.sqrt(1 - slope**2 / 0.3)
    total = (1 + root) / 2
    assert averages.log_partition == pytest.approx(np.log(total), abs=1e-11)
    # E w^2 on the right half-line: (tau / lw) root^3 / 2
    right = 0.1 / 0.6 * root**3 / 2 / total
    left = 0.1 / 0.6 / 2 / total
    assert averages.mean_square_input == pytest.approx(right + left, abs=1e-11)
    assert averages.outputs[0, 0] == pytest.approx(-slope / 0.5 * right, abs=1e-11)


def test_relu_in_the_plane_by_the_angle():
    """``Z = (1 / 2 pi) int dphi / (1 - c(phi)^2 / (la lw))``, by SciPy between the kinks."""
    problem = PROBLEMS["relu in the plane"]
    r = -0.2 * PLANE_LABELS
    kinks = np.sort(
        np.concatenate([np.arctan2(PLANE[:, 0], -PLANE[:, 1]) + k * np.pi for k in (0, 1)])
    )

    def inverse(angle):
        c = np.maximum(PLANE @ [np.cos(angle), np.sin(angle)], 0) @ r / len(r)
        return 1 / (1 - c**2 / 0.09)

    edges = np.append(kinks, kinks[0] + 2 * np.pi)
    total = sum(
        integrate.quad(inverse, low, high, epsabs=1e-13)[0]
        for low, high in itertools.pairwise(edges)
    )
    averages = duality_gap(ProximalGibbs(problem, r)).averages
    assert averages.log_partition == pytest.approx(np.log(total / (2 * np.pi)), abs=1e-10)
    assert averages.log_partition > 0.01


def test_tanh_in_the_plane_by_gauss_hermite():
    """Outputs and partition function are those of a Gauss-Hermite product rule."""
    problem = FreeEnergy(0.5 * PLANE, PLANE_LABELS, tanh, 1.0, 1.0, 0.3)
    r = -PLANE_LABELS
    nodes, weights = special.roots_hermitenorm(80)
    w = np.sqrt(0.3) * np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    weight = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    s = np.tanh(w @ (0.5 * PLANE).T)
    g = s @ r / len(r)
    tilted = weight * np.exp(g**2 / (2 * 0.3))
    f = -(tilted * g) @ s / tilted.sum()
    averages = duality_gap(ProximalGibbs(problem, r)).averages
    # the product rule converges more slowly: 1e-9 at 80 nodes
    assert averages.log_partition == pytest.approx(np.log(tilted.sum()), abs=1e-8)
    np.testing.assert_allclose(averages.outputs[:, 0], f, atol=1e-8)


@pytest.mark.parametrize("numbers", GOLDEN)
def test_golden_values(numbers):
    """Energy, risk, variance and moments of three optima to the digits that are known."""
    optimum = solve_dual(FreeEnergy(LINE, LABELS, tanh, *numbers))
    energy, risk, variance, square_a, square_w = GOLDEN[numbers]
    assert optimum.energy == pytest.approx(energy, abs=2e-12)
    assert optimum.risk == pytest.approx(risk, abs=1e-10)
    assert optimum.mean_variance == pytest.approx(variance, abs=1e-8)
    assert optimum.mean_square_output == pytest.approx(square_a, abs=1e-8)
    assert optimum.mean_square_input == pytest.approx(square_w, abs=1e-8)
    assert optimum.error < 1e-11
    assert optimum.iterations <= 10


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_optimum_is_its_own_proximal_law(name):
    """Both bounds meet at slopes that are those of their own law's outputs."""
    problem = PROBLEMS[name]
    optimum = solve_dual(problem)
    assert 0 <= optimum.gap < 1e-12 * (1 + optimum.energy)
    np.testing.assert_allclose(optimum.energy, optimum.dual, rtol=1e-12)
    size = 1 + np.abs(optimum.outputs).max()
    np.testing.assert_allclose(
        optimum.slopes, loss_slopes(problem, optimum.outputs), atol=1e-11 * size
    )
    assert optimum.error < 1e-10 * size**2
    assert optimum.law.problem is problem


@pytest.mark.parametrize("name", ["square", "logistic", "two outputs", "relu in the plane"])
def test_other_slopes_give_weaker_bounds(name):
    """Any other slopes bracket the optimum strictly: the dual is largest there, J least."""
    problem = PROBLEMS[name]
    optimum = solve_dual(problem)
    shrink = np.random.default_rng(1).uniform(0.5, 1.0, size=optimum.slopes.shape)
    gaps = []
    for size in (0.1, 2e-3, 1e-3):
        bounds = duality_gap(ProximalGibbs(problem, optimum.slopes * (1 - size * shrink)))
        assert bounds.lower < optimum.energy < bounds.upper
        gaps.append(bounds.gap)
    # the gap is quadratic in the distance, up to a relative correction of its size
    assert gaps[1] / gaps[2] == pytest.approx(4.0, rel=0.05)


def test_an_odd_target_makes_relu_a_linear_network():
    """On symmetric inputs with odd labels ``relu(z)`` acts as ``z / 2``, softplus too."""
    energies = [
        solve_dual(FreeEnergy(LINE, LABELS, activation_of(name), 0.3, 0.3, 0.05)).energy
        for name in ("relu", "softplus", "1/2*x")
    ]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)


def test_relu_starts_from_where_the_law_exists():
    """At outputs 0 the proximal law doesn't exist here; the optimum is found all the same."""
    problem = FreeEnergy(LINE, 3 * LABELS, relu, 0.1, 0.1, 0.05)
    with pytest.raises(ValueError, match="proximal Gibbs law exists"):
        duality_gap(ProximalGibbs(problem, -3 * LABELS))
    assert solve_dual(problem).gap < 1e-12


def test_slopes_that_do_not_occur():
    """Outside the logistic loss's slopes the lower bound is minus infinity, the upper finite."""
    problem = CASES[1]
    bounds = duality_gap(ProximalGibbs(problem, np.array([0.5, 0.5, -0.5])))
    assert (bounds.lower, bounds.gap) == (-np.inf, np.inf)
    grid = Grid(problem)
    log_density, _ = grid.gibbs(np.array([0.5, 0.5, -0.5]))
    assert bounds.upper == pytest.approx(grid.energy(log_density), abs=1e-10)
    assert mean_conjugate(problem, np.zeros((3, 1))) == 0.0


def test_results_do_not_depend_on_the_precision_of_jax():
    """With 64 bits off the golden energy keeps its digits."""
    with jax.enable_x64(False):
        optimum = solve_dual(FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1))
    assert optimum.energy == pytest.approx(0.315221672474, abs=2e-12)


def test_what_quadrature_cannot_do_is_refused():
    """Three input weights, growth that isn't known, a tolerance of 0, and too many samples."""
    with pytest.raises(ValueError, match="one or two input weights"):
        solve_dual(FreeEnergy(np.ones((2, 3)), [0.0, 1.0], tanh, 0.5, 0.5, 0.1))
    with pytest.raises(ValueError, match="growth of"):
        solve_dual(FreeEnergy([1.0], [1.0], activation_of("x^2"), 0.5, 0.5, 0.1))
    with pytest.raises(ValueError, match="positive tolerance"):
        solve_dual(CASES[0], tolerance=0.0)
    many = np.ones((200_000, 2)) * 100
    with pytest.raises(ValueError, match="fits into memory"):
        solve_dual(FreeEnergy(many, many[:, 0], tanh, 0.5, 0.5, 0.1))
