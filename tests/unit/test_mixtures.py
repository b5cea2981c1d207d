"""Gaussian mixtures: moments of each component, counts, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_allclose, assert_within_sem
from twolayer.inputs import GaussianMixture, check_finite, floats, spiked_mixture
from twolayer.numerics.montecarlo import mean_and_error

GENERATOR = np.random.default_rng(1)
MANY = 30_000
MEANS = np.array([[1.0, 0.0, -2.0, 0.5], [0.0, 0.3, 0.0, 0.0]])


@eqx.filter_jit
def draw(mixture, num_samples, key):
    return mixture.sample_components(num_samples, key=key)


def drawn(mixture, num_samples, key):
    """Samples and components as NumPy arrays."""
    return tuple(np.asarray(part) for part in draw(mixture, num_samples, key))


def orthonormal(rank, dim):
    return np.linalg.qr(GENERATOR.normal(size=(dim, rank)))[0].T


def two_components():
    """Two spikes each, none of them along an axis, one of them shrinking, and apart."""
    directions = np.stack([orthonormal(2, 4), orthonormal(2, 4)])
    strengths = np.array([[3.0, 0.5], [8.0, -0.75]])
    return GaussianMixture([0.3, 0.7], MEANS, directions, strengths)


def assert_moments(x, mean, covariance):
    """Sample mean and second moments about the true mean, within their standard errors."""
    apart = x - np.asarray(mean)
    assert_within_sem(*mean_and_error(apart), 0.0)
    assert_within_sem(*mean_and_error(apart[:, :, None] * apart[:, None, :]), covariance)


def by_hand(mixture, c):
    """I + sum theta gamma gamma^T of one component, one outer product after the other."""
    total = np.eye(mixture.dim)
    strengths, directions = (np.asarray(part) for part in (mixture.strengths, mixture.directions))
    for theta, gamma in zip(strengths[c], directions[c], strict=True):
        total = total + float(theta) * np.outer(gamma, gamma)
    return total


def test_each_component_has_its_moments(getkey):
    """Samples of a component have its mean and covariance: each spike with its own strength."""
    mixture = two_components()
    x, component = drawn(mixture, MANY, getkey())
    for c in range(2):
        covariance = by_hand(mixture, c)
        assert_allclose(np.asarray(mixture.covariances)[c], covariance, loss=1e-6)
        assert_allclose(np.asarray(mixture.traces)[c], np.trace(covariance), loss=1e-6)
        assert_moments(x[component == c], MEANS[c], covariance)


def test_the_mixture_has_its_moments(getkey):
    """Mean and covariance of x itself include what sets the components apart."""
    mixture = two_components()
    x, _ = drawn(mixture, MANY, getkey())
    assert_moments(x, np.asarray(mixture.mean), np.asarray(mixture.covariance))
    rho, means = np.array([0.3, 0.7]), np.asarray(mixture.means)
    assert_allclose(mixture.mean, rho @ means, loss=1e-6)
    second = sum(
        r * (by_hand(mixture, c) + np.outer(means[c], means[c])) for c, r in enumerate(rho)
    )
    assert_allclose(mixture.covariance, second - np.outer(rho @ means, rho @ means), loss=1e-6)


def test_samples_are_gaussian_within_a_component(getkey):
    """Fourth moments along a spike and across are three times the squared variance."""
    mixture = two_components()
    x, component = drawn(mixture, MANY, getkey())
    for c in range(2):
        along = (x[component == c] - MEANS[c]) @ np.asarray(mixture.directions)[c].T
        variance = 1 + np.asarray(mixture.strengths)[c]
        assert_within_sem(*mean_and_error(along**4), 3 * variance**2)


@pytest.mark.parametrize(
    ("proportions", "n", "counts"),
    [
        ([0.5, 0.5], 10, [5, 5]),
        ([0.3, 0.7], 10, [3, 7]),
        ([1 / 3, 2 / 3], 10, [3, 7]),
        ([0.0, 1.0], 10, [0, 10]),
        ([1.0, 0.0], 10, [10, 0]),
        ([0.1, 0.2, 0.7], 10, [1, 2, 7]),
        ([0.5, 0.0, 0.5], 10, [5, 0, 5]),
        ([0.889, 0.111], 1_000_000, [889_000, 111_000]),
    ],
)
def test_balanced_samples_have_exact_counts_in_order(proportions, n, counts, getkey):
    """n rho_c samples of each component (the nearest whole number), the first component first.

    In single precision, where a million places are barely told apart.
    """
    parts = (proportions, np.zeros((len(counts), 4)), np.zeros((len(counts), 0, 4)))
    parts = (*parts, np.zeros((len(counts), 0)))
    mixture = GaussianMixture(*(np.asarray(part, np.float32) for part in parts), True)
    x, component = drawn(mixture, n, getkey())
    assert x.dtype == np.float32
    np.testing.assert_array_equal(component, np.repeat(np.arange(len(counts)), counts))


def test_independent_components_have_the_proportions(getkey):
    """Without balance each sample's component is drawn: frequencies fluctuate around rho."""
    mixture = two_components()
    _, component = drawn(mixture, MANY, getkey())
    own = (component[:, None] == np.arange(2)).astype(float)
    frequency, error = mean_and_error(own)
    assert_within_sem(frequency, error, [0.3, 0.7])
    assert error[0] == pytest.approx(np.sqrt(0.3 * 0.7 / MANY), rel=0.02)
    # neighbours are independent: no order is left
    assert_within_sem(*mean_and_error(own[1:, 0] * own[:-1, 0]), 0.09)


@pytest.mark.parametrize("proportion", [0.0, 1.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_an_empty_component_gives_no_samples(proportion, balanced, getkey):
    """With proportion 0 a component never appears, whichever of the two it is."""
    mixture = GaussianMixture(
        [proportion, 1 - proportion], MEANS, np.zeros((2, 0, 4)), np.zeros((2, 0)), balanced
    )
    _, component = drawn(mixture, 10, getkey())
    assert set(component.tolist()) == {int(1 - proportion)}


@pytest.mark.parametrize("rank", [4, 0])
def test_mixtures_from_any_covariances(rank, getkey):
    """Random covariances, also none, come back, and samples have them and the given means."""
    roots = GENERATOR.normal(size=(2, 4, rank))
    covariances = roots @ np.swapaxes(roots, 1, 2)
    means = GENERATOR.normal(size=(2, 4))
    mixture = GaussianMixture.from_covariances(means, covariances, [0.4, 0.6])
    assert_allclose(mixture.covariances, covariances, loss=1e-6)
    assert_allclose(mixture.traces, np.trace(covariances, axis1=1, axis2=2), loss=1e-6)
    x, component = drawn(mixture, MANY, getkey())
    for c in range(2):
        own = x[component == c]
        if rank:
            assert_moments(own, means[c], covariances[c])
        else:
            assert_allclose(own, np.broadcast_to(means[c], own.shape), loss=1e-6)


def test_spiked_mixtures_are_centred_and_balanced(getkey):
    """One strength for all, or one for each direction; the first component's share is given."""
    gammas = orthonormal(4, 4)
    same = spiked_mixture(gammas[:2], gammas[2:], 3, proportion=0.3)
    other = spiked_mixture(gammas[:2], gammas[2:], np.array([[3.0, 1.0], [2.0, 4.0]]))
    np.testing.assert_array_equal(same.strengths, np.full((2, 2), 3.0))
    np.testing.assert_array_equal(other.traces, [8.0, 10.0])
    np.testing.assert_array_equal(same.means, 0.0)
    np.testing.assert_array_equal(same.directions, gammas.reshape(2, 2, 4))
    _, component = drawn(same, 10, getkey())
    assert component.tolist() == [0] * 3 + [1] * 7
    assert same.dim == 4
    assert same.num_components == 2


def test_new_strengths_reuse_the_compiled_sampler(getkey):
    """Strengths, means and proportions are arrays: other values compile nothing."""
    gammas = orthonormal(2, 4)
    traces = []

    @eqx.filter_jit
    def sample(mixture, key):
        traces.append(1)
        return mixture.sample(3, key=key)

    for strength, proportion in ((0.0, 0.5), (2.0, 0.1), (9.0, 1.0)):
        mixture = spiked_mixture(gammas[:1], gammas[1:], strength, proportion=proportion)
        sample(mixture, getkey())
    assert len(traces) == 1


@pytest.mark.slow
def test_mixtures_made_inside_a_compiled_function(getkey):
    """A traced strength and proportion give, batched, the samples of concrete ones."""
    gammas, key = jnp.asarray(orthonormal(2, 4)), getkey()

    def sample(strength, proportion):
        mixture = spiked_mixture(gammas[:1], gammas[1:], strength, proportion=proportion)
        return draw(mixture, 10, key)[0]

    strengths, proportions = jnp.asarray([0.0, 3.0]), jnp.asarray([0.5, 1 / 3])
    together = jax.jit(jax.vmap(sample))(strengths, proportions)
    alone = sample(3.0, 1 / 3)
    assert_allclose(together[1], alone, loss=1e-6)
    assert not np.allclose(together[0], alone)


def test_no_sample_holds_a_matrix_of_its_own():
    """Memory of a sample grows like n d, not n d^2, also with as many directions as dimensions."""
    n, d = 64, 48
    covariances = np.broadcast_to(np.eye(d) * 2, (2, d, d))
    mixture = GaussianMixture.from_covariances(np.zeros((2, d)), covariances, [0.5, 0.5])
    program = jax.make_jaxpr(lambda key: mixture.sample(n, key=key))(jax.random.key(0))
    largest = max(
        int(np.prod(variable.aval.shape)) for line in program.eqns for variable in line.outvars
    )
    assert largest <= max(n * d, 2 * d * d)


FINE = {
    "proportions": [0.5, 0.5],
    "means": np.zeros((2, 3)),
    "directions": np.eye(3)[:2, None, :],
    "strengths": np.ones((2, 1)),
}
NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"proportions": [1.2, -0.2]}, r"add up to 1\. Received: \[1\.2, -0\.2\]"),
        ({"proportions": [0.5, 0.4]}, "add up to 1"),
        ({"proportions": [NAN, 1.0]}, "finite proportions"),
        ({"means": np.full((2, 3), np.inf)}, "finite means"),
        ({"directions": np.eye(3)[:2, None, :] * NAN}, "finite directions"),
        ({"directions": 2 * np.eye(3)[:2, None, :]}, "orthonormal"),
        ({"strengths": np.full((2, 1), NAN)}, "finite strengths"),
        ({"strengths": np.array([[0.0], [-1.5]])}, r"at least -1.*Received: -1\.5"),
        (
            {"directions": np.ones((2, 2, 3)) / np.sqrt(3), "strengths": np.ones((2, 2))},
            "orthonormal",
        ),
    ],
)
def test_what_is_no_mixture_is_refused(change, complaint):
    """Each wrong number raises one sentence that says what it was."""
    GaussianMixture(**FINE)
    with pytest.raises(ValueError, match=complaint):
        GaussianMixture(**{**FINE, **change})


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("proportions", (3,)),
        ("means", (1, 3)),
        ("means", (2, 4)),
        ("directions", (2, 2, 3)),
        ("directions", (2, 3)),
        ("strengths", (2, 2)),
    ],
)
def test_shapes_that_do_not_fit_together_are_refused(part, shape):
    """A part of another shape is named, where no type checker runs."""
    mixture = eqx.tree_at(lambda m: getattr(m, part), GaussianMixture(**FINE), jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"Expected proportions \[c\].*Received: shapes"):
        mixture.__check_init__()


SYMMETRIC = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("covariance", "complaint"),
    [
        (SYMMETRIC, "eigenvalue of -1"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "asymmetric"),
        (np.full((2, 2), NAN), "finite covariances"),
        (np.array([[np.inf, 0.0], [0.0, 1.0]]), "finite covariances"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, complaint):
    """A negative eigenvalue, an asymmetry, a NaN: each is named."""
    covariances = np.stack([np.eye(2), covariance])
    with pytest.raises(ValueError, match=complaint):
        GaussianMixture.from_covariances(np.zeros((2, 2)), covariances, [0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"proportion": 1.5}, "proportions in"),
        ({"proportion": NAN}, "finite proportions"),
        ({"second": np.eye(4)[1:3]}, "as many directions"),
        ({"second": np.ones((1, 4))}, "orthonormal"),
        ({"strengths": np.ones(3)}, r"strengths of shape \(2, 1\)"),
        ({"strengths": -2.0}, "at least -1"),
    ],
)
def test_what_is_no_spiked_mixture_is_refused(options, complaint):
    """Wrong proportions, directions and strengths raise one sentence each."""
    fine = {"first": np.eye(4)[:1], "second": np.eye(4)[1:2], "strengths": 3.0}
    make = getattr(spiked_mixture, "__wrapped__", spiked_mixture)  # without the type checker
    with pytest.raises(ValueError, match=complaint):
        make(**{**fine, **options})


def test_floats_keep_their_precision_and_whole_numbers_become_real():
    """Single stays single; whole numbers take the default precision."""
    assert floats(np.ones(2, np.float32)).dtype == jnp.float32
    assert floats([1, 2]).dtype == jnp.float64


def test_finiteness_is_not_asked_inside_a_compiled_function():
    """There no value is known: the check passes rather than fails."""

    def checked(x):
        check_finite(x=x)
        return x

    assert np.isnan(jax.jit(checked)(jnp.asarray(NAN)))
    with pytest.raises(ValueError, match="Expected finite x"):
        checked(jnp.asarray(NAN))
