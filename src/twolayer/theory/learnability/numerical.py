"""`certify_function`: the same decisions for a black-box function, in floating point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, pi, sqrt
from typing import Any

import numpy as np

from twolayer.activations.facts import Facts
from twolayer.numerics.rational import RationalPolynomial
from twolayer.theory.learnability import floating
from twolayer.theory.learnability.certificate import Decision, bounded
from twolayer.theory.learnability.floating import FloatFrame, Ranks
from twolayer.theory.learnability.leap import leap
from twolayer.theory.learnability.taylor import TaylorFlow
from twolayer.theory.learnability.verdict import sufficient

MAX_ORDER = 32
ORTHOGONALITY = 1e-8


@dataclass(frozen=True)
class NumericalCertificate:
    """What floating point says about a function, at a stated tolerance.

    Attributes
    ----------
    verdict, reason
        As in `LearnabilityCertificate`; ``"undecided"`` also where a rank was too close to call.
    tolerance
        Singular values relative to ``(E h^2)^(1/2)`` above it count as nonzero.
    close_calls
        The relative singular values within a factor 30 of the tolerance.
    residual
        Size of the part beyond the given degree, relative to ``(E h^2)^(1/2)``: above the
        tolerance, h counts as no polynomial of this degree.
    essential_dim, chain_dims, activation_chain_dims
        Dimensions as in the exact certificate.
    leap, isotropic_leap
        Leap in the given basis and in all.
    initial_loss, loss_floor, activation_loss_floor, expressivity_floor, representability_floor
        Losses as in the exact certificate, as floats.
    condition_holds, orders
        Assumption 4.1 and the orders at which the rank jumps.
    activation
        Its name.
    reflective_basis
        Orthonormal rows: the largest subspace that is reflective for the activation.
    """

    verdict: Decision
    reason: str
    tolerance: float
    close_calls: tuple[float, ...]
    residual: float
    essential_dim: int
    chain_dims: tuple[int, ...]
    activation_chain_dims: tuple[int, ...]
    leap: int
    isotropic_leap: int
    initial_loss: float
    loss_floor: float
    activation_loss_floor: float
    expressivity_floor: float
    representability_floor: float
    condition_holds: bool | None
    orders: tuple[int, ...]
    activation: str
    reflective_basis: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Give plain data with the keys of the exact certificate; exact values are null."""
        holds = self.condition_holds
        losses = {
            name: {"exact": None, "value": getattr(self, name)}
            for name in (
                "initial_loss",
                "loss_floor",
                "activation_loss_floor",
                "expressivity_floor",
                "representability_floor",
            )
        }
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "activation": self.activation,
            "tolerance": self.tolerance,
            "close_calls": list(self.close_calls),
            "residual": self.residual,
            "essential_dim": self.essential_dim,
            "chain_dims": list(self.chain_dims),
            "reflective_dim": self.essential_dim - self.chain_dims[-1],
            "activation_chain_dims": list(self.activation_chain_dims),
            "activation_reflective_dim": self.essential_dim - self.activation_chain_dims[-1],
            "reflective_basis": self.reflective_basis.tolist(),
            "leap": self.leap,
            "merged_staircase": self.leap <= 1,
            "isotropic_leap": self.isotropic_leap,
            "assumption_4_1": {
                "holds": holds,
                "order": (self.orders[-1] if self.orders else 0) if holds else None,
                "orders": list(self.orders),
            },
            "statements": [
                {
                    "name": f"all ranks at relative tolerance {self.tolerance:g}",
                    "holds": not self.close_calls,
                    "reference": "derived here",
                }
            ],
            **losses,
        }


def certify_function(
    h: Callable[[np.ndarray], np.ndarray],
    *,
    dim: int,
    degree: int,
    activation: Any = "cos_sin",
    tolerance: float = 1e-9,
) -> NumericalCertificate:
    """Certify a black-box function numerically (derived here).

    The Hermite components come from Gauss-Hermite quadrature with ``degree + 3`` nodes an axis,
    which is exact for polynomials of this degree and shows what is none; ranks from singular
    values relative to ``(E h^2)^(1/2)``. A singular value within a factor 30 of the tolerance, or
    a function that is no polynomial of this degree, makes the verdict undecided. A property
    that holds only on a set of measure zero (a leap of 2, say) is thereby "decided" up to the
    tolerance only.

    Parameters
    ----------
    h
        Maps points of shape ``[m, dim]`` to values of shape ``[m]``.
    dim, degree
        Number of variables and total degree of h.
    activation
        As for `certify`.
    tolerance
        Relative size from which a singular value counts as nonzero.

    Raises
    ------
    ValueError
        If the quadrature grid would be too large or h returns anything but finite values.

    Examples
    --------
    >>> certify_function(lambda z: z[:, 0] + z[:, 0] * z[:, 1], dim=2, degree=2).orders
    (1, 2)
    """
    from twolayer.theory.learnability.certify import exact_facts

    facts = exact_facts(activation)
    tensors, second_moment, beyond = floating.hermite_tensors(h, dim, degree)
    ranks = Ranks(tolerance, sqrt(second_moment))
    half = floating.squared_norm(tensors) / 2
    residual = sqrt(beyond / second_moment) if second_moment else 0.0
    terms = floating.coefficients(tensors, dim)
    essential = ranks.basis(floating.hidden_rows(terms, 0, dim, 0))
    start = FloatFrame(essential)
    seen = floating.select(tensors, filter(facts.sees, tensors))
    unseen = floating.select(tensors, set(tensors) - set(seen))
    dims, frame = floating.chain(start, tensors, ranks)
    own_dims, own_frame = floating.chain(start, seen, ranks)
    learned = own_frame.basis[: own_frame.learned]
    lost = floating.squared_norm(floating.rotate(unseen, learned))
    holds, orders = _condition(tensors, own_frame, facts, ranks)
    evidence = {
        "tolerance": tolerance,
        "residual": residual,
        "essential_dim": len(essential),
        "chain_dims": tuple(dims),
        "activation_chain_dims": tuple(own_dims),
        "leap": leap(_pattern(terms, ranks)),
        "isotropic_leap": _isotropic_leap(tensors, frame, len(dims) > 1, ranks),
        "initial_loss": half,
        "loss_floor": _floor(tensors, frame),
        "activation_loss_floor": _floor(tensors, own_frame),
        "expressivity_floor": lost / 2,
        "representability_floor": floating.squared_norm(unseen) / 2,
        "condition_holds": holds,
        "orders": orders,
        "activation": facts.name,
        "reflective_basis": own_frame.basis[own_frame.learned :],
    }
    # floors are squares: what is decided is whether the amplitude exceeds the tolerance
    represented = not ranks.significant(floating.squared_norm(unseen))
    floored = own_frame.learned < len(essential) or ranks.significant(lost)
    verdict, reason = _decide(
        evidence, facts, tuple(ranks.close_calls), floored=floored, represented=represented
    )
    return NumericalCertificate(
        verdict=verdict, reason=reason, close_calls=tuple(ranks.close_calls), **evidence
    )


def certify_rotated(
    polynomial: RationalPolynomial, rotation: Sequence[Sequence[float]], *, activation: Any
) -> NumericalCertificate:
    """Certify ``h(O z)`` for a floating point orthogonal matrix.

    Raises
    ------
    ValueError
        If the matrix is not orthogonal to 1e-8 or too small.
    """
    matrix = np.array([[float(entry) for entry in row] for row in rotation])
    size = len(matrix)
    square = matrix.shape == (size, size) and size >= polynomial.dim
    if not square or not np.allclose(matrix @ matrix.T, np.eye(size), rtol=0, atol=ORTHOGONALITY):
        message = (
            f"Expected an orthogonal matrix of size at least {polynomial.dim}: O O^T = I to "
            f"{ORTHOGONALITY:g}."
        )
        raise ValueError(message)
    terms = [(np.array(e), float(value)) for e, value in polynomial.terms.items()]

    def h(z: np.ndarray) -> np.ndarray:
        x = z @ matrix[: polynomial.dim].T
        total = np.zeros(len(z))
        for exponents, value in terms:
            used = np.flatnonzero(exponents)
            total += value * np.prod(x[:, used] ** exponents[used], axis=1)
        return total

    return certify_function(h, dim=size, degree=polynomial.degree, activation=activation)


def _pattern(terms: dict[tuple[int, ...], float], ranks: Ranks) -> RationalPolynomial:
    """Give the polynomial whose terms are those that count as nonzero."""
    dim = len(next(iter(terms)))
    kept = {
        e: Fraction(1)
        for e, value in terms.items()
        if any(e) and ranks.scale and ranks.nonzero(abs(value) / ranks.scale)
    }
    return RationalPolynomial(dim, kept)


def _floor(tensors: dict[int, np.ndarray], frame: FloatFrame) -> float:
    dim = len(frame.basis)
    return floating.hidden_norm(floating.rotate(tensors, frame.basis), frame.learned, dim) / 2


def _isotropic_leap(
    tensors: dict[int, np.ndarray], frame: FloatFrame, moved: bool, ranks: Ranks
) -> int:
    worst, degree = int(moved), 1
    while frame.learned < len(frame.basis) and degree <= max(tensors):
        extended = floating.extend(frame, tensors, degree, ranks)
        if extended is None:
            degree += 1
            continue
        worst, frame, degree = max(worst, degree), extended, 1
    return worst


@dataclass(frozen=True)
class _FloatPolynomial:
    """What `TaylorFlow` needs of a polynomial, with float coefficients."""

    dim: int
    terms: dict[tuple[int, ...], float]

    def parts(self, degrees: Sequence[int]) -> _FloatPolynomial:
        kept = {e: v for e, v in self.terms.items() if sum(e) in degrees}
        return _FloatPolynomial(self.dim, kept)

    def derivative(self, index: int) -> _FloatPolynomial:
        lowered = {
            (*e[:index], e[index] - 1, *e[index + 1 :]): value * e[index]
            for e, value in self.terms.items()
            if e[index]
        }
        return _FloatPolynomial(self.dim, lowered)


def _condition(
    tensors: dict[int, np.ndarray], frame: FloatFrame, facts: Facts, ranks: Ranks
) -> tuple[bool | None, tuple[int, ...]]:
    """Decide Assumption 4.1: by the Taylor series, or by the subspace that holds the flow."""
    dim = len(frame.basis)
    if not facts.differentiable:
        return None, ()
    if dim == 0:
        return True, ()
    reach = frame.learned
    if reach == 0:
        return False, ()
    terms = floating.coefficients(floating.rotate(tensors, frame.basis[:reach]), reach)
    small = ranks.tolerance / floating.MARGIN * ranks.scale
    symbol = {e: value for e, value in terms.items() if abs(value) > small}
    m = _float_derivatives(facts, MAX_ORDER + max(tensors) + 2)
    orders = _float_orders(symbol, reach, m, ranks)
    if len(orders) == reach:
        return reach == dim, orders
    return (None if reach == dim and m[1] else False), orders


def _float_derivatives(facts: Facts, order: int) -> list[float]:
    if facts.derivatives is not None:
        return [float(m) for m in facts.derivatives(order)]
    at = facts.derivatives_at
    kappa = Fraction(1 / sqrt(2 * pi))
    return [float(m) for m in at(order, kappa)] if at else []


def _float_orders(
    symbol: dict[tuple[int, ...], float], dim: int, m: list[float], ranks: Ranks
) -> tuple[int, ...]:
    """Give the rank jumps; each coefficient is judged against a majorant of its rounding error."""
    # the absolute values of all data give a series that dominates every intermediate sum
    size = max(map(abs, symbol.values()), default=1.0)
    scaled = {e: value / size for e, value in symbol.items()}  # rescales time only
    flow = TaylorFlow(_FloatPolynomial(dim, scaled), [1.0] * dim, m, MAX_ORDER)  # type: ignore[arg-type]
    absolute = {e: abs(value) for e, value in scaled.items()}
    majorant = TaylorFlow(
        _FloatPolynomial(dim, absolute),  # type: ignore[arg-type]
        [1.0] * dim,
        [abs(x) for x in m],
        MAX_ORDER,
    )
    basis: list[np.ndarray] = []
    orders: list[int] = []
    while flow.order < MAX_ORDER and len(basis) < dim:
        column = np.array(flow.step(), dtype=float)
        scale = max(float(np.max(np.array(majorant.step(), dtype=float))), 1e-300)
        rest = column / scale
        for vector in basis:
            rest = rest - (rest @ vector) * vector
        length = float(np.linalg.norm(rest))
        if ranks.nonzero(length):
            basis.append(rest / length)
            orders.append(flow.order)
    return tuple(orders)


def _decide(
    evidence: dict[str, Any],
    facts: Facts,
    close_calls: tuple[float, ...],
    *,
    floored: bool,
    represented: bool,
) -> tuple[Decision, str]:
    tolerance, half = evidence["tolerance"], evidence["initial_loss"]
    if half == 0:
        return "learnable", "The target is zero, which the symmetric initial network already is."
    limits = f"in floating point, at relative tolerance {tolerance:g}"
    if evidence["residual"] > tolerance:
        return "undecided", (
            f"The function is no polynomial of the given degree: a part of relative size "
            f"{evidence['residual']:.1e} lies beyond it."
        )
    if close_calls:
        return "undecided", (
            f"A singular value of {close_calls[0]:.1e} is too close to the tolerance "
            f"{tolerance:g} to tell a rank."
        )
    total = evidence["activation_loss_floor"] + evidence["expressivity_floor"]
    if bounded(facts) and floored:
        theorem = "chen2024subspace, Theorem 3.4"
        if total > evidence["loss_floor"] * (1 + 1e-6):
            theorem = f"derived here, from the proof of {theorem}"
        return "not_learnable", (
            f"The loss stays above {total:.6g} within any time that does not grow with the "
            f"dimension ({theorem}), {limits}."
        )
    if not represented:
        return "not_learnable", (
            f"No bias-free network with {facts.name} has a loss below "
            f"{evidence['representability_floor']:.6g} (derived here), {limits}."
        )
    if evidence["condition_holds"] and sufficient(facts):
        return "learnable", (
            f"Assumption 4.1 holds with s = {max(evidence['orders'], default=0)}: Algorithm 1 "
            f"learns it (chen2024subspace, Theorem 4.3), {limits}."
        )
    unbounded = facts.derivative_bound == inf
    why = f"{facts.name} is unbounded" if unbounded else "Assumption 4.1 is not established"
    return "undecided", f"Neither Theorem 3.4 nor 4.3 of chen2024subspace applies: {why}."
