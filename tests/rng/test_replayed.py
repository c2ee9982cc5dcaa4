"""EDM2's streams: the numbers of a generator per seed in its order, and the refusal of any other order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guideplug import NoiseDomain, Registry, ReplayedStreams, SampleStreams, Space
from guideplug.config import Reader
from guideplug.errors import ConfigError
from guideplug.rng import DEFAULT_STREAMS, STREAMS
from guideplug.sample import Sampler, planned_evaluations
from guideplug.testing.oracles import GaussianDenoiser

SHAPE = (3, 4, 4)
DOMAIN = NoiseDomain(Space(SHAPE, 0.5, 0.002, 80.0), 10)


def replayed(seed: int, steps: list[int]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Noise, label and churn noise of one sample, straight from torch."""
    generator = torch.Generator().manual_seed(seed % 2**32)
    noise = torch.randn(SHAPE, generator=generator)
    label = torch.randint(10, (), generator=generator)
    return noise, label, [torch.randn(SHAPE, generator=generator) for _ in steps]


def test_the_first_numbers_are_those_of_the_released_sampler() -> None:
    """Of shared/reference/trajectory-churn.npz, whose samples have the seeds 40 to 45."""
    domain = NoiseDomain(Space((3, 16, 16), 0.5, 0.002, 80.0), 10)
    start = domain.start(ReplayedStreams(40, range(6)), 1.0)
    expected = torch.tensor([[-0.23673247, 1.81088, 0.19661036], [0.24650228, -0.47170243, -1.5183909]])
    torch.testing.assert_close(start.x[:2, 0, 0, :3], expected, atol=1e-6, rtol=0)
    assert start.condition.tolist() == [0, 7, 3, 4, 5, 2]


@given(
    seed=st.integers(-(2**40), 2**40),
    indices=st.lists(st.integers(0, 2**33), min_size=1, max_size=4),
    steps=st.lists(st.integers(0, 30), unique=True, max_size=4).map(sorted),
)
def test_a_sample_is_that_of_its_own_generator_in_any_batch(seed: int, indices: list[int], steps: list[int]) -> None:
    streams = ReplayedStreams(seed, indices)
    start = DOMAIN.start(streams, 2.0)
    churn = [streams.normal(SHAPE, "churn", step) for step in steps]
    for row, index in enumerate(indices):
        noise, label, added = replayed(seed + index, steps)
        assert torch.equal(start.x[row], 2.0 * noise)
        assert start.condition[row] == label
        assert all(torch.equal(drawn[row], one) for drawn, one in zip(churn, added, strict=True))


def test_without_labels_the_first_churn_follows_the_noise() -> None:
    streams = ReplayedStreams(7, [0])
    NoiseDomain(DOMAIN.space).start(streams, 1.0)
    generator = torch.Generator().manual_seed(7)
    torch.randn(SHAPE, generator=generator)
    assert torch.equal(streams.normal(SHAPE, "churn", 3)[0], torch.randn(SHAPE, generator=generator))


def test_a_second_trajectory_of_the_same_samples_gets_the_same_numbers() -> None:
    streams = ReplayedStreams(0, range(3))
    start = DOMAIN.start(streams, 1.0)
    first = [streams.normal(SHAPE, "churn", step) for step in (1, 2)]
    second = [streams.normal(SHAPE, "churn", step) for step in (1, 2, 5)]
    again = DOMAIN.start(streams, 1.0)
    assert torch.equal(start.x, again.x)
    assert torch.equal(start.condition, again.condition)
    third = [streams.normal(SHAPE, "churn", step) for step in (1, 2, 5)]
    assert all(map(torch.equal, first, second))
    assert all(map(torch.equal, second, third))
    assert not torch.equal(first[0], first[1])


def test_streams_moved_to_a_device_go_on_in_one_order() -> None:
    streams = ReplayedStreams(0, range(3))
    DOMAIN.start(streams, 1.0)
    first = streams.to("cpu").normal(SHAPE, "churn", 0)
    second = streams.normal(SHAPE, "churn", 1)
    fresh = ReplayedStreams(0, range(3))
    DOMAIN.start(fresh, 1.0)
    assert torch.equal(first, fresh.normal(SHAPE, "churn", 0))
    assert torch.equal(second, fresh.normal(SHAPE, "churn", 1))
    assert streams.to("meta").device.type == "meta"


def drawn_until_churn() -> ReplayedStreams:
    streams = ReplayedStreams(0, range(2))
    DOMAIN.start(streams, 1.0)
    for step in (2, 3, 5):
        streams.normal(SHAPE, "churn", step)
    return streams


REFUSED = {
    "an earlier step": lambda: drawn_until_churn().normal(SHAPE, "churn", 1),
    "a step in the middle of those drawn": lambda: drawn_until_churn().normal(SHAPE, "churn", 3),
    "churn before the start": lambda: ReplayedStreams(0, [0]).normal(SHAPE, "churn", 0),
    "a label before the noise": lambda: ReplayedStreams(0, [0]).integers(10, "start label"),
    "a label after churn": lambda: drawn_until_churn().integers(10, "start label"),
    "start noise of another shape": lambda: drawn_until_churn().normal((2,), "start noise"),
    "a uniform label": lambda: drawn_until_churn().uniform((), "start label"),
    "a purpose of another task": lambda: drawn_until_churn().normal((2,), "start point"),
    "normal labels": lambda: drawn_until_churn().normal((), "start label"),
}


@pytest.mark.parametrize("draw", REFUSED.values(), ids=REFUSED)
def test_what_a_replay_cannot_give_is_refused_in_one_line(draw: object) -> None:
    with pytest.raises(ConfigError, match="streams edm2") as refusal:
        draw()  # type: ignore[operator]
    assert "\n" not in str(refusal.value)
    assert "'counter'" in str(refusal.value)


def test_after_a_refusal_the_streams_go_on() -> None:
    streams, whole = ReplayedStreams(0, [4]), ReplayedStreams(0, [4])
    for each in (streams, whole):
        DOMAIN.start(each, 1.0)
        each.normal(SHAPE, "churn", 2)
    with pytest.raises(ConfigError):
        streams.normal(SHAPE, "churn", 1)
    assert torch.equal(streams.normal(SHAPE, "churn", 3), whole.normal(SHAPE, "churn", 3))


@pytest.mark.parametrize("expression", sorted(Registry.installed().names("sampler")))
def test_every_sampler_draws_the_same_sample_alone_and_planned(expression: str) -> None:
    """With churn where a sampler has it, and after a first walk with the same streams."""
    sampler: Sampler = Reader(Registry.installed()).expression(expression, Sampler, "the test")
    if hasattr(sampler, "churn"):
        sampler = Reader(Registry.installed()).replaced(sampler, "churn", 20.0, "the test")
    denoiser = GaussianDenoiser(0.3)
    if getattr(sampler, "schedule", "") == "model":  # which has no time of its own
        sampler = Reader(Registry.installed()).replaced(sampler, "schedule", "edm", "the test")
    domain = NoiseDomain(denoiser.space)
    sigma = sampler.sigmas(denoiser)[0]

    def samples(streams: ReplayedStreams | SampleStreams) -> torch.Tensor:
        start = domain.start(streams, sigma)
        planned_evaluations(sampler, denoiser, start.x, None, streams)
        return sampler.sample(denoiser, start.x, None, streams)

    if getattr(sampler, "eta", 0):  # their noise is none that EDM2's sampler draws
        with pytest.raises(ConfigError, match="streams edm2 do not draw 'step noise' in this way"):
            samples(ReplayedStreams(3, range(6)))
        return
    whole, alone = samples(ReplayedStreams(3, range(6))), samples(ReplayedStreams(3, [4]))
    torch.testing.assert_close(whole[4], alone[0])
    assert not torch.equal(whole, samples(SampleStreams(3, range(6))))


def test_the_default_is_the_counter() -> None:
    assert STREAMS[DEFAULT_STREAMS] is SampleStreams
    assert STREAMS["edm2"] is ReplayedStreams
