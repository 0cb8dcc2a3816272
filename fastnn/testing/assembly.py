"""Kernels' assembly, for any machine: compile for it, find the loops, ask what is in them.

(kernel,) = compiled(cpu.known("arm", "generic"), [("elementwise.map", {"dtype": "float32", "function": "exp"})])
for function in functions(kernel.assembly).values():
    for loop in function.innermost:
        print(function.name, len(loop.instructions), loop.fmas(16), loop.calls, loop.spills)

Reads what LLVM writes for x86-64 (AT&T's order of operands) and for AArch64.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from fastnn._kernels import cpu, jit
from fastnn._kernels.errors import KernelError

__all__ = ["Compiled", "Function", "Instruction", "Loop", "compiled", "functions"]


class Compiled(NamedTuple):
    """A kernel for another machine.

    Attributes
    ----------
    code : its object file.
    assembly : the same as text.
    """

    code: bytes
    assembly: str


_CHILD = "from fastnn.testing import assembly; assembly._serve()"


def compiled(target: cpu.Target, kernels: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Compiled]:
    """Compile kernels for a target, in a process of their own.

    Parameters
    ----------
    target : such as ``cpu.known("arm", "generic")``.
    kernels : name and static parameters of each, as `jit.address` takes them.

    Raises
    ------
    KernelError : a kernel cannot be compiled, for instance because it needs a symbol from outside.
    """
    request = {"target": asdict(target), "kernels": [(name, jit.statics(static)) for name, static in kernels]}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _CHILD],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise KernelError(f"compiling for {target.name}: {done.stderr.strip()}")
    return [Compiled(base64.b64decode(code), assembly) for code, assembly in json.loads(done.stdout)]


def _serve() -> None:
    """In the process that `compiled` starts: from standard input to standard output."""
    request = json.load(sys.stdin)
    target = cpu.Target(**request["target"])
    jit.become_compiler()
    answers = []
    for name, statics in request["kernels"]:
        code, assembly = jit.compile_for(target, name, **dict(ast.literal_eval(statics)))
        answers.append((base64.b64encode(code).decode(), assembly))
    json.dump(answers, sys.stdout)


# Bytes of a vector register by the letter in its name, and of a lane.
_REGISTERS = {"x": 16, "y": 32, "z": 64, "q": 16, "d": 8, "s": 4}
_LANES = {"b": 1, "h": 2, "s": 4, "d": 8}


class Instruction(NamedTuple):
    """One line: ``vfmadd231ps`` and ``%ymm15, %ymm0, %ymm1``."""

    operation: str
    operands: str

    @property
    def target(self) -> str:
        """The label that a jump goes to; empty for other instructions."""
        if not re.fullmatch(r"j[a-z]+|b|b\.[a-z]{2}|cbn?z|tbn?z", self.operation):
            return ""
        label = self.operands.rpartition(",")[2].strip()
        return label if re.fullmatch(r"[.\w$]+", label) else ""

    @property
    def vector_bytes(self) -> int:
        """Bytes of the widest vector register that is named, of an x86 or an AArch64 CPU; 0 if none is."""
        found = re.findall(r"%([xyz])mm\d|\b([qds])\d+\b|\bv\d+\.(\d+)([bhsd])\b", self.operands)
        return max(
            (_REGISTERS[x86 or arm] if not lanes else int(lanes) * _LANES[lane] for x86, arm, lanes, lane in found),
            default=0,
        )

    @property
    def is_fma(self) -> bool:
        """Whether a vector is multiplied and added to."""
        return bool(re.fullmatch(r"vfn?m(add|sub)\d{3}p[sd]|fml[as]", self.operation))

    @property
    def is_call(self) -> bool:
        """Whether another function is called."""
        return bool(re.fullmatch(r"call[a-z]*|blr?", self.operation))


class Loop(NamedTuple):
    """The instructions from a label to the jump back to it."""

    instructions: tuple[Instruction, ...]
    frame: tuple[str, ...]  # registers that hold addresses on the stack

    def fmas(self, vector_bytes: int) -> int:
        """How many vectors of that width are multiplied and added to."""
        return sum(i.is_fma and i.vector_bytes == vector_bytes for i in self.instructions)

    @property
    def calls(self) -> list[Instruction]:
        """Calls of other functions."""
        return [i for i in self.instructions if i.is_call]

    @property
    def spills(self) -> list[Instruction]:
        """Vectors that are read from the stack or written to it."""
        return [i for i in self.instructions if i.vector_bytes and self._on_stack(i)]

    def _on_stack(self, instruction: Instruction) -> bool:
        return any(re.search(rf"[(\[]\s*%?{name}\b", instruction.operands) for name in self.frame)


@dataclass
class Function:
    """A function's instructions, and which of them its labels stand before."""

    name: str
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    @cached_property
    def frame(self) -> tuple[str, ...]:
        """The stack pointer, and the frame pointer where the function sets one up."""
        text = {f"{i.operation} {i.operands}" for i in self.instructions}
        names = ["rsp", "sp"]
        if "movq %rsp, %rbp" in text:
            names.append("rbp")
        if any(re.match(r"(mov|add) x29, sp\b", line) for line in text):
            names.append("x29")
        return tuple(names)

    @cached_property
    def innermost(self) -> list[Loop]:
        """The loops that hold no other loop, in order."""
        ends: dict[int, int] = {}
        for end, instruction in enumerate(self.instructions):
            start = self.labels.get(instruction.target, end + 1)
            if start <= end:
                ends[start] = max(end, ends.get(start, end))
        return [
            Loop(tuple(self.instructions[start : end + 1]), self.frame)
            for start, end in sorted(ends.items())
            if not any(start < other and own <= end for other, own in ends.items())
        ]


def functions(assembly: str) -> dict[str, Function]:
    """Cut assembly into its functions, by name."""
    found: dict[str, Function] = {}
    named = set(re.findall(r"^\s*\.type\s+([\w.$]+),\s*[@%]function", assembly, re.MULTILINE))
    own: Function | None = None
    for line in assembly.splitlines():
        text = re.split(r"^\s*#|\s+(?:##?|//)\s|;", line, maxsplit=1)[0].strip()
        if text.endswith(":"):
            label = text[:-1]
            if label in named:
                own = found[label] = Function(label)
            elif own is not None:
                own.labels[label] = len(own.instructions)
        elif text.startswith(".size"):
            own = None
        elif own is not None and text and not text.startswith("."):
            operation, _, operands = text.partition("\t") if "\t" in text else text.partition(" ")
            own.instructions.append(Instruction(operation, " ".join(operands.split())))
    return found
