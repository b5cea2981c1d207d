"""What a certificate says, as frozen data, and its JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import comb
from typing import Any, Literal

from twolayer.activations.facts import Facts
from twolayer.numerics.rational import RationalPolynomial
from twolayer.outcomes import Assumption
from twolayer.theory.learnability.chain import Basis, Chain
from twolayer.theory.learnability.condition import TaylorCondition
from twolayer.theory.learnability.leap import Flag

MAX_PRINTED_BITS = 14_000
Decision = Literal["learnable", "not_learnable", "undecided"]


@dataclass(frozen=True)
class Statement:
    """One thing that was decided.

    Attributes
    ----------
    name
        The statement in words.
    holds
        ``None`` where undecided.
    reference
        Bib key and theorem, or ``"derived here"``.
    """

    name: str
    holds: bool | None
    reference: str


@dataclass(frozen=True)
class LearnabilityCertificate:
    """Whether a two-layer network learns a polynomial of few directions, with the evidence.

    Attributes
    ----------
    verdict
        ``"not_learnable"`` within any time that does not grow with the dimension,
        ``"learnable"`` by Algorithm 1 of chen2024subspace, or ``"undecided"``.
    reason
        Why, in a few sentences.
    target, symbol
        The target h and its Hermite symbol.
    facts
        The activation.
    essential
        Orthogonal basis of the essential subspace V0.
    chain, network_chain, activation_chain
        The chains of the reflective property in its forms (3.2), (3.1) and (3.5).
    leap, flag, information_exponent
        Leap in the given basis; flag of the isotropic leap; smallest Hermite degree.
    initial_loss
        ``1/2 E h^2``.
    loss_floor, network_loss_floor, activation_loss_floor
        Floors of the largest reflective subspaces of (3.2), (3.1) and (3.5).
    expressivity_floor
        Half the squared norm of what the activation cannot see of the rest (adds to (3.5)'s).
    representability_floor
        The loss of the best network of any width with this activation and without biases.
    condition
        Assumption 4.1.
    statements, assumptions
        What was decided and by which theorem; the theorems' hypotheses.
    """

    verdict: Decision
    reason: str
    target: RationalPolynomial
    symbol: RationalPolynomial
    facts: Facts
    essential: Basis
    chain: Chain
    network_chain: Chain
    activation_chain: Chain
    leap: int
    flag: Flag
    information_exponent: int | None
    initial_loss: Fraction
    loss_floor: Fraction
    network_loss_floor: Fraction
    activation_loss_floor: Fraction
    expressivity_floor: Fraction
    representability_floor: Fraction
    condition: TaylorCondition
    statements: tuple[Statement, ...]
    assumptions: tuple[Assumption, ...]

    @property
    def essential_dim(self) -> int:
        """Number of directions that the target depends on."""
        return len(self.essential)

    @property
    def isotropic_leap(self) -> int:
        """The largest leap over all orthonormal bases; 0 for a constant."""
        return self.flag.isotropic_leap

    @property
    def merged_staircase(self) -> bool:
        """Whether the leap in the given basis is at most one."""
        return self.leap <= 1

    @property
    def total_floor(self) -> Fraction:
        """The floor of condition (3.5) and the expressivity floor together."""
        return self.activation_loss_floor + self.expressivity_floor

    @property
    def floor(self) -> Fraction | None:
        """The loss that the verdict ``"not_learnable"`` proves; ``None`` with other verdicts."""
        if self.verdict != "not_learnable":
            return None
        return self.total_floor if bounded(self.facts) else self.representability_floor

    @property
    def smoothness_derived(self) -> int | None:
        """The order L = n s of Assumption 4.2 that suffices (derived here)."""
        return self.target.degree * self.condition.order if self.condition.order else None

    @property
    def smoothness_paper(self) -> int | None:
        """The paper's order L = 2 s n binom(n + p, p) of Assumption 4.2."""
        n, p = self.target.degree, self.essential_dim
        return 2 * self.condition.order * n * comb(n + p, p) if self.condition.order else None

    def to_json(self) -> dict[str, Any]:
        """Give the certificate as plain data: numbers, strings, lists, dictionaries."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "target": self._target_text(),
            "activation": self.facts.name,
            "degree": self.target.degree,
            "essential_dim": self.essential_dim,
            "essential_basis": _rows(self.essential),
            **_chain_json("", self.chain, self.loss_floor),
            **_chain_json("network_", self.network_chain, self.network_loss_floor),
            **_chain_json("activation_", self.activation_chain, self.activation_loss_floor),
            "expressivity_floor": loss_json(self.expressivity_floor),
            "representability_floor": loss_json(self.representability_floor),
            "floor": None if self.floor is None else loss_json(self.floor),
            "initial_loss": loss_json(self.initial_loss),
            "leap": self.leap,
            "merged_staircase": self.merged_staircase,
            "isotropic_leap": self.isotropic_leap,
            "isotropic_flag": {"dims": list(self.flag.dims), "leaps": list(self.flag.leaps)},
            "information_exponent": self.information_exponent,
            "assumption_4_1": {
                "holds": self.condition.holds,
                "order": self.condition.order,
                "orders": list(self.condition.orders),
            },
            "assumption_4_1_search": {
                "minimal": self.condition.minimal,
                "searched": self.condition.searched,
                "reason": self.condition.reason,
            },
            "smoothness_order": {
                "derived": self.smoothness_derived,
                "paper": self.smoothness_paper,
            },
            "witness": self._witness(),
            "statements": [
                {"name": s.name, "holds": s.holds, "reference": s.reference}
                for s in self.statements
            ],
            "assumptions": [
                {"name": a.name, "holds": a.holds, "margin": a.margin, "detail": a.detail}
                for a in self.assumptions
            ],
        }

    def _target_text(self) -> str | None:
        printable = all(map(_exact_text, self.target.terms.values()))
        return self.target.text() if printable else None

    def _witness(self) -> dict[str, Any] | None:
        if self.verdict == "not_learnable":
            return {"reflective_basis": _rows(self.activation_chain.frame.hidden_basis)}
        if self.condition.holds:
            return {
                "basis": _rows(self.condition.basis),
                "taylor_columns": {
                    str(s): [_exact_text(x) for x in self.condition.columns[s - 1]]
                    for s in self.condition.orders
                },
            }
        return None


def bounded(facts: Facts) -> bool:
    """Tell whether Assumption 3.1(i) holds with an activation that is not constant."""
    return facts.derivative_bound < float("inf") and facts.degree > 0


def loss_json(value: Fraction) -> dict[str, Any]:
    """Give an exact loss as text and as a float, null beyond the range of floats."""
    try:
        number = float(value)
    except OverflowError:
        number = None
    return {"exact": _exact_text(value), "value": number}


def fraction_text(value: Fraction) -> str:
    """Give a fraction for people: exact where it is short, else six digits."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) < 64:
        return str(value)
    return f"{Decimal(value.numerator) / Decimal(value.denominator):.6g}"


def _exact_text(value: Fraction) -> str | None:
    # Python refuses to print integers of more than 4300 digits
    largest = max(value.numerator.bit_length(), value.denominator.bit_length())
    return str(value) if largest < MAX_PRINTED_BITS else None


def _rows(basis: Basis) -> list[list[int]]:
    return [list(vector) for vector in basis]


def _chain_json(prefix: str, chain: Chain, floor: Fraction) -> dict[str, Any]:
    return {
        f"{prefix}chain_dims": list(chain.dims),
        f"{prefix}reflective_dim": chain.reflective_dim,
        f"{prefix}reflective_basis": _rows(chain.frame.hidden_basis),
        f"{prefix}loss_floor": loss_json(floor),
    }
