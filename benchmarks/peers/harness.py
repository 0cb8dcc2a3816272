"""Pairs the sides of a comparison: same work, same threads, block by block in turn.

a. Each side runs in a process of its own, so neither's threads, memory or settings reach the other. Only one computes
   at any time. Threads of OpenMP and OpenBLAS spin for up to 25 ms after their work and would take a core from whoever
   is timed next: so the harness waits until the side that has just worked uses no more CPU time.
b. Blocks of the two sides alternate, and so does the side that begins: what the machine does meanwhile (frequency,
   neighbours) meets both. A block begins with calls that are not timed. The ratio is taken of neighbouring blocks.
c. Results are compared before anything is timed. What a call of an empty Python function takes is measured beside
   each block and taken off on both sides: the harness calls through one, the libraries' users need not.
d. On a machine that others use too, blocks that they disturbed may be repeated. What is seen of the others decides,
   never the time that was measured.
e. Several fresh pairs of processes: memory layout and the like differ from process to process.
f. Memory is weighed once in each pair, before results are compared, as what was used before may be used again.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.case import Case, Unavailable
from benchmarks.peers.environment import (
    Watch,
    family_seconds,
    interpreter,
    neighbours,
    processor_seconds,
    without_overrides,
)
from benchmarks.peers.statistics import Estimate, estimate

_WORKER = Path(__file__).with_name("worker.py")
_PAUSE_SECONDS = 0.06  # more than the 25 ms that a pool spins
DISTURBED = 0.25  # CPUs taken by other processes; ticks of 10 ms do not show less in a block
_ASLEEP_SECONDS = 5.0  # how long to wait for a side that goes on computing


class PeerError(RuntimeError):
    """A comparison cannot be made, or would not be a fair one."""


@dataclass
class Plan:
    """How thoroughly to measure.

    Attributes
    ----------
    pairs, blocks : fresh pairs of processes (where processes are kept: times to set the sides up), and blocks of each
        side in a pair.
    block_seconds, warm_up_seconds : length of a block, and of the calls before it that are not timed.
    seed : of the inputs.
    patience : seconds a comparison may spend on repeating blocks in which other processes took CPUs.
    """

    pairs: int = 5
    blocks: int = 10
    block_seconds: float = 0.1
    warm_up_seconds: float = 0.02
    seed: int = 0
    patience: float = 0.0


@dataclass
class Comparison:
    """What one case gave against one peer.

    Attributes
    ----------
    ratio : time (or memory) of the peer over ours.
    ours, theirs : seconds a call (or bytes), median of the blocks.
    peak : our share of the measured FMA peak at these threads; None where it is unknown.
    share : what that share must reach; None: nothing is asked.
    quiet : whether, in every block, the other side used no CPU time.
    others : CPUs that further processes took during the blocks, mean; None where the system does not tell.
    """

    case: str
    peer: str
    threads: int
    ratio: Estimate
    ours: float
    theirs: float
    bar: float | None
    gflops: float | None
    peak: float | None
    quiet: bool
    others: float | None
    share: float | None = None
    quantity: str = "seconds"
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether all bars are reached; None without a bar."""
        verdicts = [] if self.bar is None else [self.ratio.reaches(self.bar)]
        if self.share is not None:
            verdicts.append(self.peak is not None and self.peak >= self.share)
        return all(verdicts) if verdicts else None

    @property
    def margin(self) -> float | None:
        """What was reached of what was asked, of the bar that is reached least; None without a bar."""
        found = [] if self.bar is None else [self.ratio.low / self.bar]
        if self.share is not None:
            found.append((self.peak or 0.0) / self.share)
        return min(found, default=None)

    def record(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "holds": self.holds}


@dataclass(frozen=True)
class Round:
    """A block of each side: seconds a call, whether each slept while another worked, CPUs that others took."""

    seconds: dict[str, float]
    quiet: bool
    others: float | None


class Process:
    """A worker process."""

    def __init__(self, python: str, environment: dict[str, str]) -> None:
        self.pools: list[dict[str, Any]] = []
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self._child = subprocess.Popen(
            # -P: the folder the harness was started from must not be searched for modules
            [python, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._child.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it has died: the missing answer says so
        line = self._child.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise PeerError(
                f"the worker ended with status {self._child.wait()} in {do}:\n{self._errors.read()[-2000:]}"
            )
        answer: dict[str, Any] = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "error" in answer:
            raise PeerError(f"{do} failed: {answer['error']}; {answer['where']}")
        return answer

    def wait_asleep(self) -> bool:
        """Wait until the process has stopped computing; says whether that was seen."""
        deadline = time.monotonic() + _ASLEEP_SECONDS
        before = processor_seconds(self.pid)
        while time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            now = processor_seconds(self.pid)
            if now is None:
                return False
            if now == before:
                return True
            before = now
        return False

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    def close(self) -> None:
        """End the process."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._errors.close()


class Crew:
    """Worker processes of the sides.

    Parameters
    ----------
    keep : let the same processes serve one comparison after the other, until the crew is closed. That saves most of
        the time, but what differs from process to process is then not seen.
    """

    def __init__(self, keep: bool = False) -> None:
        self.keep = keep
        self._kept: dict[tuple[str, str], Process] = {}
        self.environment, self.removed = without_overrides()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._kept.values():
            worker.close()
        self._kept.clear()

    @contextmanager
    def sides(
        self, module: str, case: Case, names: Sequence[str], threads: int, plan: Plan, details: dict[str, Any]
    ) -> Iterator[dict[str, Process]]:
        """Have the named sides of a case set up, one after the other, each in its process."""
        details["environment_removed"] = self.removed
        workers: dict[str, Process] = {}
        try:
            for name in names:
                python = interpreter(case.sides[name].peer_python)
                worker = workers[name] = self._kept.pop((name, python), None) or Process(python, self.environment)
                own = case.sides[name].threads or threads
                answer = worker.ask("setup", module=module, case=case.name, side=name, threads=own, seed=plan.seed)
                if answer["threads"] != own:
                    raise PeerError(f"{case.name}: {name} must use {own} thread(s), it uses {answer['threads']}")
                details["sides"][name] = {**answer, "interpreter": python}
            yield workers
            for name, worker in workers.items():
                details["sides"][name]["pools"] = worker.pools
        finally:
            for name, worker in workers.items():
                if self.keep and worker.alive:
                    self._kept[name, interpreter(case.sides[name].peer_python)] = worker
                else:
                    worker.close()


@dataclass
class Measurement:
    """What taking turns gave: the rounds of each set of processes, and what is recorded beside them."""

    groups: list[list[Round]]
    details: dict[str, Any]

    @property
    def rounds(self) -> list[Round]:
        """All rounds."""
        return [this for group in self.groups for this in group]

    def seconds(self, name: str) -> list[float]:
        """Seconds a call of a side, for each round."""
        return [this.seconds[name] for this in self.rounds]


def take_turns(
    module: str,
    case: Case,
    names: Sequence[str],
    threads: int,
    plan: Plan,
    *,
    crew: Crew | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Measurement:
    """Measure sides of a case, block by block in turn.

    Parameters
    ----------
    module : name or path of the module that holds the case, for the workers.
    names : the sides; all results must agree with the first one's.
    threads : compute threads of each side.
    crew : where the processes come from (default: fresh ones).
    say : told what is being done.
    """
    crew = Crew() if crew is None else crew
    groups: list[list[Round]] = []
    patience = plan.patience
    details: dict[str, Any] = {"plan": asdict(plan), "sides": {}, "repeated": 0, "processes_kept": crew.keep}
    for pair in range(plan.pairs):
        say(f"{case.name}: {' and '.join(names)}, {threads} thread(s), {pair + 1} of {plan.pairs}")
        with crew.sides(module, case, names, threads, plan, details) as workers:
            _check_results(case, names, workers)
            calls = _paces(workers, plan)
            kept: list[Round] = []
            while len(kept) < plan.blocks:
                first = (pair + len(kept)) % len(names)
                order = (*names[first:], *names[:first])
                began = time.monotonic()
                this = _round(case, {name: workers[name] for name in order}, calls, threads, plan)
                if this.others is not None and this.others > DISTURBED and patience > 0:
                    patience -= time.monotonic() - began
                    details["repeated"] += 1
                    continue
                kept.append(this)
        groups.append(kept)
    return Measurement(groups, details)


def compare(
    module: str,
    case: Case,
    peer: str,
    threads: int,
    plan: Plan,
    *,
    ours: str = "fastnn",
    peak: Callable[[str], float | None] = lambda dtype: None,
    crew: Crew | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare our side of a case with a peer.

    Parameters
    ----------
    module, threads, crew, say : as for `take_turns`.
    ours : name of our side (a stand-in, in the harness's own tests).
    peak : gives the FMA peak of one thread for an element type, in FLOP/s.
    """
    if case.quantity == "bytes":
        return _weighed(module, case, ours, peer, threads, plan, crew, say)
    found = take_turns(module, case, (ours, peer), threads, plan, crew=crew, say=say)
    groups = [[this.seconds[peer] / this.seconds[ours] for this in group] for group in found.groups]
    others = [this.others for this in found.rounds if this.others is not None]
    own = float(np.median(found.seconds(ours)))
    gflops = case.flops / own / 1e9 if case.flops else None
    roof = peak(case.dtype) if gflops else None
    return Comparison(
        case=case.name,
        peer=peer,
        threads=threads,
        ratio=estimate(groups),
        ours=own,
        theirs=float(np.median(found.seconds(peer))),
        bar=case.bar_against(peer, threads),
        gflops=gflops,
        peak=gflops * 1e9 / (roof * threads) if gflops and roof else None,
        quiet=all(this.quiet for this in found.rounds),
        others=float(np.mean(others)) if others else None,
        share=case.share if threads == 1 else None,
        details={**found.details, "ratios": groups},
    )


def _weighed(
    module: str, case: Case, ours: str, peer: str, threads: int, plan: Plan, crew: Crew | None,
    say: Callable[[str], None],
) -> Comparison:  # fmt: skip
    """Compare the memory that our side of a case and a peer need, in fresh processes."""
    crew = Crew() if crew is None or crew.keep else crew
    details: dict[str, Any] = {"plan": asdict(plan), "sides": {}}
    weights: dict[str, list[float]] = {ours: [], peer: []}
    for pair in range(plan.pairs):
        say(f"{case.name}: memory of {ours} and {peer}, {threads} thread(s), {pair + 1} of {plan.pairs}")
        with crew.sides(module, case, (ours, peer), threads, plan, details) as workers:
            for name, worker in workers.items():
                weights[name].append(worker.ask("weigh")["bytes"])
            _check_results(case, (ours, peer), workers)
    groups = [[theirs / own] for own, theirs in zip(weights[ours], weights[peer], strict=True)]
    return Comparison(
        case=case.name,
        peer=peer,
        threads=threads,
        ratio=estimate(groups),
        ours=float(np.median(weights[ours])),
        theirs=float(np.median(weights[peer])),
        bar=case.bar_against(peer, threads),
        gflops=None,
        peak=None,
        quiet=True,
        others=None,
        quantity=case.quantity,
        details={**details, "ratios": groups},
    )


def _paces(workers: dict[str, Process], plan: Plan) -> dict[str, int]:
    """Find how many calls make a block of each side."""
    calls = {}
    for name, worker in workers.items():
        pace = worker.ask("warm_up", seconds=plan.warm_up_seconds * 2)["seconds"]
        calls[name] = max(1, round(plan.block_seconds / pace))
        worker.wait_asleep()
    return calls


def _round(case: Case, workers: dict[str, Process], calls: dict[str, int], threads: int, plan: Plan) -> Round:
    """Time one block of each side, in the order given."""
    seconds, quiet, others = {}, True, []
    for name, worker in workers.items():
        idle = [other.pid for other in workers.values() if other is not worker]
        before = [processor_seconds(pid) for pid in idle]
        with neighbours(case.neighbours) as busy:
            watch = Watch(partial(_together, (worker.pid, *busy)))
            answer = worker.ask("block", calls=calls[name], warm_up=plan.warm_up_seconds)
            others.append(watch.others())
        quiet &= [processor_seconds(pid) for pid in idle] == before
        _check_threads_used(case, name, case.sides[name].threads or threads, answer)
        seconds[name] = answer["seconds"] / calls[name]
        quiet &= worker.wait_asleep()
    seen = [share for share in others if share is not None]
    return Round(seconds, quiet, max(seen) if seen else None)


def _together(pids: Sequence[int]) -> float | None:
    """CPU time of processes and those that they have started."""
    parts = [family_seconds(pid) for pid in pids]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _check_results(case: Case, names: Sequence[str], workers: dict[str, Process]) -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, worker in workers.items():
            path = Path(folder, f"{name}.npz")
            worker.pools = worker.ask("verify", path=str(path))["pools"]
            with np.load(path) as arrays:
                results[name] = dict(arrays)
    ours, *peers = names
    for peer in peers:
        if results[ours].keys() != results[peer].keys():
            raise PeerError(f"{case.name}: {ours} gives {sorted(results[ours])}, {peer} gives {sorted(results[peer])}")
        for key, value in results[ours].items():
            try:
                np.testing.assert_allclose(value, results[peer][key], case.rtol, case.atol)
            except AssertionError as error:
                raise PeerError(f"{case.name}: {key} of {ours} and {peer} differ, nothing was timed:{error}") from None


def _check_threads_used(case: Case, name: str, threads: int, answer: dict[str, Any]) -> None:
    """Using more CPU time than the threads could have is proof of more threads."""
    if answer["busy"] > 1.05 * threads * answer["wall"] + 0.02:
        raise PeerError(
            f"{case.name}: {name} must use {threads} thread(s), it used {answer['busy'] / answer['wall']:.2f} CPUs"
        )
