"""Activations: exact facts about each (free of JAX) and the functions that train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twolayer.activations.facts import FACTS, Facts, facts_of

if TYPE_CHECKING:
    from twolayer.activations.catalogue import (
        abs_,
        activation_of,
        cos,
        cos_sin,
        erf,
        gelu,
        relu,
        sigmoid,
        sin,
        softplus,
        tanh,
    )
    from twolayer.activations.functions import (
        Activation,
        FunctionActivation,
        PolynomialActivation,
        hermite,
    )

__all__ = [
    "FACTS",
    "Activation",
    "Facts",
    "FunctionActivation",
    "PolynomialActivation",
    "abs_",
    "activation_of",
    "cos",
    "cos_sin",
    "erf",
    "facts_of",
    "gelu",
    "hermite",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "tanh",
]

_FUNCTIONS = {"Activation", "FunctionActivation", "PolynomialActivation", "hermite"}


def __getattr__(name: str) -> Any:
    # The functions import JAX, which the exact certificates must not wait for.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    if name in _FUNCTIONS:
        from twolayer.activations import functions

        return getattr(functions, name)
    from twolayer.activations import catalogue

    return getattr(catalogue, name)
