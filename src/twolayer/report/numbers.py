"""Numbers as people read them, and predicted against measured in a picture the size of a word."""

from __future__ import annotations

import math
from typing import Any

from twolayer.outcomes import Finding

_NOTHING = "\u2013"
_DECIMALS = 7
_SUPERSCRIPTS = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def number(value: Any, digits: int = 4) -> str:
    """A number to a few digits, large and small ones with a power of ten; a text as it is.

    Parameters
    ----------
    value
        A number, a text, or ``None``.
    digits
        How many significant digits.

    Examples
    --------
    >>> number(0.123456), number(1.5e-9), number(None), number("above"), number(-2.0)
    ('0.1235', '1.5 × 10⁻⁹', '–', 'above', '−2')
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return _NOTHING
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text.replace("-", "\u2212")
    mantissa, _, power = text.partition("e")
    return f"{mantissa} \u00d7 10{str(int(power)).translate(_SUPERSCRIPTS)}".replace("-", "\u2212")


def measured(value: Any, error: float | None) -> str:
    """A measurement with its error, both to the error's second digit.

    Parameters
    ----------
    value
        A number, a text, or ``None``.
    error
        Its standard error or tolerance; zero or nothing where there is none.

    Examples
    --------
    >>> measured(0.123456, 0.0012), measured(1.5e-9, 2e-12), measured("found", 0.0)
    ('0.1235 ± 0.0012', '1.5 × 10⁻⁹ ± 2 × 10⁻¹²', 'found')
    """
    numbers = isinstance(value, (int, float)) and math.isfinite(value)
    if not numbers or error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    size, rest = abs(value), math.floor(math.log10(error))  # the power of ten of the error
    if 1e-4 <= max(size, error) < 1e6 and -_DECIMALS < rest <= 1:
        places = 1 - rest
        return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "\u2212")
    own = math.floor(math.log10(size)) if size else rest
    digits = min(max(own - rest + 2, 1), _DECIMALS)  # of the value, as far as the error lets see
    return f"{number(value, digits)} ± {number(error, 2)}"


def interval(finding: Finding) -> dict[str, float] | None:
    """Places, in per cent of a line, of a prediction and a measurement with two errors.

    ``None`` where one of them is no number.

    Parameters
    ----------
    finding
        What was predicted and measured.

    Examples
    --------
    >>> interval(Finding("x", "", 1.0, 1.0, 0.0, "agrees", ""))["measured"]
    50.0
    """
    values = (finding.predicted, finding.measured)
    if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
        return None
    expected, found = (float(v) for v in values)
    error = finding.error
    spread = 2 * error if error is not None and math.isfinite(error) and error > 0 else 0.0
    low, high = min(expected, found - spread), max(expected, found + spread)
    width = high - low
    if not 0 < width < math.inf:
        return {"predicted": 50.0, "measured": 50.0, "low": 50.0, "high": 50.0}

    def place(value: float) -> float:
        return round(8 + 84 * (value - low) / width, 2)

    return {
        "predicted": place(expected),
        "measured": place(found),
        "low": place(found - spread),
        "high": place(found + spread),
    }
