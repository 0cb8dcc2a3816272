"""A network of convolutions alone: Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015."""

from __future__ import annotations

from typing import Any

from fastnn import nn
from fastnn.models._layers import no_weights, start_convolutions
from fastnn.tensor import Tensor


class AllCNN(nn.Module):
    """The paper's All-CNN-C: 3x3 convolutions, strides in place of pooling, and the mean of each class's map.

    Parameters
    ----------
    num_classes : logits.
    in_channels : of the images.
    width : channels of the first convolutions; later ones have twice as many.
    input_dropout, dropout : share of the pixels, and of what leaves a convolution with a stride, that is dropped.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 96,
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        # outputs, taps, stride, padding
        rows = [(width, 3, 1, 1), (width, 3, 1, 1), (width, 3, 2, 1)]
        rows += [(2 * width, 3, 1, 1), (2 * width, 3, 1, 1), (2 * width, 3, 2, 1)]
        rows += [(2 * width, 3, 1, 0), (2 * width, 1, 1, 0), (num_classes, 1, 1, 0)]
        layers: list[nn.Module] = [nn.Dropout(input_dropout)]
        for outputs, taps, stride, padding in rows:
            layers += [nn.Conv2d(in_channels, outputs, taps, stride, padding), nn.ReLU()]
            if stride > 1:
                layers.append(nn.Dropout(dropout))
            in_channels = outputs
        self.features = nn.Sequential(*layers[:-1])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        start_convolutions(self)

    def forward(self, x: Any) -> Tensor:
        """Give the logits of images (N, C, H, W) of at least 9 x 9."""
        logits: Tensor = self.avgpool(self.features(x)).flatten(1)
        return logits


def allcnn_small(*, weights: Any = None, progress: bool = True, **options: Any) -> AllCNN:
    """`AllCNN` of a third of the width without dropout, for small images of one colour; `weights` must be None."""
    no_weights("allcnn_small", weights)
    return AllCNN(**{"in_channels": 1, "width": 32, "input_dropout": 0.0, "dropout": 0.0, **options})


__all__ = ["AllCNN", "allcnn_small"]
