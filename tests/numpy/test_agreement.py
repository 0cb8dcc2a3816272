"""Every accelerated function gives what NumPy gives, for every kind of call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn.numpy as np
from fastnn._runtime.gate import ELEMENTWISE, INNER, PRODUCT, REDUCTION
from fastnn.numpy._table import TABLE

GATES = {name: gate for name, gate in np.accelerated.items() if name in TABLE}
ELEMENTS = [name for name in GATES if TABLE[name].kind == ELEMENTWISE]
UNARY = [name for name in ELEMENTS if TABLE[name].arity == 1]
BINARY = [name for name in ELEMENTS if TABLE[name].arity == 2]
REDUCTIONS = [name for name in GATES if TABLE[name].kind == REDUCTION]
PRODUCTS = [name for name in GATES if TABLE[name].kind in (PRODUCT, INNER)]
DTYPES = ["float32", "float64"]
TOLERANCE = {"float16": 0.0, "float32": 5e-6, "float64": 1e-14}


def numbers(shape: Any, dtype: str, seed: int = 0) -> numpy.ndarray:
    """Numbers that every function takes, of the domain of logarithms and square roots too."""
    return (numpy.random.default_rng(seed).uniform(0.1, 0.9, shape)).astype(dtype)


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, list[str]]:
    """What a call gives or raises, and its warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            result = error
    return result, [f"{w.category.__name__}: {w.message}" for w in said]


def agree(ours: Any, theirs: Any) -> None:
    """The same in everything but rounding."""
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs), ours
        assert str(ours) == str(theirs)
        return
    assert type(ours) is type(theirs), ours
    if isinstance(theirs, tuple):
        for a, b in zip(ours, theirs, strict=True):
            agree(a, b)
        return
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if isinstance(theirs, numpy.ndarray):
        # NumPy's may be a view of an array that is not seen; ours owns its memory
        assert ours.flags.owndata >= theirs.flags.owndata
        assert (ours.base is None) >= (theirs.base is None)
        assert ours.flags.writeable == theirs.flags.writeable
        assert ours.strides == theirs.strides
    if theirs.dtype.kind == "f":
        tolerance = TOLERANCE[theirs.dtype.name]
        scale = float(numpy.abs(theirs[numpy.isfinite(theirs)]).max(initial=1e-3)) if theirs.size else 1
        numpy.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)
        # the sign of NaN means nothing
        signs = [numpy.signbit(x) & ~numpy.isnan(x) for x in (ours, theirs)]
        numpy.testing.assert_array_equal(*signs)
    else:
        numpy.testing.assert_array_equal(ours, theirs)


def both(name: str, *args: Any, **kwargs: Any) -> None:
    """Call both sides and compare; twice, since the first call of a layout may go elsewhere."""
    for _ in range(2):
        ours, own_warnings = outcome(getattr(np, name), *args, **kwargs)
        theirs, their_warnings = outcome(getattr(numpy, name), *args, **kwargs)
        agree(ours, theirs)
        assert own_warnings == their_warnings


def layouts(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Iterator[numpy.ndarray]:
    """An array in several layouts, and of kinds that fastnn leaves to NumPy."""
    array = numbers(shape, dtype, seed)
    yield array
    yield array.T
    yield numpy.asfortranarray(array)
    yield array[::-1]
    yield numpy.repeat(array, 2, -1)[..., ::2]
    yield numpy.broadcast_to(array[:1], shape)
    yield array.astype(array.dtype.newbyteorder())
    yield array.astype("int64")
    yield array.astype("float16")
    yield array > 0.5
    readonly = array.copy()
    readonly.flags.writeable = False
    yield readonly
    odd = numpy.frombuffer(bytearray(array.nbytes + 1), numpy.uint8)[1:].view(dtype).reshape(shape)
    odd[...] = array
    yield odd


SHAPES = [(), (0,), (1,), (15,), (16,), (17,), (1000,), (0, 3), (5, 7), (40, 50), (3, 4, 5), (2, 0, 4), (1, 1)]
SHAPES += [(300, 300)]
BROADCAST = [((40, 1), (1, 50)), ((50,), (40, 50)), ((40, 1), (50,)), ((3, 4), (4, 3)), ((2, 1, 30), (20, 1))]
BROADCAST += [((), (9, 9))]
NUMBERS = [2.0, 2, -0.5, True, 1e300, 10**30, numpy.float32(2), numpy.float64(2), numpy.nan, numpy.inf, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array(name, dtype):
    for shape in SHAPES:
        both(name, numbers(shape, dtype))
    for array in layouts((40, 50), dtype):
        both(name, array)
    for special in (0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan, -1.0, 1e30, -1e30, 1e-40, 100.0, -100.0, 1.0):
        array = numbers((1000,), dtype)
        array[500] = special
        both(name, array)
        both(name, array[490:510])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays(name, dtype):
    for shape in SHAPES:
        x, y = numbers(shape, dtype), numbers(shape, dtype, 1)
        both(name, x, y)
        both(name, x, x)
        for number in (
            2.0,
            2,
            -0.5,
            True,
            1e300,
            10**30,
            numpy.float32(2),
            numpy.float64(2),
            numpy.nan,
            numpy.inf,
            0.0,
        ):
            both(name, x, number)
            both(name, number, x)
    for x, y in zip(layouts((40, 50), dtype), layouts((40, 50), dtype, 1), strict=True):
        both(name, x, numbers(y.shape, dtype))
        both(name, numbers(x.shape, dtype), y)
        both(name, x, y)
    for a, b in BROADCAST:
        both(name, numbers(a, dtype), numbers(b, dtype))
        both(name, numbers(b, dtype), numbers(a, dtype))
    for special in (0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan, 3e38, -3e38, 1e-40):
        x, y = numbers((1000,), dtype), numbers((1000,), dtype, 1)
        y[500] = special
        both(name, x, y)
        both(name, y, x)
        both(name, y, y)
        both(name, y, special)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, dtype):
    options = [{}, {"axis": 0}, {"axis": -1}, {"axis": None}, {"keepdims": True}, {"axis": 0, "keepdims": True}]
    options += [{"axis": 7}, {"axis": (0,)}, {"axis": ()}, {"axis": (0, -1)}, {"axis": 1.5}, {"axis": numpy.int64(0)}]
    options += [{"dtype": "float64"}, {"out": None}, {"nothing": 1}, {"keepdims": 1}]
    if "ddof" in TABLE[name].names:
        options += [{"ddof": 1}, {"ddof": 0, "axis": 0}, {"ddof": 10**6}, {"ddof": 1.5}]
    for shape in SHAPES:
        for chosen in options:
            both(name, numbers(shape, dtype), **chosen)
        both(name, numbers(shape, dtype), 0)
        both(name, numbers(shape, dtype), 0, axis=0)
    for array in layouts((40, 50), dtype):
        for chosen in options[:6]:
            both(name, array, **chosen)
    for special in (numpy.inf, -numpy.inf, numpy.nan, 3e38, -0.0):
        array = numbers((50, 60), dtype)
        array[20:22, 30:33] = special
        for chosen in options[:6]:
            both(name, array, **chosen)
    zeros, large = numpy.zeros((30, 30), dtype), numpy.full((30, 30), 3e38, dtype)
    for array in (zeros,) if name in ("var", "std") else (zeros, large):  # a variance of equal numbers is rounding
        both(name, array)
        both(name, array, axis=0)
    both(name, [1.0, 2.0])
    both(name, [[1.0] * 30] * 30)


PAIRS = [((5,), (5,)), ((40, 50), (50,)), ((50,), (50, 40)), ((40, 50), (50, 60)), ((40, 50), (40, 50))]
PAIRS += [((0, 4), (4, 3)), ((3, 0), (0, 4)), ((2, 30, 20), (2, 20, 30)), ((2, 30, 20), (20, 30))]
PAIRS += [((30, 20), (2, 20, 30)), ((), (4, 4)), ((4, 4), ()), ((1, 1), (1, 1)), ((4, 4), (4, 4))]
PAIRS += [((2, 1, 9, 9), (3, 9, 9)), ((9,), (2, 9, 9)), ((200, 200), (200, 200))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name, dtype):
    for a, b in PAIRS:
        x, y = numbers(a, dtype), numbers(b, dtype, 1)
        both(name, x, y)
        both(name, x - 0.5, y)
        both(name, x, y.astype("float64"))
        both(name, x, 2.0)
    for x, y in zip(layouts((40, 50), dtype), layouts((50, 40), dtype, 1), strict=True):
        both(name, x, y)
        both(name, x, numbers((50, 40), dtype))
        both(name, x, numbers((40, 50), dtype))
        both(name, x.T, x)
    for special in (numpy.inf, numpy.nan, 3e38):
        x = numbers((40, 40), dtype)
        x[3, 5] = x[3, 6] = special
        both(name, x, x)
        both(name, x, -x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in GATES if "out" in TABLE[n].names])
def test_out(name, dtype):
    row = TABLE[name]
    if row.kind == ELEMENTWISE:
        shape, result = (40, 50), (40, 50)
    else:
        shape, result = (40, 40), (40, 40)
    for kind in ("same", "strided", "float64", "int64", "wrong", "readonly", "tuple", "none", "operand", "part"):
        values = []
        for module in (np, numpy):
            arrays = [numbers(shape, dtype, seed) for seed in range(row.arity)]
            out: Any = numpy.zeros(result, dtype)
            if kind == "strided":
                out = numpy.zeros((40, 100), dtype)[:, : 2 * result[1] : 2]
            elif kind in ("float64", "int64"):
                out = numpy.zeros(result, kind)
            elif kind == "wrong":
                out = numpy.zeros((3, *result[1:]), dtype)
            elif kind == "readonly":
                out.flags.writeable = False
            elif kind == "none":
                out = None
            elif kind == "operand":
                out = arrays[0]
            elif kind == "part":
                whole = numpy.zeros(41 * 50, dtype)
                whole[: numpy.prod(shape)] = arrays[0].ravel()
                arrays[0] = whole[: numpy.prod(shape)].reshape(shape)
                out = whole[7 : 7 + numpy.prod(result)].reshape(result)
            given = (out,) if kind == "tuple" else out
            got, said = outcome(getattr(module, name), *arrays, out=given)
            if kind in ("same", "tuple", "operand", "part"):
                assert isinstance(got, Exception) or got is out
            values.append((got, out, said))
            if row.kind == ELEMENTWISE and kind == "same":
                place = numpy.zeros(result, dtype)
                given_back, said = outcome(getattr(module, name), *arrays, place)
                assert given_back is place
                numpy.testing.assert_array_equal(place, got)
                values.append((given_back, out, said))
        (ours, own_out, own_said), (theirs, their_out, their_said) = values[0], values[len(values) // 2]
        if isinstance(theirs, numpy.ndarray) and theirs.base is not None:
            numpy.testing.assert_allclose(ours, theirs, rtol=1e-5)
        else:
            agree(ours, theirs)
        if own_out is not None:
            numpy.testing.assert_allclose(own_out, their_out, rtol=1e-5)
        assert own_said == their_said


@pytest.mark.parametrize("dtype", DTYPES)
def test_cumsum(dtype):
    for shape in SHAPES:
        for options in ({}, {"axis": 0}, {"axis": -1}, {"axis": 5}, {"axis": None}, {"dtype": "float64"}):
            both("cumsum", numbers(shape, dtype), **options)
    for array in layouts((40, 50), dtype):
        both("cumsum", array)
        both("cumsum", array, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip(dtype):
    bounds = [(0.3, 0.6), (0, 1), (0.6, 0.3), (None, 0.5), (0.5, None), (0.0, -0.0), (-1.0, 1e300), (10**400, 1)]
    bounds += [
        (numpy.float64(0.3), 0.6),
        (0.3, numpy.nan),
        (-numpy.inf, 0.5),
        (numpy.zeros(50), 0.5),
        (True, 2),
        (0.1, 1j),
    ]
    special = numbers((40, 50), dtype)
    special[0, :6] = (numpy.nan, numpy.inf, -numpy.inf, 0.0, -0.0, 1e-40)
    for low, high in bounds:
        for shape in SHAPES:
            both("clip", numbers(shape, dtype), low, high)
        for array in (*layouts((40, 50), dtype), special, -special):
            both("clip", array, low, high)
            both("clip", array, a_min=low, a_max=high)
    both("clip", special, 0.3)
    both("clip", special, min=0.3, max=0.5)


def test_the_same_bits_in_place():
    for name in UNARY:
        x = numbers((1000,), "float32")
        if name != "arccosh":
            y = getattr(np, name)(x)
            if y.dtype == x.dtype and "out" in TABLE[name].names:
                getattr(np, name)(x, out=x)
                numpy.testing.assert_array_equal(x, y)


EQUATIONS = ["ij,jk->ik", "ij,jk", "ij,kj->ki", "i,i->", "ij,ij->i", "ij,ij", "bij,bjk->bik", "ij,j"]
EQUATIONS += ["...j,jk->...k", "ij,jk,kl->il"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation, dtype):
    extents = {"i": 20, "j": 30, "k": 25, "l": 5, "b": 3}
    for number, letters in enumerate(equation.split("->")[0].split(",")):
        shape = tuple(extents[letter] for letter in letters.replace("...", "b"))
        if not number:
            arrays = []
        arrays.append(numbers(shape, dtype, number))
    for chosen in ({}, {"optimize": True}, {"optimize": "greedy"}):
        ours, theirs = np.einsum(equation, *arrays, **chosen), numpy.einsum(equation, *arrays, **chosen)
        assert type(ours) is type(theirs)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        numpy.testing.assert_allclose(ours, theirs, rtol=10 * TOLERANCE[dtype])
    wrong, _ = outcome(np.einsum, equation, *arrays[:-1])
    expected, _ = outcome(numpy.einsum, equation, *arrays[:-1])
    agree(wrong, expected)


def test_einsum_of_one_array_is_a_view():
    array = numbers((30, 30), "float32")
    np.einsum("ii->i", array)[:] = 7
    assert (numpy.diagonal(array) == 7).all()


@pytest.mark.parametrize("axes", [0, 1, 2, ([1], [0]), (1, 0), ([0, 1], [1, 0]), 3, "x", -1])
def test_tensordot(axes):
    x, y = numbers((30, 30), "float32"), numbers((30, 30), "float32", 1)
    both("tensordot", x, y, axes)
    both("tensordot", x, y, axes=axes)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_call(data):
    """Functions, shapes and keywords at random."""
    name = data.draw(st.sampled_from([*UNARY, *BINARY, *REDUCTIONS]))
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = tuple(data.draw(st.lists(st.integers(0, 40), max_size=3)))
    arrays = [numbers(shape, dtype, seed) for seed in range(TABLE[name].arity)]
    if name in REDUCTIONS:
        options = [{}, {"axis": 0}, {"axis": 1}, {"axis": -1, "keepdims": True}]
    else:
        options = [{}, {"dtype": "float64"}, {"where": True}, {"casting": "no"}, {"order": "F"}, {"subok": False}]
    both(name, *arrays, **data.draw(st.sampled_from(options)))
