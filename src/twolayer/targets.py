"""Target functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twolayer.activations.functions import Activation
from twolayer.inputs import check_finite, floats
from twolayer.language import parse_polynomial
from twolayer.numerics.rational import RationalPolynomial


class Polynomial(eqx.Module):
    """A polynomial ``h*(z)`` of the first p coordinates ``z`` of the input.

    Known by its monomials and by its Hermite symbol ``x -> E h*(x + z)``, whose coefficient at
    ``x^alpha`` is that of the product of ``He_alpha`` in ``h*``.

    Attributes
    ----------
    exponents, coefficients
        The monomials.
    symbol_exponents, symbol_coefficients
        The monomials of the symbol.
    dim
        The number p of coordinates it reads.
    exact
        The same polynomial over the rationals.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(Polynomial("z1 + z1*z2")(jnp.asarray([2.0, 3.0, 7.0])))
    8.0
    """

    exponents: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    coefficients: Float[Array | np.ndarray, " c"]
    symbol_exponents: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    symbol_coefficients: Float[Array | np.ndarray, " k"]
    dim: int = eqx.field(static=True)
    exact: RationalPolynomial = eqx.field(static=True)

    def __init__(self, polynomial: str | RationalPolynomial):
        exact = parse_polynomial(polynomial) if isinstance(polynomial, str) else polynomial
        symbol = exact.symbol()
        self.exact = exact
        self.dim = exact.dim
        self.exponents, self.coefficients = _arrays(exact)
        self.symbol_exponents, self.symbol_coefficients = _arrays(symbol)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """Its value at one input, of which it reads the first ``dim`` coordinates.

        Raises
        ------
        ValueError
            If the input has fewer coordinates.
        """
        self.check_reads(x.shape[-1])
        return evaluate_monomials(self.exponents, self.coefficients, x)

    def check_reads(self, dim: int) -> None:
        """Raise unless inputs of `dim` coordinates are enough.

        Raises
        ------
        ValueError
            If the polynomial reads more coordinates than that: indexing would repeat the last.
        """
        if dim < self.dim:
            message = f"Expected inputs of at least {self.dim} coordinates. Received: {dim}."
            raise ValueError(message)

    @property
    def degree(self) -> int:
        """The degree n."""
        return max(map(sum, self.exponents), default=0)

    @property
    def second_moment(self) -> Float[Array, ""]:
        """``E h*(z)^2 = sum_alpha alpha! c_alpha^2`` under the standard normal law."""
        factorials = [math.prod(map(math.factorial, alpha)) for alpha in self.symbol_exponents]
        coefficients = jnp.asarray(self.symbol_coefficients)
        return jnp.sum(coefficients**2 * jnp.asarray(factorials, coefficients.dtype))

    def symbol_parts(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        """The homogeneous parts of the Hermite symbol at ``w``, by degree 0, ..., n."""
        parts = []
        for degree in range(self.degree + 1):
            chosen = [k for k, alpha in enumerate(self.symbol_exponents) if sum(alpha) == degree]
            exponents = tuple(self.symbol_exponents[k] for k in chosen)
            coefficients = jnp.asarray(self.symbol_coefficients)[jnp.asarray(chosen, int)]
            parts.append(evaluate_monomials(exponents, coefficients, w))
        return jnp.stack(parts)


class SingleIndex(eqx.Module):
    """``h*(x) = link(direction . x)``.

    Attributes
    ----------
    direction
        The vector ``xi``; its length is part of the function.
    link
        The function ``sigma_*`` of one variable.

    Raises
    ------
    ValueError
        If the direction is not finite.

    Examples
    --------
    >>> from twolayer.activations import relu
    >>> float(SingleIndex(jnp.asarray([0.0, 2.0]), relu)(jnp.asarray([5.0, 3.0])))
    6.0
    """

    direction: Float[Array, " d"] = eqx.field(converter=floats)
    link: Activation

    def __check_init__(self):
        check_finite(direction=self.direction)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """Its value at one input."""
        return self.link(self.direction.astype(x.dtype) @ x)


class Parity(eqx.Module):
    """``h*(x) = prod_{i in coordinates} x_i``, on the hypercube the parity of these coordinates.

    Attributes
    ----------
    coordinates
        Their numbers, counted from 0.

    Raises
    ------
    ValueError
        If they are none, repeated, or not whole numbers from 0 on.

    Examples
    --------
    >>> float(Parity((0, 2))(jnp.asarray([-1.0, 1.0, 1.0])))
    -1.0
    """

    coordinates: tuple[int, ...] = eqx.field(static=True, converter=tuple)

    def __check_init__(self):
        good = all(isinstance(i, int) and not isinstance(i, bool) for i in self.coordinates)
        if (
            not good
            or min(self.coordinates, default=-1) < 0
            or len(set(self.coordinates)) < len(self.coordinates)
        ):
            message = "Expected different coordinates, counted from 0, like (0, 2). "
            message += f"Received: {self.coordinates!r}."
            raise ValueError(message)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """Its value at one input.

        Raises
        ------
        ValueError
            If the input has too few coordinates: indexing would repeat the last.
        """
        if max(self.coordinates) >= x.shape[-1]:
            message = f"Expected inputs of at least {max(self.coordinates) + 1} coordinates. "
            message += f"Received: {x.shape[-1]}."
            raise ValueError(message)
        return jnp.prod(x[np.asarray(self.coordinates)])


class MultiIndex(eqx.Module):
    """``h*(x) = link(directions x)``: a function of k projections of the input.

    Attributes
    ----------
    directions
        Orthonormal vectors, one a row.
    link
        The function of the k projections.

    Raises
    ------
    ValueError
        If the directions are not finite or not orthonormal.

    Examples
    --------
    >>> float(MultiIndex(jnp.eye(3)[:2], sign_product)(jnp.asarray([2.0, -1.0, 5.0])))
    -1.0
    """

    directions: Float[Array, "k d"] = eqx.field(converter=floats)
    link: Callable[[Array], Array]

    def __check_init__(self):
        check_finite(directions=self.directions)
        if self.directions.ndim != 2 or not self.directions.size:
            message = "Expected one direction a row. "
            message += f"Received: an array of shape {self.directions.shape}."
            raise ValueError(message)
        try:
            directions = np.asarray(self.directions, np.float64)
        except jax.errors.TracerArrayConversionError:  # made inside a compiled function
            return
        gram = directions @ directions.T
        if np.max(np.abs(gram - np.eye(gram.shape[0]))) > 1e-4:
            message = "Expected orthonormal directions. Received: others; orthonormalise them "
            message += "and let the link take up the difference."
            raise ValueError(message)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """Its value at one input."""
        return self.link(self.directions.astype(x.dtype) @ x)


def sign_product(z: Float[Array, " k"]) -> Float[Array, ""]:
    """``sign(z_1 ... z_k)``, and 1 at 0, so that it is always a label.

    Examples
    --------
    >>> float(sign_product(jnp.asarray([-2.0, 3.0])))
    -1.0
    """
    return jnp.where(jnp.prod(jnp.sign(z)) < 0, -1.0, 1.0).astype(z.dtype)


def halfspace(direction: Float[Array | np.ndarray, "..."] | list[float]) -> MultiIndex:
    """``h*(x) = sign <direction, x>``; the direction's length does not matter.

    Raises
    ------
    ValueError
        If the direction is zero, not finite, or no vector.

    Examples
    --------
    >>> float(halfspace(jnp.asarray([0.0, -3.0]))(jnp.asarray([5.0, 2.0])))
    -1.0
    """
    direction = np.asarray(direction, np.float64)
    length = np.linalg.norm(direction)
    if direction.ndim != 1 or not 0 < length < np.inf:
        message = "Expected a direction: a finite vector that is not zero. "
        message += f"Received: shape {direction.shape}, length {length:g}."
        raise ValueError(message)
    return MultiIndex(floats(direction / length)[None], sign_product)  # type: ignore[arg-type]


def _arrays(exact: RationalPolynomial) -> tuple[tuple[tuple[int, ...], ...], np.ndarray]:
    exponents = tuple(sorted(exact.terms))
    if any(abs(coefficient) > 10**308 for coefficient in exact.terms.values()):
        message = "Expected a polynomial with coefficients below 1e308: scale it."
        raise ValueError(message)
    return exponents, np.asarray([float(exact.terms[alpha]) for alpha in exponents])


def evaluate_monomials(
    exponents: tuple[tuple[int, ...], ...],
    coefficients: Float[Array | np.ndarray, " c"],
    x: Float[Array, " d"],
) -> Float[Array, ""]:
    """``sum_alpha c_alpha x^alpha``, its powers of each coordinate shared.

    Examples
    --------
    >>> float(evaluate_monomials(((2,), (0,)), jnp.asarray([3.0, 1.0]), jnp.asarray([4.0])))
    49.0
    """
    powers: dict[tuple[int, int], Array] = {}
    total = jnp.zeros((), x.dtype)
    for k, alpha in enumerate(exponents):
        term = jnp.asarray(coefficients[k], x.dtype)
        for i, exponent in enumerate(alpha):
            for e in range(2, exponent + 1):
                if (i, e) not in powers:
                    powers[i, e] = powers.get((i, e - 1), x[i]) * x[i]
            if exponent:
                term = term * powers.get((i, exponent), x[i])
        total = total + term
    return total
