"""A small convolutional network for digits, after LeCun et al., "Gradient-Based Learning Applied to Document
Recognition", 1998, in today's layers.
"""

from __future__ import annotations

from typing import Any

from fastnn import nn
from fastnn.models._layers import no_weights
from fastnn.tensor import Tensor


class LeNet(nn.Module):
    """Two 3x3 convolutions of 32 and 64 channels, each with relu and 2x2 max pooling, and two dense layers.

    Parameters
    ----------
    num_classes : logits.
    in_channels : of the images.
    image_size : height and width of the images, at least 4.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        if image_size < 4:
            raise ValueError(f"LeNet: image_size must be at least 4, got {image_size}")
        side = image_size // 4
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * side * side, 128),
            nn.ReLU(),
            nn.Linear(128, num_classes),
        )

    def forward(self, x: Any) -> Tensor:
        """Give the logits of images (N, C, image_size, image_size)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def lenet(*, weights: Any = None, progress: bool = True, **options: Any) -> LeNet:
    """`LeNet`; `weights` must be None."""
    no_weights("lenet", weights)
    return LeNet(**options)


__all__ = ["LeNet", "lenet"]
