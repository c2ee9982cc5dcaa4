"""Every format beside every fault: a refusal in one line that names what is wrong and keeps nothing, or right images.

A fault that a format cannot have says why.
"""

import contextlib
import errno
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guideplug import GuideplugError, whole_file
from guideplug_images import Images, workers

FILES = ("zip", "unpacked", "classes", "flat")
OWN = ("torchvision", "python")
ENCODED = (*FILES, *OWN)
ARRAYS = ("npz", "idx", "idx.gz")
FORMATS = (*ENCODED, *ARRAYS, "latents")
LABELS = [number // 10 for number in range(40)]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
NAMED = dict.fromkeys(ARRAYS, "image 17") | {
    "zip": "00000/img00000017.png", "unpacked": "00000/img00000017.png", "classes": "1/17.png", "flat": "17.png",
    "torchvision": "item 17", "python": "item 17", "latents": "17.npy",
}  # fmt: skip
"""How messages name the image in the middle that is wrong."""
OWN_CODE = """
from pathlib import Path
from PIL import Image

PLACES = sorted(Path({folder!r}).rglob("*.png"))
LABELS = {labels}

class Pictures:
    def __len__(self):
        return len(PLACES)
    def __getitem__(self, index):
        with Image.open(PLACES[index]) as image:
            image.load()
        return image if LABELS is None else (image, LABELS[index])

def dataset():
    return Pictures()
"""


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pngs(images: Any = IMAGES) -> list[bytes]:
    return [saved(Image.fromarray(image[..., 0])) for image in images]


def written(form: str, folder: Path, images: Sequence[Any], labels: list[int] | None = LABELS, sheet: Any = ...) -> str:
    """Encoded images, or arrays for a format of arrays, in a format; ``sheet`` is another `dataset.json`."""
    if form == "torchvision":
        pytest.importorskip("torchvision")
    if form in ("zip", "unpacked"):
        names = [f"00000/img{number:08d}.png" for number in range(len(images))]
        pairs = None if labels is None else [list(pair) for pair in zip(names, labels, strict=False)]
        content = dict(zip(names, images, strict=True)) | {
            "dataset.json": json.dumps({"labels": pairs} if sheet is ... else sheet).encode()
        }
    elif form == "latents":
        content = {f"{number}.npy": latent(image) for number, image in enumerate(images)}
    else:
        inner = [""] * len(images) if labels is None or form in ("flat", "python") else [f"{one}/" for one in labels]
        content = {f"{place}{n:02}.png": image for n, (place, image) in enumerate(zip(inner, images, strict=True))}
    if form == "zip":
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return str(folder / "a.zip")
    for name, data in content.items():
        (folder / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "a" / name).write_bytes(data)
    if form == "torchvision":
        return f"torchvision(ImageFolder, root={folder / 'a'})"
    if form == "python":
        (folder / "data.py").write_text(OWN_CODE.format(folder=str(folder / "a"), labels=labels))
        return f'python("{folder / "data.py"}:dataset")'
    return str(folder / "a")


def latent(image: Any) -> bytes:
    if isinstance(image, bytes):
        return image
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def latents() -> list[Any]:
    return [np.random.default_rng(number).random((4, 2, 2), np.float32) for number in range(40)]


class Cell:
    """What a test makes, and what comes of it: words of the refusal, or None for right images."""

    def __init__(self, make: Callable[[Path, Mapping[str, Any]], str], says: str | None) -> None:
        self.make, self.says = make, says


def middle(form: str, wrong: bytes | Any) -> Callable[[Path, Mapping[str, Any]], str]:
    """Images of which the one in the middle is wrong."""

    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        images = latents() if form == "latents" else pngs()
        images[17] = wrong(images[17]) if callable(wrong) else wrong
        return written(form, folder, images)

    return make


def given(form: str, count: int = 40, labels: list[int] | None = LABELS) -> Callable[[Path, Mapping[str, Any]], str]:
    """Right images with labels."""

    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        one = None if labels is None else labels[:count]
        if form in ARRAYS:
            return str(writers[form](folder, IMAGES[:count], one))
        return written(form, folder, latents()[:count] if form == "latents" else pngs()[:count], one)

    return make


def npz(**arrays: Any) -> Callable[[Path, Mapping[str, Any]], str]:
    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        np.savez(folder / "a.npz", **arrays)
        return str(folder / "a.npz")

    return make


def cut(form: str, left: Callable[[bytes], bytes]) -> Callable[[Path, Mapping[str, Any]], str]:
    """A file of one format of which only a part is left."""

    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        path = Path(given(form)(folder, writers))
        path.write_bytes(left(path.read_bytes()))
        return str(path)

    return make


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_file(form: str, name: str, data: bytes) -> Callable[[Path, Mapping[str, Any]], str]:
    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        path = Path(given(form)(folder, writers))
        if path.is_dir():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(data)
        else:
            with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, data)
        return str(path)

    return make


def linked(form: str) -> Callable[[Path, Mapping[str, Any]], str]:
    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        place = Path(given(form)(folder, writers))
        name = NAMED[form]
        (place / name).rename(folder / "outside")
        (place / name).symlink_to(folder / "outside")
        return str(place)

    return make


def sheets(form: str, change: Callable[[list[Any]], Any]) -> Callable[[Path, Mapping[str, Any]], str]:
    names = [f"00000/img{number:08d}.png" for number in range(40)]
    sheet = {"labels": change([list(pair) for pair in zip(names, LABELS, strict=True)])}
    return lambda folder, writers: written(form, folder, pngs(), sheet=sheet)


def labelled(form: str, labels: list[Any]) -> Callable[[Path, Mapping[str, Any]], str]:
    def make(folder: Path, writers: Mapping[str, Any]) -> str:
        return written(form, folder, pngs(), labels) if form in ENCODED else str(writers[form](folder, IMAGES, labels))

    return make


FROM_1, SINGLE = [one + 1 for one in LABELS], [0] * 20 + [1] + [2] * 19
OTHER_SIZE, DEEP = Image.new("L", (9, 8)), Image.fromarray(np.full((8, 8), 60_000, np.uint16))
PALETTE = saved(Image.new("RGB", (8, 8), (250, 0, 0)).quantize(4))
HUGE = saved(Image.new("1", (20_000, 20_000)))
NO_LABELS, IN_ARRAYS = "has no labels", "all images are one array of one type"
NAMES_ARE_CLASSES, ITEMS = "names of folders are classes", "an item has its label, or none"
ONE_FILE = "it is read as one file, and checked by its length"
NO_ZIP, NO_NAMES, NO_SHEET = "no zip", "has no names of files", "has no dataset.json"
NOT_DECODED = "what is in memory, and the user's own code, stay in this process"

FAULTS: dict[str, dict[str, Cell]] = {
    "several sizes": {
        **{f: Cell(middle(f, saved(OTHER_SIZE)), rf"several sizes: .* and {NAMED[f]} of 9x8 .*give size=")
           for f in ENCODED},
        "latents": Cell(middle("latents", np.ones((4, 3, 2), np.float32)), r"several sizes: 0.npy .* and 17.npy"),
    },
    "a broken image": {
        **{f: Cell(middle(f, halved), f"{NAMED[f]}: .*(damaged|truncated)") for f in ENCODED},
        "latents": Cell(middle("latents", b"\x93NUMPY broken"), "17.npy: "),
    },
    "an empty image": {
        **{f: Cell(middle(f, b""), f"{NAMED[f]}: .*(no image that Pillow reads|cannot identify)") for f in ENCODED},
        "latents": Cell(middle("latents", b""), "17.npy: "),
    },
    "16 bits": {
        **{f: Cell(middle(f, saved(DEEP)), f"{NAMED[f]}: .*16 bits per channel|more than 8 bits")
           for f in (*FILES, "python")},
        "npz": Cell(npz(images=IMAGES.astype(np.uint16) * 257), "type uint16, from 0 to 65535: save them as uint8"),
        **{f: Cell(cut(f, lambda data: b"\0\0\x0b\x03" + data[4:]), "begins with 00 00 0b 03") for f in ("idx",)},
        "latents": Cell(middle("latents", np.ones((4, 2, 2), np.float16)), "17.npy: it is float16"),
    },
    "a palette": {
        **{f: Cell(middle(f, PALETTE), None) for f in ENCODED},
    },
    "too many pixels": {f: Cell(middle(f, HUGE), f"{NAMED[f]}: .*pixels") for f in ENCODED},
    "missing labels": {
        **{f: Cell(sheets(f, lambda pairs: pairs[:-2]), r"no label for 00000/img00000038.png \(and 1 more\)")
           for f in ("zip", "unpacked")},
        "classes": Cell(with_file("classes", "loose.png", saved(Image.new("L", (8, 8)))), None),
        "npz": Cell(npz(images=IMAGES, labels=np.array(LABELS[:-1])), "39 labels for 40 images"),
        **{f: Cell(labelled(f, LABELS[:-1]), "39 labels for 40 images") for f in ("idx", "idx.gz")},
        "python": Cell(labelled("python", [*LABELS[:17], None, *LABELS[18:]]), "the label of item 17 is 'None'"),
    },
    "surplus labels": {
        **{f: Cell(sheets(f, lambda pairs: [*pairs, ["x.png", 1]]), "label for 'x.png', and there is no such image")
           for f in ("zip", "unpacked")},
        "npz": Cell(npz(images=IMAGES, labels=np.array([*LABELS, 0])), "41 labels for 40 images"),
        **{f: Cell(labelled(f, [*LABELS, 0]), "41 labels for 40 images") for f in ("idx", "idx.gz")},
    },
    "labels from 1": {
        **{f: Cell(labelled(f, FROM_1), "labels begin at 1: subtract 1")
           for f in ("zip", "unpacked", "npz", "idx", "idx.gz", "python")},
        "classes": Cell(labelled("classes", FROM_1), None), "torchvision": Cell(labelled("torchvision", FROM_1), None),
    },
    "a class of one image": {
        f: Cell(labelled(f, SINGLE), None) for f in (*ENCODED, *ARRAYS) if f != "flat"
    },
    "20 images": {
        **{f: Cell(given(f, 20), None) for f in FORMATS if f != "latents"},
        "latents": Cell(given("latents", 20), None),
    },
    "19 images": {f: Cell(given(f, 19), "has 19 images: at least 20 are needed") for f in FORMATS},
    "a zip bomb": {
        "zip": Cell(with_file("zip", "00000/z.png", bytes(80 * 1024**2)), "inflates to"),
    },
    "a path outside": {
        "zip": Cell(with_file("zip", "../out.png", b""), r"'\.\./out\.png', which leads out of it"),
        **{f: Cell(linked(f), "leads out") for f in ("unpacked", "flat", "classes", "latents")},
    },
    "a sheet of other files": {
        f: Cell(sheets(f, lambda pairs: [[f"x/{name}", one] for name, one in pairs]), "no label for .* 39 more")
        for f in ("zip", "unpacked")
    },
    "floats to 255": {
        "npz": Cell(npz(images=IMAGES.astype(np.float32)), "type float32, from 0 to 255: save them as uint8"),
        "idx": Cell(cut("idx", lambda data: b"\0\0\x0d\x03" + data[4:]), "begins with 00 00 0d 03"),
    },
    "a truncated file": {
        "zip": Cell(cut("zip", halved), "no whole zip"), "npz": Cell(cut("npz", halved), r"arrays\.npz cannot be read"),
        "idx": Cell(cut("idx", halved), "2,560 values, and it has"), "idx.gz": Cell(cut("idx.gz", halved), "ended"),
    },
    "an empty file": {
        **{f: Cell(cut(f, lambda data: b""), "no whole zip|cannot be read") for f in ("zip", *ARRAYS)},
    },
    "a full disk": {
        f: Cell(given(f), r"cannot be written \(No space left on device\)") for f in FORMATS
    },
    "a worker that dies": {
        f: Cell(given(f), "a worker process ended by signal 9 .*while it decoded .*; nothing is kept")
        for f in (*FILES, "latents")
    },
}  # fmt: skip
NEVER: dict[str, dict[str, str]] = {
    "several sizes": dict.fromkeys(ARRAYS, IN_ARRAYS),
    "a broken image": dict.fromkeys(ARRAYS, IN_ARRAYS),
    "an empty image": dict.fromkeys(ARRAYS, IN_ARRAYS),
    "16 bits": {"idx.gz": "as idx", "torchvision": "its loader of files gives 8 bits"},
    "a palette": dict.fromkeys((*ARRAYS, "latents"), IN_ARRAYS),
    "too many pixels": dict.fromkeys((*ARRAYS, "latents"), IN_ARRAYS),
    "missing labels": {"flat": NO_LABELS, "latents": "as zip", "torchvision": ITEMS},
    "surplus labels": {
        "flat": NO_LABELS, "latents": "as zip", "classes": NAMES_ARE_CLASSES, **dict.fromkeys(OWN, ITEMS),
    },
    "labels from 1": {"flat": NO_LABELS, "latents": "as zip"},
    "a class of one image": {"flat": NO_LABELS, "latents": "as zip"},
    "a zip bomb": dict.fromkeys((*FORMATS[1:],), NO_ZIP),
    "a path outside": {**dict.fromkeys(ARRAYS, NO_NAMES), **dict.fromkeys(OWN, "it runs as the user's own code")},
    "a sheet of other files": dict.fromkeys([f for f in FORMATS if f not in ("zip", "unpacked")], NO_SHEET),
    "floats to 255": {
        **dict.fromkeys(FILES, "images are encoded"), **dict.fromkeys(OWN, "images are Pillow's; see below"),
        "idx.gz": "as idx", "latents": "they are floats",
    },
    "a truncated file": dict.fromkeys(("unpacked", "classes", "flat", *OWN, "latents"), "as a broken image"),
    "an empty file": dict.fromkeys(("unpacked", "classes", "flat", *OWN, "latents"), "as an empty image"),
    "a worker that dies": dict.fromkeys((*ARRAYS, *OWN), NOT_DECODED),
}  # fmt: skip


def test_every_cell_has_an_answer() -> None:
    for fault, cells in FAULTS.items():
        never = NEVER.get(fault, {})
        assert set(cells) | set(never) == set(FORMATS), fault
        assert not set(cells) & set(never), fault


CELLS = [(fault, form) for fault, cells in FAULTS.items() for form in cells]


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, 100

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(data))


@contextlib.contextmanager
def full_disk(path: Path) -> Iterator[Full]:
    with whole_file(path) as file:
        yield Full(file)


@pytest.fixture
def planted(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the machine rather than with the data."""
    if fault == "a full disk":
        monkeypatch.setattr("guideplug_images.prepared.whole_file", full_disk)
    if fault == "a worker that dies":
        started = workers._Workers._started

        def killed(self: Any) -> Any:
            worker = started(self)
            worker.process.kill()
            worker.process.wait()
            return worker

        monkeypatch.setattr(workers, "PATIENCE", 0.0)
        monkeypatch.setattr(workers, "_cores", lambda: 2)
        monkeypatch.setattr(workers._Workers, "_started", killed)


@pytest.mark.parametrize(
    ("fault", "form"),
    [pytest.param(*cell, marks=[pytest.mark.slow] * (number % 4 > 0)) for number, cell in enumerate(CELLS)],
)
def test_a_fault_is_refused_and_named_or_is_none(
    fault: str, form: str, planted: None, writers: Any, tmp_path: Path, store: Path
) -> None:
    cell = FAULTS[fault][form]
    task = Images(cell.make(tmp_path, writers))
    if cell.says is None:
        found = task.data.prepared.pixels[:40]
        count, channels = len(found), 3 if form == "torchvision" or fault == "a palette" else 1
        expected = np.repeat(IMAGES[:count].transpose(0, 3, 1, 2), channels, axis=1)
        if form == "latents":
            expected = np.stack(latents()[:count])
        if fault == "a palette":
            expected[17] = np.array([250, 0, 0])[:, None, None]
        assert np.array_equal(found, expected)
        return
    with pytest.raises(GuideplugError) as caught:
        _ = task.data
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(cell.says, message), message
    if fault != "19 images":  # which are images, and are too few
        assert not [path.name for path in (store / "data").glob("*") if path.suffix != ".lock"]
