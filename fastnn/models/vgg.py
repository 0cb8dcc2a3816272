"""Plain deep networks: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
2015.
"""

from __future__ import annotations

from typing import Any

from fastnn import nn
from fastnn.models._layers import no_weights, start_convolutions
from fastnn.tensor import Tensor

# Convolutions of each stage, by the paper's letters; stages have 64, 128, 256, 512 and 512 channels.
STAGES = {"A": (1, 1, 2, 2, 2), "B": (2, 2, 2, 2, 2), "D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """Convolutions, the means of 7 x 7 windows, and three linear layers.

    Parameters
    ----------
    features : gives (N, 512, H, W); see `vgg_features`.
    num_classes : logits.
    init_weights : whether weights are drawn as in the literature; otherwise they are those of the layers.
    dropout : share of what leaves the first two linear layers that is dropped.
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            start_convolutions(self)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, 0, 0.01)
                    assert module.bias is not None
                    nn.init.zeros_(module.bias)

    def forward(self, x: Any) -> Tensor:
        """Give the logits of images (N, C, H, W) of at least 32 x 32."""
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def vgg_features(letter: str, batch_norm: bool = False, in_channels: int = 3) -> nn.Sequential:
    """The convolutions of the network that the paper calls "A", "B", "D" or "E"."""
    if letter not in STAGES:
        raise ValueError(f"vgg_features: letter must be one of {', '.join(STAGES)}, got {letter!r}")
    layers: list[nn.Module] = []
    for stage, count in enumerate(STAGES[letter]):
        outputs = min(64 << stage, 512)
        for _ in range(count):
            layers.append(nn.Conv2d(in_channels, outputs, 3, padding=1))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if batch_norm else [nn.ReLU()]
            in_channels = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _vgg(name: str, letter: str, batch_norm: bool, weights: Any, options: dict[str, Any]) -> VGG:
    no_weights(name, weights)
    features = vgg_features(letter, batch_norm, options.pop("in_channels", 3))
    return VGG(features, **options)


def vgg11(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG of 11 layers; `weights` must be None, options are those of `VGG` and ``in_channels``."""
    return _vgg("vgg11", "A", False, weights, options)


def vgg11_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """As `vgg11`, with batch normalisation."""
    return _vgg("vgg11_bn", "A", True, weights, options)


def vgg13(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG of 13 layers; see `vgg11`."""
    return _vgg("vgg13", "B", False, weights, options)


def vgg13_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """As `vgg13`, with batch normalisation."""
    return _vgg("vgg13_bn", "B", True, weights, options)


def vgg16(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG of 16 layers; see `vgg11`."""
    return _vgg("vgg16", "D", False, weights, options)


def vgg16_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """As `vgg16`, with batch normalisation."""
    return _vgg("vgg16_bn", "D", True, weights, options)


def vgg19(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG of 19 layers; see `vgg11`."""
    return _vgg("vgg19", "E", False, weights, options)


def vgg19_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """As `vgg19`, with batch normalisation."""
    return _vgg("vgg19_bn", "E", True, weights, options)


__all__ = [
    "VGG",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vgg_features",
]
