"""Convolutional networks: training steps of LeNet and ResNet-18, inference of ResNet-50, and the memory of a step.

All sides build the same modules from their library's `nn`, with the same weights. PyTorch gets channels last, its
faster layout for these, a fused optimizer, and in inference its batch normalisation folded, as we do.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Side, Unavailable, Work
from benchmarks.peers.cases.inference import onnx_side, onnx_work
from benchmarks.peers.cases.memory import weighing
from benchmarks.peers.sides import fastnn_side, torch_side

VERIFIED_STEPS = 3
# What a network is learnt with: the optimizer's name and options, in which both libraries agree.
ADAM: dict[str, Any] = {"lr": 1e-4}
MOMENTUM: dict[str, Any] = {"lr": 1e-3, "momentum": 0.9}

Build = Callable[[Any], Any]


def lenet(nn: Any) -> Any:
    """Two 3x3 convolutions with pooling, and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def _block(nn: Any, layers: list[Any], shortcut: list[Any]) -> Any:
    """Layers with a shortcut around them."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.shortcut, self.relu = nn.Sequential(*layers), nn.Sequential(*shortcut), nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.layers(x) + self.shortcut(x))

    return Block()


def _unit(nn: Any, inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[Any]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]


def resnet18(nn: Any) -> Any:
    """For images of 32 x 32 (He et al., 2016)."""
    layers, inputs = [*_unit(nn, 3, 64, 3), nn.ReLU()], 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for step in (stride, 1):
            shortcut = [] if step == 1 and inputs == outputs else _unit(nn, inputs, outputs, 1, step)
            own = [*_unit(nn, inputs, outputs, 3, step), nn.ReLU(), *_unit(nn, outputs, outputs, 3)]
            layers.append(_block(nn, own, shortcut))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def resnet50(nn: Any) -> Any:
    """For images of 224 x 224."""
    layers, inputs = [*_unit(nn, 3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for step in (stride, *[1] * (blocks - 1)):
            outputs = 4 * width
            shortcut = [] if inputs == outputs else _unit(nn, inputs, outputs, 1, step)
            own = [*_unit(nn, inputs, width, 1), nn.ReLU(), *_unit(nn, width, width, 3, step), nn.ReLU()]
            layers.append(_block(nn, [*own, *_unit(nn, width, outputs, 1)], shortcut))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Values for a network's state: of He et al.'s size, norms near 1, running variances not all alike."""
    random = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        last = name.rpartition(".")[2]
        if len(shape) > 1:
            values = random.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        elif last in ("weight", "running_var"):
            values = random.uniform(0.5, 1.5, shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        made[name] = np.asarray(values, np.int64 if last == "num_batches_tracked" else np.float32)
    return made


def inputs(shape: tuple[int, ...], classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    random = np.random.default_rng(seed + 1)
    return random.standard_normal(shape, np.float32), random.integers(classes, size=shape[0])


def _loaded(model: Any, of: Callable[[np.ndarray], Any], seed: int) -> Any:
    state = model.state_dict()
    values = weights({name: tuple(value.shape) for name, value in state.items()}, seed)
    model.load_state_dict({name: of(value) for name, value in values.items()})
    return model


def _training(
    make: Callable[[], tuple[Any, Callable[[], Any]]], parameters: Callable[[Any], Iterator[np.ndarray]]
) -> Work:
    def verify() -> dict[str, np.ndarray]:
        model, step = make()
        losses = np.array([float(step().detach()) for _ in range(VERIFIED_STEPS)])
        return {"losses": losses} | {f"p{i}": p for i, p in enumerate(parameters(model))}

    return Work(run=make()[1], verify=verify)


def _torch_step(build: Build, name: str, options: dict[str, Any], shape: tuple[int, ...], seed: int) -> Work:
    import torch

    last = torch.channels_last
    x, y = (torch.from_numpy(a) for a in inputs(shape, 10, seed))
    x = x.contiguous(memory_format=last)

    def make() -> tuple[Any, Callable[[], Any]]:
        model = _loaded(build(torch.nn), torch.from_numpy, seed).to(memory_format=last)
        optimizer = getattr(torch.optim, name)(model.parameters(), **options, fused=True)

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    return _training(make, lambda model: (p.detach().numpy() for p in model.parameters()))


def _fastnn_step(build: Build, name: str, options: dict[str, Any], shape: tuple[int, ...], seed: int) -> Work:
    import fastnn

    x, y = (fastnn.from_numpy(a) for a in inputs(shape, 10, seed))

    def make() -> tuple[Any, Callable[[], Any]]:
        model = _loaded(build(fastnn.nn), fastnn.from_numpy, seed)
        optimizer = getattr(fastnn.optim, name)(model.parameters(), **options)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = fastnn.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        taken = fastnn.compile(step)
        return model, lambda: taken(x, y)

    return _training(make, lambda model: (np.asarray(p.detach()) for p in model.parameters()))


def _step_sides(build: Build, name: str, options: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Side]:
    return {
        "fastnn": fastnn_side(partial(_fastnn_step, build, name, options, shape)),
        "torch": torch_side(partial(_torch_step, build, name, options, shape)),
    }


# -- inference


def _folded_torch(model: Any) -> Any:
    """The model with each normalisation folded into the convolution before it."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in model.modules():
        if isinstance(module, torch.nn.Sequential):
            children = list(module.named_children())
            for (name, conv), (other, norm) in pairwise(children):
                if isinstance(conv, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(conv, norm))
                    setattr(module, other, torch.nn.Identity())
    return model


def _torch_inference(build: Build, shape: tuple[int, ...], seed: int) -> Work:
    import torch

    model = _folded_torch(_loaded(build(torch.nn), torch.from_numpy, seed).eval()).to(memory_format=torch.channels_last)
    x = torch.from_numpy(inputs(shape, 10, seed)[0]).contiguous(memory_format=torch.channels_last)

    def run() -> Any:
        with torch.inference_mode():
            return model(x)

    return Work(run=run, verify=lambda: {"y": np.array(run().numpy())})


def _fastnn_inference(build: Build, shape: tuple[int, ...], seed: int) -> Work:
    import fastnn
    from fastnn.nn.utils.fusion import fold_batch_norm

    x = fastnn.from_numpy(inputs(shape, 10, seed)[0])
    fast = fastnn.compile(fold_batch_norm(_loaded(build(fastnn.nn), fastnn.from_numpy, seed).eval(), x))
    return Work(run=lambda: fast(x), verify=lambda: {"y": np.array(fast(x).numpy())})


def _onnx_inference(build: Build, shape: tuple[int, ...], seed: int) -> Work:
    """The graph that torch's folded model is, written by hand."""
    try:
        helper = importlib.import_module("onnx").helper
        import torch
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed (benchmarks/requirements.txt)") from None
    model = _folded_torch(_loaded(build(torch.nn), torch.from_numpy, seed).eval())
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {}

    def node(kind: str, *values: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(values), [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def constant(value: Any) -> str:
        constants[f"c{len(constants)}"] = value.detach().numpy()
        return f"c{len(constants) - 1}"

    def walk(module: Any, x: str) -> str:
        if isinstance(module, torch.nn.Sequential):
            for child in module:
                x = walk(child, x)
        elif isinstance(module, torch.nn.Conv2d):
            pads, steps = [*module.padding, *module.padding], list(module.stride)
            x = node("Conv", x, constant(module.weight), constant(module.bias), pads=pads, strides=steps)
        elif isinstance(module, torch.nn.ReLU):
            x = node("Relu", x)
        elif isinstance(module, torch.nn.MaxPool2d):
            size, step, pad = module.kernel_size, module.stride, module.padding
            x = node("MaxPool", x, kernel_shape=[size, size], strides=[step, step], pads=[pad] * 4)
        elif isinstance(module, torch.nn.AdaptiveAvgPool2d):
            x = node("GlobalAveragePool", x)
        elif isinstance(module, torch.nn.Flatten):
            x = node("Flatten", x)
        elif isinstance(module, torch.nn.Linear):
            x = node("Gemm", x, constant(module.weight), constant(module.bias), transB=1)
        elif not isinstance(module, torch.nn.Identity):
            x = node("Relu", node("Add", walk(module.layers, x), walk(module.shortcut, x)))
        return x

    result = walk(model, "x")
    return onnx_work(nodes, constants, result, inputs(shape, 10, seed)[0])


def _inference(batch: int) -> Case:
    shape = (batch, 3, 224, 224)
    return Case(
        name=f"inference-resnet50-b{batch}",
        sides={
            "fastnn": fastnn_side(partial(_fastnn_inference, resnet50, shape)),
            "torch": torch_side(partial(_torch_inference, resnet50, shape)),
            "onnxruntime": onnx_side(partial(_onnx_inference, resnet50, shape)),
        },
        bar={"torch": 1.35, "onnxruntime": 1.15},
        flops=8.18e9 * batch,
        rtol=2e-3,
        atol=2e-2,
        note="224x224, batch normalisation folded on all sides",
    )


def _step(name: str, build: Build, optimizer: str, options: dict[str, Any], shape: tuple[int, ...], bar: float) -> Case:
    return Case(
        name=f"step-{name}-b{shape[0]}",
        sides=_step_sides(build, optimizer, options, shape),
        bar=bar,
        rtol=1e-2,
        atol=1e-3,
        note=f"compiled training step, {optimizer}, against eager torch (fused)",
    )


def _memory(name: str, build: Build, shape: tuple[int, ...]) -> Case:
    small = _step_sides(lenet, "SGD", MOMENTUM, (4, 1, 28, 28))
    sides = _step_sides(build, "SGD", MOMENTUM, shape)
    return Case(
        name=f"memory-{name}-b{shape[0]}",
        sides={key: replace(weighing(small[key], side, 0), threads=None) for key, side in sides.items()},
        bar=1.0,
        quantity="bytes",
        rtol=1e-2,
        atol=1e-3,
        note="peak memory of the compiled step beyond inputs and parameters, momentum included",
    )


CASES = [
    *(_step("lenet", lenet, "Adam", ADAM, (batch, 1, 28, 28), 2.0) for batch in (32, 128)),
    _step("resnet18", resnet18, "SGD", MOMENTUM, (32, 3, 32, 32), 1.9),
    _inference(1),
    _inference(16),
    _memory("resnet18", resnet18, (32, 3, 32, 32)),
]
