"""A file's cells as they stand: CSV, TSV, NPY or Parquet, read whole, judged later.

The file is read once, so that its cells and its hash are of the same bytes. Nothing in it is executed: a NumPy file of
objects, which is a pickle, is refused. CSV and TSV are UTF-8 with names in the first line; every row is remembered by
the line it ends on, so that a bad cell can be found. Parquet is read by pyarrow (https://arrow.apache.org), imported
when it is used (0.1 s).
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from attrs import frozen

from guideplug import GuideplugError, read_arrays, read_bytes

__all__ = ["DataError", "Sheet", "quoted", "read_sheet", "value"]

LONGEST = 40
"""Characters of a cell or a name that are shown in a message."""
INDEX = "__index_level_0__"
"""What pandas calls an index without a name in a Parquet file."""
FEW_CELLS, CELLS_PER_BYTE = 1_000_000, 16
"""A Parquet file may hold so many cells, or so many for each of its bytes: one number can stand for very many."""
MOST_BYTES = 1024**3
"""Bytes of a file, which is read whole."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SAID = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


class DataError(GuideplugError):
    """A file cannot be used as data; the message names file, row, column, value and reason."""

    exit_code = 2


@final
@frozen(eq=False)
class Sheet:
    """Cells by column.

    Args:
        path: the file.
        names: of the columns, distinct but for empty ones.
        columns: the cells of each column: texts, numbers, None.
        lines: where each row stands, counted from 1.
        unit: what ``lines`` counts: lines of a text, rows of an array.
        digest: the SHA-256 of the file's bytes.
    """

    path: Path
    names: tuple[str, ...]
    columns: tuple[Sequence[Any], ...]
    lines: Sequence[int]
    unit: str
    digest: str

    def place(self, row: int, column: int) -> str:
        """Where a cell is, in words; both counted from 0."""
        return f"{self.path}, {self.unit} {self.lines[row]}, column {quoted(self.names[column])}"


def quoted(cell: object) -> str:
    """A cell on one line and in quotes, cut where it is long."""
    text = str(cell)
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")


def value(cell: object) -> float:
    """The number that a cell holds, NaN where it holds none. Yes and no are no numbers, nor is 1_000."""
    if isinstance(cell, bool | np.bool_) or (isinstance(cell, str) and "_" in cell):
        return np.nan
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


def read_sheet(path: Path) -> Sheet:
    """The cells of a file; its suffix says what it is.

    Raises:
        DataError: no such file, another format, or rows of unequal length.
    """
    readers = {".csv": _text, ".tsv": _text, ".npy": _array, ".parquet": _parquet}
    if path.is_dir():
        raise DataError(f"{path} is no file: give a table, such as {path.name}/table.csv")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} has the suffix {path.suffix!r}: known are {', '.join(readers)}")
    try:
        data = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path} cannot be read: {reason}") from None
    if not data:
        raise DataError(f"{path} is empty: it has no bytes")
    return reader(path, data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _text(path: Path, data: bytes) -> Sheet:
    """CSV or TSV."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8") from None
    delimiter = DELIMITERS[path.suffix.lower()]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; is a quote left open?") from None
    if not rows:
        raise DataError(f"{path} is empty: it has blank lines only")
    line, names = rows[0][0], tuple(name.strip() for name in rows[0][1])
    _check_header(path, line, names, delimiter)
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{path}, line {line} has {len(row)} cells, and the header names {len(names)} columns")
    columns = tuple(zip(*(row for _, row in rows[1:]), strict=True)) or ((),) * len(names)
    return Sheet(path, names, columns, [line for line, _ in rows[1:]], "line", _digest(data))


def _check_header(path: Path, line: int, names: Sequence[str], delimiter: str) -> None:
    if len(names) == 1:
        for other in set(SAID) - {delimiter}:
            if other in names[0]:
                raise DataError(
                    f"{path}, line {line} looks separated by {SAID[other]}: separate {path.suffix} by {SAID[delimiter]}"
                )
    for number, name in enumerate(names, 1):
        if not np.isnan(value(name)):
            raise DataError(
                f"{path}, line {line}, column {number}: {quoted(name)} is a number where a name should be; "
                "write the columns' names into the first line"
            )
        if name and name in names[: number - 1]:
            raise DataError(f"{path}, line {line}, column {number}: another column is called {quoted(name)} too")


def _array(path: Path, data: bytes) -> Sheet:
    """A NumPy array of rows and columns; the columns' names are their numbers, from 1."""
    try:
        array = read_arrays(data)["samples"]
    except (ValueError, KeyError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} is no whole .npy file of numbers ({why}): write one with numpy.save; pickles are not read, "
            "since they can execute code"
        ) from None
    if array.ndim != 2:
        raise DataError(f"{path} has shape {array.shape}: give rows and columns, (N, D)")
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path} is of type {array.dtype}: give whole or floating-point numbers")
    names = tuple(str(number + 1) for number in range(array.shape[1]))
    return Sheet(path, names, tuple(array.T), range(1, len(array) + 1), "row", _digest(data))


def _parquet(path: Path, data: bytes) -> Sheet:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        cells = file.metadata.num_rows * file.metadata.num_columns
        if cells > max(FEW_CELLS, CELLS_PER_BYTE * len(data)):
            raise ValueError(f"it has {len(data):,} bytes and says that it holds {cells:,} cells")
        table = file.read()
        columns = tuple(column.to_pylist() for column in table.columns)
    except (pa.ArrowException, ValueError, OSError) as error:
        why = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is no whole Parquet file ({why})") from None
    names = tuple("" if name == INDEX else str(name) for name in table.column_names)
    return Sheet(path, names, columns, range(1, table.num_rows + 1), "row", _digest(data))
