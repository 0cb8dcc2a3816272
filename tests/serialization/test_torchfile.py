import io
import json
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import nn
from fastnn.serialization import pickles

DATA = Path(__file__).parent / "data"


def archive(records, compression=zipfile.ZIP_STORED, root="archive"):
    """A zip file of records."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in records.items():
            made.writestr(f"{root}/{name}", content)
    return file.getvalue()


def number(n):
    raw = n.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + raw


def text(words):
    raw = words.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind="FloatStorage", key="0", count=4, module="torch"):
    kind = f"c{module}\n{kind}\n".encode()
    return b"(" + text("storage") + kind + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(where=None, offset=0, size=(4,), stride=(1,), grad=b"\x89", function="_rebuild_tensor_v2", more=b""):
    arguments = (storage() if where is None else where) + number(offset) + numbers(size) + numbers(stride) + grad
    hooks = b"ccollections\nOrderedDict\n)R"
    return f"ctorch._utils\n{function}\n".encode() + b"(" + arguments + hooks + more + b"tR"


def pickled(body):
    return b"\x80\x02" + body + b"."


def torch_file(body, records=None, **how):
    return archive({"data.pkl": pickled(body), "data/0": bytes(16), **(records or {})}, **how)


def load(content):
    return fastnn.load(io.BytesIO(content))


def test_a_state_dict_of_torch_loads_into_the_same_modules():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
            self.register_buffer("seen", fastnn.tensor([0]))

    state = fastnn.load(DATA / "state_dict.pt")
    expected = json.loads((DATA / "state_dict.json").read_text())
    assert isinstance(state, OrderedDict)
    assert {key: value.tolist() for key, value in state.items()} == expected
    assert state._metadata["body.0"] == {"version": 1}
    net = Net()
    assert net.load_state_dict(state) == ([], [])
    assert net.body[0].weight.stride() == (1, 4)  # as Linear lays it out
    assert {key: value.tolist() for key, value in net.state_dict().items()} == expected


def test_checkpoints_of_torch():
    found = fastnn.load(str(DATA / "checkpoint.pt"), map_location="cpu")
    assert {key: found[key] for key in found if key not in ("model", "optimizer")} == {
        "epoch": 3,
        "best": 0.5,
        "name": "net",
        "none": None,
        "flags": [True, False],
        "pair": (1, -2, 2**40),
        "size": (2, 3),
        "dtype": np.float64,
        "raw": b"\x00\xff",
        "device": "cpu",
    }
    (group,) = found["optimizer"]["param_groups"]
    assert (group["lr"], group["betas"], group["params"]) == (0.25, (0.9, 0.999), [0, 1, 2, 3])
    state = found["optimizer"]["state"]
    assert [state[i]["exp_avg"].shape for i in range(4)] == [(4, 3), (4,), (2, 4), (2,)]
    assert state[0]["step"].item() == 1.0


def test_all_element_types():
    found = fastnn.load(DATA / "tensors.pt")
    for name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint64"):
        assert (found[name].dtype, found[name].tolist()) == (np.dtype(name), [0, 1, 2, 3])
    assert found["bool"].tolist() == [False, True, True, True]
    assert found["complex64"].dtype == np.complex64
    assert found["complex128"].tolist() == [1 + 2j]
    assert found["bfloat16"].dtype == np.float32
    values = found["bfloat16_values"].numpy()
    np.testing.assert_array_equal(values[:3], np.float32([1.5, -3.140625, np.inf]))
    assert np.isnan(values[3])
    assert abs(values[4] / 1e-38 - 1) < 0.01
    assert np.signbit(values[5])


def test_views_share_their_storage():
    found = fastnn.load(DATA / "tensors.pt")
    base = found["base"]
    assert base.tolist() == list(range(12))
    assert (found["column"].tolist(), found["column"].stride()) == ([2, 6, 10], (4,))
    assert found["transposed"].stride() == (1, 4)
    base[6] = 100.0
    assert found["column"].tolist() == [2, 100, 10]
    assert found["row"].tolist() == [4, 5, 100, 7]
    assert found["transposed"].numpy()[2, 1] == 100
    assert (found["expanded"].tolist(), found["expanded"].stride()) == ([5, 5, 5], (0,))
    assert (found["scalar"].item(), found["scalar"].shape) == (2.5, ())
    assert (found["empty"].shape, found["none"].shape) == ((0, 3), (0,))


def test_parameters_and_leaves():
    found = fastnn.load(DATA / "tensors.pt")
    assert found["leaf"].requires_grad
    assert type(found["leaf"]) is fastnn.Tensor
    assert isinstance(found["parameter"], nn.Parameter)
    assert not found["parameter"].requires_grad


def test_newer_protocols_and_open_files():
    with open(DATA / "protocol4.pt", "rb") as file:
        assert fastnn.load(file)[0].tolist() == [1.0, 2.0]
    content = b"before" + (DATA / "protocol4.pt").read_bytes()
    file = io.BytesIO(content)
    file.seek(6)
    assert fastnn.load(file)[0].tolist() == [1.0, 2.0]


def test_other_byte_order():
    values = np.arange(4, dtype=">f4").tobytes()
    assert load(torch_file(tensor(), {"data/0": values, "byteorder": b"big"})).tolist() == [0, 1, 2, 3]
    with pytest.raises(fastnn.FormatError, match="byte order"):
        load(torch_file(tensor(), {"byteorder": b"middle"}))


def test_what_is_built_by_hand_is_read():
    assert load(torch_file(tensor())).tolist() == [0, 0, 0, 0]
    assert load(torch_file(tensor(offset=1, size=(3, 5), stride=(1, 0)))).shape == (3, 5)
    untyped = storage("UntypedStorage", count=16, module="torch.storage")
    assert load(torch_file(tensor(untyped, function="_rebuild_tensor_v3", more=b"ctorch\nfloat32\n"))).shape == (4,)
    kind = (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch.nn.parameter\nParameter\n"
    )
    rest = b"(" + storage() + number(0) + numbers((4,)) + numbers((1,)) + b"\x88ccollections\nOrderedDict\n)Rt}tR"
    made = load(torch_file(kind + rest))
    assert isinstance(made, nn.Parameter)
    assert made.requires_grad


UNTYPED = storage("UntypedStorage", count=16, module="torch.storage")

BAD_PICKLES = {
    "leaves the storage": tensor(size=(5,)),
    "stride leaves the storage": tensor(size=(2, 2), stride=(3, 1)),
    "offset leaves the storage": tensor(offset=1),
    "offset of nothing": tensor(offset=5, size=(0,)),
    "negative stride": tensor(offset=3, stride=(-1,)),
    "negative size": tensor(size=(-1,)),
    "negative offset": tensor(offset=-1, size=(1,)),
    "huge size": tensor(size=(2**63 - 1,)),
    "huge expanded": tensor(size=(2**61,), stride=(0,)),
    "huge product": tensor(size=(2**40, 2**40), stride=(0, 0)),
    "huge offset": tensor(offset=2**63 - 1),
    "sizes without strides": tensor(size=(2, 2)),
    "65 axes": tensor(size=(1,) * 65, stride=(1,) * 65),
    "too small storage": tensor(storage(count=5)),
    "too large storage": tensor(storage(count=3)),
    "huge storage": tensor(storage(count=2**62)),
    "negative storage": tensor(storage(count=-4)),
    "other width": tensor(storage("DoubleStorage")),
    "unknown storage": tensor(storage("QInt8Storage")),
    "missing storage": tensor(storage(key="1")),
    "storage outside": tensor(storage(key="../data.pkl")),
    "storage of two kinds": b"(" + tensor() + tensor(storage("IntStorage")) + b"t",
    "no storage": tensor(b"N"),
    "no dtype": tensor(UNTYPED),
    "unknown dtype": tensor(UNTYPED, function="_rebuild_tensor_v3", more=b"N"),
    "float8": tensor(UNTYPED, function="_rebuild_tensor_v3", more=b"ctorch\nfloat8_e4m3fn\n"),
    "two dtypes": b"("
    + tensor(UNTYPED, function="_rebuild_tensor_v3", more=b"ctorch\nfloat32\n")
    + tensor(UNTYPED, function="_rebuild_tensor_v3", more=b"ctorch\nint32\n")
    + b"t",
    "grad of integers": tensor(storage("IntStorage"), grad=b"\x88"),
    "grad of a number": tensor(grad=b"K\x01"),
    "parameter of none": b"ctorch._utils\n_rebuild_parameter\n(N\x88NtR",
    "tensor of a class": b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nctorch\nTensor\n)}tR",
    "tensor of itself": b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00(h\x00ctorch\nTensor\n)}tR",
    "too few arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    "no arguments": b"ctorch._utils\n_rebuild_tensor_v2\nNR",
    "a storage alone": storage(),
    "a function alone": b"ctorch\nSize\n",
    "a bfloat16 alone": b"ctorch\nbfloat16\n",
    "another persistent id": b"K\x01Q",
    "os.system": b"cos\nsystem\n" + text("true") + b"\x85R",
    "builtins.eval": b"cbuiltins\neval\n" + text("1") + b"\x85R",
    "a global by strings": text("os") + text("system") + b"\x93" + text("true") + b"\x85R",
    "a call of a string": text("os.system") + text("true") + b"\x85R",
    "attributes": b"ctorch\nTensor\n}" + text("a") + b"K\x01sb",
    "instance": b"(cos\nsystem\n" + text("true") + b"o",
    "inst": b"(ios\nsystem\n",
    "newobj": b"cos\nsystem\n)\x81",
    "extension": b"\x82\x01",
    "set": b"\x8f",
    "bytes in another encoding": b"c_codecs\nencode\n(" + text("61") + text("hex") + b"tR",
    "a dict as a key": b"}}K\x01s",
    "a list as a key": b"}]K\x01s",
    "a key of tuples": b"})" + b"\x85" * 3 + b"K\x01s",
    "items of a list": b"](K\x01K\x02u",
    "elements of a dict": b"}K\x01a",
    "an odd number of items": b"}(K\x01u",
    "no mark": b"K\x01t",
    "a mark as a value": b"(",
    "a missing value": b"a",
    "a missing memo": b"h\x07",
    "unknown instruction": b"\xff",
    "cut off string": b"X\xff\xff\xff\x7fabc",
    "cut off long string": b"\x8d" + b"\xff" * 8,
    "cut off bytes": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "cut off frame": b"\x95" + b"\xff" * 8,
    "cut off number": b"\x8b\xff\xff\xff\x7f",
    "cut off name": b"ctorch",
    "no utf-8": b"X\x02\x00\x00\x00\xff\xfe",
    "contains itself": b"]q\x00h\x00a",
    "deep lists": b"]" * 30000 + b"a" * 29999,
    "deep tuples": b")" + b"\x85" * 500,
    "very deep tuples": b")" + b"\x85" * 25_000,
    "many lists": b"]0" * 25_000 + b"N",
    "many memos": b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(25_000)),
    "a sparse memo": b"Nr\xff\xff\xff\xff]Rj",
    "a list doubled again and again": b"(" + b"K\x01" * 9000 + b"tq\x00" + b"ctorch\nSize\nq\x01h\x00\x85R0h\x01" * 300,
    "stop without a value": b"",
}


@pytest.mark.parametrize("name", BAD_PICKLES)
def test_bad_pickles(name, monkeypatch):
    monkeypatch.setattr(pickles, "OBJECTS", 1 << 20)
    content = torch_file(BAD_PICKLES[name])
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(fastnn.FormatError, match="load: BytesIO: "):
            load(content)
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6
    if len(content) < 3000:
        assert seconds < 0.2  # some milliseconds, on a machine that does other things too


@pytest.mark.parametrize("version", [0, 1, 6, 255])
def test_protocols_that_are_not_read(version):
    with pytest.raises(fastnn.FormatError, match="protocol"):
        load(archive({"data.pkl": bytes([0x80, version]) + b"N."}))


def edited(content, place, raw):
    return content[:place] + raw + content[place + len(raw) :]


GOOD = torch_file(tensor())
CENTRAL = GOOD.index(b"PK\x01\x02")
SECOND = GOOD.index(b"PK\x01\x02", CENTRAL + 1)
END = GOOD.index(b"PK\x05\x06")

BAD_ARCHIVES = {
    "cut off": GOOD[:-30],
    "only a beginning": GOOD[:4],
    "compressed": torch_file(tensor(), {"data/0": bytes(1 << 24)}, compression=zipfile.ZIP_DEFLATED),
    "encrypted": edited(GOOD, CENTRAL + 8, b"\x01"),
    "directory beyond the end": edited(GOOD, END + 16, b"\xff\xff\xff\x7f"),
    "directory longer than the file": edited(GOOD, END + 12, b"\xff\xff\xff\x7f"),
    "more records than there are": edited(GOOD, END + 8, b"\x03\x00\x03\x00"),
    "very many records": edited(GOOD, END + 8, b"\xff\xff\xff\xff"),
    "several disks": edited(GOOD, END + 4, b"\x01\x00"),
    "damaged directory": edited(GOOD, SECOND, b"PK\x01\x03"),
    "damaged header": edited(GOOD, 0, b"PK\x03\x04\xff" + GOOD[5:26] + b"\xff\xff"),
    "record beyond the end": edited(GOOD, SECOND + 20, b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
    "record of other sizes": edited(GOOD, SECOND + 20, b"\x11\x00\x00\x00"),
    "record that overlaps": edited(GOOD, CENTRAL + 20, struct.pack("<II", 10**2 * 2, 10**2 * 2)),
    "record at another's place": edited(GOOD, SECOND + 42, b"\x00\x00\x00\x00"),
    "name of another record": edited(GOOD, SECOND + 46, b"archive/data/1"),
    "name without utf-8": edited(GOOD, SECOND + 46, b"\xff\xff"),
    "no pickle": archive({"data/0": b""}),
    "no archive of torch": archive({"data.pkl": b""}, root="a/b"),
    "two pickles": torch_file(b"N").replace(b"archive/data/0", b"other/data.pkl"),
    "a program": torch_file(b"N", {"constants.pkl": b""}),
    "an empty pickle": archive({"data.pkl": b""}),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_bad_archives(name):
    tracemalloc.start()
    try:
        with pytest.raises(fastnn.FormatError, match="load: BytesIO: "):
            load(BAD_ARCHIVES[name])
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_a_record_that_occurs_twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", pickled(b"N"))
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("archive/data.pkl", pickled(b"N"))
    with pytest.raises(fastnn.FormatError, match="occurs twice"):
        load(file.getvalue())


def test_files_before_the_archive_format():
    with pytest.raises(fastnn.FormatError, match=r"before 1\.6"):
        fastnn.load(DATA / "legacy.pt")


def test_models_are_refused_with_what_to_do():
    with pytest.raises(fastnn.FormatError, match=r"holds a __main__\.Net.*state_dict\(\)"):
        load(torch_file(b"c__main__\nNet\n)\x81"))


def test_arguments():
    with pytest.raises(ValueError, match="map_location"):
        fastnn.load(DATA / "tensors.pt", map_location="cuda")
    with pytest.raises(ValueError, match="weights_only"):
        fastnn.load(DATA / "tensors.pt", weights_only=False)
    with pytest.raises(TypeError, match="path or a file"):
        fastnn.load(3)
    with pytest.raises(FileNotFoundError):
        fastnn.load(DATA / "missing.pt")


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_damage_raises_nothing_but_format_errors(data):
    content = bytearray((DATA / data.draw(st.sampled_from(["state_dict.pt", "checkpoint.pt"]))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, 2 * len(content))) :]
    with suppress(fastnn.FormatError):
        load(bytes(content))


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60))
def test_arbitrary_pickles_raise_nothing_but_format_errors(body):
    with suppress(fastnn.FormatError):
        load(torch_file(body))
