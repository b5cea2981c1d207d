"""Networks that learn features against fixed features and kernels, on the same samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from twolayer.experiments.gradient_features.methods import (
    BASELINES,
    FROZEN,
    KERNELS,
    Row,
    Trained,
    above,
    below,
    equal,
    run_methods,
    sampled,
    shuffled,
    table,
)
from twolayer.experiments.options import at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    from twolayer.dynamics.gradient_features import GradientFeatures
    from twolayer.tasks import Dataset

TASKS = ("xor", "structured-parity", "uniform-parity")
_REFERENCE = "derived here, after shi2023provable"
_SEPARATION = 3.0  # of the XOR means from the origin, in standard deviations
_BLOCK_SIZE = 5
_NUM_TEST = 4000
_BOTH = "network, both layers"
_CONTROLS = 12  # runs with permuted labels, whose accuracies scatter


class Problem(NamedTuple):
    """A task and the algorithm's options for it.

    Attributes
    ----------
    task
        Draws labelled samples.
    options
        Of `GradientFeatures`.
    """

    task: Any
    options: dict[str, Any]


@experiment(
    paper="gradient_features",
    statement="Where few directions matter, a network that takes one large gradient step beats "
    "the same number of fixed features, and kernels, on the same samples.",
    reference=_REFERENCE,
    quick={"tasks": "xor", "sizes": "500,8000", "largest_kernel": 500, "both_steps": 0, "seeds": 6},
)
def features_against_kernels(
    *,
    tasks: str = "xor,structured-parity,uniform-parity",
    dim: int = 100,
    width: int = 400,
    sizes: str = "1000,2000,4000,8000",
    largest_kernel: int = 2000,
    both_steps: int = 3000,
    seeds: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Test accuracy over the number of training samples, a curve a method, a table of all.

    All methods see the same samples, use them all, and are tested on the same fresh ones. The
    network takes its first step and trains its output weights on them, and, in a row of its own,
    both layers by stochastic gradient descent; the others are ridge
    regressions whose penalty and bandwidth a hold-out chooses: on the network's own first layer
    before the step, on random features, on the tangent kernels of a finite and of an infinite
    network, on a Gaussian kernel.

    Parameters
    ----------
    tasks
        Any of xor (four Gaussian clusters, opposite ones of the same class), structured-parity
        (a parity of 5 hidden units whose common value shows in half of the inputs) and
        uniform-parity (the product of two of many random signs), separated by commas.
    dim
        Input dimension; the uniform parity takes the next odd number, without which neurons of
        sign weights could be 0.
    width
        Neurons of the network, a multiple of 4, and of the features it is compared with.
    sizes
        Numbers of training samples.
    largest_kernel
        Kernels, whose cost grows with the cube of the samples, run up to so many.
    both_steps
        Steps of the row that trains both layers; 0 leaves it out.
    seeds
        Independent runs, each with its own samples and weights.
    seed
        Seed of all randomness.
    """
    names = [part.strip() for part in tasks.split(",")]
    if not set(names) <= set(TASKS) or len(set(names)) < len(names):
        message = f"Expected tasks among {', '.join(TASKS)}. Received: {tasks!r}."
        raise ValueError(message)
    counts = sorted(set(whole_numbers("sizes", sizes)))
    at_least(10, dim=dim, sizes=counts[0])
    at_least(1, largest_kernel=largest_kernel)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed, both_steps=both_steps)
    at_least(8, width=width)
    if width % 4:
        message = f"Expected a width that is a multiple of 4. Received: {width}."
        raise ValueError(message)

    predictions, curves, findings, lines = [], [], [], []
    for name in names:
        rows: dict[int, list[Row]] = {}
        for n in counts:
            rows[n] = _rows(
                name, (dim, width, n), largest_kernel, both_steps, seeds, seed, progress
            )
            lines += table(name, rows[n])
        if name == "xor":
            predictions.append(_bayes(counts))
        curves += _curves(name, rows)
        findings += _findings(name, rows)
    control = _control(names[0], dim, width, counts[0], seeds, seed)
    return Result(
        quantity="accuracy",
        predictions=tuple(predictions),
        trajectories=tuple(curves),
        findings=(*findings, control),
        details={"table": lines},
    )


def problem_of(name: str, dim: int, *, seed: int) -> Problem:
    """The task of that name, and how the first step is taken on it."""
    import numpy as np

    from twolayer.inputs import Hypercube
    from twolayer.sparse_coding import StructuredParity
    from twolayer.targets import Parity
    from twolayer.tasks import Regression, xor_mixture

    if name == "xor":
        means = _SEPARATION * np.eye(2, dim)
        # kinks at two thirds of the clusters' distance; gates a little off the origin
        return Problem(xor_mixture(*means), {"bias": dim**0.5 / 2, "kink": 2.0})
    if name == "structured-parity":
        gaussian = np.random.default_rng(seed).standard_normal((dim, dim))
        dictionary = np.linalg.qr(gaussian)[0]
        task = StructuredParity(dictionary, 1, _BLOCK_SIZE, 0.25, 0.1)  # type: ignore[arg-type]
        return Problem(task, {"bias": 1.0, "kink": 1.0})
    task = Regression(Hypercube(dim + 1 - dim % 2), Parity((0, 1)))  # type: ignore[arg-type]
    return Problem(task, {"bias": 0.0, "kink": 1.0, "signs": True})


def _network(algorithm: GradientFeatures, key: Any) -> Any:
    """A training function for `run_methods`."""

    def train(samples: Dataset, test: Dataset, k: int) -> Trained:
        import jax

        from twolayer.dynamics.gradient_features import train_gradient_features

        run = train_gradient_features(algorithm, samples, key=jax.random.fold_in(key, k), test=test)
        first = run.initial[0]
        return Trained(float(run.accuracy[0]), (first.W, first.b))

    return train


def _rows(name, shape, largest_kernel, both_steps, seeds, seed, progress) -> list[Row]:
    import jax

    from twolayer.dynamics.gradient_features import GradientFeatures

    dim, width, n = shape
    problem = problem_of(name, dim, seed=seed)
    algorithm = GradientFeatures(width // 4, n, **problem.options)
    key, key_data = jax.random.split(jax.random.key(seed))
    methods = BASELINES if n <= largest_kernel else tuple(b for b in BASELINES if b not in KERNELS)

    def data(k: int) -> tuple[Dataset, Dataset]:
        return sampled(problem.task, n, _NUM_TEST, key=jax.random.fold_in(key_data, k))

    rows, _ = run_methods(
        _network(algorithm, key),
        data,
        names=methods,
        seeds=seeds,
        seed=seed,
        progress=lambda done, total: progress(f"{name}, {n} samples", done, total),
    )
    if not both_steps:
        return rows
    both = replace(algorithm, layers="both", steps=both_steps)
    more, _ = run_methods(_network(both, key), data, names=(), seeds=seeds, seed=seed)
    return [rows[0], replace(more[0], method=_BOTH), *rows[1:]]


def _control(name, dim, width, n, seeds, seed) -> Finding:
    """Permuted labels leave nothing to learn."""
    import jax

    from twolayer.dynamics.gradient_features import GradientFeatures

    problem = problem_of(name, dim, seed=seed)
    train = _network(GradientFeatures(width // 4, n, **problem.options), jax.random.key(seed))

    def data(k: int) -> tuple[Dataset, Dataset]:
        key = jax.random.fold_in(jax.random.key(seed), 1000 + k)
        samples, test = sampled(problem.task, n, _NUM_TEST, key=key)
        return shuffled(samples, seed + k), test

    rows, _ = run_methods(train, data, names=(), seeds=max(seeds, _CONTROLS), seed=seed)
    return equal(
        "shuffled labels",
        "With permuted labels the network stays at chance.",
        rows[0].accuracy,
        0.5,
        tolerance=0.03,
        reference=_REFERENCE,
        note=f"{name}, {n} samples",
    )


def _bayes(counts: list[int]) -> Prediction:
    """The best accuracy on the XOR mixture: of the sign of ``|z_1| - |z_2|``."""
    import numpy as np
    from scipy.special import ndtr

    right = ndtr(_SEPARATION / np.sqrt(2))  # of one of the rotated coordinates z_1 +- z_2
    value = np.full(len(counts), right**2 + (1 - right) ** 2)
    return Prediction(
        "xor: Bayes accuracy", np.asarray(counts, float), value, "upper", "derived here",
        grid_name="samples",
    )  # fmt: skip


def _curves(name: str, rows: dict[int, list[Row]]) -> list[Trajectory]:
    import numpy as np

    curves = []
    for method in ("network", _BOTH, *BASELINES):
        found = {n: row.accuracy for n, of in rows.items() for row in of if row.method == method}
        if found:
            value = np.stack(list(found.values()), axis=1)
            curves.append(
                Trajectory(
                    f"{name}: {method}", np.asarray(list(found), float), value,
                    ("finished",) * value.shape[0], grid_name="samples",
                )
            )  # fmt: skip
    return curves


def _findings(name: str, rows: dict[int, list[Row]]) -> list[Finding]:
    """Against fixed features at the most samples, against all at the most that kernels had."""
    most = max(rows)
    at_most = {row.method: row.accuracy for row in rows[most]}
    findings = []
    if name == "xor":
        findings += [
            above(
                f"{name}: network", "The network comes near the Bayes accuracy of 0.967.",
                at_most["network"], 0.95, reference=_REFERENCE, note=f"{most} samples",
            ),
            below(
                f"{name}: {FROZEN}", "The same neurons without the step stay far below.",
                at_most[FROZEN], 0.75, reference=_REFERENCE, note=f"{most} samples",
            ),
        ]  # fmt: skip
    for n in sorted({most, *(n for n, of in rows.items() if len(of) > 4)})[-2:]:
        found = {row.method: row.accuracy for row in rows[n]}
        rival = max((m for m in found if m in BASELINES), key=lambda m: found[m].mean())
        findings.append(
            above(
                f"{name}: lead at {n} samples",
                "The network's accuracy is above that of every method with fixed features.",
                found["network"] - found[rival], 0.0, reference=_REFERENCE,
                note=f"the best of the others is {rival} with {found[rival].mean():.3f}; the "
                f"network has {found['network'].mean():.3f}",
            )
        )  # fmt: skip
    return findings
