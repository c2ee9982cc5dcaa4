"""Files: what is read, the same from every format, and what is refused in one line that says where and why."""

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from guideplug_points import DataError
from guideplug_points.sheet import read_sheet
from guideplug_points.table import Table, read_table

ROWS = [[f"{(7 * i) % 40}.5", str((11 * i) % 40 - 3), "ab"[i % 2]] for i in range(40)]
HEADER = ["x", "y", "kind"]


def csv_text(rows: Sequence[Sequence[str]] = ROWS, header: Sequence[str] = HEADER, delimiter: str = ",") -> str:
    return "".join(delimiter.join(row) + "\n" for row in [header, *rows])


def changed(row: int, column: int, cell: str) -> str:
    """The file with one cell, counted from 0, replaced."""
    rows = [list(cells) for cells in ROWS]
    rows[row][column] = cell
    return csv_text(rows)


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def as_parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


NUMBERS = np.array([[float(row[0]), float(row[1]), float(row[2] == "b")] for row in ROWS])
GOOD = csv_text()
BAD_FLOAT = NUMBERS.copy()
BAD_FLOAT[4, 1] = np.inf
X, Y = NUMBERS[:, 0].tolist(), NUMBERS[:, 1].tolist()

BAD: dict[str, tuple[str, bytes | str, dict[str, Any], list[str]]] = {
    "not a number": ("a.csv", changed(2, 1, "abc"), {"label": "kind"}, ["line 4, column 'y': 'abc' is not a number"]),
    "text that is no label": ("a.csv", GOOD, {}, ["line 2, column 'kind'", "'a' is not a number", "make it the label"]),
    "decimal comma": ("a.tsv", csv_text([["1,5", "2", "a"]] * 30, delimiter="\t"), {"label": 3}, ["decimal point"]),
    "underscore": ("a.csv", changed(0, 0, "1_000"), {"label": "kind"}, ["line 2, column 'x': '1_000' is not a number"]),
    "a value at length": ("a.csv", changed(0, 0, "z" * 900), {"label": "kind"}, [f"'{'z' * 37}...' is not a number"]),
    "missing": ("a.csv", changed(5, 0, " "), {"label": "kind"}, ["line 7, column 'x'", "missing"]),
    "NaN": ("a.csv", changed(5, 0, "NaN"), {"label": "kind"}, ["line 7, column 'x'", "missing"]),
    "several missing": ("a.csv", csv_text([["", "1", "a"]] * 30), {"label": 3}, ["line 2", "30 such rows"]),
    "infinite": ("a.csv", changed(39, 1, "-inf"), {"label": "kind"}, ["line 41, column 'y': '-inf' is not finite"]),
    "too large": ("a.csv", changed(1, 1, "1e31"), {"label": "kind"}, ["line 3, column 'y'", "too large"]),
    "no float at all": ("a.csv", changed(1, 1, "9" * 400), {"label": "kind"}, ["line 3, column 'y'", "not finite"]),
    "ragged": ("a.csv", csv_text([*ROWS, ["1", "2"]]), {"label": "kind"}, ["line 42 has 2 cells", "names 3 columns"]),
    "after blank lines": ("a.csv", "\n\n" + changed(0, 0, "?x"), {"label": "kind"}, ["line 4, column 'x'"]),
    "open quote": ("a.csv", GOOD + '1,"2', {"label": "kind"}, ["line 42", "quote"]),
    "header only": ("a.csv", csv_text([]), {"label": "kind"}, ["a header only", "at least 20"]),
    "few rows": ("a.csv", csv_text(ROWS[:9]), {"label": "kind"}, ["9 rows", "at least 20"]),
    "empty": ("a.csv", "", {}, ["is empty"]),
    "blank": ("a.csv", "\n\n", {}, ["is empty", "blank lines"]),
    "no header": ("a.csv", csv_text(ROWS, ["1.5", "2", "a"]), {}, ["line 1, column 1: '1.5' is a number", "names"]),
    "equal names": ("a.csv", csv_text(ROWS, ["x", "x", "k"]), {}, ["line 1, column 2", "'x' too"]),
    "an index": ("a.csv", csv_text(ROWS, ["", "y", "k"]), {"label": "k"}, ["column 1 has no name", "index"]),
    "semicolons": ("a.csv", csv_text(delimiter=";"), {}, ["line 1 looks separated by semicolons", "by commas"]),
    "tabs in csv": ("a.csv", csv_text(delimiter="\t"), {}, ["looks separated by tabs", ".csv by commas"]),
    "commas in tsv": ("a.tsv", GOOD, {}, ["looks separated by commas", ".tsv by tabs"]),
    "one column": ("a.csv", csv_text([[str(i)] for i in range(30)], ["x"]), {}, ["1 columns", "at least 2"]),
    "one column beside the label": ("a.csv", GOOD, {"label": "x", "columns": ["y"]}, ["1 columns", "beside the label"]),
    "Latin-1": ("a.csv", GOOD.encode() + "1,2,Käse\n".encode("latin-1"), {}, ["line 42", "0xe4 is not UTF-8"]),
    "unknown label": ("a.csv", GOOD, {"label": "kinds"}, ["label is 'kinds'", "did you mean 'kind'?", "x, y, kind"]),
    "label beyond": ("a.csv", GOOD, {"label": 4}, ["label is column 4", "1 to 3"]),
    "label zero": ("a.csv", GOOD, {"label": 0}, ["label is column 0", "1 to 3"]),
    "unknown column": ("a.csv", GOOD, {"columns": ["x", "z"]}, ["columns is 'z'"]),
    "a column twice": ("a.csv", GOOD, {"columns": ["x", 1]}, ["'x' twice"]),
    "the label as a column": ("a.csv", GOOD, {"label": 1, "columns": ["x", "y"]}, ["'x', which is the label"]),
    "missing class": ("a.csv", changed(3, 2, ""), {"label": "kind"}, ["line 5, column 'kind': the class is missing"]),
    "one class": ("a.csv", csv_text([[*row[:2], "a"] for row in ROWS]), {"label": "kind"}, ["class 'a'", "label out"]),
    "a class of one row": (
        "a.csv",
        changed(6, 2, "c"),
        {"label": "kind"},
        ["line 8, column 'kind': class 'c'", "only"],
    ),
    "constant column": (
        "a.csv",
        csv_text([["3", *r[1:]] for r in ROWS]),
        {"label": 3},
        ["column 'x': all rows", " 3;"],
    ),
    "little spread": (
        "a.csv",
        csv_text([[f"1000000000{i % 10}", *row[1:]] for i, row in enumerate(ROWS)]),
        {"label": 3},
        ["column 'x'", "too little for 32-bit", "subtract a constant"],
    ),
    "a pickle": ("a.npy", saved(np.array([{}, 1], dtype=object)), {}, ["no whole .npy", "pickles are not read"]),
    "half an array": ("a.npy", saved(NUMBERS)[:-9], {}, ["no whole .npy"]),
    "no array": ("a.npy", b"PK" * 99, {}, ["no whole .npy"]),
    "a line of numbers": ("a.npy", saved(NUMBERS[0]), {}, ["shape (3,)", "(N, D)"]),
    "texts": ("a.npy", saved(np.array(ROWS)), {}, ["of type <U"]),
    "infinite in an array": ("a.npy", saved(BAD_FLOAT), {}, ["row 5, column '2': 'inf' is not finite"]),
    "fraction as a class": (
        "a.npy",
        saved(NUMBERS),
        {"label": 1, "columns": [2, 3]},
        ["row 1, column '1': '0.5' is no"],
    ),
    "no Parquet": ("a.parquet", b"PAR1 but not really PAR1", {}, ["no whole Parquet"]),
    "null in Parquet": ("a.parquet", as_parquet(x=[None, *X[1:]], y=Y), {}, ["row 1, column 'x'", "missing"]),
    "yes and no": ("a.parquet", as_parquet(x=X, y=[True] * 40), {}, ["row 1, column 'y': 'True' is not a number"]),
    "an index in Parquet": ("a.parquet", as_parquet(x=X, y=Y, __index_level_0__=X), {}, ["column 3 has no name"]),
    "unknown suffix": ("a.xlsx", b"x", {}, ["suffix '.xlsx'", ".csv, .tsv, .npy, .parquet"]),
    "no suffix": ("a", b"x", {}, ["suffix ''"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line_that_says_where(case: str, tmp_path: Path) -> None:
    name, content, options, said = BAD[case]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < len(str(path)) + 260
    assert str(path) in text
    for part in said:
        assert part in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "said"), [("none.csv", "does not exist"), (".", "is no file")])
def test_what_is_no_file_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_sheet(tmp_path / name)


def test_too_many_columns_and_too_many_classes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((20, 4097)))
    with pytest.raises(DataError, match="4097 columns: at most 4096"):
        read_table(path)
    np.save(path, np.column_stack([np.arange(2002) // 2, np.random.RandomState(0).randn(2002, 2)]))
    with pytest.raises(DataError, match="1001 classes, at most 1000"):
        read_table(path, label=1)


def written(folder: Path) -> list[Path]:
    """The same rows in every format."""
    paths = [folder / name for name in ("a.csv", "a.tsv", "a.npy", "a.parquet", "quoted.csv", "mark.CSV")]
    paths[0].write_text(csv_text())
    paths[1].write_text(csv_text(delimiter="\t"))
    np.save(paths[2], NUMBERS)
    paths[3].write_bytes(as_parquet(x=X, y=[int(value) for value in Y], kind=[row[2] for row in ROWS]))
    paths[4].write_bytes(csv_text([[f'"{cell}"' for cell in row] for row in ROWS]).replace("\n", "\r\n").encode())
    paths[5].write_bytes(b"\xef\xbb\xbf" + csv_text().replace("\n", "\n\n").encode())
    return paths


def content(table: Table) -> list[Any]:
    return [
        part.tolist()
        for part in (table.train, table.train_labels, table.heldout, table.heldout_labels, table.mean, table.std)
    ]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    tables = [read_table(path, label=3) for path in written(tmp_path)]
    assert len({table.digest for table in tables}) == len(tables)
    for table in tables:
        assert content(table) == content(tables[0])
    assert {table.names for table in tables if table is not tables[2]} == {("x", "y")}
    assert tables[2].names == ("1", "2")
    assert tables[0].classes == tables[3].classes == ("a", "b")
    assert tables[2].classes == ("0", "1")


def test_every_row_is_on_one_side_with_its_own_class(tmp_path: Path) -> None:
    table = read_table(written(tmp_path)[0], label="kind")
    assert (len(table.train), len(table.heldout)) == (32, 8)
    assert np.bincount(table.heldout_labels).tolist() == [4, 4]
    rows = np.concatenate([np.c_[table.train, table.train_labels], np.c_[table.heldout, table.heldout_labels]])
    assert sorted(rows.tolist()) == sorted(NUMBERS.tolist())
    np.testing.assert_allclose(table.standard(table.train).std(axis=0), 1)
    second = {tuple(row) for row in table.second().tolist()}
    assert len(second) == 8
    assert second <= {tuple(row) for row in table.train.tolist()}


def test_without_a_label_and_with_chosen_columns(tmp_path: Path) -> None:
    path = written(tmp_path)[0]
    table = read_table(path, columns=["y", 1], heldout=0.5)
    assert (table.names, table.classes) == (("y", "x"), ())
    assert (len(table.train), len(table.heldout)) == (20, 20)
    assert not table.train_labels.any()


def test_classes_are_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_text([[*row[:2], ["10", "9", "-1.0"][i % 3]] for i, row in enumerate(ROWS)]))
    assert read_table(path, label=3).classes == ("-1", "9", "10")
    path.write_text(csv_text([[*row[:2], ["10", "9", " b "][i % 3]] for i, row in enumerate(ROWS)]))
    assert read_table(path, label=3).classes == ("10", "9", "b")


def test_a_rare_class_has_a_row_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_text([[*row[:2], "rare" if i < 2 else "often"] for i, row in enumerate(ROWS)]))
    table = read_table(path, label="kind", heldout=0.05)
    assert np.bincount(table.heldout_labels).tolist() == [2, 1]
    assert np.bincount(table.train_labels).tolist() == [36, 1]


@pytest.mark.slow
def test_pyarrow_and_optimal_transport_are_imported_when_they_are_used() -> None:
    code = "import sys, guideplug_points; print([name for name in ('pyarrow', 'ot') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
