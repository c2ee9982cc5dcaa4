"""A tiny run of every guider, with selectors and samplers by turns, and every guider along every sampler."""

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from guideplug import Registry, SampleStreams, Selector, Strategy
from guideplug.config import Reader
from guideplug.denoise import Count, Denoiser, Leaf, Weight, tally
from guideplug.errors import ConfigError, UsageError
from guideplug.observe import Observers
from guideplug.run.arms import draw_arms
from guideplug.run.builder import StoreBuilder
from guideplug.run.preflight import guided, preflight
from guideplug.run.resolve import Request, RunConfig, resolve
from guideplug.sample import planned_evaluations
from guideplug.store import Store

torch.set_num_threads(1)

REGISTRY = Registry.installed()
SAMPLES, BATCH = 6, 4
STEERING = Path(__file__).parent / "steering.py"
GIVEN = {
    "classifier": f'classifier("{STEERING}:log_p")',
    "posterior": f'posterior("{STEERING}:first", measurement=[0.2])',
}
"""Strategies that need code or files of the user's."""
TEMPLATES = ("{}({})", "{}({}, high=1)", "{}([{}])")
"""Ways in which a strategy may hold another."""
SMALL = {
    "tree": {"denoiser": "tree-mlp(hidden=4)", "batch": 96},
    "tree(classes=both, labels=true)": {"denoiser": "tree-mlp(hidden=4)", "batch": 96},
    "digits": {"denoiser": "digits-transformer(width=16, blocks=1, heads=2)", "batch": 96},
    "digits()": {"denoiser": "digits-convolutional(width=8, blocks=2)", "batch": 96},
}


def required(cls: type[Strategy]) -> bool:
    """Whether a strategy has an option that must be given."""
    return any(a.init and a.default is attrs.NOTHING for a in attrs.fields(cls))


def usable(kind: str, name: str) -> bool:
    found = REGISTRY.find(kind, name)
    return isinstance(found, str) or not required(found)


def expressions(kind: str) -> list[str]:
    """Every strategy of a kind: by its name, or around the first other one that it accepts."""
    names = REGISTRY.names(kind)
    simple = [name for name in names if usable(kind, name)]
    wrapping = []
    for name in names:
        if name in simple:
            continue
        candidates = [GIVEN[name]] if name in GIVEN else []
        candidates += [template.format(name, inner) for inner in simple for template in TEMPLATES]
        wrapping.append(next(text for task in SMALL for text in candidates if configured(task, **{kind: text})))
    return [*simple, *wrapping]


def configured(task: str, **values: Any) -> RunConfig | None:
    """The run, or None where it is refused."""
    options = {"duration": "2it", "samples": SAMPLES, "sample_batch": BATCH, "device": "cpu", "threads": 1}
    try:
        sets = [("models.weights.iterations", "2"), ("models.weights.batch", "8")]
        learned = sets if "learned" in str(values.get("guider")) else []
        return resolve(Request({"task": task, **SMALL[task], **options, **values}, sets=learned), REGISTRY)
    except UsageError:
        return None


def sampler_expressions() -> list[str]:
    found = []
    for text in expressions("sampler"):
        cls = REGISTRY.find("sampler", text)
        short = not isinstance(cls, str) and any(a.name == "num_steps" for a in attrs.fields(cls))
        found.append(f"{text}(num_steps=2)" if short else text)
    return found


NOT_OFFERED = "offers no view|is for images|takes samples .* only|has no times of its own|which is said by euler, "
"""What a guider or a sampler says of a network or sampler that it is not for, before anything is trained."""
NESTED = "blend([cfg, interval(autoguidance, low=0.1, high=2), sims], shares=[0.5, 1, 0.5])"
SHAPED = (
    "rescale(blend([apg(cfg, threshold=2), interval(feedback(autoguidance), low=0.1), cfg-zero(cfg, zero_above=9)]))"
)
STEERED = (
    f'blend([cfg, interval(classifier("{STEERING}:log_p", on=denoised), high=1), {GIVEN["posterior"]}, self-guidance])'
)
GUIDERS = ["none", *expressions("guider"), NESTED, SHAPED, STEERED]
SELECTORS = ["none", *expressions("selector")]
SAMPLERS = sampler_expressions()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    """One store for all: what two runs share is trained once."""
    return StoreBuilder(Store(tmp_path_factory.mktemp("store")), torch.device("cpu"), Observers())


def test_everything_that_is_installed_is_here() -> None:
    assert not [plugin.name for plugin in REGISTRY.plugins if plugin.broken]
    for kind, found in (("guider", GUIDERS), ("selector", SELECTORS), ("sampler", SAMPLERS)):
        assert {text.partition("(")[0] for text in found} - {"none"} == set(REGISTRY.names(kind))
        assert REGISTRY.names(kind)


def planned(config: RunConfig, point: Denoiser, *, batches: int, samples: int) -> dict[Leaf, Count]:
    """What is predicted of a sampling, from one sample and without asking a network."""
    streams = SampleStreams(config.sample_seed, range(1))
    start = config.task.start(streams, config.sampler.sigmas(point)[0])
    found: dict[Leaf, Count] = {}
    for evaluation in planned_evaluations(config.sampler, point, start.x, start.condition, streams):
        for leaf, count in evaluation.counts.items():
            total = found.setdefault(leaf, Count())
            total.calls += batches * count.calls
            total.outputs += samples * count.outputs
            total.gradients += batches * count.gradients
    return found


def run(shop: StoreBuilder, task: str, guider: str, selector: str, sampler: str) -> None:
    config = configured(task, guider=guider, selector=selector, sampler=sampler)
    assert config is not None
    try:
        preflight(config, REGISTRY)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert re.search(NOT_OFFERED, str(error)), error
        pytest.skip(str(error))
    models: dict[str, Any] = {}
    for role, recipe in config.recipes.items():
        module = shop.obtain(recipe)
        assert isinstance(module, Leaf | Weight)
        models[role] = module
    arms = {"unguided": models["main"]}
    if config.guider is not None:
        arms["guided"] = guided(config.guider, models)
    drawn, tallies = draw_arms(
        arms,
        config.task,
        config.sampler,
        count=config.samples,
        seed=config.sample_seed,
        batch=config.sample_batch,
        device=torch.device("cpu"),
    )
    for name, arm in drawn.items():
        assert arm.samples.shape == (SAMPLES, *config.task.space.shape)
        assert bool(torch.isfinite(arm.samples).all())
        assert dict(tallies[name].counts) == planned(config, arms[name], batches=2, samples=SAMPLES)  # of 4 and of 2
    facts = shop.build(config.main).facts
    assert facts["iterations"] == 2
    assert (facts["scored"] > 0) <= (config.selector is not None)
    kept = facts["backpropagated"]
    assert kept == 192 if config.selector is None else 0 < kept <= facts["seen"] <= 192


def accepted(task: str) -> list[str]:
    """The guiders that a task's samples suit: those for images refuse points, before anything is trained."""
    return [guider for guider in GUIDERS if configured(task, guider=guider)]


ON_THE_TREE = accepted("tree")
ON_OTHERS = [(task, guider) for task in list(SMALL)[1:] for guider in accepted(task)]


def test_every_guider_suits_images_and_all_but_those_for_images_suit_points() -> None:
    assert [guider for task, guider in ON_OTHERS if task == "digits"] == GUIDERS
    for guider in set(GUIDERS) - set(ON_THE_TREE):
        with pytest.raises(UsageError, match="is for images"):
            resolve(Request({"task": "tree", "guider": guider, "device": "cpu"}), REGISTRY)


def by_turns(guider: str) -> tuple[str, str]:
    """A selector and a sampler for a guider, so that each of them has its turn."""
    number = GUIDERS.index(guider)
    return SELECTORS[number % len(SELECTORS)], SAMPLERS[number % len(SAMPLERS)]


@pytest.mark.parametrize("guider", ON_THE_TREE)
def test_on_the_tree(shop: StoreBuilder, guider: str) -> None:
    run(shop, "tree", guider, *by_turns(guider))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "guider"), ON_OTHERS)
def test_on_other_tasks(shop: StoreBuilder, task: str, guider: str) -> None:
    """Every guider with labels and with images."""
    run(shop, task, guider, *by_turns(guider))


WALKS = ["euler(num_steps=4)", "heun(num_steps=5)", "heun(num_steps=5, churn=3)", "dpm++2m-sde(num_steps=4)"]
EVERY_WALK = [("tree", guider, (*SAMPLERS, *WALKS)) for guider in ON_THE_TREE[1:]]
TWO_WALKS = [(task, guider, (by_turns(guider)[1], WALKS[2])) for task, guider in ON_OTHERS]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "guider", "samplers"), [*EVERY_WALK, *TWO_WALKS])
def test_what_is_predicted_of_a_trajectory_is_what_it_calls(task: str, guider: str, samplers: tuple[str, ...]) -> None:
    """Every guider along every sampler; untrained networks are as good as trained ones here."""
    refused = 0
    for sampler in samplers:
        config = configured(task, guider=guider, sampler=sampler)
        assert config is not None
        try:
            point = preflight(config, REGISTRY).point
        except ConfigError as error:
            assert re.search(NOT_OFFERED, str(error)), error
            refused += 1
            continue
        streams = SampleStreams(7, range(3))
        start = config.task.start(streams, config.sampler.sigmas(point)[0])
        with tally() as counts:
            config.sampler.sample(point, start.x, start.condition, streams)
        assert dict(counts.counts) == planned(config, point, batches=1, samples=3)
    if refused == len(samplers):
        pytest.skip(f"{guider} is not for {task}")


@pytest.mark.slow
@pytest.mark.parametrize("selector", SELECTORS[1:])
def test_every_selector_on_digits(shop: StoreBuilder, selector: str) -> None:
    run(shop, "digits", "none", selector, SAMPLERS[0])


def test_selectors_read_back_as_they_were_written() -> None:
    assert all(isinstance(Reader(REGISTRY).expression(text, Selector), Selector) for text in SELECTORS[1:])
