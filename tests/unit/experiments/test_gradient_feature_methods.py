"""Experiments that hold networks against fixed features: tables, verdicts, bad options."""

import numpy as np
import pytest
from scipy.special import ndtr

from twolayer.experiments import find_experiment
from twolayer.experiments.gradient_features import against_kernels, dictionary, methods
from twolayer.tasks import Dataset

RNG = np.random.default_rng(0)
SPREAD = np.asarray([-1.0, 0.0, 1.0, -1.0, 1.0]) * 0.001


@pytest.mark.parametrize(
    ("judge", "mean", "verdict"),
    [
        (methods.above, 0.98, "agrees"),
        (methods.above, 0.92, "disagrees"),
        (methods.above, 0.9501, "undecided"),
        (methods.below, 0.98, "disagrees"),
        (methods.below, 0.92, "agrees"),
        (methods.below, 0.9499, "undecided"),
    ],
)
def test_sided_verdicts(judge, mean, verdict):
    """Beyond the bound by more than chance yields, or undecided."""
    finding = judge("name", "claim", mean + SPREAD, 0.95, reference="derived here")
    assert finding.verdict == verdict
    assert finding.measured == pytest.approx(mean)
    assert finding.error == pytest.approx(0.001 / np.sqrt(5))


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [(0.51, 1.0, "agrees"), (0.56, 1.0, "disagrees"), (0.51, 100.0, "undecided")],
)
def test_verdicts_on_equality(mean, spread, verdict):
    """Within tolerance and chance; undecided where chance is the larger."""
    finding = methods.equal(
        "name", "claim", mean + spread * SPREAD, 0.5, tolerance=0.02, reference="derived here"
    )
    assert finding.verdict == verdict


def test_all_methods_get_the_same_samples():
    """The network's function sees what the baselines are fitted to; the table has a row each."""
    x = RNG.standard_normal((150, 3))
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    samples, test = Dataset(x[:100], y[:100]), Dataset(x[100:], y[100:])
    seen = []

    def train(own, outside, k):
        seen.append((own, outside, k))
        return methods.Trained(0.75, (np.eye(3), np.zeros(3)), "kept")

    rows, extras = methods.run_methods(
        train, lambda k: (samples, test), names=methods.BASELINES, seeds=2, seed=0
    )
    assert [row.method for row in rows] == ["network", *methods.BASELINES]
    assert all(own is samples and outside is test for own, outside, _ in seen)
    assert extras == ["kept", "kept"]
    lines = methods.table("halves", rows)
    assert lines[0]["accuracy"] == 0.75
    assert {line["samples"] for line in lines} == {100}
    # three neurons: frozen and random ones; a kernel is centred at the samples
    assert [line["features"] for line in lines] == [3, 3, 3, 15, 100, 100]
    # half spaces are easy: everything but three random features gets nearly all
    assert min(line["accuracy"] for line in lines[3:]) > 0.8


def test_shuffling_keeps_inputs_and_classes():
    """A permutation of the labels alone."""
    x, y = RNG.standard_normal((50, 2)), np.sign(RNG.standard_normal(50))
    other = methods.shuffled(Dataset(x, y), 1)
    assert np.array_equal(other.x, x)
    assert np.sum(np.asarray(other.y)) == np.sum(y)
    assert not np.array_equal(other.y, y)


def test_bayes_accuracy_of_xor():
    """Against the sign of ``|z_1| - |z_2|`` on samples."""
    value = against_kernels._bayes([10])
    z = RNG.standard_normal((200_000, 2))
    z[:, 0] += 3
    right = np.mean(np.abs(z[:, 0]) > np.abs(z[:, 1]))
    assert abs(value.value[0] - right) < 4 * np.sqrt(right * (1 - right) / 200_000)
    assert value.kind == "upper"
    assert value.value[0] > ndtr(3 / np.sqrt(2)) ** 2


def test_classical_scaling_keeps_distances_in_the_plane():
    """Unit vectors of a plane keep all their distances, whatever their lengths and the basis."""
    angles = RNG.uniform(0, 2 * np.pi, 12)
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    basis = np.linalg.qr(RNG.standard_normal((6, 2)))[0]
    points = dictionary.classical_scaling(RNG.uniform(0.5, 2, (12, 1)) * (units @ basis.T))
    distances = np.sqrt(np.maximum(2 - 2 * units @ units.T, 0))
    found = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.testing.assert_allclose(found, distances, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("features-against-kernels", {"tasks": "xor,and"}, "tasks"),
        ("features-against-kernels", {"sizes": "100;200"}, "sizes"),
        ("features-against-kernels", {"width": 30}, "multiple of 4"),
        ("features-against-kernels", {"seeds": 1}, "seeds"),
        ("lottery-tickets", {"sizes": "500"}, "largest size"),
        ("lottery-tickets", {"dim": 1}, "dim"),
        ("multi-index", {"dim": 2}, "dim"),
        ("multi-index", {"width": 10}, "multiple of 4"),
        ("coded-parity", {"relevant": 4}, "odd number"),
        ("coded-parity", {"hidden": 600}, "odd number"),
    ],
)
def test_bad_options(name, options, words):
    """A sentence names what is wrong, before anything is computed."""
    with pytest.raises(ValueError, match=words):
        find_experiment(name).run(**options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "features-against-kernels",
            {
                "tasks": "structured-parity,uniform-parity", "dim": 20, "width": 40,
                "sizes": "200,600", "largest_kernel": 200, "both_steps": 500, "seeds": 3,
            },
        ),
        ("lottery-tickets", {"dim": 20, "samples": 500, "width": 40, "sizes": "8", "seeds": 3}),
        ("multi-index", {"dim": 10, "width": 40, "sizes": "400,2000", "seeds": 3}),
        ("coded-parity", {"dim": 20, "hidden": 12, "half": 20, "samples": 400, "seeds": 3}),
    ],
)  # fmt: skip
def test_small_runs_have_no_disagreement(name, options):
    """Every finding agrees or is undecided with so few seeds, and every method has its row."""
    result = find_experiment(name).run(**options)
    assert result.findings
    assert {finding.verdict for finding in result.findings} <= {"agrees", "undecided"}
    for line in result.details["table"]:
        assert set(line) >= {"method", "accuracy", "error", "features", "samples", "seconds"}
