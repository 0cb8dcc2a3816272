import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastnn._kernels import cpu, jit, measure

LEVELS = {"avx512": (64, 32), "avx2": (32, 16), "generic": (16, 16)}


@pytest.fixture
def features(monkeypatch):
    """Pretend to be an x86 CPU with these features and return its target."""
    llvm = pytest.importorskip("llvmlite.binding")

    def pretend(wanted, *present):
        monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.FeatureMap(dict.fromkeys(present, True)))
        monkeypatch.setattr(cpu, "_architecture", lambda: "x86")
        monkeypatch.setenv("FASTNN_CPU", wanted)
        return cpu.own.__wrapped__()

    return pretend


AVX2 = ("avx", "avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")


@pytest.mark.parametrize(
    ("wanted", "present", "level"),
    [
        ("", AVX512, "avx512"),
        ("native", AVX512, "avx512"),
        ("native", AVX2, "avx2"),
        ("native", ("avx", "avx2"), "generic"),
        ("native", (), "generic"),
        ("AVX2", AVX512, "avx2"),
        ("generic", AVX512, "generic"),
    ],
)
def test_the_target_follows_the_features_and_the_override(features, wanted, present, level):
    target = features(wanted, *present)
    assert target.level == level
    assert (target.vector_bytes, target.registers) == LEVELS[level]
    assert target.fma == (level != "generic")
    assert target.lanes("float32") == 2 * target.lanes("float64") == target.vector_bytes // 4
    assert ("-prefer-256-bit" in target.features) == (level == "avx512")


@pytest.mark.parametrize(
    ("wanted", "message"), [("avx512", "cannot run it.*native, avx2, generic"), ("sse9", "no such")]
)
def test_a_target_that_cannot_be_is_refused(features, wanted, message):
    with pytest.raises(ValueError, match=f"FASTNN_CPU={wanted}: .*{message}"):
        features(wanted, *AVX2)


def test_the_target_of_this_machine():
    target = cpu.target()
    assert target.vector_bytes in (16, 32, 64)
    assert target.registers in (16, 32)
    assert cpu.target() is target


def test_other_targets_can_be_planned_for():
    own = cpu.target()
    identity = jit.surroundings()
    for architecture, levels in (("x86", LEVELS), ("arm", {"generic": (16, 32)})):
        for level, sizes in levels.items():
            target = cpu.known(architecture, level)
            assert (target.vector_bytes, target.registers) == sizes
            assert target.triple.endswith("-unknown-linux-gnu")
            with cpu.targeting(target), ThreadPoolExecutor(1) as pool:
                assert cpu.target() is target
                assert cpu.own() is own
                assert pool.submit(cpu.target).result() is own
                assert jit.surroundings.__wrapped__() == identity  # what the cache's names depend on
                with pytest.raises(ZeroDivisionError), cpu.targeting(own):
                    raise ZeroDivisionError(cpu.target() is own)
                assert cpu.target() is target
            assert cpu.target() is own


def test_cache_sizes_of_a_fake_tree(tmp_path):
    entries = [("Data", 1, "48K"), ("Instruction", 1, "32K"), ("Unified", 2, "2M"), ("Unified", 3, "300M")]
    for number, values in enumerate(entries):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in zip(("type", "level", "size"), values, strict=True):
            (folder / name).write_text(f"{value}\n")
    (tmp_path / "index4").mkdir()  # unreadable entries are left out
    assert cpu._linux_caches(tmp_path) == {1: 48 << 10, 2: 2 << 20, 3: 300 << 20}
    assert cpu._linux_caches(tmp_path / "nothing") == {}


def test_cache_sizes_are_guessed_where_the_system_is_silent(monkeypatch):
    monkeypatch.setattr(cpu, "_linux_caches", lambda root: {})
    monkeypatch.setattr(cpu, "_macos_caches", dict)
    assert cpu.caches.__wrapped__() == cpu.Caches(32 << 10, 512 << 10, 8 << 20)


def test_cache_sizes_of_this_machine():
    sizes = cpu.caches()
    assert 8 << 10 <= sizes.l1 <= sizes.l2 <= sizes.l3


MEASURE = """
import json, sys
from dataclasses import asdict
from fastnn._kernels import measure, jit
print(json.dumps(asdict(measure.measured())), jit._pool is None, "numba" in sys.modules)
"""


def test_peak_and_bandwidth_are_measured_once(tmp_path):
    tmp_path.chmod(0o700)
    run = functools.partial(subprocess.run, [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    first, second = (run(env=os.environ | {"FASTNN_CACHE_DIR": str(tmp_path)}).stdout for _ in range(2))
    text, _, rest = first.rpartition("} ")
    assert rest == "False False\n"
    assert second == text + "} True False\n"  # the same figures, nothing compiled
    figures = json.loads(text + "}")
    assert 1 < figures["peak_float64"] < figures["peak_float32"] < 1000
    assert 0.5 < figures["bandwidth"] < 1000


def test_a_fresh_measurement_keeps_the_better_figure(monkeypatch):
    figures = iter([10.0, 5.0, 3.0, 8.0, 6.0, 2.0])
    saved = {}

    class Store:
        load = staticmethod(saved.get)
        save = staticmethod(saved.__setitem__)

    monkeypatch.setattr(measure, "_known", None)
    monkeypatch.setattr(measure.cache, "shared", Store)
    monkeypatch.setattr(measure.jit, "prepare", lambda kernels: None)
    monkeypatch.setattr(measure, "_peak", lambda dtype: next(figures))
    monkeypatch.setattr(measure, "_bandwidth", lambda nbytes: next(figures))
    first = measure.measured()
    assert (first.peak_float32, first.peak_float64, first.bandwidth) == (10, 5, 3)
    assert measure.measured() is first
    fresh = measure.measured(fresh=True)
    assert (fresh.peak_float32, fresh.peak_float64, fresh.bandwidth) == (10, 6, 3)
    monkeypatch.setattr(measure, "_known", None)
    assert measure.measured() == fresh
