"""What a ReLU student can know of its teacher, with and without a linear term."""

from __future__ import annotations

from typing import Any

from twolayer.experiments.options import at_least
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding
from twolayer.results import Result

_RATE = 0.2
_REACHED = 1e-8
_MOST_STEPS = 100_000
_GRADIENT = 1e-7


@experiment(
    paper="teacher_student",
    statement="A ReLU student finds the lines of its teachers, but their signs only as far as the "
    "sum of the teachers shows them; a linear term hides the signs altogether.",
    reference="zhou2021local, Claim 1, Section A.1; the family of solutions derived here",
    quick={"runs": 12, "samples": 100_000},
)
def identifiability(
    *,
    width: int = 9,
    runs: int = 40,
    samples: int = 400_000,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """ReLU students of three teachers in three dimensions, dependent or independent.

    Parameters
    ----------
    width
        Number of students.
    runs
        Random starts for each teacher.
    samples
        Inputs sampled to measure losses directly.
    seed
        Seed of starts and inputs.
    """
    at_least(3, width=width, runs=runs)
    at_least(1000, samples=samples)
    at_least(0, seed=seed)

    import numpy as np

    from twolayer.dynamics.teacher_student import descend
    from twolayer.pair_kernels import relu_pairs
    from twolayer.teacher_student import TeacherStudent

    generator = np.random.default_rng(seed)
    turns = np.array([0.0, 2.0, 4.4])
    plane = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    # Lengths with which the three sum to zero, as the sines of the angles between the other two.
    lengths = np.sin(np.array([turns[2] - turns[1], turns[0] - turns[2], turns[1] - turns[0]]))
    dependent = lengths[:, None] * plane * 3 / np.abs(lengths).sum()
    independent = dependent + np.array([[0.0, 0.0, 1.0]])
    teachers = {"sum zero": dependent, "independent": independent}
    findings = []
    x = generator.normal(size=(samples, 3))
    for k, (name, teacher) in enumerate(teachers.items()):
        progress("runs", k, len(teachers))
        problem = TeacherStudent(teacher, pairs=relu_pairs, student="norm")
        mirror = -teacher / np.sqrt(np.linalg.norm(teacher, axis=1, keepdims=True))
        findings.append(_mirrored(name, teacher, mirror, x))
        starts = 0.3 * generator.normal(size=(runs, width, 3))
        ended = descend(problem, starts, learning_rate=_RATE, gradient_norm=_GRADIENT,
                        max_steps=_MOST_STEPS)  # fmt: skip
        findings += _signs(name, teacher, ended)
    findings.append(_linear(dependent, 0.7 * generator.normal(size=(width, 3)), x))
    progress("runs", len(teachers), len(teachers))
    return Result(findings=tuple(findings))


def _half_squares(residual: Any) -> tuple[float, float]:
    """Half the mean square and its standard error."""
    half = residual**2 / 2
    return float(half.mean()), float(half.std() / len(half) ** 0.5)


def _outputs(W: Any, x: Any) -> Any:
    import numpy as np

    return np.maximum(x @ W.T, 0) @ np.linalg.norm(W, axis=1)


def _mirrored(name: str, teacher: Any, mirror: Any, x: Any) -> Finding:
    """The mirror image of the teacher, measured on samples."""
    import numpy as np

    predicted = float(np.sum(teacher.sum(axis=0) ** 2) / 2)
    measured, error = _half_squares(_outputs(mirror, x) - np.maximum(x @ teacher.T, 0).sum(axis=1))
    within = abs(measured - predicted) <= 3 * error + 1e-12
    return Finding(
        f"mirror image, {name}",
        "The student of opposite neurons has the loss |sum w*|^2 / 2: none if that sum is zero.",
        predicted,
        measured,
        max(error, 1e-15),
        "agrees" if within else "disagrees",
        "zhou2021local, Claim 1; the loss derived here",
    )


def _signs(name: str, teacher: Any, ended: Any) -> list[Finding]:
    """The share of each teacher that is found with its own sign, in runs that reach zero loss."""
    import numpy as np

    reached = ended.losses < _REACHED
    if reached.sum() < 3:
        return [
            Finding(f"signs, {name}", "Descent reaches zero loss.", "reached",
                    f"{int(reached.sum())} of {len(reached)} runs", 0.0, "undecided",
                    "zhou2021local, Claim 1")
        ]  # fmt: skip
    W = ended.W[reached]
    norms = np.linalg.norm(W, axis=2)
    cosines = W @ teacher.T / np.maximum(norms[..., None], 1e-300)
    cosines = cosines / np.linalg.norm(teacher, axis=1)
    nearest = np.abs(cosines).argmax(axis=2)
    signed = np.take_along_axis(cosines, nearest[..., None], axis=2)[..., 0]
    mass = norms**2
    own = np.stack([(mass * ((nearest == i) & (signed > 0))).sum(axis=1) for i in range(3)], axis=1)
    share = own / np.linalg.norm(teacher, axis=1)
    spread = float(np.ptp(share, axis=1).max())
    error = _share_error(teacher, float(ended.losses[reached].max()))
    note = f"{int(reached.sum())} of {len(reached)} runs reached a loss of {_REACHED:g}"
    equal = Finding(
        f"one share for all, {name}",
        "At zero loss the share of a teacher found with its own sign is the same for all three.",
        0.0,
        spread,
        error,
        "agrees" if spread <= error else "disagrees",
        "derived here",
        note,
    )
    least, most = float(share.min()), float(share.max())
    if name == "independent":
        off = max(abs(1 - least), abs(most - 1))
        whole = Finding(
            "signs, independent",
            "Where the teachers are linearly independent every sign is found.",
            1.0,
            least,
            error,
            "agrees" if off <= error else "disagrees",
            "derived here",
            note,
        )
        return [equal, whole]
    free = Finding(
        "signs, sum zero",
        "Where the teachers sum to zero the share depends on the start: signs are not identified.",
        "spread over runs",
        most - least,
        error,
        "agrees" if most - least > 10 * error else "undecided",
        "zhou2021local, Claim 1",
        note + f"; shares from {least:.2f} to {most:.2f}",
    )
    return [equal, free]


def _share_error(teacher: Any, loss: float) -> float:
    """How well the shares are known at a small loss.

    The loss is ``L_abs / 4 + |sum u - sum w*|^2 / 8``: the neurons' sum is known up to sqrt(8 L),
    and the average neurons up to ``sqrt(8 L / lambda)``, lambda being the least eigenvalue of the
    flat directions. Both show in the shares through the teacher's least singular value (but for
    the zero one). A factor of four is left for the spiky part of the residual.
    """
    import numpy as np

    from twolayer.theory.local_convergence import least_flatness

    singular = np.linalg.svd(teacher, compute_uv=False)
    least = float(singular[singular > 1e-9].min())
    return 4 * (8 * loss) ** 0.5 * (1 + least_flatness(teacher) ** -0.5) / least


def _linear(teacher: Any, W: Any, x: Any) -> Finding:
    """The best linear term by least squares on samples, against a quarter of the other problem."""
    import numpy as np

    from twolayer.pair_kernels import abs_pairs
    from twolayer.teacher_student import TeacherStudent

    predicted = float(TeacherStudent(teacher, pairs=abs_pairs, student="norm")(W)) / 4
    residual = _outputs(W, x) - np.maximum(x @ teacher.T, 0).sum(axis=1)
    residual = residual - x @ np.linalg.lstsq(x, residual, rcond=None)[0]
    measured, error = _half_squares(residual)
    return Finding(
        "linear term",
        "With the best linear term the ReLU loss is a quarter of that of absolute values.",
        predicted,
        measured,
        error,
        "agrees" if abs(measured - predicted) <= 3 * error else "disagrees",
        "zhou2021local, Section A.1",
    )
