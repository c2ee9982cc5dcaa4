"""Pickles of networks read as data: no global of a file is imported, and nothing in it is called.

Snapshots of EDM and EDM2 are pickles of modules, with the source text of their classes inside. This reader follows the
opcodes of a pickle itself and builds plain values: dictionaries, lists, texts, numbers, tensors, arrays, and a `Record`
per object of a class. A global is a name, looked up in the table at the end of this file; what the table lacks is
refused by its name. Storages of tensors are read by torch's own loader with ``weights_only``, from their place in the
file, so that a file is in memory once, as its tensors. The source text of classes is dropped.

What a file announces is compared with its size before memory is allocated. Values may be cyclic and deep: whoever walks
them bounds the depth.
"""

import io
import os
import pickle
import pickletools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.storage import TypedStorage, UntypedStorage

from guideplug.files.reading import open_file

__all__ = ["Array", "Record", "read_pickle"]

OPCODES: Final = {opcode.code: opcode for opcode in pickletools.opcodes}
MOST_OPCODES: Final = 500_000
"""EDM2-XXL has about a tenth of them."""
LONGEST_TEXT: Final = 4 * 1024**2
LONGEST_INTEGER: Final = 64
LONGEST_LINE: Final = 1024
"""In bytes, of the arguments of protocol 0 and of names."""


@final
@attrs.define(eq=False)
class Record:
    """An object of a class, as data; of the class there is only its name, ``module.Class``."""

    class_name: str
    state: dict[Any, Any] = attrs.field(factory=dict, repr=False)


@final
@attrs.define(eq=False)
class Array:
    """An array of numpy; empty until its state has been read."""

    values: NDArray[Any] = attrs.field(factory=lambda: np.empty(0), repr=False)


@final
@attrs.define(eq=False)
class _NumpyType:
    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@final
@attrs.frozen
class _Global:
    """A class or function of the table, by name, and what stands for a call of it."""

    name: str
    call: Callable[..., Any] | None


@final
@attrs.frozen(eq=False)
class _Bytes:
    """Bytes that stay in the file until they are used."""

    file: BinaryIO
    start: int
    length: int

    def read(self) -> bytes:
        here = self.file.tell()
        self.file.seek(self.start)
        content = self.file.read(self.length)
        self.file.seek(here)
        return content


def read_pickle(path: Path) -> Any:
    """The value in a pickle, with a `Record` for each object of a class and an `Array` for each array of numpy.

    Tensors are on the CPU. ``OrderedDict`` and EDM's ``EasyDict`` are dictionaries.

    Raises:
        OSError: the system refuses.
        ValueError: another kind of file, no pickle, cut short, a global or an opcode that is not read, or a limit.
    """
    with open_file(path) as file:
        try:
            return _Machine(file).run()
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is a damaged pickle at byte {file.tell():,} ({_line(error)})") from None


class _Machine:
    """The stack machine of a pickle, for the opcodes of snapshots."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        """The stacks below each mark."""
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_OPCODES):
            code = self.file.read(1)
            if not code:
                raise ValueError(f"it is cut short: it ends at byte {self.size:,}, before the pickle does")
            opcode = OPCODES.get(code.decode("latin-1"))
            if opcode is None:
                raise ValueError(f"it is no pickle: its byte {self.file.tell() - 1:,} is {code[0]:#04x}, no opcode")
            if opcode.name == "STOP":
                if len(self.stack) != 1 or self.marked:
                    raise ValueError("it is a damaged pickle: at its end there is not one value")
                return self.stack[0]
            if opcode.name not in ACTS:
                raise ValueError(f"its opcode {opcode.name} is not read: snapshots of networks have none")
            ACTS[opcode.name](self, self.argument(opcode))
        raise ValueError(f"it has more than {MOST_OPCODES:,} opcodes")

    def argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.arg is None:
            return None
        if opcode.name in WIDTHS:
            prefix = self.file.read(WIDTHS[opcode.name])
            length, start = int.from_bytes(prefix, "little"), self.file.tell()
            if len(prefix) < WIDTHS[opcode.name] or length > self.size - start:
                raise ValueError(f"it is cut short: {length:,} bytes are announced at byte {start:,} of {self.size:,}")
            self.file.seek(length, os.SEEK_CUR)
            return _Bytes(self.file, start, length)
        if opcode.arg.n == pickletools.UP_TO_NEWLINE:
            line = self.file.readline(LONGEST_LINE)
            if opcode.name == "GLOBAL":
                line += self.file.readline(LONGEST_LINE)
            return opcode.arg.reader(io.BytesIO(line))  # which refuses a line without its end
        return opcode.arg.reader(self.file)

    def above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def text(self, span: _Bytes) -> None:
        if span.length > LONGEST_TEXT:
            raise ValueError(f"it has a text of {span.length:,} bytes: at most {LONGEST_TEXT:,} are read")
        self.push(span.read().decode("utf-8", "surrogatepass"))

    def integer(self, span: _Bytes) -> None:
        if span.length > LONGEST_INTEGER:
            raise ValueError(f"it has an integer of {span.length:,} bytes")
        self.push(pickle.decode_long(span.read()))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items for no dictionary")
        target.update(_pairs(items))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(map(_key, items))
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise TypeError("items for no list or set")

    def memoize(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def named(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global without a name")
        full = f"{module}.{name}"
        call = GLOBALS.get(full.replace("numpy._core.", "numpy.core.").replace("__builtin__.", "builtins."))
        if call is None and not (module.startswith(MODULES) and name.isidentifier()):
            raise ValueError(f"it uses {_short(full)}, which is not read: no snapshot of a network needs it")
        self.push(_Global(full, call))

    def call(self, target: Any, args: Any) -> None:
        if not isinstance(target, _Global) or target.call is None or not isinstance(args, tuple):
            raise ValueError(f"it calls {_short(getattr(target, 'name', type(target).__name__))}, which is not read")
        self.push(target.call(*args))

    def new(self, target: Any, args: Any) -> None:
        if not isinstance(target, _Global):
            raise TypeError("an object of no class")
        self.push(target.call(*args) if target.call is not None else Record(target.name))

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            attributes = state[0] if isinstance(state, tuple) else state
            if not isinstance(attributes, dict):
                raise TypeError("a state that is no dictionary")
            target.state.update(attributes)
        elif isinstance(target, _NumpyType):
            target.order = {"<": "<", ">": ">", "|": "="}[state[1]]
        elif isinstance(target, Array):
            _, shape, kind, fortran, content = state
            target.values = _array(content, kind, shape, "F" if fortran else "C").values
        elif not isinstance(target, dict):  # of an EasyDict: its items are its attributes
            raise TypeError("a state for no object")


def _key(value: Any) -> Any:
    if not isinstance(value, str | int | float | None):
        raise TypeError(f"a {type(value).__name__} as a key")
    return value


def _short(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")[1:-1]


def _line(error: Exception) -> str:
    return _short((str(error).splitlines() or [type(error).__name__])[0])


# What stands for the calls of a snapshot


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in pairs}


def _set(items: Any = ()) -> set[Any]:
    return {_key(item) for item in items}


def _persistent(meta: Mapping[str, Any]) -> Record:
    """An object of `torch_utils.persistence`: its class by name, its attributes, without the source text."""
    if meta["type"] != "class" or not isinstance(meta["state"], dict | None):
        raise TypeError("a persistent object without its state")
    return Record(str(meta["class_name"]), dict(meta["state"] or {}))


def _storage(content: _Bytes) -> Tensor:
    """The elements of a storage that was saved by itself, in torch's format within the pickle's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # typed storages are deprecated
            storage = torch.load(io.BytesIO(content.read()), map_location="cpu", weights_only=True)
            if not isinstance(storage, TypedStorage | UntypedStorage):
                raise TypeError(f"it holds a {type(storage).__name__}")
            dtype = storage.dtype if isinstance(storage, TypedStorage) else torch.uint8
            elements = torch.tensor([], dtype=dtype)
            whole: Any = storage.untyped() if isinstance(storage, TypedStorage) else storage  # type: ignore[no-untyped-call]
            return elements.set_(whole, 0, (whole.nbytes() // elements.element_size(),), (1,))
    except Exception as error:  # damaged files raise anything in torch's loader
        why = "torch's loader refuses it" if isinstance(error, pickle.UnpicklingError) else _line(error)
        raise ValueError(f"the tensor at byte {content.start:,} cannot be read ({why})") from None


def _tensor(elements: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)) or len(size) != len(stride):
        raise ValueError("it has a tensor with a wrong shape")
    last = offset + sum((number - 1) * step for number, step in zip(size, stride, strict=True))
    parts = torch.Size(size).numel() if 0 not in size else 0
    if parts and (last >= len(elements) or parts > len(elements)):
        raise ValueError(f"it has a tensor of shape {size} in a storage of {len(elements):,} numbers")
    return elements.as_strided(size, stride, offset) if parts else elements.new_empty(size)


def _array(content: _Bytes, kind: _NumpyType, shape: Any, order: str = "C") -> Array:
    dtype = kind.dtype
    values = np.frombuffer(content.read(), dtype).reshape(tuple(shape), order=order)  # type: ignore[call-overload]
    return Array(values.astype(dtype.newbyteorder("="), copy=False))


def _numpy_type(code: str, *_: Any) -> _NumpyType:
    if code not in NUMBERS:
        raise ValueError(f"it has an array of {_short(str(code))}: numbers are read, and nothing else")
    return _NumpyType(code)


def _scalar(kind: _NumpyType, content: _Bytes) -> Any:
    return _array(content, kind, ()).values.item()


NUMBERS: Final = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"}
MODULES: Final = ("torch.nn.modules.",)
"""Where classes are whose objects are records."""
GLOBALS: Final[Mapping[str, Callable[..., Any]]] = {
    "builtins.set": _set,
    "collections.OrderedDict": _ordered,
    "dnnlib.util.EasyDict": _ordered,
    "numpy.core.multiarray._reconstruct": lambda *_: Array(),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "numpy.dtype": _numpy_type,
    "numpy.ndarray": lambda *_: Array(),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.storage._load_from_bytes": _storage,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
}
WIDTHS: Final = {
    "SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8,
    "SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8,
    "LONG1": 1, "LONG4": 4,
}  # fmt: skip
"""The bytes in which the length of an argument is given."""


def _pushing(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(make())


def _pop(count: int, then: Callable[..., None]) -> Callable[[_Machine, Any], None]:
    """An action on the topmost values, which are taken away."""

    def act(machine: _Machine, _: Any) -> None:
        if len(machine.stack) < count:
            raise IndexError("too few values")
        values = machine.stack[len(machine.stack) - count :]
        del machine.stack[len(machine.stack) - count :]
        then(machine, *values)

    return act


def _mark(machine: _Machine, _: Any) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _get(machine: _Machine, place: int) -> None:
    machine.push(machine.memo[place])


def _put(machine: _Machine, place: int) -> None:
    machine.memoize(place)


def _push(machine: _Machine, value: Any) -> None:
    machine.push(value)


ACTS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, argument: None),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT", "INT", "FLOAT"), _push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine.text),
    **dict.fromkeys(("LONG1", "LONG4"), _Machine.integer),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), _get),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), _put),
    "MEMOIZE": lambda machine, _: machine.memoize(len(machine.memo)),
    "NONE": _pushing(lambda: None),
    "NEWTRUE": _pushing(lambda: True),
    "NEWFALSE": _pushing(lambda: False),
    "EMPTY_DICT": _pushing(dict),
    "EMPTY_LIST": _pushing(list),
    "EMPTY_SET": _pushing(set),
    "EMPTY_TUPLE": _pushing(tuple),
    "MARK": _mark,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.above_mark())),
    "LIST": lambda machine, _: machine.push(list(machine.above_mark())),
    "DICT": lambda machine, _: machine.push(_pairs(machine.above_mark())),
    "TUPLE1": _pop(1, lambda machine, *values: machine.push(values)),
    "TUPLE2": _pop(2, lambda machine, *values: machine.push(values)),
    "TUPLE3": _pop(3, lambda machine, *values: machine.push(values)),
    "SETITEM": _pop(2, lambda machine, *items: machine.set_items(list(items))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.above_mark()),
    "APPEND": _pop(1, lambda machine, item: machine.extend([item])),
    "APPENDS": lambda machine, _: machine.extend(machine.above_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.above_mark()),
    "GLOBAL": lambda machine, argument: machine.named(*argument.split(" ", 1)),
    "STACK_GLOBAL": _pop(2, _Machine.named),
    "REDUCE": _pop(2, _Machine.call),
    "NEWOBJ": _pop(2, _Machine.new),
    "BUILD": _pop(1, _Machine.build),
}
