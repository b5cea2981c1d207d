"""A user's data set through all of it."""

from twolayer.diagnose.diagnosis import Diagnosis, diagnose
from twolayer.diagnose.methods import METHODS

__all__ = ["METHODS", "Diagnosis", "diagnose"]
