"""One-pass SGD of a two-layer network in PyTorch.

The plain loop draws a sample, computes the loss, calls `backward` and steps an optimiser. The
others are its tuned versions: gradients by hand in place, samples drawn a thousand at a time,
several steps in one compiled function, all seeds in one batched product.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

try:
    import torch
except ImportError:
    torch = None

CHUNK = 1024  # samples drawn at a time
UNROLLED = 16  # steps in one compiled function, at best


def activate(name, z):
    """Value and slope of the activation."""
    if name == "tanh":
        value = torch.tanh(z)
        return value, 1 - value * value
    cosine, sine = torch.cos(z), torch.sin(z)
    return cosine + sine, cosine - sine


def step(name, rate, a, W, x, y):
    """One step of (2.3) in place."""
    value, slope = activate(name, W @ x)
    residual = rate * (y - (a @ value) / a.shape[0])
    W.addr_(residual * a * slope, x)
    a.add_(residual * value)


def batched_step(name, rate, a, W, x, y):
    """The same step of several networks at once."""
    value, slope = activate(name, torch.bmm(W, x[:, :, None])[:, :, 0])
    residual = rate * (y - (a * value).sum(1) / a.shape[1])
    push = residual[:, None] * a * slope
    W.baddbmm_(push[:, :, None], x[:, None, :])
    a.add_(residual[:, None] * value)


def several_steps(name, rate, a, W, x, y):
    """A few steps, for the compiler to fuse."""
    for k in range(UNROLLED):
        step(name, rate, a, W, x[k], y[k])


def loss(name, a, W, x):
    """Width times the loss of one sample, so that gradients carry no 1/m."""
    value, _ = activate(name, W @ x)
    return (x[0] + x[0] * x[1] - (a @ value) / a.shape[0]) ** 2 * (a.shape[0] / 2)


def plain(function, name, num_seeds, options):
    """The loop of the tutorials, one seed after the other."""

    def run():
        for _ in range(num_seeds):
            a, W = (weight.requires_grad_() for weight in networks(options))
            optimiser = torch.optim.SGD([a, W], lr=0.1 / options.dim)
            with torch.enable_grad():
                for _ in range(options.steps):
                    optimiser.zero_grad()
                    function(name, a, W, torch.randn(options.dim)).backward()
                    optimiser.step()

    return run


def loops(name: str, num_seeds: int, options: Namespace) -> dict[str, Callable[[], object]]:
    """The loops to measure, by name; none without PyTorch."""
    if torch is None:
        return {}
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    runs = {
        "torch plain eager": plain(loss, name, num_seeds, options),
        "torch plain compiled": plain(torch.compile(loss), name, num_seeds, options),
        "torch tuned eager": sequential(step, name, num_seeds, options),
        "torch tuned compiled": sequential(torch.compile(step), name, num_seeds, options),
    }
    if num_seeds == 1:
        chunked = torch.compile(several_steps)
        label = f"torch tuned compiled x{UNROLLED}"
        return runs | {label: sequential(chunked, name, 1, options, UNROLLED)}
    runs["torch tuned batched eager"] = batched(batched_step, name, num_seeds, options)
    runs["torch tuned batched compiled"] = batched(
        torch.compile(batched_step), name, num_seeds, options
    )
    return runs


def samples(*shape):
    """Standard normal inputs and the labels z1 + z1 z2."""
    x = torch.randn(*shape)
    return x, x[..., 0] + x[..., 0] * x[..., 1]


def networks(options, *shape):
    """Mean-field initial weights."""
    a = 2 * torch.rand(*shape, options.width) - 1
    return a, torch.randn(*shape, options.width, options.dim) / options.dim**0.5


def sequential(function, name, num_seeds, options, stride=1):
    """One seed after the other."""

    def run():
        for _ in range(num_seeds):
            a, W = networks(options)
            for _ in range(options.steps // CHUNK):
                x, y = samples(CHUNK, options.dim)
                for k in range(0, CHUNK, stride):
                    part = (x[k], y[k]) if stride == 1 else (x[k : k + stride], y[k : k + stride])
                    function(name, 0.1 / options.dim, a, W, *part)

    return run


def batched(function, name, num_seeds, options):
    """All seeds in one batched matrix product."""

    def run():
        a, W = networks(options, num_seeds)
        for _ in range(options.steps // CHUNK):
            x, y = samples(CHUNK, num_seeds, options.dim)
            for k in range(CHUNK):
                function(name, 0.1 / options.dim, a, W, x[k], y[k])

    return run
