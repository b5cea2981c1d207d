"""Gradients from some of the samples at each step, with or without a control variate."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray


class Minibatch(eqx.Module):
    r"""Each step's gradient from a few samples, drawn afresh.

    With ``variance_reduction="svrg"`` the gradient is

    .. math:: \nabla_B(X) - \nabla_B(X_\mathrm{ref}) + \nabla(X_\mathrm{ref}),

    where the reference becomes the current particles every `refresh` steps (the estimator of
    johnson2013accelerating). Both are unbiased; weight decay is never sampled.

    Attributes
    ----------
    size
        Samples of a step.
    replacement
        Whether one may come twice. Without replacement the gradient's variance is smaller, by
        the factor ``(n - size) / (n - 1)``, but a step ranks all n.
    variance_reduction
        ``None`` or ``"svrg"``, which takes two gradients of a batch a step.
    refresh
        Steps between two full gradients of SVRG.

    Raises
    ------
    ValueError
        If a number is not a positive whole number, or the variance reduction is unknown.
    """

    size: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True, default=True)
    variance_reduction: str | None = eqx.field(static=True, default=None)
    refresh: int = eqx.field(static=True, default=100)

    def __check_init__(self):
        check_counts(size=self.size, refresh=self.refresh)
        if self.variance_reduction not in {None, "svrg"}:
            message = "Expected variance_reduction to be None or 'svrg'. "
            message += f"Received: {self.variance_reduction!r}."
            raise ValueError(message)

    @property
    def anchored(self) -> bool:
        """Whether there is a reference."""
        return self.variance_reduction is not None

    def draw(self, num_samples: int, *, key: PRNGKeyArray) -> Int[Array, " b"]:
        """The samples of one step."""
        if self.replacement:
            return jax.random.randint(key, (self.size,), 0, num_samples)
        # The samples of the largest random words: of n words two agree with odds n^2 / 2^33.
        return jax.lax.top_k(jax.random.bits(key, (num_samples,)), self.size)[1]


def check_counts(**counts: object) -> None:
    """Raise unless every named count is a positive whole number, which True is not.

    Raises
    ------
    ValueError
        Naming the first that is not.
    """
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            message = f"Expected {name} to be a whole number of at least 1. Received: {count!r}."
            raise ValueError(message)


def counts_of(rows: Int[Array, " b"], num_samples: int) -> Int[Array, " n"]:
    """How often each sample was drawn."""
    return jnp.zeros(num_samples, jnp.int32).at[rows].add(1)
