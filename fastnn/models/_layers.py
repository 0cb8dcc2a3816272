"""What the networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn import nn

Norm = Callable[[int], nn.Module]


def no_weights(name: str, weights: Any) -> None:
    """ValueError where somebody asks for published weights."""
    if weights is not None:
        raise ValueError(
            f"{name}: weights must be None, got {weights!r}; load a file of torchvision's with "
            f"model.load_state_dict(fastnn.load(path))"
        )


def start_convolutions(model: nn.Module) -> None:
    """Draw the weights of a model's convolutions, as for relu (He et al., 2015); biases are 0, norms do nothing."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)) and module.weight is not None:
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
