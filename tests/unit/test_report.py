"""The report: everything a result holds is in it, escaped, and the page is small and whole."""

import dataclasses
import json
import math
import re
import subprocess
import sysconfig
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from report_results import EVIL, TIMES, example
from twolayer.outcomes import Convergence, Finding, Prediction, Trajectory
from twolayer.report.axes import is_wide, value_label
from twolayer.report.figures import figure
from twolayer.report.html import gather, page, unreadable, write_report
from twolayer.report.interactive import panels
from twolayer.report.numbers import interval, measured, number
from twolayer.results import Result, save

VOID = {"meta", "link", "input", "br", "line", "circle", "img"}


class Reader(HTMLParser):
    """The independent reader: elements with their text, and whether every one is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.texts = [], [], [], [], {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "a":
            self.links.append(attrs["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_shows_everything():
    """Statement, claims, assumptions with margins, command, provenance, BibTeX, data: all there."""
    html = page([example()])
    reader = read(html)
    text = " ".join(part for tag, part in reader.texts.items() if tag not in {"script", "style"})
    for wanted in (
        "1 of 3 claims agree", "2.100 ± 0.050", "above", "below", "infinite width",
        "margin −1.5", "twolayer run mean-field-flow --target=-z1 --seeds 4 --note a",
        "{chen2024subspace,", "learnable", "0.1.0", "not decided",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert '<math alttext="d^-1/2">' in html
    assert html.count('class="plot"') == 3
    assert all(link[1:] in reader.ids for link in reader.links if link.startswith("#"))
    assert len(reader.ids) == len(set(reader.ids))


def test_nothing_is_loaded_from_anywhere():
    """No element refers to an address outside the page."""
    reader = read(page([example()]))
    for tag, attrs in reader.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:,")), (tag, attrs)


def test_texts_of_a_result_are_text(tmp_path):
    """Markup, template code and broken characters in a result are shown, never interpreted."""
    result = example(f"x{EVIL}", word=EVIL)
    html = write_report([result], tmp_path / "page.html").read_text(encoding="utf-8")
    reader = read(html)
    tags = [tag for tag, _ in reader.tags]
    assert "img" not in tags
    assert tags.count("script") == 3 + 2  # three figures, Plotly and the page's own
    assert "{{ 7*7 }}" in html
    assert not any(name.startswith("on") for _, attrs in reader.tags for name in attrs)
    for panel in panels(result):
        assert "<script" not in json.dumps(panel.figure)


def test_ids_are_unique_for_the_same_experiment_twice():
    """Two runs of one experiment both keep links of their own."""
    reader = read(page([example(), example()]))
    assert len(reader.ids) == len(set(reader.ids))


def test_plotly_takes_the_figures():
    """Every figure passes Plotly's own validation, and its numbers are those of the result."""
    result = example()
    found = panels(result)
    for panel in found:
        go.Figure(panel.figure)
        assert all(len(row) == len(panel.headings) for row in panel.rows)
    curves, gaps, diagram = found
    measured_mean = np.mean(result.trajectories[0].value[:3], axis=0)
    dots = next(t for t in curves.figure["data"] if t.get("mode") == "markers")
    np.testing.assert_allclose(dots["y"], measured_mean, rtol=1e-4)
    assert "1 seeds did not finish" in dots["name"]
    bars = curves.figure["data"][0]
    assert bars["x"][:3] == [TIMES[0], TIMES[0], None]
    error = np.std(result.trajectories[0].value[:3], axis=0, ddof=1) / math.sqrt(3)
    np.testing.assert_allclose(bars["y"][1::3], measured_mean + 2 * error, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(bars["y"][::3], measured_mean - 2 * error, rtol=1e-3, atol=1e-5)
    line = next(t for t in curves.figure["data"] if t.get("mode") == "lines" and "name" in t)
    np.testing.assert_allclose(line["y"], result.predictions[0].value, rtol=1e-4)
    assert gaps.figure["data"][0]["error_y"]["array"] == [0.02, 0.02]
    assert diagram.figure["data"][0]["z"][0][1] is None
    assert diagram.figure["data"][0]["z"][1][0] == pytest.approx(math.log10(4), rel=1e-4)
    assert diagram.rows[1] == (1.0, 4.0, 5.0, 1e-7)


def test_a_single_name_is_told_apart_by_what_drew_it():
    """Where all curves have one name, the legend says which is theory and which training."""
    result = example()
    alone = dataclasses.replace(result, predictions=result.predictions[:1], diagrams=())
    legend = [t["name"] for t in panels(alone)[0].figure["data"] if t.get("showlegend", True)]
    assert legend == ["training (1 seeds did not finish)", "theory, exact"]
    legend = [t["name"] for t in panels(result)[0].figure["data"] if t.get("showlegend", True)]
    assert legend == ["loss (1 seeds did not finish)", "floor"]


def test_a_single_point_has_a_bar():
    """Where a band would have no width, two standard errors are a bar, in both kinds of figure."""
    value = np.array([[1.0], [3.0]])  # mean 2, standard error 1
    run = Trajectory("accuracy", np.array([20.0]), value, ("finished",) * 2, grid_name="neurons")
    result = Result(trajectories=(run,), quantity="accuracy of the ticket")
    [axes] = figure(result).axes
    [bar] = axes.collections
    np.testing.assert_allclose(bar.get_segments(), [[[20.0, 0.0], [20.0, 4.0]]])
    assert axes.get_ylabel() == "accuracy of the ticket"
    bar = panels(result)[0].figure["data"][0]
    assert (bar["x"], bar["y"]) == ([20.0, 20.0, None], [0.0, 4.0, None])


def test_one_seed_has_the_errors_of_its_observations():
    """A mean over one seed has no scatter; what each observation is known to is drawn."""
    x = np.array([1.0, 2.0])
    run = Trajectory("share", x, np.array([[0.5, 0.5]]), ("finished",), np.array([[0.1, 0.2]]))
    [band] = figure(Result(trajectories=(run,))).axes[0].collections
    assert band.get_datalim(band.axes.transData).y1 == pytest.approx(0.9)


def test_few_points_have_bars_and_predictions_bands():
    """Between few measurements nothing is claimed; a predicted line keeps its band."""
    x = np.array([1.0, 2.0, 3.0])
    run = Trajectory("error", x, np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), ("finished",) * 2)
    theory = Prediction("error", x, np.full(3, 2.0), "exact", "derived here", error=np.ones(3))
    result = Result(trajectories=(run,), predictions=(theory,))
    bars, band = figure(result).axes[0].collections
    segments = [[[1.0, 0.0], [1.0, 4.0]], [[2.0, 2.0], [2.0, 2.0]], [[3.0, 0.0], [3.0, 4.0]]]
    np.testing.assert_allclose(bars.get_segments(), segments)
    assert type(band).__name__ in {"FillBetweenPolyCollection", "PolyCollection"}
    drawn = panels(result)[0].figure["data"]
    assert drawn[0]["y"] == [0.0, 4.0, None, 2.0, 2.0, None, 0.0, 4.0, None]
    assert [trace["y"] for trace in drawn if trace.get("fill")] == [[4.0] * 3 + [0.0] * 3]


def test_axes_have_numbers_and_not_prefixes():
    """2e-11 is no '20p', 6000 no '6k'; a rate of zero is no '-0'; the risk is no loss."""
    x = np.array([1.0, 2.0])
    named = Prediction("risk, erf", x, x, "exact", "derived here")
    run = Trajectory("risk, erf", x, x[None], ("finished",), details={"dynamics": "SGD"})
    result = dataclasses.replace(example(), predictions=(named,), trajectories=(run,))
    [sizes] = [c for c in result.comparisons if isinstance(c, Convergence)]
    flat = dataclasses.replace(sizes, rate=0.0)
    curves, gaps, _ = panels(dataclasses.replace(result, comparisons=(flat,)))
    other = dataclasses.replace(named, name="risk, relu")
    assert value_label(dataclasses.replace(result, predictions=(named, other))) == "risk"
    for panel in (curves, gaps):
        for axis in ("xaxis", "yaxis"):
            assert panel.figure["layout"][axis]["exponentformat"] == "power"
    assert gaps.figure["data"][1]["name"] == "slope 0"


def test_bands_on_a_logarithmic_axis_stay_at_their_points():
    """Where the band would reach below 0, it ends at a tenth of the mean and has no gap."""
    times = np.arange(1.0, 14.0)
    rest = [1e-6] * 9
    value = np.array([[1.0, 1e-3, 1e-5, 1e-6, *rest], [1.0, 3e-3, 9e-5, 1e-6, *rest]])
    run = Trajectory("loss", times, value, ("finished",) * 2)
    [axes] = figure(Result(trajectories=(run,))).axes
    assert axes.get_yscale() == "log"
    [path] = axes.collections[0].get_paths()
    low = {x: min(y for a, y in path.vertices if a == x) for x in times[:4].tolist()}
    assert low == pytest.approx({1.0: 1.0, 2.0: 2e-4, 3.0: 5e-6, 4.0: 1e-6})


def test_findings_alone_are_drawn_and_empty_results_have_no_figure():
    """A result of numbers shows them side by side; one of words, or of nothing, has no figure."""
    result = dataclasses.replace(
        example(), predictions=(), trajectories=(), comparisons=(), diagrams=()
    )
    [panel] = panels(result)
    assert panel.figure["data"][0]["x"] == [2.0]
    assert panel.figure["data"][1]["x"] == [2.1]
    assert panels(Result()) == []
    assert "unnamed" in page([Result()])


@pytest.mark.parametrize("value", [None, math.nan])
def test_missing_numbers_are_a_dash(value):
    """What JSON holds as null and what is not a number are shown alike."""
    finding = Finding("x", "y", value, value, value, "undecided", "derived here")
    html = page([Result(experiment="x", findings=(finding,))])
    assert html.count("<dd>–</dd>") == 2
    assert interval(finding) is None


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.123456, 0.0012, "0.1235 ± 0.0012"),
        (265.23, 9.47, "265.2 ± 9.5"),
        (1234.5, 42.0, "1234 ± 42"),
        (-0.5, 0.03, "−0.500 ± 0.030"),
        (0.5, 4.9e-13, "0.5 ± 4.9 × 10⁻¹³"),
        (3.2e8, 1e6, "3.2 × 10⁸ ± 1 × 10⁶"),
        (0.25, 0.0, "0.25"),
        (0.0, 1e-9, "0 ± 1 × 10⁻⁹"),
    ],
)
def test_errors_decide_the_digits(value, error, expected):
    """A measurement is shown as far as its error reaches; read back it is the measurement."""
    text = measured(value, error)
    assert text == expected
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    back = float(text.split(" ± ")[0].translate(superscripts).replace(" × 10", "e"))
    assert back == pytest.approx(value, abs=max(error, 1e-4 * abs(value)))


def test_numbers_are_signed_and_short():
    """Minus signs are minus signs, powers of ten are written out."""
    assert number(-1.23456e-7) == "−1.235 × 10⁻⁷"
    assert number(12) == "12"


def test_the_small_picture_is_to_scale():
    """Prediction, measurement and its two errors stand at proportional places."""
    place = interval(Finding("x", "", 1.0, 2.0, 0.25, "agrees", ""))
    unit = (place["high"] - place["measured"]) / 0.5
    assert place["measured"] - place["predicted"] == pytest.approx(unit, rel=1e-3)
    assert 0 < place["predicted"] < place["high"] < 100


def test_logarithmic_axes_where_values_span_four_decades():
    """Both kinds of figures turn logarithmic together, and not where values are negative."""
    wide = Prediction("J - J*", TIMES, np.exp(-5 * TIMES), "exact", "derived here")
    narrow = dataclasses.replace(wide, value=np.exp(-TIMES))
    for prediction, scale in ((wide, "log"), (narrow, "linear")):
        result = Result(experiment="x", predictions=(prediction,))
        [axes] = figure(result).axes
        assert axes.get_yscale() == scale
        assert axes.get_ylabel() == value_label(result) == "J - J*"
        [panel] = panels(result)
        assert panel.figure["layout"]["yaxis"].get("type", "linear") == scale
    assert not is_wide([np.array([1e-9, 1.0, -1.0])])
    assert is_wide([np.array([1e-9, 1.0, -1e-6])])


def test_files_and_folders_are_gathered(tmp_path):
    """A folder gives its results; an experiment that failed there is shown as failed."""
    good, old = example("mean-field-flow"), example("loss-floors")
    path = save(good, tmp_path)
    save(old, tmp_path)
    row = {
        "id": "subspace_sparse/loss-floors/run", "paper": "subspace_sparse", "statement": "Floors.",
        "predicted": "", "measured": "", "error": None, "verdict": "failed", "seconds": 1.0,
        "reference": "", "note": "ValueError: no such thing",
    }  # fmt: skip
    (tmp_path / "claims.json").write_text(json.dumps([row]))
    results, failed = gather([tmp_path])
    assert [result.experiment for result in results] == ["mean-field-flow"]
    assert failed == [row]
    html = page(results, failed)
    assert "ValueError: no such thing" in html
    assert re.search(r"1 failed|2 failed", html)
    assert len(gather([path])[0]) == 1
    for wrong in (tmp_path / "nothing", tmp_path / "claims.json"):
        with pytest.raises(ValueError, match="Expected"):
            gather([wrong])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds none"):
        gather([tmp_path / "empty"])


def test_one_broken_result_costs_no_report(tmp_path):
    """Curves that do not fit together leave a remark; files that are no result leave a sentence."""
    result = example()
    broken = dataclasses.replace(result.predictions[0], value=np.zeros(2))
    html = page([dataclasses.replace(result, predictions=(broken,)), result])
    assert html.count("The figures cannot be drawn") == 1
    assert html.count('class="plot"') == 3
    path = save(result, tmp_path)
    for wrong in ('{"format": 1}', path.read_text().replace('"first"', "1"), "[1]"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="Expected a result"):
            gather([path])


def test_empty_and_diverged_curves_are_shown():
    """No observation, or no seed that finished, is no error."""
    empty = Trajectory("loss", TIMES[:0], np.empty((2, 0)), ("stopped",) * 2)
    lost = Trajectory("loss", TIMES, np.full((2, 9), np.nan), ("diverged",) * 2)
    for trajectory in (empty, lost):
        [panel] = panels(Result(trajectories=(trajectory,)))
        go.Figure(panel.figure)
        assert not any(panel.figure["data"][0]["y"])
        assert "2 seeds did not finish" in panel.figure["data"][0]["name"]


def test_the_command_writes_the_page(tmp_path):
    """``twolayer report`` takes files and folders; wrong use is one sentence with status 2."""
    path = save(example(), tmp_path)
    command = str(Path(sysconfig.get_path("scripts")) / "twolayer")

    def twolayer(*arguments):
        return subprocess.run(
            [command, "report", *map(str, arguments)], capture_output=True, text=True, check=False
        )

    assert twolayer(tmp_path).returncode == 0
    assert (tmp_path / "report.html").stat().st_size > 1e6
    assert twolayer(path, "--out", tmp_path / "folder" / "page.html").returncode == 0
    assert "mean-field-flow" in (tmp_path / "folder" / "page.html").read_text(encoding="utf-8")
    for wrong in ((tmp_path / "none",), (path, "--out", tmp_path)):
        run = twolayer(*wrong)
        assert run.returncode == 2
        assert run.stderr.startswith("Error: Expected")
        assert "Traceback" not in run.stderr


def test_a_hundred_results_are_quick_and_small():
    """A hundred results make a page in seconds (0.7 s when written), below ten megabytes."""
    results = [example(f"experiment-{k}") for k in range(100)]
    start = time.process_time()
    html = page(results)
    assert time.process_time() - start < 10
    assert len(html.encode()) < 10e6


def test_files_that_are_passed_over_are_named(tmp_path):
    """A folder's good results are shown and the others named; the list of claims is neither."""
    path = save(example(), tmp_path)
    (tmp_path / "claims.json").write_text("[]")
    (tmp_path / "cut.json").write_text(path.read_text()[:100])
    assert len(gather([tmp_path])[0]) == 1
    assert unreadable([tmp_path, path]) == [tmp_path / "cut.json"]
