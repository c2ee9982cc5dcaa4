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


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_no_false_alarm_of_any_guider(task):
    tried = 0
    for guider in GUIDERS:
        guider = "interval(cfg, low=0.1)" if guider == "interval" else guider  # by default between these few levels
        try:
            config = config_of(task, guider, sampler="euler(num_steps=5)")
            drawn, truth = sampled(config)
        except GuideplugError:
            continue  # it has options without defaults, or is not for this task or network
        texts = suspicious_samples(config, drawn, truth)
        untrained = ("far wider", "outside the data's range")  # as these networks are
        assert [text for text in texts if not any(fault in text for fault in untrained)] == [], guider
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


def drawn_pixels():
    """Three quarters of them at the ends of the range, in an order of their own in each image."""
    order = torch.rand(24, 16, generator=torch.Generator().manual_seed(0)).argsort(1)
    return torch.tensor([-1.0, 0.0, 1.0, 1.0]).repeat(4)[order].reshape(24, 1, 4, 4)


@pytest.mark.parametrize(
    ("change", "share"),
    [(lambda x: x, 0), (lambda x: x.clamp(-1, 1), 0), (lambda x: 1.04 * x, 0), (lambda x: 1.3 * x, 75)],
)
def test_samples_outside_a_hard_range(change, share):
    """Pixels of -1, 0, 1 and 1; a range that few values reach is none."""
    pixels = drawn_pixels()
    config, truth = config_of("digits", None), Arm("truth", pixels)
    texts = suspicious_samples(config, arms_of(unguided=change(pixels)), truth)
    expected = (
        f"{share}% of the values of unguided samples lie outside the data's range, -1 to 1: give the sampler clip"
    )
    assert [text[: len(expected)] for text in texts] == [expected] * bool(share)
    soft = Arm("truth", evenly(1000, seed=2))
    assert suspicious_samples(config_of("gaussian", None), arms_of(unguided=1.5 * evenly(1000)), soft) == []


def test_a_decoded_range_is_that_of_the_decoder():
    pixels = drawn_pixels()
    latent = wrap(lambda x, t: x, (1, 4, 4), predicts="denoised", decode=lambda x: x)
    (text,) = suspicious_samples(
        config_of("digits", None), {"unguided": Arm("unguided", 1.3 * pixels, denoiser=latent)}, Arm("truth", pixels)
    )
    assert text.endswith("-1 to 1: look at decode")


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
    texts = [text for text in suspicious_samples(config, drawn, truth) if "outside the data's range" not in text]
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
