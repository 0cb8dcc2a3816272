"""``fastnn warmup``: kernels compiled ahead of their first use."""

from __future__ import annotations

import time

import fastnn
from fastnn.ops import every
from fastnn.testing.samples import sample

# Ops of which a training step of dense layers is made.
USUAL = ("linear", "dense", "matmul", "relu", "tanh", "sigmoid", "gelu", "softmax", "cross_entropy", "add", "multiply")


def run_warmup(everything: bool) -> None:
    """Run samples of ops once, forward and backward, in float32; what was compiled stays in the user's cache."""
    start = time.perf_counter()
    ops = every()
    names = sorted(ops) if everything else [name for name in USUAL if name in ops]
    for place, name in enumerate(names):
        op = ops[name]
        for case in op.cases:
            inputs, attributes = sample(op, case, "float32")
            apart = op.apart + op.constant
            leaves = [
                None if x is None else fastnn.tensor(x, requires_grad=n not in apart)
                for n, x in zip(op.input_names, inputs, strict=True)
            ]
            found = op(*leaves, **attributes)
            outputs = [y for y in (found if isinstance(found, tuple) else (found,)) if y.requires_grad]
            if outputs:
                fastnn.autograd.backward(outputs, [fastnn.tensor(y.detach().array) for y in outputs])
        print(f"{place + 1:>4}/{len(names)}  {name}", flush=True)
    weight = fastnn.nn.Parameter(fastnn.tensor([1.0, 2.0]))
    for kind in (fastnn.optim.SGD, fastnn.optim.Adam):
        weight.grad = fastnn.tensor([1.0, 1.0])
        kind([weight], lr=1e-3).step()
    print(f"{len(names)} ops and 2 optimizers ready after {time.perf_counter() - start:.1f} s")
