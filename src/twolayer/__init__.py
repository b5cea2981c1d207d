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
    from twolayer.activations.hermite_equivalent import HermiteEquivalent as HermiteEquivalent
    from twolayer.compare import compare as compare
    from twolayer.compare import compare_sizes as compare_sizes
    from twolayer.datasets import ImagePair as ImagePair
    from twolayer.datasets import fashion_mnist as fashion_mnist
    from twolayer.datasets import gaussian_surrogate as gaussian_surrogate
    from twolayer.datasets import image_pair as image_pair
    from twolayer.diagnose import Diagnosis as Diagnosis
    from twolayer.diagnose import diagnose as diagnose
    from twolayer.dynamics import SGD as SGD
    from twolayer.dynamics import GradientFlow as GradientFlow
    from twolayer.dynamics import Layerwise as Layerwise
    from twolayer.dynamics import Logistic as Logistic
    from twolayer.dynamics import OneStep as OneStep
    from twolayer.dynamics import Ridge as Ridge
    from twolayer.dynamics import first_layer_step as first_layer_step
    from twolayer.dynamics import readout_errors as readout_errors
    from twolayer.dynamics import simulate as simulate
    from twolayer.dynamics import train_layerwise as train_layerwise
    from twolayer.dynamics import train_one_step as train_one_step
    from twolayer.dynamics.committee_sgd import CommitteeSGD as CommitteeSGD
    from twolayer.dynamics.committee_sgd import committee_sgd as committee_sgd
    from twolayer.dynamics.gradient_features import AggressiveSteps as AggressiveSteps
    from twolayer.dynamics.gradient_features import GradientFeatures as GradientFeatures
    from twolayer.dynamics.gradient_features import symmetric_network as symmetric_network
    from twolayer.dynamics.gradient_features import train_aggressive_steps as train_aggressive_steps
    from twolayer.dynamics.gradient_features import (
        train_gradient_features as train_gradient_features,
    )
    from twolayer.dynamics.langevin import Halving as Halving
    from twolayer.dynamics.langevin import Langevin as Langevin
    from twolayer.dynamics.langevin import Minibatch as Minibatch
    from twolayer.dynamics.langevin import train_langevin as train_langevin
    from twolayer.dynamics.teacher_student import descend as descend
    from twolayer.dynamics.teacher_student import random_initialisation as random_initialisation
    from twolayer.dynamics.teacher_student import sampled_descent as sampled_descent
    from twolayer.dynamics.teacher_student import subspace_initialisation as subspace_initialisation
    from twolayer.estimators import NTKClassifier as NTKClassifier
    from twolayer.estimators import NTKRegressor as NTKRegressor
    from twolayer.estimators import RandomFeaturesClassifier as RandomFeaturesClassifier
    from twolayer.estimators import RandomFeaturesRegressor as RandomFeaturesRegressor
    from twolayer.estimators import TwoLayerClassifier as TwoLayerClassifier
    from twolayer.estimators import TwoLayerRegressor as TwoLayerRegressor
    from twolayer.free_energy import FreeEnergy as FreeEnergy
    from twolayer.free_energy import Particles as Particles
    from twolayer.free_energy import with_bias as with_bias
    from twolayer.inputs import Gaussian as Gaussian
    from twolayer.inputs import GaussianMixture as GaussianMixture
    from twolayer.inputs import Hypercube as Hypercube
    from twolayer.inputs import isotropic_mixture as isotropic_mixture
    from twolayer.inputs import spiked_mixture as spiked_mixture
    from twolayer.language import PolynomialSyntaxError as PolynomialSyntaxError
    from twolayer.language import parse_polynomial as parse_polynomial
    from twolayer.losses import HingeLoss as HingeLoss
    from twolayer.losses import LogisticLoss as LogisticLoss
    from twolayer.losses import SquareLoss as SquareLoss
    from twolayer.networks import TwoLayerNetwork as TwoLayerNetwork
    from twolayer.networks import mean_field_network as mean_field_network
    from twolayer.networks import one_step_network as one_step_network
    from twolayer.outcomes import Assumption as Assumption
    from twolayer.outcomes import Comparison as Comparison
    from twolayer.outcomes import Convergence as Convergence
    from twolayer.outcomes import Prediction as Prediction
    from twolayer.outcomes import Trajectory as Trajectory
    from twolayer.results import Result as Result
    from twolayer.risks import EmpiricalRisk as EmpiricalRisk
    from twolayer.risks import PopulationRisk as PopulationRisk
    from twolayer.sparse_coding import CodedParity as CodedParity
    from twolayer.sparse_coding import StructuredParity as StructuredParity
    from twolayer.store import Study as Study
    from twolayer.sweep import sweep as sweep
    from twolayer.targets import MultiIndex as MultiIndex
    from twolayer.targets import Parity as Parity
    from twolayer.targets import Polynomial as Polynomial
    from twolayer.targets import SingleIndex as SingleIndex
    from twolayer.targets import halfspace as halfspace
    from twolayer.targets import sign_product as sign_product
    from twolayer.tasks import Classification as Classification
    from twolayer.tasks import Dataset as Dataset
    from twolayer.tasks import Regression as Regression
    from twolayer.tasks import xor_mixture as xor_mixture
    from twolayer.teacher_student import TeacherStudent as TeacherStudent
    from twolayer.theory.gradient_features.feature_sets import feature_set as feature_set
    from twolayer.theory.gradient_features.feature_sets import hit_probability as hit_probability
    from twolayer.theory.gradient_features.finite_sample import expected_cosine as expected_cosine
    from twolayer.theory.gradient_features.finite_sample import (
        samples_for_cosine as samples_for_cosine,
    )
    from twolayer.theory.gradient_features.induced_networks import (
        InducedNetworks as InducedNetworks,
    )
    from twolayer.theory.gradient_features.induced_networks import (
        greedy_induced_networks as greedy_induced_networks,
    )
    from twolayer.theory.gradient_features.induced_networks import (
        optimal_induced_network as optimal_induced_network,
    )
    from twolayer.theory.gradient_features.kernel_bounds import (
        average_kernel_bound as average_kernel_bound,
    )
    from twolayer.theory.gradient_features.kernel_bounds import kernel_bound as kernel_bound
    from twolayer.theory.gradient_features.realisation import realise as realise
    from twolayer.theory.gradient_features.samples import labelled_samples as labelled_samples
    from twolayer.theory.gradient_features.simplified_gradient import (
        simplified_gradient as simplified_gradient,
    )
    from twolayer.theory.gradient_features.tickets import ticket_mask as ticket_mask
    from twolayer.theory.kernels import neural_tangent_kernel as neural_tangent_kernel
    from twolayer.theory.landscape import critical_point as critical_point
    from twolayer.theory.landscape import families as families
    from twolayer.theory.landscape import global_spectrum as global_spectrum
    from twolayer.theory.langevin import a_priori_certificate as a_priori_certificate
    from twolayer.theory.langevin import certify_particles as certify_particles
    from twolayer.theory.langevin import fokker_planck as fokker_planck
    from twolayer.theory.langevin import parameter_grid as parameter_grid
    from twolayer.theory.langevin import proximal_gibbs as proximal_gibbs
    from twolayer.theory.langevin import rate_chain as rate_chain
    from twolayer.theory.langevin import solve_dual as solve_dual
    from twolayer.theory.langevin import trajectory_certificate as trajectory_certificate
    from twolayer.theory.learnability import certify as certify
    from twolayer.theory.learnability import certify_function as certify_function
    from twolayer.theory.learnability import verify as verify
    from twolayer.theory.local_convergence import decompose_residual as decompose_residual
    from twolayer.theory.local_convergence import far_mass_certificate as far_mass_certificate
    from twolayer.theory.local_convergence import guaranteed_flow as guaranteed_flow
    from twolayer.theory.local_convergence import match_neurons as match_neurons
    from twolayer.theory.local_convergence import merge_saddle as merge_saddle
    from twolayer.theory.mean_field import algorithm_one as algorithm_one
    from twolayer.theory.mean_field import escape_times as escape_times
    from twolayer.theory.mean_field import loss_lower_bound as loss_lower_bound
    from twolayer.theory.mean_field import mean_field_flow as mean_field_flow
    from twolayer.theory.one_step.coefficients import UnitRows as UnitRows
    from twolayer.theory.one_step.coefficients import centred as centred
    from twolayer.theory.one_step.conditional import (
        conditional_equivalent as conditional_equivalent,
    )
    from twolayer.theory.one_step.conditional_statistics import data_directions as data_directions
    from twolayer.theory.one_step.deterministic_equivalent import (
        deterministic_equivalent as deterministic_equivalent,
    )
    from twolayer.theory.one_step.errors import ErrorCurves as ErrorCurves
    from twolayer.theory.one_step.maximal_learning_rate import (
        maximal_learning_rate as maximal_learning_rate,
    )
    from twolayer.theory.one_step.random_features import (
        random_features_ridge as random_features_ridge,
    )
    from twolayer.theory.one_step.regimes import needed_degree as needed_degree
    from twolayer.theory.one_step.regimes import paper_degree as paper_degree
    from twolayer.theory.one_step.small_learning_rate import first_layer_spike as first_layer_spike
    from twolayer.theory.one_step.small_learning_rate import (
        small_learning_rate as small_learning_rate,
    )
    from twolayer.theory.one_step.spike import gradient_spike as gradient_spike
    from twolayer.theory.one_step.spike import norm_exponents as norm_exponents
    from twolayer.theory.one_step.staircase import staircase_limit as staircase_limit
    from twolayer.theory.order_parameters import Committee as Committee
    from twolayer.theory.order_parameters import committee_of as committee_of
    from twolayer.theory.order_parameters import dimensionless_learning as dimensionless_learning
    from twolayer.theory.order_parameters import online_learning as online_learning
    from twolayer.theory.order_parameters import overlap_gradient_flow as overlap_gradient_flow
    from twolayer.trained import Examination as Examination
    from twolayer.trained import examine as examine
    from twolayer.trained import from_arrays as from_arrays
    from twolayer.trained import from_sklearn as from_sklearn
    from twolayer.trained import from_torch as from_torch

_HOME = {
    "twolayer.activations": (
        "Activation", "FunctionActivation", "abs_", "activation_of", "cos", "cos_sin", "erf",
        "gelu", "relu", "sigmoid", "sin", "softplus", "tanh",
    ),
    "twolayer.activations.hermite_equivalent": ("HermiteEquivalent",),
    "twolayer.compare": ("compare", "compare_sizes"),
    "twolayer.datasets": ("ImagePair", "fashion_mnist", "gaussian_surrogate", "image_pair"),
    "twolayer.diagnose": ("Diagnosis", "diagnose"),
    "twolayer.dynamics": (
        "GradientFlow", "Layerwise", "Logistic", "OneStep", "Ridge", "SGD", "first_layer_step",
        "readout_errors", "simulate", "train_layerwise", "train_one_step",
    ),
    "twolayer.dynamics.committee_sgd": ("CommitteeSGD", "committee_sgd"),
    "twolayer.dynamics.gradient_features": (
        "AggressiveSteps", "GradientFeatures", "symmetric_network", "train_aggressive_steps",
        "train_gradient_features",
    ),
    "twolayer.dynamics.langevin": ("Halving", "Langevin", "Minibatch", "train_langevin"),
    "twolayer.dynamics.teacher_student": (
        "descend", "random_initialisation", "sampled_descent", "subspace_initialisation",
    ),
    "twolayer.estimators": (
        "NTKClassifier", "NTKRegressor", "RandomFeaturesClassifier", "RandomFeaturesRegressor",
        "TwoLayerClassifier", "TwoLayerRegressor",
    ),
    "twolayer.free_energy": ("FreeEnergy", "Particles", "with_bias"),
    "twolayer.inputs": (
        "Gaussian", "GaussianMixture", "Hypercube", "isotropic_mixture", "spiked_mixture",
    ),
    "twolayer.language": ("PolynomialSyntaxError", "parse_polynomial"),
    "twolayer.losses": ("HingeLoss", "LogisticLoss", "SquareLoss"),
    "twolayer.networks": ("TwoLayerNetwork", "mean_field_network", "one_step_network"),
    "twolayer.outcomes": ("Assumption", "Comparison", "Convergence", "Prediction", "Trajectory"),
    "twolayer.results": ("Result",),
    "twolayer.risks": ("EmpiricalRisk", "PopulationRisk"),
    "twolayer.sparse_coding": ("CodedParity", "StructuredParity"),
    "twolayer.store": ("Study",),
    "twolayer.sweep": ("sweep",),
    "twolayer.targets": (
        "MultiIndex", "Parity", "Polynomial", "SingleIndex", "halfspace", "sign_product",
    ),
    "twolayer.tasks": ("Classification", "Dataset", "Regression", "xor_mixture"),
    "twolayer.teacher_student": ("TeacherStudent",),
    "twolayer.theory.gradient_features.feature_sets": ("feature_set", "hit_probability"),
    "twolayer.theory.gradient_features.finite_sample": ("expected_cosine", "samples_for_cosine"),
    "twolayer.theory.gradient_features.induced_networks": (
        "InducedNetworks", "greedy_induced_networks", "optimal_induced_network",
    ),
    "twolayer.theory.gradient_features.kernel_bounds": ("average_kernel_bound", "kernel_bound"),
    "twolayer.theory.gradient_features.realisation": ("realise",),
    "twolayer.theory.gradient_features.samples": ("labelled_samples",),
    "twolayer.theory.gradient_features.simplified_gradient": ("simplified_gradient",),
    "twolayer.theory.gradient_features.tickets": ("ticket_mask",),
    "twolayer.theory.kernels": ("neural_tangent_kernel",),
    "twolayer.theory.landscape": ("critical_point", "families", "global_spectrum"),
    "twolayer.theory.langevin": (
        "a_priori_certificate", "certify_particles", "fokker_planck", "parameter_grid",
        "proximal_gibbs", "rate_chain", "solve_dual", "trajectory_certificate",
    ),
    "twolayer.theory.learnability": ("certify", "certify_function", "verify"),
    "twolayer.theory.local_convergence": (
        "decompose_residual", "far_mass_certificate", "guaranteed_flow", "match_neurons",
        "merge_saddle",
    ),
    "twolayer.theory.mean_field": (
        "algorithm_one", "escape_times", "loss_lower_bound", "mean_field_flow",
    ),
    "twolayer.theory.one_step.coefficients": ("UnitRows", "centred"),
    "twolayer.theory.one_step.conditional": ("conditional_equivalent",),
    "twolayer.theory.one_step.conditional_statistics": ("data_directions",),
    "twolayer.theory.one_step.deterministic_equivalent": ("deterministic_equivalent",),
    "twolayer.theory.one_step.errors": ("ErrorCurves",),
    "twolayer.theory.one_step.maximal_learning_rate": ("maximal_learning_rate",),
    "twolayer.theory.one_step.random_features": ("random_features_ridge",),
    "twolayer.theory.one_step.regimes": ("needed_degree", "paper_degree"),
    "twolayer.theory.one_step.small_learning_rate": ("first_layer_spike", "small_learning_rate"),
    "twolayer.theory.one_step.spike": ("gradient_spike", "norm_exponents"),
    "twolayer.theory.one_step.staircase": ("staircase_limit",),
    "twolayer.theory.order_parameters": (
        "Committee", "committee_of", "dimensionless_learning", "online_learning",
        "overlap_gradient_flow",
    ),
    "twolayer.trained": ("Examination", "examine", "from_arrays", "from_sklearn", "from_torch"),
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
