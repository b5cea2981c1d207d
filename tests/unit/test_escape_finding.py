"""The verdict on an escape time."""

import pytest

from twolayer.experiments.subspace_sparse.escape import _finding


@pytest.mark.parametrize(
    ("measured", "error", "verdict"),
    [
        (2.5, 0.1, "agrees"),
        (4.0, 0.1, "disagrees"),
        (2.5, 1.0, "undecided"),
        (9.0, 1.0, "disagrees"),
    ],
)
def test_agreement_within_an_error_of_its_own_size_says_nothing(measured, error, verdict):
    """An error that would also admit no growth at all cannot confirm the predicted growth."""
    finding = _finding("growth", "", (2.5, 0.0), (measured, error))
    assert finding.verdict == verdict
