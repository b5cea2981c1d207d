"""The dimension-free flow against d-dimensional SGD of the same problem, to the same loss."""

from __future__ import annotations

from functools import partial

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(__doc__, dim=256, width=600, horizon=20)

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)

import twolayer as tl  # noqa: E402
from twolayer.dynamics import SGD, in_single_precision, simulate  # noqa: E402
from twolayer.theory.mean_field import mean_field_flow  # noqa: E402

TARGET = "z1 + z1*z2"
TIMES = np.linspace(0.0, OPTIONS.horizon, 5)


def sgd():
    """Loss of one seed of one-pass SGD at the last time, in single precision."""
    dim = OPTIONS.dim
    initialise = partial(tl.mean_field_network, OPTIONS.width, dim, tl.cos_sin)
    task = tl.Regression(tl.Gaussian(dim), tl.Polynomial(TARGET))
    run = simulate(
        SGD(0.1 / dim), in_single_precision(initialise), task, times=TIMES, key=jax.random.key(0)
    )
    return run.value[0, -1]


def flow(dim):
    """Loss of the infinitely wide network at the last time, without its error estimate."""
    options = {"activation": "cos_sin", "times": TIMES, "dim": dim, "estimate_error": False}
    return mean_field_flow(TARGET, **options).loss.value[-1]


if __name__ == "__main__":
    runs = {
        "SGD": sgd,
        f"flow, d = {OPTIONS.dim}": partial(flow, float(OPTIONS.dim)),
        "flow, d = infinity": partial(flow, float("inf")),
    }
    print(f"{TARGET}, cos_sin, d={OPTIONS.dim} m={OPTIONS.width} to t={OPTIONS.horizon}")
    losses = {name: float(run()) for name, run in runs.items()}
    seconds = alternate(runs, OPTIONS.repeats)
    rows = []
    print(f"{'run':20} {'loss':>7} {'s min':>8} {'s median':>8}   SGD takes longer by")
    for name, taken in seconds.items():
        row = {"run": name, "loss": losses[name], "seconds": summary(taken)}
        row |= {"sgd_takes_longer": ratios(seconds["SGD"], taken)}
        rows.append(row)
        s, r = row["seconds"], row["sgd_takes_longer"]
        spread = f"{r['median']:.1f} ({r['min']:.1f}-{r['max']:.1f})"
        print(f"{name:20} {losses[name]:7.4f} {s['min']:8.3f} {s['median']:8.3f}   {spread}")
    write("flow_vs_sgd", OPTIONS, rows)
