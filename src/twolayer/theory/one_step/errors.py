r"""Test, training and penalised training error of ridge regression on the features of a network.

All three are HALF mean squares: with m samples and k features ``Phi = s(W X^T) / sqrt(k)``

.. math:: \hat w = \arg\min_w \tfrac1{2m} |y - \Phi^T w|^2 + \tfrac{ridge}2 |w|^2, \quad
          test = \tfrac12 E(y - \hat y)^2, \quad train = \tfrac1{2m} |y - \Phi^T \hat w|^2, \quad
          objective = train + \tfrac{ridge}2 |\hat w|^2.

The features carry ``1 / sqrt(k)``, so their squared length does not grow with k and each of their
k eigenvalues is of order 1/k: what has a limit is the scaled ridge ``ridge * k``. Functions of
ratios only (no dimension) take that one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from twolayer.outcomes import Assumption, Prediction


@dataclass(frozen=True)
class ErrorCurves:
    """The three errors of one ridge problem, each a half mean square, on one grid.

    Attributes
    ----------
    test
        ``1/2 E (y - yhat)^2`` on a fresh sample, with its label noise.
    train
        ``1/2`` mean square of the residuals, without penalty.
    objective
        `train` plus ``ridge / 2 |w|^2``: the minimum that the ridge problem reaches.
    """

    test: Prediction
    train: Prediction
    objective: Prediction


@dataclass(frozen=True)
class Grid:
    """One ratio or size that varies, the other ones repeated along it.

    Attributes
    ----------
    name
        What varies.
    values
        Its values, shape ``[t]``.
    columns
        Every ratio by name, each of shape ``[t]``.
    """

    name: str
    values: Float[np.ndarray, " t"]
    columns: dict[str, Float[np.ndarray, " t"]]


def error_curves(
    grid: Grid,
    errors: tuple[ArrayLike, ArrayLike, ArrayLike],
    *,
    reference: str,
    assumptions: Sequence[Assumption] = (),
    train_assumptions: Sequence[Assumption] = (),
) -> ErrorCurves:
    """Predictions of test, train and objective (in that order) from arrays along the grid.

    `train_assumptions` are those that the test error can do without; the other two curves carry
    them on top.

    Examples
    --------
    >>> grid = grid_of(sample_ratio=[1.0, 2.0])
    >>> curves = error_curves(grid, ([0.3, 0.2], [0.1, 0.1], 0.12), reference="derived here")
    >>> curves.objective.value, curves.test.grid_name
    (array([0.12, 0.12]), 'sample_ratio')
    """
    more = (*assumptions, *train_assumptions)
    test, train, objective = (
        Prediction(
            name,
            grid.values,
            np.broadcast_to(np.asarray(value, dtype=np.float64), grid.values.shape).copy(),
            "asymptotic",
            reference,
            tuple(rests_on),
            grid_name=grid.name,
        )
        for name, value, rests_on in zip(
            ("test error", "training error", "objective"),
            errors,
            (assumptions, more, more),
            strict=True,
        )
    )
    return ErrorCurves(test, train, objective)


def grid_of(**values: ArrayLike) -> Grid:
    """The grid of positive numbers of which at most one is a list.

    The last one names the grid if none is.

    Raises
    ------
    ValueError
        If a value is not positive and finite, or more than one is a list.

    Examples
    --------
    >>> grid = grid_of(width_ratio=2, sample_ratio=[1.0, 3.0])
    >>> grid.name, grid.columns["width_ratio"]
    ('sample_ratio', array([2., 2.]))
    """
    arrays = {name: numbers(name, value, above=0.0) for name, value in values.items()}
    lists = [name for name, array in arrays.items() if array.ndim]
    if len(lists) > 1:
        message = (
            f"Expected at most one of {', '.join(arrays)} as a list. Received: lists for "
            f"{', '.join(lists)}. Call the function once for each value of one of them."
        )
        raise ValueError(message)
    name = lists[0] if lists else list(arrays)[-1]
    points = np.atleast_1d(arrays[name])
    columns = {key: np.broadcast_to(array, points.shape) for key, array in arrays.items()}
    return Grid(name, points, columns)


def along(grid: Grid, name: str, value: ArrayLike) -> Float[np.ndarray, " t"]:
    """A positive number, or one for each point of the grid (a ridge, say), along the grid.

    Raises
    ------
    ValueError
        If a value is not positive and finite, or a list has not the grid's length.

    Examples
    --------
    >>> along(grid_of(width_ratio=[1.0, 2.0]), "scaled_ridge", 0.1)
    array([0.1, 0.1])
    """
    array = numbers(name, value, above=0.0)
    if array.ndim and array.shape != grid.values.shape:
        message = (
            f"Expected {name} as a number or {grid.values.size} of them, one for each "
            f"{grid.name}. Received: {array.size}."
        )
        raise ValueError(message)
    return np.broadcast_to(array, grid.values.shape)


def number(
    name: str, value: object, *, above: float = -math.inf, at_least: float = -math.inf
) -> float:
    """One finite number within its bounds.

    Raises
    ------
    ValueError
        If it is no number, not finite or out of bounds.

    Examples
    --------
    >>> number("noise_std", 1, at_least=0.0)
    1.0
    """
    array = numbers(name, value, above=above, at_least=at_least)
    if array.ndim:
        message = f"Expected {name} as one number. Received: {array.size} of them."
        raise ValueError(message)
    return float(array)


def numbers(
    name: str, value: object, *, above: float = -math.inf, at_least: float = -math.inf
) -> Float[np.ndarray, "..."]:
    """A finite number (shape ``[]``) or a list of them (shape ``[t]``) within their bounds.

    Raises
    ------
    ValueError
        If one is no number, not finite or out of bounds, or the list is empty.

    Examples
    --------
    >>> numbers("sample_ratio", [1, 2], above=0.0)
    array([1., 2.])
    """
    bound = f" above {above:g}" if above > -math.inf else ""
    bound = f" from {at_least:g} on" if at_least > -math.inf else bound
    try:
        raw = np.asarray(value)
    except ValueError:  # ragged lists
        raw = np.asarray(None)
    real = raw.dtype.kind in "iuf" and raw.ndim <= 1 and raw.size > 0
    array = raw.astype(np.float64) if real else np.asarray(np.nan)
    if not (np.all(np.isfinite(array)) and np.all(array > above) and np.all(array >= at_least)):
        message = f"Expected {name} as finite numbers{bound}. Received: {value!r}."
        raise ValueError(message)
    return array
