"""Inference of a small network from Python, an input at a time: arrays (torch: tensors) that are there go in."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Side, Unavailable, Work
from benchmarks.peers.cases.steps import DIGITS, flat, layers, problem
from benchmarks.peers.sides import fastnn_side, torch_side

_threads = 1  # of the ONNX Runtime: a session is made with them


def _verified(run: Any, x: np.ndarray, array: Any) -> dict[str, np.ndarray]:
    return {"y": array(run(x)).copy()}


def _fastnn(sizes: tuple[int, ...], batch: int, seed: int) -> Work:
    import fastnn

    weights, x, _ = problem(sizes, batch, seed)
    model = fastnn.nn.Sequential(*layers(fastnn.nn, sizes)).eval()
    with fastnn.no_grad():
        for parameter, value in zip(model.parameters(), flat(weights), strict=True):
            parameter.copy_(fastnn.from_numpy(value))
    if not hasattr(fastnn, "compile"):
        raise Unavailable("fastnn has no compile")
    fast = fastnn.compile(model)
    return Work(run=lambda: fast(x), verify=lambda: _verified(fast, x, np.asarray))


def _torch(sizes: tuple[int, ...], batch: int, seed: int) -> Work:
    import torch

    weights, x, _ = problem(sizes, batch, seed)
    model = torch.nn.Sequential(*layers(torch.nn, sizes)).eval()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), flat(weights), strict=True):
            parameter.copy_(torch.from_numpy(value))
    given = torch.from_numpy(x)

    def run(*_: Any) -> Any:
        with torch.inference_mode():
            return model(given)

    return Work(run=run, verify=lambda: _verified(run, x, lambda y: y.numpy()))


def _onnx(sizes: tuple[int, ...], batch: int, seed: int) -> Work:
    try:
        helper = importlib.import_module("onnx").helper
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed (benchmarks/requirements.txt)") from None
    weights, x, _ = problem(sizes, batch, seed)
    nodes, constants, value = [], {}, "x"
    for i, (w, b) in enumerate(weights):
        constants |= {f"w{i}": w, f"b{i}": b}
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        value = f"z{i}"
        if i + 1 < len(weights):
            nodes.append(helper.make_node("Relu", [value], [f"a{i}"]))
            value = f"a{i}"
    return onnx_work(nodes, constants, value, x)


def onnx_work(nodes: list[Any], constants: dict[str, np.ndarray], result: str, x: np.ndarray) -> Work:
    """A session of the ONNX Runtime for a graph from an input ``x`` to a result."""
    try:
        onnx, runtime = importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed (benchmarks/requirements.txt)") from None
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, [None, *x.shape[1:]])],
        [helper.make_tensor_value_info(result, kind, None)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    # a version of the format and of the operators that any release of the last years reads
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _threads, 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(*_: Any) -> Any:
        return session.run([result], {"x": x})

    return Work(run=run, verify=lambda: _verified(run, x, lambda y: y[0]))


def _onnx_threads(threads: int) -> int:
    global _threads
    _threads = threads
    return threads


def onnx_side(setup: Callable[[int], Work]) -> Side:
    """The ONNX Runtime's side."""
    return Side(setup, ("onnxruntime", "onnx", "numpy"), _onnx_threads, peer_python=True)


def _case(sizes: tuple[int, ...], batch: int, bar: dict[str, float]) -> Case:
    return Case(
        name=f"inference-{'-'.join(map(str, sizes))}-b{batch}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn, sizes, batch)),
            "torch": torch_side(partial(_torch, sizes, batch)),
            "onnxruntime": onnx_side(partial(_onnx, sizes, batch)),
        },
        bar=bar,
        flops=sum(2 * batch * inputs * outputs for inputs, outputs in pairwise(sizes)),
        note="a compiled module, against torch in inference mode and the ONNX Runtime",
    )


CASES = [_case(DIGITS, 1, {"torch": 3, "onnxruntime": 1.5})]
