"""Generators: seeds, states, copies; what is drawn is tested in functions/test_sampling.py."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastnn
from fastnn.random import Generator, default_generator


def test_a_seed_gives_the_same_draws_and_another_one_others():
    one, two = Generator().manual_seed(5), Generator().manual_seed(5)
    assert (
        [one.cells() for _ in range(3)] == [two.cells() for _ in range(3)] == [(5.0, 0.0, float(n)) for n in range(3)]
    )
    assert two.manual_seed(6).cells() == (6.0, 0.0, 0.0)
    assert two.initial_seed() == 6


def test_seeds_of_64_bits():
    assert Generator().manual_seed(2**64 - 1).cells() == (2.0**32 - 1, 2.0**32 - 1, 0.0)
    assert Generator().manual_seed(-1).initial_seed() == 2**64 - 1
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"manual_seed: the seed must lie from -2\*\*63 to 2\*\*64 - 1, got"):
            Generator().manual_seed(bad)
    for bad in (1.5, "a", None):
        with pytest.raises(TypeError, match="manual_seed: the seed must be an integer"):
            Generator().manual_seed(bad)


def test_seeds_from_the_system_differ():
    own = Generator()
    assert own.initial_seed() == Generator().initial_seed() == Generator.DEFAULT_SEED
    first = own.seed()
    assert own.initial_seed() == first != own.seed()


def test_states():
    own = Generator().manual_seed(2**40 + 3)
    own.cells()
    state = own.get_state()
    assert (state.dtype, state.shape) == (np.uint8, (16,))
    expected = [own.cells(), own.cells()]
    other = Generator()
    other.set_state(state)
    assert [other.cells(), other.cells()] == expected
    assert other.initial_seed() == 2**40 + 3
    other.graphsafe_set_state(own)
    assert other.cells() == own.cells()


@pytest.mark.parametrize(
    "state", [np.zeros(15, np.uint8), np.zeros(16, np.int8), np.zeros((2, 8), np.uint8), [0] * 16, "state"]
)
def test_what_is_no_state(state):
    own = Generator().manual_seed(3)
    with pytest.raises(TypeError, match="set_state: state must be 16 bytes of uint8"):
        own.set_state(state)
    with pytest.raises(ValueError, match="below 2"):
        own.set_state(np.full(16, 255, np.uint8))
    assert own.cells() == (3.0, 0.0, 0.0)


def test_copies_go_on_by_themselves():
    own = Generator().manual_seed(9)
    own.cells()
    for other in (own.clone(), own.clone_state(), copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert other.cells() == (9.0, 0.0, 1.0)
    assert own.cells() == (9.0, 0.0, 1.0)


def test_devices():
    assert Generator("cpu").device == Generator(device="cpu").device == "cpu"
    with pytest.raises(ValueError, match="the only device is cpu, got 'cuda'"):
        Generator("cuda")


def test_the_default_generator():
    assert fastnn.random.default_generator is default_generator is fastnn.default_generator
    assert fastnn.Generator is Generator
    assert fastnn.random.manual_seed(4) is default_generator
    assert fastnn.random.initial_seed() == 4 == fastnn.initial_seed()
    state = fastnn.get_rng_state()
    expected = fastnn.rand(3).tolist()
    assert fastnn.rand(3).tolist() != expected
    fastnn.set_rng_state(state)
    assert fastnn.rand(3).tolist() == expected
    assert fastnn.random.seed() == fastnn.random.initial_seed()


def test_forking_leaves_the_state():
    fastnn.manual_seed(1)
    with fastnn.random.fork_rng():
        inside = fastnn.rand(2).tolist()
        fastnn.manual_seed(7)
    assert fastnn.rand(2).tolist() == inside
    fastnn.manual_seed(1)
    with fastnn.random.fork_rng(devices=[], enabled=False):
        fastnn.rand(2)
    assert fastnn.rand(2).tolist() != inside


def test_numpy_generators_are_reproducible_and_differ():
    fastnn.manual_seed(11)
    first, second = default_generator().standard_normal(4), default_generator.numpy().standard_normal(4)
    assert not np.array_equal(first, second)
    fastnn.manual_seed(11)
    np.testing.assert_array_equal(default_generator().standard_normal(4), first)
    own = Generator().manual_seed(3)
    expected = own.clone().numpy().uniform(2, 3, 5)
    np.testing.assert_array_equal(own.uniform(2, 3, size=5), expected)
    assert own.normal(100, 1, size=(2, 3)).mean() > 90


def test_no_draw_is_handed_out_twice_to_threads():
    own = Generator().manual_seed(0)
    found = []
    threads = [threading.Thread(target=lambda: found.extend(own.cells() for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(0.0, 0.0, float(n)) for n in range(2000)]
