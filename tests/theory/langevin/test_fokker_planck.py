"""The mean-field Fokker-Planck equation on a grid: exactness, energy stability, convergence."""

import numpy as np
import pytest
from scipy import integrate, special

from helpers import assert_allclose
from twolayer.activations import relu, tanh
from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss, SquareLoss
from twolayer.theory.langevin.fokker_planck import fokker_planck
from twolayer.theory.langevin.generator import Edges, Resolvent, bernoulli, bernoulli_slopes
from twolayer.theory.langevin.grid import grid_optimum, parameter_grid
from twolayer.theory.langevin.implicit_step import ImplicitStepper

LINE = np.linspace(-2, 2, 16)
LABELS = np.tanh(1.5 * LINE) + 0.3 * np.sin(2 * LINE)
PLANE = np.random.default_rng(3).normal(size=(9, 2))
GOLDEN = [(0.5, 0.5, 0.1), (0.3, 0.3, 0.05), (1.0, 1.0, 0.3)]
PROBLEMS = {
    "free": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1),
    "fixed": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.5, 0.1, SquareLoss(), "fixed", 2.0),
    "fixed, two inputs": FreeEnergy(
        PLANE, np.sin(PLANE[:, 0]), tanh, 0.5, 0.5, 0.2, SquareLoss(), "fixed", 2.0
    ),
    "clipped": FreeEnergy(LINE, LABELS, tanh, 0.5, 0.3, 0.1, SquareLoss(), "clipped", 2.0),
    "logistic": FreeEnergy(
        LINE, np.where(np.sin(3 * LINE) > 0, 1.0, -1.0), tanh, 0.1, 0.1, 0.05, LogisticLoss()
    ),
}


def problem_of(numbers, scale=1.0):
    """The regression problem with output decay, input decay and temperature, labels scaled."""
    return FreeEnergy(LINE, scale * LABELS, tanh, *numbers)


def dense_generator(potential, shape, spacings, tau):
    """``Q`` cell by cell in plain loops; the Bernoulli function from SciPy's exprel."""
    cells = list(np.ndindex(*shape))
    number = {cell: k for k, cell in enumerate(cells)}
    Q = np.zeros((len(cells), len(cells)))
    for cell in cells:
        for axis, spacing in enumerate(spacings):
            for shift in (-1, 1):
                other = list(cell)
                other[axis] += shift
                if 0 <= other[axis] < shape[axis]:
                    i, j = number[cell], number[tuple(other)]
                    rate = tau / spacing**2 / special.exprel(potential[j] - potential[i])
                    Q[j, i] += rate
                    Q[i, i] -= rate
    return Q


def line_dual(numbers, outputs):
    """``D(f - y)`` with a integrated out by hand and w by SciPy's adaptive quadrature."""
    la, lw, tau = numbers
    r = outputs - LABELS

    def integrand(w):
        g = np.mean(r * np.tanh(w * LINE))
        return np.exp(g**2 / (2 * la * tau) - lw * w**2 / (2 * tau))

    total = integrate.quad(integrand, -12, 12, epsabs=1e-14, epsrel=1e-13, limit=400)[0]
    conjugate = np.mean(r * LABELS + r**2 / 2)
    return -conjugate - tau * np.log(total / np.sqrt(2 * np.pi * tau / lw))


@pytest.mark.parametrize("numbers", GOLDEN)
def test_optimum_on_the_grid_is_that_of_the_continuum(numbers):
    """J* and J at the grid's optimum agree with one-dimensional quadrature to ten digits."""
    grid = parameter_grid(problem_of(numbers), num_points=60)
    optimum = grid_optimum(grid)
    # the box leaves out 3e-12 of the mass; a sum over equal cells is spectrally accurate
    assert abs(optimum.energy - line_dual(numbers, optimum.outputs)) < 2e-11
    # and it is the largest value of the dual
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = optimum.outputs + 0.02 * rng.normal(size=16)
        assert line_dual(numbers, other) < optimum.energy


@pytest.mark.parametrize("name", PROBLEMS)
def test_optimum_is_the_minimum(name):
    """J = D there, its law is its own proximal Gibbs law, and other laws have larger J."""
    grid = parameter_grid(PROBLEMS[name], num_points=40)
    optimum = grid_optimum(grid)
    assert abs(optimum.energy - optimum.dual) < 1e-13
    assert grid.gap(optimum.mass) < 1e-13
    rng = np.random.default_rng(1)
    for _ in range(5):
        tilted = optimum.mass * np.exp(0.3 * rng.normal(size=optimum.mass.size))
        assert grid.energy(tilted / tilted.sum()) > optimum.energy


def test_energy_by_hand():
    """J is the risk plus tau times the divergence from gamma, summed in plain NumPy."""
    grid = parameter_grid(PROBLEMS["free"], num_points=(30, 41), half_widths=(4.0, 3.0))
    a, w = np.meshgrid(np.linspace(-4, 4, 30), np.linspace(-3, 3, 41), indexing="ij")
    gamma = np.exp(-(0.5 * a**2 + 0.5 * w**2) / 0.2)
    gamma /= gamma.sum()
    law = np.exp(-((a - 0.5) ** 2) / 0.3 - (w + 0.2) ** 2)
    law /= law.sum()
    f = np.array([np.sum(law * a * np.tanh(w * x)) for x in LINE])
    energy = np.mean((f - LABELS) ** 2) / 2 + 0.1 * np.sum(law * np.log(law / gamma))
    assert_allclose(grid.energy(law.ravel()), energy, loss=1e-5)
    start = grid.gaussian((0.5, -0.2), (np.sqrt(0.15), np.sqrt(0.5)))
    np.testing.assert_allclose(start, law.ravel(), rtol=1e-12)
    assert grid.features.shape == (16, 30 * 41)


def test_bernoulli_function():
    """B and B(-z) against SciPy's exprel, and the slopes against differences of it."""
    z = np.array([-700.0, -30.0, -1.0, -0.0201, -0.0199, -1e-9, 0.0, 1e-9, 0.0199, 0.5, 3.0, 40.0])
    up, down = bernoulli(z)
    np.testing.assert_allclose(up, 1 / special.exprel(z), rtol=1e-14)
    np.testing.assert_allclose(down, 1 / special.exprel(-z), rtol=1e-14)
    step = 1e-4
    slope, mirrored = bernoulli_slopes(z)
    difference = (1 / special.exprel(z + step) - 1 / special.exprel(z - step)) / (2 * step)
    # central differences: step^2 / 6 times B''' below 1, and rounding 700 eps / step
    np.testing.assert_allclose(slope, difference, atol=2e-9)
    difference = (1 / special.exprel(-z + step) - 1 / special.exprel(-z - step)) / (2 * step)
    np.testing.assert_allclose(mirrored, difference, atol=2e-9)


@pytest.mark.parametrize("shape", [(9,), (5, 7), (24, 22)])
def test_generator_against_plain_loops(shape):
    """Rates, resolvent and response equal those of the dense matrix; the Gibbs law is invariant."""
    rng = np.random.default_rng(2)
    spacings = (0.3, 0.2)[: len(shape)]
    edges = Edges(shape, spacings, 0.7)
    potential = rng.normal(size=edges.num_cells)
    dense = dense_generator(potential, shape, spacings, 0.7)
    np.testing.assert_allclose(edges.generator(potential).toarray(), dense, rtol=1e-12)
    np.testing.assert_allclose(dense @ np.exp(-potential), 0, atol=1e-11)
    law = rng.dirichlet(np.ones(edges.num_cells))
    solved = Resolvent(edges, potential, 3.0).solve(np.stack([law, 2 * law], axis=1))
    exact = np.linalg.solve(np.eye(edges.num_cells) - 3.0 * dense, law)
    np.testing.assert_allclose(solved, np.stack([exact, 2 * exact], axis=1), rtol=1e-10)
    direction = rng.normal(size=(edges.num_cells, 1))
    response = edges.response(potential, law, direction)[:, 0]
    shift = 1e-5 * direction[:, 0]
    moved = [dense_generator(potential + s * shift, shape, spacings, 0.7) @ law for s in (1, -1)]
    np.testing.assert_allclose(response, (moved[0] - moved[1]) / 2e-5, atol=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_step_solves_backward_euler(name):
    """``mu_+ = mu + dt Q mu_+`` with the potential of ``mu_+``, checked with a dense matrix."""
    grid = parameter_grid(PROBLEMS[name], num_points=14)
    mass = grid.gaussian(0.5, 0.8)
    step = ImplicitStepper(grid).step(mass, 0.7, grid.outputs(mass))
    f = grid.features @ step.mass
    slopes = grid.slopes(f)
    potential = -grid.log_reference + slopes @ grid.features / (len(f) * grid.temperature)
    Q = dense_generator(potential, grid.shape, grid.spacings, grid.temperature)
    np.testing.assert_allclose(step.mass, mass + 0.7 * Q @ step.mass, atol=1e-12)
    assert step.converged


@pytest.mark.parametrize("scale", [1.0, 6.0])
@pytest.mark.parametrize("dt", [0.1, 1.0, 10.0, 100.0])
def test_energy_never_increases(scale, dt):
    """For steps of any size J falls, masses stay positive and sum to 1, and J - D is the gap."""
    grid = parameter_grid(problem_of((0.5, 0.5, 0.1), scale), num_points=40, half_widths=(9.0, 4.5))
    flow = fokker_planck(grid, times=dt * np.arange(9), start=grid.gaussian((1.0, 0.5), 0.4))
    assert flow.status == "finished"
    # rounding: energies of order 10 and sums over 1600 cells, solved to 1e-12
    assert np.max(np.diff(flow.energy)) < 1e-12
    assert flow.energy[0] - flow.energy[-1] > 0.05
    np.testing.assert_allclose(flow.total_mass, 1, atol=1e-12)
    assert np.min(flow.lowest_mass) > 0
    np.testing.assert_allclose(flow.energy - flow.dual, flow.gap, atol=1e-12)
    assert np.max(flow.residual) < 1e-10


def test_large_steps_reach_the_optimum():
    """Twelve steps of size 100 end at J* to rounding."""
    grid = parameter_grid(problem_of((0.5, 0.5, 0.1)), num_points=50)
    flow = fokker_planck(grid, times=100.0 * np.arange(13))
    optimum = grid_optimum(grid)
    assert abs(flow.energy[-1] - optimum.energy) < 1e-13
    np.testing.assert_allclose(flow.mass, optimum.mass, atol=1e-9)
    assert np.all(flow.energy >= optimum.energy - 1e-13)
    area = float(np.prod(grid.spacings))
    assert abs(flow.density.sum() * area - 1) < 1e-12


def test_frozen_potential_is_not_stable():
    """The control: with the potential of the old law and large labels, J jumps up by over 1."""
    for dt in (10.0, 100.0):
        grid = parameter_grid(
            problem_of((0.5, 0.5, 0.1), 6.0), num_points=40, half_widths=(9.0, 4.5)
        )
        flow = fokker_planck(grid, times=dt * np.arange(7), potential="frozen")
        assert np.max(np.diff(flow.energy)) > 1
        np.testing.assert_allclose(flow.total_mass, 1, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_sandwich(name):
    """``tau KL(mu | mu*) <= J - J* <= tau KL(mu | pi_mu)`` along the flow."""
    grid = parameter_grid(PROBLEMS[name], num_points=40)
    optimum = grid_optimum(grid)
    flow = fokker_planck(
        grid, times=np.geomspace(1, 30, 12) - 1, start=grid.gaussian(0.4, 0.5), keep_masses=True
    )
    log_best = grid.log_gibbs(grid.slopes(optimum.outputs))
    excess = flow.energy - optimum.energy
    below = [grid.temperature * grid.divergence(mass, log_best) for mass in flow.masses]
    assert np.all(below <= excess + 1e-13)
    assert np.all(excess <= flow.gap + 1e-13)
    assert excess[0] > 1e-3


def test_ornstein_uhlenbeck_is_exact():
    """Without features the flow is a Gaussian whose mean and variance are known at all times."""
    problem = FreeEnergy([[0.0]], [0.0], tanh, 0.5, 0.8, 0.1)
    t, errors = 1.5, []
    for size, steps in ((31, 25), (61, 100)):
        grid = parameter_grid(problem, num_points=size, half_widths=(4.0, 3.5))
        times = np.linspace(0, t, steps + 1)
        flow = fokker_planck(grid, times=times, start=grid.gaussian((1.0, -0.7), (0.5, 0.3)))
        mass = flow.mass.reshape(grid.shape)
        found, exact = [], []
        for axis, (decay, mean, std) in enumerate(((0.5, 1.0, 0.5), (0.8, -0.7, 0.3))):
            law, points = mass.sum(axis=1 - axis), grid.axes[axis]
            centre = law @ points
            found += [centre, law @ (points - centre) ** 2]
            left = np.exp(-2 * decay * t)
            exact += [mean * np.exp(-decay * t), std**2 * left + (1 - left) * 0.1 / decay]
        errors.append(np.subtract(found, exact))
    # half the spacing and a quarter of the step: a quarter of the error, whose rest is smaller
    coarse, fine = (np.array(e) for e in errors)
    assert np.all(np.abs(fine) < 0.3 * np.abs(coarse) + 1e-9)
    assert np.max(np.abs(4 * fine - coarse) / 3) < 1e-3 < np.max(np.abs(fine))


def test_against_an_independent_integrator():
    """The flow with chosen steps agrees with SciPy's BDF on the same equations in plain loops."""
    grid = parameter_grid(PROBLEMS["fixed"], num_points=24)
    start = grid.gaussian(1.0, 0.4)

    def velocity(_, mass):
        r = grid.features @ mass - LABELS
        potential = -grid.log_reference + r @ grid.features / (16 * 0.1)
        return dense_generator(potential, grid.shape, grid.spacings, 0.1) @ mass

    referee = integrate.solve_ivp(velocity, (0, 0.6), start, method="BDF", rtol=1e-7, atol=1e-10)
    exact = grid.energy(np.maximum(referee.y[:, -1], 0) / referee.y[:, -1].sum())
    errors = []
    for accuracy in (1e-4, 1e-5):
        flow = fokker_planck(grid, times=[0.0, 0.3, 0.6], start=start, accuracy=accuracy)
        errors.append(abs(flow.energy[-1] - exact))
    # first order: the error is about the square root of what one step may be off by
    assert errors[1] < 0.45 * errors[0]
    assert errors[1] < 5e-3


def test_default_start_and_box():
    """By default the flow starts at gamma, where J is the risk of zero outputs."""
    flow = fokker_planck(PROBLEMS["free"], times=[0.0])
    assert_allclose(flow.energy[0], np.mean(LABELS**2) / 2, loss=1e-5)
    assert flow.grid.shape == (100, 100)
    outside = 1 - special.erf(flow.grid.axes[0][-1] / np.sqrt(0.1 / 0.5) / np.sqrt(2))
    assert outside < 3e-12


def test_wrong_input():
    """Each kind of wrong input gets a sentence."""
    free = PROBLEMS["free"]
    grid = parameter_grid(PROBLEMS["fixed"], num_points=10)
    with pytest.raises(ValueError, match="at most two parameters"):
        parameter_grid(FreeEnergy(PLANE, PLANE[:, 0], tanh, 0.5, 0.5, 0.1))
    with pytest.raises(ValueError, match="half_widths for an unbounded"):
        parameter_grid(FreeEnergy(LINE, LABELS, relu, 0.5, 0.5, 0.1))
    with pytest.raises(ValueError, match="at least 3 points"):
        parameter_grid(free, num_points=2)
    with pytest.raises(ValueError, match="2 positive half widths"):
        parameter_grid(free, half_widths=(1.0,))
    with pytest.raises(ValueError, match="times that increase"):
        fokker_planck(grid, times=[0.0, 0.0])
    with pytest.raises(ValueError, match="sum to 1"):
        fokker_planck(grid, times=[0.0, 1.0], start=np.ones(10))
    with pytest.raises(ValueError, match="positive accuracy"):
        fokker_planck(grid, times=[0.0, 1.0], accuracy=0.0)
    with pytest.raises(ValueError, match="'implicit' or 'frozen'"):
        fokker_planck(grid, times=[0.0, 1.0], potential="explicit")
    with pytest.raises(ValueError, match="positive standard deviations"):
        grid.gaussian(0.0, 0.0)


@pytest.mark.slow
def test_fine_grid():
    """At 200 x 200 cells a step needs few factorisations, and J* has ten digits."""
    grid = parameter_grid(problem_of((0.5, 0.5, 0.1)), num_points=200)
    stepper, mass = ImplicitStepper(grid), grid.reference
    for _ in range(4):
        step = stepper.step(mass, 1.0, grid.outputs(mass))
        assert step.converged
        assert step.factorisations <= 10
        mass = step.mass
    coarse = grid_optimum(parameter_grid(problem_of((0.5, 0.5, 0.1)), num_points=100))
    assert abs(grid_optimum(grid).energy - coarse.energy) < 1e-12
