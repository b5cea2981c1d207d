"""Two-layer networks trained elsewhere: how to bring them in, and what they have learned."""

from twolayer.trained.examination import Examination, examine
from twolayer.trained.importing import from_arrays, from_sklearn, from_torch
from twolayer.trained.movement import Movement

__all__ = ["Examination", "Movement", "examine", "from_arrays", "from_sklearn", "from_torch"]
