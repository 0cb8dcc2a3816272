"""AlexNet: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014."""

from __future__ import annotations

from typing import Any

from fastnn import nn
from fastnn.models._layers import no_weights
from fastnn.tensor import Tensor


class AlexNet(nn.Module):
    """Five convolutions, the means of 6 x 6 windows, and three linear layers.

    Parameters
    ----------
    num_classes : logits.
    dropout : share of what enters the first two linear layers that is dropped.
    in_channels : of the images.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, *, in_channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Any) -> Tensor:
        """Give the logits of images (N, C, H, W) of at least 63 x 63."""
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def alexnet(*, weights: Any = None, progress: bool = True, **options: Any) -> AlexNet:
    """`AlexNet`; `weights` must be None."""
    no_weights("alexnet", weights)
    return AlexNet(**options)


__all__ = ["AlexNet", "alexnet"]
