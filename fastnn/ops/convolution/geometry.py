"""What a convolution's shapes and attributes say: extents, strides, padding, dilation, groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.ops.op import Shape

PLACES, TAPS, MOST = "ABC", "abc", 1 << 31
# The batch size for which a way is chosen where the choice may not depend on it.
ANY_BATCH = 16

Pass = Literal["forward", "input gradient", "weight gradient"]


class Geometry(NamedTuple):
    """Extents and steps of a convolution, each a tuple with an entry for every spatial axis."""

    input: Shape
    kernel: Shape
    stride: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int
    output: Shape = ()

    @property
    def padded(self) -> Shape:
        """Extents of the padded input."""
        return tuple(n + sum(pair) for n, pair in zip(self.input, self.padding, strict=True))

    @property
    def reach(self) -> Shape:
        """Extents that the dilated kernel covers."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def with_output(self) -> Geometry:
        """This, with the extents of the output that the input has."""
        steps = zip(self.padded, self.reach, self.stride, strict=True)
        return self._replace(output=tuple((n - r) // s + 1 for n, r, s in steps))


class Problem(NamedTuple):
    """One pass of a convolution.

    Attributes
    ----------
    which : the pass.
    geometry : of the convolution, also where a transposed one asks for it.
    batch, channels, outputs : number of images, and of channels of the wide and the narrow side.
    dtype : ``"float32"`` or ``"float64"``.
    """

    which: Pass
    geometry: Geometry
    batch: int
    channels: int
    outputs: int
    dtype: str

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return 8 if self.dtype == "float64" else 4

    @property
    def flops(self) -> float:
        """Multiplications and additions of the direct method."""
        geometry = self.geometry
        total = 2.0 * self.batch * self.outputs * self.channels / geometry.groups
        for n, k in zip(geometry.output, geometry.kernel, strict=True):
            total *= n * k
        return total


# -- attributes and shapes


def per_axis(name: str, what: str, given: Any, count: int, least: int) -> Shape:
    """A number for each spatial axis, from one for all or one for each."""
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * count
    if len(values) == 1:
        values *= count
    if len(values) != count:
        raise ShapeError(f"{name}: {what} must be one number or {count}, got {given}")
    values = tuple(integer(f"{name}: {what}", v) for v in values)
    if any(not least <= v < MOST for v in values):
        raise ValueError(f"{name}: {what} must be from {least} on and below 2**31, got {given}")
    return values


def _pairs(name: str, given: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Padding before and after each spatial axis."""
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    values = values * count if len(values) == 1 else values
    if len(values) != count:
        raise ShapeError(f"{name}: padding must be one number or {count}, got {given}")
    found = []
    for value in values:
        pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
        if len(pair) != 2:
            raise ShapeError(f"{name}: padding of an axis must be a number or a pair, got {value}")
        before, after = (integer(f"{name}: padding", v) for v in pair)
        if not (0 <= before < MOST and 0 <= after < MOST):
            raise ValueError(f"{name}: padding must be from 0 on and below 2**31, got {given}")
        found.append((before, after))
    return tuple(found)


def same_padding(name: str, padding: str, kernel: Shape, stride: Any, dilation: Any) -> tuple[tuple[int, int], ...]:
    """Padding in words, as torch's: ``"valid"`` adds nothing, ``"same"`` what keeps the extents at stride 1."""
    count = len(kernel)
    if padding == "valid":
        return ((0, 0),) * count
    if padding != "same":
        raise ValueError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if any(s != 1 for s in per_axis(name, "stride", stride, count, 1)):
        raise ValueError(f"{name}: padding 'same' needs stride 1, got {stride}")
    totals = [d * (k - 1) for d, k in zip(per_axis(name, "dilation", dilation, count, 1), kernel, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def check_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes with tuples for lists, and groups that are a number from 1 on."""
    made = dict(attributes)
    for name, value in attributes.items():
        if isinstance(value, list):
            made[name] = tuple(tuple(v) if isinstance(v, list) else v for v in value)
    groups = integer("conv: groups", attributes["groups"])
    if groups < 1:
        raise ValueError(f"conv: groups must be at least 1, got {groups}")
    return made | {"groups": groups}


def _axes(name: str, shapes: Mapping[str, Shape | None]) -> tuple[Shape, Shape]:
    x, w = shapes["x"], shapes["w"]
    assert x is not None
    assert w is not None
    if not 3 <= len(x) <= 2 + len(PLACES) or len(w) != len(x):
        raise ShapeError(f"{name}: x must be (N, C, 1 to 3 extents) and w have as many axes, got {x} and {w}")
    return x, w


def _geometry(name: str, x: Shape, w: Shape, attrs: Mapping[str, Any]) -> Geometry:
    count = len(x) - 2
    stride = per_axis(name, "stride", attrs["stride"], count, 1)
    dilation = per_axis(name, "dilation", attrs["dilation"], count, 1)
    geometry = Geometry(x[2:], w[2:], stride, _pairs(name, attrs["padding"], count), dilation, attrs["groups"])
    if min(w[2:]) < 1:
        raise ShapeError(f"{name}: w must have at least one tap along each axis, got {w}")
    return geometry.with_output()


def forward_geometry(name: str, shapes: Mapping[str, Shape | None], attrs: Mapping[str, Any]) -> Geometry:
    """That of a convolution; ShapeError where x, w and b do not go together."""
    x, w = _axes(name, shapes)
    geometry = _geometry(name, x, w, attrs)
    groups = geometry.groups
    if x[1] % groups or w[0] % groups:
        raise ShapeError(f"{name}: groups must divide the channels of x {x} and the outputs of w {w}, got {groups}")
    if w[1] * groups != x[1]:
        raise ShapeError(f"{name}: w must have shape (O, {x[1] // groups}, ...) to match x {x}, got {w}")
    if min(geometry.output) < 1:
        raise ShapeError(
            f"{name}: the kernel must fit into the padded input, got {geometry.reach} for {geometry.padded}"
        )
    _check_bias(name, shapes, w[0])
    return geometry


def _check_bias(name: str, shapes: Mapping[str, Shape | None], count: int) -> None:
    b = shapes.get("b")
    if b is not None and b != (count,):
        raise ShapeError(f"{name}: b must have shape ({count},), got {b}")


def output_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    """The rule of `conv`."""
    geometry = forward_geometry(name, shapes, attrs)
    x, w = _axes(name, shapes)
    return [(x[0], w[0], *geometry.output)]


def transposed_geometry(name: str, shapes: Mapping[str, Shape | None], attrs: Mapping[str, Any]) -> Geometry:
    """That of the convolution whose input's gradient the transposed one is."""
    x, w = _axes(name, shapes)
    extra = per_axis(name, "output_padding", attrs["output_padding"], len(x) - 2, 0)
    own = _geometry(name, x, w, attrs)
    if w[0] != x[1] or w[0] % own.groups:
        raise ShapeError(f"{name}: w must have shape ({x[1]}, O, ...), divided by {own.groups} groups, got {w}")
    if any(e >= max(s, d) for e, s, d in zip(extra, own.stride, own.dilation, strict=True)):
        raise ValueError(f"{name}: output_padding must be smaller than stride or dilation, got {extra}")
    _check_bias(name, shapes, w[1] * own.groups)
    result = tuple(
        (n - 1) * s - sum(p) + r + e
        for n, s, p, r, e in zip(own.input, own.stride, own.padding, own.reach, extra, strict=True)
    )
    if min(result) < 1 or min(own.input) < 1:
        raise ShapeError(f"{name}: the output must have at least one element along each axis, got {result}")
    # an output padding beyond the stride would make room for more outputs of the convolution; they stay unused
    return own._replace(input=result, output=own.input)


def transposed_output_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    """The rule of `conv_transpose`."""
    geometry = transposed_geometry(name, shapes, attrs)
    x, w = _axes(name, shapes)
    return [(x[0], w[1] * geometry.groups, *geometry.input)]
