"""Plans and tiles of other CPUs, run on this one: LLVM splits vectors that are too wide and keeps sums in memory.

So the numbers of the AVX-512 table (its tiles, masks, panels and edges) are checked wherever the tests run. An element
is one chain of FMAs on every CPU: the bits must be those of this machine's own plan.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from fastnn import ops
from fastnn._kernels import cpu
from fastnn.testing.phases import lowering, run

# Bytes of a vector and number of registers.
VECTORS = {"avx512": (64, 32), "avx2": (32, 16), "neon": (16, 32)}
EMULATED = [("avx512", "float32"), ("avx512", "float64"), ("avx2", "float32"), ("neon", "float32")]
WAYS = {
    "rows": lambda x: np.ascontiguousarray(x),
    "columns": lambda x: np.asfortranarray(x),
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "apart": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
}


def emulation(name):
    """This machine's target with another's vectors; skips where these are its own."""
    width, registers = VECTORS[name]
    own = cpu.target()
    if (own.vector_bytes, own.registers) == (width, registers):
        pytest.skip(f"the vectors of {name} are this machine's own")
    return replace(own, vector_bytes=width, registers=registers)


def computed(op, *arrays):
    """The op's forward phases, planned anew and run without the runtime."""
    low = lowering(arrays)
    low.shapes = {n: None if x is None else x.shape for n, x in zip(op.input_names, arrays, strict=True)}
    result = op.lower[0](low, *low.inputs)
    return run(low, arrays)[result], {(p.kernel, p.static) for p in low.phases}


def assert_same_bits(target, op, *arrays):
    expected, _ = computed(op, *arrays)
    with cpu.targeting(target):
        got, kernels = computed(op, *arrays)
    widths = {dict(static)["width"] for _, static in kernels if "width" in dict(static)}
    assert widths == {target.vector_bytes}  # it was planned for the other machine
    np.testing.assert_array_equal(got, expected, err_msg=str([x.shape for x in arrays if x is not None]))


def operands(dtype, m, n, k, seed=0):
    rng = np.random.default_rng((seed, m, n, k))
    return [rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n), (n,))]


@pytest.mark.parametrize(("name", "dtype"), EMULATED)
def test_every_height_and_width_of_tiles(name, dtype):
    target = emulation(name)
    lanes = target.lanes(dtype)
    widths = (1, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3, 3 * lanes, 4 * lanes, 6 * lanes, 8 * lanes + 5)
    for m, n in itertools.product((*range(1, 15), 24, 29), widths):
        a, b, bias = operands(dtype, m, n, 5)
        assert_same_bits(target, ops.matmul, a, b)
        assert_same_bits(target, ops.linear, a, np.asfortranarray(b).T, bias)


@pytest.mark.parametrize(("name", "dtype"), EMULATED)
def test_strides(name, dtype):
    target = emulation(name)
    for (m, n, k), first, second in itertools.product([(37, 45, 29), (1, 50, 40), (4, 3, 19)], WAYS, WAYS):
        a, b, bias = operands(dtype, m, n, k)
        a, b = WAYS[first](a), WAYS[second](b)
        assert_same_bits(target, ops.matmul, a, b)
        assert_same_bits(target, ops.linear, a, b.T, bias)


@pytest.mark.parametrize(("name", "dtype"), EMULATED)
def test_blocks_and_packing(name, dtype):
    target = emulation(name)
    for (m, n, k), first, second in itertools.product([(97, 301, 700), (260, 70, 1030)], WAYS, WAYS):
        a, b, _ = operands(dtype, m, n, k)
        assert_same_bits(target, ops.matmul, WAYS[first](a), WAYS[second](b))


@pytest.mark.parametrize(("name", "dtype"), EMULATED)
def test_no_elements_and_no_sums(name, dtype):
    target = emulation(name)
    for m, n, k in ((3, 4, 0), (1, 1, 0)):
        a, b, bias = operands(dtype, m, n, k)
        expected, _ = computed(ops.linear, a, b.T, bias)
        with cpu.targeting(target):
            np.testing.assert_array_equal(computed(ops.linear, a, b.T, bias)[0], expected)
    a, b = np.full((5, 7), np.nan, dtype), np.full((7, 40), np.inf, dtype)
    assert_same_bits(target, ops.matmul, a, b)
    with np.errstate(invalid="ignore"):
        assert_same_bits(target, ops.matmul, np.zeros_like(a), b)
