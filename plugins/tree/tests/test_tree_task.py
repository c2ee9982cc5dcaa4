"""The tree as a task: laws, recipes, and metrics at known values and at degenerate samples."""

import math
from functools import cache
from typing import Any, final

import pytest
import torch
from attrs import evolve
from torch import Tensor

from guideplug import (
    Arm,
    Condition,
    Context,
    Duration,
    InverseSqrt,
    Leaf,
    Load,
    LogNormal,
    Recipe,
    SampleStreams,
    Train,
    TrainingStreams,
)
from guideplug.testing import check_network, check_task
from guideplug_edm import Euler, Heun
from guideplug_tree import ExactTree, LabelledExactTree, Tree, TreeMLPNetwork, tree_mixture
from guideplug_tree.denoisers import SPACE, label_share
from guideplug_tree.metrics import OuterLoss

torch.set_num_threads(1)

COUNT = 8192
TASKS = [Tree(), Tree("B"), Tree("both"), Tree("both", labels=True)]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_it_keeps_the_laws_of_tasks_and_networks(task: Tree) -> None:
    check_task(task)
    check_network(TreeMLPNetwork(8), task)


def context(task: Tree, count: int, steps: int = 1) -> tuple[Context, dict[str, Arm]]:
    sampler = Euler(num_steps=steps)
    arms = {arm.name: arm for arm in task.truth(count, sampler, 0)}
    return Context(task, arms, sampler, 0), arms


@cache
def true_values() -> dict[str, float | None]:
    shared, arms = context(Tree(), COUNT)
    return {metric.name: metric.measure(arms["truth"], shared) for metric in Tree().metrics()}


# METHODS: 99.35 % and 98.76 % of true samples, E log p = 1.375; the tolerances are 4 standard errors of 8,192 samples.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "tolerance"),
    [
        ("classification", 0.9935, 0.0036),
        ("inside outline", 0.9876, 0.0049),
        ("mean log density", 1.375, 0.055),
        ("mandala", 0.970, 0.015),
        ("outlier share", 0.01, 0.005),
        ("branch KL", 0.012, 0.008),
        ("component KL", 0.085, 0.04),
        ("sliced W2", 0.01, 0.01),
        ("W2", 0.05, 0.02),
        ("energy MMD", 0.0, 0.001),
    ],
)
def test_true_samples_have_their_known_values(name: str, value: float, tolerance: float) -> None:
    assert true_values()[name] == pytest.approx(value, abs=tolerance)


def test_true_samples_have_no_loss_and_no_distance_to_the_exact_ends() -> None:
    assert [true_values()[name] for name in ("average loss", "outer loss", "L2")] == [None] * 3


@final
class Shifted(Leaf):
    """The exact denoiser, off by c sigma in every coordinate: its loss is c^2."""

    def __init__(self, c: float) -> None:
        super().__init__(SPACE)
        self.c = c

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return tree_mixture("A").denoise(x, sigma) + self.c * sigma[:, None]


def test_losses() -> None:
    shared, arms = context(Tree(), 64)
    metrics = {metric.name: metric for metric in Tree().metrics()}
    average, outer = metrics["average loss"], metrics["outer loss"]
    assert average.measure(arms["exact"], shared) == pytest.approx(0.0, abs=1e-9)
    shifted = evolve(arms["exact"], denoiser=Shifted(0.2))
    assert average.measure(shifted, shared) == pytest.approx(0.04, rel=1e-3)
    found = outer.measure(arms["exact"], shared)
    # 16,384 draws have a standard error of .0033 around .1867 (measured with half a million); the released code's
    # definition, so no .22: what its best models score is this and their own error on the twigs.
    assert found == pytest.approx(0.187, abs=0.013)
    assert outer.measure(shifted, shared) != found


def test_the_outer_loss_is_that_of_the_twigs_own_mixture() -> None:
    shared, arms = context(Tree(), 4)
    twigs = ExactTree(tree_mixture("A", 5))
    assert OuterLoss().measure(evolve(arms["exact"], denoiser=twigs), shared) == pytest.approx(0.0, abs=1e-9)


def test_the_mandala_counts_cells() -> None:
    """Against a loop over samples in cells of .0300: inside cells / (those and cells hit by outside samples only)."""
    shared, arms = context(Tree(), 3000)
    noise = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    samples = arms["truth"].samples + 0.05 * noise
    samples[:20] *= 10  # some leave the square
    inside, outside = set(), set()
    for (x, y), log_p in zip(samples.tolist(), tree_mixture("A").log_prob(samples).tolist(), strict=True):
        cell = math.floor((x - 0.0030) / 0.03 + 50.5), math.floor((y - 0.0325) / 0.03 + 50.5)
        if all(0 <= index < 101 for index in cell):
            (inside if log_p >= -2.12 else outside).add(cell)
    expected = len(inside) / (len(inside) + len(outside - inside))
    (mandala,) = (metric for metric in Tree().metrics() if metric.name == "mandala")
    assert mandala.measure(Arm("some", samples), shared) == pytest.approx(expected, abs=0.002)
    assert 0.3 < expected < 0.9


def test_l2_is_the_distance_to_the_exact_ends_from_the_same_noise() -> None:
    shared, arms = context(Tree(), 100, steps=3)
    exact = arms["exact"]
    (l2,) = (metric for metric in Tree().metrics() if metric.name == "L2")
    assert l2.measure(exact, shared) == 0.0
    off = exact.samples + torch.tensor([0.3, -0.4])
    assert l2.measure(Arm("guided", off, start=exact.start), shared) == pytest.approx(0.5, rel=1e-5)
    assert exact.start is not None
    assert l2.measure(Arm("guided", off, start=exact.start + 1), shared) is None
    assert l2.measure(Arm("guided", off[:50], start=exact.start[:50]), shared) is None


def test_the_ends_of_the_exact_score_are_samples_of_the_tree() -> None:
    arms = {arm.name: arm for arm in Tree().truth(512, Heun(num_steps=24), 1)}
    share = float((tree_mixture("A").log_prob(arms["exact"].samples) >= -2.12).float().mean())
    assert share > 0.97


DEGENERATE = {
    "all equal": torch.full((300, 2), 0.3),
    "all equal and far": torch.full((300, 2), 1e4),
    "two": torch.tensor([[0.1, 0.2], [0.5, 0.4]]),
    "two equal": torch.zeros(2, 2),
    "one": torch.tensor([[0.1, 0.2]]),
}


@cache
def few(task: Tree) -> Context:
    return context(task, 300)[0]


@pytest.mark.parametrize("task", [Tree(), Tree("both", labels=True)])
@pytest.mark.parametrize("case", DEGENERATE)
def test_every_metric_is_finite_on_degenerate_samples(case: str, task: Tree) -> None:
    shared, samples = few(task), DEGENERATE[case]
    for metric in task.metrics():
        value = metric.measure(Arm(case, samples), shared)
        assert value is None or math.isfinite(value), metric.name


# Labels


def test_labels_have_the_shares_of_the_classes() -> None:
    both = tree_mixture("AB")
    in_a = torch.tensor([both.branch_classes[i] == "A" for i in both.component_branches.tolist()])
    share = float(both.component_weights[in_a].sum())
    assert label_share() == pytest.approx(share, abs=1e-6)
    count = 20_000
    task, spread = Tree("both", labels=True), 4 * math.sqrt(share * (1 - share) / count)
    drawn = task.draw(torch.full((count,), 0.01), TrainingStreams(0, 0)).condition
    started = task.start(SampleStreams(0, range(count)), 5.0).condition
    for labels in (drawn, started):
        assert isinstance(labels, Tensor)
        assert float((labels == 0).float().mean()) == pytest.approx(share, abs=spread)
        assert set(labels.tolist()) == {0, 1}


def test_a_label_goes_with_a_sample_of_its_class() -> None:
    (truth, _) = Tree("both", labels=True).truth(2000, Euler(num_steps=1), 0)
    a, b = (tree_mixture(name).log_prob(truth.samples) for name in ("A", "B"))
    assert isinstance(truth.condition, Tensor)
    assert float(((a > b) == (truth.condition == 0)).float().mean()) > 0.97


def test_the_labelled_exact_denoiser_is_each_classs_own() -> None:
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((6,), 0.4)
    exact = LabelledExactTree()
    for label, name in enumerate(("A", "B", "AB")):
        answer = exact(x, 0.4, torch.full((6,), label))
        assert torch.allclose(answer, tree_mixture(name).denoise(x, sigma))
    assert torch.equal(exact(x, 0.4), exact(x, 0.4, torch.full((6,), 2)))
    mixed = exact(x, 0.4, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert torch.allclose(mixed[1], tree_mixture("B").denoise(x[1:2], sigma[:1])[0])


def test_training_targets_are_exact() -> None:
    sigma = LogNormal(-2.3, 1.5).draw(200, torch.Generator().manual_seed(0))
    for task in TASKS:
        examples = task.draw(sigma, TrainingStreams(3, 1))
        exact: Any = task.exact()
        assert torch.allclose(exact(examples.x, sigma, examples.condition), examples.target, atol=1e-6)


def test_labels_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="one class needs no label"):
        Tree("A", labels=True)


# Recipes


def test_the_main_recipe_is_the_papers() -> None:
    main = Tree().recipe("main", None)
    assert isinstance(main, Train)
    assert main.denoiser == TreeMLPNetwork(64)
    options = main.options
    assert (options.duration, options.batch, options.lr) == (Duration(4096, "it"), 4096, 0.01)
    assert (options.betas, options.ema, options.noise) == ((0.9, 0.99), (0.01,), LogNormal(-2.3, 1.5))
    assert options.schedule == InverseSqrt(512)
    assert options.loss.weight(torch.tensor([0.5]), 0.5).item() == 4.0  # sigma^2 |score|^2 from |denoised|^2


def recipe_of(role: str, main: Recipe, task: Tree | None = None) -> Train:
    found = (task or Tree()).recipe(role, main)
    assert isinstance(found, Train)
    return found


def test_other_recipes_are_relative_to_the_main_one() -> None:
    main = Tree().recipe("main", None)
    assert isinstance(main, Train)
    weak = recipe_of("weak", main)
    assert (weak.denoiser, weak.options.duration) == (TreeMLPNetwork(32), Duration(512, "it"))
    assert evolve(weak, denoiser=main.denoiser, options=main.options) == main
    changed = evolve(main, seed=9, denoiser=TreeMLPNetwork(10), options=evolve(main.options, duration="100it", lr=0.1))
    weak = recipe_of("weak", changed)
    assert (weak.denoiser, weak.seed, weak.options.lr) == (TreeMLPNetwork(5), 9, 0.1)
    assert weak.options.duration == Duration(13, "it")
    assert recipe_of("weak", evolve(main, denoiser=TreeMLPNetwork(1))).denoiser == TreeMLPNetwork(1)
    assert recipe_of("unconditional", main) == evolve(recipe_of("weak", main), task=Tree("both"))
    assert Tree("both", labels=True).recipe("unconditional", main) is None  # its null label does that
    assert Tree().recipe("weak", Load(path="a", task=Tree(), denoiser=TreeMLPNetwork())) is None
    assert Tree().recipe("other", main) is None
    assert Tree().recipe("weak", None) is None


def test_the_fingerprint_tells_class_sets_apart() -> None:
    assert Tree().fingerprint() == Tree().fingerprint()
    assert len({Tree(name).fingerprint() for name in ("A", "B", "both")}) == 3


def test_the_network_is_for_points() -> None:
    with pytest.raises(ValueError, match="hidden"):
        TreeMLPNetwork(0)
