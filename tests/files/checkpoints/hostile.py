"""Malicious and damaged checkpoints, by name, and what reading each of them did, in a process of its own.

``python hostile.py FOLDER`` writes them to the folder, reads them, and prints a JSON object: the answer to each, and the
most memory that reading took. An audit hook of the process reports code that is run, programs that are started, and
files that are written.
"""
# ruff: noqa: E501

import contextlib
import io
import json
import pickle
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROTO = b"\x80\x04"
STOP = b"."
CANARY = "canary-was-here"


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def named(module: str, name: str) -> bytes:
    """A global, by the opcode of protocol 4."""
    return text(module) + text(name) + b"\x93"


def called(module: str, name: str, *args: bytes) -> bytes:
    """A call of a global."""
    return named(module, name) + b"(" + b"".join(args) + b"tR"


def whole(body: bytes) -> bytes:
    return PROTO + body + STOP


def persistent(class_name: str, state: bytes = b"}", source: str = "") -> bytes:
    """A persistence record of EDM."""
    meta = b"}(" + text("type") + text("class") + text("version") + b"K\x06" + text("module_src") + text(source)
    meta += text("class_name") + text(class_name) + text("state") + state + b"u"
    return called("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


def module(tensors: bytes, modules: bytes = b"}") -> bytes:
    state = b"}(" + text("_parameters") + tensors + text("_buffers") + b"}" + text("_modules") + modules + b"u"
    return persistent("Precond", state)


def storage(content: bytes) -> bytes:
    return called("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(content)) + content)


def tensor(content: bytes, offset: int = 0, size: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85") -> bytes:
    number = b"J" + struct.pack("<i", offset)
    ordered = called("collections", "OrderedDict")
    return called("torch._utils", "_rebuild_tensor_v2", storage(content), number, size, stride, b"\x89", ordered)


def four_numbers() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(torch.arange(4.0).storage(), file, _use_new_zipfile_serialization=False)
    return file.getvalue()


class Runs:
    """An object whose pickle runs code."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> Any:
        return self.call, self.args


def calls(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Calls of globals that run code or touch the machine."""
    mark = text(str(folder / CANARY))
    touch = text(f"touch {folder / CANARY}")
    code = text(f"open({str(folder / CANARY)!r}, 'w')")
    for where, name, *args in (
        ("os", "system", touch), ("posix", "system", touch), ("nt", "system", touch), ("subprocess", "run", touch),
        ("subprocess", "Popen", touch), ("os", "remove", mark), ("os", "mkdir", mark), ("os", "_exit", b"K\x01"),
        ("builtins", "eval", code), ("builtins", "exec", code), ("builtins", "compile", code, text("x"), text("exec")),
        ("builtins", "open", mark, text("w")), ("builtins", "__import__", text("antigravity")),
        ("builtins", "getattr", named("torch", "nn"), text("Module")), ("builtins", "setattr", named("torch", "nn"), text("x"), b"N"),
        ("builtins", "print", text("printed")), ("builtins", "breakpoint"), ("builtins", "globals"), ("builtins", "bytearray", b"J\xff\xff\xff\x7f"),
        ("__builtin__", "eval", code), ("importlib", "import_module", text("antigravity")), ("runpy", "run_path", mark),
        ("pickle", "loads", b"C\x02N."), ("_pickle", "loads", b"C\x02N."), ("marshal", "loads", b"C\x01N"),
        ("torch", "load", mark), ("torch.serialization", "load", mark), ("torch.hub", "load", mark), ("torch.jit", "load", mark),
        ("numpy", "load", mark), ("numpy.f2py.crackfortran", "getlincoef", code, b"}"), ("numpy.testing._private.utils", "runstring", code, b"}"),
        ("torch.utils.cpp_extension", "load", mark, mark), ("torch._dynamo.guards", "GuardBuilder", b"N"), ("functools", "partial", named("os", "system"), touch),
        ("operator", "attrgetter", text("system")), ("operator", "methodcaller", text("system"), touch), ("types", "FunctionType", b"N"),
        ("types", "CodeType"), ("dnnlib.util", "open_url", mark), ("torch_utils.custom_ops", "get_plugin", mark),
        ("torch.storage", "_load_from_bytes_", b"C\x01x"), ("guideplug.registry.registry", "Registry"), ("webbrowser", "open", mark),
        ("shutil", "rmtree", mark), ("ctypes", "CDLL", mark), ("socket", "create_connection", text("x")), ("code", "interact"), ("pty", "spawn", mark),
    ):  # fmt: skip
        yield f"call of {where}.{name}", whole(called(str(where), str(name), *args))  # type: ignore[arg-type]
    yield "global by its old opcode", b"\x80\x02cos\nsystem\n(" + touch + b"tR."
    yield "object by INST", b"(" + touch + b"ios\nsystem\n."
    yield "object by OBJ", b"\x80\x02(" + named("os", "system") + touch + b"o."
    yield "global of a tuple's name", whole(named("os", "system.__call__") + b"(" + touch + b"tR")
    yield "a global within a dictionary's key", whole(b"}(" + named("os", "system") + b"K\x01u")
    yield "registered extension", whole(b"\x82\x01")
    yield "persistent identity", whole(text("storage") + b"Q")
    yield "persistent identity in a line", b"Pstorage\n."
    yield "out of band buffer", b"\x80\x05\x97."
    yield "call of a module's name", whole(called("torch.nn.modules.container", "ModuleDict", touch))
    yield "state for a function", whole(named("torch.storage", "_load_from_bytes") + b"}(" + text("x") + b"K\x01ub")
    yield "state for a class", whole(named("torch.nn.modules.container", "ModuleDict") + b"}(" + text("x") + b"K\x01ub")
    yield "state for a number", whole(b"K\x01}b")
    yield "object with arguments by keyword", whole(named("collections", "OrderedDict") + b")}\x92")
    yield "pickle by the library", pickle.dumps(Runs(exec, f"open({str(folder / CANARY)!r}, 'w')"))
    inner = pickle.dumps(Runs(exec, f"open({str(folder / CANARY)!r}, 'w')"), 2)
    yield "code in a nested storage", whole(storage(inner))
    yield "code in a nested file of torch", whole(storage(four_numbers()[:40] + inner))
    yield "nested loader in a nested storage", whole(storage(whole(storage(inner))))
    yield "source text that prints", whole(persistent("Precond", source="print('printed')\nopen('canary', 'w')"))


def shapes() -> Iterator[tuple[str, bytes]]:
    """Tensors, arrays and values that are not what they announce."""
    four = four_numbers()
    weights: Callable[[bytes], bytes] = lambda body: whole(module(b"}(" + text("w") + body + b"u"))  # noqa: E731
    yield "tensor beyond its storage", weights(tensor(four, size=b"K\x05\x85"))
    yield "tensor at a negative offset", weights(tensor(four, offset=-1))
    yield "tensor of a negative size", weights(tensor(four, size=b"J\xff\xff\xff\xff\x85"))
    yield (
        "tensor repeated without memory",
        weights(tensor(four, size=b"\x8a\x06\xff\xff\xff\xff\xff\x00\x85", stride=b"K\x00\x85")),
    )
    yield "tensor of texts", weights(tensor(four, size=text("a") + b"\x85"))
    yield "tensor of two axes and one stride", weights(tensor(four, size=b"K\x02K\x02\x86"))
    yield "storage that is half there", weights(tensor(four[:-6]))
    yield "storage of another format", weights(tensor(b"PK\x03\x04 no archive"))
    yield (
        "storage that announces a million million numbers",
        weights(tensor(four.replace(b"K\x04", b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00"))),
    )
    yield "weight that is a text", weights(text("text"))
    yield "weights that are a list", whole(module(b"]"))
    yield "modules that hold themselves", whole(
        b"}\x94(" + text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules") + b"}(" + text("m")
        + called("torch_utils.persistence", "_reconstruct_persistent_obj",
                 b"}(" + text("type") + text("class") + text("class_name") + text("A") + text("state") + b"h\x00u") + b"uu"
        + b"0" + called("torch_utils.persistence", "_reconstruct_persistent_obj",
                        b"}(" + text("type") + text("class") + text("class_name") + text("A") + text("state") + b"h\x00u")
    )  # fmt: skip
    circle = b"}(" + text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules") + b"}\x94u"
    yield "module within itself", whole(persistent("Precond", circle) + b"\x94h\x00" + text("m") + b"h\x01s0")
    yield "array of objects", whole(called("numpy", "dtype", text("O8"), b"\x89", b"\x88"))
    yield "array of records", whole(called("numpy", "dtype", text("f4,O"), b"\x89", b"\x88"))
    dtype = called("numpy", "dtype", text("f8"), b"\x89", b"\x88")
    yield (
        "array larger than its bytes",
        whole(
            called(
                "numpy._core.numeric",
                "_frombuffer",
                b"C\x08" + bytes(8),
                dtype,
                b"\x8a\x05\xff\xff\xff\xff\x00\x85",
                text("C"),
            )
        ),
    )
    yield "scalar without bytes", whole(called("numpy.core.multiarray", "scalar", dtype, b"C\x00"))
    yield (
        "persistent object of another kind",
        whole(
            called("torch_utils.persistence", "_reconstruct_persistent_obj", b"}(" + text("type") + text("func") + b"u")
        ),
    )
    yield "persistent object of nothing", whole(called("torch_utils.persistence", "_reconstruct_persistent_obj", b"N"))


def damages() -> Iterator[tuple[str, bytes]]:
    """Sizes, memo and nesting of bad faith, and files that are cut or changed."""
    yield "bytes announced beyond the file", whole(b"\x8e" + struct.pack("<Q", 1 << 40))
    yield "text announced beyond the file", whole(b"\x8d" + struct.pack("<Q", 1 << 62))
    yield "bytes of a length beyond 64 bits", whole(b"\x8e" + b"\xff" * 8)
    yield "number of a million digits", whole(b"\x8b" + struct.pack("<I", 500_000) + b"\x01" * 500_000)
    yield "number of a long line", b"I" + b"9" * 100_000 + b"\n."
    yield "memo far away", whole(b"Nr" + struct.pack("<I", 0xFFFFFFFF) + b"j" + struct.pack("<I", 0xFFFFFFFF) + b"0")
    yield "memo that is not there", whole(b"j" + struct.pack("<I", 12345))
    yield "frame larger than the file", whole(b"\x95" + struct.pack("<Q", 1 << 62) + b"")
    yield "lists very deep", whole(b"]" * 200_000 + b"a" * 199_999)
    yield "tuples very deep", whole(b")" + b"\x85" * 200_000)
    yield "tuples very deep as a key", whole(b"})" + b"\x85" * 200_000 + b"Ns")
    yield "dictionaries a thousand deep", whole(b"}" + (text("a") + b"}") * 1000 + b"s" * 1000)
    yield (
        "laughing lists",
        whole(b"]\x94" + b"".join(b"](h" + bytes([n]) * 1 + b"h" + bytes([n]) + b"e\x94" for n in range(200))),
    )
    yield "marks without an end", whole(b"(" * 200_000)
    yield "pops of nothing", whole(b"R")
    yield "more opcodes than any snapshot", whole(b"N" * 500_001)
    yield "list in its own place", whole(b"]\x94h\x00a")
    yield "opcode that is none", whole(b"\xff")
    yield "protocol of the future", b"\x80\xffN."
    yield "nothing after the protocol", PROTO
    yield "two values", whole(b"NN")
    yield "nothing", b""
    yield "zeros", bytes(4096)
    good = whole(module(b"}(" + text("w") + tensor(four_numbers()) + b"u"))
    for part in (0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        yield f"snapshot cut at {part:.0%}", good[: int(len(good) * part)]
    for place in range(40, len(good), max(1, len(good) // 12)):
        yield f"snapshot with byte {place} changed", good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :]


def archives(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files of torch that hold code, or no tensors."""
    import torch

    for name, value in (
        ("code in an archive of torch", {"w": Runs(exec, f"open({str(folder / CANARY)!r}, 'w')")}),
        ("network pickled whole", torch.nn.Linear(2, 2)),
        ("nothing but numbers", {"step": 3}),
        ("two networks", {"model": {"w": torch.zeros(2)}, "ema": {"w": torch.zeros(2)}}),
        ("a list of tensors", [torch.zeros(2)]),
    ):
        file = io.BytesIO()
        torch.save(value, file)
        yield name, file.getvalue()
        if name.startswith("network"):
            yield "archive of torch cut in half", file.getvalue()[: len(file.getvalue()) // 2]
            file = io.BytesIO()
            torch.save(value, file, _use_new_zipfile_serialization=False)
            yield "network pickled whole, in the old format", file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200_000_000))
    yield "archive that inflates", file.getvalue()
    yield "safetensors of a huge header", struct.pack("<Q", 1 << 50) + b"{}"
    yield "safetensors of no JSON", struct.pack("<Q", 4) + b"{{{{"


def variants(folder: Path) -> dict[str, bytes]:
    return dict([*calls(folder), *shapes(), *damages(), *archives(folder)])


def main(folder: Path) -> None:
    files = variants(folder)
    for number, content in enumerate(files.values()):
        (folder / f"{number}.pkl").write_bytes(content)
    import torch  # noqa: F401
    from peak_memory import peak_memory

    from guideplug.errors import GuideplugError
    from guideplug.files.checkpoints.reading import chosen, read_checkpoint

    seen: list[str] = []
    quiet = True

    def watch(event: str, arguments: Any) -> None:
        if quiet:
            return
        if event in (
            "exec",
            "os.system",
            "subprocess.Popen",
            "os.remove",
            "os.mkdir",
            "os.rename",
            "socket.connect",
            "code.__new__",
        ):
            seen.append(event)
        if event == "open" and isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+"):
            seen.append(f"open {arguments[0]}")

    with zipfile.ZipFile(folder / "archive.pkl", "w") as archive:
        archive.writestr("data.pkl", b"")
    for name in ("0.pkl", "archive.pkl"):
        with contextlib.suppress(GuideplugError):
            read_checkpoint(folder / name)  # what the first reading of a pickle and of an archive imports
    sys.addaudithook(watch)
    usage = peak_memory()
    answers = {}
    for number, name in enumerate(files):
        begin = time.monotonic()
        quiet = False
        try:
            chosen(read_checkpoint(folder / f"{number}.pkl"), None)
            answer = "read"
        except GuideplugError as error:
            answer = f"refused: {error}"
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        quiet = True
        answers[name] = [answer, time.monotonic() - begin]
    sys.stdout.write(json.dumps({"answers": answers, "seen": seen, "megabytes": (peak_memory() - usage) / 1e6}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
