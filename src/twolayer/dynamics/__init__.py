"""What training does: gradient flow, SGD and layer-wise training of finite networks."""

from twolayer.dynamics.base import Constant, Dynamics, in_single_precision
from twolayer.dynamics.gradient_flow import GradientFlow
from twolayer.dynamics.layerwise import Layerwise, LayerwiseRun, train_layerwise
from twolayer.dynamics.observe import Estimate, SampledRisk
from twolayer.dynamics.one_step import (
    Errors,
    OneStep,
    first_layer_step,
    readout_errors,
    train_one_step,
)
from twolayer.dynamics.readout import Fit, Logistic, Readout, Ridge
from twolayer.dynamics.sgd import SGD
from twolayer.dynamics.simulate import Run, simulate, train

__all__ = [
    "SGD",
    "Constant",
    "Dynamics",
    "Errors",
    "Estimate",
    "Fit",
    "GradientFlow",
    "Layerwise",
    "LayerwiseRun",
    "Logistic",
    "OneStep",
    "Readout",
    "Ridge",
    "Run",
    "SampledRisk",
    "first_layer_step",
    "in_single_precision",
    "readout_errors",
    "simulate",
    "train",
    "train_layerwise",
    "train_one_step",
]
