"""The conclusion: which theorem applies to what was computed, and what it says."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import Any

from twolayer.activations.facts import Facts
from twolayer.outcomes import Assumption
from twolayer.theory.learnability.certificate import (
    Decision,
    LearnabilityCertificate,
    Statement,
    bounded,
    fraction_text,
)

DERIVED = "derived here"
PAPER = "chen2024subspace"


def conclude(evidence: dict[str, Any]) -> LearnabilityCertificate:
    """Give the certificate: the evidence with verdict, reason, statements and assumptions."""
    draft = LearnabilityCertificate(
        verdict="undecided", reason="", statements=(), assumptions=(), **evidence
    )
    verdict, reason = decide(draft)
    return LearnabilityCertificate(
        verdict=verdict,
        reason=reason,
        statements=(*_properties(draft), *_conclusions(draft)),
        assumptions=_assumptions(draft),
        **evidence,
    )


def decide(c: LearnabilityCertificate) -> tuple[Decision, str]:
    """Give the verdict and its reason.

    Not learnable where a floor is proved: by Theorem 3.4 of chen2024subspace with condition
    (3.5) and the expressivity floor for bounded activations, else by what no network of any
    width represents. Else learnable where Theorem 4.3 applies. Else undecided.
    """
    name = c.facts.name
    if c.initial_loss == 0:
        return "learnable", "The target is zero, which the symmetric initial network already is."
    if bounded(c.facts) and c.total_floor > 0:
        return "not_learnable", _floor_reason(c) + _rescue(c)
    if c.representability_floor > 0:
        return "not_learnable", (
            f"No network with activation {name} and without biases, of any width, has "
            f"{_degrees(c)} of the target: the loss stays at or above "
            f"{fraction_text(c.representability_floor)} ({DERIVED})." + _rescue(c)
        )
    if c.condition.holds and sufficient(c.facts):
        if c.essential_dim == 0:
            return "learnable", (
                f"The target is constant: the second phase of Algorithm 1 alone, with the constant "
                f"read-out activation (1 + x)^0, learns it ({DERIVED})."
            )
        return "learnable", (
            f"Assumptions 4.1 (s = {c.condition.order}{'' if c.condition.minimal else ' at most'}) "
            f"and 4.2 hold: Algorithm 1 drives the loss to zero exponentially, at a rate that does "
            f"not depend on the dimension ({PAPER}, Theorem 4.3)."
        )
    return "undecided", _undecided(c)


def sufficient(facts: Facts) -> bool:
    """Tell whether Assumption 4.2 holds, for every order L."""
    return facts.smooth and facts.derivative_bound < inf


def _degrees(c: LearnabilityCertificate) -> str:
    degrees = sorted({sum(e) for e in c.symbol.terms})
    lost = [str(D) for D in degrees if not c.facts.sees(D)]
    return f"the Hermite degree{'s' if len(lost) > 1 else ''} {', '.join(lost)}"


def _floor_reason(c: LearnabilityCertificate) -> str:
    floor = fraction_text(c.total_floor)
    horizon = (
        f"within any time that does not grow with the dimension d the loss stays at or above "
        f"{floor}, up to a term that vanishes as d grows"
    )
    if c.total_floor == c.representability_floor:
        return (
            f"No network with activation {c.facts.name} and without biases, of any width, has "
            f"{_degrees(c)} of the target: the loss stays at or above {floor} ({DERIVED})."
            + _any_activation(c)
        )
    if c.loss_floor > 0:
        source = f"{PAPER}, Theorem 3.4"
        if c.total_floor > c.loss_floor:
            smaller = fraction_text(c.loss_floor)
            source += f", for {smaller}; the larger floor, for this activation, {DERIVED}"
        return (
            f"The target is reflective with respect to a subspace of dimension "
            f"{c.chain.reflective_dim}: {horizon} ({source})."
        )
    return (
        f"With activation {c.facts.name} and without biases the target is reflective, in the "
        f"sense of (3.5), with respect to a subspace of dimension "
        f"{c.activation_chain.reflective_dim}: {horizon} ({DERIVED}: the proof of {PAPER}, "
        f"Theorem 3.4, uses (3.5) only)."
    )


def _any_activation(c: LearnabilityCertificate) -> str:
    if c.loss_floor == 0:
        return ""
    return (
        f" With any other activation that satisfies Assumption 3.1(i) a floor of "
        f"{fraction_text(c.loss_floor)} remains, for times that do not grow with the dimension "
        f"({PAPER}, Theorem 3.4)."
    )


def _rescue(c: LearnabilityCertificate) -> str:
    if not (c.condition.holds and sufficient(c.facts)):
        return ""
    why = f"Assumption 4.1 holds with s = {c.condition.order} ({PAPER}, Theorem 4.3)"
    if c.essential_dim == 0:
        why = f"it is constant ({DERIVED})"
    return (
        f" This is about training both layers with {c.facts.name}; Algorithm 1, which changes the "
        f"read-out activation, still learns the target: {why}."
    )


def _undecided(c: LearnabilityCertificate) -> str:
    name = c.facts.name
    if bounded(c.facts):
        reason = f"No floor is proved, and Assumption 4.1 is not: {c.condition.reason}"
        return f"{reason} Neither Theorem 3.4 nor Theorem 4.3 of {PAPER} applies."
    if c.facts.degree <= 0:
        return f"The activation {name} is constant: the weights never move."
    smooth = "" if c.facts.smooth or c.facts.polynomial else " and not twice differentiable"
    remains = (
        f"If Theorem 3.4 extended to it, the loss would stay above {fraction_text(c.total_floor)}"
        if c.total_floor > 0
        else "No floor stands in the way: condition (3.5) has no reflective subspace that matters"
    )
    return (
        f"The activation {name} is unbounded{smooth}, so Theorems 3.4 and 4.3 of {PAPER} do not "
        f"apply to it (Assumptions 3.1(i) and 4.2). What remains true: the chains, floors and "
        f"orders are exact algebra, and the network sees every Hermite degree of the target. "
        f"{remains}. On Assumption 4.1: {c.condition.reason}"
    )


def _properties(c: LearnabilityCertificate) -> tuple[Statement, ...]:
    name = c.facts.name
    definition = f"{PAPER}, Definition 3.3; largest subspace {DERIVED}"
    dims = (c.chain, c.network_chain, c.activation_chain)
    free, network, own = (chain.reflective_dim for chain in dims)
    return (
        Statement(
            f"reflective property (3.2), any activation: largest subspace of dimension {free}",
            free > 0,
            definition,
        ),
        Statement(
            f"reflective property (3.1) with {name}: largest subspace of dimension {network}",
            network > 0,
            f"{PAPER}, Definition 3.3; its Hermite form {DERIVED}",
        ),
        Statement(
            f"reflective property (3.5) with {name}: largest subspace of dimension {own}",
            own > 0,
            f"{PAPER}, (3.5); its Hermite form {DERIVED}",
        ),
        Statement(
            f"isotropic leap at least 2 (it is {c.isotropic_leap}), equivalent to (3.2)",
            c.isotropic_leap >= 2,
            f"{PAPER}, Proposition B.1, on the essential subspace",
        ),
        Statement(
            f"merged-staircase property in the given basis (leap {c.leap})",
            c.merged_staircase,
            "abbe2022merged; leap of abbe2023leap",
        ),
        Statement(
            f"Assumption 4.1 with {name}: {c.condition.reason}",
            c.condition.holds,
            f"{PAPER}, Assumption 4.1"
            + (f"; that no order helps {DERIVED}" if c.condition.holds is False else ""),
        ),
    )


def _conclusions(c: LearnabilityCertificate) -> tuple[Statement, ...]:
    applies = bounded(c.facts)
    learns = bool(c.condition.holds) and sufficient(c.facts)
    by_paper, own = fraction_text(c.loss_floor), fraction_text(c.total_floor)
    statements = [
        Statement(
            f"loss bounded away from zero up to any constant time (floor {by_paper})",
            True if applies and c.loss_floor > 0 else None,
            f"{PAPER}, Theorem 3.4",
        ),
        Statement(
            f"the same with {c.facts.name} and without biases (floor {own})",
            True if applies and c.total_floor > 0 else None,
            f"{DERIVED}, from the proof of {PAPER}, Theorem 3.4, with (3.5)",
        ),
        Statement(
            f"no bias-free network of any width represents the target "
            f"(floor {fraction_text(c.representability_floor)})",
            True if c.representability_floor > 0 else None,
            DERIVED,
        ),
        Statement(
            "Algorithm 1 drives the loss to zero exponentially",
            True if learns else None,
            f"{PAPER}, Theorem 4.3" if c.essential_dim else DERIVED,
        ),
    ]
    if learns and c.condition.order:
        statements.append(
            Statement(
                f"L = n s = {c.smoothness_derived} derivatives suffice in Assumption 4.2 (the "
                f"paper asks for {c.smoothness_paper})",
                True,
                f"{DERIVED}; {PAPER}, Assumption 4.2",
            )
        )
    return tuple(statements)


def _assumptions(c: LearnabilityCertificate) -> tuple[Assumption, ...]:
    facts, bound = c.facts, c.facts.derivative_bound
    missing = len(c.condition.orders) - c.essential_dim
    return (
        Assumption(
            f"{PAPER}, Assumption 3.1(i): activation with two bounded derivatives",
            bounded(facts),
            margin=1 / bound if 0 < bound < inf else 0.0,
            detail=f"1 / (bound of {facts.name} and its first two derivatives); 0 if unbounded "
            f"or not twice differentiable. It must not be constant.",
        ),
        Assumption(
            f"{PAPER}, Assumption 3.1(ii), (iii): learning rates and initial law",
            None,
            detail="About the training run: bounded Lipschitz rates of infinite integral, "
            "second-layer weights bounded, symmetric and independent of the first layer's, which "
            "Theorem 3.4 takes from N(0, I_d/d); inputs N(0, I_d), fresh samples.",
        ),
        Assumption(
            f"{PAPER}, Assumption 4.1: the Taylor series of the first phase spans",
            c.condition.holds,
            margin=None if c.condition.holds is None else float(missing),
            detail=f"Rank minus dimension of the essential subspace. {c.condition.reason}",
        ),
        Assumption(
            f"{PAPER}, Assumption 4.2: activation smooth, derivatives bounded",
            sufficient(facts),
            detail="Theorem 4.3 also asks for the training of Algorithm 1.",
        ),
        Assumption(
            "no provable floor for this activation",
            c.total_floor == 0,
            margin=_float(-c.total_floor),
            detail="Minus the floor of (3.5) together with the expressivity floor.",
        ),
    )


def _float(value: Fraction) -> float | None:
    """Give the number as a float, ``None`` beyond their range."""
    try:
        return float(value)
    except OverflowError:
        return None
