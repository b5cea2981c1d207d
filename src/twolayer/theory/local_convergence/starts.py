r"""What zhou2021local asks of initialisation and of batches, and the moment that finds teachers."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import unit
from twolayer.theory.local_convergence.configuration import checked_teacher


def label_moment(teacher: Float[np.ndarray, "r d"]) -> Float[np.ndarray, "d d"]:
    r"""``E[f*(x) (x x^T - I)]``, whose range is the span of the teacher.

    .. math:: \sqrt{2/\pi} \textstyle\sum_i \|w^*_i\| \bar w^*_i \bar w^{*T}_i

    zhou2021local, Lemma E.2; its constant is derived here. Algorithm 2 draws students in the
    span of its top eigenvectors, estimated from samples.

    Examples
    --------
    >>> label_moment(np.array([[0.0, 2.0]])).round(6).tolist()
    [[0.0, 0.0], [0.0, 1.595769]]
    """
    V = checked_teacher(teacher)
    directions = unit(V)
    weights = np.linalg.norm(V, axis=1)
    return math.sqrt(2 / math.pi) * (directions.T * weights) @ directions


def log10_random_width(
    teacher: Float[np.ndarray, "r d"], *, loss: float, dim: int, failure: float = 0.1
) -> float:
    r"""log10 of the students that initialisation wants to reach a loss (Theorem 6).

    .. math:: (r w_{\max} / \sqrt{L})^D\, r \log(1 / \text{failure})

    with D the dimension for Algorithm 1, and r for Algorithm 2 (zhou2021local); the hidden
    constant taken as 1.

    Parameters
    ----------
    teacher
        Teacher neurons.
    loss
        The initial loss asked for.
    dim
        D.
    failure
        The probability allowed to fail.

    Raises
    ------
    ValueError
        If the loss is not positive or `failure` no probability.

    Examples
    --------
    >>> width = log10_random_width(np.eye(2), loss=1e-2, dim=2, failure=np.exp(-1))
    >>> round(10**width, 6)
    800.0
    """
    _check_positive(loss)
    if not 0 < failure < 1:
        message = f"Expected a probability between 0 and 1. Received: {failure!r}."
        raise ValueError(message)
    V = checked_teacher(teacher)
    scale = len(V) * float(np.max(np.linalg.norm(V, axis=1))) / math.sqrt(loss)
    return dim * math.log10(scale) + math.log10(len(V) * math.log(1 / failure))


def log10_batch_size(
    teacher: Float[np.ndarray, "r d"], *, loss: float, step_size: float, failure: float = 0.1
) -> float:
    r"""log10 of the fresh samples a step of SGD takes to keep the rate of Theorem 5 (Theorem 7).

    .. math:: N = r^5 w_{\max}^5 d^2 \eta^{-1} L^{-3} \text{failure}^{-1}

    (zhou2021local), the hidden constant taken as 1.

    Parameters
    ----------
    teacher
        Teacher neurons.
    loss
        The loss to reach.
    step_size
        eta.
    failure
        The probability allowed to fail.

    Raises
    ------
    ValueError
        If a number is not positive, or `failure` no probability.

    Examples
    --------
    >>> round(log10_batch_size(np.eye(2), loss=1e-2, step_size=0.1, failure=0.1), 2)
    10.11
    """
    _check_positive(loss)
    _check_positive(step_size)
    if not 0 < failure < 1:
        message = f"Expected a probability between 0 and 1. Received: {failure!r}."
        raise ValueError(message)
    V = checked_teacher(teacher)
    scale = len(V) * float(np.max(np.linalg.norm(V, axis=1)))
    samples = 5 * math.log10(scale) + 2 * math.log10(V.shape[1])
    return samples - math.log10(step_size) - 3 * math.log10(loss) - math.log10(failure)


def _check_positive(value: float) -> None:
    if not 0 < value < math.inf:
        message = f"Expected a positive loss and step size. Received: {value!r}."
        raise ValueError(message)
