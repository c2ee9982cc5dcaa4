"""`guideplug evaluate --features`: anybody's images beside a reference."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from guideplug.metrics import frechet_distance, neighbour_balls

FEATURES = "python('./mine.py:features')"
CODE = """
def features(images):
    return images.float().div(255).flatten(1)[:, :7]
"""


@pytest.fixture(autouse=True)
def code(cli: Any) -> None:
    Path("mine.py").write_text(CODE)


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)


def rows(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).flatten(1)[:, :7]


def folder(name: str, images: np.ndarray) -> str:
    for number, image in enumerate(images):
        path = Path(name) / f"{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return name


def zipped(name: str, images: np.ndarray) -> str:
    folder("aside", images)
    with zipfile.ZipFile(f"{name}.zip", "w") as archive:
        for path in sorted(Path("aside").rglob("*.png")):
            archive.write(path, path.relative_to("aside"))
        archive.writestr("dataset.json", "{}")
    return f"{name}.zip"


def array(name: str, images: np.ndarray) -> str:
    np.savez(f"{name}.npz", arr_0=images)
    return f"{name}.npz"


def channels_first(name: str, images: np.ndarray) -> str:
    np.save(f"{name}.npy", images.transpose(0, 3, 1, 2))
    return f"{name}.npy"


def floats(name: str, images: np.ndarray) -> str:
    np.savez_compressed(f"{name}.npz", arr_0=images.astype(np.float32) / 127.5 - 1, condition=np.arange(len(images)))
    return f"{name}.npz"


def unit(name: str, images: np.ndarray) -> str:
    np.savez(f"{name}.npz", arr_0=images / 255)
    return f"{name}.npz"


FORMS = [folder, zipped, array, channels_first, floats, unit]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_images_measures_the_same(cli: Any, form: Callable[..., str]) -> None:
    samples, true = pixels(90), pixels(70, 1)
    path = form("samples", samples)
    measured = cli.json("evaluate", path, "--features", FEATURES, "--reference", array("true", true))
    (arm,) = measured["arms"].values()
    expected = frechet_distance(rows(samples).double(), rows(true).double())
    assert arm["Fréchet distance"]["mean"] == pytest.approx(expected, rel=1e-5)
    assert list(measured["images"].values()) == [90]
    assert measured["reference"]["images"] == 70


def test_distances_between_images_are_those_of_equally_many(cli: Any) -> None:
    samples, true = pixels(60), pixels(60, 1)
    measured = cli.json("evaluate", array("s", samples), "--features", FEATURES, "--reference", array("t", true))
    arm = measured["arms"]["arr_0"]
    balls = neighbour_balls(rows(samples), rows(true), 5)
    assert arm["precision"]["mean"] == pytest.approx(float(balls.precise.mean()))
    assert arm["density"]["mean"] == pytest.approx(float(balls.densities.mean()))
    assert arm["recall"]["mean"] == pytest.approx(float(balls.recalled.mean()))
    assert arm["coverage"]["mean"] == pytest.approx(float(balls.covered.mean()))


def test_repeats_are_every_third_image_with_mean_spread_and_least(cli: Any) -> None:
    samples, true = pixels(90), pixels(70, 1)
    options = ("--features", FEATURES, "--reference", array("t", true), "--repeats", 3)
    distance = cli.json("evaluate", array("s", samples), *options)["arms"]["arr_0"]["Fréchet distance"]
    expected = [frechet_distance(rows(samples[part::3]).double(), rows(true).double()) for part in range(3)]
    assert distance["values"] == pytest.approx(expected, rel=1e-5)
    assert distance["least"] == pytest.approx(min(expected), rel=1e-5)
    assert distance["mean"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert distance["deviation"] == pytest.approx(np.std(expected, ddof=1), rel=1e-4)
    printed = cli("evaluate", "s.npz", *options).stdout
    assert "3 repeats of 30" in printed
    assert "least" in printed
    assert "compare equal N" in printed


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_features_take_as_many_images_at_a_time_as_asked(cli: Any, batch: int) -> None:
    Path("mine.py").write_text(f"{CODE.rstrip()}[: len(images) if len(images) <= {batch} else 0]\n")
    options = ("--features", FEATURES, "--reference", array("t", pixels(30, 1)), "--repeats", 2)
    measured = cli.json("evaluate", array("s", pixels(40)), *options, "--batch", batch)
    Path("mine.py").write_text(CODE)
    usual = cli.json("evaluate", "s.npz", *options)["arms"]["arr_0"]
    for name, value in measured["arms"]["arr_0"].items():
        assert value["values"] == pytest.approx(usual[name]["values"], rel=1e-6)


def test_the_bias_of_n_is_seen_from_half_as_many(cli: Any) -> None:
    measured = cli.json(
        "evaluate", array("s", pixels(400)), "--features", FEATURES, "--reference", array("t", pixels(4000, 1))
    )
    distance = measured["arms"]["arr_0"]["Fréchet distance"]["mean"]
    assert abs(measured["without_bias"]["arr_0"]) < distance / 2  # the distributions are one


@pytest.mark.parametrize("end", ["npz", "pkl"])
def test_statistics_are_written_and_read_in_both_formats(cli: Any, end: str) -> None:
    true, options = array("t", pixels(70, 1)), ("--features", FEATURES)
    cli("evaluate", true, *options, "--repeats", 2, "--statistics", f"own.{end}")
    by_images = cli.json("evaluate", array("s", pixels(50)), *options, "--reference", true)
    by_file = cli.json("evaluate", "s.npz", *options, "--reference", f"own.{end}")
    assert by_file["reference"] == {"file": f"own.{end}", "images": 70, "statistics_only": True}
    distances = [one["arms"]["arr_0"]["Fréchet distance"]["mean"] for one in (by_images, by_file)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-10)
    assert set(by_file["arms"]["arr_0"]) == {"Fréchet distance", "Fréchet distance at N/2"}
    if end == "pkl":  # as EDM2's code reads it
        with Path("own.pkl").open("rb") as file:
            tree = pickle.load(file)
        assert tree["num_images"] == 70
        assert tree["python"]["mu"].shape == (7,)
        assert tree["python"]["sigma"].shape == (7, 7)


def test_copies_of_training_images_are_at_zero(cli: Any) -> None:
    train = pixels(200, 2)
    samples = np.concatenate([train[:30], pixels(10)])
    options = ("--features", FEATURES, "--reference", array("t", pixels(50, 1)), "--train", array("train", train))
    assert cli.json("evaluate", array("s", samples), *options)["arms"]["arr_0"]["nearest training image"]["mean"] == 0
    apart = cli.json("evaluate", array("o", pixels(40)), *options)["arms"]["arr_0"]["nearest training image"]["mean"]
    near = torch.cdist(rows(pixels(40)), rows(train)).min(1).values.median()
    assert apart == pytest.approx(float(near), rel=1e-4)


def test_grey_palette_and_transparent_pictures_become_rgb(cli: Any) -> None:
    Path("many").mkdir()
    Image.new("L", (5, 4), 255).save("many/a.png")
    Image.new("RGBA", (5, 4), (0, 0, 0, 0)).save("many/b.png")
    Image.new("RGB", (5, 4), "white").quantize().save("many/c.png")
    Image.new("RGB", (5, 4), "white").save("many/d.png")
    cli("evaluate", "many", "--features", FEATURES, "--statistics", "s.npz")
    with np.load("s.npz") as arrays:
        assert arrays["mu"].tolist() == [1.0] * 7
        assert not arrays["sigma"].any()


def several_sizes() -> None:
    folder("bad", pixels(20))
    Image.new("RGB", (9, 9)).save("bad/1/010.png")


def broken() -> None:
    folder("bad", pixels(20))
    path = Path("bad/1/010.png")
    path.write_bytes(path.read_bytes()[:60])


def deep() -> None:
    folder("bad", pixels(20))
    Image.fromarray(np.full((4, 5), 40_000, dtype=np.uint16)).save("bad/1/010.png")


def large() -> None:
    np.savez("bad.npz", arr_0=pixels(20).astype(np.float32))


def no_number() -> None:
    np.savez("bad.npz", arr_0=np.full((20, 3, 4, 4), np.nan))


def latents() -> None:
    np.savez("bad.npz", arr_0=np.zeros((20, 4, 8, 8), np.float32))


def truncated() -> None:
    np.save("bad.npy", pixels(20))
    Path("bad.npy").write_bytes(Path("bad.npy").read_bytes()[:-100])


def objects() -> None:
    np.save("bad.npy", np.array([{}] * 5, dtype=object), allow_pickle=True)


def bomb() -> None:
    with zipfile.ZipFile("bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(80 * 1024**2))


IMAGES = {
    several_sizes: ("bad", "1/010.png is of 9 x 9, and 0/000.png of 4 x 5: bring all to one size"),
    broken: ("bad", "1/010.png cannot be read"),
    deep: ("bad", "1/010.png cannot be read: its pixels are of mode I;16: save it with 8 bits per channel"),
    large: ("bad.npz", "floats from 0 to 255: images of floats lie in [-1, 1] or [0, 1]"),
    no_number: ("bad.npz", "holds a value that is not finite"),
    latents: ("bad.npz", "latents must be decoded first"),
    truncated: ("bad.npy", "it ends before image 18"),
    objects: ("bad.npy", "images are uint8 or floats"),
    bomb: ("bad.zip", "a.png cannot be read: it is larger than"),
    lambda: Path("bad").mkdir(): ("bad", "it holds no image"),
    lambda: None: ("nothing", "does not exist"),
    lambda: array("bad", pixels(3)): ("bad.npz", "has 3 images, and moments need 4 at least"),
}


@pytest.mark.parametrize("make", IMAGES, ids=lambda make: make.__name__)
def test_images_that_are_refused(cli: Any, make: Callable[[], None]) -> None:
    make()
    path, message = IMAGES[make]
    if path == "bad.zip":
        with zipfile.ZipFile(path, "a") as archive:
            for number in range(5):
                archive.writestr(f"b{number}.png", b"")
    failed = cli("evaluate", path, "--features", FEATURES, "--statistics", "out.npz", code=2)
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not Path("out.npz").exists()


def pickled(tree: object) -> str:
    Path("bad.pkl").write_bytes(pickle.dumps(tree))
    return "bad.pkl"


def stored(**arrays: np.ndarray) -> str:
    np.savez("bad.npz", **arrays)
    return "bad.npz"


def of_other_code() -> str:
    Path("mine.py").write_text(CODE.replace("255", "256"))
    np.savez("t.npz", arr_0=pixels(30))
    return ""


EYE = np.eye(7)
STATISTICS = [
    (lambda: pickled({"fid": {"mu": np.zeros(7), "sigma": EYE}}), "it has statistics of fid, and none of python"),
    (lambda: pickled({"mine": 3}), "it holds no statistics, which are mu and sigma"),
    (lambda: stored(mu=np.zeros(5), sigma=np.eye(5)), "are of 5 features, and python("),
    (lambda: stored(mu=np.zeros(7), sigma=np.eye(5)), "mu has shape (7,) and sigma (5, 5)"),
    (lambda: stored(mu=np.zeros(7), sigma=EYE * np.nan), "not finite"),
    (lambda: stored(mu=np.zeros(7), sigma=EYE + np.triu(np.ones((7, 7)), 1)), "sigma is not symmetric"),
    (lambda: stored(mu=np.zeros(7), sigma=-EYE), "a variance below 0"),
    (lambda: stored(mu=np.zeros(7)), "it has no array sigma"),
    (lambda: stored(mu=np.zeros(7), sigma=EYE, count=np.array(1)), "it is of 1 images"),
    (lambda: stored(mu=np.zeros(7), sigma=EYE, count=np.arange(3)), "its count of images is array([0, 1, 2])"),
    (lambda: stored(mu=np.zeros(7), sigma=EYE, count=np.array(np.inf)), "its count of images is array(inf)"),
    (lambda: pickled({"mu": np.zeros(7), "sigma": EYE, "count": "many"}), "its count of images is 'many'"),
    (
        lambda: pickled({"python": {"mu": np.zeros(7), "sigma": EYE}, "num_images": np.nan}),
        "its count of images is nan",
    ),
    (lambda: stored(mu=np.zeros(7) + np.nan, sigma=EYE), "not finite"),
    (lambda: stored(mu=np.zeros(7), sigma=EYE, features=np.array("python 0123")), "of other weights or options"),
    (lambda: stored(features=np.zeros((50, 7))), "give images (N, C, H, W)"),
    (lambda: str(Path("mine.py")), "it is no folder, zip, .npz or .npy file"),
    (lambda: "none.pkl", "does not exist"),
]


@pytest.mark.parametrize(("make", "message"), STATISTICS)
def test_references_that_are_refused(cli: Any, make: Callable[[], str], message: str) -> None:
    failed = cli("evaluate", array("s", pixels(9)), "--features", FEATURES, "--reference", make(), code=2)
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_pickle_that_would_run_code_is_not_run(cli: Any) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return Path.touch, (Path("ran"),)

    failed = cli("evaluate", array("s", pixels(9)), "--features", FEATURES, "--reference", pickled(Runs()), code=2)
    assert "is not read" in failed.stderr
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("images.float().flatten(1) / 0", "a value that is not finite, first for image 0 of s.npz"),
        ("images.flatten(1)", "torch.uint8 (9, 60) for 9 images"),
        ("images.float().mean()", "torch.float32 () for 9 images"),
        ("1", "int for 9 images"),
        ("nothing", "raised NameError"),
    ],
)
def test_features_that_are_refused(cli: Any, body: str, message: str) -> None:
    Path("mine.py").write_text(f"def features(images):\n    return {body}\n")
    failed = cli("evaluate", array("s", pixels(9)), "--features", FEATURES, "--statistics", "o.npz", code=2)
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--features", FEATURES], "--reference is missing"),
        (["--features", FEATURES, "--reference", "s.npz", "--task", "tree"], "--task is of a task's metrics"),
        (["--features", FEATURES, "--statistics", "s.npz"], "s.npz is there already"),
        (["--features", FEATURES, "--statistics", "s.txt"], "ends in .npz or .pkl"),
        (["--features", FEATURES, "--statistics", "o.npz", "--train", "s.npz"], "--train is measured beside"),
        (["--features", FEATURES, "--statistics", "o.npz", "--repeats", "5"], "5 repeats of 4 at least"),
        (["--features", "inceptoin", "--reference", "s.npz"], "no features is called 'inceptoin' (did you mean"),
        (["--batch", "2"], "--batch is of images: give --features"),
        (["--features", FEATURES, "--statistics", "o.npz", "--batch", "0"], "--batch 0 is below 1"),
        (["--repeats", "2"], "--repeats is of images: give --features"),
        (["--reference", "s.npz"], "--reference is of images: give --features"),
    ],
)
def test_options_that_are_refused(cli: Any, options: list[str], message: str) -> None:
    failed = cli("evaluate", array("s", pixels(9)), *options, code=2)
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_json_is_json_alone(cli: Any) -> None:
    printed = cli("evaluate", array("s", pixels(9)), "--features", FEATURES, "--reference", "s.npz", "--json").stdout
    assert json.loads(printed)["arms"]["arr_0"]["Fréchet distance"]["mean"] == pytest.approx(0, abs=1e-12)
