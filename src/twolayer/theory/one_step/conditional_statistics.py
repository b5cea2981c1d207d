r"""Features and labels given the data's few directions: nodes, means and covariances.

Given ``kappa = U^T x`` a neuron's input is a shift plus a Gaussian bulk, ``c_i + b_i z``; its
feature is, as far as ridge regression sees, ``mu_0i + mu_1i z + mu_2i g`` (demir2025asymptotic,
Theorem 3, with ``mu_1i = E z s(c_i + b_i z)``).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from twolayer.activations import Activation
from twolayer.activations.hermite_equivalent import HermiteEquivalent
from twolayer.inputs import Gaussian, GaussianMixture
from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.precision import in_float64
from twolayer.numerics.quadrature import gauss_hermite, gauss_legendre, spread_points
from twolayer.targets import SingleIndex
from twolayer.tasks import Classification, Regression

_REACH = 9.0  # the Gaussian mass outside is 2e-19
_HALF_NODES = 40
_BLOCK = 400_000  # values of the activation held at a time
_LINE_NODES = 48
OFF_SPAN = 1e-2  # what the span may miss of means and covariances: far below the bulk's 1


@dataclass(frozen=True)
class Nodes:
    """Points of kappa that stand for its law, and the labels there.

    Attributes
    ----------
    kappa
        The points, shape ``[q, r]``.
    weights
        Their probabilities.
    label, label_power
        ``E[y | .]`` and ``E[y^2 | .]``, with the label noise.
    label_slope
        ``E[z y | .]`` with z the component of x along `across`.
    across
        The unit vector of the teacher's part outside the span; 0 without such a part.
    off_span
        The largest part of a mean or of a covariance that the span misses.
    """

    kappa: Float[np.ndarray, "q r"]
    weights: Float[np.ndarray, " q"]
    label: Float[np.ndarray, " q"]
    label_power: Float[np.ndarray, " q"]
    label_slope: Float[np.ndarray, " q"]
    across: Float[np.ndarray, " d"]
    off_span: float


@dataclass(frozen=True)
class Features:
    """Means and covariances of the features at each node, k neurons.

    Attributes
    ----------
    mean, slope, rest
        ``mu_0``, ``mu_1`` and ``mu_2^2`` with the network's scale, shape ``[q, k]``.
    overlaps
        The cosines of the neurons' weights outside the span, shape ``[k, k]``.
    teacher
        Their cosines with the teacher's part outside the span, shape ``[k]``.
    """

    mean: Float[np.ndarray, "q k"]
    slope: Float[np.ndarray, "q k"]
    rest: Float[np.ndarray, "q k"]
    overlaps: Float[np.ndarray, "k k"]
    teacher: Float[np.ndarray, " k"]


def span_of(directions: object, dim: int) -> Float[np.ndarray, "d r"]:
    """An orthonormal basis of the span of these vectors, a vector a row.

    Raises
    ------
    ValueError
        If they are not finite vectors of that dimension, or all of them are 0.

    Examples
    --------
    >>> span_of([[2.0, 0.0], [-1.0, 0.0]], 2).shape
    (2, 1)
    """
    rows = np.atleast_2d(np.asarray(directions, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != dim or not np.all(np.isfinite(rows)):
        message = f"Expected directions as finite vectors of {dim} coordinates, one a row. "
        message += f"Received: an array of shape {rows.shape}."
        raise ValueError(message)
    lengths = np.linalg.norm(rows, axis=1)
    rows = rows[lengths > 0] / lengths[lengths > 0, None]
    if not len(rows):
        message = "Expected at least one direction that is not 0. Received: none; pass the "
        message += "gradient's direction, or any vector if there is no structure."
        raise ValueError(message)
    _, sizes, vectors = np.linalg.svd(rows, full_matrices=False)
    return vectors[sizes > 1e-6].T  # single precision repeats a vector up to 1e-7


def data_directions(inputs: Gaussian | GaussianMixture) -> Float[np.ndarray, "n d"]:
    """The spikes and means of a mixture, one a row: what the span must hold besides the gradient.

    Examples
    --------
    >>> from twolayer.inputs import spiked_mixture
    >>> data_directions(spiked_mixture(jnp.eye(5)[:1], jnp.eye(5)[1:2], 3.0)).shape
    (2, 5)
    """
    if isinstance(inputs, Gaussian):
        return np.zeros((0, inputs.dim))
    means, spikes, strengths = _structure(inputs)
    used = np.abs(strengths.ravel()) > 1e-6
    return np.concatenate([
        spikes.reshape(-1, inputs.dim)[used],
        means[np.linalg.norm(means, axis=1) > 1e-6],
    ])


def label_nodes(
    task: Regression | Classification, basis: Float[np.ndarray, "d r"], num_points: int
) -> Nodes:
    """Nodes of kappa for each component of the inputs, with what labels are there.

    Whitened and antithetic: `num_points` of them and their mirror images have mean 0 and unit
    covariance exactly. A Gauss rule if the span is a line.

    Raises
    ------
    ValueError
        If the labels are neither components' names nor a single-index function of the input, or
        the inputs have structure outside the span.
    """
    inputs, target = getattr(task, "inputs", None), getattr(task, "target", None)
    known = isinstance(task, Classification) or isinstance(target, SingleIndex)
    if not (known and isinstance(inputs, (Gaussian, GaussianMixture))):
        message = "Expected a Classification, or a Regression on a SingleIndex target, of Gaussian "
        message += f"or GaussianMixture inputs. Received: {type(task).__name__} with "
        message += f"{type(inputs).__name__} inputs and {type(target).__name__} target."
        raise ValueError(message)
    off_span, components, labels = _components(task, basis)
    parts = []
    for c, (share, centre, covariance) in enumerate(components):
        points, weights = _normal_nodes(num_points, basis.shape[1], (c + 0.5) / len(components))
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        parts.append((centre + points @ root.T, share * weights))
    kappa = np.concatenate([part[0] for part in parts])
    weights = np.concatenate([part[1] for part in parts])
    if not isinstance(target, SingleIndex):
        label = np.repeat(labels, [len(part[1]) for part in parts])
        zero = np.zeros_like(label)
        return Nodes(kappa, weights, label, label**2, zero, np.zeros(len(basis)), off_span)
    xi = np.asarray(target.direction, dtype=np.float64)
    across = xi - basis @ (basis.T @ xi)
    length = float(np.linalg.norm(across))
    length = length if length > 1e-6 * float(np.linalg.norm(xi)) else 0.0
    shift = kappa @ (basis.T @ xi)
    mean, slope, rest = bulk_means(target.link, shift, np.full_like(shift, length))
    power = rest + mean**2 + slope**2 + float(getattr(task, "noise_std", 0.0)) ** 2
    across = across / length if length else np.zeros_like(across)
    return Nodes(kappa, weights, mean, power, slope, across, off_span)


def feature_statistics(
    network: TwoLayerNetwork,
    activation: Activation | HermiteEquivalent,
    basis: Float[np.ndarray, "d r"],
    nodes: Nodes,
) -> Features:
    """The features' means and covariances given kappa, at each node."""
    W = np.asarray(network.W, dtype=np.float64)
    scale = float(network.scale)
    shifts = nodes.kappa @ (W @ basis).T
    if network.b is not None:
        shifts = shifts + np.asarray(network.b, dtype=np.float64)
    bulk = W - (W @ basis) @ basis.T
    sizes = np.linalg.norm(bulk, axis=1)
    mean, slope, rest = bulk_means(activation, shifts, np.broadcast_to(sizes, shifts.shape))
    if isinstance(activation, HermiteEquivalent):
        rest = rest + float(activation.noise) ** 2
    units = bulk / np.where(sizes > 0, sizes, 1.0)[:, None]
    overlaps = units @ units.T
    np.fill_diagonal(overlaps, 1.0)
    return Features(scale * mean, scale * slope, scale**2 * rest, overlaps, units @ nodes.across)


@in_float64
def bulk_means(
    function: Activation | HermiteEquivalent,
    shift: Float[np.ndarray, "*n"],
    scale: Float[np.ndarray, "*n"],
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """``E f``, ``E z f`` and ``E (f - E f - z E z f)^2`` of ``f(shift + scale z)``, elementwise.

    The integral is split where the argument is 0, so that a kink there costs nothing; one
    elsewhere costs some 1e-4.

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> mean, slope, rest = bulk_means(relu, np.array([0.0]), np.array([2.0]))
    >>> bool(np.allclose([mean[0] * np.sqrt(np.pi / 2), slope[0]], 1.0))
    True
    """
    x, w = gauss_legendre(_HALF_NODES, 0.0, 1.0)
    flat, sizes = np.ravel(shift), np.ravel(scale)
    totals = np.empty((3, flat.size))
    block = max(1, _BLOCK // (2 * x.size))
    for start in range(0, flat.size, block):
        c, b = flat[start : start + block, None], sizes[start : start + block, None]
        safe = np.where(b > 0, b, 1.0)
        cut = np.where(b > 0, np.clip(-c / safe, -_REACH, _REACH), 0.0)
        z = np.concatenate([(cut + _REACH) * x - _REACH, (_REACH - cut) * x + cut], axis=1)
        p = np.concatenate([(cut + _REACH) * w, (_REACH - cut) * w], axis=1)
        p = p * np.exp(-(z**2) / 2)
        p = p / p.sum(axis=1, keepdims=True)
        values = np.asarray(function(jnp.asarray(c + b * z)), dtype=np.float64)
        mean = np.sum(p * values, axis=1)
        slope = np.sum(p * z * values, axis=1)
        rest = np.sum(p * (values - mean[:, None] - slope[:, None] * z) ** 2, axis=1)
        totals[:, start : start + block] = mean, slope, rest
    if not np.all(np.isfinite(totals)):
        message = "Expected an activation with finite values. Received: NaN or infinity among them."
        raise ValueError(message)
    mean, slope, rest = totals.reshape(3, *np.shape(shift))
    return mean, slope, rest


def _normal_nodes(num_points: int, dim: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    if dim == 1:
        nodes, weights = gauss_hermite(min(num_points, _LINE_NODES))
        return nodes[:, None], weights
    half = ndtri(spread_points(num_points, dim, shift))
    points = np.concatenate([half, -half])
    values, vectors = np.linalg.eigh(points.T @ points / len(points))
    points = points @ (vectors / np.sqrt(values)) @ vectors.T
    return points, np.full(len(points), 1 / len(points))


def _components(
    task: Regression | Classification, basis: np.ndarray
) -> tuple[float, list[tuple[float, np.ndarray, np.ndarray]], np.ndarray]:
    """What the span misses; share, mean and covariance of kappa in each component; labels."""
    inputs, rank = task.inputs, basis.shape[1]
    if not isinstance(inputs, GaussianMixture):
        return 0.0, [(1.0, np.zeros(rank), np.eye(rank))], np.zeros(1)
    means, spikes, strengths = _structure(inputs)
    shares = np.asarray(inputs.proportions, dtype=np.float64)
    missed = spikes - (spikes @ basis) @ basis.T
    off_span = max(
        float(np.max(np.abs(strengths) * np.linalg.norm(missed, axis=2), initial=0.0)),
        float(np.max(np.linalg.norm(means - (means @ basis) @ basis.T, axis=1), initial=0.0)),
    )
    if off_span > OFF_SPAN:
        message = "Expected inputs whose means, and covariances apart from the identity, lie in "
        message += f"the span of the directions. Received: {off_span:.3g} outside; add "
        message += "data_directions(task.inputs) to them. Full covariances have no such span."
        raise ValueError(message)
    inside, present = spikes @ basis, np.flatnonzero(shares > 0)
    components = [
        (
            float(shares[c]),
            means[c] @ basis,
            np.eye(rank) + (inside[c].T * strengths[c]) @ inside[c],
        )
        for c in present
    ]
    labels = getattr(task, "labels", np.zeros(len(shares)))
    return off_span, components, np.asarray(labels, dtype=np.float64)[present]


def _structure(inputs: GaussianMixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = (inputs.means, inputs.directions, inputs.strengths)
    means, spikes, strengths = (np.asarray(part, dtype=np.float64) for part in parts)
    return means, spikes, strengths
