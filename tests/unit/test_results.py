"""Results on disk come back as they were."""

import json

import numpy as np
import pytest
import xarray

from twolayer.outcomes import (
    Assumption,
    Comparison,
    Convergence,
    Finding,
    Prediction,
    Trajectory,
)
from twolayer.report.figures import figure, save_figure
from twolayer.results import Result, load, provenance, save

TIME = np.array([0.0, 1.0, 2.0])


@pytest.fixture
def result():
    assumption = Assumption("bounded", holds=False, margin=-1.0, detail="It is not.")
    return Result(
        experiment="example",
        parameters={"dim": 3, "target": "z1"},
        statement="A statement.",
        reference="derived here",
        predictions=(
            Prediction("flow", TIME, 1 - TIME / 4, "lower", "derived here", (assumption,)),
        ),
        trajectories=(
            Trajectory(
                "SGD",
                TIME,
                np.array([[1.0, 0.9, np.nan], [1.0, 0.8, 0.5], [1.0, 0.7, 0.6]]),
                ("diverged", "finished", "finished"),
            ),
        ),
        comparisons=(
            Comparison("loss", TIME, TIME * 0, TIME + 1, TIME * 0, "agrees", "why"),
            Convergence(
                "gap", TIME + 1, 1 / (TIME + 1), TIME * 0 + 0.1, 1.0, 0.1, 0.5, "agrees", "why"
            ),
        ),
        findings=(Finding("one", "A claim.", 1.0, 1.1, 0.2, "agrees", "derived here"),),
        provenance=provenance(1.5),
    )


def test_json_round_trip(result, tmp_path):
    """A saved result loads with equal parameters, curves, statuses and verdicts."""
    again = load(save(result, tmp_path))
    assert again.parameters == result.parameters
    assert again.findings == result.findings
    assert again.predictions[0].assumptions == result.predictions[0].assumptions
    assert again.trajectories[0].status == result.trajectories[0].status
    np.testing.assert_array_equal(again.trajectories[0].value, result.trajectories[0].value)
    assert [type(c) for c in again.comparisons] == [Comparison, Convergence]
    assert again.provenance["versions"]["jax"]


def test_the_json_is_strict(result, tmp_path):
    """The file holds no NaN, which JSON does not know."""
    text = save(result, tmp_path).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_netcdf_holds_the_curves(result, tmp_path):
    """The NetCDF file beside it has every curve with its name and labelled axes."""
    save(result, tmp_path)
    with xarray.open_dataset(tmp_path / "example.nc", engine="h5netcdf") as data:
        assert data["trajectory_0"].dims == ("seed_0", "time_trajectory_0")
        np.testing.assert_array_equal(data["prediction_0"], result.predictions[0].value)
        assert data["prediction_0"].attrs["name"] == "flow"
        assert json.loads(data.attrs["parameters"]) == result.parameters


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', "nonsense"])
def test_files_that_are_no_results_say_so(text, tmp_path):
    """Anything else raises one sentence that names the file or the version."""
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json"):
        load(path)


def test_the_figure_shows_curves_and_convergence(result, tmp_path):
    """A result with curves and sizes draws one panel for each, and is written as PNG."""
    drawing = figure(result)
    assert len(drawing.axes) == 2
    labels = [text.get_text() for text in drawing.axes[0].get_legend().get_texts()]
    assert labels == ["SGD (1 seeds did not finish)", "flow"]
    assert save_figure(result, tmp_path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("gap", [[], [0.0, 0.0]])
def test_the_figure_leaves_out_gaps_that_are_not_there(gap):
    """Sizes without a gap, all seeds lost or all exact, get no panel of logarithms."""
    nothing = np.asarray(gap)
    convergence = Convergence("gap", TIME, nothing, nothing, np.nan, np.inf, 0.5, "failed", "why")
    assert len(figure(Result(comparisons=(convergence,))).axes) == 1
