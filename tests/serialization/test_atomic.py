import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from fastnn.serialization import atomic
from fastnn.serialization.atomic import write_whole


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"one", memoryview(b"two"))
    assert path.read_bytes() == b"onetwo"
    os.chmod(path, 0o640)
    write_whole(str(path), b"")
    assert path.read_bytes() == b""
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_new_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    write_whole(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"x"


def test_long_names(tmp_path):
    write_whole(tmp_path / ("n" * 255), b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_scratch_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    target = tmp_path / "file"
    handle, living = atomic._scratch(target)
    dead_handle, dead = atomic._scratch(target)
    os.close(dead_handle)
    others = [
        tmp_path / ".file-backup",
        tmp_path / f".file-{'x' * 9}{atomic.SUFFIX}",
        tmp_path / f".other-12345678{atomic.SUFFIX}",
    ]
    for other in others:
        other.write_bytes(b"")
    write_whole(target, b"x")
    assert living.exists()
    assert not dead.exists()
    assert all(other.exists() for other in others)
    os.close(handle)
    write_whole(target, b"y")
    assert not living.exists()


def test_a_scratch_file_taken_for_stale_is_made_anew(tmp_path, monkeypatch):
    lock, taken = fcntl.flock, []

    def steal(handle, how):
        if not taken:
            (scratch,) = tmp_path.iterdir()
            scratch.unlink()
            taken.append(scratch)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", steal)
    write_whole(tmp_path / "file", b"x")
    assert taken
    assert os.listdir(tmp_path) == ["file"]


def test_systems_without_locks_and_modes(tmp_path, monkeypatch):
    replace, opened = os.replace, []

    def closed_first(source, target):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(opened[-1])
        replace(source, target)

    open_ = os.open
    monkeypatch.setattr(os, "open", lambda *args, **options: opened.append(open_(*args, **options)) or opened[-1])
    monkeypatch.setattr(os, "replace", closed_first)
    monkeypatch.setattr(atomic, "fcntl", None)
    monkeypatch.delattr(os, "fchmod")
    for content in (b"old", b"new"):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


KILLED = """
import os, sys
from fastnn.serialization import atomic
step, path = sys.argv[1:]
module, name = step.split(".")
real = getattr(os, name)
def stop(*args, **kwargs):
    if name == "write":
        real(args[0], bytes(args[1])[:3])
    print("ready", flush=True)
    import time; time.sleep(60)
setattr(os, name, stop)
atomic.write_whole(path, b"new " * 1000)
"""


@pytest.mark.parametrize("step", ["os.write", "os.fsync", "os.replace", "os.fchmod"])
def test_a_kill_leaves_the_old_file_and_the_next_save_cleans_up(step, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    process = subprocess.Popen([sys.executable, "-c", KILLED, step, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    assert len(os.listdir(tmp_path)) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert path.read_bytes() == b"old"
    write_whole(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("step", ["open", "write", "second write", "fsync", "replace"])
def test_what_the_system_refuses_is_told_and_nothing_is_lost(step, code, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    name = step.split()[-1]
    real = getattr(os, name)

    def refuse(*args, **options):
        if step == "second write" and len(args[1]) > 3:
            return real(args[0], args[1][:-3])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        with pytest.raises(OSError, match="1,000 bytes cannot be saved here, and what was here is as before") as caught:
            write_whole(path, b"x" * 900, b"y" * 100)
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_failures_leave_nothing_behind(tmp_path):
    with pytest.raises(FileNotFoundError, match="1 bytes cannot be saved here"):
        write_whole(tmp_path / "missing" / "file", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_savers_side_by_side_never_harm_each_other(tmp_path):
    code = (
        "import sys\n"
        "from fastnn.serialization.atomic import write_whole\n"
        "for i in range(60): write_whole(sys.argv[1], sys.argv[2].encode() * 2000)"
    )
    path = tmp_path / "file"
    write_whole(path, b"a" * 2000)
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "ab"]
    end = time.monotonic() + 60
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        assert path.read_bytes() in (b"a" * 2000, b"b" * 2000)
    assert [process.wait() for process in processes] == [0, 0]
    assert os.listdir(tmp_path) == ["file"]
