"""Code for CPUs that this one need not be: what the loops of the register tiles hold, and what objects need."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastnn._kernels import cpu, jit
from fastnn._kernels.convolution.tile import shapes as convolution_shapes
from fastnn._kernels.errors import KernelError
from fastnn._kernels.matmul.table import Tiles
from fastnn._kernels.objectfile import symbols
from fastnn.testing.assembly import compiled, functions

# For each target, the element type that its product is compiled for, and whether the other kernels are.
TARGETS = {
    "avx512": (cpu.known("x86", "avx512"), "float32", True),
    "avx2": (cpu.known("x86", "avx2"), "float64", False),
    "generic": (cpu.known("x86", "generic"), "float64", False),
    "neon": (cpu.known("arm", "generic"), "float32", True),
}
OTHERS = [
    *(("elementwise.map", {"dtype": "float32", "function": name}) for name in ("gelu", "log", "divide", "less")),
    *(("elementwise.map", {"dtype": "float32", "function": name}) for name in ("sin", "erfinv", "power")),
    *(("elementwise.map", {"dtype": "float64", "function": name}) for name in ("exp", "tanh", "gelu_backward", "fmod")),
    ("reduction.rows", {"dtype": "float32", "fold": "sum", "finish": ""}),
    ("reduction.columns", {"dtype": "float64", "fold": "sum", "finish": ""}),
    ("softmax.forward", {"dtype": "float32", "log_result": True}),
    ("softmax.backward", {"dtype": "float64", "log_result": False}),
    ("softmax.loss_rows", {"dtype": "float64", "labels": "int64"}),
    ("softmax.loss_backward", {"dtype": "float32", "labels": "int64"}),
    ("optimizer.sgd", {"dtype": "float64", "momentum": True, "nesterov": True}),
    ("optimizer.adam", {"dtype": "float32", "amsgrad": True}),
    ("optimizer.rprop", {"dtype": "float32"}),
    ("gradient.measure", {"dtype": "float32", "norm": "power"}),
    ("gradient.total", {"norm": "least"}),
]
MOVES = {"memcpy", "memmove", "memset", "bzero"}


def product(target, dtype):
    return "matmul.product.product", {"dtype": dtype, "width": target.vector_bytes, "registers": target.registers}


def convolution(target, dtype):
    return "convolution.direct.gather", product(target, dtype)[1]


def packing(target, dtype):
    return "matmul.pack.panels", {"dtype": dtype, "width": target.vector_bytes}


def winograd(target, dtype):
    static = {"dtype": dtype, "width": target.vector_bytes, "registers": target.registers, "large": 4}
    return [(f"convolution.winograd.{name}", static) for name in ("convolve", "weight_gradient")]


@pytest.fixture(scope="module")
def kernels():
    """For each target that llvmlite generates code for, its kernels by name; for the others why it does not."""

    def compile(entry):
        target, dtype, others = entry
        try:
            jit.code_generator(target)
        except KernelError as error:
            return str(error)
        more = [packing(target, dtype), *winograd(target, dtype), *OTHERS] if others else []
        wanted = [product(target, dtype), convolution(target, dtype), *more]
        return dict(zip((str(w) for w in wanted), compiled(target, wanted), strict=True))

    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(4, processors)) as pool:
        return dict(zip(TARGETS, pool.map(compile, TARGETS.values()), strict=True))


def found(kernels, name):
    if isinstance(kernels[name], str):
        pytest.skip(kernels[name])
    return kernels[name]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    ("kernel", "tile", "all_shapes"),
    [
        (product, "tile", lambda target: Tiles(target.vector_bytes, target.registers).shapes()),
        (convolution, "gather", lambda target: convolution_shapes(target.registers)),
    ],
)
def test_the_loops_of_register_tiles(kernels, name, kernel, tile, all_shapes):
    """As many FMAs of whole vectors as the tile has, from registers alone, and no calls."""
    target, dtype, _ = TARGETS[name]
    code = found(kernels, name)[str(kernel(target, dtype))]
    size = 4 if dtype == "float32" else 8
    shapes = set()
    for function in functions(code.assembly).values():
        match = re.fullmatch(rf"fastnn_{tile}_{size}_(\d+)x(\d+)", function.name)
        if not match:
            continue
        rows, vectors = map(int, match.groups())
        shapes.add((rows, vectors))
        if not target.fma:
            # one call for each element: right, and slow
            calls = [loop.calls for loop in function.innermost if any("fma" in c.operands for c in loop.calls)]
            assert [len(c) for c in calls] == [rows * vectors * target.lanes(dtype)], function.name
            continue
        (loop,) = (loop for loop in function.innermost if any(i.is_fma for i in loop.instructions))
        assert loop.fmas(target.vector_bytes) == rows * vectors, function.name
        assert sum(i.is_fma for i in loop.instructions) == rows * vectors, function.name
        assert loop.calls == [], function.name
        assert loop.spills == [], function.name
    assert shapes == set(all_shapes(target))


@pytest.mark.parametrize("name", [name for name, (target, _, _) in TARGETS.items() if target.fma])
def test_the_peak_is_measured_with_all_of_its_chains(kernels, name):
    found(kernels, name)
    target = TARGETS[name][0]
    (code,) = compiled(target, [("probe.peak", {"dtype": "float32"})])
    loops = [loop for f in functions(code.assembly).values() for loop in f.innermost]
    assert {loop.fmas(target.vector_bytes) % 12 for loop in loops} == {0}
    assert sum(loop.fmas(target.vector_bytes) for loop in loops) > 0


@pytest.mark.parametrize("name", TARGETS)
def test_objects_need_nothing_but_moves_of_memory(kernels, name):
    """Where an FMA is an instruction; that compiling raises no error says the same of `jit.ALLOWED_SYMBOLS`."""
    target, _, others = TARGETS[name]
    for kernel, code in found(kernels, name).items():
        exported, needed = symbols(code.code)
        assert len(exported) == 1, kernel
        assert needed <= (MOVES if target.fma else jit.ALLOWED_SYMBOLS), kernel
        widths = {i.vector_bytes for f in functions(code.assembly).values() for i in f.instructions}
        if others:
            assert target.vector_bytes in widths, kernel
        assert max(widths) <= target.vector_bytes, kernel


def test_a_target_without_a_code_generator_is_named():
    target = cpu.Target("generic", "generic", "", 16, 16, True, "pdp11-dec-none")
    with pytest.raises(KernelError, match="no code for pdp11-dec-none"):
        jit.code_generator(target)
    with pytest.raises(KernelError, match="no code for pdp11-dec-none"):
        compiled(target, [OTHERS[0]])


def test_a_kernel_that_cannot_be_is_named():
    with pytest.raises(KernelError, match=r"there is no kernel nothing\.here"):
        compiled(cpu.target(), [("nothing.here", {})])
