"""The Hessian's spectrum at the global minimum of k orthonormal neurons, in closed form."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

LEAST = 1 / 4 - 1 / (2 * math.pi)  # safran2021effects, Theorem 3: it is attained


def global_spectrum(k: int) -> Float[np.ndarray, " k*k"]:
    r"""The k^2 eigenvalues of the Hessian at ``w_i = v_i = e_i``, in increasing order.

    With ``p = 1/(2 pi)``: ``1/4 - p``, ``k(k-1)/2`` times; ``1/4 + p``, ``k(k-3)/2`` times; the
    eigenvalues of

    .. math:: \begin{pmatrix} \tfrac12 + (k-1)p & \tfrac{k-1}4 \\
              \tfrac14 & \tfrac k4 + p \end{pmatrix}
              \quad\text{once, and of}\quad
              \begin{pmatrix} \tfrac14 & p & 0 \\ p - \tfrac14 & \tfrac k4 & \tfrac14 \\
              -\tfrac14 & \tfrac{k-1}4 & \tfrac12 - p \end{pmatrix}

    k - 1 times each, except for its eigenvalue ``1/4 - p``, which is counted above. Derived here
    from the symmetry under permutations; the idea is that of arjevani2020analytic.

    Parameters
    ----------
    k
        Neurons, teachers and dimensions.

    Raises
    ------
    ValueError
        Unless k is a whole number of at least 2.

    Examples
    --------
    >>> global_spectrum(6)[[0, 15, 20, -1]].round(6)
    array([0.090845, 0.287081, 0.409155, 2.065267])
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 2:
        message = f"Expected at least 2 neurons. Received: {k!r}."
        raise ValueError(message)
    p = 1 / (2 * math.pi)
    simple = [[1 / 2 + (k - 1) * p, (k - 1) / 4], [1 / 4, k / 4 + p]]
    triple = np.array([
        [1 / 4, p, 0],
        [p - 1 / 4, k / 4, 1 / 4],
        [-1 / 4, (k - 1) / 4, 1 / 2 - p],
    ])
    standard = np.sort(np.linalg.eigvals(triple).real)
    counted = int(np.argmin(np.abs(standard - LEAST)))
    standard = np.delete(standard, counted)
    parts = [
        np.full(k * (k - 1) // 2, LEAST),
        np.linalg.eigvals(np.array(simple)).real,
        np.repeat(standard, k - 1),
    ]
    if k > 2:
        parts.append(np.full(k * (k - 3) // 2, 1 / 4 + p))
        return np.sort(np.concatenate(parts))
    # Two neurons have no representation of dimension k (k - 3) / 2 = -1: it takes back 1/4 + p.
    values = np.concatenate(parts)
    return np.sort(np.delete(values, int(np.argmin(np.abs(values - 1 / 4 - p)))))
