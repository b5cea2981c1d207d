"""Experiments on gradient feature learning: which features, what they build, against kernels."""

from twolayer.experiments.gradient_features import (
    features,
    sample_sizes,
)

__all__ = [
    "features",
    "sample_sizes",
]
