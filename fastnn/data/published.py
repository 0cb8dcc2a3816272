"""What is known of each published set of idx files: names, shapes, hashes and where copies are kept."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IdxFile:
    """One file: its name without ``-idxN-ubyte``, its shape, and the SHA-256 of its decompressed data."""

    stem: str
    shape: Shape
    sha256: str

    @property
    def published(self) -> str:
        """The name under which the file is published (with ``.gz`` behind it)."""
        return f"{self.stem}-idx{len(self.shape)}-ubyte"

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which the file is met."""
        dotted = f"{self.stem}.idx{len(self.shape)}-ubyte"
        return (self.published + ".gz", self.published, dotted + ".gz", dotted)


@dataclass(frozen=True, slots=True)
class Collection:
    """Four files that make a dataset.

    Attributes
    ----------
    name : name of the dataset; the first folder it is looked for.
    title : its name in a sentence.
    folders : folders below a data folder in which the files may lie, before the data folder itself.
    mirrors : addresses below which the published files are found.
    files : images and labels of each split.
    classes : names of the classes.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    files: dict[str, tuple[IdxFile, IdxFile]]
    classes: tuple[str, ...]


MNIST = Collection(
    name="mnist",
    title="MNIST",
    folders=("mnist", "MNIST", "MNIST/raw"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files={
        "train": (
            IdxFile(
                "train-images", (60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            IdxFile("train-labels", (60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        ),
        "test": (
            IdxFile(
                "t10k-images", (10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            IdxFile("t10k-labels", (10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
    },
    classes=tuple("0123456789"),
)

FASHION_MNIST = Collection(
    name="fashion-mnist",
    title="Fashion-MNIST",
    folders=("fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    files={
        "train": (
            IdxFile(
                "train-images", (60_000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
            ),
            IdxFile("train-labels", (60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ),
        "test": (
            IdxFile(
                "t10k-images", (10_000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
            ),
            IdxFile("t10k-labels", (10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ),
    },
    classes=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)
