"""A user's samples made ready for `diagnose`, and what to be careful about with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.multiclass import type_of_target

FOLDS = 5
FEWEST = 20  # samples
_LARGE = 1e100
_FAR = 1000.0  # median distances from the median


def checked(X: Any, y: Any) -> tuple[Float[np.ndarray, "n d"], Any]:
    """Inputs as finite numbers, labels as numbers or words."""
    if hasattr(X, "toarray"):
        message = "Expected inputs as a table. Received: a sparse matrix; its toarray() is one."
        raise ValueError(message)
    missing = hasattr(X, "isna") and bool(np.any(np.asarray(X.isna())))
    try:
        x = np.asarray(X, np.float64)
    except (TypeError, ValueError) as error:
        if missing:
            message = (
                "Expected finite numbers. Received: missing ones among them; fill or drop them."
            )
            raise ValueError(message) from error
        message = "Expected inputs that are numbers. Received: others; make columns of words into "
        message += "columns of numbers first ('twolayer diagnose FILE' does)."
        raise ValueError(message) from error
    labels = np.asarray(y)
    if x.ndim != 2 or labels.ndim != 1 or len(x) != len(labels):
        message = "Expected a table of inputs and one label for each of its rows. "
        message += f"Received: shapes {x.shape} and {labels.shape}."
        raise ValueError(message)
    if not np.all(np.isfinite(x)) or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
        message = "Expected finite numbers. Received: NaN or infinity among them; fill or drop "
        message += "them."
        raise ValueError(message)
    if labels.dtype.kind == "O" and any(
        one is None or type(one).__name__ == "NAType" or one != one for one in labels
    ):
        message = "Expected a label for each sample. Received: missing ones; drop their rows."
        raise ValueError(message)
    # squares of larger numbers overflow; every method standardises, so that units don't matter
    largest = np.max(np.abs(x), axis=0, initial=1.0)
    if largest.max(initial=1.0) > _LARGE:
        x = x / np.where(largest > _LARGE, largest, 1.0)
    return x, labels if labels.dtype.kind in "biuf" else labels.astype(str)


def is_classification(y: Any, task: str) -> bool:
    """Whether labels are classes: as asked for, or as they look."""
    if task not in {"auto", "classification", "regression"}:
        message = "Expected a task 'classification', 'regression' or 'auto'. "
        message += f"Received: {task!r}."
        raise ValueError(message)
    if task == "regression" and y.dtype.kind not in "biuf":
        message = "Expected numbers to predict. Received: words."
        raise ValueError(message)
    if task != "auto":
        return task == "classification"
    if y.dtype.kind not in "iuf":
        return True
    # whole numbers are classes where they are few beside the samples
    few = len(np.unique(y)) <= max(2, min(20, len(y) // 10))
    return few and type_of_target(y) in {"binary", "multiclass"}


def cautions(x: Any, y: Any, groups: Any, names: Sequence[str]) -> list[str]:
    """Copies of rows and columns that number them, which flatter; and targets far from the rest."""
    found: list[str] = []
    if groups is not None:
        number = len(groups) - len(np.unique(groups))
        found.append(
            f"{number} rows repeat the inputs of others: copies are held out together, so that "
            "none is predicted from itself."
        )
    steps = np.diff(np.sort(x, axis=0), axis=0)
    even = (steps.min(axis=0) > 0.999 * steps.max(axis=0)) & (steps.min(axis=0) > 0)
    rising = np.all(np.diff(x, axis=0) > 0, axis=0) | np.all(np.diff(x, axis=0) < 0, axis=0)
    for k in np.flatnonzero(even | rising).tolist():
        found.append(
            f"Column {names[k]} numbers the rows, as an identifier or a time does: errors are for "
            "rows between the known ones, not for later ones; leave it out if it can't matter."
        )
    if far_targets(y):
        found.append(
            "A few targets are a thousand times as far from the median as most: they decide every "
            "fit and every square error; see whether they are mistakes, or predict the logarithm."
        )
    return found


def far_targets(y: Any) -> bool:
    """Whether numbers reach a thousand times as far from their median as half of them do."""
    if y.dtype.kind not in "biuf":
        return False
    distances = np.abs(y - np.median(y))
    return bool(distances.max() > _FAR * np.median(distances) > 0)


def usable(x: Any, y: Any, groups: Any, classes: bool, notes: list[str]) -> tuple[Any, Any, Any]:
    """The samples of classes that have enough of them, copies counted once."""
    if classes:
        values = np.unique(y)
        single = y if groups is None else y[np.unique(groups, return_index=True)[1]]
        counts = np.bincount(np.searchsorted(values, single), minlength=len(values))
        rare = values[counts < FOLDS]
        if len(values) - len(rare) < 2:
            sizes = ", ".join(f"{v} ({c})" for v, c in list(zip(values, counts, strict=True))[:8])
            message = f"Expected two classes with at least {FOLDS} samples each. "
            message += f"Received: {sizes or 'none'}."
            raise ValueError(message)
        if rare.size:
            notes.append(f"{rare.size} classes with fewer than {FOLDS} samples were left out.")
            kept = ~np.isin(y, rare)
            x, y = x[kept], y[kept]
            groups = None if groups is None else groups[kept]
    elif len(y) and np.ptp(np.asarray(y, np.float64)) == 0:
        message = f"Expected labels that vary. Received: {y[0]} alone."
        raise ValueError(message)
    if len(x) < FEWEST:
        message = f"Expected at least {FEWEST} samples. Received: {len(x)}."
        raise ValueError(message)
    return x, y if classes else np.asarray(y, np.float64), groups
