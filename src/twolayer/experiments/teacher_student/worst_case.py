"""A search for the least gradient at a given loss, over all students."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

_FAR = 0.35  # of the square root of the least norm: shorter students count as far ones
_TIGHT = 1e-6  # of log L: a point that misses its level by more is not used


class WorstCase(NamedTuple):
    """The least ``|grad L| / L^{3/4}`` found at each loss, and the student at the smallest.

    NaN at a loss that no search held.
    """

    levels: np.ndarray
    constants: np.ndarray
    student: np.ndarray


def least_gradients(
    teacher: np.ndarray, width: int, levels: np.ndarray, *, starts: int, seed: int
) -> WorstCase:
    """Minimise ``log |grad L|`` at fixed loss, level after level, by sequential programming.

    The search runs on the closed loss, gradient and Hessian of the training code. The first level
    starts from perfect clusters with random tiny far neurons; each later one also from the best
    points of the level before, their far neurons scaled like ``L^{1/4}``.

    Parameters
    ----------
    teacher
        Teacher neurons, ``[r, d]``.
    width
        Students, more than teachers.
    levels
        Decreasing losses.
    starts
        Random starts of the first level; later ones have two.
    seed
        Seed of the starts.
    """
    import numpy as np

    from twolayer.numerics.precision import in_float64

    rng = np.random.default_rng(seed)
    evaluate = in_float64(_evaluator)(teacher, width)
    found: list[tuple[float, np.ndarray]] = []
    constants = []
    for k, level in enumerate(levels):
        shrink = (level / levels[k - 1]) ** 0.25 if k else 1.0
        tries = [_shrunk(W, teacher, shrink) for _, W in found[:3]]
        tries += [_tiny_far(teacher, width, level, rng) for _ in range(2 if k else starts)]
        found = sorted(
            (
                point
                for W in tries
                if (point := in_float64(_descended)(evaluate, W, level, teacher)) is not None
            ),
            key=lambda pair: pair[0],
        )
        constants.append(found[0][0] if found else np.nan)
    student = found[0][1] if found else np.full((width, teacher.shape[1]), np.nan)
    return WorstCase(np.asarray(levels), np.asarray(constants), student)


def _evaluator(teacher: np.ndarray, width: int) -> Callable:
    """``w -> log L, its gradient, log |grad L|, its gradient``, compiled."""
    import jax
    import jax.numpy as jnp

    from twolayer.pair_kernels import abs_pairs
    from twolayer.teacher_student import TeacherStudent

    problem = TeacherStudent(teacher, pairs=abs_pairs, student="norm")

    @jax.jit
    def evaluate(w):
        W = w.reshape(width, -1)
        loss, slope = problem(W), problem.gradient(W).ravel()
        square = slope @ slope
        bend = problem.hessian(W) @ slope
        return jnp.log(loss), slope / loss, jnp.log(square) / 2, bend / square

    return evaluate


def _descended(
    evaluate: Callable, W: np.ndarray, level: float, teacher: np.ndarray
) -> tuple[float, np.ndarray] | None:
    """The constant and the student that sequential programming ends at, if it holds the level."""
    import numpy as np
    from scipy.optimize import minimize

    # Far neurons move by their own size, the others by what is left of L^{1/2}.
    norms = np.linalg.norm(W, axis=1)
    scale = np.where(norms < _reach(teacher), norms, np.sqrt(level))
    scale = np.repeat(scale, W.shape[1])
    start, kept = W.ravel(), {}

    def at(z: np.ndarray) -> list[np.ndarray]:
        key = z.tobytes()
        if key not in kept:
            kept.clear()
            kept[key] = [np.asarray(part) for part in evaluate(start + scale * z)]
        return kept[key]

    def held(z: np.ndarray) -> float:
        return float(at(z)[0] - np.log(level))

    result = minimize(
        lambda z: (float(at(z)[2]), at(z)[3] * scale),
        np.zeros(start.size),
        jac=True,
        method="SLSQP",
        constraints=[{"type": "eq", "fun": held, "jac": lambda z: at(z)[1] * scale}],
        options={"maxiter": 300, "ftol": 1e-10},
    )
    if not (np.isfinite(result.fun) and abs(held(result.x)) < _TIGHT):
        return None
    constant = float(np.exp(result.fun - 0.75 * np.log(level)))
    return constant, (start + scale * result.x).reshape(W.shape)


def _reach(teacher: np.ndarray) -> float:
    import numpy as np

    return _FAR * float(np.sqrt(np.min(np.linalg.norm(teacher, axis=1))))


def _shrunk(W: np.ndarray, teacher: np.ndarray, factor: float) -> np.ndarray:
    """Far neurons scaled by the factor; what the others miss of perfect ones by its square."""
    import numpy as np

    norms = np.linalg.norm(W, axis=1)
    far = norms < _reach(teacher)
    directions = teacher / np.linalg.norm(teacher, axis=1)[:, None]
    own = directions[np.argmax(np.abs(W @ directions.T), axis=1)]
    along = np.sum(W * own, axis=1, keepdims=True) * own
    return np.where(far[:, None], factor * W, along + factor**2 * (W - along))


def _tiny_far(
    teacher: np.ndarray, width: int, level: float, rng: np.random.Generator
) -> np.ndarray:
    """Perfect clusters, and the rest of the students tiny in random directions."""
    import numpy as np

    r, d = teacher.shape
    clustered = int(rng.integers(0, width - r))  # at least one far neuron
    cluster = np.concatenate([np.arange(r), rng.integers(0, r, clustered)])
    sizes = np.bincount(cluster)
    norms = np.linalg.norm(teacher, axis=1)
    near = teacher[cluster] / np.sqrt(sizes * norms)[cluster][:, None]
    far = rng.normal(size=(width - len(cluster), d))
    far /= np.linalg.norm(far, axis=1)[:, None]
    far *= (4 * level) ** 0.25 * rng.uniform(0.5, 1.0, size=(len(far), 1))
    W = np.concatenate([near, far])
    return W + 0.3 * np.sqrt(level) * rng.normal(size=W.shape)
