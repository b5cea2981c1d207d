"""What the experiments on order parameters share: runs of SGD, and how curves are judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twolayer.outcomes import Comparison, Finding, Prediction, Trajectory, Verdict

if TYPE_CHECKING:
    import numpy as np

    from twolayer.pair_kernels import PairKernel
    from twolayer.theory.order_parameters import Integrals

_SINGLE = 1e-6  # weights of the runs are in single precision
# The mean over runs misses the limit by about the risk over the dimension: N times the relative
# gap of 1600 runs in 50 and 100 dimensions lay between 0 and 1.5 for all three activations.
_CORRECTION = 2.0


def sgd_run(
    start, pairs, learning_rate, times, dim, seeds, seed, *, noise_std=0.0, padded_dim=None
) -> Trajectory:
    """One-pass SGD from weights with the overlaps of `start`."""
    import jax

    from twolayer.dynamics.committee_sgd import (
        CommitteeSGD,
        committee_sgd,
        weights_with_overlaps,
    )

    W, V = weights_with_overlaps(start.Q, start.R, start.T, dim)
    return committee_sgd(
        CommitteeSGD(learning_rate, noise_std=noise_std),
        (W, start.student_weights),
        (V, start.teacher_weights),
        pairs,
        times=times,
        seeds=seeds,
        padded_dim=padded_dim,
        key=jax.random.key(seed),
    ).risk


def allowed(predicted: Prediction, dim: int) -> np.ndarray:
    """The deviation of a mean over runs in `dim` dimensions that the limit allows."""
    return _SINGLE + _CORRECTION / dim * predicted.value


def held(
    name: str,
    predicted: Prediction,
    judged: Comparison,
    dim: int,
    reference: str | None = None,
) -> Finding:
    """The curve at its last time, judged over all times."""
    value, mean, error = _last(predicted, judged)
    return Finding(
        name,
        f"The risk of SGD ({name}) in {dim} dimensions is that of the equations at every time.",
        value,
        mean,
        error,
        judged.verdict,
        reference or ("saad1995online" if name == "erf" else "derived here"),
        judged.reason,
    )


def refused(name: str, wrong: Prediction, judged: Comparison, what: str = "") -> Finding:
    """The control: equations that should not describe the run."""
    value, mean, error = _last(wrong, judged)
    opposite: dict[Verdict, Verdict] = {"disagrees": "agrees", "agrees": "disagrees"}
    what = what or "The equations without their term of second order in the step"
    verb = "does" if what == "gradient flow" else "do"
    return Finding(
        f"{name}, {'gradient flow' if verb == 'does' else 'no second order'}",
        f"{what[0].upper()}{what[1:]} {verb} not predict the risk of SGD ({name}).",
        f"not {value:.4g}",
        mean,
        error,
        opposite.get(judged.verdict, judged.verdict),
        "derived here",
        judged.reason,
    )


def _last(predicted: Prediction, judged: Comparison) -> tuple[float, float, float]:
    value = float(predicted.value[-1])
    return value, value + float(judged.gap[-1]), float(judged.error[-1])


def renamed(prediction: Prediction, name: str) -> Prediction:
    """The same curve under another name."""
    return replace(prediction, name=name)


def integrals_and_pairs(name: str) -> tuple[Integrals, PairKernel]:
    """What theory and training know of an activation, by its name."""
    from twolayer import pair_kernels
    from twolayer.theory import order_parameters

    return getattr(order_parameters, f"{name}_integrals"), getattr(pair_kernels, f"{name}_pairs")
