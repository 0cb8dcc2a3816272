"""MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastnn import nn
from fastnn.models._layers import Norm, no_weights, start_convolutions
from fastnn.tensor import Tensor

# Expansion, channels, blocks and stride of each stage (the paper's table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _multiple(channels: float, of: int) -> int:
    """The nearest multiple of a number, but no less than nine tenths of the channels."""
    nearest = max(of, int(channels + of / 2) // of * of)
    return nearest + of if nearest < 0.9 * channels else nearest


def _unit(inputs: int, outputs: int, taps: int, norm: Norm, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution, its normalisation and relu6."""
    conv = nn.Conv2d(inputs, outputs, taps, stride, taps // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    """A 1x1 convolution that widens, a 3x3 one within each channel, a 1x1 one that narrows; a shortcut where it fits.

    Parameters
    ----------
    inp, oup : channels in and out.
    stride : 1 or 2.
    expand_ratio : how many times as many channels lie between.
    norm_layer : makes a normalisation of a number of channels; default `nn.BatchNorm2d`.
    """

    def __init__(
        self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride must be 1 or 2, got {stride}")
        norm = norm_layer or nn.BatchNorm2d
        between = round(inp * expand_ratio)
        layers: list[nn.Module] = [] if expand_ratio == 1 else [_unit(inp, between, 1, norm)]
        layers.append(_unit(between, between, 3, norm, stride, between))
        self.conv = nn.Sequential(*layers, nn.Conv2d(between, oup, 1, bias=False), norm(oup))
        self.stride, self.out_channels = stride, oup
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Any) -> Tensor:
        """Give (N, oup, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        return x + y if self.use_res_connect else y


class MobileNetV2(nn.Module):
    """A stem, stages of inverted residuals, the mean of each channel and a linear layer.

    Parameters
    ----------
    num_classes : logits.
    width_mult : factor on all channels.
    inverted_residual_setting : for each stage expansion, channels, blocks and stride; default: the paper's.
    round_nearest : what channels are multiples of.
    block : makes a block, with the arguments of `InvertedResidual`.
    norm_layer : makes a normalisation of a number of channels; default `nn.BatchNorm2d`.
    dropout : share of the means that is dropped before the linear layer.
    in_channels : of the images.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Norm | None = None,
        dropout: float = 0.2,
        *,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        stages = STAGES if inverted_residual_setting is None else inverted_residual_setting
        if not len(stages) or any(len(stage) != 4 for stage in stages):
            raise ValueError(
                f"MobileNetV2: inverted_residual_setting must hold four numbers for each stage, got {stages}"
            )
        norm, make = norm_layer or nn.BatchNorm2d, block or InvertedResidual
        channels = _multiple(32 * width_mult, round_nearest)
        self.last_channel = _multiple(1280 * max(1.0, width_mult), round_nearest)
        layers: list[nn.Module] = [_unit(in_channels, channels, 3, norm, 2)]
        for expansion, planes, blocks, stride in stages:
            outputs = _multiple(planes * width_mult, round_nearest)
            for i in range(blocks):
                layers.append(make(channels, outputs, 1 if i else stride, expand_ratio=expansion, norm_layer=norm))
                channels = outputs
        layers.append(_unit(channels, self.last_channel, 1, norm))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        start_convolutions(self)
        last: Any = self.classifier[1]
        nn.init.normal_(last.weight, 0, 0.01)
        nn.init.zeros_(last.bias)

    def forward(self, x: Any) -> Tensor:
        """Give the logits of images (N, in_channels, H, W)."""
        x = self.features(x)
        logits: Tensor = self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def mobilenet_v2(*, weights: Any = None, progress: bool = True, **options: Any) -> MobileNetV2:
    """`MobileNetV2`; `weights` must be None."""
    no_weights("mobilenet_v2", weights)
    return MobileNetV2(**options)


__all__ = ["InvertedResidual", "MobileNetV2", "mobilenet_v2"]
