"""The check of networks whose truth is known: each wrong way is seen and cured, and nothing right is."""

from typing import Any, final

import attrs
import numpy as np
import pytest
import torch
from known import Known, Predicting, wrong_ways
from torch import Tensor, nn

from guideplug import (
    CosineSchedule,
    DenoiserError,
    DiscreteSchedule,
    FlowSchedule,
    Leaf,
    NoiseSchedule,
    Space,
    VESchedule,
    VPSchedule,
    check_denoiser,
    wrap,
)
from guideplug.check import glance
from guideplug.check.measure import trial
from guideplug.denoise import Condition, tally

CLASSES, SHAPE = 4, (1, 6, 6)
TABLE = DiscreteSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))
KINDS: dict[str, tuple[str, NoiseSchedule]] = {
    "denoised-ve": ("denoised", VESchedule()),
    "epsilon-table": ("epsilon", TABLE),
    "v-vp": ("v", VPSchedule()),
    "flow": ("flow", FlowSchedule(time_scale=1000)),
}


@final
class Pictures(Leaf):
    """The exact denoiser of pictures: each class a Gaussian around a picture of its own, of six numbers drawn."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, scale: float = 0.5) -> None:
        super().__init__(Space(shape, sigma_data=scale))
        generator = torch.Generator().manual_seed(0)
        size = int(np.prod(shape))
        means = torch.randn(CLASSES, size, generator=generator, dtype=torch.float64)
        mixing = torch.randn(size, max(size // 6, 1), generator=generator, dtype=torch.float64)
        whole = mixing @ mixing.T / mixing.shape[1]
        self.register_buffer("means", scale * means)
        values, vectors = torch.linalg.eigh(scale**2 * whole)
        self.register_buffer("values", values.clamp(min=0))
        self.register_buffer("vectors", vectors)
        self.mixing = scale * mixing / mixing.shape[1] ** 0.5

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        assert isinstance(condition, Tensor)
        if bool((condition >= CLASSES).any()) and not bool((condition == CLASSES).all()):
            raise IndexError("index out of range")
        rows = condition.clamp(max=CLASSES - 1)
        means = self.means[rows] if bool((condition < CLASSES).all()) else self.means.mean(0).expand(len(x), -1)
        away = (x.double().flatten(1) - means) @ self.vectors
        kept = self.values / (self.values + sigma.double()[:, None] ** 2)
        return (means + (kept * away) @ self.vectors.T).reshape(x.shape).to(x.dtype)

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), CLASSES)

    def examples(self, count: int = 400) -> tuple[Tensor, Tensor]:
        """Clean pictures and their classes."""
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(CLASSES, (count,), generator=generator)
        inner = torch.randn(count, self.mixing.shape[1], generator=generator, dtype=torch.float64)
        return (self.means[labels] + inner @ self.mixing.T).reshape(-1, *self.space.shape).float(), labels


def known(kind: str, shape: tuple[int, ...] = SHAPE) -> Known:
    denoiser, (predicts, schedule) = Pictures(shape), KINDS[kind]
    network = Predicting(denoiser, predicts, schedule).eval()
    return Known(network, predicts, schedule, *denoiser.examples(), CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_wrong_way_is_flagged_and_cured_and_the_right_one_is_not(kind: str) -> None:
    tried = 0
    for way, cure, check in wrong_ways(known(kind)):
        found = check()
        if way == "right":
            assert found.verdict == "right", found
            assert not found.code
            assert not found.notes
            continue
        tried += 1
        assert found.verdict == "wrong", (way, found.ratio, found.diagnosis)
        assert cure in found.code, (way, found.diagnosis, found.code)
    assert tried >= 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_that_is_to_be_written_is_right(kind: str) -> None:
    """What the diagnosis of a wrong parametrisation says to write is wrapped, and is right."""
    true = known(kind)
    other = "score" if true.predicts != "score" else "denoised"
    found = check_denoiser(true.wrapped(predicts=other), true.examples, true.labels)
    names = {cls.__name__: cls for cls in (CosineSchedule, DiscreteSchedule, FlowSchedule, VESchedule, VPSchedule)} | {
        "torch": torch,
        "Predicting": true.network,
        "schedule": true.schedule,
    }
    cured: Any = eval(found.code, {**names, "wrap": lambda *args, **options: wrap(*args, null=CLASSES, **options)})
    assert check_denoiser(cured, true.examples, true.labels).verdict == "right"


def test_points_are_checked_as_images_are() -> None:
    true = known("v-vp", (5,))
    for way, cure, check in wrong_ways(true):
        found = check()
        assert (found.verdict == "right") == (way == "right"), (way, found)
        assert cure in found.code, (way, found)


def test_a_wrong_sigma_data_of_edm_is_cured() -> None:
    denoiser = Pictures()
    edm = wrap(lambda x, time, labels: x, SHAPE, predicts="edm", sigma_data=0.7)
    scale = 0.7

    def raw(x_in: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        sigma = (4 * time).exp().reshape(-1, 1, 1, 1)
        root = (sigma**2 + scale**2).sqrt()
        x = x_in * root
        return (denoiser(x, sigma.flatten(), labels) - scale**2 / root**2 * x) * root / (scale * sigma)

    x, labels = denoiser.examples()
    right = wrap(raw, SHAPE, predicts="edm", sigma_data=scale, null=CLASSES)
    assert edm.predicts == right.predicts
    assert check_denoiser(right, x, labels).verdict == "right"
    found = check_denoiser(wrap(raw, SHAPE, predicts="edm", sigma_data=0.2, null=CLASSES), x, labels)
    assert found.verdict == "wrong"
    assert f"sigma_data={float(x.std()):.2g}" in found.code or "sigma_data=0.5" in found.code


def test_four_calls_measure_it_and_the_ratio_is_that_of_the_formula() -> None:
    denoiser = Pictures()
    x, labels = denoiser.examples()
    with tally() as counts:
        found = glance(denoiser, x, None)
    assert counts[denoiser].calls == 4
    assert [round(level.sigma / found.sd, 6) for level in found.levels] == [0.1, 0.3, 1.0, 3.0]  # type: ignore[operator]
    here = trial(x, labels, denoiser.space, seed=0, most=64, device=torch.device("cpu"))
    noisy = here.clean + here.sigmas[2] * here.noise[2]
    # The slow way: mean and variance of all the other examples, one example after another.
    everything = trial(x, labels, denoiser.space, seed=0, most=400, device=torch.device("cpu")).clean.double()
    others = torch.cat([everything[:5], everything[6:]])
    mean, variance = others.mean(0), others.var(0)
    expected = (variance * noisy[5] + here.sigmas[2] ** 2 * mean) / (variance + here.sigmas[2] ** 2)
    error = (expected - here.clean[5]).square().mean()
    assert float(here.gaussian[2, 5]) == pytest.approx(float(error), rel=1e-5)


def test_the_seed_alone_decides_and_nothing_global_is_drawn_or_changed() -> None:
    true = known("epsilon-table")
    network = nn.Sequential(nn.Dropout(0.5))
    wrapped = wrap(lambda x, time, labels: network(true.network(x, time, labels)), SHAPE, predicts="epsilon",
                   schedule=TABLE, null=CLASSES)  # fmt: skip
    state = torch.get_rng_state()
    one = check_denoiser(wrapped, true.examples, true.labels, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    assert check_denoiser(wrapped, true.examples, true.labels, seed=3) == one
    assert check_denoiser(wrapped, true.examples, true.labels, seed=4) != one


def test_a_network_in_training_mode_is_told_and_left_as_it_was() -> None:
    true = known("epsilon-table")
    module = true.wrapped()
    module.network.extra = nn.Dropout()  # type: ignore[union-attr, assignment]
    module.train()
    found = check_denoiser(module, true.examples, true.labels)
    assert found.verdict == "right"
    assert any(".eval()" in line for line in found.notes)
    assert all(part.training for part in module.modules())


def test_labels_that_are_not_used_are_told_and_are_no_fault() -> None:
    denoiser = Pictures()
    x, labels = denoiser.examples(1600)
    only = wrap(lambda x, time, labels: denoiser(x, time, torch.zeros_like(labels)), SHAPE, predicts="denoised")
    found = check_denoiser(only, x[labels == 0], torch.arange(int((labels == 0).sum())) % CLASSES)
    assert found.verdict == "right"
    assert any("labels are not used" in line for line in found.notes)


def test_conditions_that_are_mappings_are_shuffled_and_shifted() -> None:
    denoiser = Pictures()
    x, labels = denoiser.examples()

    def network(x: Tensor, time: Tensor, digit: Tensor, style: Tensor) -> Tensor:
        return denoiser(x, time, digit)

    style = torch.zeros(len(x), 3)
    mine = wrap(network, SHAPE, predicts="denoised", null={"digit": CLASSES, "style": torch.zeros(1, 3)})
    assert check_denoiser(mine, x, {"digit": labels, "style": style}).verdict == "right"
    found = check_denoiser(mine, x, {"digit": (labels + 1) % CLASSES, "style": style})
    assert (found.verdict, found.code) == ("wrong", "labels = labels - 1")


def test_constant_pixels_change_nothing() -> None:
    denoiser = Pictures()
    x, labels = denoiser.examples()
    edges = torch.nn.functional.pad(x, [1, 1, 1, 1], value=-0.7)

    def network(x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        inside = denoiser(x[..., 1:-1, 1:-1].contiguous(), time, labels)
        return torch.nn.functional.pad(inside, [1, 1, 1, 1], value=-0.7)

    found = check_denoiser(wrap(network, (1, 8, 8), predicts="denoised", null=CLASSES), edges, labels)
    assert found.verdict == "right"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_of_half_precision_are_right(dtype: torch.dtype) -> None:
    true = known("v-vp")

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, dtype=dtype))

        def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
            assert x.dtype == dtype
            return true.network(x.float(), time, labels).to(dtype)

    assert (
        check_denoiser(attrs.evolve(true, network=Half().eval()).wrapped(), true.examples, true.labels).verdict
        == "right"
    )


def test_answers_that_are_not_finite_are_named() -> None:
    x, labels = Pictures().examples()
    broken = wrap(
        lambda x, time, labels: torch.where(time.reshape(-1, 1, 1, 1) > 1, torch.nan, x), SHAPE, predicts="denoised"
    )
    found = check_denoiser(broken, x, labels)
    assert found.verdict == "wrong"
    assert "not finite" in found.diagnosis
    assert "sigma 2" in found.diagnosis


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:5], "examples has 5 samples: give 16 or more"),
        (lambda x: x[:, :, :5], "examples has shape (400, 1, 5, 6)"),
        (lambda x: torch.ones_like(x), "all the same number"),
        (lambda x: x[:1].expand_as(x), "do not differ"),
        (lambda x: x.index_fill(0, torch.tensor([7]), torch.nan), "as number 7"),
        (lambda x: x.numpy(), "is a ndarray"),
    ],
)
def test_examples_that_cannot_be_used_are_one_line(change: Any, message: str) -> None:
    denoiser = Pictures()
    x, _ = denoiser.examples()
    with pytest.raises(DenoiserError) as error:
        check_denoiser(denoiser, change(x))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_data_right_networks_pass_and_far_off_ones_do_not() -> None:
    for kind in KINDS:
        found = check_denoiser(known(kind).wrapped())
        assert found.verdict == "right", (kind, found)
        assert found.diagnosis.startswith("Checked without data: only")
    assert check_denoiser(known("v-vp").wrapped(predicts="epsilon")).verdict == "wrong"
    assert check_denoiser(known("epsilon-table").wrapped(predicts="denoised")).verdict == "wrong"
    broken = wrap(lambda x, time: torch.where(time.reshape(-1, 1, 1, 1) < 1, torch.nan, x), SHAPE, predicts="denoised")
    assert "not finite" in check_denoiser(broken).diagnosis


@pytest.mark.parametrize("time_scale", [1, 1000])
@pytest.mark.parametrize(("of_time", "of_velocity"), [(True, True), (True, False), (False, True)])
def test_a_flow_that_is_wrapped_backwards_is_turned_round(of_time: bool, of_velocity: bool, time_scale: int) -> None:
    true = known("flow")  # n - y, from data at 0 to noise at 1000

    class Turned(nn.Module):
        def forward(self, x_t: Tensor, time: Tensor, labels: Tensor) -> Tensor:
            time = 1000 / time_scale * (time_scale - time if of_time else time)
            return (-1 if of_velocity else 1) * true.network(x_t, time, labels)

    network, schedule = Turned().eval(), FlowSchedule(time_scale=time_scale)
    backwards = wrap(network, SHAPE, predicts="flow", schedule=schedule, null=CLASSES)
    found = check_denoiser(backwards, true.examples, true.labels)
    assert found.verdict == "wrong"
    assert ("run backwards" in found.diagnosis) == of_time
    assert ("velocity negated" in found.diagnosis) == (of_time != of_velocity)
    names = {"FlowSchedule": FlowSchedule, "Turned": network}
    cured = eval(found.code, {**names, "wrap": lambda *args, **options: wrap(*args, null=CLASSES, **options)})
    assert check_denoiser(cured, true.examples, true.labels).verdict == "right"
    assert check_denoiser(backwards).verdict == "wrong"
