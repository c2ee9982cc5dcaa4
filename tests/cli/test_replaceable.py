"""Files that commands may write over: pages over pages, pictures over pictures, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guideplug.cli.replaceable import check_replaceable
from guideplug.errors import UsageError


@pytest.mark.parametrize(("kind", "beginning"), [(".html", b"<!DOCTYPE html>\n"), (".png", b"\x89PNG\r\n")])
def test_a_file_of_the_kind_is_replaced_and_no_other(tmp_path: Path, kind: str, beginning: bytes) -> None:
    path = tmp_path / "file"
    check_replaceable(path, "--out", kind)
    for content in (b"", beginning + b"more"):
        path.write_bytes(content)
        check_replaceable(path, "--out", kind)
    for content in (b"thesis", b"{}", beginning[:3]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"^--out .* is there already"):
            check_replaceable(path, "--out", kind)


@pytest.mark.parametrize("command", ["report", "evaluate", "demo"])
def test_commands_write_over_no_file_of_another_kind(cli: Any, command: str) -> None:
    own = Path("guideplug-demo.png" if command == "demo" else "thesis.png")
    own.write_text("a year of work")
    np.save("samples.npy", np.zeros((4, 2), np.float32))
    Path("run").mkdir()
    arguments = {
        "report": ("run", "--out", own),
        "evaluate": ("samples.npy", "--task", "gaussian", "--figure", own),
        "demo": (),
    }[command]
    assert "is there already" in cli.error(command, *arguments)
    assert own.read_text() == "a year of work"
