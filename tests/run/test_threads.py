"""The default number of threads: of sizes and cores alone; a named number wins, and stands in the configuration."""

import functools
import os
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug import Condition, Domain, Leaf, Network, Recipe, Task, Train, TrainOptions
from guideplug.config import Reader
from guideplug.errors import ConfigError, ContractError
from guideplug.experiments.studies import planned
from guideplug.registry.registry import Registry
from guideplug.run import threads
from guideplug.run.resolve import Request, RunConfig, read_file, resolve, to_toml
from guideplug.run.threads import busy_note, default_threads
from guideplug.study import Study
from guideplug.testing.toys import Normal

TOY = str(Path(__file__).parents[1] / "cli" / "toy.py")
REGISTRY = Registry.installed([TOY])
LARGE, SMALL = "toy-net(width=111112)", "toy-net(width=111110)"
"""Networks of 1,000,010 and 999,992 parameters."""


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Set the machine's processors: the core of each, those of the process, and the control group's limit."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def machine(*core_of: int, usable: set[int] | None = None, limit: str = "max 100000") -> None:
        for number, core in enumerate(core_of):
            folder = tmp_path / f"cpu{number}" / "topology"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "thread_siblings_list").write_text(f"core {core}\n")
        (tmp_path / "cpu.max").write_text(f"{limit}\n")
        monkeypatch.setattr(threads, "TOPOLOGY", tmp_path)
        monkeypatch.setattr(threads, "CPU_LIMIT", tmp_path / "cpu.max")
        numbers = set(range(len(core_of))) if usable is None else usable
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: numbers, raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: len(core_of))

    return machine


def resolved(*sets: tuple[str, str], **values: Any) -> RunConfig:
    return resolve(Request({"task": "toy", "device": "cpu", "plugins": [TOY], **values}, sets=sets), REGISTRY)


@functools.cache
def kept_layer() -> nn.Linear:
    """A layer that all networks share."""
    return nn.Linear(2, 2)


class Odd(Leaf):
    """A layer that it holds twice, and one that it shares with others."""

    def __init__(self, domain: Domain) -> None:
        super().__init__(space=domain.space)
        self.layer = nn.Linear(1000, 1000)
        self.same = nn.Linear(1000, 1000)
        self.same.weight = self.layer.weight
        self.kept = kept_layer()

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return x


@final
@frozen
class OddNetwork(Network):
    """An odd network."""

    name = "odd"

    def build(self, domain: Domain) -> Leaf:
        return Odd(domain)


@final
@frozen
class Beside(Network):
    """A network that does something else while it is built."""

    name = "beside"
    act: Callable[[], None]

    def build(self, domain: Domain) -> Leaf:
        self.act()
        return Odd(domain)


@final
@frozen
class Fails(Network):
    """A network that cannot be built."""

    name = "fails"

    def build(self, domain: Domain) -> Leaf:
        raise ValueError("no")


def _main(network: Network) -> Recipe:
    return Train(task=Normal(), denoiser=network, options=TrainOptions(duration="1it", batch=4))


# Cores

MANY = _main(OddNetwork())


def test_hyperthreads_of_one_core_count_once(cores: Any) -> None:
    cores(0, 1, 2, 0, 1, 2)
    assert default_threads(MANY) == 3


def test_a_core_that_the_process_may_not_use_does_not_count(cores: Any) -> None:
    cores(0, 1, 2, 3, usable={0, 3})
    assert default_threads(MANY) == 2


@pytest.mark.parametrize(("limit", "count"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4), ("?", 4)])
def test_the_limit_of_the_control_group_holds(cores: Any, limit: str, count: int) -> None:
    cores(0, 1, 2, 3, limit=limit)
    assert default_threads(MANY) == count


def test_where_the_cores_cannot_be_told_processors_count(
    cores: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cores(0, 0, 0, 0)
    monkeypatch.setattr(threads, "TOPOLOGY", tmp_path / "nowhere")
    monkeypatch.setattr(threads, "CPU_LIMIT", tmp_path / "nowhere")
    assert default_threads(MANY) == 4
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert default_threads(MANY) == 4


# Sizes


def _networks(folder: Path) -> list[Train]:
    """Every installed network, of its example's size, as the main one of every task that it can be built for."""
    reader, recipes = Reader(REGISTRY), []
    for name in REGISTRY.names("task"):
        for cls in REGISTRY.classes(Network):
            with suppress(ConfigError, ContractError, TypeError, ValueError):  # one needs an option, or they do not fit
                task: Task = reader.expression(name, Task)
                recipe = evolve(task.recipe("main", None), denoiser=cls(**cls.example(folder)))
                recipe.build()
                recipes.append(recipe)
    return recipes


def test_installed_networks_are_counted_right_and_no_random_number_is_drawn(
    cores: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cores(0, 1)
    recipes = _networks(tmp_path)
    assert {recipe.denoiser.name for recipe in recipes} >= {"toy-net", "tree-mlp", "edm", "edm2"}
    for recipe in recipes:
        count = sum(parameter.numel() for parameter in recipe.build().parameters())
        state = torch.random.get_rng_state()
        for few, number in ((count, 2), (count + 1, 1)):
            monkeypatch.setattr(threads, "FEW_PARAMETERS", few)
            assert default_threads(recipe) == number, recipe
        assert torch.equal(state, torch.random.get_rng_state())


def test_weights_that_are_shared_count_once_and_a_layer_that_is_kept_is_real(
    cores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores(0, 1)
    kept_layer.cache_clear()
    count = 1_000_000 + 2 * 1000 + 6
    for few, number in ((count, 2), (count + 1, 1)):
        monkeypatch.setattr(threads, "FEW_PARAMETERS", few)
        assert default_threads(MANY) == number
    assert not any(parameter.is_meta for parameter in MANY.build().parameters())


def test_layers_of_another_thread_are_real_while_parameters_are_counted(cores: Any) -> None:
    cores(0, 1)
    beside: list[nn.Module] = []
    with ThreadPoolExecutor(1) as pool:
        network = Beside(lambda: beside.append(pool.submit(nn.Linear, 2, 2).result()))
        default_threads(_main(network))
    assert [layer.weight.is_meta for layer in beside] == [False]


def test_a_network_that_cannot_be_built_has_one_thread_and_preflight_says_why(cores: Any) -> None:
    cores(0, 1)
    assert default_threads(_main(Fails())) == 1


# The rule


@pytest.mark.parametrize(("network", "count"), [(SMALL, 1), (LARGE, 3)])
def test_a_large_network_has_all_physical_cores_and_a_small_one_a_single_thread(
    cores: Any, network: str, count: int
) -> None:
    cores(0, 1, 2, 0, 1, 2)
    config = resolved(denoiser=network)
    assert config.threads == count
    assert tomllib.loads(to_toml(config))["threads"] == count


def test_the_load_decides_nothing(cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cores(0, 1)
    for load in (0.0, 99.0):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load), raising=False)
        assert [resolved(denoiser=network).threads for network in (SMALL, LARGE)] == [1, 2]


def test_a_number_that_is_named_wins_and_nothing_is_built(cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cores(0, 1)
    monkeypatch.setattr(Train, "build", lambda recipe: pytest.fail("built"))
    assert resolved(denoiser=LARGE, threads=7).threads == 7
    assert resolved(("threads", "5"), denoiser=SMALL, threads=7).threads == 5


def test_on_one_core_nothing_is_built(cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cores(0, 0)
    monkeypatch.setattr(Train, "build", lambda recipe: pytest.fail("built"))
    assert resolved(denoiser=LARGE).threads == 1


def test_a_file_keeps_its_number_on_another_machine(cores: Any, tmp_path: Path) -> None:
    cores(0, 1, 2)
    (tmp_path / "config.toml").write_text(to_toml(resolved(denoiser=LARGE)))
    cores(0, 1)
    config = resolve(Request(file=read_file(tmp_path / "config.toml")), REGISTRY)
    assert config.threads == 3


def test_the_environment_limits_the_default_alone(cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cores(0, 1, 2, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [resolved(denoiser=network).threads for network in (SMALL, LARGE)] == [1, 2]
    assert resolved(denoiser=LARGE, threads=4).threads == 4


def test_trials_of_a_study_have_the_threads_of_the_largest_network(cores: Any) -> None:
    cores(0, 1, 2)
    study = Reader(REGISTRY).expression("toy-widths(widths=[8, 111112])", Study)
    plan = planned(study, REGISTRY, {"device": "cpu"})
    assert [config.threads for config in plan.configs] == [3, 3]
    assert plan.common["threads"] == 3
    again = planned(study, REGISTRY, {**plan.common, "threads": 2})
    assert [config.threads for config in again.configs] == [2, 2]


# A busy machine


@pytest.mark.parametrize(
    ("load", "count", "note"),
    [
        (0.4, 2, None),
        (1.0, 1, None),
        (
            1.0,
            2,
            "note: about 1 other busy process on 2 processors: measured seconds will be longer than alone; a new run",
        ),
        (2.6, 1, "note: about 3 other busy processes on 2 processors: measured seconds will be longer than alone"),
    ],
)
def test_a_busy_machine_is_told(
    cores: Any, monkeypatch: pytest.MonkeyPatch, load: float, count: int, note: str | None
) -> None:
    cores(0, 1)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    line = busy_note(count)
    assert (line is None) if note is None else (line is not None and line.startswith(note) and "\n" not in line)


def test_a_machine_that_tells_no_load_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert busy_note(1000) is None
