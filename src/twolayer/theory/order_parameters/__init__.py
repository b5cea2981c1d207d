"""The overlaps of a student with its teacher: a closed theory of online learning."""

from __future__ import annotations

from twolayer.theory.order_parameters.committee import (
    Committee,
    committee_of,
    generalisation_error,
)
from twolayer.theory.order_parameters.equations import OverlapFlow
from twolayer.theory.order_parameters.integrals import (
    Integrals,
    abs_integrals,
    erf_integrals,
    relu_integrals,
    square_integrals,
)
from twolayer.theory.order_parameters.learning import (
    dimensionless_learning,
    online_learning,
    overlap_gradient_flow,
)
from twolayer.theory.order_parameters.regimes import ScalingRegime, scaling_regime

__all__ = [
    "Committee",
    "Integrals",
    "OverlapFlow",
    "ScalingRegime",
    "abs_integrals",
    "committee_of",
    "dimensionless_learning",
    "erf_integrals",
    "generalisation_error",
    "online_learning",
    "overlap_gradient_flow",
    "relu_integrals",
    "scaling_regime",
    "square_integrals",
]
