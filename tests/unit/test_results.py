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
    PhaseDiagram,
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


def diagram(value, *, rows=(0.0, 0.5, 2.0), columns=(1.0, 10.0), logarithmic=False, error=None):
    return PhaseDiagram(
        "gap",
        np.asarray(rows),
        np.asarray(columns),
        "alpha",
        "beta",
        np.asarray(value),
        error,
        logarithmic,
    )


VALUE = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])


@pytest.mark.parametrize("error", [None, VALUE / 10])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_phase_diagrams_come_back(error, logarithmic, tmp_path):
    """A diagram keeps its grids, cells (also those without a value), errors and colours."""
    before = diagram(VALUE, error=error, logarithmic=logarithmic)
    path = save(Result(experiment="phases", diagrams=(before,)), tmp_path)
    [after] = load(path).diagrams
    for name in ("name", "row_name", "column_name", "logarithmic"):
        assert getattr(after, name) == getattr(before, name)
    for name in ("rows", "columns", "value", *(["error"] if error is not None else [])):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert getattr(after, name).dtype == np.float64
    assert (after.error is None) == (error is None)
    with xarray.open_dataset(path.with_suffix(".nc"), engine="h5netcdf") as data:
        assert data["diagram_0"].dims == ("row_0", "column_0")
        assert data["row_0"].attrs["name"] == "alpha"
        np.testing.assert_array_equal(data["diagram_0"], VALUE)
        np.testing.assert_array_equal(data["diagram_0"].sel(row_0=2.0), [5.0, 6.0])
        assert ("diagram_0_error" in data) == (error is not None)


def test_results_saved_before_there_were_diagrams_load(result, tmp_path):
    """A file without the entry is read as one without diagrams."""
    path = save(result, tmp_path)
    content = json.loads(path.read_text())
    del content["diagrams"]
    path.write_text(json.dumps(content))
    assert load(path).diagrams == ()


def test_a_phase_diagram_is_a_heat_map_with_rows_upwards():
    """Each cell surrounds its point of the grid and has its value; a missing one is left out."""
    drawing = figure(Result(experiment="phases", diagrams=(diagram(VALUE),)))
    axes, colours = drawing.axes
    [mesh] = axes.collections
    np.testing.assert_array_equal(mesh.get_array().filled(-1), np.where(VALUE > 0, VALUE, -1))
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [-3.5, 5.5, 14.5])
    np.testing.assert_allclose(corners[:, 0, 1], [-0.25, 0.25, 1.25, 2.75])
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("beta", "alpha", "gap")
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    assert colours is not axes


def test_rows_in_any_order_draw_the_same_map():
    """A grid given out of order is put in order together with its values."""
    there, back = (
        figure(Result(diagrams=(diagram(value, rows=rows),))).axes[0].collections[0]
        for value, rows in ((VALUE, (0.0, 0.5, 2.0)), (VALUE[[2, 0, 1]], (2.0, 0.0, 0.5)))
    )
    np.testing.assert_array_equal(there.get_array().filled(-1), back.get_array().filled(-1))
    np.testing.assert_array_equal(there.get_coordinates(), back.get_coordinates())


@pytest.mark.parametrize(
    ("value", "logarithmic"),
    [
        (VALUE, True),
        (VALUE - 1, True),  # a zero takes the lowest colour
        (VALUE - 2, False),  # a negative value has no logarithm: plain colours
        (VALUE * np.nan, False),
        (VALUE * 0, False),
    ],
)
def test_colours_follow_the_logarithm_where_there_is_one(value, logarithmic, tmp_path):
    """On request, where all values are positive or zero; every map is drawn without a warning."""
    result = Result(experiment="phases", diagrams=(diagram(value, logarithmic=True),))
    [mesh] = figure(result).axes[0].collections
    assert (type(mesh.norm).__name__ == "LogNorm") == logarithmic
    if logarithmic:
        smallest = np.nanmin(value[value > 0])
        assert mesh.get_array().min() == smallest
    assert save_figure(result, tmp_path).read_bytes().startswith(b"\x89PNG")


def test_maps_of_one_row_or_of_nothing(tmp_path):
    """A single row has cells of height 1; without cells there are only axes."""
    row = diagram(VALUE[:1], rows=(0.5,))
    nothing = diagram(np.zeros((0, 0)), rows=(), columns=())
    result = Result(experiment="phases", diagrams=(row, nothing))
    drawing = figure(result)
    [mesh] = drawing.axes[0].collections
    np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], [0.0, 1.0])
    assert save_figure(result, tmp_path).exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": [1]}, {"details": None}, {"provenance": None}, {"statement": 3},
        {"findings": 5}, {"format": "1"}, {"foreign": 1}, {"error": "small"},
        {"measured": {"a": 1}}, {"verdict": None}, {"predictions": [{"grid": ["a"], "value": [1]}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_with_a_wrong_part_is_no_result(changed, tmp_path):
    """A part of another kind is found when the file is read, not later, and named with it."""
    finding = Finding("slope", "It is 2.", 2.0, 2.1, 0.1, "agrees", "derived here")
    path = save(Result(experiment="example", findings=(finding,)), tmp_path)
    content = json.loads(path.read_text())
    [(name, value)] = changed.items()
    (content["findings"][0] if name in content["findings"][0] else content)[name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"Expected a result.*{path.name}"):
        load(path)
