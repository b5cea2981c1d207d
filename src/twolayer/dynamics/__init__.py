"""What training does: gradient flow, SGD and layer-wise training of finite networks."""

from twolayer.dynamics.base import Constant, Dynamics, in_single_precision
from twolayer.dynamics.gradient_flow import GradientFlow
from twolayer.dynamics.layerwise import Layerwise, LayerwiseRun, train_layerwise
from twolayer.dynamics.observe import Estimate, SampledRisk
from twolayer.dynamics.sgd import SGD
from twolayer.dynamics.simulate import Run, simulate, train

__all__ = [
    "SGD",
    "Constant",
    "Dynamics",
    "Estimate",
    "GradientFlow",
    "Layerwise",
    "LayerwiseRun",
    "Run",
    "SampledRisk",
    "in_single_precision",
    "simulate",
    "train",
    "train_layerwise",
]
