"""The landscape of ReLU students on ReLU teachers: Hessians, spurious minima, saddles."""

from __future__ import annotations

from twolayer.theory.landscape.critical import CriticalPoint, Group, census, critical_point
from twolayer.theory.landscape.curvature import (
    OnePointCurvature,
    PerturbedSchedule,
    one_point_curvature,
    perturbed_schedule,
)
from twolayer.theory.landscape.families import SPURIOUS, Family, families, family
from twolayer.theory.landscape.published import (
    PUBLISHED_FAMILIES,
    CountTest,
    PublishedCount,
    compare_counts,
    published_counts,
    published_means,
)
from twolayer.theory.landscape.risk import (
    least_eigenvalue,
    relu_risk,
    relu_risk_gradient,
    relu_risk_hessian,
)
from twolayer.theory.landscape.spectrum import global_spectrum
from twolayer.theory.landscape.splitting import (
    split_eigenvalue_bound,
    split_neuron,
    splitting_curvatures,
)
from twolayer.theory.landscape.symmetry import SymmetryClass, symmetry_class

__all__ = [
    "PUBLISHED_FAMILIES",
    "SPURIOUS",
    "CountTest",
    "CriticalPoint",
    "Family",
    "Group",
    "OnePointCurvature",
    "PerturbedSchedule",
    "PublishedCount",
    "SymmetryClass",
    "census",
    "compare_counts",
    "critical_point",
    "families",
    "family",
    "global_spectrum",
    "least_eigenvalue",
    "one_point_curvature",
    "perturbed_schedule",
    "published_counts",
    "published_means",
    "relu_risk",
    "relu_risk_gradient",
    "relu_risk_hessian",
    "split_eigenvalue_bound",
    "split_neuron",
    "splitting_curvatures",
    "symmetry_class",
]
