"""What learning features is held against: fixed features and kernels, as scikit-learn estimators.

Each fits labels -1 and 1 by ridge regression. What it leaves open (penalty, bandwidth) is chosen
on a fifth of the training samples held out, then all are used.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from twolayer.networks import check_positive
from twolayer.tasks import binary_labels
from twolayer.theory.kernels import neural_tangent_kernel

_PENALTIES = (1e-6, 1e-4, 1e-2, 1.0)
_HELD_OUT = 0.2


class Choice(NamedTuple):
    """One way to fit what the hold-out compares.

    Attributes
    ----------
    bandwidth
        That of an RBF kernel, relative to the median distance; 1 where there is none.
    penalty
        Of the ridge regression, relative to the mean diagonal entry of the kernel.
    """

    bandwidth: float
    penalty: float


class RidgeBaseline(ClassifierMixin, BaseEstimator):
    """Ridge regression on labels -1 and 1, tuned on held-out samples.

    After `fit`: ``classes_``, ``choice_`` (what the hold-out chose), ``hold_out_accuracy_`` and
    ``num_features_`` (of a kernel, the number of samples it is centred at).
    """

    bandwidths: Sequence[float] = (1.0,)
    penalties: Sequence[float]
    random_state: Any

    @abstractmethod
    def _prepare(self, X: Float[np.ndarray, "n d"], generator: np.random.RandomState) -> None:
        """Draw and measure what stays fixed."""

    @abstractmethod
    def _represent(self, X: Float[np.ndarray, "n d"]) -> Any:
        """What predictions need of inputs, computed once: features, or the inputs themselves."""

    @abstractmethod
    def _solve(
        self, inside: Any, y: Float[np.ndarray, " n"], bandwidth: float
    ) -> dict[float, Float[np.ndarray, " k"]]:
        """The coefficients of each penalty."""

    @abstractmethod
    def _outputs(
        self, inside: Any, coefficients: Float[np.ndarray, "k c"], outside: Any, bandwidth: float
    ) -> Float[np.ndarray, "n c"]:
        """Outputs at other inputs."""

    def fit(self, X, y):
        """Tune on the hold-out, then fit all samples.

        Parameters
        ----------
        X
            Inputs, one a row.
        y
            Labels of two classes.

        Raises
        ------
        ValueError
            If the labels are not of two classes, or an option is out of range.
        """
        checked: Any = validate_data(self, X, y, dtype=np.float64)
        X, y = checked
        check_classification_targets(y)
        if type_of_target(y) == "multiclass":
            message = "Only binary classification is supported. Expected labels of two classes. "
            message += f"Received: {len(np.unique(y))} of them."
            raise ValueError(message)
        signs = binary_labels(y)
        self.classes_ = np.unique(y)
        if not len(self.penalties) or not all(0 < p < np.inf for p in self.penalties):
            message = f"Expected positive penalties. Received: {self.penalties!r}."
            raise ValueError(message)
        generator = check_random_state(self.random_state)
        self._prepare(X, generator)
        self.mean_ = float(signs.mean())
        inside = self._represent(X)
        self._tune(inside, signs - self.mean_, signs, generator)
        bandwidth, penalty = self.choice_
        self.inside_ = inside
        self.coefficients_ = self._solve(inside, signs - self.mean_, bandwidth)[penalty]
        return self

    def _tune(self, inside, residual, signs, generator) -> None:
        held = np.zeros(len(signs), bool)
        for sign in (-1.0, 1.0):  # the same share of both classes
            own = generator.permutation(np.flatnonzero(signs == sign))
            held[own[: int(_HELD_OUT * len(own))]] = True
        choices = [Choice(b, p) for b in self.bandwidths for p in self.penalties]
        self.choice_, self.hold_out_accuracy_ = choices[len(choices) // 2], float("nan")
        if not np.any(held) or len(choices) == 1:
            return
        best = (-1.0, -np.inf)
        for bandwidth in self.bandwidths:
            solved = self._solve(inside[~held], residual[~held], bandwidth)
            coefficients = np.stack([solved[p] for p in self.penalties], axis=1)
            outputs = self._outputs(inside[~held], coefficients, inside[held], bandwidth)
            outputs = outputs + self.mean_
            for k, penalty in enumerate(self.penalties):
                right = float(np.mean(outputs[:, k] * signs[held] > 0))
                score = (right, -float(np.mean((outputs[:, k] - signs[held]) ** 2)))
                if score > best:
                    best, self.choice_ = score, Choice(bandwidth, penalty)
        self.hold_out_accuracy_ = best[0]

    def decision_function(self, X) -> Float[np.ndarray, " n"]:
        """The regression's outputs: positive for the class that sorts second."""
        check_is_fitted(self)
        checked: Any = validate_data(self, X, dtype=np.float64, reset=False)
        coefficients = self.coefficients_[:, None]
        outside = self._represent(checked)
        outputs = self._outputs(self.inside_, coefficients, outside, self.choice_.bandwidth)
        return self.mean_ + outputs[:, 0]

    def predict(self, X) -> np.ndarray:
        """The likelier class of each input."""
        outputs = self.decision_function(X)
        return self.classes_[(outputs > 0).astype(int)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


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
        self, num_features=400, *, bias=1.0, neurons=None, penalties=_PENALTIES, random_state=None
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
        size = _size(gram)
        right = inside.T @ y
        return {p: _solved(gram, p * size, right) for p in self.penalties}

    def _outputs(self, inside, coefficients, outside, bandwidth):
        del inside, bandwidth
        return outside @ coefficients


class KernelBaseline(RidgeBaseline):
    """Kernel ridge regression; a kernel is one more method."""

    @abstractmethod
    def _kernel(
        self, x: Float[np.ndarray, "n d"], z: Float[np.ndarray, "k d"] | None, bandwidth: float
    ) -> Float[np.ndarray, "n k"]:
        """The kernel of all pairs; those of x with itself where z is ``None``."""

    def _solve(self, inside, y, bandwidth):
        gram = self._kernel(inside, None, bandwidth)
        size = _size(gram)
        return {p: _solved(gram, p * size, y) for p in self.penalties}

    def _outputs(self, inside, coefficients, outside, bandwidth):
        return self._kernel(outside, inside, bandwidth) @ coefficients


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

    def __init__(self, *, bandwidths=(0.3, 1.0, 3.0), penalties=_PENALTIES, random_state=None):
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

    def __init__(self, *, bias=1.0, penalties=_PENALTIES, random_state=None):
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

    def __init__(self, width=400, *, bias=1.0, penalties=_PENALTIES, random_state=None):
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


def constant_coordinate(X: Float[np.ndarray, "n d"], bias: float) -> float:
    """The constant further coordinate that has random weights for biases.

    ``bias`` times the root mean square length of the inputs: the bias's standard deviation in
    units of that of the preactivations, where all weights have one variance.

    Raises
    ------
    ValueError
        If the bias is negative.

    Examples
    --------
    >>> constant_coordinate(np.asarray([[3.0, 4.0]]), 2.0)
    10.0
    """
    if not 0 <= bias < np.inf:
        message = f"Expected a standard deviation of biases of at least 0. Received: {bias!r}."
        raise ValueError(message)
    return bias * float(np.sqrt(np.mean(np.sum(X**2, axis=1))))


def with_constant(X: Float[np.ndarray, "n d"], constant: float) -> Float[np.ndarray, "n k"]:
    """The inputs with one further coordinate."""
    return np.concatenate([X, np.full((len(X), 1), constant)], axis=1)


def _size(gram: np.ndarray) -> float:
    return float(np.mean(np.diag(gram))) or 1.0


def _solved(gram: np.ndarray, penalty: float, right: np.ndarray) -> np.ndarray:
    """``(gram + penalty I)^{-1} right``."""
    shifted = gram.copy()
    shifted[np.diag_indices_from(shifted)] += penalty
    return cho_solve(cho_factor(shifted, lower=True, overwrite_a=True), right)
