import importlib.util
import json

import pytest

from benchmarks.figures import convolutions, matmul, steps
from benchmarks.peers.case import Case


def test_the_grid():
    assert matmul.SIZES[0] == 8
    assert matmul.SIZES[-1] == 4096
    assert matmul.SIZES[::2] == [2**i for i in range(3, 13)]
    cases = {case.name: case for case in matmul.CASES}
    assert len(cases) == len(matmul.SHAPES) * len(matmul.SIZES)
    assert cases["square-724"].flops == 2 * 724**3
    assert cases["tall-4096"].flops == 2 * 4096 * 64 * 64
    assert cases["flat-4096"].flops == 2 * 64 * 4096 * 4096
    assert all(isinstance(case, Case) and case.sides.keys() == matmul.LIBRARIES.keys() for case in cases.values())


def test_a_small_figure(tmp_path):
    path = tmp_path / "new" / "figure.svg"
    quick = ["--pairs", "1", "--blocks", "1", "--seconds", "0.001", "--threads", "1", "--libraries", "fastnn,numpy"]
    matmul.main(["--out", str(path), "--largest", "8", *quick])
    numbers = json.loads(path.with_suffix(".json").read_text())
    assert {(p["shape"], p["n"], p["threads"], p["library"]) for p in numbers["points"]} == {
        (shape, 8, 1, library) for shape in ("square", "tall", "flat") for library in ("fastnn", "numpy")
    }
    assert all(0 < p["quartiles"][0] <= p["gflops"] <= p["quartiles"][1] for p in numbers["points"])
    assert numbers["peak_of_one_thread"] > 0
    assert numbers["versions"].keys() == {"fastnn", "numpy"}
    first = path.read_bytes()
    matmul.main(["--out", str(path), "--redraw"])
    assert path.read_bytes() == first


def test_what_is_drawn():
    """A line for each library that was measured, in every panel, and the roof of that many threads."""
    points = [
        {"shape": shape, "n": n, "threads": threads, "library": library, "gflops": threads * speed + n}
        for shape in matmul.SHAPES
        for n in (8, 11, 16)
        for threads in (1, 4)
        for library, speed in {"fastnn": 50.0, "torch": 25.0}.items()
    ]
    figure = matmul.compose({"peak_of_one_thread": 100.0, "points": points})
    assert len(figure.axes) == 6
    for axes, threads in zip(figure.axes, (1, 1, 1, 4, 4, 4), strict=True):
        roof, torch, fastnn = axes.get_lines()
        assert set(roof.get_ydata()) == {100.0 * threads}
        for line, speed, label in ((torch, 25.0, "PyTorch"), (fastnn, 50.0, "fastnn")):
            assert line.get_label() == label
            assert list(line.get_xdata()) == [8, 11, 16]
            assert list(line.get_ydata()) == [threads * speed + n for n in (8, 11, 16)]
        assert axes.get_xscale() == "log"
        assert axes.get_ylim()[0] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fastnn", "PyTorch", "FMA peak, measured"]
    assert len(matmul.compose({"peak_of_one_thread": None, "points": points}).axes[0].get_lines()) == 2


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--libraries", "fastnn,blas"], "takes fastnn, numpy, torch, got 'blas'"),
        (["--largest", "7"], "--largest at least 8"),
        (["--threads", "0"], "must be positive"),
    ],
)
def test_bad_options(given, text, capsys):
    with pytest.raises(SystemExit):
        matmul.main(given)
    assert text in capsys.readouterr().err


def points_of_steps(microseconds):
    """Points of both panels, with a time a library, a size and a number of threads."""
    return [
        {
            "panel": panel,
            "n": n,
            "threads": threads,
            "library": library,
            "microseconds": microseconds(library, n, threads),
            "flops": 1e6 * n,
        }
        for panel in steps.SIZES
        for n in (8, 16, 32)
        for threads in (1, 2)
        for library in steps.LIBRARIES
    ]


def test_the_sizes_of_steps():
    cases = {case.name: case for case in steps.CASES}
    assert len(cases) == sum(map(len, steps.SIZES.values()))
    assert cases["batch-32"].flops == 2 * 32 * (2 * 784 * 128 + 3 * 128 * 10)
    assert cases["width-4096"].flops == 2 * 64 * (5 * 4096**2 + 3 * 4096 * 10)
    assert all(steps.LIBRARIES.keys() <= case.sides.keys() for case in cases.values())


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is missing")
def test_a_small_figure_of_steps(tmp_path):
    path = tmp_path / "figure.svg"
    steps.main(["--out", str(path), "--largest", "8", "--pairs", "1", "--blocks", "1", "--seconds", "0.001",
                "--threads", "1"])  # fmt: skip
    numbers = json.loads(path.with_suffix(".json").read_text())
    assert {(p["panel"], p["n"]) for p in numbers["points"]} == {
        ("width", 8), ("batch", 1), ("batch", 2), ("batch", 4), ("batch", 8)
    }  # fmt: skip
    assert all(0 < p["quartiles"][0] <= p["microseconds"] <= p["quartiles"][1] for p in numbers["points"])
    first = path.read_bytes()
    steps.main(["--out", str(path), "--redraw"])
    assert path.read_bytes() == first


def test_what_is_drawn_of_steps():
    points = points_of_steps(lambda library, n, threads: n * {"fastnn": 20.0, "torch": 50.0}[library] / threads)
    figure = steps.compose({"peak_of_one_thread": 100.0, "points": points})
    assert len(figure.axes) == 4
    for axes, threads in zip(figure.axes, (1, 1, 2, 2), strict=True):
        limit, torch, fastnn = axes.get_lines()
        assert list(limit.get_ydata()) == pytest.approx([10.0 * n / threads for n in (8, 16, 32)])
        assert list(torch.get_ydata()) == [50.0 * n / threads for n in (8, 16, 32)]
        assert list(fastnn.get_ydata()) == [20.0 * n / threads for n in (8, 16, 32)]
        assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(steps.compose({"peak_of_one_thread": None, "points": points}).axes[0].get_lines()) == 2


def test_bumps_are_named():
    falls = points_of_steps(lambda library, n, threads: n**0.9 if library == "fastnn" else n**2)
    assert list(steps.bumps(falls)) == []
    rises = points_of_steps(lambda library, n, threads: 40.0 if n == 32 else n * (1.0 if threads == 1 else n))
    assert [text.partition(":")[0] for text in steps.bumps(rises)] == ["width 32", "batch 32"]
    assert "at 8" in next(steps.bumps(rises))


@pytest.mark.parametrize("given", [["--largest", "7"], ["--threads", "0"], ["--seconds", "0"]])
def test_bad_options_of_steps(given, capsys):
    with pytest.raises(SystemExit):
        steps.main(given)
    assert "must be positive" in capsys.readouterr().err


def test_the_table_of_convolutions(tmp_path):
    group = convolutions.GROUPS[0]
    results = [
        {
            "case": f"conv-{which}-{p.name}", "threads": 1, "ours": 1.0, "theirs": 2.0, "ratio": 2.0 * (i + 1),
            "low": 1.9, "high": 2.1, "flops": 5e9, "others": 0.0,
        }
        for p in group.problems[:2]
        for i, which in enumerate(convolutions.PASSES)
    ]  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text(f"before\n{convolutions.BEGIN}\nold\n{convolutions.END}\nafter\n")
    convolutions.write({"peak": 1e11, "results": results}, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert f"| {group.problems[0].name} | 5 (5%) / 2 (2%): **2.00** |" in text
    assert "| *3x3, batch 16, geometric mean* | 2.00 (bar 2.4) | 4.00 (bar 2.3) | 6.00 (bar 2.6) |" in text
    assert convolutions.BEGIN in convolutions.PAGE.read_text()
