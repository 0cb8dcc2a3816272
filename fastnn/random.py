"""The generator that fills new parameters and shuffles data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_generator: np.random.Generator | None = None


def manual_seed(seed: int) -> None:
    """Start the default generator anew from `seed`, an int from 0 to 2**64 - 1."""
    global _generator
    import numpy as np

    from fastnn._numpy_views import integer

    seed = integer("manual_seed: the seed", seed)
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"manual_seed: the seed must lie from 0 to 2**64 - 1, got {seed}")
    _generator = np.random.Generator(np.random.Philox(seed))


def default_generator() -> np.random.Generator:
    """The generator that is used where none is given; seeded by the system until `manual_seed` is called."""
    global _generator
    if _generator is None:
        import numpy as np

        _generator = np.random.Generator(np.random.Philox())
    return _generator
