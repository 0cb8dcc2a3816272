"""Tensors from sizes, numbers and ranges, and what dtypes say of themselves."""

import numpy as np
import pytest

import fastnn


@pytest.fixture
def default_float64():
    fastnn.set_default_dtype(fastnn.float64)
    yield
    fastnn.set_default_dtype(fastnn.float32)


@pytest.mark.parametrize(("name", "value"), [("zeros", 0), ("ones", 1), ("empty", None)])
def test_sizes(name, value):
    make = getattr(fastnn, name)
    for size in (((2, 3),), (2, 3), ([2, 3],)):
        x = make(*size)
        assert (x.shape, x.dtype, x.requires_grad) == ((2, 3), np.float32, False)
        if value is not None:
            assert (x.numpy() == value).all()
    assert make(size=(4,)).shape == (4,)
    assert make(()).shape == make().shape == ()
    assert make(0, 5, dtype="int8", device="cpu", pin_memory=False).dtype == np.int8
    assert make(2, requires_grad=True).requires_grad
    x = fastnn.ones(4, 3, dtype="float64").t()
    like = getattr(fastnn, f"{name}_like")(x, memory_format=None)
    assert (like.shape, like.dtype, like.stride()) == (x.shape, x.dtype, x.stride())
    assert getattr(x, f"new_{name}")(2, 5).shape == (2, 5)
    assert getattr(x, f"new_{name}")((2, 5), dtype="int32").dtype == np.int32
    out = fastnn.full((2,), 7.0)
    assert make(2, out=out) is out
    if value is not None:
        assert out.tolist() == [value, value]


def test_full():
    assert fastnn.full((2,), True).dtype == np.bool_
    assert fastnn.full((2,), 3).dtype == np.int64
    assert fastnn.full((2,), 3.0).dtype == np.float32
    assert fastnn.full((2,), 3, dtype="float64").tolist() == [3, 3]
    assert fastnn.full((), fastnn.tensor(2.5)).item() == 2.5
    assert fastnn.full_like(fastnn.zeros(2, dtype="int64"), 2.9).tolist() == [2, 2]
    assert fastnn.zeros(1, dtype="float64").new_full((2, 2), 5).dtype == np.float64
    assert fastnn.full((2,), -1, dtype="uint8").tolist() == [255, 255]
    with pytest.raises(ValueError, match="full: fill_value must fit int8, got 300"):
        fastnn.full((2,), 300, dtype="int8")
    with pytest.raises(ValueError, match="full: fill_value must fit float32, got 1e"):
        fastnn.full((2,), 1e300)
    assert fastnn.full((1,), float("inf")).tolist() == [float("inf")]
    assert fastnn.full((1,), 1e300, dtype="float64").tolist() == [1e300]
    with pytest.raises(ValueError, match="full: fill_value must be a number, got shape"):
        fastnn.full((2,), [1.0, 2.0], dtype="float32")


def test_arange():
    assert fastnn.arange(3).tolist() == [0, 1, 2]
    assert fastnn.arange(3).dtype == np.int64
    assert fastnn.arange(3.0).dtype == np.float32
    assert fastnn.arange(1, 4).tolist() == fastnn.arange(start=1, end=4).tolist() == [1, 2, 3]
    assert fastnn.arange(5, 0, -2).tolist() == [5, 3, 1]
    np.testing.assert_allclose(fastnn.arange(1, 2.5, 0.5).numpy(), [1, 1.5, 2])
    assert fastnn.arange(0, 5.5, dtype="int64").tolist() == [0, 1, 2, 3, 4]
    assert fastnn.arange(0, 5.5, dtype="int32").tolist() == [0, 1, 2, 3, 4, 5]
    assert fastnn.arange(2**53, 2**53 + 3).tolist() == [2**53, 2**53 + 1, 2**53 + 2]
    assert fastnn.arange(fastnn.tensor(3)).tolist() == [0, 1, 2]
    assert fastnn.arange(0).shape == (0,)
    out = fastnn.zeros(3, dtype="int16")
    assert fastnn.arange(3, out=out) is out
    assert out.tolist() == [0, 1, 2]


def test_spaced_numbers():
    np.testing.assert_array_equal(fastnn.linspace(0, 1, 5).numpy(), np.linspace(0, 1, 5, dtype="float32"))
    assert fastnn.linspace(3, 10, 1).tolist() == [3]
    assert fastnn.linspace(3, 10, 0).shape == (0,)
    assert fastnn.linspace(0, 10, 4, dtype="int64").tolist() == [0, 3, 6, 10]
    assert fastnn.linspace(4.3, -3, 8, dtype="int64").tolist() == [4, 3, 2, 1, 0, -1, -2, -3]
    x = fastnn.linspace(-1, 1, 1001, dtype="float64").numpy()
    np.testing.assert_array_equal(x, -x[::-1])
    assert fastnn.logspace(0, 3, 4).tolist() == [1, 10, 100, 1000]
    assert fastnn.logspace(0, 3, 4, base=2, dtype="int32").tolist() == [1, 2, 4, 8]
    assert fastnn.linspace(fastnn.tensor(0.0), 2, 3).tolist() == [0, 1, 2]


def test_matrices_and_triangles():
    assert fastnn.eye(2).tolist() == [[1, 0], [0, 1]]
    np.testing.assert_array_equal(fastnn.eye(3, 5, dtype="int64").numpy(), np.eye(3, 5))
    out = fastnn.ones(4, 3).t()
    np.testing.assert_array_equal(fastnn.eye(3, 4, out=out).numpy(), np.eye(3, 4))
    nothing = fastnn.tensor(np.empty((2, 0), np.float32))
    assert fastnn.eye(2, 0, out=nothing) is nothing
    for offset in (-2, 0, 1, 9, -9):
        np.testing.assert_array_equal(fastnn.tril_indices(3, 4, offset).numpy(), np.tril_indices(3, offset, 4))
        np.testing.assert_array_equal(fastnn.triu_indices(3, 4, offset).numpy(), np.triu_indices(3, offset, 4))
    assert fastnn.tril_indices(0, 4).shape == (2, 0)
    assert fastnn.triu_indices(2, 2, dtype="int32").dtype == np.int32


def test_meshgrid():
    x, y = fastnn.arange(3.0).requires_grad_(), fastnn.arange(2.0)
    for indexing in ("ij", "xy"):
        grids = fastnn.meshgrid(x, y, indexing=indexing)
        for got, expected in zip(grids, np.meshgrid(np.arange(3), np.arange(2), indexing=indexing), strict=True):
            np.testing.assert_array_equal(got.detach().numpy(), expected)
    fastnn.meshgrid([x, y])[0].sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert [g.shape for g in fastnn.meshgrid(fastnn.tensor(1.0), y)] == [(1, 2), (1, 2)]


def test_products_and_combinations():
    x, y = fastnn.tensor([1.0, 2.0], requires_grad=True), fastnn.tensor([5.0, 6.0, 7.0])
    rows = fastnn.cartesian_prod(x, y)
    assert rows.tolist() == [[1, 5], [1, 6], [1, 7], [2, 5], [2, 6], [2, 7]]
    rows.sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert fastnn.cartesian_prod(y) is y
    assert fastnn.combinations(y).tolist() == [[5, 6], [5, 7], [6, 7]]
    assert fastnn.combinations(x.detach(), with_replacement=True).tolist() == [[1, 1], [1, 2], [2, 2]]
    assert fastnn.combinations(y, 0).shape == (0,)
    assert fastnn.combinations(y, 4).shape == (0, 4)
    z = fastnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
    fastnn.combinations(z, 2)[0].sum().backward()
    assert z.grad.tolist() == [1, 1, 0]


def test_long_ranges():
    np.testing.assert_array_equal(fastnn.arange(100_001.0).numpy(), np.arange(100_001, dtype="float32"))
    np.testing.assert_allclose(
        fastnn.arange(-3, 50_000, 0.5, dtype="float64").numpy(), np.arange(-3, 50_000, 0.5), rtol=1e-15
    )
    np.testing.assert_allclose(fastnn.linspace(-1, 3, 77_777).numpy(), np.linspace(-1, 3, 77_777), rtol=1e-7, atol=1e-7)
    assert fastnn.arange(2**63 - 3, 2**63 - 1, dtype="int64").tolist() == [2**63 - 3, 2**63 - 2]


def test_strides():
    x = fastnn.empty_strided((2, 3), (1, 2))
    assert (x.shape, x.stride(), x.dtype) == ((2, 3), (1, 2), np.float32)
    assert fastnn.zeros(1, dtype="int64").new_empty_strided((2, 2), (0, 1)).stride() == (0, 1)
    assert fastnn.empty_strided((0, 3), (3, 1)).shape == (0, 3)
    y = fastnn.empty_permuted((2, 3, 5), (0, 2, 1))
    assert (y.shape, y.stride()) == ((2, 3, 5), (15, 1, 3))
    assert fastnn.empty_permuted((), ()).shape == ()


def test_asarray_shares_where_it_can():
    a = np.zeros(3, np.float32)
    assert np.shares_memory(fastnn.asarray(a).numpy(), a)
    assert not np.shares_memory(fastnn.asarray(a, copy=True).numpy(), a)
    assert fastnn.asarray(a, dtype="float64", requires_grad=True).requires_grad
    t = fastnn.zeros(3)
    assert fastnn.asarray(t) is t
    assert fastnn.asarray(t, copy=True) is not t
    assert fastnn.asarray([1.0, 2.0]).dtype == np.float32
    for bad in (lambda: fastnn.asarray([1], copy=False), lambda: fastnn.asarray(a, dtype="int8", copy=False)):
        with pytest.raises(ValueError, match="without a copy"):
            bad()
    assert fastnn.scalar_tensor(3).dtype == np.float32
    assert t.new_tensor([1, 2]).dtype == np.float32


def test_constructors_named_by_type():
    kinds = {"Bool": "bool", "Byte": "uint8", "Char": "int8", "Short": "int16", "Int": "int32", "Long": "int64"}
    kinds |= {"Half": "float16", "Float": "float32", "Double": "float64"}
    for name, dtype in kinds.items():
        kind = getattr(fastnn, f"{name}Tensor")
        assert kind([1, 0]).dtype == dtype
        assert kind(2, 3).shape == (2, 3)
        assert kind().shape == (0,)
        assert isinstance(kind([1]), kind)
        assert not isinstance(fastnn.zeros(1, dtype="uint32"), kind)
    with pytest.raises(TypeError, match="LongTensor: takes numbers in one sequence"):
        fastnn.LongTensor([1], [2])


def test_default_dtype(default_float64):
    assert fastnn.get_default_dtype() == np.float64
    assert fastnn.zeros(2).dtype == fastnn.rand(2).dtype == fastnn.tensor([1.5]).dtype == np.float64
    assert fastnn.arange(2.0).dtype == fastnn.linspace(0, 1, 2).dtype == fastnn.full((1,), 1.0).dtype == np.float64
    assert (fastnn.tensor([1, 2]) * 1.5).dtype == np.float64
    assert fastnn.finfo().bits == 64
    assert fastnn.tensor([1]).dtype == np.int64
    with pytest.raises(TypeError, match="set_default_dtype: d must be a floating dtype, got int64"):
        fastnn.set_default_dtype("int64")


def test_limits():
    own = fastnn.finfo(fastnn.float32)
    assert (own.bits, own.eps, own.dtype, own.tiny) == (32, 2**-23, "float32", 2**-126)
    assert own.max == -own.min == float(np.finfo("float32").max)
    assert "eps=1.19209e-07" in repr(own)
    whole = fastnn.iinfo("int8")
    assert (whole.min, whole.max, whole.bits, repr(whole)) == (-128, 127, 8, "iinfo(min=-128, max=127, dtype=int8)")
    with pytest.raises(TypeError, match="finfo: type must be a floating dtype"):
        fastnn.finfo("int8")
    with pytest.raises(TypeError, match="iinfo: type must be an integer dtype"):
        fastnn.iinfo("float32")


def test_what_dtypes_become_together():
    assert fastnn.result_type(fastnn.tensor([1, 2]), 1.0) == np.float32
    assert fastnn.result_type(fastnn.tensor([1.0], dtype="float64"), fastnn.tensor(1.0)) == np.float64
    assert fastnn.promote_types("int64", "float16") == np.float16
    assert fastnn.promote_types("uint8", "int8") == np.int16
    assert fastnn.can_cast("float32", "float16")
    assert fastnn.can_cast("int64", "uint8")
    assert not fastnn.can_cast("float32", "int64")
    assert not fastnn.can_cast("int64", "bool")


def test_what_tensors_say_of_themselves():
    x = fastnn.zeros(2, 3)
    assert fastnn.is_tensor(x)
    assert not fastnn.is_tensor(np.zeros(2))
    assert fastnn.numel(x) == 6
    assert fastnn.is_floating_point(x)
    assert not fastnn.is_complex(x)
    assert x.is_signed()
    assert not fastnn.zeros(1, dtype="uint8").is_signed()
    assert fastnn.is_nonzero(fastnn.tensor([2.0]))
    with pytest.raises(ValueError, match="is_nonzero: input must have exactly one element"):
        fastnn.is_nonzero(x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fastnn.zeros(-1), ValueError, "zeros: size must be at least 0"),
        (lambda: fastnn.zeros(1.5), TypeError, "zeros: size must be an integer, got 1.5"),
        (lambda: fastnn.zeros(2, size=(2,)), TypeError, "zeros: size must be given once"),
        (lambda: fastnn.zeros(2, dtype="U3"), TypeError, "zeros: dtype must be of numbers"),
        (lambda: fastnn.zeros(2, device="cuda:0"), ValueError, "zeros: the only device is cpu, got 'cuda:0'"),
        (lambda: fastnn.zeros(2, layout="sparse_coo"), ValueError, "zeros: the only layout is strided"),
        (lambda: fastnn.zeros(2, dtype="int64", requires_grad=True), TypeError, "only Tensors of floats can require"),
        (lambda: fastnn.zeros(2, out=fastnn.ones(3)), ValueError, r"zeros: out must have shape \(2,\), got \(3,\)"),
        (lambda: fastnn.zeros(2, out=fastnn.ones(2), dtype="int8"), TypeError, "zeros: out must have dtype int8, got"),
        (lambda: fastnn.zeros_like([1]), TypeError, "zeros_like: input must be a Tensor, got list"),
        (lambda: fastnn.arange(), TypeError, "arange: end is missing"),
        (lambda: fastnn.arange(1, 2, 3, 4), TypeError, "arange: takes at most 3 numbers, got 4"),
        (lambda: fastnn.arange(0, 3, 0), ValueError, "arange: step must not be zero"),
        (lambda: fastnn.arange(3, 0), ValueError, "arange: end must lie beyond start in the direction of step"),
        (lambda: fastnn.arange(float("inf")), ValueError, "arange: start and end must be finite"),
        (lambda: fastnn.linspace(0, 1, -1), ValueError, "linspace: steps must be at least 0, got -1"),
        (lambda: fastnn.linspace(fastnn.zeros(2), 1, 2), ValueError, "linspace: start must be a number, got shape"),
        (lambda: fastnn.eye(-1), ValueError, "eye: n and m must be at least 0"),
        (lambda: fastnn.tril_indices(-1, 2), ValueError, "tril_indices: row and col must be at least 0"),
        (lambda: fastnn.meshgrid(), ValueError, "meshgrid: at least one Tensor"),
        (lambda: fastnn.meshgrid(fastnn.ones(2, 2)), ValueError, "meshgrid: tensor 0 must have at most one axis"),
        (lambda: fastnn.meshgrid(fastnn.ones(2), fastnn.arange(2)), TypeError, "meshgrid: tensor 1 must have dtype"),
        (lambda: fastnn.meshgrid(fastnn.ones(2), indexing="a"), ValueError, "meshgrid: indexing must be 'ij' or 'xy'"),
        (lambda: fastnn.cartesian_prod(fastnn.ones(2, 2)), ValueError, "cartesian_prod: tensor 0 must have one axis"),
        (lambda: fastnn.cartesian_prod([1]), TypeError, "cartesian_prod: tensor 0 must be a Tensor, got list"),
        (lambda: fastnn.combinations(fastnn.ones(2, 2)), ValueError, "combinations: input must have one axis, got"),
        (lambda: fastnn.combinations(fastnn.ones(2), -1), ValueError, "combinations: r must be at least 0, got -1"),
        (lambda: fastnn.zeros(2, out=fastnn.ones(1).expand(2)), ValueError, "zeros: elements of out share memory"),
        (lambda: fastnn.meshgrid(3), TypeError, "meshgrid: tensor 0 must be a Tensor, got int"),
        (lambda: fastnn.empty_strided((2,), (1, 1)), ValueError, "empty_strided: stride must have one number"),
        (lambda: fastnn.empty_permuted((2, 3), (0, 0)), ValueError, "empty_permuted: physical_layout must name each"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
