"""The widest networks of Figure 1a of demir2025asymptotic: ours against the paper's description.

One trial is a network and its Hermite model of degree 3 after one step: both errors of both. The
description taken literally is a k x k system in double precision, the model's noise drawn for all
training and test samples, everything in memory at once; ours solves the smaller system in single
precision with refinement, takes the mean over the test noise, and holds a block of test samples.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial
from math import factorial

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(__doc__, samples=1000, repeats=3, peak=0, width=0)

import jax  # noqa: E402
import numpy as np  # noqa: E402

from twolayer.activations import activation_of  # noqa: E402
from twolayer.activations.hermite_equivalent import HermiteEquivalent  # noqa: E402
from twolayer.dynamics import in_single_precision  # noqa: E402
from twolayer.dynamics.one_step import OneStep, train_one_step  # noqa: E402
from twolayer.dynamics.readout import Ridge  # noqa: E402
from twolayer.experiments.one_step.setting import Setting, mixture_problem  # noqa: E402
from twolayer.networks import one_step_network  # noqa: E402

SETTING = Setting(OPTIONS.samples, OPTIONS.samples, 0.5, 0.74, 1e-4, 1, 0)
PROBLEM = mixture_problem(SETTING)
DEGREE = 3
RATIOS = (4, 5)
VALUE_AND_SLOPE = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def ours(name, width, trial):
    """Generalization and training error of network and model, of one trial."""
    function = activation_of(name)
    scale = (SETTING.dim / PROBLEM.trace) ** 0.5
    rows = train_one_step(
        OneStep(
            SETTING.learning_rate, Ridge(SETTING.ridge), SETTING.num_samples,
            5 * SETTING.num_samples,
        ),
        in_single_precision(
            partial(one_step_network, width, SETTING.dim, function, trace=PROBLEM.trace)
        ),
        PROBLEM.task,
        equivalents=[HermiteEquivalent.of(function, DEGREE, scale=scale)],
        trials=1,
        key=jax.random.key(trial),
    )  # fmt: skip
    return [float(part[0]) for row in rows for part in (row.generalization, row.training)]


def described(name, width, trial):
    """The same as the paper describes it, in NumPy."""
    rng = np.random.default_rng(trial)
    s, slope = VALUE_AND_SLOPE[name]
    n = m = SETTING.num_samples
    F = rng.standard_normal((width, n)) / np.sqrt(PROBLEM.trace)
    w = rng.standard_normal(width) / np.sqrt(width)
    x, y = sampled(rng, m)
    z = F @ x.T
    residual = y - w @ s(z) / np.sqrt(width)
    G = (w[:, None] * residual / np.sqrt(width) * slope(z)) @ x / m
    F = F + SETTING.learning_rate * G
    train, test = sampled(rng, m), sampled(rng, 5 * m)
    model = hermite_model(s, rng)
    return [error for f in (s, model) for error in errors(f, F, train, test)]


def sampled(rng, count):
    """Labelled samples of the mixture, each component half of them."""
    inputs = PROBLEM.task.inputs
    x = rng.standard_normal((count, SETTING.dim))
    for c, rows in enumerate((slice(0, count // 2), slice(count // 2, None))):
        gamma = np.asarray(inputs.directions[c, 0], dtype=float)
        root = np.sqrt(1 + float(inputs.strengths[c, 0])) - 1
        x[rows] += root * np.outer(x[rows] @ gamma, gamma)
    direction = np.asarray(PROBLEM.task.target.direction, dtype=float)
    return x, np.maximum(x @ direction, 0)


def hermite_model(s, rng):
    """The polynomial of the inputs plus fresh noise for every neuron and sample."""
    b = (SETTING.dim / PROBLEM.trace) ** 0.5
    grid = np.linspace(-10, 10, 20001)
    density = np.exp(-(grid**2) / 2) / np.sum(np.exp(-(grid**2) / 2))
    hermites = [1, grid, grid**2 - 1, grid**3 - 3 * grid]
    means = [density @ (h * s(b * grid)) for h in hermites]
    power = sum(mean**2 / factorial(j) for j, mean in enumerate(means))
    noise = np.sqrt(density @ s(b * grid) ** 2 - power)

    def model(z):
        u = z / b
        polynomial = means[0] + means[1] * u + means[2] / 2 * (u**2 - 1)
        polynomial += means[3] / 6 * (u**3 - 3 * u)
        return polynomial + noise * rng.standard_normal(z.shape)

    return model


def errors(f, F, train, test):
    """Generalization and penalised training error of the read-out on features f(F x)."""
    (x, y), (x_test, y_test) = train, test
    k, m = len(F), len(y)
    phi = f(F @ x.T) / np.sqrt(k)
    w = np.linalg.solve(phi @ phi.T + SETTING.ridge * m * np.eye(k), phi @ y)
    training = np.sum((y - phi.T @ w) ** 2) / (2 * m) + SETTING.ridge / 2 * w @ w
    output = f(F @ x_test.T).T @ w / np.sqrt(k)
    return float(np.mean((y_test - output) ** 2) / 2), float(training)


class Counted:
    """A run that takes a new trial at each call and keeps its errors."""

    def __init__(self, run):
        self.run, self.errors = run, []

    def __call__(self):
        """One trial more."""
        self.errors.append(self.run(trial=len(self.errors)))


def check(found):
    """Both sides' mean errors agree within five standard errors.

    Raises
    ------
    SystemExit
        If they do not.
    """
    means, spreads = [], []
    for run in found.values():
        values = np.asarray(run.errors)
        means.append(values.mean(axis=0))
        spreads.append(values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    far = np.abs(means[0] - means[1]) / np.hypot(*spreads)
    if np.any(far > 5):
        sys.exit(f"the two sides disagree: {means[0]} and {means[1]}, {far} standard errors apart")
    return [part.tolist() for part in means]


def peak(side, width):
    """Gibibytes that one trial takes at most, in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(OPTIONS.threads), "--peak", str(side)]
    command += ["--width", str(width), "--samples", str(OPTIONS.samples)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(run.stdout)


def measure(name, ratio):
    """A row of one activation and width."""
    width = ratio * SETTING.num_samples
    runs: dict = {side.__name__: Counted(partial(side, name, width)) for side in (described, ours)}
    seconds = alternate(runs, OPTIONS.repeats)
    row = {"activation": name, "width": width, "errors": check(runs)}
    row |= {side: summary(taken) for side, taken in seconds.items()}
    row["times_slower"] = ratios(seconds["described"], seconds["ours"])
    slower = row["times_slower"]
    print(
        f"{name:6} {width:6} {row['described']['median']:10.2f} {row['ours']['median']:8.2f}"
        f" {slower['median']:8.2f} ({slower['min']:.2f}-{slower['max']:.2f})",
        flush=True,
    )
    return row


def main():
    """The memory of the widest, then all rows."""
    width = max(RATIOS) * SETTING.num_samples
    # first: a new process counts what this one holds at that time
    memory = {side: peak(k, width) for k, side in ((1, "described"), (2, "ours"))}
    print(f"n = m = {OPTIONS.samples}, degree {DEGREE}, threads={OPTIONS.threads}")
    print(", ".join(f"{side} takes {size:.2f} GiB" for side, size in memory.items()))
    print(f"{'s':6} {'width':>6} {'described s':>10} {'ours s':>7} {'slower':>8}")
    rows = [measure(name, ratio) for name in VALUE_AND_SLOPE for ratio in RATIOS]
    rows.append({"width": width, "peak_gibibytes": memory})
    write("one_step", OPTIONS, rows)


if __name__ == "__main__":
    if OPTIONS.peak:
        (described, ours)[OPTIONS.peak - 1]("relu", OPTIONS.width, 0)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    else:
        main()
