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
_TABLE = 2**22  # features held at a time


@dataclass(frozen=True)
class Tempered:
    """A cloud and the path it came by.

    Attributes
    ----------
    w
        The points, equally weighted within a run; one run after the other.
    log_partitions
        ``log Z`` as each run estimated it on the way.
    powers
        The powers of the tilt after 0, the last of them 1.
    steps
        The size of the moves at each power, against the width of the reference.
    acceptance
        The least share of accepted moves over the powers.
    """

    w: Float[np.ndarray, "N p"]
    log_partitions: Float[np.ndarray, " u"]
    powers: tuple[float, ...]
    steps: tuple[float, ...]
    acceptance: float


def tempered_sample(
    gibbs: ProximalGibbs,
    num_points: int,
    rng: np.random.Generator,
    path: Tempered | None = None,
    num_runs: int = 1,
) -> Tempered:
    """Independent clouds of the w-marginal; along the path of another run if one is given.

    Raises
    ------
    ValueError
        If the temperature is so low that more than 200 powers would be needed.
    """
    variance = _variance(gibbs)
    w = math.sqrt(variance) * rng.normal(size=(num_runs * num_points, gibbs.problem.dim))
    state = _State(w, *_tilt(gibbs, w))
    power, step, least, log_partitions = 0.0, 1.0, 1.0, np.zeros(num_runs)
    powers: list[float] = []
    steps: list[float] = []
    while power < 1:
        stage = len(powers)
        if stage == _MAX_STAGES:
            message = f"Expected a temperature that {_MAX_STAGES} stages of tempering reach. "
            message += f"Received: {float(gibbs.problem.temperature):g}, which takes more."
            raise ValueError(message)
        new = path.powers[stage] if path else _next_power(state.tilt, power)
        state, gained = _resampled(state, (new - power) * state.tilt, num_runs, rng)
        log_partitions += gained
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
    return Tempered(state.w, log_partitions, tuple(powers), tuple(steps), least)


def retargeted_sample(
    gibbs: ProximalGibbs, sample: Tempered, previous: ProximalGibbs, rng: np.random.Generator
) -> Tempered:
    """The cloud of one law turned into one of a law nearby: reweighted, resampled, moved."""
    now = _State(sample.w, *_tilt(gibbs, sample.w))
    increments = now.tilt - previous.log_tilt(sample.w)
    state, gained = _resampled(now, increments, len(sample.log_partitions), rng)
    size = sample.steps[-1] * math.sqrt(_variance(gibbs))
    rates = []
    for _ in range(2 * _MOVES):
        state, rate = _move(gibbs, state, 1.0, size, rng)
        rates.append(rate)
        size *= math.exp(rate - _ACCEPTANCE)
    step = size / math.sqrt(_variance(gibbs))
    log_partitions = sample.log_partitions + gained
    return Tempered(state.w, log_partitions, (1.0,), (step,), float(np.mean(rates)))


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
    run = tempered_sample(gibbs, num_points, np.random.default_rng(seed), pilot, num_runs)
    outputs = []
    for w in run.w.reshape(num_runs, num_points, -1):
        s, mean, _ = at_nodes(gibbs, w)
        outputs.append(s.T @ mean / num_points)
    each = np.array(outputs)
    log_partitions = run.log_partitions
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
    return units, min(pilot.acceptance, run.acceptance)


def _tilt(gibbs: ProximalGibbs, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tilt and its gradient, some points at a time."""
    size = max(1, _TABLE // gibbs.problem.num_samples)
    parts = [
        gibbs.log_tilt_and_gradient(w[start : start + size]) for start in range(0, len(w), size)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


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
    trial = _State(w, *_tilt(gibbs, w))
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


def _resampled(
    state: _State, log_weights: Float[np.ndarray, " N"], num_runs: int, rng: np.random.Generator
) -> tuple[_State, Float[np.ndarray, " u"]]:
    """Each run's points, each as often as its weight says up to rounding, and log mean weights."""
    table = log_weights.reshape(num_runs, -1)
    top = table.max(axis=1)
    weights = np.exp(table - top[:, None])
    num_points = table.shape[1]
    kept = [run * num_points + _systematic(row, rng) for run, row in enumerate(weights)]
    chosen = np.concatenate(kept)
    return _State(*(part[chosen] for part in state)), top + np.log(weights.mean(axis=1))


def _systematic(weights: Float[np.ndarray, " N"], rng: np.random.Generator) -> np.ndarray:
    cumulative = np.cumsum(weights) / weights.sum()
    positions = (rng.uniform() + np.arange(len(weights))) / len(weights)
    return np.minimum(np.searchsorted(cumulative, positions), len(weights) - 1)
