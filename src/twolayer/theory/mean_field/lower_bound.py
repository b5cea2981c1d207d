"""Theorem 3.4 of chen2024subspace with its constants: how long a reflective target resists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from twolayer.activations.facts import Facts, facts_of
from twolayer.outcomes import Assumption, Prediction
from twolayer.theory.learnability import LearnabilityCertificate, certify

REFERENCE = "chen2024subspace, Theorem 3.4 with the constants of Lemmas A.1, A.2 and Corollary A.3"
# the theorem asks for (3.1), its proof for (3.5) only
DERIVED = f"derived here with (3.5), from the proof of {REFERENCE}"


@dataclass(frozen=True)
class LossLowerBound:
    """What Theorem 3.4 guarantees on ``[0, T]`` for each horizon T.

    Attributes
    ----------
    loss
        ``inf_{t <= T} E(rho_t)`` is at least this, over T; 0 where the bound is vacuous.
    floor
        Its limit for large d, ``1/2 E |h* - E[h* | z_W]|^2`` with W the complement of S.
    log10_dim
        log10 of the dimension d(T) from which on the bound is at least half the floor;
        infinite for a target without a reflective subspace.
    """

    loss: Prediction
    floor: float
    log10_dim: Float[np.ndarray, " t"]


def loss_lower_bound(
    task: object,
    *,
    activation: object,
    times: Sequence[float] | Float[np.ndarray, " t"],
    dim: float,
    schedule_bound: float = 1.0,
    weight_bound: float = 1.0,
) -> LossLowerBound:
    r"""No mean-field training gets below this within time T, whatever its learning rates.

    .. math:: \inf_{t \le T} E(\rho_t) \ge
              \tfrac12 E|h^* - h^*_{S^\perp}|^2 - \sqrt{r C_s H^2 / d} - r C_s / (2 d),
              \qquad r = \dim S,\ H^2 = E (h^*)^2

    chen2024subspace, Theorem 3.4, for the largest subspace S with property (3.5), which is all
    that its proof uses (derived here). It is a bound at fixed T: C_s grows like exp(T^3), so at
    practical d it says nothing beyond T of about 1, and a reflective target is learned later.

    Parameters
    ----------
    task
        A polynomial, its text, or a regression task on one.
    activation
        The activation or its name; its bound is that of its values and first two derivatives.
    times
        Horizons T.
    dim
        The input dimension d.
    schedule_bound
        Bound K_xi of the learning rates ``xi_a, xi_w``.
    weight_bound
        Bound K_rho of the initial output weights.

    Raises
    ------
    ValueError
        If `dim` is below 1.

    Examples
    --------
    >>> bound = loss_lower_bound("z1*z2", activation="cos_sin", times=[0.1], dim=1e9)
    >>> bool(0.49 < bound.loss.value[0] < bound.floor == 0.5)
    True
    """
    if not dim >= 1:
        message = f"Expected a dimension of at least 1. Received: {dim!r}."
        raise ValueError(message)
    facts = getattr(activation, "facts", activation)
    facts = facts if isinstance(facts, Facts) else facts_of(str(facts))
    certificate = cast(
        LearnabilityCertificate, certify(getattr(task, "target", task), activation=facts)
    )
    floor = float(certificate.activation_loss_floor)
    rank = certificate.activation_chain.reflective_dim
    norm = math.sqrt(2 * float(certificate.initial_loss))
    horizons = np.asarray(times, dtype=np.float64)
    log10_stability = np.asarray([
        log10_stability_constant(T, norm, facts.derivative_bound, schedule_bound, weight_bound)
        for T in horizons
    ])
    raw = floor - _slack(log10_stability, rank, norm, math.log10(dim))
    log10_dim = _sufficient_dim(log10_stability, rank, norm, floor)
    prediction = Prediction(
        "loss",
        horizons,
        np.maximum(raw, 0.0),
        "lower",
        REFERENCE
        if certificate.activation_loss_floor == certificate.network_loss_floor
        else DERIVED,
        _assumptions(facts, rank, log10_dim, dim),
        grid_name="horizon",
    )
    return LossLowerBound(prediction, floor, log10_dim)


def log10_stability_constant(
    horizon: float,
    norm: float,
    activation_bound: float,
    schedule_bound: float = 1.0,
    weight_bound: float = 1.0,
) -> float:
    """log10 of the constant ``C_s = C_f exp(C_Delta T)`` of the stability Theorem 3.6.

    chen2024subspace, Lemmas A.1 and A.2, Corollary A.3, with ``H = norm``:
    ``A = K_rho + K_xi K_s H T`` bounds the output weights, ``C_f = K_s^2 + K_s^2 A^2``.

    Examples
    --------
    >>> round(log10_stability_constant(1.0, 1.0, 1.0), 2)
    13.67
    """
    sigma, xi = activation_bound, schedule_bound
    if not math.isfinite(sigma):
        return math.inf
    a = weight_bound + xi * sigma * norm * horizon
    c_f = sigma**2 + sigma**2 * a**2
    c_delta = (
        1
        + 2 * xi**2 * sigma**2 * c_f
        + 2 * xi**2 * sigma**2 * norm**2
        + xi * sigma * norm
        + 2 * xi * sigma * a * math.sqrt(c_f)
        + 2 * math.sqrt(3) * xi * sigma * a * norm
    )
    return math.log10(c_f) + c_delta * horizon / math.log(10) if c_f else -math.inf


def _slack(log10_stability: np.ndarray, rank: int, norm: float, log10_dim: float) -> np.ndarray:
    """``sqrt(r C_s H^2 / d) + r C_s / (2 d)``, infinite where it leaves the floats."""
    if rank == 0:
        return np.zeros_like(log10_stability)
    share = math.log10(rank) + log10_stability - log10_dim
    ratio = 10.0 ** np.minimum(share, 300.0)
    return np.where(share < 300.0, np.sqrt(ratio) * norm + ratio / 2, np.inf)


def _sufficient_dim(
    log10_stability: np.ndarray, rank: int, norm: float, floor: float
) -> np.ndarray:
    """log10 of ``d(T) = r C_s / (sqrt(H^2 + floor) - H)^2`` (derived here)."""
    if rank == 0 or floor == 0:
        return np.full_like(log10_stability, np.inf)
    margin = floor / (math.sqrt(norm**2 + floor) + norm)
    return math.log10(rank) + log10_stability - 2 * math.log10(margin)


def _assumptions(
    facts: Facts, rank: int, log10_dim: np.ndarray, dim: float
) -> tuple[Assumption, ...]:
    worst = float(np.max(log10_dim, initial=-np.inf))
    return (
        Assumption(
            "activation bounded with two bounded derivatives, Assumption 3.1(i)",
            math.isfinite(facts.derivative_bound),
            None if math.isfinite(facts.derivative_bound) else -math.inf,
            f"the bound K_s is {facts.derivative_bound:.4g}",
        ),
        Assumption(
            "reflective subspace, condition (3.5)",
            rank > 0,
            float(rank),
            "margin: its dimension; without one the theorem says nothing",
        ),
        Assumption(
            "symmetric bounded output weights and w ~ N(0, I_d / d), infinite width",
            None,
            detail="about the training run, as are learning rates below their bound",
        ),
        Assumption(
            "bound not vacuous: at least half the floor",
            bool(worst <= math.log10(dim)),
            math.log10(dim) - worst,
            f"needs d from 10^{worst:.2f} on; margin in decades of d",
        ),
    )
