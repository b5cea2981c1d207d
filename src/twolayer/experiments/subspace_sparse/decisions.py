"""The decision table: exact certificates against a floating point route through rotated targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twolayer.experiments.options import at_least, coordinates, targets_of
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding
from twolayer.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from twolayer.numerics.rational import RationalPolynomial

_TARGETS = (
    "z1; He2(z1); He3(z1); z1*z2; z1*z2*z3; z1 + z1*z2; z1 + z1*z2 + z1*z2*z3; z1 + z1*z2*z3; "
    "z1 + z2 + z1*z2; z1 + He2(z2); z1 + z1*He2(z2); z1 + z1*z2 + z2*z3; z1 + He2(z1)*z2"
)


@experiment(
    paper="subspace_sparse",
    statement="Whether a target is learnable, its chain, floors and orders do not depend on the "
    "basis and are decided exactly.",
    reference="chen2024subspace, Definition 3.3, Assumption 4.1, Proposition B.1",
)
def decision_table(
    *,
    targets: str = _TARGETS,
    activation: str = "cos_sin",
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Certificates in rational arithmetic against quadrature and singular values.

    Predicted: the exact certificate of the target as typed. Measured: the same decisions for the
    target as a black box behind a random rotation, from Gauss-Hermite quadrature.

    Parameters
    ----------
    targets
        Polynomials separated by semicolons.
    activation
        Its name, or a polynomial in x.
    seed
        Seed of the rotations.
    """
    at_least(0, seed=seed)
    texts = targets_of(targets)
    for text in texts:
        coordinates(text, activation)

    import numpy as np
    from scipy.stats import ortho_group

    from twolayer.theory.learnability import certify, certify_function

    rng = np.random.default_rng(seed)
    findings, table = [], {}
    for k, text in enumerate(texts):
        progress("decisions", k, len(texts))
        certificate = certify(text, activation=activation)
        dim = max(certificate.target.dim, 1)
        rotation = ortho_group.rvs(dim, random_state=rng) if dim > 1 else -np.eye(1)
        numerical = certify_function(
            _rotated(certificate.target, rotation),
            dim=dim,
            degree=max(certificate.target.degree, 1),
            activation=activation,
        )
        exact, measured = certificate.to_json(), numerical.to_json()
        table[text] = exact
        predicted, found = _decision(exact), _decision(measured)
        verdict = "agrees" if predicted == found else "disagrees"
        if measured["verdict"] == "undecided" != exact["verdict"]:
            verdict = "undecided"
        findings.append(
            Finding(
                text,
                f"What is exact of {text} with {activation} is found through a rotation too.",
                predicted,
                found,
                numerical.tolerance,
                verdict,
                "chen2024subspace, Theorems 3.4 and 4.3",
                certificate.reason,
            )
        )
    progress("decisions", len(texts), len(texts))
    return Result(findings=tuple(findings), details={"certificates": table})


def _decision(certificate: dict) -> str:
    """The parts of a certificate that no rotation changes, in words."""
    orders = certificate["assumption_4_1"]["orders"]
    parts = ("activation_loss_floor", "expressivity_floor")
    floor = sum(certificate[name]["value"] for name in parts)
    chain = " < ".join(map(str, certificate["chain_dims"]))
    return (
        f"{certificate['verdict'].replace('_', ' ')}; "
        f"isotropic leap {certificate['isotropic_leap']}; chain {chain}; "
        f"floor {round(floor, 6):g} of {round(certificate['initial_loss']['value'], 6):g}; orders "
        f"{', '.join(map(str, orders)) or 'none'}"
    )


def _rotated(
    polynomial: RationalPolynomial, rotation: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """The function ``z -> h(O z)``, evaluated from the monomials."""
    import numpy as np

    terms = [(np.asarray(alpha), float(c)) for alpha, c in polynomial.terms.items()]

    def function(z: np.ndarray) -> np.ndarray:
        x = z @ rotation.T
        return sum(
            (c * np.prod(x ** alpha[None, :], axis=1) for alpha, c in terms), np.zeros(len(z))
        )

    return function
