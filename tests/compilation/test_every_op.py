"""Every op, from its declaration: what a replay gives is what a call gives, for other numbers than were recorded."""

import numpy as np
import pytest

import fastnn
from fastnn.ops import every
from fastnn.testing.samples import sample

OPS = list(every().values())
# what these do depends on the values: how many elements there are in the end
CALLS = [pytest.param(op, case, id=f"{op.name}-{i}") for op in OPS for i, case in enumerate(op.cases)]


def leaves_of(op, inputs):
    return [
        None if x is None else fastnn.tensor(x, requires_grad=n not in op.apart + op.constant)
        for n, x in zip(op.input_names, inputs, strict=True)
    ]


@pytest.mark.parametrize(("op", "case"), CALLS)
def test_replays_are_calls(op, case):
    drawn = [sample(op, case, "float32", seed) for seed in range(3)]
    leaves = leaves_of(op, drawn[0][0])
    attributes = drawn[0][1]
    wanted = [x for x in leaves if x is not None and x.requires_grad]

    def call():
        outputs = op(*leaves, **attributes)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        floating = [y for y in outputs if y.requires_grad]
        gradients = ()
        if floating:
            if not given:
                rng = np.random.default_rng(0)
                given.extend(fastnn.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in floating)
            gradients = fastnn.autograd.grad(floating, wanted, given, allow_unused=True)
        return [y.detach() for y in outputs], list(gradients)

    given = []
    call()  # makes the weights, before anything is recorded
    compiled = fastnn.compile(lambda: call())
    for inputs, _ in [*drawn, drawn[0]]:
        for leaf, x in zip(leaves, inputs, strict=True):
            if leaf is not None:
                np.copyto(leaf.array, x)
        expected, found = call(), compiled()
        for one, other in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one.array, other.array)
    assert len(compiled.plans) == 1
    assert sum(map(len, compiled.plans.values())) == 1
