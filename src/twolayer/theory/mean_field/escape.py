"""How long a saddle lasts at finite dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.activations.catalogue import activation_of
from twolayer.activations.functions import Activation
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.numerics.precision import in_float64
from twolayer.targets import Polynomial
from twolayer.tasks import Regression
from twolayer.theory.mean_field.population import gaussian_population
from twolayer.theory.mean_field.potential import MeanField, mean_field
from twolayer.theory.mean_field.solve import exact_certificate, flow_from, target_of

_POINTS = 81  # observation times on each horizon; the crossing is interpolated between them


@dataclass(frozen=True)
class EscapeTimes:
    """The first time at which the loss falls below a share of the floor, over the dimension.

    Attributes
    ----------
    dims
        Input dimensions d.
    times
        The escape time for each dimension and each draw of the neurons, infinite where the
        loss stayed above up to the last horizon.
    mean, error
        Mean over the draws and its standard error.
    scale
        ``log10 d`` for isotropic leap 2 and ``d^(k/2 - 1)`` for leap k above: the expected form
        of the growth (derived here; only asymptotic).
    slope, slope_error
        Least-squares slope of the times against the scale, and its standard error.
    """

    dims: tuple[int, ...]
    times: Float[np.ndarray, "k s"]
    mean: Float[np.ndarray, " k"]
    error: Float[np.ndarray, " k"]
    scale: Float[np.ndarray, " k"]
    slope: float
    slope_error: float


@in_float64
def escape_times(
    task: Regression | Polynomial | str,
    *,
    activation: Activation | str,
    dims: Sequence[int],
    key: PRNGKeyArray,
    num_draws: int = 4,
    num_neurons: int = 200,
    share: float = 0.9,
    horizon: float = 32.0,
) -> EscapeTimes:
    """When the mean-field flow leaves the saddle on which Theorem 3.4 holds it (derived here).

    chen2024subspace, Theorem 3.4, keeps the loss of a reflective target above its floor for a
    time that doesn't depend on d; this measures how that time grows with d instead. Both layers
    train at rate 1.

    Parameters
    ----------
    task
        A polynomial with a reflective subspace under the activation.
    activation
        The activation or its name.
    dims
        Input dimensions.
    key
        For the draws of the neurons.
    num_draws
        Independent draws at each dimension.
    num_neurons
        Neurons of a draw.
    share
        The share of the floor that counts as escaped.
    horizon
        The first horizon, doubled up to three times where the saddle lasts longer.

    Raises
    ------
    ValueError
        If the target has no floor under the activation.

    Examples
    --------
    >>> found = escape_times("z1*z2", activation="cos_sin", dims=[100], key=jax.random.key(0))
    >>> bool(4 < found.mean[0] < 7)
    True
    """
    target, activation = target_of(task), activation_of(activation)
    certificate = exact_certificate(target, activation)
    floor = float(certificate.activation_loss_floor)
    if floor == 0:
        message = (
            f"Expected a target with a reflective subspace under {activation.facts.name}, "
            f"condition (3.5). Received: {target.exact}, which has none."
        )
        raise ValueError(message)
    level = share * floor
    times = np.empty((len(dims), num_draws))
    for i, dim in enumerate(dims):
        field = mean_field(target, activation, int(dim))
        for j, draw in enumerate(jax.random.split(jax.random.fold_in(key, i), num_draws)):
            times[i, j] = _escape_time(
                field, target.dim, int(dim), num_neurons, draw, level, horizon
            )
    leap = certificate.isotropic_leap
    scale = np.asarray([math.log10(d) if leap <= 2 else d ** (leap / 2 - 1) for d in dims])
    slope, slope_error = _slope(scale, times)
    mean, error = mean_and_error(times.T)
    return EscapeTimes(tuple(dims), times, mean, error, scale, slope, slope_error)


def _escape_time(
    field: MeanField,
    subspace_dim: int,
    dim: int,
    num_neurons: int,
    key: PRNGKeyArray,
    level: float,
    horizon: float,
) -> float:
    population = gaussian_population(subspace_dim, num_neurons, dim, key)
    for stretch in (1, 2, 4, 8):
        grid = np.linspace(0.0, stretch * horizon, _POINTS)
        _, loss, _ = flow_from(field, population, grid)
        below = np.flatnonzero(loss < level)
        if len(below):
            k = below[0]
            if k == 0:
                return 0.0
            fraction = (loss[k - 1] - level) / (loss[k - 1] - loss[k])
            return float(grid[k - 1] + fraction * (grid[k] - grid[k - 1]))
    return math.inf


def _slope(scale: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    if len(scale) < 2 or not np.all(np.isfinite(times)):
        return math.nan, math.nan
    x = np.repeat(scale, times.shape[1])
    y = times.reshape(-1)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residual = y - y.mean() - slope * centred
    freedom = max(len(x) - 2, 1)
    return slope, float(math.sqrt(residual @ residual / freedom / (centred @ centred)))
