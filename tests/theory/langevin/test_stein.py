"""The kernel Stein discrepancy: its kernel, its value in closed form, its null distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from helpers import assert_allclose, assert_within_sem, finite_difference
from langevin_optimum import optimal_particles, optimal_residual, optimum_problem
from twolayer.activations import tanh
from twolayer.free_energy import FreeEnergy, Particles
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, proximal_gibbs
from twolayer.theory.langevin.score import points, pull, score
from twolayer.theory.langevin.stein import stein_discrepancy, stein_kernel

CASES = [("free", 2), ("fixed", 1), ("clipped", 2)]


@pytest.mark.parametrize(("output", "k"), CASES)
def test_the_score_is_the_gradient_of_the_potential(output, k):
    """Finite differences in NumPy of ``-(u . g(w) + weight decay) / tau``."""
    rng = np.random.default_rng(0)
    x, y, r = rng.standard_normal((5, 3)), np.ones((5, k)), rng.standard_normal((5, k))
    problem = FreeEnergy(x, y, tanh, 0.3, 0.7, 0.2, output=output, bound=1.4)
    gibbs = ProximalGibbs(problem, r)
    a, w = rng.standard_normal((4, k)), rng.standard_normal((4, 3))
    particles = Particles(jnp.asarray(a), jnp.asarray(w))

    def log_density(theta):
        inner, outer = theta[-3:], theta[:-3]
        u = {"free": outer, "fixed": np.array([1.4]), "clipped": 1.4 * np.tanh(outer)}[output]
        energy = u @ (np.tanh(x @ inner) @ r) / 5 + 0.7 * inner @ inner / 2
        return -(energy + 0.3 * outer @ outer / 2) / 0.2

    theta = points(problem, particles)
    expected = [finite_difference(log_density, one) for one in theta]
    # Central differences at step 1e-5 of values of size 10: rounding 1e-10.
    np.testing.assert_allclose(score(gibbs, particles), expected, rtol=1e-7, atol=1e-8)
    decay = np.sum(theta**2 * np.repeat([0.3, 0.7], [theta.shape[1] - 3, 3]), axis=1) / 2
    energy = -0.2 * np.array([log_density(one) for one in theta])
    assert_allclose(pull(gibbs, particles), energy - decay, loss=1e-6)


def test_the_kernel_is_that_of_its_definition():
    """All four terms by automatic differentiation of ``(1 + |z - z'|^2)^{-1/2}``."""
    z, s, z2, s2 = jax.random.normal(jax.random.key(0), (4, 5, 3))

    def k(p, q):
        return (1 + jnp.sum((p - q) ** 2)) ** -0.5

    def stein(p, t, q, v):
        mixed = jax.jacfwd(jax.grad(k), argnums=1)(p, q)
        to_p, to_q = jax.grad(k, argnums=(0, 1))(p, q)
        return t @ v * k(p, q) + t @ to_q + v @ to_p + jnp.trace(mixed)

    rows = jax.vmap(stein, (None, None, 0, 0))
    expected = jax.jit(jax.vmap(rows, (0, 0, None, None)))(z, s, z2, s2)
    assert_allclose(stein_kernel(*map(np.asarray, (z, s, z2, s2))), expected, loss=1e-5)


def test_a_shifted_gaussian_in_closed_form(getkey):
    """``|m|^2 E k(Z, Z')``: by m standard deviations off a Gaussian law, in two coordinates."""
    problem = FreeEnergy([[0.0]], [1.0], tanh, 0.5, 2.0, 0.3)
    gibbs = ProximalGibbs(problem, np.array([-1.0]))  # tanh(0) is 0: the reference law
    mean_kernel, _ = integrate.quad(
        lambda squared: (1 + 2 * squared) ** -0.5 * stats.chi2(2).pdf(squared), 0, np.inf
    )
    shift = np.array([0.5, -0.3])
    found = []
    for _ in range(12):
        drawn = problem.reference(600, key=getkey())
        moved = Particles(
            drawn.a + shift[0] * np.sqrt(0.3 / 0.5), drawn.W + shift[1] * np.sqrt(0.3 / 2.0)
        )
        found.append(stein_discrepancy(gibbs, moved, key=getkey()).squared)
    error = np.std(found, ddof=1) / np.sqrt(12)
    assert_within_sem(np.mean(found), error, shift @ shift * mean_kernel)
    assert error < 0.1 * shift @ shift * mean_kernel


def test_the_null_distribution(getkey):
    """Samples of the law itself: mean 0, the claimed scatter, and p-values spread evenly."""
    problem, rng = optimum_problem(), np.random.default_rng(1)
    gibbs = ProximalGibbs(problem, optimal_residual())
    found = [stein_discrepancy(gibbs, optimal_particles(250, rng), key=getkey()) for _ in range(60)]
    values = np.array([one.squared for one in found])
    scatter = np.std(values, ddof=1)
    assert_within_sem(np.mean(values), scatter / np.sqrt(60), 0)
    # 60 values of a skew law know their spread to 20 %
    assert 0.6 < scatter / np.mean([one.null_deviation for one in found]) < 1.5
    p_values = [one.p_value for one in found]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    far = [
        stein_discrepancy(gibbs, Particles(one.a, 1.4 * one.W), key=getkey()).p_value
        for one in (optimal_particles(1000, rng) for _ in range(3))
    ]
    assert max(far) < 0.01


def test_the_law_of_the_particles_themselves(getkey):
    """At the optimum the discrepancy to their own proximal Gibbs law is within its scatter too."""
    problem, rng = optimum_problem(), np.random.default_rng(2)
    ratios = []
    for _ in range(20):
        particles = optimal_particles(400, rng)
        found = stein_discrepancy(proximal_gibbs(problem, particles), particles, key=getkey())
        ratios.append(found.squared / found.null_deviation)
    # Their score knows of their own fluctuations: measured as .8 +- .3 of the scatter.
    assert abs(np.mean(ratios)) < 2
    assert max(ratios) < 6


def test_streaming_changes_nothing(monkeypatch, getkey):
    """Chunks of few pairs and few particles give the same numbers."""
    problem, key = optimum_problem(), getkey()
    particles = optimal_particles(70, np.random.default_rng(3))
    gibbs = proximal_gibbs(problem, particles)
    whole = stein_discrepancy(gibbs, particles, key=key)
    monkeypatch.setattr("twolayer.theory.langevin.stein._PAIRS", 500)
    monkeypatch.setattr("twolayer.theory.langevin.score._ENTRIES", 40)
    parts = stein_discrepancy(gibbs, particles, key=key)
    assert_allclose(parts.squared, whole.squared, loss=1e-5)
    assert_allclose(parts.null_deviation, whole.null_deviation, loss=1e-5)
    assert parts.p_value == whole.p_value


def test_one_particle_is_refused(getkey):
    """There is no pair."""
    particles = optimal_particles(1, np.random.default_rng(4))
    gibbs = ProximalGibbs(optimum_problem(), optimal_residual())
    with pytest.raises(ValueError, match="at least two particles"):
        stein_discrepancy(gibbs, particles, key=getkey())
