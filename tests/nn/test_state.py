import pickle
from collections import OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import nn


class Counted(nn.Module):
    """A layer with state of its own beside Tensors, and a version."""

    _version = 2

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(fastnn.tensor([1.0, 2.0]))
        self.count = 0

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version", 1) < 2 and prefix + "w" in state_dict:
            state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_state_dict_shares_memory_and_keeps_vars():
    layer = nn.Linear(2, 3)
    state = layer.state_dict(prefix="a.")
    assert list(state) == ["a.weight", "a.bias"]
    assert np.shares_memory(state["a.weight"].array, layer.weight.array)
    assert not state["a.weight"].requires_grad
    assert layer.state_dict(keep_vars=True)["weight"] is layer.weight
    into = OrderedDict(first=1)
    assert layer.state_dict(destination=into, prefix="b.") is into
    assert list(into) == ["first", "b.weight", "b.bias"]


def test_extra_state_and_versions():
    net = nn.Sequential(Counted(), nn.ReLU())
    net[0].count = 5
    state = net.state_dict()
    assert list(state) == ["0.weight", "0._extra_state"]
    assert state._metadata == {"": {"version": 1}, "0": {"version": 2}, "1": {"version": 1}}
    other = nn.Sequential(Counted(), nn.ReLU())
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other[0].count == 5
    old = {"0.w": fastnn.tensor([7.0, 8.0]), "0._extra_state": {"count": 1}}
    assert other.load_state_dict(old) == ([], [])
    assert other[0].weight.tolist() == [7.0, 8.0]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0._extra_state"'):
        other.load_state_dict({"0.weight": old["0.w"]})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "1._extra_state"'):
        other.load_state_dict({**state, "1._extra_state": 3})
    with pytest.raises(NotImplementedError, match="get_extra_state"):
        nn.ReLU().get_extra_state()


def test_nothing_is_written_unless_all_fits():
    net = nn.Sequential(Counted(), nn.Linear(2, 2))
    state = {key: value * 0.0 if hasattr(value, "shape") else {"count": 9} for key, value in net.state_dict().items()}
    state["1.bias"] = np.zeros(3)
    state["1.weight"] = "words"
    before = net[0].weight.tolist()
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert "size mismatch for 1.bias" in str(caught.value)
    assert "1.weight must hold numbers, got str" in str(caught.value)
    assert net[0].weight.tolist() == before
    assert net[0].count == 0


def test_where_keys_go():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    result = net.load_state_dict({"0.weight.more": 1, "7.x": 1, "0x": 1, "1.y": 1}, strict=False)
    assert result.missing_keys == ["0.weight", "0.bias"]
    assert sorted(result.unexpected_keys) == ["0.weight.more", "0x", "1.y", "7.x"]
    assert "missing_keys=['0.weight', '0.bias']" in repr(result)
    with pytest.raises(TypeError, match="mapping"):
        net.load_state_dict([1])
    with pytest.raises(TypeError, match="names"):
        net.load_state_dict({3: 1})


def test_values_are_converted_unless_assigned():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad = False
    state = {"weight": np.arange(4.0).reshape(2, 2), "bias": fastnn.tensor(np.array([1.0, 2.0]))}
    weight = layer.weight
    layer.load_state_dict(state)
    assert layer.weight is weight
    assert (weight.dtype, weight.stride(), weight.tolist()) == (np.float32, (1, 2), [[0.0, 1.0], [2.0, 3.0]])
    layer.load_state_dict(state, assign=True)
    assert layer.weight is not weight
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.dtype == layer.bias.dtype == np.float64
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
    assert np.shares_memory(layer.bias.array, state["bias"].array)


def test_one_element_fits_a_place_without_axes():
    module = nn.Module()
    module.scale = nn.Parameter(fastnn.tensor(1.0))
    module.load_state_dict({"scale": np.array([4.0])})
    assert module.scale.item() == 4.0


def test_loading_raises_the_version():
    layer = nn.Linear(2, 2)
    x = fastnn.tensor(np.ones((1, 2), "float32"), requires_grad=True)
    y = layer(x).sum()
    layer.load_state_dict({k: v.numpy() * 2 for k, v in layer.state_dict().items()})
    with pytest.raises(RuntimeError):
        y.backward()


def test_state_dict_hooks():
    layer, seen = nn.Linear(1, 1), []
    layer.register_state_dict_pre_hook(lambda m, prefix, keep: seen.append((prefix, keep)))
    post = layer.register_state_dict_post_hook(lambda m, state, prefix, meta: state.pop(prefix + "bias") and None)
    net = nn.Sequential(layer)
    assert list(net.state_dict()) == ["0.weight"]
    assert seen == [("0.", False)]
    post.remove()
    layer.register_state_dict_post_hook(lambda *a: {})
    with pytest.raises(RuntimeError, match="must return None"):
        net.state_dict()


def rename(module, state_dict, prefix, *rest):
    for key in [*state_dict]:
        state_dict[key.replace("kernel", "weight")] = state_dict.pop(key)


def test_load_hooks():
    net, values = nn.Sequential(nn.Linear(1, 1)), []
    net[0].register_load_state_dict_pre_hook(rename)
    net[0].register_load_state_dict_post_hook(lambda m, keys: values.append(m.weight.item()))
    net.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    result = net.load_state_dict({"0.kernel": np.array([[8.0]])})
    assert result == ([], [])
    assert values == [8.0]
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        net.load_state_dict({"0.kernel": np.zeros((2, 2))})
    assert values == [8.0]
    other = nn.Linear(1, 1)
    other.register_load_state_dict_pre_hook(rename)
    copied = pickle.loads(pickle.dumps(other))
    assert copied.load_state_dict({"kernel": np.ones((1, 1)), "bias": np.ones(1)}) == ([], [])
    other.register_load_state_dict_post_hook(lambda m, keys: 3)
    with pytest.raises(RuntimeError, match="must return None"):
        other.load_state_dict(other.state_dict())


def test_read_only_parameters_are_not_written():
    module = nn.Module()
    array = np.zeros(2, "float32")
    array.flags.writeable = False
    module.register_buffer("seen", fastnn.from_numpy(array))
    with pytest.raises(RuntimeError, match="seen is read-only"):
        module.load_state_dict({"seen": np.ones(2)})


def test_wide_modules_load_in_linear_time():
    net = nn.ModuleList([nn.Identity() for _ in range(3000)])
    net.append(nn.Linear(1, 1))
    assert net.load_state_dict(net.state_dict()) == ([], [])
