"""The built-in activations by name."""

from __future__ import annotations

from twolayer.activations.facts import FACTS, Facts, facts_of
from twolayer.activations.functions import (
    Abs,
    Activation,
    Erf,
    Gelu,
    PolynomialActivation,
    Relu,
    Sigmoid,
    Sinusoid,
    Softplus,
    Tanh,
)

relu = Relu()
abs_ = Abs()
erf = Erf()
tanh = Tanh()
sigmoid = Sigmoid()
softplus = Softplus()
gelu = Gelu()
cos_sin = Sinusoid(1.0, 1.0, FACTS["cos_sin"])
cos = Sinusoid(1.0, 0.0, FACTS["cos"])
sin = Sinusoid(0.0, 1.0, FACTS["sin"])

ACTIVATIONS: dict[str, Activation] = {
    activation.facts.name: activation
    for activation in (relu, abs_, erf, tanh, sigmoid, softplus, gelu, cos_sin, cos, sin)
}


def activation_of(name: str | Facts | Activation) -> Activation:
    """The activation of that name, or the polynomial written in ``x``.

    Raises
    ------
    ValueError
        If the name is neither built in nor a polynomial in ``x``.

    Examples
    --------
    >>> activation_of("tanh").facts.name
    'tanh'
    >>> float(activation_of("(1+x)^3")(__import__("jax").numpy.asarray(1.0)))
    8.0
    """
    if isinstance(name, Activation):
        return name
    facts = name if isinstance(name, Facts) else facts_of(name)
    if facts.name in ACTIVATIONS:
        return ACTIVATIONS[facts.name]
    degree = max(int(facts.degree), 0)  # -1 for the zero polynomial
    factorial, coefficients = 1, []
    for k, derivative in enumerate(facts.derivatives(degree)):  # type: ignore[misc]
        factorial *= max(k, 1)
        coefficients.append(float(derivative / factorial))
    return PolynomialActivation(coefficients=tuple(coefficients), facts=facts)
