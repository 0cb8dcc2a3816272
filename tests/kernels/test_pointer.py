"""The intrinsics of kernels. Compiled in a process of its own: the tests' process stays free of Numba."""

import subprocess
import sys

SCRIPT = """
import ctypes
import numpy as np
from fastnn._kernels import jit
from fastnn._kernels.pointer import DTYPES, array, bits, cell, fma, load, pointer, store

Kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def call(factory, *args, scratch=None, **static):
    place = np.array([a.ctypes.data if isinstance(a, np.ndarray) else a for a in args])
    address, _ = jit.compile_here(factory, **static)
    Kernel(address)(place.ctypes.data, 0, 1, None if scratch is None else scratch.ctypes.data)


@jit.kernel
def copy(dtype):
    def body(args, first, last, scratch):
        x, y = pointer(args[0], dtype), pointer(args[1], dtype)
        for i in range(args[2]):
            y[i] = x[i]
    return body

for dtype in DTYPES:
    x = np.arange(200, 237).astype(dtype)
    y = np.zeros_like(x)
    call(copy, x, y, x.size, dtype=dtype)
    assert np.array_equal(x, y), dtype


@jit.kernel
def views():
    def body(args, first, last, scratch):
        x = array(args[0], (2, args[1]), "float32")
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                x[i, j] *= np.float32(2)
        flat = array(args[0], 2 * args[1], "float32")
        flat[-1] = 100
        room = array(scratch, 4, "float64")
        room[1:3] = 5
        room[3] = flat.size
    return body

x, room = np.arange(6, dtype=np.float32), np.zeros(4)
call(views, x, 3, scratch=room)
assert x.tolist() == [0, 2, 4, 6, 8, 100] and room.tolist() == [0, 5, 5, 6]


@jit.inline
def half(x):
    return x * 0.5


@jit.kernel
def scalars():
    def body(args, first, last, scratch):
        x = load(args[0], np.float32(0))
        store(args[1], bits(x))
        store(args[2], bits(bits(x)))
        store(args[3], half(cell(args[4])))
        store(args[5], bits(cell(args[4])))
        store(args[6], bits(np.int64(0x3FF0000000000000)))
    return body

x = np.array([1.5], np.float32)
word, back, doubled = np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(1)
value, long, one = np.array([6.0]), np.zeros(1, np.int64), np.zeros(1)
call(scalars, x, word, back, doubled, value, long, one)
assert word == x.view(np.int32) and back == x and doubled == 3 and long == value.view(np.int64) and one == 1


@jit.kernel
def fused(dtype):
    def body(args, first, last, scratch):
        a, b = pointer(args[0], dtype), pointer(args[1], dtype)
        c, y = pointer(args[2], dtype), pointer(args[3], dtype)
        for i in range(args[4]):
            y[i] = fma(a[i], b[i], c[i])
    return body

draw = np.random.default_rng(0)
for dtype, wide in (("float32", np.float64), ("float64", np.longdouble)):
    a, b = draw.standard_normal((2, 1001)).astype(dtype)
    c = (-(a.astype(wide) * b)).astype(dtype)  # what is left is the rounding error of the product: FMA or nothing
    y = np.zeros_like(a)
    call(fused, a, b, c, y, a.size, dtype=dtype)
    assert np.any(y != 0)
    if np.finfo(wide).nmant > 2 * np.finfo(dtype).nmant:
        assert np.array_equal(y, (a.astype(wide) * b + c).astype(dtype))


@jit.kernel
def unknown(dtype):
    def body(args, first, last, scratch):
        pointer(args[0], dtype)[0] = 1
    return body

try:
    jit.compile_here(unknown, dtype="float16")
except Exception as error:
    print(type(error).__name__)
"""


def test_pointers_arrays_bits_cells_and_fma():
    result = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "TypingError\n"
