"""Convexity seen from one point near over-parameterised global minima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from twolayer.outcomes import Assumption
from twolayer.theory.landscape.risk import checked, relu_risk_hessian

REFERENCE = "safran2021effects, Theorem 10 and Conjecture 12"
_ORTHONORMAL = 1e-9


@dataclass(frozen=True)
class OnePointCurvature:
    """The curvature towards the balanced global minimum, and its bound.

    Attributes
    ----------
    curvature
        ``(w - w~)^T H(w) (w - w~)``.
    bound
        ``(|g|^2 + (1 - 2/pi) sum_i |g_i|^2) / 4``: a lower bound up to ``O(eps^2.5)`` by Theorem
        10, and without that term by Conjecture 12.
    distance
        ``|w - w~|``, the eps.
    assumptions
        What the theorem asks for.
    """

    curvature: float
    bound: float
    distance: float
    assumptions: tuple[Assumption, ...]

    @property
    def slack(self) -> float:
        """Curvature minus bound: Conjecture 12 says that it is never negative."""
        return self.curvature - self.bound


def one_point_curvature(
    student: Float[np.ndarray, "n d"],
    teacher: Float[np.ndarray, "k d"],
    owner: Sequence[int],
) -> OnePointCurvature:
    r"""How convex the risk is from ``W`` towards the balanced global minimum ``w~``.

    .. math:: (w - \tilde w)^T H(w) (w - \tilde w) \ge \tfrac14 \Big(|g|^2
              + \big(1 - \tfrac2\pi\big) \sum_i |g_i|^2\Big) - O(\epsilon^{2.5}),
              \qquad g_i = \sum_{j: owner(j) = i} w_j - v_i,\ g = \sum_i g_i

    with ``w~_j = v_i / m`` for each of the m neurons that teacher i owns: safran2021effects,
    Theorem 10. The bound vanishes where every group sums to its teacher: there only the error
    term is left, and the risk is convex towards ``w~`` by Conjecture 12 alone.

    Parameters
    ----------
    student, teacher
        As for `relu_risk_hessian`.
    owner
        The teacher that each neuron belongs to, ``[n]``.

    Raises
    ------
    ValueError
        As for `relu_risk_hessian`, or unless `owner` names a teacher for each neuron and leaves
        no teacher without one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = np.repeat(np.eye(3), 2, axis=0) / 2 + 1e-3 * rng.normal(size=(6, 3))
    >>> one_point_curvature(W, np.eye(3), [0, 0, 1, 1, 2, 2]).slack > 0
    True
    """
    W, V = checked(student, teacher, differentiable=True)
    owners = np.asarray(owner)
    if owners.shape != (len(W),) or set(owners.tolist()) != set(range(len(V))):
        message = f"Expected one owner among 0 ... {len(V) - 1} for each of {len(W)} neurons, "
        message += f"every teacher owning one. Received: {owner!r}."
        raise ValueError(message)
    counts = np.bincount(owners)
    shift = W - V[owners] / counts[owners][:, None]
    groups = np.zeros_like(V)
    np.add.at(groups, owners, shift)
    total = np.sum(groups, axis=0)
    bound = (total @ total + (1 - 2 / math.pi) * np.sum(groups**2)) / 4
    flat = shift.ravel()
    curvature = float(flat @ relu_risk_hessian(W, V) @ flat)
    overlap = float(np.max(np.abs(V @ V.T - np.eye(len(V)))))
    assumptions = (
        Assumption("teachers orthonormal", overlap < _ORTHONORMAL, _ORTHONORMAL - overlap),
        Assumption(
            "every teacher owns as many neurons",
            bool(counts.min() == counts.max()),
            float(counts.min() - counts.max()),
        ),
    )
    return OnePointCurvature(curvature, float(bound), float(np.linalg.norm(flat)), assumptions)


@dataclass(frozen=True)
class PerturbedSchedule:
    """What Theorem 13 asks of perturbed gradient descent.

    Attributes
    ----------
    step
        The largest step allowed.
    perturbation
        The size of the common random shift.
    log10_steps
        log10 of the steps after which ``|w - w~|^2 <= delta``.
    """

    step: float
    perturbation: float
    log10_steps: float


def perturbed_schedule(
    neurons: int, *, convexity: float, smoothness: float, delta: float
) -> PerturbedSchedule:
    r"""Step, perturbation and time of Theorem 13 of safran2021effects.

    .. math:: \eta < \frac{\lambda \delta^2}{64 L^2}, \qquad \alpha = \frac{\delta}{4 n}, \qquad
              T > \frac{\log \delta}{\log(1 - \eta \lambda \delta^2 / 64)}

    Parameters
    ----------
    neurons
        Their number n.
    convexity
        The constant lambda of one-point strong convexity.
    smoothness
        The Lipschitz constant L of the gradient.
    delta
        The squared distance to reach, below 1.

    Raises
    ------
    ValueError
        Unless `neurons` is positive, `convexity` and `smoothness` are and `delta` is in (0, 1).

    Examples
    --------
    >>> perturbed_schedule(12, convexity=0.05, smoothness=1.0, delta=0.1).log10_steps > 9
    True
    """
    if not (neurons >= 1 and 0 < convexity <= smoothness < math.inf and 0 < delta < 1):
        message = "Expected at least one neuron, 0 < convexity <= smoothness and delta in (0, 1). "
        message += f"Received: {neurons!r}, {convexity!r}, {smoothness!r} and {delta!r}."
        raise ValueError(message)
    step = convexity * delta**2 / (64 * smoothness**2)
    steps = math.log(delta) / math.log1p(-step * convexity * delta**2 / 64)
    return PerturbedSchedule(step, delta / (4 * neurons), math.log10(steps))
