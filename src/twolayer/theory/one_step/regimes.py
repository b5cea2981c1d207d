r"""How strong the data and the step are, and which polynomial degree stands for the activation.

demir2025asymptotic sets the learning rate ``eta`` and the spikes ``theta`` of the data's
covariance to powers of the dimension, ``eta |Sigma| ~ dim^beta`` with a share alpha of the
exponent in the step. No JAX, no NumPy: the answers are exponents and whole numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from twolayer.outcomes import Assumption

_ROUNDING = 1e-9  # beta / (1 - beta) this near a whole number is that number
_CAP = 4  # the published experiments go no higher, for numerical stability


@dataclass(frozen=True)
class Degree:
    """The polynomial degree with which an activation is equivalent after the step.

    Attributes
    ----------
    degree
        The degree L of the polynomial (the paper's l is L + 1), or ``None`` if no finite one is
        promised.
    assumptions
        Where the rule applies, with its margin in beta.
    reference
        Bib key and theorem number, or ``"derived here"``.
    """

    degree: int | None
    assumptions: tuple[Assumption, ...]
    reference: str


def learning_rate(dim: int, alpha: float, beta: float) -> float:
    """``eta = dim^(alpha beta)``, demir2025asymptotic, Section 2.

    Examples
    --------
    >>> learning_rate(10_000, 0.5, 0.5)
    10.0
    """
    return _size(dim) ** (check_share("alpha", alpha) * check_share("beta", beta))


def data_strength(dim: int, alpha: float, beta: float) -> float:
    """``theta = dim^(beta (1 - alpha))``, demir2025asymptotic, Section 2.

    Examples
    --------
    >>> data_strength(10_000, 0.0, 0.5)
    100.0
    """
    return _size(dim) ** (check_share("beta", beta) * (1 - check_share("alpha", alpha)))


def paper_degree(beta: float) -> Degree:
    r"""The degree that suffices whatever alpha is.

    .. math:: \frac{l-2}{l-1} < \beta < \frac{l-1}{l} \quad\Rightarrow\quad
              L = l - 1 = \lceil \beta / (1 - \beta) \rceil

    demir2025asymptotic, Theorem 4. On the thresholds 0, 1/2, 2/3, ... the theorem is silent: the
    degree below the threshold is returned with an assumption that fails. At ``beta = 1`` there
    is none.

    Examples
    --------
    >>> [paper_degree(beta).degree for beta in (0.3, 0.6, 0.74, 0.79, 1.0)]
    [1, 2, 3, 4, None]
    >>> paper_degree(0.5).assumptions[0].holds
    False
    """
    beta = check_share("beta", beta)
    reference = "demir2025asymptotic, Theorem 4"
    name = "beta strictly between two thresholds (l - 2)/(l - 1) and (l - 1)/l, Theorem 4"
    if beta == 1:
        detail = "margin: distance of beta to the next threshold; l grows without bound at 1"
        return Degree(None, (Assumption(name, False, 0.0, detail),), reference)
    degree = max(1, math.ceil(_snapped(beta / (1 - beta))))
    lower, upper = (degree - 1) / degree, degree / (degree + 1)
    margin = min(beta - lower, upper - beta)
    margin = 0.0 if margin < _ROUNDING else margin
    detail = f"margin: distance of beta to the nearer of {lower:.6g} and {upper:.6g}"
    return Degree(degree, (Assumption(name, margin > 0, margin, detail),), reference)


def capped_degree(beta: float) -> int:
    """``min(4, max(1, ceil(beta / (1 - beta + 1e-6))))``: the rule of the published experiments.

    That of the code behind demir2025asymptotic, Fig. 1 and 5, with a value at ``beta = 1`` and
    no degree above 4, beyond which the polynomials' tails dominate at finite size.

    Examples
    --------
    >>> [capped_degree(beta) for beta in (0.0, 0.6, 0.8, 1.0)]
    [1, 2, 4, 4]
    """
    beta = check_share("beta", beta)
    return min(_CAP, max(1, math.ceil(beta / (1 - beta + 1e-6))))


def needed_degree(alpha: float, beta: float) -> Degree:
    r"""The least degree that is enough by the size of the neurons' deterministic shifts.

    .. math:: (L + 1) \max\Bigl\{\beta - 1, \frac{\beta (1 - \alpha) - 1}{2}\Bigr\} < -\frac12

    Derived here: given the data's few directions, the input of a neuron is a bulk plus a shift of
    order dim^(beta - 1) from the gradient and of order dim^((beta (1 - alpha) - 1) / 2) from the
    initial weights on the spikes; a polynomial of degree L leaves out ``dim^(1/2) |shift|^(L+1)``
    over all neurons. At ``alpha = 0`` it is Theorem 4 of demir2025asymptotic, at ``alpha = 1``
    the weaker ``beta < 1 - 1 / (2 (L + 1))``. Sufficient only: a smaller degree often is as good,
    above all where the labels do not depend on the spikes.

    Examples
    --------
    >>> [needed_degree(alpha, 0.74).degree for alpha in (0, 0.5, 1)]
    [3, 1, 1]
    >>> needed_degree(0.5, 1.0).degree is None
    True
    """
    alpha, beta = check_share("alpha", alpha), check_share("beta", beta)
    exponent = max(beta - 1, (beta * (1 - alpha) - 1) / 2)
    shrinks = exponent < -_ROUNDING
    degree = math.floor(_snapped(-1 / (2 * exponent))) if shrinks else None
    assumption = Assumption(
        "the neurons' shifts shrink with the dimension",
        shrinks,
        -exponent if shrinks else 0.0,
        "margin: their exponent; at 0 no polynomial is promised to be enough",
    )
    return Degree(degree, (assumption,), "derived here")


def _snapped(ratio: float) -> float:
    nearest = round(ratio)
    return nearest if abs(ratio - nearest) <= _ROUNDING * max(1.0, ratio) else ratio


def check_share(name: str, value: float) -> float:
    """The number if it is one in [0, 1].

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> check_share("alpha", 1)
    1.0
    """
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (real and 0 <= value <= 1):
        message = f"Expected {name} as a number in [0, 1]. Received: {value!r}."
        raise ValueError(message)
    return float(value)


def _size(dim: int) -> float:
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
        message = f"Expected a dimension of at least 1. Received: {dim!r}."
        raise ValueError(message)
    return float(dim)
