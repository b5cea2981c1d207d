r"""Samples of a proximal Gibbs law in any dimension, by raising the tilt from 0 to 1.

Sequential Monte Carlo: N points of the reference are reweighted to the next power b of the tilt,
resampled, and moved by Langevin steps with Metropolis' rejection (textbook). The product of the
mean increments estimates the partition function without bias where the powers and step sizes are
fixed beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from twolayer.theory.langevin.importance import SampledUnits, at_nodes, sensitivities
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs

_MOVES = 10  # after each change of the power
_EFFECTIVE = 0.8  # share of the points that reweighting may leave
_ACCEPTANCE = 0.57
_MAX_STAGES = 200


@dataclass(frozen=True)
class Tempered:
    """A cloud and the path it came by.

    Attributes
    ----------
    w
        The points, equally weighted.
    log_partition
        ``log Z`` estimated on the way.
    powers
        The powers of the tilt after 0, the last of them 1.
    steps
        The size of the moves at each power, against the width of the reference.
    acceptance
        The least share of accepted moves over the powers.
    """

    w: Float[np.ndarray, "N p"]
    log_partition: float
    powers: tuple[float, ...]
    steps: tuple[float, ...]
    acceptance: float


def tempered_sample(
    gibbs: ProximalGibbs,
    num_points: int,
    rng: np.random.Generator,
    path: Tempered | None = None,
) -> Tempered:
    """A cloud of points of the w-marginal; along the path of another run if one is given.

    Raises
    ------
    ValueError
        If the temperature is so low that more than 200 powers would be needed.
    """
    variance = _variance(gibbs)
    w = math.sqrt(variance) * rng.normal(size=(num_points, gibbs.problem.dim))
    state = _State(w, *gibbs.log_tilt_and_gradient(w))
    power, step, log_partition, least = 0.0, 1.0, 0.0, 1.0
    powers: list[float] = []
    steps: list[float] = []
    while power < 1:
        stage = len(powers)
        if stage == _MAX_STAGES:
            message = f"Expected a temperature that {_MAX_STAGES} stages of tempering reach. "
            message += f"Received: {float(gibbs.problem.temperature):g}, which takes more."
            raise ValueError(message)
        new = path.powers[stage] if path else _next_power(state.tilt, power)
        increments = (new - power) * state.tilt
        top = increments.max()
        weights = np.exp(increments - top)
        log_partition += float(top + np.log(weights.mean()))
        kept = _systematic(weights, rng)
        state = _State(*(part[kept] for part in state))
        power, step = new, path.steps[stage] if path else step
        rates = []
        for _ in range(_MOVES):
            state, rate = _move(gibbs, state, power, step * math.sqrt(variance), rng)
            rates.append(rate)
            if not path:
                step *= math.exp(rate - _ACCEPTANCE)
        least = min(least, float(np.mean(rates)))
        powers.append(power)
        steps.append(step)
    return Tempered(state.w, log_partition, tuple(powers), tuple(steps), least)


def retargeted_sample(
    gibbs: ProximalGibbs, sample: Tempered, previous: ProximalGibbs, rng: np.random.Generator
) -> Tempered:
    """The cloud of one law turned into one of a law nearby: reweighted, resampled, moved."""
    tilt, gradient = gibbs.log_tilt_and_gradient(sample.w)
    increments = tilt - previous.log_tilt(sample.w)
    top = increments.max()
    weights = np.exp(increments - top)
    kept = _systematic(weights, rng)
    state = _State(sample.w[kept], tilt[kept], gradient[kept])
    size = sample.steps[-1] * math.sqrt(_variance(gibbs))
    rates = []
    for _ in range(2 * _MOVES):
        state, rate = _move(gibbs, state, 1.0, size, rng)
        rates.append(rate)
        size *= math.exp(rate - _ACCEPTANCE)
    step = size / math.sqrt(_variance(gibbs))
    log_partition = sample.log_partition + float(top + np.log(weights.mean()))
    return Tempered(state.w, log_partition, (1.0,), (step,), float(np.mean(rates)))


def annealed_units(
    gibbs: ProximalGibbs,
    pilot: Tempered,
    sizes: tuple[int, int],
    seed: np.random.SeedSequence,
) -> tuple[SampledUnits, float]:
    """Independent runs along the path of a pilot, and the least acceptance in any.

    `sizes` are the number of runs and the points of each.
    """
    num_runs, num_points = sizes
    log_weights, outputs, acceptance = [], [], pilot.acceptance
    for child in seed.spawn(num_runs):
        run = tempered_sample(gibbs, num_points, np.random.default_rng(child), pilot)
        s, mean, _ = at_nodes(gibbs, run.w)
        log_weights.append(run.log_partition)
        outputs.append(s.T @ mean / num_points)
        acceptance = min(acceptance, run.acceptance)
    log_partitions, each = np.array(log_weights), np.array(outputs)
    weights = np.exp(log_partitions - log_partitions.max())
    f = np.einsum("u,uik->ik", weights, each) / weights.sum()
    pull, bend = sensitivities(gibbs, f)
    units = SampledUnits(
        f,
        log_partitions,
        np.einsum("ik,uik->u", pull, each - f),
        np.einsum("ik,uik->u", bend, (each - f) ** 2),
        np.sqrt(np.sum(each**2, axis=(1, 2))),
    )
    return units, acceptance


def _variance(gibbs: ProximalGibbs) -> float:
    return float(gibbs.problem.temperature) / float(gibbs.problem.input_decay)


class _State(NamedTuple):
    w: np.ndarray
    tilt: np.ndarray
    gradient: np.ndarray


def _move(
    gibbs: ProximalGibbs, state: _State, power: float, size: float, rng: np.random.Generator
) -> tuple[_State, float]:
    """One Langevin step of each point at a power, and the share that was accepted."""
    stiffness = float(gibbs.problem.input_decay) / float(gibbs.problem.temperature)

    def drift(at: _State) -> np.ndarray:
        return at.w + size**2 / 2 * (power * at.gradient - stiffness * at.w)

    def log_density(at: _State) -> np.ndarray:
        return power * at.tilt - stiffness * np.sum(at.w**2, axis=1) / 2

    w = drift(state) + size * rng.normal(size=state.w.shape)
    trial = _State(w, *gibbs.log_tilt_and_gradient(w))
    forth = np.sum((trial.w - drift(state)) ** 2, axis=1)
    back = np.sum((state.w - drift(trial)) ** 2, axis=1)
    log_ratio = log_density(trial) - log_density(state) + (forth - back) / (2 * size**2)
    accepted = np.log(rng.uniform(size=len(w))) < log_ratio
    chosen = [
        np.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)
        for new, old in zip(trial, state, strict=True)
    ]
    return _State(*chosen), float(accepted.mean())


def _next_power(tilt: Float[np.ndarray, " N"], power: float) -> float:
    """The power at which the effective share of the points falls to `_EFFECTIVE`."""

    def effective(new: float) -> float:
        weights = np.exp((new - power) * (tilt - tilt.max()))
        return float(weights.sum() ** 2 / np.sum(weights**2)) / len(weights)

    if effective(1.0) >= _EFFECTIVE:
        return 1.0
    low, high = power, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= _EFFECTIVE else (low, middle)
    return max(low, power + 1e-9)


def _systematic(weights: Float[np.ndarray, " N"], rng: np.random.Generator) -> np.ndarray:
    """Which points are kept, each as often as its weight says up to rounding."""
    cumulative = np.cumsum(weights) / weights.sum()
    positions = (rng.uniform() + np.arange(len(weights))) / len(weights)
    return np.minimum(np.searchsorted(cumulative, positions), len(weights) - 1)
