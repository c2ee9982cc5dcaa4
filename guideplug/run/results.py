"""The results of a run's samples: metrics first, then words and pictures.

    metrics.json   words.json   sweep.npz   figures/

``metrics.json`` is there before anything is drawn. What raises is listed in it as a `Failure`; nothing else is lost.
A resumed run that has samples and metrics does again what failed, and what is not there; all else stays as it is.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import attrs
import torch
from numpy.typing import NDArray

from guideplug.denoise import Denoiser, Leaf, as_arrays, from_arrays, tally
from guideplug.errors import DamagedFile, RunError, WriteError
from guideplug.executors.interrupt import StopToken
from guideplug.files.atomic import adding_to, check_unchanged
from guideplug.files.opening import is_there
from guideplug.files.reading import read_arrays
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.arms import evaluations_by_role
from guideplug.run.failure import Failure, Failures, collected, failure_of
from guideplug.run.folder import RunFolder, read_json
from guideplug.run.image_pictures import are_images, draw_nearest, draw_pairs
from guideplug.run.measure import measured, metrics_of
from guideplug.run.outcome import Outcome
from guideplug.run.picture import draw
from guideplug.run.resolve import RunConfig
from guideplug.run.sample_check import suspicious_samples
from guideplug.run.stored_text import keep_words
from guideplug.run.sweep import swept
from guideplug.run.task_answers import truth_of
from guideplug.run.verdict import verdicts
from guideplug.task import Arm, Context, Metric

__all__ = ["Results", "kept_samples", "sample_arrays", "save_samples", "with_failures"]

METRICS = "metrics.json"
SAMPLES = "samples.npz"
SWEEP = "sweep.npz"


def save_samples(folder: RunFolder, drawn: Mapping[str, Arm]) -> None:
    """Write the samples of each arm, the noise that they start from, and their condition."""
    folder.write_arrays(sample_arrays(drawn), SAMPLES)


def sample_arrays(drawn: Mapping[str, Arm]) -> dict[str, NDArray[Any]]:
    """The arrays of a samples file: each arm, ``start`` and the parts of ``condition``."""
    arrays = {name: arm.samples.numpy() for name, arm in drawn.items()}
    first = next(iter(drawn.values()))
    if first.start is not None:
        arrays["start"] = first.start.numpy()
    return arrays | as_arrays(first.condition)


def kept_samples(folder: RunFolder, arms: Mapping[str, Denoiser]) -> tuple[dict[str, Arm], dict[str, Any]] | None:
    """The samples of arms and the metrics that an earlier try of the run left; None where they are not whole."""
    try:
        record = read_json(folder.path / METRICS)
        check_unchanged(folder.path / SAMPLES)
        arrays = read_arrays(folder.path / SAMPLES)
        condition, start = from_arrays(arrays), torch.from_numpy(arrays["start"])
        drawn = {
            name: Arm(name, torch.from_numpy(arrays[name]), condition, start, denoiser)
            for name, denoiser in arms.items()
        }
    except (RunError, DamagedFile, OSError, ValueError, KeyError):
        return None
    return drawn, record


def with_failures(outcome: Outcome, failures: Sequence[Failure]) -> Outcome:
    """The outcome with further failures, such as that of the page, which its folder then lists too."""
    if not failures:
        return outcome
    folder, records = RunFolder(outcome.folder), [failure.record() for failure in (*outcome.failures, *failures)]
    content = {**outcome.metrics, "failures": records}
    with suppress(WriteError), adding_to(folder.path):
        folder.write_json(METRICS, content)
        folder.update_record(status="incomplete")
    return attrs.evolve(outcome, metrics=content)


@attrs.define
class Results:
    """The results of one run.

    Args:
        config: everything resolved.
        registry: for further metrics.
        folder: where results are written.
        observers: receive ``measure``, ``metrics``, ``figure`` and ``warning``.
        stop: raises if a stop was requested.
        models: the networks by role.
        drawn: the samples of each arm.
        record: the content of ``metrics.json``: of an earlier try, or without the keys that are measured here.
    """

    config: RunConfig
    registry: Registry
    folder: RunFolder
    observers: Observers
    stop: StopToken
    models: Mapping[str, Leaf]
    drawn: Mapping[str, Arm]
    record: dict[str, Any]
    _failures: Failures = attrs.field(factory=Failures, init=False)

    def outcome(self) -> Outcome:
        """Measure, write ``metrics.json``, then draw and write the rest."""
        metrics = metrics_of(self.config.task, self.registry)
        failed = [failure_of(failure) for failure in self.record.pop("failures", ())]
        if "arms" not in self.record:
            self._warn(suspicious_samples(self.config, self.drawn, self._truth[0]))
            self.record |= {"arms": {}, "differences": {}}
        for failure in failed:
            if failure.part == "metric":
                self.record["arms"][failure.arm].pop(failure.name, None)
        known = self.record["arms"].values()
        missing = any(metric.name not in values for values in known for metric in metrics)
        if not known or missing or any(failure.part == "interval" for failure in failed):
            self._measure(metrics)
        for name, values in self.record["arms"].items():
            self.observers("metrics", arm=name, values=values)
        self._write()
        self.stop()
        figure = self.folder.figure(self.config.task.name)
        self._draw_figure(figure)
        self.stop()
        animation = self._draw_animation(figure.with_suffix(".gif"))
        self._draw_pictures()
        self._slide()
        outcome = Outcome(self.folder.path, self._write(), metrics, figure, animation)
        with collected(self._failures, "words", "words.json"):
            keep_words(self.config, outcome, self.registry)
        for failure in self._failures.listed:
            self.observers("warning", text=str(failure))
        return attrs.evolve(outcome, metrics=self._write())

    @cached_property
    def _truth(self) -> Sequence[Arm]:
        config = self.config
        like = self.drawn["unguided"]
        return truth_of(config.task, config.samples, config.sampler, config.sample_seed, like=like)

    def _measure(self, metrics: Sequence[Metric]) -> None:
        """Measure what has no value yet, and judge the differences of the arms."""
        config, seconds = self.config, self.record["seconds"]
        begin = time.perf_counter()
        context = Context(config.task, {arm.name: arm for arm in self._truth}, config.sampler, config.sample_seed)
        for arm in (*self._truth, *self.drawn.values()):
            known = self.record["arms"].get(arm.name, {})
            values = {}
            for done, metric in enumerate(metrics):
                if metric.name in known:
                    values[metric.name] = known[metric.name]
                    continue
                self.observers("measure", arm=arm.name, metric=metric.name, done=done, total=len(metrics))
                values |= measured(arm, [metric], context, self.stop, self._failures)
            self.record["arms"][arm.name] = values
        seconds["metrics"] = seconds.get("metrics", 0.0) + time.perf_counter() - begin
        begin = time.perf_counter()
        if "guided" in self.drawn:
            pair = self.drawn["unguided"], self.drawn["guided"]
            judged = verdicts(metrics, config.task.primary(), *pair, self.record["arms"], context, self._failures)
            self.record["differences"] = {verdict.metric: verdict.record() for verdict in judged}
        seconds["intervals"] = seconds.get("intervals", 0.0) + time.perf_counter() - begin

    def _write(self) -> dict[str, Any]:
        """Write ``metrics.json``; its content."""
        first = {key: self.record[key] for key in ("arms", "differences")}
        content = first | self.record | self._failures.records()
        self.folder.write_json(METRICS, content)
        return content

    def _draw_figure(self, path: Path) -> None:
        task = self.config.task
        if not is_there(path):
            arms = [*self._truth[:1], *self.drawn.values()]
            draw(path, "figure", task.name, lambda aside: task.figure(arms, aside), self._failures)
        if is_there(path):
            self.observers("figure", name=task.name, path=str(path))

    def _draw_animation(self, path: Path) -> Path | None:
        """The task's animation, if it draws one."""
        config, task = self.config, self.config.task
        if not is_there(path):
            arms = [
                arm
                for arm in (*self._truth, *self.drawn.values())
                if arm.start is not None and arm.denoiser is not None
            ]

            def paint(aside: Path) -> bool:
                return bool(task.animate(arms, config.sampler, config.sample_seed, aside))

            draw(path, "animation", task.name, paint, self._failures)
        if not is_there(path):
            return None
        self.observers("figure", name=f"{task.name} animation", path=str(path))
        return path

    def _draw_pictures(self) -> None:
        """Draw pairs of arms and nearest training images, if samples are images."""
        task, unguided = self.config.task, self.drawn["unguided"]
        if not are_images(task, unguided):
            return
        guided = self.drawn.get("guided")
        paint: dict[str, Callable[[Path], Any]] = {"nearest": partial(draw_nearest, task, guided or unguided)}
        if guided is not None:
            paint["pairs"] = partial(draw_pairs, task, unguided, guided)
        for name, draw_to in paint.items():
            path = self.folder.figure(name)
            if is_there(path) or draw(path, "figure", name, draw_to, self._failures):
                self.observers("figure", name=name, path=str(path))
            self.stop()

    def _slide(self) -> None:
        """Draw the first samples at other weights, if the guider has one weight, and count what they cost."""
        if is_there(self.folder.path / SWEEP):
            return
        begin = time.perf_counter()
        with collected(self._failures, "slider", SWEEP), tally() as counts:
            sweep = swept(self.config, self.models, self.drawn, lambda: self._truth[0], self.stop)
            if sweep is not None:
                self.record["seconds"]["weights"] = time.perf_counter() - begin
                weights, samples = sweep["samples"].shape[:2]
                evaluations = evaluations_by_role(counts, self.models)
                self.record["slider"] = {"weights": weights, "samples": samples, "evaluations": evaluations}
                self.folder.write_arrays(sweep, SWEEP)

    def _warn(self, texts: Iterable[str]) -> None:
        """Emit a warning per text, and keep the texts."""
        for text in texts:
            self.record["warnings"].append(text)
            self.observers("warning", text=text)
