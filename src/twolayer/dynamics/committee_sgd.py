"""One-pass stochastic gradient descent of a student on a teacher, followed by its overlaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from twolayer.outcomes import Status, Trajectory
from twolayer.pair_kernels import PairKernel

_BLOCK = 64  # samples drawn at once
_RATES = ("learning_rate", "second_layer_rate", "weight_decay", "noise_std")


class CommitteeSGD(eqx.Module):
    r"""One fresh sample a step, both layers, with label noise and weight decay.

    .. math::
        w_i &\leftarrow w_i - \frac{\lambda}{N} w_i
             - \frac{\eta}{\sqrt N} v_i g'(\lambda_i) (\phi - y) x, \qquad
        \lambda_i = w_i \cdot x / \sqrt N \\
        v_i &\leftarrow v_i - \frac{\lambda}{N} v_i - \frac{\eta_2}{N} g(\lambda_i) (\phi - y)

    the convention of the code of goldt2019dynamics, with N inputs of unit variance and time steps
    over N.

    Attributes
    ----------
    learning_rate, second_layer_rate
        The steps eta and eta_2.
    weight_decay
        The decay, of both layers.
    noise_std
        Standard deviation of the noise on the labels.
    """

    learning_rate: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    second_layer_rate: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)
    weight_decay: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)
    noise_std: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)


class CommitteeRun(NamedTuple):
    """Overlaps of a student along its training, one for each seed.

    Attributes
    ----------
    risk
        ``1/2 E (student - teacher)^2`` of each seed over time, exact for the weights at hand.
    Q, R
        ``W W^T / N`` and ``W W*^T / N``, shapes ``[s, t, m, m]`` and ``[s, t, m, r]``.
    student_weights
        The output weights, shape ``[s, t, m]``.
    """

    risk: Trajectory
    Q: Float[np.ndarray, "s t m m"]
    R: Float[np.ndarray, "s t m r"]
    student_weights: Float[np.ndarray, "s t m"]


def weights_with_overlaps(
    Q: Float[np.ndarray, "m m"],
    R: Float[np.ndarray, "m r"],
    T: Float[np.ndarray, "r r"],
    dim: int,
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "r d"]]:
    """Weights of student and teacher whose overlaps over `dim` are the given ones.

    They lie in the first m + r coordinates: for Gaussian inputs every choice has the same law.

    Raises
    ------
    ValueError
        If `dim` is below m + r or the overlaps belong to no vectors.

    Examples
    --------
    >>> W, teacher = weights_with_overlaps(np.eye(1), np.full((1, 1), 0.5), np.eye(1), 8)
    >>> round(float(W[0] @ teacher[0]) / 8, 12)
    0.5
    """
    m, r = np.shape(R)
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < m + r:
        message = f"Expected a dimension of at least {m + r}, the number of neurons of student "
        message += f"and teacher. Received: {dim!r}."
        raise ValueError(message)
    joint = np.block([[np.asarray(Q), np.asarray(R)], [np.asarray(R).T, np.asarray(T)]])
    values, vectors = np.linalg.eigh(joint)
    if not values[0] > -1e-9 * max(values[-1], 1e-300):
        message = "Expected overlaps of vectors, whose joint matrix has no negative eigenvalue. "
        message += f"Received: one of {values[0]:.3g}."
        raise ValueError(message)
    rows = np.zeros((m + r, dim))
    rows[:, : m + r] = vectors * np.sqrt(np.maximum(values, 0.0) * dim)
    return rows[:m], rows[m:]


def committee_sgd(
    algorithm: CommitteeSGD,
    start: tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]],
    teacher: tuple[Float[np.ndarray, "r d"], Float[np.ndarray, " r"]],
    pairs: PairKernel,
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    seeds: int = 1,
    padded_dim: int | None = None,
    key: PRNGKeyArray,
) -> CommitteeRun:
    """Train a student on fresh samples of a teacher, many seeds in one program.

    Weights and samples are in single precision, overlaps and risks in double. The risk is exact,
    by the kernel of pairs.

    Parameters
    ----------
    algorithm
        Its rates; other values reuse the compiled program.
    start
        Weights and output weights of the student, the same for all seeds.
    teacher
        Those of the teacher.
    pairs
        The activation g with its kernel of pairs, from which the risk follows.
    times
        Increasing times, in steps over N; each is taken at the nearest step.
    seeds
        The number of independent runs.
    padded_dim
        Arrays are filled up with zeros to so many inputs, which changes the samples but not the
        algorithm: runs of several dimensions then share one compiled program.
    key
        Source of all randomness.

    Raises
    ------
    ValueError
        If a rate is negative, shapes don't fit, times don't increase from 0 on, `padded_dim` is
        below the dimension, or there is no seed.

    Examples
    --------
    >>> from twolayer.pair_kernels import relu_pairs
    >>> W, teacher = weights_with_overlaps(np.eye(1), np.full((1, 1), 0.5), np.eye(1), 20)
    >>> run = committee_sgd(
    ...     CommitteeSGD(0.3), (W, np.ones(1)), (teacher, np.ones(1)), relu_pairs,
    ...     times=[0, 20], key=jax.random.key(0),
    ... )
    >>> bool(run.risk.value[0, 1] < run.risk.value[0, 0] / 10)
    True
    """
    W, v = (np.asarray(part, dtype=np.float64) for part in start)
    V, A = (np.asarray(part, dtype=np.float64) for part in teacher)
    if W.ndim != 2 or V.ndim != 2 or W.shape[1] != V.shape[1] or (v.shape, A.shape) != (
        W.shape[:1], V.shape[:1]
    ):  # fmt: skip
        message = "Expected student weights [m, d] and [m], teacher weights [r, d] and [r]. "
        message += f"Received: shapes {W.shape}, {v.shape}, {V.shape} and {A.shape}."
        raise ValueError(message)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        message = f"Expected a positive whole number of seeds. Received: {seeds!r}."
        raise ValueError(message)
    dim = W.shape[1]
    if padded_dim is not None and (type(padded_dim) is not int or padded_dim < dim):
        message = f"Expected padded_dim as a whole number of at least {dim}. "
        message += f"Received: {padded_dim!r}."
        raise ValueError(message)
    for name in _RATES:
        if not 0 <= float(getattr(algorithm, name)) < math.inf:
            message = f"Expected {name} to be a number of at least 0. "
            message += f"Received: {float(getattr(algorithm, name))}."
            raise ValueError(message)
    ticks = _ticks(times, dim)
    keys = jax.random.split(key, seeds)
    fill = (0, 0), (0, (padded_dim or dim) - dim)
    wide = jnp.asarray(np.pad(W, fill), jnp.float32)
    fixed = (
        jnp.asarray(np.pad(V, fill), jnp.float32),
        jnp.asarray(A, jnp.float32),
        jnp.asarray(dim, jnp.int32),
    )
    state = (
        jnp.broadcast_to(wide, (seeds, *wide.shape)),
        jnp.broadcast_to(jnp.asarray(v, jnp.float32), (seeds, *v.shape)),
    )
    rates = jnp.stack([jnp.asarray(getattr(algorithm, name), jnp.float32) for name in _RATES])
    seen, done = [], 0
    for tick in ticks:
        state = _advance(pairs.activation, state, fixed, rates, jnp.asarray([done, tick]), keys)
        seen.append([np.asarray(part, dtype=np.float64) for part in state])
        done = int(tick)
    rows, outer = (np.stack([part[k] for part in seen], axis=1) for k in (0, 1))
    rows = rows[..., :dim]
    Q = rows @ np.swapaxes(rows, -1, -2) / dim
    R = rows @ V.T / dim
    risk = _risks(pairs, Q, R, V @ V.T / dim, outer, A)
    alive = np.all(np.isfinite(risk), axis=1)
    status: tuple[Status, ...] = tuple("finished" if well else "diverged" for well in alive)
    details: dict[str, float | int | str] = {
        "dynamics": "committee SGD",
        "learning_rate": float(algorithm.learning_rate),
        "students": len(v),
        "teachers": len(A),
        "dim": dim,
    }
    return CommitteeRun(Trajectory("risk", ticks / dim, risk, status, details=details), Q, R, outer)


def _ticks(times: Sequence[float] | np.ndarray, dim: int) -> np.ndarray:
    t = np.asarray(times, dtype=np.float64)
    if t.ndim != 1 or not len(t) or not np.all(np.isfinite(t)) or t[0] < 0 or any(np.diff(t) <= 0):
        message = f"Expected increasing times from 0 on. Received: {np.asarray(times).tolist()}."
        raise ValueError(message)
    if t[-1] * dim >= 2**31:
        message = f"Expected at most 2^31 steps. Received: time {t[-1]:g} in {dim} inputs."
        raise ValueError(message)
    return np.rint(t * dim).astype(np.int64)


@eqx.filter_jit
def _advance(value, state, teacher, rates, ticks, keys):
    ticks = ticks.astype(jnp.int32)

    def one(state, key):
        return _march(value, state, teacher, rates, ticks, key)

    return jax.vmap(one)(state, keys)


def _march(value, state, teacher, rates, ticks, key):
    """The steps from one tick to the next; the sample of a step depends on its number alone.

    The last of the numbers drawn for a step is the noise on its label.
    """
    V, A, whole = teacher
    width, dim = V.shape[1], whole.astype(jnp.float32)
    present = jnp.arange(width, dtype=jnp.int32) < whole
    root = jnp.sqrt(dim)
    learning_rate, outer_rate, decay, noise = rates
    slope = jax.vmap(jax.grad(value))

    def step(state, sample):
        draws, active = sample
        x, z = jnp.where(present, draws[:width], 0), draws[width]
        W, v = state
        fields = W @ x / root
        activity = value(fields)
        error = v @ activity - A @ value(V @ x / root) - noise * z
        pull = learning_rate / root * error * v * slope(fields)
        moved = W * (1 - decay / dim) - pull[:, None] * x[None, :]
        outer = v * (1 - decay / dim) - outer_rate / dim * error * activity
        return (jnp.where(active, moved, W), jnp.where(active, outer, v)), None

    def block(j, state):
        draws = jax.random.normal(jax.random.fold_in(key, j), (_BLOCK, width + 1), jnp.float32)
        numbers = j * _BLOCK + jnp.arange(_BLOCK, dtype=jnp.int32)
        active = (numbers >= ticks[0]) & (numbers < ticks[1])
        return jax.lax.scan(step, state, (draws, active))[0]

    last = (ticks[1] + _BLOCK - 1) // _BLOCK
    return jax.lax.fori_loop(ticks[0] // _BLOCK, last, block, state)


def _risks(pairs: PairKernel, Q, R, T, v, A) -> np.ndarray:
    """The exact risk from the overlaps, by the kernel of pairs."""
    with jax.enable_x64(True):
        q, t = np.diagonal(Q, axis1=-2, axis2=-1), np.diagonal(T)
        own = np.einsum("...i,...ik,...k", v, _kernel(pairs, q, Q, q), v)
        cross = np.einsum("...i,...in,n", v, _kernel(pairs, q, R, t), A)
        return (own - 2 * cross + A @ _kernel(pairs, t, T, t) @ A) / 2


def _kernel(pairs: PairKernel, left, overlap, right) -> np.ndarray:
    rows = np.broadcast_to(left[..., :, None], overlap.shape)
    columns = np.broadcast_to(right[..., None, :], overlap.shape)
    return np.asarray(pairs.dual(*(jnp.asarray(part) for part in (rows, overlap, columns))))
