import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from helpers import assert_within_sem
from twolayer.inputs import Gaussian
from twolayer.numerics.montecarlo import mean_and_error
from twolayer.targets import Polynomial
from twolayer.tasks import Regression

TARGET = Polynomial("z1 + z1*z2")


def test_noiseless_labels_are_the_target(getkey):
    """Without noise y is exactly the target of x."""
    x, y = Regression(Gaussian(4), TARGET).sample(50, key=getkey())
    np.testing.assert_array_equal(y, jax.vmap(TARGET)(x))


def test_noise_has_the_stated_deviation_and_is_independent(getkey):
    """The residual has mean 0, variance noise_std^2 and no correlation with x or the target."""
    x, y = Regression(Gaussian(4), TARGET, noise_std=0.3).sample(100_000, key=getkey())
    residual = np.asarray(y - jax.vmap(TARGET)(x))
    assert_within_sem(*mean_and_error(residual), 0.0)
    assert_within_sem(*mean_and_error(residual**2), 0.09)
    assert_within_sem(*mean_and_error(residual[:, None] * np.asarray(x)), 0.0)
    assert_within_sem(*mean_and_error(residual * np.asarray(jax.vmap(TARGET)(x))), 0.0)


def test_noise_level_does_not_recompile(getkey):
    """The noise level is an array field: new values reuse the compiled sampler."""
    traces = []

    @eqx.filter_jit
    def sample(task, key):
        traces.append(1)
        return task.sample(3, key=key)

    for noise_std in (0.0, 0.1, 2.0):
        sample(Regression(Gaussian(2), TARGET, jnp.asarray(noise_std)), getkey())
    assert len(traces) == 1
