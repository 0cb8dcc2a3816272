"""Labelled images, as the datasets return them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ImageData:
    """Images with their labels: one split of a dataset.

    Attributes
    ----------
    images : uint8 array of shape (N, height, width), or (N, colours, height, width), 0 to 255, as in the files.
    labels : int64 array of shape (N,), the class of each image.
    classes : the names of the classes; ``classes[labels[i]]`` names image ``i``.
    name : name of the dataset, such as ``"mnist"``.
    split : ``"train"`` or ``"test"``.
    source : where the images came from, in words.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str
    split: str
    source: str

    def features(self, *, flatten: bool = True, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """Return the images as numbers from 0 to 1 (divided by 255, as torchvision's ``ToTensor`` does).

        Parameters
        ----------
        flatten : give shape (N, height * width), for dense layers and scikit-learn (with colours (N, colours *
            height * width)); otherwise (N, colours, height, width), 1 colour where there are none, for convolutions.
        dtype : floating-point type of the result.
        """
        count, *colours, height, width = self.images.shape
        depth = colours[0] if colours else 1
        shape = (count, depth * height * width) if flatten else (count, depth, height, width)
        scaled: NDArray[np.floating] = np.divide(self.images, 255, dtype=dtype)
        return scaled.reshape(shape)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"<{self.name} {self.split}: {len(self):,} images of {self.images.shape[1:]}, from {self.source}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ImageSplits:
    """The two parts of an image dataset: ``train`` to learn from, ``test`` held out."""

    train: ImageData
    test: ImageData

    @property
    def name(self) -> str:
        """Name of the dataset, such as ``"mnist"``."""
        return self.train.name

    @property
    def source(self) -> str:
        """Where the images came from, in words."""
        return self.train.source

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.train):,} + {len(self.test):,} images, from {self.source}>"
