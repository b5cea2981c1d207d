"""Experiments on gradient feature learning: which features, what they build, against kernels."""

from twolayer.experiments.gradient_features import (
    features,
    images,
    input_laws,
    sample_sizes,
)

__all__ = [
    "features",
    "images",
    "input_laws",
    "sample_sizes",
]
