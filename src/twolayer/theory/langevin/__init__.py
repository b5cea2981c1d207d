"""Noisy gradient descent in the mean-field limit: optimum, certificates, rates."""

from twolayer.theory.langevin.certificate import DualityCertificate, certify_particles
from twolayer.theory.langevin.dual import MeanFieldOptimum, duality_gap, solve_dual
from twolayer.theory.langevin.fokker_planck import FokkerPlanck, fokker_planck
from twolayer.theory.langevin.grid import ParameterGrid, grid_optimum, parameter_grid
from twolayer.theory.langevin.normalisability import normalisability
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs, proximal_gibbs
from twolayer.theory.langevin.rate_chain import rate_chain
from twolayer.theory.langevin.rates import (
    a_priori_certificate,
    trajectory_certificate,
    uniform_certificate,
)
from twolayer.theory.langevin.spectrum import Spectrum, spectrum

__all__ = [
    "DualityCertificate",
    "FokkerPlanck",
    "MeanFieldOptimum",
    "ParameterGrid",
    "ProximalGibbs",
    "Spectrum",
    "a_priori_certificate",
    "certify_particles",
    "duality_gap",
    "fokker_planck",
    "grid_optimum",
    "normalisability",
    "parameter_grid",
    "proximal_gibbs",
    "rate_chain",
    "solve_dual",
    "spectrum",
    "trajectory_certificate",
    "uniform_certificate",
]
