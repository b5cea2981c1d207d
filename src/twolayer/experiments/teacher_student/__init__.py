"""Experiments on teacher-student networks: local convergence, landscape, order parameters."""

from twolayer.experiments.teacher_student import (
    global_minima,
    minima_families,
    order_parameters,
    overlap_flow,
    spurious_minima,
)

__all__ = [
    "global_minima",
    "minima_families",
    "order_parameters",
    "overlap_flow",
    "spurious_minima",
]
