"""Algorithm 1 of gradient feature learning against the same steps in PyTorch.

From the same symmetric network on the same XOR samples: one step with weight decay, then gradient
descent on the output weights. The plain loop computes the loss of the whole network, calls
`backward` and steps an optimiser; the tuned one computes the features of the later steps once.
Ours takes the first gradients from a quarter of the products, and passes the features through the
cache once a step. The learning rates are given to PyTorch; ours finds them in the measured time.
"""

from __future__ import annotations

import sys

from timing import alternate, arguments, ratios, summary, write

OPTIONS = arguments(__doc__, samples=8000, dim=100, quarter=100, steps=300)

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from twolayer.dynamics.base import cast  # noqa: E402
from twolayer.dynamics.gradient_features import (  # noqa: E402
    first_gradients,
    first_step,
    kink_learning_rate,
    symmetric_network,
    train_top_layer,
)
from twolayer.losses import LogisticLoss  # noqa: E402
from twolayer.tasks import xor_mixture  # noqa: E402

try:
    import torch
except ImportError:
    torch = None
    print("PyTorch is not installed: our side alone")

BIAS, KINK = OPTIONS.dim**0.5 / 2, 2.0


def problem():
    """Samples and the initial network, in single precision."""
    task = xor_mixture(*(3 * np.eye(2, OPTIONS.dim)))
    x, y = task.sample(OPTIONS.samples, key=jax.random.key(0))
    network = symmetric_network(
        OPTIONS.quarter, OPTIONS.dim, bias=BIAS, output_std=100.0, key=jax.random.key(1)
    )
    return np.asarray(x, np.float32), np.asarray(y, np.float32), cast(network, jnp.float32)


X, Y, NETWORK = problem()


@eqx.filter_jit
def stepped(network, gradients):
    """The network after the first step, and its learning rate."""
    rate = kink_learning_rate(network, gradients, kink=KINK, bias=BIAS)
    return first_step(network, gradients, rate), rate


def ours():
    """The trained output weights."""
    network, _ = stepped(NETWORK, first_gradients(NETWORK, X, Y))
    steps = jnp.asarray(OPTIONS.steps)
    return np.asarray(train_top_layer(network, X, Y, LogisticLoss(), steps, False).a)


def rates():
    """The learning rates of both phases, for PyTorch."""
    network, rate = stepped(NETWORK, first_gradients(NETWORK, X, Y))
    H = np.maximum(X @ np.asarray(network.W).T + np.asarray(network.b), 0).astype(np.float64)
    # the logistic loss has slope 1/2 at 0 and curvature at most 1/4
    return 2 * float(rate), 4 / np.linalg.eigvalsh(H.T @ H / len(H))[-1]


def in_torch(first, later, tuned):
    """The same steps by autodiff."""
    x, y = torch.from_numpy(X.copy()), torch.from_numpy(Y.copy())

    def loss(features, a):
        return torch.nn.functional.softplus(-y * (features @ a)).mean()

    def run():
        a, W, b = (torch.from_numpy(np.array(part)) for part in (NETWORK.a, NETWORK.W, NETWORK.b))
        a.requires_grad_()
        W.requires_grad_()
        # its weight decay multiplies the weights as ours: 1 / learning rate forgets them
        optimiser = torch.optim.SGD([a, W], lr=first, weight_decay=1 / first)
        optimiser.zero_grad()
        loss(torch.relu(x @ W.T + b), a).backward()
        optimiser.step()
        W.requires_grad_(False)
        optimiser = torch.optim.SGD([a], lr=later)
        features = torch.relu(x @ W.T + b) if tuned else None
        for _ in range(OPTIONS.steps):
            optimiser.zero_grad()
            loss(torch.relu(x @ W.T + b) if features is None else features, a).backward()
            optimiser.step()
        return a.detach().numpy()

    return run


def check(runs):
    """All sides end at the same output weights, to single precision.

    Raises
    ------
    SystemExit
        If they do not.
    """
    found = {name: run() for name, run in runs.items()}
    for name, a in found.items():
        gap = np.linalg.norm(a - found["ours"]) / np.linalg.norm(found["ours"])
        print(f"{name}: relative distance of the output weights {gap:.1e}")
        if gap > 1e-2:
            sys.exit("the sides disagree")


def main():
    """One row."""
    runs = {"ours": ours}
    if torch is not None:
        torch.set_num_threads(OPTIONS.threads)
        runs["torch plain"] = in_torch(*rates(), tuned=False)
        runs["torch tuned"] = in_torch(*rates(), tuned=True)
    check(runs)
    seconds = alternate(runs, OPTIONS.repeats)
    row = {name: summary(taken) for name, taken in seconds.items()}
    row["times_slower"] = {
        name: ratios(taken, seconds["ours"]) for name, taken in seconds.items() if name != "ours"
    }
    for name, taken in seconds.items():
        slower = ratios(taken, seconds["ours"])
        print(
            f"{name:12} {summary(taken)['median']:7.2f} s, {slower['median']:5.2f} times ours"
            f" ({slower['min']:.2f}-{slower['max']:.2f})"
        )
    write("algorithm_gradient_features", OPTIONS, [row])


if __name__ == "__main__":
    main()
