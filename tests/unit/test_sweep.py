"""Sweeps: whole arrays, failures of single cells, other processes, what is refused."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray

import sweep_cells
from twolayer.engines import open_engine
from twolayer.grids import cells_of
from twolayer.store import Study
from twolayer.study_view import as_curves, as_diagram, dataset, export
from twolayer.sweep import boundary_points, run_cells, sweep

TESTS = str(Path(sweep_cells.__file__).parent)


def lines(folder, name):
    path = Path(folder) / name
    return Counter(path.read_text().split()) if path.exists() else Counter()


def in_another_process(folder, number, seconds=0.0):
    """A process that sweeps `number` logged cells."""
    program = (
        "import sys; from twolayer.sweep import sweep\n"
        f"sweep('sweep_cells:logged', {{'x': list(range({number})), 'folder': {str(folder)!r}, "
        f"'seconds': {seconds}}}, study={str(folder / 's.sqlite')!r})"
    )
    environment = {**os.environ, "PYTHONPATH": TESTS}
    return subprocess.Popen([sys.executable, "-c", program], env=environment)


def test_every_point_of_the_grid_is_where_it_belongs(tmp_path):
    """Values by label equal the function's, over two axes and seeds."""
    data = sweep(
        sweep_cells.product, {"y": [2.0, 5.0], "x": [3.0, 1.0]}, study=tmp_path / "s.sqlite",
        seeds=2,
    )  # fmt: skip
    assert dict(data.sizes) == {"x": 2, "y": 2, "seed": 2, "quantity": 2}
    for x, y, seed in ((1.0, 5.0, 0), (3.0, 2.0, 1)):
        point = data.measured.sel(x=x, y=y, seed=seed)
        assert point.sel(quantity="product") == x * y
        assert point.sel(quantity="third") == x / 3 + seed
    assert set(data.status.values.ravel()) == {"finished"}


def test_known_cells_are_not_computed_again(tmp_path):
    """A larger grid computes what is new; the array is the same bit for bit."""
    grid = {"x": [1, 2, 3], "folder": str(tmp_path)}
    first = sweep(sweep_cells.logged, grid, study=tmp_path / "s.sqlite")
    again = sweep(sweep_cells.logged, grid, study=tmp_path / "s.sqlite")
    assert again.measured.values.tobytes() == first.measured.values.tobytes()
    sweep(sweep_cells.logged, {**grid, "x": [2, 3, 4]}, study=tmp_path / "s.sqlite")
    assert lines(tmp_path, "begun") == Counter({"1": 1, "2": 1, "3": 1, "4": 1})


def test_one_cell_that_fails_leaves_the_rest(tmp_path):
    """Its message is kept; its place in the array is NaN."""
    data = sweep(sweep_cells.failing, {"x": [0, 1, 2]}, study=tmp_path / "s.sqlite")
    np.testing.assert_array_equal(data.measured.values[:, 0], [0.0, np.nan, 2.0])
    assert data.status.values.tolist() == ["finished", "failed", "finished"]
    with Study(tmp_path / "s.sqlite") as study:
        assert study.entries()[1].message == "ValueError: 1 is odd"


def test_results_have_findings_final_values_and_divergence(tmp_path):
    """Quantities of a Result, and the status of one whose curves all diverged."""
    data = sweep(sweep_cells.diverging, {"x": [0.5, 2.0]}, study=tmp_path / "s.sqlite")
    assert data.status.values.tolist() == ["finished", "diverged"]
    slope = data.sel(quantity="slope", x=0.5)
    assert (slope.measured, slope.predicted, slope.error) == (0.51, 0.5, 0.02)
    assert slope.verdict == "agrees"
    final = data.sel(quantity="final loss")
    np.testing.assert_array_equal(final.measured, [0.5, np.nan])
    assert final.error.values[0] == 0.0


@pytest.mark.parametrize("moments", [pytest.param(3), pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_any_moment(tmp_path, moments):
    """Finished cells survive every kill -9, none is computed twice, the array is the same."""
    number = 60
    whole = tmp_path / "whole"
    whole.mkdir()
    grid = {"x": list(range(number)), "folder": str(whole)}
    expected = sweep(sweep_cells.logged, grid, study=whole / "s.sqlite").measured.values.tobytes()
    generator = np.random.default_rng(moments)
    kept = 0
    for _ in range(moments):
        process = in_another_process(tmp_path, number, 0.02)
        began = sum(lines(tmp_path, "begun").values())
        deadline = time.monotonic() + 60
        while sum(lines(tmp_path, "begun").values()) == began and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.6 / moments))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Study(tmp_path / "s.sqlite") as study:
            finished = study.counts().get("finished", 0)
        assert finished >= kept
        kept = finished
    assert 0 < kept < number
    assert in_another_process(tmp_path, number, 0.02).wait() == 0
    cells = cells_of(
        "sweep_cells:logged",
        {"x": list(range(number)), "folder": str(tmp_path), "seconds": 0.02},
    )
    with Study(tmp_path / "s.sqlite") as study:
        assert dataset(study, cells).measured.values.tobytes() == expected
        attempts = {str(e.cell.parameters["x"]): e.attempts for e in study.entries()}
    # Begun twice: only cells that a kill found unfinished, at most one for each kill. (One may be
    # done yet not written, when the kill falls between the two.)
    again = {x: count - 1 for x, count in lines(tmp_path, "begun").items() if count > 1}
    assert sum(again.values()) <= moments
    assert all(lines(tmp_path, "begun")[x] == count for x, count in attempts.items())


def test_two_processes_share_one_study(tmp_path):
    """Every cell is computed once, by one of them."""
    number = 60
    both = [in_another_process(tmp_path, number, 0.03) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert lines(tmp_path, "begun") == Counter({str(x): 1 for x in range(number)})
    with Study(tmp_path / "s.sqlite") as study:
        assert study.counts() == {"finished": number}


@pytest.mark.slow
def test_a_pool_of_processes_survives_its_workers(tmp_path):
    """A cell that kills its worker once is computed again; one that always does is given up."""
    grid = {"x": [0, 1, 2, 3], "folder": str(tmp_path)}
    data = sweep(
        sweep_cells.deadly, grid, study=tmp_path / "s.sqlite", engine="processes", workers=1
    )
    np.testing.assert_array_equal(data.measured.values[:, 0], [0.0, np.nan, 2.0, 3.0])
    with Study(tmp_path / "s.sqlite") as study:
        assert "worker died 3 times" in study.entries()[1].message


@pytest.mark.slow
def test_slurm_arrays_on_this_machine(tmp_path, monkeypatch):
    """submitit's local jobs, several cells a job: the same array as in this process."""
    monkeypatch.setenv("PYTHONPATH", TESTS)
    from twolayer.engines import Engine, SlurmExecutor

    cells = cells_of("sweep_cells:product", {"x": [1.0, 2.0, 3.0], "y": 4.0})
    engine = Engine(lambda: SlurmExecutor(tmp_path / "jobs", 2, "local"), 10)
    with Study(tmp_path / "s.sqlite") as study:
        study.add(cells)
        run_cells(study, cells, engine)
        data = dataset(study, cells)
    engine.close()
    assert data.measured.sel(quantity="product").values.tolist() == [4.0, 8.0, 12.0]


@pytest.mark.slow
def test_a_dask_worker_that_is_killed(tmp_path):
    """Four workers, one killed while at work: nothing lost, the array is the same bit for bit."""
    from distributed import Client, LocalCluster

    number = 40
    grid = {"x": list(range(number)), "folder": str(tmp_path), "seconds": 0.2}
    cells = cells_of("sweep_cells:logged", grid)
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        open_engine("dask", scheduler=cluster.scheduler_address) as engine,
        Study(tmp_path / "s.sqlite") as study,
    ):
        client.run(sys.path.insert, 0, TESTS)
        study.add(cells)
        killed = []

        def progress(stage, done, total):
            del stage, total
            if done >= 5 and not killed:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        run_cells(study, cells, engine, progress)
        data = dataset(study, cells)
    assert killed
    assert data.measured.values[:, 0].tolist() == [x**2 / 7 for x in range(number)]


@pytest.mark.slow
def test_an_unreachable_scheduler_is_one_sentence():
    """Within ten seconds."""
    start = time.monotonic()
    with (
        pytest.raises(OSError, match="no answer within"),
        open_engine("dask", scheduler="tcp://127.0.0.1:9"),
    ):
        pass
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("experiment", "grid", "words"),
    [
        ("mean-field-flw", {"dim": 8}, "mean-field-flow"),
        ("mean-field-flow", {"widht": 8}, "width_ratio|did you"),
        ("sweep_cells:product", {"z": 1.0}, "it takes x, y, seed"),
        ("sweep_cells:product", {"x": "three"}, "Expected numbers for x"),
        ("sweep_cells:product", {"seed": 0.5}, "whole numbers"),
        ("sweep_cells:product", {"seed": True}, "whole numbers"),
        ("sweep_cells:product", {"x": float("nan")}, "numbers"),
        ("sweep_cells:product", {"x": []}, "none"),
        ("sweep_cells:nothing", {}, "module:function"),
        ("no_such_module:f", {}, "module:function"),
    ],
)
def test_wrong_grids_are_refused(experiment, grid, words):
    """Unknown names with the nearest, values of the wrong type."""
    with pytest.raises(ValueError, match=f"(?i){words}"):
        cells_of(experiment, grid)


def test_functions_and_engines_that_cannot_be_used(tmp_path):
    """A lambda, seeds without a seed, an unknown engine, a function without numbers."""
    with pytest.raises(ValueError, match="imported"):
        sweep(lambda x: x, {"x": [1]}, study=tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match="no parameter 'seed'"):
        cells_of("sweep_cells:hill", {}, seeds=2)
    with pytest.raises(ValueError, match="engine"), open_engine("threads"):
        pass
    with pytest.raises(ValueError, match="at least 1 worker"), open_engine(workers=0):
        pass
    data = sweep(sweep_cells.words, {}, study=tmp_path / "s.sqlite")
    assert data.status.item() == "failed"


def test_whole_numbers_fit_parameters_that_are_not():
    """2 for a parameter with default 1.0 is 2.0, and the same cell; 3.0 for a whole one is 3."""
    one, other = (cells_of("sweep_cells:product", {"x": [x]})[0] for x in (2, 2.0))
    assert one.key == other.key
    assert cells_of("sweep_cells:product", {"seed": [3.0]})[0].parameters["seed"] == 3


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".nc", ".zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Zarr's on text without a specification
def test_tables_for_other_programs(tmp_path, ending):
    """What was written reads back with the same numbers."""
    import pandas as pd

    grid = {"x": [1.0, 2.0], "y": [3.0, 5.0]}
    data = sweep(sweep_cells.product, grid, study=tmp_path / "s.sqlite")
    path = export(data, tmp_path / "out" / f"table{ending}")
    if ending in {".csv", ".parquet"}:
        table = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
        rows = table[table.quantity == "product"].set_index(["x", "y"]).measured
        assert rows.to_dict() == {(x, y): x * y for x in (1.0, 2.0) for y in (3.0, 5.0)}
        return
    back = xarray.open_dataset(path, engine="h5netcdf" if ending == ".nc" else "zarr")
    np.testing.assert_array_equal(back.measured, data.measured)
    with pytest.raises(ValueError, match="ends in"):
        export(data, tmp_path / "table.xlsx")


def test_curves_and_heat_maps_of_a_study(tmp_path):
    """Seeds become a band, other parameters curves; two axes a diagram, the rest averaged."""
    grid = {"x": [1.0, 2.0, 4.0], "y": [3.0, 5.0]}
    data = sweep(sweep_cells.product, grid, study=tmp_path / "s.sqlite", seeds=3)
    curves = as_curves(data, "x", "third").trajectories
    assert [curve.name for curve in curves] == ["y = 3.0", "y = 5.0"]
    np.testing.assert_allclose(curves[0].value, np.array([1, 2, 4]) / 3 + np.arange(3)[:, None])
    (diagram,) = as_diagram(data, "x", "y", "third").diagrams
    assert diagram.value.shape == (2, 3)
    np.testing.assert_allclose(diagram.value[0], np.array([1, 2, 4]) / 3 + 1)
    np.testing.assert_allclose(diagram.error, np.sqrt(1 / 3))
    for arguments, words in ((("z", "third"), "'z'"), (("x", "thrd"), "third")):
        with pytest.raises(ValueError, match=words):
            as_curves(data, *arguments)


def test_a_curve_survives_cells_without_a_value(tmp_path):
    """A figure shows every value there is, with its error, and says how many are missing."""
    grid = {"x": [1.0, 2.0, 3.0], "y": [0.0, 1.0]}
    whole = sweep(sweep_cells.patchy, grid, study=tmp_path / "s.sqlite", seeds=3)
    data = whole.sel(y=0.0)
    (curve,) = as_curves(data, "x", "value").trajectories
    assert curve.name == "value (4 of 9 cells have no value)"
    assert curve.status == ("finished",)
    np.testing.assert_allclose(curve.value, [[2.0, 2.5, np.nan]])
    np.testing.assert_allclose(curve.error, [[np.sqrt(1 / 3), 0.5, 0.0]])
    (diagram,) = as_diagram(data, "x", "seed", "value").diagrams
    assert diagram.error is None
    assert np.isnan(diagram.value).sum() == 4
    (diagram,) = as_diagram(whole, "x", "y", "value").diagrams
    np.testing.assert_allclose(diagram.error, [[np.sqrt(1 / 3), 0.5, np.nan]] * 2)


def test_a_boundary_is_found_with_few_points(tmp_path):
    """Most points lie near the circle, where a uniform grid would have few."""
    bounds = {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}
    with Study(tmp_path / "s.sqlite") as study, open_engine() as engine:
        points = list(
            boundary_points(
                "sweep_cells:hill", bounds, study=study, quantity="value", points=120, engine=engine
            )
        )
    x, y, value = np.array(points).T
    np.testing.assert_allclose(value, 0.25 - x**2 - y**2)
    near = np.abs(np.hypot(x, y) - 0.5) < 0.1
    # a uniform sample of the square has pi (.6^2 - .4^2) / 4 = 16 % there
    assert near[30:].mean() > 0.6


def test_a_boundary_beside_cells_that_fail(tmp_path):
    """Cells without a value are points with NaN; the boundary is found around them."""
    bounds = {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}
    with Study(tmp_path / "s.sqlite") as study, open_engine() as engine:
        points = list(
            boundary_points(
                "sweep_cells:broken_hill", bounds, study=study, quantity="value", points=60,
                engine=engine,
            )
        )  # fmt: skip
        assert study.counts()["failed"] > 0
    x, y, value = np.array(points).T
    np.testing.assert_array_equal(np.isnan(value), x > 0.8)
    known = x <= 0.8
    np.testing.assert_allclose(value[known], (0.25 - x**2 - y**2)[known])
    assert np.sum(np.abs(np.hypot(x, y) - 0.5) < 0.1) > 15


def test_cells_cost_little_beside_the_computation(tmp_path):
    """A hundred cells that do nothing: CPU time, which other processes don't change."""
    cells = cells_of("sweep_cells:hill", {"x": np.linspace(0, 1, 100)})
    with Study(tmp_path / "s.sqlite") as study, open_engine() as engine:
        study.add(cells)
        run_cells(study, cells[:1], engine)
        start = time.process_time()
        run_cells(study, cells, engine)
        assert time.process_time() - start < 100 * 0.02
