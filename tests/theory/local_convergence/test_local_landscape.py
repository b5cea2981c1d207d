"""Matching, descent direction, far mass, merge saddle and what is guaranteed near zero loss."""

import math

import numpy as np
import pytest

from helpers import assert_within_sem
from twolayer.theory.local_convergence import (
    decompose_residual,
    descent_direction,
    far_mass_bound,
    far_mass_certificate,
    gradient,
    gradient_constant,
    guaranteed_descent,
    guaranteed_flow,
    label_moment,
    log10_batch_size,
    log10_random_width,
    log10_threshold,
    loss,
    match_neurons,
    match_one_to_one,
    merge_loss,
    merge_saddle,
    separation,
    sufficient_steps,
)

TEACHER = np.array([[1.0, 0, 0], [0.4, 1.2, 0], [-0.2, 0.1, 0.7]])


def near_students(spread, seed, sizes=(2, 1, 3)):
    """Students near `TEACHER` with random signs."""
    rng = np.random.default_rng(seed)
    norms = np.linalg.norm(TEACHER, axis=1)
    cluster = np.repeat(np.arange(3), sizes)
    share = np.sqrt(norms[cluster] / np.asarray(sizes)[cluster])
    W = share[:, None] * TEACHER[cluster] / norms[cluster][:, None]
    W += spread * rng.normal(size=W.shape)
    return W * rng.choice([-1.0, 1.0], len(W))[:, None]


def test_matching_by_brute_force():
    W = near_students(0.4, 0)
    found = match_neurons(W, TEACHER)
    cosines = np.abs(W @ TEACHER.T) / np.linalg.norm(W, axis=1)[:, None]
    cosines /= np.linalg.norm(TEACHER, axis=1)
    np.testing.assert_array_equal(found.cluster, np.argmax(cosines, axis=1))
    np.testing.assert_allclose(found.angle, np.arccos(cosines.max(axis=1)), atol=1e-7)
    for i in range(3):
        mine = found.aligned[found.cluster == i]
        assert np.all(mine @ TEACHER[i] >= 0)
        average = sum((np.linalg.norm(w) * w for w in mine), start=np.zeros(3))
        np.testing.assert_allclose(found.average[i], average)
        assert found.near_mass(np.inf)[i] == pytest.approx(np.sum(mine**2))
    np.testing.assert_allclose(found.deviation, found.average - TEACHER)
    assert found.spread == pytest.approx(np.sum(found.mass * found.angle**2))


def test_one_to_one_matching():
    W = np.array([[0.0, 0.1, -1], [3, 0.1, 0], [-0.4, -1.1, 0]])
    assert match_one_to_one(W, TEACHER).tolist() == [2, 0, 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [1e-4, 1e-2, 0.1])
def test_lemma_8(spread, seed):
    """The alignment is at least the loss; about twice it where the flat part dominates."""
    W = near_students(spread, seed)
    found = descent_direction(W, TEACHER)
    assert found.alignment >= found.loss
    assert found.gradient_bound <= found.gradient_norm
    # far above the eps_0 of the lemma, with what Lemma 9 promises below it
    assert [assumption.holds for assumption in found.assumptions] == [True, True, False]
    if spread == 1e-4:
        assert found.alignment / found.loss == pytest.approx(2, abs=0.02)


def test_the_alignment_tends_to_three_losses_for_balanced_clusters():
    for delta in (1e-3, 1e-2):  # the gradient has 1e-16 / delta^2 of its digits
        W = np.array([[1.0, math.tan(delta)], [1.0, -math.tan(delta)]])
        W *= math.sqrt(math.cos(delta) / 2)
        found = descent_direction(W, [[1.0, 0.0]])
        assert found.alignment / found.loss == pytest.approx(3, abs=10 * delta)


def test_the_alignment_is_the_identity_of_equation_12():
    """``|R|^2 + E[R I_1]`` by sampling, with a far student among the near ones."""
    W = np.concatenate([near_students(0.1, 5), [[0.3, -0.3, 0.2]]])
    found, matching = descent_direction(W, TEACHER, near_angle=0.4), match_neurons(W, TEACHER)
    x = np.random.default_rng(6).normal(size=(200_000, 3))
    residual = np.abs(x @ W.T) @ np.linalg.norm(W, axis=1) - np.sum(np.abs(x @ TEACHER.T), axis=1)
    own = x @ TEACHER[matching.cluster].T
    weights = found.weights * np.linalg.norm(W, axis=1)
    extra = (own * (np.sign(own) - np.sign(x @ matching.aligned.T))) @ weights
    sample = residual**2 + residual * extra
    assert_within_sem(sample.mean(), sample.std() / math.sqrt(len(x)), found.alignment)
    sums = np.bincount(matching.cluster, weights, 3)
    np.testing.assert_allclose(sums, 1)
    assert np.all(found.weights[matching.angle > 0.4] == 0)


def test_the_direction_turns_with_the_signs():
    W = near_students(0.1, 7)
    flipped = W * np.array([1, -1, 1, -1, 1, 1.0])[:, None]
    one, other = descent_direction(W, TEACHER), descent_direction(flipped, TEACHER)
    assert one.alignment == pytest.approx(other.alignment, rel=1e-12)
    np.testing.assert_allclose(np.abs(one.direction), np.abs(other.direction), atol=1e-14)


def test_lemma_8_is_about_losses_below_eps_0():
    """Its statement starts there, and the direction says how far above it a student is."""
    W = near_students(0.1, 0)
    held = descent_direction(W, TEACHER).assumptions[-1]
    assert held.holds is False
    exact = log10_threshold(TEACHER) - math.log10(loss(W, TEACHER))
    assert held.margin == pytest.approx(exact)
    assert descent_direction(np.eye(2), np.eye(2)).assumptions[-1].holds is True


@pytest.mark.parametrize("W", [np.eye(3)[:2, :2], np.eye(3)[:, :2], np.zeros((2, 2))])
def test_where_the_direction_vanishes_it_bounds_nothing(W):
    """Perfect students, a zero one beside them, and zero students alone."""
    found = descent_direction(W, np.eye(2))
    assert found.gradient_bound == 0.0
    assert found.gradient_norm == pytest.approx(0.0, abs=1e-15)


def test_a_teacher_without_students_is_named():
    W = np.array([[1.0, 0, 0], [1, 0.01, 0], [1, 0, 0.01]])
    first = descent_direction(W, TEACHER).assumptions[0]
    assert first.holds is False


def test_near_students_are_those_within_the_angle_of_the_lemma():
    """``r w_max w_min^{-5/3} L^{1/3}``, and what Lemma 9 promises of the near ones."""
    teacher = np.array([[2.0, 0.0], [0.0, 0.5]])
    W = np.array([[math.sqrt(2), 0.0], [0.0, math.sqrt(0.2)], [0.3, 0.3 / math.tan(0.6)]])
    wide = 2 * 2 * 0.5 ** (-5 / 3) * loss(W, teacher) ** (1 / 3)
    assert wide > 0.6  # all three are near
    assert np.all(descent_direction(W, teacher).weights > 0)
    found = descent_direction(W, teacher, near_angle=0.5)
    np.testing.assert_array_equal(found.weights > 0, [True, True, False])
    assert [(a.holds, a.margin) for a in found.assumptions[:2]] == [
        (True, pytest.approx(0.4)),
        (False, pytest.approx(-0.1)),
    ]
    # the same shape so close to zero loss that its angle is out of reach
    V = np.array([[1.0, 0.0], [0.0, 1.0]])
    far = 0.01 * np.array([[math.sin(0.3), math.cos(0.3)]])
    close = np.concatenate([V, far])
    assert 2 * loss(close, V) ** (1 / 3) < 0.3
    np.testing.assert_array_equal(descent_direction(close, V).weights > 0, [True, True, False])
    small = 0.2  # teachers shorter by so much see the same angles from farther
    near = descent_direction(math.sqrt(small) * close, small * V)
    assert 2 * small ** (1 - 5 / 3) * (small**2 * loss(close, V)) ** (1 / 3) < 0.3
    np.testing.assert_array_equal(near.weights > 0, [True, True, False])


def test_far_mass_by_hand():
    """One teacher, a student orthogonal to it: ``D_2 = s^2``, ``|h_2|^2 = pi/2 + pi``."""
    W, s = np.array([[1.0, 0.0], [0.0, 0.5]]), 0.5
    found = far_mass_certificate(W, [[1.0, 0.0]], degrees=[2])
    assert found.loss_bound == pytest.approx(s**4 / (3 * math.pi), rel=1e-12)
    bound = far_mass_bound(np.array([[1.0, 0.0]]), loss=0.02, degrees=[2])
    assert bound[0] == pytest.approx(math.sqrt(3 * math.pi * 0.02), rel=1e-12)


def test_far_mass_certificate_against_sampling():
    W = np.concatenate([near_students(0.1, 8), [[0.2, -0.5, 0.4]]])
    degrees = (2, 4, 6)
    found = far_mass_certificate(W, TEACHER, degrees=degrees)
    x = np.random.default_rng(9).normal(size=(200_000, 3))
    residual = np.abs(x @ W.T) @ np.linalg.norm(W, axis=1) - np.sum(np.abs(x @ TEACHER.T), axis=1)
    directions = TEACHER / np.linalg.norm(TEACHER, axis=1)[:, None]
    coefficient = {2: 1 / math.sqrt(math.pi), 4: -math.sqrt(2 / (math.pi * 24))}
    coefficient[6] = 3 * math.sqrt(2 / (math.pi * 720))
    for k, degree in enumerate(degrees):
        h = np.polynomial.hermite_e.HermiteE.basis(degree)(x @ directions.T)
        h = np.sum(h, axis=1) / math.sqrt(math.factorial(degree)) / coefficient[degree]
        h = math.sqrt(math.pi / 2) - h
        for sample, exact in ((h * residual, found.statistic[k]), (h**2, found.norm[k] ** 2)):
            assert_within_sem(sample.mean(), sample.std() / math.sqrt(len(x)), exact)


@pytest.mark.parametrize("seed", range(5))
def test_far_mass_bounds_the_loss_from_below(seed):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(4, 3)) * rng.uniform(0.1, 1)
    certificate = far_mass_certificate(W, TEACHER)
    value = loss(W, TEACHER)
    assert 0 < certificate.loss_bound <= value
    allowed = far_mass_bound(TEACHER, loss=value)
    assert np.all(np.abs(certificate.statistic) <= allowed)


def test_zero_loss_has_no_far_mass():
    W = np.sqrt(np.linalg.norm(TEACHER, axis=1))[:, None]
    W = W * TEACHER / np.linalg.norm(TEACHER, axis=1)[:, None]
    certificate = far_mass_certificate(W, TEACHER)
    np.testing.assert_allclose(certificate.statistic, 0, atol=1e-14)


@pytest.mark.parametrize(("angle", "norm"), [(0.2, 1.0), (0.3, 2.5), (1.5, 1.0)])
def test_the_merge_saddle(angle, norm):
    """Stationary, of the stated loss, and no minimum: apart, the students do better."""
    saddle = merge_saddle(angle, num_students=4, norm=norm)
    assert separation(saddle.teacher) == pytest.approx(angle)
    assert loss(saddle.students, saddle.teacher) == pytest.approx(saddle.loss, rel=1e-10)
    assert np.max(np.abs(gradient(saddle.students, saddle.teacher))) < 1e-14 * norm**1.5
    apart = saddle.students + 0.05 * angle * np.array([[0, 1.0], [0, -1], [0, 1], [0, -1]])
    assert loss(apart, saddle.teacher) < saddle.loss


def test_the_merge_loss_is_cubic():
    assert merge_loss(1e-5) == pytest.approx(1e-15 / (3 * np.pi), rel=1e-4)
    assert merge_loss(1e-3) == pytest.approx(1e-9 / (3 * np.pi), rel=1e-3)


def test_eps_0_is_below_the_saddle():
    for angle in (0.1, 0.5, 1.5):
        saddle = merge_saddle(angle)
        assert log10_threshold(saddle.teacher) < math.log10(saddle.loss)


def test_the_threshold_as_printed():
    teacher = np.array([[2.0, 0], [0, 0.5]])
    expected = 36 * math.log10(np.pi / 2) - 80 * math.log10(2) - 162 * math.log10(2)
    assert log10_threshold(teacher) == pytest.approx(expected - 78 * math.log10(2))
    # losses scale like the square of the teacher
    assert log10_threshold(10 * teacher) == pytest.approx(log10_threshold(teacher) + 2)


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_is_at_least_kappa_times_the_loss(seed):
    """Theorem 4 with the constants of its proof, at losses far above eps_0."""
    rng = np.random.default_rng(seed)
    W = near_students(10.0 ** rng.uniform(-3, -1), seed)
    kappa = gradient_constant(TEACHER, mass=float(np.sum(W**2)))
    found = descent_direction(W, TEACHER)
    assert found.gradient_norm >= kappa * found.loss
    # kappa comes from an upper bound of the direction's length
    assert kappa <= 1 / np.linalg.norm(found.direction)


def test_close_teachers_are_two():
    """Angles of 1e-9 are far above rounding: Delta is the angle, not zero."""
    assert separation([[1.0, 0.0], [-1.0, 1e-9]]) == pytest.approx(1e-9, rel=1e-12)


def test_kappa_scales_with_the_teacher():
    """``|grad| ~ c^{3/2}`` and ``L ~ c^2``: kappa falls like ``c^{-1/2}``."""
    ratio = gradient_constant(9 * TEACHER) / gradient_constant(TEACHER)
    assert ratio == pytest.approx(1 / 3)


def test_kappa_by_hand():
    """``kappa^-2 = 2 sum |w_j|^2 + 4 sum |w*_i|``, the first sum by default that of zero loss."""
    total = float(np.sum(np.linalg.norm(TEACHER, axis=1)))
    assert gradient_constant(TEACHER, mass=3.0) ** -2 == pytest.approx(6 + 4 * total)
    assert gradient_constant(TEACHER) ** -2 == pytest.approx(6 * total)


@pytest.mark.parametrize(("step", "margin"), [(0.2, 0.05), (0.3, -0.05)])
def test_steps_of_the_guarantee_are_at_most_one_over_r_w_max(step, margin):
    teacher = np.array([[2.0, 0.0], [0.0, 0.5]])
    bound = guaranteed_descent(teacher, steps=[1], step_size=step, initial_loss=0.1)
    assert bound.assumptions[-1].holds is (margin > 0)
    assert bound.assumptions[-1].margin == pytest.approx(margin)


def test_gradient_descent_stays_below_its_guarantee():
    W, step, losses = near_students(0.05, 11), 0.02, []
    for _ in range(400):
        losses.append(loss(W, TEACHER))
        W = W - step * gradient(W, TEACHER)
    steps = np.arange(400)
    bound = guaranteed_descent(TEACHER, steps=steps, step_size=step, initial_loss=losses[0])
    assert np.all(np.array(losses) <= bound.value * (1 + 1e-12))
    assert [a.holds for a in bound.assumptions] == [False, True]
    flow = guaranteed_flow(TEACHER, times=step * steps, initial_loss=losses[0])
    assert np.all(np.array(losses) <= flow.value * (1 + 1e-12))
    # d/dt (1/L) = kappa^2
    slope = np.diff(1 / flow.value) / np.diff(flow.grid)
    np.testing.assert_allclose(slope, gradient_constant(TEACHER) ** 2)


def test_random_initialisation_wants_exponentially_many_students():
    widths = [log10_random_width(np.eye(3), loss=1e-4, dim=d) for d in (3, 4, 10)]
    # each dimension multiplies by r w_max / sqrt(loss) = 300
    np.testing.assert_allclose(np.diff(widths), np.array([1, 6]) * math.log10(300))


def test_sufficient_steps_are_where_the_guarantee_reaches_the_loss():
    steps = sufficient_steps(TEACHER, loss=1e-3, step_size=0.02)
    bound = guaranteed_descent(TEACHER, steps=[steps], step_size=0.02, initial_loss=0.1)
    assert bound.value[0] == pytest.approx(1e-3)


def test_batches_grow_with_the_cube_of_the_loss():
    sizes = [
        log10_batch_size(c * TEACHER, loss=loss, step_size=0.1)
        for c, loss in ((1, 1e-2), (1, 1e-3), (10, 1e-2))
    ]
    np.testing.assert_allclose(np.diff(sizes)[0], 3)
    assert sizes[2] - sizes[0] == pytest.approx(5)


def test_the_label_moment_by_sampling():
    x = np.random.default_rng(12).normal(size=(100_000, 3))
    labels = np.sum(np.abs(x @ TEACHER.T), axis=1)
    outer = x[:, :, None] * x[:, None, :] - np.eye(3)[None]
    sample = labels[:, None, None] * outer
    error = sample.std(axis=0) / math.sqrt(len(x))
    assert_within_sem(sample.mean(axis=0), error, label_moment(TEACHER))


def test_the_residual_of_a_perfect_student_is_zero():
    norms = np.linalg.norm(TEACHER, axis=1)[:, None]
    parts = decompose_residual(-TEACHER / np.sqrt(norms), TEACHER)
    assert parts.loss < 1e-30


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: loss(np.ones((2, 3)), np.eye(2)), "one dimension"),
        (lambda: loss(np.ones(3), np.eye(3)), "one neuron a row"),
        (lambda: loss(np.full((1, 2), np.nan), np.eye(2)), "finite"),
        (lambda: loss(np.eye(2), [[1.0, 0], [0, 0]]), "different from zero"),
        (lambda: loss(np.eye(2), [[1.0, 1], [-2, -2]]), "no two are parallel"),
        (lambda: descent_direction(np.ones((1, 2)), np.eye(2)), "as many students as teachers"),
        (lambda: match_one_to_one(np.ones((3, 2)), np.eye(2)), "as many students as teachers"),
        (lambda: far_mass_certificate(np.eye(2), np.eye(2), degrees=[3]), "even degrees"),
        (lambda: far_mass_certificate(np.eye(2), np.eye(2), degrees=[]), "even degrees"),
        (lambda: far_mass_bound(np.eye(2), loss=-1.0), "at least 0"),
        (lambda: merge_saddle(2.0), "up to sign"),
        (lambda: merge_saddle(0.2, num_students=1), "two students"),
        (lambda: merge_loss(0.2, norm=-1.0), "positive norm"),
        (lambda: guaranteed_flow(np.eye(2), times=[0.0], initial_loss=0.0), "positive loss"),
        (lambda: guaranteed_flow(np.eye(2), times=[-1e9], initial_loss=0.1), "times from 0 on"),
        (
            lambda: guaranteed_descent(np.eye(2), steps=[-1], step_size=0.1, initial_loss=0.1),
            "steps from 0 on",
        ),
        (lambda: sufficient_steps(np.eye(2), loss=1.0, step_size=0.0), "step size"),
        (lambda: log10_batch_size(np.eye(2), loss=0.1, step_size=0.0), "positive loss"),
        (lambda: gradient_constant(np.eye(2), mass=np.nan), "positive mass"),
        (lambda: log10_random_width(np.eye(2), loss=0.1, dim=2, failure=2.0), "between 0 and 1"),
    ],
)
def test_bad_input_is_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
