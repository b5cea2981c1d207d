"""One step of noisy gradient descent against its two bare matrix products, and against PyTorch.

The products are those of the forward and the backward pass. Each is measured as one product of
all samples and as one of a cache-sized block after the other, and ours is held against the faster.
A second table holds the memory of a step against the number of samples.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(__doc__, particles=4096, samples=4096, dim=256, steps=3, child=0)

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from twolayer.activations import tanh  # noqa: E402
from twolayer.dynamics.langevin import Langevin  # noqa: E402
from twolayer.free_energy import FreeEnergy  # noqa: E402

torch = None
if not OPTIONS.child:
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: our side alone")

STEP, DECAY, TEMPERATURE = 0.1, 0.1, 0.01


def data():
    """Inputs and labels in single precision."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((OPTIONS.samples, OPTIONS.dim), np.float32)
    x /= np.sqrt(np.float32(OPTIONS.dim))
    return x, np.tanh(x[:, :1] * x[:, 1:2] * np.float32(OPTIONS.dim))


def problem():
    return FreeEnergy(*map(jnp.asarray, data()), tanh, DECAY, DECAY, TEMPERATURE)


def ours(num_steps):
    """Steps in one compiled loop."""
    algorithm, task = Langevin(STEP), problem()
    key = jax.random.key(0)
    particles = task.reference(OPTIONS.particles, key=key)
    state = algorithm.start(task, particles, key=key)
    advance = eqx.filter_jit(algorithm.advance)
    ticks = tuple(jnp.asarray(tick, jnp.int32) for tick in (0, num_steps, num_steps))
    return lambda: jax.block_until_ready(advance(task, state, ticks, key=key))


def bare(num_steps, block):
    """The two products alone, as often: ``z = W x^T`` and ``z x``, which is the next W.

    All samples are taken at once, or in blocks.
    """
    x = jnp.asarray(data()[0])
    n, N = x.shape[0], OPTIONS.particles
    W = jax.random.normal(jax.random.key(1), (N, OPTIONS.dim))

    @jax.jit
    def products(W):
        def step(_, W):
            def part(k, total):
                rows = jax.lax.dynamic_slice_in_dim(x, k * block, block)
                return total + jax.lax.optimization_barrier(W @ rows.T) @ rows

            return jax.lax.fori_loop(0, n // block, part, jnp.zeros_like(W)) / n

        return jax.lax.fori_loop(0, num_steps, step, W)

    return lambda: jax.block_until_ready(products(W))


def eager(num_steps):
    """The same step in PyTorch: products, tanh and noise, gradients by hand."""
    x, y = map(torch.from_numpy, data())
    N, n = OPTIONS.particles, OPTIONS.samples
    a, W = torch.randn(N, 1), torch.randn(N, OPTIONS.dim)

    def run():
        nonlocal a, W
        noise = torch.randn_like(a), torch.randn_like(W)
        for _ in range(num_steps):
            s = torch.tanh(x @ W.T)
            r = (s @ a / N - y) / n
            to_a = s.T @ r + DECAY * a
            to_W = a * (((1 - s * s) * r).T @ x) + DECAY * W
            fresh = torch.randn_like(a), torch.randn_like(W)
            size = (TEMPERATURE * STEP / 2) ** 0.5
            a = a - STEP * to_a + size * (noise[0] + fresh[0])
            W = W - STEP * to_W + size * (noise[1] + fresh[1])
            noise = fresh

    return run


def autograd(num_steps):
    """The step of the tutorials: loss, backward, update."""
    x, y = map(torch.from_numpy, data())
    N = OPTIONS.particles
    a, W = (torch.randn(N, k).requires_grad_() for k in (1, OPTIONS.dim))

    def run():
        for _ in range(num_steps):
            loss = ((torch.tanh(x @ W.T) @ a / N - y) ** 2).mean() * (N / 2)
            loss = loss + DECAY / 2 * ((a * a).sum() + (W * W).sum())
            loss.backward()
            with torch.no_grad():
                for weight in (a, W):
                    noise = torch.randn_like(weight) * (2 * TEMPERATURE * STEP) ** 0.5
                    weight += noise - STEP * weight.grad
                    weight.grad = None

    return run


def peak_memory():
    """The most memory that this process held, in MiB, after a step."""
    ours(1)()
    status = Path("/proc/self/status")  # what getrusage says, a child inherits from its parent
    if not status.exists():
        return math.nan
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory_of(num_samples):
    """The same of a fresh process."""
    options = [f"--{name}={getattr(OPTIONS, name)}" for name in ("threads", "particles", "dim")]
    command = [sys.executable, __file__, *options, f"--samples={num_samples}", "--child=1"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(found.stdout)


def main():
    steps = OPTIONS.steps
    runs = {"twolayer": ours(steps)}
    blocks = [block for block in (128, 256, 512) if OPTIONS.samples % block == 0]
    for block in [*blocks, OPTIONS.samples]:
        runs[f"bare products, blocks of {block}"] = bare(steps, block)
    if torch is not None:
        torch.set_num_threads(OPTIONS.threads)
        runs |= {"torch eager by hand": eager(steps), "torch eager autograd": autograd(steps)}
    seconds = alternate(runs, OPTIONS.repeats)
    products = [taken for name, taken in seconds.items() if name.startswith("bare")]
    fastest = min(products, key=lambda taken: summary(taken)["median"])
    rows = []
    print(f"{'':32} {'ms min':>8} {'ms median':>9} {'of the products':>16} {'of ours':>8}")
    for name, taken in seconds.items():
        milliseconds = summary([1e3 * second / steps for second in taken])
        of_products, of_ours = ratios(taken, fastest), ratios(taken, seconds["twolayer"])
        rows.append({"run": name, "milliseconds_per_step": milliseconds})
        rows[-1] |= {"of_bare_products": of_products, "of_ours": of_ours}
        print(
            f"{name:32} {milliseconds['min']:8.1f} {milliseconds['median']:9.1f}"
            f" {of_products['median']:16.2f} {of_ours['median']:8.2f}"
        )
    base = OPTIONS.samples
    for num_samples in (base, 16 * base, 32 * base):
        inputs = num_samples * OPTIONS.dim * 4 / 2**20
        mebibytes = memory_of(num_samples)
        rows.append({"samples": num_samples, "inputs_mib": inputs, "peak_mib": mebibytes})
        print(f"{num_samples:8} samples: inputs {inputs:7.0f} MiB, peak {mebibytes:7.0f} MiB")
    write("langevin_step", OPTIONS, rows)


if __name__ == "__main__":
    if OPTIONS.child:
        print(peak_memory())
    else:
        main()
