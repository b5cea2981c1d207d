"""The landscape of ReLU students next to their global minima."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twolayer.experiments.options import at_least, numbers, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.teacher_student import TeacherStudent

_ROUNDING = 1e-10  # of an eigenvalue in double precision


@experiment(
    paper="teacher_student",
    statement="With as many ReLU neurons as orthonormal teachers the risk is strongly convex "
    "around its minima; with more it has directions of negative curvature as near as one likes, "
    "and stays convex towards the balanced minimum only.",
    reference="safran2021effects, Theorems 3, 4, 10 and Conjecture 12; spectrum derived here",
    quick={"teachers": "4,6", "samples": 20},
)
def global_minima(
    *,
    teachers: str = "4,6,10",
    copies: int = 2,
    angles: str = "1e-6,1e-4,1e-2",
    samples: int = 200,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Hessians around global minima, from the closed risk, against their theory.

    Parameters
    ----------
    teachers
        Numbers k of orthonormal teachers (and dimensions).
    copies
        Neurons for each teacher, m, where the student is wider.
    angles
        By how much a split neuron is turned off its teacher, in radians: the distance at which
        negative curvature is looked for.
    samples
        Random points around the balanced minimum for the one-point convexity of Theorem 10.
    seed
        Seed of the random points.
    """
    sizes = whole_numbers("teachers", teachers)
    at_least(2, copies=copies, samples=samples, **{"every number of teachers": min(sizes)})
    at_least(0, seed=seed)
    turns = numbers("angles", angles, 1e-12, 0.5)

    import jax
    import numpy as np

    findings, predictions, trajectories = [], [], []
    with jax.enable_x64(True):
        for done, k in enumerate(sizes):
            progress("global minima", done, len(sizes))
            problem = _problem(k)
            findings += [_spectrum_finding(problem, k)]
            bound, least, control = _turned(problem, k, np.asarray(turns))
            name = f"least eigenvalue, k = {k}"
            predictions.append(
                Prediction(name, np.asarray(turns), bound, "exact", "derived here", (), "angle")
            )
            trajectories.append(
                Trajectory(name, np.asarray(turns), least[None], ("finished",), grid_name="angle")
            )
            findings += [
                _negative_finding(bound, least, k),
                Finding(
                    f"control, k = {k}",
                    "Turning a neuron of a student with k neurons keeps the risk convex there.",
                    "positive",
                    float(control.min()),
                    _ROUNDING,
                    "agrees" if control.min() > _ROUNDING else "disagrees",
                    "safran2021effects, Theorem 3",
                ),
                _one_point_finding(problem, k, copies, samples, seed),
            ]
    return Result(
        predictions=tuple(predictions), trajectories=tuple(trajectories), findings=tuple(findings)
    )


def _problem(k: int) -> TeacherStudent:
    import numpy as np

    from twolayer.teacher_student import TeacherStudent

    return TeacherStudent(np.eye(k))


def _hessian(problem: TeacherStudent, W: np.ndarray) -> np.ndarray:
    import jax.numpy as jnp
    import numpy as np

    return np.asarray(problem.hessian(jnp.asarray(W)))


def _spectrum_finding(problem: TeacherStudent, k: int) -> Finding:
    """All k^2 eigenvalues at the minimum, not only the least."""
    import numpy as np

    from twolayer.theory.landscape import global_spectrum

    measured = np.linalg.eigvalsh(_hessian(problem, np.eye(k)))
    predicted = global_spectrum(k)
    gap = float(np.max(np.abs(measured - predicted)))
    return Finding(
        f"spectrum, k = {k}",
        f"The Hessian at the minimum of {k} neurons on {k} teachers has the closed spectrum, its "
        "least eigenvalue 1/4 - 1/(2 pi).",
        float(predicted[0]),
        float(measured[0]),
        _ROUNDING,
        "agrees" if gap < _ROUNDING else "disagrees",
        "safran2021effects, Theorem 3; spectrum derived here",
        f"largest gap of all {k * k} eigenvalues: {gap:.1e}",
    )


def _turned(
    problem: TeacherStudent, k: int, turns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and measured least eigenvalue with a turned split neuron; without the split."""
    import numpy as np

    from twolayer.theory.landscape import split_eigenvalue_bound, split_neuron

    bound, least, control = (np.empty(turns.size) for _ in range(3))
    for i, turn in enumerate(turns):
        W = np.eye(k)
        W[0, :2] = math.cos(turn), math.sin(turn)
        bound[i] = split_eigenvalue_bound(W, np.eye(k))[0]
        least[i] = np.linalg.eigvalsh(_hessian(problem, split_neuron(W, 0)))[0]
        control[i] = np.linalg.eigvalsh(_hessian(problem, W))[0]
    return bound, least, control


def _negative_finding(exact: np.ndarray, least: np.ndarray, k: int) -> Finding:
    """Negative at each distance, by what the split predicts."""
    import numpy as np

    gap = float(np.max(np.abs(least - exact)))
    return Finding(
        f"negative curvature, k = {k}",
        f"One neuron more than {k} makes the Hessian indefinite in every neighbourhood of a "
        "global minimum: its least eigenvalue is -2 sin(t) / pi where half a neuron and its twin "
        "are turned by t.",
        float(exact[-1]),
        float(least[-1]),
        _ROUNDING,
        "agrees" if gap < _ROUNDING and np.all(least < 0) else "disagrees",
        "safran2021effects, Theorem 4; size derived here",
        f"largest gap over the angles: {gap:.1e}",
    )


def _one_point_finding(
    problem: TeacherStudent, k: int, copies: int, samples: int, seed: int
) -> Finding:
    """The least slack of Conjecture 12 over random points, in units of the squared distance."""
    import numpy as np

    from twolayer.theory.landscape import one_point_curvature

    generator = np.random.default_rng([seed, k])
    owner = np.repeat(np.arange(k), copies)
    centre = np.eye(k)[owner] / copies
    slacks, worst = np.empty(samples), 0.0
    for i in range(samples):
        shift = generator.normal(size=centre.shape)
        if i % 2:  # every group keeps its sum: the bound vanishes, only the error term is left
            shift -= (shift.reshape(k, copies, k).mean(axis=1))[owner]
        W = centre + 1e-2 * shift / np.linalg.norm(shift)
        found = one_point_curvature(W, np.eye(k), owner.tolist())
        flat = (W - centre).ravel()
        curvature = float(flat @ _hessian(problem, W) @ flat)
        worst = max(worst, abs(curvature - found.curvature))
        slacks[i] = (curvature - found.bound) / found.distance**2
    return Finding(
        f"one-point convexity, k = {k}",
        f"Towards the balanced minimum of {copies} neurons for each of {k} teachers the curvature "
        "never falls below its bound.",
        ">= 0",
        float(slacks.min()),
        _ROUNDING,
        "agrees" if slacks.min() > -_ROUNDING and worst < _ROUNDING else "disagrees",
        "safran2021effects, Theorem 10 and Conjecture 12",
        f"least slack of {samples} points at distance 0.01, by its square; half of the points keep "
        "the sum of every group, where Theorem 10 promises nothing beyond its error term",
    )
