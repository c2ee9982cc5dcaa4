"""The papers' full runs in docs/examples: each stays valid, tried on stand-ins of its data with tiny networks.

What is replaced is the data, the widths, the lengths and the counts; guiders, selectors, recipes, schedules and
objectives are those of the file.
"""

import functools
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from guideplug import Losses, Registry, Selector
from guideplug.config import Reader
from guideplug.experiments.comparison import prices
from guideplug.experiments.comparison.costs import measure_prices

pytest.importorskip("guideplug_images")
from stand_ins import edm_zip, faces, idx, latents_zip, tiny_imagenet

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
SNAPSHOT = ROOT / "plugins" / "edm-networks" / "tests" / "reference" / "edm2-rgb-uncond.pkl"
"""A snapshot in the released code's format, of 16 x 16 images without classes."""
WIDTHS = ("channels=8", "channel_mult=[1,1]", "blocks=1", "attention=[4]", "channels_per_head=8")


def tiny(role: str) -> list[str]:
    """Options that make an EDM2 network of 8 x 8 or 16 x 16 images small."""
    return [f"{role}.{width}" for width in WIDTHS]


@attrs.frozen
class FullRun:
    """A full run: its stand-in data, and the options that make it small."""

    data: Callable[[Path], Path]
    sets: list[str]
    options: tuple[object, ...] = ()


TRAINING = ["train.duration=2it", "train.accumulate=2", "train.precision=fp32", "threads=1"]
WEAK = ["models.weak.options.duration=1it", *tiny("models.weak.denoiser")]
AUTOGUIDED = [*TRAINING, "train.batch=16", "sampler.num_steps=2", *tiny("denoiser"), *WEAK]
FINE_TUNED = [*TRAINING, "train.batch=16", "sampler.num_steps=2", "models.synthetic.on.count=24", "task.heldout=0.1"]
LEARNED = [*TRAINING, "train.batch=16", "sampler.num_steps=2", *tiny("denoiser")]
LEARNED += ["models.weights.iterations=2", "models.weights.batch=4", "models.weights.width=8"]
BASE = ("--model", f"main={SNAPSHOT}")

RUNS = {
    "edm2-imagenet-64": FullRun(lambda folder: edm_zip(folder, 8, 5), AUTOGUIDED),
    "edm2-imagenet-512": FullRun(lambda folder: latents_zip(folder, 8, 5), AUTOGUIDED),
    "sims-cifar10": FullRun(lambda folder: edm_zip(folder, 16, 10), FINE_TUNED, BASE),
    "sims-ffhq-64": FullRun(lambda folder: edm_zip(folder, 16, None), FINE_TUNED, BASE),
    "learned-imagenet-64": FullRun(lambda folder: edm_zip(folder, 8, 5), LEARNED),
    "learned-celeba-64": FullRun(lambda folder: faces(folder, 12, 4), [*LEARNED, "task.size=8"]),
}
COMPARISONS = {
    "ajest-tiny-imagenet": FullRun(
        lambda folder: tiny_imagenet(folder, 10, 5),
        [*AUTOGUIDED, "task.size=8"],
        ("--seeds", "0"),
    ),
    "selection-images": FullRun(
        lambda folder: idx(folder, 8, 4),
        ["train.duration=2it", "train.batch=16", "sampler.num_steps=2", "threads=1", "denoiser.width=8"],
        ("--seeds", "0"),
    ),
    "guidance-images": FullRun(
        lambda folder: idx(folder, 8, 4),
        [
            "train.duration=2it",
            "train.batch=16",
            "train.precision=fp32",
            "sampler.num_steps=2",
            "threads=1",
            "denoiser.width=8",
            "task.features=none",
            "task.accuracy=false",
        ],
        ("--seeds", "0", "--guider", "cfg(weight=2)", "--guider", "sims(omega=0.5, count=24)"),
    ),
}
ALL = {**RUNS, **COMPARISONS}


def values(name: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLES / f"{name}.toml").read_text(encoding="utf-8"))


def small(selector: str) -> str:
    """A selector of the file, for batches of 16 in place of 128 and 2,048: as many examples, fewer chunks and parts."""
    return selector.replace("num_chunks=8", "num_chunks=1").replace("parts=16", "parts=2")


def command(name: str, folder: Path) -> list[object]:
    """The file's command with what makes it small."""
    full = ALL[name]
    sets = [f"task.path={full.data(folder)}", *full.sets]
    selectors = [small(selector) for selector in values(name).get("selectors", ())]
    return [
        "run" if name in RUNS else "compare", EXAMPLES / f"{name}.toml", "--device", "cpu", "--samples", 4,
        *full.options, *(part for value in sets for part in ("--set", value)),
        *(part for selector in selectors for part in ("--selector", selector)),
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in COMPARISONS if "selectors" in values(name)])
def test_selectors_keep_as_many_of_a_batch_as_the_paper(name: str) -> None:
    """24 of each 128: arXiv:2509.15267, its released code."""
    batch, reader = values(name)["train"]["batch"], Reader(Registry.installed())
    for text in values(name)["selectors"][1:]:
        selector = reader.expression(text, Selector)
        state = selector.init()
        plan = selector.plan(batch, state)
        learner, reference = (torch.rand(plan.count, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
        losses = Losses(plan.count, learner=learner + 1, reference=reference) if plan.learner else Losses(plan.count)
        kept = selector.select(losses, state, torch.Generator().manual_seed(0))[0].indices
        assert len(kept) == batch * 24 // 128
        if "parts=16" in text:
            assert torch.bincount(kept // 128).tolist() == [24] * 16


def test_each_full_run_is_tried_and_described() -> None:
    listed = {
        path.stem for path in EXAMPLES.glob("*.toml") if re.search(r'"images[("]', path.read_text(encoding="utf-8"))
    }
    assert listed == set(ALL)
    page = (ROOT / "docs" / "full-runs.md").read_text(encoding="utf-8")
    assert [name for name in ALL if f"examples/{name}.toml" not in page] == []


@pytest.mark.parametrize("name", ALL)
def test_a_full_run_counts_the_images_that_its_comments_say(name: str) -> None:
    images = {  # steps of the batch: arXiv:2312.02696, table 6; arXiv:2406.02507, table 1; arXiv:2509.15267
        "edm2-imagenet-64": 2**30, "edm2-imagenet-512": 2**31, "learned-imagenet-64": 2**30,
        "learned-celeba-64": 2**27, "ajest-tiny-imagenet": 22000 * 2048, "sims-cifar10": 6000 * 512,
        "sims-ffhq-64": 6000 * 256, "selection-images": 2000 * 128, "guidance-images": 3000 * 64,
    }  # fmt: skip
    train = values(name)["train"]
    assert int(train["duration"].removesuffix("it")) * train["batch"] == images[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_full_run_on_a_stand_in_of_its_data(
    name: str, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "measure_prices", functools.partial(measure_prices, rounds=2, blocks=1))
    given = command(name, tmp_path)
    assert "training takes about" in cli(*given, "--dry-run").stdout
    cli(*given, "--out", "results")
    left = {path.name for path in Path("results").iterdir()}
    assert ("samples.npz" if name in RUNS else "tables.md") in left
