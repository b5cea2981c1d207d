"""Simplified gradients against their two bare matrix products, and how long feature sets take.

The products are those of inputs with weights and of the indicator with inputs, in NumPy, block
after block as ours. Peak memory is that of a process of its own, inputs included. Feature sets are
extracted from gradients of three kinds: noise, where there is nothing to find, two hundred
clusters, and one.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from functools import partial

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(__doc__, neurons=10_000, samples=100_000, dim=500, repeats=3, peak=0)

import jax  # noqa: E402
import numpy as np  # noqa: E402

from twolayer.inputs import Hypercube  # noqa: E402
from twolayer.targets import Parity  # noqa: E402
from twolayer.tasks import Regression  # noqa: E402
from twolayer.theory.gradient_features.feature_sets import feature_set  # noqa: E402
from twolayer.theory.gradient_features.simplified_gradient import (  # noqa: E402
    dataset_gradient,
    sampled_gradient,
)

BLOCK = 2048


def data():
    """Inputs, labels and weights in single precision."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((OPTIONS.samples, OPTIONS.dim), np.float32)
    y = np.sign(x[:, 0] * x[:, 1])
    return x, y, rng.standard_normal((OPTIONS.neurons, OPTIONS.dim), np.float32)


def bare(x, W):
    """The two products alone; the indicator's place is taken by what the first one gives."""
    total = np.zeros_like(W)
    z = np.empty((BLOCK, len(W)), np.float32)
    for i in range(0, len(x), BLOCK):
        part = x[i : i + BLOCK]
        np.matmul(part, W.T, out=z[: len(part)])
        total += z[: len(part)].T @ part
    return total


def check(x, y, W):
    """A few neurons' gradients in double precision.

    Raises
    ------
    SystemExit
        If they differ by more than single precision explains.
    """
    W = W[:20].astype(float)
    expected = ((x @ W.T > 0) * y[:, None]).T @ x.astype(float) / len(x)
    gap = np.max(np.abs(dataset_gradient(x, y, W).value - expected))
    # an input next to a neuron's hyperplane may fall on its other side
    if gap > 1e-5 + 10 * np.max(np.abs(x)) / len(x):
        sys.exit(f"gradients differ from those in double precision by {gap}")


def streamed():
    """Gradients of samples drawn on the way, in flat memory."""
    task = Regression(Hypercube(OPTIONS.dim), Parity((0, 1)))
    W = np.random.default_rng(1).standard_normal((OPTIONS.neurons, OPTIONS.dim))
    return sampled_gradient(task, W, num_samples=OPTIONS.samples, key=jax.random.key(0))


def peak(kind):
    """Gibibytes that one run takes at most, in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(OPTIONS.threads), "--peak", str(kind)]
    for name in ("neurons", "samples", "dim"):
        command += [f"--{name}", str(getattr(OPTIONS, name))]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def gradients(kind):
    """Gradients to extract features from."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((OPTIONS.neurons, OPTIONS.dim))
    if kind == "noise":
        return noise
    centres = rng.standard_normal((200 if kind == "clusters" else 1, OPTIONS.dim))
    return centres[rng.integers(len(centres), size=OPTIONS.neurons)] + 0.1 * noise


def extract(kind):
    """Seconds of wall clock and of processor, and how many features there are."""
    G, b = gradients(kind), np.ones(OPTIONS.neurons)
    runs = []
    for _ in range(OPTIONS.repeats):
        start, busy = time.perf_counter(), time.process_time()
        found = feature_set(G, b, gamma=0.05, least_norm=0.0, least_probability=0.001, held_out=0.0)
        runs.append((time.perf_counter() - start, time.process_time() - busy))
    wall, processor = (summary(list(part)) for part in zip(*runs, strict=True))
    row = {"gradients": kind, "features": len(found), "wall": wall, "processor": processor}
    print(
        f"feature set, {kind:8}: {wall['median']:5.2f} s ({processor['median']:.2f} s of processor)"
        f", {len(found)} features",
        flush=True,
    )
    return row


def main():
    """Memory, gradients, feature sets."""
    sizes = f"{OPTIONS.neurons} neurons, {OPTIONS.samples} samples, dim {OPTIONS.dim}"
    print(f"{sizes}, threads={OPTIONS.threads}")
    rows = [{"run": kind, "peak_gibibytes": peak(k + 1)} for k, kind in enumerate(KINDS)]
    print(", ".join(f"{row['run']}: peak {row['peak_gibibytes']:.2f} GiB" for row in rows))
    x, y, W = data()
    check(x, y, W)
    runs = {"bare": partial(bare, x, W), "ours": partial(dataset_gradient, x, y, W)}
    seconds = alternate(runs, OPTIONS.repeats)
    row: dict = {side: summary(taken) for side, taken in seconds.items()}
    row["times_slower"] = ratios(seconds["ours"], seconds["bare"])
    slower = row["times_slower"]
    print(
        f"gradients: bare {row['bare']['median']:.2f} s, ours {row['ours']['median']:.2f} s, "
        f"{slower['median']:.2f} ({slower['min']:.2f}-{slower['max']:.2f}) times slower",
        flush=True,
    )
    rows += [row, *(extract(kind) for kind in ("noise", "clusters", "one"))]
    write("gradient_features", OPTIONS, rows)


KINDS = {"given samples": lambda: dataset_gradient(*data()), "drawn samples": streamed}

if __name__ == "__main__":
    if OPTIONS.peak:
        list(KINDS.values())[OPTIONS.peak - 1]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    else:
        main()
