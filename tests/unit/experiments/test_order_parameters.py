"""The experiments on order parameters: their options, and what they do without the outside file."""

import re

import pytest

from twolayer.experiments.teacher_student import order_parameters
from twolayer.experiments.teacher_student.order_parameters import (
    learning_rate_scaling,
    overlap_equations,
)
from twolayer.experiments.teacher_student.overlap_flow import overlap_flow


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cases": "tanh 1 8"}, "erf, relu or square"),
        ({"cases": "erf 1"}, "Expected cases"),
        ({"cases": "erf 1 8 2"}, "Expected cases"),
        ({"cases": "erf -1 8"}, "Expected cases"),
        ({"cases": "erf nan 8"}, "Expected cases"),
        ({"cases": ""}, "Expected cases"),
        ({"dims": "100"}, "two different dims"),
        ({"dims": "3,100"}, "at least 4"),
        ({"dims": "400,100"}, "increasing"),
        ({"seeds": 1}, "seeds"),
        ({"points": 1}, "points"),
        ({"seed": -1}, "seed"),
    ],
)
def test_overlap_equations_refuses(options, words):
    """An option that makes no sense is refused by one sentence before anything runs."""
    with pytest.raises(ValueError, match=words):
        overlap_equations(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step_ratios": "1,0.5"}, "increasing"),
        ({"step_ratios": "0"}, "step_ratios"),
        ({"students": 1}, "students"),
        ({"dim": 5}, "at least 6"),
        ({"dim": 400.0}, "at least 6"),
        ({"horizon": 0.0}, "horizon"),
        ({"noise_std": -1.0}, "noise_std"),
    ],
)
def test_learning_rate_scaling_refuses(options, words):
    """An option that makes no sense is refused by one sentence before anything runs."""
    with pytest.raises(ValueError, match=re.escape(words)):
        learning_rate_scaling(**options)


@pytest.mark.parametrize("text", ["[]", "{}", "not JSON", '{"M0": []}'])
def test_a_file_that_is_no_outside_solution_is_refused(tmp_path, text):
    """A file without the numbers of a solution is refused by its name."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"outside solution.*other\.json"):
        order_parameters._stored(str(path))


@pytest.mark.slow
def test_without_the_outside_file_a_note_says_what_was_left_out(tmp_path):
    """The comparison with an outside solution disappears, with a note, where its file is absent."""
    missing = str(tmp_path / "absent.json")
    result = learning_rate_scaling(step_ratios="1", dim=100, horizon=2.0, seeds=4, oracle=missing)
    assert [finding.name for finding in result.findings] == [
        "gamma/p = 1", "gamma/p = 1, gradient flow",
    ]  # fmt: skip
    assert "left out" in result.findings[0].note
    assert missing in result.findings[0].note


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activations": "tanh"}, "Expected activations"),
        ({"activations": "relu,relu"}, "each once"),
        ({"dim": 4}, "at least 5"),
        ({"students": 0}, "students"),
        ({"horizon": -1.0}, "horizon"),
    ],
)
def test_overlap_flow_refuses(options, words):
    """An option that makes no sense is refused by one sentence before anything runs."""
    with pytest.raises(ValueError, match=words):
        overlap_flow(**options)
