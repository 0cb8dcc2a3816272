import copy

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.optim import swa_utils


def models(count, seed=0):
    """Models of the same architecture with weights of their own."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        model = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2))
        with fastnn.no_grad():
            for p in model.parameters():
                p.copy_(rng.standard_normal(p.shape).astype("float32"))
        made.append(model)
    return made


def values(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def averages(steps, weight):
    """By hand: each average moves towards the next values by ``weight(count)``."""
    result = [v.astype("float64") for v in steps[0]]
    for count, step in enumerate(steps[1:], 1):
        result = [r + weight(count) * (v - r) for r, v in zip(result, step, strict=True)]
    return result


CHOICES = {
    "mean": ({}, lambda n: 1 / (n + 1)),
    "multi_swa": ({"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, lambda n: 1 / (n + 1)),
    "multi_ema": ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)}, lambda n: 0.1),
    "multi_ema_fast": ({"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.25)}, lambda n: 0.75),
    "swa": ({"avg_fn": swa_utils.get_swa_avg_fn()}, lambda n: 1 / (n + 1)),
    "ema": ({"avg_fn": swa_utils.get_ema_avg_fn(0.9)}, lambda n: 0.1),
}


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("choice", CHOICES)
def test_averages_by_hand(choice, backend):
    arguments, weight = CHOICES[choice]
    steps = models(5)
    with fastnn.use_backend(backend):
        averaged = swa_utils.AveragedModel(models(1, 9)[0], **arguments)
        for model in steps:
            averaged.update_parameters(model)
    wanted = averages([values(m) for m in steps], weight)
    for own, other in zip(values(averaged), wanted, strict=True):
        np.testing.assert_allclose(own, other, rtol=2e-6, atol=2e-6)
    assert averaged.n_averaged.item() == 5
    assert averaged.n_averaged.dtype == np.int64


def test_the_averaged_model_is_a_model():
    (model,) = models(1)
    averaged = swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    x = np.ones((4, 5), "float32")
    np.testing.assert_array_equal(averaged(x).detach().numpy(), model(x).detach().numpy())
    assert list(averaged.state_dict()) == ["n_averaged", *(f"module.{name}" for name in model.state_dict())]
    other = swa_utils.AveragedModel(models(1, 3)[0])
    other.load_state_dict(copy.deepcopy(averaged.state_dict()))
    assert other.n_averaged.item() == 1


class Counting(nn.Module):
    """A model with buffers."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(np.full(3, value, "float32"))
        self.register_buffer("seen", fastnn.tensor([value]))
        self.register_buffer("count", fastnn.tensor(int(value)))


@pytest.mark.parametrize("use_buffers", [False, True])
def test_buffers_are_copied_or_averaged(use_buffers):
    averaged = swa_utils.AveragedModel(Counting(0.0), use_buffers=use_buffers)
    for value in (1.0, 4.0):
        averaged.update_parameters(Counting(value))
    assert averaged.module.weight.tolist() == [2.5, 2.5, 2.5]
    assert averaged.module.seen.tolist() == ([2.5] if use_buffers else [4.0])
    assert averaged.module.count.item() == (2 if use_buffers else 4)


def test_any_layout_and_dtype_in_one_call():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(d) for s in ((3, 4), (), (0, 2), (7,)) for d in ("float32", "float64")]
    arrays += [np.asfortranarray(arrays[0]), arrays[0][:, ::2], arrays[6][::-1], arrays[6].astype("float16")]
    own = [fastnn.from_numpy(np.array(a, order="K")) for a in arrays]
    other = [fastnn.from_numpy(rng.standard_normal(a.shape).astype(a.dtype)) for a in arrays]
    wanted = [a + 0.25 * (b.numpy() - a) for a, b in zip(arrays, other, strict=True)]
    swa_utils.average_into(own, other, 0.25)
    for a, b in zip(own, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=2e-3 if b.dtype == np.float16 else 1e-6, atol=1e-6)


def test_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    start, values = rng.standard_normal((2, 100_000)).astype("float32")
    found = []
    for count in (1, 2, 5):
        with fastnn.threads(count):
            own = [fastnn.tensor(start)]
            for _ in range(3):
                swa_utils.average_into(own, [fastnn.tensor(values)], 0.3)
            found.append(own[0].numpy().tobytes())
    assert len(set(found)) == 1


def test_averaging_is_seen_by_backward():
    p = fastnn.tensor([2.0], requires_grad=True)
    loss = (p * p).sum()
    swa_utils.average_into([p.detach()], [fastnn.tensor([1.0])], 0.5)
    with pytest.raises(fastnn.GraphError, match="changed in place"):
        loss.backward()


class Norm(nn.Module):
    """The running mean of a batch normalisation."""

    def __init__(self):
        super().__init__()
        self.momentum = 0.1
        self.register_buffer("running_mean", fastnn.tensor([7.0]))
        self.batches = 0

    def reset_running_stats(self):
        self.running_mean.zero_()
        self.batches = 0

    def forward(self, x):
        assert self.training
        assert self.momentum is None
        self.batches += 1
        self.running_mean += (x.mean() - self.running_mean) / self.batches
        return x


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x, 1), lambda x: [x]])
def test_update_bn_takes_the_mean_over_batches(wrap):
    model = nn.Sequential(Norm()).eval()
    batches = [fastnn.tensor([1.0, 2.0]), fastnn.tensor([3.0, 6.0])]
    swa_utils.update_bn([wrap(b) for b in batches], model)
    assert model[0].running_mean.item() == 3.0
    assert model[0].momentum == 0.1
    assert not model.training


def test_bad_arguments():
    (model,) = models(1)
    with pytest.raises(AssertionError, match="only one"):
        swa_utils.AveragedModel(model, avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn())
    with pytest.raises(ValueError, match="device"):
        swa_utils.AveragedModel(model, device="cuda")
    for decay in (-0.1, 1.1):
        with pytest.raises(ValueError, match="decay must be from 0 to 1"):
            swa_utils.get_ema_multi_avg_fn(decay)
        with pytest.raises(ValueError, match="decay must be from 0 to 1"):
            swa_utils.get_ema_avg_fn(decay)
    with pytest.raises(ValueError, match="shapes of the weights"):
        swa_utils.average_into([fastnn.tensor([1.0])], [fastnn.tensor([1.0, 2.0])], 0.5)
    assert optim.swa_utils is swa_utils
