"""FLOPs and bytes of calls: what is declared, against sums worked out by hand; and who sees which calls."""

import threading

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.autograd import Function
from fastnn.inspection import Counter, Observer, backward_cost, forward_cost
from fastnn.ops import every
from fastnn.testing.samples import sample

OPS = list(every().values())


class Costs(Observer):
    def __init__(self):
        super().__init__()
        self.forward_costs, self.backward_costs, self.seen = [], [], []

    def on_forward(self, op, recipe, given, result):
        self.forward_costs.append(forward_cost(op, recipe))
        self.seen.append((op.name, len(given)))

    def on_backward(self, op, node, recipe, found, needs):
        self.backward_costs.append(backward_cost(op, recipe, found, needs))
        self.seen.append((op.name, needs))

    def on_derived(self, name, sources, results):
        self.seen.append((name, len(sources), len(results)))


def leaf(*shape, dtype="float32"):
    return fastnn.tensor(np.linspace(-1, 1, int(np.prod(shape)), dtype=dtype).reshape(shape), requires_grad=True)


def run(op, case, dtype):
    """The costs of a call and of its gradients."""
    inputs, attributes = sample(op, case, dtype)
    leaves = [
        None if x is None else fastnn.tensor(x, requires_grad=n not in op.apart + op.constant)
        for n, x in zip(op.input_names, inputs, strict=True)
    ]
    with Costs() as costs:
        results = op(*leaves, **attributes)
        results = results if isinstance(results, tuple) else (results,)
        roots = [y for y in results if y.requires_grad]
        if roots:
            ones = [fastnn.from_numpy(np.ones(y.shape, y.dtype)) for y in roots]
            fastnn.autograd.grad(roots, [x for x in leaves if x is not None and x.requires_grad], ones)
    return costs


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_says_what_it_costs_whatever_serves(op):
    for case in op.cases:
        compiled = run(op, case, "float32")
        with fastnn.use_backend("numpy"):
            reference = run(op, case, "float32")
        flops = [cost.flops for cost in compiled.forward_costs]
        assert flops == [cost.flops for cost in reference.forward_costs]
        assert all(f is not None and f >= 0 for f in flops)
        assert all(cost.nbytes is None for cost in reference.forward_costs)
        assert all(cost.nbytes >= 0 for cost in compiled.forward_costs)
        back = [cost.flops for cost in compiled.backward_costs]
        assert back == [cost.flops for cost in reference.backward_costs]
        # a gradient that is scattered by a reduction is worked out by NumPy alone
        assert op.name in ("norm", "scatter_reduce", "index_reduce") or None not in back


def test_linear():
    x, w, b = leaf(5, 7), leaf(3, 7), leaf(3)
    with Counter() as counter:
        y = ops.linear(x, w, b)
    assert (counter.forward_flops, counter.backward_flops) == (2 * 5 * 7 * 3, 0)
    with Counter() as counter:
        y.backward(fastnn.ones(5, 3))
    # dx and dw are products of the same size, db sums five rows
    assert (counter.forward_flops, counter.backward_flops) == (0, 2 * (2 * 5 * 7 * 3) + 5 * 3)


def test_only_gradients_that_are_wanted_count():
    x, w = fastnn.ones(5, 7), leaf(3, 7)
    with Counter() as counter:
        ops.linear(x, w, None).backward(fastnn.ones(5, 3))
    assert (counter.forward_flops, counter.backward_flops) == (210, 210)


@pytest.mark.parametrize(
    ("call", "forward", "backward"),
    [
        (lambda: ops.matmul(leaf(2, 3, 4), leaf(4, 5)), 2 * 2 * 3 * 4 * 5, 2 * 240),
        (lambda: ops.dense(leaf(4, 6), leaf(2, 6), leaf(2), "relu"), 96, 2 * 96 + 8 + 8),
        (lambda: leaf(3, 4) * leaf(4), 12, 12 + 12 + 12),  # both products, and the sum over the rows
        (lambda: leaf(3, 4).reshape(4, 3).T[1:], 0, 0),
        (lambda: leaf(4, 4).tanh().sum(), 16 + 16, 16),
        (lambda: ops.einsum("ij,kj->ki", leaf(2, 3), leaf(4, 3)), 48, 96),
    ],
)
def test_by_hand(call, forward, backward):
    with Counter() as counter:
        y = call()
        assert counter.forward_flops == forward
        y.backward(fastnn.ones(*y.shape))
    assert counter.backward_flops == backward
    assert counter.flops == forward + backward
    assert not counter.unknown


def test_gradients_that_meet_are_added_in_the_backward_pass():
    x = leaf(10)
    with Counter() as counter:
        y = x.tanh()
        (y.exp() + y.sin()).backward(fastnn.ones(10))
    assert counter.forward_flops == 4 * 10
    # exp, sin and tanh; what comes to y from both sides is added; the gradient of a sum is handed on
    assert counter.backward_flops == 4 * 10


def test_bytes():
    with Costs() as costs:
        ops.add(np.ones((3, 4), "f"), np.ones(4, "f"))
        ops.add(np.ones((3, 4)), np.ones((3, 4)))
    assert [cost.nbytes for cost in costs.forward_costs] == [4 * (12 + 12 + 4), 8 * 36]


def test_dtypes_count_alike():
    for dtype in ("int64", "float16", "float64"):
        with Counter() as counter:
            ops.multiply(np.ones((3, 4), dtype), np.ones((3, 4), dtype))
        assert counter.flops == 12


def test_a_call_into_memory_counts():
    x, out = np.ones((4, 4), "f"), np.empty((4, 4), "f")
    with Counter() as counter:
        ops.tanh(x, out=out)
        ops.tanh(x, out=x)
    assert counter.flops == 32


def test_what_comes_from_others_is_seen():
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            return fastnn.from_numpy(2 * x.detach().numpy())

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    x = leaf(4)
    with Costs() as costs:
        y = Double.apply(x)
        y.detach()
        y.add_(1)
        x.to("float64")
    assert costs.seen == [("detach", 1, 1), ("Double", 2, 1), ("detach", 1, 1), ("add", 2), ("overwrite", 1, 1),
                          ("to", 1, 1)]  # fmt: skip


def test_another_thread_is_not_watched():
    def work():
        ops.add(np.ones(5, "f"), 1.0)

    with Counter() as counter:
        other = threading.Thread(target=work)
        other.start()
        other.join()
    assert counter.flops == 0


def test_nested_and_ended():
    with Counter() as outer:
        ops.add(np.ones(5, "f"), 1.0)
        with Counter() as inner:
            ops.add(np.ones(5, "f"), 1.0)
    ops.add(np.ones(5, "f"), 1.0)
    assert (outer.flops, inner.flops) == (10, 5)


def test_an_error_of_an_observer_passes_on():
    class Failing(Observer):
        def on_forward(self, op, recipe, given, result):
            raise RuntimeError("seen")

    with pytest.raises(RuntimeError, match="seen"), Failing():
        ops.add(np.ones(5, "f"), 1.0)
    assert ops.add(np.ones(5, "f"), 1.0).sum() == 10
