"""Recipes of data: training on them alone, real examples with samples, wanted shares, and samples that are guided."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from guideplug import (
    Augmented,
    Condition,
    FineTune,
    Guider,
    LogNormal,
    Network,
    Resampled,
    Sampler,
    SampleStreams,
    Synthetic,
    Task,
    Train,
    TrainingStreams,
    TrainOptions,
)
from guideplug.config import Reader
from guideplug.errors import GuideplugError, RecipeError
from guideplug.experiments.comparison.trainings import needed_for
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.resolve import Request, read_file, resolve, to_toml
from guideplug.store import Store, identity
from guideplug.train import Training

torch.set_num_threads(1)

REGISTRY = Registry.installed([str(Path(__file__).with_name("few.py"))])
READER = Reader(REGISTRY)
TREE: Any = READER.expression("tree", Task)
LABELLED: Any = READER.expression("tree(classes=both, labels=true)", Task)
SAMPLER: Any = READER.expression("euler(num_steps=3)", Sampler)
NETWORK: Any = READER.expression("tree-mlp(hidden=4)", Network)
OPTIONS = TrainOptions(duration="6it", batch=40, lr=0.01, noise=LogNormal(-2.3, 1.5), weighting="score", ema=(0.1,))
MAIN = Train(task=TREE, denoiser=NETWORK, options=OPTIONS, seed=1)


FEW: Any = READER.expression("few", Task)
DRAWN = Synthetic(of=MAIN, task=TREE, sampler=SAMPLER, count=50, seed=3)


@pytest.fixture
def shop(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(Store(tmp_path), torch.device("cpu"), Observers([]))


def every(data: Any) -> tuple[Tensor, Condition]:
    found: tuple[Tensor, Condition] = data.items(torch.arange(data.size()))
    return found


def weights(module: torch.nn.Module) -> Mapping[str, Tensor]:
    return module.state_dict()


def refusal(expression: str) -> str:
    with pytest.raises(GuideplugError) as caught:
        resolve(
            Request({"task": "tree", "guider": "autoguidance", "device": "cpu"}, {"weak": expression}),
            REGISTRY,
        )
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Training on data of a recipe


@pytest.mark.parametrize("streams", [0, 3])
def test_a_training_on_samples_draws_from_them_alone(shop: StoreBuilder, streams: int) -> None:
    recipe = evolve(MAIN, on=DRAWN, options=evolve(OPTIONS, noise_streams=streams), seed=2)
    recipe.check()  # the tree's data are endless, its samples are not
    samples: Any = shop.obtain(DRAWN)
    now = Training(recipe.build(), samples, recipe.options, seed=2)
    seen: list[Tensor] = []
    draw = now.draws.draw

    class Watched:
        def draw(self, count: int, streams: TrainingStreams) -> Any:
            drawn = draw(count, streams)
            seen.append(drawn.examples.target)
            return drawn

    now.draws = Watched()
    now.run()
    assert (torch.cat(seen)[:, None] == samples.x).all(-1).any(1).all()
    found = weights(shop.obtain(recipe))
    for name, tensor in now.weights().items():
        assert torch.equal(found[name], tensor), name
    plain = weights(shop.obtain(evolve(MAIN, seed=2)))
    assert any(not torch.equal(found[name], tensor) for name, tensor in plain.items())
    assert [one for one, _ in needed_for([recipe]).trainings] == [MAIN, recipe]
    assert not needed_for([recipe]).unknown


def test_losses_of_samples_are_not_looked_up_in_the_table_of_the_task_s_data() -> None:
    digits: Any = READER.expression("digits", Task)
    options = evolve(OPTIONS, noise_streams=3)
    selector: Any = READER.expression("rho", REGISTRY.find("selector", "rho"))  # type: ignore[arg-type]
    main = Train(task=digits, denoiser=NETWORK, options=options, selector=selector, models={"weak": MAIN})
    assert not evolve(main, on=evolve(DRAWN, task=digits)).tables


@pytest.mark.parametrize("on", [MAIN, FineTune(of=MAIN, on=TREE, options=OPTIONS)])
def test_a_network_is_no_data(on: Any) -> None:
    with pytest.raises(ValueError, match=r"which gives no data: give synthetic\("):
        evolve(MAIN, on=on)
    with pytest.raises(ValueError, match=r"which gives no data: give a task, or synthetic\("):
        FineTune(of=MAIN, on=on, options=OPTIONS)


@pytest.mark.parametrize(
    "text",
    [
        "train(on=synthetic(of=train, count=9), duration=5it)",
        "train(on=resampled(of=samples, share=0.25, group=0), seed=4)",
        "fine-tune(of=train, on=augmented(on=samples, task=digits, real=3), duration=5it)",
    ],
)
def test_a_main_network_on_data_of_a_recipe_is_written_and_resolves_to_itself(text: str, tmp_path: Path) -> None:
    models = {"main": text, "samples": "synthetic(of=train, count=9)"}
    request = Request(
        {"task": "tree", "guider": "cfg", "device": "cpu"}, models if "samples" in text else {"main": text}
    )
    config = resolve(request, REGISTRY)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=read_file(path)), REGISTRY) == config
    main: Any = config.main
    assert main.on is not None
    assert not isinstance(config.models["unconditional"], FineTune)


def test_a_fine_tune_must_still_say_what_it_is_on() -> None:
    assert "fine-tune needs on" in refusal("fine-tune(of=main)")


# Real examples and samples


def test_augmented_data_are_the_real_examples_and_the_samples(shop: StoreBuilder) -> None:
    data: Any = shop.obtain(Augmented(on=DRAWN, task=FEW))
    samples: Any = shop.obtain(DRAWN)
    real = FEW.items(torch.arange(7))[0]
    assert data.size() == 57
    assert torch.equal(every(data)[0], torch.cat([real, samples.x]))
    mixed = torch.tensor([50, 3, 7, 0, 56, 3])
    assert torch.equal(data.items(mixed)[0], torch.cat([real, samples.x])[mixed])
    drawn = data.draw(torch.full((5700,), 0.1), TrainingStreams(0, 0))
    assert torch.equal(drawn.target, every(data)[0][drawn.ids])
    counts = torch.bincount(drawn.ids, minlength=57)
    assert 50 < int(counts.min()) < int(counts.max()) < 160  # 100 is expected of each, its deviation 10


@pytest.mark.parametrize("real", [0, 3])
def test_some_of_the_real_examples_or_none(shop: StoreBuilder, real: int) -> None:
    recipe = Augmented(on=DRAWN, task=FEW, real=real)
    data: Any = shop.obtain(recipe)
    found, samples = every(data)[0], every(shop.obtain(DRAWN))[0]
    assert torch.equal(found[real:], samples)
    assert data.chosen.unique().numel() == len(data.chosen) == real
    assert torch.equal(found[:real], FEW.items(data.chosen)[0])
    others = [evolve(recipe, seed=seed).chosen.tolist() for seed in range(5)]
    assert (len({tuple(one) for one in others}) > 1) is (real > 0)


def test_conditions_stay_with_their_examples(shop: StoreBuilder) -> None:
    few: Any = evolve(FEW, labels=True)
    drawn = evolve(DRAWN, of=evolve(MAIN, task=LABELLED), task=LABELLED)
    data: Any = shop.obtain(Augmented(on=drawn, task=few))
    samples: Any = shop.obtain(drawn)
    wanted: Any = torch.cat([few.items(torch.arange(7))[1], every(samples)[1]])  # type: ignore[list-item]
    assert torch.equal(every(data)[1], wanted)  # type: ignore[arg-type]
    ids = torch.tensor([55, 2, 9, 6])
    assert torch.equal(data.items(ids)[1], wanted[ids])
    bare: Any = shop.obtain(Augmented(on=DRAWN, task=few))
    assert data.items(torch.tensor([1]))[1] is not None
    with pytest.raises(RecipeError, match="conditions of different kinds"):
        bare.items(ids)


def test_endless_data_have_no_real_examples_to_add_to() -> None:
    assert "draws its examples anew without end" in refusal("fine-tune(of=main, on=augmented(synthetic(count=9)))")
    with pytest.raises(RecipeError, match="real is 8, and task 'few' has 7 examples"):
        Augmented(on=DRAWN, task=FEW, real=8).check()
    Augmented(on=DRAWN, task=TREE, real=0).check()


# Wanted shares


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("group", [0, "right"])
@pytest.mark.parametrize("count", [None, 10, 200])
def test_the_share_of_a_group_is_the_wanted_one(
    shop: StoreBuilder, share: float, group: int | str, count: int | None
) -> None:
    recipe = Resampled(of=DRAWN, task=FEW, share=share, group=group, count=count)
    data: Any = shop.obtain(recipe)
    x = every(data)[0]
    assert len(x) == data.size() == (count or 50)
    inside = (x[:, 0] > 0) if group == "right" else (x[:, 0] <= 0)
    assert int(inside.sum()) == round(share * len(x))
    samples = every(shop.obtain(DRAWN))[0]
    assert torch.equal(x, samples[data.numbers])
    for members in (data.numbers[inside], data.numbers[~inside]):  # as even as can be
        if len(members):
            times = torch.bincount(members, minlength=50)
            there = (samples[:, 0] > 0) == bool(x[data.numbers == members[0]][0, 0] > 0)
            assert int(times[there].max() - times[there].min()) <= 1


def test_other_seeds_choose_others_and_equal_ones_the_same(shop: StoreBuilder) -> None:
    recipe = Resampled(of=DRAWN, task=FEW, share=0.3, group=0, count=10)
    numbers = [shop.obtain(evolve(recipe, seed=seed)).numbers.tolist() for seed in (0, 1)]  # type: ignore[union-attr,operator]
    assert numbers[0] != numbers[1]
    assert sorted(set(numbers[0])) == sorted(numbers[0])
    module = recipe.build()
    recipe.make(module, shop)
    assert module.numbers.tolist() == numbers[0]


def test_where_there_are_conditions_they_say_the_group(shop: StoreBuilder) -> None:
    drawn = evolve(DRAWN, of=evolve(MAIN, task=LABELLED), task=LABELLED)
    data: Any = shop.obtain(Resampled(of=drawn, task=evolve(FEW, labels=True, untold=True), share=0.2, group=1))
    assert int((every(data)[1] == 1).sum()) == 10  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"group": 2}, r"task 'few' has no group 2; it has 0 \(left\), 1 \(right\)"),
        ({"group": "rigth"}, "no group 'rigth'; did you mean 'right'|no group 'rigth'"),
        ({"task": evolve(FEW, untold=True)}, "cannot tell the groups of samples apart: it needs group_of"),
        ({"task": evolve(FEW, grouped=False)}, "task 'few' does not tell groups of its data apart"),
    ],
)
def test_groups_that_are_none_are_refused(shop: StoreBuilder, changes: dict[str, Any], said: str) -> None:
    recipe = evolve(Resampled(of=DRAWN, task=FEW, share=0.3, group=0), **changes)
    with pytest.raises(RecipeError, match=said):
        shop.obtain(recipe)


@pytest.mark.parametrize(("wanted", "said"), [(1, "none of the 9"), (0, "every one of the 9")])
def test_a_share_that_cannot_be_reached_is_refused(shop: StoreBuilder, wanted: int, said: str) -> None:
    left = Resampled(of=evolve(DRAWN, count=9), task=FEW, share=0.0, group="right")
    shop.obtain(evolve(left, share=0.0, of=left))
    with pytest.raises(RecipeError, match=rf"a share of 0.3 of '\w+' cannot be reached: {said} samples is in"):
        shop.obtain(Resampled(of=left, task=FEW, share=0.3, group=wanted))


# Guided samples


def test_guided_samples_are_those_drawn_by_hand_with_the_guiders_networks(shop: StoreBuilder) -> None:
    guider: Any = READER.expression("autoguidance(weight=3)", Guider)
    weak = evolve(MAIN, seed=5, options=evolve(OPTIONS, duration="2it"))
    recipe = evolve(DRAWN, guider=guider, models={"weak": weak})
    recipe.check()
    found = every(shop.obtain(recipe))[0]
    base: Any = shop.obtain(MAIN)
    guided = guider.guide(base, {"weak": shop.obtain(weak)})
    streams = SampleStreams(recipe.stream_seed, range(50))
    start = TREE.start(streams, SAMPLER.sigmas(guided)[0])
    assert torch.equal(found, SAMPLER.sample(guided, start.x, start.condition, streams))
    assert not torch.allclose(found, every(shop.obtain(DRAWN))[0])
    assert identity(recipe) != identity(evolve(recipe, models={"weak": evolve(weak, seed=6)}))
    assert [one for one, _ in needed_for([recipe]).trainings] == [MAIN, weak]


def test_a_guider_whose_networks_are_not_named_is_refused(shop: StoreBuilder) -> None:
    recipe = evolve(DRAWN, guider=READER.expression("sims", Guider))
    said = r"guider 'sims' needs a network for 'synthetic': name it in models, as in .*models=table\(synthetic=\.\.\.\)"
    for refuse in (recipe.check, lambda: shop.obtain(recipe), evolve(MAIN, on=recipe).check):
        with pytest.raises(RecipeError, match=said):
            refuse()
    assert "models=table(weak=...)" in refusal(
        "fine-tune(of=main, on=synthetic(of=train(seed=3), count=9, guider=autoguidance))"
    )


def test_samples_of_the_main_network_are_guided_by_the_networks_of_the_run(tmp_path: Path) -> None:
    request = Request(
        {"task": "tree", "guider": "autoguidance(model=other)", "device": "cpu"},
        {"other": "fine-tune(of=main, on=synthetic(count=9, guider=sims))"},
    )
    config = resolve(request, REGISTRY)
    other: Any = config.models["other"]
    assert other.on.models["synthetic"].of == config.main
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=read_file(path)), REGISTRY) == config


def test_so_are_those_of_a_network_that_a_table_names(tmp_path: Path) -> None:
    copy = "fine-tune(of=main, on=synthetic(count=9, guider=autoguidance))"
    drawn = f"synthetic(count=9, guider=autoguidance(model=copy), models=table(copy={copy}))"
    values = {"task": "tree", "guider": "autoguidance(model=other)", "device": "cpu"}
    config = resolve(Request(values, {"other": f"fine-tune(of=main, on={drawn})"}), REGISTRY)
    other: Any = config.models["other"]
    assert other.on.models["copy"].on.models.keys() == {"weak"}
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=read_file(path)), REGISTRY) == config
