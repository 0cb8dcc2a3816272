"""Networks for images: torchvision's keys and shapes by rule, and what the networks do."""

import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import models, nn

rng = np.random.default_rng(2)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def norm(prefix, channels):
    return {f"{prefix}.{name}": () if name == NORM[-1] else (channels,) for name in NORM}


def resnet_state(kind, layers, width=64, stem=7, colours=3, classes=1000, groups=1, per_group=64):
    """The keys and shapes of a residual network, in order."""
    expansion = 4 if kind == "bottleneck" else 1
    state = {"conv1.weight": (width, colours, stem, stem), **norm("bn1", width)}
    before = width
    for stage, blocks in enumerate(layers, 1):
        planes = width * 2 ** (stage - 1)
        after = planes * expansion
        inner = planes * per_group // 64 * groups
        for i in range(blocks):
            at = f"layer{stage}.{i}"
            convs = (
                [(inner, before, 1), (inner, inner // groups, 3), (after, inner, 1)]
                if expansion == 4
                else [(after, before, 3), (after, after, 3)]
            )
            for n, (outputs, inputs, taps) in enumerate(convs, 1):
                state[f"{at}.conv{n}.weight"] = (outputs, inputs, taps, taps)
                state |= norm(f"{at}.bn{n}", outputs)
            if i == 0 and (stage > 1 or before != after):
                state[f"{at}.downsample.0.weight"] = (after, before, 1, 1)
                state |= norm(f"{at}.downsample.1", after)
            before = after
    return {**state, "fc.weight": (classes, before), "fc.bias": (classes,)}


def mobilenet_state(classes=1000):
    """The keys and shapes of MobileNetV2 at width 1, in order."""
    state = {"features.0.0.weight": (32, 3, 3, 3), **norm("features.0.1", 32)}
    before, number = 32, 1
    for expansion, channels, blocks in [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ]:
        for _ in range(blocks):
            at, inner, place = f"features.{number}.conv", before * expansion, 0
            if expansion > 1:
                state |= {f"{at}.0.0.weight": (inner, before, 1, 1), **norm(f"{at}.0.1", inner)}
                place = 1
            state |= {f"{at}.{place}.0.weight": (inner, 1, 3, 3), **norm(f"{at}.{place}.1", inner)}
            state |= {f"{at}.{place + 1}.weight": (channels, inner, 1, 1), **norm(f"{at}.{place + 2}", channels)}
            before, number = channels, number + 1
    state |= {f"features.{number}.0.weight": (1280, 320, 1, 1), **norm(f"features.{number}.1", 1280)}
    return {**state, "classifier.1.weight": (classes, 1280), "classifier.1.bias": (classes,)}


def vgg_state(stages, normed):
    """The keys and shapes of a plain network, in order."""
    state, before, place = {}, 3, 0
    for stage, count in enumerate(stages):
        for _ in range(count):
            outputs = [64, 128, 256, 512, 512][stage]
            state |= {f"features.{place}.weight": (outputs, before, 3, 3), f"features.{place}.bias": (outputs,)}
            if normed:
                state |= norm(f"features.{place + 1}", outputs)
            before, place = outputs, place + 2 + normed
        place += 1
    return state | linear_state([(0, 512 * 49), (3, 4096), (6, 4096)])


def linear_state(rows, classes=1000):
    """The keys and shapes of three linear layers."""
    state = {}
    for (place, inputs), outputs in zip(rows, (4096, 4096, classes), strict=True):
        state |= {f"classifier.{place}.weight": (outputs, inputs), f"classifier.{place}.bias": (outputs,)}
    return state


def alexnet_state():
    """The keys and shapes of AlexNet, in order."""
    convs = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)]
    state = {}
    for place, outputs, inputs, taps in convs:
        state |= {f"features.{place}.weight": (outputs, inputs, taps, taps), f"features.{place}.bias": (outputs,)}
    return state | linear_state([(1, 256 * 36), (4, 4096), (6, 4096)])


# A network, what it is made with, its state, and the parameters that torchvision states.
NETWORKS = [
    ("resnet18", {}, resnet_state("basic", [2, 2, 2, 2]), 11_689_512),
    ("resnet34", {}, resnet_state("basic", [3, 4, 6, 3]), 21_797_672),
    ("resnet50", {}, resnet_state("bottleneck", [3, 4, 6, 3]), 25_557_032),
    ("resnext50_32x4d", {}, resnet_state("bottleneck", [3, 4, 6, 3], groups=32, per_group=4), 25_028_904),
    ("wide_resnet50_2", {}, resnet_state("bottleneck", [3, 4, 6, 3], per_group=128), 68_883_240),
    ("mobilenet_v2", {}, mobilenet_state(), 3_504_872),
    ("vgg11", {}, vgg_state((1, 1, 2, 2, 2), False), 132_863_336),
    ("alexnet", {}, alexnet_state(), 61_100_840),
    ("resnet18", {"stem": "cifar", "num_classes": 10}, resnet_state("basic", [2, 2, 2, 2], stem=3, classes=10), None),
    ("resnet10_small", {}, resnet_state("basic", [1] * 4, 16, 3, 1, 10), None),
]


@pytest.mark.parametrize(("name", "options", "expected", "count"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_keys_and_shapes(name, options, expected, count, monkeypatch):
    # a hundred million numbers need not be drawn
    for owner, drawing in [(nn.Linear, "reset_parameters"), (nn.Conv2d, "reset_parameters")]:
        monkeypatch.setattr(owner, drawing, lambda self: None)
    for drawing in ("normal_", "kaiming_normal_"):
        monkeypatch.setattr(nn.init, drawing, lambda tensor, *rest, **more: tensor)
    model = getattr(models, name)(**options)
    state = model.state_dict()
    assert list(state) == list(expected)
    assert {key: value.shape for key, value in state.items()} == expected
    if count is not None:
        assert sum(p.array.size for p in model.parameters()) == count
    model.load_state_dict({key: np.broadcast_to(np.zeros((), state[key].dtype), s) for key, s in expected.items()})
    assert not any(value.array.any() for value in model.state_dict().values())


def test_the_convolutions_of_plain_networks():
    state = models.vgg_features("D", batch_norm=True).state_dict()
    expected = {key: s for key, s in vgg_state((2, 2, 3, 3, 3), True).items() if key.startswith("features.")}
    assert {f"features.{key}": value.shape for key, value in state.items()} == expected
    assert list(state) == [key.removeprefix("features.") for key in expected]


SMALL = [
    ("lenet", {}, (2, 1, 28, 28)),
    ("lenet", {"num_classes": 3, "in_channels": 3, "image_size": 21}, (2, 3, 21, 21)),
    ("allcnn_small", {}, (2, 1, 28, 28)),
    ("resnet10_small", {}, (2, 1, 28, 28)),
    ("resnet10_small", {"stem": "imagenet", "in_channels": 3, "num_classes": 5}, (2, 3, 40, 33)),
    ("mobilenet_v2", {"width_mult": 0.25, "num_classes": 7, "in_channels": 1}, (2, 1, 32, 32)),
]


@pytest.mark.parametrize(("name", "options", "shape"), SMALL)
def test_a_step_of_each(name, options, shape):
    fastnn.manual_seed(1)
    model = getattr(models, name)(**options)
    classes = options.get("num_classes", 10)
    x, y = rng.standard_normal(shape).astype("f4"), np.arange(2) % classes
    history = fastnn.fit(model, (x, y), loss="cross_entropy", optimizer="sgd", epochs=3, batch_size=2, verbose=False)
    assert np.isfinite([epoch.values["loss"] for epoch in history.epochs]).all()
    assert all(p.grad is not None and np.isfinite(p.grad.array).all() for p in model.parameters())
    assert fastnn.predict(model, x).shape == (2, classes)


def test_networks_have_names():
    names = models.list_models()
    assert {"lenet", "resnet10_small", "resnet50", "mobilenet_v2", "vgg16_bn", "alexnet"} <= set(names)
    assert not {"ResNet", "get_model", "vgg_features"} & set(names)
    assert isinstance(models.get_model("lenet", num_classes=3), models.LeNet)
    with pytest.raises(ValueError, match=r"name must be one of alexnet, .*, got 'LeNet'"):
        models.get_model("LeNet")


def test_lenet_is_what_it_says():
    state = {key: value.shape for key, value in models.LeNet().state_dict().items()}
    assert state == {
        "features.0.weight": (32, 1, 3, 3),
        "features.0.bias": (32,),
        "features.3.weight": (64, 32, 3, 3),
        "features.3.bias": (64,),
        "classifier.1.weight": (128, 3136),
        "classifier.1.bias": (128,),
        "classifier.3.weight": (10, 128),
        "classifier.3.bias": (10,),
    }


def test_weights_begin_as_in_torchvision():
    fastnn.manual_seed(3)
    model = models.resnet50(num_classes=10)
    for key, value in model.state_dict().items():
        if "conv" in key or "downsample.0" in key:
            outputs, _, *taps = value.shape
            expected = np.sqrt(2 / (outputs * np.prod(taps)))
            assert abs(value.array.std() / expected - 1) < 0.05
            assert abs(value.array.mean()) < expected * 0.05
    zeros = models.resnet50(num_classes=10, zero_init_residual=True).layer1[0]
    assert not zeros.bn3.weight.array.any()
    assert zeros.bn2.weight.array.all()
    mobile = models.mobilenet_v2(num_classes=10)
    assert abs(mobile.classifier[1].weight.array.std() - 0.01) < 0.001


def test_dilation_in_place_of_strides():
    model = models.resnet50(replace_stride_with_dilation=[False, True, True], num_classes=10)
    assert model.layer3[0].conv2.dilation == (1, 1)
    assert model.layer3[1].conv2.dilation == (2, 2)
    assert model.layer4[2].conv2.dilation == (4, 4)
    assert model.layer4[0].conv2.stride == (1, 1)


def test_batch_normalisation_folds_into_a_whole_network():
    model = models.resnet10_small().eval()
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.array[...] = rng.uniform(0.5, 2, buffer.shape)
    folded = nn.utils.fold_batch_norm(model, (1, 1, 28, 28))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = rng.standard_normal((3, 1, 28, 28)).astype("f4")
    np.testing.assert_allclose(fastnn.predict(folded, x), fastnn.predict(model, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: models.resnet18(weights="DEFAULT"), "weights must be None, got 'DEFAULT'; load a file"),
        (lambda: models.ResNet(models.BasicBlock, [1, 1]), "layers must hold 4 numbers from 1 on"),
        (lambda: models.resnet18(stem="mnist"), "stem must be one of imagenet, cifar, got 'mnist'"),
        (lambda: models.resnet18(groups=2), "groups, base_width and dilation must be 1, 64 and 1, got 2, 64 and 1"),
        (lambda: models.resnet50(replace_stride_with_dilation=[True]), "must be None or hold 3 bools"),
        (lambda: models.MobileNetV2(inverted_residual_setting=[[1, 2]]), "must hold four numbers for each stage"),
        (lambda: models.InvertedResidual(8, 8, 3, 1), "stride must be 1 or 2, got 3"),
        (lambda: models.vgg_features("C"), "letter must be one of A, B, D, E, got 'C'"),
        (lambda: models.LeNet(image_size=3), "image_size must be at least 4, got 3"),
    ],
)
def test_what_is_of_no_use_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_networks_are_found_when_they_are_asked_for():
    code = (
        "import sys, fastnn; print('fastnn.models' in sys.modules, fastnn.models.lenet, 'fastnn.models' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.startswith("False <function lenet")
    assert found.stdout.rstrip().endswith("True")
