"""The table of torch's functions: what it names is there, and becomes Tensor's methods."""

import importlib

import numpy as np
import pytest

import fastnn
from fastnn import functions


@pytest.mark.parametrize("module", functions.HOMES)
def test_what_the_table_names_is_there_and_nothing_else(module):
    home = functions.HOMES[module]
    found = importlib.import_module(f"fastnn.functions.{module}")
    named = {*home.functions.split(), *home.methods.split()}
    assert set(found.__all__) == named
    assert all(callable(getattr(found, name)) for name in named)
    assert all(getattr(found, name).__doc__ for name in named)


def test_no_name_has_two_homes():
    for kind in ("functions", "methods"):
        names = [name for home in functions.HOMES.values() for name in getattr(home, kind).split()]
        assert len(names) == len(set(names))


def test_names_are_found_when_they_are_asked_for():
    for name in functions.FUNCTIONS:
        assert callable(getattr(fastnn, name))
        assert name in dir(fastnn)
    x = fastnn.tensor([1.0])
    for name in functions.METHODS:
        assert callable(getattr(x, name))
        assert name in dir(x)
    for missing in (fastnn, x):
        with pytest.raises(AttributeError, match="no_such_name"):
            assert missing.no_such_name


def test_ops_are_found_when_they_are_asked_for():
    from fastnn import ops

    for names in ops.HOMES.values():
        for name in names.split():
            assert getattr(ops, name).name == name
            assert name in dir(ops)
    with pytest.raises(AttributeError, match="no_such_op"):
        assert ops.no_such_op


def test_a_method_that_overwrites():
    double = functions.overwriting("double_", lambda x: x * 2)
    whole = functions.overwriting("whole_", lambda x: fastnn.tensor(x.array.astype(np.int64)))
    compare = functions.overwriting("compare_", lambda x: x.reshape(-1) > 1)
    x = fastnn.tensor([1.0, 2.0])
    alias, version = x[:1], x._version
    assert double(x) is x
    assert x.tolist() == [2.0, 4.0]
    assert alias.tolist() == [2.0]
    assert x._version > version
    assert whole(x).dtype == np.float32
    with pytest.raises(ValueError, match="compare_: the result must have shape"):
        compare(x.reshape(1, 2))
    n = fastnn.tensor([3])
    with pytest.raises(TypeError, match="scaled_: the result must have a dtype that fits int64, got float32"):
        functions.overwriting("scaled_", lambda x: x * 0.5)(n)
    assert n.tolist() == [3]

    leaf = fastnn.tensor([1.0, 3.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        double(leaf)
    y = leaf * 1
    double(double(y)).sum().backward()
    assert leaf.grad.tolist() == [4.0, 4.0]
    with fastnn.no_grad():
        assert double(leaf).tolist() == [2.0, 6.0]


def test_operators_say_when_an_operand_is_none():
    x = fastnn.tensor([1.0])
    for operator in ("__pow__", "__rpow__", "__mod__", "__floordiv__", "__and__", "__lshift__", "__ipow__"):
        assert getattr(x, operator)("one") is NotImplemented
    with pytest.raises(TypeError):
        x ** "one"
