"""Fine-tuning with a selector of its own: its reference, what it trains on, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from click.testing import CliRunner

from guideplug import Duration, FineTune, Recipe, Registry, Selector, Snapshot, Task
from guideplug.cli.main import main
from guideplug.config import Reader, write
from guideplug.errors import GuideplugError, RecipeError
from guideplug.experiments.comparison.trainings import needed_for
from guideplug.observe import Observers
from guideplug.recipes.planned import PlannedBatch
from guideplug.run.builder import StoreBuilder
from guideplug.run.resolve import Request, resolve
from guideplug.store import Store, identity
from guideplug.store.identity import describe
from guideplug.train import Constant, Training

torch.set_num_threads(1)

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
JEST = "jest(filter_ratio=0.5, num_chunks=2)"


def run(*models: str, **values: Any) -> Any:
    given = dict(model.split("=", 1) for model in models)
    return resolve(Request(values={"task": "gaussian", "device": "cpu", **values}, models=given), REGISTRY)


def tuned(selector: str | None = JEST, **changes: Any) -> FineTune:
    """A fine-tuning of a main network of 6 steps, with the task's reference."""
    task: Any = READER.expression("gaussian(count=64)", Task)
    base: Any = task.recipe("main", None)
    base = evolve(base, options=evolve(base.options, duration="6it", batch=32))
    chosen: Any = None if selector is None else READER.expression(selector, Selector)
    models = {} if chosen is None else {role: base.with_options(seed=3) for role in chosen.needs(task, base)}
    options = evolve(base.options, duration="5it")
    return FineTune(**{"of": base, "on": task, "options": options, "selector": chosen, "models": models, **changes})


@pytest.fixture
def shop(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(Store(tmp_path), torch.device("cpu"), Observers([]))


def test_it_is_training_from_there_on_what_the_selector_keeps(shop: StoreBuilder) -> None:
    recipe = tuned()
    learner: Any = recipe.build()
    learner.load_state_dict(shop.obtain(recipe.of).state_dict())
    ((role, reference),) = recipe.models.items()
    now = Training(
        learner, recipe.on, recipe.options, seed=0, selector=recipe.selector, references={role: shop.obtain(reference)}
    )
    now.run()
    built = shop.build(recipe)
    assert all(torch.equal(value, now.weights()[name]) for name, value in built.module.state_dict().items())
    assert (built.facts["seen"], built.facts["scored"], built.facts["backpropagated"]) == (160, 160, 80)


def test_the_losses_of_its_reference_on_finite_data_are_computed_once(shop: StoreBuilder) -> None:
    plain = tuned("rho")
    recipe = evolve(plain, options=evolve(plain.options, noise_streams=2))
    (table,) = recipe.prerequisites()
    assert table.of == recipe.models["weak"]
    assert shop.build(recipe).facts["backpropagated"] < 160
    assert not tuned("rho").tables


def test_it_counts_the_training_of_its_reference() -> None:
    recipe = tuned()
    found = [one for one, _ in needed_for([recipe]).trainings]
    assert sorted(map(identity, found)) == sorted(map(identity, (recipe, recipe.of, *recipe.models.values())))


def test_the_reference_is_the_runs_network_of_that_role() -> None:
    config = run(
        f"tuned=fine-tune(of=main, on=gaussian, selector={JEST}, duration=9it)", guider="autoguidance(model=tuned)"
    )
    recipe = config.models["tuned"]
    assert recipe.models == {"weak": config.task.recipe("weak", config.main)}
    named = run(
        f"tuned=fine-tune(of=main, on=gaussian, selector={JEST}, duration=9it)",
        "weak=train(duration=3it)",
        guider="autoguidance(model=tuned)",
    )
    assert named.models["tuned"].models["weak"].options.duration == Duration(3, "it")


def test_as_the_main_network_with_weights_from_anywhere() -> None:
    """The roles of a selector are the task's, whatever network it trains."""
    config = run(f"main=fine-tune(of=snapshot(of=train(duration=9it), at=4it), on=gaussian, selector={JEST})")
    assert list(config.main.models) == ["weak"]
    assert config.main.models["weak"].selector is None


@pytest.mark.parametrize("selector", [None, JEST])
def test_it_is_read_as_it_is_written(selector: str | None) -> None:
    recipe = tuned(selector)
    assert READER.read(write(recipe), Recipe, "it") == recipe


def test_only_a_selector_changes_the_identity() -> None:
    plain = tuned(None)
    assert {"selector", "models"}.isdisjoint(describe(plain)["recipe"])
    other = tuned("random")
    assert len({identity(one) for one in (plain, tuned(), other, evolve(tuned(), models={"weak": plain.of}))}) == 4
    assert identity(Snapshot(of=plain)) != identity(Snapshot(of=other))


def test_what_is_tried_before_anything_is_trained() -> None:
    recipe = tuned()
    planned = list(recipe.evaluates())
    assert all(isinstance(one, PlannedBatch) for one in planned)
    assert [one.of for one in planned] == [recipe, recipe.models["weak"]]


REFUSED: dict[str, tuple[Callable[[], FineTune], str]] = {
    "no reference": (
        lambda: evolve(tuned(), models={}),
        r"fine-tune: selector 'jest' scores with a network for 'weak': name it in models, as in fine-tune",
    ),
    "a share of seconds": (
        lambda: tuned("early(random, until=0.5)", options=evolve(tuned().options, duration="9s", schedule=Constant())),
        "which a duration of 9s does not tell",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(RecipeError, match=message):
        make().check()


def test_a_role_that_scores_for_itself_is_refused() -> None:
    with pytest.raises(GuideplugError, match="round in a circle: weak -> weak"):
        run(f"weak=fine-tune(of=main, on=gaussian, selector={JEST})", guider="autoguidance")


def test_a_run_says_what_the_selector_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    arguments = ["run", "--task", "gaussian", "--device", "cpu", "--samples", "8", "--set", "threads=1", "--out", "out"]
    model = f"main=fine-tune(of=train(duration=4it), on=gaussian, selector={JEST}, duration=5it, batch=32)"
    result = CliRunner().invoke(main, [*arguments, "--model", model, "--model", "weak=train(duration=3it)"])
    assert result.exit_code == 0, result.output
    assert "80 of 160 examples drawn were trained on" in " ".join(result.output.split())
