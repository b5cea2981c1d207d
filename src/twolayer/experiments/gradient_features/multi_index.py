"""A function of two Gaussian projections: how gradients find their plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twolayer.experiments.gradient_features.methods import (
    BASELINES,
    KERNELS,
    Row,
    Trained,
    above,
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
    import numpy as np

    from twolayer.tasks import Dataset

_REFERENCE = "derived here, after shi2023provable and damian2022neural"
_NUM_TEST = 4000
_CONTROLS = 12  # runs with permuted labels, whose planes scatter
_COSINE_TOLERANCE = 0.03


@experiment(
    paper="gradient_features",
    statement="On sign(z1 z2) of Gaussian inputs gradients lie in the plane of z1 and z2, up to a "
    "noise that the number of samples sets; a network with one step uses it.",
    reference=_REFERENCE,
    quick={"sizes": "500,6000", "largest_kernel": 500, "seeds": 7, "width": 200},
)
def multi_index(
    *,
    dim: int = 60,
    width: int = 400,
    sizes: str = "1000,3000,8000,20000",
    largest_kernel: int = 3000,
    seeds: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Cosines of gradients with their closed form, and test accuracies, over the samples.

    The label is the sign of the product of the first two coordinates of a Gaussian input. Its
    gradients at zero threshold have a closed form in the plane of these coordinates; the cosine
    of a sampled gradient with it follows a law in the number of samples. All methods train on the
    same samples and are tested on the same fresh ones.

    Parameters
    ----------
    dim
        Input dimension.
    width
        Neurons of the network, a multiple of 4, and of the features it is compared with.
    sizes
        Numbers of training samples.
    largest_kernel
        Kernels, whose cost grows with the cube of the samples, run up to so many.
    seeds
        Independent runs, each with its own samples and weights.
    seed
        Seed of all randomness.
    """
    counts = sorted(set(whole_numbers("sizes", sizes)))
    at_least(3, dim=dim)
    at_least(10, sizes=counts[0])
    at_least(1, largest_kernel=largest_kernel)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    at_least(8, width=width)
    if width % 4:
        message = f"Expected a width that is a multiple of 4. Received: {width}."
        raise ValueError(message)

    import numpy as np

    lines, rows, extras = [], {}, {}
    for n in counts:
        names = tuple(b for b in BASELINES if n <= largest_kernel or b not in KERNELS)
        rows[n], extras[n] = _rows(
            dim, width, n, names, seeds, seed,
            lambda done, total, n=n: progress(f"{n} samples", done, total),
        )  # fmt: skip
        lines += table("sign(z1 z2)", rows[n])
    law = np.mean([[extra["law"] for extra in extras[n]] for n in counts], axis=1)
    grid = np.asarray(counts, float)
    prediction = Prediction(
        "cosine with the closed form", grid, law, "asymptotic", "derived here",
        grid_name="samples",
    )  # fmt: skip
    findings = [_cosine_finding(n, extras[n]) for n in counts]
    findings += _lead(counts[-1], rows[counts[-1]])
    findings.append(_control(dim, width, counts[0], seeds, seed))
    return Result(
        quantity="cosine, accuracy",
        predictions=(prediction,),
        trajectories=tuple(_curves(grid, rows, extras, seeds)),
        findings=tuple(findings),
        details={"table": lines},
    )


def _task(dim: int) -> Any:
    import numpy as np

    from twolayer.inputs import Gaussian
    from twolayer.targets import MultiIndex, sign_product
    from twolayer.tasks import Regression

    return Regression(Gaussian(dim), MultiIndex(np.eye(2, dim), sign_product))  # type: ignore[arg-type]


def _rows(
    dim: int, width: int, n: int, names: tuple[str, ...], seeds: int, seed: int, progress: Any,
    permute: bool = False,
) -> tuple[list[Row], list[Any]]:  # fmt: skip
    import jax

    from twolayer.dynamics.gradient_features import GradientFeatures

    task = _task(dim)
    algorithm = GradientFeatures(width // 4, n, bias=0.0)
    key_data, key_train = jax.random.split(jax.random.key(seed))

    def train(own: Dataset, test: Dataset, k: int) -> Trained:
        from twolayer.dynamics.gradient_features import train_gradient_features

        key = jax.random.fold_in(key_train, k)
        run = train_gradient_features(algorithm, own, key=key, test=test)
        first, stepped = run.initial[0], run.stepped[0]
        extra = {"plane": _plane(stepped.W)}
        if not permute:
            extra |= _cosines(task, first, run.gradients[0], n)
        return Trained(float(run.accuracy[0]), (first.W, first.b), extra)

    def data(k: int) -> tuple[Dataset, Dataset]:
        own, test = sampled(task, n, _NUM_TEST, key=jax.random.fold_in(key_data, k))
        return (shuffled(own, seed + k) if permute else own), test

    return run_methods(train, data, names=names, seeds=seeds, seed=seed, progress=progress)


def _plane(W: Any) -> float:
    """The mean share of the neurons' weights that lies in the plane."""
    import numpy as np

    W = np.asarray(W)
    return float(np.mean(np.linalg.norm(W[:, :2], axis=1) / np.linalg.norm(W, axis=1)))


def _cosines(task: Any, first: Any, gradients: np.ndarray, n: int) -> dict[str, float]:
    """The mean cosine of sampled gradients with the closed form, and its law."""
    import numpy as np

    from twolayer.theory.gradient_features.finite_sample import expected_cosine
    from twolayer.theory.gradient_features.simplified_gradient import simplified_gradient

    quarter = len(gradients) // 4  # the others repeat or complement these
    W = np.asarray(first.W, np.float64)[:quarter]
    exact = simplified_gradient(task, W, -np.asarray(first.b, np.float64)[:quarter])
    own = np.asarray(gradients, np.float64)[:quarter]
    inner = np.sum(own * exact.value, axis=1)
    cosine = inner / (np.linalg.norm(own, axis=1) * exact.norm)
    law = expected_cosine(exact.norm, exact.noise, n)
    return {"cosine": float(cosine.mean()), "law": float(np.mean(law))}


def _cosine_finding(n: int, extras: list[dict[str, float]]) -> Finding:
    import numpy as np

    cosine, law = (np.asarray([extra[name] for extra in extras]) for name in ("cosine", "law"))
    return equal(
        f"cosine at {n} samples",
        "The mean cosine of sampled gradients with the closed form is that of its law.",
        cosine - law + law.mean(),  # whose scatter is that of the difference
        float(law.mean()),
        tolerance=_COSINE_TOLERANCE,
        reference="derived here",
        note=f"after the step a share of {np.mean([e['plane'] for e in extras]):.3f} of the "
        "weights lies in the plane",
    )


def _lead(n: int, rows: list[Row]) -> list[Finding]:
    accuracy = {row.method: row.accuracy for row in rows}
    rival = max((m for m in accuracy if m != "network"), key=lambda m: accuracy[m].mean())
    return [
        above(
            f"lead at {n} samples",
            "The network's accuracy is above that of every method with fixed features.",
            accuracy["network"] - accuracy[rival], 0.0, reference=_REFERENCE,
            note=f"network {accuracy['network'].mean():.3f}, {rival} {accuracy[rival].mean():.3f}",
        )
    ]  # fmt: skip


def _control(dim: int, width: int, n: int, seeds: int, seed: int) -> Finding:
    """Permuted labels: weights lie in the plane as random vectors do."""
    import numpy as np
    from scipy.special import gammaln

    seeds = max(seeds, _CONTROLS)
    _, extras = _rows(dim, width, n, (), seeds, seed, None, permute=True)
    # E |P u| of a unit vector u in d dimensions and a plane P
    share = float(np.exp(gammaln(1.5) - gammaln(1) + gammaln(dim / 2) - gammaln((dim + 1) / 2)))
    return equal(
        "shuffled labels",
        "With permuted labels the step puts as little into the plane as random vectors have.",
        np.asarray([extra["plane"] for extra in extras]),
        share,
        tolerance=0.05,
        reference="derived here",
    )


def _curves(
    grid: np.ndarray, rows: dict[int, list[Row]], extras: dict[int, list[Any]], seeds: int
) -> list[Trajectory]:
    import numpy as np

    finished = ("finished",) * seeds
    cosine = np.asarray([[extra["cosine"] for extra in of] for of in extras.values()]).T
    curves = [
        Trajectory("cosine with the closed form", grid, cosine, finished, grid_name="samples")
    ]
    for method in ("network", *BASELINES):
        found = {n: row.accuracy for n, of in rows.items() for row in of if row.method == method}
        if found:
            value = np.stack(list(found.values()), axis=1)
            sizes = np.asarray(list(found), float)
            name = f"accuracy: {method}"
            curves.append(Trajectory(name, sizes, value, finished, grid_name="samples"))
    return curves
