"""What all estimators share: checked data, scaled inputs, encoded targets."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)


class Samples(NamedTuple):
    """Data ready for a solver.

    Attributes
    ----------
    x
        Inputs with mean 0 and variance 1 in each column that varies.
    y
        Targets with mean 0 and variance 1, or for classes 1 at the own class and 0 elsewhere.
    weights
        Sample weights, all positive; those of the first call of `fit` have mean 1.
    groups
        The class of each sample, ``None`` for numbers.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n k"]
    weights: Float[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"] | None

    def rows(self, rows: Int[np.ndarray, " r"]) -> Samples:
        """Some of the samples."""
        groups = None if self.groups is None else self.groups[rows]
        return Samples(self.x[rows], self.y[rows], self.weights[rows], groups)


class Model(BaseEstimator):
    """An estimator whose outputs are linear in trained or random features.

    A subclass fits (`_fit`) and evaluates (`_raw_outputs`) on scaled samples.
    """

    random_state: Any

    @abstractmethod
    def _fit(self, samples: Samples, generator: np.random.RandomState) -> None:
        """Train on scaled samples."""

    @abstractmethod
    def _raw_outputs(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Outputs in the units of the encoded targets."""

    @abstractmethod
    def _encode(
        self, y: Any, weights: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"] | None]:
        """Targets as numbers of order 1, and the classes."""

    def _calibrate(self, outputs: Float[np.ndarray, "n k"], outside: Samples) -> None:
        """Learn from held-out samples how far outputs can be trusted; nothing for numbers."""

    def fit(self, X, y, sample_weight=None):
        """Train on samples.

        Parameters
        ----------
        X
            Inputs, one a row: an array or a data frame of numbers.
        y
            Labels or numbers, one a row; several columns of numbers for several outputs.
        sample_weight
            How much each sample counts; all the same by default. One of weight 0 is left out.

        Raises
        ------
        ValueError
            If the data are no finite numbers, or so large that their squares are none, or an option
            is out of range.
        """
        return self._begin(X, y, None, sample_weight)

    def _begin(self, X, y, classes, sample_weight):
        """Train from nothing; `classes` may announce more than occur."""
        self._announced = None if classes is None else np.unique(classes)
        samples = self._samples(X, y, sample_weight, reset=True)
        self._fit(samples, check_random_state(self.random_state))
        return self

    def _samples(self, X, y, sample_weight, *, reset: bool) -> Samples:
        checked: Any = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=False,
            reset=reset,
        )  # fmt: skip
        X, y = checked
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if weights.sum() <= 0:
            message = "Expected a sample of positive weight. Received: none."
            raise ValueError(message)
        if reset:
            largest = weights.max()
            self.weight_unit_ = largest * float(np.mean(weights / largest))
            with np.errstate(over="ignore", invalid="ignore"):
                self.scaler_ = StandardScaler().fit(X, sample_weight=weights / self.weight_unit_)
            _check_squares("inputs", self.scaler_.var_)
            targets, groups = self._encode(y, weights / self.weight_unit_)
        else:
            targets, groups = self._encode_again(y)
        samples = Samples(self._scaled(X), targets, weights / self.weight_unit_, groups)
        return samples.rows(np.flatnonzero(weights))

    @abstractmethod
    def _encode_again(self, y: Any) -> tuple[Any, Any]:
        """Further targets, as the first were encoded."""

    def _scaled(self, X) -> Float[np.ndarray, "n d"]:
        return np.asarray(self.scaler_.transform(X), np.float32)

    def _outputs(self, X) -> Float[np.ndarray, "n k"]:
        check_is_fitted(self)
        checked: Any = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._raw_outputs(self._scaled(checked))


class Regressor(RegressorMixin, Model):
    """Predicts numbers: one or several for each input."""

    def _encode(self, y, weights):
        y = np.asarray(y, np.float64)
        if not np.all(np.isfinite(y)):
            message = "Expected finite targets. Received: NaN or infinity among them."
            raise ValueError(message)
        self.single_ = y.ndim == 1
        table = y.reshape(len(y), -1)
        self.target_mean_ = np.average(table, axis=0, weights=weights)
        with np.errstate(over="ignore", invalid="ignore"):
            variance = np.average((table - self.target_mean_) ** 2, axis=0, weights=weights)
        _check_squares("targets", variance)
        self.target_scale_ = np.where(variance > 0, np.sqrt(variance), 1.0)
        return (table - self.target_mean_) / self.target_scale_, None

    def _encode_again(self, y):
        table = np.asarray(y, np.float64).reshape(len(y), -1)
        if table.shape[1] != len(self.target_mean_):
            message = f"Expected {len(self.target_mean_)} outputs, as before. "
            message += f"Received: {table.shape[1]}."
            raise ValueError(message)
        return (table - self.target_mean_) / self.target_scale_, None

    def predict(self, X) -> Float[np.ndarray, "..."]:
        """The outputs, a column for each if there are several."""
        outputs = self._outputs(X)
        outputs = self.target_mean_ + self.target_scale_ * outputs
        return outputs[:, 0] if self.single_ else outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class Classifier(ClassifierMixin, Model):
    """Predicts one of two or more classes."""

    def _encode(self, y, weights):
        del weights
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            from sklearn.utils.validation import column_or_1d

            y = column_or_1d(y, warn=True)
        if y.ndim != 1:
            message = f"Expected one label for each sample. Received: shape {y.shape}."
            raise ValueError(message)
        check_classification_targets(y)
        self.classes_ = np.unique(y) if self._announced is None else self._announced
        if len(self.classes_) < 2:
            message = "Expected samples of at least two classes. Received: one class, "
            message += f"{self.classes_[0]!r}."
            raise ValueError(message)
        self.sharpness_ = 1.0
        return self._encode_again(y)

    def _encode_again(self, y):
        places = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        known = np.isin(y, self.classes_)
        if not np.all(known):
            message = f"Expected labels seen before. Received: {np.asarray(y)[~known][0]!r}."
            raise ValueError(message)
        return np.eye(len(self.classes_))[places], places

    def _calibrate(self, outputs: Float[np.ndarray, "n k"], outside: Samples) -> None:
        """Choose how sharply outputs become probabilities: the likeliest on held-out samples.

        Of n samples that all are right, the share of wrong ones is 1 / (n + 2) by Laplace's rule
        of succession rather than 0. Labels are softened by as much, else outputs that tell a few
        samples apart would make certainties.
        """
        if not len(outputs):
            return
        groups: Any = outside.groups
        own = outputs[np.arange(len(groups)), groups]
        others = (outputs.sum(axis=1) - own) / (outputs.shape[1] - 1)
        wrong = 1 / (len(groups) + 2)
        softened = (1 - wrong) * own + wrong * others
        shares = outside.weights / outside.weights.sum()

        def loss(log_sharpness: float) -> float:
            t = np.exp(log_sharpness)
            return float(shares @ (logsumexp(t * outputs, axis=1) - t * softened))

        best: Any = minimize_scalar(loss, bounds=(-3.0, 6.0), method="bounded")
        self.sharpness_ = float(np.exp(best.x))

    def decision_function(self, X) -> Float[np.ndarray, "..."]:
        """The outputs of all classes; for two, how far the second is above the first."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X) -> np.ndarray:
        """The likeliest class of each input."""
        outputs = self._outputs(X)
        return self.classes_[np.argmax(outputs, axis=1)]

    def predict_proba(self, X) -> Float[np.ndarray, "n c"]:
        """The probability of each class, calibrated on samples held out of training."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X) -> Float[np.ndarray, "n c"]:
        """The logarithm of `predict_proba`."""
        outputs = self._outputs(X)
        outputs = self.sharpness_ * outputs
        return outputs - np.asarray(logsumexp(outputs, axis=1, keepdims=True))


def _check_squares(what: str, variance: Any) -> None:
    if not np.all(np.isfinite(variance)):
        message = f"Expected {what} whose squares are finite. Received: larger numbers; choose "
        message += "another unit."
        raise ValueError(message)
