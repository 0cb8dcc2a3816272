"""Reductions under torch's names and arguments.

Each takes ``input`` of any shape, ``dim`` (an int or several; None or none at all: every axis) and ``keepdim`` (keep
the reduced axes with length 1). Axes that are not there raise IndexError, repeated ones ShapeError.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn import functions, ops
from fastnn._numpy_views import dim_argument
from fastnn._runtime.tensor import TensorBase, derived
from fastnn.errors import ShapeError
from fastnn.functions import results
from fastnn.functions.arguments import floats_of, input_of, into
from fastnn.functions.results import axis_of, call, pair, plain
from fastnn.ops import extremes, folds, moments
from fastnn.ops.reduction import summed_axes
from fastnn.tensor import Tensor

# -- sums


def _summable(name: str, input: Any, dtype: Any) -> Tensor:
    """The input in `dtype`, by default integers and bools as int64."""
    x = input_of(name, input)
    if dtype is None:
        dtype = np.int64 if x.dtype.kind in "biu" else x.dtype
    return x.to(dtype=dtype) if x.dtype != dtype else x


def _as(result: Tensor, x: Tensor) -> Tensor:
    """A result in the dtype of what was reduced: NumPy adds small integers up in larger ones."""
    return result.to(dtype=x.dtype) if result.dtype.kind in "iu" and result.dtype != x.dtype else result


def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Sum over `dim`. Integers and bools add up as int64; `dtype`: what to convert to first."""
    if dim is None and dtype is None and out is None and isinstance(input, Tensor) and input.dtype.kind == "f":
        return ops.sum(input, keepdims=True) if keepdim else ops.sum(input)
    x = _summable("sum", input, dtype)
    return _as(call(ops.sum, x, out, axis=dim_argument(dim), keepdims=keepdim), x)


def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Mean over `dim`, NaN over no elements.

    Raises
    ------
    DTypeError : integers, unless `dtype` (what to convert to first) is a floating one.
    """
    return call(ops.mean, floats_of("mean", input, dtype), out, axis=dim_argument(dim), keepdims=keepdim)


def _without_nan(name: str, x: Tensor) -> tuple[Tensor, np.ndarray]:
    """The input with 0 for NaN, and where NaN was."""
    missing = np.isnan(x.array)
    array = np.where(missing, x.array.dtype.type(0), x.array)
    return derived(x, array, name, lambda g: np.where(missing, g.dtype.type(0), g), False), missing


def nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Sum over `dim` of the elements that are not NaN."""
    x = input_of("nansum", input)
    if x.dtype.kind == "f":
        x, _ = _without_nan("nansum", x)
    return sum(x, dim, keepdim, dtype=dtype, out=out)


def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Mean over `dim` of the elements that are not NaN; NaN where all are."""
    x, missing = _without_nan("nanmean", floats_of("nanmean", input, dtype))
    axis = summed_axes("nanmean", dim_argument(dim), x.ndim)
    count = np.asarray((~missing).sum(axis=axis, keepdims=keepdim)).astype(x.dtype)
    return into("nanmean", ops.divide(sum(x, dim, keepdim), plain(count)), out)


def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Tensor:
    """Product over `dim`. Integers and bools multiply as int64; `dtype`: what to convert to first."""
    x = _summable("prod", input, dtype)
    return _as(call(folds.prod, x, out, axis=dim, keepdims=keepdim), x)


# -- moments


def _correction(name: str, dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    """Torch's two ways of naming what is subtracted from the number of elements."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}: unbiased and correction cannot both be given")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim_argument(dim), correction


def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Any = None,
) -> Tensor:
    """Variance over `dim`: the sum of squared distances from the mean over ``max(0, n - correction)``.

    ``unbiased`` True (the default) and False stand for a `correction` of 1 and 0.
    """
    axis, ddof = _correction("var", dim, unbiased, correction)
    return call(moments.var, floats_of("var", input), out, axis=axis, ddof=ddof, keepdims=keepdim)


def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Any = None,
) -> Tensor:
    """Standard deviation over `dim`, the root of `var`."""
    axis, ddof = _correction("std", dim, unbiased, correction)
    return call(moments.std, floats_of("std", input), out, axis=axis, ddof=ddof, keepdims=keepdim)


def _with_mean(
    name: str, op: Any, input: Any, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None, out: Any
) -> tuple[Tensor, Tensor]:
    """A moment and the mean over `dim`."""
    axis, ddof = _correction(name, dim, unbiased, correction)
    first, second = (None, None) if out is None else out
    x = floats_of(name, input)
    return (
        into(name, op(x, axis=axis, ddof=ddof, keepdims=keepdim), first),
        into(name, ops.mean(x, axis=axis, keepdims=keepdim), second),
    )


def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Any = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean over `dim`, see `var`."""
    return _with_mean("var_mean", moments.var, input, dim, unbiased, keepdim, correction, out)


def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Any = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over `dim`, see `var`."""
    return _with_mean("std_mean", moments.std, input, dim, unbiased, keepdim, correction, out)


# -- extremes


def amax(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Tensor:
    """Largest elements over `dim`, NaN if there is one; equal ones share the gradient evenly."""
    return call(folds.max, input_of("amax", input), out, axis=dim_argument(dim), keepdims=keepdim)


def amin(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Tensor:
    """Smallest elements over `dim`, NaN if there is one; equal ones share the gradient evenly."""
    return call(folds.min, input_of("amin", input), out, axis=dim_argument(dim), keepdims=keepdim)


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """Smallest and largest elements along `dim` or over all: a tuple (min, max)."""
    x = input_of("aminmax", input)
    axis = None if dim is None else axis_of("aminmax", dim, x)
    if x.ndim == 0:
        axis = None
    first, second = (None, None) if out is None else out
    return results.aminmax(
        into("aminmax", folds.min(x, axis=axis, keepdims=keepdim), first),
        into("aminmax", folds.max(x, axis=axis, keepdims=keepdim), second),
    )


def _extreme(name: str, input: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`max` and `min`, whose meaning depends on what comes second."""
    x = input_of(name, input)
    out = options.pop("out", None)
    other = options.pop("other", args[0] if args and isinstance(args[0], (TensorBase, np.ndarray)) else None)
    if other is not None:
        if options:
            raise TypeError(f"{name}: unexpected arguments beside other: {', '.join(options)}")
        return functions.find(f"{name}imum")(x, other, out=out)
    named = dict(zip(("dim", "keepdim"), args, strict=False))
    if len(args) > 2 or named.keys() & options.keys() or options.keys() - {"dim", "keepdim"}:
        raise TypeError(f"{name}: takes (input), (input, dim, keepdim=False) or (input, other), got {args} {options}")
    named |= options
    if named.get("dim") is None:
        if named.get("keepdim"):
            raise TypeError(f"{name}: keepdim needs a dim")
        return call(getattr(folds, name), x, out)
    axis = axis_of(name, named["dim"], x)
    op = extremes.max_at if name == "max" else extremes.min_at
    return pair(name, out, *op(x, axis=axis, keepdims=bool(named.get("keepdim", False))))


def max(input: Any, *args: Any, **options: Any) -> Any:
    """``max(input)``, ``max(input, dim, keepdim=False)`` or ``max(input, other)``.

    The largest of all elements (equal ones share the gradient evenly); or a tuple (values, indices) of the largest
    along `dim` and the places of the first such ones, where the gradient goes; or, element by element, the larger of
    two. NaN is larger than any number.
    """
    if not args and not options and isinstance(input, Tensor):
        return folds.max(input)
    return _extreme("max", input, args, options)


def min(input: Any, *args: Any, **options: Any) -> Any:
    """``min(input)``, ``min(input, dim, keepdim=False)`` or ``min(input, other)``; see `max`. NaN comes before all."""
    if not args and not options and isinstance(input, Tensor):
        return folds.min(input)
    return _extreme("min", input, args, options)


def _place(op: Any, input: Any, dim: int | None, keepdim: bool, out: Any) -> Tensor:
    x = input_of(op.name, input)
    axis = None if dim is None or x.ndim == 0 else axis_of(op.name, dim, x)
    if dim is not None and x.ndim == 0:
        axis_of(op.name, dim, x)
    return into(op.name, op(x, axis=axis, keepdims=keepdim), out)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """Place of the largest element along `dim` or among all (int64): the first of equal ones, the first NaN if any."""
    return _place(extremes.argmax, input, dim, keepdim, out)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """Place of the smallest element along `dim` or among all (int64): the first of equal ones, the first NaN if any."""
    return _place(extremes.argmin, input, dim, keepdim, out)


# -- truth


def _truth(name: str, function: Any, input: Any, dim: Any, keepdim: bool, out: Any) -> Tensor:
    x = input_of(name, input)
    found = function(x.array, axis=summed_axes(name, dim_argument(dim), x.ndim), keepdims=keepdim)
    result = np.uint8 if x.dtype == np.uint8 else np.bool_
    return into(name, plain(np.asarray(found, result)), out)


def any(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """Whether an element over `dim` is not 0 (NaN is not): bools, or uint8 for uint8."""
    return _truth("any", np.any, input, dim, keepdim, out)


def all(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """Whether all elements over `dim` are not 0: bools, or uint8 for uint8."""
    return _truth("all", np.all, input, dim, keepdim, out)


def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """How many elements over `dim` are not 0 (int64)."""
    x = input_of("count_nonzero", input)
    axis = summed_axes("count_nonzero", dim_argument(dim), x.ndim)
    return plain(np.asarray((x.array != 0).sum(axis=axis), np.int64))


# -- norms


def logsumexp(input: Any, dim: Any, keepdim: bool = False, *, out: Any = None) -> Tensor:
    """``log(sum(exp(input)))`` over `dim`, without overflow. Integers become float32."""
    x = input_of("logsumexp", input)
    return call(folds.logsumexp, x, out, axis=dim_argument(dim), keepdims=keepdim)


def norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None
) -> Tensor:
    """Norm of the elements over `dim` as of one vector: ``sum(|x| ** p) ** (1 / p)``.

    `p`: a number, inf, -inf, 0, ``"fro"`` (2), or ``"nuc"`` (the sum of singular values, over two axes).
    """
    if p == "nuc":
        from fastnn.functions.norms import matrix_norm

        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    x = floats_of("norm", input, dtype)
    order = 2.0 if p is None or p == "fro" else p
    return call(folds.norm, x, out, ord=order, axis=dim_argument(dim), keepdims=keepdim)


def dist(input: Any, other: Any, p: float = 2) -> Tensor:
    """The `p`-norm of ``input - other``, broadcast."""
    return folds.norm(ops.subtract(input_of("dist", input), input_of("dist", other)), ord=p)


def renorm(input: Any, p: float, dim: int, maxnorm: float, *, out: Any = None) -> Tensor:
    """Scale each slice along `dim` whose `p`-norm is larger than `maxnorm` down to it."""
    x = floats_of("renorm", input)
    axis = axis_of("renorm", dim, x)
    if p <= 0 or maxnorm < 0:
        raise ValueError(f"renorm: p must be positive and maxnorm not negative, got {p} and {maxnorm}")
    others = tuple(a for a in range(x.ndim) if a != axis)
    size = folds.norm(x, ord=p, axis=others, keepdims=True)
    large = size.array > maxnorm
    factor = np.where(large, maxnorm / (size.array + 1e-7), 1).astype(x.dtype)

    def back(g: np.ndarray) -> np.ndarray:
        return np.where(large, -g * maxnorm / (size.array + 1e-7) ** 2, 0).astype(g.dtype)

    return into("renorm", ops.multiply(x, derived(size, factor, "renorm", back, False)), out)


# -- moments of rows against each other


def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Covariances of the rows of `input` (variables, observations), shape (variables, variables); a vector is one row.

    `fweights` (int) and `aweights`: how often, and with what weight, each observation counts.
    """
    x = input_of("cov", input)
    if x.ndim > 2:
        raise ShapeError(f"cov: input must have at most 2 axes, got shape {x.shape}")
    if x.dtype.kind != "f":
        x = x.to(dtype=np.float32)
    x = x.reshape(1, -1) if x.ndim < 2 else x
    count = x.shape[1]
    weights, average = None, None
    for argument, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        own = input_of("cov", given)
        if own.shape != (count,):
            raise ShapeError(f"cov: {argument} must have shape ({count},), got {own.shape}")
        if own.dtype != x.dtype:
            own = own.to(dtype=x.dtype)
        average = own if argument == "aweights" else average
        weights = own if weights is None else ops.multiply(weights, own)
    if weights is None:
        centered = ops.subtract(x, ops.mean(x, axis=1, keepdims=True))
        product, divisor = ops.matmul(centered, centered.T), plain(np.asarray(count - correction, x.dtype))
    else:
        total = ops.sum(weights)
        centered = ops.subtract(x, ops.divide(ops.sum(ops.multiply(x, weights), axis=1, keepdims=True), total))
        product = ops.matmul(centered, ops.multiply(centered, weights).T)
        lost = total if average is None else ops.sum(ops.multiply(weights, average))
        divisor = ops.subtract(total, ops.multiply(ops.divide(lost, total), float(correction)))
    if divisor.array <= 0:
        warnings.warn("cov: the correction leaves no degrees of freedom", UserWarning, stacklevel=2)
        divisor = ops.multiply(divisor, 0.0)
    result = ops.divide(product, divisor)
    return result.reshape(()) if result.shape == (1, 1) else result


def corrcoef(input: Any) -> Tensor:
    """Pearson's correlation of the rows of `input`, within -1 and 1; see `cov`."""
    covariance = cov(input)
    if covariance.ndim == 0:
        return ops.divide(covariance, covariance)
    n = covariance.shape[0]
    diagonal = covariance.reshape(-1)[:: n + 1]
    scale = ops.sqrt(diagonal)
    ratio = ops.divide(ops.divide(covariance, scale.reshape(n, 1)), scale.reshape(1, n))
    inside = np.clip(ratio.array, -1, 1)
    return derived(ratio, inside, "clip", lambda g: np.where(np.abs(ratio.array) <= 1, g, 0).astype(g.dtype), False)


__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "corrcoef",
    "count_nonzero",
    "cov",
    "dist",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "norm",
    "prod",
    "renorm",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]
