"""What gradient features guarantee of the trained network: the main bound and its parts.

The bound has the three terms that the abstract and summaries of shi2023provable tell of its
Theorem 3.12: the optimum over induced networks, a term of the cones, a remainder. Its constants
were not at hand: those here are derived, and not to be attributed to the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from twolayer.outcomes import Assumption, Prediction

REFERENCE = "derived here, with the three terms of shi2023provable, Theorem 3.12"
_COIN = 0.5  # the error of a coin: a bound above it says nothing


@dataclass(frozen=True)
class FeatureConstants:
    """What the cone term of the bound is made of.

    Attributes
    ----------
    gamma
        Opening of the cones, in (0, 1).
    gradient_bound
        The least length B_G of the gradients in them.
    output_bound
        The largest output weight B_a1 of the induced networks.
    input_norm
        B_x1: the mean of ``|x|``. ``sqrt(lambda_max(E x x^T))`` does as well, and is smaller
        where x has no direction of its own: 1 against about sqrt(d) for isotropic inputs.
    second_moment
        B_x2: the mean of ``|x|^2``.
    lipschitz
        Lipschitz constant of the loss: 1 for the hinge, 1 / log 2 for logistic / log 2.
    tolerance
        Relative deviation of the kinks, as in `realise`.

    Raises
    ------
    ValueError
        If a constant is not positive, or gamma is not below 1.
    """

    gamma: float
    gradient_bound: float
    output_bound: float
    input_norm: float
    second_moment: float
    lipschitz: float = 1.0
    tolerance: float = 0.0

    def __post_init__(self):
        positive = (
            self.gradient_bound, self.output_bound, self.input_norm, self.second_moment,
            self.lipschitz,
        )  # fmt: skip
        if not all(0 < value < math.inf for value in positive) or not self.tolerance >= 0:
            message = "Expected positive constants. "
            message += f"Received: {', '.join(map(str, (*positive, self.tolerance)))}."
            raise ValueError(message)
        if not 0 < self.gamma < 1:
            message = f"Expected an opening inside (0, 1). Received: {self.gamma!r}."
            raise ValueError(message)


def main_bound(
    neurons: Float[np.ndarray, " r"],
    optimum: Float[np.ndarray, " r"],
    constants: FeatureConstants,
    *,
    num_samples: float = math.inf,
    remainder: float = 0.0,
) -> Prediction:
    r"""The bound of loss and error after training, for every number r of induced neurons.

    .. math:: P(\operatorname{sign} f \ne y) \le L(f) \le \mathrm{OPT}_r + \mathrm{Lip}\; r B_{a1}
              B_{x1} \Big( \sqrt{2 \gamma} + \frac{2}{B_G} \sqrt{\frac{B_{x2}}{n}} + e \Big)
              + \epsilon

    It holds for each r at once, so the least of the curve counts: a simple network if few neurons
    will do. Derived here: a unit vector in the cone is within ``sqrt(2 gamma)`` of D, and the
    direction of n samples' gradient within ``2 |G^ - G| / B_G`` of the population's, in the mean
    over samples. For bounded outputs and inputs of any scale it is mostly vacuous: the last
    assumption says so.

    Parameters
    ----------
    neurons, optimum
        Numbers r and OPT_r, or an upper bound of it.
    constants
        The cones and the law's moments.
    num_samples
        Samples of the gradient step; infinitely many for the population's gradient.
    remainder
        The epsilon: see `top_layer_bound`.

    Raises
    ------
    ValueError
        If the numbers of neurons and losses differ, are negative, or there are no samples.

    Examples
    --------
    >>> constants = FeatureConstants(0.02, 0.1, 5.0, 8.0, 64.0)
    >>> bound = main_bound(np.asarray([4.0]), np.asarray([0.1]), constants)
    >>> round(float(bound.value[0]), 3), bound.assumptions[-1].holds
    (32.1, False)
    """
    r, losses = np.asarray(neurons, np.float64), np.asarray(optimum, np.float64)
    if r.ndim != 1 or r.shape != losses.shape or not len(r) or np.any(r < 1) or np.any(losses < 0):
        message = "Expected numbers of neurons and a loss of at least 0 for each. "
        message += f"Received: {r.tolist()} and {losses.tolist()}."
        raise ValueError(message)
    if not num_samples > 0 or not remainder >= 0:
        message = "Expected samples and a remainder of at least 0. "
        message += f"Received: {num_samples!r} and {remainder!r}."
        raise ValueError(message)
    apart = math.sqrt(2 * constants.gamma) + constants.tolerance
    apart += 2 / constants.gradient_bound * math.sqrt(constants.second_moment / num_samples)
    slope = constants.lipschitz * constants.output_bound * constants.input_norm
    value = losses + r * slope * apart + remainder
    least = float(np.min(value))
    return Prediction(
        "error of the trained network",
        r,
        value,
        "upper",
        REFERENCE,
        (
            Assumption(
                "every induced neuron has a stand-in after the first step",
                None,
                detail="needs enough neurons: see realise and expected_hits",
            ),
            Assumption(
                "bound not vacuous: below the error of a coin",
                least < _COIN,
                _COIN - least,
                f"its least value over the number of neurons is {least:.4g}",
            ),
        ),
        grid_name="number of neurons",
    )


class TopLayerBound(NamedTuple):
    """The parts of the remainder.

    Attributes
    ----------
    optimisation
        Excess training loss over the comparison after so many steps.
    generalisation
        Excess of the loss of the law over that of the samples, in the mean over samples, for the
        first weights as good as the comparison, or the last where none are.
    """

    optimisation: float
    generalisation: float


def top_layer_bound(
    features: Float[np.ndarray, "n m"],
    start: Float[np.ndarray, " m"],
    comparison: Float[np.ndarray, " m"],
    *,
    steps: float,
    curvature: float = 0.25 / math.log(2),
    lipschitz: float = 1 / math.log(2),
) -> TopLayerBound:
    r"""What gradient descent on the output weights loses against any fixed ones.

    .. math:: \hat L(a_T) - \hat L(\tilde a) \le \frac{\beta\, |\tilde a - a_1|^2}{2 T}, \qquad
              E \sup_{|a| \le B} (L - \hat L)(a) \le 2\, \mathrm{Lip}\, B
              \sqrt{E |h|^2 / n}

    for steps of size ``1 / beta`` with ``beta = curvature lambda_max(E h h^T)``. As long as their
    loss is above that of the comparison, the weights get no farther from it than they started;
    the first ones below it are one step of descent off at most. So for some t up to T both hold
    with ``B = |a~| + |a~ - a_1| + Lip sqrt(lambda_max) / beta``; later weights may grow beyond.
    Textbook facts of convex optimisation and of Rademacher averages, put together here.

    Parameters
    ----------
    features
        The hidden units h at the samples.
    start, comparison
        The output weights ``a_1`` and ``a~``.
    steps
        The number T.
    curvature, lipschitz
        Bounds of the loss's derivatives in f: those of logistic / log 2 by default.

    Raises
    ------
    ValueError
        If the shapes don't fit, or there is no step.

    Examples
    --------
    >>> h = np.ones((100, 1))
    >>> part = top_layer_bound(h, np.zeros(1), np.ones(1), steps=50, curvature=1.0, lipschitz=1.0)
    >>> part.optimisation, round(part.generalisation, 12)
    (0.01, 0.6)
    """
    h = np.asarray(features, np.float64)
    start, comparison = np.asarray(start, np.float64), np.asarray(comparison, np.float64)
    if h.ndim != 2 or not h.size or {start.shape, comparison.shape} != {h.shape[1:]}:
        message = "Expected features [n, m] and weights [m]. "
        message += f"Received: shapes {h.shape}, {start.shape} and {comparison.shape}."
        raise ValueError(message)
    if not steps > 0:
        message = f"Expected at least one step. Received: {steps!r}."
        raise ValueError(message)
    n = len(h)
    gram = h.T @ h if h.shape[1] <= n else h @ h.T
    largest = max(float(np.linalg.eigvalsh(gram)[-1]) / n, 0.0)
    smoothness = curvature * largest
    away = float(np.linalg.norm(comparison - start))
    stride = lipschitz * math.sqrt(largest) / smoothness if largest else 0.0
    radius = away + float(np.linalg.norm(comparison)) + stride
    size = math.sqrt(float(np.mean(np.sum(h**2, axis=1))) / n)
    return TopLayerBound(smoothness * away**2 / (2 * steps), 2 * lipschitz * radius * size)
