"""Students of a teacher network near zero loss: matching, descent, certificates, rates."""

from twolayer.theory.local_convergence.absolute_value import (
    absolute_kernel,
    gradient,
    hermite_coefficient,
    loss,
    output_vectors,
)
from twolayer.theory.local_convergence.configuration import separation, sign_free_angles
from twolayer.theory.local_convergence.descent import DescentDirection, descent_direction
from twolayer.theory.local_convergence.exponents import (
    GENERIC_EXPONENT,
    WORST_EXPONENT,
    far_neuron_constant,
    far_neuron_loss,
    loss_along_exponent,
    worst_far_neuron,
)
from twolayer.theory.local_convergence.far_mass import (
    FarMassCertificate,
    far_mass_bound,
    far_mass_certificate,
)
from twolayer.theory.local_convergence.far_neurons import (
    far_neurons_constant,
    far_neurons_limit,
    worst_far_neurons,
)
from twolayer.theory.local_convergence.flatness import (
    exact_hessian,
    flatness_matrix,
    least_flatness,
    least_flatness_of_pair,
    sign_covariance,
)
from twolayer.theory.local_convergence.guarantees import (
    gradient_constant,
    guaranteed_descent,
    guaranteed_flow,
    log10_threshold,
    sufficient_steps,
)
from twolayer.theory.local_convergence.matching import Matching, match_neurons, match_one_to_one
from twolayer.theory.local_convergence.merge import MergeSaddle, merge_loss, merge_saddle
from twolayer.theory.local_convergence.rates import PowerFit, fit_late_constant, fit_power
from twolayer.theory.local_convergence.residual import ResidualDecomposition, decompose_residual
from twolayer.theory.local_convergence.single_neuron import (
    log10_initial_scale,
    rectifier_gradient,
    rectifier_gradient_ratio,
    rectifier_loss,
    slow_start,
    transverse_parts,
    transverse_spread,
)
from twolayer.theory.local_convergence.starts import (
    label_moment,
    log10_batch_size,
    log10_random_width,
)
from twolayer.theory.local_convergence.symmetric import (
    balanced_pair_loss,
    orthogonal_student_constant,
    orthogonal_student_flow,
    rectifier_pair_flow,
    symmetric_pair_constant,
    symmetric_pair_flow,
)

__all__ = [
    "GENERIC_EXPONENT",
    "WORST_EXPONENT",
    "DescentDirection",
    "FarMassCertificate",
    "Matching",
    "MergeSaddle",
    "PowerFit",
    "ResidualDecomposition",
    "absolute_kernel",
    "balanced_pair_loss",
    "decompose_residual",
    "descent_direction",
    "exact_hessian",
    "far_mass_bound",
    "far_mass_certificate",
    "far_neuron_constant",
    "far_neuron_loss",
    "far_neurons_constant",
    "far_neurons_limit",
    "fit_late_constant",
    "fit_power",
    "flatness_matrix",
    "gradient",
    "gradient_constant",
    "guaranteed_descent",
    "guaranteed_flow",
    "hermite_coefficient",
    "label_moment",
    "least_flatness",
    "least_flatness_of_pair",
    "log10_batch_size",
    "log10_initial_scale",
    "log10_random_width",
    "log10_threshold",
    "loss",
    "loss_along_exponent",
    "match_neurons",
    "match_one_to_one",
    "merge_loss",
    "merge_saddle",
    "orthogonal_student_constant",
    "orthogonal_student_flow",
    "output_vectors",
    "rectifier_gradient",
    "rectifier_gradient_ratio",
    "rectifier_loss",
    "rectifier_pair_flow",
    "separation",
    "sign_covariance",
    "sign_free_angles",
    "slow_start",
    "sufficient_steps",
    "symmetric_pair_constant",
    "symmetric_pair_flow",
    "transverse_parts",
    "transverse_spread",
    "worst_far_neuron",
    "worst_far_neurons",
]
