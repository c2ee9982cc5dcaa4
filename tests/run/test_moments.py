"""Moments along trainings: the networks of the step, the same training, each moment once."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from small_training import MAIN, WEAK, StopAfter, Stopped, equal, trained, weights

from guideplug import Duration, Listener, TrainingMoment
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.moments import TrainingMoments
from guideplug.run.resolve import Request, resolve
from guideplug.store import Store

REGISTRY = Registry.installed()


class Moments(Listener):
    """Notes the networks of moments, drawing from the global generator and leaving gradients on the way."""

    def __init__(self, every: str, fails: bool = False) -> None:
        self.every, self.fails = Duration.of(every), fails
        self.seen: list[tuple[str, int, int]] = []
        self.networks: dict[tuple[int, str], dict[str, torch.Tensor]] = {}

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        pass

    def on_moment(self, moment: TrainingMoment) -> None:
        torch.manual_seed(7)
        self.seen.append((moment.role, moment.step, moment.number))
        for name in moment.weights:
            network = moment.network(name)
            assert not network.training
            assert not any(parameter.requires_grad for parameter in network.parameters())
            self.networks[moment.step, name] = weights(network)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(2.0)  # a copy is the listener's own
        if self.fails:
            raise RuntimeError("no room")


def built(tmp_path: Path, *listeners: Listener, recipe: Any = MAIN, **options: Any) -> tuple[Any, TrainingMoments]:
    config = resolve(Request(values={"task": "tree", "samples": 8, "device": "cpu"}), REGISTRY)
    observers = Observers(listeners)
    moments = TrainingMoments(config, REGISTRY, observers)
    builder = StoreBuilder(Store(tmp_path), torch.device("cpu"), observers, along=moments.along, **options)
    builder.expect({"main": MAIN, "weak": WEAK})
    return builder.build(recipe), moments


def test_each_moment_has_the_networks_of_its_step(tmp_path: Path) -> None:
    listener = Moments("5it")
    result, _ = built(tmp_path, listener)
    assert listener.seen == [("main", 5, 1), ("main", 10, 2)]
    for step in (5, 10):
        raw = listener.networks[step, "raw"]
        for ema in MAIN.options.ema:
            average = listener.networks[step, f"ema{ema:g}"]
            assert equal(average, trained(MAIN, step, ema))
            assert not equal(average, raw)
    assert equal(weights(result.module), trained(MAIN))


@pytest.mark.parametrize("every", ["1it", "3it", "100ex", "3kex"])
def test_a_training_with_moments_has_the_bits_of_one_without(tmp_path: Path, every: str) -> None:
    listener = Moments(every)
    result, moments = built(tmp_path, listener)
    assert equal(weights(result.module), trained(MAIN))
    amount = {"1it": 1, "3it": 3, "100ex": 2.5, "3kex": 75}[every]  # in steps of 40 examples
    assert [number for _, _, number in listener.seen] == [n for n in range(1, 13) if n * amount <= 12]
    assert [step for _, step, _ in listener.seen] == [-(-number * amount // 1) for _, _, number in listener.seen]
    assert bool(moments.missing()) == (every == "3kex")


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 12])
def test_a_training_that_goes_on_has_each_moment_once(tmp_path: Path, stop: int) -> None:
    first, second = Moments("5it"), Moments("5it")
    with pytest.raises(Stopped):
        built(tmp_path, first, stop=StopAfter(stop))
    result, _ = built(tmp_path, second)
    assert first.seen + second.seen == [("main", 5, 1), ("main", 10, 2)]
    assert equal(weights(result.module), trained(MAIN))


def test_its_seconds_are_none_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, late = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late[0])

    class Slow(Moments):
        def on_moment(self, moment: TrainingMoment) -> None:
            super().on_moment(moment)
            late[0] += 1000.0

    timed = evolve(MAIN, options=evolve(MAIN.options, duration="900s"))
    listener = Slow("3it")
    with pytest.raises(Stopped):  # it would end at the first moment if that counted
        built(tmp_path, listener, recipe=timed, stop=StopAfter(7))
    assert [step for _, step, _ in listener.seen] == [3, 6]


def test_a_listener_that_raises_is_left_out_and_the_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener, other = Moments("5it", fails=True), Moments("5it")
    result, _ = built(tmp_path, listener, other)
    assert listener.seen == [("main", 5, 1)]
    assert len(other.seen) == 2
    assert "failed at 'moment' (RuntimeError: no room)" in capsys.readouterr().err
    assert equal(weights(result.module), trained(MAIN))


def test_a_network_of_the_store_has_no_moments_and_that_is_said(tmp_path: Path) -> None:
    built(tmp_path)
    _, moments = built(tmp_path, Moments("5it"))
    (line,) = moments.missing()
    assert "Moments has had no moment: every=5it" in line
    assert "--fresh" in line


def test_samples_are_from_the_same_noise_and_metrics_have_names(tmp_path: Path) -> None:
    class Measures(Moments):
        def on_moment(self, moment: TrainingMoment) -> None:
            arms = [moment.sample(name, 8) for name in moment.weights]
            self.starts = [arm.start for arm in arms]
            self.few = moment.sample("raw", 3)
            self.arms = arms
            self.values = moment.measure(arms[0], ["branch KL"])

    listener = Measures("12it")
    built(tmp_path, listener)
    assert all(torch.equal(start, listener.starts[0]) for start in listener.starts)
    assert not torch.equal(listener.arms[0].samples, listener.arms[1].samples)
    assert torch.equal(listener.few.start, listener.starts[0][:3])
    assert list(listener.values) == ["branch KL"]
    assert listener.values["branch KL"] >= 0


def test_an_unknown_metric_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Measures(Moments):
        def on_moment(self, moment: TrainingMoment) -> None:
            moment.measure(moment.sample("raw", 4), ["branch KK"])

    built(tmp_path, Measures("12it"))
    assert "has no metric 'branch KK' (did you mean 'branch KL'?)" in capsys.readouterr().err
