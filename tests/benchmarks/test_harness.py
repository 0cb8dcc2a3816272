import runpy
from pathlib import Path

import pytest

from benchmarks.peers import environment, harness, report
from benchmarks.peers.case import StartCase
from benchmarks.peers.harness import PeerError, Plan, compare
from benchmarks.peers.start import start_time

FAKES = Path(__file__).with_name("fake_cases.py")
(CASE,) = runpy.run_path(str(FAKES))["CASES"]
PLAN = Plan(pairs=2, blocks=3, block_seconds=0.08, warm_up_seconds=0.02)


def run(peer, threads=1, plan=PLAN):
    return compare(str(FAKES), CASE, peer, threads, plan, peak=lambda: 2e9)


def test_a_known_ratio(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    result = run("twice", threads=2)
    # A busy machine stretches both sides, so the bounds are wide.
    assert 1.4 < result.ratio.median < 2.8
    assert result.ratio.low <= result.ratio.median <= result.ratio.high
    assert result.holds
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
    harness._check_threads_used(CASE, "x", 1, {"busy": 1.0, "seconds": 1.0})
    with pytest.raises(PeerError, match=r"x must use 1 thread\(s\), it used 1.90 CPUs"):
        harness._check_threads_used(CASE, "x", 1, {"busy": 1.9, "seconds": 1.0})


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
    result.bar = 3.0
    report.show([result])
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert "twice" in printed
    report.save(tmp_path / "new" / "r.json", [result], {"machine": environment.machine()})
    assert '"holds": false' in (tmp_path / "new" / "r.json").read_text()
