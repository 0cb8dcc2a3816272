import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn.utils import parametrize


class Symmetric(nn.Module):
    def forward(self, x):
        return (x + x.T) / 2.0

    def right_inverse(self, x):
        return x


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2.0


class Product(nn.Module):
    def forward(self, x, y):
        return x * y

    def right_inverse(self, value):
        return value, fastnn.tensor(np.ones(value.shape, value.dtype))


class Counted(nn.Module):
    calls = 0

    def forward(self, x):
        Counted.calls += 1
        return x


def layer(size=3):
    fastnn.manual_seed(0)
    return nn.Linear(size, size)


def test_the_tensor_is_computed_when_it_is_read():
    linear = layer()
    before = linear.weight
    assert parametrize.register_parametrization(linear, "weight", Symmetric()) is linear
    assert parametrize.is_parametrized(linear)
    assert parametrize.is_parametrized(linear, "weight")
    assert not parametrize.is_parametrized(linear, "bias")
    assert linear.parametrizations.weight.original is before
    weight = linear.weight.detach().numpy()
    np.testing.assert_array_equal(weight, weight.T)
    assert [name for name, _ in linear.named_parameters()] == ["bias", "parametrizations.weight.original"]
    linear(np.ones((2, 3), "float32")).sum().backward()
    gradient = before.grad.numpy()
    np.testing.assert_allclose(gradient, gradient.T)
    assert type(linear).__name__ == "ParametrizedLinear"
    assert isinstance(linear, nn.Linear)
    assert parametrize.type_before_parametrizations(linear) is nn.Linear


def test_assignment_goes_through_right_inverse():
    linear = layer()
    parametrize.register_parametrization(linear, "weight", Symmetric())
    linear.weight = fastnn.tensor(np.eye(3, dtype="float32"))
    np.testing.assert_array_equal(linear.weight.detach().numpy(), np.eye(3))
    parametrize.register_parametrization(linear, "bias", Doubled())
    with pytest.raises(RuntimeError, match="no right_inverse"):
        linear.bias = fastnn.tensor([1.0, 2.0, 3.0])


def test_several_parametrizations_follow_each_other():
    linear = layer()
    weight = linear.weight.detach().numpy().copy()
    parametrize.register_parametrization(linear, "weight", Doubled())
    parametrize.register_parametrization(linear, "weight", Symmetric())
    np.testing.assert_allclose(linear.weight.detach().numpy(), weight + weight.T, rtol=1e-6)
    assert len(linear.parametrizations.weight) == 2


def test_several_originals():
    linear = layer()
    weight = linear.weight.detach().numpy().copy()
    parametrize.register_parametrization(linear, "weight", Product())
    np.testing.assert_array_equal(linear.weight.detach().numpy(), weight)
    assert list(linear.state_dict()) == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    other = layer()
    parametrize.register_parametrization(other, "weight", Product())
    assert other.load_state_dict(linear.state_dict()) == ([], [])
    linear.weight = linear.weight.detach() * 3.0
    np.testing.assert_array_equal(linear.weight.detach().numpy(), weight * 3)
    with pytest.raises(ValueError, match="single tensor"):
        parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(linear, "weight")
    assert isinstance(linear.weight, nn.Parameter)
    np.testing.assert_array_equal(linear.weight.detach().numpy(), weight * 3)


@pytest.mark.parametrize("leave", [True, False])
def test_removal(leave):
    linear = layer()
    original = linear.weight
    value = original.detach().numpy().copy()
    parametrize.register_parametrization(linear, "weight", Doubled())
    parametrize.register_parametrization(linear, "bias", Doubled())
    parametrize.remove_parametrizations(linear, "weight", leave_parametrized=leave)
    assert linear.weight is original
    np.testing.assert_array_equal(original.detach().numpy(), value * (2 if leave else 1))
    assert type(linear) is not nn.Linear
    parametrize.remove_parametrizations(linear, "bias")
    assert type(linear) is nn.Linear
    assert sorted(linear.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="no parametrized tensor"):
        parametrize.remove_parametrizations(linear, "bias")


def test_buffers():
    module = nn.Module()
    module.register_buffer("scale", fastnn.tensor([2.0]))
    parametrize.register_parametrization(module, "scale", Doubled())
    assert module.scale.tolist() == [4.0]
    assert [name for name, _ in module.named_buffers()] == ["parametrizations.scale.original"]
    parametrize.remove_parametrizations(module, "scale")
    assert [name for name, _ in module.named_buffers()] == ["scale"]
    assert module.scale.tolist() == [4.0]


def test_cached_computes_once():
    linear = layer()
    parametrize.register_parametrization(linear, "weight", Counted())
    Counted.calls = 0
    with parametrize.cached():
        with parametrize.cached():
            first = linear.weight
        assert linear.weight is first
    assert Counted.calls == 1
    linear.weight  # noqa: B018
    assert Counted.calls == 2


def test_copies_are_independent_and_pickles_are_refused():
    linear = layer()
    parametrize.register_parametrization(linear, "weight", Doubled())
    other = copy.deepcopy(linear)
    with fastnn.no_grad():
        other.parametrizations.weight.original.zero_()
    assert (other.weight.detach().numpy() == 0).all()
    assert (linear.weight.detach().numpy() != 0).all()
    parametrize.remove_parametrizations(other, "weight")
    assert parametrize.is_parametrized(linear, "weight")
    linear.weight  # noqa: B018
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(linear)


class Wrong(nn.Module):
    def __init__(self, result, inverse=None):
        super().__init__()
        self.result, self.inverse = result, inverse

    def forward(self, *originals):
        return self.result(*originals)

    def right_inverse(self, x):
        if self.inverse is None:
            raise NotImplementedError
        return self.inverse(x)


@pytest.mark.parametrize("already", [False, True])
def test_shape_and_dtype_are_kept_unless_unsafe(already):
    def fresh():
        linear = layer()
        return parametrize.register_parametrization(linear, "weight", Counted()) if already else linear

    for wrong in (
        Wrong(lambda x: x[:2]),
        Wrong(lambda x: x.double()),
        Wrong(lambda x: 3),
        Wrong(lambda x: x, lambda x: x.double()),
        Wrong(lambda *x: x[0], lambda x: 3),
    ):
        linear = fresh()
        with pytest.raises(ValueError, match="must"):
            parametrize.register_parametrization(linear, "weight", wrong)
        assert linear(np.ones((1, 3), "float32")).shape == (1, 3)
    linear = fresh()
    parametrize.register_parametrization(linear, "weight", Wrong(lambda x: x[:2]), unsafe=True)
    assert linear.weight.shape == (2, 3)
    with pytest.raises(ValueError, match="no parameter, buffer or parametrized tensor"):
        parametrize.register_parametrization(linear, "missing", Doubled())
