"""Our one-pass SGD against the same algorithm as a PyTorch loop."""

from __future__ import annotations

from functools import partial

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(__doc__, dim=256, width=600, steps=8192, seeds=8)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import torch_loops  # noqa: E402

import twolayer as tl  # noqa: E402
from twolayer.dynamics import SGD, train  # noqa: E402
from twolayer.dynamics.simulate import stack  # noqa: E402

ACTIVATIONS = {"tanh": tl.tanh, "cos_sin": tl.cos_sin}


def size(network):
    """Something to observe that costs nothing."""
    return jnp.sum(network.a)


def ours(activation, num_seeds):
    """A run of all seeds in one compiled program, in single precision."""
    dim, learning_rate = OPTIONS.dim, 0.1 / OPTIONS.dim
    task = tl.Regression(tl.Gaussian(dim), tl.Polynomial("z1 + z1*z2"))
    keys = jax.random.split(jax.random.key(0), num_seeds)
    initialise = partial(tl.mean_field_network, OPTIONS.width, dim, activation)
    networks = stack([initialise(key=key) for key in keys])
    return lambda: train(
        SGD(learning_rate),
        networks,
        task,
        times=[OPTIONS.steps * learning_rate],
        keys=keys,
        observe=size,
    )


def measure(name, num_seeds):
    """Rows of one activation and number of seeds."""
    runs = {"twolayer": ours(ACTIVATIONS[name], num_seeds)}
    runs |= torch_loops.loops(name, num_seeds, OPTIONS)
    seconds = alternate(runs, OPTIONS.repeats)
    rows = []
    for loop, taken in seconds.items():
        per_step = [1e6 * second / OPTIONS.steps / num_seeds for second in taken]
        row = {"activation": name, "seeds": num_seeds, "loop": loop}
        row |= {"microseconds_per_step": summary(per_step)}
        row |= {"times_slower": ratios(taken, seconds["twolayer"])}
        rows.append(row)
        micro, slower = row["microseconds_per_step"], row["times_slower"]
        print(
            f"{name:8} {num_seeds:5} {loop:28} {micro['min']:9.2f} {micro['median']:9.2f}"
            f" {slower['median']:8.2f} ({slower['min']:.2f}-{slower['max']:.2f})",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    print(f"d={OPTIONS.dim} m={OPTIONS.width} steps={OPTIONS.steps} threads={OPTIONS.threads}")
    print(f"{'s':8} {'seeds':>5} {'loop':28} {'us min':>9} {'us median':>9} {'slower':>8}")
    rows = [row for name in ACTIVATIONS for n in (1, OPTIONS.seeds) for row in measure(name, n)]
    write("sgd_step", OPTIONS, rows)
