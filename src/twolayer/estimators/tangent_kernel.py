"""Ridge regression with the tangent kernel of an infinitely wide network: the lazy limit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from twolayer.estimators.base import Classifier, Model, Regressor, Samples
from twolayer.estimators.ridge import folds, penalties_of
from twolayer.theory.kernels import neural_tangent_kernel

_MOST = 20_000  # samples; their kernel takes 3.2 gigabytes


class _TangentKernel(Model):
    """The part that regressor and classifier share."""

    penalty: float | str

    def _fit(self, samples: Samples, generator: np.random.RandomState) -> None:
        penalties = penalties_of(self.penalty)
        number = len(samples.x)
        if number > _MOST:
            message = f"Expected at most {_MOST} samples: a kernel needs all pairs of them. "
            message += f"Received: {number}; use random features, or fewer samples."
            raise ValueError(message)
        self.inputs_ = _with_bias(samples.x)
        gram = neural_tangent_kernel(self.inputs_, self.inputs_)
        outputs = np.zeros((len(penalties), *samples.y.shape))
        scores = np.zeros(len(penalties))
        held = folds(number, samples.groups, generator)
        for part in held:
            rest = np.setdiff1d(np.arange(number), part)
            inside = samples.rows(rest)
            for k, penalty in enumerate(penalties):
                coefficients, mean = _solve(gram[np.ix_(rest, rest)], inside, penalty)
                outputs[k, part] = gram[np.ix_(part, rest)] @ coefficients + mean
                gap = np.sum((outputs[k, part] - samples.y[part]) ** 2, axis=1)
                scores[k] += samples.weights[part] @ gap
        best = int(np.argmin(scores))
        self.penalty_ = penalties[best]
        rows = np.concatenate(held) if held else np.zeros(0, int)
        self._calibrate(outputs[best, rows], samples.rows(rows))
        self.coefficients_, self.intercept_ = _solve(gram, samples, self.penalty_)

    def _raw_outputs(self, x):
        kernel = neural_tangent_kernel(_with_bias(x), self.inputs_)
        return kernel @ self.coefficients_ + self.intercept_


class NTKRegressor(Regressor, _TangentKernel):
    """Kernel ridge regression with the tangent kernel of a wide two-layer ReLU network.

    What a wide network does that stays near its initial weights, where features are not learned.

    Parameters
    ----------
    penalty
        Of the ridge regression, relative to the mean diagonal entry of the kernel; ``"auto"``
        chooses it on held-out samples.
    random_state
        Seed of the hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> model = NTKRegressor(random_state=0).fit(X[:400], X[:400, 0] ** 2)
    >>> bool(model.score(X[400:], X[400:, 0] ** 2) > 0.95)
    True
    """

    def __init__(self, *, penalty="auto", random_state=None):
        self.penalty = penalty
        self.random_state = random_state


class NTKClassifier(Classifier, _TangentKernel):
    """Kernel ridge regression of class indicators with the tangent kernel of a wide network.

    Parameters
    ----------
    penalty
        Of the ridge regression, relative to the mean diagonal entry of the kernel; ``"auto"``
        chooses it on held-out samples.
    random_state
        Seed of the hold-out.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> model = NTKClassifier(random_state=0).fit(X[:400], y[:400])
    >>> bool(model.score(X[400:], y[400:]) > 0.9)
    True
    """

    def __init__(self, *, penalty="auto", random_state=None):
        self.penalty = penalty
        self.random_state = random_state


def _with_bias(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n p"]:
    """Inputs divided by sqrt(d), and the constant 1 whose weights are the biases."""
    scaled = np.asarray(x, np.float64) / np.sqrt(x.shape[1])
    return np.concatenate([scaled, np.ones((len(x), 1))], axis=1)


def _solve(
    gram: Float[np.ndarray, "n n"], samples: Samples, penalty: float
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " k"]]:
    """Coefficients and intercept of weighted kernel ridge regression.

    A sample of weight w has penalty / w of its own; one without weight drops out.
    """
    used = samples.weights > 0
    weights = samples.weights[used]
    mean = np.average(samples.y[used], axis=0, weights=weights)
    shift = max(penalty, 1e-10) * float(np.mean(np.diag(gram)))
    factor = cho_factor(gram[np.ix_(used, used)] + np.diag(shift / weights), check_finite=False)
    coefficients = np.zeros_like(samples.y)
    coefficients[used] = cho_solve(factor, samples.y[used] - mean, check_finite=False)
    return coefficients, mean
