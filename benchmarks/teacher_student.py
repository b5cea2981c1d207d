"""Gradient descent, one gradient and the flow of students, against plain loops.

Many short runs at once against one NumPy (and PyTorch) loop after the other; one gradient of a
wide student against NumPy and PyTorch; the adaptive flow to a small loss against fixed steps.
"""

from __future__ import annotations

import time
from functools import partial

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(
    __doc__, size=12, runs=1000, loop_runs=8, width=2000, dim=64, teachers=64, flow_width=40
)

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)

from twolayer.dynamics.teacher_student import descend, flow  # noqa: E402
from twolayer.pair_kernels import abs_pairs  # noqa: E402
from twolayer.teacher_student import TeacherStudent  # noqa: E402

try:
    import torch

    torch.set_num_threads(OPTIONS.threads)
except ImportError:
    torch = None

TOLERANCE = 1e-9
TARGET_LOSS = 1e-12


def numpy_gradient(W, V):
    """The ReLU gradient as one would write it: all students against students and teachers."""
    Z = np.concatenate([W, V])
    norms, others = np.sqrt((W * W).sum(1)), np.sqrt((Z * Z).sum(1))
    c = np.clip(W @ Z.T / np.outer(norms, others), -1, 1)
    sign = np.concatenate([np.ones(len(W)), -np.ones(len(V))])
    along = np.sqrt(1 - c * c) @ (sign * others) / norms
    return (along[:, None] * W + ((np.pi - np.arccos(c)) * sign) @ Z) / (2 * np.pi)


def torch_gradient(W, V):
    """The same in PyTorch."""
    Z = torch.cat([W, V])
    norms, others = W.norm(dim=1), Z.norm(dim=1)
    c = (W @ Z.T / torch.outer(norms, others)).clamp(-1, 1)
    sign = torch.cat([torch.ones(len(W), dtype=W.dtype), -torch.ones(len(V), dtype=W.dtype)])
    along = torch.sqrt(1 - c * c) @ (sign * others) / norms
    return (along[:, None] * W + ((torch.pi - torch.arccos(c)) * sign) @ Z) / (2 * torch.pi)


def loop(gradient, start, teacher, rate, norm):
    """Gradient descent of one student until its gradient is small; its steps."""
    W, steps = start, 0
    while True:
        slope = gradient(W, teacher)
        if norm(slope) <= TOLERANCE:
            return steps
        W, steps = W - rate * slope, steps + 1


def many_runs():
    """Seconds for all runs in one program, and for a sample of them run by run."""
    k = OPTIONS.size
    generator = np.random.default_rng(0)
    starts = generator.normal(size=(OPTIONS.runs, k, k)) / np.sqrt(k)
    problem = TeacherStudent(np.eye(k))

    def ours():
        return descend(problem, starts, learning_rate=5 / k, gradient_norm=TOLERANCE)

    start = time.perf_counter()
    run = ours()
    compiled = time.perf_counter() - start
    # Runs whose length is typical, so that the loop's seconds a step hold for all of them.
    typical = np.argsort(np.abs(run.steps - np.median(run.steps)))[: OPTIONS.loop_runs]
    sides = {"one program": ours}
    taken = {}

    def numpy_runs():
        taken["NumPy"] = sum(
            loop(numpy_gradient, starts[i], np.eye(k), 5 / k, np.linalg.norm) for i in typical
        )

    sides["NumPy"] = numpy_runs
    if torch is not None:
        teacher, tensors = torch.eye(k, dtype=torch.float64), torch.as_tensor(starts)

        def torch_runs():
            taken["PyTorch"] = sum(
                loop(torch_gradient, tensors[i], teacher, 5 / k, torch.linalg.norm) for i in typical
            )

        sides["PyTorch"] = torch_runs
    seconds = alternate(sides, OPTIONS.repeats)
    total = int(run.steps.sum())
    rows = []
    for name, values in seconds.items():
        scale = total / taken[name] if name in taken else 1.0
        scaled = [scale * value for value in values]
        ratio = ratios(scaled, seconds["one program"])
        rows.append(
            {"question": "many runs", "side": name, "steps": total, "seconds": summary(scaled),
             "scaled_by": scale, "takes_longer": ratio, "first_call": compiled}
        )  # fmt: skip
    return rows


def one_gradient():
    """Seconds of one gradient of a wide student."""
    generator = np.random.default_rng(1)
    W = generator.normal(size=(OPTIONS.width, OPTIONS.dim))
    V = generator.normal(size=(OPTIONS.teachers, OPTIONS.dim))
    problem, weights = TeacherStudent(V), jax.numpy.asarray(W)
    sides = {
        "ours": lambda: problem.gradient(weights).block_until_ready(),
        "NumPy": lambda: numpy_gradient(W, V),
    }
    np.testing.assert_allclose(problem.gradient(weights), numpy_gradient(W, V), atol=1e-9)
    if torch is not None:
        tensors = torch.as_tensor(W), torch.as_tensor(V)
        sides["PyTorch"] = lambda: torch_gradient(*tensors)
    seconds = alternate(sides, 4 * OPTIONS.repeats)
    return [
        {"question": "one gradient", "side": name, "seconds": summary(values),
         "takes_longer": ratios(values, seconds["ours"])}
        for name, values in seconds.items()
    ]  # fmt: skip


def flow_to_loss(width):
    """Seconds to a small loss: long stabilised steps against the fixed steps of descent.

    Both compiled; the fixed step is the largest safe one, 0.4 over the students' mass.
    """
    generator = np.random.default_rng(2)
    problem = TeacherStudent(np.eye(4, 8), pairs=abs_pairs, student="norm")
    start = np.repeat(np.eye(4, 8), width // 4, axis=0) * np.sqrt(4 / width)
    start = start + 0.1 / np.sqrt(width) * generator.normal(size=start.shape)
    grid = np.concatenate([[0.0], np.geomspace(1, 1e5, 200)])
    options = {"solver": "stabilised", "rtol": 1e-5}
    path = flow(problem, start, times=grid, **options)
    end = float(grid[np.argmax(path.losses <= TARGET_LOSS)])
    times = np.array([0.0, end])
    rate = 0.1
    steps = int(end / rate)

    @jax.jit
    def descent(W):
        return jax.lax.fori_loop(0, steps, lambda _, W: W - rate * problem.gradient(W), W)

    W = jax.numpy.asarray(start)
    sides = {
        "adaptive": lambda: flow(problem, start, times=times, **options),
        "fixed steps": lambda: descent(W).block_until_ready(),
    }
    loss = {
        "adaptive": float(sides["adaptive"]().losses[-1]),
        "fixed steps": float(problem(descent(W))),
    }
    seconds = alternate(sides, OPTIONS.repeats)
    return [
        {"question": f"flow, m = {width}", "side": name, "end_time": end, "steps": steps,
         "loss": loss[name], "seconds": summary(values),
         "takes_longer": ratios(values, seconds["adaptive"])}
        for name, values in seconds.items()
    ]  # fmt: skip


if __name__ == "__main__":
    rows = []
    questions = [many_runs, one_gradient]
    questions += [partial(flow_to_loss, width) for width in (8, OPTIONS.flow_width)]
    for question in questions:
        for row in question():
            s, r = row["seconds"], row["takes_longer"]
            spread = f"{r['median']:.2f} ({r['min']:.2f}-{r['max']:.2f})"
            print(f"{row['question']:14} {row['side']:12} {s['median']:10.4f} s  {spread}")
            rows.append(row)
    write("teacher_student", OPTIONS, rows)
