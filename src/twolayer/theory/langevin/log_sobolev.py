r"""Constants of logarithmic Sobolev inequalities, in one convention.

.. math:: KL(\nu \,|\, \pi) \le \frac{1}{2 \rho} I(\nu \,|\, \pi)
          \quad \text{for all } \nu, \qquad I = \int |\nabla \log \tfrac{d\nu}{d\pi}|^2 d\nu

A larger rho is better; ``N(0, s^2)`` has ``rho = 1 / s^2``. The free energy decays at the rate
``2 tau rho`` while ``rho`` holds for the proximal Gibbs law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from twolayer.free_energy import FreeEnergy
from twolayer.losses import LogisticLoss
from twolayer.outcomes import Assumption, Kind
from twolayer.theory.langevin.normalisability import homogeneous_log_sobolev, normalisability
from twolayer.theory.langevin.proximal_gibbs import (
    FieldBounds,
    ProximalGibbs,
    field_bounds,
    inputs,
    scanned_field_bounds,
)

SHEAR = "derived here, in the spirit of zhang2022meanfield"


@dataclass(frozen=True)
class LogSobolevBound:
    """A bound of a log-Sobolev constant.

    Attributes
    ----------
    name
        By which argument.
    value
        The constant rho; 0 where the argument says nothing.
    kind
        ``"lower"`` for what may be relied on, ``"upper"`` for what no constant exceeds.
    reference
        Whose argument it is.
    assumptions
        What it rests on, each checked.
    """

    name: str
    value: float
    kind: Kind
    reference: str
    assumptions: tuple[Assumption, ...] = ()

    @property
    def vacuous(self) -> bool:
        """Whether a lower bound says nothing, because it is 0 or an assumption fails."""
        return self.value <= 0 or any(a.holds is False for a in self.assumptions)


def holley_stroock(constant: float, oscillation: float) -> float:
    """``rho exp(-osc)``: the constant of a law tilted by ``exp(psi)``, ``osc = sup psi - inf psi``.

    The lemma of Holley and Stroock, with the exponent 1 that holds in this convention.

    Examples
    --------
    >>> holley_stroock(5.0, 0.0)
    5.0
    """
    return constant * math.exp(-oscillation)


def shear(output: float, inputs: float, slope: float) -> float:
    r"""The constant of ``(a, w)`` where ``a = c - m(w)`` with c and w independent.

    .. math:: \frac1\rho = \lambda_{\max} \begin{pmatrix}
              1/\rho_c + s^2/\rho_w & -s/\rho_w \\ -s/\rho_w & 1/\rho_w \end{pmatrix}

    The product of the laws of c and w has such an inequality with each constant along its own
    parameters, and the shear ``(c, w) -> (c - m(w), w)`` moves it over (derived here). It is how
    an unbounded output weight is dealt with: under the proximal Gibbs law ``m = g / la``.

    Parameters
    ----------
    output
        The constant rho_c of c.
    inputs
        The constant rho_w of w.
    slope
        A Lipschitz constant s of m.

    Examples
    --------
    >>> round(shear(3.0, 5.0, 0.0), 12)
    3.0
    """
    if output <= 0 or inputs <= 0 or math.isinf(slope):
        return 0.0
    # the eigenvalue in units of 1 / rho_w; its discriminant without cancellation
    ratio, square = inputs / output, slope**2
    discriminant = (ratio - 1 + square) ** 2 + 4 * square
    return 2 * inputs / (ratio + 1 + square + math.sqrt(discriminant))


def shear_constant(
    problem: FreeEnergy, bounds: FieldBounds, *, input_constant: float | None = None
) -> float:
    r"""A log-Sobolev constant of the proximal Gibbs law of trained, unbounded output weights.

    `shear` with ``rho_c = la / tau`` and ``s = G / la``, where unless it is given

    .. math:: \rho_w = \frac{\lambda_w}{\tau}
              \exp\Bigl(-\frac{\sup |g|^2 - \inf |g|^2}{2 \lambda_a \tau}\Bigr)

    by Holley and Stroock. No bound of ``a g(w)`` is needed (derived here, in the spirit of
    zhang2022meanfield). 0 where a bound of g is infinite.

    Parameters
    ----------
    problem
        With a free output weight.
    bounds
        Those of the field g.
    input_constant
        A better constant of the law of w.

    Raises
    ------
    ValueError
        If the output weight is not free.
    """
    if problem.output != "free":
        message = f"Expected a free output weight. Received: {problem.output!r}; "
        message += "use gibbs_constant, which knows the others too."
        raise ValueError(message)
    la, lw, tau = _numbers(problem)
    if not math.isfinite(bounds.lipschitz):
        return 0.0
    if input_constant is None:
        oscillation = bounds.oscillation_of_square
        if not math.isfinite(oscillation):
            return 0.0
        input_constant = holley_stroock(lw / tau, oscillation / (2 * la * tau))
    return shear(la / tau, input_constant, bounds.lipschitz / la)


def gibbs_constant(problem: FreeEnergy, bounds: FieldBounds) -> float:
    r"""A log-Sobolev constant of the proximal Gibbs law in closed form, from bounds of g alone.

    Free output weights: `shear_constant`. Fixed and clipped ones: Holley and Stroock on all
    parameters, with the oscillations ``b (sup g - inf g) / tau`` and ``2 b M / tau``.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> from twolayer.theory.langevin.proximal_gibbs import field_bounds
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1)
    >>> bounds = field_bounds(ProximalGibbs(problem, np.array([0.0])))
    >>> gibbs_constant(problem, bounds)
    5.0
    """
    if problem.output == "free":
        return shear_constant(problem, bounds)
    la, lw, tau = _numbers(problem)
    bound = float(problem.bound)
    if problem.output == "fixed":
        oscillation = bound * float(np.sum(bounds.high - bounds.low))
        return holley_stroock(lw / tau, oscillation / tau)
    # sum over outputs of bound * tanh(a_k) g_k(w), between -b and b times the sum of |g_k|
    largest = float(np.sum(np.maximum(np.abs(bounds.low), np.abs(bounds.high))))
    return holley_stroock(min(la, lw) / tau, 2 * bound * largest / tau)


def gibbs_log_sobolev(
    gibbs: ProximalGibbs, *, bounds: Literal["closed", "scanned"] = "closed"
) -> LogSobolevBound:
    """The best constant of a proximal Gibbs law that closed forms give; 0 where they give none.

    `gibbs_constant`, or that of `bakry_emery` where it is better; for a homogeneous activation of
    one input (relu), `shear` with `homogeneous_log_sobolev`, which is there only once the law
    exists.

    Parameters
    ----------
    gibbs
        The law.
    bounds
        ``"scanned"``: bounds of g from its values on a grid, with a rigorous allowance for what
        lies between; sharper, for one input weight and a bounded monotone activation.

    Raises
    ------
    ValueError
        If bounds is neither of the two.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> problem = FreeEnergy([[1.0]], [1.0], relu, 0.5, 0.5, 0.1)
    >>> early, late = (gibbs_log_sobolev(ProximalGibbs(problem, r)) for r in np.array([[-1], [0]]))
    >>> early.vacuous, late.value
    (True, 5.0)
    """
    if bounds not in {"closed", "scanned"}:
        message = f"Expected bounds to be 'closed' or 'scanned'. Received: {bounds!r}."
        raise ValueError(message)
    problem = gibbs.problem
    exists = normalisability(gibbs)
    field = scanned_field_bounds(gibbs) if bounds == "scanned" else field_bounds(gibbs)
    value, reference, name = gibbs_constant(problem, field), SHEAR, "shear, Holley-Stroock"
    if problem.output != "free":
        name, reference = "Holley-Stroock", "Holley and Stroock; the oscillation derived here"
    if problem.output == "fixed":
        curved = bakry_emery(gibbs)
        if curved.value > value:
            value, name, reference = curved.value, curved.name, curved.reference
    elif problem.output == "free" and problem.dim == 1 and gibbs.bounds.homogeneous:
        name = "shear, Bakry-Emery"
        stiffness = max(homogeneous_log_sobolev(gibbs), 0.0)
        la, _, tau = _numbers(problem)
        value = shear(la / tau, stiffness, field.lipschitz / la)
    return LogSobolevBound(name, value, "lower", reference, (exists,))


def bakry_emery(gibbs: ProximalGibbs) -> LogSobolevBound:
    r"""The least curvature of the potential over the temperature, where output weights are fixed.

    .. math:: \rho \ge \frac1\tau \Bigl(\lambda_w - b \sup|s''|\,
              \bigl\| \tfrac1n \textstyle\sum_i |r_i|\, x_i x_i^T \bigr\|\Bigr)

    The criterion of Bakry and Emery, with this bound of the Hessian derived here. It holds for
    fixed output weights only: the Hessian of ``a g(w)`` is unbounded in a.

    Raises
    ------
    ValueError
        If the output weight is not fixed.
    """
    problem = gibbs.problem
    if problem.output != "fixed":
        message = f"Expected a fixed output weight. Received: {problem.output!r}: the curvature "
        message += "of the potential is then unbounded below, or not covered here."
        raise ValueError(message)
    _, lw, tau = _numbers(problem)
    x, sizes = inputs(problem), np.abs(gibbs.slopes[:, 0])
    norm = float(np.linalg.norm((x.T * sizes) @ x, 2)) / len(x)
    bend = float(problem.bound) * gibbs.bounds.curvature * norm if norm else 0.0
    convexity = lw - bend
    return LogSobolevBound(
        "Bakry-Emery",
        max(convexity, 0.0) / tau,
        "lower",
        "Bakry and Emery; the bound of the Hessian derived here",
        (
            Assumption(
                "potential strictly convex",
                convexity > 0,
                convexity,
                "least curvature of V, which weight decay must win",
            ),
        ),
    )


def published_constants(problem: FreeEnergy, *, slope: float) -> tuple[LogSobolevBound, ...]:
    r"""Uniform constants of the literature in our units, to compare with; often vanishing.

    With C a bound of ``|l'|`` and B one of the network's features (``b sup|s|`` if fixed):

    * fixed output weights, nitanda2022convex: ``alpha = 2 l / (t exp(4 C B / t))`` for the
      regulariser ``l |w|^2`` and temperature t; here ``t = tau`` and ``l = lw / 2``;
    * the law of w once a is minimised out, takakura2024meanfield, Lemma 3.5:
      ``alpha = lw exp(-2 la C^2 / (t la)^2)`` for the regulariser scaled by t and ``|s| <= 1``;
      here ``(lw / tau) exp(-2 (C sup|s|)^2 / (la tau))``. It is not a constant of the joint law.

    Both have four times the largest perturbation in the exponent, where its oscillation, at most
    twice, would do.

    Parameters
    ----------
    problem
        The problem.
    slope
        The bound C; for a loss that is Lipschitz, its constant.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> problem = FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.5, output="fixed")
    >>> round(published_constants(problem, slope=1.0)[0].value, 9)
    0.000335463
    """
    la, lw, tau = _numbers(problem)
    largest = ProximalGibbs(problem, np.zeros(problem.y.shape)).bounds.absolute
    lipschitz = Assumption(
        "slopes of the loss bounded by the given constant",
        (isinstance(problem.loss, LogisticLoss) and slope >= 1) or None,
        slope,
        "the logistic loss is 1-Lipschitz; for the square loss it has to be known otherwise",
    )
    bounded = Assumption("bounded activation", math.isfinite(largest), None)
    assumptions = (lipschitz, bounded)
    if problem.output == "fixed":
        exponent = 4 * slope * float(problem.bound) * largest / tau
        name, reference = "uniform, fixed output", "nitanda2022convex"
    elif problem.output == "free":
        exponent = 2 * (slope * largest) ** 2 / (la * tau)
        name, reference = "uniform, law of w", "takakura2024meanfield, Lemma 3.5"
    else:
        exponent = 4 * slope * float(problem.bound) * largest / tau
        lw = min(la, lw)
        name, reference = "uniform, clipped output", "the same argument as nitanda2022convex"
    value = holley_stroock(lw / tau, exponent)
    return (LogSobolevBound(name, value, "lower", reference, assumptions),)


def _numbers(problem: FreeEnergy) -> tuple[float, float, float]:
    return float(problem.output_decay), float(problem.input_decay), float(problem.temperature)
