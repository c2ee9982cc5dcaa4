"""The weaker version of a training: what changes and what stays, for the default recipes of every installed task."""

from pathlib import Path

import pytest
import torch
from attrs import evolve

from guideplug import Load, Network, Recipe, Registry, Task, Train, half_width, weaker
from guideplug_mixture import Mixture
from guideplug_mixture.network import MixtureMLP
from guideplug_random import Random
from guideplug_tree import Tree
from guideplug_tree.denoisers import TreeMLPNetwork

torch.set_num_threads(1)


def main_of(task: Task) -> Train:
    main = task.recipe("main", None)
    assert isinstance(main, Train)
    return main


TASKS = [
    offer.what
    for plugin in Registry.installed().plugins
    for offer in plugin.offers
    if isinstance(offer.what, type) and issubclass(offer.what, Task)
]


def weights(network: Network, task: Task) -> int:
    torch.manual_seed(0)
    return sum(parameter.numel() for parameter in network.build(task).parameters())


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.name)
def test_the_weak_network_of_a_task_is_smaller_trained_less_and_else_the_same(kind: type[Task], tmp_path: Path) -> None:
    task = kind(**kind.example(tmp_path))
    main = main_of(task)
    selected = evolve(main, selector=Random(), models={"reference": main}, seed=5, options=evolve(main.options, lr=0.5))
    weak = task.recipe("weak", selected)
    assert isinstance(weak, Train)
    assert evolve(weak, denoiser=main.denoiser, options=selected.options) == evolve(selected, selector=None, models={})
    assert evolve(weak.options, duration=main.options.duration) == selected.options
    assert 1 < main.options.duration.amount / weak.options.duration.amount <= 16
    assert weights(weak.denoiser, task) < weights(main.denoiser, task)


@pytest.mark.parametrize("part", [1 / 8, 0.3, 1])
def test_a_part_of_the_duration(part: float) -> None:
    main = main_of(Tree())
    weak = weaker(main, half_width(TreeMLPNetwork(), "hidden"), part=part)
    assert weak is not None
    assert weak.options.duration == main.options.duration.part(part)
    assert weak.denoiser == TreeMLPNetwork(32)


@pytest.mark.parametrize("part", [0, -1, 1.5, float("nan")])
def test_a_part_that_is_none_is_refused(part: float) -> None:
    with pytest.raises(ValueError, match=f"part is {part:g}: give a share .* above 0 and at most 1"):
        weaker(main_of(Tree()), half_width(TreeMLPNetwork(), "hidden"), part=part)


def test_half_the_width_keeps_the_other_options_and_is_at_least_one() -> None:
    halved = half_width(MixtureMLP(width=20))
    assert halved(MixtureMLP(width=7, layers=1)) == MixtureMLP(width=3, layers=1)
    assert halved(MixtureMLP(width=1)) == MixtureMLP(width=1)
    assert halved(TreeMLPNetwork(8)) == MixtureMLP(width=10)  # of another class: the default
    with pytest.raises(ValueError, match="the network tree-mlp has no option 'width' that is a whole number"):
        half_width(TreeMLPNetwork())


def test_what_is_no_training_from_scratch_has_no_weaker_version(tmp_path: Path) -> None:
    task = Mixture()
    loaded: Recipe = Load(path=str(tmp_path / "a.safetensors"), task=task, denoiser=MixtureMLP())
    assert weaker(loaded, half_width(MixtureMLP())) is None
    assert task.recipe("weak", loaded) is None
