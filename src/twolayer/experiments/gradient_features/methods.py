"""Every method on the same samples, and what a table of them decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Finding, Verdict
    from twolayer.tasks import Dataset

FROZEN = "frozen first layer"
BASELINES = (FROZEN, "random features", "finite NTK", "NTK", "RBF")
KERNELS = ("finite NTK", "NTK", "RBF")


@dataclass(frozen=True)
class Row:
    """One method at one number of samples.

    Attributes
    ----------
    method
        Its name.
    accuracy
        The share of right signs on fresh samples, an entry a seed.
    features
        Neurons, or for a kernel the samples it is centred at.
    samples
        Training samples.
    seconds
        Of training one seed, the fastest.
    """

    method: str
    accuracy: np.ndarray
    features: int
    samples: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """What a network's training hands on.

    Attributes
    ----------
    accuracy
        On the test samples.
    neurons
        Input weights and biases before the first step.
    extra
        Anything else.
    """

    accuracy: float
    neurons: tuple[Any, Any]
    extra: Any = None


def run_methods(
    train: Callable[[Dataset, Dataset, int], Trained],
    data: Callable[[int], tuple[Dataset, Dataset]],
    *,
    names: Sequence[str],
    seeds: int,
    seed: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[Row], list[Any]]:
    """The network's row and those of baselines, all trained on the same samples.

    Parameters
    ----------
    train
        ``train(samples, test, k)`` trains a network.
    data
        ``data(k)`` draws the samples and the test samples of seed k.
    names
        The baselines, among `BASELINES`.
    seeds
        How many.
    seed
        Seed of the baselines.
    progress
        Called after each seed.
    """
    import numpy as np

    accuracy: dict[str, list[float]] = {"network": []} | {name: [] for name in names}
    seconds = {name: float("inf") for name in accuracy}
    features, extras, count = {}, [], 0
    for k in range(seeds):
        samples, test = data(k)
        start = time.perf_counter()
        trained = train(samples, test, k)
        seconds["network"] = min(seconds["network"], time.perf_counter() - start)
        accuracy["network"].append(trained.accuracy)
        extras.append(trained.extra)
        count = samples.x.shape[0]
        features["network"] = len(trained.neurons[1])
        x, y, test_x, test_y = (np.asarray(v) for v in (samples.x, samples.y, test.x, test.y))
        for name in names:
            start = time.perf_counter()
            model = _baseline(name, trained.neurons, seed + k).fit(x, y)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
            accuracy[name].append(float(model.score(test_x, test_y)))
            features[name] = model.num_features_
        if progress is not None:
            progress(k + 1, seeds)
    rows = [
        Row(name, np.asarray(values), features[name], count, seconds[name])
        for name, values in accuracy.items()
    ]
    return rows, extras


def _baseline(name: str, neurons: tuple[Any, Any], seed: int) -> Any:
    from twolayer.baselines import NTK, RBF, FiniteNTK, RandomFeatures

    width = len(neurons[1])
    if name == FROZEN:
        return RandomFeatures(neurons=neurons, random_state=seed)
    if name == "random features":
        return RandomFeatures(width, random_state=seed)
    if name == "finite NTK":
        return FiniteNTK(width, random_state=seed)
    return {"NTK": NTK, "RBF": RBF}[name](random_state=seed)


def sampled(task: Any, count: int, num_test: int, *, key: Any) -> tuple[Dataset, Dataset]:
    """Training and test samples of a task."""
    import numpy as np

    from twolayer.dynamics.gradient_features import draw_samples
    from twolayer.tasks import Dataset

    drawn = draw_samples(task, count + num_test, key=key)
    x, y = (np.asarray(part, np.float32) for part in drawn)
    return Dataset(x[:count], y[:count]), Dataset(x[count:], y[count:])  # type: ignore[arg-type]


def shuffled(samples: Dataset, seed: int) -> Dataset:
    """The same inputs with their labels permuted."""
    import numpy as np

    from twolayer.tasks import Dataset

    order = np.random.default_rng(seed).permutation(samples.x.shape[0])
    return Dataset(samples.x, np.asarray(samples.y)[order])  # type: ignore[arg-type]


def table(task: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Method, accuracy +- error, features, samples, seconds: a line a method."""
    from twolayer.numerics.montecarlo import mean_and_error

    lines = []
    for row in rows:
        mean, error = (float(part) for part in mean_and_error(row.accuracy))
        lines.append(
            {
                "task": task, "method": row.method, "accuracy": mean, "error": error,
                "features": row.features, "samples": row.samples,
                "seconds": round(row.seconds, 3),
            }
        )  # fmt: skip
    return lines


def above(
    name: str, statement: str, values: np.ndarray, bound: float, *, reference: str, note: str = ""
) -> Finding:
    """Whether a mean over seeds is above a bound, beyond what chance yields at three sigma."""
    return _sided(name, statement, values, bound, reference, note, below=False)


def below(
    name: str, statement: str, values: np.ndarray, bound: float, *, reference: str, note: str = ""
) -> Finding:
    """Whether a mean over seeds is below a bound, beyond what chance yields at three sigma."""
    return _sided(name, statement, values, bound, reference, note, below=True)


def _sided(name, statement, values, bound, reference, note, *, below) -> Finding:
    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Finding

    mean, error = (float(part) for part in mean_and_error(values))
    ahead = bound - mean if below else mean - bound
    # seeds that agree to the last digit are no certainty: half a test sample in ten thousand
    margin = student_factor(len(values)) * max(error, 5e-5)
    verdict: Verdict = "undecided"
    if abs(ahead) > margin:
        verdict = "agrees" if ahead > 0 else "disagrees"
    predicted = f"{'below' if below else 'above'} {bound:g}"
    return Finding(name, statement, predicted, mean, error, verdict, reference, note)


def equal(
    name: str,
    statement: str,
    values: np.ndarray,
    truth: float,
    *,
    tolerance: float,
    reference: str,
    note: str = "",
) -> Finding:
    """Whether a mean over seeds is a number up to a tolerance and three sigma of chance.

    Undecided where chance alone is more than twice the tolerance.
    """
    from twolayer.compare import student_factor
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.outcomes import Finding

    mean, error = (float(part) for part in mean_and_error(values))
    margin = student_factor(len(values)) * error
    verdict: Verdict = "agrees" if abs(mean - truth) <= tolerance + margin else "disagrees"
    if margin > 2 * tolerance and verdict == "agrees":
        verdict = "undecided"
    return Finding(name, statement, truth, mean, error, verdict, reference, note)
