"""One declaration an op: shapes, reference, lowering, FLOPs, sample cases.

From it follow the shape checks, the error texts, the allocation, the tests, the gradient checks and the benchmarks.
The compiled base class dispatches calls; what stands here runs once for each signature.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn import _default_dtype as default
from fastnn._kernels.errors import KernelsUnavailable
from fastnn._runtime.dispatch import Primitive, get_backend
from fastnn._runtime.recipe import Recipe
from fastnn._runtime.tensor import register, registered
from fastnn.errors import DTypeError, ShapeError
from fastnn.ops.lowering import Array, Lowering, Phase, Routine, symbolic

KERNEL_DTYPES = ("float32", "float64")
NUMPY_BACKEND = 1

Shape = tuple[int, ...]
ShapeRule = Callable[[str, dict[str, Shape | None], dict[str, Any]], Sequence[Shape]]


class Place(NamedTuple):
    """An input or output in a shape specification."""

    name: str
    dims: tuple[str, ...] | None  # None: any shape
    optional: bool


def parse_places(text: str) -> list[Place]:
    """Read ``x:(N,K) b:(M)? y:(...)`` into places. Dims are symbols, numbers, or a leading ``*`` for any axes."""
    places = []
    for name, dims, mark in re.findall(r"(\w+):\(([^)]*)\)(\??)", text):
        names = None if dims.strip() == "..." else tuple(d.strip() for d in dims.split(",") if d.strip())
        places.append(Place(name, names, mark == "?"))
    return places


class Spec:
    """The shapes of an op's inputs and outputs: ``x:(*,K) w:(M,K) b:(M)? -> y:(*,M); saved:(*)``."""

    def __init__(self, text: str) -> None:
        inputs, _, outputs = text.partition("->")
        returned, _, extra = outputs.partition(";")
        self.text = text
        self.inputs = parse_places(inputs)
        self.returned = parse_places(returned)
        self.outputs = self.returned + parse_places(extra)
        self.open = any(place.dims is None for place in self.inputs + self.outputs)

    def bind(self, op: str, shapes: Mapping[str, Shape | None]) -> dict[str, Any]:
        """Find each symbol's extent; ShapeError where two inputs disagree."""
        sizes: dict[str, Any] = {}
        source: dict[str, str] = {}
        for place in self.inputs:
            shape = shapes[place.name]
            if shape is None or place.dims is None:
                continue
            before = dict(sizes)
            star = place.dims[:1] == ("*",)
            dims = place.dims[1:] if star else place.dims
            if len(shape) < len(dims) or (not star and len(shape) != len(dims)):
                wanted = f"at least {len(dims)}" if star else str(len(dims))
                raise ShapeError(f"{op}: {place.name} must have {wanted} axes, ({', '.join(place.dims)}), got {shape}")
            bound = list(zip(dims, shape[len(shape) - len(dims) :], strict=True))
            if star:
                bound.append(("*", shape[: len(shape) - len(dims)]))  # type: ignore[arg-type]
            for symbol, extent in bound:
                known = int(symbol) if symbol.isdigit() else sizes.get(symbol)
                if known is None:
                    sizes[symbol] = extent
                    source[symbol] = place.name
                elif known != extent:
                    other = source.get(symbol)
                    wanted = self.describe(place.dims, before)
                    because = f" to match {other} {shapes[other]}" if other else ""
                    raise ShapeError(f"{op}: {place.name} must have shape {wanted}{because}, got {shape}")
        return sizes

    @staticmethod
    def describe(dims: Sequence[str], sizes: Mapping[str, Any]) -> str:
        """Dims with the extents that are known: ``(M, 784)``."""
        words: list[str] = []
        for dim in dims:
            if dim == "*":
                words += [str(extent) for extent in sizes["*"]] if "*" in sizes else ["*"]
            else:
                words.append(str(sizes.get(dim, dim)))
        return "(" + ", ".join(words) + ("," if len(words) == 1 else "") + ")"

    def resolve(self, place: Place, sizes: Mapping[str, Any]) -> Shape:
        """The shape of an output."""
        shape: list[int] = []
        for dim in place.dims or ():
            if dim == "*":
                shape += sizes["*"]
            else:
                shape.append(int(dim) if dim.isdigit() else sizes[dim])
        return tuple(shape)


class Saved:
    """What a reference's backward sees.

    Attributes
    ----------
    saved : arrays by name. shapes : the forward pass's shapes by name. needs : whether an input's gradient is wanted.
    attrs : the op's attributes. cells : the op's hyper-parameters.
    """

    def __init__(
        self,
        saved: dict[str, np.ndarray],
        shapes: dict[str, Any],
        needs: dict[str, bool],
        attrs: dict[str, Any],
        cells: dict[str, float],
    ) -> None:
        self.saved, self.shapes, self.needs, self.attrs, self.cells = saved, shapes, needs, attrs, cells


def _symbolic(arrays: Iterable[np.ndarray | None]) -> list[Array | None]:
    return [None if a is None else symbolic(a, i) for i, a in enumerate(arrays)]


def kernels_of(phases: Iterable[Phase]) -> list[Phase | Routine]:
    """What has a kernel: the phases, and the routines among their arguments."""
    found: list[Phase | Routine] = []
    for phase in phases:
        found += [phase, *(arg for arg in phase.args if isinstance(arg, Routine))]
    return found


def _resolve(phases: Sequence[Phase]) -> Callable[[Phase | Routine], int]:
    """Compile what is missing in one go; then give the address of each phase's (or routine's) kernel."""
    from fastnn._kernels import jit

    jit.prepare([(x.kernel, dict(x.static)) for x in kernels_of(phases)])
    return lambda x: jit.address(x.kernel, **dict(x.static))


def _named(name: str) -> Any:
    """The op of a name, for pickles."""
    from fastnn import ops

    return getattr(ops, name)


class _Signature:
    """What `inspect.signature` gives for an op, made when it is asked for."""

    def __get__(self, op: Op | None, kind: type[Op]) -> inspect.Signature:
        if op is None:
            raise AttributeError("__signature__")
        optional = {place.name for place in op.spec.inputs if place.optional}
        defaults = dict(zip(op.attribute_names + op.cell_names, op.attribute_defaults + op.cell_defaults, strict=True))
        given = [(name, None if name in optional else inspect.Parameter.empty) for name in op.input_names]
        parameters = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
            for name, default in [*given, *defaults.items()]
        ]
        return inspect.Signature([*parameters, inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)])


class Op(Primitive):
    """An operation on arrays or Tensors.

    Parameters
    ----------
    name : what errors and the table of ops call it.
    shapes : specification, see `Spec`; with ``(...)`` shapes, `rule` checks them.
    reference : NumPy functions. The forward one takes the inputs (None where left out), then attributes and cells by
        name, and gives the outputs; the backward one takes a `Saved` and the gradients of the returned outputs, and
        gives one gradient (or None) an input.
    lower : functions that append phases, or give NotImplemented where the reference serves. The forward one takes a
        `Lowering` and the inputs as symbolic arrays and gives the outputs; the backward one takes a `Lowering` and
        the outputs' gradients.
    saves : inputs and outputs that backward needs.
    uses : for a saved input, the inputs whose gradients need it, where that is not all of them.
    attributes : compile-time options with their defaults; part of the signature.
    cells : float hyper-parameters with their defaults; never part of the signature.
    integer : inputs that are indices or labels and keep their dtype.
    mask : inputs that hold bools and keep their dtype.
    constant : inputs that have no gradient, as in torch.
    rule : shapes of inputs and attributes to shapes of the outputs, raising ShapeError.
    check : function of the attributes (a dict) that raises on a bad one and returns the normal form.
    floating : integers become the default float first (float32 for Tensors, float64 for arrays).
    promotes : Tensors of different dtypes are promoted as torch does; else they are an error.
    elementwise : each output element depends on the input elements at its place alone.
    views : the result is a view of the first input where it can be, of whatever dtype; lowering gives an array in the
        input's storage then, and phases only where it cannot.
    result : dtype of the outputs in a reference call, where it is not that of the inputs.
    flops : FLOPs of a forward call, given by name the symbols' extents or, with ``(...)`` shapes, the inputs' shapes,
        and the attributes.
    backward_flops : FLOPs of a backward pass, given first whether each input's gradient is wanted (a dict by name),
        then what `flops` is given. Where one of both is not declared, `fastnn.inspection.counting` takes the phases'.
    cases, bench : sample calls for tests and for benchmarks, dicts of symbols to extents (``"*"`` to a tuple), of
        inputs to shapes where the specification says ``(...)``, and of attributes to values.
    bounds : for an integer input, the symbol (or input and axis, ``"x.1"``) that its samples stay below.
    domain : for an input, the interval that its samples come from.
    """

    __signature__ = _Signature()

    def __init__(
        self,
        name: str,
        *,
        shapes: str,
        reference: tuple[Callable[..., Any], Callable[..., Any] | None],
        lower: tuple[Callable[..., Any], Callable[..., Any] | None] | None = None,
        saves: Sequence[str] = (),
        uses: Mapping[str, Sequence[str]] | None = None,
        attributes: Mapping[str, Any] | None = None,
        cells: Mapping[str, float] | None = None,
        integer: Sequence[str] = (),
        mask: Sequence[str] = (),
        constant: Sequence[str] = (),
        rule: ShapeRule | None = None,
        check: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        floating: bool = False,
        promotes: bool = False,
        elementwise: bool = False,
        views: bool = False,
        result: str | None = None,
        flops: Callable[..., float] | None = None,
        backward_flops: Callable[..., float] | None = None,
        cases: Sequence[dict[str, Any]] = (),
        bench: Sequence[dict[str, Any]] = (),
        bounds: Mapping[str, str] | None = None,
        domain: Mapping[str, tuple[float, float]] | None = None,
        doc: str = "",
    ) -> None:
        self.spec = Spec(shapes)
        names = [place.name for place in self.spec.inputs]
        outputs = [place.name for place in self.spec.outputs]
        super().__init__(
            name,
            names,
            [place.name for place in self.spec.inputs if place.optional],
            [n for n in names if n not in integer and n not in mask],
            attributes or {},
            cells or {},
            len(self.spec.returned),
            [names.index(s) for s in saves if s in names],
            [outputs.index(s) for s in saves if s not in names],
            reference[1] is not None,
            elementwise,
            [[names.index(u) for u in (uses or {}).get(s, names)] for s in saves if s in names],
            views,
        )
        # the compiled side saves inputs first, then outputs
        self.saves = [s for s in saves if s in names] + [s for s in saves if s not in names]
        self.reference, self.lower = reference, lower
        self.integer, self.mask = tuple(integer), tuple(mask)
        self.apart = self.integer + self.mask
        self.constant, self.rule, self.check = tuple(constant), rule, check
        self.floating, self.promotes, self.result = floating, promotes, result
        self.flops, self.backward_flops = flops, backward_flops
        self.cases, self.bench = tuple(cases), tuple(bench)
        self.bounds, self.domain = dict(bounds or {}), dict(domain or {})
        self.__doc__ = self._document(inspect.cleandoc(doc or reference[0].__doc__ or name))
        register(self)

    def _document(self, text: str) -> str:
        """What `help` shows: the formula, then what follows from the declaration."""
        options = [f"{n}={v!r}" for n, v in zip(self.attribute_names, self.attribute_defaults, strict=True)]
        options += [f"{n}={v!r}" for n, v in zip(self.cell_names, self.cell_defaults, strict=True)]
        lines = [
            text,
            "",
            f"Shapes: ``{self.spec.text}`` (``*``, ``...``: any axes; ``?``: may be None; after ``;``: saved).",
            *([f"Options and their defaults: {', '.join(options)}."] if options else []),
            "Takes arrays and gives arrays (into ``out``, if given), or takes Tensors and gives Tensors. float32 and "
            "float64 run as compiled kernels, other numbers in NumPy"
            + (f"; {', '.join(self.integer)} must hold integers" if self.integer else "")
            + (f"; {', '.join(self.mask)} must hold bools." if self.mask else "."),
            "",
            "Raises ShapeError (a ValueError and a RuntimeError) where shapes do not go together, DTypeError (a "
            "TypeError and a RuntimeError) where dtypes do not.",
        ]
        return "\n".join(lines)

    def dtype_of(self, name: str, dtype: str) -> str:
        """The dtype of an input in a call whose other numbers have `dtype`."""
        return "int64" if name in self.integer else "bool" if name in self.mask else dtype

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.spec.text}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """An op is one of its kind, found by its name: a copy is the op itself, and so is what a pickle gives back."""
        if registered().get(self.name) is not self:
            raise TypeError(f"{self.name}: only the op that the table holds under this name can be copied or pickled")
        return _named, (self.name,)

    def _check_attributes(self, attributes: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.check is not None:
            named = self.check(dict(zip(self.attribute_names, attributes, strict=True)))
            attributes = tuple(named[n] for n in self.attribute_names)
        try:
            hash(attributes)
        except TypeError:
            raise TypeError(f"{self.name}: attributes must be plain values, got {attributes}") from None
        return attributes

    # -- arguments that do not go together as they come

    def _promote(self, given: list[Any], arrays: list[np.ndarray | None], tensors: bool) -> list[np.ndarray | None]:
        """Give the inputs that share a dtype that dtype: torch's rules for Tensors, NumPy's for arrays."""
        names = [n for n in self.input_names if n not in self.apart]
        own = dict(zip(self.input_names, arrays, strict=True))
        came = dict(zip(self.input_names, given, strict=True))
        operands = [own[n] if own[n] is not None else came[n] for n in names if came[n] is not None]
        for n, array in own.items():
            if array is not None and array.dtype.kind not in "biufc":
                raise DTypeError(f"{self.name}: {n} must hold numbers, got dtype {array.dtype}")
        if tensors and not self.promotes:
            kinds = {str(o.dtype): n for n in reversed(names) if isinstance(o := own[n], np.ndarray)}
            if len(kinds) > 1:
                (one, first), (two, second) = list(kinds.items())[::-1][:2]
                raise DTypeError(f"{self.name}: {second} must have dtype {one} to match {first}, got {two}")
        dtype = torch_result_type(operands) if tensors else np.result_type(*operands)
        if self.result == "bool" and dtype.kind in "iu":
            # a number that no element can equal is compared all the same
            for number in (v for v in came.values() if isinstance(v, int)):
                if not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
                    dtype = np.dtype(np.int64 if abs(number) < 1 << 63 and dtype != np.uint64 else np.float64)
        if self.floating and dtype.kind not in "fc":
            dtype = default.floating if tensors else np.dtype(np.float64)
        ready: list[np.ndarray | None] = []
        for n in self.input_names:
            if came[n] is None or n in self.apart:
                ready.append(own[n])
            else:
                value = own[n]
                ready.append(
                    np.asarray(value, dtype=dtype) if value is not None else self._number(came[n], dtype, tensors)
                )
        return ready

    @staticmethod
    def _number(value: Any, dtype: np.dtype[Any], tensors: bool) -> np.ndarray:
        """A Python number as an array; integers wrap for Tensors, as in torch, and raise for arrays, as in NumPy."""
        if tensors and dtype.kind in "iu" and isinstance(value, int):
            bits = 8 * dtype.itemsize
            low = value & ((1 << bits) - 1)
            return np.array(low, f"u{dtype.itemsize}").astype(dtype)
        return np.asarray(value, dtype=dtype)

    # -- once a signature

    def _shapes(
        self, arrays: Sequence[np.ndarray | Array | None], attributes: tuple[Any, ...]
    ) -> tuple[dict[str, Any], list[Shape] | None]:
        shapes = {n: None if a is None else a.shape for n, a in zip(self.input_names, arrays, strict=True)}
        sizes = self.spec.bind(self.name, shapes)
        if self.rule is not None:
            return shapes, list(self.rule(self.name, shapes, dict(zip(self.attribute_names, attributes, strict=True))))
        if self.spec.open:
            return shapes, None
        return shapes, [self.spec.resolve(place, sizes) for place in self.spec.outputs]

    def bind(
        self, arrays: Sequence[np.ndarray | Array | None], attributes: tuple[Any, ...]
    ) -> tuple[dict[str, Any], list[str]]:
        """Check what a call brings; give the shapes by name and the dtypes of the inputs that share one.

        Raises ShapeError, DTypeError, or MemoryError for a result that cannot be.
        """
        for n, array in zip(self.input_names, arrays, strict=True):
            if array is not None and n in self.integer and np.dtype(array.dtype).kind not in "iu":
                raise DTypeError(f"{self.name}: {n} must hold integers, got dtype {array.dtype}")
            if array is not None and n in self.mask and np.dtype(array.dtype).kind != "b":
                raise DTypeError(f"{self.name}: {n} must hold bools, got dtype {array.dtype}")
            if self.views and array is not None and np.dtype(array.dtype).kind not in "biufc":
                raise DTypeError(f"{self.name}: {n} must hold numbers, got dtype {array.dtype}")
        shapes, expected = self._shapes(arrays, attributes)
        floats = [str(a.dtype) for n, a in zip(self.input_names, arrays, strict=True) if a is not None
                  and n not in self.apart]  # fmt: skip
        if expected is not None and floats:
            for shape in expected:
                if math.prod(shape) * np.dtype(floats[0]).itemsize >= 1 << 62:
                    raise MemoryError(f"{self.name}: a result of shape {shape} is larger than any memory")
        return shapes, floats

    def lower_forward(
        self,
        arrays: Sequence[Array | None],
        attributes: tuple[Any, ...],
        shapes: dict[str, Any],
        floats: Sequence[str],
        *,
        out: Array | None = None,
        explaining: bool = False,
    ) -> tuple[Lowering, tuple[Array, ...]] | None:
        """The phases of a call that `bind` has checked, and its outputs; None where the reference serves."""
        if get_backend() == NUMPY_BACKEND or self.lower is None or not floats:
            return None
        if floats[0] not in KERNEL_DTYPES and not self.views:
            return None
        named = dict(zip(self.attribute_names, attributes, strict=True))
        again = partial(self.lower_forward, arrays, attributes, shapes, floats, out=out, explaining=True)
        low = Lowering(
            tuple(arrays), named, shapes=shapes, out=out, explaining=explaining, title=self.name, again=again
        )
        outputs = _as_tuple(self.lower[0](low, *low.inputs))
        return None if outputs[0] is NotImplemented else (low, outputs)

    def lower_backward(
        self,
        gradients: Sequence[Array | None],
        saved: Sequence[Array | None],
        attributes: tuple[Any, ...],
        shapes: dict[str, Any],
        needs: Sequence[bool],
        *,
        explaining: bool = False,
    ) -> tuple[Lowering, list[Array | None]] | None:
        """The phases of a backward pass and the gradients that are wanted; None where the reference serves.

        The gradients that come in lie in the first storages, what was saved in the next ones.
        """
        if self.lower is None or self.lower[1] is None:
            return None
        if self.views and any(g is not None and g.dtype not in KERNEL_DTYPES for g in gradients):
            return None
        low = Lowering(
            (*gradients, *saved),
            dict(zip(self.attribute_names, attributes, strict=True)),
            saved={n: a for n, a in zip(self.saves, saved, strict=True) if a is not None},
            shapes=shapes,
            needs=dict(zip(self.input_names, needs, strict=True)),
            explaining=explaining,
            title=f"{self.name} backward",
            again=partial(self.lower_backward, gradients, saved, attributes, shapes, needs, explaining=True),
        )
        outputs = _as_tuple(self.lower[1](low, *gradients))
        if outputs[0] is NotImplemented:
            return None
        return low, [o if n else None for o, n in zip(outputs, needs, strict=True)]

    def lower_gradients(
        self,
        arrays: Sequence[Array | None],
        outputs: Sequence[Array],
        attributes: tuple[Any, ...],
        shapes: dict[str, Any],
        needs: Sequence[bool],
        *,
        explaining: bool = False,
    ) -> tuple[Lowering, list[Array | None]] | None:
        """As `lower_backward`, for a forward pass that was lowered from `arrays` to `outputs`."""
        known = dict(zip(self.input_names, arrays, strict=True))
        known |= {place.name: y for place, y in zip(self.spec.outputs, outputs, strict=True)}
        given = [*outputs[: self.n_returned], *(known[n] for n in self.saves)]
        moved = [None if a is None else replace(a, storage=i, offset=0) for i, a in enumerate(given)]
        count = self.n_returned
        shapes = shapes | {place.name: y.shape for place, y in zip(self.spec.outputs, outputs, strict=True)}
        return self.lower_backward(moved[:count], moved[count:], attributes, shapes, needs, explaining=explaining)

    def count_flops(self, shapes: Mapping[str, Shape | None], attributes: tuple[Any, ...]) -> float | None:
        """FLOPs of a forward call on inputs of these shapes; None where the declaration does not say."""
        return None if self.flops is None else float(self.flops(**self._sizes(shapes, attributes)))

    def count_backward_flops(
        self, shapes: Mapping[str, Shape | None], attributes: tuple[Any, ...], needs: Sequence[bool]
    ) -> float | None:
        """FLOPs of a backward pass that gives the gradients in `needs`; None where the declaration does not say."""
        if self.backward_flops is None:
            return None
        wanted = dict(zip(self.input_names, needs, strict=True))
        return float(self.backward_flops(wanted, **self._sizes(shapes, attributes)))

    def _sizes(self, shapes: Mapping[str, Shape | None], attributes: tuple[Any, ...]) -> dict[str, Any]:
        """What a declaration's FLOPs follow from."""
        given = {n: shapes[n] for n in self.input_names}
        named = dict(zip(self.attribute_names, attributes, strict=True))
        return {**(given if self.spec.open else self.spec.bind(self.name, given)), **named}

    def _lower(
        self,
        arrays: list[np.ndarray | None],
        attributes: tuple[Any, ...],
        tensors: bool,
        out: np.ndarray | None,
    ) -> Recipe:
        shapes, floats = self.bind(arrays, attributes)
        recipe = None
        given = None if out is None else symbolic(out, len(arrays))
        lowered = self.lower_forward(_symbolic(arrays), attributes, shapes, floats, out=given)
        if lowered is not None:
            low, outputs = lowered
            if out is not None:
                self._check_out(outputs[0].shape, np.dtype(outputs[0].dtype), out)
            into = low.lies_in_out(outputs[0])
            recipe = self._recipe(low, outputs, shapes=shapes, returned=self.n_returned, into=into)
            if recipe is not None:
                shapes["->"] = [(o.shape, np.dtype(o.dtype)) for o in outputs]
                shapes |= {place.name: o.shape for place, o in zip(self.spec.outputs, outputs, strict=True)}
        if recipe is None:
            recipe = self._reference_recipe(arrays, shapes, floats)
        return recipe

    def _recipe(self, low: Lowering, outputs: Sequence[Array | None], **more: Any) -> Recipe | None:
        try:
            resolve = _resolve([*low.checks, *low.phases])
        except KernelsUnavailable as error:
            warnings.warn(f"compiled kernels cannot be used here ({error}); NumPy serves instead", RuntimeWarning)
            from fastnn._backend import use_backend

            use_backend("numpy")
            return None
        return Recipe(len(low.inputs), low, outputs, resolve, self.cell_names, **more)

    def _reference_recipe(
        self, arrays: list[np.ndarray | None], shapes: dict[str, Any], floats: Sequence[str]
    ) -> Recipe:
        names = (*self.attribute_names, *self.cell_names)
        count = len(self.input_names)
        dtype = np.dtype(self.result) if self.result else (np.dtype(floats[0]) if floats else None)

        def run(*values: Any) -> tuple[np.ndarray, ...]:
            with np.errstate(all="ignore"):
                results = _as_tuple(self.reference[0](*values[:count], **dict(zip(names, values[count:], strict=True))))
            ready = []
            for value in results:
                array = np.asarray(value)
                if dtype is not None and array.dtype != dtype and array.dtype.kind == "f" and dtype.kind == "f":
                    array = array.astype(dtype)
                ready.append(array)
            if "->" not in shapes:
                shapes["->"] = [(a.shape, a.dtype) for a in ready]
                shapes.update({place.name: a.shape for place, a in zip(self.spec.outputs, ready, strict=True)})
            return tuple(ready)

        return Recipe(count, reference=run, shapes=shapes)

    def _lower_backward(
        self, recipe: Recipe, needs: tuple[bool, ...], gradients: list[np.ndarray | None], saved: list[np.ndarray]
    ) -> Recipe:
        shapes = recipe.shapes
        needed = dict(zip(self.input_names, needs, strict=True))
        attrs = dict(zip(self.attribute_names, recipe.attrs, strict=True))
        count = len(gradients)
        if recipe.reference is None:
            arrays = _symbolic([*gradients, *saved])
            lowered = self.lower_backward(arrays[:count], arrays[count:], recipe.attrs, shapes, needs)
            made = None if lowered is None else self._recipe(*lowered)
            if made is not None:
                return made
        assert self.reference[1] is not None
        backward = self.reference[1]

        def run(*values: Any) -> tuple[np.ndarray | None, ...]:
            context = Saved(
                dict(zip(self.saves, values[count : count + len(saved)], strict=True)),
                shapes,
                needed,
                attrs,
                dict(zip(self.cell_names, values[count + len(saved) :], strict=True)),
            )
            with np.errstate(all="ignore"):
                results = _as_tuple(backward(context, *values[:count]))
            dtype = next(g.dtype for g in values[:count] if g is not None)
            return tuple(
                None if g is None or not n else np.asarray(g, dtype=dtype) for g, n in zip(results, needs, strict=True)
            )

        return Recipe(count + len(saved), reference=run)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def broadcast(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    """The shape rule of elementwise ops: NumPy's broadcasting."""
    present = {n: s for n, s in shapes.items() if s is not None}
    try:
        return [np.broadcast_shapes(*present.values())]
    except ValueError:
        words = ", ".join(f"{n} {s}" for n, s in present.items())
        raise ShapeError(f"{name}: shapes must broadcast together, got {words}") from None


_CATEGORIES = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


def torch_result_type(operands: Sequence[Any]) -> np.dtype[Any]:
    """The dtype that torch computes in.

    Tensors with axes decide; tensors without axes and Python numbers count only where their category (bool, integer,
    float, complex) is higher.
    """
    best: np.dtype[Any] | None = None
    groups: list[list[np.dtype[Any]]] = [[], [], []]
    for value in operands:
        if isinstance(value, np.ndarray):
            groups[0 if value.ndim else 1].append(value.dtype)
        elif isinstance(value, bool):
            groups[2].append(np.dtype(np.bool_))
        elif isinstance(value, int):
            groups[2].append(np.dtype(np.int64))
        else:
            groups[2].append(default.complex_ if isinstance(value, complex) else default.floating)
    for group in groups:
        within: np.dtype[Any] | None = None
        for dtype in group:
            within = dtype if within is None else _torch_promote(within, dtype)
        if within is None:
            continue
        if best is None or _CATEGORIES[within.kind] > _CATEGORIES[best.kind]:
            best = within if best is None else _torch_promote(best, within)
    assert best is not None
    return best


def _torch_promote(one: np.dtype[Any], two: np.dtype[Any]) -> np.dtype[Any]:
    if _CATEGORIES[one.kind] == _CATEGORIES[two.kind]:
        return np.promote_types(one, two)
    return max(one, two, key=lambda d: _CATEGORIES[d.kind])
