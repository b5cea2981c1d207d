"""Loss floors: what no training time can go below while a subspace stays unseen."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twolayer.compare import compare
from twolayer.experiments.options import Stage, at_least, coordinates, positive
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Prediction, Trajectory
from twolayer.results import Result

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from twolayer.activations import Activation
    from twolayer.networks import TwoLayerNetwork
    from twolayer.theory.learnability import LearnabilityCertificate

THEOREM = "chen2024subspace, Theorem 3.5"
_CASES = (
    "He2(z1) | cos_sin; z1*z2*z3 | cos_sin; z1 + z1*z2*z3 | cos_sin; z1 + z2 + z1*z2 | cos_sin; "
    "z1 + z1*z2 | sin; z1 + z1*z2 | cos; z1 + z1*z2 | tanh; z1 + He2(z1) | sin"
)


@experiment(
    paper="subspace_sparse",
    statement="Neurons without a component along the reflective subspace never gain one, and the "
    "loss stays above the exact floor.",
    reference="chen2024subspace, Theorems 3.4 and 3.5; floors with the activation derived here",
    quick={
        "cases": "z1*z2*z3 | cos_sin; z1 + z1*z2*z3 | cos_sin; z1 + z1*z2 | tanh",
        "dim": 48,
        "width": 120,
        "horizon": 40.0,
        "seeds": 3,
    },
)
def loss_floors(
    *,
    cases: str = _CASES,
    dim: int = 128,
    width: int = 400,
    horizon: float = 100.0,
    seeds: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Exact floors from the certificates against gradient flow of finite networks.

    The networks start with no component along the reflective subspace, as the limit of high
    dimension does. For a finite network Theorem 3.5 then holds word for word, so the floor must
    hold at every width, dimension and time; and the loss must come close to it.

    Parameters
    ----------
    cases
        ``target | activation`` pairs separated by semicolons.
    dim
        Input dimension.
    width
        Neurons.
    horizon
        Training time.
    seeds
        Networks for each case.
    seed
        Seed of all randomness.
    """
    positive(horizon=horizon)
    at_least(2, seeds=seeds, dim=dim, width=width)
    at_least(0, seed=seed)
    pairs = [tuple(part.strip() for part in case.split("|")) for case in cases.split(";")]
    if not all(len(pair) == 2 for pair in pairs):
        message = f"Expected cases like 'z1*z2 | tanh; z1 | sin'. Received: {cases!r}."
        raise ValueError(message)
    for target, activation in pairs:
        at_least(coordinates(target, activation), dim=dim)

    import numpy as np

    from twolayer.targets import Polynomial
    from twolayer.theory.learnability import certify
    from twolayer.theory.mean_field import mean_field_flow

    times = np.concatenate([[0.0], np.geomspace(horizon / 100, horizon, 9)])  # also mid-decay
    findings, trajectories, predictions = [], [], []
    for target, activation in pairs:
        certificate = certify(target, activation=activation)
        run = _gradient_flow(
            certificate,
            (dim, width),
            times,
            (seeds, seed),
            Stage(progress, f"{target}, {activation}"),
        )
        name = f"{target} | {activation}"
        flow = mean_field_flow(Polynomial(certificate.target), activation=activation, times=times)
        trajectories.append(replace(run, name=name))
        floor = np.full(times.shape, float(certificate.total_floor))
        predictions += [
            replace(flow.loss, name=name),
            Prediction(name, times, floor, "lower", THEOREM),
        ]
        findings += [
            _floor_finding(certificate, run, name),
            _decay_finding(flow.loss, run, name, 1 / width + 1 / dim),
        ]
    return Result(
        predictions=tuple(predictions), trajectories=tuple(trajectories), findings=tuple(findings)
    )


def _gradient_flow(
    certificate: LearnabilityCertificate,
    size: tuple[int, int],
    times,
    seeds: tuple[int, int],
    progress: Stage,
):
    """Gradient flow of finite networks that start without the reflective subspace."""
    import jax

    from twolayer.activations import activation_of
    from twolayer.dynamics import GradientFlow, simulate
    from twolayer.inputs import Gaussian
    from twolayer.targets import Polynomial
    from twolayer.tasks import Regression

    dim, width = size
    polynomial = Polynomial(certificate.target)
    return simulate(
        GradientFlow(),
        partial(
            blind_network,
            width,
            dim,
            activation_of(certificate.facts.name),
            certificate.activation_chain.frame.hidden_basis,
        ),
        Regression(Gaussian(dim), polynomial),
        times=times,
        seeds=seeds[0],
        key=jax.random.key(seeds[1]),
        progress=progress,
    )


def blind_network(
    width: int,
    dim: int,
    activation: Activation,
    hidden: tuple[tuple[int, ...], ...],
    *,
    key: PRNGKeyArray,
) -> TwoLayerNetwork:
    """The mean-field initialisation, its weights orthogonal to the vectors `hidden`."""
    import equinox as eqx
    import numpy as np

    from twolayer.networks import mean_field_network

    network = mean_field_network(width, dim, activation, key=key)
    projector = np.eye(dim)
    for vector in hidden:  # orthogonal to each other
        direction = np.zeros(dim)
        direction[: len(vector)] = np.asarray(vector, dtype=np.float64)
        projector -= np.outer(direction, direction) / (direction @ direction)
    W = network.W @ projector.astype(network.W.dtype)
    return eqx.tree_at(lambda leaf: leaf.W, network, W)


def _floor_finding(certificate: LearnabilityCertificate, run: Trajectory, name: str) -> Finding:
    """The floor holds if no seed ever gets below it."""
    import numpy as np

    floor, initial = float(certificate.total_floor), float(certificate.initial_loss)
    rounding = 1e-6 * initial
    lowest = float(np.min(run.value)) if "diverged" not in run.status else float("nan")
    verdict = "failed" if np.isnan(lowest) else "disagrees"
    if lowest >= floor - rounding:
        verdict = "agrees"
    derived = certificate.total_floor != certificate.loss_floor
    return Finding(
        f"floor of {name}",
        f"No network of finite width takes the loss of {name} below the floor.",
        floor,
        lowest,
        rounding,
        verdict,
        f"derived here, from the proof of {THEOREM}" if derived else THEOREM,
        f"lowest loss of {len(run.status)} seeds; without a network it is {initial:g}",
    )


def _decay_finding(flow: Prediction, run: Trajectory, name: str, inverse_sizes: float) -> Finding:
    """The loss comes down to the saddle as the flow does, up to corrections of first order."""
    comparison = compare(flow, run, tolerance=inverse_sizes * flow.value[0])
    return Finding(
        f"decay of {name}",
        f"The loss of {name} comes down to its saddle as the flow at d = infinity does.",
        float(flow.value[-1]),
        float(flow.value[-1] + comparison.gap[-1]),
        float(comparison.error[-1]),
        comparison.verdict,
        flow.reference,
        f"{comparison.reason}; the finite size may add (1/width + 1/d) of the initial loss",
    )
