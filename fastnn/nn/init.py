"""Initial values: functions that fill a Tensor in place and return it, with torch's names and arguments.

Nothing here is recorded. `generator` is a NumPy or fastnn generator; the default one is that of `fastnn.manual_seed`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.tensor import Tensor


def _source(generator: Any) -> Any:
    """What draws: `generator`, or the default one, as a generator of NumPy's."""
    from fastnn.random import default_generator

    source = default_generator if generator is None else generator
    return source.numpy() if hasattr(source, "numpy") else source


def draw_uniform(shape: tuple[int, ...], low: float, high: float, generator: Any = None) -> np.ndarray:
    """Numbers from U(low, high), in C order of `shape`."""
    return np.asarray(_source(generator).uniform(low, high, size=shape))


def draw_normal(shape: tuple[int, ...], mean: float, std: float, generator: Any = None) -> np.ndarray:
    """Numbers from N(mean, std²), in C order of `shape`."""
    return np.asarray(_source(generator).normal(mean, std, size=shape))


def draw_order(count: int, generator: Any = None) -> np.ndarray:
    """The numbers from 0 to count - 1 in random order."""
    return np.argsort(draw_uniform((count,), 0.0, 1.0, generator), kind="stable")


def _fill(tensor: Tensor, values: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"init: tensor must be a Tensor, got {type(tensor).__name__}")
    np.copyto(tensor.array, values, casting="unsafe")
    tensor._touch()
    return tensor


def _drawn(tensor: Tensor, distribution: str, first: float, second: float, generator: Any) -> Tensor:
    """Fill from a ``uniform`` between two numbers, or a ``normal`` of a mean and a standard deviation."""
    if isinstance(generator, np.random.Generator):
        return _fill(tensor, getattr(generator, distribution)(first, second, size=tensor.shape))
    from fastnn.functions._draws import draw

    draw(distribution, tensor.array, generator, float(first), float(second))
    tensor._touch()
    return tensor


def _floating(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: tensor must be a Tensor, got {type(tensor).__name__}")
    if tensor.dtype.kind != "f":
        raise TypeError(f"{name}: tensor must have a floating dtype, got {tensor.dtype}")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's inputs should be scaled up, as torch recommends it.

    Parameters
    ----------
    nonlinearity : a name in `fastnn.nn.functional`.
    param : the negative slope of ``leaky_relu`` (default 0.01).
    """
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}: expected leaky_relu or one of {', '.join(_GAINS)}")
    if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
        raise ValueError(f"calculate_gain: negative slope {param!r} must be a number")
    slope = 0.01 if param is None else param
    return math.sqrt(2.0 / (1 + slope**2))


_GAINS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"), 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from U(a, b)."""
    _floating("uniform_", tensor)
    if a > b:
        raise ValueError(f"uniform_: a must not exceed b, got {a} and {b}")
    return _drawn(tensor, "uniform", a, b, generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from N(mean, std²)."""
    _floating("normal_", tensor)
    if std < 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    return _drawn(tensor, "normal", mean, std, generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fill from N(mean, std²) within [a, b]: what falls outside is drawn again."""
    _floating("trunc_normal_", tensor)
    if std < 0 or a > b:
        raise ValueError(f"trunc_normal_: std must not be negative, nor a above b, got {std}, {a}, {b}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_: mean {mean} is more than 2 std from [{a}, {b}]; the values may be off", stacklevel=2
        )
    return _fill(tensor, _truncated(tensor.shape, mean, std, a, b, _source(generator)))


def _truncated(shape: tuple[int, ...], mean: float, std: float, a: float, b: float, source: Any) -> np.ndarray:
    """Exact by rejection: from the normal where that mostly falls inside, else from the uniform under its density."""
    count = math.prod(shape)
    if std == 0:
        return np.full(shape, min(max(mean, a), b))
    low, high = (a - mean) / std, (b - mean) / std
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    result = np.empty(count)
    done = 0
    peak = min(max(0.0, low), high)  # where the density within is greatest
    while done < count:
        if inside > 0.25:
            drawn = draw_normal((count - done,), 0.0, 1.0, source)
            drawn = drawn[(drawn >= low) & (drawn <= high)]
        elif math.isfinite(low) and math.isfinite(high) and high - low < 4 / max(1.0, abs(peak)):
            drawn = draw_uniform((count - done,), low, high, source)
            kept = draw_uniform((count - done,), 0.0, 1.0, source) <= np.exp((peak * peak - drawn * drawn) / 2)
            drawn = drawn[kept]
        else:
            drawn = _tail(count - done, low, high, source)
        result[done : done + drawn.size] = drawn
        done += drawn.size
    return np.clip(mean + std * result, a, b).reshape(shape)


def _tail(count: int, low: float, high: float, source: Any) -> np.ndarray:
    """Candidates from a normal's tail: C. P. Robert, "Simulation of truncated normal variables", 1995."""
    if high < 0 or (low < 0 and -low > high):
        return -_tail(count, -high, -low, source)
    edge = max(low, 0.0)
    rate = (edge + math.sqrt(edge * edge + 4)) / 2
    drawn = edge - np.log1p(-draw_uniform((count,), 0.0, 1.0, source)) / rate
    kept = draw_uniform((count,), 0.0, 1.0, source) <= np.exp(-((drawn - rate) ** 2) / 2)
    found: np.ndarray = drawn[kept & (drawn <= high)]
    return found


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with `val`."""
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return _fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return _fill(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with 1 on its diagonal, 0 elsewhere."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: tensor must have 2 axes, got shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that channels pass through unchanged, as many as there are.

    Shapes: tensor (out_channels, in_channels / groups, *kernel), with 1 to 3 kernel axes.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_: tensor must have 3, 4 or 5 axes, got shape {tensor.shape}")
    out_channels, in_channels, *kernel = tensor.shape
    if groups < 1 or out_channels % groups:
        raise ShapeError(f"dirac_: groups must divide the {out_channels} output channels, got {groups}")
    values = np.zeros(tensor.shape)
    share = out_channels // groups
    centre = tuple(k // 2 for k in kernel)
    if 0 not in kernel:
        for group in range(groups):
            for channel in range(min(share, in_channels)):
                values[(group * share + channel, channel, *centre)] = 1
    return _fill(tensor, values)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Numbers of inputs and outputs of one element of what a weight makes."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {tensor.shape}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


_calculate_fan_in_and_fan_out = _fans


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)).

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    _floating("xavier_uniform_", tensor)
    fans = sum(_fans(tensor))
    bound = gain * math.sqrt(6.0 / fans) if fans else 0.0
    return _drawn(tensor, "uniform", -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from N(0, std²) with std = gain * sqrt(2 / (fan_in + fan_out)); source as for `xavier_uniform_`."""
    _floating("xavier_normal_", tensor)
    fans = sum(_fans(tensor))
    return _drawn(tensor, "normal", 0.0, gain * math.sqrt(2.0 / fans) if fans else 0.0, generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    _floating(name, tensor)
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be fan_in or fan_out, got {mode!r}")
    fan = _fans(tensor)[mode == "fan_out"]
    gain = calculate_gain(nonlinearity, a)
    return gain / math.sqrt(fan) if fan else 0.0


def _empty(tensor: Tensor) -> bool:
    if isinstance(tensor, Tensor) and 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill from U(-b, b) with b = gain * sqrt(3 / fan).

    Parameters
    ----------
    a : negative slope, where `nonlinearity` is ``leaky_relu``.
    mode : ``fan_in`` keeps the variance in the forward pass, ``fan_out`` in the backward pass.

    Source: K. He et al., "Delving deep into rectifiers", arXiv:1502.01852.
    """
    if _empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return _drawn(tensor, "uniform", -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill from N(0, std²) with std = gain / sqrt(fan); arguments and source as for `kaiming_uniform_`."""
    if _empty(tensor):
        return tensor
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return _drawn(tensor, "normal", 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with `gain` times a (semi-)orthogonal matrix, of the first axis against all others.

    Source: A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning", arXiv:1312.6120.
    """
    _floating("orthogonal_", tensor)
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: tensor must have at least 2 axes, got shape {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    drawn = draw_normal((rows, columns), 0.0, 1.0, generator)
    q, r = np.linalg.qr(drawn.T if rows < columns else drawn)
    q = q * np.copysign(1.0, np.diagonal(r))  # makes the choice of Q unique, and uniform
    return _fill(tensor, (gain * (q.T if rows < columns else q)).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix from N(0, std²), a share `sparsity` of each column (rounded up) with zeros.

    Source: J. Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    _floating("sparse_", tensor)
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: tensor must have 2 axes, got shape {tensor.shape}")
    rows, columns = tensor.shape
    values = draw_normal((rows, columns), 0.0, std, generator)
    count = math.ceil(sparsity * rows)
    for column in range(columns):
        values[draw_order(rows, generator)[:count], column] = 0
    return _fill(tensor, values)


__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
