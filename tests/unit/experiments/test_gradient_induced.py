"""Experiments on induced networks and kernels: their laws on lattices, options and quick runs."""

import math
import subprocess
import sys

import numpy as np
import pytest

from twolayer.experiments import find_experiment
from twolayer.experiments.gradient_features.induced import _blocks, _normal_lattice
from twolayer.experiments.gradient_features.kernels import (
    _averages,
    _informed,
    _relu_features,
    _tight,
)
from twolayer.experiments.gradient_features.realised import _norm_finding, _norms, _within
from twolayer.experiments.gradient_features.simplicity import _path
from twolayer.results import load, save
from twolayer.theory.gradient_features.induced_networks import relu_network
from twolayer.theory.gradient_features.kernel_bounds import corners
from twolayer.theory.gradient_features.realisation import realise

NAMES = ("induced-networks", "simplicity-bias", "realisation-lemma", "kernel-lower-bounds")


def test_the_lattice_has_the_moments_of_the_normal_law():
    """Mass, variance and fourth moment of the plane's law, but for the corners cut off."""
    points, weights = _normal_lattice(41)
    assert abs(weights.sum() - 1) < 1e-12
    assert abs(weights @ points[:, 0]) < 1e-12
    # beyond a radius of 4.5 to 4.8 lies 1e-4 of the mass
    assert abs(weights @ points[:, 1] ** 2 - 1) < 2e-3
    assert abs(weights @ points[:, 0] ** 4 - 3) < 2e-2
    assert abs(weights @ (points[:, 0] * points[:, 1]) ** 2 - 1) < 1e-2


def test_features_of_the_kernel_experiment_are_bounded():
    """Each feature lies in [0, 1] and attains 1: the bound for N of them applies as it is."""
    values = _relu_features(6, 20, 0)(corners(6))
    assert values.min() == 0
    np.testing.assert_allclose(values.max(axis=0), 1)


def test_the_first_neuron_of_a_parity():
    """On the law of a parity of three the best single neuron is found by a fine search."""
    sums = np.asarray([-3.0, -1.0, 1.0, 3.0]) / math.sqrt(3)
    weights = np.asarray([1, 3, 3, 1]) / 16 + np.asarray([0.25, 0, 0, 0.25])
    labels = np.asarray([-1.0, 1.0, -1.0, 1.0])
    best = 1.0
    for sign in (1.0, -1.0):
        for b in np.linspace(-3.5, 3.5, 29) / math.sqrt(3):
            unit = np.maximum(sign * sums - b, 0.0)
            a = np.linspace(-4 * math.sqrt(3), 4 * math.sqrt(3), 201)
            losses = np.maximum(1 - labels[:, None] * unit[:, None] * a, 0.0)
            best = min(best, float(np.min(weights @ losses)))
    path = _path(3)
    assert abs(path[0].loss - best) < 0.01  # between the weights of the search
    assert path[-1].loss < 1e-9
    assert len(path) <= 12


def test_small_norms_are_those_that_keep_values_within_one():
    """Two features equal to the parity and its half: values reach norm sqrt(5) / 2."""
    parity = np.prod(corners(3)[:, :2], axis=1)
    table = np.stack([parity, parity / 2], axis=1)
    assert _tight(table, np.asarray([[0, 1]]), 0.99 * 2 / math.sqrt(5))
    assert not _tight(table, np.asarray([[0, 1]]), 1.01 * 2 / math.sqrt(5))


@pytest.mark.parametrize(
    ("loss", "tight", "verdict"),
    [
        (0.8, True, "agrees"), (0.9, True, "disagrees"), (0.9, False, "undecided"),
        (0.8, False, "agrees"), (0.7, True, "disagrees"), (0.7, False, "disagrees"),
    ],
)  # fmt: skip
def test_the_average_parity_is_judged_where_the_bound_is_tight(loss, tight, verdict):
    """The bound 1 - 2 * 0.1: attained, missed, or for a larger norm nothing to attain."""
    lengths, least = np.full(4, 0.1), np.full((2, 1), loss)
    found = _averages([2.0], lengths, (np.arange(2), tight), least, (4, 3, 5))[1]
    assert found[0].verdict == verdict


def test_a_feature_that_knows_the_parity_violates_the_bound():
    """Whatever norms the other bounds are for."""
    assert _informed(4, 3, np.asarray([0, 1, 2])).verdict == "agrees"


def test_the_lemma_says_nothing_where_stand_ins_are_missing():
    """An infinite bound holds trivially: undecided, and the note says why."""
    optimum = relu_network(np.ones(2), np.eye(2), np.ones(2))
    both = realise(optimum, optimum, gamma=0.1, tolerance=0.1)
    one = relu_network(np.zeros(1), np.eye(2)[:1], np.ones(1))
    lacking = realise(optimum, one, gamma=0.1, tolerance=0.1)
    expected = np.full(2, 1.0)
    good, bad = (5, both, expected, 0.0), (5, lacking, expected, 0.3)
    far = (*good[:3], 9.0)
    judged = {"agrees": [good, good], "undecided": [good, bad], "disagrees": [good, far]}
    for verdict, rows in judged.items():
        finding = _within(5, rows)
        assert finding.verdict == verdict
        assert ("1 of 2 networks lack stand-ins" in finding.note) == (verdict == "undecided")
    curve = _norms(optimum, [5], [good, bad])
    assert _norm_finding(curve, [good, bad]).verdict == "undecided"
    assert _norm_finding(_norms(optimum, [5], [good, good]), [good, good]).verdict == "agrees"


def test_parities_are_read():
    """Sizes times blocks."""
    assert _blocks("5x3, 7x1") == [(5, 3), (7, 1)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("induced-networks", {"parities": "4x3"}),
        ("induced-networks", {"parities": "5"}),
        ("induced-networks", {"fit": 1}),
        ("simplicity-bias", {"blocks": "4"}),
        ("simplicity-bias", {"steps": "100,10"}),
        ("realisation-lemma", {"gamma": 1.5}),
        ("realisation-lemma", {"quarters": "few"}),
        ("kernel-lower-bounds", {"dim": 20}),
        ("kernel-lower-bounds", {"sets": 10_000}),
        ("kernel-lower-bounds", {"norms": "2,1"}),
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
    """Every finding of the quick sizes but a vacuous bound; the result survives its file."""
    experiment = find_experiment(name)
    result = experiment.run(**experiment.quick)
    assert {finding.name: finding.verdict for finding in result.findings} == {
        finding.name: "undecided" if finding.name == "main bound" else "agrees"
        for finding in result.findings
    }
    kept = load(save(result, tmp_path))
    assert [finding.name for finding in kept.findings] == [f.name for f in result.findings]
