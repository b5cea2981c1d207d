"""Experiments on teacher-student networks: local convergence, landscape, order parameters."""

from twolayer.experiments.teacher_student import (
    figure_one,
    global_minima,
    identifiability,
    initialisation,
    minima_families,
    order_parameters,
    overlap_flow,
    spurious_minima,
)

__all__ = [
    "figure_one",
    "global_minima",
    "identifiability",
    "initialisation",
    "minima_families",
    "order_parameters",
    "overlap_flow",
    "spurious_minima",
]
