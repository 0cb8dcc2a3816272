"""Tables of layers: figures worked out by hand, what the table shows, and that nothing is left in the model."""

import random
from html.parser import HTMLParser

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.autograd import Function
from fastnn.inspection import summary
from fastnn.nn import functional as F


def mlp():
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def rows(found):
    return {(row.name, row.kind): row for row in found.rows}


@pytest.mark.parametrize("batch", [1, 32, 0])
def test_an_mlp(batch):
    found = mlp().summary((batch, 784))
    one, two = 2 * batch * 784 * 128, 2 * batch * 128 * 10
    assert found.forward_flops == one + two + batch * 128
    # dw and the sum for the bias in both layers, dx in the second alone, the gate
    assert found.backward_flops == one + 2 * two + batch * (128 + 10) + batch * 128
    assert [row.forward_flops for row in found.rows[1:]] == [one, batch * 128, two]
    assert [row.outputs for row in found.rows] == [((batch, 10),), ((batch, 128),), ((batch, 128),), ((batch, 10),)]
    assert [row.parameters for row in found.rows] == [101_770, 100_480, 0, 1_290]
    assert found.rows[0].forward_flops == found.forward_flops
    assert (found.parameters, found.trainable) == (101_770, 101_770)
    assert found.parameter_bytes == found.gradient_bytes == 4 * 101_770
    # the second layer keeps the first one's activation, which the gate keeps too; the input is the caller's
    assert found.saved_bytes == 4 * batch * 128
    assert found.input_bytes == 4 * batch * 784
    assert found.inputs == (((batch, 784), "float32"),)
    assert found.unknown == ()


class Mixed(nn.Module):
    """A shared layer, an embedding, dropout, tied weights, and functional code between the layers."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 16)
        self.drop = nn.Dropout(0.1)
        self.shared = nn.Linear(16, 16)
        self.block = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
        self.head = nn.Linear(16, 100)
        self.head.weight = self.embed.weight
        self.again = self.shared
        self.scale = nn.Parameter(fastnn.ones(16))

    def forward(self, x):
        x = self.drop(self.embed(x)).mean(1)
        x = self.shared(F.relu(self.shared(x)))
        x = self.block(x) * self.scale + x
        return self.head(x)


def test_shared_layers_embeddings_dropout_and_functional_code():
    found = Mixed().summary((8, 5), dtypes="int64")
    by = rows(found)
    n, words = 8, 8 * 5 * 16
    square, wide = 2 * n * 16 * 16, 2 * n * 16 * 100
    assert by["embed", "Embedding"].forward_flops == 0
    assert by["embed", "Embedding"].backward_flops == words  # rows of the gradient are added
    assert by["drop", "Dropout"].forward_flops == by["drop", "Dropout"].backward_flops == words
    shared = by["shared", "Linear"]
    assert (shared.calls, shared.parameters, shared.forward_flops) == (2, 272, 2 * square)
    assert shared.backward_flops == 4 * square + 2 * n * 16
    again = by["again", "Linear"]
    assert (again.repeats, again.parameters, again.shared, again.forward_flops) == (True, 0, 272, None)
    head = by["head", "Linear"]
    assert (head.parameters, head.shared) == (100, 1600)
    assert head.backward_flops == 2 * wide + n * 100
    own = by["", "(functional)"]
    assert own.ops == {"mean": 1, "relu": 1, "multiply": 1, "add": 1}
    assert own.forward_flops == words + n * 16 * 3
    # both factors and the sum over the batch for scale; relu; mean, where each gradient is divided; then the sums of
    # gradients that meet in x, in the tied weight, and in weight and bias of the shared layer
    assert own.backward_flops == 3 * n * 16 + n * 16 + n * 16 + (n * 16 + 1600 + 16 * 16 + 16)
    assert found.parameters == 1600 + 272 + 272 + 100 + 16
    assert by["", "Mixed"].own == 16
    shown = [row for row in found.rows if not row.expanded and not row.repeats]
    assert sum(row.forward_flops for row in shown) == found.forward_flops
    assert sum(row.backward_flops for row in shown) == found.backward_flops
    assert sum(row.saved for row in shown) == found.saved_bytes
    assert sum(row.own if row.expanded else row.parameters for row in found.rows if row.kind != "(functional)") == (
        found.parameters
    )


def test_modes():
    net = Mixed()
    assert rows(net.summary((2, 3), dtypes=int, mode="eval"))["drop", "Dropout"].forward_flops == 0
    assert rows(net.summary((2, 3), dtypes=int, mode="train"))["drop", "Dropout"].forward_flops == 96
    net.eval()
    found = net.summary((2, 3), dtypes=int)
    assert not found.training
    assert "evaluation" in str(found)


def test_depth():
    found = Mixed().summary((8, 5), dtypes=int, depth=0)
    (row,) = found.rows
    assert (row.parameters, row.forward_flops, row.saved) == (
        found.parameters,
        found.forward_flops,
        found.saved_bytes,
    )
    assert row.ops["linear"] == 4
    one = Mixed().summary((8, 5), dtypes=int, depth=1)
    assert ("block.0", "Linear") not in rows(one)
    assert rows(one)["block", "Sequential"].parameters == 272


class Touchy(nn.Module):
    """Changes what a forward pass can change."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("count", fastnn.zeros(1))
        self.register_buffer("last", None)
        self.register_buffer("mean", fastnn.zeros(4))

    def forward(self, x):
        self.count.add_(1)
        self.last = x.detach()
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        x = F.dropout(x, 0.5) * random.random() * np.random.rand()  # noqa: NPY002
        return self.fc(x)


def test_the_model_is_left_as_it_was():
    fastnn.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    net = Touchy()
    net.fc.eval()
    net(fastnn.ones(2, 4)).sum().backward()
    called = []
    net.fc.register_forward_hook(lambda *args: called.append("hook"))
    net.fc.weight.register_post_accumulate_grad_hook(lambda p: called.append("stepped"))
    before = {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}
    buffers, gradient = {n: id(b) for n, b in net.named_buffers()}, net.fc.weight.grad
    gradient_before = gradient.numpy().copy()
    hooks = [len(m._forward_hooks) for m in net.modules()]
    modes = [m.training for m in net.modules()]
    drawn = fastnn.random.get_rng_state().numpy().copy()
    numbers, numpy_number = random.getstate(), np.random.get_state()[2]  # noqa: NPY002
    for look in (net.summary, lambda shape: fastnn.inspection.trace_graph(net, shape)):
        look((2, 4))
        assert {name: value.detach().numpy().tolist() for name, value in net.state_dict().items()} == {
            name: value.tolist() for name, value in before.items()
        }
        assert {n: id(b) for n, b in net.named_buffers()} == buffers
        assert net.fc.weight.grad is gradient
        assert (gradient.numpy() == gradient_before).all()
        assert [len(m._forward_hooks) for m in net.modules()] == hooks
        assert [m.training for m in net.modules()] == modes
        assert (fastnn.random.get_rng_state().numpy() == drawn).all()
        assert random.getstate() == numbers
        assert np.random.get_state()[2] == numpy_number  # noqa: NPY002
        assert not net._hooked
    assert set(called) == {"hook"}


def test_an_error_is_told_with_the_input_and_leaves_nothing():
    net = mlp()
    with pytest.raises(ValueError, match="to match x") as caught:
        net.summary((2, 3))
    assert caught.value.__notes__ == [
        "summary: this is what Sequential raised when it was called with (2, 3) of float32"
    ]
    assert not net._hooked
    assert net.summary((2, 784)).forward_flops > 0


def test_without_an_input():
    found = Mixed().summary()
    assert (found.parameters, found.inputs, found.forward_flops, found.backward_flops) == (2260, None, None, None)
    assert "Output" not in str(found)


def test_frozen_parameters():
    net = mlp()
    net[0].requires_grad_(False)
    found = net.summary((3, 784))
    assert (found.parameters, found.trainable, found.gradient_bytes) == (101_770, 1_290, 4 * 1_290)
    assert found.rows[1].backward_flops == 0
    assert "1,290 of them trainable" in str(found)
    frozen = net.requires_grad_(False).summary((3, 784))
    assert frozen.backward_flops is None
    assert "requires grad" in str(frozen)
    assert net.requires_grad_(True).summary((3, 784), backward=False).backward_flops is None


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2).to(fastnn.float64)

    def forward(self, x, y, *, scale=None):
        z = self.fc(x) + y
        return {"sum": z, "both": (z, z if scale is None else z * scale)}


def test_several_inputs_in_every_form():
    net = Two()
    shapes = net.summary([(4, 3), (2,)])
    assert shapes.inputs == (((4, 3), "float64"), ((2,), "float64"))
    assert shapes.rows[0].outputs == ((4, 2),) * 3
    x, y = np.ones((4, 3)), np.ones(2)
    assert net.summary((x, y)).forward_flops == shapes.forward_flops
    assert net.summary([fastnn.tensor(x, dtype=fastnn.float64), (2,)]).forward_flops == shapes.forward_flops
    named = net.summary({"x": x, "y": (2,), "scale": (4, 2)})
    assert named.forward_flops == shapes.forward_flops + 8
    assert mlp().to(fastnn.float64).summary((2, 784)).inputs == (((2, 784), "float64"),)


@pytest.mark.parametrize(
    ("given", "options", "error", "text"),
    [
        ("32", {}, TypeError, "input must be a shape"),
        (7, {}, TypeError, "input must be a shape"),
        ([(2, 3), "x"], {}, TypeError, "an input must be a shape"),
        ((2, -1), {}, ValueError, "no negative extent"),
        ((2, 784), {"dtypes": ["float32", "int64"]}, ValueError, "a dtype for each of 1 inputs, got 2"),
        ((2, 784), {"dtypes": "float31"}, TypeError, "dtypes must be"),
        ((2, 784), {"dtypes": "complex64"}, TypeError, "floats, integers or bools"),
        ((2, 784), {"mode": "training"}, ValueError, "mode must be None, 'train' or 'eval'"),
        ((2, 784), {"depth": -1}, ValueError, "depth must be"),
        ((2, 784), {"depth": True}, ValueError, "depth must be"),
    ],
)
def test_bad_arguments(given, options, error, text):
    with pytest.raises(error, match=text):
        mlp().summary(given, **options)


def test_a_model_may_hold_something_of_the_name():
    net = nn.Module()
    net.add_module("summary", nn.Linear(2, 3))
    other = nn.Module()
    other.summary = nn.Parameter(fastnn.ones(2))
    assert [*net.state_dict()] == ["summary.weight", "summary.bias"]
    assert [*other.state_dict()] == ["summary"]
    assert [summary(m).parameters for m in (net, other)] == [9, 2]
    with pytest.raises(KeyError, match="exists already"):
        other.add_module("summary", nn.ReLU())


def test_only_modules_have_summaries():
    with pytest.raises(TypeError, match="model must be a Module, got function"):
        summary(lambda x: x, (3,))


def test_lazy_models_stay_lazy():
    net = nn.Sequential(nn.LazyLinear(5), nn.ReLU())
    state = fastnn.random.get_rng_state().numpy().tolist()
    found = net.summary((3, 4))
    assert found.lazy
    assert (found.parameters, found.forward_flops) == (25, 2 * 3 * 4 * 5 + 15)
    assert net[0].has_uninitialized_params()
    assert type(net[0]) is nn.LazyLinear
    assert fastnn.random.get_rng_state().numpy().tolist() == state
    assert "still waits" in str(found)
    assert "lazy" in str(net.summary()).splitlines()[3]


def test_the_numpy_backend_counts_alike():
    compiled = Mixed().summary((8, 5), dtypes=int)
    with fastnn.use_backend("numpy"):
        reference = Mixed().summary((8, 5), dtypes=int)
    assert [(r.forward_flops, r.backward_flops) for r in reference.rows] == [
        (r.forward_flops, r.backward_flops) for r in compiled.rows
    ]


def test_memory_is_counted_once():
    class Views(nn.Module):
        def forward(self, x):
            y = x.exp()  # its result is kept
            return y.tanh() * y.reshape(-1)[:2].sum() + y.T.tanh().T

    x = fastnn.tensor(np.ones((4, 4), "f"), requires_grad=True)
    found = Views().summary(x)
    # exp, two results of tanh, and the sum; y and what views it are the same memory
    assert found.saved_bytes == 4 * (3 * 16 + 1)
    assert x.grad is None


def test_functions_of_ones_own():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return Twice.apply(self.fc(x))

    found = Net().summary((5, 3))
    assert found.forward_flops == 90 + 15
    assert found.backward_flops == 90 + 15 + 15


def test_a_module_that_is_not_run_says_so():
    net = mlp()
    net.add_module("unused", nn.Linear(2, 2))
    net.forward = lambda x: net[1](net[0](x))
    assert "not run" in str(net.summary((2, 784))).splitlines()[6]


TEXT = """\
Layer       Type        Output     Parameters  Forward FLOP  Backward FLOP    Saved
-----------------------------------------------------------------------------------
Sequential  Sequential  (32, 10)
  0         Linear      (32, 128)     100,480        6.42 M         6.43 M
  1         ReLU        (32, 128)                     4.1 k          4.1 k  16.4 kB
  2         Linear      (32, 10)        1,290        81.9 k          164 k
-----------------------------------------------------------------------------------
parameters  101,770  (407 kB)
input       (32, 784) float32  (100 kB)
mode        training
forward     6.51 MFLOP
backward    6.59 MFLOP
gradients   407 kB
saved       16.4 kB for backward, beside parameters and input"""


def test_text():
    found = mlp().summary((32, 784))
    assert str(found) == repr(found) == TEXT


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells[-1] += data


def test_html_is_whole_and_escaped():
    kind = type("<b>&Layer", (nn.ReLU,), {})
    net = nn.Sequential()
    net.add_module("<script>", kind())
    page = net.summary((2, 3))._repr_html_()
    assert "<script>" not in page
    parser = Cells()
    parser.feed(page)
    assert not parser.open
    assert parser.cells[:6] == ["Layer", "Type", "Output", "Parameters", "Forward FLOP", "Sequential"]
    assert "<script>" in parser.cells
    assert "<b>&Layer" in parser.cells


@pytest.mark.parametrize("width", [40, 80, 200])
def test_rich(width):
    console = pytest.importorskip("rich.console")
    net = nn.Sequential()
    net.add_module("[red]", nn.Linear(3, 4))
    seen = console.Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with seen.file:
        seen.print(net.summary((2, 3)))
    text = seen.export_text()
    assert max(map(len, text.splitlines())) <= width
    if width > 40:
        assert "[red]" in text
        assert "(2, 4)" in text
