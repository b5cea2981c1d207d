"""Kernel ridge regression: Gaussian kernel, tangent kernels of finite and infinite networks."""

from __future__ import annotations

import numpy as np

from twolayer.baselines.ridge import (
    PENALTIES,
    KernelBaseline,
    constant_coordinate,
    with_constant,
)
from twolayer.networks import check_positive
from twolayer.theory.kernels import neural_tangent_kernel


class RBF(KernelBaseline):
    """Kernel ridge regression with ``exp(-|x - z|^2 / (2 h^2))``.

    Parameters
    ----------
    bandwidths
        The h to choose from, relative to the root of the mean square distance of two samples.
    penalties
        Of the ridge regression, to choose from.
    random_state
        Seed of the hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 2))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> bool(RBF(random_state=0).fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.9)
    True
    """

    def __init__(self, *, bandwidths=(0.3, 1.0, 3.0), penalties=PENALTIES, random_state=None):
        self.bandwidths = bandwidths
        self.penalties = penalties
        self.random_state = random_state

    def _prepare(self, X, generator):
        del generator
        if not len(self.bandwidths) or not all(0 < h < np.inf for h in self.bandwidths):
            message = f"Expected positive bandwidths. Received: {self.bandwidths!r}."
            raise ValueError(message)
        self.num_features_ = len(X)
        # the mean square distance of two independent samples is twice the total variance
        self.distance_ = float(np.sqrt(2 * np.sum(np.var(X, axis=0)))) or 1.0

    def _represent(self, X):
        return X

    def _kernel(self, x, z, bandwidth):
        z = x if z is None else z
        squares = np.sum(x**2, axis=1)[:, None] + np.sum(z**2, axis=1)[None] - 2 * x @ z.T
        return np.exp(-np.maximum(squares, 0.0) / (2 * (bandwidth * self.distance_) ** 2))


class NTK(KernelBaseline):
    """Kernel ridge regression with the tangent kernel of an infinitely wide ReLU network.

    Input and output weights are standard normal, biases too in units of the root mean square
    preactivation times `bias`; all but the kernel's scale, which penalties are relative to.

    Parameters
    ----------
    bias
        Standard deviation of the biases, relative to that of the preactivations.
    penalties
        Of the ridge regression, to choose from.
    random_state
        Seed of the hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 2))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> bool(NTK(random_state=0).fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.9)
    True
    """

    def __init__(self, *, bias=1.0, penalties=PENALTIES, random_state=None):
        self.bias = bias
        self.penalties = penalties
        self.random_state = random_state

    def _prepare(self, X, generator):
        del generator
        self.num_features_ = len(X)
        self.constant_ = constant_coordinate(X, self.bias)

    def _represent(self, X):
        return with_constant(X, self.constant_)

    def _kernel(self, x, z, bandwidth):
        del bandwidth
        return neural_tangent_kernel(x, z)


class FiniteNTK(KernelBaseline):
    """Kernel ridge regression with the tangent kernel of a finite ReLU network at initialisation.

    ``K(x, z) = (1/m) sum_i h_i(x) h_i(z) + 1_i(x) 1_i(z) <x, z>`` with neurons ``h_i`` and their
    gates ``1_i``, output weights being 1 or -1.

    Parameters
    ----------
    width
        The number m of neurons.
    bias
        Standard deviation of the biases, relative to that of the preactivations.
    penalties
        Of the ridge regression, to choose from.
    random_state
        Seed of the weights and of the hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 2))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> bool(FiniteNTK(random_state=0).fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.9)
    True
    """

    def __init__(self, width=400, *, bias=1.0, penalties=PENALTIES, random_state=None):
        self.width = width
        self.bias = bias
        self.penalties = penalties
        self.random_state = random_state

    def _prepare(self, X, generator):
        check_positive(width=self.width)
        self.constant_ = constant_coordinate(X, self.bias)
        self.weights_ = generator.standard_normal((self.width, X.shape[1] + 1))
        self.num_features_ = self.width * (X.shape[1] + 2)

    def _represent(self, X):
        return with_constant(X, self.constant_)

    def _kernel(self, x, z, bandwidth):
        del bandwidth
        first = x @ self.weights_.T
        second = first if z is None else z @ self.weights_.T
        values = np.maximum(first, 0.0) @ np.maximum(second, 0.0).T
        gates = (first > 0).astype(float) @ (second > 0).astype(float).T
        return (values + gates * (x @ (x if z is None else z).T)) / self.width
