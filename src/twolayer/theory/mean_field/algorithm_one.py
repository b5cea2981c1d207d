"""Algorithm 1: train the first layer of several populations, average, train the readout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.activations.catalogue import activation_of
from twolayer.activations.functions import Activation
from twolayer.numerics.precision import in_float64
from twolayer.numerics.quadrature import gauss_legendre
from twolayer.outcomes import Assumption, Prediction
from twolayer.targets import Polynomial
from twolayer.tasks import Regression
from twolayer.theory.mean_field.population import Population
from twolayer.theory.mean_field.potential import Constant, mean_field
from twolayer.theory.mean_field.readout_kernel import ReadoutKernel, readout_kernel
from twolayer.theory.mean_field.solve import (
    exact_certificate,
    flow_from,
    invariant_projector,
    target_of,
)

_TOLERANCES = (1e-10, 1e-18)  # the weights in the last directions are of order T^s
_NODES = 24
REFERENCE = "chen2024subspace, Algorithm 1 and Theorem 4.3; second phase solved here"


@dataclass(frozen=True)
class AlgorithmOne:
    """What Algorithm 1 achieves at infinite width, at every input dimension.

    Attributes
    ----------
    loss
        The loss over the time since the second phase began.
    bound
        Theorem 4.3's ``E(rho_T) exp(-2 lambda_min t)``.
    neurons
        The first layer after the first phase: nodes a and their weights w(a, T).
    kernel
        The kernel of the second phase.
    duration
        The length T of the first phase.
    """

    loss: Prediction
    bound: Prediction
    neurons: Population
    kernel: ReadoutKernel
    duration: float


@dataclass(frozen=True)
class KernelExponent:
    """How the least eigenvalue of the kernel grows with the length T of the first phase.

    Attributes
    ----------
    durations
        The lengths T, increasing.
    smallest
        The least eigenvalue at each.
    slope
        ``d log lambda_min / d log T`` between the first two; NaN where it is 0.
    slope_error
        The slope's numerical error: large without averaging, where short phases leave the
        kernel too ill-conditioned to see.
    derived
        ``2 n s`` (derived here), with the degree n and the order s of Assumption 4.1; ``None``
        where that is not known to hold.
    paper
        ``2 s n binom(n + p, p)``, the exponent of chen2024subspace, Proposition 4.4.
    """

    durations: Float[np.ndarray, " t"]
    smallest: Float[np.ndarray, " t"]
    slope: float
    slope_error: float
    derived: int | None
    paper: int | None


@in_float64
def algorithm_one(
    task: Regression | Polynomial | str,
    *,
    activation: Activation | str,
    times: Sequence[float] | Float[np.ndarray, " t"],
    duration: float = 2.0,
    num_populations: int | None = None,
    num_nodes: int = _NODES,
) -> AlgorithmOne:
    r"""The loss of Algorithm 1 of chen2024subspace, without simulation of the second phase.

    Phase 1 (time T): first layers from ``w = 0`` with ``a ~ U[-1, 1]`` fixed, m independent
    populations, each in its own field. Then ``u`` is the mean of m neurons, one of each. Phase 2
    trains the readout from 0 with the activation ``(1 + x)^n``: a linear flow with kernel

    .. math:: K = E_u[\phi(u) \phi(u)^T], \qquad
              E(t) = \tfrac12 |e^{-K t} g|^2, \quad g_\alpha = E[h^* h_\alpha]

    (equation 4.2; closed form derived here). Exact at infinite width for every d.

    Parameters
    ----------
    task
        What is learned: a polynomial of few coordinates under standard Gaussian inputs.
    activation
        The activation of the first phase, differentiable at 0, or its name.
    times
        Times since the second phase began.
    duration
        The length T of the first phase.
    num_populations
        How many populations are averaged: the paper's p, the coordinates of the target, by
        default; 1 is no averaging.
    num_nodes
        Gauss-Legendre nodes in the output weight.

    Raises
    ------
    ValueError
        If the activation has no derivatives at 0, or the duration is not positive.

    Examples
    --------
    >>> result = algorithm_one("z1", activation="cos_sin", times=[0, 10])
    >>> round(result.kernel.smallest, 3), round(float(result.loss.value[1]), 5)
    (0.377, 0.00027)
    """
    target, activation = target_of(task), activation_of(activation)
    grid = np.asarray(times, dtype=np.float64)
    neurons = first_phase(target, activation, [duration], num_nodes)
    kernel = readout_kernel(
        target, np.asarray(neurons.w[0]), np.asarray(neurons.weight), num_populations or target.dim
    )
    assumptions = _assumptions(target, activation)
    loss = Prediction("loss", grid, kernel.loss(grid), "asymptotic", REFERENCE, assumptions)
    start = float(np.sum(kernel.target**2)) / 2
    bound = Prediction(
        "loss",
        grid,
        start * np.exp(-2 * kernel.smallest * grid),
        "upper",
        "chen2024subspace, Theorem 4.3",
        assumptions,
    )
    return AlgorithmOne(loss, bound, neurons, kernel, float(duration))


@in_float64
def kernel_exponent(
    task: Regression | Polynomial | str,
    *,
    activation: Activation | str,
    durations: Sequence[float] = (0.02, 0.04),
    num_populations: int | None = None,
    num_nodes: int = _NODES,
) -> KernelExponent:
    """The exponent of ``lambda_min(K(T))`` in T, beside ``2 n s`` and the paper's bound.

    Examples
    --------
    >>> exponent = kernel_exponent("z1 + z1*z2", activation="cos_sin")
    >>> exponent.derived, exponent.paper, round(exponent.slope, 1)
    (8, 48, 8.0)
    """
    target, activation = target_of(task), activation_of(activation)
    grid = np.asarray(durations, dtype=np.float64)
    neurons = first_phase(target, activation, grid, num_nodes)
    populations = num_populations or target.dim
    weight = np.asarray(neurons.weight)
    kernels = [readout_kernel(target, w, weight, populations) for w in np.asarray(neurons.w)]
    smallest = np.asarray([kernel.smallest for kernel in kernels])
    slope, ratio = math.nan, math.log(grid[1] / grid[0])
    if smallest[0] > 0:
        slope = math.log(smallest[1] / smallest[0]) / ratio
    error = math.hypot(*(kernel.smallest_error for kernel in kernels[:2])) / ratio
    certificate = exact_certificate(target, activation)
    order = certificate.condition.order
    derived = paper = None
    if order:
        n, p = target.degree, certificate.essential_dim
        derived, paper = 2 * n * order, 2 * n * order * math.comb(n + p, p)
    return KernelExponent(grid, smallest, slope, error, derived, paper)


@in_float64
def first_phase(
    target: Polynomial,
    activation: Activation,
    times: Sequence[float] | Float[np.ndarray, " t"],
    num_nodes: int = _NODES,
) -> Population:
    """The first layer from ``w = 0`` at the given times, its output weights fixed.

    chen2024subspace, Algorithm 1, steps 1 and 2: neurons interact through the residual.

    Raises
    ------
    ValueError
        If the activation has no derivatives at 0, the last time is not positive, or the flow does
        not stay finite.
    """
    if not activation.facts.differentiable:
        message = (
            f"Expected an activation with derivatives at 0, where Algorithm 1 starts. Received: "
            f"{activation.facts.name}. Did you perhaps mean a smooth one (softplus, gelu, tanh)?"
        )
        raise ValueError(message)
    grid = np.asarray(times, dtype=np.float64)
    if grid.size == 0 or grid[-1] <= 0:
        message = f"Expected a first phase of positive length. Received: {times!r}."
        raise ValueError(message)
    a, weights = gauss_legendre(num_nodes)
    zeros = np.zeros((num_nodes, target.dim))
    start = Population(a, zeros, np.zeros(num_nodes), weights / 2)
    field = mean_field(target, activation, schedules=(Constant(0.0), Constant(1.0)))
    projector = invariant_projector(target, activation.facts)
    neurons, _, status = flow_from(field, start, grid, projector, _TOLERANCES)
    if status != "finished":
        message = (
            f"The first phase left the finite numbers before T = {grid[-1]:g}. Take a shorter one, "
            "or a built-in activation: quadratures of others fail at weight 0."
        )
        raise ValueError(message)
    return neurons


@in_float64
def taylor_flow(
    target: Polynomial, activation: Activation, times: Sequence[float] | Float[np.ndarray, " t"]
) -> Float[np.ndarray, "t p"]:
    r"""``\dot w = E[z h*(z) s'(w.z)]``, ``w(0) = 0``: the flow (4.1) that Assumption 4.1 expands.

    A neuron with output weight 1 that no other neuron disturbs.

    Examples
    --------
    >>> from twolayer.activations import sin
    >>> taylor_flow(Polynomial("z1"), sin, [0.01]).round(5)
    array([[0.01]])
    """
    start = Population(np.ones(1), np.zeros((1, target.dim)), np.zeros(1), np.zeros(1))
    field = mean_field(target, activation, schedules=(Constant(0.0), Constant(1.0)))
    grid = np.asarray(times, dtype=np.float64)
    return np.asarray(flow_from(field, start, grid, None, _TOLERANCES)[0].w[:, 0])


def _assumptions(target: Polynomial, activation: Activation) -> tuple[Assumption, ...]:
    condition = exact_certificate(target, activation).condition
    facts = activation.facts
    bounded = facts.smooth and math.isfinite(facts.derivative_bound)
    return (
        Assumption("Assumption 4.1", condition.holds, detail=condition.reason),
        Assumption(
            "activation smooth and bounded, Assumption 4.2",
            bounded,
            detail="the prediction needs derivatives at 0 only; Theorem 4.3 needs the bounds",
        ),
        Assumption("infinite width", None, detail="a network of m neurons differs by 1/m"),
    )
