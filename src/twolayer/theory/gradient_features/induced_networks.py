"""Networks made of gradient features, and the least hinge loss that they reach.

A gradient feature is a direction D and a sign s. Networks induced by a set of them are
``f(x) = sum_i a_i relu(<w_i, x> - b_i)`` with every ``w_i = +-D``, ``b_i = s beta_i`` and
``0 < beta_i <= B_b`` for one of the features (the cone around D is two-sided), ``|a_i| <= B_a1``
and ``|a|_2 <= B_a2``. The library's biases are the negative of these: ``relu(w . x + b)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from twolayer.activations.catalogue import relu
from twolayer.networks import TwoLayerNetwork
from twolayer.numerics.montecarlo import MeanAndError, mean_and_error
from twolayer.theory.gradient_features.hinge_programme import least_hinge


@dataclass(frozen=True)
class InducedNetworks:
    """The networks that a set of gradient features induces, their biases on a grid.

    The class of shi2023provable as far as its abstract and summaries describe it; the grid and
    the two-sided cone are ours.

    Attributes
    ----------
    directions
        The D, one a row; of any length but 0, they are normalised.
    signs
        The s, 1 or -1, one for each direction: a feature with both signs stands twice.
    bias_bound
        The largest ``|b_i|``, B_b.
    output_bound, output_norm
        The largest ``|a_i|``, B_a1, and the largest Euclidean norm of a, B_a2.
    num_biases
        Points of the grid of biases in ``(0, B_b]``.

    Raises
    ------
    ValueError
        If there is not one sign for each direction, a direction is 0 or not finite, a sign is
        neither 1 nor -1, a bound is not positive, or the grid is empty.

    Examples
    --------
    >>> family = InducedNetworks(np.eye(3)[:1], np.ones(1), bias_bound=2.0, num_biases=2)
    >>> W, b = family.neurons
    >>> W[:, 0].tolist(), b.tolist()
    ([1.0, 1.0, -1.0, -1.0], [1.0, 2.0, 1.0, 2.0])
    """

    directions: Float[np.ndarray, "k d"]
    signs: Float[np.ndarray, " k"]
    bias_bound: float
    output_bound: float = math.inf
    output_norm: float = math.inf
    num_biases: int = 16

    def __post_init__(self):
        directions = np.asarray(self.directions, np.float64)
        signs = np.asarray(self.signs, np.float64)
        if directions.ndim != 2 or not directions.size or signs.shape != directions.shape[:1]:
            message = "Expected one direction a row and one sign for each. "
            message += f"Received: shapes {directions.shape} and {signs.shape}."
            raise ValueError(message)
        lengths = np.linalg.norm(directions, axis=1)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            message = "Expected finite directions of positive length. Received: others; leave out "
            message += "the neurons without a gradient."
            raise ValueError(message)
        if not np.all(np.abs(signs) == 1):
            message = "Expected signs 1 and -1. Received: others."
            raise ValueError(message)
        bounds = (self.bias_bound, self.output_bound, self.output_norm)
        if not (0 < self.bias_bound < math.inf and all(bound > 0 for bound in bounds)):
            message = "Expected positive bounds, that of the biases finite. "
            message += f"Received: {', '.join(map(str, bounds))}."
            raise ValueError(message)
        if isinstance(self.num_biases, bool) or self.num_biases < 1:
            message = f"Expected at least one bias. Received: {self.num_biases!r}."
            raise ValueError(message)
        object.__setattr__(self, "directions", directions / lengths[:, None])
        object.__setattr__(self, "signs", signs)

    @property
    def neurons(self) -> tuple[Float[np.ndarray, "c d"], Float[np.ndarray, " c"]]:
        """All neurons: directions w, one a row, and the biases b that are *subtracted*."""
        grid = self.bias_bound * np.arange(1, self.num_biases + 1) / self.num_biases
        both = np.concatenate([self.directions, -self.directions])
        biases = np.concatenate([self.signs, self.signs])[:, None] * grid
        return np.repeat(both, self.num_biases, axis=0), biases.reshape(-1)


@dataclass(frozen=True)
class InducedOptimum:
    """An induced network of least hinge loss on given samples.

    Attributes
    ----------
    network
        The network.
    loss
        Its mean hinge loss on these samples. Over draws of the samples its mean is at most OPT
        of the population where it is the least; the loss on other samples is at least OPT.
    lower
        No network with these neurons has a smaller one on these samples; `loss` but for the
        last cuts of a bound on the norm.
    chosen
        Its neurons among those of the family.
    slackness
        How much each sample weighs at the optimum, the dual variables, of sum 1 at most.
    """

    network: TwoLayerNetwork
    loss: float
    lower: float
    chosen: Int[np.ndarray, " r"]
    slackness: Float[np.ndarray, " n"]


def optimal_induced_network(
    family: InducedNetworks,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    *,
    weights: Float[np.ndarray, " n"] | None = None,
) -> InducedOptimum:
    r"""The induced network of least mean hinge loss, every neuron of the grid allowed.

    .. math:: \mathrm{OPT} = \min_a \tfrac1n \sum_i (1 - y_i f_a(x_i))_+,
              \qquad |a_j| \le B_{a1},\ |a|_2 \le B_{a2}

    a linear programme with as many slacks as samples (the definition of OPT in shi2023provable
    restricted to the grid; the programme and the cuts for the norm are derived here).

    Parameters
    ----------
    family
        Features and bounds.
    x, y
        Samples and their labels 1 and -1.
    weights
        Weights of the samples, of sum 1, if not 1 / n: with the nodes and weights of a
        quadrature rule the loss is OPT of the law itself.

    Raises
    ------
    ValueError
        If the samples don't fit the features, labels are others, or weights are no shares.

    Examples
    --------
    >>> family = InducedNetworks(np.eye(2)[:1], np.asarray([-1.0]), bias_bound=1.0)
    >>> x = np.asarray([[1.0, 0.0], [-1.0, 3.0]])
    >>> round(optimal_induced_network(family, x, np.asarray([1.0, -1.0])).loss, 12)
    0.0
    """
    x, y, share = _samples(family, x, y, weights)
    W, b = family.neurons
    features = np.maximum(x @ W.T - b, 0.0)
    return _fit(family, (features, y, share), np.arange(len(b)))


def greedy_induced_networks(
    family: InducedNetworks,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    *,
    max_neurons: int,
    trials: int = 4,
    weights: Float[np.ndarray, " n"] | None = None,
) -> list[InducedOptimum]:
    """Networks of 1, 2, ... neurons: an upper bound of OPT_r for every number r of neurons.

    Forward selection (derived here): the neurons with the largest reduced cost
    ``|sum_i lambda_i y_i relu(<w, x_i> - b)|`` at the optimum so far are tried in turn, each with
    all weights fitted anew by linear programming, and the best is kept. The path ends where the
    loss is 0 or nothing lowers it.

    Parameters
    ----------
    family, x, y, weights
        As for `optimal_induced_network`.
    max_neurons
        The largest r.
    trials
        Neurons tried at each length.

    Raises
    ------
    ValueError
        As for `optimal_induced_network`, or if a number is not positive.

    Examples
    --------
    >>> family = InducedNetworks(np.eye(1), np.asarray([1.0]), bias_bound=1.0, num_biases=2)
    >>> x = np.asarray([[0.0], [-1.0], [1.0], [-2.0]])
    >>> path = greedy_induced_networks(family, x, np.asarray([1, -1, 1, -1.0]), max_neurons=2)
    >>> [round(step.loss, 6) for step in path]
    [0.5, 0.25]
    """
    if max_neurons < 1 or trials < 1:
        message = "Expected at least one neuron and one trial. "
        message += f"Received: {max_neurons!r} and {trials!r}."
        raise ValueError(message)
    x, y, share = _samples(family, x, y, weights)
    W, b = family.neurons
    features = np.maximum(x @ W.T - b, 0.0)
    problem = (features, y, share)
    path: list[InducedOptimum] = []
    chosen, dual, loss = np.zeros(0, int), share, 1.0
    while len(path) < max_neurons and loss > 1e-12:
        gain = np.abs((dual * y) @ features)
        gain[chosen] = -1.0
        candidates = np.argsort(-gain, kind="stable")[:trials]
        fits = [_fit(family, problem, np.append(chosen, j)) for j in candidates if gain[j] > 0]
        best = min(fits, key=lambda fit: fit.loss, default=None)
        if best is None or best.loss > loss - 1e-12:
            break
        path.append(best)
        chosen, dual, loss = best.chosen, best.slackness, best.loss
    return path


def hinge_loss(
    network: TwoLayerNetwork, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"]
) -> MeanAndError:
    """The mean hinge loss of a relu network on samples, with its standard error.

    Examples
    --------
    >>> network = relu_network(np.ones(1), np.ones((1, 1)), np.zeros(1))
    >>> float(hinge_loss(network, np.asarray([[0.5], [0.5]]), np.ones(2)).mean)
    0.5
    """
    return mean_and_error(np.maximum(1 - np.asarray(y, np.float64) * values(network, x), 0.0))


def values(network: TwoLayerNetwork, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """The values of a relu network in NumPy's double precision, by blocks of samples."""
    W = np.asarray(network.W, np.float64)
    a = float(network.scale) * np.asarray(network.a, np.float64)
    b = np.zeros(len(a)) if network.b is None else np.asarray(network.b, np.float64)
    x = np.asarray(x, np.float64)
    rows = max(1, 2**22 // max(len(a), 1))
    parts = [
        np.maximum(x[start : start + rows] @ W.T + b, 0.0) @ a for start in range(0, len(x), rows)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def relu_network(
    a: Float[np.ndarray, " m"], W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"]
) -> TwoLayerNetwork:
    """``f(x) = sum_i a_i relu(<w_i, x> - b_i)``: the bias is *subtracted*, as in the theory.

    Examples
    --------
    >>> network = relu_network(np.ones(1), np.ones((1, 1)), np.ones(1))
    >>> values(network, np.asarray([[3.0], [0.5]])).tolist()
    [2.0, 0.0]
    """
    with jax.enable_x64(True):
        parts = [jnp.asarray(np.asarray(part, np.float64)) for part in (a, W, -np.asarray(b))]
        return TwoLayerNetwork(*parts, relu, 1.0)  # type: ignore[arg-type]


def _fit(
    family: InducedNetworks,
    problem: tuple[np.ndarray, np.ndarray, np.ndarray],
    chosen: np.ndarray,
) -> InducedOptimum:
    (W, b), (features, y, share) = family.neurons, problem
    a, loss, lower, dual = least_hinge(
        features[:, chosen], y, bound=family.output_bound, norm=family.output_norm, weights=share
    )
    return InducedOptimum(relu_network(a, W[chosen], b[chosen]), loss, lower, chosen, dual)


def _samples(
    family: InducedNetworks, x: object, y: object, weights: object
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    dim = family.directions.shape[1]
    if x.ndim != 2 or x.shape[1] != dim or y.shape != x.shape[:1] or not len(y):
        message = f"Expected inputs of {dim} coordinates, one a row, and a label for each. "
        message += f"Received: shapes {x.shape} and {y.shape}."
        raise ValueError(message)
    if not np.all(np.isfinite(x)) or not np.all(np.abs(y) == 1):
        message = "Expected finite inputs and labels 1 and -1. Received: others; "
        message += "twolayer.tasks.binary_labels makes them from two classes."
        raise ValueError(message)
    share = np.full(len(y), 1 / len(y)) if weights is None else np.asarray(weights, np.float64)
    if share.shape != y.shape or np.any(share < 0) or not abs(np.sum(share) - 1) < 1e-6:
        message = "Expected a weight of at least 0 for each sample, of sum 1. "
        message += f"Received: shape {share.shape}, sum {np.sum(share):g}."
        raise ValueError(message)
    return x, y, share
