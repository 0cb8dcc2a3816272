"""The data flow of models, where its boxes go, and the pictures of it."""

import importlib.util
import itertools
import shutil
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.autograd import Function
from fastnn.inspection import plot_model, trace_graph
from fastnn.inspection.layout import arrange, columns
from fastnn.nn import functional as F


def edges(graph):
    return {(a.title, b.title) for a, b in graph.edges}


def chain(count):
    return nn.Sequential(*(layer for _ in range(count // 2) for layer in (nn.Linear(4, 4), nn.Tanh())))


class Block(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size)

    def forward(self, x):
        return F.relu(x + self.fc2(self.act(self.fc1(x))))


def test_a_chain():
    graph = trace_graph(nn.Sequential(nn.Linear(3, 4), nn.Flatten(), nn.ReLU()), (2, 3))
    assert [(b.kind, b.title, b.outputs, b.parameters) for b in graph.boxes] == [
        ("input", "input", ((2, 3),), 0),
        ("layer", "0: Linear", ((2, 4),), 16),
        ("layer", "1: Flatten", ((2, 4),), 0),
        ("layer", "2: ReLU", ((2, 4),), 0),
        ("output", "output", ((2, 4),), 0),
    ]
    assert [(a.number, b.number) for a, b in graph.edges] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_residual_add():
    graph = trace_graph(Block(4), (2, 4))
    assert edges(graph) == {
        ("x", "fc1: Linear"),
        ("fc1: Linear", "act: ReLU"),
        ("act: ReLU", "fc2: Linear"),
        ("fc2: Linear", "add"),
        ("x", "add"),
        ("add", "relu"),
        ("relu", "output"),
    }


def test_depth():
    net = nn.Sequential(Block(4), Block(4))
    assert edges(trace_graph(net, (2, 4), depth=1)) == {
        ("input", "0: Block"),
        ("0: Block", "1: Block"),
        ("1: Block", "output"),
    }
    whole = trace_graph(net, (2, 4), depth=0)
    assert [box.parameters for box in whole.boxes] == [0, 80, 0]
    assert edges(trace_graph(nn.Tanh(), (2, 4))) == {("input", "Tanh"), ("Tanh", "output")}


class Odd(nn.Module):
    """Views, identities, changes in place, several inputs, layers that are shared, what NumPy computes."""

    def __init__(self):
        super().__init__()
        self.shared, self.same, self.host = nn.Linear(4, 4), nn.Identity(), Host()

    def forward(self, x, z):
        a = self.shared(x)
        b = self.same(a).reshape(2, 2, 2)[:, 0].detach()
        c = self.shared(z.T.T)
        c.add_(1.0)
        return self.host(b), c + a


class Host(nn.Module):
    def forward(self, x):
        return fastnn.from_numpy(np.exp(x.numpy()))


def test_odd_things():
    graph = trace_graph(Odd(), [(2, 4), (2, 4)])
    assert edges(graph) == {
        ("x", "shared: Linear"),
        ("shared: Linear", "same: Identity"),
        ("same: Identity", "host: Host"),
        ("host: Host", "output"),
        ("z", "shared: Linear"),
        ("shared: Linear", "add"),
        ("add", "add"),
        ("add", "output"),
    }
    # the identity's own input is used beside it: that edge does not come from the identity
    assert ("same: Identity", "add") not in edges(graph)
    assert [box.parameters for box in graph.boxes if box.type == "Linear"] == [20, 0]
    assert graph.boxes[-1].outputs == ((2, 2), (2, 4))


def test_parts_written_in_place():
    class Net(nn.Module):
        def forward(self, x, y):
            z = x * 2
            z[0] = y.exp()
            return z.tanh()

    assert edges(trace_graph(Net(), [(2, 3), (3,)])) == {
        ("x", "multiply"),
        ("y", "exp"),
        ("multiply", "tanh"),
        ("exp", "tanh"),
        ("tanh", "output"),
    }


@pytest.mark.parametrize("host", [False, True])
def test_functions_of_ones_own(host):
    class Own(Function):
        @staticmethod
        def forward(ctx, x):
            return fastnn.from_numpy(np.exp(x.detach().numpy())) if host else x.exp()

        @staticmethod
        def backward(ctx, g):
            return g

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return Own.apply(self.fc(x))

    name = "Own" if host else "exp"
    assert edges(trace_graph(Net(), (2, 3))) == {("x", "fc: Linear"), ("fc: Linear", name), (name, "output")}


def test_lazy_models_stay_lazy():
    net = nn.Sequential(nn.LazyLinear(5))
    assert trace_graph(net, (2, 3)).boxes[1].parameters == 20
    assert net[0].has_uninitialized_params()


def test_text():
    assert str(trace_graph(nn.Sequential(nn.Linear(3, 4)), (2, 3))) == (
        "0  input  (2, 3)  -> 1\n1  0: Linear  (2, 4), 16 parameters  -> 2\n2  output  (2, 4)"
    )


# -- where things go


def test_boxes_stand_below_what_leads_to_them_and_apart():
    graph = trace_graph(nn.Sequential(*(Block(4) for _ in range(3))), (2, 4))
    layout = arrange(graph, 2.0, 0.25)
    for layer in layout.layers:
        for one, two in itertools.pairwise(layer):
            half = [1.0 if place.box is not None else 0.125 for place in (one, two)]
            assert two.x - one.x >= sum(half) - 1e-9
    assert len(layout.paths) == len(graph.edges)
    for path, (start, end) in zip(layout.paths, graph.edges, strict=True):
        assert (path[0].box, path[-1].box) == (start, end)
        assert [place.layer for place in path] == list(range(path[0].layer, path[-1].layer + 1))
        assert all(place.box is None for place in path[1:-1])
    # the chain is straight, what passes it lies beside it
    assert max(abs(place.x) for layer in layout.layers for place in layer if place.box is not None) < 1e-3


@pytest.mark.parametrize(("depth", "wanted"), [(4, None), (32, None), (200, None), (9, 3), (3, 9)])
def test_columns_hold_all_layers(depth, wanted):
    layout = arrange(trace_graph(chain(depth), (2, 4)), 2.0, 0.25)
    parts = columns(layout.layers, 2.0, 0.7, wanted)
    assert [layer for part in parts for layer in part] == list(range(len(layout.layers)))
    assert all(len(part) for part in parts)
    if wanted is None:
        assert (len(parts) > 1) == (depth > 10)


# -- pictures

matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is missing")
graphviz = pytest.mark.skipif(
    importlib.util.find_spec("graphviz") is None or shutil.which("dot") is None, reason="graphviz is missing"
)
ENGINES = [pytest.param("matplotlib", marks=matplotlib), pytest.param("graphviz", marks=graphviz)]


@pytest.mark.parametrize("engine", ENGINES)
def test_files(engine, tmp_path):
    net = nn.Sequential(Block(4))
    for suffix, start in (("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")):
        path = tmp_path / f"net.{suffix}"
        picture = plot_model(net, (2, 4), path, engine=engine)
        assert path.read_bytes().startswith(start)
    svg = picture._repr_svg_()
    ET.fromstring(svg.encode())
    assert repr(picture) == f"<Picture of Sequential: 7 boxes, 7 edges, by {engine}>"
    with pytest.raises(ValueError, match="must be one of png, svg, pdf, got 'gif'"):
        picture.render("gif")


@pytest.mark.parametrize("engine", ENGINES)
def test_names_are_text(engine):
    net = nn.Sequential()
    net.add_module("<b>$x_1$\\n{a|b}", nn.ReLU())
    text = "".join(ET.fromstring(plot_model(net, (2, 3), engine=engine).render("svg")).itertext())
    if engine == "graphviz":
        assert "<b>$x_1$\\n{a|b}: ReLU" in text


@matplotlib
def test_boxes_hold_their_text_and_do_not_meet():
    for net in (chain(30), nn.Sequential(*(Block(4) for _ in range(5))), Block(4)):
        figure = plot_model(net, (2, 4), engine="matplotlib").figure
        axes = figure.axes[0]
        renderer = figure.canvas.get_renderer()
        boxes = [p.get_window_extent(renderer) for p in axes.patches if type(p).__name__ == "FancyBboxPatch"]
        texts = [t.get_window_extent(renderer) for t in axes.texts]
        frame = figure.bbox
        for i, box in enumerate(boxes):
            assert frame.x0 <= box.x0
            assert box.x1 <= frame.x1
            assert frame.y0 <= box.y0
            assert box.y1 <= frame.y1
            assert not any(box.overlaps(other) for other in boxes[:i])
        for text in texts:
            assert any(b.x0 <= text.x0 and text.x1 <= b.x1 and b.y0 <= text.y0 and text.y1 <= b.y1 for b in boxes)


@matplotlib
def test_columns_by_hand():
    tall, wide = (
        struct.unpack(">II", plot_model(chain(20), (2, 4), engine="matplotlib", columns=k).render("png")[16:24])
        for k in (1, 3)
    )
    assert tall[1] > 3 * tall[0]
    assert wide[0] > 2 * tall[0]
    assert wide[1] < tall[1] / 2


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"path": "net.gif"}, ValueError, "must end in one of .png, .svg, .pdf, got 'net.gif'"),
        ({"engine": "dot"}, ValueError, "engine must be None or one of graphviz, matplotlib, got 'dot'"),
        ({"columns": 0}, ValueError, "columns must be None or an int from 1 on"),
        ({"depth": -1}, ValueError, "depth must be None or an int from 0 on"),
        ({"mode": "x"}, ValueError, "mode must be None, 'train' or 'eval'"),
    ],
)
@matplotlib
def test_bad_arguments(options, error, text):
    with pytest.raises(error, match=text):
        fastnn.plot_model(chain(2), (2, 4), **options)


def test_without_an_engine(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"matplotlib or graphviz; run: pip install 'fastnn-cpu\[plot\]'"):
        plot_model(chain(2), (2, 4))
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[graphviz\]'; the program dot"):
        plot_model(chain(2), (2, 4), engine="graphviz")
