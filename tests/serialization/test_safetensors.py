import io
import json
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastnn
from fastnn import nn
from fastnn.serialization import tree
from fastnn.serialization.safetensors import encoded

NAMES = [
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]


def file_of(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def load(content):
    return fastnn.load(io.BytesIO(content))


def test_state_dicts_come_back_in_their_order_and_other_tools_read_them(tmp_path):
    fastnn.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    path = tmp_path / "model.safetensors"
    fastnn.save(net.state_dict(), path)
    found = fastnn.load(path)
    assert isinstance(found, OrderedDict)
    assert list(found) == list(net.state_dict())
    assert found._metadata == net.state_dict()._metadata
    other = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    assert other.load_state_dict(found) == ([], [])
    for key, array in safetensors.numpy.load_file(path).items():
        for values in (found[key], net.state_dict()[key], other.state_dict()[key]):
            np.testing.assert_array_equal(values.numpy(), array, strict=True)


def test_files_of_other_tools(tmp_path):
    path = tmp_path / "other.safetensors"
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in NAMES}
    arrays |= {"complex": np.array([1 + 2j], np.complex64), "empty": np.zeros((0, 3)), "scalar": np.array(2.5)}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "np"})
    found = fastnn.load(path)
    assert type(found) is dict
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), array, strict=True)
        assert found[name].array.flags.writeable


def test_bfloat16_arrives_as_float32():
    halves = np.array([0x3FC0, 0xC049, 0x7F80, 0x8000], "<u2")
    found = load(file_of({"x": entry("BF16", (4,), (0, 8))}, halves.tobytes()))["x"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, -3.140625, np.inf, 0.0]


def test_checkpoints_keep_their_structure(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    layer = nn.Linear(2, 2)
    optimizer = fastnn.optim.Adam(layer.parameters(), lr=0.5)
    layer(np.ones((1, 2), "float32")).sum().backward()
    optimizer.step()
    checkpoint = {
        "model": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "model.weight": np.arange(3),  # another name that would be joined to the same
        "epoch": 3,
        "history": [1.5, np.float32(2.5), None, float("inf")],
        "pair": (True, "words", -(2**70)),
        "none": {},
        4: {"a": [layer.weight, nn.Parameter(fastnn.tensor([1.0]), requires_grad=False)]},
        "leaf": fastnn.tensor([1.0], requires_grad=True),
    }
    fastnn.save(checkpoint, path)
    found = fastnn.load(path)
    assert list(found) == list(checkpoint)
    for key in ("epoch", "history", "pair", "none"):
        assert found[key] == checkpoint[key]
    assert type(found["pair"]) is tuple
    assert found["model.weight"].tolist() == [0, 1, 2]
    assert found["model"]["weight"].tolist() == layer.weight.tolist()
    assert isinstance(found[4]["a"][0], nn.Parameter)
    assert [p.requires_grad for p in found[4]["a"]] == [True, False]
    assert found["leaf"].requires_grad
    optimizer.load_state_dict(found["optimizer"])
    assert "model.weight" in safetensors.numpy.load_file(path)


def test_one_tensor_and_lists():
    file = io.BytesIO()
    fastnn.save(fastnn.tensor([1.0]), file)
    assert load(file.getvalue()).tolist() == [1.0]
    assert [x.tolist() for x in load(encoded([np.ones(1), np.zeros(2)]))] == [[1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12.0)[::-1],
        np.arange(12.0)[::5],
        np.broadcast_to(np.float32(3), (2, 3)),
        np.arange(4, dtype=">i4"),
    ],
)
def test_any_layout_is_saved_as_its_values(array):
    found = load(encoded({"x": array}))["x"].numpy()
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    hnp.arrays(
        st.sampled_from([np.dtype(name) for name in NAMES]), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)
    ),
)
_keys = st.one_of(st.text(), st.integers(2 - 2**61, 2**61 - 2), st.none())
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(_keys, inner, max_size=3)
    ),
    max_leaves=10,
)


def same(found, given):
    if isinstance(given, np.ndarray):
        np.testing.assert_array_equal(found.numpy(), given, strict=True)
    elif isinstance(given, dict):
        assert list(found) == list(given)
        for key in given:
            same(found[key], given[key])
    elif isinstance(given, (list, tuple)):
        assert type(found) is type(given)
        for one, two in zip(found, given, strict=True):
            same(one, two)
    else:
        assert (type(found), found) == (type(given), given)


@settings(max_examples=60, deadline=None)
@given(_trees)
def test_trees_come_back_as_they_were(given):
    same(load(encoded(given)), given)


def test_what_cannot_be_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(tree, "VALUES", 1000)
    itself = []
    itself.append(itself)
    deep = []
    for _ in range(200):
        deep = [deep]
    for wrong, error, words in (
        ({"x": object()}, TypeError, "x must be made of"),
        ({"x": {(1, 2): 1}}, TypeError, "keys must be strings"),
        ({"x": np.array([1 + 2j])}, TypeError, "x must have a dtype that safetensors knows, got complex128"),
        (np.array(["a"]), TypeError, "dtype"),
        (itself, ValueError, "contains itself"),
        (deep, ValueError, "nested deeper"),
        (b"bytes", TypeError, "must be made of"),
        ({2**61: 1}, ValueError, r"below 2\*\*61, got 2.306e\+18"),
        ({"x": [1] * 2000}, ValueError, "more than 1,000 numbers, strings and containers"),
        ([nn.ReLU()], TypeError, r"got ReLU; save its state_dict\(\)"),
    ):
        with pytest.raises(error, match=words):
            fastnn.save(wrong, tmp_path / "x")
    assert not list(tmp_path.iterdir())


GOOD = {"x": entry()}
BAD = {
    "empty": b"",
    "a few bytes": b"abc",
    "header beyond the end": struct.pack("<Q", 100) + b"{}",
    "header of 2^63": struct.pack("<Q", 1 << 63) + b"{}",
    "header of 2^64 - 1": b"\xff" * 8 + b"{}",
    "no object": file_of(b"[]"),
    "no JSON": file_of(b"{x}"),
    "no UTF-8": file_of(b'{"\xff": 1}'),
    "deep": file_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "not a number": file_of(b'{"a": NaN}'),
    "a name twice": file_of(
        b'{"x":' + json.dumps(entry()).encode() + b',"x":' + json.dumps(entry()).encode() + b"}", bytes(8)
    ),
    "a field twice": file_of(b'{"x":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "metadata of numbers": file_of({"__metadata__": {"a": 1}}),
    "metadata of a list": file_of({"__metadata__": []}),
    "entry of a number": file_of({"x": 1}),
    "entry without a shape": file_of({"x": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "entry with more": file_of({"x": {**entry(), "more": 1}}, bytes(8)),
    "unknown dtype": file_of({"x": entry("F8_E4M3", (8,))}, bytes(8)),
    "dtype of a list": file_of({"x": entry(["F32"])}, bytes(8)),
    "wrong dtype": file_of({"x": entry("F64")}, bytes(8)),
    "wrong size": file_of({"x": entry(shape=(3,))}, bytes(8)),
    "negative extents": file_of({"x": entry(shape=(-1, -2))}, bytes(8)),
    "extent of 2^63": file_of({"x": entry(shape=(1 << 63,))}, bytes(8)),
    "product beyond 2^64": file_of({"x": entry(shape=(1 << 62, 1 << 62), offsets=(0, 8))}, bytes(8)),
    "extent of text": file_of({"x": entry(shape=("2",))}, bytes(8)),
    "extent of a bool": file_of({"x": entry(shape=(True, 2))}, bytes(8)),
    "65 axes": file_of({"x": entry(shape=(1,) * 64 + (2,))}, bytes(8)),
    "offsets beyond the end": file_of({"x": entry(offsets=(0, 16), shape=(4,))}, bytes(8)),
    "offsets of 2^62": file_of({"x": entry(offsets=(1 << 62, (1 << 62) + 8))}, bytes(8)),
    "offsets backwards": file_of({"x": entry(offsets=(8, 0))}, bytes(8)),
    "negative offsets": file_of({"x": entry(offsets=(-8, 0))}, bytes(8)),
    "three offsets": file_of({"x": entry(offsets=(0, 8, 8))}, bytes(8)),
    "overlap": file_of({"x": entry(), "y": entry(offsets=(4, 12))}, bytes(12)),
    "the same bytes twice": file_of({"x": entry(), "y": entry()}, bytes(8)),
    "a hole": file_of({"x": entry(), "y": entry(offsets=(12, 20))}, bytes(20)),
    "a hole before": file_of({"x": entry(offsets=(4, 12))}, bytes(12)),
    "bytes after the tensors": file_of(GOOD, bytes(9)),
    "cut off": file_of(GOOD, bytes(7)),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("as_path", [False, True])
def test_bad_files(name, as_path, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD[name])
    tracemalloc.start()
    try:
        with pytest.raises(fastnn.FormatError, match="load: "):
            fastnn.load(path if as_path else io.BytesIO(BAD[name]))
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def structured(structure):
    return file_of({"__metadata__": {"fastnn": structure}, "x": entry()}, bytes(8))


@pytest.mark.parametrize(
    "structure",
    [
        "",
        "nonsense",
        "3",
        "{}",
        "[]",
        '["tensor"]',
        '["tensor","y"]',
        '["tensor",["x"]]',
        '["list",[["tensor","x"],["tensor","x"]]]',
        '["list",["tensor","x"]]',
        '["set",[["tensor","x"]]]',
        '["dict",[["a",["tensor","x"]],["a",1]]]',
        '["dict",[[["a"],["tensor","x"]]]]',
        '["dict",[["a"]]]',
        '["dict",{"a":["tensor","x"]}]',
        '["ordered",[["a",["tensor","x"]]],[1]]',
        '["ordered",[["a",["tensor","x"]]],{"":{"version":"1"}}]',
        '["list",' * 200 + "[]" + "]" * 200,
        "[" * 50_000,
    ],
)
def test_bad_structures(structure):
    assert load(structured('["tensor","x"]')).tolist() == [0.0, 0.0]
    with pytest.raises(fastnn.FormatError, match="load: BytesIO: "):
        load(structured(structure))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_damage_raises_nothing_but_format_errors(data):
    content = bytearray(encoded(OrderedDict(a=np.arange(3), b=[np.ones((2, 2), "float32"), 1])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, 2 * len(content))) :]
    with suppress(fastnn.FormatError):
        load(bytes(content))


def test_memory_is_that_of_the_tensors(tmp_path):
    path = tmp_path / "large.safetensors"
    fastnn.save({f"x{i}": np.zeros(1 << 18, "float32") for i in range(8)}, path)
    tracemalloc.start()
    try:
        found = fastnn.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * path.stat().st_size
    finally:
        tracemalloc.stop()
    assert len(found) == 8


def test_the_missing_library_is_named():
    code = (
        "import sys; sys.modules['safetensors'] = None\n"
        "import numpy as np, fastnn, io\n"
        "try: fastnn.save({'x': np.zeros(1)}, io.BytesIO())\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fastnn-cpu[files]'" in result.stdout, result.stderr
