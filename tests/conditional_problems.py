"""Learning problems with a first layer after a step, on which Monte Carlo judges curves."""

import math

import jax.numpy as jnp
import numpy as np
from scipy import linalg

from twolayer.activations import activation_of, relu
from twolayer.inputs import Gaussian, GaussianMixture
from twolayer.networks import TwoLayerNetwork
from twolayer.targets import SingleIndex
from twolayer.tasks import Classification, Regression

VALUES = {"relu": lambda z: np.maximum(z, 0.0), "tanh": np.tanh, "sin": np.sin}
SLOPES = {"relu": lambda z: (z > 0) * 1.0, "tanh": lambda z: 1 - np.tanh(z) ** 2}


class Problem:
    """The paper's setting in NumPy: a spiked mixture, a first layer after one step, samples.

    demir2025asymptotic, Section 2: ``f = w . s(F x) / sqrt(k)``, the plain gradient of the half
    mean square with rate n^(alpha beta), spikes n^(beta (1 - alpha)), xi along their sum.
    """

    def __init__(self, size, alpha, beta, name="relu", *, classes=False, mean=0.0, seed=0):
        self.rng = np.random.default_rng(seed)
        self.name, self.classes = name, classes
        n, k, m = size
        self.theta, eta = n ** (beta * (1 - alpha)), n ** (alpha * beta)
        spikes = self.rng.standard_normal((2, n))
        self.spikes = spikes / np.linalg.norm(spikes, axis=1, keepdims=True)
        centre = self.rng.standard_normal(n)
        self.mean = mean * centre / np.linalg.norm(centre)
        cosine = self.spikes[0] @ self.spikes[1]
        norm = 1 + self.theta * (1 + abs(cosine)) / 2
        total = self.spikes.sum(axis=0)
        self.xi = total / np.linalg.norm(total) / math.sqrt(norm)
        F = self.rng.standard_normal((k, n)) / math.sqrt(n + self.theta)
        w = self.rng.standard_normal(k) / math.sqrt(k)
        x, y = self.sample(m)
        z = x @ F.T
        residual = y - VALUES[name](z) @ w / math.sqrt(k)
        gradient = (residual[:, None] * SLOPES[name](z) * w).T @ x / (m * math.sqrt(k))
        self.W = F + eta * gradient
        self.directions = np.vstack([y @ x, self.spikes, self.mean])

    def sample(self, m):
        component = np.repeat([0, 1], [m // 2, m - m // 2])
        g = self.rng.standard_normal((m, len(self.xi)))
        spikes = self.spikes[component]
        along = np.sum(g * spikes, axis=1, keepdims=True)
        sign = 1.0 - 2 * component
        x = g + (math.sqrt(1 + self.theta) - 1) * along * spikes + sign[:, None] * self.mean
        return x, sign if self.classes else np.maximum(x @ self.xi, 0.0)

    @property
    def network(self):
        k = len(self.W)
        return TwoLayerNetwork(
            jnp.zeros(k), jnp.asarray(self.W), None, activation_of(self.name), k**-0.5
        )

    @property
    def task(self):
        inputs = GaussianMixture(
            [0.5, 0.5],
            np.stack([self.mean, -self.mean]),
            self.spikes[:, None],
            np.full((2, 1), self.theta),
        )
        if self.classes:
            return Classification(inputs, [1.0, -1.0])
        return Regression(inputs, SingleIndex(self.xi, relu))

    def monte_carlo(self, m, ridge, repeats, *, equivalent=None):
        """Mean and standard error of test, train and objective over training sets, W fixed."""
        runs = []
        for _ in range(repeats):
            runs.append(
                ridge_errors(self.features(m, equivalent), self.features(2000, equivalent), ridge)
            )
        return np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / math.sqrt(repeats)

    def features(self, m, equivalent=None):
        x, y = self.sample(m)
        z = x @ self.W.T
        if equivalent is None:
            values = VALUES[self.name](z)
        else:
            values = np.asarray(equivalent(jnp.asarray(z)))
            values = values + float(equivalent.noise) * self.rng.standard_normal(z.shape)
        return values / math.sqrt(len(self.W)), y


def ridge_errors(train, test, ridge):
    """Half mean squares: test, train, objective."""
    phi, y = train
    m, k = phi.shape
    if m >= k:
        w = linalg.solve(phi.T @ phi + ridge * m * np.eye(k), phi.T @ y, assume_a="pos")
    else:
        w = phi.T @ linalg.solve(phi @ phi.T + ridge * m * np.eye(m), y, assume_a="pos")
    residual = np.mean((y - phi @ w) ** 2) / 2
    error = np.mean((test[1] - test[0] @ w) ** 2) / 2
    return np.array([error, residual, residual + ridge / 2 * (w @ w)])


def three(curves):
    return np.array([part.value[0] for part in (curves.test, curves.train, curves.objective)])


def agree(expected, mean, sem):
    """Within 3 standard errors, or 3 % (test) and 7 % (train, objective: their bias is 1 / m)."""
    return np.abs(expected - mean) < np.maximum(3 * sem, np.array([0.03, 0.07, 0.07]) * mean)


class MaximalStep:
    """cui2024asymptotics: constant read-out, rate of the maximal order, single-index teacher."""

    def __init__(self, name, link, dim, rate, step_ratio, seed=0):
        self.rng = np.random.default_rng(seed)
        self.name, self.link = name, link
        W = self.rng.standard_normal((dim, dim)) / math.sqrt(dim)
        self.teacher = np.eye(dim)[0]
        x = self.rng.standard_normal((int(step_ratio * dim), dim))
        z = x @ W.T
        residual = VALUES[link](x[:, 0]) - VALUES[name](z).mean(axis=1)
        self.v = residual @ x
        self.W = W + rate * (residual[:, None] * SLOPES[name](z)).T @ x / len(x)

    def monte_carlo(self, m, ridge, repeats, num_test=4000):
        runs = [
            ridge_errors(self._features(m), self._features(num_test), ridge) for _ in range(repeats)
        ]
        return np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / math.sqrt(repeats)

    def _features(self, m):
        x = self.rng.standard_normal((m, len(self.teacher)))
        return VALUES[self.name](x @ self.W.T) / math.sqrt(len(self.W)), VALUES[self.link](x[:, 0])

    def parts(self):
        dim = len(self.teacher)
        network = TwoLayerNetwork(
            jnp.zeros(dim), jnp.asarray(self.W), None, activation_of(self.name), dim**-0.5
        )
        task = Regression(Gaussian(dim), SingleIndex(self.teacher, activation_of(self.link)))
        return network, task, self.v[None]
