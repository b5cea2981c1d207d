"""Grids of parameters: what an experiment takes, and the cells that a grid stands for."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twolayer.experiments import find_experiment
from twolayer.experiments.registry import unknown
from twolayer.store import Cell

Grid = Mapping[str, Any]

_LARGEST = 1e300  # of the ends of a range: their difference is a number too
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def name_of(experiment: str | Callable[..., Any]) -> str:
    """The name by which a worker finds an experiment.

    Raises
    ------
    ValueError
        If a function cannot be imported by its name.
    """
    if isinstance(experiment, str):
        return experiment
    module = experiment.__module__
    if module == "__main__":  # a script: other processes find it as a module of its folder
        module = Path(getattr(sys.modules["__main__"], "__file__", None) or "<input>").stem
    name = f"{module}:{experiment.__qualname__}"
    if "<" in name:
        message = "Expected a function of a module or script that can be imported: other "
        message += f"processes must find it. Received: {name}."
        raise ValueError(message)
    return name


def function_of(name: str) -> Callable[..., Any]:
    """The function that an experiment's name stands for.

    Raises
    ------
    ValueError
        If there is none, its module cannot be imported, or the name stands for something else.

    Examples
    --------
    >>> function_of("math:sqrt")(9.0)
    3.0
    """
    if ":" not in name:
        return find_experiment(name).run
    module, _, attribute = name.partition(":")
    message = f"Expected an experiment, or a function like module:function. Received: {name!r}"
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(message + ".")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except (Exception, SystemExit) as error:  # whatever a module of somebody's does
        message += f", whose module cannot be imported: {type(error).__name__}: {error}."
        raise ValueError(message) from error
    if not callable(function):
        message += f", but {module} has no such function."
        raise ValueError(message)  # noqa: TRY004 (the name is wrong, whatever it stands for)
    return function


def options_of(name: str) -> dict[str, inspect.Parameter]:
    """The parameters of an experiment, by name; none are known of a built-in function."""
    if ":" not in name:
        return find_experiment(name).options
    function = function_of(name)
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return {}
    return {key: value for key, value in parameters.items() if key != "progress"}


def cells_of(name: str, grid: Grid, seeds: int = 1) -> list[Cell]:
    """The cells of a grid, the last parameter running fastest.

    Raises
    ------
    ValueError
        If a parameter is unknown, given no value, left without one, or given one of the wrong
        type, or if there are seeds for an experiment without randomness.

    Examples
    --------
    >>> [dict(cell.parameters) for cell in cells_of("math:hypot", {"x": [3, 5], "y": 4})]
    [{'x': 3, 'y': 4}, {'x': 5, 'y': 4}]
    """
    options = options_of(name)
    whole = dict(grid)
    if seeds < 1:
        message = f"Expected at least 1 seed. Received: {seeds}."
        raise ValueError(message)
    if seeds > 1:
        if "seed" not in options:
            message = f"{name} has no parameter 'seed': leave out the number of seeds."
            raise ValueError(message)
        whole.setdefault("seed", list(range(seeds)))
    axes = {key: _values(name, options, key, value) for key, value in whole.items()}
    defaults = {
        key: option.default
        for key, option in options.items()
        if option.default is not inspect.Parameter.empty
    }
    for key, option in options.items():
        if option.kind not in _VARIADIC and key not in axes and key not in defaults:
            message = f"Expected a value for {key}, which {name} needs. Received: none."
            raise ValueError(message)
    for key, value in defaults.items():
        _check_storable(key, value)
    points = itertools.product(*axes.values())
    return [Cell(name, {**defaults, **dict(zip(axes, point, strict=True))}) for point in points]


def _check_storable(key: str, value: Any) -> None:
    """Raise unless a study can keep that value: it is what tells cells apart."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"Expected a finite number, text or list for {key}. Received: {value!r}."
        raise ValueError(message) from error


def _values(name: str, options: dict[str, inspect.Parameter], key: str, value: Any) -> list[Any]:
    """The values of one axis, each of the parameter's type, none twice."""
    if options and key not in options:
        known = f"it takes {', '.join(options)}"
        raise ValueError(unknown(f"parameter of {name}", key, options, known))
    given = [value] if isinstance(value, (str, bytes)) or not _is_sequence(value) else list(value)
    if not given:
        message = f"Expected values for {key}. Received: none."
        raise ValueError(message)
    default = options[key].default if key in options else inspect.Parameter.empty
    return list(dict.fromkeys(_typed(key, item, default) for item in given))


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) or hasattr(value, "tolist")


def _typed(key: str, value: Any, default: Any) -> Any:
    """A value as JSON holds it, of the type of the parameter's default."""
    value = value.item() if hasattr(value, "item") else value
    if default is inspect.Parameter.empty or default is None:
        _check_storable(key, value)
        return value
    wanted = type(default)
    whole = isinstance(value, float) and value.is_integer() and wanted is int
    number = isinstance(value, int) and not isinstance(value, bool) and wanted is float
    word = isinstance(value, (int, float)) and wanted is str
    if whole or number or word:
        value = str(value).lower() if isinstance(value, bool) else wanted(value)
    if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
        kind = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
        message = f"Expected {kind.get(wanted, wanted.__name__)} for {key}. Received: {value!r}."
        raise ValueError(message)
    return value


def read_grid(text: str) -> tuple[str, Any]:
    """One ``NAME=VALUES`` of the command line; what is typed is parsed, never evaluated.

    Raises
    ------
    ValueError
        If it is no such text.

    Examples
    --------
    >>> read_grid("width=64, 256"), read_grid("beta=0:1:3"), read_grid("dims=8,16;32")
    (('width', [64, 256]), ('beta', [0.0, 0.5, 1.0]), ('dims', ['8,16', 32]))
    >>> read_grid("cases=0.5,0.5,0.1;")  # one value, which holds commas
    ('cases', ['0.5,0.5,0.1'])
    >>> read_grid("step=0.01:1:3:log")
    ('step', [0.01, 0.1, 1.0])
    """
    name, sign, values = text.partition("=")
    one_or_more = values.strip().removesuffix(";")
    parts = [part.strip() for part in one_or_more.split(";" if ";" in values else ",")]
    if not name.strip() or not sign or not all(parts):
        message = f"Expected --grid NAME=VALUE,VALUE,... Received: {text!r}."
        raise ValueError(message)
    name = name.strip().replace("-", "_")
    if len(parts) == 1 and ":" in parts[0]:
        return name, _range(name, parts[0])
    return name, [_value(part) for part in parts]


def _range(name: str, text: str) -> list[Any]:
    ends = text.split(":")
    logarithmic = ends[-1] == "log"
    numbers = [_value(part) for part in (ends[:-1] if logarithmic else ends)]
    if not all(map(_is_real, numbers)) or not 2 <= len(numbers) <= 3:
        message = f"Expected {name}=LOW:HIGH:COUNT, with ':log' for ratios. Received: {text!r}."
        raise ValueError(message)
    if len(numbers) == 2:
        return numbers
    low, high, count = numbers
    positive = low > 0 and high > 0
    if not isinstance(count, int) or not 2 <= count <= 10_000 or (logarithmic and not positive):
        message = f"Expected between 2 and 10000 values of {name}, between positive numbers for "
        message += f"ratios. Received: {text!r}."
        raise ValueError(message)
    if logarithmic:
        values = [low * (high / low) ** (k / (count - 1)) for k in range(count)]
    else:
        values = [low + (high - low) * k / (count - 1) for k in range(count)]
    values[-1] = float(high)
    return [float(f"{value:.15g}") for value in values]


def _is_real(value: Any) -> bool:
    """Whether it is a number that can be calculated with."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) < _LARGEST


def _value(text: str) -> Any:
    words = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_grids(texts: Sequence[str]) -> dict[str, Any]:
    """Several of them, each parameter once.

    Raises
    ------
    ValueError
        If one is no such text, or two are of one parameter.
    """
    axes: dict[str, Any] = {}
    for text in texts:
        name, values = read_grid(text)
        if name in axes:
            message = f"Expected each parameter once. Received: --grid {name}=... twice."
            raise ValueError(message)
        axes[name] = values
    return axes


def read_bounds(axes: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Two parameters with a range each.

    Raises
    ------
    ValueError
        If they are others.
    """
    good = len(axes) == 2 and all(
        len(values) == 2 and all(map(_is_real, values)) and values[0] < values[1]
        for values in axes.values()
    )
    if not good:
        found = " ".join(f"{name}={':'.join(map(str, values))}" for name, values in axes.items())
        message = "Expected two increasing ranges to refine in, like --grid a=0:1 --grid b=1:9. "
        message += f"Received: {found or 'none'}."
        raise ValueError(message)
    return {name: (float(low), float(high)) for name, (low, high) in axes.items()}
