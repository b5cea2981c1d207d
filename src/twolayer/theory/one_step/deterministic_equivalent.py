r"""Ridge regression from the second moments of its features alone: the deterministic equivalent."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from twolayer.outcomes import Assumption
from twolayer.theory.one_step.errors import (
    ErrorCurves,
    along,
    error_curves,
    grid_of,
    number,
    numbers,
)

Eigen = tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k k"]]

ASSUMPTIONS = (
    Assumption(
        "many samples and features in proportion",
        None,
        detail="the errors concentrate as both grow; at finite size the gap is of order 1 / size",
    ),
)
TRAIN_ASSUMPTIONS = (
    Assumption(
        "noise of the features independent of what the network has learnt",
        None,
        detail="true below the maximal learning rate; at it, the variance of the features depends "
        "on the learnt projections and the training error can be a third too low",
    ),
)


def deterministic_equivalent(
    covariance: Float[np.ndarray, "k k"] | Eigen,
    cross: Float[np.ndarray, " k"],
    second_moment: float,
    *,
    num_samples: ArrayLike,
    ridge: ArrayLike,
) -> ErrorCurves:
    r"""Errors of ridge regression on features with ``E phi phi^T = Omega``, ``E phi y = theta``.

    With ``rho = E y^2``, resolvent ``R = (Omega + nu)^{-1}`` and ``df_j = Tr (Omega R)^j``,

    .. math:: ridge = \nu (1 - df_1 / m), \qquad M = \theta^T R \theta, \quad
              N = \theta^T R \Omega R \theta,
    .. math:: 2\, test = \frac{\rho - 2M + N}{1 - df_2 / m}, \quad
              train = (ridge / \nu)^2\, test, \quad
              2\, objective = (ridge / \nu) (\rho - M).

    Derived here; equal to the state evolution of ridge regression with Gaussian covariates
    (loureiro2021learning). The objective is the one function that equals rho / 2 at infinite
    ridge and whose slope in the ridge is (objective - train) / ridge, as the minimum's must be.

    Parameters
    ----------
    covariance
        ``Omega``, not centred, or its eigenvalues and eigenvectors as from `numpy.linalg.eigh`.
    cross
        ``theta``.
    second_moment
        ``rho``, label noise included.
    num_samples
        m: a number, or a list that becomes the grid.
    ridge
        A positive number, or one for each m.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite and positive, or the second moments are not
        those of any random variables.

    Examples
    --------
    >>> curves = deterministic_equivalent(np.eye(2), np.zeros(2), 1.0, num_samples=8, ridge=1.0)
    >>> bool(curves.test.value[0] > 1 / 2 > curves.objective.value[0] > curves.train.value[0])
    True
    """
    grid = grid_of(num_samples=num_samples)
    ridges = along(grid, "ridge", ridge)
    eigenvalues, vectors = _eigen(covariance)
    theta = numbers("cross", cross)
    if theta.shape != eigenvalues.shape:
        message = f"Expected cross of shape {eigenvalues.shape}. Received: {theta.shape}."
        raise ValueError(message)
    squares = (vectors.T @ theta) ** 2
    rho = number("second_moment", second_moment, at_least=0.0)
    rows = [
        _errors(eigenvalues, squares, rho, float(m), float(lam))
        for m, lam in zip(grid.values, ridges, strict=True)
    ]
    return error_curves(
        grid,
        tuple(zip(*rows, strict=True)),  # type: ignore[arg-type]
        reference="derived here; equal to the state evolution of loureiro2021learning",
        assumptions=ASSUMPTIONS,
        train_assumptions=TRAIN_ASSUMPTIONS,
    )


def _errors(
    eigenvalues: np.ndarray, squares: np.ndarray, rho: float, m: float, ridge: float
) -> tuple[float, float, float]:
    """Test, train and objective of one problem."""

    def excess(log_nu: float) -> float:
        nu = math.exp(log_nu)
        return nu - nu * np.sum(eigenvalues / (eigenvalues + nu)) / m - ridge

    # ridge <= nu, and nu df_1 <= Tr Omega; above the root ridge(nu) rises
    upper = ridge + float(np.sum(eigenvalues)) / m
    nu = math.exp(root_between(excess, math.log(ridge), math.log(upper)))
    resolvent = 1 / (eigenvalues + nu)
    explained = float(np.sum(squares * resolvent))
    if explained > rho * (1 + 1e-9):
        message = (
            f"Expected second moments of one (phi, y). Received: second_moment {rho:g}, of which "
            f"the features alone explain {explained:g}. Is the covariance E phi phi^T, not centred?"
        )
        raise ValueError(message)
    degrees = float(np.sum((eigenvalues * resolvent) ** 2))
    bias = rho - 2 * explained + float(np.sum(squares * eigenvalues * resolvent**2))
    test = bias / (1 - degrees / m)
    share = ridge / nu
    return test / 2, share**2 * test / 2, share * (rho - explained) / 2


def root_between(function, lower: float, upper: float) -> float:
    """The root of a function that is not positive at `lower` and not negative at `upper`.

    Examples
    --------
    >>> root_between(lambda x: x - 1, 1.0, 1.0)
    1.0
    """
    # rounding may put an end on the wrong side where the root is that end
    if function(lower) >= 0:
        return lower
    if function(upper) <= 0:
        return upper
    return float(brentq(function, lower, upper, xtol=1e-14, rtol=1e-14))  # type: ignore[arg-type]


def _eigen(covariance: np.ndarray | Eigen) -> Eigen:
    """Eigenvalues, rounding below 0 removed, and eigenvectors."""
    given = isinstance(covariance, tuple)
    parts = covariance if given else (covariance,)
    arrays = [np.asarray(part, dtype=np.float64) for part in parts]
    size = arrays[-1].shape[-1] if arrays[-1].ndim else 0
    shapes = [(size,), (size, size)] if given else [(size, size)]
    fits = size > 0 and [array.shape for array in arrays] == shapes
    if not fits or not all(np.all(np.isfinite(array)) for array in arrays):
        message = (
            "Expected a finite covariance [k, k] or its eigenvalues [k] and eigenvectors [k, k]. "
            f"Received: shapes {[array.shape for array in arrays]}."
        )
        raise ValueError(message)
    rounding = 1e-8 * float(np.max(np.abs(arrays[-1])))
    if not given and np.max(np.abs(arrays[0] - arrays[0].T)) > rounding:
        message = "Expected a symmetric covariance. Received: one that is not."
        raise ValueError(message)
    eigenvalues, vectors = arrays if given else np.linalg.eigh(arrays[0])
    if np.min(eigenvalues) < -1e-10 * np.max(np.abs(eigenvalues)):
        message = (
            f"Expected a covariance without negative eigenvalues. Received: one with "
            f"{np.min(eigenvalues):g}."
        )
        raise ValueError(message)
    return np.maximum(eigenvalues, 0.0), vectors
