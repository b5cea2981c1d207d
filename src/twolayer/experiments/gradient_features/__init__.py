"""Experiments on gradient feature learning: which features, what they build, against kernels."""

from twolayer.experiments.gradient_features import (
    against_kernels,
    dictionary,
    features,
    images,
    induced,
    input_laws,
    kernels,
    lottery,
    multi_index,
    realised,
    sample_sizes,
    simplicity,
)

__all__ = [
    "against_kernels",
    "dictionary",
    "features",
    "images",
    "induced",
    "input_laws",
    "kernels",
    "lottery",
    "multi_index",
    "realised",
    "sample_sizes",
    "simplicity",
]
