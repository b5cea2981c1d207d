"""Reading of experiment options: lists in one text, checked numbers."""

from __future__ import annotations

import math

from twolayer.experiments.registry import Progress

_TOO_LARGE = 10**9


def whole_numbers(name: str, text: str) -> list[int]:
    """Positive whole numbers separated by commas.

    Raises
    ------
    ValueError
        Naming the option, if the text is no such list.

    Examples
    --------
    >>> whole_numbers("dims", "64, 256")
    [64, 256]
    """
    parts = [part.strip() for part in str(text).split(",")]
    if not all(
        part.isdecimal() and part.isascii() and 0 < int(part) < _TOO_LARGE for part in parts
    ):
        message = f"Expected {name} as whole numbers like 64,256. Received: {text!r}."
        raise ValueError(message)
    return [int(part) for part in parts]


def numbers(name: str, text: str, lowest: float, highest: float) -> list[float]:
    """Increasing numbers between two bounds, separated by commas.

    Raises
    ------
    ValueError
        Naming the option, if the text is no such list.

    Examples
    --------
    >>> numbers("ratios", "0.5, 1, 2e0", 0, 5)
    [0.5, 1.0, 2.0]
    """
    try:
        values = [float(part) for part in str(text).split(",")]
    except ValueError:
        values = [math.nan]
    if not all(lowest <= value <= highest for value in values) or values != sorted(set(values)):
        message = f"Expected {name} as increasing numbers between {lowest:g} and {highest:g}, "
        message += f"separated by commas. Received: {text!r}."
        raise ValueError(message)
    return values


def activations_of(text: str) -> list[str]:
    """Names of activations (or polynomials in x) separated by commas.

    Raises
    ------
    ValueError
        If one is unknown or named twice.

    Examples
    --------
    >>> activations_of("relu, tanh")
    ['relu', 'tanh']
    """
    from twolayer.activations.facts import facts_of

    names = [part.strip() for part in text.split(",")]
    for name in names:
        facts_of(name)
    if len(set(names)) < len(names):
        message = f"Expected each activation once. Received: {text!r}."
        raise ValueError(message)
    return names


def targets_of(text: str) -> list[str]:
    """Polynomials separated by semicolons, as they were typed.

    Raises
    ------
    ValueError
        If one of them is not in the polynomial language.

    Examples
    --------
    >>> targets_of("z1; z1*z2")
    ['z1', 'z1*z2']
    """
    from twolayer.language import parse_polynomial

    parts = [part.strip() for part in text.split(";")]
    for part in parts:
        parse_polynomial(part)
    return parts


def coordinates(target: str, activation: str) -> int:
    """The number of coordinates that `target` reads, known before JAX is loaded.

    Raises
    ------
    ValueError
        If the target is not in the polynomial language, or the activation is unknown.

    Examples
    --------
    >>> coordinates("z1 + z1*z2", "tanh")
    2
    """
    from twolayer.activations.facts import facts_of
    from twolayer.language import parse_polynomial

    facts_of(activation)
    return parse_polynomial(target).dim


def positive(**values: float) -> None:
    """Raise unless every named value is a number between 1e-9 and 1e9.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    for name, value in values.items():
        if not (isinstance(value, (int, float)) and 1 / _TOO_LARGE <= value <= _TOO_LARGE):
            message = f"Expected {name} to be a positive number"
            if isinstance(value, (int, float)) and 0 < value < math.inf:
                message += " between 1e-9 and 1e9"
            message += f". Received: {value!r}."
            raise ValueError(message)


def at_least(minimum: int, **values: int) -> None:
    """Raise unless every named value is a whole number of at least `minimum`, below 10^9.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    for name, value in values.items():
        if not isinstance(value, int) or not minimum <= value < _TOO_LARGE:
            message = f"Expected {name} to be a whole number of at least {minimum}"
            if isinstance(value, int) and value >= _TOO_LARGE:
                message += " and below 10^9"
            message += f". Received: {value!r}."
            raise ValueError(message)


class Stage:
    """One named stage of an experiment: a progress hook ``(done, total)``."""

    def __init__(self, progress: Progress, name: str):
        self._progress, self._name = progress, name

    def __call__(self, done: float, total: float) -> None:
        """Report that `done` of `total` is done."""
        self._progress(self._name, int(1000 * done / max(total, 1e-12)), 1000)
