import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import nn


def kinds(container):
    return [type(m).__name__ for m in container]


def ones(*shape):
    return fastnn.tensor(np.ones(shape, "float32"))


def test_sequential_changes_like_a_list():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    assert kinds(net.insert(1, nn.Tanh()).insert(-1, nn.Sigmoid())) == ["Linear", "Tanh", "Sigmoid", "ReLU"]
    assert list(net._modules) == ["0", "1", "2", "3"]
    assert type(net.pop(-1)).__name__ == "ReLU"
    assert kinds(net.pop(slice(1, None))) == ["Tanh", "Sigmoid"]
    assert kinds(net + nn.Sequential(nn.ReLU())) == ["Linear", "ReLU"]
    net += nn.Sequential(nn.ReLU())
    assert kinds(net * 2) == kinds(2 * net) == ["Linear", "ReLU"] * 2
    net *= 2
    assert kinds(net) == ["Linear", "ReLU"] * 2
    assert net[0] is net[2]
    net *= 1
    del net[1::2]
    assert kinds(net) == ["Linear", "Linear"]
    assert kinds(net.extend(net)) == ["Linear"] * 4
    net[-1] = nn.Identity()
    assert kinds(net) == ["Linear", "Linear", "Linear", "Identity"]


def test_sequential_says_what_it_does_not_take():
    net = nn.Sequential(nn.ReLU())
    for wrong, error in (
        (lambda: net + nn.ReLU(), ValueError),
        (lambda: net * 0, ValueError),
        (lambda: net * 1.5, TypeError),
        (lambda: net.insert(2, nn.ReLU()), IndexError),
        (lambda: net.insert(0, 3), TypeError),
        (lambda: net[1], IndexError),
        (lambda: net["0"], TypeError),
        (lambda: net.append(3), TypeError),
        (lambda: net.extend(3), TypeError),
        (lambda: net.__setitem__(0, 3), TypeError),
    ):
        with pytest.raises(error):
            wrong()
    with pytest.raises(ValueError, match="another Sequential"):
        net += [nn.ReLU()]
    assert kinds(net) == ["ReLU"]


def test_named_sequentials_keep_their_names_in_slices():
    net = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh(), c=nn.Sigmoid()))
    assert list(net[1:]._modules) == ["b", "c"]
    assert net.b is net[1]
    net.b = nn.Identity()
    assert kinds(net) == ["ReLU", "Identity", "Sigmoid"]


def test_module_list():
    rows = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    rows.append(nn.Linear(1, 1)).extend(nn.ModuleList([nn.ReLU()]))
    rows.insert(0, nn.Sigmoid())
    rows += [nn.Identity()]
    assert kinds(rows) == ["Sigmoid", "ReLU", "Tanh", "Linear", "ReLU", "Identity"]
    assert kinds(rows[1:3]) == ["ReLU", "Tanh"]
    assert isinstance(rows[1:3], nn.ModuleList)
    assert kinds(rows + nn.ModuleList([nn.Tanh()]))[-1] == "Tanh"
    assert type(rows.pop(3)).__name__ == "Linear"
    del rows[-2:]
    assert kinds(rows) == ["Sigmoid", "ReLU", "Tanh"]
    assert list(rows._modules) == ["0", "1", "2"]
    assert len(nn.ModuleList()) == 0
    with pytest.raises(NotImplementedError, match="forward"):
        rows(1)
    with pytest.raises(IndexError):
        rows[3]


def test_module_list_counts_what_repeats():
    assert repr(nn.ModuleList()) == "ModuleList()"
    rows = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Sequential(nn.Tanh()), nn.ReLU()])
    assert repr(rows) == (
        "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Sequential(\n    (0): Tanh()\n  )\n  (3): ReLU()\n)"
    )


def test_module_dict():
    table = nn.ModuleDict({"b": nn.ReLU(), "a": nn.Linear(1, 2)})
    assert list(table) == ["b", "a"]
    table.update([("c", nn.Tanh())])
    table.update(nn.ModuleDict({"d": nn.Identity()}))
    table["b"] = nn.Sigmoid()
    assert kinds(table.values()) == ["Sigmoid", "Linear", "Tanh", "Identity"]
    assert list(table.keys()) == [key for key, _ in table.items()] == ["b", "a", "c", "d"]
    assert "a" in table
    assert list(table.state_dict()) == ["a.weight", "a.bias"]
    assert type(table.pop("c")).__name__ == "Tanh"
    del table["d"]
    assert len(table) == 2
    for wrong, error in (
        (lambda: table["x"], KeyError),
        (lambda: table.update(3), TypeError),
        (lambda: table.update([3]), TypeError),
        (lambda: table.update([("a", nn.ReLU(), 1)]), ValueError),
        (lambda: table.__setitem__("train", nn.ReLU()), KeyError),
        (lambda: table.__setitem__("a.b", nn.ReLU()), KeyError),
        (lambda: table.__setitem__(3, nn.ReLU()), TypeError),
    ):
        with pytest.raises(error):
            wrong()
    table.clear()
    assert len(table) == 0


def test_parameter_list():
    rows = nn.ParameterList([ones(2), nn.Parameter(ones(3), requires_grad=False)])
    rows.append(ones(1, 4)).extend([5])
    rows += ["words"]
    assert [type(value).__name__ for value in rows] == ["Parameter", "Parameter", "Parameter", "int", "str"]
    assert [name for name, _ in rows.named_parameters()] == ["0", "1", "2"]
    assert [p.requires_grad for p in rows.parameters()] == [True, False, True]
    assert isinstance(rows[:2], nn.ParameterList)
    assert len(rows[:2]) == 2
    assert repr(rows) == (
        "ParameterList(\n    (0): Parameter containing: [float32 of size 2]\n"
        "    (1): Parameter containing: [float32 of size 3]\n    (2): Parameter containing: [float32 of size 1x4]\n"
        "    (3): Object of type: int\n    (4): Object of type: str\n)"
    )
    rows[0] = ones(7)
    assert rows[0].shape == (7,)
    assert rows.pop() == "words"
    assert rows.pop(0).shape == (7,)
    assert [getattr(value, "shape", value) for value in rows] == [(3,), (1, 4), 5]
    with pytest.raises(IndexError):
        rows[3]
    with pytest.raises(TypeError, match="iterable"):
        rows.extend(ones(2))
    with pytest.raises(RuntimeError, match="should not be called"):
        rows(1)


def test_parameter_dict():
    table = nn.ParameterDict({"b": ones(1), "a": ones(2)})
    assert list(table) == ["a", "b"]  # as torch: plain dictionaries are taken by name
    table.update(OrderedDict(z=ones(3), c=4))
    assert list(table.keys()) == ["a", "b", "z", "c"]
    assert list(reversed(table)) == ["c", "z", "b", "a"]
    assert list(table.state_dict()) == ["a", "b", "z"]
    assert table.get("missing", 1) == 1
    assert table.setdefault("d", ones(4)).shape == (4,)
    assert isinstance(table["d"], nn.Parameter)
    assert table.popitem()[0] == "d"
    assert table.pop("c") == 4
    assert list((table | {"y": ones(1)}).keys()) == ["a", "b", "z", "y"]
    assert list(({"y": ones(1)} | table).keys()) == ["y", "a", "b", "z"]
    table |= {"x": ones(1)}
    assert "x" in table
    assert list(table.fromkeys(["p", "q"], 0).values()) == [0, 0]
    assert repr(nn.ParameterDict({"a": ones(2, 1), "b": ones()})) == (
        "ParameterDict(\n    (a): Parameter containing: [float32 of size 2x1]\n"
        "    (b): Parameter containing: [float32 of size ]\n)"
    )
    copied = table.copy()
    table.clear()
    assert (len(table), len(copied)) == (0, 4)
    for wrong, error in (
        (lambda: table["a"], KeyError),
        (lambda: table.popitem(), KeyError),
        (lambda: table.__setitem__(1, ones(1)), TypeError),
        (lambda: table(1), RuntimeError),
    ):
        with pytest.raises(error):
            wrong()


@pytest.mark.parametrize(
    "container",
    [
        nn.ModuleList([nn.Linear(1, 1)]),
        nn.ModuleDict({"a": nn.Linear(1, 1)}),
        nn.ParameterList([ones(2), 3]),
        nn.ParameterDict({"a": ones(2), "b": 3}),
    ],
    ids=lambda container: type(container).__name__,
)
def test_containers_copy_and_pickle(container):
    for other in (copy.deepcopy(container), pickle.loads(pickle.dumps(container))):
        assert repr(other) == repr(container)
        for p, q in zip(other.parameters(), container.parameters(), strict=True):
            assert p is not q
            assert p.tolist() == q.tolist()


def test_unflatten_undoes_flatten():
    x = np.arange(24.0, dtype="float32").reshape(2, 12)
    assert nn.Unflatten(1, (3, 4))(x).tolist() == x.reshape(2, 3, 4).tolist()
    assert nn.Unflatten(-1, [2, -1])(x).shape == (2, 2, 6)
    assert nn.Flatten()(nn.Unflatten(1, (3, 2, 2))(x)).tolist() == x.tolist()
    assert nn.Unflatten(0, (0, 3))(np.zeros((0, 2), "float32")).shape == (0, 3, 2)
    assert repr(nn.Unflatten(1, (3, 4))) == "Unflatten(dim=1, unflattened_size=(3, 4))"
    for wrong, error in (
        (lambda: nn.Unflatten(1, (5, 2))(x), ValueError),
        (lambda: nn.Unflatten(1, (5, -1))(x), ValueError),
        (lambda: nn.Unflatten(2, (1,))(x), IndexError),
        (lambda: nn.Unflatten("features", (3, 4)), TypeError),
        (lambda: nn.Unflatten(1, 12), TypeError),
        (lambda: nn.Unflatten(1, (3.0, 4)), TypeError),
    ):
        with pytest.raises(error):
            wrong()


@pytest.mark.parametrize(
    "options", [{}, {"stride": 1, "padding": 1}, {"stride": 1, "dilation": 2}, {"ceil_mode": True}]
)
@pytest.mark.parametrize("inplace", [False, True])
def test_a_relu_before_a_pool_gives_the_same_bits_after_it(options, inplace):
    x = np.random.default_rng(0).integers(-6, 4, (3, 5, 7, 8)).astype("float32")
    x[0, 0, :4, :4] = [-1, -0.0, 0, np.nan]
    x[0, 1, :4, :4] = -np.inf
    x[0, 2, :4, :4] = np.inf
    found = []
    for apart in (False, True):
        relu, pool = nn.ReLU(inplace), nn.MaxPool2d(2, **options)
        own = fastnn.tensor(x, requires_grad=True)
        between = own * 1.0
        y = pool(relu(between)) if apart else nn.Sequential(relu, pool)(between)
        (y * fastnn.arange(y.numel()).reshape(y.shape)).sum().backward()
        found.append([y.detach().numpy(), own.grad.numpy(), between.detach().numpy()])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(two))
