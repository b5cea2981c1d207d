r"""Integrals over the input weights of a neuron, for one or two of them.

Smooth features: the trapezoidal rule on a grid that covers all but ``e^-45`` of the mass; for an
analytic integrand that falls off like a Gaussian its error is exponentially small in the inverse
spacing. Features with a kink at 0: Gauss-Legendre rules between the kinks, which in the plane lie
on the rays orthogonal to the inputs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy
from twolayer.numerics.quadrature import gauss_legendre
from twolayer.theory.langevin.field_growth import field_growth, sign_changes
from twolayer.theory.langevin.proximal_gibbs import (
    ProximalGibbs,
    features,
    field_bounds,
    inputs,
)

LARGEST_TABLE = 2**25  # entries of the table of features: 256 MB
_TAIL = 45.0  # e^-45 of the mass is left out
_PANEL = 16  # nodes of a Gauss-Legendre panel


@dataclass(frozen=True)
class InputNodes:
    """Nodes w with weights whose sum of ``weight * F(w)`` is ``E F(w)`` under the reference.

    Attributes
    ----------
    w
        The nodes.
    features
        The ``s(w . x_i)`` at the nodes.
    log_weights
        Logarithms of the weights, the reference density included.
    """

    w: Float[np.ndarray, "q p"]
    features: Float[np.ndarray, "q n"]
    log_weights: Float[np.ndarray, " q"]


def reach_of(gibbs: ProximalGibbs) -> float:
    r"""A radius beyond which the law of w has next to no mass.

    Where ``lw |w|^2 / (2 tau)`` exceeds twice the largest tilt that ``|g(w)| <= min(M, b + c |w|)``
    allows by 45, M and c from `field_bounds` and `field_growth` (the factor 2 covers a partition
    function below 1, and is not needed for a free output). Derived here.
    """
    problem, s = gibbs.problem, gibbs.bounds
    growth = field_growth(gibbs).upper
    offset = s.offset * float(np.mean(np.linalg.norm(gibbs.slopes, axis=1)))
    largest = field_bounds(gibbs).largest
    temperature = float(problem.temperature)
    stiffness = float(problem.input_decay) / (2 * temperature)
    # tail + unit * (offset + growth * radius)^power = stiffness * radius^2
    if problem.output == "free":
        unit = 1 / (2 * float(problem.output_decay) * temperature)
        constant, linear = unit * offset**2, 2 * unit * offset * growth
        quadratic, flat = stiffness - unit * growth**2, unit * largest**2
    else:
        unit = 2 * float(problem.bound) * math.sqrt(problem.num_outputs) / temperature
        constant, linear, quadratic, flat = unit * offset, unit * growth, stiffness, unit * largest
    radius = math.sqrt((flat + _TAIL) / stiffness)
    if quadratic > 0:
        discriminant = linear**2 + 4 * quadratic * (constant + _TAIL)
        radius = min(radius, (linear + math.sqrt(discriminant)) / (2 * quadratic))
    return radius


def input_nodes(problem: FreeEnergy, reach: float, level: int) -> InputNodes:
    """The rule of a level, twice as fine in each direction as that of the level before.

    Raises
    ------
    ValueError
        If there are more than two input weights, or the rule is too large to be stored.
    """
    if problem.dim > 2:
        message = "Expected one or two input weights for quadrature. "
        message += f"Received: {problem.dim}; use certify_particles."
        raise ValueError(message)
    if num_nodes(problem, reach, level) * problem.num_samples > LARGEST_TABLE:
        message = f"Expected a rule that fits into memory. Received: {problem.num_samples} samples "
        message += f"and {num_nodes(problem, reach, level)} nodes; use certify_particles."
        raise ValueError(message)
    if problem.activation.facts.smooth:
        spacing = _spacing(problem, level)
        w, log_volume = _trapezoidal(problem.dim, math.ceil(reach / spacing), spacing)
    else:
        w, log_volume = _between_kinks(problem.dim, _arcs(problem), reach, level)
    inside = np.linalg.norm(w, axis=1) <= reach * (1 + 1e-9)
    w, log_volume = w[inside], log_volume[inside]
    deviation = _deviation(problem)
    log_norm = problem.dim * math.log(math.sqrt(2 * math.pi) * deviation)
    log_density = -np.sum(w**2, axis=1) / (2 * deviation**2) - log_norm
    return InputNodes(w, features(problem, w), log_volume + log_density)


def num_nodes(problem: FreeEnergy, reach: float, level: int) -> int:
    """How many nodes the rule of a level has."""
    if problem.activation.facts.smooth:
        return (2 * math.ceil(reach / _spacing(problem, level)) + 1) ** problem.dim
    radial = _PANEL * 2**level
    return 2 * radial if problem.dim == 1 else radial * len(_arcs(problem)) * _arc_nodes(level)


def _deviation(problem: FreeEnergy) -> float:
    return math.sqrt(float(problem.temperature) / float(problem.input_decay))


def _spacing(problem: FreeEnergy, level: int) -> float:
    """Fine against the reference's width, and against the distance over which s(w . x) bends."""
    largest = float(np.max(np.linalg.norm(inputs(problem), axis=1)))
    return min(_deviation(problem), 1.0 / largest if largest else math.inf) / 2**level


def _arcs(problem: FreeEnergy) -> np.ndarray:
    """Angles without a kink between two neighbours, none farther apart than a quarter turn."""
    if problem.dim == 1:
        return np.zeros(0)
    edges = sign_changes(inputs(problem))
    around = np.append(edges, edges[0] + 2 * math.pi)
    cuts = [
        np.linspace(low, high, math.ceil((high - low) / (math.pi / 2)) + 1)[:-1]
        for low, high in itertools.pairwise(around)
    ]
    return np.append(np.concatenate(cuts), around[-1])


def _arc_nodes(level: int) -> int:
    return max(2, _PANEL // 4 * 2**level)


def _trapezoidal(dim: int, count: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    line = np.arange(-count, count + 1) * spacing
    w = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return w, np.full(len(w), dim * math.log(spacing))


def _between_kinks(
    dim: int, arcs: np.ndarray, reach: float, level: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rays from the origin: two on the line, in the plane some between any two kinks."""
    radii, radial = _panels(np.linspace(0.0, reach, 2**level + 1), _PANEL)
    if dim == 1:
        w = np.concatenate([-radii[::-1], radii])[:, None]
        return w, np.log(np.concatenate([radial[::-1], radial]))
    angles, angular = _panels(arcs, _arc_nodes(level))
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    w = (radii[:, None, None] * directions).reshape(-1, 2)
    return w, np.log(np.multiply.outer(radial * radii, angular)).reshape(-1)


def _panels(ends: np.ndarray, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """A Gauss-Legendre rule on each interval between two neighbouring ends."""
    nodes, weights = gauss_legendre(num_nodes)
    half = np.diff(ends)[:, None] / 2
    return ((ends[:-1, None] + half) + half * nodes).reshape(-1), (half * weights).reshape(-1)
