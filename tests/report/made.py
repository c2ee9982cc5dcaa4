"""Folders of runs, comparisons and studies with made-up numbers, of the size and shape of real ones."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

METRICS = [
    {"name": "precision", "better": "higher", "aspect": "fidelity", "formula": "share of samples near true ones"},
    {"name": "recall", "better": "higher", "aspect": "coverage"},
    {"name": "distance", "better": "lower", "aspect": "both"},
    {"name": "nearest", "better": "truth", "aspect": "memorisation"},
]


def picture(width: int = 60, height: int = 20, seed: int | None = None) -> bytes:
    """A PNG: one colour, or noise that does not compress."""
    pixels = np.full((height, 1 + 3 * width), 200, np.uint8)
    if seed is not None:
        pixels[:, 1:] = np.random.default_rng(seed).integers(0, 256, (height, 3 * width))
    pixels[:, 0] = 0

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def sweep(shape: tuple[int, ...] = (2,), count: int = 64, weights: int = 5, seed: int = 0) -> dict[str, Any]:
    """Samples that shrink and shift as the weight grows, from the same noise."""
    draw = np.random.default_rng(seed)
    noise = draw.standard_normal((count, *shape)).astype(np.float32)
    values = np.linspace(1, 3, weights)
    return {
        "option": np.array("weight"),
        "weights": values,
        "own": np.array(values[weights // 2]),
        "failed": np.array([]),
        "samples": np.stack([noise / weight + 0.3 * weight for weight in values]).astype(np.float32),
        "truth": draw.standard_normal((count, *shape)).astype(np.float32),
    }


DIFFERENCES = {
    "precision": {"difference": 0.3, "low": 0.2, "high": 0.4, "verdict": "better", "primary": True},
    "recall": {"difference": -0.2, "low": -0.3, "high": -0.1, "verdict": "worse", "primary": True},
    "distance": {"difference": 0.0, "low": -0.1, "high": 0.1, "verdict": "not told apart", "primary": False},
}


def run_folder(
    folder: Path, *, name: str = "toy", seed: int = 0, shape: tuple[int, ...] = (2,), **changes: Any
) -> Path:
    """A finished run's folder; ``changes`` replace keys of its record, ``metrics`` and ``words`` of those files."""
    (folder / "figures").mkdir(parents=True)
    draw = np.random.default_rng(seed)
    arms = {
        arm: {metric["name"]: float(level + 0.02 * draw.standard_normal()) for metric in METRICS}
        for arm, level in (("truth", 0.95), ("unguided", 0.6), ("guided", 0.8))
    }
    record = {
        "command": "guideplug run --task toy", "started": 1.7e9 + seed, "versions": {"guideplug": "0.1.0"},
        "platform": "Linux", "device": "cpu", "threads": 1, "seeds": {"main": seed, "samples": 0}, "git": "c0ffee",
        "plugins": [{"name": "toy", "from": "guideplug-toy 0.1.0", "sha256": None, "broken": None}],
        "status": "finished", "networks": {"main": "ab" * 32},
    }  # fmt: skip
    metrics = {
        "arms": arms, "differences": DIFFERENCES, "samples": 1024, "found": [],
        "seconds": {"train": 12.5, "sample": 1.25},
        "evaluations": {"guided": {"main": {"calls": 63, "outputs": 64512}, "weak": {"calls": 63, "outputs": 64512}}},
        "selection": {"iterations": 512},
    }  # fmt: skip
    words = {
        "task": name, "guider": "autoguidance(weight=2)", "selector": "jest", "seed": seed, "metrics": METRICS,
        "guidance": "Guidance raised fidelity. One seed: another may say otherwise.",
        "selection": "Selection ran through.", "costs": ["guided: 126"], "notes": [], "no_slider": "No weight.",
        "citations": "@misc{someone2024, title = {Title}}", "next": ["guideplug sample runs/x"],
        "repeat": "guideplug run config.toml",
    }  # fmt: skip
    metrics |= changes.pop("metrics", {})
    words |= changes.pop("words", {})
    (folder / "run.json").write_text(json.dumps({**record, **changes}))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "words.json").write_text(json.dumps(words))
    (folder / "config.toml").write_text(f'task = "{name}"\nseed = {seed}\n')
    lines = [
        {
            "event": "step", "time": 1.0 * step, "role": role, "step": step, "loss": 1 / (1 + step) + 0.01 * seed,
            "lr": 0.01, "kept": 0.5, "effective_sample_size": 0.9 + 0.1 / (1 + step), "seconds": 0.1 * step,
        }
        for role in ("weak", "main")
        for step in range(32, 4097, 32)
    ]  # fmt: skip
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    np.savez(folder / "sweep.npz", **sweep(shape, count=64 if len(shape) == 1 else 16, seed=seed))
    (folder / "figures" / "toy.png").write_bytes(picture())
    return folder


def comparison_folder(folder: Path, guiders: tuple[str, ...] = ("none", "cfg"), metric: str = "precision") -> Path:
    """A comparison's folder: two selectors, three seeds, five moments."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    selectors, seeds, steps = ("none", "jest"), (0, 1, 2), (64, 128, 192, 256, 320)
    trainings = [
        {"selector": one, "seed": seed, "step": step, "seconds": 0.1 * step, "backpropagated": 100 * step}
        for one in selectors for seed in seeds for step in steps
    ]  # fmt: skip
    rows = [
        {
            "guider": guider, "selector": one, "seed": seed, "step": step, "evaluations": 63.0,
            "metrics": {metric: step / 400 + 0.05 * g + 0.02 * draw.standard_normal(), "recall": 0.5 - 0.1 * g},
        }
        for g, guider in enumerate(guiders) for one in selectors for seed in seeds for step in steps
    ]  # fmt: skip
    ends = {
        budget: [
            {"selector": one, "seed": seed, "step": steps[-1], "spent": spent}
            for one, spent in zip(selectors, several, strict=True) for seed in seeds
        ]
        for budget, several in (("time", (32.0, 36.5)), ("examples", (32000, 31000)), ("iterations", (320, 319)))
    }  # fmt: skip
    found = {
        "guiders": guiders, "selectors": selectors, "seeds": seeds, "trainings": trainings, "rows": rows,
        "truth": {metric: 1.0, "recall": 1.0},
        "metrics": {
            metric: {"better": "higher", "aspect": "fidelity", "formula": f"share of {metric}"},
            "recall": {"better": "higher", "aspect": "fidelity"},
        },
        "chosen": ends, "missed": {"time": [{"selector": "jest"}], "examples": [{"selector": "jest"}]},
        "shared_guides": {guiders[-1]: ["weak"]}, "shared_references": {},
        "words": ["At equal time, nothing can be told."],
    }  # fmt: skip
    (folder / "compare.json").write_text(json.dumps(found))
    (folder / "compare.toml").write_text('task = "toy"\n')
    (folder / "budgets.png").write_bytes(picture())
    return folder


def study_folder(folder: Path, name: str = "weights", guiders: tuple[str, ...] = ("cfg", "autoguidance")) -> Path:
    """A study's folder: two guiders at five weights, three seeds."""
    folder.mkdir(parents=True)
    trials = [
        {
            "axes": {"guider": guider, "weight": weight, "seed": seed},
            "metrics": {"precision": 0.5 + 0.1 * g + 0.1 * weight + 0.01 * seed, "recall": None if seed else 0.5},
        }
        for g, guider in enumerate(guiders) for weight in (1.0, 1.5, 2.0, 2.5, 3.0) for seed in (0, 1, 2)
    ]  # fmt: skip
    table = {"columns": ["guider", "best weight", "precision"], "rows": [[one, 3.0, [0.9, 0.91]] for one in guiders]}
    found = {
        "study": f"{name}(seeds=[0, 1, 2])", "better": {"precision": "higher", "recall": "higher"}, "truth": {},
        "trials": trials, "tables": {"best": table}, "words": ["The best weight is 3."], "figures": ["weights.png"],
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(found))
    (folder / "study.toml").write_text('study = "weights"\n')
    (folder / "weights.png").write_bytes(picture())
    return folder
