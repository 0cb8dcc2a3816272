import contextlib
import ctypes
import os
import random
import sys

import llvmlite.binding as llvm
import pytest

from fastnn._kernels import loader
from fastnn._kernels.errors import KernelError, NoExecutableMemory
from fastnn._kernels.objectfile import symbols

IR = """
declare void @outside(ptr)
@counter = global i32 0
define internal i64 @hidden(i64 %x) noinline {{
  %y = mul i64 %x, 3
  ret i64 %y
}}
define void @{name}(ptr %args) {{
  %x = load i64, ptr %args
  %y = call i64 @hidden(i64 %x)
  store i64 %y, ptr %args
  {extra}
  ret void
}}
"""


def emit(name, extra="", triple=None, constant="@counter = global i32 0\n"):
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = triple or loader.triple()
    source = IR.format(name=name, extra=extra).replace("@counter = global i32 0\n", constant)
    module = llvm.parse_assembly(source)
    module.triple = triple
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=2, reloc="static", codemodel="large")
    return machine.emit_object(module)


def test_a_kernel_is_loaded_and_runs():
    address = loader.load(emit("loader_test_a", constant=""))
    cell = ctypes.c_int64(14)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(cell))
    assert cell.value == 42


def test_what_cannot_be_linked_is_refused_before_llvm_aborts():
    with pytest.raises(KernelError, match="needs outside, which this process does not have"):
        loader.load(emit("loader_test_b", "call void @outside(ptr %args)", constant=""))
    with pytest.raises(KernelError, match=r"must export one new kernel, not \['counter', 'loader_test_c'"):
        loader.load(emit("loader_test_c"))
    code = emit("loader_test_d", constant="")
    loader.load(code)
    with pytest.raises(KernelError, match="one new kernel"):
        loader.load(code)


def test_symbols_of_elf_and_mach_o():
    native = symbols(emit("kernel", "call void @outside(ptr %args)"))
    assert native.defined == {"counter", "kernel"}
    assert native.undefined == {"outside"}
    if "x86_64" in loader.triple():
        triples = ("x86_64-unknown-linux-gnu", "x86_64-pc-windows-msvc-elf", "x86_64-apple-darwin")
    else:
        triples = ("aarch64-unknown-linux-gnu", "arm64-apple-darwin")
    for triple in triples:
        assert symbols(emit("kernel", "call void @outside(ptr %args)", triple)) == native


def test_damaged_objects_are_a_value_error_at_worst():
    draw = random.Random(0)
    for triple in (None, "x86_64-apple-darwin" if "x86_64" in loader.triple() else "arm64-apple-darwin"):
        code = emit("kernel", "call void @outside(ptr %args)", triple)
        damaged = [code[:length] for length in range(0, len(code), 7)]
        for _ in range(500):
            at = draw.randrange(len(code))
            damaged.append(code[:at] + bytes([draw.randrange(256)]) + code[at + 1 :])
        for data in damaged:
            with contextlib.suppress(ValueError):
                symbols(data)
    with pytest.raises(ValueError, match="ELF or Mach-O"):
        symbols(b"MZ something else")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is not asked")
def test_refused_executable_memory_is_an_error_of_its_own(monkeypatch):
    loader.require_executable_memory()

    class Library:
        def __init__(self, *args, **kwargs):
            ctypes.set_errno(13)

        mprotect = staticmethod(lambda *args: -1)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    with pytest.raises(NoExecutableMemory, match=os.strerror(13)):
        loader.require_executable_memory()
