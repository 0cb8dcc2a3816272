"""Networks that have a name, and how each is trained where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a name, and its defaults.

    Attributes
    ----------
    factory : a function of `fastnn.models`; None for dense layers of given sizes.
    options : what it is given beside the numbers of classes and colours.
    optimizer : class in `fastnn.optim`.
    settings : what that is given beside the learning rate.
    lr, batch_size, epochs : the learning rate falls from `lr` towards 0 along half a cosine.
    augmented : whether the images are changed at random while it learns.
    """

    factory: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "Adam"
    settings: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 0.005
    batch_size: int = 128
    epochs: int = 10
    augmented: bool = False


# He et al. (2016) train residual networks by SGD with momentum, and so do most since: it generalises better than Adam.
SGD: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
OWN = Network()  # of somebody's own
NETWORKS = {
    "mlp": OWN,
    "lenet": Network("lenet", lr=0.002, augmented=True),
    "allcnn-small": Network("allcnn_small", lr=0.002, epochs=15, augmented=True),
    "resnet10-small": Network("resnet10_small", {}, "SGD", SGD, 0.05, 128, 20, True),
    "resnet18": Network("resnet18", {"stem": "cifar"}, "SGD", SGD, 0.05, 128, 15, True),
}


def defaults(model: str) -> Network:
    """What holds for a model, by name or ``MODULE:FACTORY``, where nothing else is asked for."""
    return NETWORKS.get(model, OWN)
