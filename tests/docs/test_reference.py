"""The reference shows every public name, and every one has a docstring."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import ops

FLOAT32 = np.dtype("float32")
TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def reference():
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("reference")
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def built(reference):
    return reference.build()


def test_every_public_name_has_a_docstring(reference):
    assert reference.undocumented() == []


def test_names_without_a_docstring_are_found(reference, monkeypatch):
    class Silent:
        def speak(self): ...

    monkeypatch.setattr(fastnn.nn, "Silent", Silent, raising=False)
    monkeypatch.setattr(fastnn.nn, "__all__", [*fastnn.nn.__all__, "Silent"])
    assert reference.undocumented() == ["fastnn.nn.Silent", "fastnn.nn.Silent.speak"]


@pytest.mark.parametrize("name", ["fastnn.nn", "fastnn.optim", "fastnn.data", "fastnn.training", "fastnn.special"])
def test_pages_show_all_names_of_a_module(built, name):
    module = importlib.import_module(name)
    for public in module.__all__:
        if not isinstance(getattr(module, public), type(module)):
            assert f"{{ #{name}.{public} }}" in built[f"reference/{name}.md"]


def test_names_found_on_first_use_are_shown(built):
    for name in fastnn.functions.FUNCTIONS:
        assert f"{{ #fastnn.{name} }}" in built["reference/fastnn.functions.md"]
    for name in fastnn.functions.METHODS:
        assert f"{{ #fastnn.Tensor.{name} }}" in built["reference/fastnn.Tensor.md"]
    for names in ops.HOMES.values():
        for name in names.split():
            assert f"{{ #fastnn.ops.{name} }}" in built["reference/fastnn.ops.md"]


def test_ops_show_what_their_declaration_says(built):
    text = built["reference/fastnn.ops.md"].partition("{ #fastnn.ops.linear }")[2].partition("###")[0]
    assert "fastnn.ops.linear(x, w, b=None, *, out=None)" in text
    assert r"| takes `x` | (\*, K) | numbers |" in text
    assert "| takes `b` | (M) | numbers, or None |" in text
    assert r"| gives `y` | (\*, M) | numbers |" in text
    assert "Its gradient needs `x`, `w`." in text


def test_docstrings_become_markdown(reference):
    renderer = reference.Renderer(reference.pages())
    text = renderer.text(
        """One * two, see `fastnn.fit`.

        Parameters
        ----------
        x, y : arrays of
            numbers.

        Raises
        ------
        ValueError
            If `x` is odd.

        See arXiv:1412.6980.
        """,
        "fastnn.nn",
        ("x",),
    )
    assert "One \\* two, see [`fastnn.fit`](fastnn.md#fastnn.fit)." in text
    assert "**Parameters**\n\n- `x`, `y`: arrays of numbers." in text
    assert "- `ValueError`: If `x` is odd." in text
    assert "[arXiv:1412.6980](https://arxiv.org/abs/1412.6980)" in text


def test_signatures_say_what_python_would(reference):
    def example(a, /, b: int, *rest: Any, c: Any = 1, dtype=FLOAT32, **more) -> None: ...

    assert reference.signature("f", example) == "f(a, /, b: int, *rest, c=1, dtype=float32, **more)"


def test_ops_have_a_signature():
    assert str(inspect.signature(ops.linear)) == "(x, w, b=None, *, out=None)"
    assert str(inspect.signature(ops.softplus)) == "(x, beta=1.0, threshold=20.0, *, out=None)"
    assert "shapes" in inspect.signature(type(ops.linear)).parameters
