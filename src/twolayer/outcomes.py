"""What theory, training and their comparison return: plain frozen data, no behaviour, no JAX."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["exact", "asymptotic", "upper", "lower"]
Verdict = Literal["agrees", "disagrees", "undecided", "failed"]
Status = Literal["finished", "diverged", "stopped"]


@dataclass(frozen=True)
class Assumption:
    """One hypothesis of a theorem and whether it holds for the case at hand.

    Attributes
    ----------
    name
        The hypothesis in a short phrase, with the paper's number where it has one.
    holds
        ``True``, ``False``, or ``None`` where it could not be decided.
    margin
        By how much it holds (positive) or fails (negative), in the units `detail` names.
    detail
        One sentence for people: what was checked, and what follows where it fails.
    """

    name: str
    holds: bool | None
    margin: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Prediction:
    """A curve that a theory predicts.

    Attributes
    ----------
    name
        What is predicted, e.g. ``"loss"``.
    grid
        The points (times, sizes) at which it is predicted, shape ``[t]``.
    value
        The predicted values, shape ``[t]``.
    kind
        Whether the theory claims equality, a limit, or a bound from above or below.
    assumptions
        What the theory rests on, each checked.
    reference
        Bib key and theorem number, or ``"derived here"``.
    grid_name
        What the grid is, e.g. ``"time"``.
    error
        The numerical error of `value` where one is known, shape ``[t]``.
    status
        ``"diverged"`` where the integration stopped being finite: the curve ends there.
    """

    name: str
    grid: np.ndarray
    value: np.ndarray
    kind: Kind
    reference: str
    assumptions: tuple[Assumption, ...] = ()
    grid_name: str = "time"
    error: np.ndarray | None = None
    status: Status = "finished"


@dataclass(frozen=True)
class Trajectory:
    """What training did: one curve for each seed.

    Attributes
    ----------
    name
        What was observed, e.g. ``"loss"``.
    time
        Observation times, shape ``[t]``.
    value
        Observed values, shape ``[s, t]``; a diverged seed's curve is NaN from the time it left
        the finite numbers, and `status` says so.
    status
        One of ``"finished"``, ``"diverged"``, ``"stopped"`` for each seed.
    error
        Standard error of each single observation (of the test sample, say), shape ``[s, t]``.
    details
        Sizes of the run, for people: width, dimension, step.
    grid_name
        What `time` holds where it is no time: a ratio of sizes, say.
    """

    name: str
    time: np.ndarray
    value: np.ndarray
    status: tuple[Status, ...]
    error: np.ndarray | None = None
    details: dict[str, float | int | str] = field(default_factory=dict)
    grid_name: str = "time"


@dataclass(frozen=True)
class PhaseDiagram:
    """A quantity over two parameters.

    Attributes
    ----------
    name
        What was measured.
    rows, columns
        The values of the two parameters, shapes ``[r]`` and ``[c]``.
    row_name, column_name
        Which parameters they are.
    value
        The quantity, shape ``[r, c]``; NaN where it could not be measured.
    error
        Its standard error, shape ``[r, c]``.
    logarithmic
        Whether its colours should follow its logarithm.
    """

    name: str
    rows: np.ndarray
    columns: np.ndarray
    row_name: str
    column_name: str
    value: np.ndarray
    error: np.ndarray | None = None
    logarithmic: bool = False


@dataclass(frozen=True)
class Comparison:
    """A prediction held against a measurement.

    Attributes
    ----------
    name
        What was compared.
    grid
        Where, shape ``[t]``.
    gap
        Measured minus predicted, shape ``[t]``.
    error
        Standard error of the gap, shape ``[t]``.
    tolerance
        The deviation that the theory itself allows (finite-size bias), shape ``[t]``.
    verdict
        ``"agrees"`` where the gap stays within error and tolerance, ``"disagrees"`` where it
        does not, ``"undecided"`` where the error is too large to tell.
    reason
        One sentence for people.
    """

    name: str
    grid: np.ndarray
    gap: np.ndarray
    error: np.ndarray
    tolerance: np.ndarray
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Convergence:
    """How the gap between training and a limit shrinks with size.

    Attributes
    ----------
    name
        What was compared.
    sizes
        The sizes, shape ``[k]``.
    gap, error
        Mean gap at each size and its standard error, shape ``[k]``.
    slope, slope_error
        ``r`` in ``gap ~ size^-r`` and its standard error.
    rate
        The slowest decay that the theory allows.
    verdict
        As for a comparison.
    reason
        One sentence for people.
    """

    name: str
    sizes: np.ndarray
    gap: np.ndarray
    error: np.ndarray
    slope: float
    slope_error: float
    rate: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Finding:
    """One testable statement: what theory predicts, what was measured independently.

    Attributes
    ----------
    name
        Short and unique within its experiment.
    statement
        The claim in one sentence.
    predicted, measured
        Numbers, or short texts where the prediction is not a number.
    error
        Standard error or numerical tolerance of the measurement, in its units.
    verdict
        As for a comparison.
    reference
        Bib key and theorem number, or ``"derived here"``.
    note
        What a reader should know of this case: why it failed, what was left out.
    """

    name: str
    statement: str
    predicted: float | str
    measured: float | str
    error: float
    verdict: Verdict
    reference: str
    note: str = ""
