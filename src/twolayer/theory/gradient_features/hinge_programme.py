"""Least mean hinge loss of a linear classifier under bounds, by linear programming."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import optimize, sparse

_ROUNDS = 30  # of tangents to the squares
_GAP = 1e-5  # between the two bounds, at which the ball is resolved


def least_hinge(
    features: Float[np.ndarray, "n c"],
    y: Float[np.ndarray, " n"],
    *,
    bound: float = math.inf,
    norm: float = math.inf,
    weights: Float[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, " c"], float, float, Float[np.ndarray, " n"]]:
    """``min_a mean (1 - y Phi a)_+`` with ``|a_j| <= bound`` and ``|a|_2 <= norm``.

    A linear programme (SciPy's HiGHS) in a and one slack a sample. The ball is written as
    ``sum_j t_j <= norm^2`` with ``t_j >= a_j^2``, and each square replaced by its tangents at the
    solutions so far: a growing lower bound. Scaling the solution back into the ball gives an
    upper one, and they meet within a few rounds. Weights of the samples, of sum 1, take the place
    of 1 / n: those of a quadrature rule make it the optimum of the law.

    Returns
    -------
    :
        The weights a, their mean hinge loss, a lower bound of the least one, and the dual
        variables of the samples.

    Raises
    ------
    RuntimeError
        If the solver gives up.

    Examples
    --------
    >>> phi, y = np.asarray([[1.0], [2.0]]), np.asarray([1.0, 1.0])
    >>> a, loss, _, _ = least_hinge(phi, y, bound=0.75)
    >>> a.round(6).tolist(), round(loss, 6)
    ([0.75], 0.125)
    """
    n, c = features.shape
    share = np.full(n, 1 / n) if weights is None else weights
    margins = y[:, None] * features
    bound = min(bound, norm)
    squares = c if norm < bound * math.sqrt(c) else 0  # else the box lies inside the ball
    blocks = [-margins, sparse.csr_array((n, squares)), -sparse.eye_array(n)]
    rows = [sparse.hstack([sparse.csr_array(block) for block in blocks], format="csr")]
    limits = [(-bound, bound)] * c + [(0, None)] * (squares + n)
    right = [-np.ones(n)]
    if squares:
        budget = np.concatenate([np.zeros(c), np.ones(c), np.zeros(n)])
        rows.append(sparse.csr_array(budget[None]))
        right.append(np.asarray([norm**2]))
    cost = np.concatenate([np.zeros(c + squares), share])
    best, least, lower, dual = np.inf, np.zeros(c), 0.0, share
    for _ in range(_ROUNDS if squares else 1):
        solution = optimize.linprog(
            cost,
            A_ub=sparse.vstack(rows, format="csr"),
            b_ub=np.concatenate(right),
            bounds=limits,
            method="highs",
        )
        if solution.status != 0:
            message = f"The linear programme was not solved: {solution.message}"
            raise RuntimeError(message)
        a, lower = solution.x[:c], max(float(solution.fun), lower)
        inside = a * min(1.0, norm / max(float(np.linalg.norm(a)), 1e-300))
        loss = float(share @ np.maximum(1 - margins @ inside, 0.0))
        if loss < best:
            best, least = loss, inside
            dual = -solution.ineqlin.marginals[:n]
        if best - lower <= _GAP:
            break
        tangents = sparse.hstack([
            sparse.diags_array(2 * a), -sparse.eye_array(c), sparse.csr_array((c, n)),
        ])  # fmt: skip
        rows.append(sparse.csr_array(tangents))
        right.append(a**2)
    return least, best, min(lower, best), dual
