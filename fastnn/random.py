"""Random numbers: generators, and the default one, which serves wherever no other is given.

A generator hands out draws. A draw is a seed and a number, and its i-th random number depends on these and on i alone
(Philox 4x32-10, Salmon et al., SC 2011): so the same seed gives the same numbers for any number of threads, and a
generator's whole state is sixteen bytes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastnn._runtime.capture import active

if TYPE_CHECKING:
    import numpy as np

    from fastnn.tensor import Tensor

STATE_BYTES = 16
MOST_DRAWS = 1 << 53  # draws are numbered by floats


class Generator:
    """A stream of draws, with torch's interface.

    Parameters
    ----------
    device : ``"cpu"``, the only device.

    A new generator's seed is `DEFAULT_SEED`, as in torch.
    """

    DEFAULT_SEED = 67280421310721

    def __init__(self, device: Any = "cpu") -> None:
        if str(device) != "cpu":
            raise ValueError(f"Generator: the only device is cpu, got {device!r}")
        self._set(self.DEFAULT_SEED, 0)

    def _set(self, seed: int, draw: int) -> None:
        recorder = active()
        if recorder is not None:
            recorder.seeded()
        # One assignment, and an iterator: threads never get the same draw, nor one seed's number with another's.
        self._stream = seed, float(seed & 0xFFFFFFFF), float(seed >> 32), itertools.count(draw)

    def _state(self) -> tuple[int, int]:
        """The seed and the number of the next draw."""
        seed, _, _, draws = self._stream
        return seed, int(repr(draws)[len("count(") : -1])  # the only way to look at what comes next

    def __repr__(self) -> str:
        return "<Generator seed={} draw={}>".format(*self._state())

    @property
    def device(self) -> str:
        """``"cpu"``."""
        return "cpu"

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from `seed`, an int from -2**63 to 2**64 - 1 (a negative one counts from 2**64); gives self."""
        self._set(checked_seed("manual_seed", seed), 0)
        return self

    def seed(self) -> int:
        """Start anew from a seed that the system draws; gives it."""
        drawn = int.from_bytes(os.urandom(8), "little")
        self._set(drawn, 0)
        return drawn

    def initial_seed(self) -> int:
        """The seed that the generator was last started from."""
        return self._stream[0]

    def get_state(self) -> Tensor:
        """The seed and the number of the next draw: a uint8 Tensor of 16 bytes."""
        import numpy as np

        from fastnn.tensor import from_numpy

        return from_numpy(np.array(self._state(), "<u8").view(np.uint8))

    def set_state(self, state: Any) -> None:
        """Go on from a state that `get_state` gave."""
        import numpy as np

        array = np.asarray(state)
        if array.dtype != np.uint8 or array.shape != (STATE_BYTES,):
            raise TypeError(
                f"set_state: state must be {STATE_BYTES} bytes of uint8, got shape {array.shape}, dtype {array.dtype}"
            )
        seed, draw = (int(n) for n in np.ascontiguousarray(array).view("<u8"))
        if draw >= MOST_DRAWS:
            raise ValueError(f"set_state: the number of the next draw must be below 2**53, got {draw}")
        self._set(seed, draw)

    def clone(self) -> Generator:
        """Another generator in the same state."""
        return _restored(*self._state())

    clone_state = clone
    graphsafe_get_state = clone

    def graphsafe_set_state(self, other: Generator) -> None:
        """Take the state of another generator."""
        self.set_state(other.get_state())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, self._state()

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        return self.clone()

    def cells(self) -> tuple[float, float, float]:
        """The next draw, which is taken: the halves of the seed and the draw's number, as ops take them."""
        _, low, high, draws = self._stream
        taken = low, high, float(next(draws))
        recorder = active()
        if recorder is not None:
            recorder.drew(self, taken)
        return taken

    def numpy(self) -> np.random.Generator:
        """A NumPy generator that starts from the next draw, which is taken."""
        import numpy as np

        low, high, draw = self.cells()
        return np.random.Generator(np.random.Philox(key=int(low) | int(high) << 32, counter=[0, 0, 0, int(draw)]))

    __call__ = numpy

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        """As NumPy's generators: numbers from [low, high), in an array of a shape."""
        return self.numpy().uniform(low, high, size)

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = None) -> Any:
        """As NumPy's generators: normal numbers with a mean and a standard deviation, in an array of a shape."""
        return self.numpy().normal(loc, scale, size)


def _restored(seed: int, draw: int) -> Generator:
    made = Generator()
    made._set(seed, draw)
    return made


def checked_seed(name: str, seed: Any) -> int:
    """A seed from 0 to 2**64 - 1."""
    from fastnn._numpy_views import integer

    seed = integer(f"{name}: the seed", seed)
    if not -(1 << 63) <= seed < 1 << 64:
        raise ValueError(f"{name}: the seed must lie from -2**63 to 2**64 - 1, got {seed}")
    return seed % (1 << 64)


default_generator = Generator()
default_generator.seed()


@contextmanager
def using(generator: Generator) -> Iterator[None]:
    """Within the block the default generator hands out the draws of another one."""
    before = default_generator._stream
    default_generator._stream = generator._stream
    try:
        yield
    finally:
        generator._stream, default_generator._stream = default_generator._stream, before


def generator_argument(name: str, generator: Any) -> Generator:
    """The generator to draw from: the given one, by default the default one."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"{name}: generator must be a fastnn.Generator, got {type(generator).__name__}")
    return generator


def manual_seed(seed: int) -> Generator:
    """Start the default generator anew from `seed`, an int from -2**63 to 2**64 - 1; gives the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator anew from a seed that the system draws; gives it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state: a uint8 Tensor of 16 bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Have the default generator go on from a state that `get_rng_state` gave."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **_: Any) -> Iterator[None]:
    """Put the default generator back, at the end of the block, to where it was; `devices` count for nothing."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]
