r"""What a finite number N of particles costs, at stationarity: propagation of chaos.

N interacting particles sample ``exp(-N (R(mu_theta) + weight decay) / tau)``; the free energy of
their joint law, per particle, is above ``J*`` by

.. math:: -\frac{\tau}N \log E_{\theta \sim \mu_*^N}\, e^{-N B(f_\theta) / \tau}, \qquad
          B(f) = \frac1n \sum_i \bigl(l(f_i) - l(f^*_i) - r^*_i (f_i - f^*_i)\bigr) \ge 0

exactly, with the slopes ``r*`` of the optimum ``mu*`` (derived here: a change of measure from gamma
to ``mu*``). Jensen's inequality bounds it, Laplace's method gives its first order in 1 / N. No
bound of the output weight is needed, nor a log-Sobolev constant: as in nitanda2024improved, whose
bound assumes bounded neurons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from twolayer.free_energy import FreeEnergy
from twolayer.outcomes import Assumption, Prediction
from twolayer.theory.langevin.averages import curvatures
from twolayer.theory.langevin.dual import MeanFieldOptimum, solve_dual

_DERIVED = "derived here; in the spirit of nitanda2024improved"
_STEP = 0.02  # of the weight of the risk: error of the differences of order step^4


def particle_energy_bound(
    optimum: MeanFieldOptimum, widths: Sequence[int] | Float[np.ndarray, " t"]
) -> Prediction:
    r"""Upper bound of the excess free energy of N particles over ``J*``, per particle.

    .. math:: \frac{\beta}{2N}\, \frac1n \sum_i Var_{\mu_*}(\phi_i), \qquad
              \phi_i = u\, s(w \cdot x_i), \quad \beta = \sup l''

    with beta = 1 for the square loss, for which it is Jensen's inequality for the exact expression
    above, and 1/4 for the logistic loss. The excess is at least 0 because J is convex.

    Raises
    ------
    ValueError
        If a width is not at least 1.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> optimum = solve_dual(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1))
    >>> round(float(particle_energy_bound(optimum, [5]).value[0]), 6)
    0.014333
    """
    widths = _checked(widths)
    constant = optimum.law.problem.loss.curvature_bound * optimum.mean_variance / 2
    return Prediction(
        "excess free energy", widths, constant / widths, "upper", _DERIVED, grid_name="width"
    )


def particle_energy_excess(
    optimum: MeanFieldOptimum, widths: Sequence[int] | Float[np.ndarray, " t"]
) -> Prediction:
    r"""The excess free energy of N particles over ``J*`` to first order in 1 / N, per particle.

    .. math:: \frac{\tau}{2N} \log\det\Bigl(I + \frac{C L}{n \tau}\Bigr), \qquad
              L = \mathrm{diag}(l''(f^*))

    with C the covariance of ``phi_i = u s(w . x_i)`` under the optimum (Laplace's method, derived
    here). Wrong where the neglected order ``1 / N^2`` is not small: N of a few.

    Raises
    ------
    ValueError
        If a width is not at least 1.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> optimum = solve_dual(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1))
    >>> round(float(particle_energy_excess(optimum, [5]).value[0]), 6)
    0.008892
    """
    widths = _checked(widths)
    value = float(optimum.law.problem.temperature) / 2 * _log_determinant(optimum) / widths
    return Prediction(
        "excess free energy", widths, value, "asymptotic", _DERIVED, (_many(),), grid_name="width"
    )


def particle_risk_bias(
    problem: FreeEnergy, widths: Sequence[int] | Float[np.ndarray, " t"]
) -> Prediction:
    r"""How much the mean risk of N stationary particles exceeds ``R*``, to first order in 1 / N.

    .. math:: E R(\mu_\theta) - R^* = \frac{\tau}{2N} \frac{d}{d\alpha}
              \log\det\Bigl(I + \frac{\alpha C_\alpha L_\alpha}{n \tau}\Bigr)\Big|_{\alpha = 1}

    the derivative of the excess free energy in the weight alpha of the risk; C and L are those
    of the optimum of ``alpha R + tau KL``, so that they change with alpha (derived here). By
    central differences with alpha = 1 +- 0.02 and 1 +- 0.04; `error` is the distance from the
    estimate of the inner two.

    Raises
    ------
    ValueError
        If a width is not at least 1, or as for `solve_dual`.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> bias = particle_risk_bias(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1), [100])
    >>> bool(0 < bias.value[0] < 1e-3)
    True
    """
    widths = _checked(widths)
    inner, outer = (
        (_log_determinant_at(problem, 1 + step) - _log_determinant_at(problem, 1 - step))
        / (2 * step)
        for step in (_STEP, 2 * _STEP)
    )
    scale = float(problem.temperature) / 2
    derivative = (4 * inner - outer) / 3
    return Prediction(
        "risk bias",
        widths,
        scale * derivative / widths,
        "asymptotic",
        _DERIVED,
        (_many(),),
        grid_name="width",
        error=scale * abs(derivative - inner) / widths,
    )


def _log_determinant_at(problem: FreeEnergy, weight: float) -> float:
    """The log-determinant for ``weight * R + tau KL``: all else divided by the weight."""
    scaled = dataclasses.replace(
        problem,
        temperature=float(problem.temperature) / weight,
        output_decay=float(problem.output_decay) / weight,
        input_decay=float(problem.input_decay) / weight,
    )
    return _log_determinant(solve_dual(scaled))


def _log_determinant(optimum: MeanFieldOptimum) -> float:
    problem = optimum.law.problem
    roots = np.sqrt(curvatures(problem, optimum.outputs).reshape(-1))
    scale = problem.num_samples * float(problem.temperature)
    return _log_det_one_plus(roots[:, None] * optimum.covariance * roots / scale)


def _log_det_one_plus(matrix: Float[np.ndarray, "n n"]) -> float:
    """``log det(I + M)`` of a positive semidefinite M."""
    return float(np.sum(np.log1p(np.maximum(np.linalg.eigvalsh(matrix), 0.0))))


def _checked(widths: Sequence[int] | Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    array = np.asarray(widths, dtype=np.float64)
    if array.ndim != 1 or not np.all(array >= 1):
        message = f"Expected widths of at least 1. Received: {widths!r}."
        raise ValueError(message)
    return array


def _many() -> Assumption:
    return Assumption(
        "many particles, at stationarity",
        None,
        detail="the next order is 1 / N^2; time discretisation adds a bias of its own",
    )
