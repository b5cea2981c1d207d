"""Comparisons with reasoned tolerances, and the catalogues that contract tests run over."""

import gc
import itertools
import math
import time
from fractions import Fraction
from math import inf

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, special

from twolayer.activations.catalogue import ACTIVATIONS as BUILT_IN
from twolayer.activations.catalogue import activation_of
from twolayer.activations.facts import Facts
from twolayer.activations.functions import FunctionActivation


def cpu_unit():
    """CPU seconds of a million additions, here and now: machines and their moods differ.

    Bounds on CPU time are stated in these units, of about 0.05 s on a quiet machine. What earlier
    tests have left in memory is taken from the garbage collector first, which may look through
    all of it in the middle of what is timed.
    """
    gc.freeze()
    start, total = time.process_time(), 0
    for k in range(1_000_000):
        total += k
    return time.process_time() - start


@eqx.filter_jit
def values_at(function, x):
    """A function of one input at each row of ``x``."""
    return jax.vmap(function)(x)


def assert_within_sem(mean, sem, truth, z=4.0):
    """Every sampled mean lies within ``z`` of its own standard errors of the truth.

    ``z = 4`` is exceeded by chance once in 16,000 comparisons; keys are fixed, so a test that
    passes keeps passing.
    """
    mean, sem, truth = np.broadcast_arrays(*map(np.asarray, (mean, sem, truth)))
    if not np.all(np.isfinite(mean)) or not np.all(sem >= 0):
        message = f"mean {mean} or standard error {sem} is not a number"
        raise AssertionError(message)
    deviation = np.abs(mean - truth)
    worst = np.unravel_index(np.argmax(deviation - z * sem), mean.shape)
    message = (
        f"{mean[worst]} +- {sem[worst]} is {deviation[worst] / max(sem[worst], 1e-300):.1f} "
        f"standard errors from {truth[worst]}"
    )
    assert np.all(deviation <= z * sem), message


def assert_allclose(actual, expected, *, loss=1.0):
    """Equality up to ``loss * sqrt(eps)`` of the coarser dtype, relative to the largest value.

    ``loss`` below 1 tightens it: ``loss=1e-4`` asks for 12 digits in double precision.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    floats = [a.dtype for a in (actual, expected) if np.issubdtype(a.dtype, np.floating)]
    eps = max((np.finfo(dtype).eps for dtype in floats), default=np.finfo(np.float64).eps)
    size = np.max(np.abs(expected), initial=1e-300)
    tolerance = loss * math.sqrt(eps)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * size)


def finite_difference(function, x, step=1e-5):
    """The gradient of a scalar function of a flat NumPy vector by central differences."""
    x = np.asarray(x, dtype=np.float64)
    gradient = np.empty_like(x)
    for i in range(x.size):
        shift = np.zeros_like(x)
        shift[i] = step
        gradient[i] = (float(function(x + shift)) - float(function(x - shift))) / (2 * step)
    return gradient


def gaussian_mean(function, *, breakpoints=()):
    """``E function(G)`` for one standard normal by SciPy's adaptive quadrature."""

    def integrand(g):
        return function(g) * math.exp(-g * g / 2) / math.sqrt(2 * math.pi)

    edges = [-12.0, *sorted(breakpoints), 12.0]
    pieces = [
        integrate.quad(integrand, low, high, epsabs=1e-12, epsrel=1e-11, limit=400)[0]
        for low, high in itertools.pairwise(edges)
    ]
    return math.fsum(pieces)


def numpy_value(activation):
    """The activation in NumPy and SciPy, independent of its Gaussian theory."""
    named = {
        "relu": lambda z: np.maximum(z, 0.0),
        "abs": np.abs,
        "erf": special.erf,
        "tanh": np.tanh,
        "sigmoid": special.expit,
        "softplus": lambda z: np.logaddexp(z, 0.0),
        "gelu": lambda z: z * special.ndtr(z),
        "cos_sin": lambda z: np.cos(z) + np.sin(z),
        "cos": np.cos,
        "sin": np.sin,
        "sine of twice": lambda z: np.sin(2 * z) + 0.3,
        "leaky relu": lambda z: np.where(z > 0, z, 0.2 * z),
    }
    if activation.facts.name in named:
        return named[activation.facts.name]
    terms = [(alpha[0], float(c)) for alpha, c in activation.facts.polynomial.terms.items()]
    return lambda z: sum(c * z**k for k, c in terms)


POLYNOMIALS = {"linear": "x", "cubic": "(1+x)^3", "quartic": "1/2 - x^2 + 1/3*x^4"}


def _sine_derivatives(order):
    cycle = (0, 1, 0, -1)
    return (Fraction(3, 10), *(Fraction(cycle[k % 4] * 2**k) for k in range(1, order + 1)))


SINE_OF_TWICE = FunctionActivation(
    lambda z: jnp.sin(2 * z) + 0.3, Facts("sine of twice", 0, inf, _sine_derivatives, 4.0, True)
)
LEAKY = FunctionActivation(
    lambda z: jnp.where(z > 0, z, 0.2 * z), Facts("leaky relu", inf, 1, None, inf, False)
)
ACTIVATIONS = {
    **BUILT_IN,
    **{name: activation_of(text) for name, text in POLYNOMIALS.items()},
    "sine of twice": SINE_OF_TWICE,
    "leaky relu": LEAKY,
}
KINKED = {"relu", "abs", "leaky relu"}
SMOOTH = [name for name in ACTIVATIONS if name not in KINKED]


ROWS = 12  # points are padded to one shape, which is compiled once for each activation


def padded(points):
    points = np.asarray(points, dtype=np.float64)
    filler = np.ones((ROWS - len(points), *points.shape[1:]))
    return jnp.asarray(np.concatenate([points, filler]))
