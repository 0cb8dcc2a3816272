"""Changes of images, a batch at a time: random ones to learn more from fewer images, and preparations.

A transform takes images (N, C, H, W), or one image (C, H, W), as an array or a Tensor, and gives new ones of the same
kind; their channels lie last in memory. Random ones change each image in its own way. What happens to a sample depends
on a seed, a draw and the sample's own number. In a `DataLoader` (``transform=``) these are the loader's seed, the epoch
and the sample's place in the dataset, so it is the same for every batch size, order, number of threads and of workers.
Called alone, a transform takes a draw of the default generator (`fastnn.manual_seed`) or of the one it was given.

Names and arguments are torchvision's where it has them.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._numpy_views import integer
from fastnn.errors import DTypeError, ShapeError
from fastnn.ops.augmentation import INTERPOLATIONS
from fastnn.random import default_generator, generator_argument
from fastnn.tensor import Tensor, from_numpy

APART = float(1 << 52)  # added to the number of a loader's draw: those below are a generator's
ATTEMPTS = 10  # at a window that fits
PADDING_MODES = ("constant", "edge", "reflect")


class Transform:
    """Base of transforms; a subclass has `apply` and, if it is random, `numbers`.

    Attributes
    ----------
    numbers : how many random numbers `apply` takes for each image.
    generator : a `fastnn.random.Generator` for calls outside of loaders; None for the default one.
    """

    numbers: int = 0
    generator: Any = None

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Change images (N, C, H, W); `chosen` (N, numbers) holds random numbers from [0, 1), float64."""
        raise NotImplementedError(f"{type(self).__name__} must define apply")

    def __call__(self, images: Any) -> Any:
        """Change images (N, C, H, W) or one image (C, H, W)."""
        cells = (0.0, 0.0, 0.0)
        if self.numbers:
            cells = (default_generator if self.generator is None else self.generator).cells()
        return self._changed(images, None, cells)

    def at(self, images: Any, samples: Any, seed: int, draw: int) -> Any:
        """Change images as for the samples of some numbers (N,) in a draw; loaders call this."""
        cells = float(seed & 0xFFFFFFFF), float(seed >> 32 & 0xFFFFFFFF), APART + draw
        return self._changed(images, np.asarray(samples, np.int64), cells)

    def _changed(self, images: Any, samples: np.ndarray | None, cells: tuple[float, float, float]) -> Any:
        array = images.array if isinstance(images, Tensor) else np.asarray(images)
        if array.ndim not in (3, 4):
            raise ShapeError(
                f"{type(self).__name__}: images must have shape (N, C, H, W) or (C, H, W), got {array.shape}"
            )
        batch = array if array.ndim == 4 else array[None]
        if samples is None:
            samples = np.arange(len(batch))
        elif samples.shape != (len(batch),):
            raise ShapeError(
                f"{type(self).__name__}: samples must have shape ({len(batch)},) to match the images, got "
                f"{samples.shape}"
            )
        drawn = np.empty((len(batch), self.numbers))
        if drawn.size:
            drawn = ops.uniform_rows(drawn, samples, *cells)
        changed = self.apply(batch, drawn)
        changed = changed if array.ndim == 4 else changed[0]
        return from_numpy(changed) if isinstance(images, Tensor) else changed

    def __repr__(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({words})"


class Compose(Transform):
    """Transforms one after the other; functions of arrays (N, C, H, W) may stand among them.

    Parameters
    ----------
    transforms : in the order in which they are applied.
    """

    def __init__(self, transforms: Sequence[Any], *, generator: Any = None) -> None:
        self.transforms = list(transforms)
        for one in self.transforms:
            if not callable(one):
                raise TypeError(f"Compose: transforms must be transforms or functions, got {type(one).__name__}")
        self.generator = _generator(generator)
        self.numbers = sum(one.numbers for one in self.transforms if isinstance(one, Transform))

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Apply all of them; each takes random numbers of its own."""
        start = 0
        for one in self.transforms:
            if isinstance(one, Transform):
                images = one.apply(images, chosen[:, start : start + one.numbers])
                start += one.numbers
            else:
                images = np.asarray(one(images))
        return images

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


# -- preparations


class ConvertImageDtype(Transform):
    """Images of another dtype: integers become numbers from 0 to 1, by their dtype's largest one.

    Parameters
    ----------
    dtype : a floating one.
    """

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype.kind != "f":
            raise DTypeError(f"ConvertImageDtype: dtype must be a floating one, got {self.dtype}")

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Convert images."""
        if images.dtype.kind in "iu":
            return np.divide(images, np.iinfo(images.dtype).max, dtype=self.dtype)
        return images.astype(self.dtype)


class Normalize(Transform):
    """``(image - mean) / std``, channel by channel.

    Parameters
    ----------
    mean, std : a number, or one for each channel; `std` must not be 0.
    inplace : taken as torchvision's users give it; the images that come in are never changed.
    """

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        self.mean, self.std = mean, std
        means, deviations = (np.atleast_1d(np.asarray(value, np.float64)) for value in (mean, std))
        if means.ndim > 1 or deviations.ndim > 1:
            raise ShapeError(f"Normalize: mean and std must be numbers or have one axis, got {mean!r} and {std!r}")
        if not (np.isfinite(means).all() and np.isfinite(deviations).all() and deviations.all()):
            raise ValueError(f"Normalize: mean and std must be finite, and std not 0, got {mean!r} and {std!r}")
        self._scale, self._shift = 1 / deviations, -means / deviations

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Normalise images."""
        if images.dtype.kind != "f":
            raise DTypeError(f"Normalize: images must be of a floating dtype, got {images.dtype}")
        for name, own in (("mean", self._shift), ("std", self._scale)):
            if len(own) not in (1, images.shape[1]):
                raise ShapeError(f"Normalize: {name} must hold 1 or {images.shape[1]} numbers, got {len(own)}")
        scale, shift = (own.astype(images.dtype)[:, None, None] for own in (self._scale, self._shift))
        normalised: np.ndarray = ops.addcmul(shift, images, scale)
        return normalised


class Resize(Transform):
    """Images at another size; see `nn.functional.interpolate`.

    Parameters
    ----------
    size : height and width, or one number for both.
    interpolation : ``"bilinear"``, ``"nearest"`` or ``"bicubic"``.
    antialias : whether every pixel counts where images shrink (not for ``"nearest"``).
    """

    def __init__(self, size: Any, interpolation: str = "bilinear", antialias: bool = True) -> None:
        self.size = _size("Resize", size)
        modes = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
        if interpolation not in modes:
            raise ValueError(f"Resize: interpolation must be one of {', '.join(modes)}, got {interpolation!r}")
        self.interpolation, self.antialias = interpolation, bool(antialias)
        self._mode = modes[interpolation]

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Resample images."""
        antialias = self.antialias and self._mode != "nearest"
        return _as_floats(images, lambda x: ops.interpolate(x, self.size, self._mode, antialias=antialias))


class Pad(Transform):
    """Pixels around images.

    Parameters
    ----------
    padding : a number, (left and right, top and bottom), or (left, top, right, bottom).
    fill : of the pixels, with `padding_mode` ``"constant"``.
    padding_mode : ``"constant"``, ``"edge"`` or ``"reflect"``.
    """

    def __init__(self, padding: Any, fill: float = 0, padding_mode: str = "constant") -> None:
        self.padding, self.fill, self.padding_mode = padding, fill, _padding_mode(self, padding_mode)
        left, top, right, bottom = _around("Pad", padding)
        self._widths = ((0, 0), (0, 0), (top, bottom), (left, right))

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Pad images."""
        padded: np.ndarray = ops.pad(images, self._widths, self.padding_mode, constant_values=float(self.fill))
        return padded


class CenterCrop(Transform):
    """The middle of images; zeros where they are smaller.

    Parameters
    ----------
    size : height and width, or one number for both.
    """

    def __init__(self, size: Any) -> None:
        self.size = _size("CenterCrop", size)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Crop images."""
        rooms = [n - own for n, own in zip(images.shape[2:], self.size, strict=True)]
        corner = [round(room / 2) if room >= 0 else -(-room // 2) for room in rooms]
        cropped: np.ndarray = ops.crop_images(images, np.tile(corner, (len(images), 1)), self.size)
        return cropped


# -- random changes


class RandomCrop(Transform):
    """A window of each image, anywhere in it.

    Parameters
    ----------
    size : height and width of the window, or one number for both.
    padding : pixels around the image first: a number, (left and right, top and bottom), or (left, top, right, bottom).
    pad_if_needed : pad images that are smaller than the window, too.
    fill : of the pixels around, with `padding_mode` ``"constant"``.
    padding_mode : ``"constant"``, ``"edge"`` or ``"reflect"``.
    generator : for calls outside of loaders; see `Transform`.
    """

    numbers = 2

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: float = 0,
        padding_mode: str = "constant", *, generator: Any = None,
    ) -> None:  # fmt: skip
        self.size, self.padding, self.pad_if_needed = _size("RandomCrop", size), padding, bool(pad_if_needed)
        self.fill, self.padding_mode, self.generator = fill, _padding_mode(self, padding_mode), _generator(generator)
        left, top, right, bottom = _around("RandomCrop", padding)
        self._around = ((top, bottom), (left, right))

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Crop images."""
        around = list(self._around)
        for axis, (n, own) in enumerate(zip(images.shape[2:], self.size, strict=True)):
            missing = own - n - sum(around[axis])
            if missing > 0:
                if not self.pad_if_needed:
                    raise ShapeError(
                        f"RandomCrop: the window {self.size} must fit into the padded images, got {images.shape}"
                    )
                around[axis] = around[axis][0] + missing, around[axis][1] + missing
        room = [n + sum(pair) - own + 1 for n, pair, own in zip(images.shape[2:], around, self.size, strict=True)]
        corners = (chosen * room).astype(np.int64)
        if self.padding_mode == "constant":
            corners -= [pair[0] for pair in around]
        elif any(map(any, around)):
            images = ops.pad(images, ((0, 0), (0, 0), *around), self.padding_mode)
        cropped: np.ndarray = ops.crop_images(images, corners, self.size, self.fill)
        return cropped


class RandomShift(Transform):
    """Each image moved by up to so many whole pixels, up or down and left or right.

    Parameters
    ----------
    shift : the most, or two numbers: down and across.
    fill : of the pixels that come in.
    generator : for calls outside of loaders; see `Transform`.
    """

    numbers = 2

    def __init__(self, shift: Any, fill: float = 0, *, generator: Any = None) -> None:
        self.shift = _size("RandomShift", shift, "shift", 0)
        self.fill, self.generator = fill, _generator(generator)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Move images."""
        most = np.array(self.shift)
        corners = (chosen * (2 * most + 1)).astype(np.int64) - most
        moved: np.ndarray = ops.crop_images(images, corners, images.shape[2:], self.fill)
        return moved


class _RandomFlip(Transform):
    numbers = 1
    axis = -1

    def __init__(self, p: float = 0.5, *, generator: Any = None) -> None:
        self.p, self.generator = _probability(self, p), _generator(generator)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Mirror images."""
        mirrored: np.ndarray = ops.flip_images(images, chosen[:, 0] < self.p, self.axis)
        return mirrored


class RandomHorizontalFlip(_RandomFlip):
    """Images, each mirrored with a probability `p`: left and right change places.

    `generator` is for calls outside of loaders; see `Transform`.
    """


class RandomVerticalFlip(_RandomFlip):
    """Images, each mirrored with a probability `p`: top and bottom change places.

    `generator` is for calls outside of loaders; see `Transform`.
    """

    axis = -2


class RandomAffine(Transform):
    """Each image turned, moved, scaled and sheared about its centre.

    Parameters
    ----------
    degrees : the most that an image is turned either way (clockwise and back), or the least and the most.
    translate : the most that it is moved across and down, as shares of its width and height; by whole pixels.
    scale : the least and the most factor.
    shear : degrees along the rows, either way; two numbers: the least and the most; four: those down the columns too.
    interpolation : ``"bilinear"`` or ``"nearest"`` (which is torchvision's default).
    fill : of the pixels that come in.
    center : column and row of the point that stays, counted from the image's upper left corner; default: its centre.
    generator : for calls outside of loaders; see `Transform`.
    """

    numbers = 6

    def __init__(
        self, degrees: Any, translate: Any = None, scale: Any = None, shear: Any = None,
        interpolation: str = "bilinear", fill: float = 0, center: Any = None, *, generator: Any = None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        self.degrees = self._clockwise = _range(name, "degrees", degrees)
        self.translate = None if translate is None else _pair(name, "translate", translate)
        if self.translate is not None and not all(0 <= share <= 1 for share in self.translate):
            raise ValueError(f"{name}: translate must hold shares from 0 to 1, got {translate}")
        self.scale = None if scale is None else _factors(self, "scale", scale)
        self.shear = None if shear is None else _shears(name, shear)
        self.interpolation, self.fill = _interpolation(self, interpolation), fill
        self.center = None if center is None else _pair(name, "center", center)
        self.generator = _generator(generator)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Change images."""
        high, wide = images.shape[2:]
        angle, scale = np.radians(_between(self._clockwise, chosen[:, 0])), np.ones(len(images))
        across = down = along = beside = np.zeros(len(images))
        if self.translate is not None:
            most = self.translate[0] * wide, self.translate[1] * high
            across, down = (np.rint((2 * chosen[:, 1 + i] - 1) * most[i]) for i in range(2))
        if self.scale is not None:
            scale = _between(self.scale, chosen[:, 3])
        if self.shear is not None:
            along, beside = (np.radians(_between(self.shear[i], chosen[:, 4 + i])) for i in range(2))
        middle = ((wide - 1) / 2, (high - 1) / 2) if self.center is None else [c - 0.5 for c in self.center]
        maps = inverse_maps(angle, (across, down), scale, (along, beside), middle)
        return _as_floats(
            images, lambda x: ops.warp_images(x, maps.astype(x.dtype), self.interpolation, fill=self.fill)
        )  # fmt: skip


class RandomRotation(RandomAffine):
    """Each image turned about its centre.

    Parameters
    ----------
    degrees : the most that an image is turned either way, or the least and the most; counter-clockwise.
    interpolation, center, fill, generator : as for `RandomAffine`.
    expand : must be False: all images of a batch keep one size.
    """

    numbers = 1

    def __init__(
        self, degrees: Any, interpolation: str = "bilinear", expand: bool = False, center: Any = None, fill: float = 0,
        *, generator: Any = None,
    ) -> None:  # fmt: skip
        if expand:
            raise ValueError("RandomRotation: expand must be False, all images of a batch keep one size")
        super().__init__(degrees, None, None, None, interpolation, fill, center, generator=generator)
        low, high = self.degrees
        self._clockwise = (-high, -low)


class RandomResizedCrop(Transform):
    """A window of each image, of a random size and shape, at one size: Szegedy et al., "Going Deeper with
    Convolutions", 2015. Pixels are met where they lie: where a window shrinks, some do not count.

    Parameters
    ----------
    size : height and width of the result, or one number for both.
    scale : the least and the most share of the image's area.
    ratio : the least and the most of width over height.
    interpolation : ``"bilinear"`` or ``"nearest"``.
    generator : for calls outside of loaders; see `Transform`.

    A window that does not fit is drawn again, up to ten times; then it is the middle of the image, as wide as `ratio`
    allows.
    """

    numbers = 2 * ATTEMPTS + 2

    def __init__(
        self, size: Any, scale: Any = (0.08, 1.0), ratio: Any = (3 / 4, 4 / 3), interpolation: str = "bilinear",
        *, generator: Any = None,
    ) -> None:  # fmt: skip
        self.size = _size("RandomResizedCrop", size)
        self.scale, self.ratio = _factors(self, "scale", scale), _factors(self, "ratio", ratio)
        self.interpolation, self.generator = _interpolation(self, interpolation), _generator(generator)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Crop and resample images."""
        top, left, high, wide = self.boxes(images.shape[2], images.shape[3], chosen)
        across, down = wide / self.size[1], high / self.size[0]
        maps = np.zeros((len(images), 2, 3))
        maps[:, 0, 0], maps[:, 0, 2] = across, left + across / 2 - 0.5
        maps[:, 1, 1], maps[:, 1, 2] = down, top + down / 2 - 0.5
        # a pixel of the edge counts for what lies beyond it
        padded = ops.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
        maps[:, :, 2] += 1
        return _as_floats(padded, lambda x: ops.warp_images(x, maps.astype(x.dtype), self.interpolation, self.size))

    def boxes(self, rows: int, columns: int, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        """First rows and columns, rows and columns of the windows (N,) that random numbers stand for."""
        area = rows * columns * _between(self.scale, chosen[:, :ATTEMPTS])
        low, high = (math.log(r) for r in self.ratio)
        ratio = np.exp(_between((low, high), chosen[:, ATTEMPTS : 2 * ATTEMPTS]))
        tall = np.maximum(np.rint(np.sqrt(area / ratio)), 1)
        wide = np.maximum(np.rint(np.sqrt(area * ratio)), 1)
        fits = (tall <= rows) & (wide <= columns)
        first = fits.argmax(1)[:, None]
        nearest = min(max(columns / rows, self.ratio[0]), self.ratio[1])
        middle = max(1, min(rows, round(columns / nearest))), max(1, min(columns, round(rows * nearest)))
        found = fits.any(1)
        h = np.where(found, np.take_along_axis(tall, first, 1)[:, 0], middle[0])
        w = np.where(found, np.take_along_axis(wide, first, 1)[:, 0], middle[1])
        u, v = chosen[:, -2], chosen[:, -1]
        top = np.where(found, np.floor(u * (rows - h + 1)), (rows - h) // 2)
        left = np.where(found, np.floor(v * (columns - w + 1)), (columns - w) // 2)
        return top, left, h, w


class RandomErasing(Transform):
    """A box in each image filled, with a probability `p`: Zhong et al., "Random Erasing Data Augmentation", 2020.

    Parameters
    ----------
    p : probability of a box.
    scale : the least and the most share of the image's area.
    ratio : the least and the most of the box's height over its width.
    value : of its pixels.
    inplace : taken as torchvision's users give it; the images that come in are never changed.
    generator : for calls outside of loaders; see `Transform`.

    A box that does not fit is drawn again, up to ten times; then there is none.
    """

    numbers = 2 * ATTEMPTS + 3

    def __init__(
        self, p: float = 0.5, scale: Any = (0.02, 0.33), ratio: Any = (0.3, 3.3), value: Any = 0,
        inplace: bool = False, *, generator: Any = None,
    ) -> None:  # fmt: skip
        self.p = _probability(self, p)
        self.scale, self.ratio = _factors(self, "scale", scale), _factors(self, "ratio", ratio)
        if not isinstance(value, numbers.Real):
            raise TypeError(f"RandomErasing: value must be a number, got {value!r}")
        self.value, self.generator = value, _generator(generator)

    def apply(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Fill boxes."""
        rows, columns = images.shape[2:]
        area = rows * columns * _between(self.scale, chosen[:, :ATTEMPTS])
        low, high = (math.log(r) for r in self.ratio)
        ratio = np.exp(_between((low, high), chosen[:, ATTEMPTS : 2 * ATTEMPTS]))
        tall, wide = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (tall < rows) & (wide < columns)
        first = fits.argmax(1)[:, None]
        kept = fits.any(1) & (chosen[:, -1] < self.p)
        h, w = (np.where(kept, np.take_along_axis(n, first, 1)[:, 0], 0) for n in (tall, wide))
        top, left = np.floor(chosen[:, -3] * (rows - h + 1)), np.floor(chosen[:, -2] * (columns - w + 1))
        boxes = np.stack([top, left, h, w], 1).astype(np.int64)
        erased: np.ndarray = ops.erase_images(images, boxes, self.value)
        return erased


def inverse_maps(
    angle: np.ndarray, shift: tuple[Any, Any], scale: np.ndarray, shear: tuple[Any, Any], middle: Sequence[float]
) -> np.ndarray:
    """Where pixels come from, as `ops.warp_images` takes it, (N, 2, 3).

    An image is sheared, turned clockwise and scaled about `middle` (column, row), then moved by `shift` (across, down);
    angles are in radians. With R the turn and S the shears, a pixel p comes from ``(R S scale)^-1 (p - m - t) + m``.
    """
    along, beside = shear
    # the columns of R S, where S first shears along the rows, then down the columns
    a = np.cos(angle - beside) / np.cos(beside)
    c = np.sin(angle - beside) / np.cos(beside)
    b = -a * np.tan(along) - np.sin(angle)
    d = -c * np.tan(along) + np.cos(angle)
    # its determinant is 1
    rows = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], 1) / scale[:, None, None]
    moved = np.stack([middle[0] + shift[0], middle[1] + shift[1]], -1)
    return np.concatenate([rows, np.asarray(middle)[None, :, None] - rows @ moved[..., None]], -1)


# -- arguments


def _generator(given: Any) -> Any:
    return None if given is None else generator_argument("transforms: generator", given)


def _size(name: str, given: Any, what: str = "size", least: int = 1) -> tuple[int, int]:
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * 2
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2:
        raise ValueError(f"{name}: {what} must be one or two numbers, got {given!r}")
    high, wide = (integer(f"{name}: {what}", n) for n in values)
    if min(high, wide) < least:
        raise ValueError(f"{name}: {what} must be at least {least}, got {given!r}")
    return high, wide


def _padding_mode(owner: Transform, given: str) -> str:
    if given not in PADDING_MODES:
        name = type(owner).__name__
        raise ValueError(f"{name}: padding_mode must be one of {', '.join(PADDING_MODES)}, got {given!r}")
    return given


def _around(name: str, padding: Any) -> tuple[int, ...]:
    """Pixels at the left, the top, the right and the bottom."""
    values = tuple(padding) if isinstance(padding, (tuple, list)) else (0 if padding is None else padding,)
    if len(values) not in (1, 2, 4):
        raise ValueError(f"{name}: padding must be 1, 2 or 4 numbers, got {padding!r}")
    numbers = tuple(integer(f"{name}: padding", n) for n in values) * (4 // len(values))
    if min(numbers) < 0:
        raise ValueError(f"{name}: padding must not be negative, got {padding!r}")
    return numbers


def _pair(name: str, what: str, given: Any) -> tuple[float, float]:
    try:
        one, two = (float(n) for n in given)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {what} must be two numbers, got {given!r}") from None
    if not (math.isfinite(one) and math.isfinite(two)):
        raise ValueError(f"{name}: {what} must be finite, got {given!r}")
    return one, two


def _range(name: str, what: str, given: Any) -> tuple[float, float]:
    """The least and the most, from both or from the most either way."""
    if isinstance(given, numbers.Real):
        if given < 0:
            raise ValueError(f"{name}: {what} must not be negative where it is one number, got {given}")
        given = (-given, given)
    low, high = _pair(name, what, given)
    if low > high:
        raise ValueError(f"{name}: {what} must hold the least and the most, got {(low, high)}")
    return low, high


def _factors(owner: Transform, what: str, given: Any) -> tuple[float, float]:
    """The least and the most of positive factors."""
    name = type(owner).__name__
    low, high = _pair(name, what, given)
    if not 0 < low <= high:
        raise ValueError(f"{name}: {what} must hold the least and the most of positive factors, got {given}")
    return low, high


def _probability(owner: Transform, p: Any) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{type(owner).__name__}: p must lie from 0 to 1, got {p}")
    return float(p)


def _interpolation(owner: Transform, given: str) -> str:
    if given not in INTERPOLATIONS:
        raise ValueError(
            f"{type(owner).__name__}: interpolation must be one of {', '.join(INTERPOLATIONS)}, got {given!r}"
        )
    return given


def _shears(name: str, given: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    if isinstance(given, (tuple, list)) and len(given) == 4:
        return _range(name, "shear", given[:2]), _range(name, "shear", given[2:])
    return _range(name, "shear", given), (0.0, 0.0)


def _between(ends: tuple[float, float], chosen: np.ndarray) -> np.ndarray:
    return ends[0] + (ends[1] - ends[0]) * chosen


def _as_floats(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Change images; integers as float32, rounded afterwards."""
    if images.dtype.kind == "f":
        return change(images)
    if images.dtype.kind not in "iu":
        raise DTypeError(f"transforms: images must hold integers or floats, got {images.dtype}")
    limits = np.iinfo(images.dtype)
    return np.clip(np.rint(change(images.astype(np.float32))), limits.min, limits.max).astype(images.dtype)


__all__ = [
    "CenterCrop",
    "Compose",
    "ConvertImageDtype",
    "Normalize",
    "Pad",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomShift",
    "RandomVerticalFlip",
    "Resize",
    "Transform",
]
