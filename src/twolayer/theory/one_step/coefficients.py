r"""The few Gaussian expectations of an activation or a link that error curves depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twolayer.activations import Activation, FunctionActivation, activation_of
from twolayer.numerics.hermite import hermite_values
from twolayer.numerics.precision import in_float64
from twolayer.numerics.quadrature import Rule, gauss_legendre

_REACH = 12.0  # the Gaussian mass outside is 4e-33
_PANEL = 0.25
_PANEL_NODES = 16


@dataclass(frozen=True)
class Coefficients:
    r"""What an activation or a link looks like to a Gaussian, ``z ~ N(0, 1)``.

    Attributes
    ----------
    mean
        ``E s(z)``: mu_0 of an activation, t_0 of a link. Exactly 0 where it is only rounding.
    slope
        ``E z s(z)``: mu_1, t_1; the same.
    second_moment
        ``E s(z)^2``: t_2.
    rest
        ``E (s(z) - mean - slope z)^2``: mu_*^2, the variance of the noise that stands for what
        is not linear.
    spread
        ``(E s(z) He_2(z))^2 / 2``: d times the variance of ``E s(|w| z)`` over rows
        ``w ~ N(0, I_d / d)``, whose squared length has variance 2 / d; 0 for unit rows.
    """

    mean: float
    slope: float
    second_moment: float
    rest: float
    spread: float


@dataclass(frozen=True)
class UnitRows:
    """An activation on first-layer weights with rows of length 1 in place of N(0, I_d / d).

    The length of a Gaussian row, 1 up to ``1 / sqrt(d)``, shifts the mean of its feature. Where
    the activation has no mean but a second Hermite coefficient, these shifts let the network fit
    part of a constant, however large d is (derived here). With unit rows it cannot.

    Attributes
    ----------
    activation
        The activation or its name.
    """

    activation: str | Activation


def coefficients(activation: str | Activation | UnitRows) -> Coefficients:
    """The coefficients of an activation (mu_0, mu_1, mu_*^2) or of a link (t_0, t_1, t_2).

    By quadrature on panels of 1/4, so to rounding for what is smooth apart from kinks at
    multiples of 1/4, and to about 1e-5 with kinks elsewhere.

    Examples
    --------
    >>> relu = coefficients("relu")
    >>> round(relu.mean * (2 * np.pi) ** 0.5, 12), round(relu.slope, 12)
    (1.0, 0.5)
    >>> round(relu.rest - (1 / 4 - 1 / (2 * np.pi)), 12)
    0.0
    """
    z, weights = gaussian_rule()
    values = values_of(bare(activation), z)
    second_moment = float(weights @ values**2)
    rounding = 1e-12 * math.sqrt(second_moment)
    mean, slope, curvature = (
        moment if abs(moment) > rounding else 0.0
        for moment in (float((weights * he) @ values) for he in (np.ones_like(z), z, z**2 - 1))
    )
    # not E s^2 - mu_0^2 - mu_1^2, which cancels for an almost linear activation
    rest = float(weights @ (values - mean - slope * z) ** 2)
    spread = 0.0 if isinstance(activation, UnitRows) else curvature**2 / 2
    return Coefficients(mean, slope, second_moment, rest, spread)


def bare(activation: str | Activation | UnitRows) -> Activation:
    """The activation itself.

    Examples
    --------
    >>> bare(UnitRows("tanh")).facts.name
    'tanh'
    """
    return activation_of(activation.activation if isinstance(activation, UnitRows) else activation)


def hermite_means(activation: str | Activation | UnitRows, degree: int) -> Float[np.ndarray, " k"]:
    r"""``E s(z) He_j(z)`` for j = 0, ..., degree, with the probabilists' He_j NOT normalised.

    Exactly 0 where it is only rounding.

    Examples
    --------
    >>> hermite_means("x^3", 3)
    array([0., 3., 0., 6.])
    """
    z, weights = gaussian_rule()
    values = values_of(bare(activation), z)
    means = (weights * values) @ hermite_values(z, degree)
    means[np.abs(means) <= 1e-12 * math.sqrt(weights @ values**2)] = 0.0
    return means * np.sqrt([float(math.factorial(j)) for j in range(degree + 1)])


def centred(activation: str | Activation) -> FunctionActivation:
    """The activation minus its Gaussian mean.

    Examples
    --------
    >>> centred("relu").facts.name, coefficients(centred("relu")).mean
    ('centred relu', 0.0)
    """
    inner = activation_of(activation)
    mean = coefficients(inner).mean
    facts = replace(
        inner.facts,
        name=f"centred {inner.facts.name}",
        even_degree=max(inner.facts.even_degree, 0),
        derivative_bound=inner.facts.derivative_bound + abs(mean),
        polynomial=None,
    )

    def function(z):
        return inner(z) - jnp.asarray(mean, z.dtype)

    return FunctionActivation(function=function, facts=facts)


@cache
def gaussian_rule() -> Rule:
    """Nodes and weights for ``E g(z)``, ``z ~ N(0, 1)``, with g smooth on panels of 1/4.

    Examples
    --------
    >>> nodes, weights = gaussian_rule()
    >>> round(float(weights @ np.abs(nodes - 1)), 12), round(float(weights @ nodes**4), 12)
    (1.166630941175, 3.0)
    """
    local, inside = gauss_legendre(_PANEL_NODES, 0.0, _PANEL)
    starts = np.arange(-_REACH, _REACH, _PANEL)
    nodes = (starts[:, None] + local).ravel()
    density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    weights = np.tile(inside, starts.size) * density
    for array in (nodes, weights):
        array.setflags(write=False)
    return nodes, weights


@in_float64
def values_of(activation: str | Activation, z: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The activation at NumPy points, in double precision.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> values_of("relu", np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    function = activation_of(activation)
    values = np.asarray(function(jnp.asarray(z)), dtype=np.float64)
    if values.shape != np.shape(z) or not np.all(np.isfinite(values)):
        message = (
            f"Expected an activation with a finite value at each point. Received: "
            f"{function.facts.name!r}, which has {np.sum(~np.isfinite(values))} others."
        )
        raise ValueError(message)
    return values
