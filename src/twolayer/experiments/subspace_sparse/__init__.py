"""Experiments of chen2024subspace: which polynomials the mean-field flow learns."""

from twolayer.experiments.subspace_sparse import floors, flow

__all__ = ["floors", "flow"]
