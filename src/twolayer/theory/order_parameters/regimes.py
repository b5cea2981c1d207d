"""Which equations of motion hold when width and learning rate grow with the input dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Limit = Literal["gradient flow", "gradient flow and noise", "noise", "none"]


@dataclass(frozen=True)
class ScalingRegime:
    """The limit of one-pass SGD for ``p ~ d^kappa`` neurons and steps ``gamma ~ d^-delta``.

    Attributes
    ----------
    limit
        Which terms survive; ``"none"`` where steps are too large for a deterministic limit.
    step_ratio
        The limit of ``gamma / p`` that `dimensionless_learning` takes: 0, a positive number or
        infinity; NaN without a limit.
    time_exponent
        A step advances time by ``d^-time_exponent``.
    reference
        Where the boundaries stand.
    """

    limit: Limit
    step_ratio: float
    time_exponent: float
    reference: str = "veiga2022phase, as stated in its published code"


def scaling_regime(kappa: float, delta: float, *, step_ratio: float = 1.0) -> ScalingRegime:
    r"""The phase diagram of learning rates: drift of order ``gamma/p``, noise ``(gamma/p)^2``.

    .. math:: \kappa + \delta > 0: \text{drift only}, \quad
              \kappa + \delta = 0: \text{both}, \quad
              -\tfrac{\kappa + 1}{2} < \delta < -\kappa: \text{noise only}

    The boundaries are those of veiga2022phase. That time advances by ``gamma / (p d)`` a step,
    and by ``gamma^2 / (p^2 d)`` where noise dominates, is derived here; at ``kappa = 0`` it gives
    the same boundary.

    Parameters
    ----------
    kappa
        Growth of the width, at least 0.
    delta
        Decay of the learning rate; negative if it grows.
    step_ratio
        ``gamma / p`` on the line where it is constant.

    Raises
    ------
    ValueError
        If an exponent is not finite, `kappa` is negative or `step_ratio` is not positive.

    Examples
    --------
    >>> scaling_regime(0.0, 0.5).limit, scaling_regime(0.0, 0.0).limit
    ('gradient flow', 'gradient flow and noise')
    >>> scaling_regime(0.0, -0.25).limit, scaling_regime(0.0, -0.75).limit
    ('noise', 'none')
    """
    if not (math.isfinite(kappa) and math.isfinite(delta) and kappa >= 0):
        message = "Expected finite exponents, that of the width at least 0. "
        message += f"Received: kappa = {kappa!r}, delta = {delta!r}."
        raise ValueError(message)
    if not 0 < step_ratio < math.inf:
        message = f"Expected a positive ratio of step to width. Received: {step_ratio!r}."
        raise ValueError(message)
    total = kappa + delta
    if total > 0:
        return ScalingRegime("gradient flow", 0.0, 1 + total)
    if total == 0:
        return ScalingRegime("gradient flow and noise", step_ratio, 1.0)
    if delta > -(kappa + 1) / 2:
        return ScalingRegime("noise", math.inf, 1 + 2 * total)
    return ScalingRegime("none", math.nan, math.nan)
