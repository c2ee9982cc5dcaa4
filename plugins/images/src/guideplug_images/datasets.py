"""Images of a torch data set: one of torchvision's, by name, or one that a function of the user's own code returns.

    torchvision(FashionMNIST, root=./data, download=true)
    python("./data.py:dataset")

Further options of torchvision's are those of its class, such as train=false; items are images or (image, label).
Nothing is downloaded unless ``download=true``. Items are read under random numbers that their index decides: one that
is augmented at random is one image, and the data set keeps one fingerprint. The global generators of torch, NumPy and
Python are restored. Images are Pillow's, or uint8: tensors (C, H, W) or (H, W), arrays (H, W, C) or (H, W).
"""

import contextlib
import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from guideplug import ConfigError, PythonRef, plain_call
from guideplug_images.collection import Collection, ImageError, numbered_labels
from guideplug_images.picture import pixels_of
from guideplug_images.randomness import restored_random_numbers, seed_random_numbers

__all__ = ["CALL", "LIBRARIES", "absolute_call", "read_dataset"]

CALL = re.compile(r"(torchvision|python)\(.*\)$", re.DOTALL)
TORCHVISION = "torchvision"
LIBRARIES = {TORCHVISION: "guideplug-images[torchvision]"}


def absolute_call(text: str) -> str:
    """A call whose paths do not depend on the current folder; others as they are."""
    try:
        name, args, options = plain_call(text)
    except ConfigError:
        return text
    if name == "python" and len(args) == 1 and isinstance(args[0], str):
        return f"python({json.dumps(PythonRef(args[0]).place, ensure_ascii=False)})"
    if name == TORCHVISION and isinstance(options.get("root"), str):
        root = str(Path(str(options["root"])).expanduser().absolute())
        texts = [
            *map(_written, args),
            *(f"{key}={_written(value)}" for key, value in {**options, "root": root}.items()),
        ]
        return f"{TORCHVISION}({', '.join(texts)})"
    return text


def _written(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def read_dataset(text: str, label: str | None) -> Collection:
    """The images of a call.

    Raises:
        ImageError: the call, the data set or its items cannot be used.
        RecipeError, TrustError: the function cannot be loaded, or may not run.
    """
    if label not in ("auto", None):
        raise ImageError(
            f"{text}: label is {label!r}: the data set gives the labels; leave it out, or write label=none"
        )
    name, args, options = plain_call(text)
    if name == "python":
        if len(args) != 1 or not isinstance(args[0], str) or options:
            raise ImageError(f'{text} takes one function: write python("FILE.py:function")')
        return DatasetCollection(text, PythonRef(args[0], text).load(), label is not None)
    if len(args) != 1 or not isinstance(args[0], str) or not isinstance(options.get("root"), str):
        raise ImageError(f"{text}: write torchvision(NAME, root=FOLDER), with options of the data set after them")
    if importlib.util.find_spec(TORCHVISION) is None:
        raise ImageError(f"{text} needs torchvision: pip install '{LIBRARIES[TORCHVISION]}'")
    from torchvision import datasets  # a second to import, and only such data sets need it

    kind = vars(datasets).get(args[0])
    if not (isinstance(kind, type) and issubclass(kind, datasets.VisionDataset)):
        raise ImageError(
            f"{text}: torchvision has no data set {args[0]!r}; it has MNIST, FashionMNIST, CIFAR10, SVHN, ..."
        )
    return DatasetCollection(text, lambda: kind(**options), label is not None)


@final
class DatasetCollection(Collection):
    """The items of a map-style data set, read once to hash them and to learn their labels.

    Args:
        where: the call, for messages.
        build: makes the data set.
        labelled: whether labels are used where items have them.
    """

    def __init__(self, where: str, build: Callable[[], Any], labelled: bool) -> None:
        self.where = where
        with self._described(""), restored_random_numbers():
            seed_random_numbers(0)
            self._dataset = build()
            count = len(self._dataset)
        self.names = [f"item {number}" for number in range(count)]
        digest, labels = hashlib.sha256(), []
        for index in range(count):
            pixels, one = self._item(index)
            labels.append(one)
            digest.update(f"{pixels.shape}".encode() + pixels.tobytes())
        with_labels = labelled and any(one is not None for one in labels)
        self.labels = numbered_labels(where, labels, self.names) if with_labels else None
        if self.labels is not None:
            digest.update(self.labels.numbers.tobytes())
        self.digest = f"items {digest.hexdigest()}"

    def image(self, index: int) -> NDArray[Any]:
        return self._item(index)[0]

    def _item(self, index: int) -> tuple[NDArray[np.uint8], object]:
        """The pixels of an item, (H, W, C), and its label or None."""
        with self._described(f", {self.names[index]}"):
            with restored_random_numbers():
                seed_random_numbers(index)
                item = self._dataset[index]
            image, label = item if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
            if isinstance(label, Tensor | np.ndarray) and label.ndim == 0:
                label = label.item()
            return _pixels(image), label

    @contextlib.contextmanager
    def _described(self, what: str) -> Iterator[None]:
        """A block in which whatever the data set raises becomes one line."""
        try:
            yield
        except ImageError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            raise ImageError(f"{self.where}{what}: {reason}") from error


def _pixels(image: object) -> NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        return pixels_of(image)
    if not isinstance(image, Tensor | np.ndarray):
        raise TypeError(f"an image is a {type(image).__name__}: return a Pillow image, or uint8 values")
    array = image.numpy() if isinstance(image, Tensor) else image
    if array.dtype != np.uint8:
        raise TypeError(f"an image is of type {array.dtype}: return a Pillow image, or uint8 values from 0 to 255")
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3 and isinstance(image, Tensor):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise TypeError(
            f"an image has shape {tuple(image.shape)}: return tensors (C, H, W) or arrays (H, W, C), C 1 or 3"
        )
    return np.ascontiguousarray(array)
