"""The memory of a network and a view of it, beside that of the network alone and of two networks.

    python tests/benchmarks/shared_memory.py [--megabytes 200]

A network of so many megabytes of parameters guides itself by a view: the builder obtains both recipes, and four samples
are drawn, in a process of its own. Shown are the bytes of all parameters, each counted once, and the resident memory
beyond that of the process before its first network, at the end and at its highest. The network alone is sampled
unguided.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from guideplug import Leaf, NoiseDomain, Recipe, SampleStreams, Space, WithoutLayers, wrap
from guideplug.config import Reader
from guideplug.guide import Guider
from guideplug.observe import Observers
from guideplug.recipes.python_ref import ImportedDenoiser
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.sample import Sampler
from guideplug.store import Store

WIDTH = 1024
SPACE = Space((64,), sigma_data=0.5)
SETS = ("alone", "without-layers", "without-lora", "two networks")


class Blocks(nn.Module):
    """Layers of one width, each added to its input."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(64, WIDTH), nn.Linear(WIDTH, 64)
        self.blocks = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(count)])

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = hidden + block(hidden).tanh()
        denoised: Tensor = self.leave(hidden)
        return denoised


def network(megabytes: int, *, lora: bool) -> Leaf:
    count = max(1, megabytes * 2**20 // (4 * WIDTH * (WIDTH + 1)))
    module: nn.Module = Blocks(count)
    if lora:
        from peft import LoraConfig, get_peft_model

        module = get_peft_model(module, LoraConfig(r=4, target_modules=r"blocks\.\d+"))  # type: ignore[arg-type]
    return wrap(module, SPACE.shape, predicts="denoised")


def build(domain: object) -> Leaf:
    """For the recipe of the main network, in the size and kind that the process is asked for."""
    return network(int(os.environ["MEGABYTES"]), lora=os.environ["LORA"] == "yes")


def resident(key: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {key} in /proc/self/status")


def measured(which: str) -> dict[str, float]:
    registry = Registry.installed()
    reader = Reader(registry)
    sampler: Sampler = reader.expression("heun(num_steps=4, sigma_min=0.01, sigma_max=10.0)", Sampler, "")
    guider: Guider = reader.expression("autoguidance(weight=2.0)", Guider, "")
    if os.environ["LORA"] == "yes":
        import peft  # noqa: F401 - its own memory is not the network's
    main: Recipe = ImportedDenoiser(f"{Path(__file__)}:build", NoiseDomain(SPACE))
    weak: Recipe = main
    if which == "without-layers":
        weak = WithoutLayers(of=main, layers=("blocks.2",))
    elif which == "without-lora":
        weak = registry.find("recipe", which)(of=main)
    with tempfile.TemporaryDirectory() as place:
        builder = StoreBuilder(Store(Path(place)), torch.device("cpu"), Observers([]))
        before, streams = resident("VmRSS"), SampleStreams(0, range(4))
        own = builder.obtain(main)
        other = main.build() if which == "two networks" else builder.obtain(weak)
        assert isinstance(own, Leaf)
        assert isinstance(other, Leaf)
        point = own if which == "alone" else guider.guide(own, {"weak": other})
        start = own.start(streams, sampler.sigmas(point)[0])
        sampler.sample(point, start.x, start.condition, streams)
        parameters = {id(one): one.numel() * one.element_size() for one in (*own.parameters(), *other.parameters())}
        return {
            "parameters": sum(parameters.values()),
            "now": resident("VmRSS") - before,
            "highest": resident("VmHWM") - before,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--one", choices=SETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    rows = {}
    for lora, sets in (("no", ("alone", "without-layers", "two networks")), ("yes", ("alone", "without-lora"))):
        for which in sets:
            command = [sys.executable, __file__, "--one", which]
            environment = os.environ | {"MEGABYTES": str(options.megabytes), "LORA": lora}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            rows[which, lora] = json.loads(done.stdout.splitlines()[-1])
    print(f"{'':28}{'parameters':>14}{'at the end':>14}{'highest':>14}   MiB, and in units of the network alone")
    for (which, lora), row in rows.items():
        alone = rows["alone", lora]
        name = f"{which}{', with LoRA' if lora == 'yes' else ''}"
        cells = [f"{row[key] / 2**20:8.1f} {row[key] / alone[key]:5.2f}" for key in ("parameters", "now", "highest")]
        print(f"{name:28}{''.join(cells)}")


if __name__ == "__main__":
    main()
