"""Ten wrong ways to wrap each of several networks whose parametrisation is known, and what `check_denoiser` says.

    python tests/benchmarks/check_networks.py [NAME ...] [--outside FOLDER]

Networks of ours are trained here, seeded and kept in the store (ten minutes in all, on one core). What they predict is
made known by a wrapper around the trained denoiser. FOLDER holds networks that are not ours: ``unet-epsilon.pth`` and
``unet-v.pth``, small U-Nets of diffusers trained on the digits, and ``mnist-vit.pth``, a transformer that somebody else
trained on MNIST, beside its images and labels (``t10k-*``). Those that are not there are left out.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from attrs import evolve
from torch import Tensor, nn

from guideplug import (
    CosineSchedule,
    DiscreteSchedule,
    FlowSchedule,
    Leaf,
    Network,
    NoiseSchedule,
    Registry,
    Task,
    TrainingStreams,
    VPSchedule,
)  # fmt: skip
from guideplug.config import Duration, Reader
from guideplug.observe import Observers
from guideplug.recipes import Train
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "check"))

from known import Known, Predicting, wrong_ways

TABLE = DiscreteSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))


def trained(task: str, iterations: int, denoiser: str | None = None) -> tuple[Leaf, Tensor, Tensor | None]:
    """A network of ours, and 1,000 examples of its task at most."""
    reader = Reader(Registry.installed())
    data: Any = reader.expression(task, Task)
    recipe = data.recipe("main", None)
    assert isinstance(recipe, Train)
    recipe = recipe.with_duration(Duration(float(iterations), "it"))
    if denoiser is not None:
        recipe = evolve(recipe, denoiser=reader.expression(denoiser, Network))
    leaf: Any = StoreBuilder(Store.default(), torch.device("cpu"), Observers([])).obtain(recipe)
    examples = data.draw(torch.full((1000,), 1e-6), TrainingStreams(0, 0))
    return leaf, examples.x, examples.condition


def ours(predicts: str, schedule: NoiseSchedule, *training: Any) -> Known:
    """A network of ours in a parametrisation."""
    leaf, examples, labels = trained(*training)
    null = leaf.null_condition(1, torch.device("cpu")) if leaf.has_null and labels is not None else None
    return Known(Predicting(leaf, predicts, schedule).eval(), predicts, schedule, examples, labels, null)


def points() -> Known:
    """A network of points in five dimensions, of three classes."""
    generator = np.random.default_rng(0)
    classes = generator.integers(3, size=1500)
    mixing = generator.normal(size=(3, 5, 2))
    rows = 3 * generator.normal(size=(3, 5))[classes] + np.einsum(
        "nij,nj->ni", mixing[classes], generator.normal(size=(1500, 2))
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "points.csv"
        lines = [
            ",".join(f"{value:.6f}" for value in row) + f",{'abc'[kind]}"
            for row, kind in zip(rows, classes, strict=True)
        ]
        path.write_text("\n".join(["a,b,c,d,e,class", *lines]) + "\n")
        return ours("epsilon", TABLE, f'points("{path}", label=class)', 800)


def unet(folder: Path, predicts: str) -> Known:
    """A small U-Net of diffusers, trained on the digits."""
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=4, down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
        num_class_embeds=11,
    )  # fmt: skip
    network.load_state_dict(torch.load(folder / f"unet-{predicts}.pth", weights_only=True))
    data: Any = Reader(Registry.installed()).expression("digits", Task)
    images, labels = data.items(torch.arange(data.size()))
    return Known(network.eval(), predicts, TABLE, images, labels, 10)


class Patches(nn.Module):
    """A transformer on 16 patches of 7 x 7, two tokens of the time and two of the label behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 64))
        self.patch_embed = nn.Conv2d(1, 64, 7, 7)
        layer = {"d_model": 64, "nhead": 4, "dim_feedforward": 256, "batch_first": True, "activation": "gelu"}
        self.transformer = nn.Sequential(*(nn.TransformerEncoderLayer(**layer) for _ in range(4)))  # type: ignore[arg-type]
        self.unpatch = nn.ConvTranspose2d(64, 1, 7, 7)
        self.y_encoder = nn.Embedding(11, 128)

    def forward(self, x_t: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """The clean images (B, 1, 28, 28) in x_t, at time 1 for clean ones; label -1 for none."""
        frequencies = 10_000.0 ** -(torch.arange(64) / 63)
        angles = time.reshape(-1, 1) * frequencies
        moment = torch.cat([angles.sin(), angles.cos()], 1).view(-1, 2, 64)
        label = self.y_encoder(torch.where(labels == -1, 10, labels)).view(-1, 2, 64)
        tokens = self.patch_embed(x_t).flatten(2).transpose(1, 2) + self.pos_embed
        tokens = self.transformer(torch.cat([tokens, moment, label], 1))[:, :16]
        clean: Tensor = self.unpatch(tokens.transpose(1, 2).reshape(-1, 64, 4, 4))
        return clean


def mnist(folder: Path) -> Known:
    """What somebody else trained on MNIST: it predicts clean images from x_t = t y + (1 - t) n."""
    network = Patches()
    network.load_state_dict(torch.load(folder / "mnist-vit.pth", weights_only=True))
    pixels = np.frombuffer((folder / "t10k-images-idx3-ubyte").read_bytes(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    labels = np.frombuffer((folder / "t10k-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    images = torch.from_numpy(pixels[:1000].copy()).float() / 255
    return Known(
        network.eval(),
        "denoised",
        FlowSchedule(data_at=1),
        images,
        torch.from_numpy(labels[:1000].copy()).long(),
        -1,
        0.31,
    )


def networks(outside: Path | None) -> dict[str, Callable[[], Known]]:
    """The networks, by name."""
    makers: dict[str, Callable[[], Known]] = {
        "mixture-mlp": lambda: ours("v", VPSchedule(), "mixture", 1000),
        "tree-mlp": lambda: ours("flow", FlowSchedule(time_scale=1000), "tree(classes=both, labels=true)", 600),
        "points-mlp": points,
        "digits-transformer": lambda: ours("epsilon", CosineSchedule(), "digits", 1000),
        "digits-convolutional": lambda: ours("v", TABLE, "digits", 600, "digits-convolutional"),
    }
    if outside is not None:
        for predicts in ("epsilon", "v"):
            if (outside / f"unet-{predicts}.pth").is_file():
                makers[f"unet-{predicts}"] = lambda predicts=predicts: unet(outside, predicts)
        if (outside / "mnist-vit.pth").is_file():
            makers["mnist-vit"] = lambda: mnist(outside)
    return makers


def main() -> None:
    """Print a table for each network."""
    torch.set_num_threads(1)
    arguments = sys.argv[1:]
    outside = Path(arguments.pop(arguments.index("--outside") + 1)) if "--outside" in arguments else None
    names = [name for name in arguments if name != "--outside"]
    for name, make in networks(outside).items():
        if names and name not in names:
            continue
        begin, known = time.perf_counter(), make()
        print(f"\n{name}: {known.predicts}, {known.schedule}; {time.perf_counter() - begin:.0f} s", flush=True)
        for way, cure, measure in wrong_ways(known):
            begin = time.perf_counter()
            check = measure()
            named = not cure or cure in check.code
            best = check.alternatives[0]
            print(
                f"| {name} | {way} | {check.ratio:.3g} | {check.verdict} | {'yes' if named else 'no'} | "
                f"{check.diagnosis} {check.code} | {best.what} {best.ratio:.3g} | {'; '.join(check.notes)} | "
                f"{time.perf_counter() - begin:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
