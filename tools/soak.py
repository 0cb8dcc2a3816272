"""Hard times for a training run: kills while it saves, disks that take nothing, hours at work.

    soak.py [kills] [disk] [steady] [replays] [--kills N] [--seconds S] [--replays N] [--seed N]

kills   A process that saves is killed (SIGKILL) at drawn moments of its saves, `fastnn.save` and a run's checkpoints N
        times each. After each kill the file is the whole old one or the whole new one, to the bit, and what the killed
        save left behind is gone after the next one.
disk    A full disk, a read-only one and a limit on the size of files, under both ways of saving: the error names the
        file, the old file stays, and the run goes on from it. Needs the right to mount; without it the first two are
        done by system calls that fail.
steady  Training with loader threads, checkpoints and predictions for S seconds. After the first three rounds, the
        number of threads and of open files must be the same between rounds; of the resident memory, the median over
        the last quarter of the rounds may exceed that over the second quarter by 1% or 4 MB, whichever is more.
replays N replays of a compiled training step, with few sizes and sizes that come once, in training and evaluation,
        with changing hyper-parameters, layers and numbers of threads. Judged as `steady`; after it all is let go.

Without names, all four. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import hashlib
import mmap
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn
from fastnn.data import DataLoader
from fastnn.serialization.atomic import SUFFIX
from fastnn.training import Call, Checkpoint, CheckpointError
from fastnn.training.checkpoint import BEST, LAST
from fastnn.training.checkpoint import load as load_run

STEPS = 600  # of the run that is killed; then it starts anew
BATCH, SAMPLES = 8, 96


class Failed(Exception):
    """Something that must hold does not."""


def require(holds: bool, what: str) -> None:
    """Raise `Failed` where something does not hold."""
    if not holds:
        raise Failed(what)


# ------------------------------------------------------------------------------------------------ what is saved


def tree(number: int) -> dict[str, Any]:
    """Something to save, all of whose parts follow from a number."""
    values = np.random.default_rng(number).random(40_000, dtype="float32")
    return {"number": number, "values": values, "words": [str(number)] * 1000, "more": {"square": number * number}}


def check_tree(path: Path) -> int:
    """The number of a saved tree; `Failed` if any part is not that number's."""
    found = fastnn.load(path)
    expected = tree(found["number"])
    require(np.array_equal(found.pop("values").numpy(), expected.pop("values")), f"{path} holds other values")
    require(found == expected, f"{path} holds other words")
    return int(expected["number"])


def digest(state: dict[str, Any]) -> str:
    """What the parameters are, to the bit."""
    made = hashlib.sha256()
    for name, value in state.items():
        made.update(name.encode() + np.ascontiguousarray(value.numpy()).tobytes())
    return made.hexdigest()


def train(callbacks: Any, resume: Any = False, steps: int = STEPS) -> None:
    """The run that is killed: always the same data, order and first parameters."""
    rng = np.random.default_rng(5)
    x = rng.random((SAMPLES, 64), dtype="float32")
    fastnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Dropout(0.2), nn.Linear(128, 64))
    fastnn.fit(
        model,
        (x, x),
        loss="mse",
        optimizer="adam",
        epochs=-(-steps // (SAMPLES // BATCH)),
        batch_size=BATCH,
        seed=None if resume else 3,
        callbacks=callbacks,
        resume=resume,
        verbose=False,
    )


def undisturbed(steps: int = STEPS) -> list[str]:
    """Digest of the parameters after 0, 1, 2, ... updates of a run that nothing happens to."""
    found = ["none"]

    class Note(Checkpoint):
        def on_start(self, run: Any) -> None:
            """Nothing is kept."""

        def on_batch(self, run: Any) -> None:
            found.append(digest(run.model.state_dict()))

        def on_epoch(self, run: Any, epoch: Any) -> None:
            """Nothing is kept."""

    train(Note("unused"), steps=steps)
    return found


# ------------------------------------------------------------------------------------------------ kills


class Progress:
    """How far a child is: numbers that it shares with its parent, and that its death leaves behind."""

    def __init__(self) -> None:
        self.numbers = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64)[:4]

    @contextlib.contextmanager
    def saving(self, number: int) -> Iterator[None]:
        """While the context lasts, `number` is being saved."""
        start = time.monotonic_ns()
        self.numbers[0], self.numbers[2] = number, 1
        yield
        self.numbers[1], self.numbers[2], self.numbers[3] = number, 0, time.monotonic_ns() - start

    @property
    def begun(self) -> int:
        """The latest number whose save has begun."""
        return int(self.numbers[0])

    @property
    def done(self) -> int:
        """The latest number whose save has ended."""
        return int(self.numbers[1])

    @property
    def inside(self) -> bool:
        """Whether a save was going on."""
        return bool(self.numbers[2])

    @property
    def seconds(self) -> float:
        """How long the latest whole save took."""
        return float(self.numbers[3]) / 1e9

    def restart(self, number: int) -> None:
        """Begin again after a child's death, from the number that its file holds."""
        self.numbers[:3] = number, number, 0


class BareSaves:
    """`fastnn.save` to one path, again and again."""

    name, targets, names = "fastnn.save", ("tree",), ("tree",)

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress

    def child(self) -> None:
        """Save one number after the other, on from what is there."""
        for number in range(self.progress.done + 1, sys.maxsize):
            made = tree(number)
            with self.progress.saving(number):
                fastnn.save(made, self.folder / "tree")

    def check(self) -> int:
        """The number that the file holds."""
        return check_tree(self.folder / "tree")

    def start_anew(self, number: int) -> bool:
        """Whether there is nothing left to do."""
        return False


class Checkpoints:
    """The checkpoints of a run, after each update and each epoch."""

    name, targets, names = "checkpoints", (LAST,), (LAST, BEST)

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        self.expected = undisturbed()

    def child(self) -> None:
        """Go on from the last checkpoint."""
        progress = self.progress

        class Watched(Checkpoint):
            def on_batch(self, run: Any) -> None:
                with progress.saving(run.step):
                    super().on_batch(run)

            def on_epoch(self, run: Any, epoch: Any) -> None:
                with progress.saving(run.step):
                    super().on_epoch(run, epoch)

        train(Watched(self.folder, every=1), self.folder if (self.folder / LAST).exists() else False)

    def check(self) -> int:
        """The number of updates after which the last checkpoint was made; the best one is checked as well."""
        steps = []
        for path in (self.folder / LAST, self.folder / BEST):
            if path == self.folder / LAST or path.exists():
                record = load_run(path)
                steps.append(record["place"]["step"])
                require(digest(record["model"]) == self.expected[steps[-1]], f"{path}: other bits at step {steps[-1]}")
        return int(steps[0])

    def start_anew(self, number: int) -> bool:
        """Whether there is little left to do."""
        return number > STEPS - 40


def kills(kind: type[BareSaves] | type[Checkpoints], count: int, seed: int, folder: Path) -> str:
    """Kill a saving process until `count` kills fell into a save."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    progress = Progress()
    job = kind(folder, progress)
    start, killed, inside, old, left = time.monotonic(), 0, 0, 0, 0
    leftovers: set[str] = set()
    while inside < count:
        require(killed < 20 * count + 20, f"{killed} kills, of which only {inside} fell into a save")
        before = progress.done
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                job.child()
            os._exit(1)
        kill_in_a_save(child, progress, rng)
        killed += 1
        inside += progress.inside
        there = {name for name in os.listdir(folder) if name.endswith(SUFFIX)}
        others = sorted({*os.listdir(folder)} - there - {*job.names})
        require(not others, f"{others} lie beside the files")
        for name in job.names:
            mine = {part for part in there if part.startswith(f".{name}-")}
            require(len(mine) <= 1 or name not in job.targets, f"{sorted(mine)} were left behind")
            if progress.done > before and name in job.targets:
                require(not mine & leftovers, f"{sorted(mine & leftovers)} outlived a later save")
        left += bool(there)
        leftovers = there
        if not (folder / job.targets[0]).exists():
            require(progress.done == 0, f"{job.targets[0]} is gone after save {progress.done}")
            continue
        number = job.check()
        require(
            number in (progress.done, progress.begun),
            f"the file holds {number}; {progress.done} was saved, {progress.begun} begun",
        )
        old += progress.inside and number != progress.begun
        progress.restart(number)
        if job.start_anew(number):
            shutil.rmtree(folder)
            folder.mkdir()
            progress.restart(0)
            leftovers = set()
    return (
        f"{job.name}: {killed} kills in {time.monotonic() - start:.0f} s, {inside} of them within a save: {old} left "
        f"the old file, {inside - old} the new one; {left} left a scratch file, which the next save removed"
    )


def kill_in_a_save(child: int, progress: Progress, rng: np.random.Generator) -> None:
    """Kill a child at a drawn moment of one of its first saves."""
    goal = progress.begun + 1 + int(rng.integers(0, 3))
    end = time.monotonic() + 120
    while progress.begun < goal:
        require(time.monotonic() < end, "the child does not get on")
        require(os.waitpid(child, os.WNOHANG) == (0, 0), "the child ended by itself")
        time.sleep(0.0001)
    time.sleep(float(rng.uniform(0, 1.1 * progress.seconds)))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    require(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"the child ended with {status}")


# ------------------------------------------------------------------------------------------------ disks


def refused(path: Path, number: int, code: int) -> None:
    """Try to save a tree where it cannot be: the error is told, the old file stays, nothing is left behind."""
    before = sorted(os.listdir(path.parent))
    old = check_tree(path)
    try:
        fastnn.save(tree(number), path)
    except OSError as error:
        require(error.errno == code and error.filename == str(path), f"expected {errno.errorcode[code]}, got {error!r}")
    else:
        raise Failed(f"a save that must fail with {errno.errorcode[code]} did not")
    require(check_tree(path) == old, f"{path} is not what it was")
    require(sorted(os.listdir(path.parent)) == before, f"{os.listdir(path.parent)} after {before}")


def broken_off(folder: Path, trouble: Callable[[], contextlib.AbstractContextManager[None]], code: int) -> None:
    """Let trouble come over a run that keeps checkpoints; it ends, and goes on from the last one to the same bits."""
    expected = undisturbed(36)
    around = contextlib.ExitStack()
    try:
        with around:
            train(
                [
                    Call(lambda run: around.enter_context(trouble()) and None if run.step == 20 else None, "batch"),
                    Checkpoint(folder, every=1),
                ],
                steps=36,
            )
    except OSError as error:
        wanted = str(folder / LAST)
        require(error.errno == code and error.filename == wanted, f"expected {errno.errorcode[code]}, got {error!r}")
    else:
        raise Failed(f"a run that must fail with {errno.errorcode[code]} did not")
    require(load_run(folder / LAST)["place"]["step"] == 19, "the checkpoint is not that before the trouble")
    require(sorted(os.listdir(folder)) == sorted([LAST, BEST]), f"{os.listdir(folder)}")
    found = []
    train(
        [Call(lambda run: found.append(digest(run.model.state_dict())), "batch"), Checkpoint(folder, every=1)],
        folder,
        steps=36,
    )
    require(found == expected[20:], "the run that went on has other bits")


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[bool]:
    """A small disk of its own at `folder`, where this process may mount; whether it may."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = mount is not None and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def failing(name: str, code: int) -> Iterator[None]:
    """A system call fails; of those that open files, those that make one."""
    real = getattr(os, name)

    def fail(*args: Any, **options: Any) -> Any:
        if name == "open" and not args[1] & os.O_CREAT:
            return real(*args, **options)
        raise OSError(code, os.strerror(code))

    setattr(os, name, fail)
    try:
        yield
    finally:
        setattr(os, name, real)


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No room on the disk of `folder`."""
    filler = folder.parent / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """The disk is mounted read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@contextlib.contextmanager
def limited_files() -> Iterator[None]:
    """No file may grow beyond 64 KB; Python ignores the signal that comes with it."""
    require(signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN, "SIGXFSZ is not ignored")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def disk(folder: Path) -> str:
    """Both ways of saving on disks that take nothing."""
    with mounted(folder) as may_mount:
        troubles: list[tuple[str, Callable[[], contextlib.AbstractContextManager[None]], int]] = [
            ("limit", limited_files, errno.EFBIG)
        ]
        if may_mount:
            troubles += [
                ("full", lambda: filled(folder / "full"), errno.ENOSPC),
                ("read-only", lambda: read_only(folder), errno.EROFS),
            ]
        else:
            troubles += [
                ("full", lambda: failing("write", errno.ENOSPC), errno.ENOSPC),
                ("read-only", lambda: failing("open", errno.EROFS), errno.EROFS),
            ]
        for name, trouble, code in troubles:
            place = folder / name
            place.mkdir()
            fastnn.save(tree(1), place / "tree")
            with trouble():
                refused(place / "tree", 2, code)
            fastnn.save(tree(3), place / "tree")
            require(check_tree(place / "tree") == 3, "the save after the trouble is not there")
            broken_off(place / "run", trouble, code)
            shutil.rmtree(place)
    how = "a disk of its own" if may_mount else "failing system calls"
    return f"disk ({how}): full, read-only, limited files: told, nothing lost, and the run went on to the same bits"


# ------------------------------------------------------------------------------------------------ steady work


def resident() -> int:
    """Bytes of memory that are in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


class Held:
    """What the process holds, noted again and again."""

    def __init__(self) -> None:
        self.memory: list[int] = []
        self.threads: list[int] = []
        self.files: list[int] = []

    def note(self) -> None:
        """Note memory, threads and open files."""
        self.memory.append(resident())
        self.threads.append(len(os.listdir("/proc/self/task")))
        self.files.append(len(os.listdir("/proc/self/fd")))

    def judged(self, what: str) -> str:
        """Words about it; `Failed` where it is not level."""
        quarter = len(self.memory) // 4
        second = statistics.median(self.memory[quarter : 2 * quarter])
        last = statistics.median(self.memory[-quarter:])
        told = (
            f"{what}; resident memory {second / 1e6:.1f} MB in the second quarter, {last / 1e6:.1f} MB in the last; "
            f"threads {sorted(set(self.threads))}, open files {sorted(set(self.files))}"
        )
        require(len(set(self.threads)) == 1, f"the number of threads is not level. {told}")
        require(len(set(self.files)) == 1, f"the number of open files is not level. {told}")
        require(last - second <= max(4e6, 0.01 * second), f"memory grows. {told}")
        return told


class Items:
    """A dataset of items that a loader's threads make."""

    def __len__(self) -> int:
        return 512

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.random.default_rng(index).random(64, dtype="float32")
        return x, x[:10] * 2


def steady(seconds: float, folder: Path) -> str:
    """Train, keep and predict, round after round, and watch what the process holds."""
    folder.mkdir()
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = fastnn.optim.Adam(model.parameters())
    x = np.random.default_rng(1).random((1000, 64), dtype="float32")
    held = Held()
    start, rounds, steps = time.monotonic(), 0, 0
    while time.monotonic() < start + seconds or rounds < 3 + 8:
        loader = DataLoader(Items(), batch_size=16, shuffle=True, num_workers=2, seed=rounds)
        keep = Checkpoint(folder, every=8)
        history = fastnn.fit(
            model, loader, loss="mse", optimizer=optimizer, epochs=2, validation=(x, x[:, :10]), callbacks=keep,
            verbose=False,
        )  # fmt: skip
        require(bool(np.isfinite(history.epochs[-1].values["loss"])), "the loss is no number")
        # few sizes: what is kept for each is bounded at a thousand, which would grow for most of the time
        predicted = fastnn.predict(model, x[: 25 * (1 + rounds % 40)])
        require(bool(np.isfinite(predicted).all()), "a prediction is no number")
        load_run(folder / LAST)
        fastnn.save(model.state_dict(), folder / "weights")
        fastnn.load(folder / "weights")
        rounds += 1
        steps += 2 * len(loader)
        if rounds > 3:  # what is made once is there
            held.note()
    return held.judged(f"steady: {rounds} rounds, {steps:,} updates in {time.monotonic() - start:.0f} s")


class Changing:
    """A model, its optimizer and a compiled step, that are changed between calls."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(2)
        self.model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 5))
        self.optimizer = fastnn.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.step = fastnn.compile(self._step)

    def _step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()

    def train(self, count: int) -> None:
        """Some calls, of four sizes; now and then of one that comes once."""
        for i in range(count):
            n = (32, 32, 32, 17, 8, 1)[i % 6] if i % 100 else int(self.rng.integers(33, 200))
            x = self.rng.random((n, 20), dtype="f4")
            loss = self.step(x, self.rng.integers(0, 5, n)).item()
            require(bool(np.isfinite(loss)), "the loss is no number")

    def change(self, number: int) -> None:
        """Switch the mode, a hyper-parameter, a layer, the number of threads."""
        self.model.train(number % 3 != 0)
        self.optimizer.param_groups[0].update(lr=1e-3 / (1 + number % 5), weight_decay=0.01 * (number % 2))
        if number % 7 == 0:
            self.model[1] = nn.Tanh() if number % 2 else nn.ReLU()
        if number % 11 == 0:
            fastnn.set_num_threads(1 + number % 2)


def replays(count: int) -> str:
    """Repeat a compiled step under changes, and watch what the process holds."""
    changing = Changing()
    threads = fastnn.get_num_threads()
    held, start = Held(), time.monotonic()
    rounds = max(40, min(1000, count // 100))
    for number in range(rounds):
        changing.change(number)
        changing.train(max(1, count // rounds))
        plans = sum(map(len, changing.step.plans.values()))
        require(plans <= 16, f"{plans} plans are kept")
        if number >= rounds // 8:
            held.note()
    fastnn.set_num_threads(threads)
    gone = [weakref.ref(changing), weakref.ref(changing.step), weakref.ref(changing.model)]
    del changing
    gc.collect()
    require(all(reference() is None for reference in gone), "the step is still held by something")
    return held.judged(f"replays: {count:,} in {time.monotonic() - start:.0f} s")


def main() -> int:
    """Run the named parts; 1 if something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="kills, disk, steady, replays (default: all)")
    parser.add_argument("--kills", type=int, default=1000, help="kills within a save, of each way to save")
    parser.add_argument("--seconds", type=float, default=600, help="of steady work")
    parser.add_argument("--replays", type=int, default=100_000, help="calls of a compiled step")
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: drawn)")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4), "little") if options.seed is None else options.seed
    parts = options.parts or ["kills", "disk", "steady", "replays"]
    if unknown := {*parts} - {"kills", "disk", "steady", "replays"}:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    # from 3.12 on Python warns where a process with threads forks; those that there are now only wait
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        try:
            if "kills" in parts:
                with fastnn.threads(1):
                    for kind in (BareSaves, Checkpoints):
                        print(kills(kind, options.kills, seed, folder / kind.__name__), flush=True)
            if "disk" in parts:
                print(disk(folder / "disk"), flush=True)
            if "steady" in parts:
                print(steady(options.seconds, folder / "steady"), flush=True)
            if "replays" in parts:
                print(replays(options.replays), flush=True)
        except (Failed, fastnn.FormatError, CheckpointError) as failure:
            print(f"FAILED (seed {seed}): {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
