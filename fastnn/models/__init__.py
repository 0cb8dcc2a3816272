"""Networks for images, under torchvision's names: a state dict of torchvision's loads into them as it is.

They take images (N, C, H, W) and give logits (N, classes). Their last channels lie last in memory, so images that lie
so are taken without a copy.
"""

from __future__ import annotations

from typing import Any

from fastnn import nn
from fastnn.models.alexnet import AlexNet, alexnet
from fastnn.models.allcnn import AllCNN, allcnn_small
from fastnn.models.lenet import LeNet, lenet
from fastnn.models.mobilenetv2 import InvertedResidual, MobileNetV2, mobilenet_v2
from fastnn.models.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet10_small,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)
from fastnn.models.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
    vgg_features,
)


def list_models() -> list[str]:
    """The names of the functions that make networks, sorted."""
    made = {name: globals()[name] for name in __all__}
    return sorted(name for name, value in made.items() if "weights" in (getattr(value, "__kwdefaults__", None) or {}))


def get_model(name: str, **options: Any) -> nn.Module:
    """The network of a name in `list_models`, made with options of its function."""
    if name not in list_models():
        raise ValueError(f"get_model: name must be one of {', '.join(list_models())}, got {name!r}")
    made: nn.Module = globals()[name](**options)
    return made


__all__ = [
    "VGG",
    "AlexNet",
    "AllCNN",
    "BasicBlock",
    "Bottleneck",
    "InvertedResidual",
    "LeNet",
    "MobileNetV2",
    "ResNet",
    "alexnet",
    "allcnn_small",
    "get_model",
    "lenet",
    "list_models",
    "mobilenet_v2",
    "resnet10_small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vgg_features",
    "wide_resnet50_2",
]
