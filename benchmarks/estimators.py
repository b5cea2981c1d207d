"""Default estimators beside scikit-learn's: error and seconds on the same splits of nine data sets.

Every method has its default options and standardised inputs (regression: standardised targets
too). Errors are the share of wrong labels, or the mean square error over the variance of the
targets; their standard errors over folds are those of nadeau2003inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from timing import arguments, write

OPTIONS = arguments("Default estimators beside scikit-learn's", folds=5, samples=1500, seed=0)

import time  # noqa: E402
import warnings  # noqa: E402

import numpy as np  # noqa: E402
from sklearn import datasets  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.kernel_ridge import KernelRidge  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

import twolayer as tl  # noqa: E402
from twolayer.diagnose.methods import Measure, corrected_error, splits_of  # noqa: E402

OURS, NETWORK, KERNEL = "TwoLayer", "MLP", "kernel"
METHODS = (OURS, NETWORK, KERNEL, "RandomFeatures", "NTK")


def xor_mixture(number: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """Clusters in 20 dimensions at +-2.5 e_1, one class, and at +-2.5 e_2, the other."""
    cluster = generator.integers(4, size=number)
    means = np.zeros((4, 20))
    means[[0, 1, 2, 3], [0, 0, 1, 1]] = 2.5, -2.5, 2.5, -2.5
    return generator.normal(size=(number, 20)) + means[cluster], cluster // 2


def sparse_parity(number: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """The product of 3 of 20 signs."""
    x = generator.choice([-1.0, 1.0], size=(number, 20))
    return x, x[:, :3].prod(axis=1)


def fashion_pair(number: int) -> tuple[Any, Any]:
    """Coats (4) against shirts (6), the pair that is hardest to tell apart."""
    x, y = tl.fashion_mnist()
    rows = np.flatnonzero((y == 4) | (y == 6))[:number]
    return x[rows].reshape(number, -1).astype(np.float64), y[rows]


def problems() -> Iterator[tuple[str, bool, Any, Any]]:
    """Name, whether labels are classes, inputs and labels."""
    generator, n = np.random.default_rng(OPTIONS.seed), OPTIONS.samples
    loaders: dict[str, tuple[bool, Callable[[], Any]]] = {
        "digits": (True, lambda: datasets.load_digits(return_X_y=True)),
        "breast cancer": (True, lambda: datasets.load_breast_cancer(return_X_y=True)),
        "wine": (True, lambda: datasets.load_wine(return_X_y=True)),
        "diabetes": (False, lambda: datasets.load_diabetes(return_X_y=True)),
        "friedman1": (
            False,
            lambda: datasets.make_friedman1(n, noise=1.0, random_state=OPTIONS.seed),
        ),
        "XOR mixture": (True, lambda: xor_mixture(n, generator)),
        "sparse parity": (True, lambda: sparse_parity(n, generator)),
        "Fashion-MNIST pair": (True, lambda: fashion_pair(n)),
        "quadratic in 30": (False, lambda: quadratic(n, generator)),
    }
    for name, (classes, load) in loaders.items():
        try:
            x, y = load()
        except OSError as error:
            print(f"{name} left out: {error}")
            continue
        order = np.random.default_rng(OPTIONS.seed).permutation(len(x))[:n]
        yield name, classes, x[order], y[order]


def quadratic(number: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """``x_1 x_2 + noise`` of normal inputs in 30 dimensions, the noise a tenth of the variance."""
    x = generator.normal(size=(number, 30))
    return x, x[:, 0] * x[:, 1] + 0.33 * generator.normal(size=number)


def estimator(method: str, *, classes: bool) -> Any:
    """With default options, inputs standardised, and numbers to predict too."""
    seed = OPTIONS.seed
    kinds = {
        OURS: (tl.TwoLayerClassifier, tl.TwoLayerRegressor),
        NETWORK: (MLPClassifier, MLPRegressor),
        "RandomFeatures": (tl.RandomFeaturesClassifier, tl.RandomFeaturesRegressor),
        "NTK": (tl.NTKClassifier, tl.NTKRegressor),
    }
    if method == KERNEL:
        model: Any = SVC() if classes else KernelRidge(kernel="rbf")
    else:
        model = kinds[method][0 if classes else 1](random_state=seed)
    model = make_pipeline(StandardScaler(), model)
    return model if classes else TransformedTargetRegressor(model, transformer=StandardScaler())


def measure(method: str, x: Any, y: Any, *, classes: bool) -> tuple[np.ndarray, float]:
    """The error in each fold, and the median of the seconds that training took."""
    splits = splits_of(y, classes=classes, folds=OPTIONS.folds, random_state=OPTIONS.seed)
    error_of = Measure(classes, 1.0 if classes else float(np.var(y))).of
    model, errors, seconds = estimator(method, classes=classes), [], []
    for inside, outside in splits:
        fitted: Any = clone(model)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a network that stops at its limit of passes
            fitted.fit(x[inside], y[inside])
        seconds.append(time.perf_counter() - start)
        errors.append(error_of(fitted, x[outside], y[outside]))
    return np.asarray(errors), float(np.median(seconds))


def sign(gap: np.ndarray) -> str:
    """Whether ours is better, worse, or neither by two standard errors of the paired gap."""
    error = 2 * corrected_error(gap)
    return "better" if gap.mean() > error else "worse" if gap.mean() < -error else "equal"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: error +- standard error (seconds), and ours beside each of scikit-learn's two."""
    heads = ["data", *METHODS, f"against {NETWORK}", f"against {KERNEL}", "faster than MLP"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["data"]]
        for method in METHODS:
            found = row[method]
            cells.append(
                f"{found['error']:.3f} ± {found['standard_error']:.3f} ({found['seconds']:.2f} s)"
            )
        ratio = row[NETWORK]["seconds"] / row[OURS]["seconds"]
        cells += [row["against"][NETWORK], row["against"][KERNEL], f"{ratio:.1f}x"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    tl.TwoLayerClassifier(5, random_state=0).fit([[0.0], [1.0]] * 4, [0, 1] * 4)  # imports
    rows = []
    for name, classes, x, y in problems():
        row: dict[str, Any] = {"data": name, "samples": len(x), "inputs": x.shape[1]}
        errors = {}
        for method in METHODS:
            errors[method], seconds = measure(method, x, y, classes=classes)
            row[method] = {
                "error": float(errors[method].mean()),
                "standard_error": corrected_error(errors[method]),
                "seconds": seconds,
            }
        row["against"] = {m: sign(errors[m] - errors[OURS]) for m in (NETWORK, KERNEL)}
        rows.append(row)
        print(table([row]).splitlines()[-1], flush=True)
    text = table(rows)
    print(f"\n{text}")
    write("estimators", OPTIONS, rows)
    path = Path(__file__).parent / "results" / "estimators.md"
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
