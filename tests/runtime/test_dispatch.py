"""Calls of ops: every way to make one gives the same; recipes come, go and are shared by threads."""

import copy
import functools
import gc
import itertools
import operator
import pickle
import sys
import threading

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn._runtime import _fastnn_team as team
from fastnn._runtime.dispatch import Primitive, call_on
from fastnn._runtime.recipe import Recipe
from fastnn.ops.op import Op

HAVE_VECTORCALL = 1 << 11  # Py_TPFLAGS_HAVE_VECTORCALL
MOST_RECIPES = 1024


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


class Doubling(Primitive):
    """An op that is not in the table: ``2 * x + shift`` by its reference alone."""

    lowered = 0

    def __init__(self, **changes):
        declared = {
            "name": "doubling",
            "input_names": ["x"],
            "optional": [],
            "promoted": ["x"],
            "attributes": {"shift": 0},
            "cells": {"scale": 1.0},
            "returned": 1,
            "saved_inputs": [],
            "saved_outputs": [],
            "differentiable": False,
            "elementwise": False,
        }
        super().__init__(**(declared | changes))

    def _promote(self, given, arrays, tensors):
        return [np.asarray(g, "float32") for g in given]

    def _lower(self, arrays, attributes, tensors, out):
        self.lowered += 1
        return Recipe(1, reference=lambda x, shift, scale: (scale * (x + x + shift),))


# -- ways to call


def test_every_way_to_call_gives_the_same():
    x, y, out = floats(3, 4), floats(3, 4, seed=1), np.zeros((3, 4), "float32")
    calls = [
        lambda: ops.subtract(x, y),
        lambda: ops.subtract(x, y=y),
        lambda: ops.subtract(y=y, x=x),
        lambda: ops.subtract(*[x], **dict(zip("y", [y], strict=True))),
        lambda: ops.subtract(x, y, out=None),
        lambda: ops.subtract(x, y, out=out),
        lambda: ops.subtract(out=out, y=y, x=x),
        lambda: ops.subtract(x, y, **{"".join(["o", "ut"]): out}),
        lambda: ops.subtract.__call__(x, y),
        lambda: Op.__call__(ops.subtract, x, y, out=out),
        lambda: Primitive.__call__(ops.subtract, y=y, x=x),
        lambda: operator.call(ops.subtract, x, y),
        lambda: operator.call(ops.subtract, x, y, out=out),
        lambda: functools.partial(ops.subtract, x)(y),
        lambda: functools.partial(ops.subtract, out=out)(x, y),
        lambda: functools.partial(ops.subtract, x, y=y)(out=out),
        lambda: next(map(ops.subtract, [x], [y])),
        lambda: next(itertools.starmap(ops.subtract, [(x, y)])),
        lambda: functools.reduce(ops.subtract, [x, y]),
    ]
    for call in calls:
        out.fill(0)
        for _ in range(2):
            np.testing.assert_array_equal(call(), x - y)


def test_attributes_by_place_and_by_name_in_any_mixture():
    x = floats(2, 3, 4)
    expected = ops.sum(x, axis=(0, 2), keepdims=True)
    for call in (
        lambda: ops.sum(x, (0, 2), True),
        lambda: ops.sum(x, (0, 2), keepdims=True),
        lambda: ops.sum(keepdims=True, axis=(0, 2), x=x),
        lambda: ops.sum(x, axis=[0, 2], keepdims=1),
        lambda: ops.sum(x, axis=(np.int64(0), np.int64(2)), keepdims=np.True_),
        lambda: ops.sum(x, keepdims=True, axis=(0, 2), out=np.zeros((1, 3, 1), "float32")),
    ):
        for _ in range(2):
            np.testing.assert_array_equal(call(), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.add(), "add: x is missing"),
        (lambda x: ops.add(x), "add: y is missing"),
        (lambda x: ops.add(x, None), "add: y is missing"),
        (lambda x: ops.add(y=x), "add: x is missing"),
        (lambda x: ops.add(x, x=x), "add: got 'x' twice"),
        (lambda x: ops.add(x, x, y=x, out=x), "add: got 'y' twice"),
        (lambda x: ops.add(x, x, x), "add: takes at most 2 arguments, got 3"),
        (lambda x: ops.add(x, x, alpha=2), "add: got an unexpected argument 'alpha'; it takes x, y"),
        (lambda x: ops.add(x, x, out=x, where=x), "add: got an unexpected argument 'where'; it takes x, y"),
        (lambda x: ops.sum(x, axes=0), "sum: got an unexpected argument 'axes'; it takes x, axis, keepdims"),
        (lambda x: ops.sum(x, 0, axis=0), "sum: got 'axis' twice"),
        (lambda x: ops.sum(x, "a"), "sum: axis must be an integer or several, got 'a'"),
        (lambda x: ops.add(x, x, **{1: 2}), "keywords must be strings"),
        (lambda x: ops.add.__call__(x, x, alpha=2), "add: got an unexpected argument 'alpha'; it takes x, y"),
        (lambda x: ops.linear(x), "linear: w is missing"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    for _ in range(2):
        with pytest.raises(TypeError) as caught:
            call(floats(3))
        assert str(caught.value) == message


def test_attributes_that_are_equal_are_not_taken_for_each_other():
    x = floats(2, 3)
    for _ in range(3):
        assert ops.sum(x, axis=1, keepdims=True).shape == (2, 1)
        assert ops.sum(x, axis=1, keepdims=False).shape == (2,)
        assert ops.sum(x, axis=0, keepdims=1).shape == (1, 3)
        assert ops.sum(x, axis=0, keepdims=0).shape == (3,)
        with pytest.raises(TypeError, match="axis must be an integer"):
            ops.sum(x, axis=1.0)
    axes = [0]
    assert ops.sum(x, axis=axes).shape == (3,)
    axes[0] = 1
    assert ops.sum(x, axis=axes).shape == (2,)


def test_more_attributes_than_an_op_remembers():
    op, x = Doubling(), floats(2)
    for shift in [*range(2 * MOST_RECIPES), *range(5)]:
        np.testing.assert_array_equal(op(x, shift), 2 * x + np.float32(shift))
    assert op.lowered <= 2 * MOST_RECIPES + 5


def test_cells_are_values_and_make_no_recipes():
    op, x = Doubling(), floats(2)
    for scale in (1.0, 2, 3.5):
        np.testing.assert_array_equal(op(x, scale=scale), np.float32(scale) * (x + x))
    op(x)
    assert op.lowered == 1
    with pytest.raises(TypeError):
        op(x, scale="a")


# -- classes


def test_ops_are_called_by_vectorcall():
    assert Primitive.__flags__ & HAVE_VECTORCALL
    assert Op.__flags__ & HAVE_VECTORCALL
    Doubling()
    assert Doubling.__flags__ & HAVE_VECTORCALL


def test_a_class_may_define_its_own_call():
    class Loud(Doubling):
        def __call__(self, *args, **kwargs):
            return "loud", super().__call__(*args, **kwargs)

    loud, x = Loud(), floats(3)
    for result in (loud(x), loud(x, shift=0), functools.partial(loud, x)(), next(map(loud, [x]))):
        assert result[0] == "loud"
        np.testing.assert_array_equal(result[1], 2 * x)

    class Later(Doubling):
        pass

    later = Later()
    assert later(x)[0] == 2 * x[0]
    Later.__call__ = lambda self, *args, **kwargs: ("later", Doubling.__call__(self, *args, **kwargs), kwargs)
    for result in (later(x), functools.partial(later, x)(), next(map(later, [x]))):
        assert result[0] == "later"
        np.testing.assert_array_equal(result[1], 2 * x)
    assert later(x, shift=1)[2] == {"shift": 1}
    del Later.__call__
    np.testing.assert_array_equal(later(x), 2 * x)


def test_copies_and_pickles_of_an_op_are_the_op():
    for op in (ops.add, ops.matmul, ops.cross_entropy):
        assert copy.copy(op) is op
        assert copy.deepcopy([op])[0] is op
        assert pickle.loads(pickle.dumps(op)) is op
    partial = pickle.loads(pickle.dumps(functools.partial(ops.add, floats(2))))
    assert partial(floats(2)).shape == (2,)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"input_names": [f"x{i}" for i in range(17)]}, "at most 16 inputs, got 17"),
        ({"cells": {f"c{i}": 0.0 for i in range(17)}}, "at most 16 cells, got 17"),
        ({"saved_inputs": [0] * 5, "saved_outputs": [0] * 4}, "at most 8 saved arrays, got 9"),
        ({"attributes": {f"a{i}": 0 for i in range(65)}, "cells": {}}, "at most 64 arguments, got 66"),
    ],
)
def test_declarations_that_are_too_large_are_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        Doubling(**changes)


# -- arguments that are not ready as they come


def test_arguments_of_every_kind():
    x = floats(4)
    swapped = x.astype(">f4")
    odd = np.zeros(17, "uint8")[1:].view("float32")
    odd[...] = x
    reverse = x[::-1].copy()[::-1]

    class Named(np.ndarray):
        pass

    expected = x + x
    for given in (x, swapped, odd, reverse, x.view(Named), x.tolist(), x.astype("float64"), x[:, None][:, 0]):
        for _ in range(2):
            for result in (ops.add(given, x), ops.add(x, given)):
                np.testing.assert_array_equal(result, expected)
                assert type(result) is np.ndarray
    assert ops.add(x, x.astype("float64")).dtype == np.float64
    assert ops.add(x, np.float64(1)).dtype == np.float64
    assert ops.add(np.float32(2), np.float32(3)).shape == ()
    assert ops.add(2.0, 3.0) == 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_python_numbers_take_the_dtype_of_the_arrays(dtype):
    x = floats(4).astype(dtype)
    for number in (2, 2.5, True, -0.0, 1e300, float("inf"), 10**20):
        for _ in range(2):
            with np.errstate(over="ignore"):
                value = np.asarray(float(number)).astype(dtype)
            for got, expected in (
                (ops.subtract(x, number), x - value),
                (ops.subtract(number, x), value - x),
                (ops.multiply(fastnn.tensor(x), number).array, x * value),
            ):
                assert got.dtype == dtype
                np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match="subtract: y is too large for a float"):
        ops.subtract(x, 10**400)


def test_numbers_are_kept_for_backward():
    t = fastnn.tensor(floats(4), requires_grad=True)
    (2.0 * t * 3).sum().backward()
    assert t.grad.tolist() == [6, 6, 6, 6]
    t.grad = None
    (1 / t).sum().backward()
    np.testing.assert_allclose(t.grad.array, -1 / t.detach().array ** 2, rtol=1e-6)


def test_signatures_have_room_for_most_axes_and_say_when_not():
    many = np.ones((1,) * 64, "float32")
    assert ops.add(many[..., 0].reshape((1,) * 30), 1.0).ndim == 30

    class Wide(Doubling):
        def _promote(self, given, arrays, tensors):
            return arrays

        def _lower(self, arrays, attributes, tensors, out):
            return Recipe(len(arrays), reference=lambda *values: (values[0],))

    for count in (3, 4):
        op = Wide(input_names=[f"x{i}" for i in range(count)])
        if count == 3:
            assert op(*[many] * count).ndim == 64
        else:
            with pytest.raises(ValueError, match="doubling: too many axes"):
                op(*[many] * count)


def test_the_backend_counts_for_each_call():
    x = floats(5)
    for backend in ("kernels", "numpy") * 3:
        with fastnn.use_backend(backend):
            team.record(True)
            ops.add(x, x)
            team.record(False)
            phases, _ = team.drain()
            assert bool(phases) == (backend == "kernels")


# -- what a call leaves behind


def test_calls_leave_no_references():
    x, y, out, label = floats(3, 4), floats(4, 2), np.zeros((3, 2), "float32"), np.array([0, 1, 0])
    t, u = fastnn.tensor(x), fastnn.tensor(y, requires_grad=True)

    def wrong(call):
        with pytest.raises((TypeError, ValueError, RuntimeError, IndexError)):
            call()

    calls = [
        lambda: ops.matmul(x, y),
        lambda: ops.matmul(x, y, out=out),
        lambda: ops.matmul(x, y, out=out.T.copy().T),
        lambda: ops.matmul(t, u).sum().backward(),
        lambda: ops.sum(x, axis=(0, 1), keepdims=True),
        lambda: ops.add(x, 2.0),
        lambda: ops.multiply(u, 2.0),
        lambda: ops.add(x, x, out=x),
        lambda: ops.add(x.T, x.T, out=x.T),
        lambda: ops.cross_entropy(out, label),
        lambda: ops.cross_entropy(fastnn.tensor(out), label),
        lambda: wrong(lambda: ops.matmul(x, x)),
        lambda: wrong(lambda: ops.matmul(x, y, out=x)),
        lambda: wrong(lambda: ops.matmul(x, y, out=[])),
        lambda: wrong(lambda: ops.add(x, 10**400)),
        lambda: wrong(lambda: ops.add(x, None)),
        lambda: wrong(lambda: ops.add(x, x, foo=out)),
        lambda: wrong(lambda: ops.add(u, u, out=u)),
        lambda: wrong(lambda: ops.cross_entropy(out, label + 7)),
    ]
    watched = [x, y, out, label, t, u, u.array, t.array]

    def held():
        u.grad = None
        return [sys.getrefcount(thing) for thing in watched]

    for call in calls:
        for _ in range(3):
            call()
        before = held()
        for _ in range(50):
            call()
        if held() != before:  # a traceback may be part of a cycle
            gc.collect()
            assert held() == before


def test_a_tensor_may_be_given_other_memory_while_it_is_used():
    t = fastnn.tensor(floats(1000, 1000))
    stop = threading.Event()

    def change():
        while not stop.is_set():
            t.data = fastnn.tensor(np.ones((1000, 1000), "float32"))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            assert ops.add(t, 1.0).shape == (1000, 1000)
    finally:
        stop.set()
        thread.join()
    assert (ops.add(t, 1.0).array == 2).all()


# -- recipes


def test_more_signatures_than_an_op_keeps():
    x = floats(2 * MOST_RECIPES)
    lengths = [*range(1, MOST_RECIPES + 100), 5, 6, 7, *range(1, 40)]
    for n in lengths:
        np.testing.assert_array_equal(ops.negative(x[:n]), -x[:n])


def test_known_signatures_are_not_lowered_again():
    op = Doubling()
    arrays = [floats(n) for n in range(1, 101)]
    for x in arrays * 3:
        op(x)
        op(x, out=np.zeros_like(x))
    assert op.lowered == 200
    op.forget()
    op(arrays[0])
    assert op.lowered == 201


@pytest.fixture
def quick_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(*functions):
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_threads_share_an_op_and_alternate_between_signatures(quick_switches):
    shapes = ((4, 4, 4), (3, 5, 2), (60, 70, 80), (1, 9, 1))
    operands = [(floats(m, k, seed=m), floats(k, n, seed=n)) for m, k, n in shapes]
    expected = [ops.matmul(a, b) for a, b in operands]

    def work(first):
        outs = [np.zeros_like(e) for e in expected]
        turned = [np.zeros_like(e.T).T for e in expected]
        for i in range(first, first + 400):
            place = i % len(operands)
            a, b = operands[place]
            for got in (
                ops.matmul(a, b),
                ops.matmul(a, b, out=outs[place]),
                ops.matmul(a, b, out=turned[place]),
                ops.matmul(fastnn.tensor(a), b).array,
            ):
                np.testing.assert_array_equal(got, expected[place])

    run_together(*[functools.partial(work, first) for first in range(4)])


def test_recipes_are_dropped_while_others_use_them(quick_switches):
    large = floats(700, 700)  # runs without the interpreter's lock
    small = floats(2000)
    twice, done = large + large, threading.Event()

    def use():
        out = np.zeros((700, 1400), "float32")[:, ::2]
        while not done.is_set():
            np.testing.assert_array_equal(ops.add(large, large), twice)
            np.testing.assert_array_equal(ops.add(large, large, out=out), twice)

    def meet_new_signatures():
        try:
            for n in range(1, MOST_RECIPES + 200):
                ops.add(small[:n], small[:n])
            for n in range(1, 300):
                ops.add.forget()
                np.testing.assert_array_equal(ops.add(small[:n], 1.0), small[:n] + np.float32(1))
        finally:
            done.set()

    run_together(use, use, meet_new_signatures)


def test_threads_meet_new_attributes_together(quick_switches):
    op, x = Doubling(), floats(3)

    def work():
        for shift in range(1200):
            np.testing.assert_array_equal(op(x, shift=shift), 2 * x + np.float32(shift))

    run_together(work, work, work)


# -- several outputs


class Split(Doubling):
    """Quotient and remainder, and what no caller sees."""

    def __init__(self):
        super().__init__(input_names=["x", "y"], promoted=["x", "y"], attributes={}, cells={}, returned=2)

    def _lower(self, arrays, attributes, tensors, out):
        return Recipe(2, reference=lambda x, y: (x // y, x % y, x))


def test_out_of_an_op_with_several_outputs_is_its_first():
    op, x, y = Split(), np.array([7, 8, 9], "float32"), np.array([2, 3, 4], "float32")
    quotient, rest = op(x, y)
    assert quotient.tolist() == [3, 2, 2]
    assert rest.tolist() == [1, 2, 1]
    out = np.zeros(3)
    first, second = op(x, y, out=out)
    assert first is out
    assert out.tolist() == [3, 2, 2]
    assert second.tolist() == [1, 2, 1]
    first, second = op(fastnn.tensor(x), y, out=out)
    assert isinstance(first, fastnn.Tensor)
    assert first.array is out
    assert isinstance(second, fastnn.Tensor)
    t = fastnn.tensor(np.zeros(3, "float32"))
    assert op(x, y, out=t) is t


def test_what_only_backward_needs_is_not_made_for_others():
    logits, labels = floats(6, 5), np.array([0, 1, 2, 3, 4, 0])
    loss = ops.cross_entropy(logits, labels)
    t = fastnn.tensor(logits, requires_grad=True)
    recorded = ops.cross_entropy(t, labels)
    assert recorded.item() == loss == ops.cross_entropy(logits, labels, out=np.zeros((), "float32"))
    recorded.backward()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    p[np.arange(6), labels] -= 1
    np.testing.assert_allclose(t.grad.array, p / 6, atol=1e-6)
    for _ in range(2):
        with pytest.raises(IndexError, match="7"):
            ops.cross_entropy(logits, labels + 7)


def test_arrays_in_one_sequence():
    x, y = np.arange(3.0, dtype="float32"), np.ones(2, "float32")
    for sequence in ([x, y], (x, y), iter([x, y])):
        np.testing.assert_array_equal(call_on(ops.concatenate, sequence, 0), [0, 1, 2, 1, 1])
    assert call_on(ops.stack, [x, x], 1).shape == (3, 2)
    assert call_on(ops.stack, [x, x], -2).shape == (2, 3)
    a, b = (fastnn.tensor(v, requires_grad=True) for v in (x, y))
    call_on(ops.concatenate, [a, b], 0).backward(fastnn.arange(5.0))
    assert (a.grad.tolist(), b.grad.tolist()) == ([0, 1, 2], [3, 4])
    with pytest.raises(TypeError, match="concatenate: takes at most 16 arrays, got 17"):
        call_on(ops.concatenate, [x] * 17, 0)
    with pytest.raises(IndexError, match="axis"):
        call_on(ops.concatenate, [x, y], 3)
    with pytest.raises(TypeError, match="x0 is missing"):
        call_on(ops.concatenate, [], 0)
