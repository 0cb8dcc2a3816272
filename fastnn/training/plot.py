"""A picture of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.training.history import History

TRAINED, HELD_OUT = "#0072b2", "#d55e00"


def draw(history: History, title: str | None = None) -> Any:
    """Each value over the epochs, in a panel for each; training and validation in one."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise ImportError("a plot needs matplotlib; run: pip install 'fastnn-cpu[plot]'") from None

    plain = [n for n in history.names if all(isinstance(v, (int, float)) for v in history[n])]
    panels = list(dict.fromkeys(n.removeprefix("val_") for n in plain)) or ["loss"]
    figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    numbers = [epoch.number for epoch in history.epochs]
    for name, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        for own, colour, label in ((name, TRAINED, "training"), (f"val_{name}", HELD_OUT, "validation")):
            if own in plain:
                axes.plot(numbers, history[own], "o-", color=colour, label=label, markersize=4)
        if name == "loss" and all(v > 0 for n in ("loss", "val_loss") if n in plain for v in history[n]):
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if plain:
            axes.legend()
    if title:
        figure.suptitle(title)
    return figure
