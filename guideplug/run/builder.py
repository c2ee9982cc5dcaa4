"""Where recipes are followed: networks are found in the store, or made and kept there.

A training writes its state beside its future entry from time to time and when it is stopped, so that it goes on where
it was; who else wants the same network waits for it. The state names the snapshots that were written before it, with
their checksums. Where one of them is damaged or gone the training begins anew, and writes them all again.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import torch
from torch import Tensor, nn

from guideplug.config import Duration
from guideplug.denoise import Denoiser, Leaf, Weight
from guideplug.errors import CheckpointError, DivergenceError, RecipeError, StoreError
from guideplug.files.tensors import file_digest, fill_module, read_tensors, tensors_digest, write_tensors
from guideplug.observe import Observers
from guideplug.recipe import Recipe, nested_recipes
from guideplug.recipes import DataModule, FineTune, ReferenceLosses, Snapshot, Synthetic, Train, stored_averages
from guideplug.rng import SampleStreams
from guideplug.run.interrupt import defer_signals
from guideplug.store import Entry, Store, describe, identity
from guideplug.train import CHECK_EVERY, Training
from guideplug.train.ema import combined
from guideplug.train.examples import LossTable, with_dropped_conditions

__all__ = ["Made", "StoreWorkshop"]

STATE = "state.safetensors"
SECONDS_BETWEEN_STATES = 20.0


@attrs.define
class _Open:
    """A module that is being made: its recipe, its place, and what lasts until it is in the store."""

    recipe: Recipe
    key: str
    place: Path
    until_stored: ExitStack
    snapshots: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Made:
    """A module that a recipe gave, and how."""

    module: nn.Module
    recipe: Recipe
    identity: str
    found: bool
    facts: Mapping[str, Any]


class StoreWorkshop:
    """Follows recipes, with a store.

    Args:
        store: where networks are kept.
        device: where modules are put.
        observers: told of every event.
        fresh: make every network anew, once, though the store has it.
        stop: called after every step; what it raises ends the work between two steps, with its state saved.
    """

    def __init__(
        self,
        store: Store,
        device: torch.device,
        observers: Observers,
        *,
        fresh: bool = False,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._device, self._observers = store, device, observers
        self._fresh, self._stop = fresh, stop
        self._made: dict[str, Made] = {}
        self._reached: list[tuple[Recipe, Recipe]] = []
        self._open: list[_Open] = []
        self._snapshots: list[Snapshot] = []
        self._roles: dict[str, str] = {}
        self._begun: dict[str, float] = {}

    def expect(self, recipes: Mapping[str, Recipe], snapshots: Iterable[Snapshot] = ()) -> None:
        """Say beforehand what will be wanted: names for messages, and snapshots to keep while training."""
        for role, recipe in recipes.items():
            self._roles.setdefault(identity(recipe), role)
            self._expect_snapshots(recipe)
        self._snapshots += snapshots

    def _expect_snapshots(self, recipe: Recipe) -> None:
        if isinstance(recipe, Snapshot) and recipe not in self._snapshots:
            self._snapshots.append(recipe)
        for inner in nested_recipes(recipe):
            self._expect_snapshots(inner)

    def obtain(self, recipe: Recipe) -> nn.Module:
        """The module of a recipe; see `guideplug.recipe.Workshop`."""
        return self.made(recipe).module

    def made(self, recipe: Recipe) -> Made:
        """The module of a recipe, and whether it was found."""
        asked, recipe = recipe, self._settled(recipe)
        key = identity(recipe)
        if recipe != asked and identity(asked) in self._roles:
            self._roles.setdefault(key, self._roles[identity(asked)])
        if recipe.title:
            self._roles.setdefault(key, recipe.title)
        if key not in self._made:
            made = self._stored(recipe, key) if recipe.stored else self._unstored(recipe, key)
            made.module.eval()
            for parameter in made.module.parameters():
                parameter.requires_grad_(False)
            if isinstance(made.module, Leaf):
                made.module.role = self._role(key)
            self._made[key] = self._made[made.identity] = made
        return self._made[key]

    def _role(self, key: str) -> str:
        return self._roles.get(key, f"helper {key[:6]}")

    def _settled(self, recipe: Recipe) -> Recipe:
        """The recipe with trainings that had a time limit replaced by what they reached."""
        for asked, reached in self._reached:
            if recipe == asked:
                return reached
        changes: dict[str, Any] = {}
        for attribute in attrs.fields(cast(Any, type(recipe))):
            value = getattr(recipe, attribute.name)
            if isinstance(value, Recipe):
                changes[attribute.name] = self._timed(value)
            elif isinstance(value, Mapping) and any(isinstance(item, Recipe) for item in value.values()):
                changes[attribute.name] = {name: self._timed(item) for name, item in value.items()}
        settled: Recipe = attrs.evolve(cast(Any, recipe), **changes) if changes else recipe
        return settled

    def _timed(self, recipe: Recipe) -> Recipe:
        if isinstance(recipe, Train | FineTune) and recipe.options.duration.unit == "s":
            return self.made(recipe).recipe
        return self._settled(recipe)

    def _unstored(self, recipe: Recipe, key: str) -> Made:
        module = recipe.build()
        facts = recipe.make(module, self)
        self._observers("found", role=self._role(key), recipe=recipe.name, **facts)
        return Made(module.to(self._device), recipe, key, True, facts)

    def _stored(self, recipe: Recipe, key: str) -> Made:
        with self._held(key):
            entry = None if self._fresh else self._store.find(key)
            if entry is not None:
                module = recipe.build()
                fill_module(module, entry.tensors(), str(entry.folder))
                self._observers("found", role=self._role(key), folder=str(entry.folder), **entry.facts)
                return Made(module.to(self._device), recipe, key, True, entry.facts)
            if self._fresh:
                self._store.remove(key)
            module = recipe.build().to(self._device)
            with ExitStack() as until_stored:
                self._open.append(_Open(recipe, key, self._store.workplace(key), until_stored))
                try:
                    facts = recipe.make(module, self)
                finally:
                    self._open.pop()
                reached = recipe
                if isinstance(recipe, Train | FineTune) and recipe.options.duration.unit == "s":
                    reached = recipe.lasting(Duration(facts["iterations"], "it"))
                    self._reached.append((recipe, reached))
                entry = self._store.finish(key, identity(reached), module.state_dict(), describe(reached), facts)
            self._stop()
            return Made(module, reached, entry.identity, False, facts)

    @contextmanager
    def _held(self, key: str) -> Iterator[None]:
        """Hold an entry of the store, and tell if somebody else does."""
        said = False

        def waiting() -> None:
            nonlocal said
            if not said:
                self._observers("wait", role=self._role(key))
            said = True
            self._stop()

        with self._store.locked(key, waiting):
            self._store.tidy(key)
            yield

    # What recipes ask for

    def train(self, recipe: Train | FineTune, module: nn.Module) -> Mapping[str, Any]:
        """Train a module in place, going on from the state that an earlier try left."""
        now_open = self._open[-1]
        place = now_open.place
        training = self._training(recipe, module, now_open.key)
        self._load_state(training, now_open)
        role, until = training.role, recipe.options.duration
        self._observers(
            "train",
            role=role,
            step=training.step,
            reached=training.reached(until.unit),
            total=until.amount,
            unit=until.unit,
            seconds=round(training.counters.total_seconds, 3),
        )
        saved = time.monotonic()
        moments: dict[float, list[Snapshot]] = {}
        for snapshot in self._wanted(recipe):
            if snapshot.at is not None:
                moments.setdefault(snapshot.at.amount, []).append(snapshot)

        def each(now: Training) -> None:
            nonlocal saved
            if now.step in moments:
                now.check_finite()
            for snapshot in moments.get(now.step, []):
                write_tensors(place / _file(snapshot), now.weights(snapshot.ema))
                now_open.snapshots[_file(snapshot)] = file_digest(place / _file(snapshot))
            if now.done():
                now.check_finite()
            if now.done() or now.step % CHECK_EVERY == 0:
                self._report(now)  # before the state, which says that it was told
            try:
                self._stop()
            except BaseException:
                self._save_state(now, now_open)
                raise
            if time.monotonic() - saved > SECONDS_BETWEEN_STATES:
                self._save_state(now, now_open)
                saved = time.monotonic()

        now_open.until_stored.enter_context(defer_signals())  # a signal waits until what was trained is saved
        try:
            training.run(each=each)
        except DivergenceError as error:
            raise DivergenceError(f"{error}; {self._last_good(training, now_open)}") from None
        for length in recipe.options.ema:
            write_tensors(place / _file(Snapshot(of=recipe, ema=length)), training.weights(length))
        module.load_state_dict(training.weights())
        counters = training.counters
        self._observers("trained", role=role, step=training.step, seconds=round(counters.total_seconds, 3))
        return {
            "iterations": training.step,
            "seconds": counters.total_seconds,
            "phases": dict(counters.seconds),
            "seen": counters.seen,
            "scored": counters.scored,
            "evaluations": counters.evaluations,
            "backpropagated": counters.backpropagated,
            "switched_off_at": counters.switched_off_at,
            "effective_sample_size": counters.mean_effective_sample_size,
            "composition": training.composition,
            "last_loss": training.last_loss,
            "history": [attrs.asdict(moment) for moment in (*training.history, counters.moment(training.step))],
        }

    def _training(self, recipe: Train | FineTune, module: nn.Module, key: str) -> Training:
        if not isinstance(module, Leaf):
            raise RecipeError(f"{recipe.name} trains denoisers, not {type(module).__name__}")
        if not any(True for _ in module.parameters()):
            raise RecipeError(
                f"{recipe.name}: {type(module).__name__} has no parameters that could be trained: wrap a module, not a "
                "function that hides one"
            )
        models = recipe.models if isinstance(recipe, Train) else {}
        references = {role: _leaf(self.obtain(inner)) for role, inner in models.items()}
        tables: dict[str, Tensor] = {}
        for role, table in (recipe.tables if isinstance(recipe, Train) else {}).items():
            losses = self.obtain(table)
            assert isinstance(losses, LossTable)
            tables[role] = losses.losses.cpu()
        data: Any = recipe.on
        if data is None and isinstance(recipe, Train):
            data = recipe.task
        if isinstance(data, Recipe):
            data = self.obtain(data)
            assert isinstance(data, DataModule)
        selector = recipe.selector if isinstance(recipe, Train) else None
        return Training(
            module,
            data,
            recipe.options,
            seed=recipe.seed,
            selector=selector,
            references=references,
            tables=tables,
            role=self._role(key),
        )

    def _report(self, training: Training) -> None:
        counters, until = training.counters, training.options.duration
        self._observers(
            "step",
            role=training.role,
            step=training.step,
            reached=training.reached(until.unit),
            total=until.amount,
            unit=until.unit,
            loss=training.last_loss,
            lr=training.learning_rate,
            kept=counters.backpropagated / max(counters.seen, 1),
            effective_sample_size=counters.mean_effective_sample_size,
            switched_off_at=counters.switched_off_at,
            seen=counters.seen,
            backpropagated=counters.backpropagated,
            seconds=round(counters.total_seconds, 3),
            phases={name: round(seconds, 4) for name, seconds in counters.seconds.items()},
        )

    def _save_state(self, training: Training, at: _Open) -> None:
        begin = time.perf_counter()
        training.check_finite()
        tensors, data = training.state()
        text = json.dumps({**data, "snapshots": at.snapshots, "last_loss": training.last_loss})
        write_tensors(at.place / STATE, tensors, {"training": text, "sha256": tensors_digest(tensors, text)})
        seconds = round(time.perf_counter() - begin, 4)
        self._observers("checkpoint", role=training.role, step=training.step, seconds=seconds)

    def _last_good(self, training: Training, at: _Open) -> str:
        """Where a training that diverged was last known to be well, and how to begin there."""
        if not (at.place / STATE).is_file():
            return "no earlier state of it was kept"
        self._load_state(training, at)
        path = at.place / f"good-{training.step}it.safetensors"
        write_tensors(path, training.learner.state_dict())
        start = f'train(start=load(path="{path}"))'
        how = f"as the recipe {start}" if " " in training.role else f"with --model '{training.role}={start}'"
        return f"its last good weights are those after step {training.step}: begin a new run from them {how}"

    def _load_state(self, training: Training, at: _Open) -> None:
        path = at.place / STATE
        try:
            if path.is_file():
                tensors, metadata = read_tensors(path)
                if metadata["sha256"] != tensors_digest(tensors, metadata["training"]):
                    raise ValueError("it has changed since it was written")
                data = json.loads(metadata["training"])
                snapshots, last_loss = data.pop("snapshots"), data.pop("last_loss")
                if all(_is_whole(at.place / name, digest) for name, digest in snapshots.items()):
                    training.load_state(tensors, data)
                    at.snapshots, training.last_loss = snapshots, last_loss
        except (CheckpointError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise StoreError(
                f"the state {path} of an unfinished training cannot be read ({error}): "
                "remove it with guideplug store prune --partial, or train anew with --fresh"
            ) from None
        for snapshot in at.place.glob("snapshot-*.safetensors"):  # of later steps, or all of them
            if snapshot.name not in at.snapshots:
                snapshot.unlink()

    def _wanted(self, recipe: Train | FineTune) -> list[Snapshot]:
        """What to keep while it is trained: what expected snapshots are made of, and the averages along the way."""
        expected = [part for one in self._snapshots if one.of == recipe for part, _ in one.parts]
        return list({_file(one): one for one in (*expected, *stored_averages(recipe))}.values())

    def snapshot(self, recipe: Snapshot) -> Mapping[str, Tensor]:
        """The weights of a training at a moment: kept, or made by training up to it once more.

        Of a length that the training does not keep: combined of the averages that it stored along the way.
        """
        entry = self._entry_of(recipe)
        if any(_file(part) not in entry.files for part, _ in recipe.parts):
            self._again(recipe)
            entry = self._entry_of(recipe)
        if recipe.kept:
            return entry.tensors(_file(recipe))
        averaged = [name for name, _ in recipe.build().named_parameters(remove_duplicate=False)]
        return combined(((entry.tensors(_file(part)), share) for part, share in recipe.parts), averaged)

    def keep(self, recipe: Train | FineTune) -> None:
        """See to it that the snapshots expected of a training are in its folder, if need be by training once more."""
        made = self.made(recipe)
        entry = self._store.find(made.identity)
        wanted = self._wanted(recipe)
        if entry is not None and any(_file(one) not in entry.files for one in wanted):
            self._again(wanted[-1])

    def _entry_of(self, recipe: Snapshot) -> Entry:
        entry = self._store.find(self.made(recipe.of).identity)
        if entry is None:
            raise StoreError(f"the store lost {recipe.of.name!r} while a snapshot of it was wanted: run again")
        return entry

    def _again(self, recipe: Snapshot) -> None:
        """Repeat the training, whose draws depend on the step alone, and keep every snapshot wanted that is missing."""
        files = self._entry_of(recipe).files
        parts = [part for part, _ in recipe.parts]
        missing = {_file(one): one for one in (*self._wanted(recipe.training), *parts) if _file(one) not in files}
        training = self.training(recipe.training)

        def keep(now: Training) -> None:
            for name, one in missing.items():
                if now.step == (recipe.training.options.steps if one.at is None else one.at.amount):
                    self._store.add(self._entry_of(recipe), name, now.weights(one.ema))
            self._stop()

        ends = [one.at for one in missing.values() if one.at is not None]
        last = max(ends, key=lambda end: end.amount) if len(ends) == len(missing) else None
        training.run(until=last, each=keep)

    def training(self, recipe: Train | FineTune) -> Training:
        """A training of a recipe at its beginning, with the networks that it selects with; nothing of it is kept."""
        module = recipe.build().to(self._device)
        recipe.initialize(module, self)
        return self._training(recipe, module, identity(recipe))

    def score(self, recipe: ReferenceLosses) -> tuple[Tensor, float]:
        """The losses of a recipe's denoiser on every noisy example, in batches of 4096; and the seconds it took."""
        denoiser, draws, begin = _leaf(self.obtain(recipe.of)), recipe.draws, time.perf_counter()
        found = []
        for first in range(0, draws.items * draws.count, 4096):
            numbers = torch.arange(first, min(first + 4096, draws.items * draws.count))
            drawn = draws.numbered(numbers // draws.count, numbers % draws.count, self._device)
            examples = with_dropped_conditions(drawn, denoiser)
            with torch.no_grad():
                losses = recipe.loss.of(denoiser, examples, drawn.sigma, denoiser.space.sigma_data)
            found.append(losses.float().cpu())
            self._stop()
        table = torch.cat(found).reshape(draws.items, draws.count)
        if not bool(torch.isfinite(table).all()):
            raise DivergenceError(f"the losses of {denoiser.role!r} that are selected by are not all finite")
        return table, time.perf_counter() - begin

    def progress(self, recipe: Recipe, step: int, total: int, loss: float | None = None) -> None:
        """Tell observers how far the module that is being made has come, and stop if that is asked for."""
        self._stop()
        key = self._open[-1].key if self._open else identity(recipe)
        role, now = self._role(key), time.monotonic()
        if step == 0:
            self._begun[key] = now
            self._observers("train", role=role, step=0, reached=0, total=total, unit="it", seconds=0.0)
        seconds = round(now - self._begun[key], 3)
        if loss is not None:
            self._observers(
                "step", role=role, step=step, reached=step, total=total, unit="it", loss=loss, lr=None, kept=1.0,
                effective_sample_size=None, switched_off_at=None, seen=None, backpropagated=None, seconds=seconds,
                phases={},
            )  # fmt: skip
        if step == total:
            self._observers("trained", role=role, step=step, seconds=seconds)

    def synthesize(self, recipe: Synthetic) -> Tensor:
        """Samples of a recipe's denoiser, guided where it says so, drawn in batches of 4096."""
        models: dict[str, Any] = {}
        for role, inner in recipe.models.items():
            module = self.obtain(inner)
            models[role] = module if isinstance(module, Weight) else _leaf(module)
        denoiser: Denoiser = recipe.denoiser(_leaf(self.obtain(recipe.of)), models)
        parts = []
        sigma = recipe.sampler.sigmas(denoiser)[0]
        for begin in range(0, recipe.count, 4096):
            streams = SampleStreams(recipe.stream_seed, range(begin, min(begin + 4096, recipe.count)), self._device)
            start = recipe.task.start(streams, sigma)
            parts.append(recipe.sampler.sample(denoiser, start.x, start.condition, streams))
            self._stop()
        return torch.cat(parts)


def _leaf(module: nn.Module) -> Leaf:
    if not isinstance(module, Leaf):
        raise RecipeError(f"a {type(module).__name__} is no denoiser: give a recipe of a denoiser for this role")
    return module


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest


def _file(snapshot: Snapshot) -> str:
    ema = snapshot.training.options.ema[0] if snapshot.ema is None else snapshot.ema
    moment = "end" if snapshot.at is None else f"{int(snapshot.at.amount)}it"
    return f"snapshot-{moment}-ema{ema:g}.safetensors"
