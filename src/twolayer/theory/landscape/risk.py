"""The population risk of ReLU students on ReLU teachers, with its gradient and exact Hessian."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from twolayer.numerics.angles import angle, sine_gap, unit

REFERENCE = "safran2021effects, Theorem 17"


def relu_risk(student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"]) -> float:
    r"""The risk of ``sum_i relu(w_i.x)`` on ``sum_j relu(v_j.x)`` for Gaussian inputs.

    .. math:: L(W) = \tfrac12 E\Big(\sum_i (w_i.x)_+ - \sum_j (v_j.x)_+\Big)^2
              = \tfrac14 |\textstyle\sum w_i - \sum v_j|^2
              + \frac1{4\pi} \sum_{a,b} c_a c_b |u_a| |u_b| s(\theta_{ab})

    over all neurons u of the student (c = 1) and the teacher (c = -1), with
    ``s(t) = sin t - t cos t``. Derived here from the Gaussian kernel of the ReLU.

    Parameters
    ----------
    student
        The weights ``w_i``, shape ``[n, d]``.
    teacher
        The weights ``v_j``, shape ``[k, d]``.

    Raises
    ------
    ValueError
        Unless both are finite matrices of one width, the teacher without a zero neuron.

    Examples
    --------
    >>> V = np.eye(2)
    >>> relu_risk(V, V), round(relu_risk(0 * V, V), 6)
    (0.0, 0.659155)
    """
    W, V = checked(student, teacher)
    norms_w, norms_v = np.linalg.norm(W, axis=1), np.linalg.norm(V, axis=1)
    own = norms_w @ _gaps(W, W) @ norms_w
    cross = norms_w @ _gaps(W, V) @ norms_v
    target = norms_v @ _gaps(V, V) @ norms_v
    mean = np.sum(W, axis=0) - np.sum(V, axis=0)
    return float(mean @ mean / 4 + (own - 2 * cross + target) / (4 * math.pi))


def relu_risk_gradient(
    student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"]
) -> Float[np.ndarray, "n d"]:
    r"""The gradient of `relu_risk` in the student's weights.

    .. math:: \nabla_{w_i} L = \tfrac12 \Big(\sum_j w_j - \sum_j v_j\Big)
              + \frac1{2\pi} \sum_b c_b |u_b| (\sin\theta_{ib} \bar w_i - \theta_{ib} \bar u_b)

    The derivative of the ReLU at a zero neuron counts as 1/2. Derived here; for one teacher it is
    equation (4) of xu2023over.

    Parameters
    ----------
    student, teacher
        As for `relu_risk`.

    Raises
    ------
    ValueError
        As for `relu_risk`.

    Examples
    --------
    >>> float(np.abs(relu_risk_gradient(np.eye(3), np.eye(3))).max())
    0.0
    """
    W, V = checked(student, teacher)
    gradient = np.broadcast_to((np.sum(W, axis=0) - np.sum(V, axis=0)) / 2, W.shape).copy()
    for sign, others in ((1, W), (-1, V)):
        angles = _angles(W, others)
        pull = np.sin(angles) @ np.linalg.norm(others, axis=1)
        gradient += sign / (2 * math.pi) * (pull[:, None] * unit(W) - angles @ others)
    return gradient


def relu_risk_hessian(
    student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"]
) -> Float[np.ndarray, "n*d n*d"]:
    r"""The exact Hessian of `relu_risk`, in blocks of one neuron each.

    .. math:: H_{ii} = \tfrac12 I + \sum_{j \ne i} h_1(w_i, w_j) - \sum_j h_1(w_i, v_j),
              \qquad H_{ij} = h_2(w_i, w_j)

    With ``e`` the unit vector of the plane orthogonal to ``wb``,
    ``h1 = sin t |v| / (2 pi |w|) (I - wb wb^T + e e^T)`` and
    ``h2 = [(pi - t) I + sin t (cos t (wb wb^T - e e^T) + sin t (wb e^T + e wb^T))] / (2 pi)``:
    safran2021effects, Theorem 17, with h2 rewritten so that parallel neurons lose no digits.

    Parameters
    ----------
    student, teacher
        As for `relu_risk`; the student has no zero neuron, where no second derivative exists.

    Raises
    ------
    ValueError
        As for `relu_risk`, or if a neuron of the student is zero.

    Examples
    --------
    >>> H = relu_risk_hessian(np.eye(3), np.eye(3))
    >>> bool(np.linalg.eigvalsh(H)[0] > 0.09)
    True
    """
    W, V = checked(student, teacher, differentiable=True)
    n, d = W.shape
    rows = [hessian_row(W, V, i).reshape(d, n * d) for i in range(n)]
    H = np.concatenate(rows)
    return (H + H.T) / 2


def hessian_row(W: np.ndarray, V: np.ndarray, i: int) -> np.ndarray:
    """The blocks ``H_ij`` of neuron i with every neuron j, shape ``[d, n, d]``."""
    d = W.shape[1]
    own, length = unit(W[i]), float(np.linalg.norm(W[i]))
    angles, across = _plane(own, W)
    blocks = _between(own, angles, across)
    blocks[i] = np.eye(d) / 2
    curvature = np.zeros((d, d))
    for sign, others in ((1, W), (-1, V)):
        t, e = (angles, across) if sign == 1 else _plane(own, V)
        weight = sign * np.sin(t) * np.linalg.norm(others, axis=1) / (2 * math.pi * length)
        if sign == 1:
            weight[i] = 0.0
        curvature += np.sum(weight) * (np.eye(d) - np.outer(own, own)) + (e.T * weight) @ e
    blocks[i] += curvature
    return blocks.transpose(1, 0, 2)


def least_eigenvalue(student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"]) -> float:
    """The least eigenvalue of `relu_risk_hessian`.

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
    >>> round(least_eigenvalue(np.eye(6), np.eye(6)), 6)  # 1/4 - 1/(2 pi)
    0.090845
    """
    return float(np.linalg.eigvalsh(relu_risk_hessian(student, teacher))[0])


def checked(
    student: np.ndarray, teacher: np.ndarray, *, differentiable: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Both weight matrices in double precision.

    Raises
    ------
    ValueError
        Unless both are finite matrices of one width, the teacher without a zero neuron, and the
        student too where a second derivative is asked for.
    """
    W, V = np.asarray(student, dtype=np.float64), np.asarray(teacher, dtype=np.float64)
    if W.ndim != 2 or V.ndim != 2 or W.shape[1] != V.shape[1] or not W.size or not V.size:
        message = "Expected weights of shapes [n, d] and [k, d]: one row for each neuron. "
        message += f"Received: {W.shape} and {V.shape}."
        raise ValueError(message)
    if not (np.all(np.isfinite(W)) and np.all(np.isfinite(V))):
        message = "Expected finite weights. Received: a weight that is infinite or not a number."
        raise ValueError(message)
    for who, weights, needed in (("teacher", V, True), ("student", W, differentiable)):
        zero = np.flatnonzero(np.all(weights == 0, axis=1))
        if needed and zero.size:
            message = f"Expected a {who} without zero neurons. Received: zero neuron {zero[0]}; "
            message += "leave it out."
            raise ValueError(message)
    return W, V


def _angles(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    return np.asarray(angle(U[:, None, :], V[None, :, :]))


def _gaps(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    return np.asarray(sine_gap(_angles(U, V)))


def _plane(own: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles to `own` and the unit vectors orthogonal to it in the planes of both."""
    directions = unit(others)
    return angle(own, directions), unit(directions - (directions @ own)[:, None] * own)


def _between(own: np.ndarray, t: np.ndarray, e: np.ndarray) -> np.ndarray:
    """``h2`` of one neuron with all others, shape ``[n, d, d]``."""
    sine, cosine = np.sin(t)[:, None, None], np.cos(t)[:, None, None]
    mixed = own[:, None] * e[:, None, :]
    plane = cosine * (np.outer(own, own) - e[:, :, None] * e[:, None, :])
    plane += sine * (mixed + mixed.transpose(0, 2, 1))
    isotropic = (math.pi - t)[:, None, None] * np.eye(len(own))
    return (isotropic + sine * plane) / (2 * math.pi)
