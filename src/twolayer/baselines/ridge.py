"""What all baselines share: ridge regression on labels -1 and 1, tuned on held-out samples."""

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

from twolayer.tasks import binary_labels

PENALTIES = (1e-6, 1e-4, 1e-2, 1.0)
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


class KernelBaseline(RidgeBaseline):
    """Kernel ridge regression; a kernel is one more method."""

    @abstractmethod
    def _kernel(
        self, x: Float[np.ndarray, "n d"], z: Float[np.ndarray, "k d"] | None, bandwidth: float
    ) -> Float[np.ndarray, "n k"]:
        """The kernel of all pairs; those of x with itself where z is ``None``."""

    def _solve(self, inside, y, bandwidth):
        gram = self._kernel(inside, None, bandwidth)
        size = mean_diagonal(gram)
        return {p: ridge_solution(gram, p * size, y) for p in self.penalties}

    def _outputs(self, inside, coefficients, outside, bandwidth):
        return self._kernel(outside, inside, bandwidth) @ coefficients


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


def mean_diagonal(gram: Float[np.ndarray, "n n"]) -> float:
    """The mean diagonal entry, 1 where it is 0."""
    return float(np.mean(np.diag(gram))) or 1.0


def ridge_solution(
    gram: Float[np.ndarray, "n n"], penalty: float, right: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """``(gram + penalty I)^{-1} right``."""
    shifted = gram.copy()
    shifted[np.diag_indices_from(shifted)] += penalty
    return cho_solve(cho_factor(shifted, lower=True, overwrite_a=True), right)
