"""The reward of the mixture: its formula, its laws, and a fit that raises it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from click.testing import CliRunner

from guideplug import GuideplugError, Registry, Reward, SampleStreams, TrainingStreams, WeightInput
from guideplug.cli.main import main
from guideplug.config import Reader
from guideplug.store import identity
from guideplug.testing import check_reward
from guideplug_mixture import ClassLikelihood, Gaussian, Mixture
from guideplug_mixture.data import draw_points

torch.set_num_threads(1)

TASK = Mixture(classes=3, shares=(0.5, 0.3, 0.2))


def test_it_is_the_log_probability_of_the_class_by_bayes() -> None:
    points, labels = draw_points(TASK.density, SampleStreams(0, range(200)), "test")
    points = points.double()
    scores = ClassLikelihood(task=TASK).score(points, labels)
    joint = [share * TASK.density.of(label).log_prob(points).exp() for label, share in enumerate(TASK.class_shares)]
    wanted = torch.stack(joint, 1)[torch.arange(200), labels] / TASK.density.log_prob(points).exp()
    assert torch.allclose(scores.exp(), wanted, rtol=1e-9)
    assert float((TASK.group_of(points) == labels).double().mean()) > 0.9
    assert float(scores.mean()) > float(ClassLikelihood(task=TASK).score(points, (labels + 1) % 3).mean()) + 2


def test_it_keeps_the_laws_of_rewards() -> None:
    points, labels = draw_points(TASK.density, SampleStreams(1, range(8)), "test")
    check_reward(ClassLikelihood(task=TASK), points, labels)


def test_its_task_is_that_of_whoever_reads_it() -> None:
    reader = Reader(Registry.installed(), unstated={"task": TASK})
    assert reader.expression("class-likelihood", Reward) == ClassLikelihood(task=TASK)


@pytest.mark.parametrize("task", [Gaussian(), Mixture(labels=False)], ids=["gaussian", "without labels"])
def test_another_task_is_refused_in_one_line(task: Any) -> None:
    with pytest.raises(ValueError, match=r"^task is '\w+': give the task mixture, with labels$"):
        ClassLikelihood(task=task)


@pytest.fixture
def fit() -> Any:
    """A small fit of the weight of cfg, for classes that overlap."""
    from guideplug.run.resolve import Request, resolve

    values = {"task": "mixture(spread=0.8)", "guider": "learned(cfg)", "device": "cpu"}
    sets = {"iterations": "150", "batch": "64", "lr": "0.01"}
    request = Request(values=values, sets=[(f"models.weights.{key}", text) for key, text in sets.items()])
    return resolve(request, Registry.installed()).models["weights"]


class Shop:
    """A builder with one network, for all who ask."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def obtain(self, recipe: Any) -> Any:
        return self.base

    def checkpoint(self, work: Any) -> bool:
        return False

    def progress(self, *_: Any) -> None:
        pass


@pytest.mark.slow
def test_a_fit_for_it_guides_more_and_raises_its_mean(fit: Any) -> None:
    """Of exact networks, so that nothing but the reward asks for guidance."""
    task, sigma = fit.task, 0.8
    reward, base = ClassLikelihood(task=task), task.exact()
    examples = task.draw(torch.full((1024,), sigma), TrainingStreams(5, 0))
    x, labels = examples.x, examples.condition
    conditional = base(x, sigma, labels)
    away = conditional - base.unconditional()(x, sigma, labels)
    weights, means = [], []
    for recipe in (fit, evolve(fit, reward=reward)):
        module = recipe.build()
        recipe.make(module, Shop(base))
        with torch.no_grad():
            omega = module(WeightInput(sigma, sigma / 2, task.space, labels))
        weights.append(float(omega.mean()))
        means.append(float(reward.score(conditional + omega[:, None] * away, labels).mean()))
    assert weights[0] < 0.05
    assert weights[1] > 0.2
    assert means[1] > means[0] + 0.05


def test_it_is_part_of_the_identity(fit: Any) -> None:
    assert identity(evolve(fit, reward=ClassLikelihood(task=fit.task))) != identity(fit)


def test_it_is_named_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))

    def call(*args: str) -> Any:
        return CliRunner().invoke(main, ["run", *args, "--guider", "learned(cfg)", "--dry-run", "--device", "cpu"])

    one = ("--task", "mixture", "--model", "weights=fit(guider=cfg, reward=class-likelihood)")
    other = ("--task", "mixture", "--set", "models.weights.reward=class-likelihood")
    for arguments in (one, other):
        planned = call(*arguments)
        assert planned.exit_code == 0, planned.output
        assert "class-likelihood(task=mixture" in planned.output
    for task, said in (("digits", "task is 'digits': give the task mixture, with labels"),):
        refused = call("--task", task, "--set", "models.weights.reward=class-likelihood")
        assert refused.exit_code == 2
        assert said in refused.output
        assert len(refused.output.strip().splitlines()) == 1
    unknown = call("--task", "mixture", "--set", "models.weights.reward=class-likelyhood")
    assert unknown.exit_code == 2
    assert "or the name of a reward that a plugin offers" in unknown.output


def test_of_its_kind_it_is_found() -> None:
    registry = Registry.installed()
    assert registry.find("reward", "class-likelihood") is ClassLikelihood
    with pytest.raises(GuideplugError, match="no reward is called 'class-likelyhood'"):
        registry.find("reward", "class-likelyhood")
