"""Experiments of demir2025asymptotic: one gradient step on Gaussian mixtures."""

from twolayer.experiments.one_step import (
    curves,
    curves_conditional,
    curves_maximal,
    curves_staircase,
    curves_step,
    degrees,
    images,
    phases,
    scalings,
    structure,
    universality,
    widths,
)

__all__ = [
    "curves",
    "curves_conditional",
    "curves_maximal",
    "curves_staircase",
    "curves_step",
    "degrees",
    "images",
    "phases",
    "scalings",
    "structure",
    "universality",
    "widths",
]
