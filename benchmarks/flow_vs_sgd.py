"""The dimension-free flow against d-dimensional SGD of the same problem, to the same loss.

SGD runs to the horizon; the flow runs to the time at which its loss has fallen as far. A large
step leaves SGD above the flow, so a smaller one is measured beside it.
"""

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
STEPS = (0.1, 0.025)  # times 1 / d
TIMES = np.array([0.0, OPTIONS.horizon])


def sgd(step):
    """Loss of one seed of one-pass SGD at the horizon, in single precision."""
    dim = OPTIONS.dim
    initialise = partial(tl.mean_field_network, OPTIONS.width, dim, tl.cos_sin)
    task = tl.Regression(tl.Gaussian(dim), tl.Polynomial(TARGET))
    run = simulate(
        SGD(step / dim), in_single_precision(initialise), task, times=TIMES, key=jax.random.key(0)
    )
    return float(run.value[0, -1])


def flow(dim, times):
    """Losses of the infinitely wide network, without their error estimate."""
    options = {"activation": "cos_sin", "times": times, "dim": dim, "estimate_error": False}
    return mean_field_flow(TARGET, **options).loss.value


def flow_to(loss, dim):
    """A run of the flow that ends when its loss is as low."""
    grid = np.linspace(0.0, OPTIONS.horizon, 401)
    time = grid[np.argmax(flow(dim, grid) <= loss)]
    return partial(flow, dim, np.array([0.0, time])), float(time)


def measure(step):
    """Rows of one step of SGD."""
    loss = sgd(step)
    to_limit, limit_time = flow_to(loss, float("inf"))
    to_finite, finite_time = flow_to(loss, float(OPTIONS.dim))
    runs = {
        f"SGD, step {step}/d": partial(sgd, step),
        f"flow, d = {OPTIONS.dim}": to_finite,
        "flow, d = infinity": to_limit,
    }
    end = dict(zip(runs, (OPTIONS.horizon, finite_time, limit_time), strict=True))
    seconds = alternate(runs, OPTIONS.repeats)
    first = next(iter(runs))
    rows = []
    for name, taken in seconds.items():
        row = {"run": name, "loss": loss, "end_time": end[name], "seconds": summary(taken)}
        row |= {"sgd_takes_longer": ratios(seconds[first], taken)}
        rows.append(row)
        s, r = row["seconds"], row["sgd_takes_longer"]
        spread = f"{r['median']:.1f} ({r['min']:.1f}-{r['max']:.1f})"
        print(
            f"{name:20} {loss:7.4f} {end[name]:6.2f} {s['min']:9.4f} {s['median']:9.4f}  {spread}"
        )
    return rows


if __name__ == "__main__":
    print(f"{TARGET}, cos_sin, d={OPTIONS.dim} m={OPTIONS.width} to t={OPTIONS.horizon}")
    print(f"{'run':20} {'loss':>7} {'time':>6} {'s min':>9} {'s median':>9}  SGD takes longer by")
    write("flow_vs_sgd", OPTIONS, [row for step in STEPS for row in measure(step)])
