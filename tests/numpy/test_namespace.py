"""The module as NumPy's stand-in: names, ufuncs' protocol, kinds of arrays, error settings, a network."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
import warnings

import numpy
import pytest

import fastnn
import fastnn.numpy as np
from fastnn._runtime.memory import stats


def test_everything_of_numpy_is_here():
    assert np.__all__ == list(numpy.__all__)
    assert np.__version__ == numpy.__version__
    for name in numpy.__all__:
        assert getattr(np, name) == getattr(numpy, name) or name == "nan", name
    assert set(dir(numpy)) <= set(dir(np))
    assert np.float32 is numpy.float32
    assert np.linalg is numpy.linalg
    assert fastnn.numpy is np


def test_a_star_import_gives_the_same_names():
    names: dict[str, object] = {}
    exec("from fastnn.numpy import *", names)
    expected: dict[str, object] = {}
    exec("from numpy import *", expected)
    assert names.keys() == expected.keys()
    assert names["sum"] is np.sum


@pytest.mark.parametrize(
    "name", ["linalg", "random", "fft", "testing", "ma", "polynomial", "lib.stride_tricks", "typing"]
)
def test_submodules_are_numpys_own(name):
    found: dict[str, object] = {}
    exec(f"import fastnn.numpy.{name} as ours\nimport numpy.{name} as theirs", found)
    assert found["ours"] is found["theirs"]
    assert sys.modules[f"numpy.{name}"].__spec__.name == f"numpy.{name}"


def test_names_from_submodules_can_be_imported():
    found: dict[str, object] = {}
    exec("from fastnn.numpy.linalg import norm\nfrom fastnn.numpy import random, testing", found)
    assert found["norm"] is numpy.linalg.norm
    assert found["random"] is numpy.random


@pytest.mark.parametrize("name", ["no_such_thing", "float", "float_", "row_stack"])
def test_missing_names_say_what_numpy_says(name):
    messages = []
    for module in (np, numpy):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                messages.append(getattr(module, name))
            except AttributeError as error:
                messages.append(str(error))
    assert messages[0] == messages[1]
    with pytest.raises(ImportError):
        exec(f"import fastnn.numpy.{name}")


def test_importing_is_light():
    code = (
        "import fastnn, numpy, sys, time; before = set(sys.modules); start = time.process_time(); import fastnn.numpy;"
        "print(time.process_time() - start, *(set(sys.modules) - before))"
    )
    seconds, *modules = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(seconds) < 0.05
    assert {m.split(".")[0] for m in modules} <= {"fastnn", "importlib"}


@pytest.mark.parametrize("name", list(np.accelerated))
def test_accelerated_functions_are_numpys_in_all_but_calls(name):
    ours, theirs = getattr(np, name), getattr(numpy, name)
    assert ours == theirs
    assert theirs == ours
    assert hash(ours) == hash(theirs)
    assert ours != numpy.cbrt
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)
    assert ours.__doc__ == theirs.__doc__
    assert ours.__name__ == theirs.__name__
    assert pickle.loads(pickle.dumps(ours)) is ours
    assert copy.copy(ours) is ours
    assert copy.deepcopy([ours])[0] is ours
    assert inspect.unwrap(ours) is not ours
    assert dir(ours) == dir(theirs)
    with pytest.raises(AttributeError):
        ours.no_such_attribute  # noqa: B018


def test_methods_of_ufuncs():
    array = numpy.arange(12.0).reshape(3, 4)
    numpy.testing.assert_array_equal(np.add.reduce(array), numpy.add.reduce(array))
    numpy.testing.assert_array_equal(np.add.accumulate(array, 1), numpy.add.accumulate(array, 1))
    numpy.testing.assert_array_equal(np.multiply.outer(array, array), numpy.multiply.outer(array, array))
    np.add.at(array, ([0, 0], [1, 1]), 5)
    assert array[0, 1] == 11
    assert (np.add.nin, np.add.identity, np.add.types) == (numpy.add.nin, numpy.add.identity, numpy.add.types)


def test_keywords_of_ufuncs():
    x = numpy.linspace(0, 1, 1000, dtype=numpy.float32)
    where = x > 0.5
    start = numpy.zeros_like(x)
    numpy.testing.assert_array_equal(np.add(x, x, out=start.copy(), where=where), numpy.add(x, x, start, where=where))
    assert np.add(x, x, dtype="float64").dtype == numpy.float64
    with pytest.raises(TypeError, match="Cannot cast"):
        np.add(x, x.astype("float64"), out=start, casting="no")
    assert np.sum(x, dtype="float64") == numpy.sum(x, dtype="float64")
    assert np.sum(x, initial=5.0) == numpy.sum(x, initial=5.0)
    assert np.sum(x, where=where) == numpy.sum(x, where=where)
    with pytest.raises(TypeError):
        np.add()
    with pytest.raises(TypeError):
        np.sum(x, 0, axis=0)


class Marked(numpy.ndarray):
    """A subclass, which functions must keep."""


class Taking:
    """An object that takes part in NumPy's protocols."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return ufunc

    def __array_function__(self, function, types, args, kwargs):
        return function


def test_other_kinds_of_arrays_go_to_numpy():
    x = numpy.linspace(0, 1, 1000, dtype=numpy.float32)
    marked = x.view(Marked)
    assert type(np.tanh(marked)) is Marked
    assert type(np.add(x, marked)) is Marked
    assert type(np.sum(marked.reshape(10, 100), axis=0)) is Marked
    masked = numpy.ma.masked_array(x, x > 0.5)
    assert type(np.add(masked, x)) is type(masked)
    assert np.sum(masked) == numpy.sum(masked)
    objects = x.astype(object)
    assert np.add(objects, 1).dtype == object
    assert np.dot(objects, objects) == numpy.dot(objects, objects)
    assert np.add(Taking(), x) is numpy.add
    assert np.add(x, Taking()) is numpy.add
    assert np.sum(Taking()) is numpy.sum
    assert np.dot(x, Taking()) is numpy.dot
    tensor = fastnn.tensor(x, requires_grad=True)
    assert isinstance(np.add(tensor, tensor), fastnn.Tensor)
    with pytest.raises(TypeError, match="ufunc"):
        np.tanh("text")


@pytest.mark.parametrize("setting", ["ignore", "warn", "raise", "call", "print"])
@pytest.mark.parametrize("kind", ["over", "divide", "invalid", "under"])
def test_error_settings_hold(setting, kind, capsys):
    big, zero = numpy.full(100, 3e38, numpy.float32), numpy.zeros(100, numpy.float32)
    tiny = numpy.full(100, 1e-30, numpy.float32)
    calls = {"over": (big, big), "divide": (big, zero), "invalid": (zero, zero), "under": (tiny, tiny)}
    function = "multiply" if kind in ("over", "under") else "divide"
    found = []
    for module in (np, numpy):
        said: list[object] = []
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with numpy.errstate(**{kind: setting}, call=lambda *args, said=said: said.append(args)):
                try:
                    result = getattr(module, function)(*calls[kind]).tolist()
                except FloatingPointError as error:
                    result = str(error)
        found.append((repr(result), said, [str(w.message) for w in warned], capsys.readouterr()))
    assert found[0] == found[1]


def test_a_warning_names_the_caller():
    big = numpy.full(100, 3e38, numpy.float32)
    with pytest.warns(RuntimeWarning, match="overflow encountered in multiply") as warned:
        np.multiply(big, big)
    assert warned[0].filename == __file__


def test_settings_of_another_thread_do_not_count():
    big = numpy.full(100, 3e38, numpy.float32)
    inside, done = threading.Event(), threading.Event()

    def other():
        with numpy.errstate(all="ignore"):
            np.multiply(big, big)
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.multiply(big, big)
    done.set()
    thread.join()


def test_results_own_their_memory():
    x = numpy.linspace(0, 1, 1000, dtype=numpy.float32)
    y = np.tanh(x)
    before = stats()["in_use"]
    y.resize(50_000, refcheck=False)
    numpy.testing.assert_array_equal(y[:1000], np.tanh(x))
    assert not y[1000:].any()
    assert stats()["in_use"] > before
    y.resize(10, refcheck=False)
    numpy.testing.assert_array_equal(y, np.tanh(x)[:10])
    del y
    assert stats()["in_use"] < before
    z = pickle.loads(pickle.dumps(np.tanh(x)))
    numpy.testing.assert_array_equal(z, np.tanh(x))
    z = np.tanh(x)
    z.__setstate__(numpy.ones(3).__reduce__()[2])
    assert z.tolist() == [1, 1, 1]


def test_many_layouts_stay_cheap_and_the_same():
    """Layouts beyond the first ones are NumPy's, and what a layout gives does not change."""
    arrays = [numpy.random.default_rng(n).random((n, 7)).astype(numpy.float32) for n in range(20, 220)]
    first = [np.sum(a, axis=0) for a in arrays]
    again = [np.sum(a, axis=0) for a in arrays]
    for a, x, y in zip(arrays, first, again, strict=True):
        numpy.testing.assert_array_equal(x, y)
        numpy.testing.assert_allclose(x, numpy.sum(a, axis=0), rtol=1e-5)


def test_the_reference_backend_serves_too():
    x = numpy.linspace(0, 1, 1000, dtype=numpy.float32)
    with fastnn.use_backend("numpy"):
        numpy.testing.assert_allclose(np.tanh(x), numpy.tanh(x), rtol=1e-6)
        numpy.testing.assert_allclose(np.sum(x), numpy.sum(x), rtol=1e-6)


def train(np, steps):
    """A network of 3, 4 and 1 sigmoid units that learns exclusive or, as written for NumPy; gives errors and output."""

    def nonlin(x, deriv=False):
        return x * (1 - x) if deriv else 1 / (1 + np.exp(-x))

    X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    y = np.array([[0], [1], [1], [0]])
    np.random.seed(1)
    syn0 = 2 * np.random.random((3, 4)) - 1
    syn1 = 2 * np.random.random((4, 1)) - 1
    errors = []
    for step in range(steps):
        l1 = nonlin(np.dot(X, syn0))
        l2 = nonlin(np.dot(l1, syn1))
        l2_error = y - l2
        if step % 10000 == 0:
            errors.append(f"{np.mean(np.abs(l2_error)):.8f}")
        l2_delta = l2_error * nonlin(l2, True)
        l1_delta = np.dot(l2_delta, syn1.T) * nonlin(l1, True)
        syn1 += np.dot(l1.T, l2_delta)
        syn0 += np.dot(X.T, l1_delta)
    return errors, [f"{value:.8f}" for value in l2.ravel()]


def test_a_network_in_numpy_learns_to_the_same_digits():
    errors, output = train(np, 60_000)
    assert errors == ["0.49641003", "0.00858453", "0.00578946", "0.00462918", "0.00395877", "0.00351012"]
    assert output == ["0.00260572", "0.99672209", "0.99701711", "0.00386759"]
