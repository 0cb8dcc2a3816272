"""Philox 4x32-10 against the published vectors, and kernels' words against NumPy's."""

import numpy as np
import pytest

from fastnn import ops
from fastnn.ops import philox
from fastnn.ops.sampling import range_cells

# Random123, kat_vectors: counter, key, result of philox4x32 with 10 rounds; the last one's digits are those of pi.
VECTORS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
EVERY = range_cells(-(1 << 63), 1 << 63)


def kernel_words(count, seed, draw):
    low, high = seed & 0xFFFFFFFF, seed >> 32
    # the range's lowest number is -2**63, which flips the first bit
    drawn = ops.integers(np.zeros(count, np.float32), **EVERY, seed_low=low, seed_high=high, draw=draw)
    return drawn.view(np.uint64) ^ np.uint64(1 << 63)


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_published_vectors(counter, key, expected):
    got = philox.rounds([np.array([c]) for c in counter], key)
    assert [int(x[0]) for x in got] == expected


def test_kernels_give_the_published_words():
    a, b, c, d = VECTORS[0][2]
    words = kernel_words(16, 0, 0)
    assert (int(words[0]), int(words[8])) == (a | b << 32, c | d << 32)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 0x299F31D0A4093822, 2**64 - 1])
@pytest.mark.parametrize("draw", [0, 1, 2**32 - 1, 2**32 + 5, 2**53 - 1])
def test_kernels_and_numpy_give_the_same_words(seed, draw):
    expected = philox.words64(1000, seed & 0xFFFFFFFF, seed >> 32, draw)
    np.testing.assert_array_equal(kernel_words(1000, seed, draw), expected)


def test_an_element_depends_on_its_place_alone():
    whole = kernel_words(100_000, 7, 3)
    for count in (1, 7, 8, 9, 15, 16, 17, 1000, 65_537):
        np.testing.assert_array_equal(kernel_words(count, 7, 3), whole[:count])


def test_draws_and_attempts_do_not_share_words():
    found = np.concatenate(
        [philox.words64(4096, 5, 6, draw, attempt) for draw in (0, 1, 2**32, 2**53 - 1) for attempt in (0, 1, 255)]
    )
    assert len(np.unique(found)) == len(found)


def test_words_of_32_bits_are_the_halves_of_those_of_64():
    wide = philox.words64(50, 1, 2, 3)
    narrow = philox.words32(99, 1, 2, 3)
    np.testing.assert_array_equal(narrow[::2], (wide & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    np.testing.assert_array_equal(narrow[1::2], (wide >> np.uint64(32)).astype(np.uint32)[:49])
