"""Points as a task: laws, scale, recipes, and that another file is another task."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from guideplug import Duration, FiniteData, Load, SampleStreams, Train, TrainingStreams
from guideplug.config import Reader, short, write
from guideplug.errors import ConfigError
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, read_file, resolve, to_toml
from guideplug.store import identity
from guideplug.task import Network, Task
from guideplug.testing import check_network, check_task
from guideplug_edm import Euler
from guideplug_points import DataError, Points, PointsMLP

torch.set_num_threads(1)

REGISTRY = Registry.installed()
SMALL = PointsMLP(width=8, blocks=1)


def read(text: str) -> Points:
    return cast(Points, Reader(REGISTRY).expression(text, Task))


@pytest.mark.slow
def test_the_laws_of_tasks_and_networks(rings: Path, cloud: Path) -> None:
    for task in (Points(str(rings), "ring"), Points(str(rings), columns=("north", 1)), Points(str(cloud))):
        check_task(task)
        for network in (PointsMLP(), SMALL):
            check_network(network, task)


def test_it_is_written_and_read_again(rings: Path) -> None:
    task = read(f"points('{rings}', label=ring, columns=[north, 1], heldout=0.3)")
    assert task == Points(str(rings), "ring", ("north", 1), 0.3)
    assert read(short(task)) == task
    assert Reader(REGISTRY).read(write(task), Task, "") == task
    for none in ("none", "'none'", "'None'"):
        assert read(f"points('{rings}', label={none})").label is None
    assert read(f"points('{rings}', label=3)").table.classes == ("inner", "outer")


def test_a_path_is_made_absolute_without_being_read(rings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rings.parent)
    assert read("points(path=rings.csv, label=ring)") == Points(str(rings), "ring")
    missing = Points("none.csv")
    assert missing.path == str(rings.parent / "none.csv")
    assert missing.metrics()
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        missing.fingerprint()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("points", "points needs path"),
        ("points(a.csv, heldout=0)", "heldout is 0.0: it must be between 0.01 and 0.5"),
        ("points(a.csv, heldout=0.6)", "heldout is 0.6"),
        ("points(a.csv, columns=x)", "expected a list"),
        ("points(a.csv, label=1.5)", "label is 1.5"),
    ],
)
def test_wrong_options_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        read(text)


def test_networks_see_columns_of_one_scale_and_samples_are_in_the_files_units(rings: Path) -> None:
    task = Points(str(rings), "ring")
    data = cast(FiniteData, task._data)
    clean, classes = data.items(torch.arange(320))
    torch.testing.assert_close(clean.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(clean.std(0, correction=0), torch.full((2,), 0.5))
    leaf = SMALL.build(task)
    torch.testing.assert_close(leaf.decode(clean), torch.from_numpy(task.table.train).float(), rtol=1e-5, atol=1e-6)
    assert isinstance(classes, Tensor)
    assert classes.tolist() == task.table.train_labels.tolist()
    (truth,) = task.truth(1000, Euler(num_steps=1), 0)
    assert truth.samples.tolist() == task.table.heldout.astype(np.float32).tolist()
    assert (task.size(), task.samples()) == (320, 80)


def test_training_draws_training_rows_under_their_classes(rings: Path) -> None:
    task = Points(str(rings), "ring")
    examples = task.draw(torch.full((64,), 0.5), TrainingStreams(0, 0))
    assert examples.ids is not None
    clean, classes = task._data.items(examples.ids)
    assert torch.equal(examples.target, clean)
    assert torch.equal(cast(Tensor, examples.condition), cast(Tensor, classes))
    plain = Points(str(rings), columns=(1, 2)).draw(torch.full((64,), 0.5), TrainingStreams(0, 0))
    assert plain.condition is None


def test_samples_are_asked_for_under_the_held_out_classes_in_their_order(rings: Path) -> None:
    task = Points(str(rings), "ring")
    start = task.start(SampleStreams(0, range(90)), 80.0)
    labels = torch.from_numpy(task.table.heldout_labels)
    assert torch.equal(cast(Tensor, start.condition), torch.cat([labels, labels[:10]]))
    assert float(start.x.std()) == pytest.approx(80.0, rel=0.1)
    assert Points(str(rings), columns=(1, 2)).start(SampleStreams(0, range(3)), 80.0).condition is None


def test_recipes_are_relative_to_the_main_one(rings: Path) -> None:
    task = Points(str(rings), "ring")
    main = task.recipe("main", None)
    assert isinstance(main, Train)
    assert main.options.condition_dropout == 0.1
    weak = task.recipe("weak", main)
    assert isinstance(weak, Train)
    assert weak.denoiser == PointsMLP(width=64)
    assert weak.options.duration == Duration(main.options.duration.amount / 4, "it")
    assert evolve(weak, denoiser=main.denoiser, options=main.options) == main
    tiny = task.recipe("weak", evolve(main, denoiser=PointsMLP(width=1)))
    assert isinstance(tiny, Train)
    assert tiny.denoiser == PointsMLP(width=1)
    assert task.recipe("unconditional", main) is None  # the null class does that
    assert task.recipe("weak", Load(path="a", task=task, denoiser=PointsMLP())) is None
    assert task.recipe("weak", None) is None
    plain = Points(str(rings), columns=(1, 2)).recipe("main", None)
    assert isinstance(plain, Train)
    assert plain.options.condition_dropout == 0.0


def test_only_rows_with_a_class_have_a_null_class(rings: Path, cloud: Path) -> None:
    labelled = SMALL.build(Points(str(rings), "ring"))
    null = labelled.null_condition(3, torch.device("cpu"))
    assert cast(Tensor, null).tolist() == [2, 2, 2]
    assert not SMALL.build(Points(str(cloud))).has_null
    assert resolve(Request({"task": f"points('{cloud}')"}), REGISTRY).task.samples() == 40


def test_a_trained_network_treats_each_row_alone_and_looks_at_its_class(rings: Path) -> None:
    leaf = SMALL.build(Points(str(rings), "ring"))
    generator = torch.Generator().manual_seed(0)
    for parameter in leaf.parameters():  # the last layer starts at zero, which would hide everything
        parameter.data.normal_(0, 0.3, generator=generator)
    x, sigma, classes = torch.randn(4, 2, generator=generator), torch.rand(4) + 0.1, torch.tensor([0, 1, 2, 0])
    whole = leaf(x, sigma, classes)
    for row in range(4):
        alone = leaf(x[row : row + 1], sigma[row : row + 1], classes[row : row + 1])
        torch.testing.assert_close(alone, whole[row : row + 1])
    assert not torch.allclose(leaf(x, sigma, classes.flip(0))[:2], whole[:2], atol=1e-3)
    torch.testing.assert_close(leaf(x, 1e-6, classes), x, atol=1e-4, rtol=0)


def test_the_network_refuses_other_tasks() -> None:
    tree = REGISTRY.find("task", "tree")
    assert not isinstance(tree, str)
    with pytest.raises(ValueError, match="the task points, not for a Tree"):
        SMALL.build(cast(Task, tree()))


def test_an_edited_file_is_another_task_and_a_run_keeps_the_one_it_began_with(rings: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(rings.read_text())
    task = Points(str(path), "ring")
    main = cast(Train, task.recipe("main", None))
    before = identity(main)
    assert identity(cast(Train, Points(str(path), "ring").recipe("main", None))) == before
    path.write_text(rings.read_text().replace("inner", "Inner", 1))
    with pytest.raises(DataError, match="class 'Inner' has this row only"):
        Points(str(path), "ring").fingerprint()
    path.write_text("\n".join(rings.read_text().splitlines()[:-1]))
    again = Points(str(path), "ring")
    assert identity(cast(Train, again.recipe("main", None))) != before
    assert (again.size(), task.size()) == (319, 320)
    assert identity(main) == before
    options = {identity(evolve(main, task=other)) for other in (evolve(task, heldout=0.3), evolve(task, label=3), task)}
    assert len(options) == 3


def test_a_configuration_resolves_to_itself(rings: Path, tmp_path: Path) -> None:
    config = resolve(Request({"task": f"points('{rings}', label=ring)", "guider": "cfg", "device": "cpu"}), REGISTRY)
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert resolve(Request(file=read_file(tmp_path / "config.toml")), REGISTRY) == config
    assert isinstance(Reader(REGISTRY).expression("points-mlp(width=4)", Network), PointsMLP)


def test_a_home_that_nobody_has_is_a_path_like_any_other() -> None:
    assert Points("~nobody-of-this-name/rows.csv").path.endswith("/~nobody-of-this-name/rows.csv")
