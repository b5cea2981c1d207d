"""Named recipes, each testing a statement of one of the papers.

Heavy imports stand inside the functions, so that listing the experiments imports no JAX.
"""

from twolayer.experiments import (
    gradient_features,
    mean_field_langevin,
    one_step,
    subspace_sparse,
    teacher_student,
)
from twolayer.experiments.registry import EXPERIMENTS, PAPERS, Experiment, find_experiment

__all__ = [
    "EXPERIMENTS",
    "PAPERS",
    "Experiment",
    "find_experiment",
    "gradient_features",
    "mean_field_langevin",
    "one_step",
    "subspace_sparse",
    "teacher_student",
]
