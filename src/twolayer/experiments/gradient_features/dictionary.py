"""The simulation of the predecessor: parities of hidden units seen through a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twolayer.experiments.gradient_features.methods import (
    KERNELS,
    Row,
    Trained,
    above,
    below,
    run_methods,
    sampled,
    table,
)
from twolayer.experiments.options import at_least
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, PhaseDiagram, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.tasks import Dataset

_REFERENCE = "shi2022theoretical, simulation; law of the relevant units ours"
_STAGES = ("initialisation", "one step", "two steps")
_NUM_TEST = 5000
_CELLS = 21  # of the map's density, along each axis


@experiment(
    paper="gradient_features",
    statement="Two large gradient steps turn all neurons to the sum of the relevant dictionary "
    "elements where inputs give them away; without that structure no method learns.",
    reference=_REFERENCE,
    quick={"dim": 100, "hidden": 40, "half": 100, "samples": 800, "seeds": 5},
)
def coded_parity(
    *,
    dim: int = 500,
    hidden: int = 100,
    relevant: int = 5,
    half: int = 300,
    samples: int = 4000,
    seeds: int = 8,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Cosines and accuracies before, between and after the two steps, and those of kernels.

    Inputs are a random dictionary times hidden bits, standardised; the label is the parity of a
    few relevant bits. In half of the inputs these bits are all equal, which correlates their sum
    with the label; in the control they never are more often than by chance. Half of the samples
    serve the first step, half the second; a classifier on the neurons' directions and all other
    methods take all of them.

    A map of the neurons (classical scaling of their cosines to two dimensions) is kept at each
    stage: clusters are features.

    Parameters
    ----------
    dim
        Input dimension.
    hidden
        Hidden bits, and elements of the dictionary.
    relevant
        The odd number of bits whose parity is the label.
    half
        Neurons of the network, halved.
    samples
        Training samples.
    seeds
        Independent runs, each with its own network and samples.
    seed
        Seed of all randomness.
    """
    at_least(2, dim=dim, hidden=hidden, half=half, seeds=seeds)
    at_least(100, samples=samples)
    at_least(1, relevant=relevant)
    at_least(0, seed=seed)
    if not relevant <= hidden <= dim or relevant % 2 == 0:
        message = "Expected an odd number of relevant bits, at most as many hidden ones, and no "
        message += f"more of these than dimensions. Received: {relevant}, {hidden} and {dim}."
        raise ValueError(message)

    import numpy as np

    from twolayer.sparse_coding import CodedParity

    gaussian = np.random.default_rng(seed).standard_normal((dim, hidden))
    dictionary = np.linalg.qr(gaussian)[0]
    lines, found = [], {}
    for name, share in (("structure", 0.5), ("no structure", 0.0)):
        task = CodedParity(dictionary, relevant, share)  # type: ignore[arg-type]
        rows, extras = _rows(
            task, half, samples, seeds, seed,
            lambda done, total, name=name: progress(name, done, total),
        )  # fmt: skip
        lines += table(name, rows)
        found[name] = rows, extras
    rows, extras = found["structure"]
    steps = np.arange(3.0)
    curves = tuple(
        Trajectory(
            f"{name}: {what}", steps, np.asarray([extra[what] for extra in of]),
            ("finished",) * seeds, grid_name="steps",
        )
        for name, (_, of) in found.items()
        for what in ("cosine", "accuracy")
    )  # fmt: skip
    return Result(
        quantity="cosine, accuracy",
        trajectories=curves,
        findings=tuple(_findings(rows, extras, found["no structure"])),
        diagrams=tuple(_density(stage, extras[0]["map"][k]) for k, stage in enumerate(_STAGES)),
        details={"table": lines, "maps": dict(zip(_STAGES, extras[0]["map"], strict=True))},
    )


def _rows(
    task: Any, half: int, samples: int, seeds: int, seed: int, progress: Any
) -> tuple[list[Row], list[Any]]:
    import jax

    from twolayer.dynamics.gradient_features import AggressiveSteps

    algorithm = AggressiveSteps(half, samples // 2, task.relevant, num_test=_NUM_TEST)
    key = jax.random.key(seed)
    key_data, key_train = jax.random.split(key)

    def train(own: Dataset, test: Dataset, k: int) -> Trained:
        import numpy as np

        from twolayer.dynamics.gradient_features import train_aggressive_steps

        run = train_aggressive_steps(
            algorithm, own, key=jax.random.fold_in(key_train, k), test=test
        )
        networks = run.networks[0]
        feature = np.asarray(task.feature)
        weights = [np.asarray(network.W) for network in networks]
        extra = {
            "cosine": [
                float(np.mean(np.abs(W @ feature) / np.linalg.norm(W, axis=1))) for W in weights
            ],
            "accuracy": run.accuracy[0].tolist(),
            "map": [classical_scaling(W) for W in weights] if k == 0 else [],
        }
        neurons = (networks[0].W, networks[0].b)
        return Trained(float(run.accuracy[0, 2]), neurons, extra)

    return run_methods(
        train,
        lambda k: sampled(task, samples, _NUM_TEST, key=jax.random.fold_in(key_data, k)),
        names=("random features", *KERNELS),
        seeds=seeds,
        seed=seed,
        progress=progress,
    )


def classical_scaling(W: np.ndarray) -> np.ndarray:
    """Points in the plane whose distances come near ``sqrt(2 - 2 cos)`` of the rows of W.

    Classical (Torgerson) scaling: the two leading principal components of the centred unit
    vectors.

    Examples
    --------
    >>> import numpy as np
    >>> points = classical_scaling(np.asarray([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]))
    >>> round(float(np.linalg.norm(points[0] - points[2])), 6)
    2.0
    """
    import numpy as np

    units = W / np.linalg.norm(W, axis=1, keepdims=True)
    centred = units - units.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :2] * size[:2]


def _density(stage: str, points: np.ndarray) -> PhaseDiagram:
    """How many neurons lie in each cell of the map."""
    import numpy as np

    edges = np.linspace(-1.1, 1.1, _CELLS + 1)
    count, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=(edges, edges))
    middle = (edges[1:] + edges[:-1]) / 2
    return PhaseDiagram(
        f"neurons in the map of cosines, {stage}", middle, middle, "second axis", "first axis",
        count,
    )  # fmt: skip


def _findings(
    rows: list[Row], extras: list[Any], removed: tuple[list[Row], list[Any]]
) -> list[Finding]:
    import numpy as np

    cosine = np.asarray([extra["cosine"] for extra in extras])
    accuracy = {row.method: row.accuracy for row in rows}
    without = {row.method: row.accuracy for row in removed[0]}
    lost = np.asarray([extra["cosine"] for extra in removed[1]])
    rival = max((m for m in accuracy if m != "network"), key=lambda m: accuracy[m].mean())
    best = max(without, key=lambda m: without[m].mean())
    return [
        above(
            "cosine after two steps",
            "After two steps the neurons point along the sum of the relevant elements.",
            cosine[:, 2], 0.9, reference=_REFERENCE,
            note=f"means {', '.join(f'{c:.3f}' for c in cosine.mean(axis=0))} at the stages",
        ),
        above(
            "lead over fixed features",
            "The network's accuracy is above that of every method with fixed features.",
            accuracy["network"] - accuracy[rival], 0.0, reference=_REFERENCE,
            note=f"network {accuracy['network'].mean():.3f}, {rival} {accuracy[rival].mean():.3f}",
        ),
        below(
            "structure removed",
            "Without the structure no method's accuracy is above 0.53.",
            without[best], 0.53, reference=_REFERENCE, note=f"the best is {best}",
        ),
        above(
            "features vanish",
            "Without the structure the neurons do not turn to the relevant elements.",
            cosine[:, 2] - lost[:, 2], 0.3, reference=_REFERENCE,
            note=f"difference of mean cosines, {cosine[:, 2].mean():.3f} with it and "
            f"{lost[:, 2].mean():.3f} without",
        ),
    ]  # fmt: skip
