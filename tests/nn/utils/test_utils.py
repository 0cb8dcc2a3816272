import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.func import functional_call
from fastnn.nn.utils import parameters_to_vector, vector_to_parameters
from fastnn.nn.utils.stateless import functional_call as stateless_call


def mlp():
    fastnn.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def test_parameters_go_into_a_vector_and_back():
    net = mlp()
    vector = parameters_to_vector(net.parameters())
    expected = np.concatenate([p.detach().numpy().reshape(-1) for p in net.parameters()])
    np.testing.assert_array_equal(vector.detach().numpy(), expected)
    weight = net[0].weight
    vector_to_parameters(vector.detach() * 2.0, net.parameters())
    assert net[0].weight is weight
    assert weight.stride() == (1, 4)  # its memory stays as it was
    np.testing.assert_array_equal(parameters_to_vector(net.parameters()).detach().numpy(), expected * 2)


def test_gradients_flow_through_the_vector():
    rng = np.random.default_rng(0)
    tensors = [
        fastnn.tensor(rng.standard_normal(shape), requires_grad=True) for shape in [(2, 3), (), (0,), *[(2,)] * 40]
    ]
    weights = rng.standard_normal(6 + 1 + 80)
    (parameters_to_vector(tensors) * fastnn.tensor(weights)).sum().backward()
    np.testing.assert_array_equal(np.concatenate([t.grad.numpy().reshape(-1) for t in tensors]), weights)
    single = parameters_to_vector(tensors[0])
    assert single.shape == (6,)


def test_vector_errors():
    net = mlp()
    with pytest.raises(ValueError, match="got none"):
        parameters_to_vector([])
    with pytest.raises(TypeError, match="must be a Tensor"):
        vector_to_parameters(np.zeros(26), net.parameters())
    with pytest.raises(ValueError, match=r"must have shape \(26\)"):
        vector_to_parameters(fastnn.tensor([1.0]), net.parameters())


def test_functional_call_uses_other_parameters():
    net = mlp()
    x = np.ones((2, 3), "float32")
    own = net(x).detach().numpy()
    other = {name: (p * 2.0).detach().requires_grad_() for name, p in net.named_parameters()}
    result = functional_call(net, other, x)
    np.testing.assert_array_equal(net(x).detach().numpy(), own)
    net2 = mlp()
    vector_to_parameters(parameters_to_vector(other.values()), net2.parameters())
    np.testing.assert_array_equal(result.detach().numpy(), net2(x).detach().numpy())
    result.sum().backward()
    net2(x).sum().backward()
    for name, p in net2.named_parameters():
        np.testing.assert_array_equal(other[name].grad.numpy(), p.grad.numpy())
    assert net[0].weight.grad is None
    assert stateless_call is functional_call
    first = {"0.weight": other["0.weight"]}
    rest = {name: value for name, value in other.items() if name != "0.weight"}
    np.testing.assert_array_equal(functional_call(net, (first, rest), (x,)).detach().numpy(), result.detach().numpy())


def test_functional_call_restores_where_forward_raises():
    net = mlp()
    weight = net[0].weight
    with pytest.raises(ValueError):
        functional_call(net, {"0.weight": fastnn.tensor(np.zeros((4, 5), "float32"))}, np.ones((2, 3), "float32"))
    assert net[0].weight is weight


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(fastnn.tensor([1.0]))
        self.b = self.a
        self.register_buffer("count", fastnn.tensor([0.0]))

    def forward(self, x, *, scale=1.0):
        self.count = self.count + 1.0
        return (self.a * x + self.b) * scale


def test_functional_call_ties_and_buffers():
    module = Tied()
    x = fastnn.tensor([10.0])
    assert functional_call(module, {"a": fastnn.tensor([2.0])}, x).tolist() == [22.0]
    assert functional_call(module, {"a": fastnn.tensor([2.0])}, x, tie_weights=False).tolist() == [21.0]
    assert functional_call(module, {}, (x,), {"scale": 2.0}).tolist() == [22.0]
    both = {"a": fastnn.tensor([2.0]), "b": fastnn.tensor([3.0])}
    with pytest.raises(ValueError, match="tied"):
        functional_call(module, both, x)
    assert functional_call(module, both, x, tie_weights=False).tolist() == [23.0]
    counts = {"count": fastnn.tensor([5.0])}
    before = module.count.tolist()
    functional_call(module, counts, x)
    assert counts["count"].tolist() == [6.0]
    assert module.count.tolist() == before


def test_functional_call_strictness():
    module, x = Tied(), fastnn.tensor([1.0])
    value = fastnn.tensor([2.0])
    functional_call(module, {"a": value, "other": value}, x)
    functional_call(module, {"a": value, "count": value}, x, strict=True)
    with pytest.raises(RuntimeError, match=r"missing names \['count'\], unexpected names \['other'\]"):
        functional_call(module, {"a": value, "other": value}, x, strict=True)
    with pytest.raises(ValueError, match="appears in several"):
        functional_call(module, ({"a": value}, {"a": value}), x)
    with pytest.raises(TypeError, match="mappings"):
        functional_call(module, ([1],), x)
