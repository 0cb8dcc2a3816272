"""Views under torch's names: the memory is shared, the gradient goes back through the view."""

import numpy as np
import pytest

import fastnn
from fastnn.testing import gradcheck

VIEWS = {
    "reshape": lambda x: x.reshape(4, -1),
    "view": lambda x: x.view(6, 4),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "ravel": lambda x: x.ravel(),
    "squeeze": lambda x: x[:1].squeeze((0, 1)),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "transpose": lambda x: x.transpose(0, -1),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim((0, 1), (2, 0)),
    "expand": lambda x: x[:, :1].expand(5, -1, 3, -1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(-1, -2),
    "diagonal": lambda x: x.diagonal(1, 0, 2),
    "unfold": lambda x: x.unfold(2, 3, 1),
    "as_strided": lambda x: x.as_strided((3, 4), (2, 1), 1),
    "basic index": lambda x: x[..., None, ::2, 1:],
    "mT": lambda x: x.mT,
}


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory_and_carry_gradients_back(name):
    view = VIEWS[name]
    x = fastnn.tensor(numbers(2, 3, 4))
    y = view(x)
    assert np.may_share_memory(x.array, y.array)
    x.add_(1)
    assert y._version == x._version
    np.testing.assert_array_equal(y.array, view(fastnn.tensor(x.array)).array)
    assert gradcheck(view, [fastnn.tensor(numbers(2, 3, 4), requires_grad=True)])


def test_views_hold_for_any_dtype_and_for_arrays():
    for dtype in (np.int8, np.bool_, np.float16, np.uint8, np.complex64):
        x = fastnn.from_numpy(np.ones((2, 3), dtype))
        assert x.T.dtype == dtype
        assert np.may_share_memory(x.T.array, x.array)
        assert x.T.reshape(-1).shape == (6,)
    x = np.ones((2, 3), np.float32)
    assert isinstance(fastnn.ops.transpose(x), np.ndarray)
    fastnn.ops.transpose(x)[0, 1] = 5
    assert x[1, 0] == 5


def test_a_change_of_a_view_reaches_its_base_on_the_tape():
    x = fastnn.tensor(numbers(3, 4), requires_grad=True)
    y = x * 1
    y.T.select(0, 1).mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 3.0, 1.0, 1.0]] * 3


@pytest.mark.parametrize(
    ("split", "count"),
    [
        (lambda x: x.split(2, 1), 3),
        (lambda x: x.split([1, 0, 4], 1), 3),
        (lambda x: x.chunk(2, 1), 2),
        (lambda x: x.unbind(1), 5),
        (lambda x: x.tensor_split(3, 1), 3),
        (lambda x: x.tensor_split((1, -1), 1), 3),
        (lambda x: x.hsplit([2, 2]), 3),
        (lambda x: x.vsplit(2), 2),
    ],
)
def test_parts(split, count):
    x = fastnn.tensor(numbers(4, 5), requires_grad=True)
    parts = split(x)
    assert len(parts) == count
    assert all(np.may_share_memory(p.array, x.array) for p in parts if p.numel())
    # the gradient of parts that are not used is 0
    (parts[0] * 2).sum().backward()
    assert (x.grad.array != 0).sum() == parts[0].numel()
    assert gradcheck(lambda x: split(x), [x.detach().requires_grad_()])


def test_tensors_that_change_their_own_shape():
    x = fastnn.tensor(numbers(2, 1, 3), requires_grad=True)
    y = x * 2
    assert y.squeeze_(1) is y
    assert y.t_().shape == (3, 2)
    y.unsqueeze_(0).transpose_(0, 2)
    assert y.shape == (2, 3, 1)
    (y * fastnn.tensor(numbers(2, 3, 1))).sum().backward()
    np.testing.assert_allclose(x.grad.array[:, 0], 2 * numbers(2, 3, 1)[..., 0])
    with pytest.raises(RuntimeError, match="squeeze_: a leaf"):
        x.squeeze_()
    z = fastnn.tensor([1.0, 2.0, 3.0])
    assert z.resize_(2, 2).array.ravel()[:3].tolist() == [1.0, 2.0, 3.0]
    y.detach_()
    assert y.is_leaf
    assert not y.requires_grad


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.reshape(5, -1), ValueError, "reshape: shape must have the 6 elements"),
        (lambda x: x.T.view(6), ValueError, "without a copy"),
        (lambda x: x.permute(0, 0), ValueError, "name each of the 2 axes once"),
        (lambda x: x.transpose(0, 2), IndexError, "axis must lie from -2 to 1, got 2"),
        (lambda x: x.expand(3, 3), ValueError, r"shape must be one that \(2, 3\) can be expanded to"),
        (lambda x: x.narrow(0, 1, 2), ValueError, "narrow: length must lie from 0 to 1"),
        (lambda x: x.select(0, 2), IndexError, "select: index must lie from -2 to 1"),
        (lambda x: x.split([1, 2], 0), ValueError, "must add up to the extent 2"),
        (lambda x: x.chunk(0), ValueError, "chunk: chunks must be positive"),
        (lambda x: x.unfold(0, 3, 1), ValueError, "size must lie from 0 to the extent 2"),
        (lambda x: x.as_strided((7,), (1,)), ValueError, "within the 6 elements"),
        (lambda x: x.unflatten(1, (2, 2)), ValueError, "multiply to the extent 3"),
        (lambda x: x.squeeze("a"), TypeError, "must be an integer"),
        (lambda x: x.diagonal(0, 1, 1), ValueError, "different axes"),
        (lambda x: fastnn.broadcast_tensors(x, fastnn.ones(4)), ValueError, "broadcast together"),
    ],
)
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call(fastnn.tensor(numbers(2, 3)))
