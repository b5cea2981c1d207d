"""Experiments on figures of one gradient step: their problems, their verdicts, tiny runs."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_allclose, assert_within_sem
from twolayer.datasets import ImagePair
from twolayer.datasets.digits import digits
from twolayer.datasets.fashion import local_files
from twolayer.experiments import EXPERIMENTS, find_experiment
from twolayer.experiments.one_step import degrees
from twolayer.experiments.one_step.images import image_problem
from twolayer.experiments.one_step.partly_gaussian import partly_gaussian
from twolayer.experiments.one_step.scalings import limited_degree
from twolayer.experiments.one_step.setting import (
    Setting,
    measured,
    mixture_problem,
    model_errors,
)
from twolayer.experiments.one_step.structure import rank_problem
from twolayer.experiments.one_step.sweeps import Curve, evenly
from twolayer.experiments.one_step.verdicts import beyond, falls, lower, rises, within
from twolayer.outcomes import Prediction
from twolayer.theory.one_step.regimes import capped_degree

SETTING = Setting(30, 24, 0.5, 0.8, 1e-3, 3, 7)
TINY = {"dim": 16, "num_samples": 20, "trials": 3}
FIGURES = {
    "hermite-model-widths": {**TINY, "ratios": "0.5,2", "activations": "relu"},
    "hermite-model-training": {**TINY, "ratios": "0.5,2", "activations": "tanh"},
    "hermite-model-weighting": {**TINY, "points": 2, "width": 20, "activations": "tanh"},
    "hermite-model-strength": {**TINY, "points": 2, "width": 20, "activations": "sigmoid"},
    "spike-alignment": {**TINY, "points": 3, "width": 20, "activations": "relu"},
    "mixture-proportion": {**TINY, "points": 3, "width": 20, "activations": "relu,tanh"},
    "spike-rank": {**TINY, "ranks": "1,3", "width": 20, "activations": "relu"},
    "data-phase-diagram": {**TINY, "points": 2, "width": 20},
    "linear-model-phase-diagram": {**TINY, "points": 2, "width": 20},
    "aligned-degree": {"dims": "16,20", "betas": "0.6", "trials": 3},
    "image-widths": {"images": "digits", "num_samples": 20, "ratios": "0.5,2", "trials": 2},
    "image-means": {"images": "digits", "num_samples": 20, "ratios": "0.5,2", "trials": 2},
    "image-learning-rate": {
        "images": "digits", "num_samples": 20, "points": 2, "width": 20, "trials": 2,
    },
    "image-universality": {"images": "digits", "num_samples": 20, "kept": "3", "trials": 2},
}  # fmt: skip


def test_every_figure_is_registered():
    """The catalogue of this file is that of the register, theory curves apart."""
    homes = {"degrees", "images", "phases", "scalings", "structure", "universality", "widths"}
    found = {
        name
        for name, experiment in EXPERIMENTS.items()
        if experiment.run.__module__.split(".")[-1] in homes and experiment.paper == "one_step"
    }
    assert found == set(FIGURES)


@pytest.mark.parametrize("proportion", [0.5, 0.2, 0.0])
def test_labels_are_scaled_by_the_norm_of_the_mixture(proportion):
    """Assumption A.5: ``|xi| = |Sigma|^(-1/2)``, against the dense covariance's eigenvalues."""
    problem = mixture_problem(SETTING, overlap=0.4, proportion=proportion)
    norm = np.linalg.eigvalsh(np.asarray(problem.task.inputs.covariance))[-1]
    xi = np.asarray(problem.task.target.direction)
    assert_allclose(xi @ xi, 1 / norm, loss=1e-3)
    assert_allclose(problem.trace, 30 + 30**0.4, loss=1e-3)


@pytest.mark.parametrize("overlap", [-1.0, -0.3, 0.0, 1.0])
def test_spikes_have_the_overlap(overlap):
    """Unit spikes with the given inner product; within a draw the first one and xi stay."""
    inputs = mixture_problem(SETTING, overlap=overlap).task.inputs
    first, second = np.asarray(inputs.directions)[:, 0]
    assert_allclose([first @ first, second @ second, first @ second], [1, 1, overlap], loss=1e-3)
    other = mixture_problem(SETTING, overlap=0.5).task.inputs
    assert_allclose(first, other.directions[0, 0], loss=1e-3)
    assert (
        abs(first @ np.asarray(mixture_problem(SETTING, draw=1).task.inputs.directions)[0, 0]) < 1
    )


def test_aligned_labels_look_along_both_spikes():
    """Aligned, xi is in proportion to the sum of the spikes; else it is in no spike's plane."""
    for aligned in (True, False):
        task = mixture_problem(SETTING, aligned=aligned).task
        total = np.sum(np.asarray(task.inputs.directions)[:, 0], axis=0)
        xi = np.asarray(task.target.direction)
        cosine = xi @ total / np.linalg.norm(xi) / np.linalg.norm(total)
        assert (abs(cosine - 1) < 1e-12) == aligned


def test_class_labels_name_the_components():
    """One component alone has one label, equal shares have both equally often."""
    for share, mean in ((0.0, -1), (0.5, 0), (1.0, 1)):
        task = mixture_problem(SETTING, proportion=share, classes=True).task
        assert float(jnp.mean(task.sample(40, key=jax.random.key(0))[1])) == mean


def test_ranks_have_equal_traces_and_share_their_draws():
    """Orthonormal spikes, as many as the rank, strengths in [0, theta], equal traces."""
    small, large = (rank_problem(SETTING, rank, 5, draw=2).task.inputs for rank in (2, 5))
    for inputs, rank in ((small, 2), (large, 5)):
        strengths = np.asarray(inputs.strengths)
        assert np.array_equal(np.count_nonzero(strengths, axis=1), [rank, rank])
        assert_allclose(strengths[0].sum(), strengths[1].sum(), loss=1e-3)
        assert np.all((strengths[0] >= 0) & (strengths[0] <= SETTING.strength))
    assert_allclose(small.strengths[0, :2], large.strengths[0, :2], loss=1e-3)
    assert_allclose(small.directions, large.directions, loss=1e-3)
    gram = np.einsum("crd,csd->crs", large.directions, large.directions)
    assert_allclose(gram, np.tile(np.eye(5), (2, 1, 1)), loss=1e-3)


def test_the_degree_is_that_of_the_published_code():
    """At every tenth and at every ninth of 1, with the published cap; a lower cap is kept."""
    for beta in (*evenly(0, 1, 10), *evenly(0, 1, 11)):
        assert limited_degree(beta, 4) == capped_degree(beta)
        assert limited_degree(beta, 2) == min(2, capped_degree(beta))


def test_the_scalings_multiply_to_the_strength():
    """``eta theta = n^beta``; with all weight on the step, eta is the whole power."""
    for alpha in (0.0, 0.3, 1.0):
        setting = Setting(100, 10, alpha, 0.8, 1e-3, 2, 0)
        assert_allclose(setting.learning_rate * setting.strength, 100**0.8, loss=1e-3)
    assert_allclose(Setting(784, 10, 1.0, 0.5, 1e-3, 2, 0).learning_rate, 28, loss=1e-3)


def small_pair():
    """A pair of skewed classes in three dimensions."""
    pixels = np.random.default_rng(0).exponential(size=(400, 3)) * np.array([3.0, 1.0, 0.3])
    shifts, scales = np.zeros((2, 3)), np.ones(2)
    return ImagePair(pixels[:250], pixels[250:] @ np.diag([0.2, 2, 1]), shifts, scales, 0.5, (0, 1))


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_partly_gaussian_images_keep_their_moments(kept):
    """Covariances of the kept part and of the Gaussian part add up to those of the images."""
    pair = small_pair()
    law = partly_gaussian(pair, kept)
    assert_allclose(law.pair.means, pair.means, loss=1e-3)
    rest = np.einsum("cij,cjk->cik", law.roots, law.roots)
    assert_allclose(law.pair.covariances + rest, pair.covariances, loss=1e-3)
    assert np.array_equal(np.linalg.matrix_rank(rest, tol=1e-9), [3 - kept] * 2)


def test_partly_gaussian_samples():
    """All kept: the images' own samples. None kept: means, covariances, but no skewness."""
    pair, key = small_pair(), jax.random.key(3)
    own, y = pair.sample(6, key=jax.random.split(key)[0])
    x, labels = partly_gaussian(pair, 3).sample(6, key=key)
    assert_allclose(x, own, loss=1e-3)
    assert np.array_equal(labels, y)
    x, labels = partly_gaussian(pair, 0).sample(40_000, key=key)
    for c, label in ((0, 1.0), (1, -1.0)):
        part = np.asarray(x)[np.asarray(labels) == label]
        centred = part - pair.means[c]
        sem = np.std(part, axis=0) / np.sqrt(len(part))
        assert_within_sem(np.mean(part, axis=0), sem, pair.means[c])
        products = np.einsum("ni,nj->nij", centred, centred)
        sem = np.std(products, axis=0) / np.sqrt(len(part))
        assert_within_sem(np.mean(products, axis=0), sem, pair.covariances[c])
        cubes = centred**3
        assert_within_sem(np.mean(cubes, axis=0), np.std(cubes, axis=0) / np.sqrt(len(part)), 0)
    # The images themselves are skewed: third moments of exponential variables are far from 0.
    assert np.mean((np.asarray(pair.first) - pair.means[0]) ** 3, axis=0)[0] > 10


def test_problems_of_images():
    """64 pixels of strength 64 besides the noise; the Hermite model is expanded at scale 1."""
    images, labels = digits()
    assert images.shape == (1797, 8, 8)
    assert set(labels.tolist()) == set(range(10))
    problem = image_problem("digits", (5, 9), "demeaned")
    assert_allclose(problem.trace, 128, loss=1e-3)
    assert problem.scale == 1.0
    assert problem.task.first.shape[0] == np.sum(labels == 5)
    assert np.max(np.abs(problem.task.means)) < 1e-12


NOISE = np.array([-1.0, 0.2, 0.5, -0.4, 0.7])  # mean 0, standard error 0.31


def test_verdicts_on_pairs():
    """Lower beyond chance agrees, higher disagrees, within chance is undecided, NaN has failed."""
    base = np.full(5, 10.0)
    for shift, verdict in ((-5, "agrees"), (5, "disagrees"), (-0.5, "undecided")):
        found = lower("n", "s", "r", base + shift + NOISE, base, "")
        assert found.verdict == verdict
        assert_allclose(found.measured, 10 + shift, loss=1e-3)
        assert_allclose(found.error, NOISE.std(ddof=1) / np.sqrt(5), loss=1e-3)
    # Noise that both share is no error of the difference.
    assert lower("n", "s", "r", base + 9 * NOISE - 1, base + 9 * NOISE, "").verdict == "agrees"
    assert lower("n", "s", "r", np.array([1.0, np.nan]), base[:2], "").verdict == "failed"


@pytest.mark.parametrize(
    ("means", "falling", "rising"),
    [
        ((9, 6, 3), "agrees", "disagrees"),
        ((3, 6, 9), "disagrees", "agrees"),
        ((9, 3, 6), "disagrees", "disagrees"),  # falls in all, but not everywhere
        ((3.01, 3.02, 3), "undecided", "undecided"),
    ],
)
def test_verdicts_on_curves(means, falling, rising):
    """A curve falls if it does so as a whole and rises nowhere."""
    values = np.asarray(means, float)[None] + 0.1 * NOISE[:, None] * np.array([1, -1, 0.5])
    curve = measured("relu", [0, 1, 2], values, "beta")
    assert falls("n", "s", "r", curve).verdict == falling
    assert rises("n", "s", "r", curve).verdict == rising


def test_verdicts_on_gaps():
    """Gaps within or beyond a tolerance, of either sign; too much noise is undecided."""
    small = 0.01 * NOISE
    assert within("n", "s", "r", 0.04 + small, 0.05, "").verdict == "agrees"
    assert within("n", "s", "r", -0.2 + small, 0.05, "").verdict == "disagrees"
    assert within("n", "s", "r", NOISE, 0.05, "").verdict == "undecided"
    assert beyond("n", "s", "r", -0.2 + small, 0.05, "").verdict == "agrees"
    assert beyond("n", "s", "r", 0.01 + small, 0.05, "").verdict == "disagrees"
    assert beyond("n", "s", "r", 0.06 + small, 0.05, "").verdict == "undecided"
    for judge in (within, beyond):
        assert judge("n", "s", "r", np.array([0.0, np.nan]), 0.05, "").verdict == "failed"


def test_agreement_where_the_theorem_speaks():
    """Points that are not marked are not judged, but named."""
    values = np.ones((4, 3)) + 1e-3 * np.arange(4.0)[:, None] * np.ones(3)
    model = values - np.array([0.0, 0.01, 0.5])
    curve = Curve(
        "relu",
        measured("relu", [0, 0.5, 1], values, "beta"),
        Prediction("relu", np.array([0, 0.5, 1]), model.mean(axis=0), "asymptotic", "r"),
        values - model,
    )
    assert curve.agreement("s", 0.06).verdict == "disagrees"
    found = curve.agreement("s", 0.06, [True, True, False])
    assert found.verdict == "agrees"
    assert "50 %" in found.note
    assert curve.agreement("s", 0.06, [False] * 3).verdict == "undecided"


def test_the_control_of_one_degree_less():
    """A gap that stays is not enough a degree; one that falls, or is small, contradicts it."""
    near = np.array([0.9, 1.0, 1.1, 1.05, 0.95])

    def judged(first, last):
        gaps = [first * near, last * near[::-1]]
        shrinking = degrees._convergence("gap", [100, 400], gaps)
        return degrees._one_less(SETTING, 1, 400, gaps, shrinking).verdict

    assert judged(0.5, 0.8) == "agrees"
    assert judged(2.0, 0.5) == "disagrees"
    assert judged(0.01, 0.02) == "disagrees"


@pytest.mark.slow
def test_no_program_is_compiled_twice(caplog):
    """Other strengths, weightings and trials run the programs of the first cell."""

    def cell(alpha, beta):
        setting = Setting(16, 20, alpha, beta, 1e-4, 3, 0)
        problem = mixture_problem(setting, aligned=True)
        return model_errors(problem, setting, "relu", width=20, degree=1, same_data=False)

    cell(0.2, 0.3)
    with jax.log_compiles():
        jax.jit(lambda x: x + 1)(jnp.ones(3))  # the log must show what is compiled
        assert "ompiling" in caplog.text
        caplog.clear()
        cell(0.7, 0.9)
    assert "ompiling" not in caplog.text


def test_rows_of_the_diagram_are_strengths():
    """Its corner of full strength and weight on the data is the error there."""
    result = find_experiment("data-phase-diagram").run(**FIGURES["data-phase-diagram"])
    (diagram,) = result.diagrams
    assert (diagram.row_name, diagram.column_name) == ("strength beta", "weighting alpha")
    for row, column in ((0, 0), (1, 0), (1, 1)):
        setting = Setting(16, 20, float(column), float(row), 1e-4, 3, 0)
        problem = mixture_problem(setting, aligned=True)
        errors = model_errors(problem, setting, "relu", width=20, degree=None, same_data=False)
        assert_allclose(diagram.value[row, column], np.mean(errors[0].generalization), loss=1e-3)
    # Without strength there is nothing to weigh.
    assert diagram.value[0, 0] == diagram.value[0, 1]


def check_run(name):
    """Tiny sizes: finite numbers, curves of the right shape, a finding for each claim."""
    result = find_experiment(name).run(**FIGURES[name])
    assert result.findings
    assert len({finding.name for finding in result.findings}) == len(result.findings)
    assert all(finding.verdict != "failed" for finding in result.findings)
    for trajectory in result.trajectories:
        assert trajectory.value.shape == (FIGURES[name]["trials"], len(trajectory.time))
        assert np.all(trajectory.value >= 0)
    for diagram in result.diagrams:
        assert np.all((diagram.value >= 0) & (diagram.value <= 1))
        assert np.all(np.isfinite(np.asarray(diagram.error)))
    return result


@pytest.mark.slow
def test_errors_over_shares():
    """Labels of one component alone are learnt by a rectifier, not by an odd function."""
    relu, tanh = check_run("mixture-proportion").trajectories
    assert np.all(np.mean(relu.value, axis=0)[[0, 2]] < 0.5 * np.mean(relu.value, axis=0)[1])
    assert np.all(np.mean(tanh.value, axis=0) > 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_tiny_runs(name):
    """Every experiment at tiny sizes."""
    check_run(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_quick_runs_contradict_nothing(name):
    """The quick tier of every experiment finds what it expects."""
    experiment = EXPERIMENTS[name]
    for finding in experiment.run(**experiment.quick).findings:
        assert finding.verdict == "agrees", finding


@pytest.mark.slow
@pytest.mark.skipif(local_files() is None, reason="Fashion-MNIST is not on this machine")
def test_fashion_mnist():
    """The published images: 784 pixels of strength 784, and an experiment on them."""
    assert_allclose(image_problem("fashion-mnist", (0, 1), "means-kept").trace, 1568, loss=1e-3)
    result = find_experiment("image-widths").run(
        num_samples=60, ratios="1,3", activations="relu", trials=2
    )
    assert all(status == "finished" for status in result.trajectories[0].status)


BAD = [
    ("hermite-model-weighting", {"points": 1}, "points"),
    ("hermite-model-weighting", {"beta": 1.5}, "beta"),
    ("hermite-model-weighting", {"degree": -1}, "degree"),
    ("hermite-model-strength", {"highest_degree": 0}, "highest_degree"),
    ("hermite-model-strength", {"width": 0}, "width"),
    ("spike-alignment", {"activations": "rely"}, "rely"),
    ("mixture-proportion", {"trials": 1}, "trials"),
    ("spike-rank", {"ranks": "3,1"}, "ranks"),
    ("spike-rank", {"ranks": "1,9", "dim": 8}, "ranks"),
    ("data-phase-diagram", {"ridge": 0.0}, "ridge"),
    ("linear-model-phase-diagram", {"activation": "nothing"}, "nothing"),
    ("aligned-degree", {"dims": "100"}, "dims"),
    ("aligned-degree", {"betas": "1"}, "beta"),
    ("aligned-degree", {"penalty": float("nan")}, "penalty"),
    ("image-widths", {"images": "cats"}, "images"),
    ("image-widths", {"pair": "1,1"}, "pair"),
    ("image-means", {"ratios": "2,1"}, "ratios"),
    ("image-learning-rate", {"pair": "0,10"}, "pair"),
    ("image-universality", {"variant": "plain"}, "variant"),
    ("image-universality", {"kept": "65", "images": "digits"}, "kept"),
]


def test_bad_options_are_one_sentence_before_jax_is_loaded():
    """Every bad option is refused by name, without JAX: in a fresh process, as a user meets it."""
    program = f"""
import sys
nan = float("nan")
from twolayer.experiments import find_experiment
for name, options, word in {BAD!r}:
    try:
        find_experiment(name).run(**options)
    except ValueError as error:
        assert word in str(error) and "\\n" not in str(error), (name, options, str(error))
    else:
        raise AssertionError((name, options))
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
