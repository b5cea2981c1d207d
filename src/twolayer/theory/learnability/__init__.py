"""Learnability of polynomials of a few directions, certified in exact arithmetic.

Chen and Ge (chen2024subspace) give a necessary and a sufficient condition on the target; this
package decides both, with everything around them, and says what follows. The exact part needs
neither JAX nor NumPy; `certify_function` is the floating point version for black boxes.
"""

from typing import TYPE_CHECKING

from twolayer.theory.learnability.certificate import LearnabilityCertificate, Statement
from twolayer.theory.learnability.certify import certify
from twolayer.theory.learnability.verify import Verification, verify

if TYPE_CHECKING:
    from twolayer.theory.learnability.numerical import NumericalCertificate, certify_function

__all__ = [
    "LearnabilityCertificate",
    "NumericalCertificate",
    "Statement",
    "Verification",
    "certify",
    "certify_function",
    "verify",
]


def __getattr__(name: str) -> object:
    # NumPy only when the numerical version is asked for
    if name in {"certify_function", "NumericalCertificate"}:
        from twolayer.theory.learnability import numerical

        return getattr(numerical, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
