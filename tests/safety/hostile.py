"""Hostile files, and the command that is to refuse each: name, what makes it, what the refusal must say."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Case = tuple[Callable[[Path], list[str]], str]
CASES: dict[str, Case] = {}

NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}",
    "&lt;b&gt;",
    "../../../../elsewhere/x",
    "a/b",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe",
    "x" * 5000,
]
"""Names that must reach no page as markup, no terminal as commands, and no file system as a path."""


class Payload:
    """What unpickling would run: it leaves a file."""

    def __init__(self, folder: Path) -> None:
        self.touched = str(folder.parent / "executed")

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.touched),)


def case(name: str, says: str) -> Callable[[Callable[[Path], list[str]]], Callable[[Path], list[str]]]:
    """A case under its name."""

    def put(make: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
        CASES[name] = make, says
        return make

    return put


def put(name: str, says: str, make: Callable[[Path], list[str]]) -> None:
    """A case under its name, in one line."""
    CASES[name] = make, says


# Checkpoints


def checkpoint(name: str, content: Callable[[Path], bytes]) -> Callable[[Path], list[str]]:
    """Explain a guider whose weak network is the file."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content(folder))
        return ["explain", "autoguidance", "--model", f"weak={name}"]

    return make


def saved(folder: Path) -> bytes:
    """What torch.save writes: a zip with a pickle."""
    file = io.BytesIO()
    torch.save({"weight": Payload(folder)}, file)
    return file.getvalue()


def pickled(folder: Path) -> bytes:
    """A bare pickle."""
    return pickle.dumps(Payload(folder))


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> Callable[[Path], bytes]:
    """A file with a header as it is given."""
    return lambda folder: struct.pack("<Q", len(header) if length is None else length) + header + data


def described(**tensors: tuple[str, list[int], list[int]]) -> bytes:
    """A header of tensors: type, shape, offsets."""
    rows = {name: {"dtype": t, "shape": shape, "data_offsets": at} for name, (t, shape, at) in tensors.items()}
    return json.dumps(rows).encode()


for suffix in ("pt", "ckpt", "bin", "safetensors"):
    put(f"torch.save as .{suffix}", "which would run code", checkpoint(f"weak.{suffix}", saved))
    put(f"pickle as .{suffix}", "which is not read", checkpoint(f"weak.{suffix}", pickled))
put("header of 2^63 bytes", "header is not there", checkpoint("w.safetensors", safetensors(b"{}", length=2**63)))
put("header beyond the end", "header is not there", checkpoint("w.safetensors", safetensors(b"{}", length=100)))
put("header of 17 MB", "larger than", checkpoint("w.safetensors", safetensors(b"{}" + b" " * 17 * 1024**2)))
put("header no JSON", "not a whole", checkpoint("w.safetensors", safetensors(b"\xff\xfe{{{{")))
put("no header", "too short", checkpoint("w.safetensors", lambda folder: b"1234"))
put("empty file", "too short", checkpoint("w.safetensors", lambda folder: b""))
put(
    "overlapping offsets", "not a whole",
    checkpoint("w.safetensors", safetensors(described(a=("F32", [2], [0, 8]), b=("F32", [2], [4, 12])), bytes(12))),
)  # fmt: skip
put(
    "offsets beyond the file", "not a whole",
    checkpoint("w.safetensors", safetensors(described(a=("F32", [2], [0, 8])), bytes(4))),
)  # fmt: skip
put(
    "offsets backwards", "not a whole",
    checkpoint("w.safetensors", safetensors(described(a=("F32", [2], [8, 0])), bytes(8))),
)  # fmt: skip
put(
    "sizes that overflow", "not a whole",
    checkpoint("w.safetensors", safetensors(described(a=("F32", [2**62, 2**62, 4], [0, 8])), bytes(8))),
)  # fmt: skip
LONG_SHAPE = b'{"a":{"dtype":"F32","shape":[' + b"1," * 10**6 + b'0],"data_offsets":[0,4]}}'
put("a shape of a million numbers", "not a whole", checkpoint("w.safetensors", safetensors(LONG_SHAPE)))
EMPTY = ("F32", [0], [0, 0])
put(
    "100,000 tensors", "larger than",
    checkpoint("w.safetensors", lambda f: safetensors(described(**dict.fromkeys(map(str, range(10**5)), EMPTY)))(f)),
)  # fmt: skip
put(
    "header nested 100,000 deep", "not a whole",
    checkpoint("w.safetensors", safetensors(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}")),
)  # fmt: skip
for number, name in enumerate([NAMES[6], NAMES[8], NAMES[0], "a\x00b", "x" * 100_000]):
    put(
        f"hostile tensor name {number}", "lacks",
        checkpoint("w.safetensors", safetensors(described(**{name: ("F32", [1], [0, 4])}), bytes(4))),
    )  # fmt: skip


@case("sparse tensor of 500 MB", "lacks")
def _(folder: Path) -> list[str]:
    size = 500 * 10**6
    header = described(a=("U8", [size], [0, size]))
    with (folder / "w.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return ["explain", "autoguidance", "--model", "weak=w.safetensors"]


def odd_file(folder: Path, kind: str, name: str) -> str:
    """A file that is none."""
    path = folder / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "zeros":
        path.symlink_to("/dev/zero")
    return name


ODD = ("pipe", "folder", "loop", "zeros")
for kind in ODD:
    put(
        f"checkpoint is a {kind}", "checkpoint",
        lambda folder, kind=kind: [
            "explain", "autoguidance", "--model", f"weak={odd_file(folder, kind, 'w.safetensors')}"
        ],
    )  # fmt: skip
    put(f"samples are a {kind}", "s.npz", lambda folder, kind=kind: evaluate(odd_file(folder, kind, "s.npz")))
    put(f"configuration is a {kind}", "c.toml", lambda folder, kind=kind: run(odd_file(folder, kind, "c.toml")))
    put(
        f"table is a {kind}", "t.csv",
        lambda folder, kind=kind: ["explain", "autoguidance", "--task", f"points({odd_file(folder, kind, 't.csv')})"],
    )  # fmt: skip
put(
    "checkpoint with an endless name", "weak",
    lambda folder: ["explain", "autoguidance", "--model", f"weak={'x' * 3000}.safetensors"],
)  # fmt: skip

EVIL = """from pathlib import Path
Path({!r}).touch()
def build(*arguments):
    raise SystemExit
"""


def evil(folder: Path) -> str:
    """A file of code that leaves a trace when it is imported."""
    (folder / "evil.py").write_text(EVIL.format(str(folder.parent / "executed")))
    return "evil.py"


def beside(text: str) -> Callable[[Path], list[str]]:
    """A good checkpoint with a sheet beside it."""

    def make(folder: Path) -> list[str]:
        evil(folder)
        (folder / "w.safetensors").write_bytes(safetensors(described(a=("F32", [1], [0, 4])), bytes(4))(folder))
        (folder / "w.json").write_text(text)
        return ["explain", "autoguidance", "--model", "weak=w.safetensors"]

    return make


put("sheet names code", "does not name", beside(json.dumps({"denoiser": "python('evil.py:build')"})))
put("sheet nested deep", "nested", beside("[" * 100_000 + "]" * 100_000))
put("sheet of 10 MB", "larger than", beside(json.dumps({"denoiser": "x" * 10_000_000})))
put("sheet of a huge number", "64 bits", beside('{"denoiser": ' + "9" * 100_000 + "}"))
put("sheet is an expression bomb", "levels of brackets", beside(json.dumps({"denoiser": "a(" * 1900})))


# Samples


def evaluate(name: str) -> list[str]:
    """Measure the file."""
    return ["evaluate", name, "--task", "tree"]


def samples(name: str, content: Callable[[Path], bytes]) -> Callable[[Path], list[str]]:
    """Measure a file of these bytes."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content(folder))
        return evaluate(name)

    return make


def npy(array: Any) -> bytes:
    """What numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def headed(header: str, data: bytes = b"") -> bytes:
    """An .npy file with a header as it is given."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def shaped(shape: str, kind: str = "<f4") -> str:
    """A header of a shape."""
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


def zipped(*members: tuple[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def objects(folder: Path) -> bytes:
    """An array of objects, which is a pickle."""
    return npy(np.array([Payload(folder)], dtype=object))


def bomb(megabytes: int) -> bytes:
    """An array of zeros, deflated."""
    packer = zlib.compressobj(9, wbits=-15)
    head = headed(shaped(f"({megabytes * 2**17}, 2)"))
    block = bytes(2**20)
    crc, parts = zlib.crc32(head), [packer.compress(head)]
    for _ in range(megabytes):
        crc = zlib.crc32(block, crc)
        parts.append(packer.compress(block))
    data, size = b"".join([*parts, packer.flush()]), len(head) + megabytes * 2**20
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0x21, crc, len(data), size, 5, 0) + b"x.npy"
    central = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0x21, crc, len(data), size, 5, 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central) + 5, len(local) + len(data), 0)
    return local + data + central + b"x.npy" + end


def lying(folder: Path) -> bytes:
    """A deflated gigabyte that says it is small: the sizes in both directories are changed."""
    found, true = bomb(256), struct.pack("<L", len(headed(shaped(f"({256 * 2**17}, 2)"))) + 256 * 2**20)
    return found.replace(true, struct.pack("<L", 5000))


GOOD = npy(np.zeros((4, 2), np.float32))
put("pickle as .npy", "pickles are not read", samples("s.npy", pickled))
put("pickle as .npz", "pickles are not read", samples("s.npz", pickled))
put("objects in .npy", "pickles, which are not read", samples("s.npy", objects))
put("objects in .npz", "pickles, which are not read", samples("s.npz", lambda f: zipped(("a.npy", objects(f)))))
put("objects in .npy called .npz", "pickles, which are not read", samples("s.npz", objects))
put("torch.save as .npz", "no name of an array", samples("s.npz", saved))
put("pickle in a zip", "no name of an array", samples("s.npz", lambda f: zipped(("data.pkl", pickled(f)))))
put("bomb of 256 MB in .npz", "inflates to", samples("s.npz", lambda f: bomb(256)))
put("bomb that hides its size", "no whole", samples("s.npz", lying))
put("20,000 arrays", "far more", samples("s.npz", lambda f: zipped(*((f"{i}.npy", b"") for i in range(20_000)))))
put(
    "two arrays of one name",
    "one name",
    samples("s.npz", lambda f: zipped(("a.npy", GOOD), ("A.npy", GOOD)).replace(b"A.npy", b"a.npy")),
)
put(
    "array compressed by lzma",
    "compressed in a way",
    samples("s.npz", lambda f: zipped(("a.npy", GOOD), how=zipfile.ZIP_LZMA)),
)
put(
    "array compressed by bzip2",
    "compressed in a way",
    samples("s.npz", lambda f: zipped(("a.npy", GOOD), how=zipfile.ZIP_BZIP2)),
)
put(
    "shape of 10^18",
    "its shape is",
    samples("s.npy", lambda f: headed(shaped("(10**18, 2)".replace("10**18", str(10**18))))),
)
put("shape that overflows", "its shape is", samples("s.npy", lambda f: headed(shaped(f"({2**63}, {2**63})"))))
put("shape below nothing", "the shape", samples("s.npy", lambda f: headed(shaped("(-1, 2)"), bytes(64))))
put("items of no size", "the shape", samples("s.npy", lambda f: headed(shaped(f"({10**15}, 2)", "|V0"), bytes(64))))
put("items of 2 GB", "its shape is", samples("s.npy", lambda f: headed(shaped("(4, 2)", "<U500000000"), bytes(64))))
put(
    "header is code",
    "no whole",
    samples("s.npy", lambda f: headed(f"__import__('os').system('touch {f.parent}/executed')")),
)
put("header nested deep", "no whole", samples("s.npy", lambda f: headed("(" * 30_000 + ")" * 30_000)))
put("header of a power", "no whole", samples("s.npy", lambda f: headed(shaped("(9**9**9,)"))))
put("structures", "numbers only", samples("s.npy", lambda f: npy(np.zeros(4, [("é", "<f4")]))))
put("gzip as .npy", "no whole", samples("s.npy", lambda f: zlib.compress(GOOD, wbits=31)))
put("zip without its end", "torn", samples("s.npz", lambda f: zipped(("a.npy", GOOD))[:-22]))
for number, name in enumerate(NAMES):
    if not name.isprintable() or len(name) > 100:
        put(f"hostile arm {number}", "no name", samples("s.npz", lambda f, name=name: zipped((f"{name}.npy", GOOD))))


# Configurations


def run(name: str, *more: str) -> list[str]:
    """Run the configuration."""
    return ["run", name, "--out", "out", *more]


def toml(text: str | bytes, *command: str) -> Callable[[Path], list[str]]:
    """Run a configuration of this text."""

    def make(folder: Path) -> list[str]:
        evil(folder)
        (folder / "c.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return [*command, "c.toml", "--out", "out"] if command else run("c.toml")

    return make


CONFIGURATIONS = {
    "plugins": ('plugins = ["evil.py"]', "does not name"),
    "plugins from elsewhere": ('plugins = ["../here/../here/evil.py"]', "does not name"),
    "plugins by the thousand": ("plugins = [" + '"evil.py",' * 20_000 + "]", "does not name"),
    "plugins is no list of texts": ("plugins = [[[1]]]", "plugins"),
    "a plugin with NUL": ('plugins = ["evil\\u0000.py"]', "error"),
    "python()": ("denoiser = \"python('evil.py:build')\"", "does not name"),
    "python() of an installed module": ("denoiser = \"python('os:abort')\"", "does not name"),
    "python() of this folder": ("denoiser = \"python('evil:build')\"", "does not name"),
    "python() as a table": ('[denoiser]\nname = "python"\nbuilder = "evil.py:build"', "does not name"),
    "python() for a role": ('guider = "autoguidance"\n[models]\nweak = "python(\'evil.py:build\')"', "does not name"),
    "classifier()": ("guider = \"classifier('evil.py:build')\"", "does not name"),
    "classifier() inside": ("guider = \"interval(classifier('evil.py:build'), low=0.1, high=1)\"", "does not name"),
    "posterior()": ("guider = \"posterior(operator='evil.py:build', measurement='y.npy')\"", "y.npy"),
    "text of 10 MB": ('task = "' + "x" * 10_000_000 + '"', "larger than"),
    "text of 200 kB": ('task = "' + "x" * 200_000 + '"', "characters"),
    "key of 200 kB": ("x" * 200_000 + " = 1", "unknown key"),
    "lists nested deep": ("task = " + "[" * 100_000 + "]" * 100_000, "nested"),
    "tables nested deep": ("task = " + "{a = " * 40_000, "nested"),
    "key of 100,000 parts": ("task" + ".a" * 100_000 + " = 1", "more than 40 parts"),
    "table of 100,000 parts": ("[task" + ".a" * 100_000 + "]", "more than 40 parts"),
    "expression nested deep": ('guider = "' + "interval(" * 400 + ")" * 400 + '"', "levels of brackets"),
    "expression nested as tables": ("guider = " + "{name = 'interval', guider = " * 60 + "1" + "}" * 60, "guider"),
    "expression too long": ('guider = "cfg(weight=' + "1" * 5000 + ')"', "characters"),
    "whole number of 10^5 digits": ("seed = " + "9" * 100_000, "cannot be used"),
    "hexadecimal number of 10^5 digits": ("seed = 0x" + "f" * 100_000, "64 bits"),
    "seed of 64 bits": (f"seed = {2**64 - 1}", "at most"),
    "number of 5,000 digits in an expression": ('guider = "cfg(weight=1e400)"', "too large"),
    "infinite weight": ("guider = {name = 'autoguidance', weight = inf}", "finite"),
    "NaN": ("guider = {name = 'autoguidance', weight = nan}", "finite"),
    "1e400": ("guider = {name = 'autoguidance', weight = 1e400}", "finite"),
    "a date": ("seed = 1979-05-27", "date"),
    "NUL in a text": ('task = "tr\\u0000ee"', "control character"),
    "escape sequence in a name": ('task = "\\u001b[2J\\u001b]0;x\\u0007"', "control character"),
    "escape sequence in a key": ('"\\u001b[2J" = 1', "unknown key"),
    "a lone surrogate": ('task = "\\ud800"', "not TOML"),
    "right-to-left override": ('task = "\\u202egnp"', "no"),
    "UTF-16": ("task = 'tree'".encode("utf-16"), "cannot be read"),
    "markup in a name": ('task = "<script>alert(1)</script>"', "no"),
    "role with a path": ('guider = "autoguidance"\n[models]\n"../../x" = "main"', "has a role"),
    "device with a path": ('device = "../../x"', "device"),
    "a table for a number": ("samples = {a = 1}", "samples"),
    "10^18 samples": ("samples = 1000000000000000000", "memory"),
    "10^15 examples a batch": ("batch = 1000000000000000", "memory"),
    "10^9 threads": ("threads = 1000000000", "at most"),
    "10^15 steps": ('sampler = "heun(num_steps=1000000000000000)"', "at most 10,000"),
    "a network of 10^12 units": ('denoiser = "tree-mlp(hidden=1000000000000)"', "at most 65,536"),
    "50,000 EMA lengths": ("train = {ema = [" + "0.1," * 50_000 + "]}", "at most"),
}  # fmt: skip
for name, (text, says) in CONFIGURATIONS.items():
    put(f"configuration: {name}", says, toml(text))
COMPARISONS = {
    "10^12 arms": ("guiders = [" + "'cfg(weight=0:999:1)'," * 5000 + "]\nselectors = ['none']", "stand for more than"),
    "a range of 10^9 numbers": ('guiders = ["cfg(weight=0:1e9:1)"]', "larger step"),
    "a range of 10^300 numbers": ('guiders = ["cfg(weight=0:1e300:1e-300)"]', "larger step"),
    "ranges in ranges": ('guiders = ["blend([cfg(weight=0:99:1), cfg(weight=0:99:1)])"]', "larger step"),
    "50,000 seeds": ("seeds = [" + ",".join(map(str, range(40_000))) + "]", "at most"),
    "plugins": ('plugins = ["evil.py"]', "does not name"),
    "sets that name code": (
        "sets = [\"denoiser.builder=evil.py:build\"]\ndenoiser = \"python('evil.py:build')\"", "does not name"
    ),
}  # fmt: skip
for name, (text, says) in COMPARISONS.items():
    put(f"comparison: {name}", says, toml(text, "compare"))


# Tables


def table(name: str, content: Callable[[Path], bytes]) -> Callable[[Path], list[str]]:
    """A table of points."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content(folder))
        return ["explain", "autoguidance", "--task", f"points('{name}')"]

    return make


def parquet(rows: int) -> bytes:
    """A Parquet file of one number, many times over."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    file = io.BytesIO()
    one = pa.array(np.zeros(10**6, np.float32))
    column = pa.chunked_array([one] * (rows // 10**6))
    pq.write_table(pa.table({"x": column, "y": column}), file, compression="zstd")
    return file.getvalue()


put("table: pickle as .npy", "pickles are not read", table("t.npy", pickled))
put("table: objects in .npy", "pickles are not read", table("t.npy", objects))
put("table: huge shape in .npy", "its shape is", table("t.npy", lambda f: headed(shaped(f"({10**15}, 2)"))))
put("table: .npz as .npy", "no whole", table("t.npy", lambda f: zipped(("a.npy", GOOD))))
put("table: Parquet bomb", "cells", table("t.parquet", lambda f: parquet(20 * 10**6)))
put("table: torn Parquet", "no whole", table("t.parquet", lambda f: parquet(10**6)[:500]))
put("table: pickle as .parquet", "no whole", table("t.parquet", pickled))
put("table: NUL in CSV", "t.csv", table("t.csv", lambda f: b"a,b\n1,\x00\n2,3\n"))
put("table: open quote in CSV", "t.csv", table("t.csv", lambda f: b'a,b\n"' + b"1" * 5_000_000))
put("table: a header of 10^6 columns", "t.csv", table("t.csv", lambda f: b"a," * 10**6 + b"b\n"))
put("table: formulas in CSV", "t.csv", table("t.csv", lambda f: b"a,b\n=cmd|' /C calc'!A1,1\n"))
put("table: escape sequences in CSV", "t.csv", table("t.csv", lambda f: b"a,b\n\x1b[2J,1\n"))
put(
    "table: a number of 10^6 digits in CSV", "t.csv", table("t.csv", lambda f: b"a,b\n" + b"9" * 100_000 + b",1\n2,3\n")
)
put(
    "measurement is a pickle", "numpy.save",
    lambda f: (  # type: ignore[misc]
        (f / "y.npy").write_bytes(objects(f)) and (f / "a.npy").write_bytes(npy(np.eye(2)))
        and ["explain", "posterior(operator='a.npy', measurement='y.npy')"]
    ),
)  # fmt: skip
