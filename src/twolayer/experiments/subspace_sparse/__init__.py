"""Experiments of chen2024subspace: which polynomials the mean-field flow learns."""

from twolayer.experiments.subspace_sparse import decisions, floors, flow

__all__ = ["decisions", "floors", "flow"]
