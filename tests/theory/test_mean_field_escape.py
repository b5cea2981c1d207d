"""How the life of a saddle grows with the dimension."""

import jax
import numpy as np
import pytest

from twolayer.theory.mean_field import escape_times


@pytest.mark.slow
def test_escape_time_of_leap_two(getkey):
    """z1 z2 leaves its saddle around t = 5 at d = 100, later at larger d."""
    found = escape_times(
        "z1*z2", activation="cos_sin", dims=[100, 1000], key=getkey(), num_draws=2, num_neurons=100
    )
    assert np.all(np.abs(found.mean - [4.4, 6.8]) < 1.0)
    assert found.slope > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "dims", "known", "slope"),
    [
        ("z1*z2", [10**2, 10**4, 10**6, 10**8], [5, 10, 14.5, 19], 2.3),
        ("He2(z1)", [10**2, 10**4, 10**6, 10**8], [3, 5.5, 8, 10], 1.2),
    ],
)
def test_leap_two_takes_logarithmic_time(text, dims, known, slope):
    """T = c log10 d; another implementation's single draws are within its spread of 1.5."""
    found = escape_times(text, activation="cos_sin", dims=dims, key=jax.random.key(0))
    assert np.all(np.abs(found.mean - known) < 1.6)
    assert abs(found.slope - slope) < 0.2
    assert found.slope_error < 0.1


@pytest.mark.slow
def test_leap_three_takes_a_power_of_the_dimension():
    """He3: T grows with sqrt d, nearly doubling for each factor 4 (1.7 measured by others)."""
    found = escape_times(
        "He3(z1)", activation="cos_sin", dims=[100, 400, 1600], key=jax.random.key(0)
    )
    assert np.all(np.abs(found.mean - [8, 13.5, 22.5]) < 3)
    assert np.all(found.mean[1:] / found.mean[:-1] > 1.5)
    np.testing.assert_allclose(found.scale, [10, 20, 40])


def test_target_without_a_saddle_is_refused():
    """z1 has no floor to escape from."""
    with pytest.raises(ValueError, match="reflective"):
        escape_times("z1", activation="cos_sin", dims=[10], key=jax.random.key(0))
