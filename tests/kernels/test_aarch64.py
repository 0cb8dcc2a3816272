"""NEON kernels run for real, under an emulator: the phases of ops, planned and compiled for a 64-bit Arm."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fastnn import ops
from fastnn._kernels import cpu, jit
from fastnn._kernels.errors import KernelError
from fastnn._kernels.objectfile import symbols
from fastnn.testing.assembly import compiled
from fastnn.testing.phases import Execution, lowering, run

TARGET = cpu.known("arm", "generic")
COMPILER = next(filter(None, map(shutil.which, ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-clang"))), None)
EMULATOR = next(filter(None, map(shutil.which, ("qemu-aarch64", "qemu-aarch64-static"))), None)
pytestmark = pytest.mark.skipif(
    not (COMPILER and EMULATOR), reason="needs qemu's user mode (qemu-aarch64) and a cross compiler for aarch64"
)
# Where the kernels' memory lies in the emulated process: far from what the system places there.
BASE = 1 << 36


class Memory:
    """The emulated process's memory, filled from `BASE` on."""

    def __init__(self):
        self.data = bytearray()

    def add(self, content):
        """The address of a copy, a multiple of 64."""
        self.data += bytes(-len(self.data) % 64)
        place = len(self.data)
        self.data += content
        return BASE + place

    def __getitem__(self, part):
        address, count = part
        return self.data[address - BASE : address - BASE + count]


class Elsewhere(Execution):
    """An execution whose storages lie in a `Memory`."""

    def __init__(self, memory, low, arrays):
        self.memory, self.places = memory, {}
        super().__init__(low, arrays)

    def _base(self, storage):
        if storage not in self.places:
            inputs = len(self.arrays)
            array = self.arrays[storage] if storage < inputs else self.buffers[storage - inputs]
            low, high = np.lib.array_utils.byte_bounds(array)
            self.places[storage] = self.memory.add(ctypes.string_at(low, high - low)) + array.ctypes.data - low
        return self.places[storage]

    def fetch(self):
        """Take over what the emulated process made."""
        for storage, place in self.places.items():
            if storage >= len(self.arrays):
                buffer = self.buffers[storage - len(self.arrays)]
                buffer[:] = np.frombuffer(self.memory[place, buffer.nbytes], np.uint8)


def calls():
    """Ops and arrays: tiles of every height and width, strides, packing, and other kernels."""
    rng = np.random.default_rng(0)
    ways = (np.ascontiguousarray, np.asfortranarray, lambda x: np.ascontiguousarray(x[::-1])[::-1])
    for dtype in ("float32", "float64"):
        shapes = [(m, n, 7) for m, n in itertools.product((1, 2, 5, 9, 13, 27), (1, 3, 4, 7, 12, 33, 70))]
        for i, (m, n, k) in enumerate([*shapes, (70, 90, 400), (1, 300, 300), (45, 2, 0)]):
            a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
            a, b = ways[i % 3](a), ways[i // 3 % 3](b)
            yield ops.matmul, (a, b)
            yield ops.linear, (a, b.T, rng.standard_normal(n).astype(dtype))
        x = np.concatenate([rng.standard_normal(1000) * 4, [np.nan, np.inf, -np.inf, 0, -0.0, 1e-40]]).astype(dtype)
        for op in (ops.gelu, ops.tanh, ops.erf, ops.silu, ops.relu):
            yield op, (x,)
        yield ops.softmax, (x[:996].reshape(12, 83),)
        yield ops.sum, (x[:996].reshape(83, 12),)


def lowered(op, arrays):
    low = lowering(arrays)
    low.shapes = {n: x.shape for n, x in zip(op.input_names, arrays, strict=True)}
    low.attrs = dict(zip(op.attribute_names, op.attribute_defaults, strict=True))
    return low, op.lower[0](low, *low.inputs)


def build(folder, wanted):
    """Link the kernels with the driver; the program, and each kernel's address in it."""
    objects, names = [], []
    for number, kernel in enumerate(compiled(TARGET, [(name, dict(static)) for name, static in wanted])):
        objects.append(folder / f"kernel{number}.o")
        objects[-1].write_bytes(kernel.code)
        names += symbols(kernel.code).defined
    table = folder / "table.c"
    table.write_text(
        "#include <stdint.h>\n"
        + "".join(f"extern void {name}(const int64_t *, int64_t, int64_t, void *);\n" for name in names)
        + f"void (*const kernels[])(const int64_t *, int64_t, int64_t, void *) = {{{', '.join(names)}}};\n"
        + f"const int64_t kernel_count = {len(names)};\n"
    )
    program = folder / "phases"
    driver = Path(__file__).parents[1] / "native" / "phases.c"
    sources = [str(driver), str(table), *map(str, objects)]
    subprocess.run([COMPILER, "-O1", "-static", "-no-pie", "-o", str(program), *sources, "-lm"], check=True)
    listed = subprocess.run([EMULATOR, str(program)], capture_output=True, text=True, check=True).stdout
    return program, dict(zip(wanted, map(int, listed.split()), strict=True))


def test_numbers(tmp_path, monkeypatch):
    try:
        jit.code_generator(TARGET)
    except KernelError as error:
        pytest.skip(str(error))
    mine, own = [], []
    for op, arrays in calls():
        low, result = lowered(op, arrays)
        own.append(run(low, arrays)[result].copy())
    with cpu.targeting(TARGET):
        planned = [(op, arrays, *lowered(op, arrays)) for op, arrays in calls()]
    # once to learn which kernels are asked for, once more with their addresses
    addresses = {}
    monkeypatch.setattr(
        jit, "address", lambda name, **static: addresses.setdefault((name, tuple(sorted(static.items()))), 0)
    )
    for _, arrays, low, _ in planned:
        Elsewhere(Memory(), low, arrays)
    program, known = build(tmp_path, tuple(addresses))
    addresses.update(known)
    memory, phases = Memory(), []
    scratch = memory.add(bytes(jit.SCRATCH_BYTES))
    for _, arrays, low, result in planned:
        execution = Elsewhere(memory, low, arrays)
        mine.append((execution, result))
        for _, arguments, phase in execution.phases:
            place = memory.add(arguments.tobytes())
            phases.append((jit.address(phase.kernel, **dict(phase.static)), place, phase.chunks, scratch))
    image = tmp_path / "image"
    head = np.array([BASE, len(memory.data), len(phases), *itertools.chain(*phases)], np.int64)
    image.write_bytes(head.tobytes() + memory.data)
    subprocess.run([EMULATOR, str(program), str(image)], check=True, timeout=300)
    memory.data[:] = image.read_bytes()[head.nbytes :]
    for (op, arrays, _, _), (execution, result), expected in zip(planned, mine, own, strict=True):
        execution.fetch()
        what = f"{op.name} {[x.shape for x in arrays]} {arrays[0].dtype}"
        if op in (ops.matmul, ops.linear):
            np.testing.assert_array_equal(execution[result], expected, err_msg=what)
        else:
            np.testing.assert_allclose(execution[result], expected, rtol=4 * np.finfo(expected.dtype).eps, err_msg=what)
