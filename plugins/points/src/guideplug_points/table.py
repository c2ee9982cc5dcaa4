"""Rows that networks can learn from: checked, named, split, and brought to one scale.

With m and s the mean and standard deviation of a column over the training rows, networks see z = (x - m) / (2 s), which
has the standard deviation 0.5 of `Space`; samples, metrics and files have x. The held-out rows are a share of each
class, chosen by a fixed seed, and no network sees them.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from guideplug_points.sheet import DataError, Sheet, quoted, read_sheet, value

__all__ = ["MAX_CLASSES", "MAX_COLUMNS", "MIN_ROWS", "SPLIT_SEED", "Table", "read_table"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

MIN_ROWS = 20
MAX_COLUMNS = 4096
MAX_CLASSES = 1000
LARGEST = 1e30
"""Larger numbers, and columns that vary less than its inverse, are beyond 32 bits once squared."""
RESOLUTION = 1e-5
"""The least spread of a column, as a share of its largest value, that 32-bit numbers can tell apart well."""
SPLIT_SEED = 0
MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


@final
@frozen(eq=False)
class Table:
    """A file's rows, ready for use. Arrays are in the file's units; do not write into them.

    Args:
        names: of the D columns.
        classes: in order: numbers ascending, texts by the alphabet; empty without a label.
        train, heldout: rows (N, D) and (M, D), M <= N; the held-out ones in random order.
        train_labels, heldout_labels: indices of classes (N,) and (M,); 0 without a label.
        mean, std: of the training rows, (D,).
        digest: the SHA-256 of the file's bytes.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    train: Floats
    train_labels: Integers
    heldout: Floats
    heldout_labels: Integers
    mean: Floats
    std: Floats
    digest: str

    def standard(self, rows: NDArray[Any]) -> Floats:
        """Rows (B, D) of the file's units in standard deviations from the mean."""
        return (rows.astype(np.float64) - self.mean) / self.std

    def second(self) -> Floats:
        """As many training rows as are held out, drawn once: what held-out rows are compared with."""
        chosen = np.random.RandomState(SPLIT_SEED + 1).permutation(len(self.train))[: len(self.heldout)]
        return self.train[chosen]


def read_table(
    path: Path, label: str | int | None = None, columns: Sequence[str | int] | None = None, heldout: float = 0.2
) -> Table:
    """The rows of a file.

    Args:
        path: a file that `read_sheet` reads.
        label: the column of classes, by name or number from 1.
        columns: the columns of numbers; all but the label unless given.
        heldout: the share of rows that is held out, at most half.

    Raises:
        DataError: what is wrong, in which row and column.
    """
    sheet = read_sheet(path)
    chosen, label_column = _choose(sheet, label, columns)
    if len(sheet.lines) < MIN_ROWS:
        found = "a header only" if not sheet.lines and sheet.unit == "line" else f"{len(sheet.lines)} rows"
        raise DataError(f"{path} has {found}: at least {MIN_ROWS} rows are needed")
    rows = np.stack([_numbers(sheet, column) for column in chosen], axis=1)
    names, labels = ((), np.zeros(len(rows), np.int64)) if label_column is None else _classes(sheet, label_column)
    out = _held_out(labels, heldout)
    inside = np.ones(len(rows), dtype=bool)
    inside[out] = False
    train = rows[inside]
    mean, std = train.mean(axis=0), train.std(axis=0)
    _check_spread(sheet, chosen, train, std)
    return Table(
        names=tuple(sheet.names[column] for column in chosen),
        classes=names,
        train=train,
        train_labels=labels[inside],
        heldout=rows[out],
        heldout_labels=labels[out],
        mean=mean,
        std=std,
        digest=sheet.digest,
    )


def _choose(sheet: Sheet, label: str | int | None, columns: Sequence[str | int] | None) -> tuple[list[int], int | None]:
    """The columns of numbers and that of classes, counted from 0."""
    label_column = None if label is None else _find(sheet, label, "label")
    if columns is None:
        chosen = [column for column in range(len(sheet.names)) if column != label_column]
    else:
        chosen = [_find(sheet, column, "columns") for column in columns]
    for place, column in enumerate(chosen):
        if column == label_column:
            raise DataError(f"{sheet.path}: columns has {quoted(sheet.names[column])}, which is the label")
        if column in chosen[:place]:
            raise DataError(f"{sheet.path}: columns has {quoted(sheet.names[column])} twice")
        if not sheet.names[column]:
            raise DataError(
                f"{sheet.path}: column {column + 1} has no name, as an index that was saved along; name it, or choose "
                "columns=[...]"
            )
    if len(chosen) < 2:
        beside = "" if label_column is None else " beside the label"
        raise DataError(f"{sheet.path} gives {len(chosen)} columns of numbers{beside}: at least 2 are needed")
    if len(chosen) > MAX_COLUMNS:
        raise DataError(f"{sheet.path} gives {len(chosen)} columns: at most {MAX_COLUMNS} can be used")
    return chosen, label_column


def _find(sheet: Sheet, wanted: str | int, option: str) -> int:
    """The column of a name, or of a number from 1; counted from 0."""
    if isinstance(wanted, str) and wanted in sheet.names:
        return sheet.names.index(wanted)
    count = len(sheet.names)
    if isinstance(wanted, int):
        if 1 <= wanted <= count:
            return wanted - 1
        raise DataError(f"{sheet.path}: {option} is column {wanted}, and the columns are 1 to {count}")
    known = [name for name in sheet.names if name]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    hint = f" (did you mean {quoted(near[0])}?)" if near else ""
    listed = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    raise DataError(f"{sheet.path}: {option} is {quoted(wanted)}, no column is called so{hint}; they are {listed}")


def _missing(cell: object) -> bool:
    text = str(cell).strip().lower()
    return cell is None or text in MISSING


def _numbers(sheet: Sheet, column: int) -> Floats:
    """A column's numbers (N,)."""
    cells = sheet.columns[column]
    found = (
        cells.astype(np.float64)
        if isinstance(cells, np.ndarray)
        else np.fromiter(map(value, cells), np.float64, len(cells))
    )
    wrong = np.flatnonzero(~(np.abs(found) <= LARGEST))
    if not len(wrong):
        return found
    row = int(wrong[0])
    raise DataError(f"{sheet.place(row, column)}: {_why_no_number(cells[row], float(found[row]))}{_further(wrong)}")


def _further(wrong: Integers) -> str:
    return "" if len(wrong) == 1 else f" ({len(wrong)} such rows, this is the first)"


def _why_no_number(cell: object, found: float) -> str:
    if _missing(cell):
        return "the value is missing; fill it in, or leave out the row"
    if np.isinf(found):
        return f"{quoted(cell)} is not finite"
    if not np.isnan(found):
        return f"{quoted(cell)} is too large, above {LARGEST:g}; give the column another unit"
    advice = "leave the column out with columns=[...], or make it the label"
    if isinstance(cell, str) and np.isfinite(value(cell.replace(",", "."))):
        advice = "write a decimal point, and nothing between thousands"
    return f"{quoted(cell)} is not a number; {advice}"


def _classes(sheet: Sheet, column: int) -> tuple[tuple[str, ...], Integers]:
    """The classes in order, and the index of each row's, (N,)."""
    cells = sheet.columns[column]
    missing = np.flatnonzero([_missing(cell) for cell in cells])
    if len(missing):
        row = int(missing[0])
        raise DataError(f"{sheet.place(row, column)}: the class is missing{_further(missing)}")
    numbers = np.fromiter(map(value, cells), np.float64, len(cells))
    if np.isfinite(numbers).all():
        broken = np.flatnonzero(numbers != np.round(numbers))
        if len(broken):
            row = int(broken[0])
            raise DataError(
                f"{sheet.place(row, column)}: {quoted(cells[row])} is no class, which is a text or a whole number"
            )
        kinds, labels, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        names = tuple(f"{kind:.0f}" for kind in kinds)
    else:
        texts = np.array([str(cell).strip() for cell in cells])
        kinds, labels, counts = np.unique(texts, return_inverse=True, return_counts=True)
        names = tuple(map(str, kinds))
    where = f"{sheet.path}, column {quoted(sheet.names[column])}"
    if len(names) == 1:
        raise DataError(f"{where}: all rows are of the class {quoted(names[0])}; leave the label out")
    if len(names) > MAX_CLASSES:
        raise DataError(f"{where} has {len(names)} classes, at most {MAX_CLASSES} can be used: is it a label?")
    if counts.min() == 1:
        index = int(counts.argmin())
        row = int(np.flatnonzero(labels == index)[0])
        raise DataError(
            f"{sheet.place(row, column)}: class {quoted(names[index])} has this row only, and one is to be trained on "
            "and one held out; leave it out, or join it with another class"
        )
    return names, labels.astype(np.int64)


def _held_out(labels: Integers, share: float) -> Integers:
    """The held-out rows in random order: the share of each class, at least one of it and at most half."""
    random = np.random.RandomState(SPLIT_SEED)
    chosen = []
    for index in range(int(labels.max()) + 1):
        members = random.permutation(np.flatnonzero(labels == index))
        chosen.append(members[: min(max(round(len(members) * share), 1), len(members) // 2)])
    return random.permutation(np.concatenate(chosen))


def _check_spread(sheet: Sheet, chosen: Sequence[int], train: Floats, std: Floats) -> None:
    """Refuse columns that do not vary, or too little for 32-bit numbers."""
    for place, column in enumerate(chosen):
        values, where = train[:, place], f"{sheet.path}, column {quoted(sheet.names[column])}"
        if values.min() == values.max():
            everywhere = (
                "all rows" if len({value(cell) for cell in sheet.columns[column]}) == 1 else "the training rows"
            )
            raise DataError(f"{where}: {everywhere} have the value {values[0]:g}; leave it out with columns=[...]")
        largest = np.abs(values).max()
        if std[place] < max(RESOLUTION * largest, 1 / LARGEST):
            raise DataError(
                f"{where}: its standard deviation is {std[place]:.3g} at values of {largest:.3g}, too little for "
                "32-bit numbers; subtract a constant, or give it another unit"
            )
