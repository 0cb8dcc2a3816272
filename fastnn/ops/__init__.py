"""Operations on arrays and Tensors, under NumPy's and torch's names: arrays in, arrays out; Tensors in, Tensors out.

Inputs, then options, are given by place or by name; ``out`` is an array (or Tensor) to write the result into. float32
and float64 run as compiled kernels, other numbers in NumPy. In shapes, one letter is one extent wherever an op shows
it, and ``*`` stands for any axes. Shapes that do not go together raise `fastnn.errors.ShapeError`, dtypes that do not
`fastnn.errors.DTypeError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastnn._runtime.tensor import registered
from fastnn.ops.activation import erf, gelu, log_softmax, relu, sigmoid, silu, softmax, tanh
from fastnn.ops.addmm import addbmm, addmm, addmv, addr, baddbmm
from fastnn.ops.arithmetic import (
    add,
    copy,
    divide,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    multiply,
    negative,
    not_equal,
    subtract,
)
from fastnn.ops.classification import cross_entropy
from fastnn.ops.dense import dense
from fastnn.ops.einsum import einsum
from fastnn.ops.linear import linear
from fastnn.ops.matmul import matmul
from fastnn.ops.products import bmm, dot, inner, mm, mv, outer, vdot
from fastnn.ops.reduction import mean, sum
from fastnn.ops.tensordot import tensordot

if TYPE_CHECKING:  # of those below, what modules use that are imported together with this one
    from fastnn.ops.indexing import take as take
    from fastnn.ops.views import reshape as reshape
    from fastnn.ops.views import swapaxes as swapaxes
    from fastnn.ops.views import transpose as transpose

# Ops that are declared when they are first asked for: modules here, and what they declare. A module has no op's name.
HOMES: dict[str, str] = {
    "augmentation": "crop_images erase_images flip_images uniform_rows warp_images",
    "convolution": "conv conv_transpose",
    "dropouts": "alpha_dropout dropout",
    "ramps": "ramp",
    "sampling": "bernoulli bernoulli_each exponential integers normal uniform",
    "elementary": "acos acosh asin asinh atan atan2 atanh cos cosh cube exp exp2 expm1 hypot log log10 log1p log2 "
    "logaddexp logaddexp2 power reciprocal rsqrt sin sinc sinh sqrt square tan",
    "selection": "abs angle ceil clip clip_between copysign floor floor_divide fmax fmin fmod frac heaviside maximum "
    "minimum nan_to_num nextafter remainder round sign trunc where",
    "mixture": "addcdiv addcmul entropy erfc erfinv lerp logit xlog1py xlogy",
    "pooling": "adaptive_avg_pool adaptive_max_pool adaptive_max_pool_at avg_pool max_pool max_pool_at",
    "interpolation": "interpolate",
    "question": "isfinite isinf isnan isneginf isposinf logical_and logical_not logical_or logical_xor signbit",
    "distance": "cosine_similarity pairwise_distance",
    "gates": "glu logsigmoid mish softplus softsign tanhshrink",
    "labels": "nll_loss",
    "likelihood": "binary_cross_entropy binary_cross_entropy_with_logits kl_div",
    "maps": "map_cross_entropy",
    "margins": "multi_margin_loss multilabel_margin_loss",
    "ranking": "cosine_margin_loss hinge_embedding_loss margin_ranking_loss soft_margin_loss",
    "rectifiers": "celu elu hardshrink hardsigmoid hardswish hardtanh leaky_relu prelu relu6 selu softshrink threshold",
    "row_norm": "layer_norm rms_norm",
    "channel_norm": "batch_norm batch_norm_inference batch_norm_relu group_norm",
    "extremes": "argmax argmin max_at min_at",
    "folds": "logsumexp max min norm prod",
    "moments": "std var",
    "scan": "cummax cummin cumprod cumsum logcumsumexp",
    "sorting": "argsort sort_at top_at",
    "indexing": "embedding gather take take_along_axis",
    "joining": "concatenate stack",
    "padding": "pad",
    "rearranging": "diag_embed flip repeat roll tile tril triu",
    "scattering": "index_put index_reduce masked_fill scatter scatter_reduce",
    "views": "broadcast_to diagonal expand_dims moveaxis reshape sliding_window squeeze swapaxes transpose",
    "regression": "gaussian_nll_loss huber_loss l1_loss mse_loss poisson_nll_loss smooth_l1_loss",
    "soft_targets": "soft_cross_entropy",
}

# Functions over ops, found as ops are.
FUNCTIONS: dict[str, str] = {"data_format": "conv1d conv2d conv3d"}

_LAZY = {name: module for table in (HOMES, FUNCTIONS) for module, names in table.items() for name in names.split()}


def every() -> dict[str, Any]:
    """All ops, by name; those that nobody has asked for yet are declared now."""
    for module in HOMES:
        importlib.import_module(f"fastnn.ops.{module}")
    return registered()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastnn.ops' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"fastnn.ops.{_LAZY[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "add",
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "copy",
    "cross_entropy",
    "dense",
    "divide",
    "dot",
    "einsum",
    "equal",
    "erf",
    "gelu",
    "greater",
    "greater_equal",
    "inner",
    "less",
    "less_equal",
    "linear",
    "log_softmax",
    "matmul",
    "mean",
    "mm",
    "multiply",
    "mv",
    "negative",
    "not_equal",
    "outer",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "subtract",
    "sum",
    "tanh",
    "tensordot",
    "vdot",
]
