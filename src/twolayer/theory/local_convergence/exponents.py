r"""Sharp exponents of ``|grad L| >= c L^alpha``: a conjecture, with exact constants in cases.

zhou2021local proves alpha = 1 and with it 1/t. Measured and, in the cases below, derived here:
alpha = 3/4 in the worst case (1/t^2), 2/3 along generic flows (1/t^3), 1/2 for as many students
as teachers (exponential). 3/4 is the one exponent for which c has no units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import sine_gap
from twolayer.outcomes import Assumption, Prediction

WORST_EXPONENT = 3 / 4
GENERIC_EXPONENT = 2 / 3
CONJECTURE = Assumption(
    "the exponent holds in a whole neighbourhood of zero loss",
    None,
    detail="conjectured here: searched up to two teachers and four students, not proved",
)


def far_neuron_loss(theta: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
    r"""C in ``L = s^2 C(theta) / 2``: one far neuron of mass s, the rest re-optimised.

    .. math:: C = 1 - \tfrac4{\pi^2} (\sin\theta + (\tfrac\pi2 - \theta) \cos\theta)^2
              - \sin^2\theta (1 - \tfrac{2\theta}\pi)^2

    One teacher, the far neuron at angle theta from it (derived here): C is the part of ``|u.x|``
    that no ``v.x sgn(w*.x)`` can imitate.

    Examples
    --------
    >>> bool(np.isclose(far_neuron_loss(np.pi / 2), 1 - 4 / np.pi**2))
    True
    """
    theta = np.asarray(theta, dtype=np.float64)
    mean, turned = _shadow(theta)
    return 1 - mean**2 - turned**2


def far_neuron_constant(theta: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
    r"""``|grad L| / L^{3/4} = sqrt(4 C^2 + C'^2 / 4) / (C / 2)^{3/4}`` for one far neuron.

    Examples
    --------
    >>> round(float(far_neuron_constant(np.pi / 2)), 5)
    2.95379
    """
    theta = np.asarray(theta, dtype=np.float64)
    mean, turned = _shadow(theta)
    C = 1 - mean**2 - turned**2
    mean_slope = -(2 / np.pi) * (np.pi / 2 - theta) * np.sin(theta)
    turned_slope = np.cos(theta) * (1 - 2 * theta / np.pi) - (2 / np.pi) * np.sin(theta)
    slope = -2 * (mean * mean_slope + turned * turned_slope)
    return np.sqrt(4 * C**2 + slope**2 / 4) / (C / 2) ** 0.75


def worst_far_neuron() -> tuple[float, float]:
    """The angle and the least constant ``|grad L| / L^{3/4}`` of one far neuron.

    Examples
    --------
    >>> [round(value, 4) for value in worst_far_neuron()]
    [0.7344, 2.8315]
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        far_neuron_constant, bounds=(0.1, np.pi / 2), method="bounded", options={"xatol": 1e-10}
    )
    return float(found.x), float(found.fun)  # type: ignore[attr-defined]


def loss_along_exponent(
    times: Sequence[float] | Float[np.ndarray, " t"],
    *,
    exponent: float,
    constant: float,
    initial_loss: float,
) -> Prediction:
    r"""What gradient flow does where ``|grad L| = c L^alpha`` all the way.

    .. math:: L(t) = (L(0)^{1 - 2\alpha} + (2 \alpha - 1) c^2 t)^{-1/(2\alpha - 1)}

    and ``L(0) exp(-c^2 t)`` for alpha = 1/2. An upper bound where ``|grad L| >= c L^alpha``:
    1/t for alpha = 1, ``4 / (c^4 t^2)`` for 3/4, ``27 / (c^6 t^3)`` for 2/3 at late times.

    Parameters
    ----------
    times
        Times since the loss was `initial_loss`.
    exponent
        alpha, at least 1/2.
    constant
        c.
    initial_loss
        ``L(0)``.

    Raises
    ------
    ValueError
        If `exponent` is below 1/2, a constant is not positive, or a time is negative.

    Examples
    --------
    >>> curve = loss_along_exponent([0.0, 1e6], exponent=0.75, constant=2.0, initial_loss=1.0)
    >>> round(float(curve.value[1]) * 1e12, 3)
    0.25
    """
    if not exponent >= 0.5:
        message = f"Expected an exponent of at least 1/2. Received: {exponent!r}."
        raise ValueError(message)
    if not (constant > 0 and initial_loss > 0):
        message = "Expected a positive constant and initial loss. Received: "
        message += f"{constant!r} and {initial_loss!r}."
        raise ValueError(message)
    instants = np.asarray(times, dtype=np.float64)
    if not np.all(instants >= 0):
        message = f"Expected times from 0 on. Received: {times!r}."
        raise ValueError(message)
    power = 2 * exponent - 1
    if power == 0:
        value = initial_loss * np.exp(-(constant**2) * instants)
    else:
        value = (initial_loss**-power + power * constant**2 * instants) ** (-1 / power)
    assumptions = (CONJECTURE,) if exponent < 1 else ()
    return Prediction("loss", instants, value, "upper", "derived here", assumptions)


def _shadow(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``E[|u.x| x sgn(w.x)]`` along w and across it, for unit u at angle theta in [0, pi/2]."""
    mean = np.cos(theta) + (2 / np.pi) * sine_gap(theta)
    return mean, np.sin(theta) * (1 - 2 * theta / np.pi)
