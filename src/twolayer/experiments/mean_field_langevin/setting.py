"""The small regression problem on which every route can be followed to many digits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twolayer.free_energy import FreeEnergy

CASES = "0.5,0.5,0.1; 0.3,0.3,0.05; 1,1,0.3"


def cases_of(text: str) -> list[tuple[float, float, float]]:
    """Triples ``output decay, input decay, temperature`` separated by semicolons.

    Raises
    ------
    ValueError
        If the text is no such list of positive numbers.

    Examples
    --------
    >>> cases_of("0.5,0.5,0.1; 1,1,0.3")
    [(0.5, 0.5, 0.1), (1.0, 1.0, 0.3)]
    """
    cases = []
    for part in text.split(";"):
        try:
            values = tuple(float(word) for word in part.split(","))
        except ValueError:
            values = ()
        if len(values) != 3 or not all(0 < value < math.inf for value in values):
            message = "Expected cases like '0.5,0.5,0.1; 1,1,0.3': output decay, input decay and "
            message += f"temperature, all positive. Received: {text!r}."
            raise ValueError(message)
        cases.append(values)
    return cases


def named(case: tuple[float, float, float]) -> str:
    """The case in words, for findings."""
    return "la = {:g}, lw = {:g}, tau = {:g}".format(*case)


def curve_problem(
    case: tuple[float, float, float],
    *,
    samples: int = 16,
    activation: str = "tanh",
    scale: float = 1.0,
) -> FreeEnergy:
    """Regression of ``tanh(1.5 x) + 0.3 sin(2 x)`` on equally spaced x in [-2, 2], no bias.

    Its labels are odd, as a tanh network without bias is, so that the optimum is even under a
    change of all signs and some modes of the flow feel no interaction.
    """
    import numpy as np

    from twolayer.activations import activation_of
    from twolayer.free_energy import FreeEnergy

    x = np.linspace(-2, 2, samples)
    y = scale * (np.tanh(1.5 * x) + 0.3 * np.sin(2 * x))
    return FreeEnergy(x, y, activation_of(activation), *case)  # type: ignore[arg-type]
