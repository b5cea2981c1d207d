"""Double precision for theory, whatever JAX's global setting is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 64-bit JAX types and leave the global configuration as it was.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> in_float64(lambda: jnp.ones(2).dtype.name)()
    'float64'
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped
