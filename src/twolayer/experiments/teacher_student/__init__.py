"""Experiments on teacher-student networks: local convergence, landscape, order parameters."""

from twolayer.experiments.teacher_student import (
    exponents,
    figure_one,
    global_minima,
    identifiability,
    initialisation,
    local_convergence,
    minima_families,
    order_parameters,
    overlap_flow,
    single_neuron,
    spurious_minima,
)

__all__ = [
    "exponents",
    "figure_one",
    "global_minima",
    "identifiability",
    "initialisation",
    "local_convergence",
    "minima_families",
    "order_parameters",
    "overlap_flow",
    "single_neuron",
    "spurious_minima",
]
