"""Sample modules of torch's module table: state dict, forward, gradients, buffers afterwards, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

import fastnn
from benchmarks.conformance.compare import Different, compare, same_gradient
from benchmarks.conformance.convert import Converter, plain, tensors
from benchmarks.conformance.operators import CLEAR, deepcopied, is_ours, is_torch
from benchmarks.conformance.options import Options
from benchmarks.conformance.outcome import Outcome


def table() -> dict[str, Any]:
    """torch's modules by class name."""
    return {info.module_cls.__name__: info for info in module_db}


def check(info: Any, options: Options, report: Callable[[str], None]) -> Outcome:
    """Build, run and differentiate one module on its samples, training and not."""
    outcome = Outcome(info.module_cls.__name__, report)
    ours = getattr(fastnn.nn, outcome.name, None)
    if ours is None:
        outcome.absent = f"fastnn.nn has no {outcome.name}"
        return outcome
    for dtype in options.dtypes:
        kind = getattr(torch, dtype)
        if kind not in info.dtypes:
            outcome.skips[f"torch does not take {dtype}"] += 1
            continue
        for training in (True, False):
            torch.manual_seed(0)
            given = info.module_inputs_func(info, "cpu", kind, requires_grad=options.backward, training=training)
            for number, sample in enumerate(given):
                if options.samples and number >= options.samples:
                    break
                where = f"{dtype}, sample {number} {sample.desc} {'training' if training else 'eval'}"
                for strided in (False, True) if options.noncontiguous else (False,):
                    with outcome.checking(f"{where}{' strided' if strided else ''}"):
                        _sample(info.module_cls, ours, sample, kind, training, strided, options)
    if options.errors and info.module_error_inputs_func is not None:
        for training in (True, False):
            given = info.module_error_inputs_func(info, "cpu", torch.float32, requires_grad=False, training=training)
            for number, error in enumerate(given):
                with outcome.checking(f"error {number}"):
                    _error(ours, error)
    return outcome


def _strided(value: Any) -> Any:
    if is_torch(value) and value.is_floating_point():
        return torch.testing._internal.common_utils.noncontiguous_like(value)
    if type(value) in (tuple, list):
        return type(value)(_strided(item) for item in value)
    return value


def _sample(theirs: Any, ours: Any, sample: Any, kind: Any, training: bool, strided: bool, options: Options) -> None:
    built = sample.constructor_input
    torch.manual_seed(1)
    peer = theirs(*built.args, **built.kwargs).to(kind).train(training)
    args, named = Converter(torch, fastnn)((built.args, built.kwargs))
    own = ours(*args, **named).to(np.dtype(str(kind).rsplit(".", 1)[-1])).train(training)
    state, own_state = peer.state_dict(), own.state_dict()
    if list(state) != list(own_state):
        raise Different(f"state_dict: expected keys {list(state)}, got {list(own_state)}")
    compare(
        {key: plain(value) for key, value in own_state.items()},
        {key: plain(value) for key, value in state.items()},
        values=False,
        where="state_dict",
    )
    own.load_state_dict({key: plain(value).copy() for key, value in state.items()})
    if repr(peer) != repr(own):
        raise Different(f"repr: expected {' '.join(repr(peer).split())!r}, got {' '.join(repr(own).split())!r}")
    call = sample.forward_input
    if call is None:
        return
    args, named = (_strided(call.args) if strided else call.args), call.kwargs
    args, named = _leaves(args), _leaves(named)
    convert = Converter(torch, fastnn, gradients=options.backward)
    own_args, own_named = convert((args, named))
    values = _is_determined(peer, args, named, bool(training))
    with torch.set_grad_enabled(options.backward), fastnn.set_grad_enabled(options.backward):
        expected = peer(*args, **named)
        result = own(*own_args, **own_named)
    compare(plain(result), plain(expected), factor=5 * options.tolerance, values=values, where="output")
    if not values:
        return
    compare(
        {key: plain(value) for key, value in own.state_dict().items()},
        {key: plain(value) for key, value in peer.state_dict().items()},
        factor=options.tolerance,
        where="state_dict afterwards",
    )
    if options.backward:
        _gradients(peer, own, expected, result, convert, options)


def _leaves(value: Any) -> Any:
    """Leaves of their own, requiring grad as before."""
    if is_torch(value):
        return deepcopied(value).requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: _leaves(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_leaves(item) for item in value)
    return value


def _is_determined(peer: Any, args: Any, named: Any, training: bool) -> bool:
    """Whether the module gives the same for another seed; its buffers are put back."""
    kept = {key: value.clone() for key, value in peer.state_dict().items()}
    found = []
    for seed in (7, 8):
        torch.manual_seed(seed)
        with torch.no_grad():
            found.append(plain(peer(*deepcopied(args), **deepcopied(named))))
        peer.load_state_dict(kept)
    try:
        compare(found[0], found[1])
    except Different:
        return False
    return True


def _gradients(peer: Any, own: Any, expected: Any, result: Any, convert: Converter, options: Options) -> None:
    roots = [x for x in tensors(expected, is_torch) if x.requires_grad]
    own_roots = [x for x in tensors(result, is_ours) if x.requires_grad]
    if len(roots) != len(own_roots):
        raise Different(f"expected {len(roots)} results that require grad, got {len(own_roots)}")
    if not roots:
        return
    numbers = np.random.default_rng(3)
    cotangents = [numbers.standard_normal(x.shape).astype(plain(x).dtype) for x in roots]
    torch.autograd.backward(roots, [torch.from_numpy(c) for c in cotangents])
    fastnn.autograd.backward(own_roots, [fastnn.from_numpy(c) for c in cotangents])
    pairs = [(f"argument {i}", a, b) for i, (b, a) in enumerate(convert.pairs) if b.requires_grad]
    own_parameters = dict(own.named_parameters())
    pairs += [(name, own_parameters[name], p) for name, p in peer.named_parameters()]
    for name, a, b in pairs:
        same_gradient(
            None if a.grad is None else plain(a.grad),
            None if b.grad is None else plain(b.grad),
            factor=10 * options.tolerance,
            where=f"gradient of {name}",
        )


def _error(ours: Any, error: Any) -> None:
    sample = error.module_error_input
    built, call = sample.constructor_input, sample.forward_input
    args, named = Converter(torch, fastnn)((built.args, built.kwargs))
    try:
        own = ours(*args, **named)
        if error.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            raise Different(
                f"construction must raise {error.error_type.__name__} ({error.error_regex[:120]}), raises nothing"
            )
        args, named = Converter(torch, fastnn)((call.args, call.kwargs))
        own(*args, **named)
    except CLEAR:
        return
    raise Different(f"forward must raise {error.error_type.__name__} ({error.error_regex[:120]}), raises nothing")
