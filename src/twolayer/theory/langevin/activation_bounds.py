"""How large an activation, its slope and its curvature can get, and what it does at infinity."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twolayer.activations.facts import Facts
from twolayer.activations.functions import Activation


@dataclass(frozen=True)
class ActivationBounds:
    """Bounds of an activation ``s`` over the whole line; infinite where there is none.

    Attributes
    ----------
    low, high
        Infimum and supremum of s.
    slope, curvature
        Bounds of ``|s'|`` and ``|s''|``.
    limits
        ``s(-infinity)`` and ``s(infinity)`` of a monotone s that has them and whose slope falls
        off in ``|z|``.
    asymptotic_slopes
        ``(l, r)`` where ``s(z) - l z`` is bounded on the left and ``s(z) - r z`` on the right.
    offset
        A bound of ``|s(z) - l z|`` on the left and of ``|s(z) - r z|`` on the right; 0 where s is
        homogeneous.
    """

    low: float
    high: float
    slope: float
    curvature: float
    limits: tuple[float, float] | None = None
    asymptotic_slopes: tuple[float, float] | None = None
    offset: float = math.inf

    @property
    def absolute(self) -> float:
        """A bound of ``|s|``."""
        return max(abs(self.low), abs(self.high))

    @property
    def bounded(self) -> bool:
        """Whether s is bounded."""
        return math.isfinite(self.absolute)

    @property
    def homogeneous(self) -> bool:
        """Whether s equals l z on the left and r z on the right."""
        return self.offset == 0


_INF = math.inf
_FLAT = (0.0, 0.0)
_ROOT = math.sqrt(2)
_DENSITY = 1 / math.sqrt(2 * math.pi)
_NORMAL_AT_ROOT_TWO = math.erfc(-1) / 2
_BOUNDS = {
    "tanh": ActivationBounds(-1, 1, 1, 4 / (3 * math.sqrt(3)), (-1.0, 1.0), _FLAT, 1.0),
    "erf": ActivationBounds(
        -1, 1, 2 / math.sqrt(math.pi), math.sqrt(8 / (math.e * math.pi)), (-1.0, 1.0), _FLAT, 1.0
    ),
    "sigmoid": ActivationBounds(0, 1, 1 / 4, 1 / (6 * math.sqrt(3)), (0.0, 1.0), _FLAT, 1.0),
    "sin": ActivationBounds(-1, 1, 1, 1, None, _FLAT, 1.0),
    "cos": ActivationBounds(-1, 1, 1, 1, None, _FLAT, 1.0),
    "cos_sin": ActivationBounds(-_ROOT, _ROOT, _ROOT, _ROOT, None, _FLAT, _ROOT),
    "softplus": ActivationBounds(0, _INF, 1, 1 / 4, None, (0.0, 1.0), math.log(2)),
    # s' = Phi + z phi is largest at z = sqrt(2), s'' = phi (2 - z^2) at 0; the minimum of s, and
    # with it the distance |z| Phi(-|z|) from relu, is 0.16997
    "gelu": ActivationBounds(
        -0.17, _INF, _NORMAL_AT_ROOT_TWO + _ROOT * _DENSITY / math.e, 2 * _DENSITY,
        None, (0.0, 1.0), 0.17,
    ),
    "relu": ActivationBounds(0, _INF, 1, _INF, None, (0.0, 1.0), 0.0),
    "abs": ActivationBounds(0, _INF, 1, _INF, None, (-1.0, 1.0), 0.0),
}  # fmt: skip


def activation_bounds(activation: Activation | Facts) -> ActivationBounds:
    """What is known of the size of an activation.

    The values of the built-in activations are elementary (derived here) and those of a polynomial
    follow from its degree; any other has the one bound that its facts state, or none.

    Examples
    --------
    >>> from twolayer.activations import tanh, relu
    >>> activation_bounds(tanh).absolute, activation_bounds(relu).bounded
    (1, False)
    """
    facts = activation if isinstance(activation, Facts) else activation.facts
    if facts.name in _BOUNDS:
        return _BOUNDS[facts.name]
    if facts.polynomial is not None and facts.degree <= 1:
        intercept, slope = (float(facts.polynomial.coefficient((k,))) for k in range(2))
        reach = _INF if slope else 0.0
        return ActivationBounds(
            intercept - reach, intercept + reach, abs(slope), 0.0, None, (slope, slope),
            abs(intercept),
        )  # fmt: skip
    bound = facts.derivative_bound
    flat = _FLAT if math.isfinite(bound) else None
    return ActivationBounds(-bound, bound, bound, bound, None, flat, bound)
