"""Splitting a neuron: one more neuron turns a spurious minimum into a saddle."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from twolayer.theory.landscape.risk import checked, hessian_row

REFERENCE = "safran2021effects, Theorems 14 and 16"


def split_neuron(
    student: Float[np.ndarray, "n d"], neuron: int, *, share: float = 0.5
) -> Float[np.ndarray, "n+1 d"]:
    """The same network with one more neuron: ``w_i`` becomes ``share w_i`` and the rest of it.

    Parameters
    ----------
    student
        The weights, shape ``[n, d]``.
    neuron
        Which neuron is split; the new one is the last row.
    share
        Between 0 and 1, both excluded.

    Raises
    ------
    ValueError
        If there is no such neuron, or `share` is not inside (0, 1).

    Examples
    --------
    >>> split_neuron(np.eye(2), 0, share=0.25)
    array([[0.25, 0.  ],
           [0.  , 1.  ],
           [0.75, 0.  ]])
    """
    W = np.asarray(student, dtype=np.float64)
    if not 0 <= neuron < len(W):
        message = f"Expected a neuron between 0 and {len(W) - 1}. Received: {neuron!r}."
        raise ValueError(message)
    if not 0 < share < 1:
        message = f"Expected a share inside (0, 1). Received: {share!r}."
        raise ValueError(message)
    parts = np.concatenate([W, (1 - share) * W[neuron : neuron + 1]])
    parts[neuron] = share * W[neuron]
    return parts


def splitting_curvatures(
    student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"]
) -> Float[np.ndarray, " n"]:
    """The least eigenvalue of ``H'_ii = H_ii - I/2`` for each neuron.

    Where it is negative at a differentiable critical point of ReLU neurons, every split of neuron
    i is a saddle: safran2021effects, Theorem 16.

    Parameters
    ----------
    student, teacher
        As for `relu_risk_hessian`.

    Raises
    ------
    ValueError
        As for `relu_risk_hessian`.

    Examples
    --------
    >>> from twolayer.theory.landscape import family
    >>> bool(np.all(splitting_curvatures(family((1, 6)).weights, np.eye(7)) < 0))
    True
    """
    W, V = checked(student, teacher, differentiable=True)
    d = W.shape[1]
    own = [hessian_row(W, V, i)[:, i, :] - np.eye(d) / 2 for i in range(len(W))]
    return np.array([np.linalg.eigvalsh(block)[0] for block in own])


def split_eigenvalue_bound(
    student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"], *, share: float = 0.5
) -> Float[np.ndarray, " n"]:
    r"""An upper bound on the Hessian's least eigenvalue after each neuron's split.

    .. math:: \lambda_{\min}(H^{split}) \le
              \frac{\lambda_{\min}(H'_{ii})}{2 \alpha (1 - \alpha)},
              \qquad \alpha = \text{share}

    Moving the two parts apart along the eigenvector u of ``H'_ii`` costs
    ``u.[H'_ii / a + H'_ii / (1 - a)] u`` per two units of squared length, since ``H'`` is of
    degree -1 in ``w_i`` and parallel neurons share the block I/2. Derived here, from the proof of
    Theorem 16 of safran2021effects.

    Parameters
    ----------
    student, teacher
        As for `relu_risk_hessian`.
    share
        Between 0 and 1, both excluded.

    Raises
    ------
    ValueError
        As for `relu_risk_hessian`, or if `share` is not inside (0, 1).

    Examples
    --------
    >>> from twolayer.theory.landscape import family
    >>> split_eigenvalue_bound(family((1, 6)).weights, np.eye(7)).round(2)[:2]
    array([-0.17, -0.22])
    """
    if not 0 < share < 1:
        message = f"Expected a share inside (0, 1). Received: {share!r}."
        raise ValueError(message)
    return splitting_curvatures(student, teacher) / (2 * share * (1 - share))
