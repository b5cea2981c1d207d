"""Comparisons with reasoned tolerances, and the catalogues that contract tests run over."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate

from twolayer.activations.catalogue import ACTIVATIONS as BUILT_IN
from twolayer.activations.catalogue import activation_of
from twolayer.activations.functions import FunctionActivation


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
        integrate.quad(integrand, low, high, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    return math.fsum(pieces)


def numpy_value(activation):
    """The activation as a function of one Python float, independent of its Gaussian theory."""
    name = activation.facts.name
    special = {
        "relu": lambda z: max(z, 0.0),
        "abs": abs,
        "erf": math.erf,
        "tanh": math.tanh,
        "sigmoid": lambda z: 0.5 * (1.0 + math.tanh(z / 2)),
        "softplus": lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(z))),
        "gelu": lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2)),
        "cos_sin": lambda z: math.cos(z) + math.sin(z),
        "cos": math.cos,
        "sin": math.sin,
    }
    if name in special:
        return special[name]
    if name == "sine of twice":
        return lambda z: math.sin(2 * z) + 0.3
    return lambda z: float(activation(jnp.asarray(z, float)))


KINKED = {"relu", "abs"}
POLYNOMIALS = {"linear": "x", "cubic": "(1+x)^3", "quartic": "1/2 - x^2 + 1/3*x^4"}
