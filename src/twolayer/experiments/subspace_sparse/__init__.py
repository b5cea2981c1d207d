"""Experiments of chen2024subspace: which polynomials the mean-field flow learns."""

from twolayer.experiments.subspace_sparse import algorithm, decisions, escape, floors, flow, horizon

__all__ = ["algorithm", "decisions", "escape", "floors", "flow", "horizon"]
