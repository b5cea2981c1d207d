"""Random features: a first layer that is not trained."""

from __future__ import annotations

import numpy as np

from twolayer.baselines.ridge import (
    PENALTIES,
    RidgeBaseline,
    constant_coordinate,
    mean_diagonal,
    ridge_solution,
    with_constant,
)
from twolayer.networks import check_positive


class RandomFeatures(RidgeBaseline):
    """ReLU neurons with frozen random weights, of which the output weights alone are fitted.

    Parameters
    ----------
    num_features
        The number of neurons.
    bias
        Standard deviation of the biases, relative to that of the preactivations.
    neurons
        Input weights, one a row, and biases of given neurons ``relu(w . x + b)``, a network's
        own for instance, in place of random ones.
    penalties
        Of the ridge regression, to choose from.
    random_state
        Seed of the weights and of the hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> model = RandomFeatures(random_state=0).fit(X[:300], y[:300])
    >>> bool(model.score(X[300:], y[300:]) > 0.9)
    True
    """

    def __init__(
        self, num_features=400, *, bias=1.0, neurons=None, penalties=PENALTIES, random_state=None
    ):
        self.num_features = num_features
        self.bias = bias
        self.neurons = neurons
        self.penalties = penalties
        self.random_state = random_state

    def _prepare(self, X, generator):
        check_positive(num_features=self.num_features)
        self.constant_ = constant_coordinate(X, self.bias)
        self.weights_ = generator.standard_normal((self.num_features, X.shape[1] + 1))
        if self.neurons is not None:
            W, b = (np.asarray(part, np.float64) for part in self.neurons)
            if W.shape != (len(b), X.shape[1]) or b.ndim != 1:
                message = f"Expected weights [m, {X.shape[1]}] and biases [m]. "
                message += f"Received: shapes {W.shape} and {b.shape}."
                raise ValueError(message)
            self.constant_, self.weights_ = 1.0, np.concatenate([W, b[:, None]], axis=1)
        self.num_features_ = len(self.weights_)

    def _represent(self, X):
        return np.maximum(with_constant(X, self.constant_) @ self.weights_.T, 0.0)

    def _solve(self, inside, y, bandwidth):
        del bandwidth
        gram = inside.T @ inside
        size = mean_diagonal(gram)
        right = inside.T @ y
        return {p: ridge_solution(gram, p * size, right) for p in self.penalties}

    def _outputs(self, inside, coefficients, outside, bandwidth):
        del inside, bandwidth
        return outside @ coefficients
