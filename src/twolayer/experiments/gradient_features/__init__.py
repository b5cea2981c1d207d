"""Experiments on gradient feature learning: which features, what they build, against kernels."""

__all__: list[str] = []
