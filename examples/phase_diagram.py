"""What does one gradient step gain over a fixed kernel? A 40 x 40 phase diagram, resumable.

Run it twice: the second run finds every cell in the study and only draws.

    python examples/phase_diagram.py
"""

import sys
from pathlib import Path

import numpy as np

import twolayer as tl
from twolayer.report.figures import figure
from twolayer.report.tables import progress_bar
from twolayer.study_view import as_diagram


def advantage(learning_rate: float = 1.0, sample_ratio: float = 1.0) -> dict[str, float]:
    """Test errors on a ReLU teacher, of random tanh features and of the same after one step.

    Twice as many features as dimensions, twice as many samples as dimensions for the step, and
    `sample_ratio` times as many for the read-out; both are theory, in the limit of large size.
    """
    sizes = {"width_ratio": 2.0, "sample_ratio": sample_ratio, "scaled_ridge": 0.5}
    teacher = tl.centred("relu")
    kernel = tl.random_features_ridge("tanh", teacher, noise_std=0.5, **sizes)
    network = tl.small_learning_rate(
        "tanh", teacher, learning_rate=learning_rate, step_ratio=2.0, noise_std=0.5, **sizes
    )
    errors = float(network.test.value[0]), float(kernel.test.value[0])
    return {
        "network": errors[0],
        "kernel": errors[1],
        "network minus kernel": errors[0] - errors[1],
    }


def main(folder: str = "twolayer-results", size: int = 40) -> tl.Result:
    """The diagram over the step's size and the samples of the read-out."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    grid = {
        "learning_rate": np.linspace(0, 6, size),
        "sample_ratio": np.geomspace(0.2, 8, size),
    }
    with progress_bar() as progress:
        data = tl.sweep(advantage, grid, study=f"{folder}/phases.sqlite", progress=progress)
    diagram = as_diagram(data, "sample_ratio", "learning_rate", "network minus kernel")
    figure(diagram).savefig(f"{folder}/phases.png", dpi=150)
    gap = data.measured.sel(quantity="network minus kernel")
    print(f"network minus kernel: from {float(gap.min()):.3g} to {float(gap.max()):.3g}")
    return diagram


if __name__ == "__main__":
    main(*sys.argv[1:])
