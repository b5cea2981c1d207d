"""Figure 1, the starts and identifiability: what they find, what they refuse, what they draw."""

import numpy as np
import pytest

from twolayer.experiments.registry import find_experiment
from twolayer.report.figures import animation, figure, save_animation
from twolayer.results import Result

EXPERIMENTS = ("figure-one", "random-start", "subspace-start", "identifiability")


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_quick_runs_agree_with_theory(name):
    """Every finding of the quick tier agrees, and the negative controls fail as they should."""
    experiment = find_experiment(name)
    result = experiment.run(**experiment.quick)
    verdicts = {finding.name: finding.verdict for finding in result.findings}
    assert set(verdicts.values()) == {"agrees"}, verdicts
    if name != "subspace-start":
        assert len(verdicts) >= 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("figure-one", {"width": 2}, "width"),
        ("figure-one", {"horizon": 0.5}, "horizon"),
        ("figure-one", {"small": -1.0}, "small"),
        ("random-start", {"widths": "2,5"}, "narrowest_width"),
        ("random-start", {"widths": "five"}, "widths"),
        ("subspace-start", {"samples": "3"}, "fewest_samples"),
        ("subspace-start", {"dim": 3}, "dim"),
        ("identifiability", {"width": 2}, "width"),
        ("identifiability", {"samples": 10}, "samples"),
    ],
)
def test_bad_options(name, options, message):
    """One sentence names the option."""
    with pytest.raises(ValueError, match=message):
        find_experiment(name).run(**options)


def test_paths_are_drawn_and_animated(tmp_path):
    """A frame for each recorded time, a panel for each start; a result without paths is refused."""
    paths = {name: np.random.default_rng(0).normal(size=(3, 4, 2)).tolist() for name in "ab"}
    result = Result(experiment="drawn", details={"paths": paths, "teacher": np.eye(2).tolist()})
    assert len(figure(result).axes) == 2
    path = save_animation(result, tmp_path)
    assert path.name == "drawn.gif"
    assert path.read_bytes()[:6] == b"GIF89a"
    with pytest.raises(ValueError, match="paths"):
        animation(Result(experiment="none"))
