"""What the commands work on: data by name or file, and models by name or factory."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.cli.failure import Failure
from fastnn.cli.networks import NETWORKS, Network
from fastnn.data import ImageData, ImageSplits, Table, TableError, datasets, random_split, read_csv, transforms

IMAGES = {"mnist": "mnist", "fashion-mnist": "fashion_mnist"}  # functions of `datasets`
# How images may be changed and show the same: digits lean, clothes have no left and right.
CHANGES: dict[str, tuple[tuple[str, transforms.Transform], ...]] = {
    "mnist": (("shifts", transforms.RandomShift(2)), ("rotations", transforms.RandomRotation(10))),
    "fashion-mnist": (("shifts", transforms.RandomShift(2)), ("flips", transforms.RandomHorizontalFlip())),
}
HELD_OUT = 0.2  # share of a table's rows
WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


@dataclass(slots=True)
class Description:
    """What a trained model expects and gives; it lies beside the weights.

    Attributes
    ----------
    model : name of a network in `NETWORKS`, or ``module:factory``.
    hidden : sizes of the hidden layers of ``"mlp"``.
    data : name or file of what it was trained on.
    inputs, outputs : numbers in and out.
    classes : names of the classes; None where numbers are predicted.
    feature_names, target : columns of a table; None for images.
    mean, scale : of each feature of a table: what the model sees is ``(x - mean) / scale``.
    target_mean, target_scale : of the number that is predicted.
    image : colours, height and width of an image; None for a table.
    """

    model: str
    hidden: list[int]
    data: str
    inputs: int
    outputs: int
    classes: list[str] | None = None
    feature_names: list[str] | None = None
    target: str | None = None
    mean: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    target_mean: float = 0.0
    target_scale: float = 1.0
    image: list[int] | None = None

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def standardized(self, features: np.ndarray) -> np.ndarray:
        """A table's features as the model sees them."""
        mean, scale = (np.array(values, np.float32) for values in (self.mean, self.scale))
        return np.asarray((features - mean) / scale, np.float32)


@dataclass(slots=True)
class Subject:
    """Data ready for training: arrays to train on and held out, and words about them."""

    train: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]
    description: Description
    noun: str
    source: str
    name: str


def images(name: str) -> ImageSplits:
    """Both parts of an image dataset."""
    found: ImageSplits = getattr(datasets, IMAGES[name])()
    return found


def images_of(part: ImageData, model: str) -> np.ndarray:
    """Images as a model takes them: rows of pixels for the network of dense layers, else (N, colours, H, W).

    Images of one colour lie with their channels last already: convolutions take them without a copy.
    """
    return part.features(flatten=model == "mlp")


def load_subject(data: str, target: str | None, model: str, hidden: list[int], seed: int) -> Subject:
    """Read what is to be trained on. Raises Failure."""
    try:
        if data in IMAGES:
            if target is not None:
                raise Failure(f"--target is for tables; {data} has its labels")
            parts = images(data)
            x = images_of(parts.train, model)
            classes = list(parts.train.classes)
            described = Description(model, hidden, data, int(np.prod(x.shape[1:])), len(classes), classes)
            *colours, height, width = parts.train.images.shape[1:]
            described.image = [*(colours or [1]), height, width]
            return Subject(
                (x, parts.train.labels),
                (images_of(parts.test, model), parts.test.labels),
                described,
                "images",
                parts.source,
                parts.name,
            )
        return _table_subject(read_csv(data, target), data, model, hidden, seed)
    except (OSError, TableError, ValueError) as error:
        raise Failure(str(error)) from None


def _table_subject(table: Table, data: str, model: str, hidden: list[int], seed: int) -> Subject:
    if len(table) < 2:
        raise Failure(f"{data}: expected at least 2 rows, got {len(table)}")
    held = max(1, round(HELD_OUT * len(table)))
    kept, out = (np.array(part.indices) for part in random_split(table, [len(table) - held, held], seed=seed))
    x, y = table.arrays
    mean, scale = x[kept].mean(0, dtype=np.float64), x[kept].std(0, dtype=np.float64)
    described = Description(
        model,
        hidden,
        data,
        x.shape[1],
        1 if table.classes is None else len(table.classes),
        None if table.classes is None else list(table.classes),
        list(table.feature_names),
        table.target_name,
        mean.tolist(),
        np.where(scale > 0, scale, 1).tolist(),
    )
    if table.classes is None:
        described.target_mean = float(y[kept].mean(dtype=np.float64))
        described.target_scale = float(y[kept].std(dtype=np.float64)) or 1.0
        y = ((y - described.target_mean) / described.target_scale).astype(np.float32)[:, None]
    x = described.standardized(x)
    return Subject((x[kept], y[kept]), (x[out], y[out]), described, "rows", table.source, table.name)


def build_model(described: Description) -> Any:
    """The network of a description. Raises Failure where a factory cannot be found or called."""
    if described.model == "mlp":
        sizes = [described.inputs, *described.hidden, described.outputs]
        layers: list[Any] = []
        for inputs, outputs in pairwise(sizes):
            layers += [fastnn.nn.Linear(inputs, outputs), fastnn.nn.ReLU()]
        return fastnn.nn.Sequential(*layers[:-1])
    network = NETWORKS.get(described.model)
    if network is not None:
        return _network_of_images(described, network)
    return model_by_factory(described.model, "--model ", (described.inputs, described.outputs))


def _network_of_images(described: Description, network: Network) -> Any:
    from fastnn import models

    if described.image is None:
        raise Failure(f"--model {described.model} is for images ({', '.join(IMAGES)}), not for tables")
    assert network.factory is not None
    colours, height, width = described.image
    size = {"image_size": height} if network.factory == "lenet" and height == width else {}
    options = {"num_classes": described.outputs, "in_channels": colours, **size, **network.options}
    return getattr(models, network.factory)(**options)


def changes_of(described: Description) -> tuple[str, transforms.Transform]:
    """Words for how the images of a dataset are changed at random, and the transform that does it. Raises Failure."""
    if described.image is None or described.model == "mlp":
        raise Failure("--augment is for networks of images; those of dense layers take rows of pixels")
    words, found = zip(*CHANGES[described.data], strict=True)
    return " and ".join(words), transforms.Compose(found)


def model_by_factory(text: str, option: str = "", numbers: tuple[int, ...] = ()) -> Any:
    """The network that ``MODULE:FACTORY`` makes, given numbers if it takes them; the module may be a file's name.

    Raises Failure where the factory cannot be found or called; `option` is how its name begins there.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise Failure(f"{option or 'the model '}must be {'mlp or ' * bool(option)}MODULE:FACTORY, got '{text}'")
    path = Path(module)
    here = str(Path.cwd())
    if path.suffix == ".py":
        here, module = str(path.resolve().parent), path.stem
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory = importlib.import_module(module)
        for part in name.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise Failure(f"{option}{text} cannot be found: {error}") from None
    if not callable(factory):
        raise Failure(f"{option}{text} must be a function or class that makes a model")
    try:
        inspect.signature(factory).bind(*numbers)
        arguments = numbers
    except (TypeError, ValueError):
        arguments = ()
    try:
        model = factory(*arguments)
    except Exception as error:
        raise Failure(f"{option}{text} failed: {type(error).__name__}: {error}") from None
    if not isinstance(model, fastnn.nn.Module):
        raise Failure(f"{option}{text} must make a fastnn.nn.Module, got {type(model).__name__}")
    return model


def loss_of(described: Description) -> Any:
    """Cross-entropy for classes, the mean squared error for numbers."""
    return fastnn.nn.CrossEntropyLoss() if described.classes is not None else fastnn.nn.MSELoss()


def load_trained(folder: Path) -> tuple[Any, Description]:
    """The model that ``fastnn train`` left in a folder. Raises Failure."""
    path = folder / WEIGHTS
    try:
        described = Description(**json.loads((folder / DESCRIPTION).read_text()))
        state = fastnn.load(path)
    except (FileNotFoundError, NotADirectoryError):
        raise Failure(f"{path} is not there; fastnn train makes it") from None
    except (ValueError, TypeError):
        raise Failure(f"{folder} must be a folder that fastnn train has left") from None
    model = build_model(described)
    try:
        model.load_state_dict(state)
    except (ValueError, RuntimeError, KeyError) as error:
        raise Failure(f"{path} does not fit its model {described.model}: {error}") from None
    return model, described
