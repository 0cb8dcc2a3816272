"""Losses under torch's names: formulas, options, edges, errors, modules."""

import math
import warnings

import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn import nn

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((4, 5)), RNG.standard_normal((4, 5))
UNIT, GOAL = RNG.uniform(0.05, 0.95, (4, 5)), RNG.uniform(0, 1, (4, 5))
SIGNS = RNG.choice([-1.0, 1.0], (4, 5))
W = RNG.uniform(0.5, 2, (4, 5))


def leaf(x, dtype=np.float64):
    return fastnn.tensor(np.array(x, dtype), requires_grad=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_softmax(x, axis=1):
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


# each: the function, its first arguments, its options, the elements' losses
ELEMENTS = {
    "mse": (F.mse_loss, (X, T), {}, (X - T) ** 2),
    "l1": (F.l1_loss, (X, T), {}, abs(X - T)),
    "smooth_l1": (
        F.smooth_l1_loss,
        (X, T),
        {"beta": 0.7},
        np.where(abs(X - T) < 0.7, (X - T) ** 2 / 1.4, abs(X - T) - 0.35),
    ),
    "smooth_l1_0": (F.smooth_l1_loss, (X, T), {"beta": 0}, abs(X - T)),
    "huber": (
        F.huber_loss,
        (X, T),
        {"delta": 0.7},
        np.where(abs(X - T) <= 0.7, (X - T) ** 2 / 2, 0.7 * (abs(X - T) - 0.35)),
    ),
    "bce": (F.binary_cross_entropy, (UNIT, GOAL), {}, -(GOAL * np.log(UNIT) + (1 - GOAL) * np.log(1 - UNIT))),
    "bce_weight": (
        F.binary_cross_entropy,
        (UNIT, GOAL),
        {"weight": fastnn.tensor(W[0])},
        -(GOAL * np.log(UNIT) + (1 - GOAL) * np.log(1 - UNIT)) * W[0],
    ),
    "bce_logits": (
        F.binary_cross_entropy_with_logits,
        (X, GOAL),
        {"weight": fastnn.tensor(W), "pos_weight": fastnn.tensor(W[1])},
        -(GOAL * W[1] * np.log(sigmoid(X)) + (1 - GOAL) * np.log(sigmoid(-X))) * W,
    ),
    "kl_div": (F.kl_div, (X, GOAL), {}, GOAL * (np.log(GOAL) - X)),
    "kl_div_log": (F.kl_div, (X, T), {"log_target": True}, np.exp(T) * (T - X)),
    "poisson": (F.poisson_nll_loss, (X, GOAL), {}, np.exp(X) - GOAL * X),
    "poisson_full": (
        F.poisson_nll_loss,
        (W, W + 0.8),
        {"log_input": False, "full": True, "eps": 0.1},
        W - (W + 0.8) * np.log(W + 0.1)
        + np.where(W > 0.2, (W + 0.8) * np.log(W + 0.8) - W - 0.8 + np.log(2 * np.pi * (W + 0.8)) / 2, 0),
    ),
    "gaussian": (F.gaussian_nll_loss, (X, T, W), {}, (np.log(W) + (X - T) ** 2 / W) / 2),
    "gaussian_full": (
        F.gaussian_nll_loss,
        (X, T, W[:, :1]),
        {"full": True},
        (np.log(W[:, :1]) + (X - T) ** 2 / W[:, :1] + math.log(2 * math.pi)) / 2,
    ),
    "hinge": (
        F.hinge_embedding_loss,
        (X, SIGNS),
        {"margin": 0.4},
        np.where(SIGNS == 1, X, np.maximum(0.4 - X, 0)),
    ),
    "soft_margin": (F.soft_margin_loss, (X, SIGNS), {}, np.log1p(np.exp(-SIGNS * X))),
    "ranking": (
        F.margin_ranking_loss,
        (X, T, SIGNS),
        {"margin": 0.3},
        np.maximum(0.3 - SIGNS * (X - T), 0),
    ),
}  # fmt: skip


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*args, **kwargs)


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_formulas(name, reduction):
    function, arrays, options, each = ELEMENTS[name]
    expected = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]
    got = quietly(function, *map(fastnn.tensor, arrays), reduction=reduction, **options)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    strided = [fastnn.tensor(np.asfortranarray(a)) for a in arrays]
    np.testing.assert_array_equal(quietly(function, *strided, reduction=reduction, **options).numpy(), got.numpy())


@pytest.mark.parametrize("name", ELEMENTS)
def test_gradients(name):
    function, arrays, options, _ = ELEMENTS[name]
    leaves = [leaf(a) for a in arrays]
    if name.startswith("hinge"):
        leaves[1] = fastnn.tensor(arrays[1])
    for reduction in ("mean", "none"):
        assert fastnn.testing.gradcheck(lambda *xs, r=reduction: quietly(function, *xs, reduction=r, **options), leaves)


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss, F.huber_loss])
def test_weights_of_elements(function):
    each = function(fastnn.tensor(X), fastnn.tensor(T), reduction="none").numpy()
    x, t, w = leaf(X), leaf(T), leaf(W)
    np.testing.assert_allclose(function(x, t, reduction="none", weight=w).detach(), each * W)
    np.testing.assert_allclose(function(x, t, reduction="sum", weight=w).detach(), (each * W).sum())
    divisor = each.size if function is F.huber_loss else W.sum()
    np.testing.assert_allclose(function(x, t, weight=w).detach(), (each * W).sum() / divisor)
    assert fastnn.testing.gradcheck(lambda *xs: function(xs[0], xs[1], weight=xs[2]), [x, t, w], samples=10)
    with pytest.raises(ValueError, match="weight must have the shape of input"):
        function(x, t, weight=w[0])


def test_batchmean_divides_by_the_batch():
    got = F.kl_div(fastnn.tensor(X), fastnn.tensor(GOAL), reduction="batchmean").item()
    np.testing.assert_allclose(got, (GOAL * (np.log(GOAL) - X)).sum() / 4)
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(fastnn.tensor(X), fastnn.tensor(GOAL))
    scalar = F.kl_div(fastnn.tensor(np.array(-1.0)), fastnn.tensor(np.array(0.5)), reduction="batchmean")
    np.testing.assert_allclose(scalar.item(), 0.5 * (math.log(0.5) + 1))


# -- broadcasting, old arguments, edges


def test_other_shapes_broadcast_with_a_warning():
    x, t = leaf(X), leaf(T[:1])
    for function in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        with pytest.warns(UserWarning, match=r"target has shape \(1, 5\), input \(4, 5\)"):
            got = function(x, t, reduction="none")
        each = function(fastnn.tensor(X), fastnn.tensor(np.broadcast_to(T[:1], X.shape)), reduction="none")
        np.testing.assert_array_equal(got.detach(), each)
        got.sum().backward()
        assert t.grad.shape == (1, 5)
    with (
        pytest.raises(fastnn.ShapeError, match="broadcast together"),
        pytest.warns(UserWarning, match="target has shape"),
    ):
        F.mse_loss(x, leaf(T[:, :3]))
    for function in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match="must have the shape of input"):
            function(leaf(UNIT), leaf(GOAL[:1]))


def test_old_arguments():
    x, t = fastnn.tensor(X), fastnn.tensor(T)
    for flags, reduction in (
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True, "reduce": True}, "mean"),
    ):
        with pytest.warns(UserWarning, match=f"reduction='{reduction}'"):
            got = F.mse_loss(x, t, **flags)
        np.testing.assert_array_equal(got, F.mse_loss(x, t, reduction=reduction))
        with pytest.warns(UserWarning, match="are old"):
            assert nn.MSELoss(**flags).reduction == reduction


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty(name, dtype):
    function, arrays, options, _ = ELEMENTS[name]
    options = {n: v for n, v in options.items() if "weight" not in n}
    empty = [leaf(np.zeros((0, 5)), dtype) for _ in arrays]
    mean = quietly(function, *empty, **options)
    assert np.isnan(mean.item())
    mean.backward()
    assert empty[0].grad.shape == (0, 5)
    assert quietly(function, *empty, reduction="sum", **options).item() == 0
    assert quietly(function, *empty, reduction="none", **options).shape == (0, 5)


def test_binary_cross_entropy_at_the_edges():
    for backend in ("kernels", "numpy"):
        with fastnn.use_backend(backend):
            x, t = leaf([0.0, 1.0, 0.0, 1.0]), fastnn.tensor(np.array([1.0, 0.0, 0.0, 1.0]))
            loss = F.binary_cross_entropy(x, t, reduction="none")
            assert loss.tolist() == [100, 100, 0, 0]
            loss.sum().backward()
            np.testing.assert_allclose(x.grad.numpy(), [-1e12, 1e12, 0, 0])
            big = leaf([200.0, -200.0, 1e38, -1e38])
            loss = F.binary_cross_entropy_with_logits(big, fastnn.tensor(np.array([1.0, 1.0, 0.0, 0.0])))
            loss.backward()
            np.testing.assert_allclose(loss.item(), (200 + 1e38) / 4)
            np.testing.assert_allclose(big.grad.numpy(), [0, -0.25, 0.25, 0], atol=1e-80)


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("bad", [-0.1, 1.5, np.nan, np.inf])
def test_probabilities_outside_0_to_1_raise_and_are_named(backend, bad):
    with fastnn.use_backend(backend):
        for size in (3, 2000):
            words = rf"elements of NAME must lie from 0 to 1, got .* at \[1, {size - 1}\]"
            x = np.full((3, size), 0.5)
            x[1, size - 1] = bad
            for layout in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1][::-1]):
                for pair, name in (((layout, GOAL), "input"), ((GOAL, layout), "target")):
                    given = [fastnn.from_numpy(p if p is layout else np.full((3, size), 0.5)) for p in pair]
                    with pytest.raises(RuntimeError, match=words.replace("NAME", name)):
                        F.binary_cross_entropy(*given)


def test_nan_and_infinity():
    x = leaf([np.nan, np.inf, 1.0])
    t = fastnn.tensor(np.zeros(3))
    for function in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        assert np.isnan(function(x, t).item())
        np.testing.assert_array_equal(function(x, t, reduction="none").detach().numpy()[:2], [np.nan, np.inf])
    assert F.kl_div(fastnn.tensor(np.array([-1.0])), fastnn.tensor(np.zeros(1)), reduction="sum").item() == 0


# -- class labels


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 6, 3), (2, 6, 3, 2), (0, 6), (2, 6, 0)])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_nll(shape, reduction, weighted):
    places = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    labels = np.random.default_rng(1).integers(0, 6, places)
    labels = np.where(labels == 3, -1, labels)
    weight = np.random.default_rng(2).uniform(0.5, 2, 6) if weighted else np.ones(6)
    x = leaf(np.random.default_rng(3).standard_normal(shape))
    moved = np.moveaxis(x.numpy(force=True), min(1, len(shape) - 1), -1)
    w = np.where(labels < 0, 0, weight[np.maximum(labels, 0)])
    each = -np.take_along_axis(moved, np.maximum(labels, 0)[..., None], -1)[..., 0] * w
    with np.errstate(invalid="ignore"):
        expected = {"none": each, "sum": each.sum(), "mean": each.sum() / w.sum()}[reduction]
    given = fastnn.tensor(weight) if weighted else None
    got = F.nll_loss(x, fastnn.tensor(labels), given, ignore_index=-1, reduction=reduction)
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12)
    if len(shape) > 1:
        logits = F.cross_entropy(x, fastnn.tensor(labels), given, ignore_index=-1, reduction=reduction)
        direct = F.nll_loss(F.log_softmax(x, 1), fastnn.tensor(labels), given, ignore_index=-1, reduction=reduction)
        np.testing.assert_allclose(logits.detach(), direct.detach(), rtol=1e-12, atol=1e-14)
    if x.numel() and w.any():
        assert fastnn.testing.gradcheck(
            lambda t: F.nll_loss(t, fastnn.tensor(labels), given, ignore_index=-1, reduction=reduction), x, samples=20
        )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_maps_in_any_layout(reduction, smoothing):
    rng = np.random.default_rng(6)
    logits, weight = rng.standard_normal((2, 6, 3, 300)), rng.uniform(0.5, 2, 6)
    labels = rng.integers(0, 6, (2, 3, 300))
    labels[0, 1, 2:5] = 4
    rows = np.moveaxis(logits, 1, -1).reshape(-1, 6)
    given = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": 4}
    one = leaf(rows)
    expected = F.cross_entropy(one, fastnn.tensor(labels.reshape(-1)), fastnn.tensor(weight), **given)
    expected.sum().backward()
    gradient = np.moveaxis(one.grad.numpy().reshape(2, 3, 300, 6), -1, 1)
    channels_last = np.ascontiguousarray(np.moveaxis(logits, 1, -1)).transpose(0, 3, 1, 2)
    for layout in (logits, channels_last, np.asfortranarray(logits), logits[:, :, ::-1][:, :, ::-1]):
        x = fastnn.from_numpy(layout).requires_grad_()
        got = F.cross_entropy(x, fastnn.tensor(labels), fastnn.tensor(weight), **given)
        np.testing.assert_allclose(got.detach().numpy().reshape(-1), expected.detach().numpy().reshape(-1), rtol=1e-12)
        got.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-10, atol=1e-14)
    labels[1, 2, 299] = 6
    with pytest.raises(IndexError, match=r"from 0 to 5 or ignore_index 4, got 6 at \[1, 899\]"):
        F.cross_entropy(fastnn.tensor(logits), fastnn.tensor(labels), **given)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 6, 3), (2, 6, 3, 2)])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_against_probabilities(shape, reduction, smoothing):
    rng = np.random.default_rng(4)
    axis = min(1, len(shape) - 1)
    x, t = leaf(rng.standard_normal(shape)), leaf(rng.uniform(0, 1, shape))
    weight = rng.uniform(0.5, 2, 6)
    along = weight.reshape([6 if i == axis else 1 for i in range(len(shape))])
    u = (t.numpy(force=True) * (1 - smoothing) + smoothing / 6) * along
    each = -(u * log_softmax(x.numpy(force=True), axis)).sum(axis=axis)
    expected = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]

    def loss(a, b):
        return F.cross_entropy(a, b, fastnn.tensor(weight), reduction=reduction, label_smoothing=smoothing)

    np.testing.assert_allclose(loss(x, t).detach(), expected, rtol=1e-12)
    assert fastnn.testing.gradcheck(loss, [x, t], samples=20)
    with pytest.raises(ValueError, match="ignore_index is for labels"):
        F.cross_entropy(x, t, ignore_index=2)


def test_all_ignored_and_weights_of_zero():
    x, labels = leaf(X), fastnn.tensor(np.full(4, -100))
    for function in (F.nll_loss, F.cross_entropy):
        assert np.isnan(function(x, labels).item())
        assert function(x, labels, reduction="sum").item() == 0
        assert np.isnan(function(x, fastnn.tensor(np.zeros(4, int)), fastnn.tensor(np.zeros(5))).item())


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
def test_labels_out_of_range_are_named(backend):
    x = fastnn.tensor(np.zeros((2, 3, 4)))
    labels = np.zeros((2, 4), int)
    labels[1, 2] = 3
    with fastnn.use_backend(backend):
        for index in (labels, labels.astype(np.int32), np.asfortranarray(labels)):
            with pytest.raises(IndexError, match=r"nll_loss: .* from 0 to 2 or ignore_index -100, got 3 at \[1, 2\]"):
                F.nll_loss(x, fastnn.tensor(index))
        with pytest.raises(IndexError, match=r"multi_margin_loss: .* from 0 to 2, got -1 at \[1\]"):
            F.multi_margin_loss(x[:, :, 0], fastnn.tensor([0, -1]))
        with pytest.raises(IndexError, match=r"multilabel_margin_loss: .* or -1, got 4 at \[0, 1\]"):
            F.multilabel_margin_loss(x[:, :, 0], fastnn.tensor([[1, 4, -1], [0, -1, 5]]))


# -- margins


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(p):
    labels, weight = np.array([0, 4, 2, 2]), RNG.uniform(0.5, 2, 5)
    each = [
        sum(max(0, 0.7 - X[i, t] + X[i, j]) ** p for j in range(5) if j != t) * weight[t] / 5
        for i, t in enumerate(labels)
    ]
    x, given = leaf(X), (fastnn.tensor(labels), p, 0.7, fastnn.tensor(weight))
    np.testing.assert_allclose(F.multi_margin_loss(x, *given, reduction="none").detach(), each)
    np.testing.assert_allclose(F.multi_margin_loss(x, *given).item(), np.mean(each))
    assert fastnn.testing.gradcheck(lambda t: F.multi_margin_loss(t, *given, reduction="sum"), x)
    np.testing.assert_allclose(
        F.multi_margin_loss(x[1], fastnn.tensor(4), p, 0.7, given[-1], reduction="none").item(), each[1]
    )
    with pytest.raises(ValueError, match="p must be 1 or 2, got 3"):
        F.multi_margin_loss(x, given[0], 3)


def test_multilabel_margin():
    labels = np.array([[3, 0, -1, 1, 1], [-1, 0, 0, 0, 0], [0, 1, 2, 3, 4], [2, 2, -1, 0, 0]])
    each = []
    for x, row in zip(X, labels, strict=True):
        right = row[: list(row).index(-1)] if -1 in row else row
        each.append(sum(max(0, 1 - x[t] + x[j]) for t in right for j in range(5) if j not in right) / 5)
    x, given = leaf(X), fastnn.tensor(labels)
    np.testing.assert_allclose(F.multilabel_margin_loss(x, given, reduction="none").detach(), each)
    np.testing.assert_allclose(F.multilabel_margin_loss(x, given).item(), np.mean(each))
    assert fastnn.testing.gradcheck(lambda t: F.multilabel_margin_loss(t, given, reduction="sum"), x)
    np.testing.assert_allclose(F.multilabel_margin_loss(x[0], given[0]).item(), each[0])


def test_multilabel_soft_margin():
    each = -(GOAL * np.log(sigmoid(X)) + (1 - GOAL) * np.log(sigmoid(-X)))
    got = F.multilabel_soft_margin_loss(leaf(X), fastnn.tensor(GOAL), fastnn.tensor(W[0]), reduction="none")
    np.testing.assert_allclose(got.detach(), (each * W[0]).mean(axis=1))
    np.testing.assert_allclose(F.multilabel_soft_margin_loss(leaf(X), fastnn.tensor(GOAL)).item(), each.mean())


def test_cosine_embedding():
    target = np.array([1, -1, -1, 1])
    cosine = (X * T).sum(axis=1) / np.sqrt((X * X).sum(axis=1) * (T * T).sum(axis=1))
    each = np.where(target == 1, 1 - cosine, np.maximum(cosine + 0.5, 0))
    one, two, goal = leaf(X), leaf(T), fastnn.tensor(target)
    np.testing.assert_allclose(
        F.cosine_embedding_loss(one, two, goal, -0.5, reduction="none").detach(), each, rtol=1e-11
    )
    assert fastnn.testing.gradcheck(lambda a, b: F.cosine_embedding_loss(a, b, goal, -0.5), [one, two])
    np.testing.assert_allclose(F.cosine_embedding_loss(one[0], two[0], goal[0]).item(), each[0], rtol=1e-11)
    with pytest.raises(fastnn.ShapeError, match="inputs must have 2 axes"):
        F.cosine_embedding_loss(one[0], two, goal)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_triplet_margin(swap, p):
    def distance(a, b):
        return (np.abs(a - b + 1e-6) ** p).sum(axis=-1) ** (1 / p)

    near, far = distance(X, T), distance(X, W)
    each = np.maximum(1.5 + near - (np.minimum(far, distance(T, W)) if swap else far), 0)
    leaves = [leaf(X), leaf(T), leaf(W)]
    got = F.triplet_margin_loss(*leaves, 1.5, p, swap=swap, reduction="none")
    np.testing.assert_allclose(got.detach(), each)
    assert fastnn.testing.gradcheck(lambda *xs: F.triplet_margin_loss(*xs, 1.5, p, swap=swap), leaves, samples=10)
    if p == 2:
        own = F.triplet_margin_with_distance_loss(*leaves, margin=1.5, swap=swap, reduction="none")
        np.testing.assert_array_equal(own.detach(), got.detach())
    with pytest.raises(ValueError, match="margin must be above 0, got 0"):
        F.triplet_margin_loss(*leaves, margin=0)


def test_any_distance():
    def manhattan(a, b):
        return (a - b).abs().sum(-1)

    loss = nn.TripletMarginWithDistanceLoss(distance_function=manhattan, margin=2.0)
    expected = np.maximum(2 + abs(X - T).sum(axis=1) - abs(X - W).sum(axis=1), 0).mean()
    np.testing.assert_allclose(loss(*map(leaf, (X, T, W))).item(), expected)


# -- modules


@pytest.mark.parametrize("name", [n for n in nn.__all__ if n.endswith("Loss")])
def test_modules_check_their_reduction(name):
    module = getattr(nn, name)
    with pytest.raises(ValueError, match=f"{name}: reduction must be one of .*, got 'average'"):
        module(reduction="average")
    assert module(reduction="sum").reduction == "sum"
    assert repr(module()).startswith(f"{name}(")


def test_modules_hand_on_their_options():
    x, t = fastnn.tensor(X), fastnn.tensor(T)
    np.testing.assert_array_equal(nn.SmoothL1Loss(beta=0.3)(x, t), F.smooth_l1_loss(x, t, beta=0.3))
    np.testing.assert_array_equal(nn.HuberLoss("sum", 0.3)(x, t), F.huber_loss(x, t, "sum", 0.3))
    np.testing.assert_array_equal(
        nn.GaussianNLLLoss(full=True, eps=0.9)(x, t, fastnn.tensor(W)),
        F.gaussian_nll_loss(x, t, fastnn.tensor(W), True, 0.9),
    )
    weighted = nn.BCEWithLogitsLoss(fastnn.tensor(W), pos_weight=fastnn.tensor(W[0]))
    assert sorted(weighted.state_dict()) == ["pos_weight", "weight"]
    np.testing.assert_array_equal(
        weighted(x, fastnn.tensor(GOAL)),
        F.binary_cross_entropy_with_logits(x, fastnn.tensor(GOAL), fastnn.tensor(W), pos_weight=fastnn.tensor(W[0])),
    )
    labels = fastnn.tensor([0, 1, 2, 3])
    np.testing.assert_array_equal(
        nn.NLLLoss(fastnn.tensor(W[0]), ignore_index=2)(x, labels),
        F.nll_loss(x, labels, fastnn.tensor(W[0]), ignore_index=2),
    )
    np.testing.assert_array_equal(nn.MultiMarginLoss(2, 0.4)(x, labels), F.multi_margin_loss(x, labels, 2, 0.4))
    with pytest.raises(ValueError, match="MultiMarginLoss: p must be 1 or 2"):
        nn.MultiMarginLoss(3)
    with pytest.raises(ValueError, match="margin must be above 0"):
        nn.TripletMarginLoss(-1)


def test_bad_options():
    x, t = fastnn.tensor(X), fastnn.tensor(T)
    for call, words in (
        (lambda: F.mse_loss(x, t, reduction="all"), "mse_loss: reduction must be one of mean, sum, none, got 'all'"),
        (lambda: F.huber_loss(x, t, delta=0), "huber_loss: delta must be above 0, got 0"),
        (lambda: F.smooth_l1_loss(x, t, beta=-1), "smooth_l1_loss: beta must not be negative"),
        (lambda: F.gaussian_nll_loss(x, t, fastnn.tensor(-W)), "var must not hold negative numbers"),
        (lambda: F.gaussian_nll_loss(x, t, fastnn.tensor(W[0])), "var must have the shape of input"),
        (lambda: F.margin_ranking_loss(x, t, fastnn.tensor(1.0)), "must have as many axes"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_long_sums_are_cut_and_have_the_same_bits_for_any_layout():
    rng = np.random.default_rng(5)
    x, t = (rng.standard_normal((700, 601)).astype("float32") for _ in range(2))
    exact = ((x.astype("float64") - t) ** 2).mean()
    got = {
        F.mse_loss(fastnn.from_numpy(a), fastnn.from_numpy(b)).item() for a, b in ((x, t), (np.asfortranarray(x), t))
    }
    assert len(got) == 1
    np.testing.assert_allclose(got.pop(), exact, rtol=1e-6)
