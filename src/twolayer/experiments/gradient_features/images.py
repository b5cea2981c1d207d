"""Gradient features of two classes of real images."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twolayer.experiments.options import Stage, at_least, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Verdict
    from twolayer.theory.gradient_features.simplified_gradient import Gradients

_SETS = ("fashion-mnist", "digits")
_GAMMA = 0.05
_LEAST = 0.01  # the p of the feature sets
_CONFIDENCE = 0.9973
_ALLOWED = 0.05  # of the cosine law, whose noise is uneven on images
_NEAR = 0.95  # the cosine from which on a direction counts as found
_CLOSE = 0.95  # the mean cosine that the first two moments should give


class Images(NamedTuple):
    """Centred images of two classes on a common scale, and their labels 1 and -1."""

    x: np.ndarray
    y: np.ndarray


@experiment(
    paper="gradient_features",
    statement="On two classes of images the first gradient has few features, the difference of the "
    "class means first; means and covariances alone nearly give it.",
    reference="derived here; clusters of weights on images as in shi2022theoretical",
    quick={"images": "digits", "draws": 1000, "sizes": "20,80"},
)
def gradient_image_features(
    *,
    images: str = "fashion-mnist",
    pair: str = "0,1",
    sizes: str = "50,200,800",
    draws: int = 2000,
    seeds: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Simplified gradients of real images: features, samples needed, and the control.

    Images are centred and divided by one number, so that a pixel has variance 1 on average;
    neurons have standard normal weights and no threshold.

    Parameters
    ----------
    images
        fashion-mnist, or the digits that come with scikit-learn.
    pair
        The two classes.
    sizes
        Numbers of images in the subsets whose gradients are held against those of all images.
    draws
        Independent neurons from which feature sets are counted.
    seeds
        Subsets of each size.
    seed
        Seed of all randomness.
    """
    grid = sorted(set(whole_numbers("sizes", sizes)))
    at_least(500, draws=draws)
    at_least(2, seeds=seeds)
    at_least(0, seed=seed)
    if images not in _SETS:
        message = f"Expected images to be one of {', '.join(_SETS)}. Received: {images!r}."
        raise ValueError(message)
    parts = [part.strip() for part in pair.split(",")]
    if len(set(parts)) != 2 or not all(part in set("0123456789") for part in parts):
        message = "Expected a pair of different classes from 0 to 9 like 0,1. "
        message += f"Received: {pair!r}."
        raise ValueError(message)

    import numpy as np

    from twolayer.theory.gradient_features.simplified_gradient import dataset_gradient

    data = _read(images, (int(parts[0]), int(parts[1])))
    if grid[-1] > len(data.x) // 2:
        message = f"Expected subsets of at most half of the {len(data.x)} images. "
        message += f"Received: {grid[-1]}."
        raise ValueError(message)
    generator = np.random.default_rng(seed)
    W = generator.standard_normal((draws, data.x.shape[1]))
    full = dataset_gradient(data.x, data.y, W)
    stage = Stage(progress, "images")
    findings = [*_features(data, full, W, generator), _surrogate(data, full, W)]
    stage(1, 2)
    prediction, measured, law = _subsets(data, grid, seeds, W[:50], generator)
    stage(2, 2)
    return Result(
        predictions=(prediction,),
        trajectories=(measured,),
        findings=(*findings, law),
        details={"images": len(data.x), "pixels": data.x.shape[1]},
    )


def _read(images: str, classes: tuple[int, int]) -> Images:
    """Both classes, centred together, a pixel's mean variance 1."""
    import numpy as np

    from twolayer.datasets import fashion_mnist
    from twolayer.datasets.digits import digits
    from twolayer.tasks import binary_labels

    pictures, labels = fashion_mnist() if images == "fashion-mnist" else digits()
    rows = np.isin(labels, classes)
    x = np.asarray(pictures)[rows].reshape(int(rows.sum()), -1).astype(np.float64)
    y = binary_labels(np.asarray(labels)[rows])
    x = x - x.mean(axis=0)
    return Images(x / np.sqrt(np.mean(x**2)), y)


def _features(
    data: Images, full: Gradients, W: np.ndarray, generator: np.random.Generator
) -> list[Finding]:
    """The feature set of the images, and of the same images with shuffled labels."""
    import numpy as np

    from twolayer.theory.gradient_features.feature_sets import feature_set
    from twolayer.theory.gradient_features.simplified_gradient import dataset_gradient

    least = float(np.median(full.norm)) / 2
    shuffled = dataset_gradient(data.x, generator.permutation(data.y), W)
    nets = [
        feature_set(
            gradients.value, np.zeros(len(W)), gamma=_GAMMA, least_norm=least,
            least_probability=_LEAST, confidence=_CONFIDENCE,
        )
        for gradients in (full, shuffled)
    ]  # fmt: skip
    difference = data.x.T @ data.y
    difference /= np.linalg.norm(difference)
    nearest = float(np.max(np.abs(nets[0].directions @ difference), initial=0.0))
    settings = f"p of at least {_LEAST:g}, gamma = {_GAMMA:g}, length of at least {least:.3g}"
    return [
        Finding(
            "difference of means", "The difference of the class means is a gradient feature.",
            f"at least {_NEAR:g}", nearest, 0.0, "agrees" if nearest >= _NEAR else "disagrees",
            "derived here", f"nearest of {len(nets[0])} features; {settings}",
        ),
        Finding(
            "shuffled labels", "With shuffled labels the images have no gradient feature.",
            "no features", f"{len(nets[1])} features" if len(nets[1]) else "no features", 0.0,
            "disagrees" if len(nets[1]) else "agrees", "derived here", settings,
        ),
    ]  # fmt: skip


def _surrogate(data: Images, full: Gradients, W: np.ndarray) -> Finding:
    """The closed form for Gaussians with the classes' means and covariances."""
    import numpy as np

    from twolayer.inputs import GaussianMixture
    from twolayer.numerics.montecarlo import mean_and_error
    from twolayer.tasks import Classification
    from twolayer.theory.gradient_features.simplified_gradient import simplified_gradient

    pools = [data.x[data.y == label] for label in (1, -1)]
    mixture = GaussianMixture.from_covariances(
        np.stack([pool.mean(axis=0) for pool in pools]),
        np.stack([np.cov(pool.T, bias=True) for pool in pools]),
        [len(pool) / len(data.x) for pool in pools],
    )
    W, value, norm = W[:100], full.value[:100], full.norm[:100]
    found = simplified_gradient(Classification(mixture, [1.0, -1.0]), W)  # type: ignore[arg-type]
    cosines = np.sum(found.value * value, axis=1) / found.norm / norm
    mean, error = (float(part) for part in mean_and_error(cosines))
    verdict: Verdict = "agrees" if mean - 3 * error >= _CLOSE else "disagrees"
    return Finding(
        "first two moments",
        "The Gaussian mixture with the images' means and covariances has nearly their gradients.",
        f"at least {_CLOSE:g}", mean, error, verdict, "derived here",
        f"mean cosine over {len(W)} neurons, lowest {float(cosines.min()):.3f}; no theorem "
        "covers images",
    )  # fmt: skip


def _subsets(
    data: Images, sizes: list[int], seeds: int, W: np.ndarray, generator: np.random.Generator
) -> tuple[Prediction, Trajectory, Finding]:
    """Cosines of gradients of few images with those of all, against the law in n."""
    import numpy as np

    from twolayer.compare import compare
    from twolayer.theory.gradient_features.finite_sample import expected_cosine
    from twolayer.theory.gradient_features.simplified_gradient import dataset_gradient

    full, n = dataset_gradient(data.x, data.y, W), np.asarray(sizes, float)
    # Drawn without replacement: what is left of the noise is 1/n - 1/N of it.
    effective = 1 / (1 / n - 1 / len(data.x))
    law = expected_cosine(full.norm[:, None], full.noise[:, None], effective).mean(axis=0)
    value = np.empty((seeds, len(sizes)))
    for s in range(seeds):
        rows = generator.permutation(len(data.x))
        for k, size in enumerate(sizes):
            part = dataset_gradient(data.x[rows[:size]], data.y[rows[:size]], W)
            cosines = np.sum(part.value * full.value, axis=1)
            value[s, k] = np.mean(cosines / np.maximum(part.norm, 1e-12) / full.norm)
    name = "cosine with the gradient of all images"
    prediction = Prediction(name, n, law, "asymptotic", "derived here", grid_name="images")
    measured = Trajectory(name, n, value, ("finished",) * seeds, grid_name="images")
    comparison = compare(prediction, measured, tolerance=_ALLOWED)
    finding = Finding(
        "cosine law", "Gradients of n images point as near to those of all as the law in n says.",
        float(law[0]), float(value.mean(axis=0)[0]), float(comparison.error[0]),
        comparison.verdict, "derived here",
        f"{comparison.reason}; {_ALLOWED:g} is allowed for uneven noise",
    )  # fmt: skip
    return prediction, measured, finding
