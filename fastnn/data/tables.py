"""Rows of named columns: CSV files, and the tables of pandas, polars and arrow."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TableError(ValueError):
    """A table cannot be learned from; the text names the row and the column."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table:
    """Features and targets by row.

    Attributes
    ----------
    features : float32 array (N, F).
    targets : int64 array (N,) of classes, or float32 array (N,) of numbers.
    feature_names : names of the columns.
    target_name : name of the column that is to be predicted.
    classes : what the classes are called, ``classes[targets[i]]``; None where numbers are predicted.
    name : name of the table.
    source : where it came from, in words.
    """

    features: NDArray[np.float32]
    targets: NDArray[Any]
    feature_names: tuple[str, ...]
    target_name: str
    classes: tuple[str, ...] | None
    name: str
    source: str

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        return self.features[index], self.targets[index]

    @property
    def arrays(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Features and targets."""
        return self.features, self.targets

    def __repr__(self) -> str:
        what = "numbers" if self.classes is None else f"{len(self.classes)} classes"
        return f"<{self.name}: {len(self):,} rows of {len(self.feature_names)} features, {what}, from {self.source}>"


def read_csv(path: str | os.PathLike[str], target: str | None = None, *, classes: Sequence[str] | None = None) -> Table:
    """Read a CSV file of numbers, one column of which (any text) is to be predicted.

    Parameters
    ----------
    path : a file with a header line of names; a first line of numbers alone is taken for data, and the columns are
        called 1, 2, ....
    target : name of the column to predict; by default the last one. It is taken for classes where it holds text, or at
        most 20 different whole numbers, else for numbers.
    classes : the classes, in order, where they are known from an earlier table.

    Raises
    ------
    TableError : a cell is empty or no finite number, a row is too short or long, the column is not there, the file is
        no UTF-8 text. The text names row (counted from 1, the header included) and column.
    FileNotFoundError : there is no such file.
    """
    path = Path(path)
    rows = _rows(path)
    if not rows:
        raise TableError(f"{path}: expected a header and rows, got an empty file")
    header = [name.strip() for name in rows[0][1]]
    if all(_is_number(cell) for cell in header):
        header = [str(i + 1) for i in range(len(header))]
    else:
        rows = rows[1:]
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise TableError(f"{path}: names of columns must differ, got {twice!r} twice")
    if not rows:
        raise TableError(f"{path}: expected rows below the header, got none")
    place = _target_column(str(path), target, header)
    for line, row in rows:
        if len(row) != len(header):
            raise TableError(f"{path}: row {line} must have {len(header)} cells like the header, got {len(row)}")
    names = [name for i, name in enumerate(header) if i != place]
    features = np.empty((len(rows), len(names)), np.float32)
    for i, (line, row) in enumerate(rows):
        cells = row[:place] + row[place + 1 :]
        try:
            with np.errstate(over="ignore"):
                features[i] = cells
        except ValueError:
            features[i] = math.nan
        if not np.isfinite(features[i]).all():
            bad = next(j for j, cell in enumerate(cells) if not _fits(cell))
            raise _no_number(str(path), line, names[bad], cells[bad])
    texts = [(line, row[place].strip()) for line, row in rows]
    numbers = all(_is_number(text) for _, text in texts if text.lower() not in MISSING)
    for line, text in texts:
        if text.lower() in (MISSING if numbers else MISSING[:2]):
            raise TableError(f"{path}: row {line}, column {header[place]!r} must hold what to predict, got {text!r}")
    targets, found = _targets(str(path), header[place], texts, classes)
    return Table(features, targets, tuple(names), header[place], found, path.stem, str(path))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that hold something, with their numbers."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        try:
            return [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise TableError(f"{path}: row {reader.line_num} is no row of a CSV file: {error}") from None
        except UnicodeDecodeError:
            pass  # it says where in a buffer, not where in the file
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            wrong = f"byte {line[error.start]:#04x} in row {number}"
            raise TableError(f"{path}: expected text in UTF-8, got {wrong}") from None
    raise AssertionError  # whole lines decode only where the whole does


def table(frame: Any, target: str | None = None, *, name: str = "table") -> Table:
    """A table from pandas, polars, arrow or any other library that narwhals knows; else as `read_csv`.

    Raises
    ------
    ImportError : narwhals is missing; the text is the line to install it.
    """
    try:
        import narwhals as nw
    except ImportError:
        raise ImportError("tables of other libraries need narwhals; run: pip install 'fastnn-cpu[data]'") from None
    try:
        native = nw.from_native(frame, eager_only=True)
        header = [str(column) for column in native.columns]
    except nw.exceptions.DuplicateError as error:
        raise TableError(f"{name}: names of columns must differ: {' '.join(str(error).split())}") from None
    if not header or not len(native):
        raise TableError(f"{name}: expected rows and columns, got {len(native)} and {len(header)}")
    place = _target_column(name, target, header)
    features = np.empty((len(native), len(header) - 1), np.float32)
    names = [column for i, column in enumerate(header) if i != place]
    for j, column in enumerate(names):
        values = native[column].to_numpy()
        if values.dtype.kind in "mMc":  # times and complex numbers: NumPy would take what it can of them
            raise _no_number(name, 1, column, values[0])
        try:
            with np.errstate(over="ignore"):
                features[:, j] = values
        except (TypeError, ValueError):
            bad = next(i for i, value in enumerate(values) if not _is_number(value))
            raise _no_number(name, bad + 1, column, values[bad]) from None
        if not np.isfinite(features[:, j]).all():
            bad = int(np.argmin(np.isfinite(features[:, j])))
            raise _no_number(name, bad + 1, column, values[bad])
    values = native[header[place]].to_list()
    for i, value in enumerate(values):
        if np.ndim(value) or (not isinstance(value, str) and str(value) in MISSING_VALUES):
            raise TableError(
                f"{name}: row {i + 1}, column {header[place]!r} must hold what to predict, got {_short(value)}"
            )
    targets, found = _targets(name, header[place], [(i + 1, str(v)) for i, v in enumerate(values)], None)
    return Table(features, targets, tuple(names), header[place], found, name, type(frame).__module__.split(".")[0])


MOST_CLASSES = 20
MISSING = ("", "nan", "na", "n/a", "null", "none", "?")  # no target; beside other texts, all but two are classes
MISSING_VALUES = ("nan", "NaT", "None", "<NA>")  # what they are for libraries of tables, as text


def _target_column(where: str, target: str | None, header: Sequence[str]) -> int:
    if len(header) < 2:
        raise TableError(f"{where}: expected at least 2 columns, with commas between, got {_short(', '.join(header))}")
    if target is None:
        return len(header) - 1
    if target not in header:
        raise TableError(f"{where}: there is no column {target!r}; there are {', '.join(header)}")
    return list(header).index(target)


def _targets(
    where: str, column: str, texts: Sequence[tuple[int, str]], known: Sequence[str] | None
) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    """Classes or numbers from what stands in the target's column."""
    if known is None:
        numbers = [float(text) if _is_number(text) else math.nan for _, text in texts]
        different = dict.fromkeys(text for _, text in texts)
        finite = all(map(math.isfinite, numbers))
        if finite and not (len(different) <= MOST_CLASSES and all(n == int(n) for n in numbers)):
            for line, text in texts:
                if not _fits(text):
                    raise _no_number(where, line, column, text)
            return np.array(numbers, np.float32), None
        known = sorted(different, key=float) if finite else sorted(different)
        if not finite and len(different) > max(MOST_CLASSES, len(texts) // 2):
            line, text = next((line, text) for line, text in texts if not _fits(text))
            raise TableError(
                f"{where}: row {line}, column {column!r} must hold a number or one of a few classes, "
                f"got {_short(text)} among {len(different)} different values"
            )
    places = {name: i for i, name in enumerate(known)}
    for line, text in texts:
        if text not in places:
            raise TableError(
                f"{where}: row {line}, column {column!r} must be one of {', '.join(known)}, got {_short(text)}"
            )
    return np.array([places[text] for _, text in texts], np.int64), tuple(known)


def _is_number(value: Any) -> bool:
    if isinstance(value, (np.complexfloating, np.datetime64, np.timedelta64)):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _fits(value: Any) -> bool:
    """Whether a value is a number that float32 can hold."""
    return _is_number(value) and abs(float(value)) <= float(np.finfo(np.float32).max)


def _no_number(where: str, row: int, column: str, value: Any) -> TableError:
    beyond = " (beyond float32)" if _is_number(value) and math.isfinite(float(value)) else ""
    return TableError(f"{where}: row {row}, column {column!r} must hold a number, got {_short(value)}{beyond}")


def _short(value: Any) -> str:
    """A value as the text of an error shows it."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
