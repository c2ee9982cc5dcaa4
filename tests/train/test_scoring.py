"""What a selector is told: null conditions of each network's own, the learner's mode, noise of a reference's own."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy
import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from guideplug import (
    CandidateRequest,
    Condition,
    Examples,
    Guider,
    Leaf,
    LogNormal,
    Losses,
    Registry,
    Selection,
    Selector,
    SelectorState,
    Space,
    Task,
    TrainingStreams,
    TrainOptions,
    noised,
    option,
)
from guideplug.config import Reader
from guideplug.errors import ConditionError, RecipeError
from guideplug.train import Training
from guideplug.train.dataset import FiniteData
from guideplug.train.examples import FreshNoise, NoiseStreams, with_dropped_conditions
from guideplug_autoguidance import Autoguidance
from guideplug_cfg import CFG
from guideplug_jest import JEST

torch.set_num_threads(1)

SPACE = Space(shape=(2,), sigma_data=0.7)
CLASSES = 3


class Table(Leaf):
    """D = w x / (1 + sigma^2) + table[label], with a null label of its own; labels alone, or in a mapping."""

    def __init__(self, null: int | None, *, seed: int = 0, named: bool = False, drop: float = 0.0) -> None:
        super().__init__(SPACE)
        generator = torch.Generator().manual_seed(seed)
        self.w = nn.Parameter(torch.rand(2, generator=generator))
        self.table = nn.Parameter(torch.randn(CLASSES + 1, 2, generator=generator))
        self.null, self.named, self.dropout = null, named, nn.Dropout(drop)
        self.modes: list[bool] = []

    @property
    def has_null(self) -> bool:
        return self.null is not None

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        assert self.null is not None
        labels = torch.full((batch,), self.null, device=device)
        return {"label": labels} if self.named else labels

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        self.modes.append(self.training)
        labels = condition["label"] if isinstance(condition, Mapping) else condition
        assert isinstance(labels, Tensor)
        rows = labels if self.null is None else torch.where(labels == self.null, CLASSES, labels)
        assert int(rows.min()) >= 0, "this network does not know the label"
        return self.dropout(x) * self.w / (1 + sigma**2)[:, None] + self.table[rows]


@frozen
class Labelled:
    """Points with labels, alone or in a mapping."""

    named: bool = False

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data")
        clean = torch.randn(len(sigma), 2, generator=generator)
        labels = torch.randint(CLASSES, (len(sigma),), generator=generator)
        return noised(clean, sigma, streams, {"label": labels} if self.named else labels)


@final
@frozen
class Scored(Selector):
    """Takes all, and keeps the losses."""

    name = "scored"
    guider: Guider | None = option(None, help="what guides the learner")
    separate: bool = option(False, help="whether the reference has noise of its own")
    got: list[Losses] = option(factory=list, help="where the losses go")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True, reference="weak", guider=self.guider, separate_noise=self.separate)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        self.got.append(losses)
        return Selection(torch.arange(losses.count)), state


def options(**changes: Any) -> TrainOptions:
    values = {"duration": "1it", "batch": 40, "noise": LogNormal(-1.0, 0.8), "condition_dropout": 0.5}
    return TrainOptions(**{**values, **changes})


def training(learner: Leaf, weak: Leaf, selector: Selector, data: Any = None, **changes: Any) -> Training:
    references = {"weak": weak}
    return Training(
        learner,
        data or Labelled(),
        options(**changes),
        seed=3,
        selector=selector,
        references=references,
        role="learner",
    )


def losses_of(now: Training, point: Any, network: Leaf) -> Tensor:
    """The losses on a first step's examples, with a network's own null condition in place of dropped ones."""
    drawn = now.draws.draw(now.options.batch, TrainingStreams(now.seed, 0))
    assert drawn.drop is not None
    assert 5 < int(drawn.drop.sum()) < 35
    with torch.no_grad():
        return now.options.score_loss.of(point, with_dropped_conditions(drawn, network), drawn.sigma, SPACE.sigma_data)


# Dropped conditions


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_each_network_is_scored_under_its_own_null_condition(named: bool, parts: int) -> None:
    learner, weak, selector = Table(-1, named=named), Table(10, seed=1, named=named), Scored()
    now = training(learner, weak, selector, Labelled(named), accumulate=parts)
    expected = losses_of(now, learner, learner), losses_of(now, weak, weak)
    now.run()
    (got,) = selector.got
    torch.testing.assert_close(got.learner, expected[0])
    torch.testing.assert_close(got.reference, expected[1])


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("guider", [Autoguidance(weight=3.0), CFG(weight=2.0)], ids=lambda guider: guider.name)
@pytest.mark.parametrize("parts", [1, 3])
def test_so_is_each_network_of_a_guided_learner(named: bool, guider: Guider, parts: int) -> None:
    """As if both networks had the same null label, which changes nothing but its number."""
    got = []
    for null in (-1, 10):
        learner, weak = Table(-1, named=named), Table(null, seed=1, named=named)
        selector = Scored(guider)
        training(learner, weak, selector, Labelled(named), accumulate=parts).run()
        got += selector.got
    torch.testing.assert_close(got[0].learner, got[1].learner)
    torch.testing.assert_close(got[0].reference, got[1].reference)


def test_a_guider_with_conditions_of_its_own_keeps_them_where_the_given_one_is_dropped() -> None:
    @final
    @frozen
    class AwayFromOne(Guider):
        name = "away-from-one"

        def guide(self, base: Any, models: Mapping[str, Any]) -> Any:
            return base + 2.0 * (base - models["weak"].under(torch.tensor([1])))

    got = []
    for null in (-1, 10):
        selector = Scored(AwayFromOne())
        training(Table(-1), Table(null, seed=1), selector).run()
        got += selector.got
    torch.testing.assert_close(got[0].learner, got[1].learner)


def test_a_table_of_known_losses_agrees_with_scoring() -> None:
    data = FiniteData(TensorDataset(torch.randn(8, 2), torch.arange(8) % CLASSES))
    learner, weak = Table(-1), Table(10, seed=1)
    draws = NoiseStreams(data, 3, options().noise, 0.5)
    numbers = torch.arange(24)
    drawn = draws.numbered(numbers // 3, numbers % 3, torch.device("cpu"))
    with torch.no_grad():
        table = (
            options()
            .score_loss.of(weak, with_dropped_conditions(drawn, weak), drawn.sigma, SPACE.sigma_data)
            .reshape(8, 3)
        )
    got = []
    for tables in ({}, {"weak": table}):
        selector = Scored()
        changed = options(noise_streams=3)
        Training(
            copy.deepcopy(learner), data, changed, seed=3, selector=selector, references={"weak": weak}, tables=tables
        ).run()
        got += selector.got
    torch.testing.assert_close(got[0].reference, got[1].reference)


@pytest.mark.parametrize("guided", [False, True])
def test_a_network_without_a_null_condition_is_named_in_one_line(guided: bool) -> None:
    weak = Table(None, seed=1)
    weak.role = "weak"
    selector = Scored(Autoguidance()) if guided else Scored()
    with pytest.raises(ConditionError, match=r"the network 'weak', a Table, has no null condition") as refused:
        training(Table(-1), weak, selector).run()
    assert "\n" not in str(refused.value)
    training(Table(-1), weak, selector, condition_dropout=0.0).run()


# The learner's mode


@pytest.mark.parametrize("guider", [None, Autoguidance(weight=3.0)])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_learner_is_scored_in_the_mode_of_the_options_and_trained_in_training_mode(
    guider: Guider | None, mode: Any
) -> None:
    learner, selector = Table(-1, drop=0.5), Scored(guider)
    weak = Table(-1, seed=1).eval()
    now = training(learner, weak, selector, duration="2it", score_mode=mode)
    still = copy.deepcopy(learner).eval()
    point = still if guider is None else guider.guide(still, {"weak": weak})
    expected = losses_of(now, point, still)
    now.run()
    assert learner.modes == [mode == "train", True] * 2
    assert torch.allclose(selector.got[0].learner, expected) == (mode == "eval")  # type: ignore[arg-type]


def test_training_mode_is_restored_when_scoring_fails() -> None:
    learner, weak = Table(-1), Table(None, seed=1)
    now = training(learner, weak, Scored(Autoguidance()))
    with pytest.raises(ConditionError):
        now.run()
    assert learner.training


# Noise of the reference's own


def test_a_reference_with_noise_of_its_own_is_scored_on_the_same_clean_examples() -> None:
    learner, weak, selector = Table(-1), Table(10, seed=1), Scored(separate=True)
    now = training(learner, weak, selector)
    streams = TrainingStreams(3, 0)
    ours, theirs = (now.draws.draw(40, evolve(streams, noise_for=name)) for name in ("", "reference"))
    assert torch.equal(ours.examples.target, theirs.examples.target)
    assert torch.equal(ours.examples.condition, theirs.examples.condition)  # type: ignore[arg-type]
    assert torch.equal(ours.drop, theirs.drop)  # type: ignore[arg-type]
    noises = [(drawn.examples.x - drawn.examples.target) / drawn.sigma[:, None] for drawn in (ours, theirs)]
    for one, two in (noises, (ours.sigma.log(), theirs.sigma.log())):
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.4
        assert not bool((one == two).any())
    with torch.no_grad():
        expected = now.options.score_loss.of(
            weak, with_dropped_conditions(theirs, weak), theirs.sigma, SPACE.sigma_data
        )
    learners = losses_of(now, learner, learner)
    now.run()
    torch.testing.assert_close(selector.got[0].reference, expected)
    torch.testing.assert_close(selector.got[0].learner, learners)


def test_what_is_trained_does_not_depend_on_where_the_reference_is_scored() -> None:
    ends = []
    for separate in (False, True):
        learner = Table(-1)
        training(learner, Table(10, seed=1), Scored(separate=separate), duration="3it").run()
        ends.append(learner.table.detach())
    assert torch.equal(*ends)


def test_jest_asks_for_it() -> None:
    assert not JEST().plan(256, {}).separate_noise
    assert JEST(noise="separate").plan(256, {}).separate_noise
    for score in ("hard-learner", "easy-reference"):
        with pytest.raises(ValueError, match=f"noise=separate: score={score} looks at one network alone"):
            JEST(noise="separate", score=score)


@pytest.mark.parametrize("name", Registry.installed().names("task"))
def test_installed_tasks_draw_the_same_data_under_other_noise(name: str, tmp_path: Path) -> None:
    registry = Registry.installed()
    if name == "images":
        pixels = numpy.arange(40 * 64).astype(numpy.uint8).reshape(40, 8, 8, 1)
        numpy.savez(tmp_path / "images.npz", images=pixels)
        name = f'images("{tmp_path / "images.npz"}")'
    if name == "points":
        (tmp_path / "points.csv").write_text("x,y\n" + "".join(f"{i},{i % 3}\n" for i in range(40)))
        name = f'points("{tmp_path / "points.csv"}")'
    task = Reader(registry).expression(name, Task)
    options = task.recipe("main", None).options  # type: ignore[union-attr]
    FreshNoise(task, options.noise).draw(4, TrainingStreams(0, 0, noise_for="reference"))


@frozen
class OneGenerator:
    """Data whose noise comes from the generator of the data."""

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data")
        clean, noise = torch.randn(2, len(sigma), 2, generator=generator)
        return Examples(clean + sigma[:, None] * noise, clean, torch.zeros(len(sigma), dtype=torch.int64))


def test_data_that_do_not_draw_noise_apart_are_refused_in_one_line() -> None:
    with pytest.raises(RecipeError, match=r"noise=separate is for .*'OneGenerator' draws in another") as refused:
        training(Table(-1), Table(-1, seed=1), Scored(separate=True), OneGenerator()).run()
    assert "\n" not in str(refused.value)
    training(Table(-1), Table(-1, seed=1), Scored(), OneGenerator()).run()


def test_noise_that_is_decided_beforehand_is_refused_too() -> None:
    data = FiniteData(TensorDataset(torch.randn(8, 2), torch.arange(8) % CLASSES))
    now = training(Table(-1), Table(-1, seed=1), Scored(separate=True), data, noise_streams=3)
    with pytest.raises(RecipeError, match=r"noise=separate .* noise_streams is 3, .*set noise_streams to 0"):
        now.run()
