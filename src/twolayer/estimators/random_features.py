"""Random features: a first layer that is not trained, ridge regression on top."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from twolayer.estimators.base import Classifier, Model, Regressor, Samples
from twolayer.estimators.ridge import Moments, ReadOut, choose, moments, penalties_of, solve
from twolayer.networks import check_positive


def relu_features(
    W: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"], x: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n m"]:
    """``relu(W x + b)`` at each input."""
    z = x @ W.T.astype(x.dtype)
    z += b.astype(x.dtype)
    return np.maximum(z, 0.0, out=z)


def random_neurons(
    width: int, dim: int, generator: np.random.RandomState
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    """``w ~ N(0, I / d)`` and ``b ~ N(0, 1)``: both parts of a preactivation of order 1."""
    W = generator.standard_normal((width, dim)) / np.sqrt(dim)
    return W.astype(np.float32), generator.standard_normal(width).astype(np.float32)


class _RandomFeatures(Model):
    """The part that regressor and classifier share."""

    width: int
    penalty: float | str

    def _fit(self, samples: Samples, generator: np.random.RandomState) -> None:
        check_positive(width=self.width)
        self.weights_, self.biases_ = random_neurons(self.width, samples.x.shape[1], generator)
        choice = choose(samples, [lambda _: self._features], penalties_of(self.penalty), generator)
        self.penalty_ = choice.penalty
        self._calibrate(choice.outputs, choice.outside)
        self.moments_ = self._moments(samples)
        (self.read_out_,) = solve(self.moments_, (self.penalty_,))

    def _features(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
        return relu_features(self.weights_, self.biases_, x)

    def _moments(self, samples: Samples) -> Moments:
        return moments(self._features, samples.x, samples.y, samples.weights)

    def _raw_outputs(self, x):
        read: ReadOut = self.read_out_
        return self._features(x) @ read.coefficients + read.intercept

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add samples: the result is that of ridge regression on all of them.

        Features, the scaling of inputs and the penalty stay those of the first call, which fits
        as `fit` does.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes
            All classes that will occur, for the first call of a classifier.
        """
        if not hasattr(self, "read_out_"):
            return self._begin(X, y, classes, sample_weight)
        samples = self._samples(X, y, sample_weight, reset=False)
        self.moments_ = self.moments_.plus(self._moments(samples))
        (self.read_out_,) = solve(self.moments_, (self.penalty_,))
        return self


class RandomFeaturesRegressor(Regressor, _RandomFeatures):
    """Ridge regression on ReLU neurons with frozen random weights.

    The finite version of a kernel method: what a network does whose first layer does not learn.

    Parameters
    ----------
    width
        The number of neurons.
    penalty
        Of the ridge regression, relative to the mean square of a feature; ``"auto"`` chooses it
        on held-out samples.
    random_state
        Seed of weights and hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> model = RandomFeaturesRegressor(random_state=0).fit(X[:400], X[:400, 0] ** 2)
    >>> bool(model.score(X[400:], X[400:, 0] ** 2) > 0.95)
    True
    """

    def __init__(self, width=500, *, penalty="auto", random_state=None):
        self.width = width
        self.penalty = penalty
        self.random_state = random_state


class RandomFeaturesClassifier(Classifier, _RandomFeatures):
    """Ridge regression of class indicators on ReLU neurons with frozen random weights.

    Parameters
    ----------
    width
        The number of neurons.
    penalty
        Of the ridge regression, relative to the mean square of a feature; ``"auto"`` chooses it
        on held-out samples.
    random_state
        Seed of weights and hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> model = RandomFeaturesClassifier(random_state=0).fit(X[:400], y[:400])
    >>> bool(model.score(X[400:], y[400:]) > 0.9)
    True
    """

    def __init__(self, width=500, *, penalty="auto", random_state=None):
        self.width = width
        self.penalty = penalty
        self.random_state = random_state
