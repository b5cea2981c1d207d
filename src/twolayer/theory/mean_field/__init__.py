"""The mean-field flow of two-layer networks on polynomials of few Gaussian coordinates."""

from __future__ import annotations

from twolayer.theory.mean_field.algorithm_one import (
    AlgorithmOne,
    KernelExponent,
    algorithm_one,
    first_phase,
    kernel_exponent,
    taylor_flow,
)
from twolayer.theory.mean_field.escape import EscapeTimes, escape_times
from twolayer.theory.mean_field.flow import MeanFieldFlow, mean_field_flow
from twolayer.theory.mean_field.lower_bound import LossLowerBound, loss_lower_bound
from twolayer.theory.mean_field.population import Population
from twolayer.theory.mean_field.potential import Constant, MeanField, mean_field
from twolayer.theory.mean_field.readout_kernel import ReadoutKernel

__all__ = [
    "AlgorithmOne",
    "Constant",
    "EscapeTimes",
    "KernelExponent",
    "LossLowerBound",
    "MeanField",
    "MeanFieldFlow",
    "Population",
    "ReadoutKernel",
    "algorithm_one",
    "escape_times",
    "first_phase",
    "kernel_exponent",
    "loss_lower_bound",
    "mean_field",
    "mean_field_flow",
    "taylor_flow",
]
