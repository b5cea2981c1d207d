"""Lottery tickets: the neurons that the first gradient says will win."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twolayer.experiments.gradient_features.methods import Row, above, equal, table
from twolayer.experiments.options import at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.dynamics.gradient_features import GradientFeatures

_REFERENCE = "derived here, after the lottery ticket reading recalled of shi2023provable"
_SEPARATION = 3.0
_STEPS = 300
_NUM_TEST = 4000
_CONE = 0.3  # 1 - cosine of a neuron that counts as hitting a mean's direction
_KINDS = ("ticket", "random", "losers")


@experiment(
    paper="gradient_features",
    statement="Before training, the lengths of the first gradients tell which few neurons do the "
    "work: these alone learn nearly as well as all, random ones worse, the others worst.",
    reference=_REFERENCE,
    quick={"seeds": 8, "sizes": "20"},
)
def lottery_tickets(
    *,
    dim: int = 200,
    samples: int = 4000,
    width: int = 400,
    sizes: str = "20,40",
    seeds: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Test accuracy of subnetworks after one and the same first step, on the XOR mixture.

    All are cut out of one network after its first step; then each trains its own output weights
    on the same samples. Tickets are the neurons with the longest gradients (or, in a row of
    their own, all those inside a cone around a cluster's mean), losers those with the shortest.

    Parameters
    ----------
    dim
        Input dimension.
    samples
        Training samples.
    width
        Neurons of the full network, a multiple of 4.
    sizes
        Neurons of the subnetworks.
    seeds
        Independent runs, each with its own network and samples.
    seed
        Seed of all randomness.
    """
    counts = sorted(set(whole_numbers("sizes", sizes)))
    at_least(2, dim=dim, seeds=seeds)
    at_least(100, samples=samples)
    at_least(8, width=width)
    at_least(0, seed=seed)
    if width % 4 or counts[-1] > width:
        message = "Expected a width that is a multiple of 4 and at least the largest size. "
        message += f"Received: {width} and {sizes!r}."
        raise ValueError(message)

    import jax
    import numpy as np

    from twolayer.dynamics.gradient_features import GradientFeatures
    from twolayer.tasks import xor_mixture

    means = _SEPARATION * np.eye(2, dim)
    task = xor_mixture(*means)
    algorithm = GradientFeatures(
        width // 4, samples, bias=dim**0.5 / 2, kink=2.0, steps=_STEPS, num_test=_NUM_TEST
    )
    key = jax.random.key(seed)
    study = _Study(algorithm, task, seeds, key, samples)
    stages = 2 + len(counts) * len(_KINDS)
    full = study.row("full", None)
    progress("subnetworks", 1, stages)
    rows, cones = [full], study.cones(means)
    if np.all(np.any(cones, axis=1)):  # with few samples no gradient may hit a cone
        rows.append(study.row("ticket by cones", cones))
    for size in counts:
        for kind in _KINDS:
            progress("subnetworks", len(rows), stages)
            rows.append(study.row(f"{kind} {size}", study.masks(kind, size)))
    by_name = {row.method: row.accuracy for row in rows}
    curves = [
        Trajectory(
            kind, np.asarray(counts, float),
            np.stack([by_name[f"{kind} {size}"] for size in counts], axis=1),
            ("finished",) * seeds, grid_name="neurons",
        )
        for kind in _KINDS
    ]  # fmt: skip
    findings = [f for size in counts for f in _findings(by_name, size)]
    control = study.control(counts[0])
    return Result(
        quantity="accuracy",
        trajectories=tuple(curves),
        findings=(*findings, control),
        details={"table": table("xor", rows), "cosines": study.cosines(by_name, means)},
    )


class _Study:
    """One set of networks, and its subnetworks."""

    def __init__(self, algorithm: GradientFeatures, task: Any, seeds: int, key: Any, samples: int):
        self.algorithm, self.task, self.seeds, self.key = algorithm, task, seeds, key
        self.samples = samples
        self.runs: dict[str, Any] = {}

    def row(self, name: str, mask: np.ndarray | None) -> Row:
        """Train the subnetworks that a mask keeps."""
        from twolayer.dynamics.gradient_features import train_gradient_features

        start = time.perf_counter()
        run = train_gradient_features(
            self.algorithm, self.task, seeds=self.seeds, key=self.key, mask=mask
        )
        seconds = (time.perf_counter() - start) / self.seeds
        self.runs[name] = run
        kept = [network.width for network in run.trained]
        return Row(name, run.accuracy, round(sum(kept) / len(kept)), self.samples, seconds)

    def masks(self, kind: str, size: int) -> np.ndarray:
        """Which neurons each seed keeps, from the gradients of the full network."""
        import jax
        import numpy as np

        from twolayer.theory.gradient_features.tickets import (
            longest_gradients,
            random_ticket,
            shortest_gradients,
        )

        rows = []
        for k, gradients in enumerate(self.runs["full"].gradients):
            if kind == "random":
                key = jax.random.fold_in(jax.random.fold_in(self.key, 1000 + k), size)
                rows.append(random_ticket(len(gradients), size, key=key))
            else:
                choose = longest_gradients if kind == "ticket" else shortest_gradients
                rows.append(choose(gradients, size))
        return np.stack(rows)

    def cones(self, means: np.ndarray) -> np.ndarray:
        """Neurons whose gradient hits the direction of a mean, with either sign of the bias."""
        import numpy as np

        from twolayer.theory.gradient_features.tickets import ticket_mask

        directions, signs = np.repeat(means, 2, axis=0), np.asarray([1, -1] * len(means))
        run = self.runs["full"]
        rows = [
            ticket_mask(gradients, -np.asarray(network.b), directions, signs, gamma=_CONE)
            for gradients, network in zip(run.gradients, run.initial, strict=True)
        ]
        return np.stack(rows)

    def cosines(self, names: dict[str, Any], means: np.ndarray) -> dict[str, float]:
        """The mean share of each subnetwork's weights that lies in the span of the means."""
        import numpy as np

        units = means / np.linalg.norm(means, axis=1)[:, None]
        shares = {}
        for name in names:
            weights = [np.asarray(network.W) for network in self.runs[name].trained]
            inside = [
                np.linalg.norm(W @ units.T, axis=1) / np.linalg.norm(W, axis=1) for W in weights
            ]
            shares[name] = float(np.mean(np.concatenate(inside)))
        return shares

    def control(self, size: int) -> Finding:
        """With permuted labels no ticket wins."""
        import jax
        import numpy as np

        from twolayer.dynamics.gradient_features import train_gradient_features
        from twolayer.experiments.gradient_features.methods import sampled, shuffled
        from twolayer.theory.gradient_features.tickets import longest_gradients

        leads = []
        for k in range(self.seeds):
            key = jax.random.fold_in(jax.random.fold_in(self.key, 2000), k)
            samples, test = sampled(self.task, self.samples, _NUM_TEST, key=key)
            samples = shuffled(samples, k)
            brief = replace(self.algorithm, steps=1)  # for the gradients alone
            run = train_gradient_features(brief, samples, key=key, test=test)
            mask = longest_gradients(run.gradients[0], size)
            ticket = train_gradient_features(self.algorithm, samples, key=key, mask=mask, test=test)
            leads.append(float(ticket.accuracy[0]))
        return equal(
            "shuffled labels",
            f"With permuted labels a ticket of {size} neurons stays at chance.",
            np.asarray(leads), 0.5, tolerance=0.05, reference=_REFERENCE,
        )  # fmt: skip


def _findings(accuracy: dict[str, np.ndarray], size: int) -> list[Finding]:
    ticket, random, losers = (accuracy[f"{kind} {size}"] for kind in _KINDS)
    means = f"{ticket.mean():.3f}, {random.mean():.3f}, {losers.mean():.3f}"
    note = f"ticket, random, losers: {means}; full network {accuracy['full'].mean():.3f}"
    return [
        above(
            f"ticket-{size} over random-{size}",
            "Neurons with long gradients learn better than as many random ones.",
            ticket - random, 0.0, reference=_REFERENCE, note=note,
        ),
        above(
            f"random-{size} over losers-{size}",
            "Random neurons learn better than as many with short gradients.",
            random - losers, 0.0, reference=_REFERENCE, note=note,
        ),
        above(
            f"ticket-{size} near the full network",
            "A ticket loses less than 0.1 of the full network's accuracy.",
            ticket - accuracy["full"], -0.1, reference=_REFERENCE, note=note,
        ),
    ]  # fmt: skip
