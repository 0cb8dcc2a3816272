"""What a plan shows of itself: phases with their operands, what moves, and memory that is known beforehand."""

import re
import warnings
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

rng = np.random.default_rng(4)
X, Y = rng.standard_normal((9, 13)).astype("f4"), rng.integers(0, 5, 9)


def compiled_step(body: Any = None, between: Any = None, hidden: int = 24) -> Any:
    net = nn.Sequential(nn.Linear(13, hidden), between or nn.ReLU(), nn.Linear(hidden, 5))
    optimizer = optim.Adam(net.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        if body is not None:
            body(net)
        optimizer.step()
        return loss

    compiled = fastnn.compile(step)
    for _ in range(3):
        compiled(X, Y)
    return compiled


@pytest.fixture(scope="module")
def step() -> Any:
    return compiled_step()


def test_ops_in_the_order_in_which_they_run(step: Any) -> None:
    ops = list(dict.fromkeys(row.op for row in step.plan.report.rows))
    assert ops == [
        "linear", "relu", "cross_entropy", "cross_entropy backward", "linear backward", "relu backward", "Adam"
    ]  # fmt: skip


def test_operands_have_names_shapes_and_bytes(step: Any) -> None:
    first = step.plan.report.rows[0]
    named = {part.name: part for part in first.parts}
    assert named["argument 0"].shape == (9, 13)
    assert named["0.weight"].shape == (13, 24)
    assert first.bytes_read >= 4 * (9 * 13 + 13 * 24)
    assert first.bytes_written == 4 * 9 * 24
    assert first.flops is not None
    assert first.flops >= 2 * 9 * 13 * 24
    written = {part.name for row in step.plan.report.rows for part in row.parts if "w" in part.mode}
    assert {"0.weight.grad", "0.bias.grad", "2.weight.grad", "2.bias.grad", "result 0"} <= written
    update = step.plan.report.rows[-1]
    nbytes = 4 * (13 * 24 + 24 + 24 * 5 + 5)
    assert (update.bytes_read, update.bytes_written) == (4 * nbytes, 3 * nbytes)


def test_a_buffer_is_read_where_it_was_written(step: Any) -> None:
    for row in step.plan.report.rows:
        for part in row.parts:
            if part.name.startswith("@"):
                assert 0 <= int(part.name[1:]) < step.plan.arena_bytes
    hidden = [part.name for part in step.plan.report.rows[0].parts if part.mode == "w"]
    relu = next(row for row in step.plan.report.rows if row.op == "relu")
    assert hidden
    assert hidden == [part.name for part in relu.parts if part.mode == "r"]


def test_memory_is_known_beforehand(step: Any) -> None:
    report = step.plan.report
    assert report.arena_bytes == step.plan.arena_bytes
    assert report.result_bytes == 4
    assert report.gradient_bytes == sum(
        part.nbytes for row in report.rows for part in row.parts if part.name.endswith(".grad") and part.mode == "w"
    )
    assert 0 < report.arena_bytes <= report.buffer_bytes
    assert report.peak_bytes == report.arena_bytes + report.constant_bytes + report.result_bytes + report.gradient_bytes


def test_a_gradient_that_is_added_to_has_the_name_of_its_parameter() -> None:
    net = nn.Linear(13, 5)
    fast = fastnn.compile(lambda x: net(x).sum().backward())
    for _ in range(4):
        fast(X)
    modes = {part.mode for row in fast.plan.report.rows for part in row.parts if part.name == "weight.grad"}
    assert modes == {"r", "w"}


def test_larger_batches_need_more(step: Any) -> None:
    small = step.plan.report
    for _ in range(3):
        step(np.repeat(X, 30, 0), np.repeat(Y, 30))
    large = step.plan.report
    assert large.arena_bytes > 20 * small.arena_bytes
    assert large.gradient_bytes == small.gradient_bytes
    assert large.flops > 20 * small.flops


def test_constants_and_temporaries_have_places() -> None:
    fast = fastnn.compile(lambda x: (x * fastnn.ones(13)).sum(1))
    fast(X)
    fast(X)
    rows = fast.plan.report.rows
    assert any(part.name == "constant" for row in rows for part in row.parts)
    assert fast.plan.report.constant_bytes >= 4 * 13


def test_what_planners_chose_is_found_again(step: Any) -> None:
    rows, choices = step.plan.report.rows, step.plan.report.choices()
    assert len(choices) == len(rows)
    product = [own for row, own in zip(rows, choices, strict=True) if row.kernel == "matmul.product.product"]
    assert product
    assert all(any(text.startswith("tile (rows x vectors): ") for text in own) for own in product)
    assert choices[-1] == []
    assert all(not phase.notes for row in rows if row.lowering is not None for phase in row.lowering.phases)


def test_lines_fit_a_terminal(step: Any) -> None:
    def scaled(net: Any) -> None:
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)

    for one in (step, compiled_step(scaled, nn.Dropout(0.5)), compiled_step(hidden=700)):
        text = str(one.plan.report)
        assert max(map(len, text.split("\n"))) <= 100
        for i, row in enumerate(one.plan.report.rows, 1):
            assert re.search(rf"^ *{i}  {re.escape(row.op[:20])}", text, re.MULTILINE)
    assert "norm" in str(compiled_step(scaled).plan)


def test_functions_without_kernels_are_said_to_be_so() -> None:
    fast = fastnn.compile(lambda x: (x.to("int64") // 2).to("float32").sum())
    fast(X)
    fast(X)
    rows = fast.plan.report.rows
    python = [row for row in rows if row.kernel in ("(Python)", "(NumPy)")]
    assert python
    assert python[0].parts[0].name == "argument 0"
    assert python[0].bytes_read == X.nbytes


def test_representations() -> None:
    fresh = fastnn.compile(lambda x: x + 1)
    assert repr(fresh).endswith("compiled when it is called")
    assert "<table" not in fresh._repr_html_()
    one = compiled_step()
    assert repr(one).startswith("compiled_step.<locals>.step, 1 plan, the latest:\n")
    assert repr(one).endswith(repr(one.plan))
    assert repr(one.plan) == str(one.plan.report)
    html = one._repr_html_()
    assert html.count("<tr>") == 1 + len(one.plan.report.rows)
    assert "&lt;locals&gt;" in html
    assert "0.weight.grad (13, 24)" in html


def test_one_that_is_not_compiled_says_why() -> None:
    lenient = fastnn.compile(lambda x: x * float(x.sum()), strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lenient(X)
    assert "not compiled: " in repr(lenient)


def test_an_empty_plan() -> None:
    fast = fastnn.compile(lambda x: x)
    fast(X)
    assert str(fast.plan).startswith("0 phases")
