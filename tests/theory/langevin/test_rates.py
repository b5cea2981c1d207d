"""Rate certificates: they bound the flow, are attained where they should be, and admit failure."""

from functools import cache

import numpy as np
import pytest
from scipy import special

from twolayer.activations import relu, sigmoid, tanh
from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss, SquareLoss
from twolayer.theory.langevin.energy_bounds import field_size, reference_energy, slope_bound
from twolayer.theory.langevin.fokker_planck import fokker_planck
from twolayer.theory.langevin.grid import grid_optimum, parameter_grid
from twolayer.theory.langevin.normalisability import normalisability
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, field_bounds
from twolayer.theory.langevin.rates import (
    a_priori_certificate,
    energy_rate,
    measured_rates,
    trajectory_certificate,
    uniform_certificate,
)
from twolayer.theory.langevin.spectrum import spectrum

LINE = np.linspace(-2, 2, 16)
LABELS = np.tanh(1.5 * LINE) + 0.3 * np.sin(2 * LINE)
SIGNS = np.where(np.sin(3 * LINE) > 0, 1.0, -1.0)
GOLDEN = [(0.5, 0.5, 0.1), (0.3, 0.3, 0.05), (1.0, 1.0, 0.3)]
SIX = [*GOLDEN, (0.2, 0.2, 0.1), (1.0, 1.0, 0.05), (1.0, 0.5, 0.2)]
STARTS = {"gamma": None, "shifted": ((0.8, 0.4), 0.4)}
LOGISTIC = FreeEnergy(LINE, SIGNS, tanh, 0.6, 0.6, 0.2, LogisticLoss())


def problem_of(numbers, activation=tanh):
    """The regression problem with output decay, input decay and temperature."""
    return FreeEnergy(LINE, LABELS, activation, *numbers)


@cache
def flow_of(numbers, start, size=40):
    """The flow, its grid's optimum, and J - J*."""
    grid = parameter_grid(problem_of(numbers), num_points=size)
    law = None if STARTS[start] is None else grid.gaussian(*STARTS[start])
    flow = fokker_planck(grid, times=np.geomspace(1, 21, 15) - 1, start=law)
    optimum = grid_optimum(grid)
    return flow, optimum, flow.energy - optimum.energy


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("numbers", GOLDEN)
def test_certificates_bound_the_flow(numbers, start):
    """``J - J*`` stays below the curve from slopes, from J, from both schemes, and a priori."""
    flow, optimum, excess = flow_of(numbers, start)
    problem = flow.grid.problem
    run = {"time": flow.time, "energy": flow.energy, "optimal_energy": optimum.energy}
    curves = {
        (name, scheme): trajectory_certificate(problem, **run, **extra, scheme=scheme)
        for scheme in ("flow", "backward_euler")
        for name, extra in {
            "energy": {},
            "closed": {"slopes": flow.slopes},
            "scanned": {"slopes": flow.slopes, "bounds": "scanned"},
        }.items()
    }
    before = a_priori_certificate(
        problem,
        times=flow.time,
        initial_energy=flow.energy[0],
        optimal_energy=optimum.energy,
    )
    # backward Euler decays more slowly than the flow, and so does its certificate
    for (name, scheme), curve in curves.items():
        assert curve.kind == "upper"
        assert "zhang2022meanfield" in curve.reference
        assert curve.value[0] == excess[0]
        if scheme == "backward_euler":
            assert np.all(excess <= curve.value * (1 + 1e-9)), (name, scheme)
        assert np.all(np.diff(curve.value) < 0)
    # each curve is sharper than the one that knows less
    for scheme in ("flow", "backward_euler"):
        energy, closed, scanned = (curves[n, scheme].value for n in ("energy", "closed", "scanned"))
        assert np.all(scanned <= closed * (1 + 1e-12))
        assert np.all(closed <= energy * (1 + 1e-12))
    assert np.all(excess <= before.value * (1 + 1e-9))
    # the last assumption tells whether the curve says anything
    useful = before.assumptions[-1].holds
    assert useful == (before.value[-1] <= before.value[0] / 2)
    assert useful == (numbers == (1.0, 1.0, 0.3))


def test_certificate_is_attained_without_features():
    """A Gaussian shifted along the slower parameter decays at ``2 min(la, lw)``: equality."""
    problem = FreeEnergy([[0.0]], [0.0], tanh, 0.5, 0.8, 0.1)
    times = np.linspace(0, 3, 7)
    # tau KL(N(m, tau / la) | N(0, tau / la)) = la m^2 / 2
    excess = 0.5 * (0.7 * np.exp(-0.5 * times)) ** 2 / 2
    curve = trajectory_certificate(
        problem, time=times, energy=excess, optimal_energy=0.0, slopes=np.zeros((7, 1))
    )
    np.testing.assert_allclose(curve.value, excess, rtol=1e-12)
    steps = trajectory_certificate(
        problem,
        time=times,
        energy=excess,
        optimal_energy=0.0,
        slopes=np.zeros((7, 1)),
        scheme="backward_euler",
    )
    np.testing.assert_allclose(steps.value, excess[0] / 1.5 ** np.arange(7), rtol=1e-12)


def test_constant_at_the_current_law_need_not_grow():
    """From a shifted start the current constant falls at first; the one from J never does."""
    numbers = (1.0, 1.0, 0.3)
    flow, _, _ = flow_of(numbers, "shifted")
    problem = flow.grid.problem
    from_energy = np.array([energy_rate(problem, e) for e in flow.energy])
    assert np.all(np.diff(from_energy) >= 0)
    run = {"time": flow.time, "energy": flow.energy, "optimal_energy": 0.0}
    curve = trajectory_certificate(problem, **run, slopes=flow.slopes, bounds="scanned")
    current = -np.diff(np.log(curve.value)) / np.diff(flow.time)
    assert current[0] > 1.1 * current[-1]


@pytest.mark.parametrize("numbers", SIX)
def test_linearised_rate_is_attained(numbers):
    """From a shifted start the scheme decays at 2 m to three digits, which is 2 tau kappa here."""
    grid = parameter_grid(problem_of(numbers), num_points=40)
    optimum = grid_optimum(grid)
    modes = spectrum(grid, optimum)
    times = np.concatenate([[0.0], 6 + np.arange(22)]) * 0.6 / modes.rates[0]
    flow = fokker_planck(grid, times=times, start=grid.gaussian((0.8, 0.4), 0.4))
    measured = measured_rates(times, flow.energy - optimum.energy, scheme="backward_euler")
    last = measured[flow.energy[1:] - optimum.energy > 1e-10][-1]
    assert last == pytest.approx(modes.rates[0], rel=1e-3)
    assert modes.rates[0] == pytest.approx(modes.spectral_gap, rel=1e-9)


@pytest.mark.parametrize("numbers", [GOLDEN[0], GOLDEN[2]])
def test_even_start_decays_faster(numbers):
    """From gamma only even modes are there: the rate is 2 m of the first of them."""
    grid = parameter_grid(problem_of(numbers), num_points=40)
    optimum = grid_optimum(grid)
    modes = spectrum(grid, optimum)
    even = modes.rates[modes.parities > 0.5][0]
    times = np.concatenate([[0.0], 6 + np.arange(22)]) * 0.6 / even
    excess = fokker_planck(grid, times=times).energy - optimum.energy
    measured = measured_rates(times, excess, scheme="backward_euler")
    # the next even mode has not quite died out
    assert measured[excess[1:] > 1e-10][-1] == pytest.approx(even, rel=1.5e-3)
    assert even > 2 * modes.spectral_gap


@pytest.mark.parametrize("numbers", SIX)
def test_each_mode_decays_at_its_own_rate(numbers):
    """Started a little along a mode of the linearised flow, J falls at the rate of that mode."""
    grid = parameter_grid(problem_of(numbers), num_points=40)
    optimum = grid_optimum(grid)
    modes = spectrum(grid, optimum, num_modes=3)
    for rate, mode in zip(modes.rates, modes.modes.T, strict=True):
        start = optimum.mass * np.exp(np.clip(1e-3 * mode, -1, 1))
        times = np.arange(4) * 0.5 / rate
        flow = fokker_planck(grid, times=times, start=start / start.sum())
        measured = measured_rates(times, flow.energy - optimum.energy, scheme="backward_euler")
        # the second order of the start is 1e-3 of the first
        np.testing.assert_allclose(measured, rate, rtol=1e-3)


@pytest.mark.parametrize("numbers", GOLDEN)
def test_doubled_constant_is_caught(numbers):
    """From a shifted start the best constant is attained: twice as much breaks the bound."""
    grid = parameter_grid(problem_of(numbers), num_points=40)
    optimum = grid_optimum(grid)
    modes = spectrum(grid, optimum, num_modes=1)
    rate = modes.spectral_gap  # also 2 tau rho, as the log-Sobolev constant equals the gap here
    dt = 0.2 / rate
    times = dt * np.arange(40)
    flow = fokker_planck(grid, times=times, start=grid.gaussian((0.8, 0.4), 0.4))
    excess = flow.energy - optimum.energy
    true = excess[20] / (1 + rate * dt) ** np.arange(20)
    doubled = excess[20] / (1 + 2 * rate * dt) ** np.arange(20)
    assert np.all(excess[20:] <= true * (1 + 1e-9))
    assert excess[-1] > 3 * doubled[-1]
    assert excess[-1] > 0.5 * true[-1]  # (1 + x)^2 against (1 + 2 x) with x = .1


@pytest.mark.parametrize("numbers", SIX)
def test_energy_rate_above_the_displayed_formula(numbers):
    """The eigenvalue is at least the bound by the trace, falls with J, is below 2 min(decay)."""
    la, lw, tau = numbers
    problem = problem_of(numbers)
    norm = np.linalg.eigvalsh([[np.mean(LINE**2)]])[0]
    previous = 2 * min(la, lw) * (1 + 1e-12)
    for energy in (0.0, 0.05, 0.2, 0.43):
        rate = energy_rate(problem, energy)
        trace = (1 + 2 * energy * norm / la**2) * np.exp(energy / (la * tau)) / lw
        displayed = 2 / (1 / la + trace)
        assert displayed <= rate <= previous
        assert rate <= 2.0 * displayed  # two positive eigenvalues: the larger is half the trace
        previous = rate


@pytest.mark.parametrize(
    "problem",
    [
        problem_of(GOLDEN[0]),
        LOGISTIC,
        FreeEnergy(LINE[:, None] * [1.0, 0.5], np.stack([LABELS, LINE], 1), tanh, 0.5, 0.5, 0.1),
        FreeEnergy(LINE, np.stack([SIGNS, SIGNS], 1), sigmoid, 0.5, 0.5, 0.1, LogisticLoss()),
    ],
)
def test_field_bounds_from_the_energy(problem):
    """Bounds from J alone are above those from the slopes of any outputs with this risk."""
    rng = np.random.default_rng(0)
    y = np.asarray(problem.y)
    for spread in (0.1, 1.0, 10.0):
        f = spread * rng.normal(size=y.shape)
        if isinstance(problem.loss, LogisticLoss):
            r, losses = -y * special.expit(-y * f), np.logaddexp(0, -y * f)
        else:
            r, losses = f - y, (f - y) ** 2 / 2
        risk = losses.sum() / len(y)
        assert np.sqrt(np.sum(r**2) / len(y)) <= slope_bound(problem, risk) * (1 + 1e-12)
        largest, lipschitz = field_size(problem, risk)
        gibbs = ProximalGibbs(problem, r)
        assert field_bounds(gibbs).largest <= largest * (1 + 1e-12)
        w = rng.normal(size=(200, problem.dim)) * 3
        assert np.max(np.linalg.norm(gibbs.field(w), axis=1)) <= largest
        assert np.max(np.linalg.norm(gibbs.jacobian(w), 2, axis=(1, 2))) <= lipschitz


def test_reference_energy():
    """Where the output weight is trained it is the risk of zero; else no output exceeds it."""
    assert reference_energy(problem_of(GOLDEN[0])) == pytest.approx(np.mean(LABELS**2) / 2)
    assert reference_energy(LOGISTIC) == pytest.approx(np.log(2))
    fixed = FreeEnergy(LINE, LABELS, sigmoid, 1, 1, 0.2, SquareLoss(), "fixed", 2.0)
    grid = parameter_grid(fixed, num_points=50)
    assert grid.energy(grid.reference) <= reference_energy(fixed)
    unbounded = FreeEnergy(LINE, LABELS, relu, 1, 1, 0.2, SquareLoss(), "fixed", 2.0)
    assert reference_energy(unbounded) == np.inf


def test_a_priori_curve_against_small_steps():
    """The curve solves ``u' = -rate(J* + u) u``: midpoint steps by hand."""
    problem = problem_of((1.0, 1.0, 0.3))
    start, best = 0.45, 0.36
    curve = a_priori_certificate(
        problem, times=np.array([0.0, 1.0, 4.0]), initial_energy=start, optimal_energy=best
    )
    u, dt, seen = start - best, 1e-3, {}
    for k in range(1, 4001):
        half = u - dt / 2 * energy_rate(problem, best + u) * u
        u -= dt * energy_rate(problem, best + half) * half
        seen[k] = u
    # midpoint with dt = 1e-3: 1e-7; the curve itself gives 1e-6 of its exponent away
    np.testing.assert_allclose(curve.value, [start - best, seen[1000], seen[4000]], rtol=1e-5)
    assert curve.value[1] >= seen[1000] * (1 - 1e-6)


def test_a_priori_without_the_optimum():
    """With D below and J(pi) above J* the curve is weaker than with J* itself."""
    problem, times = problem_of((1.0, 1.0, 0.3)), np.linspace(0, 10, 6)
    best = grid_optimum(parameter_grid(problem, num_points=40)).energy
    known = a_priori_certificate(problem, times=times, initial_energy=0.43, optimal_energy=best)
    bracket = a_priori_certificate(
        problem,
        times=times,
        initial_energy=0.43,
        optimal_energy=best - 0.01,
        optimal_upper=best + 0.02,
    )
    assert np.all(bracket.value > known.value)


def test_uniform_rate_of_the_logistic_loss():
    """It bounds the flow, does not vanish for a bad start, and is weaker than the trajectory's."""
    grid = parameter_grid(LOGISTIC, num_points=32, half_widths=(8.0, 5.0))
    optimum = grid_optimum(grid)
    times = np.geomspace(1, 31, 15) - 1
    flow = fokker_planck(grid, times=times, start=grid.gaussian((-2.0, 1.0), 0.5))
    excess = flow.energy - optimum.energy
    run = {"initial_energy": flow.energy[0], "optimal_energy": optimum.energy}
    uniform = uniform_certificate(LOGISTIC, times=times, **run)
    assert flow.energy[0] > 1  # the slopes' bound is that of the loss, not of J
    assert np.all(excess <= uniform.value * (1 + 1e-9))
    seen = trajectory_certificate(
        LOGISTIC, time=times, energy=flow.energy, optimal_energy=optimum.energy
    )
    assert np.all(seen.value <= uniform.value * (1 + 1e-12))
    la, lw, tau = 0.6, 0.6, 0.2
    s2 = np.mean(LINE**2) / la**2
    rho_w = lw / tau * np.exp(-1 / (2 * la * tau))
    matrix = [[tau / la + s2 / rho_w, -np.sqrt(s2) / rho_w], [-np.sqrt(s2) / rho_w, 1 / rho_w]]
    expected = 2 * tau / np.linalg.eigvalsh(matrix)[-1]
    for energy in (1.0, 50.0):
        assert energy_rate(LOGISTIC, energy) == pytest.approx(expected, rel=1e-12)
    assert energy_rate(problem_of((0.6, 0.6, 0.2)), 50.0) < 1e-30


@pytest.mark.parametrize("output", ["fixed", "clipped"])
def test_certificates_of_bounded_output_weights(output):
    """The curves for fixed and clipped output weights bound their flows as well."""
    problem = FreeEnergy(LINE, LABELS, tanh, 0.8, 0.8, 0.4, SquareLoss(), output, 0.7)
    grid = parameter_grid(problem, num_points=40)
    optimum = grid_optimum(grid)
    flow = fokker_planck(grid, times=np.linspace(0, 10, 25), start=grid.gaussian(0.5, 0.4))
    excess = flow.energy - optimum.energy
    for slopes in (None, flow.slopes):
        curve = trajectory_certificate(
            problem,
            time=flow.time,
            energy=flow.energy,
            optimal_energy=optimum.energy,
            slopes=slopes,
            scheme="backward_euler",
        )
        assert np.all(excess <= curve.value * (1 + 1e-9))
        assert curve.assumptions[-1].holds or slopes is None
        assert "zhang" not in curve.reference


def test_relu_is_refused_without_slopes():
    """From J alone there is no constant: the curve is flat and the assumption fails."""
    problem = problem_of((0.3, 0.3, 0.05), relu)
    assert energy_rate(problem, 0.1) == 0
    curve = a_priori_certificate(
        problem, times=np.array([0.0, 9.0]), initial_energy=0.4, optimal_energy=0.2
    )
    np.testing.assert_allclose(curve.value, 0.2)
    bounded = next(a for a in curve.assumptions if a.name.startswith("bounded activation"))
    assert bounded.holds is False
    assert "no certificate" in bounded.detail
    assert curve.assumptions[-1].holds is False


def test_relu_has_a_certificate_from_some_time_on():
    """The curve stays flat until the law exists, then falls and stays above the flow."""
    problem = problem_of((0.3, 0.3, 0.05), relu)
    grid = parameter_grid(problem, num_points=50, half_widths=(7.0, 7.0))
    optimum = grid_optimum(grid)
    times = np.linspace(0, 30, 31)
    flow = fokker_planck(grid, times=times)
    exists = [normalisability(ProximalGibbs(problem, r)).holds for r in flow.slopes]
    assert exists[0] is False
    assert exists[-1] is True
    since = exists.index(True)
    assert all(exists[since:])
    curve = trajectory_certificate(
        problem,
        time=times,
        energy=flow.energy,
        optimal_energy=optimum.energy,
        slopes=flow.slopes,
        scheme="backward_euler",
    )
    assert np.all(curve.value[:since] == curve.value[0])
    assert np.all(np.diff(curve.value[since:]) < 0)
    assert np.all(flow.energy - optimum.energy <= curve.value)
    existence = curve.assumptions[0]
    assert existence.holds is None
    assert f"from {times[since]:g} on" in existence.detail
    early = trajectory_certificate(
        problem, time=times[:2], energy=flow.energy[:2], optimal_energy=0.0, slopes=flow.slopes[:2]
    )
    assert early.assumptions[0].holds is False


def test_measured_rates():
    """Pure exponentials and pure backward Euler give their rates; rounding gives NaN."""
    times = np.array([0.0, 0.5, 2.0])
    np.testing.assert_allclose(measured_rates(times, np.exp(-1.4 * times)), 1.4)
    euler = np.array([1.0, 1 / (1 + 0.7 * 0.5) ** 2, 1 / (1.35 * (1 + 0.7 * 1.5)) ** 2])
    np.testing.assert_allclose(measured_rates(times, euler, scheme="backward_euler"), 1.4)
    assert np.isnan(measured_rates(times, np.array([1.0, 0.1, 1e-16]))[1])


def test_wrong_input():
    """Each kind of wrong input gets a sentence."""
    problem, times = problem_of(GOLDEN[0]), np.array([0.0, 1.0])
    with pytest.raises(ValueError, match="as many energies"):
        trajectory_certificate(problem, time=times, energy=times[:1], optimal_energy=0.0)
    with pytest.raises(ValueError, match="'flow' or 'backward_euler'"):
        trajectory_certificate(
            problem, time=times, energy=times, optimal_energy=0.0, scheme="explicit"
        )
    with pytest.raises(ValueError, match="do not decrease"):
        a_priori_certificate(problem, times=-times, initial_energy=1.0, optimal_energy=0.0)
    with pytest.raises(ValueError, match="at most its upper bound"):
        a_priori_certificate(problem, times=times, initial_energy=0.1, optimal_energy=0.2)
