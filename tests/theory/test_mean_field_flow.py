"""The dimension-free mean-field flow against brute force, closed forms and d dimensions."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ndtr

from twolayer.activations import activation_of, cos_sin, erf, relu, tanh
from twolayer.inputs import Gaussian
from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.quadrature import gauss_hermite, gauss_legendre, tensor_rule
from twolayer.risks import PopulationRisk
from twolayer.targets import Polynomial
from twolayer.tasks import Regression
from twolayer.theory.mean_field import Population, mean_field, mean_field_flow
from twolayer.theory.mean_field.population import gaussian_population, limit_population
from twolayer.theory.mean_field.solve import flow_from, invariant_projector

SIZE = 16  # neurons in the comparisons with brute force


def quadrature_flow(smoothed, slope, target, times, *, axes, pair=1.0):
    """Losses of the (a, w, s) flow by Gauss-Hermite quadrature and LSODA; nothing of ours.

    `smoothed(y, s)` is ``E s(y + s G)``; `slope` gives its derivatives along y and s; `pair`
    scales the network's own force, 1 unless the theory is to be made wrong.
    """
    nodes, share = tensor_rule(gauss_hermite(48), axes)
    a, weight = (np.asarray(leaf) for leaf in start(axes)[:2])
    values = target(nodes.T)

    def residual(a, w, s):
        return values - pair * (weight * a) @ smoothed(w @ nodes.T, s[:, None])

    def velocity(_, y):
        a, w, s = unpack(y)
        force = residual(a, w, s) * share
        at = w @ nodes.T, s[:, None]
        along_y, along_s = slope(*at)
        moves = (smoothed(*at) @ force, a[:, None] * ((along_y * force) @ nodes))
        return np.concatenate([moves[0], moves[1].ravel(), a * (along_s @ force)])

    def unpack(y):
        return y[:SIZE], y[SIZE : SIZE * (1 + axes)].reshape(SIZE, axes), y[SIZE * (1 + axes) :]

    y0 = np.concatenate([a, np.zeros(SIZE * axes), np.ones(SIZE)])
    solution = solve_ivp(velocity, (0, times[-1]), y0, "LSODA", times, rtol=1e-8, atol=1e-10)
    return np.asarray([residual(*unpack(y)) ** 2 @ share / 2 for y in solution.y.T])


def start(axes):
    population = limit_population(axes, SIZE)
    return population.a, population.weight, population


def smoothed_tanh(y, s):
    nodes, share = gauss_hermite(64)
    return np.tanh(y[..., None] + s[..., None] * nodes) @ share


def slope_tanh(y, s):
    nodes, share = gauss_hermite(64)
    derivative = np.cosh(y[..., None] + s[..., None] * nodes) ** -2.0
    return derivative @ share, derivative @ (share * nodes)


def smoothed_relu(y, s):
    return y * ndtr(y / s) + s * density(y / s)


def slope_relu(y, s):
    return ndtr(y / s), density(y / s)


def density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


BRUTE_FORCE = [
    (tanh, smoothed_tanh, slope_tanh, "z1/4 + z1^3/4", lambda z: (z[0] + z[0] ** 3) / 4, 1),
    (relu, smoothed_relu, slope_relu, "z1 + z1*z2", lambda z: z[0] + z[0] * z[1], 2),
]
TIMES = np.array([0.0, 2.0, 8.0])


def ours(activation, text):
    target = Polynomial(text)
    field = mean_field(target, activation)
    return flow_from(field, limit_population(target.dim, SIZE), TIMES, None, (1e-8, 1e-10))[1]


@pytest.mark.slow
@pytest.mark.parametrize("case", BRUTE_FORCE, ids=["tanh", "relu"])
def test_flow_is_that_of_brute_force_quadrature(case):
    """The loss is that of Gauss-Hermite quadrature in z and G, integrated by SciPy's LSODA."""
    activation, smoothed, slope, text, target, axes = case
    expected = quadrature_flow(smoothed, slope, target, TIMES, axes=axes)
    # 48 nodes an axis resolve the smoothed activation to this
    np.testing.assert_allclose(ours(activation, text), expected, atol=2e-5)


def test_doubled_pair_term_is_another_flow():
    """A factor 2 in the pair term would be seen: the referee with it is far from the flow."""
    activation, smoothed, slope, text, target, axes = BRUTE_FORCE[0]
    wrong = quadrature_flow(smoothed, slope, target, TIMES, axes=axes, pair=2.0)
    assert np.max(np.abs(ours(activation, text) - wrong)) > 0.05


@pytest.mark.slow
def test_cos_sin_is_the_gaussian_kernel_flow():
    """For cos + sin, U is a Gaussian kernel and P an exponential times the target's symbol."""
    size, target = 24, Polynomial("z1 + z1*z2")
    population = limit_population(2, size)
    a, c = np.asarray(population.a), np.asarray(population.weight)

    def forces(a, w, s):
        # m_D: 1, -1 for D = 1, 2 of cos + sin; symbol x1 + x1 x2
        damp = np.exp(-(np.sum(w**2, 1) + s**2) / 2)
        P = damp * (w[:, 0] - w[:, 0] * w[:, 1])
        slope = damp[:, None] * np.stack([1 - w[:, 1], -w[:, 0]], 1) - w * P[:, None]
        difference = w[:, None] - w[None]
        U = np.exp(-np.sum(difference**2, 2) / 2 - (s[:, None] ** 2 + s[None] ** 2) / 2)
        Q = U @ (c * a)
        pull = -np.einsum("ij,ijk,j->ik", U, difference, c * a)
        return P, Q, slope - pull

    def velocity(_, y):
        a, w, s = y[:size], y[size : 3 * size].reshape(size, 2), y[3 * size :]
        P, Q, slope = forces(a, w, s)
        return np.concatenate([P - Q, (a[:, None] * slope).ravel(), -a * s * (P - Q)])

    y0 = np.concatenate([a, np.zeros(2 * size), np.ones(size)])
    times = np.array([0.0, 5.0, 20.0])
    y = solve_ivp(velocity, (0, 20), y0, "LSODA", times, rtol=1e-9, atol=1e-11).y.T
    expected = []
    for row in y:
        P, Q, _ = forces(row[:size], row[size : 3 * size].reshape(size, 2), row[3 * size :])
        expected.append(1 - (c * row[:size]) @ P + (c * row[:size]) @ Q / 2)
    _, loss, _ = flow_from(mean_field(target, cos_sin), population, times, None, (1e-8, 1e-10))
    np.testing.assert_allclose(loss, expected, atol=1e-6)


@pytest.mark.parametrize("activation", [erf, relu, cos_sin], ids=lambda s: s.facts.name)
@pytest.mark.parametrize("rest", [1, 2])
def test_velocity_is_that_of_d_dimensions(activation, rest):
    """At d = p + 1 and p + 2 it is m times the gradient of the population risk in R^d.

    Each neuron stands for one at every angle: both signs, or points of a circle, whose mean is
    exact up to the degree of aliasing.
    """
    target, size = Polynomial("z1 + He2(z1)/2"), 4
    dim = target.dim + rest
    population = gaussian_population(1, size, dim)
    population = jax.tree.map(jnp.asarray, population)
    population = Population(
        population.a + 0.3, population.w + 0.4, population.s + 0.2, population.weight
    )
    copies = 2 if rest == 1 else 12
    angle = 2 * np.pi * np.arange(copies) / copies
    unit = np.stack([np.cos(angle), np.sin(angle)][:rest], axis=1)
    W = jnp.concatenate(
        [
            jnp.repeat(population.w, copies, axis=0),
            (population.s[:, None, None] * unit[None]).reshape(-1, rest),
        ],
        axis=1,
    )
    width = size * copies
    network = TwoLayerNetwork(jnp.repeat(population.a, copies), W, None, activation, 1 / width)
    gradient = eqx.filter_jit(eqx.filter_grad(PopulationRisk(target)))(network)
    field = mean_field(target, activation, dim)
    velocity = eqx.filter_jit(field.velocity)(jnp.asarray(0.0), population)
    # the rule for the angle has three nodes and the circle twelve: exact to degree 5
    tolerance = 1e-9 if rest == 1 else 2e-3
    np.testing.assert_allclose(velocity.a, -width * gradient.a[::copies], atol=tolerance)
    np.testing.assert_allclose(velocity.w[:, 0], -width * gradient.W[::copies, 0], atol=tolerance)
    np.testing.assert_allclose(velocity.s, -width * gradient.W[::copies, 1], atol=tolerance)


@pytest.mark.parametrize("activation", [tanh, cos_sin], ids=lambda s: s.facts.name)
def test_velocity_descends_the_loss(activation):
    """The velocity is minus the gradient of the loss over the weights of the neurons."""
    population = gaussian_population(2, 6, 9)
    population = jax.tree.map(jnp.asarray, population)
    field = mean_field(Polynomial("z1 + z1*z2"), activation, 9)
    gradient = eqx.filter_jit(eqx.filter_grad(field.loss))(population)
    velocity = eqx.filter_jit(field.velocity)(jnp.asarray(0.0), population)
    for name in ("a", "w", "s"):
        share = population.weight.reshape((-1,) + (1,) * (getattr(velocity, name).ndim - 1))
        np.testing.assert_allclose(
            share * getattr(velocity, name), -getattr(gradient, name), atol=1e-12
        )


@pytest.mark.slow
def test_energy_never_increases():
    """The loss falls along the flow, chen2024subspace, equation 2.6."""
    target = Polynomial("z1 + z1*z2")
    start = limit_population(2, SIZE)
    loss = flow_from(mean_field(target, cos_sin), start, np.linspace(0, 30, 61))[1]
    assert np.all(np.diff(loss) < 1e-9)


LONG = [0, 5, 20, 100, 200]  # one length, one compilation

# target, activation: losses at t = 0, 5, 20, 100, 200 measured with another implementation
KNOWN = [
    ("z1", "cos_sin", [0.5, 0.067, 0.0098, 0.0025, 0.0015]),
    ("He2(z1)", "cos_sin", [1, 1, 1, 1, 1]),
    ("z1*z2", "cos_sin", [0.5] * 5),
    ("z1 + z2 + z1*z2", "cos_sin", [1.5, 0.456, 0.312, 0.284, 0.279]),
    ("z1 + z1*z2", "cos_sin", [1, 0.247, 0.125, 0.111]),
    ("z1 + He2(z1)*z2", "cos_sin", [1.5, 0.815, 0.629, 0.546]),
    ("z1 + z1*He2(z2)", "cos_sin", [1.5, 1.067, 1.010, 1.0025, 1.001]),
    ("z1*z2*z3", "cos_sin", [0.5] * 5),
    ("z1 + z1*z2*z3", "cos_sin", [1, 0.567, 0.510, 0.5025, 0.5015]),
    ("z1 + z1*z2 + z2*z3", "cos_sin", [1.5, 0.633, 0.218, 0.043]),
    ("z1 + z1*z2 + z1*z2*z3", "cos_sin", [1.5, 0.647, 0.494, 0.441]),
    pytest.param("z1 + z1*z2", "sin", [1, 0.567, 0.51, 0.5025, 0.5015], marks=pytest.mark.slow),
    pytest.param("z1 + z1*z2", "cos", [1] * 5, marks=pytest.mark.slow),
    pytest.param("z1 + He2(z1)", "sin", [1.5, 1.067, 1.01, 1.0025, 1.001], marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("text", "activation", "expected"), KNOWN)
def test_losses_agree_with_an_independent_implementation(text, activation, expected):
    """The curves of another implementation, within its own quadrature error of 2e-3."""
    flow = mean_field_flow(text, activation=activation, times=LONG, estimate_error=False)
    np.testing.assert_allclose(flow.loss.value[: len(expected)], expected, atol=2e-3)
    if expected[0] == expected[-1]:
        np.testing.assert_allclose(flow.loss.value, expected, atol=1e-9)  # an exact saddle


@pytest.mark.slow
def test_rotated_saddle_is_exact():
    """The same in rotated coordinates, which rounding alone would leave by t = 100."""
    rotated = "(3*z1 + 4*z2)/5 + (3*z1 + 4*z2)/5*(4*z1 - 3*z2)/5*z3"
    flow = mean_field_flow(rotated, activation="cos_sin", times=LONG, estimate_error=False)
    np.testing.assert_allclose(flow.loss.value, [1, 0.567, 0.510, 0.5025, 0.5015], atol=2e-3)


@pytest.mark.slow
def test_escape_from_the_plateau_is_resolved_by_few_cubed_nodes():
    """At t = 200, 400 plain nodes give .0665 (100) to .0770 (320); 128 cubed ones do."""
    flows = [
        mean_field_flow(
            "z1 + z1*z2", activation="cos_sin", times=[0, 200, 400], num_neurons=m,
            estimate_error=False,
        ).loss.value
        for m in (128, 200)
    ]  # fmt: skip
    np.testing.assert_allclose(*flows, atol=1e-3)
    np.testing.assert_allclose(flows[1], [1, 0.0785, 0.0259], atol=1e-3)


@pytest.mark.slow
def test_tanh_sees_odd_degrees_only():
    """Without biases tanh learns z1 of z1 + z1 z2: loss .506 at t = 60, and w_2 stays 0."""
    flow = mean_field_flow("z1 + z1*z2", activation="tanh", times=[0, 60], estimate_error=False)
    assert abs(flow.loss.value[-1] - 0.506) < 2e-3
    assert np.all(flow.population.w[..., 1] == 0)


@pytest.mark.slow
def test_finite_dimension_tends_to_the_limit():
    """At d = 1e8 the flow before any escape is that at d = infinity."""
    limit, finite = (
        mean_field_flow("z1", activation=cos_sin, times=[0, 5], dim=dim, num_neurons=100)
        for dim in (math.inf, 10**8)
    )
    gap = np.abs(limit.loss.value - finite.loss.value)
    assert np.all(gap <= 1e-3)
    assert np.all(finite.loss.error <= 3e-3)


def test_new_values_do_not_recompile(monkeypatch):
    """Other coefficients, other monomials of low degree, another horizon: one program."""
    traces = []
    field = type(mean_field(Polynomial("z1"), cos_sin))
    original = field.target_overlap

    def counted(self, population):
        traces.append(1)
        return original(self, population)

    monkeypatch.setattr(field, "target_overlap", counted)
    for text, horizon in [("z1 + z1*z2/3", 1), ("2*z1 - z2^2", 2), ("z1*z2^2", 3)]:
        mean_field_flow(
            text, activation="cos_sin", times=[0, horizon], num_neurons=10, estimate_error=False
        )
        if horizon == 1:
            first = len(traces)
    assert first > 0
    assert len(traces) == first


def test_divergence_ends_the_curve_with_a_status():
    """Ascent instead of descent blows up: the curve stops there, without a NaN."""
    flow = mean_field_flow(
        "z1", activation="x^3", times=[0, 0.1, 0.2, 50], num_neurons=8,
        schedules=(Backwards(), Backwards()),
    )  # fmt: skip
    assert flow.loss.status == "diverged"
    assert 1 <= len(flow.loss.value) < 4
    assert np.all(np.isfinite(flow.loss.value))
    assert len(flow.loss.value) == len(flow.loss.grid) == len(flow.population.a)
    assert flow.population.weight.shape == (8,)


class Backwards:
    def __call__(self, time):
        return -10.0 * jnp.ones_like(time)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"times": [0, 0]}, "increasing"),
        ({"times": [-1, 1]}, "increasing"),
        ({"times": []}, "increasing"),
        ({"times": [0, 1], "dim": 1}, "dimension of at least 2"),
        ({"times": [0, 1], "dim": 2.5}, "dimension of at least 2"),
        ({"times": [0, 1], "num_neurons": 1}, "neurons"),
    ],
)
def test_wrong_use_is_named(arguments, match):
    """Times, dimension and size are checked before anything is compiled."""
    with pytest.raises(ValueError, match=match):
        mean_field_flow("z1*z2", activation="tanh", **arguments)


@pytest.mark.slow
def test_task_text_and_polynomial_are_the_same():
    """A task, its target and its text give one curve; single precision outside changes nothing."""
    polynomial = Polynomial("z1")
    options = {"activation": cos_sin, "times": [0.5, 1], "num_neurons": 10}
    curves = [
        mean_field_flow(task, **options).loss.value
        for task in (Regression(Gaussian(3), polynomial), polynomial, "z1")
    ]
    with jax.enable_x64(False):
        curves.append(mean_field_flow("z1", **options).loss.value)
    for curve in curves[1:]:
        np.testing.assert_array_equal(curve, curves[0])


@pytest.mark.parametrize("activation", ["tanh", "cos", "cos_sin"])
def test_projector_spans_what_the_activation_can_reach(activation):
    """tanh reaches z1 of z1 + z1 z2, cos nothing, cos + sin everything."""
    rank = {"tanh": 1, "cos": 0, "cos_sin": 2}[activation]
    projector = invariant_projector(Polynomial("z1 + z1*z2"), activation_of(activation).facts)
    assert np.linalg.matrix_rank(projector) == rank
    np.testing.assert_allclose(projector @ projector, projector)


def test_initial_law_has_the_right_moments():
    """E a^2 = 1/3, E |w|^2 = p / d, E s^2 = (d - p) / d, and the network starts at 0."""
    population = gaussian_population(2, 4000, 10)
    weight = population.weight
    assert abs(weight @ population.a) < 1e-15
    assert abs(weight @ population.a**2 - 1 / 3) < 2e-3
    assert abs(weight @ np.sum(population.w**2, axis=1) - 0.2) < 2e-3
    assert abs(weight @ population.s**2 - 0.8) < 1e-3
    nodes, weights = gauss_legendre(40)
    limit = limit_population(1, 40)
    smooth = np.exp(np.asarray(limit.a)) @ limit.weight
    assert abs(smooth - np.exp(nodes) @ weights / 2) < 1e-12
