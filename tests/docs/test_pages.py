"""The pages' code runs as it stands, prints what they show, and the rows of their tables hold."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pages import DOCS, blocks, code, differences, tables

sys.path.pop(0)

PEERS = {"NumPy": "numpy", "PyTorch": "torch", "scikit-learn": "sklearn"}
RUN = (
    "index.md",
    "tutorial.md",
    "from-numpy.md",
    "from-pytorch.md",
    "from-scikit-learn.md",
    "compile.md",
    "threads.md",
    "errors.md",
    "files.md",
    "images.md",
)
# Blocks of `sh` are run, those of `shell` only shown.
COMMAND = [sys.executable, "-c", "from fastnn.cli import main; raise SystemExit(main())"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to run in, without data of the machine's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv("FASTNN_OFFLINE", "1")


def run(block, page, namespace, capsys):
    """Run a block and compare what it prints with what the page shows."""
    where = f"{page}, line {block.line}"
    if block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.text, str(DOCS / page), "exec"), namespace)
        printed = capsys.readouterr().out
    else:
        for line in block.text.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "fastnn", f"{where}: only the command fastnn is run"
            done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{where}: {line}\n{done.stderr}"
        printed = done.stdout
    if block.printed is not None:
        assert not (wrong := differences(printed, block.printed)), f"{where}: {wrong}"
    elif block.language == "python":
        assert not printed, f"{where} prints what the page does not show:\n{printed}"


@pytest.mark.parametrize("page", RUN)
def test_blocks_run_in_order_and_print_what_is_shown(page, elsewhere, capsys):
    from fastnn.random import fork_rng

    ready = [block for block in blocks(page) if block.language in ("python", "sh")]
    assert ready
    namespace = {"__name__": "__main__"}
    with fork_rng():
        for block in ready:
            run(block, page, namespace, capsys)


def plain(value):
    """A result as arrays, to compare it with another library's."""
    if isinstance(value, (tuple, list)) and any(hasattr(v, "shape") for v in value):
        return [plain(v) for v in value]
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    return np.asarray(value)


def theirs(name, value):
    """A variable of a page as the other library has it."""
    import fastnn

    if name == "torch" and isinstance(value, fastnn.Tensor):
        torch = importlib.import_module("torch")
        return torch.tensor(value.detach().numpy().copy(), requires_grad=value.requires_grad)
    return value


@pytest.mark.parametrize("page", [page for page in RUN if page.startswith("from-")])
def test_rows_of_tables_give_the_same_in_both_libraries(page, elsewhere, capsys):
    """A table whose first columns are headed by a library and fastnn holds expressions of both."""
    ours = {"__name__": "__main__"}
    first = next(block for block in blocks(page) if block.language == "python")
    run(first, page, ours, capsys)
    checked = 0
    for header, *rows in tables(page):
        if header[0] not in PEERS or header[1] != "fastnn":
            continue
        library = pytest.importorskip(PEERS[header[0]])
        name = library.__name__
        peer = {key: theirs(name, value) for key, value in ours.items()} | {name: library}
        if name == "torch":
            peer |= {"nn": library.nn, "F": library.nn.functional, "optim": library.optim}
        for row in rows:
            for left, right in zip(code(row[0]), code(row[1]), strict=True):
                wanted, got = plain(eval(left, peer)), plain(eval(right, ours))
                for one, other in zip(wanted, got, strict=True) if isinstance(wanted, list) else [(wanted, got)]:
                    assert one.shape == other.shape, f"{left} / {right}"
                    if one.dtype.kind == "U":
                        assert one.tolist() == other.tolist(), f"{left} / {right}"
                    else:
                        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5, err_msg=f"{left} / {right}")
                checked += 1
    assert checked > 5


def test_the_page_of_the_command_names_every_option():
    from typer.main import get_command

    from fastnn.cli.app import app

    text = (DOCS / "command.md").read_text(encoding="utf-8")
    commands = get_command(app).commands
    assert sorted(set(re.findall(r"^\| `fastnn (\w+)", text, re.MULTILINE))) == sorted(commands)
    for option in commands["train"].params:
        if option.param_type_name != "option":
            continue
        row = re.search(rf"^\| `{option.opts[0]}` \| ([^|]*)\|", text, re.MULTILINE)
        assert row, f"{option.opts[0]} is missing"
        if option.default not in (None, False):
            assert row[1].strip().strip("`") == str(option.default)
