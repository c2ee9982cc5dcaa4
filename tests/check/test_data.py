"""Suspicious training data: nothing is said of ours, and each planted fault is said in its own sentence."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from guideplug import FiniteData, Registry, Task, check_data, wrap
from guideplug.errors import ConfigError

NORMAL = torch.randn(600, 3, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(300, 3, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(600) % 10


def task_of(cls, folder):
    if cls.name != "points":
        return cls(**cls.example(folder))
    rows = [f"{row % 17},{row % 23},{'ab'[row % 2]}" for row in range(400)]  # its example is of 80 rows
    (folder / "points.csv").write_text("\n".join(["x,y,class", *rows]) + "\n")
    return cls(path=str(folder / "points.csv"), label="class")


@pytest.mark.parametrize("cls", Registry.installed().classes(Task), ids=lambda cls: cls.name)
def test_nothing_is_suspicious_about_our_tasks(cls, tmp_path: Path):
    task = task_of(cls, tmp_path)
    main = task.recipe("main", None)
    state = torch.get_rng_state()
    assert check_data(task, network=main.build(), batch=main.options.batch) == []
    assert check_data(task) == []
    del main
    torch.set_rng_state(state)
    check_data(task)
    assert torch.equal(torch.get_rng_state(), state)


def labelled(null):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.classes = nn.Embedding(11, 2)

        def forward(self, x, time, labels):
            return x

    return wrap(Net(), (3,), predicts="denoised", null=null)


def changed(x, index, value):
    x = x.clone()
    x[index] = value
    return x


PIXELS = torch.randint(0, 256, (300, 1, 4, 4), generator=torch.Generator().manual_seed(2)).float()
UNIT = changed(changed(PIXELS / 255, (0, 0, 0, 0), 0.0), (1, 0, 0, 0), 1.0) ** 4
FAULTS = {
    "too wide": ((5 * NORMAL,), {}, "standard deviation of the training data is 5."),
    "too narrow": ((0.1 * NORMAL,), {}, "and sigma_data = 1 differs by more than a factor of 2"),
    "far from 0": ((NORMAL + 9,), {}, "the mean of the training data is 9."),
    "8 bits": ((PIXELS,), {}, "whole numbers from 0 to 255, as pixels of 8 bits"),
    "0 to 1": ((UNIT,), {}, "training images lie between 0 and 1"),
    "a constant column": ((changed(NORMAL, (slice(None), 1), 0.5),), {}, "column 1 of the training data, counted"),
    "a constant channel": ((changed(IMAGES, (slice(None), 2), 0.0),), {}, "channel 2 of the training data"),
    "all equal": ((NORMAL[:1].expand(600, 3),), {}, "training examples looked at are equal"),
    "negative labels": ((NORMAL, LABELS - 1), {}, "labels of the training data go down to -1"),
    "the null label": ((NORMAL, LABELS), {"network": labelled(9)}, "looked at have the label 9"),
    "too many labels": ((NORMAL, LABELS + 5), {"network": labelled(None)}, "labels of the training data go up to 14"),
    "less than a batch": ((NORMAL,), {"batch": 2401}, "there are 600 training examples, less than a quarter"),
    "a large network": ((NORMAL,), {"network": nn.Linear(3000, 601)}, "the network has 1,803,601 parameters, more"),
}  # fmt: skip


SOUND = {
    "a table": ((NORMAL,), {"batch": 2400}),
    "labels": ((NORMAL, LABELS), {"network": labelled(10)}),
    "images with a constant border": ((changed(IMAGES, (..., 0), -1.0),), {}),
    "one column": ((NORMAL[:, :1],), {}),
    "whole numbers": ((NORMAL.sign(),), {}),
    "0 to 1, and said to be": ((UNIT,), {"sigma_data": float(UNIT.std())}),
    "one example": ((NORMAL[:1].clone().fill_(1.0) + torch.tensor([-1.0, 0.0, 1.0]),), {}),
}


class Anew:
    """Data that are drawn without end."""

    def __init__(self, dataset):
        self.data = FiniteData(dataset)

    def size(self):
        return None

    def draw(self, sigma, streams):
        return self.data.draw(sigma, streams)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", [FiniteData, Anew])
def test_each_fault_has_its_sentence(fault, kind):
    tensors, options, sentence = FAULTS[fault]
    texts = check_data(kind(TensorDataset(*tensors)), **{"sigma_data": 1.0, **options})
    if kind is Anew and sentence.startswith(("there are", "the network has")):
        assert texts == []
    else:
        assert len(texts) == 1
        assert sentence in texts[0]
        assert "\n" not in texts[0]


@pytest.mark.parametrize("name", SOUND)
def test_sound_data_are_not_suspected(name):
    tensors, options = SOUND[name]
    assert check_data(FiniteData(TensorDataset(*tensors)), **{"sigma_data": 1.0, **options}) == []


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_an_error_that_names_the_example(bad):
    with pytest.raises(ConfigError, match=r"example 17 of the training data holds .* \(1 of 600 examples"):
        check_data(FiniteData(TensorDataset(changed(NORMAL, (17, 1), bad))), 1.0)


def test_a_bounded_number_is_looked_at_whatever_the_size():
    class Endless(Dataset):
        asked = 0

        def __len__(self):
            return 10**12

        def __getitem__(self, index):
            self.asked += 1
            return torch.randn(2)

    data = Endless()
    state = torch.get_rng_state()
    assert check_data(FiniteData(data), 1.0) == []
    assert data.asked <= 4096 + 2
    torch.manual_seed(5)
    state = torch.get_rng_state()
    check_data(FiniteData(TensorDataset(NORMAL)), 1.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_task_the_spread_must_be_said():
    with pytest.raises(ValueError, match="sigma_data is not given"):
        check_data(FiniteData(TensorDataset(NORMAL)))
