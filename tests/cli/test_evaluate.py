"""`guideplug evaluate`: the metrics of any samples file."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOY = Path(__file__).with_name("toy.py")
CENTRES = np.array([[-0.6, 0.0], [0.6, 0.2]], dtype=np.float32)


@pytest.fixture
def evaluate(cli: Any) -> Any:
    def call(path: str, *args: object) -> Any:
        return cli.json("evaluate", path, "--plugin", TOY, "--task", "toy", *args)

    return call


def test_one_array(evaluate: Any) -> None:
    np.save("mine.npy", np.repeat(CENTRES, [3, 1], axis=0) + np.array([0.3, 0.0]))
    found = evaluate("mine.npy")
    assert found["arms"]["samples"] == {"distance": pytest.approx(0.3), "balance": pytest.approx(0.25)}
    assert found["arms"]["truth"]["distance"] == 0.0
    assert found["samples"] == {"samples": 4}


def test_several_arms_and_a_table(cli: Any) -> None:
    np.savez("mine.npz", ours=CENTRES.repeat(2, 0), theirs=CENTRES.repeat(2, 0) + 1)
    said = cli("evaluate", "mine.npz", "--plugin", TOY, "--task", "toy", "--figure", "out.png").stdout
    assert "ours" in said
    assert "theirs" in said
    assert Path("out.png").is_file()


def test_the_samples_of_a_run_get_the_runs_values(cli: Any, evaluate: Any) -> None:
    run = cli.json("run", "--plugin", TOY, "--task", "toy", "--guider", "autoguidance", "--out", "run")
    found = evaluate("run/samples.npz")
    assert found["arms"] == run["arms"]
    assert found["differences"] == run["differences"]
    assert set(found["differences"]) == {"distance", "balance"}


@pytest.mark.slow
def test_the_values_of_a_tree_that_need_the_noise_are_those_of_the_run(cli: Any) -> None:
    options = ("--task", "tree", "--device", "cpu")
    small = ("--denoiser", "tree-mlp(hidden=4)", "--duration", "3it", "--batch", "64", "--samples", "64")
    run = cli.json("run", *options, *small, "--out", "run", "--sampler", "heun(num_steps=4)")
    found = cli.json("evaluate", "run/samples.npz", "--task", "tree", "--sampler", "heun(num_steps=4)")
    theirs, ours = run["arms"]["unguided"], found["arms"]["unguided"]
    unknown = {name for name, value in ours.items() if value is None}
    assert {name: value for name, value in theirs.items() if name not in unknown} == {
        name: value for name, value in ours.items() if value is not None
    }
    assert unknown == {"average loss", "outer loss"}  # these need the network


def write(name: str, **arrays: Any) -> str:
    np.savez(name, **{key: np.asarray(value) for key, value in arrays.items()})
    return name


FINE = CENTRES.repeat(2, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: "absent.npz", "absent.npz does not exist"),
        (lambda: ".", ". is a folder: give a samples file in it"),
        (lambda: write("a.npz", x=np.zeros((4, 3), np.float32)), "x has shape (4, 3), and samples of task 'toy' are"),
        (lambda: write("a.npz", x=np.zeros((4, 2, 2), np.float32)), "has shape (4, 2, 2)"),
        (lambda: write("a.npz", x=np.float32(3)), "x is a single value"),
        (lambda: write("a.npz", x=FINE[:1]), "has 1 samples: metrics need at least 2"),
        (lambda: write("a.npz", x=FINE[:0]), "has 0 samples"),
        (lambda: write("a.npz", x=FINE.astype(np.uint8)), "is of type uint8: give floating-point numbers"),
        (lambda: write("a.npz", x=np.array([[0, np.nan], [1, 2], [np.inf, 0]])), "2 samples are not finite"),
        (lambda: write("a.npz", condition=np.zeros(4)), "a.npz holds no samples: give an array (N, 2)"),
        (lambda: write("a.npz", x=FINE, condition=np.zeros(3, np.int64)), "x has 4 samples, condition has 3 rows"),
        (lambda: write("a.npz", x=FINE, condition=np.zeros(4, np.int64)), "condition is integers of shape (N)"),
        (lambda: write("a.npz", x=FINE, start=np.zeros((4, 3))), "start has shape (4, 3)"),
        (lambda: write("a.npz", truth=FINE), "has an array 'truth', the name of a reference arm"),
        (lambda: write("a.npz", x=np.array([None, {}])), "pickles are not read"),
        (lambda: write("a.npz", x=np.array([[1e300, 0], [0, 1]])), "1 samples are not finite in float32"),
        (lambda: write("a.npz", x=FINE, start=np.array(["a", "b", "c", "d"])), "start holds <U1"),
        (lambda: write("a.npz", x=FINE, condition=np.zeros(4, [("a", "f4")])), "condition holds"),
        (lambda: write("a.npz", **{"x": FINE, "condition.": np.zeros(4)}), "an array is called 'condition.'"),
        (lambda: write("a.npz", x=FINE, labels=np.zeros(4, np.int64)), "call it condition if these are the labels"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line(cli: Any, make: Any, said: str) -> None:
    assert said in cli.error("evaluate", make(), "--plugin", TOY, "--task", "toy")


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pt"])
def test_a_pickle_is_never_executed(cli: Any, name: str) -> None:
    Path(name).write_bytes(pickle.dumps(Bomb()))
    assert "pickles are not read" in cli.error("evaluate", name, "--plugin", TOY, "--task", "toy")
    np.save("object.npy", np.array([Bomb()], dtype=object))
    assert "pickles are not read" in cli.error("evaluate", "object.npy", "--plugin", TOY, "--task", "toy")
    assert not Path("executed").exists()


def test_a_truncated_file(cli: Any) -> None:
    np.savez("a.npz", x=FINE)
    Path("a.npz").write_bytes(Path("a.npz").read_bytes()[:-40])
    assert "is no whole .npy or .npz file" in cli.error("evaluate", "a.npz", "--plugin", TOY, "--task", "toy")


@pytest.mark.parametrize(
    ("figure", "said"), [("a.jpg", "ends in .png"), ("absent/a.png", "the folder absent does not")]
)
def test_a_figure_that_cannot_be_drawn(cli: Any, figure: str, said: str) -> None:
    np.save("a.npy", FINE)
    assert said in cli.error("evaluate", "a.npy", "--plugin", TOY, "--task", "toy", "--figure", figure)


@pytest.mark.slow
def test_digits_with_and_without_their_classes(cli: Any) -> None:
    from guideplug_digits.images import load_split

    real = load_split().real
    images, labels = real.images[:64].numpy(), real.labels[:64].numpy()
    np.savez("with.npz", real=images, condition=labels)
    np.savez("without.npz", real=images)
    known = cli.json("evaluate", "with.npz", "--task", "digits", "--figure", "with.png")["arms"]["real"]
    unknown = cli.json("evaluate", "without.npz", "--task", "digits", "--figure", "without.png")["arms"]["real"]
    assert known["class accuracy"] > 0.9
    assert unknown["class accuracy"] is None
    assert known["precision"] == unknown["precision"]
    np.savez("wrong.npz", real=images, condition=labels + 7)
    wrong = cli("evaluate", "wrong.npz", "--task", "digits", code=3).output
    assert "metric 'class accuracy' of real failed" in wrong
    assert "labels must be in 0 … 9, got 7 … 16" in wrong
    assert json.dumps(known)


def test_odd_but_honest_files_are_read(evaluate: Any, cli: Any) -> None:
    plain = evaluate(write("plain.npz", **{"a[red]b": FINE}))["arms"]["a[red]b"]
    for name, array in {
        "half": FINE.astype(np.float16), "big": FINE.astype(">f8"), "fortran": np.asfortranarray(FINE.astype("f8")),
    }.items():  # fmt: skip
        np.savez_compressed("odd.npz", x=array)
        assert evaluate("odd.npz")["arms"]["x"] == {
            key: pytest.approx(value, abs=1e-3) for key, value in plain.items()
        }, name
    assert "a[red]b" in cli("evaluate", "plain.npz", "--plugin", TOY, "--task", "toy").stdout


def test_files_that_only_look_like_arrays(cli: Any) -> None:
    import io
    import zipfile

    np.savez_compressed("c.npz", x=np.random.default_rng(0).normal(size=(500, 2)))
    whole = bytearray(Path("c.npz").read_bytes())
    whole[100:140] = bytes(40)
    Path("c.npz").write_bytes(whole)
    with zipfile.ZipFile("readme.npz", "w") as archive:
        archive.writestr("README", "hello")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**13, 2)})
    Path("huge.npy").write_bytes(header.getvalue())
    for name in ("c.npz", "readme.npz", "huge.npy"):
        assert name in cli.error("evaluate", name, "--plugin", TOY, "--task", "toy")
