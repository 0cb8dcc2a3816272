import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn


def test_buffers_register_themselves():
    module = nn.Module()
    module.kept = nn.Buffer(fastnn.tensor([1.0]))
    module.scratch = nn.Buffer(fastnn.tensor([2.0]), persistent=False)
    assert [name for name, _ in module.named_buffers()] == ["kept", "scratch"]
    assert list(module.state_dict()) == ["kept"]
    module.scratch = fastnn.tensor([3.0])  # stays what it was registered as
    assert list(module.state_dict()) == ["kept"]
    module.scratch = nn.Buffer(fastnn.tensor([3.0]))
    assert list(module.state_dict()) == ["kept", "scratch"]
    assert not nn.Buffer(np.ones(2)).requires_grad
    for other in (copy.deepcopy(module.scratch), copy.copy(module.scratch), pickle.loads(pickle.dumps(module.scratch))):
        assert isinstance(other, nn.Buffer)
        assert other.persistent
        assert other.tolist() == [3.0]


def test_parameters_copy_and_pickle():
    p = nn.Parameter(fastnn.tensor([[1.0, 2.0]]), requires_grad=False)
    for other in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(other) is nn.Parameter
        assert not other.requires_grad
        assert other.tolist() == p.tolist()
    assert nn.Parameter().shape == (0,)
    assert repr(nn.Parameter(fastnn.tensor([1.0]))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    shared = nn.Parameter(fastnn.tensor([1.0]))
    pair = copy.deepcopy([shared, shared])
    assert pair[0] is pair[1]


def test_data_shares_memory_and_can_be_replaced():
    p = nn.Parameter(fastnn.tensor([1.0, 2.0]))
    p.data.fill_(7.0)
    assert p.tolist() == [7.0, 7.0]
    p.data = fastnn.tensor([3.0])
    assert p.tolist() == [3.0]
    assert p.requires_grad


def test_uninitialized_parameters_have_no_shape_until_they_are_given_one():
    p = nn.UninitializedParameter(dtype="float64")
    assert repr(p) == "<UninitializedParameter>"
    assert type(copy.deepcopy(p)) is type(pickle.loads(pickle.dumps(p))) is nn.UninitializedParameter
    with pytest.raises(RuntimeError, match="no shape"):
        p.shape  # noqa: B018
    p.materialize((2, 3), transposed=True)
    assert type(p) is nn.Parameter
    assert (p.shape, p.stride(), p.dtype, p.requires_grad) == ((2, 3), (1, 2), np.float64, True)
