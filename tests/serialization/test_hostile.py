"""Files that were made to do harm: a typed error, little memory, nothing executed, whatever the bytes are."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.serialization import pickles
from fastnn.serialization.safetensors import encoded

DATA = Path(__file__).parent / "data"
FLIPS = 3000


def framed(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


def structured(words):
    return framed(json.dumps({"__metadata__": {"fastnn": words}}).encode())


def archive(pickle, more=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", b"\x80\x02" + pickle + b".")
        for name, content in more:
            made.writestr(f"archive/{name}", content)
    return file.getvalue()


def lists(element, count=10_000, times=20):
    """A pickle of lists of small things, in parts that a pickler could have written."""
    return b"]" + (b"(" + element * count + b"e") * times


def load(content):
    return fastnn.load(io.BytesIO(content))


SMALL = {
    "weights.safetensors": encoded({"a": np.arange(3), "b": [np.ones((2, 2), "float32"), 1, "words"]}),
    "weights.pt": (DATA / "protocol4.pt").read_bytes(),
}

LARGE = {  # headers of about a megabyte, or of more names than are read
    "lists": framed(b'{"a":[' + b"[]," * 300_000 + b"[]]}"),
    "nested objects": framed(b'{"a":' + b'{"":' * 200_000 + b"}" * 200_000 + b"}"),
    "numbers": framed(b'{"a":[' + b"1," * 500_000 + b"1]}"),
    "a long number": framed(b'{"a":' + b"9" * 1_000_000 + b"}"),
    "a long shape": framed(b'{"a":{"dtype":"F32","shape":[' + b"1," * 500_000 + b'1],"data_offsets":[0,4]}}', bytes(4)),
    "a name over and over": framed(b"{" + b'"a":1,' * 200_000 + b'"a":1}'),
    "a long name": framed(b'{"' + b"a" * 1_000_000 + b'":1}'),
    "a name of escapes": framed(b'{"' + b"\\u1234" * 200_000 + b'":1}'),
    "a name of backslashes": framed(b'{"' + b"\\" * 1_000_001 + b'":1}'),
    "a name with one wide letter": framed(b'{"' + "\U0001f600".encode() + b"a" * 1_000_000 + b'":1}'),
    "zeros": framed(b"{" + bytes(1_000_000)),
    "spaces": framed(b"{" + b" " * 1_000_000),
    "a long text": structured("9" * 1_000_000),
    "a text of quotes": structured('"' * 1_000_000),
    "deep structure": structured('["list",[' * 100_000),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_headers_cost_at_most_twice_the_file(name):
    content = LARGE[name]
    tracemalloc.start()
    try:
        start = time.process_time()
        with pytest.raises(fastnn.FormatError, match="load: BytesIO: ") as caught:
            load(content)
        seconds = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 2 * len(content) + 100_000
    assert seconds < 0.5  # ten or twenty milliseconds; parsing such a header at once takes a second
    assert len(str(caught.value)) < 600


def test_a_header_of_many_names():
    names = b",".join(b'"%d":""' % i for i in range(140_000))
    with pytest.raises(fastnn.FormatError, match="more than 131,072 names"):
        load(framed(b'{"__metadata__":{' + names + b"}}"))


def test_a_structure_of_many_values():
    with pytest.raises(fastnn.FormatError, match="more than 1,048,576 values"):
        load(structured('["list",[' + "[]," * 1_100_000 + "1]]"))


OBJECT_BOMBS = {
    "lists": lists(b"]"),
    "dicts": lists(b"}"),
    "texts": lists(b"\x8c\x01a"),
    "wide texts": lists(b"\x8c\x02\xc4\x80"),
    "long integers": lists(b"\x8a\x05\xff\xff\xff\xff\x7f"),
    "memos": b"N" + b"\x94" * 400_000,
    "tuples of one another": b"(K\x01tq\x00" + b"h\x00\x85q\x00" * 100_000,
}


@pytest.mark.parametrize("name", OBJECT_BOMBS)
def test_pickles_of_many_objects_are_given_up(name, monkeypatch):
    monkeypatch.setattr(pickles, "OBJECTS", 1 << 20)
    content = archive(OBJECT_BOMBS[name])
    tracemalloc.start()
    try:
        with pytest.raises(fastnn.FormatError, match="load: BytesIO: "):
            load(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * pickles.OBJECTS + 4 * len(content)
    finally:
        tracemalloc.stop()


def test_keys_that_share_their_hash():
    """A dict of n of them takes n**2 steps: half a minute for these."""
    keys = [i * (2**61 - 1) for i in range(1, 50_001)]
    pairs = [b"\x8a\x0a" + key.to_bytes(10, "little") + b"N" for key in keys]
    parts = [b"(" + b"".join(pairs[i : i + 1000]) + b"u" for i in range(0, len(pairs), 1000)]
    start = time.process_time()
    with pytest.raises(fastnn.FormatError, match=r"key beyond 2\*\*61"):
        load(archive(b"}" + b"".join(parts)))
    with pytest.raises(fastnn.FormatError, match=r"key beyond 2\*\*61"):
        load(structured(json.dumps(["dict", [[key, 1] for key in keys]])))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", SMALL)
def test_cut_off_at_every_byte(name, tmp_path):
    content = SMALL[name]
    assert load(content) is not None
    for length in range(len(content)):
        with pytest.raises(fastnn.FormatError, match="load: BytesIO: "):
            load(content[:length])
        if length % 16 == 0:  # paths go through the safetensors library too
            path = tmp_path / name
            path.write_bytes(content[:length])
            with pytest.raises(fastnn.FormatError, match="load: /"):
                fastnn.load(path)


@pytest.mark.parametrize("name", SMALL)
def test_any_byte_may_be_any_other(name, tmp_path):
    """Random bits flipped, one to eight at a time; the seed is the number of the flip, to repeat one."""
    content = SMALL[name]
    path = tmp_path / name
    refused = 0
    for seed in range(FLIPS):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for place in rng.integers(0, 8 * len(content), rng.integers(1, 9)):
            damaged[place // 8] ^= 1 << (place % 8)
        try:
            load(bytes(damaged))
        except fastnn.FormatError:
            refused += 1
        if seed % 10 == 0:
            path.write_bytes(damaged)
            try:
                fastnn.load(path)
            except fastnn.FormatError:
                refused += 1
    assert refused > FLIPS / 2


@pytest.mark.parametrize("most", [8, 60])
def test_any_bytes_behind_a_good_beginning(most):
    beginnings = [content[:length] for content in SMALL.values() for length in (0, 4, 8, 60, len(content) // 2)]
    for seed in range(300):
        rng = np.random.default_rng(seed)
        for beginning in beginnings:
            with pytest.raises(fastnn.FormatError, match="load: BytesIO: "):
                load(beginning + rng.bytes(int(rng.integers(0, most))))


def test_records_within_records():
    """Entries of a zip that share bytes make a small file a large one."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as made:
        made.writestr("archive/data/1", bytes(64))
    content = bytearray(archive(b"N", [("data/0", inner.getvalue()), ("data/1", bytes(64))]))
    place = content.index(b"PK\x03\x04", content.index(b"archive/data/0"))
    assert content[place + 30 : place + 44] == b"archive/data/1"
    last = content.rindex(b"PK\x01\x02")
    content[last + 42 : last + 46] = struct.pack("<I", place)
    with pytest.raises(fastnn.FormatError, match="overlap"):
        load(bytes(content))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_records_are_never_unpacked(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("archive/data.pkl", b"\x80\x02N.")
        made.writestr("archive/data/0", bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(fastnn.FormatError, match="compressed or encrypted"):
            load(file.getvalue())
        assert tracemalloc.get_traced_memory()[1] < 2 * len(file.getvalue()) + 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(os.name == "nt", reason="no such files")
def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "link.safetensors").symlink_to("real")
    (tmp_path / "real").write_bytes(SMALL["weights.safetensors"])
    for name in ("zero", "pipe"):
        with pytest.raises(fastnn.FormatError, match="expected a regular file, got a device, a pipe or a socket"):
            fastnn.load(tmp_path / name)
    with pytest.raises(fastnn.FormatError, match="a file of 0 bytes"):
        fastnn.load(tmp_path / "empty")
    for name, error in (("nowhere", FileNotFoundError), ("loop", OSError), (".", IsADirectoryError)):
        with pytest.raises(error, match=r"Errno"):
            fastnn.load(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(tmp_path)  # the path of a socket must be short
        made.bind("socket")
        with pytest.raises(OSError, match=r"Errno"):
            fastnn.load("socket")
    assert fastnn.load(tmp_path / "link.safetensors")["a"].tolist() == [0, 1, 2]


CHILD = """
import json, pickle, resource, sys, zipfile
from pathlib import Path
import fastnn

folder = Path(sys.argv[1])
fastnn.load(folder / "good.pt")
fastnn.load(folder / "good.safetensors")
events = []
harmless = {"open", "object.__getattr__", "sys._getframe", "marshal.loads"}
sys.addaudithook(lambda event, arguments: event in harmless or events.append(event))
before, modules = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, set(sys.modules)
refused = 0
for path in sorted(folder.glob("bad*")):
    try:
        fastnn.load(path)
    except fastnn.FormatError:
        refused += 1
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([refused, after - before, events, sorted(set(sys.modules) - modules)]))
"""


def reduced(module, name, arguments):
    raw = arguments.encode()
    return f"c{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(raw)) + raw + b"\x85R"


@pytest.mark.skipif(os.name == "nt", reason="measures with getrusage")
def test_nothing_is_executed_or_allocated(tmp_path):
    """In a process of its own: what Python would tell an auditor, and the most memory that was ever resident."""
    canary = tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w')"
    huge = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    bad = [
        archive(reduced("os", "system", f"touch {canary}")),
        archive(reduced("posix", "system", f"touch {canary}")),
        archive(reduced("builtins", "exec", touch)),
        archive(reduced("builtins", "eval", touch)),
        archive(reduced("builtins", "__import__", "antigravity")),
        archive(reduced("subprocess", "getoutput", f"touch {canary}")),
        archive(reduced("torch._utils", "__builtins__", touch)),
        archive(reduced("torch", "load", str(canary))),
        archive(reduced("torch.nn.parameter", "Parameter", touch)),
        archive(reduced("collections", "OrderedDict", touch)),
        archive(b"(S'" + touch.encode() + b"'\nibuiltins\neval\n"),
        archive(b"cnumpy\ncore.multiarray.scalar\n)\x81"),
        framed(json.dumps({"x": huge}).encode()),
        struct.pack("<Q", 99_000_000) + b"{" + bytes(1000),
        struct.pack("<q", -1) + b"{}",
        archive(b"\x8e" + struct.pack("<Q", 1 << 40) + b"x"),
        archive(b"(" * 10_000),
    ]
    (tmp_path / "good.pt").write_bytes(SMALL["weights.pt"])
    (tmp_path / "good.safetensors").write_bytes(SMALL["weights.safetensors"])
    for number, content in enumerate(bad):
        (tmp_path / f"bad{number:02}").write_bytes(content)
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    refused, kilobytes, events, modules = json.loads(done.stdout.splitlines()[-1])
    assert refused == len(bad)
    assert kilobytes * (1 if sys.platform == "darwin" else 1024) < 4e6
    assert not {event for event in events if not event.startswith(("os.listdir", "os.scandir", "pathlib.", "glob."))}
    assert not modules
    assert not canary.exists()
