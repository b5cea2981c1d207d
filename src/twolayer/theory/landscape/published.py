"""Published counts of spurious minima, and the test of our counts against them."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

SAFRAN_SHAMIR = "safran2018spurious, published results"
SAFRAN_YEHUDAI_SHAMIR = "safran2021effects, published minima"
# Bad runs out of 1000 for k neurons on k teachers, their mean loss and mean least eigenvalue.
_2018 = {
    6: (3, 0.0251, 0.0047), 7: (55, 0.0232, 0.0141), 8: (126, 0.0215, 0.0213),
    9: (218, 0.0204, 0.0268), 10: (346, 0.0203, 0.0304), 11: (455, 0.0201, 0.0335),
    12: (585, 0.0213, 0.0351), 13: (730, 0.0217, 0.0368), 14: (736, 0.0231, 0.0375),
    15: (803, 0.0244, 0.0381), 16: (851, 0.0267, 0.0378), 17: (897, 0.0275, 0.0386),
    18: (900, 0.0288, 0.0387), 19: (934, 0.0307, 0.0383), 20: (949, 0.0329, 0.0379),
}  # fmt: skip
_2018_ONE_MORE = {  # k + 1 neurons; no file was published for k = 6, 7, 9: none was found
    6: 0, 7: 0, 8: 1, 9: 0, 10: 1, 11: 1, 12: 3, 13: 15, 14: 55, 15: 102, 16: 180, 17: 233,
    18: 369, 19: 491,
}  # fmt: skip
# Spurious runs out of 500 for k neurons on k teachers.
_2021 = {
    6: 0, 7: 27, 8: 57, 9: 111, 10: 160, 11: 237, 12: 269, 13: 335, 14: 352, 15: 390, 16: 436,
    17: 451, 18: 448, 19: 472, 20: 471, 22: 488, 25: 493, 30: 498,
}  # fmt: skip

# Loss and least eigenvalue of some of its minima, recomputed here from the published weights.
PUBLISHED_FAMILIES: dict[tuple[int, ...], tuple[float, float]] = {
    (1, 6): (0.023203, 0.014059013), (1, 7): (0.021508, 0.021346589),
    (1, 8): (0.020014, 0.027182087), (2, 8): (0.035327, 0.015992078),
    (1, 13): (0.014798, 0.044799), (2, 18): (0.021923, 0.044344),
}  # fmt: skip


@dataclass(frozen=True)
class PublishedCount:
    """How many runs of gradient descent ended badly.

    Attributes
    ----------
    bad, runs
        The count, and out of how many.
    source
        Bib key and what of it.
    """

    bad: int
    runs: int
    source: str


@dataclass(frozen=True)
class CountTest:
    """Two counts held against each other.

    Attributes
    ----------
    p_value
        Two-sided, of Fisher's exact test that both counts have one probability.
    p_value_of_rate
        Two-sided, of the binomial test that takes the published share for the probability; it
        ignores that the share is itself a sample.
    """

    p_value: float
    p_value_of_rate: float


def published_counts(k: int, neurons: int) -> tuple[PublishedCount, ...]:
    """The published counts for k orthonormal ReLU teachers, the latest first; () without any.

    Parameters
    ----------
    k
        Teachers and dimensions.
    neurons
        Neurons of the student: k or more.

    Examples
    --------
    >>> [(count.bad, count.runs) for count in published_counts(13, 13)]
    [(335, 500), (730, 1000)]
    >>> published_counts(12, 14)[0].bad, published_counts(50, 50)
    (0, ())
    """
    found = []
    if neurons == k and k in _2021:
        found.append(PublishedCount(_2021[k], 500, SAFRAN_YEHUDAI_SHAMIR))
    if neurons == k and k in _2018:
        found.append(PublishedCount(_2018[k][0], 1000, SAFRAN_SHAMIR))
    if neurons == k + 1 and k in _2018_ONE_MORE:
        found.append(PublishedCount(_2018_ONE_MORE[k], 1000, SAFRAN_SHAMIR))
    if neurons == k + 2 and 6 <= k <= 18:
        found.append(PublishedCount(0, 1000, "safran2018spurious; safran2021effects, Section 1"))
    return tuple(found)


def published_means(k: int) -> tuple[float, float] | None:
    """Mean loss and mean least eigenvalue of the bad runs of safran2018spurious with n = k.

    Examples
    --------
    >>> published_means(7)
    (0.0232, 0.0141)
    """
    return _2018[k][1:] if k in _2018 else None


def compare_counts(bad: int, runs: int, published: PublishedCount) -> CountTest:
    """Test a count of ours against a published one.

    Parameters
    ----------
    bad, runs
        Our count, and out of how many runs.
    published
        The other.

    Raises
    ------
    ValueError
        Unless ``0 <= bad <= runs`` and there is a run.

    Examples
    --------
    >>> test = compare_counts(70, 300, published_counts(9, 9)[0])
    >>> 0.5 < test.p_value < 1
    True
    """
    if not 0 <= bad <= runs or runs < 1:
        message = "Expected a count between 0 and the number of runs, at least 1. "
        message += f"Received: {bad!r} of {runs!r}."
        raise ValueError(message)
    table = [[bad, runs - bad], [published.bad, published.runs - published.bad]]
    share = published.bad / published.runs
    p_value = float(stats.fisher_exact(table)[1])  # pyright: ignore[reportArgumentType]
    return CountTest(p_value, float(stats.binomtest(bad, runs, share).pvalue))
