"""A user's table of inputs and labels as a law whose gradient features can be asked for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from twolayer.tasks import Dataset, binary_labels

_ROUNDING = 1e-12


def labelled_samples(
    x: Float[np.ndarray, "n d"], y: object, *, num_samples: int | None = None
) -> Dataset:
    """Checked samples of two classes, their labels made -1 (the one that sorts first) and 1.

    A column that never changes is refused: with a weight of its own it shifts every neuron's
    threshold at random, and can be no feature.

    Parameters
    ----------
    x
        Inputs, one a row; on one scale, for cones compare directions.
    y
        Labels of two classes, of any type.
    num_samples
        How many of the first rows to take; all by default.

    Raises
    ------
    ValueError
        If the shapes don't fit together, a number is not finite, there are not exactly two
        classes among the rows taken, a column is constant, or there are fewer rows than asked.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    >>> labelled_samples(x, ["cat", "dog", "cat"]).y.tolist()
    [-1.0, 1.0, -1.0]
    """
    x, labels = np.asarray(x, np.float64), np.asarray(y)
    if x.ndim != 2 or labels.shape != x.shape[:1] or not x.size:
        message = "Expected a table of inputs and one label for each of its rows. "
        message += f"Received: shapes {x.shape} and {labels.shape}."
        raise ValueError(message)
    if not np.all(np.isfinite(x)):
        message = "Expected finite inputs. Received: NaN or infinity among them; drop or fill "
        message += "those rows."
        raise ValueError(message)
    count = len(x) if num_samples is None else num_samples
    if isinstance(count, bool) or not 2 <= count <= len(x):
        message = f"Expected a number of samples from 2 to the {len(x)} given ones. "
        message += f"Received: {num_samples!r}."
        raise ValueError(message)
    x, labels = x[:count], binary_labels(labels[:count])
    size = np.max(np.abs(x), axis=0)
    constant = np.flatnonzero(np.ptp(x, axis=0) <= _ROUNDING * size)
    if len(constant):
        named = ", ".join(map(str, constant[:6])) + (", ..." if len(constant) > 6 else "")
        what = ("columns", "them") if len(constant) > 1 else ("column", "it")
        message = "Expected inputs that vary in every column. "
        message += f"Received: constant {what[0]} {named}; drop {what[1]}."
        raise ValueError(message)
    return Dataset(x, labels)  # type: ignore[arg-type]
