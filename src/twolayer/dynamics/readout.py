"""The second layer alone: ridge and logistic regression on given features."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_REFINEMENTS = 3  # each gains the digits that single precision has left of the condition number
_SETTLED = 1e-6  # the last refinement's size relative to the solution's; the next would be smaller
_NEWTON_STEPS = 100
_HALVINGS = 12
# The trapezoidal rule for E over g ~ N(0, 1). On the logistic loss its error is like
# exp(-2 pi^2 / (h s)) at step h and noise s; below 1e-3 where s is so large that a kink is left.
_NORMAL = np.linspace(-8.0, 8.0, 161)
_DENSITY = np.exp(-(_NORMAL**2) / 2) / np.sum(np.exp(-(_NORMAL**2) / 2))


class Fit(NamedTuple):
    """A trained read-out.

    Attributes
    ----------
    weights
        The output weights.
    residual
        The mean loss on the training samples, without the penalty.
    objective
        The same with the penalty ``ridge / 2 |w|^2``: what was minimised.
    """

    weights: Float[Array, " k"]
    residual: Float[Array, ""]
    objective: Float[Array, ""]


class Readout(Protocol):
    """A convex loss with a quadratic penalty on the output weights."""

    def fit(self, features: Float[Array, "n k"], y: Float[Array, " n"]) -> Fit:
        """The minimiser of mean loss plus penalty."""
        ...

    def loss(
        self, output: Float[Array, " n"], y: Float[Array, " n"], noise: Float[Array, ""]
    ) -> Float[Array, " n"]:
        """The expected loss of each ``output + noise * g``, ``g ~ N(0, 1)``."""
        ...


class Ridge(eqx.Module):
    """Half the mean square plus ``ridge / 2 |w|^2``.

    ``w = (P^T P + ridge n I)^{-1} P^T y = P^T (P P^T + ridge n I)^{-1} y``: the smaller of the two
    systems is solved. In single precision the solution is refined against residuals in double;
    where that does not settle it, the system is solved in double.

    Attributes
    ----------
    ridge
        The penalty, positive.

    Raises
    ------
    ValueError
        If the penalty is not positive.

    Examples
    --------
    >>> fit = Ridge(0.5).fit(jnp.eye(2), jnp.asarray([2.0, 4.0]))
    >>> fit.weights.round(5).tolist()
    [1.0, 2.0]
    """

    ridge: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        check_penalty(self.ridge)

    def fit(self, features: Float[Array, "n k"], y: Float[Array, " n"]) -> Fit:
        """The minimiser of mean loss plus penalty."""
        n, k = features.shape
        wide = jax.dtypes.canonicalize_dtype(np.float64)
        exact, labels, penalty = features.astype(wide), y.astype(wide), self.ridge.astype(wide) * n
        dual = k > n
        right = labels if dual else exact.T @ labels

        def apply(v: Array) -> Array:
            product = exact @ (exact.T @ v) if dual else exact.T @ (exact @ v)
            return product + penalty * v

        def solve(matrix: Array, refinements: int) -> tuple[Array, Array]:
            gram = matrix @ matrix.T if dual else matrix.T @ matrix
            shifted = gram + penalty.astype(gram.dtype) * jnp.eye(min(n, k), dtype=gram.dtype)
            factor = jax.scipy.linalg.cho_factor(shifted, lower=True)

            def solved(rest: Array) -> Array:
                return jax.scipy.linalg.cho_solve(factor, rest.astype(gram.dtype)).astype(wide)

            def unsettled(state: tuple[Array, Array]) -> Array:
                solution, change = state
                # so that NaN is unsettled too
                return ~(jnp.linalg.norm(change) <= _SETTLED * jnp.linalg.norm(solution))

            def refined(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
                def better() -> tuple[Array, Array]:
                    change = solved(right - apply(state[0]))
                    return state[0] + change, change

                return jax.lax.cond(unsettled(state), better, lambda: state)

            first = solved(right)
            state = jax.lax.fori_loop(0, refinements, refined, (first, first))
            return state[0], ~unsettled(state)

        if features.dtype == wide:
            solution, _ = solve(exact, 0)
        else:
            solution, settled = solve(features, _REFINEMENTS)
            solution = jax.lax.cond(settled, lambda: solution, lambda: solve(exact, 0)[0])
        weights = exact.T @ solution if dual else solution
        residual = jnp.mean((labels - exact @ weights) ** 2) / 2
        return Fit(weights, residual, residual + penalty / n * (weights @ weights) / 2)

    def loss(
        self, output: Float[Array, " n"], y: Float[Array, " n"], noise: Float[Array, ""]
    ) -> Float[Array, " n"]:
        """``((y - output)^2 + noise^2) / 2``."""
        return ((y - output) ** 2 + noise**2) / 2


class Logistic(eqx.Module):
    """Mean of ``log(1 + exp(-y f))`` for labels 1 and -1, plus ``ridge / 2 |w|^2``.

    By Newton's method with halved steps where a full one would not descend.

    Attributes
    ----------
    ridge
        The penalty, positive.

    Raises
    ------
    ValueError
        If the penalty is not positive.

    Examples
    --------
    >>> fit = Logistic(0.1).fit(jnp.asarray([[1.0], [-1.0]]), jnp.asarray([1.0, -1.0]))
    >>> w = float(fit.weights[0])
    >>> bool(abs(0.1 * w - 1 / (1 + np.exp(w))) < 1e-5)
    True
    """

    ridge: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        check_penalty(self.ridge)

    def fit(self, features: Float[Array, "n k"], y: Float[Array, " n"]) -> Fit:
        """The minimiser of mean loss plus penalty."""
        n, k = features.shape
        wide = jax.dtypes.canonicalize_dtype(np.float64)
        features, labels, penalty = (part.astype(wide) for part in (features, y, self.ridge))
        # Where samples are fewer, the weights are P^T v: n unknowns instead of k.
        dual = k > n
        gram = features @ features.T if dual else jnp.zeros(())

        def weights_of(v: Array) -> Array:
            return features.T @ v if dual else v

        def newton(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            v, value, count = state
            w = weights_of(v)
            margin = labels * (features @ w)
            slope = -labels * jax.nn.sigmoid(-margin) / n
            curvature = jax.nn.sigmoid(margin) * jax.nn.sigmoid(-margin) / n
            if dual:  # (C K + ridge I) step = -(slope + ridge v), freed of the common factor K
                system = curvature[:, None] * gram + penalty * jnp.eye(n, dtype=wide)
                step = -jnp.linalg.solve(system, slope + penalty * v)
            else:
                system = features.T @ (curvature[:, None] * features)
                system = system + penalty * jnp.eye(k, dtype=wide)
                step = -jnp.linalg.solve(system, features.T @ slope + penalty * v)
            along = weights_of(step)
            change = labels * (features @ along)
            sizes = 0.5 ** jnp.arange(_HALVINGS, dtype=wide)
            losses = jax.vmap(lambda size: jnp.mean(_logistic(margin + size * change)))(sizes)
            squares = w @ w + 2 * sizes * (w @ along) + sizes**2 * (along @ along)
            values = losses + penalty / 2 * squares
            best = jnp.argmin(values)
            descends = values[best] < value
            return (
                jnp.where(descends, v + sizes[best] * step, v),
                jnp.where(descends, values[best], value),
                jnp.where(descends, count + 1, _NEWTON_STEPS),
            )

        start = jnp.zeros(min(n, k), wide)
        nothing = jnp.mean(_logistic(features @ weights_of(start)))  # log 2, or NaN if a feature is
        state = (start, nothing, jnp.asarray(0))
        v, value, _ = jax.lax.while_loop(lambda s: s[2] < _NEWTON_STEPS, newton, state)
        weights = weights_of(v)
        return Fit(weights, value - penalty / 2 * (weights @ weights), value)

    def loss(
        self, output: Float[Array, " n"], y: Float[Array, " n"], noise: Float[Array, ""]
    ) -> Float[Array, " n"]:
        """``E log(1 + exp(-y (output + noise g)))``, a quadrature over g."""
        nodes, weights = (jnp.asarray(part, output.dtype) for part in (_NORMAL, _DENSITY))
        return _logistic(y[:, None] * (output[:, None] + (noise * nodes)[None])) @ weights


def _logistic(margin: Array) -> Array:
    return jax.nn.softplus(-margin)


def check_penalty(ridge: Float[Array, ""]) -> None:
    """Raise unless the penalty is a positive number (inside a compiled program nothing is known).

    Raises
    ------
    ValueError
        If it is not.
    """
    try:
        value = float(ridge)
    except jax.errors.ConcretizationTypeError:
        return
    if not 0 < value < np.inf:
        message = f"Expected a positive ridge penalty. Received: {value!r}. A tiny one is enough "
        message += "for interpolation."
        raise ValueError(message)
