"""Experiments on mean-field Langevin dynamics: optimum, flow, rates, particles, certificates."""

from twolayer.experiments.mean_field_langevin import flow, optimum, parity, particles, rates, relu

__all__ = ["flow", "optimum", "parity", "particles", "rates", "relu"]
