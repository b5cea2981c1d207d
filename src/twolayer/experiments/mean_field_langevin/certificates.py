"""How far trained particles are from the optimum, certified without knowing it."""

from __future__ import annotations

from twolayer.experiments.options import Stage, at_least, numbers, positive, whole_numbers
from twolayer.experiments.registry import Progress, experiment, silent
from twolayer.outcomes import Finding, Verdict
from twolayer.results import Result

_TOO_FEW = 100  # nodes
_NARROW = 0.05  # of the least energy: a certificate this narrow says something


@experiment(
    paper="mean_field_langevin",
    statement="Particles carry a certificate of how far they are from the optimum, in any input "
    "dimension and at low temperature; where sampling does not carry it, it is refused.",
    reference="derived here; duality as in nitanda2022convex",
    quick={"dims": "1,5", "width": 300, "horizon": 100.0, "nodes": 5000, "cold": "0.001"},
)
def optimality_certificate(
    *,
    dims: str = "1,2,5,10",
    decay: float = 0.1,
    temperature: float = 0.01,
    cold: str = "0.0001,0.001",
    width: int = 500,
    step: float = 0.2,
    horizon: float = 300.0,
    nodes: int = 20_000,
    seed: int = 0,
    progress: Progress = silent,
) -> Result:
    """Both bounds of the least free energy from trained particles, in growing dimension.

    Labels ``tanh(1.5 x_1) + 0.3 sin(2 x_1)`` (times ``x_2`` in two dimensions or more) plus noise
    0.1. In one dimension the bounds are held against the optimum by quadrature.

    Parameters
    ----------
    dims
        Input dimensions.
    decay
        Both weight decays.
    temperature
        Temperature.
    cold
        Low temperatures, in one dimension: the certificate must be right there or be refused.
    width
        Particles.
    step
        Time step.
    horizon
        Training time.
    nodes
        Nodes of the importance sampling.
    seed
        Seed of all randomness.
    """
    sizes = whole_numbers("dims", dims)
    colder = numbers("cold", cold, 1e-9, 1e9)
    positive(decay=decay, temperature=temperature, step=step, horizon=horizon)
    at_least(2, width=width)
    at_least(100, nodes=nodes)
    at_least(0, seed=seed)

    import jax
    import numpy as np

    from twolayer.activations import tanh
    from twolayer.dynamics.langevin import Langevin, train_langevin
    from twolayer.free_energy import FreeEnergy
    from twolayer.theory.langevin.certificate import certify_particles
    from twolayer.theory.langevin.dual import solve_dual

    findings = []
    cases = [(dim, temperature) for dim in sizes] + [(1, tau) for tau in colder]
    for dim, tau in cases:
        name = f"d = {dim}, tau = {tau:g}"
        generator = np.random.default_rng([seed, dim])
        x = generator.standard_normal((20 + 20 * dim, dim))
        y = np.tanh(1.5 * x[:, 0]) + 0.3 * np.sin(2 * x[:, 0])
        y = y * x[:, 1] if dim > 1 else y
        y = y + 0.1 * generator.standard_normal(len(x))
        problem = FreeEnergy(x, y, tanh, decay, decay, tau)  # type: ignore[arg-type]
        run = train_langevin(
            Langevin(step),  # type: ignore[arg-type]
            problem,
            width,
            times=[0.0, horizon],
            key=jax.random.key(seed),
            progress=Stage(progress, name),
        )
        slopes, key = np.asarray(run.residual[0]), jax.random.key(seed + 1)
        certificate = certify_particles(problem, slopes=slopes, num_nodes=nodes, key=key)
        if tau == temperature:
            findings.append(_narrow(name, certificate))
        if dim == 1:
            findings.append(_contains(name, certificate, solve_dual(problem).energy))
    few = certify_particles(problem, slopes=slopes, num_nodes=_TOO_FEW, key=key)
    findings.append(_refused(few))
    return Result(findings=tuple(findings))


def _narrow(name: str, certificate) -> Finding:
    gap = certificate.upper - certificate.lower
    verdict: Verdict = "agrees" if gap <= _NARROW * certificate.upper else "disagrees"
    return Finding(
        f"certified, {name}",
        "The two bounds of the least free energy are close.",
        0.0,
        float(gap),
        float(_NARROW * certificate.upper),
        verdict if certificate.valid else "undecided",
        "derived here",
        certificate.reason,
    )


def _contains(name: str, certificate, energy: float) -> Finding:
    """A certificate that was refused claims nothing, and is not wrong."""
    inside = certificate.lower <= energy <= certificate.upper
    return Finding(
        f"contains the optimum, {name}",
        "The optimum by quadrature lies between the two bounds.",
        energy,
        float(certificate.dual + certificate.primal) / 2,
        float(certificate.primal - certificate.dual) / 2 + float(certificate.primal_error),
        ("agrees" if inside else "disagrees") if certificate.valid else "undecided",
        "derived here",
        f"bounds {certificate.lower:.6g} and {certificate.upper:.6g}; {certificate.reason}",
    )


def _refused(certificate) -> Finding:
    measured = "a certificate" if certificate.valid else "no certificate"
    return Finding(
        "too few nodes",
        f"From {_TOO_FEW} nodes there is no certificate, and it says why.",
        "no certificate",
        measured,
        0.0,
        "disagrees" if certificate.valid else "agrees",
        "derived here",
        certificate.reason,
    )
