"""Training a student on a teacher: descent, flow, sampled and perturbed descent, starts."""

from twolayer.dynamics.teacher_student.descent import Descent, descend
from twolayer.dynamics.teacher_student.flow import StudentPath, flow
from twolayer.dynamics.teacher_student.initialisation import (
    random_initialisation,
    scaled_to_fit,
    subspace_initialisation,
    teacher_subspace,
)
from twolayer.dynamics.teacher_student.steps import perturbed_descent, sampled_descent

__all__ = [
    "Descent",
    "StudentPath",
    "descend",
    "flow",
    "perturbed_descent",
    "random_initialisation",
    "sampled_descent",
    "scaled_to_fit",
    "subspace_initialisation",
    "teacher_subspace",
]
