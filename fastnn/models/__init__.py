"""Networks for images, under torchvision's names: a state dict of torchvision's loads into them as it is.

They take images (N, C, H, W) and give logits (N, classes). Their last channels lie last in memory, so images that lie
so are taken without a copy.
"""

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

__all__ = [
    "AllCNN",
    "BasicBlock",
    "Bottleneck",
    "InvertedResidual",
    "LeNet",
    "MobileNetV2",
    "ResNet",
    "allcnn_small",
    "lenet",
    "mobilenet_v2",
    "resnet10_small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "wide_resnet50_2",
]
