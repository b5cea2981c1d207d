"""Finite numbers of particles, against the exact partition function of N particles."""

import numpy as np
import pytest

from twolayer.activations import tanh
from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss
from twolayer.theory.langevin.chaos import particle_bound, particle_excess, stationary_risk_bias
from twolayer.theory.langevin.dual import solve_dual

CASE = (0.5, 0.5, 0.1)


@pytest.fixture(scope="module")
def one_sample():
    """One sample, for which the partition function of N particles is a one-fold integral."""
    return solve_dual(FreeEnergy([[1.0]], [1.0], tanh, *CASE))


def exact_excess(optimum, num_particles, case=CASE):
    """``L^N_min / N - J*`` by a Fourier integral over the mean output, at n = 1.

    With f the mean of N outputs phi = a tanh(w), exp(-N (f - y)^2 / (2 tau)) is a Gaussian average
    of exp(i t N (f - y)), so E over gamma^N is that of the N-th power of the characteristic
    function of phi. The contour is shifted by the optimum's slope, where the integrand peaks.
    """
    la, lw, tau = case
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    w, pw = nodes * np.sqrt(tau / lw), weights / weights.sum()
    slope = float(optimum.slopes[0, 0])
    # E exp(z phi) over a ~ N(0, tau/la) is exp(z^2 tanh(w)^2 tau / (2 la)).
    s = np.linspace(-12, 12, 20001) / np.sqrt(num_particles * tau)
    z = -slope / tau + 1j * s
    moment = np.exp(np.multiply.outer(z**2, np.tanh(w) ** 2) * tau / (2 * la)) @ pw
    # exp(-N u^2 / (2 tau)) = sqrt(N tau / (2 pi)) int exp(z N u + N tau z^2 / 2) ds, u = f - 1.
    exponent = num_particles * (np.log(moment) - z + tau * z**2 / 2)
    peak = exponent.real.max()
    total = np.sum(np.exp(exponent - peak)) * (s[1] - s[0])
    log = np.log(total.real * np.sqrt(num_particles * tau / (2 * np.pi))) + peak
    return -tau * log / num_particles - optimum.energy


def test_the_excess_is_the_first_order_of_the_exact_one(one_sample):
    """The gap to the exact value falls like 1 / N^2; a factor of 2 would leave 1 / N."""
    gaps = [exact_excess(one_sample, n) - particle_excess(one_sample, n) for n in (10, 100, 1000)]
    relative = [
        gap / particle_excess(one_sample, n) for gap, n in zip(gaps, (10, 100, 1000), strict=True)
    ]
    assert abs(relative[0]) < 0.02
    assert abs(relative[1]) < abs(relative[0]) / 5
    assert abs(relative[2]) < 2e-3


@pytest.mark.parametrize("num_particles", [1, 5, 50])
def test_the_bound_holds_of_the_exact_excess(one_sample, num_particles):
    excess = exact_excess(one_sample, num_particles)
    assert 0 < excess < particle_bound(one_sample, num_particles)


def test_the_bias_of_the_risk_is_the_derivative_of_the_exact_excess(one_sample):
    """``E R_N`` is the derivative of the least free energy by the weight alpha of the risk.

    By differences of the exact excess over ``J*``, whose own derivative is ``R*``.
    """
    num_particles, change = 200, 0.02

    def excess(weight):
        # alpha R + tau KL is alpha times the problem with decays and temperature over alpha.
        case = tuple(value / weight for value in CASE)
        optimum = solve_dual(FreeEnergy([[1.0]], [1.0], tanh, *case))
        return weight * exact_excess(optimum, num_particles, case)

    bias = num_particles * (excess(1 + change) - excess(1 - change)) / (2 * change)
    # 1 / N is the order that the formula leaves out
    assert bias == pytest.approx(stationary_risk_bias(one_sample), rel=4 / num_particles)


def test_other_losses_are_refused():
    problem = FreeEnergy([[1.0]], [1.0], tanh, *CASE, loss=LogisticLoss())
    with pytest.raises(ValueError, match="square loss"):
        particle_excess(solve_dual(problem), 10)
