"""`verify` accepts what is right and refuses what was tampered with; the black-box version."""

import random
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import ortho_group

from polynomial_cases import CASES, dense_polynomial, rational_rotation, staircase
from twolayer.language import parse_polynomial
from twolayer.theory.learnability import certify, certify_function, verify
from twolayer.theory.learnability.chain import Chain, Frame

TEXTS = [case.text for case in CASES]


@pytest.mark.parametrize(
    "field",
    [
        "initial_loss", "loss_floor", "network_loss_floor", "activation_loss_floor",
        "expressivity_floor", "representability_floor",
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", TEXTS)
def test_tampered_losses_are_refused(text, field):
    """Any loss that is off by 1/1000 fails."""
    c = certify(text, activation="tanh")
    assert verify(c)
    forged = replace(c, **{field: getattr(c, field) + Fraction(1, 1000)})
    assert not verify(forged)
    assert verify(forged).failures


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("activation", ["cos_sin", "tanh", "relu"])
def test_tampered_verdicts_are_refused(text, activation):
    """No other verdict passes on the same evidence."""
    c = certify(text, activation=activation)
    for verdict in {"learnable", "not_learnable"} - {c.verdict}:
        assert not verify(replace(c, verdict=verdict))
    if c.verdict == "not_learnable":
        assert not verify(replace(c, verdict="undecided"))


@pytest.mark.parametrize("text", [case.text for case in CASES if case.orders])
def test_tampered_orders_are_refused(text):
    """Other orders, columns or bases of the Taylor coefficients fail."""
    c = certify(text)
    condition = c.condition
    later = (*condition.orders[:-1], condition.orders[-1] + 1)
    assert not verify(replace(c, condition=replace(condition, orders=later)))
    assert not verify(replace(c, condition=replace(condition, orders=condition.orders[:-1])))
    columns = (tuple(2 * x for x in condition.columns[0]), *condition.columns[1:])
    assert not verify(replace(c, condition=replace(condition, columns=columns)))
    assert not verify(replace(c, condition=replace(condition, holds=False)))


@pytest.mark.parametrize("text", [case.text for case in CASES if not case.orders])
def test_failure_cannot_be_turned_into_success(text):
    """A certificate that 4.1 fails, edited to say that it holds, fails."""
    c = certify(text)
    condition = replace(c.condition, holds=True, order=1)
    assert not verify(replace(c, condition=condition))


def test_tampered_subspaces_are_refused():
    """A reflective subspace that is not one, or a basis that is not orthogonal, fails."""
    c = certify("z1 + z1*z2*z3")
    wrong = Chain((0, 1), Frame(((0, 1, 0), (1, 0, 0), (0, 0, 1)), 1))
    assert not verify(replace(c, chain=wrong))
    skewed = Chain((0, 1), Frame(((1, 0, 0), (1, 1, 0), (0, 0, 1)), 1))
    assert not verify(replace(c, activation_chain=skewed))
    assert not verify(replace(c, essential=((1, 0, 0), (0, 1, 0))))
    assert not verify(replace(c, target=parse_polynomial("z1 + 2*z1*z2*z3")))


@pytest.mark.parametrize("name", ["rotated staircase", "dense"])
def test_large_certificates_are_verified(name):
    """Degree 5 in 5 variables is still checked in full."""
    rng = random.Random(3)
    target = (
        dense_polynomial(rng, 5, 5)
        if name == "dense"
        else parse_polynomial(staircase(5)).substitute(rational_rotation(5, rng))
    )
    verification = verify(certify(target))
    assert verification
    assert all(check.holds for check in verification.checks)


def test_exact_certificates_never_import_jax():
    """`certify` and `verify` run in a process without JAX or SciPy."""
    code = (
        "import sys; from twolayer.theory.learnability import certify, verify;"
        "assert verify(certify('z1+z1*z2', activation='tanh'));"
        "certify('z1 + z1*z2 + z1*z2*z3').to_json();"
        "sys.exit('jax' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("case", CASES, ids=TEXTS)
def test_float_rotations_keep_the_decision(case):
    """A float orthogonal matrix gives the same dimensions, floors, orders and verdict."""
    rotation = ortho_group.rvs(3, random_state=4).tolist()
    n = certify(case.text, rotation=rotation)
    c = certify(case.text)
    assert (n.verdict, n.chain_dims, n.isotropic_leap) == (
        c.verdict, c.chain.dims, c.isotropic_leap,
    )  # fmt: skip
    assert n.loss_floor == pytest.approx(float(case.floor), abs=1e-9)
    assert n.orders == c.condition.orders
    assert n.reflective_basis.shape == (c.activation_chain.reflective_dim, 3)
    data = n.to_json()
    assert data["loss_floor"]["exact"] is None
    assert data["tolerance"] == 1e-9


def test_a_singular_value_at_the_tolerance_is_undecided():
    """A direction of relative size 1e-9 is neither there nor not: the verdict says so."""

    def h(z, size):
        return z[:, 0] + size * z[:, 0] * z[:, 1] + z[:, 1] ** 2

    close = certify_function(lambda z: h(z, 1e-9), dim=2, degree=2)
    assert close.verdict == "undecided"
    assert close.close_calls
    assert "tolerance" in close.reason
    assert certify_function(lambda z: h(z, 1e-3), dim=2, degree=2).verdict == "learnable"
    assert certify_function(lambda z: h(z, 0.0), dim=2, degree=2).verdict == "not_learnable"
    relaxed = certify_function(lambda z: h(z, 1e-9), dim=2, degree=2, tolerance=1e-6)
    assert relaxed.verdict == "not_learnable"


def test_a_function_that_is_no_polynomial_is_undecided():
    """A residual beyond the degree is reported, not ignored."""
    n = certify_function(lambda z: np.tanh(z[:, 0]), dim=1, degree=3)
    assert n.verdict == "undecided"
    assert n.residual > 1e-3
    assert certify_function(lambda z: z[:, 0] ** 3, dim=1, degree=2).verdict == "undecided"


@pytest.mark.parametrize(
    ("text", "activation"),
    [
        ("z1 + He2(z1)/10^5", "tanh"),
        ("z1 + 1/10^5", "tanh"),
        ("z1 + He2(z2)/10^5", "cos_sin"),
        ("z1 + z1*z2/10^6", "tanh"),
        ("z1 + He3(z1)/10^5", "softplus"),
    ],
)
def test_a_small_floor_counts_where_its_amplitude_exceeds_the_tolerance(text, activation):
    """The tolerance is one of amplitudes: a floor is the square of one."""
    c = certify(text, activation=activation)
    n = certify(text, activation=activation, rotation=[[0.6, 0.8], [-0.8, 0.6]])
    assert c.verdict == n.verdict == "not_learnable"
    assert n.activation_loss_floor == pytest.approx(float(c.activation_loss_floor), rel=1e-6)


def test_a_small_part_that_is_no_polynomial_is_undecided():
    """So is the residual: a sine of relative size 1e-5 is four decades above the tolerance."""
    n = certify_function(
        lambda z: z[:, 0] + z[:, 0] * z[:, 1] + 1e-5 * np.sin(3 * z[:, 1]), dim=2, degree=2
    )
    assert n.verdict == "undecided"
    assert n.residual == pytest.approx(2e-6, rel=0.9)


def test_bad_functions_and_matrices():
    """Wrong shapes, non-finite values, too many dimensions, matrices that are not orthogonal."""
    with pytest.raises(ValueError, match="one finite value"):
        certify_function(lambda z: z, dim=2, degree=2)
    with pytest.raises(ValueError, match="one finite value"):
        certify_function(lambda z: z[:, 0] * np.nan, dim=2, degree=2)
    with pytest.raises(ValueError, match="quadrature nodes"):
        certify_function(lambda z: z[:, 0], dim=20, degree=3)
    with pytest.raises(ValueError, match="orthogonal matrix"):
        certify("z1*z2", rotation=[[1.0, 0.1], [0.0, 1.0]])


@pytest.mark.parametrize(("dim", "degree"), [(0, 1), (1, -1), (2.0, 1)])
def test_sizes_of_a_black_box_are_whole_numbers(dim, degree):
    """Other sizes are one sentence."""
    with pytest.raises(ValueError, match="whole numbers"):
        certify_function(lambda z: z[:, 0], dim=dim, degree=degree)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_values_whose_squares_leave_the_floats_are_refused(scale):
    """A black box that is zero or infinite once squared gets no verdict."""
    with pytest.raises(ValueError, match="scale"):
        certify_function(lambda z: scale * z[:, 0], dim=1, degree=1)
