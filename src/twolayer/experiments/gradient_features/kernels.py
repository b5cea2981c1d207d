"""What kernels cannot do: lower bounds of their hinge loss on parities, and the best weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twolayer.experiments.gradient_features.induced import drawn
from twolayer.experiments.options import Stage, at_least, numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from twolayer.outcomes import Verdict

_DERIVED = "derived here"
_PARSEVAL = "derived here, by Parseval's identity; shi2022theoretical, Theorem 2, is weaker"
_GAP = 2e-5  # between the two bounds of the programme
_BIAS = 0.5
_SAMPLES = 600  # of structured parities


@experiment(
    paper="gradient_features",
    statement="Fixed features of bounded norm leave a hinge loss on the average parity that is "
    "known before training: the best weights attain it where it is tight, and a network of "
    "gradient features has none.",
    reference="shi2022theoretical, Theorem 2; the stronger and the exact bounds are derived here",
    quick={"dim": 8, "features": 30, "sets": 5, "norms": "0.5,2,6"},
)
def kernel_lower_bounds(
    *,
    dim: int = 9,
    degree: int = 3,
    features: int = 40,
    sets: int = 12,
    norms: str = "0.5,1,2,4,8",
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Random relu features on all corners of a cube, and the relu kernel of infinite width.

    For sampled parities the least hinge loss over all weights of bounded norm is a convex
    programme, solved to certified bounds and held against the correlations of the parity with
    the features.

    Parameters
    ----------
    dim
        Number D of signs, at most 12: all 2^D corners are visited.
    degree
        Number k of relevant signs.
    features
        Number N of random relu features with bias, each scaled to values in [0, 1].
    sets
        Parities, drawn without replacement.
    norms
        Bounds B of the norm of the weights.
    seed
        Seed of all randomness.
    """
    at_least(3, dim=dim, degree=degree)
    at_least(1, features=features)
    at_least(2, sets=sets)
    at_least(0, seed=seed)
    bounds = numbers("norms", norms, 0.01, 1000)
    if not degree < dim <= 12 or sets > math.comb(dim, degree):
        message = "Expected fewer relevant signs than signs, at most 12 of these, and no more sets "
        message += f"than parities. Received: degree {degree}, dim {dim}, {sets} sets."
        raise ValueError(message)

    import numpy as np

    from twolayer.theory.gradient_features.kernel_bounds import corners, parity_correlations

    psi = _relu_features(dim, features, seed)
    all_sets, lengths = parity_correlations(psi, dim, degree)
    chosen = np.random.default_rng([seed, 1]).permutation(len(all_sets))[:sets]
    table = psi(corners(dim))
    stage = Stage(progress, "parities")
    least = np.empty((sets, len(bounds)))
    for i, j in enumerate(chosen):
        y = np.prod(corners(dim)[:, all_sets[j]], axis=1)
        least[i] = [_least(table, y, norm) for norm in bounds]
        stage(i + 1, sets)
    size = (dim, degree, features)
    tight = _tight(table, all_sets[chosen], bounds[0])
    curves, findings = _averages(bounds, lengths, (chosen, tight), least, size)
    findings.append(_each_parity(bounds, lengths[chosen], least))
    findings += _infinite_width(dim, degree, seed)
    findings.append(_structured(dim, degree, features, seed))
    findings.append(_network(dim, degree))
    findings.append(_informed(dim, degree, all_sets[0]))
    return Result(predictions=curves[0], trajectories=curves[1], findings=tuple(findings))


def _relu_features(dim: int, count: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Random relu features with biases of either sign, scaled to [0, 1] on the corners."""
    import numpy as np

    generator = np.random.default_rng([seed, dim, count])
    W = generator.standard_normal((count, dim))
    b = _BIAS * generator.choice([-1.0, 1.0], count)
    largest = np.sum(np.abs(W), axis=1) + b

    def psi(x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ W.T + b, 0.0) / largest

    return psi


def _least(table: np.ndarray, y: np.ndarray, norm: float) -> float:
    from twolayer.theory.gradient_features.hinge_programme import least_hinge

    return least_hinge(table, y, norm=norm)[1]


def _tight(table: np.ndarray, sets: np.ndarray, norm: float) -> bool:
    """Whether weights of that norm along each parity's correlations keep values in [-1, 1]."""
    import numpy as np

    from twolayer.theory.gradient_features.kernel_bounds import corners

    x = corners(int(math.log2(len(table))))
    labels = np.prod(x[:, sets], axis=2)  # a column a parity
    weights = table.T @ labels
    weights *= norm / np.maximum(np.linalg.norm(weights, axis=0), 1e-300)
    return bool(np.max(np.abs(table @ weights)) <= 1)


def _averages(
    bounds: list[float],
    lengths: np.ndarray,
    parities: tuple[np.ndarray, bool],
    least: np.ndarray,
    size: tuple[int, int, int],
) -> tuple[tuple[tuple[Prediction, ...], tuple[Trajectory, ...]], list[Finding]]:
    """The mean over parities: exact correlations against Parseval's and the published bound.

    At the smallest norm the bound is attained if it is small enough, `tight`.
    """
    import numpy as np

    from twolayer.theory.gradient_features.kernel_bounds import (
        average_kernel_bound,
        kernel_bound,
    )

    (chosen, tight), (dim, degree, features) = parities, size
    grid = np.asarray(bounds)
    exact = np.asarray([average_kernel_bound(lengths[chosen], norm) for norm in bounds])
    parseval = np.asarray([kernel_bound(features, norm, dim, degree) for norm in bounds])
    name, run = "least hinge loss of random features", ("finished",) * len(chosen)
    curves = (
        (Prediction(name, grid, exact, "lower", _DERIVED, grid_name="norm"),),
        (Trajectory(name, grid, least, run, grid_name="norm"),),  # type: ignore[arg-type]
    )
    mean = np.mean(least, axis=0)
    low = bool(np.all(mean >= exact - _GAP))
    attained = abs(mean[0] - exact[0]) <= _GAP
    verdict: Verdict = "agrees" if low and (attained or not tight) else "disagrees"
    below = bool(np.all(parseval <= [average_kernel_bound(lengths, norm) for norm in bounds]))
    return curves, [
        Finding(
            "average parity",
            "For weights of small norm the best of them lose exactly what the mean correlation "
            "says, and for larger ones no less.",
            float(exact[0]),
            float(mean[0]),
            _GAP,
            verdict if attained or verdict == "disagrees" else "undecided",
            _DERIVED,
            f"B = {bounds[0]:g}{'' if tight else ', no small norm'}; at B = {bounds[-1]:g} bound "
            f"{exact[-1]:.3f}, loss {mean[-1]:.3f}; "
            f"{len(chosen)} of {len(lengths)} parities",
        ),
        Finding(
            "Parseval's bound",
            "Without looking at the features: their number and norm alone bound the mean loss "
            "from below, and the exact mean is never smaller.",
            float(parseval[0]),
            float(average_kernel_bound(lengths, bounds[0])),
            0.0,
            "agrees" if below else "disagrees",
            _PARSEVAL,
            f"B = {bounds[0]:g}, N = {features}, all {len(lengths)} parities of {degree} of {dim}",
        ),
    ]


def _each_parity(bounds: list[float], lengths: np.ndarray, least: np.ndarray) -> Finding:
    import numpy as np

    floor = np.maximum(1 - np.asarray(bounds)[None] * lengths[:, None], 0.0)
    excess = least - floor
    i, j = np.unravel_index(np.argmin(excess), excess.shape)
    return Finding(
        "each parity",
        "On no parity do the best weights lose less than one minus norm times correlation.",
        float(floor[i, j]),
        float(least[i, j]),
        _GAP,
        "agrees" if excess[i, j] >= -_GAP else "disagrees",
        _DERIVED,
        f"the nearest of {least.size} cases, B = {bounds[j]:g}",
    )


def _infinite_width(dim: int, degree: int, seed: int) -> list[Finding]:
    """The kernel of infinitely many relu neurons: eigenvalue, and the loss that attains it."""
    import numpy as np

    from twolayer.theory.gradient_features.kernel_bounds import corners, parity_eigenvalue
    from twolayer.theory.kernels import random_feature_kernel

    def kappa(inner: np.ndarray) -> np.ndarray:
        first = np.asarray([[math.sqrt(dim), 0.0]])
        along = np.asarray(inner) / math.sqrt(dim)
        other = np.stack([along, np.sqrt(np.maximum(dim - along**2, 0.0))], axis=1)
        return random_feature_kernel(first, other, weight_variance=1 / dim, bias=_BIAS)[0]

    eigenvalue = parity_eigenvalue(kappa, dim, degree)
    x = corners(dim)
    chi = np.prod(x[:, :degree], axis=1)
    generator = np.random.default_rng([seed, 5])
    sums = []
    for _ in range(20):  # batches of random neurons: E psi(x) chi(x), squared
        W = generator.standard_normal((2000, dim)) / math.sqrt(dim)
        b = _BIAS * generator.choice([-1.0, 1.0], 2000)
        correlation = chi @ np.maximum(x @ W.T + b, 0.0) / len(x)
        sums.append(float(np.mean(correlation**2)))
    mean, error = float(np.mean(sums)), float(np.std(sums, ddof=1) / math.sqrt(len(sums)))
    verdict: Verdict = "agrees" if abs(mean - eigenvalue) <= 4 * error else "disagrees"
    small = 6  # signs of a cube on which the kernel is written out
    cube, level = corners(small), min(degree, small - 1)
    kernel = random_feature_kernel(cube, weight_variance=1 / dim, bias=_BIAS)
    roots, vectors = np.linalg.eigh(kernel)
    psi = vectors * np.sqrt(np.maximum(roots, 0.0))  # features of the kernel at its corners
    target = np.prod(cube[:, :level], axis=1)
    reach = 0.6 / math.sqrt(target @ kernel @ target / len(cube) ** 2)
    attained = _least(psi, target, reach)
    return [
        Finding(
            "infinite width",
            "The eigenvalue of the relu kernel at parities is the mean square correlation of "
            "random neurons with them: on every parity kernel machines of norm B lose at least "
            "one minus B times its root.",
            eigenvalue,
            mean,
            error,
            verdict,
            _DERIVED,
            f"parities of {degree} of {dim}; B below {1 / math.sqrt(eigenvalue):.3g} leaves a loss",
        ),
        Finding(
            "infinite width, attained",
            "The best kernel machine of norm B loses one minus B times the root of the eigenvalue, "
            "no more.",
            0.4,
            attained,
            _GAP,
            "agrees" if abs(attained - 0.4) <= _GAP else "disagrees",
            _DERIVED,
            f"parity of {level} of {small}, B = {reach:.4g}",
        ),
    ]


def _structured(dim: int, degree: int, features: int, seed: int) -> Finding:
    """A structured parity with sparse background: the share that is uniform bounds the loss."""
    import numpy as np

    from twolayer.sparse_coding import StructuredParity
    from twolayer.theory.gradient_features.kernel_bounds import kernel_bound

    norm, background, probability = 0.5, 0.3, 0.1
    psi = _relu_features(dim, features, seed)
    relevant = degree - 1 + degree % 2  # odd
    losses = []
    generator = np.random.default_rng([seed, 9])
    for s in range(4):
        dictionary = np.eye(dim)[generator.permutation(dim)]
        task = StructuredParity(dictionary, 1, relevant, probability, background)  # type: ignore[arg-type]
        x, y = drawn(task, _SAMPLES, seed + s)
        losses.append(_least(psi(x), y, norm))
    bound = kernel_bound(
        features, norm, dim, relevant, uniform_weight=1 - 2 * probability, activity=2 * background
    )
    mean, error = float(np.mean(losses)), float(np.std(losses, ddof=1) / 2)
    return Finding(
        "structured parity",
        "Where only part of the inputs is uniform, and the background sparse, the bound holds for "
        "that part.",
        bound,
        mean,
        error,
        "agrees" if mean >= bound - 3 * error else "disagrees",
        _PARSEVAL,
        f"B = {norm:g}; mean over random sets of the least loss on {_SAMPLES} samples",
    )


def _network(dim: int, degree: int) -> Finding:
    import numpy as np

    from twolayer.theory.gradient_features.constructions import parity_network
    from twolayer.theory.gradient_features.induced_networks import hinge_loss
    from twolayer.theory.gradient_features.kernel_bounds import corners

    x = corners(dim)
    feature = (np.arange(dim) < degree)[None] / math.sqrt(degree)
    network = parity_network(feature, degree)
    loss = float(hinge_loss(network, x, np.prod(x[:, :degree], axis=1)).mean)
    return Finding(
        "network of the feature",
        "A network of the one gradient feature has no loss on the same parity.",
        0.0,
        loss,
        1e-9,
        "agrees" if loss <= 1e-9 else "disagrees",
        _DERIVED,
        f"{network.width} neurons",
    )


def _informed(dim: int, degree: int, chosen: np.ndarray) -> Finding:
    """Features that know the parity: the bounds are about those that don't."""
    import numpy as np

    from twolayer.theory.gradient_features.kernel_bounds import corners, kernel_bound

    x = corners(dim)
    y = np.prod(x[:, chosen], axis=1)
    bound = kernel_bound(1, 1.0, dim, degree)
    loss = _least(y[:, None], y, 1.0)
    return Finding(
        "control: a feature that knows the parity",
        "One feature chosen after the parity has no loss: the mean over parities bounds features "
        "that were fixed before.",
        bound,
        loss,
        _GAP,
        "agrees" if loss < _GAP < 0.1 < bound else "disagrees",
        _DERIVED,
        "agreement means that the bound for independent features is violated, as it must be",
    )
