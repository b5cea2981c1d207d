"""Gradient flow near zero loss: the exponent does not depend on how many students there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twolayer.experiments.options import Stage, at_least, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.experiments.teacher_student.late import (
    bounded,
    judged,
    late_slope,
    mean_and_error,
    padded_flow,
)
from twolayer.outcomes import Finding, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

_SLOPE = 0.15  # a decade of time is no infinite time: what a slope may be off
_VISIBLE = 1e-9  # of the loss of no student: above, a plain sum of kernels has three digits
_LEAST_LOSS = 1e-8  # above it the gradient has enough digits for the descent direction


@experiment(
    paper="teacher_student",
    statement="Near zero loss the flow converges like t^-3 with more students than teachers, "
    "however many, and exponentially with as many; the proved bound 1/t holds.",
    reference="zhou2021local, Theorems 4 and 5; exponents conjectured here",
    quick={"teachers": 2, "dim": 3, "seeds": 2},
)
def local_convergence(
    *,
    ratios: str = "1,2,4,10",
    teachers: int = 4,
    dim: int = 8,
    initial_loss: float = 1e-2,
    horizon: float = 2e4,
    seeds: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Absolute-value students around orthonormal teachers, all from the same initial loss.

    Each teacher gets the same number of students, perturbed at random; gradient flow is solved
    by an implicit method. The loss is computed from where the students are, without cancellation.

    Parameters
    ----------
    ratios
        Students for each teacher. With 1 the network has exactly the size it needs.
    teachers
        Neurons of the teacher, orthogonal to each other and of length 1.
    dim
        Input dimension.
    initial_loss
        The loss that every run starts from: the perturbation is scaled to it.
    horizon
        How long to train, in units of gradient-flow time.
    seeds
        Random perturbations for each ratio; they give the error bars.
    seed
        Seed of all randomness.
    """
    multiples = whole_numbers("ratios", ratios)
    at_least(1, teachers=teachers)
    at_least(max(teachers, 2), dim=dim)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    positive(initial_loss=initial_loss, horizon=horizon)
    if not (1e-6 <= initial_loss <= 0.1 and horizon >= 100):
        message = (
            "Expected an initial loss between 1e-6 and 0.1 and a horizon of at least 100, or there "
        )
        message += f"is no late time to look at. Received: {initial_loss!r} and {horizon!r}."
        raise ValueError(message)

    import numpy as np

    from twolayer.theory.local_convergence import guaranteed_flow

    rng = np.random.default_rng(seed)
    teacher = np.eye(dim)[:teachers]
    times = np.concatenate([[0.0], np.geomspace(0.1, horizon, 48)])
    runs = {}
    for multiple in multiples:
        stage = Stage(progress, f"{multiple} students for each teacher")
        paths = []
        for k in range(seeds):
            stage(k, seeds)
            W = students_around(teacher, multiple, initial_loss, rng)
            paths.append(padded_flow(teacher, W, times, width=max(multiples) * teachers, rtol=1e-8))
        runs[multiple] = paths
    losses = {m: np.stack([_losses(p.W, teacher) for p in paths]) for m, paths in runs.items()}
    guarantee = guaranteed_flow(teacher, times=times, initial_loss=initial_loss)
    findings = [_rate_finding(m, times, value, teacher) for m, value in losses.items()]
    powers = {m: value for m, value in losses.items() if m > 1}
    if len(powers) > 1:
        findings.append(_no_width_finding(times, powers))
    findings += _theorem_findings(guarantee, losses, runs, teacher)
    trajectories = tuple(
        Trajectory(
            f"loss, {m} students for each teacher",
            times,
            value,
            tuple("finished" if path.finished else "diverged" for path in runs[m]),
            details={"width": m * teachers, "dim": dim},
        )
        for m, value in losses.items()
    )
    return Result(predictions=(guarantee,), trajectories=trajectories, findings=tuple(findings))


def students_around(
    teacher: np.ndarray, multiple: int, initial_loss: float, rng: np.random.Generator
) -> np.ndarray:
    """So many students near each teacher, perturbed at random up to the given loss."""
    import numpy as np
    from scipy.optimize import brentq

    from twolayer.theory.local_convergence import loss

    exact = np.repeat(teacher, multiple, axis=0)
    exact = exact / np.sqrt(multiple * np.linalg.norm(exact, axis=1))[:, None]
    noise = rng.normal(size=exact.shape) / np.sqrt(multiple)

    def excess(scale: float) -> float:
        return loss(exact + scale * noise, teacher) - initial_loss

    scale, _ = brentq(excess, 0.0, 3.0, full_output=True)  # type: ignore[misc]
    return exact + scale * noise


def _losses(W: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The loss at each time, NaN where the students are."""
    import numpy as np

    from twolayer.theory.local_convergence import decompose_residual

    return np.array([
        decompose_residual(w, teacher).loss if np.all(np.isfinite(w)) else np.nan for w in W
    ])


def _rate_finding(
    multiple: int, times: np.ndarray, losses: np.ndarray, teacher: np.ndarray
) -> Finding:
    """The late slope, or the exponential rate of a student of exactly the needed size."""
    import numpy as np

    from twolayer.theory.local_convergence import exact_hessian

    if multiple > 1:
        slope, error = _slope(times, losses)
        return judged(
            f"slope, {multiple} students for each teacher",
            "The loss falls like t^-3 with more students than teachers.",
            (-3.0, slope, error),
            "conjectured here; for one ReLU teacher xu2023over",
            f"last decade of time; {_SLOPE} is allowed for the time being finite",
            allowed=_SLOPE,
        )
    rate = 2 * float(np.linalg.eigvalsh(exact_hessian(teacher))[0])
    measured, error = mean_and_error([_exponential(times, value) for value in losses])
    return judged(
        "rate, as many students as teachers",
        "The loss falls exponentially, at twice the least eigenvalue of the Hessian.",
        (rate, measured, error),
        "derived here",
        "negative control of the slopes; from 1e-5 to 1e-14 of the first loss, 2% is allowed",
        allowed=0.02 * rate,
    )


def _slope(times: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    """The late slope over the runs, its error that of their mean and of the single fits."""
    fits = [late_slope(times[1:], value[1:]) for value in losses]
    slope, error = mean_and_error([fit for fit, _ in fits])
    return slope, math.hypot(error, sum(own for _, own in fits) / len(fits))


def _exponential(times: np.ndarray, losses: np.ndarray) -> float:
    """The rate between 1e-5 and 1e-14 of the first loss."""
    import numpy as np

    kept = (losses < 1e-5 * losses[0]) & (losses > 1e-14 * losses[0])
    if np.sum(kept) < 2:
        return float("nan")
    return -float(np.polyfit(times[kept], np.log(losses[kept]), 1)[0])


def _no_width_finding(times: np.ndarray, losses: dict[int, np.ndarray]) -> Finding:
    """Slopes of the fewest and of the most students, against the spread of the seeds."""
    few, many = min(losses), max(losses)
    (first, one), (second, other) = (_slope(times, losses[m]) for m in (few, many))
    return judged(
        "no exponent of the width",
        f"The slope with {many} students for each teacher is that with {few}.",
        (0.0, second - first, math.hypot(one, other)),
        "conjectured here",
        f"{first:.3f} and {second:.3f}; {_SLOPE} is allowed for the time being finite",
        allowed=_SLOPE,
    )


def _theorem_findings(guarantee, losses, runs, teacher) -> list[Finding]:
    """What zhou2021local proves, checked along every run."""
    import numpy as np

    from twolayer.theory.local_convergence import descent_direction, far_mass_certificate

    scale = float(guarantee.value[0])
    worst = float(np.min([np.min((guarantee.value / value)[:, 1:]) for value in losses.values()]))
    ratios, certified, checked = [], [], []
    for m, paths in runs.items():
        for path, value in zip(paths, losses[m], strict=True):
            states = zip(path.W[::3], value[::3], path.losses[::3], strict=True)
            for W, loss, plain in states:
                if not loss > _LEAST_LOSS * scale:
                    continue
                ratios.append(descent_direction(W, teacher).alignment / loss)
                certified.append(loss / far_mass_certificate(W, teacher).loss_bound)
                if loss > _VISIBLE:
                    checked.append(abs(plain / loss - 1) * loss)
    vacuous = guarantee.assumptions[0]
    return [
        bounded(
            "the bound 1/t",
            "The loss stays below 1 / (1 / L(0) + kappa^2 t): the least ratio of bound and loss.",
            (1.0, worst, 1e-9),
            guarantee.reference,
            f"the theorem itself starts {-vacuous.margin:.0f} decades below this initial loss",
        ),
        bounded(
            "descent direction",
            "The gradient has an inner product of at least L with the direction of Lemma 8.",
            (1.0, min(ratios), 1e-6),
            "zhou2021local, Lemma 8",
            f"least of {len(ratios)} configurations; largest {max(ratios):.3g}, 3 in the limit",
        ),
        bounded(
            "far mass",
            "No loss is below what the dual certificate demands for its far mass.",
            (1.0, min(certified), 1e-9),
            "derived here, after zhou2021local, C.4.4",
            f"least ratio of loss and bound over {len(certified)} configurations",
        ),
        _consistent(checked),
    ]


def _consistent(differences: list[float]) -> Finding:
    """The training code's sum of kernels has an absolute error of about 1e-15 a neuron."""
    largest = max(differences)
    return Finding(
        "two formulas of the loss",
        "The loss without cancellation is the sum of kernels wherever that has digits.",
        0.0,
        largest,
        1e-12,
        "agrees" if largest <= 1e-12 else "disagrees",
        "derived here",
        f"largest absolute difference over {len(differences)} configurations",
    )
