"""Pictures of a model's data flow, by Graphviz where it is installed, else by matplotlib."""

from __future__ import annotations

import importlib.util
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastnn.inspection.graph import Box, Graph, trace_graph
from fastnn.inspection.layout import Layout, Place, arrange, columns
from fastnn.nn.module import Module
from fastnn.serialization.atomic import write_whole

FORMATS = ("png", "svg", "pdf")
ENGINES = ("graphviz", "matplotlib")
# Fill and line: of layers with parameters, without them, of ops, of inputs and outputs.
TRAINED, PLAIN, OP, END = ("#dcebf7", "#0072b2"), ("#f1f1f1", "#8a8a8a"), ("#fdebd8", "#d55e00"), ("#e3f3e6", "#2e7d4f")
EDGE = "#555555"
# Inches.
BOX, GAP, BESIDE, MARGIN, PADDING, GUTTER = 0.44, 0.26, 0.16, 0.15, 0.12, 0.55
TITLE, DETAIL = 9, 7.5  # points
DPI = 150


def _colours(box: Box) -> tuple[str, str]:
    if box.kind in ("input", "output"):
        return END
    if box.kind == "op":
        return OP
    return TRAINED if box.parameters else PLAIN


class Picture:
    """A drawn graph; a notebook shows it.

    Attributes
    ----------
    graph : boxes and edges.
    engine : ``"graphviz"`` or ``"matplotlib"``.
    figure : the `graphviz.Digraph` or matplotlib figure.
    """

    def __init__(self, graph: Graph, engine: str, figure: Any) -> None:
        self.graph, self.engine, self.figure = graph, engine, figure

    def render(self, format: str) -> bytes:
        """The picture as ``"png"``, ``"svg"`` or ``"pdf"``."""
        if format not in FORMATS:
            raise ValueError(f"plot_model: the format must be one of {', '.join(FORMATS)}, got {format!r}")
        if self.engine == "graphviz":
            data: bytes = self.figure.pipe(format=format)
            return data
        file = io.BytesIO()
        self.figure.savefig(file, format=format, dpi=DPI)
        return file.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG, SVG or PDF, by the suffix of the path."""
        write_whole(Path(path), self.render(_format(path)))

    def _repr_svg_(self) -> str:
        return self.render("svg").decode()

    def __repr__(self) -> str:
        boxes, edges = len(self.graph.boxes), len(self.graph.edges)
        return f"<Picture of {self.graph.name}: {boxes} boxes, {edges} edges, by {self.engine}>"


def _format(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise ValueError(f"plot_model: the file must end in one of .{', .'.join(FORMATS)}, got {os.fspath(path)!r}")
    return suffix


def plot_model(
    model: Module,
    input: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    dtypes: Any = None,
    mode: str | None = None,
    depth: int | None = None,
    engine: str | None = None,
    columns: int | None = None,
) -> Picture:
    """Draw a model's data flow: a box for each call of a layer and of an op between layers, an arrow for each Tensor.

    The model is run once and left as it was, as by `fastnn.nn.Module.summary`.

    Parameters
    ----------
    model : the model.
    input : a shape, batch axis included, several, or the inputs themselves; as for `fastnn.nn.Module.summary`.
    path : a file to write as well: PNG, SVG or PDF by its suffix.
    dtypes : of the inputs made from shapes; default: that of the parameters.
    mode : ``"train"`` or ``"eval"``; default: the modes that the modules are in.
    depth : layers at this level of nesting are one box each, whatever they hold; default: layers without sublayers are.
    engine : ``"graphviz"`` (the package and its program ``dot``) or ``"matplotlib"``; default: the first that is there.
    columns : into how many a deep graph is cut (matplotlib only); default: by its shape.

    Raises
    ------
    ImportError : neither engine is there, or not the one that was asked for; the text is the line to install it.
    TypeError, ValueError : for an argument that is of no use.
    """
    if path is not None:
        _format(path)
    if columns is not None and (isinstance(columns, bool) or not isinstance(columns, int) or columns < 1):
        raise ValueError(f"plot_model: columns must be None or an int from 1 on, got {columns!r}")
    chosen = _engine(engine)
    graph = trace_graph(model, input, dtypes=dtypes, mode=mode, depth=depth)
    picture = Picture(graph, chosen, _digraph(graph) if chosen == "graphviz" else _Drawing(graph, columns).figure)
    if path is not None:
        picture.save(path)
    return picture


def _engine(wanted: str | None) -> str:
    """The engine to draw with, which is there."""
    if wanted is not None and wanted not in ENGINES:
        raise ValueError(f"plot_model: engine must be None or one of {', '.join(ENGINES)}, got {wanted!r}")
    there = {
        "graphviz": importlib.util.find_spec("graphviz") is not None and shutil.which("dot") is not None,
        "matplotlib": importlib.util.find_spec("matplotlib") is not None,
    }
    found = next((name for name in ENGINES if there[name] and wanted in (None, name)), None)
    if found is None:
        program = "; the program dot comes with the system's package graphviz" if wanted == "graphviz" else ""
        package = "'fastnn-cpu[graphviz]'" if wanted == "graphviz" else "'fastnn-cpu[plot]'"
        raise ImportError(f"plot_model needs {wanted or 'matplotlib or graphviz'}; run: pip install {package}{program}")
    return found


# -- Graphviz


def _digraph(graph: Graph) -> Any:
    from graphviz import Digraph, escape

    drawn = Digraph(graph.name)
    drawn.attr("graph", nodesep="0.25", ranksep="0.3")
    drawn.attr("node", shape="box", style="rounded,filled", fontname="Helvetica", fontsize="10", height="0.3")
    drawn.attr("edge", color=EDGE, arrowsize="0.6")
    for box in graph.boxes:
        fill, line = _colours(box)
        label = "\n".join(escape(text) for text in (box.title, box.details) if text)
        drawn.node(str(box.number), label, fillcolor=fill, color=line)
    for start, end in graph.edges:
        drawn.edge(str(start.number), str(end.number))
    return drawn


# -- matplotlib


class _Drawing:
    """A graph on a matplotlib figure whose axes count inches, from the top left corner."""

    def __init__(self, graph: Graph, wanted: int | None) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure()
        canvas: Any = FigureCanvasAgg(self.figure)
        self.renderer = canvas.get_renderer()
        self.box_width = max((self._width(box) for box in graph.boxes), default=1.0) + 2 * PADDING
        self.row = BOX + GAP
        layout = arrange(graph, self.box_width + BESIDE, BESIDE)
        places = [place for layer in layout.layers for place in layer]
        left = min((p.x - self._half(p) for p in places), default=0.0)
        self.width = max((p.x + self._half(p) for p in places), default=1.0) - left
        for place in places:
            place.x -= left
        parts = columns(layout.layers, self.width + GUTTER, self.row, wanted)
        self.column = {layer: k for k, part in enumerate(parts) for layer in part}
        self.top = {layer: i * self.row for part in parts for i, layer in enumerate(part)}
        rows = max(map(len, parts), default=1)
        ways = len(parts) > 1
        size = (
            len(parts) * self.width + (len(parts) - 1) * GUTTER + 2 * MARGIN,
            rows * self.row - GAP + 2 * MARGIN + (2 * GAP if ways else 0),
        )
        self.above = MARGIN + (GAP if ways else 0)
        self.figure.set_size_inches(*size)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
        self.axes.axis("off")
        self._edges(layout)
        for box, place in ((p.box, p) for p in places):
            if box is not None:
                self._box(box, place)

    def _half(self, place: Place) -> float:
        return self.box_width / 2 if place.box is not None else BESIDE / 2

    def _width(self, box: Box) -> float:
        """Of the text, in inches."""
        from matplotlib.font_manager import FontProperties

        sizes = []
        for text, size, weight in ((box.title, TITLE, "bold"), (box.details, DETAIL, "normal")):
            font = FontProperties(size=size, weight=weight)
            sizes.append(self.renderer.get_text_width_height_descent(text, font, False)[0] / self.figure.dpi)
        return max(sizes)

    def _at(self, place: Place) -> tuple[float, float]:
        """The middle of the upper side of a place."""
        column = self.column[place.layer]
        return MARGIN + column * (self.width + GUTTER) + place.x, self.above + self.top[place.layer]

    def _box(self, box: Box, place: Place) -> None:
        from matplotlib.patches import FancyBboxPatch

        (x, y), (fill, line) = self._at(place), _colours(box)
        corner = (x - self.box_width / 2, y)
        style = "round,pad=0,rounding_size=0.07"
        self.axes.add_patch(
            FancyBboxPatch(corner, self.box_width, BOX, boxstyle=style, facecolor=fill, edgecolor=line, linewidth=1)
        )
        middle = y + BOX / 2
        shift = 0.085 if box.details else 0.0
        # a name with a dollar sign is no formula
        say: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
        self.axes.text(x, middle - shift, box.title, fontsize=TITLE, fontweight="bold", **say)
        if box.details:
            self.axes.text(x, middle + 0.105, box.details, fontsize=DETAIL, color="#333333", **say)

    def _edges(self, layout: Layout) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path as Line

        lanes = self._lanes(layout)
        for path in layout.paths:
            points: list[tuple[float, float]] = []
            codes: list[Any] = []
            for one, two in itertools.pairwise(path):
                x, y = self._at(one)
                to_x, to_y = self._at(two)
                if not points:
                    points, codes = [(x, y + BOX)], [Line.MOVETO]
                elif one.box is None:
                    points.append((x, y + BOX))
                    codes.append(Line.LINETO)
                if self.column[one.layer] != self.column[two.layer]:
                    # down, to the lane between the columns, up and down again
                    lane, low, high = lanes[id(one), id(two)]
                    points += [(x, low), (lane, low), (lane, high), (to_x, high), (to_x, to_y)]
                    codes += [Line.LINETO] * 5
                elif abs(x - to_x) < 1e-3:
                    points.append((to_x, to_y))
                    codes.append(Line.LINETO)
                else:
                    bend = (to_y - y - BOX) * 0.6
                    points += [(x, y + BOX + bend), (to_x, to_y - bend), (to_x, to_y)]
                    codes += [Line.CURVE4] * 3
            self.axes.add_patch(
                FancyArrowPatch(
                    path=Line(points, codes), arrowstyle="-|>", mutation_scale=8, color=EDGE, linewidth=0.9, shrinkA=0,
                    shrinkB=0, joinstyle="round", capstyle="butt",
                )
            )  # fmt: skip

    def _lanes(self, layout: Layout) -> dict[tuple[int, int], tuple[float, float, float]]:
        """For each step from column to column: where it goes up, and how far down and up it goes."""
        found: dict[tuple[int, int], tuple[float, float, float]] = {}
        for column, steps in self._crossings(layout):
            right = MARGIN + (column + 1) * (self.width + GUTTER) - GUTTER
            bottom = self.above + BOX + max(self.top[layer] for layer, own in self.column.items() if own == column)
            for i, (one, two) in enumerate(steps):
                # from the right to the left: each goes below those before it, then up behind them
                share = (i + 1) / (len(steps) + 1)
                found[id(one), id(two)] = (right + GUTTER * share, bottom + GAP * share, MARGIN + GAP * share / 2)
        return found

    def _crossings(self, layout: Layout) -> Iterator[tuple[int, list[tuple[Place, Place]]]]:
        steps = [
            (one, two)
            for path in layout.paths
            for one, two in itertools.pairwise(path)
            if self.column[one.layer] != self.column[two.layer]
        ]
        for column in sorted({self.column[one.layer] for one, _ in steps}):
            yield (
                column,
                sorted((step for step in steps if self.column[step[0].layer] == column), key=lambda step: -step[0].x),
            )
