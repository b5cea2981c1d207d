"""A student network that learns a teacher network from Gaussian inputs: the population risk."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from twolayer.kinked_curvature import kinked_curvatures
from twolayer.numerics.angles import angle, supplement
from twolayer.pair_kernels import PairKernel, relu_pairs

Student = Literal["plain", "norm"]

# Forces are computed for so many students at a time, whose pairs fit into the cache: for 2000
# students that measured three times as fast as all pairs at once.
_BLOCK = 128
_PARALLEL = 1e-9  # radians: teachers closer than this are one teacher


class TeacherStudent(eqx.Module):
    r"""The risk of a student on a teacher, ``x ~ N(0, I_d)``, in closed form.

    .. math:: L(W) = \tfrac12 E\Bigl(\sum_j a_j s(w_j \cdot x) - \sum_i b_i s(v_i \cdot x)\Bigr)^2

    With ``student="norm"`` each neuron enters as ``u_j = |w_j| w_j`` instead, so that for the
    absolute value the student is ``sum_j |w_j| |w_j.x|``: the network of zhou2021local, (1),
    whose loss is smooth in W. Everything follows from the kernel of pairs of neurons (derived
    here): ``L = c^T K c / 2`` over all neurons, students with c = a and teachers with c = -b.

    Attributes
    ----------
    teacher
        The teachers' input weights v, one neuron a row.
    teacher_weights
        Their output weights b, 1 by default.
    pairs
        The activation's pair kernel.
    student
        ``"plain"`` or ``"norm"``.

    Examples
    --------
    >>> problem = TeacherStudent(np.eye(2))
    >>> W = jnp.asarray([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    >>> float(problem(W)), problem.gradient(W)[0, 1].item()
    (0.25, -0.25)
    """

    teacher: Float[Array, "r d"]
    teacher_weights: Float[Array, " r"]
    pairs: PairKernel
    student: Student = eqx.field(static=True)

    def __init__(
        self,
        teacher: Float[ArrayLike, "r d"],
        teacher_weights: Float[ArrayLike, " r"] | None = None,
        pairs: PairKernel = relu_pairs,
        student: Student = "plain",
    ):
        """Check the teacher.

        Raises
        ------
        ValueError
            If its shapes do not fit, a number is not finite, a teacher or its weight is zero,
            two teachers are parallel (opposite ones too, where the activation is even or odd),
            or `student` is unknown.
        """
        vectors = np.asarray(teacher, np.float64)
        weights = np.ones(vectors.shape[:1]) if teacher_weights is None else teacher_weights
        weights = np.asarray(weights, np.float64)
        _check_teacher(vectors, weights, pairs.parity)
        if student not in {"plain", "norm"}:
            message = f"Expected the student 'plain' or 'norm'. Received: {student!r}."
            raise ValueError(message)
        # NumPy's, in double precision: what JAX computes with them is in its current precision.
        self.teacher, self.teacher_weights = vectors, weights  # type: ignore[assignment]
        self.pairs, self.student = pairs, student

    @property
    def dim(self) -> int:
        """The input dimension d."""
        return self.teacher.shape[1]

    @eqx.filter_jit
    def __call__(
        self, W: Float[Array, "m d"], a: Float[Array, " m"] | None = None
    ) -> Float[Array, ""]:
        """The risk of the student with input weights `W` and output weights `a` (default 1).

        Its rounding is a few 1e-16 of ``(sum of all norms)^2``: a smaller loss is lost in it.
        """
        U, a = self._students(W, a)
        neurons = jnp.concatenate([U, self.teacher])
        c = jnp.concatenate([a, -self.teacher_weights])
        return c @ (self.pairs.value(neurons, neurons) @ c) / 2

    @eqx.filter_jit
    def gradient(
        self, W: Float[Array, "m d"], a: Float[Array, " m"] | None = None
    ) -> Float[Array, "m d"]:
        """Its gradient in `W`."""
        U, a = self._students(W, a)
        forces = self._forces(U, a)
        if self.student == "plain":
            return forces
        norms, directions = _polar(W)
        radial = jnp.sum(directions * forces, axis=1, keepdims=True)
        return norms * (forces + radial * directions)

    @eqx.filter_jit
    def output_gradient(
        self, W: Float[Array, "m d"], a: Float[Array, " m"] | None = None
    ) -> Float[Array, " m"]:
        """Its gradient in the output weights."""
        U, a = self._students(W, a)
        return self.pairs.value(U, U) @ a - self.pairs.value(U, self.teacher) @ self.teacher_weights

    @eqx.filter_jit
    def hessian(
        self, W: Float[Array, "m d"], a: Float[Array, " m"] | None = None
    ) -> Float[Array, "md md"]:
        """Its second derivative in `W`, neuron after neuron: entry ``(i d + p, j d + q)``.

        For an activation with a kink the closed form (Theorem 17 of safran2021effects for ReLU,
        extended here to any output weights, to the absolute value and to the norm student), exact
        for neurons at any angle; otherwise the derivative of the closed gradient. A kinked
        activation has no second derivative at a zero neuron; the infinite terms are left out.
        """
        U, a = self._students(W, a)
        m, d = U.shape
        if self.pairs.kinks is None:
            return jax.jacfwd(lambda weights: self.gradient(weights, a))(W).reshape(m * d, m * d)
        blocks = self._kinked_hessian(U, a)
        if self.student == "norm":
            blocks = _through_norms(blocks, self._forces(U, a), W)
        return blocks.transpose(0, 2, 1, 3).reshape(m * d, m * d)

    def predict(
        self, W: Float[Array, "m d"], x: Float[Array, "n d"], a: Float[Array, " m"] | None = None
    ) -> Float[Array, " n"]:
        """The student's outputs at given inputs."""
        U, a = self._students(W, a)
        return self.pairs.activation(x @ U.T) @ a

    def target(self, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        """The teacher's outputs at given inputs."""
        return self.pairs.activation(x @ self.teacher.T) @ self.teacher_weights

    def reduce(self, W: Float[Array, "m d"]) -> Reduced:
        """The same problem in the span of students and teachers, of dimension m + r at most.

        Gradients lie in that span, so that gradient descent and gradient flow stay in it: their
        reduced runs are exact (derived here). Nothing is reduced where d is no larger.
        """
        self._students(W, None)
        neurons = jnp.concatenate([W, self.teacher])
        if self.dim <= neurons.shape[0]:
            return Reduced(self, W, jnp.eye(self.dim))
        basis = jnp.linalg.qr(neurons.T)[0]
        problem = eqx.tree_at(lambda p: p.teacher, self, self.teacher @ basis)
        return Reduced(problem, W @ basis, basis)

    def _students(self, W: Array, a: Array | None) -> tuple[Array, Array]:
        """The neurons' vectors u and output weights, their shapes checked."""
        if W.ndim != 2 or W.shape[1] != self.dim or W.shape[0] == 0:
            message = f"Expected students of shape [m, {self.dim}]. Received: shape {W.shape}."
            raise ValueError(message)
        if a is not None and a.shape != W.shape[:1]:
            message = f"Expected {W.shape[0]} output weights. Received: shape {a.shape}."
            raise ValueError(message)
        a = jnp.ones(W.shape[0], W.dtype) if a is None else a
        return (W if self.student == "plain" else _polar(W)[0] * W), a

    def _forces(self, U: Array, a: Array) -> Array:
        """The gradient in the neurons' vectors u."""
        neurons = jnp.concatenate([U, self.teacher])
        c = jnp.concatenate([a, -self.teacher_weights])
        if U.shape[0] <= _BLOCK:
            return self.pairs.pull(U, neurons, a[:, None] * c[None, :])

        def force(student: tuple[Array, Array]) -> Array:
            u, weight = student
            return self.pairs.pull(u[None], neurons, weight * c[None])[0]

        return jax.lax.map(force, (U, a), batch_size=_BLOCK)

    def _kinked_hessian(self, U: Array, a: Array) -> Array:
        """Second derivatives in the neurons' vectors, ``[i, j, p, q]``."""
        assert self.pairs.kinks is not None
        m, d = U.shape
        linear, kink = self.pairs.kinks
        others = a[:, None] * a[None, :] * (1 - jnp.eye(m))
        own, mixed = kinked_curvatures(U, U, linear, kink)
        by_teacher, _ = kinked_curvatures(U, self.teacher, linear, kink)
        force = a[:, None] * self.teacher_weights[None, :]
        diagonal = jnp.einsum("ij,ijpq->ipq", others, own)
        diagonal -= jnp.einsum("ij,ijpq->ipq", force, by_teacher)
        # A neuron with itself: a^2 K(u, u) / 2 is a square.
        square = (linear**2 + kink**2 / 4) * a**2
        diagonal += square[:, None, None] * jnp.eye(d)[None]
        return others[:, :, None, None] * mixed + jnp.einsum("ij,ipq->ijpq", jnp.eye(m), diagonal)


class Reduced(NamedTuple):
    """A problem in the span of its neurons.

    Attributes
    ----------
    problem
        With the teachers in coordinates of the span.
    W
        The students in these coordinates.
    basis
        Orthonormal columns: ``W @ basis.T`` brings students back.
    """

    problem: TeacherStudent
    W: Float[Array, "m k"]
    basis: Float[Array, "d k"]


def _polar(W: Array) -> tuple[Array, Array]:
    """Norms ``[m, 1]`` and directions, zero for a zero neuron, with derivative zero there."""
    square = jnp.sum(W * W, axis=1, keepdims=True)
    positive = square > 0
    norms = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)
    return norms, W / jnp.where(positive, norms, 1.0)


def _through_norms(blocks: Array, forces: Array, W: Array) -> Array:
    """The second derivative in w of what has this second and first derivative in ``|w| w``."""
    norms, directions = _polar(W)
    m, d = W.shape
    projector = jnp.einsum("ip,iq->ipq", directions, directions)
    unit = jnp.eye(d)[None]
    jacobian = norms[:, :, None] * (unit + projector)
    outer = jnp.einsum("ip,iq->ipq", forces, directions)
    radial = jnp.sum(forces * directions, axis=1)[:, None, None]
    bend = outer + outer.transpose(0, 2, 1) + radial * (unit - projector)
    blocks = jnp.einsum("iap,ijab,jbq->ijpq", jacobian, blocks, jacobian)
    return blocks + jnp.einsum("ij,ipq->ijpq", jnp.eye(m), bend)


def _check_teacher(vectors: np.ndarray, weights: np.ndarray, parity: int) -> None:
    if vectors.ndim != 2 or 0 in vectors.shape:
        message = f"Expected teachers of shape [r, d]. Received: shape {vectors.shape}."
        raise ValueError(message)
    if weights.shape != vectors.shape[:1]:
        message = f"Expected one output weight for each of {len(vectors)} teachers. "
        message += f"Received: shape {weights.shape}."
        raise ValueError(message)
    if not (np.all(np.isfinite(vectors)) and np.all(np.isfinite(weights))):
        message = "Expected finite teachers and weights. Received: one that is not finite."
        raise ValueError(message)
    zero = np.flatnonzero(~vectors.any(axis=1) | (weights == 0))
    if zero.size:
        message = f"Expected teachers that are not zero. Received: teacher {zero[0]}, whose vector "
        message += "or weight is zero; leave it out."
        raise ValueError(message)
    apart = angle(vectors[:, None], vectors[None])
    if parity:
        apart = np.minimum(apart, supplement(vectors[:, None], vectors[None]))
    np.fill_diagonal(apart, math.pi)
    if apart.min() < _PARALLEL:
        i, j = sorted(np.unravel_index(np.argmin(apart), apart.shape))
        message = f"Expected teachers in different directions. Received: teachers {i} and {j}, "
        message += "which are parallel; merge them into one."
        raise ValueError(message)
