"""Algorithm 1 of chen2024subspace on a finite network: the layers trained one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from twolayer.activations import Activation, activation_of
from twolayer.dynamics.base import with_parameters
from twolayer.dynamics.gradient_flow import GradientFlow
from twolayer.dynamics.observe import population_risk
from twolayer.dynamics.sgd import SGD
from twolayer.dynamics.simulate import Progress, Run, checked_times, seed_keys, stack, train
from twolayer.networks import TwoLayerNetwork, check_positive
from twolayer.numerics.quadrature import gauss_hermite, tensor_rule
from twolayer.outcomes import Trajectory
from twolayer.tasks import Regression

_MOST_NODES = 20_000

Nodes = tuple[Float[np.ndarray, "q p"], Float[np.ndarray, " q"]]


class Layerwise(eqx.Module):
    """What Algorithm 1 leaves open: sizes, the length of phase 1, flow or SGD.

    Attributes
    ----------
    activation
        The activation of phase 1.
    width
        Neurons in each population.
    duration
        How long phase 1 lasts, T.
    learning_rate
        The step of one-pass SGD in both phases, or ``None`` for the flow on the population risk.
    populations
        How many independent populations are averaged; by default the number p of coordinates
        that the target reads.

    Raises
    ------
    ValueError
        If a size is not a positive whole number.
    """

    activation: Activation
    width: int = eqx.field(static=True)
    duration: float = eqx.field(static=True, default=1.0)
    learning_rate: float | None = eqx.field(static=True, default=None)
    populations: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_positive(width=self.width, populations=self.populations or 1)


class LayerwiseRun(NamedTuple):
    """What `train_layerwise` returns.

    Attributes
    ----------
    trajectory
        The loss since the reset between the phases.
    networks
        The trained network of each seed.
    """

    trajectory: Trajectory
    networks: tuple[TwoLayerNetwork, ...]


def train_layerwise(
    algorithm: Layerwise,
    task: Regression,
    *,
    times: Sequence[float] | Float[np.ndarray, " t"],
    seeds: int | Sequence[int] = 1,
    key: PRNGKeyArray,
    progress: Progress | None = None,
) -> LayerwiseRun:
    """Algorithm 1 of chen2024subspace, its populations read as finite networks.

    Phase 1: from ``W = 0`` and ``a ~ U[-1, 1]``, independent populations of neurons train their
    input weights alone for the time T. Then neuron i of all populations is averaged, output
    weights are reset to 0, the activation becomes ``(1 + z)^n`` with n the degree of the target,
    and phase 2 trains the output weights alone.

    By the flow on the population risk, phase 1 stays in the p coordinates of the target and is
    integrated there; phase 2 is linear and solved in closed form, by the singular values of the
    features ``(1 + w_i . z)^n`` on a product Gauss rule exact for them, with rates down to 1e-30.
    By SGD ((D.2) and (D.3), the latter without the bounded modification of the activation, so
    that large steps can diverge) everything happens in all d dimensions.

    Parameters
    ----------
    algorithm
        Sizes, duration of phase 1, flow or SGD.
    task
        A polynomial of Gaussian inputs.
    times
        Increasing times since the reset, t - T in the paper, at which to observe the loss.
    seeds, key, progress
        As for `simulate`. Progress runs from 0 to its total once in each phase.

    Raises
    ------
    ValueError
        If the task has no closed-form risk, or the target too many coordinates for the rule.

    Examples
    --------
    >>> import twolayer as tl
    >>> task = tl.Regression(tl.Gaussian(8), tl.Polynomial("z1"))
    >>> algorithm = Layerwise(tl.cos_sin, width=100, duration=2.0)
    >>> losses = train_layerwise(algorithm, task, times=[0, 20], key=jax.random.key(0))
    >>> losses.trajectory.value[0, 0].round(6), losses.trajectory.value[0, 1] < 1e-2
    (np.float64(0.5), np.True_)
    """
    population_risk(task)
    nodes = _nodes(task) if algorithm.learning_rate is None else None
    times = checked_times(times)
    keys = seed_keys(seeds, key)
    first = _first_phase(algorithm, task, keys, progress)
    num_seeds = keys.shape[0]
    status = np.asarray(first.trajectory.status).reshape(num_seeds, -1)
    if np.any(status == "stopped"):
        stopped = Trajectory("loss", times[:0], np.empty((num_seeds, 0)), ("stopped",) * num_seeds)
        return LayerwiseRun(stopped, ())
    second = _second_network(first, num_seeds, task)
    if nodes is not None:
        run = _second_phase_flow(second, task, nodes, times)
    else:
        run = _second_phase_sgd(algorithm.learning_rate, second, task, times, keys, progress)
    return LayerwiseRun(_described(run.trajectory, algorithm), tuple(_unstack(run.networks)))


def _first_phase(
    algorithm: Layerwise, task: Regression, keys: PRNGKeyArray, progress: Progress | None
) -> Run:
    """All populations of all seeds, trained side by side."""
    if algorithm.learning_rate is None:
        dynamics = GradientFlow(schedule_a=0.0)
        task = Regression(type(task.inputs)(max(task.target.dim, 1)), task.target)
    else:
        dynamics = SGD(algorithm.learning_rate, schedule_a=0.0)
    number = algorithm.populations or max(task.target.dim, 1)
    keys = jnp.concatenate([seed_keys(number, key) for key in keys])
    return train(
        dynamics,
        stack([_flat_network(algorithm, task.inputs.dim, key) for key in keys]),
        task,
        times=[algorithm.duration],
        keys=jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys),
        observe=lambda network: jnp.zeros_like(network.scale),
        progress=progress,
    )


def _flat_network(algorithm: Layerwise, dim: int, key: PRNGKeyArray) -> TwoLayerNetwork:
    """Step 1 of Algorithm 1: ``a ~ U[-1, 1]``, ``W = 0``."""
    m = algorithm.width
    a = jax.random.uniform(jax.random.fold_in(key, 0), (m,), minval=-1.0, maxval=1.0)
    W = jnp.zeros((m, dim), a.dtype)
    return TwoLayerNetwork(a, W, None, algorithm.activation, 1 / m)  # type: ignore[arg-type]


def _second_network(first: Run, num_seeds: int, task: Regression) -> TwoLayerNetwork:
    """Steps 3 and 4 of Algorithm 1: average over populations, reset a, change the activation."""
    diverged = np.asarray(first.trajectory.status) == "diverged"
    W = np.where(diverged[:, None, None], np.nan, np.asarray(first.networks.W))
    W = W.reshape(num_seeds, -1, *W.shape[1:]).mean(axis=1)
    unseen = np.zeros((*W.shape[:2], task.inputs.dim - W.shape[2]))
    W = np.concatenate([W, unseen], axis=2)
    activation = activation_of(f"(1+x)^{task.target.degree}")
    m = W.shape[1]
    return TwoLayerNetwork(jnp.zeros(W.shape[:2]), jnp.asarray(W), None, activation, 1 / m)  # type: ignore[arg-type]


def _second_phase_flow(
    networks: TwoLayerNetwork, task: Regression, nodes: Nodes, times: Float[np.ndarray, " t"]
) -> Run:
    """The linear flow of the output weights, seed by seed, in closed form."""
    points, root_weights = nodes
    with jax.enable_x64(True):
        goal = np.asarray(jax.vmap(task.target)(jnp.asarray(points))) * root_weights
    losses, outputs = [], []
    for W in np.asarray(networks.W, np.float64):
        features = (1 + W[:, : points.shape[1]] @ points.T) ** task.target.degree * root_weights
        loss, a = _linear_flow(features, goal, times)
        losses.append(loss)
        outputs.append(a)
    status = tuple("finished" if np.all(np.isfinite(loss)) else "diverged" for loss in losses)
    trajectory = Trajectory("loss", times, np.stack(losses), status)  # type: ignore[arg-type]
    a = jnp.asarray(np.stack(outputs), networks.a.dtype)
    return Run(with_parameters(networks, (a, networks.W, None)), trajectory)


def _nodes(task: Regression) -> Nodes:
    """Nodes, and roots of weights, exact for products of two polynomials of the target's degree."""
    num_nodes, dim = task.target.degree + 1, task.target.dim
    if num_nodes**dim > _MOST_NODES:
        message = (
            f"Expected at most {_MOST_NODES} quadrature nodes. Received: {num_nodes}^{dim}, for a "
            f"target of degree {num_nodes - 1} in {dim} coordinates. Did you perhaps mean SGD?"
        )
        raise ValueError(message)
    points, weights = tensor_rule(gauss_hermite(num_nodes), dim)
    return points, np.sqrt(weights)


def _linear_flow(
    features: Float[np.ndarray, "m q"],
    goal: Float[np.ndarray, " q"],
    times: Float[np.ndarray, " t"],
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " m"]]:
    """Losses of ``a' = F (goal - F^T a / m)``, ``a(0) = 0``, and a at the last time.

    With ``F / sqrt(m) = U S V^T`` the residual decays like ``exp(-S^2 t)`` along V.
    """
    width = features.shape[0]
    if not np.all(np.isfinite(features)):
        return np.full(times.shape, np.nan), np.full(width, np.nan)
    left, singular, right = np.linalg.svd(features / np.sqrt(width), full_matrices=False)
    along = right @ goal
    rest = goal - right.T @ along
    decayed = np.exp(-np.outer(times, singular**2)) * along
    losses = (np.sum(decayed**2, axis=1) + rest @ rest) / 2
    last = times[-1]
    safe = np.where(singular > 0, singular, 1.0)
    gain = np.where(singular > 0, -np.expm1(-(safe**2) * last) / safe, 0.0)
    return losses, np.sqrt(width) * left @ (gain * along)


def _second_phase_sgd(
    learning_rate: float | None,
    networks: TwoLayerNetwork,
    task: Regression,
    times: Float[np.ndarray, " t"],
    keys: PRNGKeyArray,
    progress: Progress | None,
) -> Run:
    """(D.3): one-pass SGD of the output weights."""
    return train(
        SGD(learning_rate, schedule_w=0.0),
        networks,
        task,
        times=times,
        keys=jax.vmap(lambda key: jax.random.fold_in(key, 2**32 - 2))(keys),
        observe=population_risk(task),
        progress=progress,
    )


def _described(trajectory: Trajectory, algorithm: Layerwise) -> Trajectory:
    details: dict[str, float | int | str] = {
        "dynamics": "Layerwise",
        "width": algorithm.width,
        "activation": algorithm.activation.facts.name,
        "duration": algorithm.duration,
        "learning_rate": "flow" if algorithm.learning_rate is None else algorithm.learning_rate,
    }
    return replace(trajectory, details=details)


def _unstack(networks: TwoLayerNetwork) -> list[TwoLayerNetwork]:
    return [
        with_parameters(networks, (networks.a[k], networks.W[k], None))
        for k in range(networks.a.shape[0])
    ]
