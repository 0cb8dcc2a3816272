"""Dropout under torch's names and arguments.

Masks come from the default generator. Nothing is kept for the backward pass, which draws the same numbers again.
"""

from __future__ import annotations

import warnings
from typing import Any

from fastnn import ops
from fastnn.errors import DTypeError, ShapeError
from fastnn.random import default_generator
from fastnn.tensor import Tensor, as_tensor


def drop(
    name: str, input: Any, p: float, training: bool, inplace: bool, *, features: bool = False, alpha: bool = False
) -> Tensor:
    """Dropout of elements or, with `features`, of all that agree in their first two indices."""
    p = check_probability(name, p)
    x: Tensor = as_tensor(input)
    if not training or p == 0:
        return x
    if x.dtype.kind not in "fc":
        raise DTypeError(f"{name}: input must be of a floating dtype, got {x.dtype}")
    if features and x.ndim < 2:
        raise ShapeError(f"{name}: input must have at least 2 axes, got shape {x.shape}")
    op = ops.alpha_dropout if alpha else ops.dropout
    result: Tensor = op(x, 2 if features else 0, p, *default_generator.cells())
    return replaced(name, x, result) if inplace else result


def check_probability(name: str, p: Any) -> float:
    """`p` as a float; ValueError where it is no probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must lie from 0 to 1, got {p}")
    return float(p)


def replaced(name: str, x: Tensor, result: Tensor) -> Tensor:
    """Overwrite a Tensor with what was made of it, on the tape or past it."""
    from fastnn.functions import overwriting

    given: Tensor = overwriting(name, lambda _: result)(x)
    return given


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p` and multiply the others by ``1 / (1 - p)``; `input` unless `training`.

    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 2014.

    Raises
    ------
    ValueError : `p` is no probability. DTypeError : `input` holds integers.
    """
    return drop("dropout", input, p, training, inplace)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Let each element fall with probability `p` to where selu saturates, and keep mean and variance.

    Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017.
    """
    return drop("alpha_dropout", input, p, training, inplace, alpha=True)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """As `alpha_dropout`, but all elements of a channel (N, C, ...) fall together."""
    return drop("feature_alpha_dropout", input, p, training, inplace, features=True, alpha=True)


def _channels(name: str, input: Any, p: float, training: bool, inplace: bool, batched: int) -> Tensor:
    """Dropout of whole channels; `input` has `batched` axes, or lacks the first of them."""
    x: Tensor = as_tensor(input)
    if x.ndim == batched:
        return drop(name, x, p, training, inplace, features=True)
    lifted = x.unsqueeze(0)
    result = drop(name, lifted, p, training, False, features=True)
    if result is lifted:
        return x
    result = result.squeeze(0)
    return replaced(name, x, result) if inplace else result


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of (N, C, L) or (C, L) with probability `p` and multiply the others by ``1 / (1 - p)``."""
    check_probability("dropout1d", p)
    axes = as_tensor(input).ndim
    if axes not in (2, 3):
        raise ShapeError(f"dropout1d: input must have 2 or 3 axes, (C, L) or (N, C, L), got {axes}")
    return _channels("dropout1d", input, p, training, inplace, 3)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of (N, C, H, W) with probability `p` and multiply the others by ``1 / (1 - p)``.

    As in torch, three axes are (N, C, L), with a warning; four are meant.
    """
    return _of_images("dropout2d", input, p, training, inplace, (3, 4))


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of (N, C, D, H, W) with probability `p` and multiply the others by ``1 / (1 - p)``."""
    return _of_images("dropout3d", input, p, training, inplace, (4, 5))


def _of_images(name: str, input: Any, p: float, training: bool, inplace: bool, expected: tuple[int, int]) -> Tensor:
    check_probability(name, p)
    x: Tensor = as_tensor(input)
    if x.ndim not in expected:
        warnings.warn(
            f"{name}: input should have {expected[0]} or {expected[1]} axes, got shape {x.shape}; "
            "the first two are taken for samples and channels",
            UserWarning,
            stacklevel=3,
        )
    elif name == "dropout2d" and x.ndim == 3:
        warnings.warn(
            "dropout2d: three axes are taken for (N, C, L), not (C, H, W); use dropout1d for the former",
            UserWarning,
            stacklevel=3,
        )
    return drop(name, x, p, training, inplace, features=True)
