r"""Whether the proximal Gibbs law exists where the activation is unbounded.

A feature that grows like ``l z`` on the left and ``r z`` on the right makes the field grow like
``g(w) = |w| c(w / |w|)``, and ``|g|^2 / (2 la)`` then competes with the weight decay of w.
Derived here: the law exists if ``sup_u |c(u)|^2 < la lw``, and doesn't if the supremum is larger.
At equality it doesn't either for homogeneous activations such as relu and one or two input
weights; with three, a peak of c at a kink can be so sharp that it does.
"""

from __future__ import annotations

from twolayer.outcomes import Assumption
from twolayer.theory.langevin.field_growth import ROUNDING, field_growth
from twolayer.theory.langevin.proximal_gibbs import ProximalGibbs


def normalisability(gibbs: ProximalGibbs) -> Assumption:
    """Whether the proximal Gibbs law exists; its margin is ``la lw - sup_u |c(u)|^2``.

    Always, for a bounded activation; and where the output weight is fixed or clipped and the
    activation is asymptotically linear. Undecided between the two bounds of `field_growth`, and
    for activations of which nothing is known at infinity. Where it doesn't exist, neither do a
    duality gap or a rate at this moment; training may get to where it exists. Derived here.

    Examples
    --------
    >>> import numpy as np
    >>> from twolayer.activations import relu
    >>> from twolayer.free_energy import FreeEnergy
    >>> problem = FreeEnergy([[1.0]], [1.0], relu, 0.5, 0.5, 0.1)
    >>> [normalisability(ProximalGibbs(problem, np.array([r]))).holds for r in (-0.4, -0.5)]
    [True, False]
    """
    problem, s = gibbs.problem, gibbs.bounds
    name = "the proximal Gibbs law exists"
    if s.asymptotic_slopes is None:
        shape = f"the growth of {problem.activation.facts.name} at infinity is not known"
        return Assumption(name, None, None, shape)
    allowed = float(problem.output_decay) * float(problem.input_decay)
    if problem.output != "free":
        detail = "the field grows linearly and the output weight is bounded; margin: lw"
        return Assumption(name, True, float(problem.input_decay), detail)
    if s.bounded:
        return Assumption(name, True, allowed, "the activation is bounded; margin: la lw")
    growth = field_growth(gibbs, threshold=allowed**0.5)
    largest = f"sup |c|^2 is {growth.lower**2:.6g}"
    if growth.upper > growth.lower * (1 + 2 * ROUNDING):
        largest = f"sup |c|^2 is between {growth.lower**2:.6g} and {growth.upper**2:.6g}"
    detail = f"{largest}, and la lw is {allowed:.6g}"
    if growth.upper**2 < allowed:
        return Assumption(name, True, allowed - growth.upper**2, detail)
    decided_at_equality = s.homogeneous and problem.dim <= 2
    if growth.lower**2 > allowed or (decided_at_equality and growth.lower**2 == allowed):
        return Assumption(name, False, allowed - growth.lower**2, f"{detail}: no certificate yet")
    return Assumption(name, None, None, detail)


def check_normalisable(gibbs: ProximalGibbs) -> None:
    """Raise unless the proximal Gibbs law is known to exist.

    Raises
    ------
    ValueError
        If it doesn't exist, or if that could not be decided.
    """
    assumption = normalisability(gibbs)
    if not assumption.holds:
        message = "Expected slopes whose proximal Gibbs law exists; weight decay mends it. "
        message += f"Received: {assumption.detail}."
        raise ValueError(message)


def homogeneous_log_sobolev(gibbs: ProximalGibbs) -> float:
    r"""A log-Sobolev constant of w's law, ``(lw - max c^2 / la) / tau``, for one input weight.

    On each half-line the potential of w is quadratic, and its slope is continuous at 0: this is
    Bakry and Emery's criterion (derived here). Not positive where the law doesn't exist.

    Raises
    ------
    ValueError
        If there are several input weights, the output weight isn't free or the activation isn't
        homogeneous.

    Examples
    --------
    >>> import numpy as np
    >>> from twolayer.activations import relu
    >>> from twolayer.free_energy import FreeEnergy
    >>> problem = FreeEnergy([[1.0]], [1.0], relu, 0.5, 0.5, 0.1)
    >>> round(homogeneous_log_sobolev(ProximalGibbs(problem, np.array([-0.4]))), 9)
    1.8
    """
    problem = gibbs.problem
    if problem.dim != 1 or problem.output != "free" or not gibbs.bounds.homogeneous:
        message = "Expected one input weight, a free output and a homogeneous activation. "
        message += f"Received: {problem.dim} weights, a {problem.output} output, "
        message += f"{problem.activation.facts.name}."
        raise ValueError(message)
    growth = field_growth(gibbs).upper
    stiffness = float(problem.input_decay) - growth**2 / float(problem.output_decay)
    return stiffness / float(problem.temperature)
