"""Training on what a selector chooses: losses, weights, counters, and groups."""

from typing import Any, final

import pytest
import torch
from attrs import evolve, frozen
from gaussian import AffineLeaf, Chosen, GaussianData, LabelledLeaf, draws, loss_by_hand, options, resumed, training

from guideplug import (
    CandidateRequest,
    Duration,
    Guider,
    Losses,
    Registry,
    Selection,
    Selector,
    SelectorState,
    Task,
    option,
)
from guideplug.config import Reader
from guideplug.errors import SelectionError
from guideplug.train import Training
from guideplug.train.schedule import InverseSqrt
from guideplug_autoguidance import Autoguidance
from guideplug_early import Early
from guideplug_jest import JEST
from guideplug_random import Random

torch.set_num_threads(1)


@pytest.mark.parametrize("weights", [None, (2.0, 0.5, 1.0, 0.0)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_only_what_is_selected_is_back_propagated_with_its_weights(
    weights: tuple[float, ...] | None, accumulate: int
) -> None:
    chosen = (7, 0, 21, 13)
    now = training(
        selector=Chosen(chosen, weights), optimizer="sgd", betas=(0.0, 0.0), accumulate=accumulate, duration="1it"
    )
    before = torch.cat([now.learner.w, now.learner.b]).detach().double().requires_grad_()
    examples, sigma = draws(now, 0)
    each = loss_by_hand(before[:2], before[2:], examples, sigma, "edm")[list(chosen)]
    (g,) = torch.autograd.grad((each * torch.tensor(weights or (1.0,) * 4)).sum() / 4, before)
    now.run()
    after = torch.cat([now.learner.w, now.learner.b]).detach().double()
    assert torch.allclose(after, before.detach() - 0.01 * g, rtol=1e-5, atol=1e-7)
    seen = torch.cat([x for x, _, _, graph in now.learner.asked if graph])
    assert torch.equal(seen, examples.x[list(chosen)])


def test_selecting_everything_in_order_is_no_selection_bit_for_bit() -> None:
    plain, selected = training(), training(selector=Chosen(tuple(range(32))))
    plain.run()
    selected.run()
    assert torch.equal(plain.learner.w, selected.learner.w)
    shuffled = training(selector=Chosen((1, 0, *range(2, 32))), duration="1it")
    shuffled.run()
    examples, _ = draws(shuffled, 0)
    assert torch.equal(shuffled.learner.asked[-1][0][:2], examples.x[[1, 0]])


def test_learner_and_reference_are_scored_on_the_same_inputs_without_a_graph() -> None:
    reference = LabelledLeaf(0.8)
    now = Training(
        LabelledLeaf(),
        GaussianData(labels=True),
        options(condition_dropout=0.3),
        seed=1,
        selector=JEST(filter_ratio=0.5, num_chunks=2),
        references={"weak": reference},
    )
    now.run()
    scored = [asked for asked in now.learner.asked if not asked[3]]
    assert len(scored) == len(reference.asked) == 6
    for ours, theirs in zip(scored, reference.asked, strict=True):
        assert not theirs[3]
        assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
    assert len([asked for asked in now.learner.asked if asked[3]]) == 6
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_a_selector_gets_the_losses_it_asked_for() -> None:
    got: list[Losses] = []

    @final
    @frozen
    class Nosy(Selector):
        name = "nosy"

        def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
            return CandidateRequest(8, learner=True, reference="weak")

        def select(
            self, losses: Losses, state: SelectorState, generator: torch.Generator
        ) -> tuple[Selection, SelectorState]:
            got.append(losses)
            return Selection(torch.arange(losses.count)), state

    now = training(selector=Nosy(), duration="1it")
    examples, sigma = draws(now, 0, 8)
    mine = loss_by_hand(now.learner.w.double(), now.learner.b.double(), examples, sigma, "edm")
    weak = now.scoring.references["weak"]
    theirs = loss_by_hand(weak.w.double(), weak.b.double(), examples, sigma, "edm")
    now.run()
    assert got[0].learner is not None
    assert got[0].reference is not None
    assert torch.allclose(got[0].learner.double(), mine, rtol=1e-5)
    assert torch.allclose(got[0].reference.double(), theirs, rtol=1e-5)
    assert not got[0].learner.requires_grad


@pytest.mark.parametrize(
    ("selector", "seen", "scored", "backpropagated", "selections", "off"),
    [
        (None, 192, 0, 192, 0, None),
        (Random(filter_ratio=0.75), 48, 0, 48, 0, None),
        (JEST(filter_ratio=0.75, num_chunks=4), 192, 192, 48, 6, None),
        (Early(JEST(filter_ratio=0.75, num_chunks=4), until="2it"), 192, 64, 2 * 8 + 4 * 32, 2, 2),
        (JEST(filter_ratio=0.75, num_chunks=4, score="easy-reference"), 192, 192, 48, 6, None),
    ],
)
def test_counters(
    selector: Selector | None, seen: int, scored: int, backpropagated: int, selections: int, off: int | None
) -> None:
    now = training(selector=selector)
    now.run()
    c = now.counters
    assert (c.seen, c.scored, c.backpropagated, c.selections) == (seen, scored, backpropagated, selections)
    assert c.selecting == (0 if selector is None else off or 6)
    assert c.switched_off_at == off  # so many steps were selected
    share = c.mean_effective_sample_size
    assert (share is None) == (selections == 0)
    assert share is None or 1 / 32 <= share <= 1
    assert c.total_seconds == pytest.approx(sum(c.seconds.values()))
    assert (c.seconds["score"] > 0) == (scored > 0)


@final
@frozen
class UnderGuidance(Selector):
    """Asks for the losses of the guided learner, and for the reference's; keeps what it got."""

    name = "under-guidance"
    guider: Guider | None = option(help="what guides it")
    got: list[Losses] = option(factory=list, help="where the losses go")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True, reference="weak", guider=self.guider)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        self.got.append(losses)
        return Selection(torch.arange(8)), state


def test_the_learner_is_scored_under_guidance_and_trained_without() -> None:
    selector = UnderGuidance(Autoguidance(weight=3.0))
    now = training(selector=selector, duration="1it", optimizer="sgd", betas=(0.0, 0.0))
    examples, sigma = draws(now, 0)
    weak, w, b = now.scoring.references["weak"], *(p.detach().double().clone() for p in (now.learner.w, now.learner.b))
    guided = [3 * ours - 2 * theirs.detach().double() for ours, theirs in zip((w, b), (weak.w, weak.b), strict=True)]
    expected = loss_by_hand(*guided, examples, sigma, "edm")
    p = torch.cat([w, b]).requires_grad_()
    (g,) = torch.autograd.grad(loss_by_hand(p[:2], p[2:], examples, sigma, "edm")[:8].mean(), p)
    now.run()
    assert selector.got[0].learner is not None
    assert torch.allclose(selector.got[0].learner.double(), expected, rtol=1e-4)
    theirs = loss_by_hand(weak.w.double(), weak.b.double(), examples, sigma, "edm")
    assert torch.allclose(selector.got[0].reference.double(), theirs, rtol=1e-4)  # type: ignore[union-attr]
    after = torch.cat([now.learner.w, now.learner.b]).detach().double()
    assert torch.allclose(after, p.detach() - 0.01 * g, rtol=1e-5, atol=1e-7)
    assert all(parameter.grad is None for parameter in weak.parameters())


@pytest.mark.parametrize(("guider", "each"), [(None, 2), (Autoguidance(weight=3.0), 3), (Autoguidance(weight=1.0), 2)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_evaluations_in_scoring_are_counted(guider: Guider | None, each: int, accumulate: int) -> None:
    now = training(selector=UnderGuidance(guider), accumulate=accumulate)
    now.run()
    assert (now.counters.scored, now.counters.evaluations) == (6 * 32, 6 * 32 * each)
    again = resumed(now, lambda: training(selector=UnderGuidance(guider), accumulate=accumulate))
    assert again.counters.evaluations == now.counters.evaluations


def test_a_role_of_the_guider_that_was_not_given_is_named() -> None:
    now = training(selector=UnderGuidance(Autoguidance(model="other")))
    with pytest.raises(SelectionError, match=r"guider 'autoguidance', which .* asked for the role 'other', and"):
        now.run()


def test_scores_may_be_of_lower_precision_than_training() -> None:
    def scored(**changes: Any) -> tuple[Training, Losses]:
        selector = UnderGuidance(None)
        now = on_task("digits", selector, duration=Duration(3, "it"), **changes)
        now.run()
        return now, selector.got[-1]  # an untrained one answers 0 in any precision

    plain, fine = scored()
    low, coarse = scored(score_precision="bf16")
    assert fine.learner is not None
    assert coarse.learner is not None
    assert coarse.learner.dtype == torch.float32
    assert not torch.equal(fine.learner, coarse.learner)
    assert torch.allclose(fine.learner, coarse.learner, rtol=0.05)
    for one, other in zip(plain.learner.parameters(), low.learner.parameters(), strict=True):
        assert torch.equal(one, other)  # what is selected is the same, and trained in full precision


@final
@frozen
class Firsts(Selector):
    """The first of the candidates, without scoring them."""

    name = "firsts"
    share: float = option(0.25, help="how many of them")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        return Selection(torch.arange(round(self.share * losses.count))), state


def on_task(task: str, selector: Selector | None, **changes: Any) -> Training:
    """A short training of a small network on an installed task."""
    found: Task = Reader(Registry.installed()).expression(task, Task)
    recipe = found.recipe("main", None)
    changed = evolve(recipe.options, **{"batch": 40, "duration": Duration(36, "it"), **changes})
    network = evolve(recipe, options=changed).build()
    weak = found.recipe("weak", recipe).build()
    return Training(network, found, changed, seed=2, selector=selector, references={"weak": weak})


@pytest.mark.parametrize("task", ["tree", "tree(classes=both, labels=true)", "digits"])
def test_offered_and_selected_are_counted_by_group_in_every_sixteenth_step(task: str) -> None:
    now = on_task(task, Firsts())
    offered = selected = torch.zeros(len(now.data.groups()), dtype=torch.int64)
    for step in (0, 16, 32):
        examples, _ = draws(now, step)
        group = now.data.group(examples)  # before conditions are dropped
        assert group is not None
        offered = offered + torch.bincount(group, minlength=len(offered))
        selected = selected + torch.bincount(group[:10], minlength=len(offered))
    now.run()
    assert now.composition == {
        "groups": list(now.data.groups()),
        "offered": offered.tolist(),
        "selected": selected.tolist(),
    }
    assert (int(offered.sum()), int(selected.sum())) == (120, 30)
    half = on_task(task, Firsts())
    half.run(until=Duration(17, "it"))
    again = resumed(half, lambda: on_task(task, Firsts()))
    again.run()
    assert again.composition == now.composition


@pytest.mark.parametrize(
    "selector", [None, Random(), Firsts(1.0), Early(JEST(filter_ratio=0.5, num_chunks=4), until="9it")]
)
def test_groups_are_counted_only_while_something_is_left_out(selector: Selector | None) -> None:
    now = on_task("tree", selector)
    now.run()
    composition = now.composition
    if isinstance(selector, Early):
        assert composition is not None
        assert (sum(composition["offered"]), sum(composition["selected"])) == (40, 20)  # of step 0 alone
    else:
        assert composition is None


def test_data_without_groups_have_no_composition() -> None:
    now = training(selector=Firsts())
    now.run()
    assert now.composition is None


def test_a_reference_that_was_not_given_is_named() -> None:
    now = Training(AffineLeaf(), GaussianData(), options(), seed=0, selector=JEST(num_chunks=2))
    with pytest.raises(SelectionError, match="for the role 'weak', and none was given"):
        now.run()


@pytest.mark.parametrize(
    ("chosen", "said"), [((0, 0), "duplicate"), ((0, 32), "out of range"), ((), "type torch.float32")]
)
def test_a_selection_that_cannot_be_used_stops_the_training(chosen: tuple[int, ...], said: str) -> None:
    now = training(selector=Chosen(chosen))
    before = now.learner.w.detach().clone()
    with pytest.raises(SelectionError, match=rf"'chosen' of .* returned.*{said}"):
        now.run()
    assert torch.equal(now.learner.w, before)


def test_a_stretched_schedule_counts_a_step_on_a_quarter_of_the_batch_as_four() -> None:
    changes: dict[str, Any] = {"schedule": InverseSqrt(6), "warmup": 8, "duration": "7it"}
    quarter = Early(Chosen((7, 0, 21, 13, 2, 5, 9, 30)), until="3it")
    stretched, plain = (training(selector=quarter, stretched=on, **changes) for on in (True, False))
    whole = training(stretched=True, **changes)
    rates: dict[int, list[float]] = {}
    for now in (stretched, plain, whole):
        now.run(each=lambda one: rates.setdefault(id(one), []).append(one.learning_rate))
    by_hand = [0.01 * min((step + 1) / 8, 1.0) * max(step / 6, 1.0) ** -0.5 for step in range(20)]
    assert rates[id(stretched)] == pytest.approx([by_hand[step] for step in (4, 8, 12, 13, 14, 15, 16)])
    assert rates[id(plain)] == rates[id(whole)] == pytest.approx(by_hand[1:8])
