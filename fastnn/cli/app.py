"""Commands and their options."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fastnn.cli.failure import INTERRUPTED, Failure
from fastnn.cli.networks import NETWORKS, defaults

# The common base of typer's errors about arguments (typer brings its own copy of click).
_ArgumentError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="fastnn",
    help="Neural networks at the speed of the CPU.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def run(arguments: list[str]) -> int:
    """Run a command line; a bad one is told in one line on the standard error. Returns the exit status."""
    try:
        status = app(arguments, prog_name="fastnn", standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as stop:
        status = stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except Failure as failure:
        print(f"fastnn: {failure}", file=sys.stderr)
        return failure.status
    except BrokenPipeError:  # as in `fastnn train mnist | head -1`: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at exit
        return 1
    except _ArgumentError as error:
        complaint: Any = error
        text = complaint.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help page
            print(text)
            return 2
        line = " ".join(text.split()).rstrip(".")
        print(f"fastnn: {line}" + ("" if line.startswith("Invalid") else "; see fastnn --help"), file=sys.stderr)
        return 2
    if status == INTERRUPTED:  # some versions of typer make an exit of Ctrl-C, others raise
        print("fastnn: interrupted", file=sys.stderr)
    return int(status or 0)


def _positive(value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"must be a positive number, got {value}")
    return value


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise typer.BadParameter(f"must be whole numbers from 1 on, with commas between layers, got '{text}'")
    return sizes


def _data(value: str) -> str:
    if value not in ("mnist", "fashion-mnist") and not Path(value).is_file():
        raise typer.BadParameter(f"must be mnist, fashion-mnist or a CSV file that is there, got '{value}'")
    return value


def _model(value: str) -> str:
    module, colon, factory = value.partition(":")
    if value not in NETWORKS and not (module and colon and factory):
        raise typer.BadParameter(f"must be {', '.join(NETWORKS)} or MODULE:FACTORY, got '{value}'")
    return value


def _by_model(option: str) -> str:
    """The defaults of an option, in words."""
    values = {name: getattr(network, option) for name, network in NETWORKS.items()}
    usual = values["mlp"]
    others = ", ".join(f"{name} {value}" for name, value in values.items() if value != usual)
    return f"[default: {usual}" + (f"; {others}]" if others else "]")


def _version(asked: bool) -> None:
    if asked:
        import fastnn

        print(f"fastnn {fastnn.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Neural networks at the speed of the CPU."""


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="mnist, fashion-mnist, or a CSV file.", callback=_data)],
    model: Annotated[
        str,
        typer.Option(
            callback=_model,
            help=f"{', '.join(NETWORKS)}, or MODULE:FACTORY, which is given the numbers of inputs and outputs if it "
            "can be.",
        ),
    ] = "mlp",
    target: Annotated[
        str | None, typer.Option(help="Column of a CSV file to predict  [default: the last one]", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help=f"Passes over the training data  {_by_model('epochs')}")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help=f"Samples in an update  {_by_model('batch_size')}")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            callback=lambda value: value if value is None else _positive(value),
            help=f"Learning rate, which falls along half a cosine  {_by_model('lr')}",
        ),
    ] = None,
    hidden: Annotated[str, typer.Option(help="Sizes of mlp's hidden layers, such as 128 or 256,64.")] = "128",
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="Change images at random while learning  "
            f"[default: with {', '.join(name for name, network in NETWORKS.items() if network.augmented)}]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Fixes the weights and the order of batches.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the results  [default: runs/DATA]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where the run in the folder stopped.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Compute threads  [default: FASTNN_NUM_THREADS, else the cores]")
    ] = None,
    compare_numpy: Annotated[
        bool, typer.Option("--compare-numpy", help="Also measure an epoch, or 20 s of one, on the NumPy reference.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors alone.")] = False,
) -> None:
    """Train a network and keep its weights, history and a plot."""
    try:
        sizes = _sizes(hidden)
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint="'--hidden'") from None
    from fastnn.cli.train import Settings, run_training

    network = defaults(model)
    settings = Settings(
        data=data,
        target=target,
        model=model,
        epochs=network.epochs if epochs is None else epochs,
        batch_size=network.batch_size if batch_size is None else batch_size,
        lr=network.lr if lr is None else lr,
        hidden=sizes if model == "mlp" else [],
        seed=seed,
        out=out if out is not None else Path("runs") / Path(data).stem,
        resume=resume,
        threads=threads,
        compare_numpy=compare_numpy,
        augment=network.augmented if augment is None else augment,
    )
    run_training(settings, quiet=quiet)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that fastnn train has left.")],
    data: Annotated[str, typer.Argument(help="A CSV file with the model's columns, or mnist, fashion-mnist.")],
    out: Annotated[Path | None, typer.Option(help="A CSV file for the predictions  [default: the output]")] = None,
) -> None:
    """Predict the rows of a table, or the held-out images, as CSV."""
    from fastnn.cli.apply import run_prediction

    run_prediction(model, data, out)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder that fastnn train has left.")],
    data: Annotated[
        str | None, typer.Argument(help="A CSV file, or mnist, fashion-mnist  [default: what it was trained on]")
    ] = None,
) -> None:
    """Print the loss and the score of a trained model."""
    from fastnn.cli.apply import run_evaluation

    run_evaluation(model, data)


@app.command()
def warmup(
    model: Annotated[
        str | None,
        typer.Argument(
            callback=lambda value: value if value is None else _model(value),
            help="Name of a network, MODULE:FACTORY or FILE.py:FACTORY, whose training is prepared  [default: usual "
            "kernels]",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples in an update of the model.")] = 32,
    shape: Annotated[
        str | None,
        typer.Option(help="Of a sample, such as 784 or 1,28,28  [default: what the first layer takes]"),
    ] = None,
    loss: Annotated[str, typer.Option(help="Name of the loss, such as cross_entropy or mse.")] = "cross_entropy",
    optimizer: Annotated[
        str | None, typer.Option(help="Name of the optimizer  [default: the network's, else adam]", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All kernels of all ops, not only the usual ones.")] = False,
) -> None:
    """Compile kernels now, so that the first step of a program need not."""
    if model is not None:
        from fastnn.cli.warmup import run_model_warmup

        try:
            sizes = None if shape is None else _sizes(shape)
        except typer.BadParameter as error:
            raise typer.BadParameter(error.message, param_hint="'--shape'") from None
        run_model_warmup(model, batch, sizes, loss, optimizer or defaults(model).optimizer.lower())
    else:
        from fastnn.cli.warmup import run_warmup

        run_warmup(everything)


@app.command()
def info() -> None:
    """Print versions, the CPU, threads and folders."""
    from fastnn.cli.info import facts

    rows = facts()
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        print(f"{name:{width}}{value}")
