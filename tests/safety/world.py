"""A world of good files, of which a copy is made for each case: runs, a comparison, a study, a store, tables, caches.

here/       the folder in which commands run
outside/    what no command may read by way of a link, or write
store/ trusted cache/   what the environment names
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

TOY = Path(__file__).parents[1] / "cli" / "toy.py"
SMALL = ("--plugin", "toy.py", "--device", "cpu")
RUN = ("run", *SMALL, "--task", "toy", "--guider", "autoguidance", "--set", "threads=1", "--duration", "8it")
COMPARE = (
    "compare", *SMALL, "--task", "toy", "--selector", "none", "--guider", "none", "--guider", "autoguidance",
    "--seeds", "0,1", "--duration", "8it",
)  # fmt: skip
STUDY = ("study", "toy-widths", *SMALL)
OWN = {"stdout", "stderr", "measured"}


class World:
    """The template, and a copy of it at the place where it was made."""

    def __init__(self, root: Path) -> None:
        self.root, self.template = root / "world", root / "template"
        self.here, self.outside = self.root / "here", self.root / "outside"
        self.entry = self.new = ""

    def warm(self) -> tuple[Path, list[tuple[str, ...]], Path]:
        """The folder, the commands and the surroundings of `Children`: warming up makes the good files."""
        for folder in (self.here, self.outside, self.root / "cache"):
            folder.mkdir(parents=True)
        shutil.copy(TOY, self.here / "toy.py")
        commands: list[tuple[str, ...]] = [
            (*RUN, "--out", "run"),
            (*COMPARE, "--out", "compared"),
            (*STUDY, "--out", "study"),
            (*RUN, "--seed", "5", "--out", "fresh"),
            ("sample", "run", "--guider", "none", "--samples", "8", "--out", "sampled"),
            ("evaluate", "run/samples.npz", *SMALL[:2], "--task", "toy"),
            ("check", "run/denoisers/main.safetensors", *SMALL, "--task", "toy"),
            ("explain", "autoguidance"),
            ("cite", "run"),
            ("watch", "run", "--once"),
            ("store", "verify"),
        ]
        return self.here, commands, self.root

    def made(self) -> None:
        """Add what no command makes, and keep all as the template."""
        self.entry, self.new = (
            json.loads((self.here / run / "denoisers" / "main.json").read_text())["identity"]
            for run in ("run", "fresh")
        )
        for folder in (self.here / "fresh", self.here / "sampled", self.root / "store" / self.new):
            shutil.rmtree(folder)
        self._more()
        self.root.replace(self.template)

    def _more(self) -> None:
        here = self.here
        shutil.copytree(here / "run", here / "unfinished")
        for name in ("metrics.json", "words.json", "sweep.npz", "samples.npz", "report.html", "checksums.sha256"):
            (here / "unfinished" / name).unlink()
        record = json.loads((here / "unfinished" / "run.json").read_text())
        (here / "unfinished" / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
        values = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
        np.savetxt(here / "t.csv", values, delimiter=",", header="a,b", comments="")
        np.savetxt(here / "t.tsv", values, delimiter="\t", header="a\tb", comments="")
        np.save(here / "t.npy", values)
        columns = {"a": values[:, 0], "b": values[:, 1]}
        parquet.write_table(pyarrow.table(columns), here / "t.parquet")
        np.save(here / "a.npy", np.eye(2, dtype=np.float32)[:1])
        np.save(here / "y.npy", values[:1, 0])
        np.savez(here / "s.npz", guided=values)
        shutil.copy(here / "run" / "denoisers" / "weak.safetensors", here / "w.safetensors")
        shutil.copy(here / "run" / "denoisers" / "weak.json", here / "w.json")
        (here / "c.toml").write_text('task = "toy"\nplugins = ["toy.py"]\nguider = "none"\nduration = "8it"\n')
        (here / "compare.toml").write_text('task = "toy"\nplugins = ["toy.py"]\nguiders = ["none"]\nseeds = [0, 1]\n')
        (here / "mine.py").write_text("def build(*arguments):\n    raise ValueError('not this time')\n")
        partial = self.root / "store" / f"{self.new}.partial"
        partial.mkdir()
        shutil.copy(here / "w.safetensors", partial / "state.safetensors")

    def fresh(self) -> None:
        """A new copy."""
        if self.root.exists():
            for folder in self.root.rglob("*"):
                if folder.is_dir() and not folder.is_symlink():
                    folder.chmod(0o755)
            shutil.rmtree(self.root)
        shutil.copytree(self.template, self.root, symlinks=True)
