"""Experiments of demir2025asymptotic: one gradient step on Gaussian mixtures."""

from twolayer.experiments.one_step import widths

__all__ = ["widths"]
