"""Learning rates, averages and selection counted in examples instead of steps."""

import itertools
from typing import Any

import pytest
import torch
from gaussian import Chosen, options, training
from hypothesis import given
from hypothesis import strategies as st

from guideplug import Duration, Registry
from guideplug.config import Reader
from guideplug.errors import RecipeError
from guideplug.store.identity import describe
from guideplug.train import InverseSqrt, Training, TrainOptions
from guideplug.train.count import Reached, count_of
from guideplug.train.ema import power_gamma
from guideplug.train.schedule import Schedule
from guideplug_early import Early
from guideplug_tree import Tree

torch.set_num_threads(1)

QUARTER = (7, 0, 21, 13, 2, 5, 9, 30)
"""What is kept of 32 examples."""


def rates(now: Training) -> list[float]:
    """The learning rate of every step."""
    found: list[float] = []
    step = now.optimizer.step
    now.optimizer.step = lambda *arguments, **named: (  # type: ignore[method-assign]
        found.append(now.optimizer.param_groups[0]["lr"]),
        step(*arguments, **named),
    )[1]
    now.run()
    return found


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 4096))
def test_with_batch_b_n_examples_are_n_over_b_steps(steps: int, after: int, batch: int) -> None:
    reached = Reached(steps, steps * batch)
    assert reached.share(Duration(after * batch, "ex")) == pytest.approx(reached.share(after), rel=1e-12)
    in_examples = InverseSqrt(f"{after * batch}ex").factor(reached, 0.5)
    assert in_examples == pytest.approx(InverseSqrt(after).factor(reached, 0.5), rel=1e-12)


def test_without_a_selector_examples_and_steps_train_the_same_network() -> None:
    """32 examples per step, powers of two: to the bit."""
    steps = training(warmup=4, schedule=InverseSqrt(2), ema=(0.1,))
    examples = training(warmup="128ex", schedule=InverseSqrt("64ex"), ema=(0.1,), ema_counts="examples")
    steps.run()
    examples.run()
    assert torch.equal(steps.learner.w, examples.learner.w)
    for name, average in steps.averages.parameters(0.1).items():
        assert torch.equal(average, examples.averages.parameters(0.1)[name])


def by_hand(before: list[int], count: list[int]) -> list[float]:
    """Rates after so many examples, on steps of so many; warm-up of 80, decay from 60."""
    pairs = zip(before, count, strict=True)
    return [0.01 * min((n + b) / 80, 1.0) * max(n / 60, 1.0) ** -0.5 for n, b in pairs]


@pytest.mark.parametrize("stretched", [False, True])
def test_a_selector_counts_what_it_keeps_and_stretched_what_it_keeps_it_from(stretched: bool) -> None:
    selector = Early(Chosen(QUARTER), until="3it")
    now = training(selector=selector, warmup="80ex", schedule=InverseSqrt("60ex"), stretched=stretched, duration="6it")
    found = rates(now)
    kept = [0, 8, 16, 24, 56, 88], [8, 8, 8, 32, 32, 32]
    drawn = [0, 32, 64, 96, 128, 160], [32] * 6
    assert found == pytest.approx(by_hand(*(drawn if stretched else kept)), rel=1e-12)
    assert now.counters.backpropagated == 120


def test_an_average_counts_the_examples_of_each_step() -> None:
    """The step that ends at n of N examples counts n^(gamma + 1) - (n - b)^(gamma + 1), of N^(gamma + 1) in all."""
    selector = Early(Chosen(QUARTER), until="3it")
    now = training(selector=selector, ema=(0.1, 0.2), ema_counts="examples", duration="6it")
    weights: list[torch.Tensor] = []
    now.run(each=lambda one: weights.append(one.learner.w.detach().double().clone()))
    reached = [0, 8, 16, 24, 56, 88, 120]
    for length in (0.1, 0.2):
        power = power_gamma(length) + 1
        shares = [(b / 120) ** power - (a / 120) ** power for a, b in itertools.pairwise(reached)]
        expected = sum(share * w for share, w in zip(shares, weights, strict=True))
        assert torch.allclose(now.averages.parameters(length)["w"].double(), expected, atol=1e-6)
        plain = training(selector=selector, ema=(length,), duration="6it")
        plain.run()
        assert not torch.allclose(plain.averages.parameters(length)["w"].double(), expected, atol=1e-5)


@pytest.mark.parametrize(("until", "selecting"), [("24ex", 3), ("25ex", 4), ("3it", 3)])
def test_early_selection_stops_after_examples_kept(until: str, selecting: int) -> None:
    now = training(selector=Early(Chosen(QUARTER), until=until), duration="6it")
    now.run()
    assert (now.counters.selecting, now.counters.switched_off_at) == (selecting, selecting)


def test_early_selection_for_a_share_of_a_duration_in_examples() -> None:
    now = training(selector=Early(Chosen(QUARTER), until=0.25), duration="96ex")
    assert now.selector == Early(Chosen(QUARTER), until="24ex")


@pytest.mark.parametrize(("text", "expected"), [("70Mex", Duration(70e6, "ex")), ("512it", 512), ("512", 512)])
def test_a_count_in_the_grammar(text: str, expected: object) -> None:
    schedule: Any = Reader(Registry.installed()).expression(f"inverse-sqrt(after={text})", Schedule)
    assert schedule.after == expected
    assert type(schedule.after) is type(expected)


def test_iterations_are_their_number_and_other_values_stay() -> None:
    assert [count_of(value) for value in ("512it", Duration(512, "it"), 512, None)] == [512, 512, 512, None]


@pytest.mark.parametrize("count", ["90s", Duration(90, "s")])
def test_seconds_are_refused(count: Any) -> None:
    with pytest.raises(ValueError, match=r"after is 90s, a time: give steps, as in 512, or examples, as in 70Mex"):
        InverseSqrt(count)
    with pytest.raises(ValueError, match=r"warmup is 90s, a time"):
        options(warmup=count)


@pytest.mark.parametrize(("name", "count"), [("after", 0), ("after", -1), ("warmup", -1)])
def test_too_few_steps_are_refused(name: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {count}: it must be at least"):
        InverseSqrt(count) if name == "after" else options(warmup=count)


def test_averages_to_be_combined_count_steps() -> None:
    both: dict[str, Any] = {"ema": (0.05, 0.1), "averages": 3}
    options(**both).check()
    with pytest.raises(RecipeError, match=r"averages is 3, and EMA lengths count examples.*ema_counts=steps"):
        options(**both, ema_counts="examples").check()


def test_counts_in_steps_leave_identities_as_they_were() -> None:
    """A default that is hashed would make every stored network unknown."""
    hashed = describe(Tree().recipe("main", None))["recipe"]["options"]  # type: ignore[arg-type]
    assert "ema_counts" not in hashed
    assert (hashed["warmup"], hashed["schedule"]) == (0, {"after": 512, "name": "inverse-sqrt"})
    assert TrainOptions(duration="6it", batch=4, warmup="9it") == TrainOptions(duration="6it", batch=4, warmup=9)
