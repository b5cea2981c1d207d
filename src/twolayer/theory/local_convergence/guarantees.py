r"""What zhou2021local proves: the gradient bound, the 1/t rate, and where they begin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from twolayer.outcomes import Assumption, Prediction
from twolayer.theory.local_convergence.configuration import checked_teacher, separation

_THEOREM = "zhou2021local, Theorem 5, with the constants of its proof (derived here)"


def log10_threshold(teacher: Float[np.ndarray, "r d"]) -> float:
    r"""log10 of the loss below which the theorems hold, as the proof of Lemma 8 prints it.

    .. math:: \epsilon_0 = \Delta^{36} w_{\min}^{80} r^{-162} w_{\max}^{-78}

    (zhou2021local, C.1), the hidden constant taken as 1. It is astronomically small (10^-42 for
    two orthogonal teachers, 10^-91 for four), so the theorems hardly apply to a loss that a
    computer can reach, while what they claim is seen at losses of order 1e-2.

    Examples
    --------
    >>> round(log10_threshold(np.eye(2)), 2)
    -41.71
    """
    V = checked_teacher(teacher)
    norms = np.linalg.norm(V, axis=1)
    return float(
        36 * math.log10(separation(V))
        + 80 * math.log10(norms.min())
        - 162 * math.log10(len(V))
        - 78 * math.log10(norms.max())
    )


def gradient_constant(teacher: Float[np.ndarray, "r d"], *, mass: float | None = None) -> float:
    r"""The kappa of ``|grad L| >= kappa L`` (Theorem 4 of zhou2021local).

    .. math:: \kappa = \Bigl(2 \textstyle\sum_j \|w_j\|^2
              + 4 \sum_i \|w^*_i\|\Bigr)^{-1/2} = \Theta(r^{-1/2} w_{\max}^{-1/2})

    follows from Lemma 8 (alignment at least L), from ``|direction|^2 <= 2 sum |w_j|^2 + 2 sum_i
    |w*_i|^2 / m_i`` and from the masses ``m_i >= |w*_i| / 2`` of Lemma 9 (derived here).

    Parameters
    ----------
    teacher
        Teacher neurons.
    mass
        A bound of ``sum_j |w_j|^2``; by default ``sum_i |w*_i|``, its value at zero loss.

    Raises
    ------
    ValueError
        If `mass` is not positive.

    Examples
    --------
    >>> round(gradient_constant(np.eye(2)) ** -2, 9)
    12.0
    """
    total = float(np.sum(np.linalg.norm(checked_teacher(teacher), axis=1)))
    mass = total if mass is None else mass
    if not mass > 0:
        message = f"Expected a positive mass. Received: {mass!r}."
        raise ValueError(message)
    return (2 * mass + 4 * total) ** -0.5


def guaranteed_flow(
    teacher: Float[np.ndarray, "r d"],
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    initial_loss: float,
    mass: float | None = None,
) -> Prediction:
    r"""``L(t) <= 1 / (1 / L(0) + kappa^2 t)`` along gradient flow: the proved 1/t rate.

    Neither kappa nor the rate depends on the number of students. True rates are faster: see
    `loss_along_exponent`.

    Parameters
    ----------
    teacher
        Teacher neurons.
    times
        Times since the loss was `initial_loss`.
    initial_loss
        The loss at time 0.
    mass
        As in `gradient_constant`, for all times.

    Raises
    ------
    ValueError
        If the initial loss is not positive, or a time is negative.

    Examples
    --------
    >>> curve = guaranteed_flow(np.eye(2), times=[0.0, 1200.0], initial_loss=0.01)
    >>> curve.value.round(6).tolist()
    [0.01, 0.005]
    """
    _check_loss(initial_loss)
    instants = _from_0_on("times", times)
    kappa = gradient_constant(teacher, mass=mass)
    return Prediction(
        "loss",
        instants,
        1 / (1 / initial_loss + kappa**2 * instants),
        "upper",
        _THEOREM,
        (below_threshold(teacher, initial_loss),),
    )


def guaranteed_descent(
    teacher: Float[np.ndarray, "r d"],
    *,
    steps: Sequence[int] | Float[np.ndarray, " t"],
    step_size: float,
    initial_loss: float,
) -> Prediction:
    r"""``L(W(t)) <= min(4 / (t eta kappa^2), L(W(0)))`` for gradient descent (Theorem 5, D.3).

    Parameters
    ----------
    teacher
        Teacher neurons.
    steps
        Numbers of steps.
    step_size
        eta.
    initial_loss
        The loss at the start.

    Raises
    ------
    ValueError
        If the initial loss or the step size is not positive, or a number of steps negative.

    Examples
    --------
    >>> curve = guaranteed_descent(np.eye(2), steps=[0, 96000], step_size=0.1, initial_loss=0.01)
    >>> curve.value.round(6).tolist()
    [0.01, 0.005]
    """
    _check_loss(initial_loss)
    if not 0 < step_size < math.inf:
        message = f"Expected a positive step size. Received: {step_size!r}."
        raise ValueError(message)
    numbers = _from_0_on("steps", steps)
    rate = step_size * gradient_constant(teacher) ** 2 / 4
    largest = float(np.max(np.linalg.norm(checked_teacher(teacher), axis=1))) * len(teacher)
    small = Assumption(
        "step size at most of order 1 / (r w_max)",
        step_size * largest <= 1,
        1 / largest - step_size,
        "the hidden constant taken as 1",
    )
    return Prediction(
        "loss",
        numbers,
        np.minimum(initial_loss, 1 / np.maximum(rate * numbers, 1e-300)),
        "upper",
        _THEOREM,
        (below_threshold(teacher, initial_loss), small),
        grid_name="step",
    )


def sufficient_steps(teacher: Float[np.ndarray, "r d"], *, loss: float, step_size: float) -> float:
    r"""``T = 4 / (L eta kappa^2)``: after so many steps gradient descent is below the loss L.

    Theorem 5 of zhou2021local, ``O(r w_max / (L eta))``, with the kappa of `gradient_constant`.

    Raises
    ------
    ValueError
        If the loss or the step size is not positive.

    Examples
    --------
    >>> round(sufficient_steps(np.eye(2), loss=0.01, step_size=0.1))
    48000
    """
    _check_loss(loss)
    if not 0 < step_size < math.inf:
        message = f"Expected a positive step size. Received: {step_size!r}."
        raise ValueError(message)
    return 4 / (loss * step_size * gradient_constant(teacher) ** 2)


def _check_loss(value: float) -> None:
    if not 0 < value < math.inf:
        message = f"Expected a positive loss. Received: {value!r}."
        raise ValueError(message)


def _from_0_on(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.all(numbers >= 0):
        message = f"Expected {name} from 0 on. Received: {values!r}."
        raise ValueError(message)
    return numbers


def below_threshold(
    teacher: Float[np.ndarray, "r d"], value: float, name: str = "initial loss"
) -> Assumption:
    """Whether a loss is below the eps_0 of `log10_threshold`.

    Examples
    --------
    >>> below_threshold(np.eye(2), 1e-2).holds, below_threshold(np.eye(2), 0.0).holds
    (False, True)
    """
    margin = log10_threshold(teacher) - math.log10(value) if value > 0 else math.inf
    return Assumption(
        f"{name} below eps_0",
        margin >= 0,
        margin,
        "margin in decades; eps_0 as printed in the proof, its hidden constant taken as 1",
    )
