"""An average of another EMA length from a folder of another program's snapshots: post-hoc EMA.

EDM2 writes snapshots of two or more lengths along a training, ``network-snapshot-0021474-0.100.pkl`` after 21,474
thousand images with sigma_rel 0.1. A combination of them is the average of any length (`guideplug.train.ema`). Its
coefficients sum to 1:

    normalise="within"     the least squares are solved among combinations whose sum is 1, as our own snapshots are
    normalise="after"      they are solved freely, then divided by their sum, as the released code does

Source: T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila and S. Laine 2024, "Analyzing and improving the
training dynamics of diffusion models", arXiv:2312.02696, sections 3.2 and C.3.
Cost: no training; each snapshot is read once and dropped, beside a sum in float64.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, final

from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug.config import Duration, Source, non_negative, option
from guideplug.denoise import Domain, Leaf, NoiseDomain
from guideplug.errors import CheckpointError, RecipeError
from guideplug.files.absolute_path import absolute_path
from guideplug.files.checkpoints.pickled_network import PickledNetwork
from guideplug.files.checkpoints.reading import chosen, pickled_networks, read_checkpoint
from guideplug.files.opening import list_folder
from guideplug.files.reading import file_digest
from guideplug.files.tensors import fill_module, fitting
from guideplug.recipe import Builder, Recipe
from guideplug.recipes.snapshot import MAX_PROFILE_ERROR
from guideplug.task import Network, Task, seeded_build
from guideplug.train.ema import combined, post_hoc_weights, power_gamma, profile_error

__all__ = ["PostHoc"]

FILE: Final = re.compile(r"(?P<prefix>.+)-(?P<thousands>\d{7,9})-(?P<length>0\.\d+)\.pkl")
THOUSAND: Final = 1000


@final
@frozen(order=True)
class _Snapshot:
    """One file: after how many examples, with which EMA length."""

    examples: int
    length: float
    path: Path

    @property
    def stamp(self) -> tuple[str, int, int]:
        """What tells a changed file from this one."""
        status = self.path.stat()
        return str(self.path), status.st_size, status.st_mtime_ns


@final
@frozen(kw_only=True)
class PostHoc(Recipe):
    """The average of any EMA length, combined from a folder of EDM2's snapshots.

    Files are named PREFIX-THOUSANDS-LENGTH.pkl, and every moment has every length. Nothing in them is executed.
    """

    name = "post-hoc"
    stored = False
    free = True
    source = Source(
        "T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila, S. Laine",
        2024,
        "Analyzing and Improving the Training Dynamics of Diffusion Models",
        "https://arxiv.org/abs/2312.02696",
        "sections 3.2 and C.3",
    )
    folder: str = option(help="the folder of the snapshots", converter=absolute_path, identity=False)
    ema: float = option(help="the EMA length sigma_rel")
    at: Duration | None = option(None, help="the moment in examples, as 1.5Mex; none for the last snapshot")
    normalise: Literal["within", "after"] = option(
        "within", help="whether coefficients sum to 1 within the least squares, or are divided by their sum after"
    )
    tolerance: float = option(
        MAX_PROFILE_ERROR, help="largest relative error of the profile", validator=non_negative, identity=False
    )
    prefix: str = option("network-snapshot", help="the beginning of the files' names", identity=False)
    task: Task | NoiseDomain = option(help="what the denoiser is for: a task, or in Python a domain without data")
    denoiser: Network | None = option(None, help="the architecture; none for that of the snapshots")

    def __attrs_post_init__(self) -> None:
        power_gamma(self.ema)
        if self.at is not None and self.at.unit != "ex":
            raise ValueError(f"at is {self.at}: give examples, as in 1.5Mex")

    def with_architecture(self, of_file: Callable[..., Any]) -> Self:
        """This recipe with the architecture that the last snapshot names."""
        if self.denoiser is not None:
            return self
        return evolve(self, denoiser=of_file(str(self._snapshots()[-1].path)))

    def build(self) -> Leaf:
        """The network without its weights.

        Raises:
            CheckpointError: the snapshots are of other samples than the task's.
            RecipeError: no architecture is given.
        """
        if self.denoiser is None:
            raise RecipeError(f"{self.name} of {self.folder} has no architecture: give denoiser=...")
        return seeded_build(self.denoiser, self._domain(self.denoiser), 0)

    def _domain(self, denoiser: Network) -> Domain:
        """What the snapshots denoise: a task of another standard deviation keeps their preconditioning."""
        last = self._snapshots()[-1]
        pickled = _network(pickled_networks(last.path))
        try:
            known = None if pickled is None else type(denoiser).of_pickled(pickled)
        except ValueError as error:
            raise CheckpointError(f"checkpoint {last.path}: {error}") from None
        if known is None:
            return self.task
        if known[1].space.shape != self.task.space.shape:
            raise CheckpointError(
                f"the snapshots in {self.folder} are of samples {known[1].space.shape}, and the samples here are "
                f"{self.task.space.shape}: give snapshots of the same data"
            )
        return known[1]

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Combine the snapshots; the facts hold their number and the error of the profile.

        Raises:
            CheckpointError: a snapshot is damaged, or of another network than the others.
        """
        parts, error = self._parts()
        averaged = [name for name, _ in module.named_parameters(remove_duplicate=False)]
        dtype = next(module.parameters()).dtype
        fill_module(module, combined(self._states(parts, module, builder), averaged, dtype), self.folder)
        return {"path": self.folder, "snapshots": len(parts), "profile_error": error}

    def _states(
        self, parts: Sequence[tuple[_Snapshot, float]], module: nn.Module, builder: Builder
    ) -> Iterator[tuple[Mapping[str, Tensor], float]]:
        """The weights of each snapshot, one at a time, with its coefficient."""
        last = self._snapshots()[-1]
        for snapshot, coefficient in parts:
            builder.stop_if_asked()
            yield _weights(snapshot, last, module), coefficient

    def _parts(self) -> tuple[list[tuple[_Snapshot, float]], float]:
        """The snapshots of the combination with their coefficients, and the error of its profile.

        Raises:
            CheckpointError: the error exceeds the tolerance.
        """
        snapshots = self._snapshots()
        stored = [(snapshot.examples, snapshot.length) for snapshot in snapshots]
        moment = snapshots[-1].examples if self.at is None else int(self.at.amount)
        coefficients = post_hoc_weights(stored, moment, self.ema, self.normalise)
        error = profile_error(stored, coefficients, moment, self.ema)
        if error > self.tolerance:
            lengths = ", ".join(f"{length:g}" for length in sorted({length for _, length in stored}))
            raise CheckpointError(
                f"ema is {self.ema:g} at {moment:,} examples: the {len(stored)} snapshots of lengths {lengths} in "
                f"{self.folder} give it with an error of {100 * error:.0f} %, more than {100 * self.tolerance:g} %: "
                "take a length nearer to theirs or a moment of theirs, or accept it with tolerance=..."
            )
        used = [part for part in zip(snapshots, coefficients, strict=True) if part[1] != 0]
        return used, error

    def _snapshots(self) -> list[_Snapshot]:
        """The snapshots until the moment, by moment and length.

        Raises:
            CheckpointError: there are none, or one is missing.
        """
        by_prefix = _listed(self.folder)
        snapshots = by_prefix.get(self.prefix, [])
        if not snapshots:
            others = f"; it has {', '.join(sorted(by_prefix))}: choose with prefix=..." if by_prefix else ""
            raise CheckpointError(
                f"{self.folder} holds no snapshots {self.prefix}-THOUSANDS-LENGTH.pkl, as "
                f"{self.prefix}-0021474-0.100.pkl{others}"
            )
        lengths = sorted({snapshot.length for snapshot in snapshots})
        there = {(snapshot.examples, snapshot.length): snapshot for snapshot in snapshots}
        if len(there) < len(snapshots):
            raise CheckpointError(f"{self.folder} holds two snapshots {self.prefix} of one moment and length: keep one")
        last = snapshots[-1].examples
        moment = last if self.at is None else int(self.at.amount)
        if not snapshots[0].examples <= moment <= last:
            raise CheckpointError(
                f"at is {self.at}: the snapshots {self.prefix} in {self.folder} are from {snapshots[0].examples:,} to "
                f"{last:,} examples"
            )
        for examples in sorted({examples for examples, _ in there if examples <= moment}):
            for length in lengths:
                if (examples, length) not in there:
                    raise CheckpointError(
                        f"{self.folder} has no snapshot {self.prefix}-{examples // THOUSAND:07d}-{length:.3f}.pkl, and "
                        f"the others are of the lengths {', '.join(f'{one:g}' for one in lengths)}: put it there, or "
                        "take the rest of its moment away"
                    )
        return [snapshot for snapshot in snapshots if snapshot.examples <= moment]

    @property
    def loaded_from(self) -> str:
        return self.folder

    def content(self) -> str:
        """The hash of the moments, lengths and bytes of the snapshots that are combined."""
        digest = hashlib.sha256()
        for snapshot, _ in self._parts()[0]:
            digest.update(f"{snapshot.examples} {snapshot.length!r} {_digest(*snapshot.stamp)}\n".encode())
        return digest.hexdigest()

    def check(self) -> None:
        """Look at the names of all snapshots, and compare the last one with the architecture."""
        self._parts()
        last = self._snapshots()[-1]
        _weights(last, last, self.build())


def _listed(folder: str) -> dict[str, list[_Snapshot]]:
    """The snapshots in a folder by the beginnings of their names, sorted."""
    listed: dict[str, list[_Snapshot]] = {}
    try:
        paths = list_folder(Path(folder))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"the folder {folder} of snapshots cannot be read ({reason})") from None
    for path in paths:
        if (named := FILE.fullmatch(path.name)) is not None:
            snapshot = _Snapshot(THOUSAND * int(named["thousands"]), float(named["length"]), path)
            listed.setdefault(named["prefix"], []).append(snapshot)
    return {prefix: sorted(snapshots) for prefix, snapshots in listed.items()}


def _weights(snapshot: _Snapshot, last: _Snapshot, module: nn.Module) -> dict[str, Tensor]:
    """The weights of a snapshot, under the names of the module's.

    Raises:
        CheckpointError: they are of another network than those of the last snapshot, or than the module.
    """
    checkpoint = read_checkpoint(snapshot.path)
    tensors = chosen(checkpoint, None, module)
    prefix, under = fitting(tensors.keys(), module)
    own = module.state_dict()
    same = prefix is not None and all(
        tensor.shape == own[under + name.removeprefix(prefix)].shape for name, tensor in tensors.items()
    )
    if not same or _network(checkpoint.pickled) != _network(pickled_networks(last.path)):
        if snapshot == last:
            fill_module(module, tensors, str(snapshot.path))  # which says what differs
        raise CheckpointError(
            f"{snapshot.path} is of another network than {last.path.name}: the snapshots of one training are combined"
        )
    return {under + name.removeprefix(prefix or ""): tensor for name, tensor in tensors.items()}


def _network(pickled: Mapping[str, PickledNetwork]) -> PickledNetwork | None:
    """The network of a snapshot without its weights; None if the file names none."""
    return evolve(next(iter(pickled.values())), tensors={}) if len(pickled) == 1 else None


@functools.lru_cache(maxsize=256)
def _digest(path: str, size: int, changed: int) -> str:
    return file_digest(Path(path))
