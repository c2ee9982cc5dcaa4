"""Both tasks: laws, finite and endless data, labels, layouts, recipes, and what is refused."""

from typing import cast

import pytest
import torch
from attrs import evolve
from torch import Tensor

from guideplug import Duration, NoiseDomain, SampleStreams, Space, Task, Train, TrainingStreams
from guideplug.config import Reader, short, write
from guideplug.errors import ConditionError, ConfigError
from guideplug.registry.registry import Registry
from guideplug.store import identity
from guideplug.testing import check_network, check_task
from guideplug_edm import Heun
from guideplug_mixture import Gaussian, Mixture, MixtureMLP

torch.set_num_threads(1)

REGISTRY = Registry.installed()
TASKS = (
    Gaussian(),
    Gaussian(count=None),
    Mixture(),
    Mixture(labels=False),
    Mixture(count=50, classes=2, shares=(0.3, 0.7)),
    Mixture(count=50, labels=False),
    Mixture(classes=1, per_class=1),
)


def read(text: str) -> Task:
    return Reader(REGISTRY).expression(text, Task)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=short)
def test_the_laws_of_tasks_and_networks(task: Task) -> None:
    check_task(task)
    check_network(MixtureMLP(width=8, layers=1), task)
    assert read(short(task)) == task
    assert Reader(REGISTRY).read(write(task), Task, "") == task


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gaussian(count=0)", "count is 0: it must be at least 1"),
        ("mixture(classes=0)", "classes is 0"),
        ("mixture(spread=0)", "spread is 0.0: it must be positive"),
        ("mixture(shares=[0.5, 0.5])", "shares are 2 numbers for 4 classes: give one for each"),
        ("mixture(classes=2, shares=[0.5, 0.6])", "give positive numbers that sum to 1"),
        ("mixture(classes=2, shares=[0, 1])", "give positive numbers that sum to 1"),
    ],
)
def test_wrong_options_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_the_network_is_for_points_of_the_plane_only() -> None:
    with pytest.raises(ValueError, match=r"for points in the plane, \(2,\), not for samples of \(3,\)"):
        MixtureMLP().build(NoiseDomain(Space((3,))))


@pytest.mark.parametrize("make", [Gaussian, lambda **options: Mixture(labels=False, **options)])
def test_finite_data_are_the_same_few_points_for_ever(make: type[Gaussian]) -> None:
    task = make(count=30)
    assert task.size() == 30
    everything, _ = task.items(torch.arange(30))
    assert len(everything.unique(dim=0)) == 30
    seen = [task.draw(torch.full((64,), 0.5), TrainingStreams(seed, step)) for seed in (0, 1) for step in range(8)]
    for examples in seen:
        assert torch.equal(examples.target, everything[cast(Tensor, examples.ids)])
    found = torch.cat([examples.target for examples in seen]).unique(dim=0)
    assert torch.equal(found, everything.unique(dim=0))


def test_a_smaller_set_is_the_front_of_a_larger_one_and_another_seed_another_set() -> None:
    few, _ = Gaussian(count=10).items(torch.arange(10))
    many, _ = Gaussian(count=1000).items(torch.arange(10))
    other, _ = Gaussian(count=10, data_seed=1).items(torch.arange(10))
    assert torch.equal(few, many)
    assert not torch.isin(other, few).any()
    prints = {Gaussian(count=count, data_seed=seed).fingerprint() for count in (10, 11, None) for seed in (0, 1)}
    assert len(prints) == 5  # data without end know no seed


@pytest.mark.parametrize("task", [Gaussian(count=None), Mixture()])
def test_endless_data_are_new_in_each_step_and_have_no_items(task: Task) -> None:
    first, second = (task.draw(torch.full((64,), 0.5), TrainingStreams(0, step)) for step in range(2))
    assert not torch.isin(first.target, second.target).any()
    assert first.ids is None
    assert task.size() is None
    with pytest.raises(NotImplementedError, match="draws its examples anew"):
        task.items(torch.arange(2))


@pytest.mark.parametrize("count", [None, 20_000])
def test_classes_come_in_their_shares_under_their_own_density(count: int | None) -> None:
    task = Mixture(shares=(0.55, 0.25, 0.15, 0.05), count=count)
    examples = task.draw(torch.full((20_000,), 0.5), TrainingStreams(0, 0))
    labels = cast(Tensor, examples.condition)
    assert torch.equal(labels, cast(Tensor, task.group(examples)))
    start = task.start(SampleStreams(0, range(20_000)), 20.0)
    for drawn in (labels, cast(Tensor, start.condition)):
        shares = torch.bincount(drawn) / len(drawn)
        torch.testing.assert_close(shares, torch.tensor(task.class_shares), rtol=0, atol=0.015)
    for label in range(4):
        part = task.density.of(label)
        of_class = examples.target[labels == label].double()
        torch.testing.assert_close(of_class.mean(0), part.mean(), rtol=0, atol=0.07)
        assert float((task.group_of(of_class) == label).double().mean()) > 0.7
    assert task.groups() == [f"class {label}" for label in range(4)]


def test_without_labels_there_is_no_condition_but_the_groups_are_known() -> None:
    for task in (Mixture(labels=False), Mixture(labels=False, count=40)):
        examples = task.draw(torch.full((32,), 0.5), TrainingStreams(0, 0))
        assert examples.condition is None
        assert task.start(SampleStreams(0, range(3)), 20.0).condition is None
        assert not task.exact().has_null
    assert examples.ids is not None
    known = task.group(examples)
    assert torch.equal(cast(Tensor, task.group(evolve(examples, group=None))), cast(Tensor, known))
    with pytest.raises(ConditionError, match="no null condition"):
        task.exact().unconditional()


def test_the_layout_is_decided_by_its_seed_and_adding_components_moves_none() -> None:
    few, many = Mixture(per_class=2).density, Mixture(per_class=3).density
    kept = many.groups.bincount().cumsum(0)[:, None] - torch.tensor([3, 2])
    assert torch.equal(few.means, many.means[kept.flatten()])
    assert not torch.equal(Mixture(layout_seed=1).density.means, many.means)
    assert torch.equal(Mixture(shares=(0.7, 0.1, 0.1, 0.1)).density.means, many.means)
    wide = Mixture(spread=0.5).density.covariances
    torch.testing.assert_close(wide, 4 * many.covariances)
    assert float(many.covariance().trace() / 2) ** 0.5 == Mixture().space.sigma_data


def test_the_exact_denoiser_of_a_class_and_of_none() -> None:
    task = Mixture()
    exact = task.exact()
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    found = exact(x, 0.3, torch.tensor([0, 1, 2, 3, 4]))
    expected = [task.density.of(label).denoise(x[label : label + 1], 0.3) for label in range(4)]
    torch.testing.assert_close(found, torch.cat([*expected, task.density.denoise(x[4:], 0.3)]))
    torch.testing.assert_close(exact.unconditional()(x, 0.3), task.density.denoise(x, 0.3))
    whole = torch.zeros(5, 2)
    for label, share in enumerate(task.class_shares):  # the mixture of the classes' answers, by their densities
        part = task.density.of(label)
        weight = share * (part.log_prob(x, 0.3) - task.density.log_prob(x, 0.3)).exp()
        whole += weight[:, None] * exact(x, 0.3, torch.full((5,), label))
    torch.testing.assert_close(whole, task.density.denoise(x, 0.3))


@pytest.mark.parametrize("task", [Gaussian(), Mixture()])
def test_exact_samples_are_of_the_density(task: Gaussian | Mixture) -> None:
    truth, exact = task.truth(2000, Heun(num_steps=32), 0)
    for arm in (truth, exact):
        torch.testing.assert_close(arm.samples.double().mean(0), task.density.mean(), rtol=0, atol=0.1)
        torch.testing.assert_close(torch.cov(arm.samples.double().T), task.density.covariance(), rtol=0, atol=0.25)
        assert float(task.density.log_prob(arm.samples.double()).mean()) == pytest.approx(
            float(task.density.log_prob(truth.samples.double()).mean()), abs=0.08
        )
    again = task.truth(10, Heun(num_steps=32), 0)[1]
    torch.testing.assert_close(again.samples, exact.samples[:10], rtol=1e-4, atol=1e-4)


def test_recipes_are_relative_to_the_main_one() -> None:
    for task, dropout in ((Gaussian(), 0.0), (Mixture(), 0.1), (Mixture(labels=False), 0.0)):
        main = task.recipe("main", None)
        assert isinstance(main, Train)
        assert main.options.condition_dropout == dropout
        weak = task.recipe("weak", main)
        assert isinstance(weak, Train)
        assert weak.denoiser == MixtureMLP(width=32)
        assert weak.options.duration == Duration(500, "it")
        assert evolve(weak, denoiser=main.denoiser, options=main.options) == main
        assert task.recipe("unconditional", main) is None
        assert task.recipe("weak", None) is None
    tasks = (Gaussian(), Gaussian(count=999), Gaussian(data_seed=1), Mixture(), Mixture(layout_seed=1))
    assert len({identity(cast(Train, task.recipe("main", None))) for task in tasks}) == 5


def test_an_untrained_network_is_the_best_linear_denoiser_of_round_data() -> None:
    task = Mixture()
    leaf = MixtureMLP().build(task)
    x, level = torch.randn(6, 2), task.space.sigma_data
    torch.testing.assert_close(leaf(x, level), x / 2)
    null = leaf.null_condition(3, torch.device("cpu"))
    assert cast(Tensor, null).tolist() == [4, 4, 4]
