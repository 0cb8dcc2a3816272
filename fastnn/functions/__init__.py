"""Functions under torch's names and arguments, found when they are first used.

Each is ``fastnn.NAME``; those that torch has as methods too are ``Tensor.NAME``, the Tensor as first argument, and
``Tensor.NAME_`` for the method that overwrites the Tensor. The modules here hold them by noun; the table below says
where, so that importing fastnn imports none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.errors import DTypeError, GraphError, ShapeError


class Home(NamedTuple):
    """What a module holds.

    Attributes
    ----------
    both : names of functions in `fastnn` that are Tensor's methods too.
    only_functions, only_methods : names of those that are one of them alone. Methods that overwrite the Tensor follow
        from the others and are named only where the module defines them itself.
    """

    both: str = ""
    only_functions: str = ""
    only_methods: str = ""

    @property
    def functions(self) -> str:
        """Names in `fastnn`."""
        return f"{self.both} {self.only_functions}"

    @property
    def methods(self) -> str:
        """Names of Tensor's methods."""
        return f"{self.both} {self.only_methods}"


HOMES: dict[str, Home] = {
    "creation": Home(
        only_functions="BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor "
        "ShortTensor asarray empty empty_like empty_permuted empty_strided fill full full_like ones ones_like "
        "scalar_tensor zeros zeros_like",
        only_methods="new_empty new_empty_strided new_full new_ones new_tensor new_zeros",
    ),
    "dropout": Home(
        only_functions="alpha_dropout alpha_dropout_ dropout dropout_ feature_alpha_dropout feature_alpha_dropout_ "
        "feature_dropout feature_dropout_",
    ),
    "dtypes": Home(
        both="conj conj_physical is_complex is_conj is_neg is_nonzero is_signed resolve_conj resolve_neg",
        only_functions="can_cast finfo get_default_dtype iinfo is_floating_point is_tensor numel promote_types "
        "real result_type set_default_dtype",
    ),
    "activation": Home(
        both="hardshrink prelu",
        only_functions="celu celu_ relu relu_ rrelu rrelu_ selu selu_ threshold threshold_",
    ),
    "comparison": Home(
        both="allclose eq equal ge greater greater_equal gt isclose isfinite isinf isnan isneginf isposinf "
        "isreal le is_same_size less less_equal logical_and logical_not logical_or logical_xor lt ne not_equal signbit",
        only_functions="isin where",
    ),
    "pointwise": Home(
        both="abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 "
        "arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or "
        "bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos cosh deg2rad "
        "div divide erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmax fmin fmod frac "
        "gcd heaviside hypot lcm ldexp lerp log log10 log1p log2 logaddexp logaddexp2 logit maximum "
        "minimum mul multiply nan_to_num neg negative nextafter positive pow rad2deg reciprocal remainder "
        "round rsqrt sgn sigmoid sign sin sinc sinh sqrt square sub subtract tan tanh true_divide trunc "
        "xlogy",
        only_functions="rsub",
        only_methods="float_power_",
    ),
    "gamma": Home(
        both="digamma frexp i0 igamma igammac lgamma mvlgamma",
        only_functions="polygamma",
    ),
    "methods": Home(
        only_methods="byte char fill_diagonal_ get_device half nelement ndimension polygamma short sum_to_size type_as "
        "where",
    ),
    "filling": Home(
        only_methods="bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_",
    ),
    "copies": Home(
        both="narrow_copy nonzero_static unsafe_chunk unsafe_split unsafe_split_with_sizes",
        only_functions="alias_copy as_strided_copy detach_copy diagonal_copy expand_copy permute_copy select_copy "
        "split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy "
        "unsqueeze_copy view_copy",
        only_methods="resize_as_",
    ),
    "indexing": Home(
        both="argwhere gather index_add index_copy index_fill index_put index_reduce index_select masked_fill "
        "masked_scatter masked_select nonzero put scatter scatter_add scatter_reduce take take_along_dim",
        only_functions="unravel_index",
    ),
    "joining": Home(
        both="clone diagonal_scatter select_scatter slice_scatter",
        only_functions="block_diag cat column_stack concat concatenate dstack hstack row_stack stack vstack",
        only_methods="contiguous",
    ),
    "products": Home(
        only_functions="addbmm addmm addmv addr baddbmm bmm chain_matmul dot einsum ger inner matmul mm mv outer "
        "tensordot vdot",
    ),
    "ranges": Home(
        only_functions="arange cartesian_prod combinations eye linspace logspace meshgrid tril_indices triu_indices",
    ),
    "sampling": Home(
        both="bernoulli multinomial",
        only_functions="Generator default_generator get_rng_state initial_seed normal poisson rand rand_like randint "
        "randint_like randn randn_like randperm seed set_rng_state",
    ),
    "counting": Home(
        both="bincount histc histogram unique unique_consecutive",
        only_functions="bucketize searchsorted",
    ),
    "vectors": Home(
        both="cross",
        only_functions="vander",
    ),
    "windows": Home(
        only_functions="bartlett_window blackman_window hamming_window hann_window kaiser_window",
    ),
    "distances": Home(
        only_functions="cdist cosine_similarity pairwise_distance pdist",
    ),
    "reductions": Home(
        both="all amax amin aminmax any argmax argmin corrcoef count_nonzero cov dist logsumexp max mean min "
        "nanmean nansum norm prod renorm std sum var",
        only_functions="std_mean var_mean",
    ),
    "scans": Home(
        both="cummax cummin cumprod cumsum diff logcumsumexp",
        only_functions="cumulative_trapezoid gradient trapezoid trapz",
    ),
    "softmax": Home(
        both="log_softmax softmax",
    ),
    "sorting": Home(
        both="argsort kthvalue median mode msort nanmedian nanquantile quantile sort topk",
    ),
    "rearranging": Home(
        both="diag diag_embed diagflat flip fliplr flipud kron repeat_interleave roll rot90 tile trace tril triu",
        only_methods="repeat",
    ),
    "shaping": Home(
        both="adjoint as_strided broadcast_to chunk detach_ diagonal dsplit flatten hsplit moveaxis movedim "
        "narrow permute ravel reshape select split split_with_sizes squeeze swapaxes swapdims t "
        "tensor_split transpose unbind unflatten unsqueeze vsplit",
        only_functions="atleast_1d atleast_2d atleast_3d broadcast_shapes broadcast_tensors",
        only_methods="as_strided_ expand expand_as reshape_as resize_ squeeze_ swapaxes_ swapdims_ t_ transpose_ "
        "unfold unsqueeze_ view view_as",
    ),
}

# Functions that overwrite their first argument, as the methods of the same names do.
IN_PLACE = tuple(
    """
    abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ asin_ asinh_ atan_ atanh_ ceil_
    clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ erf_ erfc_ exp2_ exp_ expm1_ fix_ floor_
    frac_ gcd_ i0_ index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_
    reciprocal_ resize_as_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ trunc_ xlogy_
    """.split()  # noqa: SIM905
)

FUNCTIONS = {name: module for module, home in HOMES.items() for name in home.functions.split()}
METHODS = {name: module for module, home in HOMES.items() for name in home.methods.split()}


def find(name: str) -> Any:
    """The function of a name; AttributeError if there is none."""
    if name in IN_PLACE:
        return method(name)
    if name not in FUNCTIONS:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fastnn.functions.{FUNCTIONS[name]}"), name)


def method(name: str) -> Callable[..., Any] | None:
    """The function that serves as Tensor's method of a name; None if there is none."""
    if name in METHODS:
        found: Callable[..., Any] = getattr(importlib.import_module(f"fastnn.functions.{METHODS[name]}"), name)
        return found
    plain = name[:-1]
    if name.endswith("_") and plain in METHODS:
        return overwriting(name, getattr(importlib.import_module(f"fastnn.functions.{METHODS[plain]}"), plain))
    return None


def overwriting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method that puts a function's result into its Tensor, on the tape or past it."""

    def replace(self: Any, *args: Any, **kwargs: Any) -> Any:
        operands = [x for x in (self, *args, *kwargs.values()) if isinstance(x, TensorBase)]
        recorded = is_grad_enabled() and any(x.requires_grad for x in operands)
        if recorded and self.is_leaf and self.requires_grad:
            raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
        result = function(self, *args, **kwargs)
        if result.shape != self.shape:
            raise ShapeError(f"{name}: the result must have shape {self.shape}, got {result.shape}")
        if not fits(result.dtype, self.dtype):
            raise DTypeError(f"{name}: the result must have a dtype that fits {self.dtype}, got {result.dtype}")
        if recorded:
            self._become(result if result.dtype == self.dtype else result.to(self.dtype))
        else:
            self.array[...] = result.array
            self._touch()
        return self

    replace.__name__ = replace.__qualname__ = name
    replace.__doc__ = f"As `{name[:-1]}`, in place; gives the Tensor itself."
    return replace


def fits(dtype: Any, target: Any) -> bool:
    """Whether torch lets results of a dtype be written where another one is: its kind (bool, integer, float) fits."""
    kinds = "b", "iu", "f", "c"

    def rank(kind: str) -> int:
        return next(i for i, some in enumerate(kinds) if kind in some)

    return rank(dtype.kind) <= rank(target.kind)
