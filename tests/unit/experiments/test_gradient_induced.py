"""Experiments on induced networks and kernels: their laws on lattices, options and quick runs."""

import math
import subprocess
import sys

import numpy as np
import pytest

from twolayer.experiments import find_experiment
from twolayer.experiments.gradient_features.induced import _blocks, _normal_lattice
from twolayer.experiments.gradient_features.kernels import _relu_features
from twolayer.experiments.gradient_features.simplicity import _path
from twolayer.results import load, save
from twolayer.theory.gradient_features.kernel_bounds import corners

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
    """Every finding of the quick sizes, and the result survives its file."""
    experiment = find_experiment(name)
    result = experiment.run(**experiment.quick)
    assert {finding.name: finding.verdict for finding in result.findings} == {
        finding.name: "agrees" for finding in result.findings
    }
    kept = load(save(result, tmp_path))
    assert [finding.name for finding in kept.findings] == [f.name for f in result.findings]
