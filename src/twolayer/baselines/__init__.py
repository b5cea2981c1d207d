"""What learning features is held against: fixed features and kernels, as scikit-learn estimators.

Each fits labels -1 and 1 by ridge regression. What it leaves open (penalty, bandwidth) is chosen
on a fifth of the training samples held out, then all are used.
"""

from twolayer.baselines.kernels import NTK, RBF, FiniteNTK
from twolayer.baselines.random_features import RandomFeatures
from twolayer.baselines.ridge import Choice

__all__ = ["NTK", "RBF", "Choice", "FiniteNTK", "RandomFeatures"]
