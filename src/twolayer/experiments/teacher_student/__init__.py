"""Experiments on teacher-student networks: local convergence, landscape, order parameters."""

__all__: list[str] = []
