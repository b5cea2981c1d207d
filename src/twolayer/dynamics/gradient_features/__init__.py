"""Gradient feature learning: Algorithm 1 of shi2023provable, and its predecessor's first steps."""

from twolayer.dynamics.gradient_features.first_step import (
    FirstGradients,
    first_gradients,
    first_step,
    kink_learning_rate,
)
from twolayer.dynamics.gradient_features.initial import symmetric_network
from twolayer.dynamics.gradient_features.later_steps import train_both_layers, train_top_layer
from twolayer.dynamics.gradient_features.predecessor import (
    AggressiveRun,
    AggressiveSteps,
    train_aggressive_steps,
)
from twolayer.dynamics.gradient_features.train import (
    GradientFeatureRun,
    GradientFeatures,
    draw_samples,
    train_gradient_features,
)

__all__ = [
    "AggressiveRun",
    "AggressiveSteps",
    "FirstGradients",
    "GradientFeatureRun",
    "GradientFeatures",
    "draw_samples",
    "first_gradients",
    "first_step",
    "kink_learning_rate",
    "symmetric_network",
    "train_aggressive_steps",
    "train_both_layers",
    "train_gradient_features",
    "train_top_layer",
]
