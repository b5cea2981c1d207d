"""Two-layer networks and their lazy limits as scikit-learn estimators."""

from twolayer.estimators.random_features import RandomFeaturesClassifier, RandomFeaturesRegressor
from twolayer.estimators.tangent_kernel import NTKClassifier, NTKRegressor
from twolayer.estimators.two_layer import TwoLayerClassifier, TwoLayerRegressor

__all__ = [
    "NTKClassifier",
    "NTKRegressor",
    "RandomFeaturesClassifier",
    "RandomFeaturesRegressor",
    "TwoLayerClassifier",
    "TwoLayerRegressor",
]
