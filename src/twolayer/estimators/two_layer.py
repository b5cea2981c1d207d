"""Two-layer networks as scikit-learn estimators: five ways to train them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from twolayer.estimators.base import Classifier, Model, Regressor, Samples
from twolayer.estimators.first_layers import (
    first_gradient,
    layerwise_layer,
    one_step_layer,
    redrawn_layer,
)
from twolayer.estimators.random_features import random_neurons, relu_features
from twolayer.estimators.ridge import ReadOut, choose, folds, penalties_of, read_outs
from twolayer.networks import check_positive

SOLVERS = ("recursive", "one_step", "layerwise", "langevin", "sgd")

_STRENGTHS = (0.0, 1.0, 3.0)  # lengths of the one step, 0 for random features
_ROUNDS = (1, 2, 4)  # after a step of length 3, how often neurons are drawn anew
_KINKS = (0.3, 1.0)  # biases of the layer-wise algorithm
_FEWEST = 20  # samples of which some are held out
_PASSES = {"langevin": 400, "sgd": 200}


def _trains_in_passes(model: Any) -> bool:
    return model.solver == "sgd"


class _TwoLayer(Model):
    """The part that regressor and classifier share."""

    width: int
    solver: str
    penalty: float | str
    learning_rate: float
    batch_size: int
    max_iter: int | None
    early_stopping: bool
    warm_start: bool

    def _fit(self, samples: Samples, generator: np.random.RandomState) -> None:
        check_positive(width=self.width, batch_size=self.batch_size)
        if self.solver not in SOLVERS:
            message = f"Expected a solver among {', '.join(SOLVERS)}. Received: {self.solver!r}."
            raise ValueError(message)
        if not 0 < self.learning_rate < np.inf:
            message = "Expected a positive learning rate. "
            message += f"Received: {self.learning_rate!r}."
            raise ValueError(message)
        if self.max_iter is not None:
            check_positive(max_iter=self.max_iter)
        if self.solver == "sgd":
            self._fit_by_descent(samples, generator)
        elif self.solver == "langevin":
            self._fit_by_langevin(samples, generator)
        else:
            self._fit_by_gradient(samples, generator)

    def _fit_by_gradient(self, samples: Samples, generator: np.random.RandomState) -> None:
        """One gradient of the first layer, then ridge regression, both chosen by hold-out."""
        W, b = random_neurons(self.width, samples.x.shape[1], generator)
        a = generator.standard_normal((self.width, samples.y.shape[1])).astype(np.float32)
        last: list[Any] = [None, None, None]

        def gradient(inside: Samples, bias: Any) -> Any:
            """That of the last samples and biases is kept: all strengths share it."""
            if last[0] is not inside.x or last[1] is not bias:
                last[:] = inside.x, bias, first_gradient(W, bias, a, inside)
            return last[2]

        def stepped(strength: float) -> Any:
            return lambda inside: one_step_layer(W, b, gradient(inside, b), strength)

        def layered(kink: float) -> Any:
            bias = np.where(np.arange(self.width) % 2 == 0, kink, -kink).astype(np.float32)
            return lambda inside: layerwise_layer(gradient(inside, bias), inside, kink)

        path: list[Any] = []  # samples, then the layer after each round: longer candidates go on

        def redrawn(rounds: int) -> Any:
            def layer(inside: Samples) -> Any:
                if not path or path[0] is not inside.x:
                    path[:] = inside.x, stepped(_STRENGTHS[-1])(inside)
                while len(path) < rounds + 2:
                    now, bias = path[-1]
                    path.append((redrawn_layer(now, bias, int(seeds[len(path) - 2]), inside), bias))
                return path[rounds + 1]

            return layer

        if self.solver == "layerwise":
            layers, steps = [layered(kink) for kink in _KINKS], _KINKS
        elif self.solver == "one_step":
            layers, steps = [stepped(strength) for strength in _STRENGTHS], _STRENGTHS
        else:
            seeds = generator.randint(2**31, size=_ROUNDS[-1])
            steps = (0.0, *(float(_STRENGTHS[-1]) for _ in (0, *_ROUNDS)))
            layers = [stepped(0.0), stepped(_STRENGTHS[-1]), *map(redrawn, _ROUNDS)]
        makers = [lambda inside, layer=layer: _features_of(*layer(inside)) for layer in layers]
        choice = choose(samples, makers, penalties_of(self.penalty), generator)
        self.penalty_ = choice.penalty
        self.step_ = steps[choice.candidate]
        self.rounds_ = (0, 0, *_ROUNDS)[choice.candidate] if self.solver == "recursive" else 0
        self._calibrate(choice.outputs, choice.outside)
        self.initial_weights_ = W
        self.weights_, self.biases_ = layers[choice.candidate](samples)
        self.median_gradient_ = float(np.median(np.linalg.norm(last[2], axis=1)))
        features = _features_of(self.weights_, self.biases_)
        (self.read_out_,) = read_outs(
            features, samples.x, samples.y, samples.weights, (self.penalty_,)
        )
        self.n_iter_ = 1

    def _fit_by_descent(self, samples: Samples, generator: np.random.RandomState) -> None:
        from twolayer.estimators.descent import descend, initial_state

        inside, outside = samples, None
        if self.early_stopping:
            inside, outside = _held_out(samples, generator)
        shape = self.width, samples.x.shape[1], samples.y.shape[1]
        state = getattr(self, "state_", None) if self.warm_start else None
        if state is None or (state.parameters[0].shape, state.parameters[2].shape) != (
            shape[:2],
            shape[::2],
        ):
            state = initial_state(*shape, generator)
            self.initial_weights_ = np.asarray(state.parameters[0])
        found = descend(
            state,
            inside,
            outside,
            generator,
            learning_rate=self.learning_rate,
            decay=_number(self.penalty, 1e-2),
            batch=self.batch_size,
            passes=self.max_iter or _PASSES["sgd"],
            patience=10,
        )
        self._take(found)
        if outside is not None:
            self._calibrate(self._raw_outputs(outside.x), outside)

    def _take(self, found: Any) -> None:
        W, b, a, c = (np.asarray(part) for part in found.state.parameters)
        self.state_, self.loss_curve_ = found.state, found.loss
        self.weights_, self.biases_ = W, b
        self.read_out_ = ReadOut(a.astype(np.float64), c.astype(np.float64))
        self.n_iter_ = len(found.loss)

    def _fit_by_langevin(self, samples: Samples, generator: np.random.RandomState) -> None:
        """Noisy gradient descent at a low temperature, on all samples at a time.

        Of classes a fifth is held out: outputs on training samples flatter the probabilities.
        """
        import jax
        import jax.numpy as jnp

        from twolayer.activations import relu
        from twolayer.dynamics.langevin import Langevin, train_langevin
        from twolayer.free_energy import FreeEnergy, Particles, with_bias

        outside = None
        if samples.groups is not None:
            samples, outside = _held_out(samples, generator)
        number, shares = len(samples.x), samples.weights / samples.weights.sum()
        rows = np.arange(number)
        if np.ptp(shares) > 0:  # the free energy knows no weights: draw by them
            rows = generator.choice(number, number, p=shares)
        mean = np.average(samples.y, axis=0, weights=samples.weights)
        x = with_bias(samples.x[rows])
        y = (samples.y - mean)[rows].astype(np.float32)
        d = x.shape[1]
        temperature = 1e-5
        decay = _number(self.penalty, 1e-3)
        problem = FreeEnergy(x, y, relu, decay, decay, temperature)
        W = generator.standard_normal((self.width, d)) / np.sqrt(d)
        a = generator.standard_normal((self.width, y.shape[1]))
        start = Particles(jnp.asarray(a, jnp.float32), jnp.asarray(W, jnp.float32))
        steps = self.max_iter or _PASSES["langevin"]
        step = 0.5 * self.learning_rate / 1e-3
        key = jax.random.key(int(generator.randint(2**31)))
        for smaller in (1, 4, 16, 64):  # the largest stable step depends on the inputs' covariance
            size = step / smaller
            run = train_langevin(Langevin(size), problem, start, times=[0.0, size * steps], key=key)
            if run.trajectory.status[0] == "finished":
                break
        else:
            message = "Training diverged: choose a smaller learning rate. "
            message += str(run.trajectory.details.get("advice", ""))
            raise ValueError(message)
        self.initial_weights_ = W[:, :-1].astype(np.float32)
        whole = np.asarray(run.particles.W)[0]
        self.weights_, self.biases_ = whole[:, :-1], whole[:, -1]
        a = np.asarray(run.particles.a, np.float64)[0] / self.width
        self.read_out_ = ReadOut(a, mean)
        self.n_iter_ = steps
        if outside is not None:
            self._calibrate(self._raw_outputs(outside.x), outside)

    def _raw_outputs(self, x):
        read: ReadOut = self.read_out_
        return relu_features(self.weights_, self.biases_, x) @ read.coefficients + read.intercept

    @available_if(_trains_in_passes)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One pass over more samples (``solver="sgd"`` only).

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes
            All classes that will occur, for the first call of a classifier.
        """
        from twolayer.estimators.descent import descend, initial_state

        first = not hasattr(self, "state_")
        if first:
            self._announced = None if classes is None else np.unique(classes)
        samples = self._samples(X, y, sample_weight, reset=first)
        generator = check_random_state(self.random_state)
        if first:
            check_positive(width=self.width, batch_size=self.batch_size)
            shape = self.width, samples.x.shape[1], samples.y.shape[1]
            self.state_ = initial_state(*shape, generator)
            self.initial_weights_ = np.asarray(self.state_.parameters[0])
        found = descend(
            self.state_,
            samples,
            None,
            generator,
            learning_rate=self.learning_rate,
            decay=_number(self.penalty, 1e-2),
            batch=self.batch_size,
            passes=1,
            patience=1,
        )
        self._take(found)
        return self


def _held_out(samples: Samples, generator: np.random.RandomState) -> tuple[Samples, Samples | None]:
    """Training samples and a fifth held out, none of fewer than 20."""
    if len(samples.x) < _FEWEST:
        return samples, None
    part = folds(len(samples.x), samples.groups, generator)[0]
    rest = np.setdiff1d(np.arange(len(samples.x)), part)
    return samples.rows(rest), samples.rows(part)


def _features_of(W: Any, b: Any) -> Any:
    return lambda x: relu_features(W, b, x)


def _number(penalty: float | str, automatic: float) -> float:
    return automatic if penalty == "auto" else penalties_of(penalty)[0]


class TwoLayerRegressor(Regressor, _TwoLayer):
    """A two-layer ReLU network that predicts numbers.

    Parameters
    ----------
    width
        The number of neurons.
    solver
        ``"recursive"``: one gradient step on the first layer, then up to four rounds in which
        neurons are drawn anew along the directions that the network so far reads (the recursive
        feature machine of radhakrishnan2024mechanism, with random features for its kernel); how
        many rounds, whether any step at all, and the penalty of the ridge regression on top are
        chosen on held-out samples. ``"one_step"``: one gradient step, its length (none among the
        choices) and the penalty chosen likewise; the fastest.
        ``"layerwise"``: the first layer is the gradient alone, as in Algorithm 1 of
        shi2023provable; ridge regression on top. ``"langevin"``: noisy gradient descent of both
        layers at a low temperature. ``"sgd"``: Adam on mini-batches.
    penalty
        Of the ridge regression, or weight decay of the solvers that train both layers;
        ``"auto"`` chooses it on held-out samples, or takes a small one.
    learning_rate
        Of ``"sgd"``; ``"langevin"`` takes it relative to 0.001.
    batch_size
        Samples of a step of ``"sgd"``.
    max_iter
        At most so many passes of ``"sgd"``, or steps of ``"langevin"``.
    early_stopping
        Whether ``"sgd"`` keeps a fifth of the samples to decide when to stop.
    warm_start
        Whether ``"sgd"`` goes on from where the last call of `fit` ended.
    random_state
        Seed of weights, order of samples and hold-out.

    Attributes
    ----------
    weights_, biases_
        The first layer, for scaled inputs.
    initial_weights_
        The same before training.
    n_iter_
        Passes or steps taken.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((600, 10))
    >>> model = TwoLayerRegressor(random_state=0).fit(X[:500], X[:500, 0] ** 2)
    >>> bool(model.score(X[500:], X[500:, 0] ** 2) > 0.8)
    True
    """

    def __init__(
        self, width=500, *, solver="recursive", penalty="auto", learning_rate=1e-3, batch_size=64,
        max_iter=None, early_stopping=True, warm_start=False, random_state=None,
    ):  # fmt: skip
        self.width = width
        self.solver = solver
        self.penalty = penalty
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.warm_start = warm_start
        self.random_state = random_state


class TwoLayerClassifier(Classifier, _TwoLayer):
    """A two-layer ReLU network that predicts classes.

    Parameters
    ----------
    width
        The number of neurons.
    solver
        ``"recursive"``: one gradient step on the first layer, then up to four rounds in which
        neurons are drawn anew along the directions that the network so far reads (the recursive
        feature machine of radhakrishnan2024mechanism, with random features for its kernel); how
        many rounds, whether any step at all, and the penalty of the ridge regression on top are
        chosen on held-out samples. ``"one_step"``: one gradient step, its length (none among the
        choices) and the penalty chosen likewise; the fastest.
        ``"layerwise"``: the first layer is the gradient alone, as in Algorithm 1 of
        shi2023provable; ridge regression on top. ``"langevin"``: noisy gradient descent of both
        layers at a low temperature. ``"sgd"``: Adam on mini-batches.
    penalty
        Of the ridge regression, or weight decay of the solvers that train both layers;
        ``"auto"`` chooses it on held-out samples, or takes a small one.
    learning_rate
        Of ``"sgd"``; ``"langevin"`` takes it relative to 0.001.
    batch_size
        Samples of a step of ``"sgd"``.
    max_iter
        At most so many passes of ``"sgd"``, or steps of ``"langevin"``.
    early_stopping
        Whether ``"sgd"`` keeps a fifth of the samples to decide when to stop.
    warm_start
        Whether ``"sgd"`` goes on from where the last call of `fit` ended.
    random_state
        Seed of weights, order of samples and hold-out.

    Attributes
    ----------
    weights_, biases_
        The first layer, for scaled inputs.
    initial_weights_
        The same before training.
    classes_
        The classes.
    n_iter_
        Passes or steps taken.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((600, 10))
    >>> y = np.where(np.abs(X[:, 0]) > np.abs(X[:, 1]), "first", "second")
    >>> model = TwoLayerClassifier(random_state=0).fit(X[:500], y[:500])
    >>> bool(model.score(X[500:], y[500:]) > 0.8)
    True
    """

    def __init__(
        self, width=500, *, solver="recursive", penalty="auto", learning_rate=1e-3, batch_size=64,
        max_iter=None, early_stopping=True, warm_start=False, random_state=None,
    ):  # fmt: skip
        self.width = width
        self.solver = solver
        self.penalty = penalty
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.warm_start = warm_start
        self.random_state = random_state
