"""Sample calls of torch's operator table: functions, methods (in place too), operators, `out=`, gradients, errors."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import fastnn
from benchmarks.conformance.compare import Different, compare, same_gradient
from benchmarks.conformance.convert import Converter, Unconvertible, plain, tensors
from benchmarks.conformance.options import Options
from benchmarks.conformance.outcome import Outcome
from benchmarks.conformance.ties import allow

Call = Callable[..., Any]

# Errors that a caller can understand; anything else is a mistake that was not foreseen.
CLEAR = (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError)


def table() -> dict[str, Any]:
    """torch's operators by name; a variant's name follows a dot."""
    return {info.full_name: info for info in op_db}


def is_torch(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def is_ours(value: Any) -> bool:
    return isinstance(value, fastnn.Tensor)


def resolve(root: Any, name: str) -> Any:
    """A dotted name's value below `root`; None where there is none."""
    found = root
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def method(kind: type, name: str) -> Call | None:
    """A method, or a property as a function of its object; None where objects of the kind have no such attribute."""
    if name.startswith("__"):  # types have operators too, such as | of unions
        return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    found = getattr(kind, name, None)
    if callable(found):
        return found
    if found is not None:
        return lambda x: getattr(x, name)
    if not hasattr(fastnn.tensor(1.0), name):
        return None
    return lambda x, *rest, **named: getattr(x, name)(*rest, **named)


def _in_place(info: Any) -> Call | None:
    """Our counterpart of the table's in-place form: a method, or the function with ``inplace=True``."""
    if isinstance(info.inplace_variant, partial):
        ours = resolve(fastnn, info.name)
        return None if ours is None else partial(ours, **info.inplace_variant.keywords)
    if is_own(info.inplace_variant):
        return rebound(info.inplace_variant) if exists(info.name) else None
    return method(fastnn.Tensor, info.inplace_variant.__name__)


def is_own(function: Any) -> bool:
    """Whether a function is one of the table's own small ones."""
    return isinstance(function, types.FunctionType) and "torch.testing" in (function.__module__ or "")


class _Ours:
    """fastnn, with methods as functions where it has no function of a name."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(fastnn, name, None)
        return getattr(fastnn.Tensor, name) if found is None else found


def rebound(function: types.FunctionType) -> Call:
    """One of the table's own small functions, with fastnn in torch's place."""
    names = {**function.__globals__, "torch": _Ours()}
    made = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def ways(info: Any) -> tuple[dict[str, tuple[Call, Call]], list[str]]:
    """How the operator can be called, as (torch's, ours) by the way's name; and which of torch's ways we lack."""
    name, short = info.name, info.name.rsplit(".", 1)[-1]
    own = is_own(info.op)
    wanted: dict[str, tuple[Any, Any]] = {}
    if own:
        wanted["function"] = (info.op, rebound(info.op))
    elif resolve(torch, name) is not None:
        wanted["function"] = (info.op, resolve(fastnn, name))
    if info.method_variant is not None and not own:
        wanted["method"] = (info.method_variant, method(fastnn.Tensor, short))
    if info.inplace_variant is not None:
        wanted["in place"] = (info.inplace_variant, _in_place(info))
    for way, sign in (("operator", info.operator_variant), ("in-place operator", info.inplace_operator_variant)):
        if sign is not None and sign.__name__ not in ("floordiv", "ifloordiv"):
            wanted[way] = (sign, sign)
    for alias in info.aliases:
        if alias.op is not None:
            wanted[f"alias {alias.name}"] = (info.op, resolve(fastnn, alias.name.removeprefix("torch.")))
    if own and not exists(name):
        return {}, list(wanted)
    found = {way: pair for way, pair in wanted.items() if pair[1] is not None}
    return found, [way for way in wanted if way not in found]


def exists(name: str) -> bool:
    """Whether fastnn has something of a name: a function, a method or a property."""
    short = name.rsplit(".", 1)[-1]
    return resolve(fastnn, name) is not None or any(method(fastnn.Tensor, n) for n in (short, f"{short}_"))


def check(info: Any, options: Options, report: Callable[[str], None]) -> Outcome:
    """Call one operator on its samples, in each dtype."""
    outcome = Outcome(info.full_name, report)
    found, lacking = ways(info)
    if not set(found) - {"operator", "in-place operator"}:
        outcome.absent = "fastnn has no " + " and no ".join(lacking or ["such name"])
        return outcome
    outcome.notes += [f"lacks {way}" for way in lacking]
    for dtype in options.dtypes:
        kind = getattr(torch, dtype)
        if not info.supports_dtype(kind, "cpu"):
            outcome.skips[f"torch does not take {dtype}"] += 1
            continue
        wants_gradients = options.backward and kind in info.supported_backward_dtypes("cpu") and info.supports_autograd
        for number, sample in enumerate(samples(info, kind, wants_gradients, options)):
            where = f"{dtype}, sample {number}"
            _sample(outcome, info, found, sample, where, options, wants_gradients)
            if options.noncontiguous:
                _sample(outcome, info, found, sample.noncontiguous(), f"{where} strided", options, wants_gradients)
    if options.errors and info.error_inputs_func is not None:
        for number, error in enumerate(info.error_inputs("cpu")):
            _error(outcome, found, error, f"error {number}")
    return outcome


def samples(info: Any, kind: Any, gradients: bool, options: Options) -> Iterator[Any]:
    """The table's sample calls; with `--reference` those of its larger set."""
    torch.manual_seed(0)
    give = info.reference_inputs if options.reference else info.sample_inputs
    for number, sample in enumerate(give("cpu", kind, requires_grad=gradients)):
        if options.samples and number >= options.samples:
            return
        yield sample


def _sample(
    outcome: Outcome,
    info: Any,
    found: dict[str, tuple[Call, Call]],
    sample: Any,
    where: str,
    options: Options,
    gradients: bool,
) -> None:
    arguments = (sample.input, sample.args, sample.kwargs)
    if reason := differs(info.name, sample):
        outcome.skips[f"differs on purpose: {reason}"] += 1
        return
    try:
        expected = plain(_call_torch(info.op, arguments))
    except Unconvertible as reason:
        outcome.skips[str(reason)] += 1
        return
    except Exception as error:
        outcome.skips[f"torch raises {type(error).__name__}"] += 1
        return
    values = _is_determined(info, arguments, expected)
    if not values:
        outcome.skips["values of random or uninitialised results"] += 1
    for way, (theirs, ours) in found.items():
        in_place = way.startswith("in")
        if in_place and (sample.broadcasts_input or not is_torch(sample.input)):
            continue
        if way.endswith("perator") and (len(sample.args) != int(_is_binary(theirs)) or sample.kwargs):
            continue
        with outcome.checking(f"{way} ({where})"):
            _compare_call(info.name, theirs, ours, arguments, values, in_place, options)
    if not info.supports_out or info.name.startswith("nn.") or "function" not in found or not values:
        pass
    elif is_torch(expected_tensors := _call_torch(info.op, arguments)) or isinstance(expected_tensors, tuple):
        with outcome.checking(f"out= ({where})"):
            _compare_out(info.name, *found["function"], arguments, expected_tensors, options)
    if gradients and values and "function" in found:
        theirs, ours = found["function"]
        with outcome.checking(f"gradient ({where})"):
            _compare_gradients(theirs, ours, sample, options)
    elif gradients and values and "method" in found:
        theirs, ours = found["method"]
        with outcome.checking(f"gradient ({where})"):
            _compare_gradients(theirs, ours, sample, options)


def differs(name: str, sample: Any) -> str:
    """Why fastnn does otherwise than torch on a sample on purpose; nothing where it does not."""
    # torch's documentation demands integers here; it cuts the fraction off (1.9 becomes 1), which fastnn reports
    fractional = any(isinstance(sample.kwargs.get(factor), float) for factor in ("beta", "alpha"))
    sums = name in ("addmm", "addmv", "addbmm", "baddbmm")
    if sums and fractional and not sample.input.dtype.is_floating_point:
        return "a fractional factor of integers raises"
    return ""


def _is_binary(sign: Call) -> bool:
    return sign not in (operator.neg, operator.abs, operator.invert, operator.pos)


def _call_torch(function: Call, arguments: tuple[Any, Any, Any]) -> Any:
    first, rest, named = deepcopied(arguments)
    torch.manual_seed(7)
    with torch.no_grad():
        return function(first, *rest, **named)


def deepcopied(value: Any) -> Any:
    """Copies of all tensors, with their layouts; the rest as it is."""
    if is_torch(value):
        with torch.no_grad():
            return deepcopy(value.detach())
    if isinstance(value, dict):
        return {key: deepcopied(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(deepcopied(item) for item in value)
    return value


def _is_determined(info: Any, arguments: tuple[Any, Any, Any], expected: Any) -> bool:
    """Whether a second call with another seed gives the same."""
    if "empty" in info.name or info.name in ("resize_", "resize_as_"):
        return False
    first, rest, named = deepcopied(arguments)
    torch.manual_seed(8)
    with torch.no_grad():
        own = info.op
        if isinstance(own, types.FunctionType) and "wrapper_set_seed" in own.__code__.co_names:
            return not _draws(own)
        again = plain(own(first, *rest, **named))
    try:
        compare(again, expected)
    except Different:
        return False
    return True


def _draws(function: types.FunctionType) -> bool:
    """Whether one of the table's seeded wrappers has random numbers at all; attention and embeddings may not."""
    certain = {"embedding", "embedding_bag", "scaled_dot_product_attention", "multi_head_attention_forward"}
    return not certain & set(function.__code__.co_names)


def _compare_call(
    name: str,
    theirs: Call,
    ours: Call,
    arguments: tuple[Any, Any, Any],
    values: bool,
    in_place: bool,
    options: Options,
) -> None:
    first, rest, named = deepcopied(arguments)
    convert = Converter(torch, fastnn)
    own_first, own_rest, own_named = convert((first, rest, named))
    if in_place:
        before = deepcopied(arguments)
        try:
            with torch.no_grad():
                torch.manual_seed(7)
                theirs(first, *rest, **named)
        except RuntimeError:  # such as a result that does not fit into the operand's dtype
            try:
                ours(own_first, *own_rest, **own_named)
            except CLEAR:
                compare(plain(own_first), plain(before[0]), where="after an error")
                return
            raise Different("torch raises, fastnn does not") from None
        result = ours(own_first, *own_rest, **own_named)
        if result is not own_first:
            raise Different(f"must return its object, got {type(result).__name__}")
        compare(plain(own_first), plain(first), factor=options.tolerance, values=values)
        return
    expected = plain(_call_torch(theirs, arguments))
    with fastnn.no_grad():
        result = plain(ours(own_first, *own_rest, **own_named))
    allowed = allow(name, plain(first), rest, named, result, expected)
    compare(result, allowed, factor=options.tolerance, values=values)
    for theirs_, ours_ in convert.pairs:  # arguments stay as they were, unless the operator changes them
        if ours_._version == 0:
            compare(plain(ours_), plain(theirs_), where="argument afterwards", values=values)


def _compare_out(
    name: str, theirs: Call, ours: Call, arguments: tuple[Any, Any, Any], expected: Any, options: Options
) -> None:
    if "out" in arguments[2]:
        raise Unconvertible("out given by the sample")
    several = isinstance(expected, tuple)
    members = expected if several else (expected,)
    if not all(is_torch(member) for member in members):
        raise Unconvertible("out for other than tensors")
    first, rest, named = deepcopied(arguments)
    try:
        theirs(first, *rest, **named, out=tuple(map(torch.empty_like, members)) if several else members[0].clone())
    except Exception as error:
        raise Unconvertible(f"torch raises {type(error).__name__} for out") from None
    own_first, own_rest, own_named = Converter(torch, fastnn)(deepcopied(arguments))
    places = tuple(fastnn.from_numpy(np.full(m.shape, 77, plain(m).dtype)) for m in members)
    with fastnn.no_grad():
        result = ours(own_first, *own_rest, **own_named, out=places if several else places[0])
    written, wanted = (plain(places), plain(tuple(members))) if several else (plain(places[0]), plain(expected))
    allowed = allow(name, plain(arguments[0]), rest, named, written, wanted)
    compare(written, allowed, factor=options.tolerance, where="out")
    if not several and result is not places[0]:
        raise Different(f"must return out, got {type(result).__name__}")


def _compare_gradients(theirs: Call, ours: Call, sample: Any, options: Options) -> None:
    arguments = _leaves((sample.input, sample.args, sample.kwargs))
    leaves = [x for x in tensors(arguments, is_torch) if x.requires_grad]
    if not leaves:
        raise Unconvertible("no argument requires grad")
    convert = Converter(torch, fastnn, gradients=True)
    first, rest, named = convert(arguments)
    own_leaves = [convert(x) for x in leaves]
    torch.manual_seed(7)
    expected = sample.output_process_fn_grad(theirs(arguments[0], *arguments[1], **arguments[2]))
    result = sample.output_process_fn_grad(ours(first, *rest, **named))
    roots = [x for x in tensors(expected, is_torch) if x.is_floating_point()]
    own_roots = [x for x in tensors(result, is_ours) if x.is_floating_point()]
    compare([plain(x) for x in own_roots], [plain(x) for x in roots], factor=options.tolerance, where="outputs")
    asked, own_asked = [x.requires_grad for x in roots], [x.requires_grad for x in own_roots]
    if asked != own_asked:
        raise Different(f"requires_grad of the results: expected {asked}, got {own_asked}")
    if not any(asked):
        return
    numbers = np.random.default_rng(3)
    cotangents = [numbers.standard_normal(x.shape).astype(plain(x).dtype) for x in roots]
    chosen = [i for i, yes in enumerate(asked) if yes]
    wanted = torch.autograd.grad(
        [roots[i] for i in chosen], leaves, [torch.from_numpy(cotangents[i]) for i in chosen], allow_unused=True
    )
    own = fastnn.autograd.grad(
        [own_roots[i] for i in chosen],
        own_leaves,
        [fastnn.from_numpy(cotangents[i]) for i in chosen],
        allow_unused=True,
    )
    for number, (a, b) in enumerate(zip(own, wanted, strict=True)):
        same_gradient(
            None if a is None else plain(a),
            None if b is None else plain(b),
            factor=5 * options.tolerance,
            where=f"gradient of tensor {number}",
        )


def _leaves(value: Any) -> Any:
    """As `deepcopied`, keeping which tensors require grad."""
    if is_torch(value):
        made = deepcopy(value.detach())
        return made.requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: _leaves(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_leaves(item) for item in value)
    return value


def _error(outcome: Outcome, found: dict[str, tuple[Call, Call]], error: Any, where: str) -> None:
    sample = error.sample_input
    if "function" not in found and "method" not in found:
        return
    theirs, ours = found.get("function") or found["method"]
    try:
        _call_torch(theirs, (sample.input, sample.args, sample.kwargs))
    except Exception:
        pass  # as it must
    else:
        outcome.skips["torch raises nothing where its table says so"] += 1
        return
    with outcome.checking(where):
        first, rest, named = Converter(torch, fastnn)((sample.input, sample.args, sample.kwargs))
        try:
            ours(first, *rest, **named)
        except CLEAR as ours_error:
            if "unexpected keyword" in str(ours_error):
                raise
            return
        raise Different(f"must raise {error.error_type.__name__} ({error.error_regex[:120]}), raises nothing")
