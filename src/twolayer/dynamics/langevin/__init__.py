"""Noisy gradient descent of interacting particles: mean-field Langevin dynamics."""

from twolayer.dynamics.langevin.batches import Minibatch
from twolayer.dynamics.langevin.gradient import risk_gradient
from twolayer.dynamics.langevin.integrators import EulerMaruyama, LeimkuhlerMatthews, Underdamped
from twolayer.dynamics.langevin.langevin import Langevin
from twolayer.dynamics.langevin.schedules import Halving, Logarithmic
from twolayer.dynamics.langevin.train import LangevinRun, train_langevin

__all__ = [
    "EulerMaruyama",
    "Halving",
    "Langevin",
    "LangevinRun",
    "LeimkuhlerMatthews",
    "Logarithmic",
    "Minibatch",
    "Underdamped",
    "risk_gradient",
    "train_langevin",
]
