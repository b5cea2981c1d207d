"""Log-Sobolev constants: exact for Gaussians, bracketed otherwise, and ordered."""

import numpy as np
import pytest
from scipy import integrate, special

from twolayer.activations import relu, sigmoid, tanh
from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss, SquareLoss
from twolayer.theory.langevin.barthe_roberto import barthe_roberto
from twolayer.theory.langevin.grid import grid_optimum, parameter_grid
from twolayer.theory.langevin.log_sobolev import (
    bakry_emery,
    gibbs_constant,
    gibbs_log_sobolev,
    holley_stroock,
    published_constants,
    shear,
    shear_constant,
)
from twolayer.theory.langevin.numeric_log_sobolev import numeric_log_sobolev
from twolayer.theory.langevin.proximal_gibbs import (
    ProximalGibbs,
    field_bounds,
    scanned_field_bounds,
)
from twolayer.theory.langevin.rate_chain import rate_chain
from twolayer.theory.langevin.spectrum import spectral_gap, spectrum

LINE = np.linspace(-2, 2, 16)
LABELS = np.tanh(1.5 * LINE) + 0.3 * np.sin(2 * LINE)
SIX = [
    (0.5, 0.5, 0.1), (0.3, 0.3, 0.05), (1.0, 1.0, 0.3),
    (0.2, 0.2, 0.1), (1.0, 1.0, 0.05), (1.0, 0.5, 0.2),
]  # fmt: skip


def problem_of(numbers, output="free", bound=1.0, activation=tanh):
    """The regression problem with output decay, input decay and temperature."""
    return FreeEnergy(LINE, LABELS, activation, *numbers, SquareLoss(), output, bound)


@pytest.mark.parametrize(("output", "inputs", "slope"), [(2.0, 3.0, 0.7), (1.0, 1.0, 5.0)])
def test_shear_is_exact_for_gaussians(output, inputs, slope):
    """For independent Gaussians c and w, ``(c - s w, w)`` has 1 over the largest variance."""
    map_ = np.array([[1.0, -slope], [0.0, 1.0]])
    covariance = map_ @ np.diag([1 / output, 1 / inputs]) @ map_.T
    exact = 1 / np.linalg.eigvalsh(covariance)[-1]
    np.testing.assert_allclose(shear(output, inputs, slope), exact, rtol=1e-13)


def test_shear_at_its_ends():
    """Without slope the smaller of both constants, with an infinite one or without one nothing."""
    np.testing.assert_allclose(shear(3.0, 5.0, 0.0), 3.0, rtol=1e-15)
    np.testing.assert_allclose(shear(5.0, 3.0, 0.0), 3.0, rtol=1e-15)
    assert shear(5.0, 3.0, np.inf) == shear(0.0, 3.0, 1.0) == shear(3.0, 0.0, 1.0) == 0.0
    # a tiny constant of w: no digits are lost
    np.testing.assert_allclose(shear(1.0, 1e-12, 0.5), 1e-12 / 1.25, rtol=1e-11)


@pytest.mark.parametrize("variance", [0.25, 1.0, 3.0])
def test_gaussian_constants(variance):
    """``N(0, s^2)`` has the constants ``1 / s^2``, up to errors that vanish with the grid."""
    errors = []
    for size in (81, 161):
        x = np.linspace(-7, 7, size) * np.sqrt(variance)
        numeric = numeric_log_sobolev(-(x**2) / (2 * variance), [x[1] - x[0]])
        errors.append(np.array([numeric.value, numeric.spectral_gap]) * variance - 1)
        assert numeric.value <= numeric.spectral_gap
    # tilts by a large slope live where the grid is coarse for them: LSI converges later than kappa
    assert np.max(np.abs(errors[1])) < 5e-3
    assert abs(errors[1][0]) < 0.5 * abs(errors[0][0])
    # a quarter, up to terms of the next order
    np.testing.assert_allclose(errors[1][1] / errors[0][1], 0.25, atol=0.01)


def test_gaussian_in_two_dimensions():
    """The product of two Gaussians has the smaller of their constants."""
    a, w = np.linspace(-5, 5, 51), np.linspace(-4, 4, 61)
    log = -(a[:, None] ** 2) / 2 - w**2 / (2 * 0.36)
    numeric = numeric_log_sobolev(log, [a[1] - a[0], w[1] - w[0]])
    # h = .2: second order, h^2 / 4
    np.testing.assert_allclose([numeric.value, numeric.spectral_gap], 1.0, atol=0.012)


def test_numeric_constant_is_a_quotient():
    """No trial function has a smaller quotient, computed in plain loops; Gaussians are extremal."""
    x = np.linspace(-3, 3, 40)
    log = -(x**4) + 1.5 * x**2 + 0.3 * x
    numeric = numeric_log_sobolev(log, [x[1] - x[0]])
    p = np.exp(log) / np.exp(log).sum()

    def quotient(f):
        energy = 0.0
        for k in range(39):
            z = log[k] - log[k + 1]
            conductance = p[k] / special.exprel(z) / (x[1] - x[0]) ** 2
            energy += conductance * (f[k + 1] - f[k]) ** 2
        square = f**2 / np.sum(p * f**2)
        return 2 * energy / np.sum(p * f**2) / np.sum(p * special.xlogy(square, square))

    rng = np.random.default_rng(0)
    trials = [quotient(np.exp(s * x)) for s in (-2.0, -0.5, 0.1, 1.0, 3.0)]
    trials += [quotient(1 / (1 + np.exp(-s * (x - c)))) for s in (2.0, 6.0) for c in (-0.5, 0.5)]
    trials += [quotient(1 + 0.5 * np.cumsum(rng.normal(size=40)) / 6) for _ in range(20)]
    assert numeric.value <= min(trials) + 1e-12
    assert numeric.value > 0.5 * min(trials)


def test_barthe_roberto_for_a_gaussian():
    """The bracket of N(0, 1) is that of closed forms, [.265, 2.34], and scales like 1 / s^2."""
    x = np.linspace(1e-3, 8, 200001)
    mass = special.ndtr(-x)
    # int_0^x sqrt(2 pi) exp(t^2 / 2) dt
    reach = np.pi * special.erfi(x / np.sqrt(2))
    largest = np.max(mass * np.log1p(np.exp(2) / mass) * reach)
    least = np.max(mass * np.log1p(1 / (2 * mass)) * reach)
    for std in (1.0, 0.3):
        points = std * np.linspace(-10, 10, 20001)
        bracket = barthe_roberto(points, -((points / std) ** 2) / 2)
        # trapezoid with h = 1e-3: 1e-6
        np.testing.assert_allclose(bracket.lower * std**2, 2 / (4 * largest), rtol=1e-5)
        np.testing.assert_allclose(bracket.upper * std**2, 2 / least, rtol=1e-5)
        assert abs(bracket.median) < 1e-9
    assert abs(2 / (4 * largest) - 0.265) < 1e-3
    assert abs(2 / least - 2.345) < 1e-3


@pytest.mark.parametrize("tilt", [0.0, 0.5])
@pytest.mark.parametrize("depth", [0.5, 2.0, 5.0])
def test_barthe_roberto_brackets_the_numeric_constant(tilt, depth):
    """Double wells: the minimised quotient lies in the bracket, and above Holley and Stroock."""

    def bump(x):
        return depth * np.exp(-(x**2)) + tilt * np.tanh(x)

    def density(x):
        return np.exp(-(x**2) / 2 - bump(x))

    x = np.linspace(-6, 6, 1201)
    bracket = barthe_roberto(x, np.log(density(x)))
    numeric = numeric_log_sobolev(np.log(density(x[::6])), [6 * (x[1] - x[0])])
    # the grid with h = .06 changes the constant by 2e-3
    assert bracket.lower < numeric.value * 1.002
    assert numeric.value < bracket.upper * 1.002
    assert holley_stroock(1.0, np.ptp(bump(x))) <= numeric.value * 1.002
    below, total = (integrate.quad(density, -8, end)[0] for end in (bracket.median, 8))
    assert abs(below / total - 0.5) < 1e-4


def test_poincare_of_a_double_well_by_a_dense_matrix():
    """The spectral gap is the second eigenvalue of the chain's dense matrix, and of 2-d ones."""
    rng = np.random.default_rng(1)
    log = rng.normal(size=(6, 5))
    kappa, mode = spectral_gap(log, (0.5, 0.3))
    p = (np.exp(log) / np.exp(log).sum()).ravel()
    stiffness = np.zeros((30, 30))
    for i, j in np.ndindex(6, 5):
        for other, h in (((i + 1, j), 0.5), ((i, j + 1), 0.3)):
            if other[0] < 6 and other[1] < 5:
                k, q = 5 * i + j, 5 * other[0] + other[1]
                c = p[k] / special.exprel(log[i, j] - log[other]) / h**2
                stiffness[[k, q], [k, q]] += c
                stiffness[[k, q], [q, k]] -= c
    roots = np.sqrt(p)
    values = np.linalg.eigvalsh(stiffness / np.outer(roots, roots))
    np.testing.assert_allclose(kappa, values[1], rtol=1e-10)
    v = mode.ravel() - p @ mode.ravel()
    np.testing.assert_allclose(v @ stiffness @ v / (p @ v**2), kappa, rtol=1e-9)


@pytest.mark.parametrize("numbers", SIX)
def test_closed_form_at_the_optimum(numbers):
    """The shear lemma with the sup over w, infinity included, computed by brute force."""
    la, lw, tau = numbers
    problem = problem_of(numbers)
    grid = parameter_grid(problem, num_points=60)
    r = grid.slopes(grid_optimum(grid).outputs)
    w = np.concatenate([np.linspace(-30, 30, 60001), [-1e6, 1e6]])
    g = np.tanh(w[:, None] * LINE) @ r / 16
    slope = np.max(np.abs((1 - np.tanh(w[:, None] * LINE) ** 2) @ (r * LINE))) / 16
    rho_w = lw / tau * np.exp(-(np.max(g**2) - np.min(g**2)) / (2 * la * tau))
    s = slope / la
    matrix = [[tau / la + s**2 / rho_w, -s / rho_w], [-s / rho_w, 1 / rho_w]]
    expected = 1 / np.linalg.eigvalsh(matrix)[-1]
    gibbs = ProximalGibbs(problem, r)
    sharp = gibbs_log_sobolev(gibbs, bounds="scanned").value
    # the scan allows for what lies between its nodes
    assert 0.995 * expected < sharp <= expected * (1 + 1e-12)
    assert 0.5 * expected < gibbs_log_sobolev(gibbs).value <= expected * (1 + 1e-12)


@pytest.mark.parametrize("numbers", SIX)
def test_chain_of_rates(numbers):
    """``2 m >= 2 tau kappa >= 2 tau rho >= `` the shear lemma with ever coarser laws of w."""
    grid = parameter_grid(problem_of(numbers), num_points=50)
    chain = {rate.name: rate for rate in rate_chain(grid)}
    flow, gap, numeric, sheared, line, closed, published = chain.values()
    # K vanishes on the slowest mode, which is odd: the bound is attained
    assert flow.value == pytest.approx(gap.value, rel=1e-9)
    assert gap.value * (1 + 1e-9) >= numeric.value >= gap.value * (1 - 1e-3)
    # the closed forms belong to the continuum; the grid's own constants are below by h^2
    for smaller in (sheared, line, closed, published):
        assert 0 < smaller.value < numeric.value
    assert sheared.value > 0.6 * numeric.value
    assert line.value < sheared.value
    assert closed.value < sheared.value
    assert published.value < closed.value
    assert [rate.kind for rate in chain.values()].count("lower") == 4
    for rate in list(chain.values())[1:]:
        assert rate.value <= chain[rate.below].value * (1 + 1e-3), rate


def test_neither_closed_constant_is_always_the_larger():
    """Holley and Stroock's wins at a high temperature, Barthe and Roberto's at a low one."""
    found = []
    for numbers in ((1, 1, 0.3), (0.3, 0.3, 0.05)):
        chain = rate_chain(parameter_grid(problem_of(numbers), num_points=40))
        rates = {rate.name: rate for rate in chain}
        line, closed = rates["shear, Barthe-Roberto"], rates["shear, Holley-Stroock"]
        assert line.below == closed.below == "shear, numeric law of w"
        found.append(closed.value > line.value)
    assert found == [True, False]


@pytest.mark.parametrize("output", ["fixed", "clipped"])
def test_chain_for_bounded_output_weights(output):
    """Neither bound exceeds the numeric constant; the published uniform one is vacuous."""
    grid = parameter_grid(problem_of((0.5, 0.5, 0.1), output, 1.0), num_points=60)
    chain = rate_chain(grid)
    flow, gap, numeric = chain[:3]
    assert flow.value * (1 + 1e-9) >= gap.value >= numeric.value * (1 - 1e-9) > 0
    assert {rate.below for rate in chain[3:]} == {numeric.name, "Holley-Stroock"}
    for rate in chain[3:]:
        assert rate.value <= numeric.value * (1 + 1e-2), rate
    assert chain[-1].vacuous
    assert chain[-1].share < 1e-3


@pytest.mark.parametrize("size", [40, 80])
def test_modes_solve_the_linearised_equation(size):
    """``A (tau + K) v = m v`` with A and K applied in plain NumPy; parities are plus or minus 1."""
    grid = parameter_grid(problem_of((0.5, 0.5, 0.1)), num_points=size, half_widths=(4.0, 4.0))
    optimum = grid_optimum(grid)
    modes = spectrum(grid, optimum, num_modes=3)
    mu = optimum.mass.reshape(grid.shape)
    for m, v in zip(modes.rates / 2, modes.modes.T, strict=True):
        u = 0.1 * v + grid.features.T @ (grid.features @ (optimum.mass * v)) / 16
        u = u.reshape(grid.shape)
        total = np.zeros_like(mu)
        for axis, h in enumerate(grid.spacings):
            p, q = (np.moveaxis(array, axis, 0) for array in (mu, u))
            conductance = p[:-1] / special.exprel(np.log(p[:-1] / p[1:])) / h**2
            flux = conductance * np.diff(q, axis=0)
            change = np.zeros_like(p)
            change[:-1] += flux
            change[1:] -= flux
            total += np.moveaxis(change, 0, axis)
        np.testing.assert_allclose(-total.ravel(), m * optimum.mass * v, atol=1e-9)
    np.testing.assert_allclose(np.abs(modes.parities), 1, atol=1e-6)
    assert modes.parities[0] < 0
    assert modes.rates[0] == pytest.approx(modes.spectral_gap, rel=1e-9)


def test_few_cells_by_a_dense_eigensolver():
    """With fewer than 300 cells the same spectrum comes from dense matrices."""
    problem = problem_of((0.5, 0.5, 0.1), "fixed", 1.0)
    rates = [spectrum(parameter_grid(problem, num_points=n), num_modes=2).rates for n in (200, 400)]
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-2)


def test_bakry_emery_below_the_least_curvature():
    """The bound of the Hessian is its least value on a fine grid where there is one sample."""
    problem = FreeEnergy([[1.5]], [0.7], tanh, 1.0, 1.0, 0.2, SquareLoss(), "fixed", 0.4)
    gibbs = ProximalGibbs(problem, np.array([-0.5]))
    w = np.linspace(-5, 5, 20001)[:, None]
    potential = -0.2 * gibbs.log_density(w)
    h = w[1, 0] - w[0, 0]
    least = np.min(np.diff(potential, 2)) / h**2 / 0.2
    bound = bakry_emery(gibbs)
    # second differences with h = 5e-4: rounding 1e-16 / h^2
    np.testing.assert_allclose(bound.value, least, rtol=1e-5)
    assert not bound.vacuous
    weak = bakry_emery(ProximalGibbs(problem, np.array([-9.0])))
    assert weak.vacuous
    assert weak.value == 0
    assert weak.assumptions[0].holds is False
    assert gibbs_log_sobolev(gibbs).value == bound.value
    with pytest.raises(ValueError, match="fixed output weight"):
        bakry_emery(ProximalGibbs(problem_of((1, 1, 1)), LABELS))


@pytest.mark.parametrize("output", ["fixed", "clipped"])
@pytest.mark.parametrize("activation", [tanh, sigmoid])
def test_holley_stroock_by_brute_force(output, activation):
    """The closed form is at most, and of the order of, that with the true oscillation."""
    problem = problem_of((0.5, 0.7, 0.3), output, 0.8, activation)
    r = np.where(LINE > 0, -0.5, 0.5) + 0.1
    gibbs = ProximalGibbs(problem, r)
    w = np.linspace(-60, 60, 20001)
    s = np.tanh(w[:, None] * LINE)
    g = (s if activation is tanh else (1 + np.tanh(w[:, None] * LINE / 2)) / 2) @ r / 16
    size = np.max(np.abs(g))
    oscillation = 0.8 * (np.ptp(g) if output == "fixed" else 2 * size)
    decay = 0.7 if output == "fixed" else 0.5
    exact = decay / 0.3 * np.exp(-oscillation / 0.3)
    scanned = gibbs_constant(problem, scanned_field_bounds(gibbs))
    np.testing.assert_allclose(scanned, exact, rtol=2e-2)
    assert scanned <= exact * (1 + 1e-6)
    assert gibbs_constant(problem, field_bounds(gibbs)) <= exact


def test_published_constants_in_their_own_units():
    """With the regulariser ``l |w|^2`` and the temperature t, or a regulariser scaled by it."""
    fixed = FreeEnergy([[1.0]], [1.0], tanh, 9.0, 0.6, 0.2, LogisticLoss(), "fixed", 0.3)
    (constant,) = published_constants(fixed, slope=1.0)
    half, t = 0.3, 0.2  # l |w|^2 = lw / 2 |w|^2
    np.testing.assert_allclose(constant.value, 2 * half / (t * np.exp(4 * 0.3 / t)), rtol=1e-12)
    assert not constant.vacuous
    assert constant.assumptions[0].holds is True
    free = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.6, 0.2)
    (constant,) = published_constants(free, slope=0.7)
    la, lw, scale = 0.5 / 0.2, 0.6 / 0.2, 0.2
    expected = lw * np.exp(-2 * la * 0.7**2 / (scale * la) ** 2)
    np.testing.assert_allclose(constant.value, expected, rtol=1e-12)
    assert constant.assumptions[0].holds is None
    # ours, from the oscillation, is sharper
    gibbs = ProximalGibbs(free, np.array([0.7]))
    w_constant = holley_stroock(3.0, field_bounds(gibbs).oscillation_of_square / (2 * 0.5 * 0.2))
    assert w_constant > constant.value


def test_relu_has_a_constant_only_once_its_law_exists():
    """One input: nothing while ``sup c^2 >= la lw``, then the numeric constant bounds it above."""
    problem = FreeEnergy(LINE, LABELS, relu, 0.3, 0.3, 0.05)
    early = gibbs_log_sobolev(ProximalGibbs(problem, -LABELS))
    assert early.vacuous
    assert early.value == 0
    slopes = -0.4 * LABELS
    late = gibbs_log_sobolev(ProximalGibbs(problem, slopes))
    assert not late.vacuous
    a, w = np.linspace(-5, 5, 81), np.linspace(-5, 5, 81)
    g = np.maximum(w[:, None] * LINE, 0) @ slopes / 16
    log = -(a[:, None] * g + 0.15 * a[:, None] ** 2 + 0.15 * w**2) / 0.05
    numeric = numeric_log_sobolev(log, [a[1] - a[0], w[1] - w[0]])
    assert 0.5 * numeric.value < late.value < numeric.value


def test_nothing_without_bounds():
    """An unbounded activation with several inputs has no closed form: vacuous, and so reported."""
    problem = FreeEnergy(np.eye(2), [0.1, 0.1], relu, 1.0, 1.0, 0.1)
    bound = gibbs_log_sobolev(ProximalGibbs(problem, np.array([-0.1, -0.1])))
    assert bound.vacuous
    fixed = problem_of((1, 1, 1), "fixed")
    field = field_bounds(ProximalGibbs(fixed, LABELS))
    with pytest.raises(ValueError, match="free output weight"):
        shear_constant(fixed, field)
    with pytest.raises(ValueError, match="'closed' or 'scanned'"):
        gibbs_log_sobolev(ProximalGibbs(problem, np.zeros(2)), bounds="sharp")
    with pytest.raises(ValueError, match="at least 5 increasing"):
        barthe_roberto(np.zeros(9), np.zeros(9))
    with pytest.raises(ValueError, match="finite values"):
        barthe_roberto(np.arange(9.0), np.full(9, -np.inf))
    grid = parameter_grid(fixed, num_points=9)
    with pytest.raises(ValueError, match="at least one mode"):
        spectrum(grid, num_modes=9)


@pytest.mark.slow
def test_constants_converge_with_the_grid():
    """2 tau kappa, the first even 2 m and the sheared numeric constant extrapolate as h^2."""
    values = []
    for size in (60, 120, 240):
        grid = parameter_grid(problem_of((0.5, 0.5, 0.1)), num_points=size, half_widths=(4.0, 4.0))
        modes = spectrum(grid)
        values.append([modes.spectral_gap, modes.rates[modes.parities > 0][0]])
    values = np.array(values)
    steps = np.diff(values, axis=0)
    np.testing.assert_allclose(steps[0] / steps[1], 4, rtol=0.05)  # (119 / 59)^2 is 4.07
    # an independent implementation: .20544 and 1.45616 by extrapolation, five digits
    np.testing.assert_allclose(values[2] + steps[1] / 3, [0.20544, 1.45616], rtol=2e-4)
