"""Experiments on gradient features: their verdicts, their options, their quick runs."""

import subprocess
import sys

import numpy as np
import pytest

from twolayer.experiments import find_experiment
from twolayer.experiments.gradient_features.features import _single_blocks, probability
from twolayer.experiments.gradient_features.input_laws import _counted, _range
from twolayer.experiments.gradient_features.laws import clusters, three_blocks, xor
from twolayer.results import load, save

NAMES = (
    "gradient-feature-sets", "gradient-sample-size", "gradient-input-laws",
    "gradient-image-features",
)  # fmt: skip


def test_a_probability_is_judged_by_its_interval():
    """Within, apart, and too few draws to tell."""
    assert probability("", "", (0.1, 0.1), (105, 1000), 1).verdict == "agrees"
    assert probability("", "", (0.1, 0.1), (200, 1000), 1).verdict == "disagrees"
    assert probability("", "", (0.05, 0.05), (105, 1000), 2).verdict == "agrees"
    assert probability("", "", (0.1, 0.1), (1, 10), 1).verdict == "undecided"
    assert probability("", "", (0.0, 0.001), (0, 5000), 1).verdict == "agrees"
    assert probability("", "", (0.0, 0.001), (50, 5000), 1).verdict == "disagrees"


def test_single_blocks_can_fail():
    """Three blocks of a few in a thousand; none, one of them alone, or most neurons."""
    law = three_blocks(0, 8.0)
    rest = np.random.default_rng(0).standard_normal((4000, law.dim))

    def verdict(*hits):
        gradients = rest.copy()
        rows = np.repeat(np.arange(3), hits)
        gradients[: len(rows)] = law.features[rows]
        return _single_blocks(law, gradients, np.ones(4000))[0].verdict

    assert verdict(6, 7, 8) == "agrees"
    assert verdict(20, 0, 0) == "undecided"
    assert verdict(1, 1, 1) == "undecided"
    assert verdict(100, 100, 100) == "disagrees"
    nothing = _single_blocks(law, np.tile(rest, (4, 1)), np.ones(16_000))[0]
    assert nothing.verdict == "disagrees"


def test_a_range_is_judged_direction_by_direction():
    """One direction outside is enough; half of the hits count for each sign."""
    inside, outside = np.array([200, 210]), np.array([200, 400])
    assert _range("", "", (0.09, 0.11), inside, 1000).verdict == "agrees"
    assert _range("", "", (0.09, 0.11), outside, 1000).verdict == "disagrees"
    assert _range("", "", (0.09, 0.11), np.array([4, 4]), 20).verdict == "undecided"


def test_directions_of_the_plane_are_counted_with_their_opposites():
    """Both ends of an axis; a gradient of 0 is in no cone, a short one not counted."""
    gradients = np.array([[1.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    angles = np.array([0.0, np.pi / 2])
    assert _counted(gradients, angles, 0.0).tolist() == [2, 1]
    assert _counted(gradients, angles, 1.5).tolist() == [1, 0]


def test_laws_have_unit_features_and_their_thresholds():
    """Features are orthonormal and those of the task; thresholds of both signs."""
    for law in (clusters(0), xor(0), three_blocks(0, 8.0)):
        gram = law.features @ law.features.T
        assert np.max(np.abs(gram - np.eye(len(gram)))) < 1e-6
        W, b = law.neurons(50, [0, 1])
        assert W.shape == (50, law.dim)
        assert set(np.abs(b)) == {law.threshold}
    means = np.asarray(clusters(0).task.inputs.means)
    assert np.max(np.abs(means - 10 * clusters(0).features)) < 1e-5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gradient-feature-sets", {"draws": 10}),
        ("gradient-feature-sets", {"samples": 2.5}),
        ("gradient-sample-size", {"sizes": "5000;20000"}),
        ("gradient-sample-size", {"seeds": 1}),
        ("gradient-input-laws", {"seeds": 0}),
        ("gradient-image-features", {"images": "cats"}),
        ("gradient-image-features", {"pair": "1,1"}),
        ("gradient-image-features", {"images": "digits", "sizes": "20,300"}),
    ],
)
def test_bad_options_are_refused(name, options):
    """One sentence before anything is computed."""
    with pytest.raises(ValueError, match=r"Expected .* Received"):
        find_experiment(name).run(**options)


def test_options_are_checked_before_jax_is_loaded():
    """A bad option costs no import."""
    program = (
        "import sys\n"
        "from twolayer.experiments import find_experiment\n"
        f"for name in {NAMES}:\n"
        "    try:\n"
        "        find_experiment(name).run(seed=-1)\n"
        "    except ValueError:\n"
        "        continue\n"
        "    raise SystemExit(name)\n"
        "assert 'jax' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_quick_runs_agree(name, tmp_path):
    """Every finding of the quick sizes, and the result survives its file."""
    experiment = find_experiment(name)
    result = experiment.run(**experiment.quick)
    assert {finding.name: finding.verdict for finding in result.findings} == {
        finding.name: "agrees" for finding in result.findings
    }
    kept = load(save(result, tmp_path))
    assert [finding.name for finding in kept.findings] == [f.name for f in result.findings]
