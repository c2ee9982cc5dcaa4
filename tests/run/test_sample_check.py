"""Suspicious samples: nothing is said of our guiders on our tasks, and each planted fault is said with its reason."""

import attrs
import pytest
import torch
from torch import nn

from guideplug import Guider, Registry, Start, Task, wrap
from guideplug.config import Reader
from guideplug.denoise import Leaf
from guideplug.errors import GuideplugError
from guideplug.run.arms import draw_arms
from guideplug.run.preflight import denoiser_of, guided
from guideplug.run.resolve import Request, resolve
from guideplug.run.sample_check import suspicious_samples
from guideplug.task import Arm

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
TASKS = ["tree(classes=both, labels=true)", "tree", "digits", "mixture", "gaussian"]
GUIDERS = sorted(cls.name for cls in REGISTRY.classes(Guider))


def config_of(task, guider, **values):
    return resolve(Request(values={"task": task, "guider": guider, "samples": 24, **values}), REGISTRY)


def trained_a_little(module, role):
    """Away from the last layer's zeros, at which networks say the same under all conditions."""
    generator = torch.Generator().manual_seed(len(role))
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def sampled(config, models=None):
    """Both arms, and true samples."""
    if models is None:
        models = {
            role: denoiser_of(trained_a_little(recipe.build(), role), role) for role, recipe in config.recipes.items()
        }
    points = {"unguided": models["main"], "guided": guided(config.guider, models)}
    drawn, _ = draw_arms(
        points,
        config.task,
        config.sampler,
        count=config.samples,
        seed=0,
        batch=config.samples,
        device=torch.device("cpu"),
    )
    return drawn, config.task.truth(config.samples, config.sampler, 0)[0]


@pytest.mark.parametrize("task", TASKS)
def test_no_false_alarm_of_any_guider(task):
    tried = 0
    for guider in GUIDERS:
        try:
            config = config_of(task, guider, sampler="euler(num_steps=5)")
            drawn, truth = sampled(config)
        except GuideplugError:
            continue  # it has options without defaults, or is not for this task or network
        texts = suspicious_samples(config, drawn, truth)
        assert [text for text in texts if "far wider" not in text] == [], guider  # these networks are not trained
        tried += 1
    assert tried > 3


def evenly(count=24, seed=0):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))


def arms_of(**samples):
    return {name: Arm(name, x) for name, x in samples.items()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: 5 * x, "guided samples are far wider than the data: standard deviation"),
        (lambda x: torch.cat([x[:20], 100 * x[20:]]), "more than 2 times as far from the mean"),
        (lambda x: torch.cat([x[:20], x[20:] * torch.nan]), "4 of 24 guided samples are not finite"),
        (lambda x: 1.5 * x, None),
        (lambda x: 0.1 * x, None),
    ],
)
def test_samples_far_from_the_data(change, sentence):
    config = config_of("gaussian", None)
    texts = suspicious_samples(
        config, arms_of(unguided=evenly(), guided=change(evenly(seed=1))), Arm("truth", evenly(seed=2))
    )
    assert len(texts) == (sentence is not None)
    if sentence:
        assert sentence in texts[0]


class Deaf(nn.Module):
    """It does not hear its condition."""

    def forward(self, x, time, labels=None):
        return 0.5 * x


class Hearing(nn.Module):
    def forward(self, x, time, labels=None):
        return x * (0.3 if labels is None else 0.3 + 0.02 * labels.reshape(-1, *[1] * (x.ndim - 1)))


def network(task, kind=Hearing, null=10):
    return wrap(kind(), task.space.shape, predicts="denoised", null=null, sigma_max=20.0)


def main_of(config, kind=Hearing, null=10):
    return {"main": network(config.task, kind, null)}


@pytest.mark.parametrize(
    ("task", "guider", "kind", "null", "reason"),
    [
        ("gaussian", "cfg(weight=3)", Hearing, lambda batch, device: None, "task gaussian gives none"),
        ("digits", "cfg(weight=3)", Deaf, 10, "the network answers the same with and without its condition"),
        ("digits", "interval(cfg(weight=3), high=0.0001)", Hearing, 10, "off at every level of the sampler's grid"),
        ("digits", "cfg(weight=3)", Hearing, 10, None),
        ("digits", "cfg(weight=1)", Hearing, 10, None),
        ("digits", "interval(cfg(weight=3), high=1)", Hearing, 10, None),
    ],
)
def test_guidance_that_does_nothing(task, guider, kind, null, reason):
    config = config_of(task, guider, sampler="euler(num_steps=6)")
    drawn, truth = sampled(config, main_of(config, kind, null))
    texts = suspicious_samples(config, drawn, truth)
    assert len(texts) == (reason is not None)
    if reason:
        assert texts[0].startswith("guidance changed nothing: ")
        assert reason in texts[0]


def test_a_guide_that_is_the_network():
    config = config_of("gaussian", "autoguidance(weight=3)", sampler="euler(num_steps=6)")
    models = {role: network(config.task) for role in ("main", "weak")}
    (text,) = suspicious_samples(config, *sampled(config, models))
    assert "the guide answers as the network does" in text


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("task", TASKS)
def test_a_start_at_another_level(task, factor, monkeypatch):
    config = config_of(task, None, samples=64)
    base: Leaf = config.task.recipe("main", None).build()
    cls, start = type(config.task), type(config.task).start

    def other(self: Task, streams, sigma) -> Start:
        begin = start(self, streams, sigma)
        return attrs.evolve(begin, x=factor * begin.x)

    monkeypatch.setattr(cls, "start", other)
    drawn, _ = draw_arms(
        {"unguided": base}, config.task, config.sampler, count=64, seed=0, batch=64, device=torch.device("cpu")
    )
    texts = suspicious_samples(config, drawn, drawn["unguided"])
    assert len(texts) == (factor != 1)
    assert all("they are not at the sampler's first level" in text for text in texts)
