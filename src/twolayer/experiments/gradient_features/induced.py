"""What networks of gradient features can represent: constructions, and the least hinge loss."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from twolayer.experiments.options import Stage, at_least
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    import numpy as np

    from twolayer.outcomes import Verdict
    from twolayer.theory.gradient_features.induced_networks import InducedNetworks

_DERIVED = "derived here"
_ROUNDING = 1e-9  # of outputs of order 1 in double precision
_RATIOS = (10.0, 5.0, 10 / 3)  # distance of a cluster over its standard deviation
_UNITS = 60  # hidden units of the parities, background included
_CLUSTERS, _DIM = 6, 100
_OUTPUT_BOUND = 5.0
_BIASES = 12


@experiment(
    paper="gradient_features",
    statement="Networks built of gradient features alone separate the classes: the least hinge "
    "loss is 0 or small, as constructions and linear programmes say, and without the features it "
    "is that of no network.",
    reference="induced networks of shi2023provable as recalled; constructions and programmes "
    "derived here",
    quick={"parities": "5x3, 7x1", "samples": 4000, "fit": 1000, "lattice": 31},
)
def induced_networks(
    *,
    parities: str = "5x3, 7x1, 9x5",
    samples: int = 20_000,
    fit: int = 4000,
    lattice: int = 41,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """OPT of parities, mixtures, XOR and functions of few projections.

    Constructions are held against fresh samples. Where the features span a plane, OPT of the law
    follows from a linear programme on a lattice, and is bracketed by networks fitted to samples:
    their loss on these is below OPT in the mean, that on fresh samples above.

    Parameters
    ----------
    parities
        Structured parities as ``units in a block x blocks``, both odd, of at most 60 units.
    samples
        Fresh samples that measure losses.
    fit
        Samples that networks are fitted to by linear programming.
    lattice
        Points a side of the lattice that stands for the law.
    seed
        Seed of all randomness.
    """
    blocks = _blocks(parities)
    at_least(1000, samples=samples)
    at_least(100, fit=fit)
    at_least(11, lattice=lattice)
    at_least(0, seed=seed)

    stage = Stage(progress, "laws")
    findings = [_parity(k, r, samples, seed) for k, r in blocks]
    stage(1, 4)
    curve, more = _mixtures(samples, fit, seed)
    findings += more
    stage(2, 4)
    findings.append(_ramp(samples, seed))
    findings += _xor(samples, fit, lattice, seed)
    stage(3, 4)
    findings += _two_projections(samples, fit, lattice, seed)
    stage(4, 4)
    return Result(predictions=curve[:1], trajectories=curve[1:], findings=tuple(findings))


def _blocks(text: str) -> list[tuple[int, int]]:
    """Pairs of a block's size and the number of blocks."""
    pairs = []
    for part in text.split(","):
        words = part.split("x")
        if len(words) != 2 or not all(word.strip().isdecimal() for word in words):
            words = ["0", "0"]
        k, r = map(int, words)
        if k % 2 == 0 or r % 2 == 0 or k * r > _UNITS:
            message = "Expected parities like '5x3, 7x1': odd sizes and odd numbers of blocks, "
            message += f"of at most {_UNITS} units. Received: {text!r}."
            raise ValueError(message)
        pairs.append((k, r))
    return pairs


def drawn(task: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a task as NumPy arrays in double precision, by one program for each kind."""
    import jax
    import numpy as np

    x, y = _sampler()(task, count, jax.random.key(seed))
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


@cache
def _sampler() -> Any:
    import equinox as eqx

    return eqx.filter_jit(lambda task, count, key: task.sample(count, key=key))


def _parity(k: int, r: int, samples: int, seed: int) -> Finding:
    """The construction has no loss at all."""
    import jax
    import numpy as np

    from twolayer.sparse_coding import StructuredParity
    from twolayer.theory.gradient_features.constructions import parity_network
    from twolayer.theory.gradient_features.induced_networks import hinge_loss

    generator = np.random.default_rng([seed, k, r])
    dictionary = np.linalg.qr(generator.standard_normal((_UNITS, _UNITS)))[0]
    with jax.enable_x64(True):
        task = StructuredParity(dictionary, r, k, 0.2 / r, 0.1)  # type: ignore[arg-type]
        x, y = drawn(task, samples, seed)
        features = np.asarray(task.features, np.float64)
    network = parity_network(features, k)
    loss = float(hinge_loss(network, x, y).mean)
    return Finding(
        f"parity of {r} block{'s' if r > 1 else ''} of {k}",
        "A network of the blocks' features alone has no hinge loss on structured parities.",
        0.0,
        loss,
        _ROUNDING,
        "agrees" if loss < _ROUNDING else "disagrees",
        _DERIVED,
        f"{network.width} neurons; {r * k} of {_UNITS} hidden units count; {samples} samples",
    )


def _mixtures(samples: int, fit: int, seed: int) -> tuple[tuple[Any, ...], list[Finding]]:
    """One neuron a cluster: the closed bound, the sampled loss, the optimum by programming."""
    import numpy as np

    from twolayer.inputs import isotropic_mixture
    from twolayer.tasks import Classification
    from twolayer.theory.gradient_features.constructions import (
        mixture_hinge_bound,
        mixture_network,
    )
    from twolayer.theory.gradient_features.induced_networks import (
        InducedNetworks,
        hinge_loss,
        optimal_induced_network,
    )

    directions = np.eye(_DIM)[:_CLUSTERS]
    labels = np.where(np.arange(_CLUSTERS) % 2, -1.0, 1.0)
    bounds, losses, findings = [], [], []
    for ratio in _RATIOS:
        means = 2 * ratio * directions
        task = Classification(isotropic_mixture(means, 2.0), labels)  # type: ignore[arg-type]
        x, y = drawn(task, samples + fit, seed)
        bound = mixture_hinge_bound(task)
        mean, error = map(float, hinge_loss(mixture_network(task), x[fit:], y[fit:]))
        bounds.append(bound)
        losses.append((mean, error))
        findings.append(
            Finding(
                f"clusters at {ratio:.3g} standard deviations",
                "One neuron a cluster, cut off half-way, has a hinge loss below the closed bound.",
                bound,
                mean,
                error,
                "agrees" if mean <= bound + 3 * error else "disagrees",
                _DERIVED,
                f"{samples} samples; the bound is {bound / max(mean, 1e-12):.2g} times the loss",
            )
        )
    family = InducedNetworks(
        directions, np.ones(_CLUSTERS), 2 * _RATIOS[-1], 4 / _RATIOS[-1], num_biases=_BIASES
    )
    best = optimal_induced_network(family, x[:fit], y[:fit])
    mean, error = map(float, hinge_loss(best.network, x[fit:], y[fit:]))
    findings.append(
        Finding(
            "OPT of the widest clusters",
            "The best network of the clusters' features is at least as good as the closed bound.",
            bounds[-1],
            mean,
            error,
            "agrees" if mean <= bounds[-1] + 3 * error else "disagrees",
            _DERIVED,
            f"fitted to {fit} samples (loss {best.loss:.4f} there), measured on the others",
        )
    )
    ratios, name = np.asarray(_RATIOS[::-1]), "hinge loss of one neuron a cluster"
    value, error = np.asarray(losses[::-1]).T
    curve = (
        Prediction(name, ratios, np.asarray(bounds[::-1]), "upper", _DERIVED, grid_name="ratio"),
        Trajectory(name, ratios, value[None], ("finished",), error[None], grid_name="ratio"),
    )
    return curve, findings


def _ramp(samples: int, seed: int) -> Finding:
    """Two neurons on a linear target, against the closed loss."""
    from twolayer.experiments.gradient_features import laws
    from twolayer.theory.gradient_features.constructions import halfspace_hinge, halfspace_network
    from twolayer.theory.gradient_features.induced_networks import hinge_loss

    law, slope = laws.linear(seed), 3.0
    x, y = drawn(law.task, samples, seed)
    predicted = halfspace_hinge(slope)
    mean, error = map(float, hinge_loss(halfspace_network(law.features[0], slope), x, y))
    verdict: Verdict = "agrees" if abs(mean - predicted) <= 3 * error else "disagrees"
    return Finding(
        "ramp of a linear target",
        "Two neurons along the target's direction have the hinge loss of a ramp, and less for "
        "steeper ones.",
        predicted,
        mean,
        error,
        verdict,
        _DERIVED,
        f"slope {slope:g}",
    )


def _xor(samples: int, fit: int, lattice: int, seed: int) -> list[Finding]:
    import numpy as np
    from scipy.special import ndtr

    from twolayer.experiments.gradient_features import laws
    from twolayer.theory.gradient_features.induced_networks import (
        hinge_loss,
        optimal_induced_network,
        values,
    )

    law, size = laws.xor(seed), laws.XOR_SIZE
    points, weights = _normal_lattice(lattice)
    centres = size * np.asarray([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    nodes = (centres[:, None] + points).reshape(-1, 2)
    labels = np.repeat([1.0, 1, -1, -1], len(points))
    network, findings = _bracket(
        "XOR", law, (nodes, labels, np.tile(weights / 4, 4)), 2 * size, (samples, fit, seed)
    )
    x, y = drawn(law.task, samples + fit, seed + 1)
    right = float(np.mean(values(network, x[fit:]) * y[fit:] > 0))
    u = float(ndtr(size / np.sqrt(2)))
    bayes = u**2 + (1 - u) ** 2
    error = float(np.sqrt(bayes * (1 - bayes) / samples))
    slack = 3 * error + 1 / np.sqrt(fit)  # what fitting 96 weights to so many samples may cost
    findings.append(
        Finding(
            "accuracy of the best network of XOR",
            "Its features are all that is needed: the best network is as good as any classifier.",
            bayes,
            right,
            error,
            "agrees" if -slack <= right - bayes <= 3 * error else "disagrees",
            _DERIVED,
            "predicted: Bayes' rule",
        )
    )
    generator = np.random.default_rng([seed, 7])
    control = _family(generator.standard_normal(law.features.shape), 2 * size)
    other = optimal_induced_network(control, x[:fit], y[:fit])
    mean, error = map(float, hinge_loss(other.network, x[fit:], y[fit:]))
    findings.append(
        Finding(
            "control: directions that are no features",
            "The best network of as many random directions is no better than the network 0.",
            "at least 0.9",
            mean,
            error,
            "agrees" if mean >= 0.9 else "disagrees",
            _DERIVED,
            f"its loss on the {fit} samples it was fitted to is {other.loss:.3f}",
        )
    )
    return findings


def _two_projections(samples: int, fit: int, lattice: int, seed: int) -> list[Finding]:
    import numpy as np

    from twolayer.experiments.gradient_features import laws
    from twolayer.numerics.quadrature import kinked_gaussian, tensor_rule

    law = laws.multi_index(seed)
    # dense along the axes, where the label jumps
    points, weights = tensor_rule(kinked_gaussian(lattice + lattice % 2, 4.5), 2)
    kept = weights > 1e-7
    points, weights = points[kept], weights[kept] / weights[kept].sum()
    labels = np.where(points[:, 0] * points[:, 1] < 0, -1.0, 1.0)
    # the sign of z1 z2 is seen along the diagonals
    rotation = np.asarray([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    turned = laws.Law(law.name, law.task, 0.0, rotation @ law.features, law.gamma, 0.0)
    return _bracket(
        "sign of a product", turned, (points @ rotation.T, labels, weights), 2.0,
        (samples, fit, seed),
    )[1]  # fmt: skip


def _bracket(
    name: str, law: Any, rule: tuple[np.ndarray, ...], reach: float, size: tuple[int, int, int]
) -> tuple[Any, list[Finding]]:
    """OPT of the law on the plane of its features, between fitted and fresh losses."""
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import (
        hinge_loss,
        optimal_induced_network,
    )

    samples, fit, seed = size
    nodes, labels, weights = rule
    plane = optimal_induced_network(_family(np.eye(2), reach), nodes, labels, weights=weights)
    x, y = drawn(law.task, samples + fit, seed)
    fitted = optimal_induced_network(_family(law.features, reach), x[:fit], y[:fit])
    inside = hinge_loss(fitted.network, x[:fit], y[:fit])
    fresh = hinge_loss(fitted.network, x[fit:], y[fit:])
    low = float(inside.mean - 3 * inside.error)
    high = float(fresh.mean + 3 * fresh.error)
    return fitted.network, [
        Finding(
            f"OPT, {name}",
            "The least hinge loss of the law lies between the loss of a fitted network on its own "
            "samples and on fresh ones.",
            plane.loss,
            float((inside.mean + fresh.mean) / 2),
            float((fresh.mean - inside.mean) / 2 + fresh.error),
            "agrees" if low <= plane.loss <= high else "disagrees",
            _DERIVED,
            f"predicted: a linear programme on {len(labels)} lattice points of the plane; loss on "
            f"{fit} own samples {inside.mean:.4f}, on {samples} fresh ones {fresh.mean:.4f}",
        )
    ]


def _family(directions: np.ndarray, reach: float) -> InducedNetworks:
    import numpy as np

    from twolayer.theory.gradient_features.induced_networks import InducedNetworks

    both = np.concatenate([directions, directions])
    signs = np.repeat([1.0, -1.0], len(directions))
    return InducedNetworks(both, signs, reach, _OUTPUT_BOUND, num_biases=_BIASES)


def _normal_lattice(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A lattice with the weights of the standard normal law of the plane."""
    import numpy as np

    line = np.linspace(-4.5, 4.5, side)
    weights = np.exp(-(line**2) / 2)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    product = np.outer(weights, weights).reshape(-1)
    kept = product > 1e-5 * product.max()
    return points[kept], product[kept] / product[kept].sum()
