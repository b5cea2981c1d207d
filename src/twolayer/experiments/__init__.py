"""Named recipes, each testing a statement of one of the papers.

Heavy imports stand inside the functions, so that listing the experiments imports no JAX.
"""

from twolayer.experiments import mean_field_langevin, one_step, subspace_sparse
from twolayer.experiments.registry import EXPERIMENTS, PAPERS, Experiment, find_experiment

__all__ = [
    "EXPERIMENTS",
    "PAPERS",
    "Experiment",
    "find_experiment",
    "mean_field_langevin",
    "one_step",
    "subspace_sparse",
]
