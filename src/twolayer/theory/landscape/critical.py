"""Where descent ended: a global minimum, a spurious one or a saddle, and which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from twolayer.theory.landscape.families import SPURIOUS
from twolayer.theory.landscape.risk import (
    checked,
    least_eigenvalue,
    relu_risk,
    relu_risk_gradient,
)
from twolayer.theory.landscape.splitting import splitting_curvatures
from twolayer.theory.landscape.symmetry import SymmetryClass, symmetry_class

Kind = Literal["global minimum", "spurious minimum", "saddle", "degenerate", "not critical"]
_STATIONARY = 1e-7
_SAME_LOSS = 1e-8


@dataclass(frozen=True)
class CriticalPoint:
    """What a student's weights are in the landscape.

    Attributes
    ----------
    kind
        ``"global minimum"`` where the loss is below the threshold, ``"not critical"`` where the
        gradient is not small; else by the sign of the Hessian's least eigenvalue,
        ``"degenerate"`` where rounding hides it.
    loss, gradient_norm
        The risk and the norm of its gradient.
    least_eigenvalue
        Of the Hessian; NaN at a global minimum and off the critical points.
    norm_sum
        The sum of the neurons' norms over that of the teachers: at most 1 in every minimum that
        safran2021effects found, the condition of its Theorem 14.
    splits
        How many neurons become a saddle when split (Theorem 16 of safran2021effects).
    symmetry
        The class under permutations, where the point is spurious or a saddle.
    """

    kind: Kind
    loss: float
    gradient_norm: float
    least_eigenvalue: float
    norm_sum: float
    splits: int
    symmetry: SymmetryClass | None


@dataclass(frozen=True)
class Group:
    """Points that differ by permutations only, as far as their loss and class can tell.

    Attributes
    ----------
    count
        How many runs ended there.
    first
        The first of them.
    runs
        Their numbers.
    """

    count: int
    first: CriticalPoint
    runs: tuple[int, ...]


def critical_point(
    student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "k d"]
) -> CriticalPoint:
    """Classify the end of a descent on the ReLU teacher.

    The threshold 1e-3 of the loss is that of safran2018spurious, times the teachers' mean squared
    norm: for up to 100 unit orthonormal teachers no published spurious minimum lies below 0.006.
    Nearly parallel teachers can have stationary points of smaller loss: judge these by the loss.

    Parameters
    ----------
    student, teacher
        As for `relu_risk`; the class is read from the overlaps ``w_i . v_j``.

    Raises
    ------
    ValueError
        As for `relu_risk`.

    Examples
    --------
    >>> from twolayer.theory.landscape import family
    >>> point = critical_point(family((1, 6)).weights, np.eye(7))
    >>> point.kind, point.symmetry.name, point.splits
    ('spurious minimum', '1+6', 7)
    >>> critical_point(np.eye(3), np.eye(3)).kind
    'global minimum'
    """
    W, V = checked(student, teacher)
    loss, slope = relu_risk(W, V), float(np.linalg.norm(relu_risk_gradient(W, V)))
    share = float(np.sum(np.linalg.norm(W, axis=1)) / np.sum(np.linalg.norm(V, axis=1)))
    nothing = (loss, slope, np.nan, share, 0, None)
    size = float(np.mean(np.sum(V * V, axis=1)))  # the loss has its units, the Hessian has none
    if slope > _STATIONARY * size**0.5:
        return CriticalPoint("not critical", *nothing)
    if loss < SPURIOUS * size:
        return CriticalPoint("global minimum", *nothing)
    if np.any(np.all(W == 0, axis=1)):  # no second derivative
        return CriticalPoint("degenerate", *nothing)
    least = least_eigenvalue(W, V)
    # the gradient left over shifts the eigenvalues by about itself
    rounding = max(1e-12 * len(W) ** 2, slope / size**0.5)
    kind: Kind = "degenerate"
    if abs(least) > rounding:
        kind = "spurious minimum" if least > 0 else "saddle"
    splits = int(np.sum(splitting_curvatures(W, V) < 0))
    return CriticalPoint(kind, loss, slope, least, share, splits, symmetry_class(W @ V.T))


def census(points: Sequence[CriticalPoint]) -> tuple[Group, ...]:
    """Group the ends of many runs modulo permutations: same kind, class and loss to 1e-8.

    Parameters
    ----------
    points
        One for each run.

    Examples
    --------
    >>> from twolayer.theory.landscape import family
    >>> W, V = family((1, 6)).weights, np.eye(7)
    >>> ends = [critical_point(end, V) for end in (V, W, W[::-1], V[::-1])]
    >>> [(group.count, group.first.kind) for group in census(ends)]
    [(2, 'global minimum'), (2, 'spurious minimum')]
    """
    groups: list[list[int]] = []
    for number, point in enumerate(points):
        for group in groups:
            if _alike(points[group[0]], point):
                group.append(number)
                break
        else:
            groups.append([number])
    found = [Group(len(group), points[group[0]], tuple(group)) for group in groups]
    return tuple(sorted(found, key=lambda group: group.first.loss))


def _alike(first: CriticalPoint, second: CriticalPoint) -> bool:
    if first.kind != second.kind:
        return False
    if first.kind in {"global minimum", "not critical"}:
        return True
    names = [point.symmetry.name if point.symmetry else "" for point in (first, second)]
    return names[0] == names[1] and abs(first.loss - second.loss) < _SAME_LOSS
