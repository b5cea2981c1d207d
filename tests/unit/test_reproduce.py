"""Every claim, one experiment after another: tiers, resuming, failures, report."""

import json
import math
from concurrent.futures import BrokenExecutor, Future
from contextlib import nullcontext

import numpy as np
import pytest

from twolayer import reproduce as module
from twolayer.experiments import EXPERIMENTS
from twolayer.experiments.registry import Experiment, claims, source_digest
from twolayer.outcomes import Finding, Prediction
from twolayer.reproduce import reproduce, stored
from twolayer.results import Result, as_json, load, provenance


def made(name="mean-field-flow", *, calls=None, fail=False, quick=None, full=None):
    """An experiment that counts how often it runs."""
    calls = [] if calls is None else calls

    def run(*, size: int = 10, seed: int = 0, progress=None):
        calls.append(size)
        if fail:
            raise FloatingPointError("the loss is infinite")
        t = np.arange(3.0)
        return Result(
            experiment=name,
            parameters={"size": size, "seed": seed},
            statement="It holds.",
            reference="derived here",
            predictions=(Prediction("loss", t, 1 - t / 4, "exact", "derived here"),),
            findings=(
                Finding("number", "It is 1.", 1.0, 1.0, 0.1, "agrees", "derived here"),
                Finding("nothing", "?", math.nan, math.nan, math.nan, "undecided", "derived here"),
            ),
            provenance=provenance(0.1) | {"source": source_digest()},
        )

    return Experiment(
        name, "subspace_sparse", "It holds.", "derived here", run, quick or {"size": 2}, full or {}
    )


@pytest.mark.parametrize(("tier", "size"), [("quick", 2), ("default", 10), ("full", 99)])
def test_tiers_choose_the_sizes(tmp_path, tier, size):
    """Each tier runs its own parameters and records them."""
    calls = []
    reproduce([made(calls=calls, full={"size": 99})], tmp_path, tier=tier)
    assert calls == [size]
    assert load(tmp_path / "mean-field-flow.json").parameters == {"size": size, "seed": 0}


def test_registered_tiers_name_options_that_exist():
    """Quick and full sizes are options of their experiment, of the default's type, not below it."""
    for experiment in EXPERIMENTS.values():
        for tier in ("quick", "full"):
            parameters = experiment.parameters(tier)
            assert parameters.keys() == experiment.options.keys(), experiment.name
            for name, value in parameters.items():
                assert type(value) is type(experiment.options[name].default), (
                    experiment.name,
                    name,
                )
        for name, value in experiment.full.items():
            if isinstance(value, (int, float)):
                assert value >= experiment.options[name].default, (experiment.name, name)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    """What was computed with the same parameters is kept, with the same claims."""
    calls = []
    first, second = made("mean-field-flow", calls=calls), made("loss-floors", calls=calls)
    alone = reproduce([first], tmp_path)
    assert alone.kept == []
    whole = reproduce([first, second], tmp_path)
    assert whole.kept == ["mean-field-flow"]
    assert calls == [10, 10]
    assert [row["id"] for row in whole.rows] == [
        f"subspace_sparse/{name}/{claim}"
        for name in ("mean-field-flow", "loss-floors")
        for claim in ("number", "nothing")
    ]
    assert json.dumps(whole.rows[:2]) == json.dumps(alone.rows)
    assert len(json.loads((tmp_path / "claims.json").read_text())) == 4
    assert reproduce([first, second], tmp_path, fresh=True).kept == []
    assert calls == [10] * 4


def test_other_results_are_not_kept(tmp_path, monkeypatch):
    """Other parameters, another version, another source, or half a file: all computed anew."""
    experiment = made()
    parameters = experiment.parameters("default")
    reproduce([experiment], tmp_path)
    assert stored(experiment, parameters, tmp_path) is not None
    assert stored(experiment, {**parameters, "seed": 1}, tmp_path) is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "version", lambda name: "0.0.1")
        assert stored(experiment, parameters, tmp_path) is None
    with monkeypatch.context() as patch:
        patch.setattr(module, "source_digest", lambda: "another")
        assert stored(experiment, parameters, tmp_path) is None
    path = tmp_path / "mean-field-flow.json"
    text = path.read_text()
    for broken in (text[: len(text) // 2], "[]", "{}", ""):
        path.write_text(broken)
        assert stored(experiment, parameters, tmp_path) is None


def test_a_failure_does_not_stop_the_rest(tmp_path):
    """An experiment that raises is one failed claim, in the rows and in the report."""
    calls = []
    names = ["escape-times", "mean-field-flow"]
    found = reproduce(
        [made(names[0], fail=True, calls=calls), made(names[1], calls=calls)], tmp_path
    )
    assert len(calls) == 2
    assert [row["verdict"] for row in found.rows] == ["failed", "agrees", "undecided"]
    assert "FloatingPointError: the loss is infinite" in found.rows[0]["note"]
    assert found.report == tmp_path / "report.html"
    html = found.report.read_text(encoding="utf-8")
    assert "FloatingPointError: the loss is infinite" in html
    assert "1 of 3 claims agree" in html


def test_a_figure_that_fails_is_a_claim_that_failed(tmp_path, monkeypatch):
    """The result is kept although its figure could not be drawn."""

    def broken(result, directory):
        raise ValueError("no canvas")

    monkeypatch.setattr(module, "save_figure", broken)
    found = reproduce([made()], tmp_path)
    assert [row["verdict"] for row in found.rows] == ["failed", "agrees", "undecided"]
    assert load(tmp_path / "mean-field-flow.json").findings


def test_rows_of_a_kept_result_are_those_of_a_fresh_one(tmp_path):
    """JSON's null is not-a-number again, so that tables can show it."""
    experiment = made()
    reproduce([experiment], tmp_path)
    result = stored(experiment, experiment.parameters("default"), tmp_path)
    assert math.isnan(claims(result, "subspace_sparse")[1]["measured"])


class FlakyEngine:
    """Computes at once; the process of experiment `deadly` dies, and takes the others with it."""

    def __init__(self, experiments, deadly):
        self.experiments = {experiment.name: experiment for experiment in experiments}
        self.deadly, self.under_way, self.restarts = deadly, [], 0

    def submit(self, function, name, tier):
        del function
        future = Future()
        self.under_way.append(future)
        if name == self.deadly:
            for other in self.under_way:
                if not other.done():
                    other.set_exception(BrokenExecutor())
        elif self.deadly == "nothing" or self.restarts:
            experiment = self.experiments[name]
            future.set_result(as_json(experiment.run(**experiment.parameters(tier))))
        return future

    def restart(self):
        self.under_way, self.restarts = [], self.restarts + 1


def test_a_process_that_dies_is_one_failed_experiment(tmp_path, monkeypatch):
    """What ran beside it runs again, alone; rows keep the order of the experiments."""
    experiments = [made("first"), made("second"), made("third")]
    engine = FlakyEngine(experiments, "second")
    monkeypatch.setattr(module, "open_engine", lambda *_, **__: nullcontext(engine))
    found = reproduce(experiments, tmp_path, workers=2)
    assert [row["id"].split("/")[1] for row in found.rows] == 2 * ["first"] + ["second"] + 2 * [
        "third"
    ]
    assert [row["verdict"] for row in found.rows[:3]] == ["agrees", "undecided", "failed"]
    assert "its process died" in found.rows[2]["note"]


def test_results_of_workers_are_those_of_this_process(tmp_path, monkeypatch):
    """NaN and all: the same rows, but for the seconds."""
    experiments = [made("first"), made("second")]
    engine = FlakyEngine(experiments, "nothing")
    expected = reproduce(experiments, tmp_path / "one").rows
    monkeypatch.setattr(module, "open_engine", lambda *_, **__: nullcontext(engine))
    found = reproduce(experiments, tmp_path / "two", workers=2).rows
    np.testing.assert_equal(found, expected)


@pytest.mark.slow
def test_two_experiments_in_two_processes(tmp_path):
    """Real workers, registered experiments."""
    chosen = [EXPERIMENTS["decision-table"], EXPERIMENTS["constant-time-floor"]]
    found = reproduce(chosen, tmp_path, tier="quick", workers=2)
    assert {row["verdict"] for row in found.rows} == {"agrees"}
    assert {path.stem for path in tmp_path.glob("*.png")} == {e.name for e in chosen}
