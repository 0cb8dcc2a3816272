"""Convolutions, each pass by itself, against PyTorch's (oneDNN), in the better of its two layouts of memory.

What a training step has to do at each call is in the time: weights are transformed or packed, images are padded. The
shapes are those of ResNet, VGG, MobileNet and first layers.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.cases.normalization import channels_last
from benchmarks.peers.sides import fastnn_side, torch_side

PASSES = ("forward", "input-gradient", "weight-gradient")


class Problem(NamedTuple):
    """A convolution of square images, kernels and steps."""

    batch: int
    channels: int
    extent: int
    outputs: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padded: bool = True

    @property
    def padding(self) -> int:
        """That which keeps extents at stride 1."""
        return self.dilation * (self.kernel // 2) if self.padded else 0

    @property
    def places(self) -> int:
        """Extent of the result."""
        return (self.extent + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    @property
    def flops(self) -> float:
        """Those of the direct method."""
        taps = self.kernel**2 * self.channels // self.groups
        return 2.0 * self.batch * self.places**2 * self.outputs * taps

    @property
    def name(self) -> str:
        """Short for all numbers."""
        more = [f"s{self.stride}"] * (self.stride > 1) + [f"d{self.dilation}"] * (self.dilation > 1)
        more += [f"g{self.groups}"] * (self.groups > 1)
        core = f"{self.channels}to{self.outputs}-{self.kernel}x{self.kernel}-at{self.extent}-b{self.batch}"
        return "-".join([core, *more])


def arrays(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, weight and the gradient that comes in, channels last in memory."""
    random = np.random.default_rng(seed)
    p = problem
    x = random.standard_normal((p.batch, p.channels, p.extent, p.extent), np.float32)
    w = random.standard_normal((p.outputs, p.channels // p.groups, p.kernel, p.kernel), np.float32)
    dy = random.standard_normal((p.batch, p.outputs, p.places, p.places), np.float32)
    # sums of about 1, over taps and channels and over places
    return (
        channels_last(x),
        w / np.float32(w[0].size ** 0.5),
        channels_last(dy / np.float32((p.batch * p.places**2) ** 0.5)),
    )


def _torch(problem: Problem, which: str, contiguous: bool, seed: int) -> Work:
    import torch

    layout = torch.contiguous_format if contiguous else torch.channels_last
    x, w, dy = (torch.from_numpy(a).contiguous(memory_format=layout) for a in arrays(problem, seed))
    steps = [problem.stride] * 2, [problem.padding] * 2, [problem.dilation] * 2

    def forward() -> Any:
        return torch.nn.functional.conv2d(x, w, None, *steps, problem.groups)

    def backward() -> Any:
        wanted = [which == "input-gradient", which == "weight-gradient", False]
        found = torch.ops.aten.convolution_backward(dy, x, w, None, *steps, False, [0, 0], problem.groups, wanted)
        return found[wanted.index(True)]

    run = torch.no_grad()(forward if which == "forward" else backward)
    return Work(run=run, verify=lambda: {which: np.array(run().numpy())})


def _fastnn(problem: Problem, which: str, seed: int) -> Work:
    import fastnn
    from fastnn.nn import functional

    x, w, dy = (fastnn.from_numpy(a) for a in arrays(problem, seed))
    # weights lie as layers keep them, output channels side by side
    w = fastnn.from_numpy(np.ascontiguousarray(w.numpy().transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1))

    def forward() -> Any:
        return functional.conv2d(x, w, None, problem.stride, problem.padding, problem.dilation, problem.groups)

    if which == "forward":
        return Work(run=forward, verify=lambda: {which: np.array(forward().numpy())})
    wanted = x.requires_grad_() if which == "input-gradient" else w.requires_grad_()
    y = forward()

    def backward() -> Any:
        return fastnn.autograd.grad(y, [wanted], dy, retain_graph=True)[0]

    return Work(run=backward, verify=lambda: {which: np.array(backward().numpy())})


def _cases(problem: Problem, *bars: float | None) -> list[Case]:
    return [
        Case(
            name=f"conv-{which}-{problem.name}",
            sides={
                "fastnn": fastnn_side(partial(_fastnn, problem, which)),
                "torch": torch_side(partial(_torch, problem, which, False)),
                "torch-contiguous": torch_side(partial(_torch, problem, which, True)),
            },
            bar={} if bar is None else {"torch": bar, "torch-contiguous": bar},
            flops=problem.flops,
            rtol=1e-3,
            atol=2e-3,
            note="weight transforms and padding in every timing",
        )
        for which, bar in zip(PASSES, bars, strict=True)
    ]


class Group(NamedTuple):
    """Problems whose geometric means shall reach bars, one for each pass; None: nothing is asked."""

    title: str
    problems: tuple[Problem, ...]
    bars: tuple[float | None, float | None, float | None]


_SQUARE = ((64, 56), (128, 28), (256, 14), (512, 7))
GROUPS = (
    Group("3x3, batch 16", tuple(Problem(16, c, n, c, 3) for c, n in _SQUARE), (2.4, 2.3, 2.6)),
    Group("3x3, batch 1", tuple(Problem(1, c, n, c, 3) for c, n in _SQUARE), (1.7, None, None)),
    Group(
        "stride 2, 1x1, 5x5, dilated",
        (
            Problem(16, 64, 56, 128, 3, 2),
            Problem(16, 256, 14, 512, 3, 2),
            Problem(16, 64, 56, 64, 1),
            Problem(16, 256, 14, 1024, 1),
            Problem(16, 256, 56, 128, 1, 2),
            Problem(16, 32, 28, 64, 5),
            Problem(16, 64, 28, 64, 3, 1, 2),
        ),
        (1.0, 1.0, 1.0),
    ),
    Group(
        "first layers",
        (
            Problem(32, 1, 28, 32, 3),
            Problem(32, 1, 28, 32, 5),
            Problem(32, 3, 32, 64, 3),
            Problem(16, 3, 224, 64, 7, 2),
        ),
        (1.4, 3.0, 1.1),
    ),
    Group(
        "depthwise",
        tuple(Problem(16, c, n, c, 3, groups=c) for c, n in ((32, 112), (128, 56), (512, 14))),
        (1.3, 1.3, 1.3),
    ),
)
CASES = [case for group in GROUPS for problem in group.problems for case in _cases(problem, *group.bars)]
