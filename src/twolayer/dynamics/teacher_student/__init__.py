"""Training a student on a teacher: descent, flow, sampled and perturbed descent, starts."""

from twolayer.dynamics.teacher_student.descent import Descent, descend

__all__ = ["Descent", "descend"]
