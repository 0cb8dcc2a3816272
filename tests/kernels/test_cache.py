import errno
import os
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest

from fastnn._kernels import cache
from fastnn._kernels.cache import Cache, refusal

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are POSIX's")
CONTENT = bytes(range(256)) * 8


@pytest.fixture
def store(tmp_path):
    tmp_path.chmod(0o700)
    return Cache(tmp_path)


def test_what_was_saved_is_loaded(store):
    assert store.load("kernel") is None
    store.save("kernel", CONTENT)
    store.save("empty", b"")
    assert store.load("kernel") == CONTENT
    assert store.load("empty") == b""
    assert sorted(path.name for path in store.directory.iterdir()) == ["empty", "kernel"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "nothing", "garbage", "another's"])
def test_damage_counts_as_missing_and_is_repaired(store, damage):
    store.save("kernel", CONTENT)
    path = store.directory / "kernel"
    data = path.read_bytes()
    versions = {
        "truncated": [data[:length] for length in range(0, len(data), 97)],
        "flipped": [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), 89)],
        "longer": [data + b"\0"],
        "nothing": [b""],
        "garbage": [os.urandom(5000)],
        "another's": [data],
    }
    for version in versions[damage]:
        name = "other" if damage == "another's" else "kernel"
        (store.directory / name).write_bytes(version)
        assert store.load(name) is None
        assert not (store.directory / name).exists()
        store.save(name, CONTENT)
        assert store.load(name) == CONTENT


@posix
def test_only_regular_files_are_read(store):
    outside = store.directory / "outside"
    store.save("outside", CONTENT)
    (store.directory / "link").symlink_to(outside)
    (store.directory / "folder").mkdir()
    os.mkfifo(store.directory / "pipe")
    for name in ("link", "folder", "pipe"):
        assert store.load(name) is None


@posix
@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_file_that_others_can_write_is_not_used(store, mode):
    store.save("kernel", CONTENT)
    (store.directory / "kernel").chmod(mode)
    assert store.load("kernel") is None


@posix
def test_a_file_of_another_user_is_not_used(store, monkeypatch):
    store.save("kernel", CONTENT)
    _give_away(store.directory / "kernel", monkeypatch)
    assert store.load("kernel") is None


def _give_away(path, monkeypatch):
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_directory_that_others_can_write_is_refused(tmp_path, mode):
    directory = tmp_path / "cache"
    directory.mkdir()
    directory.chmod(mode)
    assert "others can write" in refusal(directory)
    directory.chmod(0o755)
    assert refusal(directory) is None


@posix
def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    _give_away(directory, monkeypatch)
    assert "another user" in refusal(directory)


@posix
def test_parents_count_too(tmp_path):
    directory = tmp_path / "open" / "cache"
    directory.mkdir(parents=True, mode=0o700)
    (tmp_path / "open").chmod(0o777)
    assert "parent" in refusal(directory)
    (tmp_path / "open").chmod(0o1777)  # sticky, as /tmp
    assert refusal(directory) is None
    # The link's target is what counts.
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(directory)
    assert "parent" in refusal(tmp_path / "link")


def test_a_directory_is_made_for_its_owner_only(tmp_path):
    directory = tmp_path / "new" / "cache"
    old = os.umask(0)
    try:
        assert refusal(directory) is not None or os.name == "nt"  # its parent was made with the user's umask
    finally:
        os.umask(old)
    assert directory.is_dir()
    if os.name != "nt":
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_place_that_cannot_be_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file")
    assert refusal(tmp_path / "file" / "below")
    assert refusal(Path("/proc/no/such/place")) or os.name == "nt"


def _failing(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_read_only_directory_serves_and_warns_once(store, monkeypatch, code):
    store.save("old", CONTENT)
    monkeypatch.setattr(tempfile, "mkstemp", _failing(code))
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        store.save("new", CONTENT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.save("newer", CONTENT)
    assert store.load("old") == CONTENT
    assert store.load("new") is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    def full(prefix, dir):
        path = os.path.join(dir, prefix + "1")
        Path(path).write_bytes(b"part")
        return os.open("/dev/full", os.O_WRONLY), path

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        store.save("kernel", CONTENT)
    assert list(store.directory.iterdir()) == []


def test_a_directory_that_vanishes_is_survived(store):
    store.directory.rmdir()
    with pytest.warns(RuntimeWarning):
        store.save("kernel", CONTENT)
    assert store.load("kernel") is None
    with store.claims(["kernel"]) as ours:
        assert ours == ["kernel"]


def test_the_size_is_bounded_and_the_oldest_go_first(store):
    for number in range(10):
        store.save(f"k{number}", CONTENT)
        os.utime(store.directory / f"k{number}", (0, time.time() - 10 * 86_400 + number))
    assert store.load("k0") == CONTENT  # used: young again
    (store.directory / "tmp-dead").write_bytes(b"left by a killed process")
    (store.directory / "dead.lock").write_bytes(b"")
    for name in ("tmp-dead", "dead.lock"):
        os.utime(store.directory / name, (0, 0))
    (store.directory / "tmp-alive").write_bytes(b"being written")
    small = Cache(store.directory, limit=6 * len(CONTENT))
    small.save("new", CONTENT)
    left = {path.name for path in store.directory.iterdir()}
    assert {"k0", "new", "tmp-alive"} <= left
    assert not {"k1", "k2", "k3", "tmp-dead", "dead.lock"} & left
    assert sum(path.stat().st_size for path in store.directory.glob("k*")) <= small.limit


@pytest.mark.skipif(cache.fcntl is None, reason="needs file locks")
def test_a_claim_excludes_others(store):
    other = Cache(store.directory)
    with store.claims(["a", "b"]) as ours:
        assert ours == ["a", "b"]
        with other.claims(["b", "c"]) as theirs:
            assert theirs == ["c"]
        with other.claims(["b", "c"], everything=True) as theirs:
            assert theirs == ["b", "c"]
    with other.claims(["a", "b"]) as theirs:
        assert theirs == ["a", "b"]
    assert list(store.directory.iterdir()) == []


def test_without_a_directory_nothing_is_kept_and_nothing_fails():
    store = Cache(None)
    store.save("kernel", CONTENT)
    assert store.load("kernel") is None
    with store.claims(["kernel"]) as ours:
        assert ours == ["kernel"]


SCRIPT = """
import stat, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from fastnn._kernels import cache
    store = cache.shared()
    assert cache.shared() is store
store.save("kernel", b"content")
print(store.load("kernel"))
print(len(caught), *(str(w.message) for w in caught))
print(store.directory)
print(oct(stat.S_IMODE(store.directory.stat().st_mode)))
"""


def _run(**environment):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return result.stdout.splitlines()


@posix
def test_a_refused_directory_is_replaced_by_a_private_one_with_one_warning(tmp_path):
    tmp_path.chmod(0o777)
    loaded, warned, directory, mode = _run(FASTNN_CACHE_DIR=str(tmp_path))
    assert loaded == "b'content'"
    assert warned.startswith("1 ")
    assert "others can write" in warned
    assert str(tmp_path) in warned
    assert "FASTNN_CACHE_DIR" in warned
    assert mode == "0o700"
    assert not Path(directory).exists()  # removed at exit
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG directories are Linux's")
def test_the_default_directory(tmp_path):
    tmp_path.chmod(0o700)
    places = {"FASTNN_CACHE_DIR": "", "XDG_CACHE_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path / "home")}
    assert _run(**places)[1:3] == ["0", str(tmp_path / "xdg" / "fastnn")]
    places["XDG_CACHE_HOME"] = "relative/is/ignored"
    assert _run(**places)[2] == str(tmp_path / "home" / ".cache" / "fastnn")
