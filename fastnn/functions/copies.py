"""Torch's copies of views: what the view shows, in memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.functions import shaping
from fastnn.functions.arguments import into, tensor_of
from fastnn.functions.indexing import nonzero
from fastnn.functions.joining import clone
from fastnn.tensor import from_numpy


def _copying(name: str, view: Callable[..., Any]) -> Callable[..., Any]:
    def copy(input: Any, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        seen = view(tensor_of(input), *args, **kwargs)
        if isinstance(seen, tuple):
            places = (None,) * len(seen) if out is None else tuple(out)
            if len(places) != len(seen):
                raise ShapeError(f"{name}_copy: out must hold {len(seen)} Tensors, got {len(places)}")
            return tuple(into(f"{name}_copy", clone(part), place) for part, place in zip(seen, places, strict=True))
        return into(f"{name}_copy", clone(seen), out)

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"A copy of what `{name}` shows; with the same arguments."
    return copy


def unsafe_split(input: Any, split_size: Any, dim: int = 0) -> Any:
    """As `split`; here the parts may be changed in place in any case."""
    return shaping.split(input, split_size, dim)


def unsafe_split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    """As `split_with_sizes`; here the parts may be changed in place in any case."""
    return shaping.split_with_sizes(input, split_sizes, dim)


def unsafe_chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    """As `chunk`; here the parts may be changed in place in any case."""
    return shaping.chunk(input, chunks, dim)


def resize_as_(self: Any, the_template: Any) -> Any:
    """As `resize_`, to the shape of another Tensor."""
    return shaping.resize_(self, *the_template.shape)


def nonzero_static(input: Any, *, size: int, fill_value: int = -1, out: Any = None) -> Any:
    """The first `size` rows of `nonzero`, and rows of `fill_value` where there are not so many."""
    if size < 0:
        raise ShapeError(f"nonzero_static: size must not be negative, got {size}")
    found = nonzero(input).array[:size]
    rows = np.full((size, found.shape[1]), fill_value, np.int64)
    rows[: len(found)] = found
    return into("nonzero_static", from_numpy(rows), out)


alias_copy = _copying("alias", lambda x: x)
as_strided_copy = _copying("as_strided", shaping.as_strided)
detach_copy = _copying("detach", lambda x: x.detach())
diagonal_copy = _copying("diagonal", shaping.diagonal)
expand_copy = _copying("expand", shaping.expand)
narrow_copy = _copying("narrow", shaping.narrow)
permute_copy = _copying("permute", shaping.permute)
select_copy = _copying("select", shaping.select)
split_copy = _copying("split", shaping.split)
split_with_sizes_copy = _copying("split_with_sizes", shaping.split_with_sizes)
squeeze_copy = _copying("squeeze", shaping.squeeze)
t_copy = _copying("t", shaping.t)
transpose_copy = _copying("transpose", shaping.transpose)
unbind_copy = _copying("unbind", shaping.unbind)
unfold_copy = _copying("unfold", shaping.unfold)
unsqueeze_copy = _copying("unsqueeze", shaping.unsqueeze)
view_copy = _copying("view", shaping.view)

__all__ = [
    "alias_copy",
    "as_strided_copy",
    "detach_copy",
    "diagonal_copy",
    "expand_copy",
    "narrow_copy",
    "nonzero_static",
    "permute_copy",
    "resize_as_",
    "select_copy",
    "split_copy",
    "split_with_sizes_copy",
    "squeeze_copy",
    "t_copy",
    "transpose_copy",
    "unbind_copy",
    "unfold_copy",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "unsqueeze_copy",
    "view_copy",
]
