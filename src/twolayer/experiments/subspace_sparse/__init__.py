"""Experiments of chen2024subspace: which polynomials the mean-field flow learns."""
