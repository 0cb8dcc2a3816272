"""Maps from matrices to matrices with orthonormal columns, each with its gradient, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray
# What a map gives: the matrix, and the function that carries its gradient back.
Mapped = tuple[Array, Callable[[Array], Array]]

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_BOUND = 5.371920351148152  # of the 1-norm, up to which the approximant is exact to double precision


def transposed(x: Array) -> Array:
    """The last two axes swapped."""
    return x.swapaxes(-2, -1)


def expm(a: Array) -> Array:
    """The exponential of square matrices (..., n, n), in float64.

    Source: N. J. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005.
    """
    a = np.asarray(a, np.float64)
    norm = float(np.abs(a).sum(axis=-2).max(initial=0.0))
    squarings = max(0, math.ceil(math.log2(norm / _BOUND))) if 0 < norm < math.inf else 0
    a = a / 2.0**squarings
    b, one = _PADE, np.eye(a.shape[-1])
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    u = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    v = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    result: Array = np.linalg.solve(v - u, v + u)
    for _ in range(squarings):
        result = result @ result
    return result


def _expm_gradient(a: Array, g: Array) -> Array:
    """The gradient of `expm` at `a`: the derivative at its transpose in direction `g`, from a matrix of twice the size.

    Source: R. Mathias, "A chain rule for matrix functions and applications", 1996.
    """
    n = a.shape[-1]
    double = np.zeros((*a.shape[:-2], 2 * n, 2 * n))
    double[..., :n, :n] = double[..., n:, n:] = transposed(a)
    double[..., :n, n:] = g
    return expm(double)[..., :n, n:]


def _skew(x: Array) -> Array:
    """The skew-symmetric matrices (..., n, n) of the lower triangles of x (..., n, k), k <= n."""
    n, k = x.shape[-2:]
    lower = np.zeros((*x.shape[:-2], n, n))
    lower[..., :k] = np.tril(x)
    return lower - transposed(lower)


def _skew_gradient(g: Array, k: int) -> Array:
    return np.tril((g - transposed(g))[..., :k])


def _widened(g: Array) -> Array:
    n, k = g.shape[-2:]
    full = np.zeros((*g.shape[:-2], n, n))
    full[..., :k] = g
    return full


def exponential(x: Array) -> Mapped:
    """The first k columns of the exponential of x's skew-symmetric matrix."""
    k = x.shape[-1]
    a = _skew(x)
    return expm(a)[..., :k], lambda g: _skew_gradient(_expm_gradient(a, _widened(g)), k)


def cayley(x: Array) -> Mapped:
    """The first k columns of ``(1 - a/2)^-1 (1 + a/2)``, a being x's skew-symmetric matrix."""
    k = x.shape[-1]
    a = _skew(x)
    one = np.eye(a.shape[-1])
    q = np.linalg.solve(one - a / 2, one + a / 2)

    def back(g: Array) -> Array:
        inner = np.linalg.solve(transposed(one - a / 2), _widened(g))
        return _skew_gradient(inner @ transposed(q + one) / 2, k)

    return q[..., :k], back


def householder(x: Array) -> Mapped:
    """The product of the reflections given by x's columns below the diagonal, columns signed by the diagonal."""
    x = np.asarray(x, np.float64)
    n, k = x.shape[-2:]
    below = np.tril(x, -1)
    vectors = below + np.eye(n, k)
    tau = 2.0 / (vectors * vectors).sum(axis=-2)
    signs = np.trunc(np.diagonal(x, axis1=-2, axis2=-1))[..., None, :]

    def reflected(i: int, p: Array) -> Array:
        v = vectors[..., i, None]
        return p - tau[..., i, None, None] * v * (transposed(v) @ p)

    q = np.broadcast_to(np.eye(n, k), x.shape)
    for i in reversed(range(k)):
        q = reflected(i, q)
    product = q

    def back(g: Array) -> Array:
        g, p, result = g * signs, product, np.zeros_like(x)
        for i in range(k):
            p = reflected(i, p)  # reflections undo themselves: the product without the first i + 1
            v, a, t = vectors[..., i, None], below[..., i, None], tau[..., i, None, None]
            inner = g @ (transposed(p) @ v)
            dv = -t * (inner + p @ (transposed(g) @ v))
            dt = -(transposed(v) @ inner)
            result[..., i, None] = dv - dt * t * t * a
            g = reflected(i, g)
        return np.tril(result, -1)

    return product * signs, back


def nearest(a: Array) -> Array:
    """The orthonormal factor of tall matrices whose triangular factor has a positive diagonal."""
    q, r = np.linalg.qr(a)
    q = q * np.copysign(1.0, np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return np.asarray(q)


def reflectors(q: Array) -> Array:
    """A matrix (..., n, k) that `householder` maps to the orthonormal `q` (as `nearest` makes it of any other)."""
    packed, tau = np.linalg.qr(q, mode="raw")
    result: Array = transposed(packed).copy()
    diagonal = np.arange(result.shape[-1])
    signs = np.copysign(1.0, result[..., diagonal, diagonal])
    result[..., diagonal, diagonal] = np.where(tau == 0, -signs, signs)
    return result


MAPS: dict[str, Callable[[Array], Mapped]] = {
    "matrix_exp": exponential,
    "cayley": cayley,
    "householder": householder,
}
