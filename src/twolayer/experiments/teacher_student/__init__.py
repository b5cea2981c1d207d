"""Experiments on teacher-student networks: local convergence, landscape, order parameters."""

from twolayer.experiments.teacher_student import order_parameters

__all__ = ["order_parameters"]
