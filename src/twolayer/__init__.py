"""Theory and simulation of two-layer neural networks where they learn features.

``import twolayer as tl``; every name below is imported when it is first used, so the exact
certificates never wait for JAX.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twolayer.activations import Activation as Activation
    from twolayer.activations import FunctionActivation as FunctionActivation
    from twolayer.activations import abs_ as abs_
    from twolayer.activations import activation_of as activation_of
    from twolayer.activations import cos as cos
    from twolayer.activations import cos_sin as cos_sin
    from twolayer.activations import erf as erf
    from twolayer.activations import gelu as gelu
    from twolayer.activations import relu as relu
    from twolayer.activations import sigmoid as sigmoid
    from twolayer.activations import sin as sin
    from twolayer.activations import softplus as softplus
    from twolayer.activations import tanh as tanh
    from twolayer.compare import compare as compare
    from twolayer.compare import compare_sizes as compare_sizes
    from twolayer.dynamics import SGD as SGD
    from twolayer.dynamics import GradientFlow as GradientFlow
    from twolayer.dynamics import Layerwise as Layerwise
    from twolayer.dynamics import simulate as simulate
    from twolayer.dynamics import train_layerwise as train_layerwise
    from twolayer.inputs import Gaussian as Gaussian
    from twolayer.language import PolynomialSyntaxError as PolynomialSyntaxError
    from twolayer.language import parse_polynomial as parse_polynomial
    from twolayer.networks import TwoLayerNetwork as TwoLayerNetwork
    from twolayer.networks import mean_field_network as mean_field_network
    from twolayer.outcomes import Assumption as Assumption
    from twolayer.outcomes import Comparison as Comparison
    from twolayer.outcomes import Convergence as Convergence
    from twolayer.outcomes import Prediction as Prediction
    from twolayer.outcomes import Trajectory as Trajectory
    from twolayer.results import Result as Result
    from twolayer.risks import EmpiricalRisk as EmpiricalRisk
    from twolayer.risks import PopulationRisk as PopulationRisk
    from twolayer.targets import Polynomial as Polynomial
    from twolayer.tasks import Regression as Regression
    from twolayer.theory.learnability import certify as certify
    from twolayer.theory.learnability import certify_function as certify_function
    from twolayer.theory.learnability import verify as verify
    from twolayer.theory.mean_field import algorithm_one as algorithm_one
    from twolayer.theory.mean_field import escape_times as escape_times
    from twolayer.theory.mean_field import loss_lower_bound as loss_lower_bound
    from twolayer.theory.mean_field import mean_field_flow as mean_field_flow

_HOME = {
    "twolayer.activations": (
        "Activation", "FunctionActivation", "abs_", "activation_of", "cos", "cos_sin", "erf",
        "gelu", "relu", "sigmoid", "sin", "softplus", "tanh",
    ),
    "twolayer.compare": ("compare", "compare_sizes"),
    "twolayer.dynamics": (
        "SGD", "GradientFlow", "Layerwise", "simulate", "train_layerwise",
    ),
    "twolayer.inputs": ("Gaussian",),
    "twolayer.language": ("PolynomialSyntaxError", "parse_polynomial"),
    "twolayer.networks": ("TwoLayerNetwork", "mean_field_network"),
    "twolayer.outcomes": ("Assumption", "Comparison", "Convergence", "Prediction", "Trajectory"),
    "twolayer.results": ("Result",),
    "twolayer.risks": ("EmpiricalRisk", "PopulationRisk"),
    "twolayer.targets": ("Polynomial",),
    "twolayer.tasks": ("Regression",),
    "twolayer.theory.learnability": ("certify", "certify_function", "verify"),
    "twolayer.theory.mean_field": (
        "algorithm_one", "escape_times", "loss_lower_bound", "mean_field_flow",
    ),
}  # fmt: skip
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        message = f"module 'twolayer' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_MODULE[name]), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The package, in which no submodule hides the public function of its name (`compare`)."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
