"""What a trained network has learned: features or a kernel, which directions, which degree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from twolayer.networks import TwoLayerNetwork
from twolayer.theory.local_convergence.matching import Matching, match_neurons
from twolayer.trained.measures import Neurons, gradient_moment, outputs, polynomial_shares
from twolayer.trained.movement import Movement, effective_rank, movement_of, ratio

_INPUTS = 1000  # drawn where none are given
_MOST = 0.9  # of the sensitivity that the leading directions carry
_NEARLY = 0.95  # of the variance that a polynomial should explain
_LARGEST = 10**8  # numbers that comparing all pairs of neurons may need
_LAZY, _LEARNED = 0.1, 0.5  # of the change that the linearised network misses


@dataclass(frozen=True)
class Examination:
    """What `examine` found.

    Attributes
    ----------
    conclusion
        One sentence.
    width, dim
        Neurons (without those that only hold an intercept) and inputs.
    effective_rank
        ``(sum v)^2 / sum v^2`` over the squared singular values v of the first layer.
    directions, shares
        Unit vectors along which the output is most sensitive, one a row, and their shares of the
        mean squared gradient.
    number
        How many of them carry nine tenths of it.
    polynomial_shares
        The share of the output's variance that its Hermite-equivalent of degree 0, 1, ... explains.
    degree
        The least degree that explains 95 % of it, ``None`` if it is above those tried.
    movement
        Against the initialisation, where one was given.
    matching
        Neurons and the teacher's, ``sqrt(|a|/|w|) w`` standing for each, where one was given (and
        is not so wide that all pairs of neurons would not fit into memory).
    teacher_error
        The mean square of network less teacher, over the teacher's variance; ``None`` where the
        teacher is no network.
    """

    conclusion: str
    width: int
    dim: int
    effective_rank: float
    directions: Float[np.ndarray, "k d"]
    shares: Float[np.ndarray, " k"]
    number: int
    polynomial_shares: Float[np.ndarray, " l"]
    degree: int | None
    movement: Movement | None
    matching: Matching | None
    teacher_error: float | None

    def __str__(self) -> str:
        """The conclusion and the figures behind it, a line each."""
        shares = ", ".join(f"{share:.2f}" for share in self.shares[:5])
        degrees = ", ".join(f"{share:.3f}" for share in self.polynomial_shares)
        lines = [
            self.conclusion,
            "",
            f"{self.width} neurons in {self.dim} dimensions; effective rank "
            f"{self.effective_rank:.1f}",
            f"sensitivity along the leading directions: {shares}",
            f"variance in polynomials of degree 0, 1, ...: {degrees}",
        ]
        if self.movement is not None:
            m = self.movement
            cosine = float(np.nanmedian(m.cosine))
            lines += [
                f"input weights moved by {m.weights:.3g} of their length (median cosine "
                f"{cosine:.3f}), output weights by {m.outputs:.3g}",
                f"effective rank at initialisation {m.initial_rank:.1f}",
                f"tangent kernel changed by {m.kernel_change:.3g}, alignment "
                f"{m.kernel_alignment:.3f}; the linearised network misses "
                f"{m.linearised_error:.3g} of the change",
                f"common directions of movement: {len(m.features)}, with {m.ticket.sum()} neurons "
                "along them; squared correlation of their output with the network's "
                f"{m.ticket_share:.3f}",
            ]
        if self.matching is not None:
            angles = np.degrees(self.matching.angle)
            lines.append(
                f"median angle to the nearest teacher neuron {np.median(angles):.1f} degrees"
            )
        if self.teacher_error is not None:
            lines.append(f"square error against the teacher / variance {self.teacher_error:.3g}")
        return "\n".join(lines)


def examine(
    network: TwoLayerNetwork,
    *,
    initial: TwoLayerNetwork | None = None,
    inputs: Float[np.ndarray, "n d"] | None = None,
    teacher: TwoLayerNetwork | Float[np.ndarray, "r d"] | None = None,
    degree: int = 6,
    gamma: float = 0.2,
) -> Examination:
    r"""Which directions a trained network reads, of which degree, and how far from a kernel it is.

    Everything is over `inputs`: sensitivity is the mean of ``grad f grad f^T``; the distance to
    the kernel regime is what the network linearised at its initialisation misses of the change,

    .. math:: \|f - f_0 - \nabla f_0 \cdot (\theta - \theta_0)\| / \|f - f_0\|,

    "features" from a half on and "kernel" up to a tenth (bounds chosen here; the rest of the
    measures are derived here too, from the definitions in `Examination` and `Movement`).

    Parameters
    ----------
    network
        The trained network, as of `from_torch`, `from_sklearn` or `from_arrays`.
    initial
        The same network before training: neuron i is that of `network`.
    inputs
        Inputs as it was trained on, one a row; 1000 standard normal ones by default (always the
        same).
    teacher
        A network of the same activation that gave the labels, or its neurons ``|v| |v . x|`` as in
        zhou2021local. Neurons are matched in angle up to sign, which for activations that are
        neither odd nor even is generous.
    degree
        The highest degree of the Hermite-equivalents.
    gamma
        A neuron moved along a feature if the cosine is above ``1 - gamma``.

    Raises
    ------
    ValueError
        If shapes don't fit, inputs are not finite or fewer than two, the activations differ, or an
        option is out of range.

    Examples
    --------
    >>> from twolayer.trained.importing import from_arrays
    >>> W = np.random.default_rng(0).standard_normal((50, 10))
    >>> start = from_arrays(np.ones(50), W, activation="tanh")
    >>> W[:, 0] += 3.0
    >>> found = examine(from_arrays(np.ones(50), W, activation="tanh"), initial=start)
    >>> found.number, found.movement.features.round(6).tolist()[0][:2]
    (1, [1.0, 0.0])
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= 30:
        message = f"Expected a degree from 1 to 30. Received: {degree!r}."
        raise ValueError(message)
    if not 0 < gamma < 1:
        message = f"Expected a gamma inside (0, 1). Received: {gamma!r}."
        raise ValueError(message)
    whole = _neurons("the network", network)
    real = np.any(whole.W != 0, axis=1)
    first = None
    if initial is not None:
        first = _neurons("the initial network", initial)
        if first.W.shape != whole.W.shape:
            message = "Expected an initial network of the same shape, neuron by neuron. "
            message += f"Received: {first.W.shape} for {whole.W.shape}."
            raise ValueError(message)
        _same_activation(first, whole)
        real |= np.any(first.W != 0, axis=1)
    if not real.any():
        message = "Expected a neuron with input weights. Received: zeros alone."
        raise ValueError(message)
    x = _inputs(inputs, whole.W.shape[1])
    values, vectors = np.linalg.eigh(gradient_moment(whole, x))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
    shares = values / max(float(values.sum()), np.finfo(float).tiny)
    number = int(np.searchsorted(np.cumsum(shares), _MOST) + 1) if shares.sum() else 0
    polynomials = polynomial_shares(whole.only(real), x, degree)
    enough = np.flatnonzero(polynomials >= _NEARLY)
    needed = int(enough[0]) if enough.size else None
    movement = None if first is None else movement_of(first, whole, x, real, gamma)
    matching, teacher_error = _against(whole.only(real), whole, teacher, x)
    kept = max(1, min(10, len(shares)))
    return Examination(
        _conclusion(movement, number, needed, degree, teacher_error),
        int(real.sum()),
        whole.W.shape[1],
        effective_rank(whole.W[real]),
        vectors[:kept],
        shares[:kept],
        number,
        polynomials,
        needed,
        movement,
        matching,
        teacher_error,
    )


def _neurons(name: str, network: Any) -> Neurons:
    if not isinstance(network, TwoLayerNetwork) or np.ndim(network.W) != 2:
        message = f"Expected {name} as one TwoLayerNetwork. Received: {type(network).__name__}; "
        message += "from_torch, from_sklearn and from_arrays make one."
        raise ValueError(message)
    return Neurons.of(network)


def _same_activation(first: Neurons, second: Neurons) -> None:
    names = [neurons.activation.facts.name for neurons in (first, second)]
    if names[0] != names[1]:
        message = f"Expected networks with one activation. Received: {names[0]} and {names[1]}."
        raise ValueError(message)


def _inputs(inputs: Any, dim: int) -> Float[np.ndarray, "n d"]:
    if inputs is None:
        return np.random.default_rng(0).standard_normal((_INPUTS, dim))
    x = np.asarray(inputs, np.float64)
    if x.ndim != 2 or x.shape[1] != dim or len(x) < 2 or not np.all(np.isfinite(x)):
        message = f"Expected at least two inputs of dimension {dim}, one a row, all finite. "
        message += f"Received: shape {x.shape}" + ("." if x.ndim == 2 else ", no table.")
        raise ValueError(message)
    return x


def _against(
    real: Neurons, whole: Neurons, teacher: Any, x: np.ndarray
) -> tuple[Matching | None, float | None]:
    if teacher is None:
        return None, None
    if not isinstance(teacher, TwoLayerNetwork):
        return _matched(real, np.asarray(teacher, np.float64)), None
    theirs = _neurons("the teacher", teacher)
    if theirs.W.shape[1] != whole.W.shape[1]:
        message = "Expected a teacher of the network's dimension. "
        message += f"Received: {theirs.W.shape[1]} for {whole.W.shape[1]}."
        raise ValueError(message)
    _same_activation(whole, theirs)
    truth = outputs(theirs, x)
    error = ratio(np.mean((outputs(whole, x) - truth) ** 2), truth.var())
    kept = theirs.only(np.any(theirs.W != 0, axis=1) & (theirs.a != 0))
    return _matched(real, _balanced(kept)), error


def _matched(real: Neurons, teacher: np.ndarray) -> Matching | None:
    pairs = (len(real.W) + len(teacher)) * len(teacher)
    if pairs * real.W.shape[1] > _LARGEST:
        return None
    return match_neurons(_balanced(real), teacher)


def _balanced(neurons: Neurons) -> Float[np.ndarray, "m d"]:
    """``sqrt(|a| / |w|) w``, whose squared norm is the neuron's mass ``|a| |w|``."""
    norms = np.maximum(np.linalg.norm(neurons.W, axis=1), np.finfo(float).tiny)
    return np.sqrt(np.abs(neurons.a) / norms)[:, None] * neurons.W


def _conclusion(
    movement: Movement | None,
    number: int,
    needed: int | None,
    degree: int,
    teacher_error: float | None,
) -> str:
    directions = f"{number} direction{'' if number == 1 else 's'}"
    parts = [f"{directions} carr{'ies' if number == 1 else 'y'} nine tenths of the sensitivity"]
    if needed is None:
        parts.append(f"no polynomial of degree {degree} or less explains the output")
    else:
        parts.append(f"a polynomial of degree {needed} explains the output")
    if teacher_error is not None:
        parts.append(f"the error against the teacher is {teacher_error:.2g} of its variance")
    tail = "; ".join(parts) + "."
    if movement is None:
        return tail[0].upper() + tail[1:]
    missed = movement.linearised_error
    if movement.weights == 0 and movement.outputs == 0:
        head = "The network is its initialisation"
    elif missed >= _LEARNED:
        head = f"Features were learned: the linearised network misses {missed:.0%} of the change"
    elif missed <= _LAZY:
        head = f"Kernel regime: the linearised network misses only {missed:.1%} of the change"
    else:
        head = f"Between kernel and features: the linearised network misses {missed:.0%} of the "
        head += "change"
    return f"{head}; {tail}"
