"""Folding of batch normalisation: the same outputs without it."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.utils import fusion

rng = np.random.default_rng(8)


def trained(model):
    """A model whose normalisations have something to do, in evaluation mode."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            count = module.num_features
            if module.running_mean is not None:
                module.running_mean.array[...] = rng.standard_normal(count)
                module.running_var.array[...] = rng.uniform(0.2, 3, count)
            if module.weight is not None:
                module.weight.array[...] = rng.uniform(-2, 2, count)
                module.bias.array[...] = rng.standard_normal(count)
    return model.eval()


def assert_same(one, two, *shape):
    x = fastnn.from_numpy(rng.standard_normal(shape).astype("f4"))
    with fastnn.no_grad():
        np.testing.assert_allclose(one(x).array, two(x).array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_convolution(axes, affine, bias):
    conv = getattr(nn, f"Conv{axes}d")(4, 6, 3, 2, 1, groups=2, bias=bias)
    norm = getattr(nn, f"BatchNorm{axes}d")(6, eps=0.1, affine=affine)
    both = trained(nn.Sequential(conv, norm))
    before = copy.deepcopy(conv.state_dict())
    fused = fusion.fuse_conv_bn_eval(conv, norm)
    assert_same(fused, both, 2, 4, *(6,) * axes)
    assert fused.weight.array.strides == conv.weight.array.strides
    assert fused.bias.shape == (6,)
    for name, value in before.items():
        np.testing.assert_array_equal(conv.state_dict()[name].array, value.array)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution(groups):
    conv, norm = nn.ConvTranspose2d(4, 6, 3, 2, groups=groups), nn.BatchNorm2d(6)
    both = trained(nn.Sequential(conv, norm))
    assert_same(fusion.fuse_conv_bn_eval(conv, norm, transpose=True), both, 2, 4, 5, 5)


def test_a_linear_layer():
    linear, norm = nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6)
    both = trained(nn.Sequential(linear, norm))
    assert_same(fusion.fuse_linear_bn_eval(linear, norm), both, 5, 4)


def test_weights_by_the_formula():
    w, b, mean, factor, shift = (rng.standard_normal(s) for s in [(3, 2, 1), 3, 3, 3, 3])
    variance = rng.uniform(0.5, 2, 3)
    weight, bias = fusion.fuse_conv_bn_weights(w, b, mean, variance, 0.01, factor, shift)
    scale = factor / np.sqrt(variance + 0.01)
    np.testing.assert_allclose(weight.array, w * scale[:, None, None])
    np.testing.assert_allclose(bias.array, (b - mean) * scale + shift)
    weight, bias = fusion.fuse_linear_bn_weights(w[..., 0], None, mean, variance, 0.01, None, None)
    np.testing.assert_allclose(bias.array, -mean / np.sqrt(variance + 0.01))


class Residual(nn.Module):
    """A block whose layers are not in the order of their calls."""

    def __init__(self):
        super().__init__()
        self.bn2, self.bn1 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)) + x)
        return self.last(self.head(y.mean((2, 3))))


def norms(model):
    return [name for name, module in model.named_modules() if isinstance(module, fusion.NORMS)]


@pytest.mark.parametrize("given", [(2, 4, 5, 5), np.zeros((1, 4, 3, 3), "f4")], ids=["shape", "array"])
def test_a_whole_model(given):
    model = trained(Residual()).train()
    folded = fusion.fold_batch_norm(model, given)
    assert norms(folded) == []
    assert not folded.training
    assert len(norms(model)) == 3
    assert model.training
    assert type(folded) is Residual
    assert_same(folded, model.eval(), 2, 4, 5, 5)


class Branching(nn.Module):
    """Normalisations that cannot be folded, each for a reason of its own."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(4, 4, 1)
        self.bn = nn.BatchNorm2d(4, track_running_stats=kind != "untracked")
        if kind == "watched":
            self.conv.register_forward_hook(lambda module, args, result: result * 2)

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "used twice":
            return self.bn(y) + y
        if self.kind == "returned":
            return self.bn(y), y
        if self.kind == "turned":
            return self.bn(y.transpose(1, 2))
        if self.kind == "called twice":
            return self.bn(self.conv(self.bn(y)))
        if self.kind == "tied":
            return F.conv2d(self.bn(y), self.conv.weight)
        if self.kind == "before":
            return self.conv(self.bn(x))
        return self.bn(y)


@pytest.mark.parametrize(
    "kind", ["used twice", "returned", "turned", "called twice", "tied", "before", "watched", "untracked"]
)
def test_what_cannot_be_folded_stays(kind):
    model = trained(Branching(kind))
    folded = fusion.fold_batch_norm(model, (2, 4, 4, 4))
    assert norms(folded) == ["bn"]
    if kind != "returned":
        assert_same(folded, model, 2, 4, 4, 4)


def test_a_normalisation_over_the_second_axis_of_a_linear_output_stays():
    model = trained(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    assert norms(fusion.fold_batch_norm(model, (2, 4, 3))) == ["1"]
    assert norms(fusion.fold_batch_norm(model, (2, 3))) == []


def test_what_is_of_no_use_is_refused():
    conv, norm = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)
    with pytest.raises(ValueError, match="both layers must be in evaluation mode"):
        fusion.fuse_conv_bn_eval(conv, norm)
    with pytest.raises(ValueError, match="must have running moments"):
        fusion.fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(6, track_running_stats=False).eval())
    with pytest.raises(ShapeError, match=r"the running mean must have shape \(6,\)"):
        fusion.fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(5).eval())
    with pytest.raises(ValueError, match="groups must divide the 6 input channels, got 4"):
        fusion.fuse_conv_bn_weights(conv.weight, None, np.ones(6), np.ones(6), 0.1, None, None, True, 4)
    with pytest.raises(TypeError, match="model must be a Module"):
        fusion.fold_batch_norm(lambda x: x, (2, 3))
