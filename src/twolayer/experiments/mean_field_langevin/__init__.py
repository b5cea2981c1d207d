"""Experiments on mean-field Langevin dynamics: optimum, flow, rates, particles, certificates."""

from twolayer.experiments.mean_field_langevin import (
    certificates,
    flow,
    guarantees,
    optimum,
    parity,
    particles,
    rates,
    relu,
)

__all__ = [
    "certificates",
    "flow",
    "guarantees",
    "optimum",
    "parity",
    "particles",
    "rates",
    "relu",
]
