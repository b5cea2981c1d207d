"""Families of spurious minima: descent returns to each, and leaves each once a neuron is split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.dynamics.teacher_student import Descent
    from twolayer.theory.landscape import CriticalPoint, Family

_DIGITS = 1e-6
_GRADIENT, _ROUGH = 1e-11, 1e-5  # gradient norms at which descent ends
_PRINTED = 1e-6  # published losses and eigenvalues have six decimals
_REFERENCE = "derived here; minima of safran2021effects"


@experiment(
    paper="teacher_student",
    statement="Spurious minima of k ReLU neurons on k orthonormal teachers come in families of "
    "reflected neurons, whose loss and curvature follow from a few symmetric equations; splitting "
    "a neuron opens a way out of each.",
    reference="derived here; minima of safran2021effects; arjevani2021analytic for the symmetry",
    quick={"teachers": "7,10"},
)
def minima_families(
    *,
    teachers: str = "7,8,9,10,14,20",
    softest: float = 0.003,
    kick: float = 0.001,
    step: float = 5.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Symmetric critical points by Newton's method against descent of the whole network.

    The theory solves for the at most six numbers that a minimum of two classes of neurons is made
    of. Descent knows no classes: it starts near the minimum, with neurons and inputs shuffled, and
    the loss, the least eigenvalue of the Hessian and the classes are measured where it ends.

    Parameters
    ----------
    teachers
        Numbers k of teachers, inputs and neurons, each at least 6.
    softest
        Families whose least Hessian eigenvalue is below this are left out: descent needs about
        one over it to settle.
    kick
        How far from the minimum descent starts: the norm of a random shift of all weights.
    step
        The step of gradient descent, times k.
    seed
        Seed of the shifts and shuffles.
    """
    sizes = whole_numbers("teachers", teachers)
    at_least(6, **{"every number of teachers": min(sizes)})
    at_least(0, seed=seed)
    positive(softest=softest, kick=kick, step=step)

    import numpy as np

    from twolayer.theory.landscape import families

    findings, predictions, trajectories = [], [], []
    steps = (kick, step)
    for k in sizes:
        stage = Stage(progress, f"k = {k}")
        chosen = [point for point in families(k) if point.least_eigenvalue >= softest]
        if not chosen:
            message = f"Expected families of k = {k} with eigenvalues from {softest:g} on. "
            message += "Received: none; lower softest."
            raise ValueError(message)
        stage(1, 3)
        generator = np.random.default_rng([seed, k])
        weights = [point.weights for point in chosen]
        returned = _measured(k, _descents(k, weights, generator, steps, _GRADIENT))
        stage(2, 3)
        findings += _return_findings(k, chosen, returned)
        findings += _published_findings(k, chosen, returned)
        findings.append(_split_finding(k, chosen, generator, steps))
        stage(3, 3)
        number = np.arange(1.0, len(chosen) + 1)
        for quantity in ("loss", "least_eigenvalue"):
            name = f"{quantity.replace('_', ' ')}, k = {k}"
            exact = np.array([getattr(point, quantity) for point in chosen])
            ends = np.array([[getattr(point, quantity) for point in returned]])
            predictions.append(
                Prediction(name, number, exact, "exact", _REFERENCE, grid_name="family")
            )
            trajectories.append(Trajectory(name, number, ends, ("finished",), grid_name="family"))
    return Result(
        quantity="loss, least eigenvalue",
        predictions=tuple(predictions),
        trajectories=tuple(trajectories),
        findings=tuple(findings),
    )


def _descents(
    k: int,
    weights: list[np.ndarray],
    generator: np.random.Generator,
    steps: tuple[float, float],
    gradient_norm: float,
) -> Descent:
    """Descent from shuffled and shifted weights."""
    import jax
    import numpy as np

    from twolayer.dynamics.teacher_student import descend
    from twolayer.teacher_student import TeacherStudent

    kick, step = steps
    shifts = generator.normal(size=(len(weights), *weights[0].shape))
    shifts *= kick / np.linalg.norm(shifts, axis=(1, 2), keepdims=True)
    starts = np.stack([
        (W + shift)[generator.permutation(len(W))][:, generator.permutation(k)]
        for W, shift in zip(weights, shifts, strict=True)
    ])
    with jax.enable_x64(True):
        problem = TeacherStudent(np.eye(k))
        return descend(problem, starts, learning_rate=step / k, gradient_norm=gradient_norm)


def _measured(k: int, ends: Descent) -> list[CriticalPoint]:
    """The ends with their loss and Hessian as training computes them, not as the theory does."""
    from dataclasses import replace

    import jax
    import jax.numpy as jnp
    import numpy as np

    from twolayer.teacher_student import TeacherStudent
    from twolayer.theory.landscape import critical_point

    points = []
    with jax.enable_x64(True):
        problem = TeacherStudent(np.eye(k))
        for W, loss in zip(ends.W, ends.losses, strict=True):
            least = np.linalg.eigvalsh(np.asarray(problem.hessian(jnp.asarray(W))))[0]
            point = critical_point(W, np.eye(k))
            points.append(replace(point, loss=float(loss), least_eigenvalue=float(least)))
    return points


def _return_findings(k: int, chosen: list[Family], returned: list[CriticalPoint]) -> list[Finding]:
    """Losses, eigenvalues and classes of all families at once."""
    pairs = list(zip(chosen, returned, strict=True))
    losses = max(abs(end.loss - point.loss) / point.loss for point, end in pairs)
    least = max(
        abs(end.least_eigenvalue - point.least_eigenvalue) / point.least_eigenvalue
        for point, end in pairs
    )
    same = sum(
        end.symmetry is not None and sorted(end.symmetry.neurons) == sorted(point.sizes)
        for point, end in pairs
    )
    note = ", ".join("+".join(map(str, point.sizes)) for point in chosen)
    return [
        Finding(
            f"{what}, k = {k}",
            f"Descent near each family of k = {k} returns to it: {sentence}.",
            0.0,
            gap,
            _DIGITS,
            "agrees" if gap < _DIGITS else "disagrees",
            _REFERENCE,
            f"largest relative gap over the families {note}",
        )
        for what, sentence, gap in (
            ("losses", "the loss agrees to six digits", losses),
            ("least eigenvalues", "so does the Hessian's least eigenvalue", least),
        )
    ] + [
        Finding(
            f"classes, k = {k}",
            f"The ends at k = {k} have the classes of neurons of their families.",
            len(chosen),
            same,
            0.0,
            "agrees" if same == len(chosen) else "disagrees",
            _REFERENCE,
            "how many families kept their classes",
        )
    ]


def _published_findings(
    k: int, chosen: list[Family], returned: list[CriticalPoint]
) -> list[Finding]:
    """Against the published minima where they are quoted."""
    from twolayer.theory.landscape import PUBLISHED_FAMILIES

    findings = []
    for point, end in zip(chosen, returned, strict=True):
        published = PUBLISHED_FAMILIES.get(point.sizes) if point.mirror == "all" else None
        if published is None:
            continue
        gap = max(abs(end.loss - published[0]), abs(end.least_eigenvalue - published[1]))
        findings.append(
            Finding(
                f"published minimum {'+'.join(map(str, point.sizes))}",
                f"Descent to a spurious minimum of k = {k} measures the published least "
                "eigenvalue, and the published loss.",
                published[1],
                end.least_eigenvalue,
                _PRINTED,
                "agrees" if gap < _PRINTED else "disagrees",
                "safran2021effects, published minima",
                f"loss {end.loss:.6f} against {published[0]:.6f}",
            )
        )
    return findings


def _split_finding(
    k: int, chosen: list[Family], generator: np.random.Generator, steps: tuple[float, float]
) -> Finding:
    """From each family with its first neuron split, descent ends far lower."""
    import numpy as np

    from twolayer.theory.landscape import split_eigenvalue_bound, split_neuron

    starts = [split_neuron(point.weights, 0) for point in chosen]
    losses = _descents(k, starts, generator, steps, _ROUGH).losses
    drops = [point.loss - float(loss) for point, loss in zip(chosen, losses, strict=True)]
    bounds = [split_eigenvalue_bound(point.weights, np.eye(k))[0] for point in chosen]
    left = sum(drop > 10 * steps[0] ** 2 for drop in drops)
    return Finding(
        f"ways out, k = {k}",
        f"Splitting one neuron lets descent leave every family of k = {k} for a lower loss.",
        len(chosen),
        left,
        0.0,
        "agrees" if left == len(chosen) else "disagrees",
        "safran2021effects, Theorems 14 and 16",
        f"least drop of the loss {min(drops):.3g}; eigenvalues along the split from "
        f"{min(bounds):.3f} to {max(bounds):.3f}",
    )
