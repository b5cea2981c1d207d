"""The laws of inputs and labels whose gradient features are known, with neurons to look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

XOR_SIZE = 3.0  # the length of its means, in standard deviations


@dataclass(frozen=True)
class Law:
    """A law, the cone and the length that define its feature set, and where features should be.

    Attributes
    ----------
    name
        For people.
    task
        The joint law of (x, y).
    threshold
        The size of the thresholds, of either sign; 0 for none.
    features
        Unit vectors, one a row.
    gamma, least_norm
        Of the feature set.
    signs_as_weights
        Whether weights are +-1 rather than standard normal.
    """

    name: str
    task: Any
    threshold: float
    features: np.ndarray
    gamma: float
    least_norm: float
    signs_as_weights: bool = False

    @property
    def dim(self) -> int:
        """The input dimension."""
        return self.features.shape[1]

    def neurons(self, count: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Independent weights and thresholds."""
        import numpy as np

        generator = np.random.default_rng(seed)
        W = generator.standard_normal((count, self.dim))
        if self.signs_as_weights:
            W = np.sign(W)
        return W, self.threshold * generator.choice([-1.0, 1.0], count)


def clusters(seed: int) -> Law:
    """Six tight clusters far apart, labels in turn; thresholds that let one at a time through."""
    import numpy as np

    from twolayer.inputs import isotropic_mixture
    from twolayer.tasks import Classification

    dim, count, size = 100, 6, 10.0
    features = _orthonormal(dim, count, seed)
    labels = np.where(np.arange(count) % 2, -1.0, 1.0)
    task = Classification(isotropic_mixture(size * features, 0.3), labels)  # type: ignore[arg-type]
    return Law("clusters", task, 1.4 * dim**0.5, features, 0.05, 0.8)


def xor(seed: int, dim: int = 100) -> Law:
    """Four clusters in a plane, opposite ones of one label."""
    from twolayer.tasks import xor_mixture

    features = _orthonormal(dim, 2, seed)
    task = xor_mixture(*(XOR_SIZE * features))
    return Law("XOR", task, 0.0, features, 0.05, 0.1)


def one_block(seed: int) -> Law:
    """A structured sparse parity of five units."""
    return _structured("structured parity", (100, 1), (0.25, 0.1), 1.0, seed)


def three_blocks(seed: int, threshold: float) -> Law:
    """A structured sparse parity of three blocks of five units."""
    name = f"three blocks, b = {threshold:g}"
    return _structured(name, (200, 3), (0.1, 0.05), threshold, seed)


def uniform_parity() -> Law:
    """The parity of two of 101 signs; weights are signs too."""
    import numpy as np

    from twolayer.inputs import Hypercube
    from twolayer.targets import Parity
    from twolayer.tasks import Regression

    dim = 101
    features = np.zeros((2, dim))
    features[:, :2] = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    task = Regression(Hypercube(dim), Parity((0, 1)))
    return Law("uniform parity", task, 0.0, features, 0.05, 0.0, signs_as_weights=True)


def linear(seed: int) -> Law:
    """The sign of one projection of a standard normal input."""
    from twolayer.inputs import Gaussian
    from twolayer.targets import halfspace
    from twolayer.tasks import Regression

    features = _orthonormal(60, 1, seed)
    return Law(
        "linear", Regression(Gaussian(60), halfspace(features[0])), 0.0, features, 1e-6, 0.39
    )


def multi_index(seed: int, dim: int = 60) -> Law:
    """The sign of the product of two projections of a standard normal input."""
    from twolayer.inputs import Gaussian
    from twolayer.targets import MultiIndex, sign_product
    from twolayer.tasks import Regression

    features = _orthonormal(dim, 2, seed)
    target = MultiIndex(features, sign_product)  # type: ignore[arg-type]
    return Law("multi-index", Regression(Gaussian(dim), target), 0.0, features, 0.05, 0.0)


def _structured(
    name: str,
    size: tuple[int, int],
    probabilities: tuple[float, float],
    threshold: float,
    seed: int,
) -> Law:
    import numpy as np

    from twolayer.sparse_coding import StructuredParity

    dim, blocks = size
    task = StructuredParity(_orthonormal(dim, dim, seed).T, blocks, 5, *probabilities)  # type: ignore[arg-type]
    return Law(name, task, threshold, np.asarray(task.features, np.float64), 0.05, 0.05)


def _orthonormal(dim: int, count: int, seed: int) -> np.ndarray:
    import numpy as np

    generator = np.random.default_rng([seed, dim, count])
    return np.linalg.qr(generator.standard_normal((dim, count)))[0].T
