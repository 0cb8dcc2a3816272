"""Joining, rearranging, taking and putting under torch's names, against NumPy's indexing."""

import itertools

import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn import nn
from fastnn.testing import gradcheck


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def leaf(*shape):
    return fastnn.tensor(numbers(*shape), requires_grad=True)


INDICES = {
    "array": ([2, 0, 2],),
    "matrix": (slice(None), [[0, 1], [3, 3]]),
    "two": ([0, 2], [1, 3]),
    "apart": ([0, 2], slice(None), [1, 1]),
    "with an int": (1, slice(None), [4, 0]),
    "an int between": ([0, 1], 2, [0, 3]),
    "new axis": (None, [1, 0], ..., [-1, 2]),
    "mask": (np.array([True, False, True]),),
    "mask of two axes": (numbers(3, 4) > 0,),
    "mask and slice": (slice(1, None), np.array([True, False, True, True])),
    "broadcast": ([[0], [2]], [1, 3]),
    "empty": (np.zeros(0, np.int64),),
    "true": (True, slice(0, 2)),
}


@pytest.mark.parametrize("name", INDICES)
def test_advanced_indices(name):
    index = INDICES[name]
    x = numbers(3, 4, 5)
    parts = tuple(np.array(p) if isinstance(p, list) else p for p in index)
    expected = (
        x[1][:, parts[2]] if name == "with an int" else x[:, 2][parts[0], parts[2]] if "between" in name else x[parts]
    )
    got = fastnn.tensor(x)[index]
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got.array, expected)
    assert gradcheck(lambda x: x[index], [leaf(3, 4, 5)])
    whole = fastnn.tensor(np.arange(60).reshape(3, 4, 5))
    np.testing.assert_array_equal(x.reshape(-1)[whole[index].array], expected)


@pytest.mark.parametrize("name", [*INDICES, "slices", "element"])
def test_assignment_is_recorded(name):
    index = {**INDICES, "slices": (slice(1, None), ..., slice(None, None, 2)), "element": (1, 2, 3)}[name]
    x, y = leaf(3, 4, 5), fastnn.tensor(numbers(3, 4, 5))
    value = fastnn.tensor(2.0, dtype=np.float64, requires_grad=True)
    z = x * 1
    z[index] = value
    with fastnn.no_grad():
        y[index] = 2.0
    np.testing.assert_array_equal(z.array, y.array)
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.array, (y.array != 2.0).astype(np.float64))
    # as in torch, each of several indices of one place counts
    assert value.grad.item() == x[index].numel()


def test_assignment_after_views_and_to_views():
    x = leaf(4, 3)
    y = x * 1
    first = y[0]
    for i in range(1, 4):
        y[i] = y[i - 1] * 2
    y[:, 1] += first[1]
    assert gradcheck(lambda x: _doubled(x), [leaf(4, 3)])
    y.sum().backward()
    assert x.grad.array[1:].sum() == 0


def _doubled(x):
    y = x * 1
    for i in range(1, 4):
        y[i] = y[i - 1] * 2
    return y


def test_leaves_and_bad_indices_are_refused():
    x = leaf(2, 3)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 1
    y = fastnn.tensor(numbers(2, 3))
    for index, words in (
        (2, "out of bounds"),
        ((0, 0, 0), "too many|at most"),
        ([0, 2], "indices from -2 to 1, got 2 at 1"),
        ([[0], [1], [2]], "got 2"),
        (([0, 1], [0, 5]), "index 5 at 1 is out of bounds for axis 1"),
        (([0, 1], [0, 1, 2]), "broadcast together"),
        (np.array([True]), r"a mask must have shape \(2,\)"),
        (0.5, "made of integers"),
        (fastnn.tensor([0.5]), "integers or bools"),
    ):
        with pytest.raises(IndexError, match=words):
            y[index]
    before = y.array.copy()
    with pytest.raises(IndexError):
        y[[0, 5]] = 1.0
    with pytest.raises(ValueError, match="assignment to part"):
        y[0] = np.ones(4)
    np.testing.assert_array_equal(y.array, before)


# -- joining


def test_many_tensors_join_in_groups():
    given = [leaf(2, i % 3) for i in range(40)]
    y = fastnn.cat(given, 1)
    np.testing.assert_array_equal(y.array, np.concatenate([x.array for x in given], 1))
    y.sum().backward()
    assert all((x.grad.array == 1).all() for x in given)
    assert fastnn.stack([fastnn.tensor([1.0, 2.0])] * 33, 1).shape == (2, 33)


def test_cat_skips_empty_vectors_and_promotes():
    x = fastnn.tensor(numbers(2, 3).astype(np.float32))
    assert fastnn.cat([fastnn.tensor([]), x], 1).shape == (2, 3)
    assert fastnn.cat([x, fastnn.ones(1, 3, dtype=np.float64)]).dtype == np.float64
    out = fastnn.zeros(4, 3)
    assert fastnn.cat([x, x], out=out) is out
    np.testing.assert_array_equal(out.array[2:], x.array)
    with pytest.raises(ValueError, match=r"x1 must have shape \(\*, 3\) to match x0 \(2, 3\)"):
        fastnn.cat([x, fastnn.ones(2, 4)])
    with pytest.raises(ValueError, match="at least one"):
        fastnn.cat([])


def test_replacing_a_part():
    x, v = numbers(3, 4), numbers(3)
    assert fastnn.select_scatter(fastnn.tensor(x), fastnn.tensor(v), 1, -1).array[:, 3].tolist() == v.tolist()
    for call, shape in (
        (lambda x, v: fastnn.select_scatter(x, v, 1, 2), (3,)),
        (lambda x, v: fastnn.slice_scatter(x, v, 1, 0, None, 2), (3, 2)),
        (lambda x, v: fastnn.diagonal_scatter(x, v, 1), (3,)),
    ):
        assert gradcheck(call, [leaf(3, 4), leaf(*shape)])
    with pytest.raises(ValueError, match=r"src must have shape \(3,\), got \(4,\)"):
        fastnn.select_scatter(fastnn.tensor(x), fastnn.ones(4), 1, 0)


# -- taking and putting


def test_bad_indices_are_named_before_anything_is_written():
    x = fastnn.tensor(numbers(3, 4).astype(np.float32))
    bad = fastnn.tensor([[0, 1], [1, 7]])
    for call in (
        lambda: x.gather(0, bad),
        lambda: x.scatter_(0, bad, 1.0),
        lambda: F.embedding(bad, x),
    ):
        before = x.array.copy()
        with pytest.raises(IndexError, match=r"indices from 0 to 2, got 7 at \(1, 1\)"):
            call()
        np.testing.assert_array_equal(x.array, before)
    with pytest.raises(IndexError, match="got -1 at 1"):
        x.index_select(0, fastnn.tensor([0, -1]))
    with pytest.raises(IndexError, match="got 3 at 0"):
        x.index_add_(0, fastnn.tensor([3]), fastnn.ones(1, 4))
    with pytest.raises(TypeError, match="index must hold integers"):
        x.gather(0, fastnn.ones(1, 1))


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(reduce, include):
    index = np.random.default_rng(1).integers(0, 3, (6, 4))
    fold = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    x, src = numbers(3, 4), numbers(6, 4)
    got = fastnn.tensor(x).scatter_reduce(0, fastnn.tensor(index), fastnn.tensor(src), reduce, include_self=include)
    for i in range(3):
        for j in range(4):
            put = src[index[:, j] == i, j]
            expected = fold([*put, x[i, j]]) if include or not len(put) else fold(put)
            np.testing.assert_allclose(got.array[i, j], expected)
    assert gradcheck(
        lambda x, s: x.scatter_reduce(0, fastnn.tensor(index), s, reduce, include_self=include),
        [leaf(3, 4), leaf(6, 4)],
    )


def test_products_with_zeros_have_the_gradient_of_the_others():
    x = fastnn.tensor([2.0, 0.0, 0.0], requires_grad=True)
    src = fastnn.tensor([3.0, 0.0, 5.0, 7.0], requires_grad=True)
    x.scatter_reduce(0, fastnn.tensor([0, 0, 1, 2]), src, "prod").sum().backward()
    assert x.grad.tolist() == [0.0, 5.0, 7.0]
    assert src.grad.tolist() == [0.0, 6.0, 0.0, 0.0]


def test_putting_in_place():
    index = fastnn.tensor([2, 0])
    for change, expected in (
        (lambda x: x.index_fill_(0, index, 7.0), [[7.0] * 2, [1.0] * 2, [7.0] * 2]),
        (lambda x: x.index_add_(0, index, fastnn.ones(2, 2), alpha=2), [[3.0] * 2, [1.0] * 2, [3.0] * 2]),
        (lambda x: x.index_copy_(0, index, fastnn.zeros(2, 2)), [[0.0] * 2, [1.0] * 2, [0.0] * 2]),
        (lambda x: x.put_(fastnn.tensor([0, -1]), fastnn.tensor([5.0, 6.0])), [[5.0, 1.0], [1.0, 1.0], [1.0, 6.0]]),
        (lambda x: x.index_put_((index,), fastnn.tensor([4.0]), True), [[5.0] * 2, [1.0] * 2, [5.0] * 2]),
        (lambda x: x.masked_fill_(fastnn.eye(3, 2).bool(), -1), [[-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]),
        (lambda x: x.masked_scatter_(fastnn.eye(3, 2).bool(), index.float()), [[2.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        (lambda x: x.scatter_(1, fastnn.tensor([[1]]), 9.0), [[1.0, 9.0], [1.0, 1.0], [1.0, 1.0]]),
    ):
        plain = fastnn.ones(3, 2)
        assert change(plain) is plain
        assert plain.tolist() == expected
        x = fastnn.ones(3, 2).requires_grad_()
        y = x * 1
        change(y).sum().backward()
        assert y.tolist() == expected
        assert x.grad is not None


def test_nonzero_and_masks():
    x = fastnn.tensor([[0.0, 2.0], [3.0, 0.0]])
    assert x.nonzero().tolist() == [[0, 1], [1, 0]]
    assert [i.tolist() for i in x.nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert fastnn.tensor(1.0).nonzero().shape == (1, 0)
    with pytest.raises(ValueError, match="nonzero: out must be None"):
        fastnn.nonzero(x, as_tuple=True, out=fastnn.zeros(0, dtype=np.int64))
    assert x.masked_select(x > 0).tolist() == [2.0, 3.0]
    with pytest.raises(TypeError, match="mask must hold bools"):
        x.masked_select(x)


def test_repeats():
    x = leaf(2, 3)
    np.testing.assert_array_equal(x.repeat(2, 1, 2).array, np.tile(x.array, (2, 1, 2)))
    counts = fastnn.tensor([2, 0, 3])
    np.testing.assert_array_equal(x.repeat_interleave(counts, 1).array, x.array.repeat([2, 0, 3], 1))
    assert fastnn.repeat_interleave(counts).tolist() == [0, 0, 2, 2, 2]
    assert gradcheck(lambda x: x.repeat_interleave(counts, 1), [x])
    with pytest.raises(ValueError, match="a number for each of the 2 axes"):
        x.repeat(2)
    with pytest.raises(ValueError, match="not be negative"):
        x.repeat_interleave(-1)


# -- embeddings, padding, patches


def test_embedding_gradients_count_rows():
    table = leaf(4, 3)
    index = fastnn.tensor([[1, 1, 3], [0, 1, 3]])
    F.embedding(index, table, padding_idx=-1).sum().backward()
    assert table.grad.array[:, 0].tolist() == [1.0, 3.0, 0.0, 0.0]
    table.grad = None
    F.embedding(index, table, scale_grad_by_freq=True).sum().backward()
    assert table.grad.array[:, 0].tolist() == [1.0, 1.0, 0.0, 1.0]


def test_embedding_module():
    layer = nn.Embedding(5, 3, padding_idx=1, max_norm=1.0)
    assert layer.weight.array[1].tolist() == [0.0] * 3
    with fastnn.no_grad():
        layer.weight.mul_(100)
    y = layer(fastnn.tensor([0, 4]))
    assert np.linalg.norm(y.array, axis=1).max() <= 1 + 1e-6
    assert np.linalg.norm(layer.weight.array[2]) > 1
    frozen = nn.Embedding.from_pretrained(fastnn.ones(3, 2))
    assert not frozen.weight.requires_grad
    assert list(layer.state_dict()) == ["weight"]
    with pytest.raises(ValueError, match="sparse must be False"):
        nn.Embedding(2, 2, sparse=True)
    with pytest.raises(ValueError, match="padding_idx must lie"):
        nn.Embedding(2, 2, padding_idx=2)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("name", "mode"), [("Reflection", "reflect"), ("Replication", "edge"), ("Circular", "wrap")])
def test_padding_modules(name, mode, dims):
    x = numbers(2, *range(4, 4 + dims))
    layer = getattr(nn, f"{name}Pad{dims}d")(tuple(range(1, 2 * dims + 1))[: 2 * dims] if mode == "edge" else 2)
    pairs = list(zip(layer.padding[::2], layer.padding[1::2], strict=True))[::-1]
    np.testing.assert_array_equal(layer(fastnn.tensor(x)).array, np.pad(x, [(0, 0), *pairs], mode))
    assert gradcheck(layer, [fastnn.tensor(x, requires_grad=True)], samples=40)


def test_padding_with_a_constant():
    x = fastnn.tensor(numbers(2, 3, 4))
    np.testing.assert_array_equal(F.pad(x, (1, -1, 0, 2), value=5.0).array, np.pad(
        x.array[..., :-1], ((0, 0), (0, 2), (1, 0)), constant_values=5.0
    ))  # fmt: skip
    assert nn.ConstantPad2d(1, 3.5)(x).array[0, 0, 0] == 3.5
    assert nn.ZeroPad1d((1, 2))(x).shape == (2, 3, 7)
    assert F.pad(fastnn.tensor([1, 2]), (1, 1), value=9).tolist() == [9, 1, 2, 9]
    for bad, words in (((1,), "pairs"), ((4, 0), "must be at most 3"), ((0, 0, 0, 0, 0, 0, 0, 0), "pairs")):
        with pytest.raises(ValueError, match=words):
            F.pad(x, bad, "reflect")


def test_patches_go_back_where_they_came_from():
    x = leaf(2, 3, 6, 5)
    options = {"kernel_size": (2, 3), "dilation": (2, 1), "padding": (1, 0), "stride": (1, 2)}
    columns = nn.Unfold(**options)(x)
    assert columns.shape == (2, 18, 12)
    once = nn.Fold((6, 5), **options)(fastnn.ones(2, 18, 12, dtype=np.float64))
    back = nn.Fold((6, 5), **options)(columns)
    np.testing.assert_allclose(back.array, x.array * once.array)
    assert gradcheck(nn.Unfold(**options), [x], samples=30)
    assert gradcheck(nn.Fold((6, 5), **options), [leaf(2, 18, 12)], samples=30)


def test_pixels_and_channels():
    x = leaf(2, 8, 3, 4)
    y = nn.PixelShuffle(2)(x)
    assert y.shape == (2, 2, 6, 8)
    np.testing.assert_array_equal(nn.PixelUnshuffle(2)(y).array, x.array)
    np.testing.assert_array_equal(nn.ChannelShuffle(2)(x).array, x.array[:, [0, 4, 1, 5, 2, 6, 3, 7]])
    with pytest.raises(ValueError, match="multiple of 9 channels"):
        F.pixel_shuffle(x, 3)


def test_one_hot():
    assert F.one_hot(fastnn.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert F.one_hot(fastnn.tensor([[1]]), 3).shape == (1, 1, 3)
    with pytest.raises(IndexError, match="classes from 0 to 1, got 2"):
        F.one_hot(fastnn.tensor([0, 2]), 2)


def test_contiguous_copies():
    x = fastnn.tensor(numbers(3, 4), requires_grad=True)
    assert x.contiguous() is x
    y = x.T.contiguous()
    assert y.is_contiguous()
    (y * fastnn.tensor(numbers(4, 3))).sum().backward()
    np.testing.assert_array_equal(x.grad.array, numbers(4, 3).T)


@pytest.mark.parametrize("shape", [(70, 130), (3, 40, 50), (5000,)])
def test_copies_between_orders_of_axes(shape):
    x = numbers(*shape).astype(np.float32)
    for order in itertools.permutations(range(len(shape))):
        for steps in itertools.product([1, -1], repeat=len(shape)):
            seen = x.transpose(order)[tuple(slice(None, None, s) for s in steps)]
            results = []
            for count in (1, 3):
                with fastnn.threads(count):
                    results.append(fastnn.ops.reshape(seen, seen.shape, True))
            for y in results:
                assert y.flags.c_contiguous
                np.testing.assert_array_equal(y, seen)


def test_rows_that_meet_are_added_in_the_order_of_their_indices():
    rng = np.random.default_rng(0)
    for count, rows, width in ((50, 7, 40), (300, 100, 64), (200, 1, 3)):
        index, given = rng.integers(0, rows, count), rng.standard_normal((count, width)).astype(np.float32)
        expected = np.zeros((rows, width), np.float32)
        np.add.at(expected, index, given)
        for threads in (1, 2, 5):
            with fastnn.threads(threads):
                got = fastnn.ops.index_put(np.zeros((rows, width), np.float32), index, given, 0, "add")
            np.testing.assert_array_equal(got, expected)


def test_large_gradients_of_transposed_leaves():
    x = leaf(100, 90)
    weight = numbers(90, 100)
    (x.T.contiguous() * fastnn.tensor(weight)).sum().backward()
    np.testing.assert_array_equal(x.grad.array, weight.T)
    assert x.grad.array.flags.c_contiguous
