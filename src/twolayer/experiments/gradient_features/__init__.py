"""Experiments on gradient feature learning: which features, what they build, against kernels."""

from twolayer.experiments.gradient_features import (
    against_kernels,
    dictionary,
    features,
    images,
    input_laws,
    lottery,
    multi_index,
    sample_sizes,
)

__all__ = [
    "against_kernels",
    "dictionary",
    "features",
    "images",
    "input_laws",
    "lottery",
    "multi_index",
    "sample_sizes",
]
