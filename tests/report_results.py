"""A result with one of everything, and texts that try to be markup."""

import math

import numpy as np

from twolayer.outcomes import (
    Assumption,
    Comparison,
    Convergence,
    Finding,
    PhaseDiagram,
    Prediction,
    Trajectory,
)
from twolayer.results import Result

TIMES = np.linspace(0.0, 4.0, 9)
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'&amp; {{ 7*7 }} \ud800"


def example(experiment="mean-field-flow", *, word=""):
    """A result with one of everything."""
    rng = np.random.default_rng(0)
    loss = np.exp(-TIMES)
    assumption = Assumption(f"infinite width{word}", None, -1.5, f"differs by 1/m{word}")
    return Result(
        experiment=experiment,
        parameters={"target": "-z1", "seeds": 4, "note": f"a{word}"},
        statement=f"The gap falls like d^-1/2{word}.",
        reference="chen2024subspace, Theorem 3.4",
        predictions=(
            Prediction(f"loss{word}", TIMES, loss, "exact", "derived here", (assumption,)),
            Prediction("floor", TIMES, 0 * TIMES + 0.1, "lower", "derived here"),
        ),
        trajectories=(
            Trajectory(
                f"loss{word}", TIMES, loss + 0.01 * rng.normal(size=(4, 9)),
                ("finished",) * 3 + ("diverged",),
            ),
        ),
        comparisons=(
            Comparison("loss", TIMES, 0 * TIMES, 0 * TIMES, 0 * TIMES, "agrees", f"close{word}"),
            Convergence("rate", np.array([8.0, 32.0]), np.array([0.2, 0.1]),
                        np.array([0.01, 0.01]), 0.5, 0.1, 0.5, "undecided", "wide"),
        ),
        findings=(
            Finding(f"first{word}", f"It is 2{word}.", 2.0, 2.1, 0.05, "agrees", "derived here"),
            Finding("second", "It is not.", "above", "below", 0.0, "disagrees", "derived here"),
            Finding("third", "Who knows.", math.nan, math.nan, math.nan, "failed", "derived here"),
        ),
        diagrams=(
            PhaseDiagram("error", np.array([0.0, 1.0]), np.array([1.0, 2.0, 3.0]), "row", "column",
                         np.array([[1.0, np.nan, 0.0], [4.0, 5.0, 1e-7]]), logarithmic=True),
        ),
        details={"certificate": {"verdict": f"learnable{word}"}},
        provenance={"versions": {"twolayer": "0.1.0"}, "seconds": 1.5, "python": f"3.11{word}"},
    )  # fmt: skip
