"""The share of the features in the time of ``guideplug evaluate --features``, and its memory.

    python tests/benchmarks/evaluate_images.py share [COUNT]     10,000 images of 28 x 28 in MobileNetV2 at 96, a thread
    python tests/benchmarks/evaluate_images.py memory [COUNT]    50,000 images of 64 x 64 in features that cost nothing

``share``: an array beside statistics, which is the Fréchet distance alone, and beside images, so that every metric is
measured; the same of a zip of PNG. Weights at random. Bound: at least 90 % of the time after imports is the features
function. ``memory``: the peak of the process above that after its imports, in MiB, at
most 1,024; features of 512 numbers, in a folder, a zip and an array.
"""

import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from PIL import Image

from guideplug.cli.main import main
from guideplug_features.vision import TorchvisionFeatures

CHEAP = """
def features(images):
    return images[:, :, ::2, ::2].flatten(1)[:, :512].float() / 255
"""


def evaluate(*arguments: object) -> None:
    """The command, in this process."""
    done = CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output


def pixels(count: int, side: int, seed: int) -> np.ndarray[Any, Any]:
    """Smooth images: squares of 4 x 4 pixels."""
    squares = np.random.default_rng(seed).integers(0, 256, (count, side // 4, side // 4, 3), dtype=np.uint8)
    return squares.repeat(4, 1).repeat(4, 2)


def pictures(folder: Path, images: np.ndarray[Any, Any]) -> Path:
    """A folder of PNG."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:06}.png", compress_level=1)
    return folder


def zipped(folder: Path) -> Path:
    """A zip of a folder, stored."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for picture in sorted(folder.iterdir()):
            archive.write(picture, picture.name)
    return path


def share(count: int, folder: Path) -> None:
    """The share of the features function in the command's time, for an array and for a zip of PNG."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    torch.save(get_model("mobilenet_v2", weights=None).state_dict(), folder / "network.pth")
    features = f"torchvision(mobilenet_v2, '{folder}/network.pth', size=96)"
    np.save(folder / "samples.npy", pixels(count, 28, 0))
    np.save(folder / "true.npy", pixels(count, 28, 1))
    packed = [zipped(pictures(folder / name, pixels(count, 28, n))) for n, name in enumerate("st")]
    evaluate(folder / "true.npy", "--features", features, "--statistics", folder / "true.npz")  # after it, no imports
    pairs = {
        "array, statistics": (folder / "samples.npy", folder / "true.npz"),
        "array, images": (folder / "samples.npy", folder / "true.npy"),
        "zip of PNG, statistics": (packed[0], folder / "true.npz"),
        "zip of PNG, images": (packed[0], packed[1]),
    }
    spent = [0.0]
    load = TorchvisionFeatures.load

    def timed(self: TorchvisionFeatures, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        function = load(self, device)

        def features_alone(images: torch.Tensor) -> torch.Tensor:
            begin = time.perf_counter()
            rows = function(images)
            spent[0] += time.perf_counter() - begin
            return rows

        return features_alone

    TorchvisionFeatures.load = timed  # type: ignore[method-assign]
    for name, (samples, true) in pairs.items():
        spent[0], begin = 0.0, time.perf_counter()
        evaluate(samples, "--features", features, "--reference", true)
        took = time.perf_counter() - begin
        print(f"{name}: {took:.1f} s, features {spent[0]:.1f} s, {spent[0] / took:.1%}", flush=True)


def memory(count: int, folder: Path) -> None:
    """The peak memory above imports, for a folder, a zip and an array."""
    (folder / "mine.py").write_text(CHEAP)
    features = f"python('{folder}/mine.py:features')"
    few = pictures(folder / "few", pixels(20, 64, 0))
    evaluate(few, "--features", features, "--reference", few)
    before = peak()
    subprocess.run([sys.executable, __file__, "make", str(count), str(folder)], check=True)  # in memory of its own
    for name in ("images", "images.zip", "images.npy"):
        path = folder / name
        begin = time.perf_counter()
        evaluate(path, "--features", features, "--reference", path)
        print(f"{path.name}: {peak() - before:.0f} MiB above imports, {time.perf_counter() - begin:.0f} s", flush=True)


def make(count: int, folder: Path) -> None:
    """Images of 64 x 64 as a folder of PNG, a zip and an array."""
    images = pictures(folder / "images", pixels(0, 64, 0))
    array = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, 64, 64, 3))
    for part in range(0, count, 500):
        array[part : part + 500] = pixels(min(500, count - part), 64, part)
        for number, image in enumerate(array[part : part + 500], part):
            Image.fromarray(image).save(images / f"{number:06}.png", compress_level=1)
    zipped(images)


def peak() -> float:
    """The peak memory of the process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, *rest = sys.argv[1:]
    if what == "make":
        make(int(rest[0]), Path(rest[1]))
        sys.exit()
    run, usual = {"share": (share, 10_000), "memory": (memory, 50_000)}[what]
    with TemporaryDirectory() as place:
        run(int(rest[0]) if rest else usual, Path(place))
