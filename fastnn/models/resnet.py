"""Residual networks: He et al., "Deep Residual Learning for Image Recognition", 2016.

As in torchvision, a bottleneck has its stride at the 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastnn import nn
from fastnn.models._layers import Norm, no_weights, start_convolutions
from fastnn.nn.joining import in_turn
from fastnn.tensor import Tensor

STEMS = ("imagenet", "cifar")


def _conv(inputs: int, outputs: int, taps: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without a bias, whose padding keeps the extents at stride 1."""
    padding = dilation * (taps // 2)
    return nn.Conv2d(inputs, outputs, taps, stride, padding, dilation, groups, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Parameters
    ----------
    inplanes, planes : channels in and out.
    stride : of the first convolution.
    downsample : what the shortcut does to the input; None for nothing.
    groups, base_width, dilation : must be 1, 64 and 1.
    norm_layer : makes a normalisation of a number of channels; default `nn.BatchNorm2d`.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(
                f"BasicBlock: groups, base_width and dilation must be 1, 64 and 1, got {groups}, {base_width} and "
                f"{dilation}"
            )
        norm = norm_layer or nn.BatchNorm2d
        self.conv1, self.bn1 = _conv(inplanes, planes, 3, stride), norm(planes)
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = _conv(planes, planes, 3), norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Any) -> Tensor:
        """Give (N, planes, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = in_turn(x, (self.conv1, self.bn1, self.relu))
        sums: Tensor = self.relu(self.bn2(self.conv2(y)) + shortcut)
        return sums


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, and a shortcut around them; four times `planes` channels come out.

    Parameters
    ----------
    inplanes, stride, downsample, norm_layer : as for `BasicBlock`; the stride is that of the 3x3 convolution.
    planes : channels between the convolutions, where `groups` is 1 and `base_width` 64.
    groups, base_width : the 3x3 convolution has ``planes * base_width // 64 * groups`` channels in so many groups.
    dilation : of the 3x3 convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width, outputs = planes * base_width // 64 * groups, planes * self.expansion
        self.conv1, self.bn1 = _conv(inplanes, width, 1), norm(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride, groups, dilation), norm(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), norm(outputs)
        self.relu = nn.ReLU()
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Any) -> Tensor:
        """Give (N, 4 * planes, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = in_turn(x, (self.conv1, self.bn1, self.relu))
        y = in_turn(y, (self.conv2, self.bn2, self.relu))
        sums: Tensor = self.relu(self.bn3(self.conv3(y)) + shortcut)
        return sums


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, the mean of each channel and a linear layer.

    Parameters
    ----------
    block : `BasicBlock` or `Bottleneck`.
    layers : blocks of each of the four stages.
    num_classes : logits.
    zero_init_residual : whether blocks begin as their shortcuts: the last normalisation's weight is 0.
    groups, width_per_group : of `Bottleneck`.
    replace_stride_with_dilation : for each of the last three stages, whether it dilates in place of its stride.
    norm_layer : makes a normalisation of a number of channels; default `nn.BatchNorm2d`.
    stem : ``"imagenet"``, a 7x7 convolution of stride 2 and max pooling, or ``"cifar"``, a 3x3 convolution, for images
        of about 32 x 32 (He et al., section 4.2).
    in_channels : of the images.
    width : channels of the stem and of the first stage; each later stage has twice as many.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
        *,
        stem: str = "imagenet",
        in_channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__()
        dilate = [False] * 3 if replace_stride_with_dilation is None else list(replace_stride_with_dilation)
        if len(dilate) != 3:
            raise ValueError(f"ResNet: replace_stride_with_dilation must be None or hold 3 bools, got {dilate}")
        if len(layers) != 4 or min(layers) < 1:
            raise ValueError(f"ResNet: layers must hold 4 numbers from 1 on, got {layers}")
        if stem not in STEMS:
            raise ValueError(f"ResNet: stem must be one of {', '.join(STEMS)}, got {stem!r}")
        self._norm: Norm = norm_layer or nn.BatchNorm2d
        self.groups, self.base_width, self.dilation, self.inplanes = groups, width_per_group, 1, width
        self.conv1 = _conv(in_channels, width, 7, 2) if stem == "imagenet" else _conv(in_channels, width, 3)
        self.bn1 = self._norm(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = self._stage(block, width, layers[0], 1, False)
        self.layer2 = self._stage(block, 2 * width, layers[1], 2, dilate[0])
        self.layer3 = self._stage(block, 4 * width, layers[2], 2, dilate[1])
        self.layer4 = self._stage(block, 8 * width, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width * block.expansion, num_classes)
        start_convolutions(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, (BasicBlock, Bottleneck)):
                    last: Any = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                    nn.init.zeros_(last.weight)

    def _stage(
        self, block: type[BasicBlock] | type[Bottleneck], planes: int, blocks: int, stride: int, dilate: bool
    ) -> nn.Sequential:  # fmt: skip
        before, outputs = self.dilation, planes * block.expansion
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        shortcut = None
        if stride != 1 or self.inplanes != outputs:
            shortcut = nn.Sequential(_conv(self.inplanes, outputs, 1, stride), self._norm(outputs))
        shared = {"groups": self.groups, "base_width": self.base_width, "norm_layer": self._norm}
        made = [block(self.inplanes, planes, stride, shortcut, dilation=before, **shared)]  # type: ignore[arg-type]
        self.inplanes = outputs
        made += [block(outputs, planes, dilation=self.dilation, **shared) for _ in range(1, blocks)]  # type: ignore
        return nn.Sequential(*made)

    def forward(self, x: Any) -> Tensor:
        """Give the logits of images (N, in_channels, H, W)."""
        x = in_turn(x, (self.conv1, self.bn1, self.relu, self.maxpool))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def _resnet(
    name: str, block: type[BasicBlock] | type[Bottleneck], layers: Sequence[int], weights: Any, options: dict[str, Any]
) -> ResNet:
    no_weights(name, weights)
    return ResNet(block, layers, **options)


def resnet18(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-18; `weights` must be None, options are those of `ResNet`."""
    return _resnet("resnet18", BasicBlock, [2, 2, 2, 2], weights, options)


def resnet34(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-34; `weights` must be None, options are those of `ResNet`."""
    return _resnet("resnet34", BasicBlock, [3, 4, 6, 3], weights, options)


def resnet50(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-50; `weights` must be None, options are those of `ResNet`."""
    return _resnet("resnet50", Bottleneck, [3, 4, 6, 3], weights, options)


def resnet101(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-101; `weights` must be None, options are those of `ResNet`."""
    return _resnet("resnet101", Bottleneck, [3, 4, 23, 3], weights, options)


def resnet152(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-152; `weights` must be None, options are those of `ResNet`."""
    return _resnet("resnet152", Bottleneck, [3, 8, 36, 3], weights, options)


def resnext50_32x4d(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNeXt-50 (Xie et al., 2017) of 32 groups of 4 channels; `weights` must be None, options those of `ResNet`."""
    return _resnet(
        "resnext50_32x4d", Bottleneck, [3, 4, 6, 3], weights, {"groups": 32, "width_per_group": 4, **options}
    )


def wide_resnet50_2(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """Wide ResNet-50-2 (Zagoruyko and Komodakis, 2016); `weights` must be None, options are those of `ResNet`."""
    return _resnet("wide_resnet50_2", Bottleneck, [3, 4, 6, 3], weights, {"width_per_group": 128, **options})


def resnet10_small(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """A block a stage, a quarter of the width and a 3x3 stem, for 28 x 28 images of one colour and 10 classes.

    `weights` must be None, options are those of `ResNet`.
    """
    small = {"num_classes": 10, "stem": "cifar", "in_channels": 1, "width": 16}
    return _resnet("resnet10_small", BasicBlock, [1, 1, 1, 1], weights, {**small, **options})


__all__ = [
    "BasicBlock",
    "Bottleneck",
    "ResNet",
    "resnet10_small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "wide_resnet50_2",
]
