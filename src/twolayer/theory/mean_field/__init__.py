"""The mean-field flow of two-layer networks on polynomials of few Gaussian coordinates."""

from __future__ import annotations

from twolayer.theory.mean_field.flow import MeanFieldFlow, mean_field_flow
from twolayer.theory.mean_field.population import Population
from twolayer.theory.mean_field.potential import MeanField, mean_field

__all__ = ["MeanField", "MeanFieldFlow", "Population", "mean_field", "mean_field_flow"]
