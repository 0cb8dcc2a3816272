import json
import runpy
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import environment, harness, report
from benchmarks.peers.case import StartCase, Unavailable, Work
from benchmarks.peers.harness import Comparison, Crew, PeerError, Plan, compare, take_turns
from benchmarks.peers.start import Start, start_time
from benchmarks.peers.statistics import Estimate
from benchmarks.peers.worker import Worker

FAKES = Path(__file__).with_name("fake_cases.py")
WEIGHTS, PAIR, CASE = runpy.run_path(str(FAKES))["CASES"]
PLAN = Plan(pairs=2, blocks=3, block_seconds=0.08, warm_up_seconds=0.02)


def run(peer, threads=1, plan=PLAN):
    return compare(str(FAKES), CASE, peer, threads, plan, peak=lambda dtype: {"float32": 2e9}[dtype])


def test_a_known_ratio(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    result = run("twice", threads=2)
    # A busy machine stretches both sides, so the bounds are wide.
    assert 1.4 < result.ratio.median < 2.8
    assert result.ratio.low <= result.ratio.median <= result.ratio.high
    assert result.holds
    assert result.share is None  # asked of one thread alone
    assert 0.02 <= result.ours < 0.06
    assert result.gflops == pytest.approx(CASE.flops / result.ours / 1e9)
    assert result.peak == pytest.approx(result.gflops / 4)
    sides = result.details["sides"]
    assert {side["threads"] for side in sides.values()} == {2}
    assert "numpy" in sides["twice"]["versions"]
    assert isinstance(sides["twice"]["pools"], list)
    assert result.details["environment_removed"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert [len(group) for group in result.details["ratios"]] == [3, 3]
    assert result.record()["holds"] is True


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        ("wrong", "result of fastnn and wrong differ, nothing was timed"),
        ("threads", r"threads must use 1 thread\(s\), it uses 7"),
        ("raises", "setup failed: ValueError: no such kernel"),
        ("dies", "the worker ended with status 3 in setup:\n.*a last word"),
    ],
)
def test_what_is_not_fair_is_not_measured(peer, text):
    with pytest.raises(PeerError, match=text):
        run(peer)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell CPU times of processes")
def test_a_side_that_never_sleeps_is_seen(monkeypatch):
    monkeypatch.setattr(harness, "_ASLEEP_SECONDS", 0.2)
    monkeypatch.setattr(harness, "_check_threads_used", lambda *_: None)
    result = run("never-sleeps", plan=Plan(pairs=1, blocks=1, block_seconds=0.05, warm_up_seconds=0.004))
    assert not result.quiet


def test_more_threads_than_asked_for_are_seen():
    harness._check_threads_used(CASE, "x", 1, {"busy": 1.0, "wall": 1.0, "seconds": 0.1})
    with pytest.raises(PeerError, match=r"x must use 1 thread\(s\), it used 1.90 CPUs"):
        harness._check_threads_used(CASE, "x", 1, {"busy": 1.9, "wall": 1.0, "seconds": 1.0})


def test_a_call_that_a_library_lacks_is_no_fault():
    with pytest.raises(Unavailable, match="no such function"):
        run("lacks")


def test_calling_costs_nothing():
    """What an empty call takes is taken off; a machine that is busy meanwhile stretches single blocks."""
    worker = Worker()
    worker.work = Work(run=lambda: None, verify=dict)
    blocks = [worker.block(calls=5000, warm_up=1e-4) for _ in range(20)]
    assert min(block["seconds"] / block["wall"] for block in blocks) < 0.5
    worker.work = Work(run=partial(time.sleep, 1e-3), verify=dict)
    block = worker.block(calls=10, warm_up=1e-3)
    assert 0.9 < block["seconds"] / block["wall"] < 1


def test_processes_may_be_kept():
    plan = Plan(pairs=1, blocks=1, block_seconds=0.03, warm_up_seconds=0.004)
    with Crew(keep=True) as crew:
        turns = [take_turns(str(FAKES), CASE, ("fastnn", "twice"), n, plan, crew=crew) for n in (1, 2)]
        workers = list(crew._kept.values())
        assert len(workers) == 2
        with pytest.raises(PeerError, match="a last word"):
            take_turns(str(FAKES), CASE, ("fastnn", "dies"), 1, plan, crew=crew)
        assert [worker.pid for worker in crew._kept.values()] == [workers[1].pid, workers[0].pid]
    assert [turn.details["sides"]["twice"]["threads"] for turn in turns] == [1, 2]
    assert not any(worker.alive for worker in workers)
    assert crew._kept == {}


def test_three_sides_take_turns():
    plan = Plan(pairs=1, blocks=3, block_seconds=0.03, warm_up_seconds=0.004)
    found = take_turns(str(FAKES), CASE, ("fastnn", "twice", "also"), 1, plan)
    assert [next(iter(this.seconds)) for this in found.rounds] == ["fastnn", "twice", "also"]
    assert all(len(this.seconds) == 3 for this in found.rounds)
    assert min(found.seconds("twice")) >= 0.04


@pytest.mark.parametrize(("share", "peak", "holds"), [(0.9, 0.91, True), (0.9, 0.89, False), (0.9, None, False)])
def test_a_share_of_the_peak_is_asked(share, peak, holds):
    ratio = Estimate(1.1, 1.1, 1.1)
    one = Comparison("x", "twice", 1, ratio, 1, 1, 1.0, 2.0, peak, True, None, share)
    assert one.holds is holds
    assert one.margin == pytest.approx((peak or 0) / share if not holds or peak / share < 1.1 else 1.1)
    assert peak is None or report.row(one)[-1] == f"{peak:.0%} (bar 90%)"


def test_bars_of_single_peers():
    case = replace(CASE, bar={"twice": 1.5})
    assert case.bar_against("twice") == 1.5
    assert case.bar_against("wrong") is None
    assert CASE.bar_against("wrong") == 1.0


def test_the_worst_rows_come_first(capsys):
    def result(name, bar, low):
        return Comparison(name, "x", 1, Estimate(low, low, low), 1, 1, bar, None, None, True, None)

    start = Start("start", Estimate(0.1, 0.1, 0.1), 0.2)  # takes half of what it may
    results = [result("well", 1.0, 3.0), result("free", None, 0.1), start, result("missed", 2.0, 1.5)]
    assert [r.case for r in report.worst_first(results)] == ["missed", "start", "well", "free"]
    report.show(results)
    assert "2 of 3 bars hold" in capsys.readouterr().out


def test_the_command_line(monkeypatch, tmp_path, capsys):
    case = replace(CASE, bar=None, share=None)
    monkeypatch.setattr(command, "declared", lambda: {"fake": (str(FAKES), case)})
    path = tmp_path / "r.json"

    def main(*words):
        monkeypatch.setattr("sys.argv", ["peers", *words])
        return command.main()

    quick = ("--quick", "--blocks", "1", "--threads", "1", "--json", str(path))
    assert main("fa*", *quick, "--against", "twice,lacks") == 0
    printed = capsys.readouterr()
    assert "left out: fake against lacks: no such function" in printed.err
    record = json.loads(path.read_text())
    (one,) = record["results"]
    assert (one["peer"], one["details"]["processes_kept"], one["details"]["plan"]["blocks"]) == ("twice", True, 1)
    assert record["left_out"] == {"fake against lacks": "no such function"}
    assert main("fake", *quick, "--against", "raises") == 1
    assert "not measured: fake against raises" in capsys.readouterr().err
    assert main("--list") == 0
    assert capsys.readouterr().out == "fake\n"
    with pytest.raises(SystemExit):
        main("other")
    assert "no case is called 'other'" in capsys.readouterr().err


def test_selection():
    known = ["a-1", "a-12", "a-2", "b-1"]
    assert command.select([], known) == known
    assert command.select(["a-1"], known) == ["a-1"]
    assert command.select(["a"], known) == ["a-1", "a-12", "a-2"]
    assert command.select(["*-1", "a-2", "b"], known) == ["a-1", "b-1", "a-2"]
    with pytest.raises(ValueError, match="no case is called 'c'"):
        command.select(["a", "c"], known)


def test_overrides_are_left_out(monkeypatch):
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "FASTNN_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("FASTNN_PEER_PYTHON", "/p")
    kept, removed = environment.without_overrides()
    assert {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"} <= removed.keys()
    assert "FASTNN_NUM_THREADS" in removed
    assert "PATH" in kept
    assert kept.keys().isdisjoint(removed)
    assert environment.interpreter(True) == "/p"
    assert environment.interpreter(False) != "/p"


def test_fewer_cpus_than_threads_are_told(monkeypatch):
    said = []
    monkeypatch.setattr(environment, "machine", lambda: {"affinity": 2})
    environment.warn_of_few_cpus([1, 2], said.append)
    assert said == []
    environment.warn_of_few_cpus([1, 4], said.append)
    assert said == ["only 2 of the CPUs may be used here: what is measured with 4 threads tells nothing"]


def test_start_times():
    case = StartCase("nap", "import time; time.sleep(0.6); print(1)", bar=10.0, minus="print(1)")
    result = start_time(case, runs=3)
    assert 0.4 < result.seconds.median < 2  # Python starts in 0.02 s, or in some tenths on a busy machine
    assert result.holds
    assert len(result.details["seconds"]) == 3
    assert result.others is None or result.others >= 0


def test_folders_of_start_times():
    """A kept folder is empty in the first run alone, which does not count; a fresh one always."""
    code = """
import os, time
path = os.environ["D"] + "/f"
if not os.path.exists(path):
    time.sleep(0.3)
open(path, "w").close()
print(1)
"""
    kept = start_time(StartCase("kept", code, 10.0, environment={"D": "{kept}"}), runs=2)
    fresh = start_time(StartCase("fresh", code, 10.0, environment={"D": "{fresh}"}), runs=2)
    assert fresh.seconds.low > 0.3
    assert kept.seconds.low < fresh.seconds.low


def test_a_program_that_fails():
    with pytest.raises(PeerError, match=r"(?s)bad: the program ended with status 1:.*KeyError: 'x'"):
        start_time(StartCase("bad", "print(1); {}['x']", 1.0), runs=1)


def test_report(tmp_path, capsys):
    result = run("twice")
    assert result.share == 0.9
    result.bar = 3.0
    report.show([result])
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert "twice" in printed
    report.save(tmp_path / "new" / "r.json", [result], {"machine": environment.machine()})
    assert '"holds": false' in (tmp_path / "new" / "r.json").read_text()


@pytest.mark.parametrize(("threads", "holds"), [(1, True), (2, False)])
def test_memory_is_weighed_and_bars_follow_threads(threads, holds):
    result = compare(str(FAKES), WEIGHTS, "twice", threads, PLAN)
    assert (result.ours, result.theirs, result.quantity) == (2e6, 4e6, "bytes")
    assert result.ratio == Estimate(2.0, 2.0, 2.0)
    assert result.holds is holds
    assert report.row(result)[3:5] == ("2 MB", "4 MB")


def test_neighbours_are_busy_and_threads_of_a_side_stay():
    result = compare(str(FAKES), PAIR, "alone", 2, replace(PLAN, pairs=1, blocks=1))
    assert {name: side["threads"] for name, side in result.details["sides"].items()} == {"fastnn": 2, "alone": 1}
    with environment.neighbours(1) as (pid,):
        before = environment.processor_seconds(pid)
        time.sleep(0.2)
        if before is not None:
            assert environment.processor_seconds(pid) > before
    assert environment.processor_seconds(pid) is None


def test_a_missed_bar_is_measured_again_where_the_case_allows():
    lows = [0.5, 0.6, 1.0, 1.0]

    def once():
        low = lows.pop(0)
        return Comparison(
            "x", "y", 2, Estimate(low, low, low), 1.0, 1.0, 1.0, None, None, True, None, details={"ratios": [[low]]}
        )

    found = command._measured(once, 2)
    assert found.holds
    assert found.details["before"] == [[[0.5]], [[0.6]]]
    lows = [0.5, 1.0]
    assert command._measured(once, 0).holds is False
    assert lows == [1.0]
