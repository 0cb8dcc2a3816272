"""Normalisation modules: running moments, modes, state, lazy ones, errors, compiled steps."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F


def drawn(*shape, dtype="float32", seed=0):
    return fastnn.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def moments(x):
    x = x.numpy().astype("float64")
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes, ddof=1)


def test_running_moments_move_by_momentum():
    layer = nn.BatchNorm2d(3, momentum=0.25)
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(4):
        x = drawn(5, 3, 4, 2, seed=seed)
        layer(x)
        own = moments(x)
        mean, variance = 0.75 * mean + 0.25 * own[0], 0.75 * variance + 0.25 * own[1]
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)
    assert layer.num_batches_tracked.dtype == np.int64
    assert layer.num_batches_tracked.item() == 4
    x = drawn(2, 3, 4, 2, seed=9)
    before = layer.running_mean.numpy().copy()
    expected = (x.numpy() - mean.reshape(3, 1, 1)) / np.sqrt(variance.reshape(3, 1, 1) + 1e-5)
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.running_mean.numpy(), before)
    layer.reset_running_stats()
    assert (layer.running_mean.sum().item(), layer.running_var.sum().item(), layer.num_batches_tracked.item()) == (
        0,
        3,
        0,
    )


def test_without_momentum_they_are_the_mean_of_all_batches():
    layer = nn.BatchNorm1d(3, momentum=None)
    every = [moments(x) for x in (drawn(6, 3, seed=s) for s in range(5)) if layer(x) is not None]
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean([m for m, _ in every], 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), np.mean([v for _, v in every], 0), rtol=1e-5)


def test_without_running_moments_the_batch_serves_always():
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = drawn(6, 3)
    np.testing.assert_array_equal(layer(x).detach().numpy(), layer.eval()(x).detach().numpy())


def test_batches_without_samples_count_but_move_nothing():
    layer = nn.BatchNorm1d(3)
    assert layer(np.zeros((0, 3), "float32")).shape == (0, 3)
    assert layer.num_batches_tracked.item() == 1
    np.testing.assert_array_equal(layer.running_mean.numpy(), 0)
    np.testing.assert_array_equal(layer.running_var.numpy(), 1)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_a_relu_that_follows_is_done_at_once_in_the_same_bits(affine, order):
    ops = []
    x = drawn(4, 19, 5, 6)
    x = x.permute(*order).contiguous().permute(*np.argsort(order).tolist())
    grads = []
    for apart in (False, True):
        layer, relu = nn.BatchNorm2d(19, affine=affine), nn.ReLU()
        if affine:
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=fastnn.Generator().manual_seed(1))
            nn.init.uniform_(layer.bias, -0.5, 0.5, generator=fastnn.Generator().manual_seed(2))
        own = x.detach().clone().requires_grad_()
        y = relu(layer(own)) if apart else nn.Sequential(layer, relu)(own)
        ops.append(y.grad_fn.name())
        (y * y).sum().backward()
        running = [layer.running_mean, layer.running_var, layer.num_batches_tracked]
        grads.append([a.numpy() for a in (y.detach(), own.grad, *(p.grad for p in layer.parameters()), *running)])
    assert ops[0] != ops[1]
    for one, two in zip(*grads, strict=True):
        np.testing.assert_array_equal(one, two)


def test_whoever_wants_what_lies_before_a_relu_gets_it():
    seen = []
    x = drawn(2, 3, 4, 4)
    for hooked in (0, 1):
        model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
        model[hooked].register_forward_hook(lambda module, args, y: seen.append((args[0], y)))
        y = model(x)
        assert (y.detach().numpy() >= 0).all()
    assert (seen[0][1].detach().numpy() < 0).any()
    assert (seen[1][0].detach().numpy() < 0).any()
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    model[1].forward = lambda input: input
    assert (model(x).detach().numpy() < 0).any()
    layer = nn.BatchNorm2d(3).eval()
    np.testing.assert_array_equal(nn.Sequential(layer, nn.ReLU()).eval()(x).detach(), F.relu(layer(x)).detach())


def test_instance_norm_tracks_the_mean_of_samples():
    layer = nn.InstanceNorm1d(3, momentum=0.5, affine=True, track_running_stats=True)
    x = drawn(4, 3, 7)
    layer(x)
    a = x.numpy().astype("float64")
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.5 * a.mean(2).mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.5 + 0.5 * a.var(2, ddof=1).mean(0), rtol=1e-5)
    assert layer.num_batches_tracked.item() == 0  # as torch
    alone = layer.eval()(x)
    np.testing.assert_allclose(layer(x[1]).detach().numpy(), alone.detach().numpy()[1], rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_compiled_step_gives_the_bits_of_an_eager_one(momentum):
    states = []
    for compiled in (False, True):
        fastnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 5))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = fastnn.compile(step) if compiled else step
        rng = np.random.default_rng(1)
        for _ in range(6):
            x, y = rng.standard_normal((16, 20)).astype("float32"), rng.integers(0, 5, 16)
            loss = run(fastnn.tensor(x), fastnn.tensor(y))
        if compiled:
            assert run.failure is None
            assert sum(map(len, run.plans.values())) == 1
        states.append({"loss": loss.detach(), **model.state_dict()})
    assert states[1]["1.num_batches_tracked"].item() == 6
    for name, value in states[0].items():
        assert value.numpy().tobytes() == states[1][name].numpy().tobytes(), name


def test_compiled_steps_of_the_other_layers():
    results = []
    for compiled in (False, True):
        layers = [
            nn.LayerNorm((4, 4)),
            nn.GroupNorm(2, 6),
            nn.InstanceNorm2d(6, track_running_stats=True),
            nn.RMSNorm(4),
        ]
        model = nn.Sequential(*layers)

        def step(x, model=model):
            model.zero_grad()
            y = (model(x) ** 2).sum()
            y.backward()
            return y

        run = fastnn.compile(step) if compiled else step
        for seed in range(3):
            run(drawn(3, 6, 4, 4, seed=seed))
        values = [*(p.grad for p in model.parameters()), *model.buffers()]
        results.append([v.numpy().tobytes() for v in values])
    assert results[0] == results[1]


def test_lazy_layers_take_their_channels_from_the_first_input():
    for lazy, shape in (
        (nn.LazyBatchNorm1d(momentum=0.3), (4, 5)),
        (nn.LazyBatchNorm2d(affine=False), (4, 5, 2, 2)),
        (nn.LazyBatchNorm3d(track_running_stats=False), (2, 5, 2, 2, 2)),
        (nn.LazyInstanceNorm1d(), (5, 6)),
        (nn.LazyInstanceNorm2d(bias=False), (2, 5, 3, 3)),
        (nn.LazyInstanceNorm3d(), (5, 2, 3, 3)),
    ):
        twins = [lazy, copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))]
        named = list(lazy.state_dict())
        outputs = [twin(drawn(*shape)).detach().numpy() for twin in twins]
        for twin, y in zip(twins, outputs, strict=True):
            np.testing.assert_array_equal(y, outputs[0])
            assert type(twin).__name__ == "".join(type(lazy).__name__.split("Lazy"))
            assert twin.num_features == 5
            assert list(twin.state_dict()) == named
            assert all(value.shape in ((5,), ()) for value in twin.state_dict().values())


def test_a_state_dict_may_come_first():
    full = nn.BatchNorm1d(4)
    full(drawn(5, 4))
    lazy = nn.LazyBatchNorm1d()
    assert repr(lazy.running_mean) == "<UninitializedBuffer>"
    with pytest.raises(RuntimeError, match="no shape"):
        lazy.running_mean.shape  # noqa: B018
    assert lazy.load_state_dict(full.state_dict()) == ([], [])
    x = drawn(3, 4, seed=1)
    np.testing.assert_array_equal(lazy.eval()(x).detach().numpy(), full.eval()(x).detach().numpy())
    assert type(lazy) is nn.BatchNorm1d
    assert lazy.num_features == 4


def test_files_without_counts_can_be_read():
    layer = nn.BatchNorm1d(3)
    old = dict(layer.state_dict())
    del old["num_batches_tracked"]
    assert layer.load_state_dict(old) == ([], [])


def test_local_response_norm():
    x = drawn(2, 5, 3, 4, dtype="float64")
    a, expected = x.numpy() ** 2, np.empty(x.shape)
    for c in range(5):
        expected[:, c] = a[:, max(c - 1, 0) : c + 2].sum(1) / 3
    expected = x.numpy() / (2.0 + 0.5 * expected) ** 0.75
    np.testing.assert_allclose(nn.LocalResponseNorm(3, alpha=0.5, k=2.0)(x).numpy(), expected, rtol=1e-12)
    x.requires_grad = True
    assert fastnn.testing.gradcheck(lambda x: F.local_response_norm(x, 2, alpha=0.5), [x], samples=30)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.BatchNorm1d(3)(drawn(1, 3)), ValueError, "more than 1 value per channel when training"),
        (lambda: nn.BatchNorm1d(3)(drawn(2, 4)), RuntimeError, r"running_mean must have shape \(4,\)"),
        (
            lambda: nn.BatchNorm2d(3)(drawn(2, 3)),
            ValueError,
            r"BatchNorm2d: input must have 4 axes, got shape \(2, 3\)",
        ),
        (lambda: nn.BatchNorm1d(3)(np.zeros((2, 3), "int64")), TypeError, "floating"),
        (lambda: F.batch_norm(drawn(2, 4), None, None), RuntimeError, "must be given where training is False"),
        (lambda: F.instance_norm(drawn(2, 4, 3), use_input_stats=False), RuntimeError, "must be given"),
        (lambda: nn.InstanceNorm1d(3)(drawn(2, 3, 1)), ValueError, "more than 1 spatial element"),
        (lambda: nn.InstanceNorm1d(3, affine=True)(drawn(2, 4, 5)), ValueError, "must have 3 channels"),
        (lambda: nn.GroupNorm(4, 6), ValueError, "num_channels 6 must be divisible by num_groups 4"),
        (lambda: nn.GroupNorm(0, 6), ValueError, "num_groups must be positive"),
        (lambda: F.group_norm(drawn(2, 6), 4), RuntimeError, "divisible by groups 4"),
        (lambda: F.group_norm(drawn(1, 4), 4), ValueError, "more than 1 value"),
        (lambda: nn.LayerNorm(5)(drawn(2, 6)), RuntimeError, r"layer_norm: input must have shape \(\*, 5\)"),
        (lambda: F.layer_norm(drawn(2, 4), [4], drawn(3)), RuntimeError, r"weight must have shape \(4,\)"),
        (lambda: F.layer_norm(drawn(2, 4), []), RuntimeError, "at least one axis"),
        (lambda: F.rms_norm(drawn(2, 3), [4]), RuntimeError, "rms_norm: input must have shape"),
        (lambda: nn.LayerNorm("ab"), TypeError, "normalized_shape must be"),
        (lambda: nn.LocalResponseNorm(2)(drawn(2, 4)), ValueError, "at least 3 axes"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_failed_call_moves_nothing():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError):
        F.batch_norm(drawn(4, 3), layer.running_mean, drawn(2), training=True)
    np.testing.assert_array_equal(layer.running_mean.numpy(), 0)


def test_instance_norm_warns_of_other_channels_without_affine():
    with pytest.warns(UserWarning, match="must have 3 channels"):
        assert nn.InstanceNorm1d(3)(drawn(2, 4, 5)).shape == (2, 4, 5)
