import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import nn


def mlp():
    fastnn.random.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
        self.scale = nn.Parameter(fastnn.tensor([2.0]))
        self.register_buffer("seen", fastnn.tensor([0]))
        self.register_buffer("scratch", fastnn.tensor([0.0]), persistent=False)

    def forward(self, x):
        return self.body(x) * self.scale


def test_state_dict_has_torch_keys_and_shapes():
    state = Net().state_dict()
    assert {k: v.shape for k, v in state.items()} == {
        "scale": (1,),
        "seen": (1,),
        "body.0.weight": (8, 4),
        "body.0.bias": (8,),
        "body.2.weight": (3, 8),
        "body.2.bias": (3,),
    }
    assert list(state) == ["scale", "seen", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]


def test_weights_lie_inputs_first():
    weight = nn.Linear(5, 7).weight
    assert weight.shape == (7, 5)
    assert weight.stride() == (1, 7)


def test_initial_values_keep_torchs_bounds_and_the_seed():
    fastnn.random.manual_seed(3)
    one = nn.Linear(100, 50)
    fastnn.random.manual_seed(3)
    two = nn.Linear(100, 50)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
        values = p.detach().numpy()
        assert np.abs(values).max() <= 0.1
        assert values.std() > 0.04
    assert nn.Linear(3, 2, dtype="float64").weight.dtype == np.float64


def test_load_state_dict_copies_and_says_what_does_not_fit():
    one, two = mlp(), mlp()
    with fastnn.no_grad():
        for p in two.parameters():
            p.zero_()
    assert one.load_state_dict(two.state_dict()) == ([], [])
    assert all((p.detach().numpy() == 0).all() for p in one.parameters())
    before = one.state_dict()["0.weight"].numpy().copy()
    state = {k: v.numpy() + 1 for k, v in two.state_dict().items()}
    del state["2.bias"]
    state["0.bias"] = np.zeros(9)
    state["extra"] = np.zeros(1)
    with pytest.raises(
        RuntimeError,
        match=r'Missing key\(s\) in state_dict: "2.bias"\. \n\tUnexpected key\(s\) in state_dict: "extra"\. \n'
        r"\tsize mismatch for 0.bias: copying a param with shape \(9,\) .* current model is \(8,\)\.",
    ):
        one.load_state_dict(state)
    np.testing.assert_array_equal(one.state_dict()["0.weight"].numpy(), before)
    state["0.bias"] = np.zeros(8)
    result = one.load_state_dict(state, strict=False)
    assert result.missing_keys == ["2.bias"]
    assert result.unexpected_keys == ["extra"]


def test_walking():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale",
        "body.0.weight",
        "body.0.bias",
        "body.2.weight",
        "body.2.bias",
    ]
    assert [n for n, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.2"]
    assert [n for n, _ in net.named_buffers()] == ["seen", "scratch"]
    assert net.get_submodule("body.2") is net.body[2]
    assert net.get_parameter("body.2.bias") is net.body[2].bias
    tied = nn.Sequential(net.body[0], net.body[0])
    assert len(list(tied.parameters())) == 2
    assert len(tied.state_dict()) == 4


def test_train_eval_apply_requires_grad():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train().body[0].training
    names = []
    net.apply(lambda m: names.append(type(m).__name__))
    assert names == ["Linear", "ReLU", "Linear", "Sequential", "Net"]
    net.requires_grad_(False)
    assert not net(np.zeros((1, 4), "float32")).requires_grad


def test_zero_grad():
    net = mlp()
    net(np.ones((2, 4), "float32")).sum().backward()
    net.zero_grad(set_to_none=False)
    assert (net[0].weight.grad.numpy() == 0).all()
    net.zero_grad()
    assert net[0].weight.grad is None


def test_attributes():
    net = Net()
    with pytest.raises(TypeError, match="must be a Parameter or None"):
        net.scale = 3.0
    with pytest.raises(TypeError, match="must be a Module or None"):
        net.body = 3
    with pytest.raises(TypeError, match="must be a Parameter or None"):
        net.scale = nn.ReLU()
    net.scale = None
    assert "scale" not in dict(net.named_parameters())
    del net.scale
    assert not hasattr(net, "scale")
    net.body = nn.Linear(4, 2)
    assert [n for n, _ in net.named_parameters()] == ["body.weight", "body.bias"]
    net.anything = 5
    assert net.anything == 5
    with pytest.raises(KeyError):
        net.register_buffer("anything", None)
    with pytest.raises(AttributeError):
        net.missing  # noqa: B018

    class Early(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(fastnn.tensor([1.0]))

    with pytest.raises(AttributeError, match="super"):
        Early()


def test_hooks():
    layer = nn.Linear(2, 2)
    seen = []
    one = layer.register_forward_pre_hook(lambda m, args: (args[0] * 0.0,))
    two = layer.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    out = layer(fastnn.tensor([[1.0, 1.0]]))
    np.testing.assert_array_equal(out.detach().numpy()[0], layer.bias.detach().numpy())
    assert seen == [(1, 2)]
    one.remove()
    two.remove()
    layer(fastnn.tensor([[1.0, 1.0]]))
    assert len(seen) == 1


def test_pickle_and_deepcopy_are_independent():
    net = Net()
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    expected = net(x).detach().numpy()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other(x).detach().numpy(), expected)
        with fastnn.no_grad():
            other.body[0].weight.zero_()
        np.testing.assert_array_equal(net(x).detach().numpy(), expected)
        assert other._parameters["scale"] is other.scale


def test_double_and_float():
    net = mlp().double()
    assert net(np.zeros((1, 4))).dtype == np.float64
    assert net.float()(np.zeros((1, 4), "float32")).dtype == np.float32
    with pytest.raises(ValueError, match="cpu"):
        net.to("cuda")


def test_sequential():
    net = mlp()
    assert len(net) == 3
    assert isinstance(net[:2], nn.Sequential)
    assert len(net[:2]) == 2
    assert isinstance(net[-1], nn.Linear)
    net.append(nn.Tanh())
    assert [type(m).__name__ for m in net] == ["Linear", "ReLU", "Linear", "Tanh"]
    del net[1]
    assert list(dict(net.named_children())) == ["0", "1", "2"]
    with pytest.raises(IndexError):
        net[7]
    named = nn.Sequential(OrderedDict([("a", nn.Linear(2, 3)), ("b", nn.ReLU())]))
    assert list(named.state_dict()) == ["a.weight", "a.bias"]


def test_repr():
    assert repr(nn.Sequential(nn.Linear(3, 2), nn.Flatten(), nn.Softmax(1), nn.ReLU())) == (
        "Sequential(\n"
        "  (0): Linear(in_features=3, out_features=2, bias=True)\n"
        "  (1): Flatten(start_dim=1, end_dim=-1)\n"
        "  (2): Softmax(dim=1)\n"
        "  (3): ReLU()\n"
        ")"
    )


def test_members_by_dotted_name():
    net = nn.Sequential(Net())
    assert net.get_buffer("0.seen") is net[0].seen
    assert net.get_submodule("") is net
    net.set_submodule("0.body.1", nn.Tanh())
    assert isinstance(net[0].body[1], nn.Tanh)
    net.set_submodule("0.extra", nn.ReLU())
    assert isinstance(net[0].extra, nn.ReLU)
    for wrong, error in (
        (lambda: net.get_buffer("0.scale"), AttributeError),
        (lambda: net.get_parameter("0.seen"), AttributeError),
        (lambda: net.get_submodule("0.scale"), AttributeError),
        (lambda: net.set_submodule("", nn.ReLU()), ValueError),
        (lambda: net.set_submodule("0.body", 3), ValueError),
        (lambda: net.set_submodule("0.scale", nn.ReLU()), AttributeError),
        (lambda: net.set_submodule("0.more", nn.ReLU(), strict=True), AttributeError),
        (lambda: net.set_submodule("7.more", nn.ReLU()), AttributeError),
    ):
        with pytest.raises(error):
            wrong()


def test_names_take_a_prefix_and_may_repeat():
    shared = nn.Linear(1, 1, bias=False)
    net = nn.Sequential(shared, nn.Sequential(shared))
    assert [n for n, _ in net.named_parameters("a")] == ["a.0.weight"]
    assert [n for n, _ in net.named_parameters(remove_duplicate=False)] == ["0.weight", "1.0.weight"]
    assert not list(net.named_parameters(recurse=False))
    assert [n for n, _ in net.named_modules(prefix="b", remove_duplicate=False)] == ["b", "b.0", "b.1", "b.1.0"]
    assert len(list(net.modules())) == 3
    assert len(list(net.modules(remove_duplicate=False))) == 4
    memo = {net[1]}
    assert [n for n, _ in net.named_modules(memo)] == ["", "0"]


def test_registering_checks_names_and_kinds():
    module = nn.Module()
    for wrong, error in (
        (lambda: module.register_parameter("a.b", None), KeyError),
        (lambda: module.register_parameter("", None), KeyError),
        (lambda: module.register_parameter("forward", None), KeyError),
        (lambda: module.register_parameter(3, None), TypeError),
        (lambda: module.register_parameter("w", fastnn.tensor([1.0])), TypeError),
        (lambda: module.register_buffer("w", [1.0]), TypeError),
        (lambda: module.add_module("w", 3), TypeError),
        (lambda: module.register_module("train", nn.ReLU()), KeyError),
        (lambda: setattr(module, "forward", nn.Parameter(fastnn.tensor([1.0]))), KeyError),
    ):
        with pytest.raises(error):
            wrong()
    module.register_parameter("w", None)
    assert module.w is None
    assert "w" in dir(module)
    module.x = 3
    module.x = nn.Parameter(fastnn.tensor([1.0]))
    module.x = None
    assert list(module._parameters) == ["w", "x"]
    assert "0" not in dir(nn.Sequential(nn.ReLU()))
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'missing'"):
        module.missing  # noqa: B018
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        module(1)


def test_conversions():
    net = Net()
    net.scale.grad = fastnn.tensor([1.0])
    weight = net.body[0].weight
    assert net.to("cpu", np.float64) is net
    assert weight is net.body[0].weight
    assert (weight.dtype, weight.stride()) == (np.float64, (1, 8))
    assert net.scale.grad.dtype == np.float64
    assert net.seen.dtype == np.int64
    assert net.scratch.dtype == np.float64
    assert net.half().scale.dtype == np.float16
    assert net.to(fastnn.tensor([1.0])).scale.dtype == np.float32
    assert net.to(device="cpu", dtype="float64", non_blocking=True).scale.dtype == np.float64
    assert net.type(np.float32).seen.dtype == np.float32
    for wrong, error in (
        (lambda: net.to(np.int64), TypeError),
        (lambda: net.to(dtyp=np.float64), TypeError),
        (lambda: net.to("cuda:0"), ValueError),
    ):
        with pytest.raises(error):
            wrong()


def test_repr_of_parts():
    class Worded(nn.Sequential):
        def extra_repr(self):
            return "one\ntwo"

    net = Worded(nn.ReLU())
    net.register_module("none", None)
    assert repr(net) == "Worded(\n  one\n  two\n  (0): ReLU()\n  (none): None\n)"
