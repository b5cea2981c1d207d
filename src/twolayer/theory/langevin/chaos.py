r"""What a finite number N of particles costs: propagation of chaos at equilibrium.

N particles minimise, over laws of all of them, ``L^N = N E R + tau KL(. | gamma^N)``, whose least
value is ``-tau log E_{gamma^N} exp(-N R / tau)``. Per particle it exceeds ``J*`` by an amount of
order 1/N that the covariance C of ``phi_i = u s(w . x_i)`` at the optimum determines. All of this
is for the square loss, and derived here; nitanda2024improved bounds the same error, without the
log-Sobolev constant, for bounded neurons.
"""

from __future__ import annotations

import equinox as eqx
import numpy as np

from twolayer.free_energy import FreeEnergy
from twolayer.losses import SquareLoss
from twolayer.networks import check_positive
from twolayer.theory.langevin.dual import MeanFieldOptimum, solve_dual

_CHANGE = 1e-3  # of the weight of the risk: the derivative's error is its square


def particle_bound(optimum: MeanFieldOptimum, num_particles: int) -> float:
    r"""An upper bound of the excess free energy per particle, ``L^N_min / N - J*``.

    .. math:: 0 \le \tfrac1N L^N_{\min} - J^* \le \frac{1}{2N} \cdot \frac1n \sum_i
              \mathrm{Var}_{\mu^*}(\phi_i)

    since N independent draws from the optimum are a trial law (derived here; it holds for
    unbounded output weights too).

    Raises
    ------
    ValueError
        If the loss is not the square loss, or the number is below 1.
    """
    _check(optimum.law.problem)
    check_positive(num_particles=num_particles)
    return optimum.mean_variance / (2 * num_particles)


def particle_excess(optimum: MeanFieldOptimum, num_particles: int) -> float:
    r"""The same excess to first order in 1/N.

    .. math:: \tfrac1N L^N_{\min} - J^* = \frac{\tau}{2N} \log\det\Bigl(I + \frac{C}{n\tau}\Bigr)
              + O(N^{-2})

    by Laplace's method around the optimum (derived here). It is at most `particle_bound`, as
    ``log(1 + z) <= z``.

    Raises
    ------
    ValueError
        If the loss is not the square loss, or the number is below 1.

    Examples
    --------
    >>> from twolayer.activations import tanh
    >>> optimum = solve_dual(FreeEnergy([[1.0]], [1.0], tanh, 0.5, 0.5, 0.1))
    >>> 0 < particle_excess(optimum, 10) < particle_bound(optimum, 10)
    True
    """
    problem = optimum.law.problem
    _check(problem)
    check_positive(num_particles=num_particles)
    tau = float(problem.temperature)
    return tau / (2 * num_particles) * _log_determinant(optimum, 1.0, tau)


def stationary_risk_bias(optimum: MeanFieldOptimum) -> float:
    r"""The constant c in ``E R_N = R* + c / N``, the stationary risk of N particles.

    The risk is the derivative of the least free energy by its own weight alpha, so

    .. math:: c = \frac{\tau}{2} \frac{d}{d\alpha} \log\det\Bigl(I + \frac{\alpha C_\alpha}{n\tau}
              \Bigr) \Big|_{\alpha = 1}

    where ``C_alpha`` is the covariance at the optimum of ``alpha R + tau KL``, which moves with
    alpha (derived here).

    Raises
    ------
    ValueError
        If the loss is not the square loss.
    """
    problem = optimum.law.problem
    _check(problem)
    tau = float(problem.temperature)
    ends = []
    for weight in (1 - _CHANGE, 1 + _CHANGE):
        # alpha R + tau KL(. | gamma) has the optimum of R + (tau / alpha) KL with the same gamma.
        scaled = eqx.tree_at(
            lambda p: (p.output_decay, p.input_decay, p.temperature),
            problem,
            replace_fn=lambda leaf, weight=weight: leaf / weight,
        )
        ends.append(_log_determinant(solve_dual(scaled), weight, tau))
    return tau / 2 * (ends[1] - ends[0]) / (2 * _CHANGE)


def _log_determinant(optimum: MeanFieldOptimum, weight: float, tau: float) -> float:
    n = optimum.law.problem.num_samples
    matrix = np.eye(len(optimum.covariance)) + weight * optimum.covariance / (n * tau)
    return float(np.linalg.slogdet(matrix)[1])


def _check(problem: FreeEnergy) -> None:
    if problem.loss.__class__ is not SquareLoss:
        message = "Expected the square loss, to which the formulas belong. "
        message += f"Received: {type(problem.loss).__name__}."
        raise ValueError(message)
