import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn.lazy import LazyModuleMixin


def test_the_first_input_tells_the_size():
    fastnn.manual_seed(0)
    lazy = nn.LazyLinear(3, dtype="float64")
    assert isinstance(lazy, nn.Linear)
    assert list(dict(lazy.named_parameters())) == ["weight", "bias"]
    assert repr(lazy) == "LazyLinear(in_features=0, out_features=3, bias=True)"
    y = lazy(np.ones((2, 5)))
    assert type(lazy) is nn.Linear
    assert repr(lazy) == "Linear(in_features=5, out_features=3, bias=True)"
    assert (lazy.weight.shape, lazy.weight.stride(), lazy.weight.dtype) == ((3, 5), (1, 3), np.float64)
    assert 0 < np.abs(lazy.weight.detach().numpy()).max() <= 1 / np.sqrt(5)
    y.sum().backward()
    assert lazy.weight.grad.shape == (3, 5)
    assert not lazy._forward_pre_hooks
    assert not lazy._hooked
    with pytest.raises(ValueError):
        lazy(np.ones((2, 6)))


def test_lazy_modules_can_be_copied_before():
    lazy = nn.LazyLinear(3, bias=False)
    for other in (copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert other(np.ones((2, 4), "float32")).shape == (2, 3)
        assert type(other) is nn.Linear
    assert type(lazy) is nn.LazyLinear
    assert lazy.bias is None


def test_a_state_dict_may_come_first():
    full = nn.Linear(4, 3)
    lazy = nn.LazyLinear(3)
    assert lazy.load_state_dict(full.state_dict()) == ([], [])
    assert lazy.weight.stride() == (1, 3)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    np.testing.assert_array_equal(lazy(x).detach().numpy(), full(x).detach().numpy())
    assert lazy.in_features == 4


def test_parameters_without_a_shape_cannot_be_read_from():
    lazy = nn.LazyLinear(3)
    with pytest.raises(RuntimeError, match="no shape"):
        lazy.weight.shape  # noqa: B018

    class Forgetful(LazyModuleMixin):
        def __init__(self):
            super().__init__()
            self.weight = nn.UninitializedParameter()

        def initialize_parameters(self, input):
            pass

    with pytest.raises(RuntimeError, match="left parameters without a shape"):
        Forgetful()(1)
