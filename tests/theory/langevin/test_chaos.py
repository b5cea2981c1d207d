"""What finitely many particles cost, against partition functions of N particles."""

import jax.numpy as jnp
import numpy as np
import pytest

from twolayer.activations import relu, tanh
from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss
from twolayer.theory.langevin.chaos import (
    particle_energy_bound,
    particle_energy_excess,
    particle_risk_bias,
)
from twolayer.theory.langevin.dual import solve_dual

ONE = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
LINE = np.linspace(-2, 2, 16)
LABELS = np.tanh(1.5 * LINE) + 0.3 * np.sin(2 * LINE)


def log_partition(width, temperature=0.1, weight=1.0):
    r"""``log E_{gamma^N} exp(-N alpha R / tau)`` of one sample x = y = 1, la = lw = 1/2, exactly.

    The square is linearised by a Gaussian integral over xi, and the contour shifted to the saddle:
    ``exp(-M (f - 1)^2 / 2) = E exp(i xi sqrt(M) (f - 1))``, M = N alpha / tau; the N neurons then
    factorise into ``E exp(i s a t) = exp(-s^2 t^2 tau / (2 la))`` with t = tanh(w).
    """
    variance = temperature / 0.5
    w = np.linspace(-9, 9, 1201) * np.sqrt(variance)
    gauss = np.exp(-(w**2) / (2 * variance))
    gauss /= gauss.sum()
    t = np.tanh(w)
    strength = np.sqrt(width * weight / temperature)

    def log_neuron(s):
        exponent = -np.multiply.outer(s**2, t**2) * variance / 2
        return np.log(np.exp(exponent) @ gauss)

    def log_integrand(xi):
        return -(xi**2) / 2 - 1j * xi * strength + width * log_neuron(xi * strength / width)

    # along the imaginary axis the integrand is real and has its least value at the saddle
    heights = np.linspace(-strength, 0, 4001)
    saddle = heights[np.argmin(log_integrand(1j * heights).real)]
    eta = np.linspace(-12, 12, 2001)
    values = log_integrand(eta + 1j * saddle)
    top = values.real.max()
    total = np.sum(np.exp(values - top)).real * (eta[1] - eta[0]) / np.sqrt(2 * np.pi)
    return top + np.log(total)


def exact_excess(width):
    """The free energy of N particles, per particle, minus ``J*``."""
    return -0.1 / width * log_partition(width) - solve_dual(ONE).energy


def test_partition_function_of_one_particle():
    """The reference is right: N = 1 by plain quadrature over a and w."""
    grid = np.linspace(-9, 9, 801) * np.sqrt(0.2)
    a, w = np.meshgrid(grid, grid)
    density = np.exp(-(a**2 + w**2) / 0.4)
    risk = (a * np.tanh(w) - 1) ** 2 / 2
    direct = np.log(np.sum(density * np.exp(-risk / 0.1)) / density.sum())
    assert log_partition(1) == pytest.approx(direct, abs=1e-10)


@pytest.mark.parametrize(
    ("width", "exact", "formula", "bound"),
    [(5, 8.957e-3, 8.892e-3, 1.433e-2), (1000, 4.446e-5, 4.446e-5, 7.166e-5)],
)
def test_one_sample_against_the_exact_partition_function(width, exact, formula, bound):
    """The values of an independent implementation, to the four digits given there."""
    optimum = solve_dual(ONE)
    assert optimum.covariance[0, 0] == pytest.approx(0.143328, abs=5e-7)
    assert exact_excess(width) == pytest.approx(exact, rel=2e-4)
    assert particle_energy_excess(optimum, [width]).value[0] == pytest.approx(formula, rel=2e-4)
    assert particle_energy_bound(optimum, [width]).value[0] == pytest.approx(bound, rel=2e-4)


def test_the_formula_is_of_first_order():
    """What it neglects falls like 1 / N^2, and the bound holds at every N."""
    optimum, widths = solve_dual(ONE), [2, 4, 8, 16, 32]
    exact = np.array([exact_excess(width) for width in widths])
    rest = np.abs(exact - particle_energy_excess(optimum, widths).value)
    slopes = np.diff(np.log(rest)) / np.diff(np.log(widths))
    # the slope is -2 up to the next order, 1 / N
    assert abs(slopes[-1] + 2) < 0.2
    assert np.all(exact > 0)
    assert np.all(exact < particle_energy_bound(optimum, widths).value)


def sampled_excess(optimum, width, seed=0, num_samples=100_000):
    """The excess by sampling the exact expression: means over N draws from the optimum.

    The draws of w come from the optimum's own grid density by inversion, those of a are Gaussian.
    """
    problem, law = optimum.law.problem, optimum.law
    rng = np.random.default_rng(seed)
    w = np.linspace(-6, 6, 20_001)
    density = np.exp(law.log_density(w[:, None]))
    cumulative = np.cumsum(density) / density.sum()
    x, y = np.asarray(problem.x)[:, 0], np.asarray(problem.y)[:, 0]
    total = np.zeros((num_samples, len(x)))
    for _ in range(width):
        inner = np.interp(rng.uniform(size=num_samples), cumulative, w) + 0.5 * (w[1] - w[0])
        s = np.tanh(np.multiply.outer(inner, x))
        a = -s @ law.slopes[:, 0] / len(x) / 0.5 + np.sqrt(0.1 / 0.5) * rng.normal(size=num_samples)
        total += a[:, None] * s
    f, at = total / width, optimum.outputs[:, 0]

    def loss(values):
        return np.asarray(
            problem.loss(jnp.asarray(values), jnp.asarray(np.broadcast_to(y, values.shape)))
        )

    divergence = (loss(f) - loss(at) - law.slopes[:, 0] * (f - at)).mean(axis=1)
    assert divergence.min() > -1e-12
    factors = np.exp(-width * divergence / 0.1)
    error = 0.1 / width * factors.std() / factors.mean() / np.sqrt(num_samples)
    return -0.1 / width * np.log(factors.mean()), error


@pytest.mark.parametrize("name", ["square", "logistic"])
def test_three_samples_against_sampling(name):
    """Both losses: the formula up to 1 / N^2 and the sampling error, the bound always."""
    if name == "square":
        problem = FreeEnergy([-1.0, 0.5, 2.0], [0.5, -0.8, 1.5], tanh, 0.5, 0.5, 0.1)
    else:
        problem = FreeEnergy(
            [-1.0, 0.5, 2.0], [1.0, -1.0, 1.0], tanh, 0.5, 0.5, 0.1, LogisticLoss()
        )
    optimum, width = solve_dual(problem), 20
    excess, error = sampled_excess(optimum, width)
    formula = particle_energy_excess(optimum, [width]).value[0]
    # next order: as for one sample about 0.2 / N of the first
    assert abs(excess - formula) < 4 * error + 0.2 / width * formula
    assert 4 * error < 0.05 * formula
    assert 0 < excess < particle_energy_bound(optimum, [width]).value[0]


def test_risk_bias_of_the_golden_problem():
    """N times the bias is .0486; with the covariance frozen at alpha = 1 it would be .0262."""
    problem = FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1)
    bias = particle_risk_bias(problem, [1, 10])
    assert bias.value[0] == pytest.approx(0.0486, abs=5e-5)
    assert bias.value[1] == pytest.approx(0.00486, abs=5e-6)
    assert bias.error is not None
    assert bias.error[0] < 1e-4
    eigenvalues = np.linalg.eigvalsh(solve_dual(problem).covariance) / (16 * 0.1)
    assert 0.1 / 2 * np.sum(eigenvalues / (1 + eigenvalues)) == pytest.approx(0.0262, abs=5e-5)


def test_risk_bias_against_the_exact_partition_function():
    """For one sample the mean risk is the derivative of the free energy in the risk's weight."""
    risk, step = solve_dual(ONE).risk, 1e-3
    for width, tolerance in ((20, 0.05), (100, 0.01)):
        derivative = (
            log_partition(width, weight=1 + step) - log_partition(width, weight=1 - step)
        ) / (2 * step)
        exact = -0.1 / width * derivative - risk
        # relative correction of order 1 / N; the frozen covariance is off by far more
        assert particle_risk_bias(ONE, [width]).value[0] == pytest.approx(exact, rel=tolerance)
    share = 0.143328 / 0.1
    frozen = 0.1 / (2 * 100) * share / (1 + share)
    assert abs(frozen - exact) > 0.1 * abs(exact)


def test_unbounded_features_are_allowed():
    """Relu has an excess like any other: 0 < formula < bound."""
    optimum = solve_dual(FreeEnergy(LINE, LABELS, relu, 0.3, 0.3, 0.05))
    formula, bound = particle_energy_excess(optimum, [50]), particle_energy_bound(optimum, [50])
    assert 0 < formula.value[0] < bound.value[0]
    assert (formula.kind, bound.kind) == ("asymptotic", "upper")


@pytest.mark.parametrize("widths", [[0], [-3, 5], [np.nan], 5.0])
def test_widths_are_at_least_one(widths):
    """No particles, fewer, not a number, and no list."""
    with pytest.raises(ValueError, match="widths of at least 1"):
        particle_energy_bound(solve_dual(ONE), widths)
