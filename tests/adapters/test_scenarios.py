"""What users of guidance report elsewhere, as scenarios: scales, null classes, negatives, types, embedded guidance."""

import itertools

import pytest
import torch
from torch import nn

from guideplug import Combine, DiscreteSchedule, FlowSchedule, Guider, Registry, VPSchedule, tally, wrap
from guideplug.config import Reader
from guideplug.errors import DivergenceError
from guideplug_edm import Euler, Heun

torch.set_num_threads(1)
LABELS = torch.tensor([1, 2, 3])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = draw(3, 2)
ROWS = draw(5, 2, seed=1)


def classes(x_t, time, label):
    """A network with a row for each class."""
    return 0.5 * x_t + ROWS[label]


def guided(main, text, **models):
    return Reader(Registry.installed()).expression(text, Guider).guide(main, models)


@pytest.mark.parametrize("null", [0, 2, 4])
@pytest.mark.parametrize(("scale", "outputs"), [(0, 3), (0.5, 6), (1, 3), (7.5, 6)])
def test_any_scale_and_any_null_class(null, scale, outputs):
    """0 is the unconditional model and 1 the conditional one, each alone; half is half-way."""
    main = wrap(classes, (2,), predicts="denoised", null=null)
    with tally() as counts:
        denoised = guided(main, f"cfg(weight={scale})")(X, 1.0, LABELS)
    conditional, unconditional = 0.5 * X + ROWS[LABELS], 0.5 * X + ROWS[null]
    torch.testing.assert_close(denoised, unconditional + scale * (conditional - unconditional))
    assert (counts[main].calls, counts[main].outputs) == (1, outputs)


def test_an_interval_that_comes_back_on():
    main = wrap(classes, (2,), predicts="denoised", null=0, sigma_min=0.1, sigma_max=10.0)
    point = guided(main, "blend([interval(cfg(weight=3), low=3), interval(cfg(weight=3), high=1)])")
    sampler, x = Euler(num_steps=9), 10 * X
    levels = sampler.sigmas(point)
    on = [sigma > 3 or sigma <= 1 for sigma in levels[:-1]]
    assert [key for key, _ in itertools.groupby(on)] == [True, False, True]
    with tally() as counts:
        samples = sampler.sample(point, x, LABELS)
    assert counts[main].outputs == 3 * sum(2 if each else 1 for each in on)
    for (sigma, after), each in zip(itertools.pairwise(levels), on, strict=True):
        denoised = 0.5 * x + (3 * ROWS[LABELS] - 2 * ROWS[0] if each else ROWS[LABELS])
        x = x + (after - sigma) * (x - denoised) / sigma
    torch.testing.assert_close(samples, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weight", [1.0, 7.5])
def test_guidance_on_three_of_four_channels(weight):
    """DiT's published samples guide the first three channels of the four of its latents."""

    def network(x_t, time, label):
        return 0.5 * x_t + ROWS[label][:, :1, None, None]

    main = wrap(network, (4, 2, 2), predicts="epsilon", schedule=VPSchedule(), null=4)
    whole = guided(main, f"cfg(weight={weight})")
    point = Combine([whole, main], lambda outputs, x, sigma: torch.cat([outputs[0][:, :3], outputs[1][:, 3:]], 1))
    x = draw(3, 4, 2, 2)
    with tally() as counts:
        denoised = point(x, 1.0, LABELS)
    assert counts[main].calls == 1
    x_t = x / 2**0.5
    conditional, unconditional = network(x_t, None, LABELS), network(x_t, None, torch.full((3,), 4))
    first = unconditional + weight * (conditional - unconditional)
    torch.testing.assert_close(denoised, x - torch.cat([first[:, :3], conditional[:, 3:]], 1))


# Types


class Typed(nn.Module):
    """A network that predicts the noise of data N(0, 0.5^2), in the type of its weight."""

    def __init__(self, schedule, dtype, broken_above=float("inf")):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=dtype))
        self.schedule, self.broken_above = schedule, broken_above

    def forward(self, x_t, time, label=None):
        sigma = self.schedule.sigma(time)[:, None]
        alpha = self.schedule.alpha(sigma)
        noise = (sigma * alpha / (alpha**2 * 0.25 + (sigma * alpha) ** 2)).to(x_t.dtype) * x_t * self.weight
        return noise * torch.where(sigma > self.broken_above, 7e4, 1.0).to(x_t.dtype)


def zero_terminal():
    """A table with alpha^2 = 2^-24 at its end, where sigma is 4096."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    table = torch.cumprod(1 - betas, 0).sqrt()
    table = (table - table[-1]) * table[0] / (table[0] - table[-1])
    table[-1] = 2.0**-12
    return DiscreteSchedule(table.square())


@pytest.mark.parametrize("given", [torch.float32, torch.float16])
@torch.no_grad()
def test_nothing_overflows_in_half_precision_at_sigma_4096(given):
    """sigma^2 is 1.7e7 there, and float16 holds 65,504."""
    schedule = zero_terminal()
    assert schedule.sigma_range[1] == pytest.approx(4096, rel=1e-6)
    start = (4096 * draw(20, 2)).to(given)
    for predicts in ("epsilon", "v"):
        exact, half = (
            wrap(Typed(schedule, dtype), (2,), predicts=predicts, schedule=schedule, null=lambda batch, device: None)
            for dtype in (torch.float32, torch.float16)
        )
        label = torch.zeros(20, dtype=torch.int64)
        assert half(start, 4096.0, label).isfinite().all()
        if predicts == "epsilon":
            truth = Heun(num_steps=20).sample(guided(exact, "cfg(weight=7.5)"), start.float(), label)
            samples = Heun(num_steps=20).sample(guided(half, "cfg(weight=7.5)"), start, label)
            assert samples.dtype == given
            assert float((samples - truth).norm() / truth.norm()) < 0.05


def test_a_network_that_overflows_is_named_and_no_image_is_black():
    schedule = VPSchedule()
    main = wrap(Typed(schedule, torch.float16, broken_above=20.0), (2,), predicts="epsilon", schedule=schedule)
    start = Heun(num_steps=6).sigmas(main)[0] * X
    with pytest.raises(DivergenceError) as caught:
        Heun(num_steps=6).sample(main, start)
    assert "diverged in step 1 of 6" in str(caught.value)
    assert "the output of network (Adapted) at sigma 152.2 is not finite" in str(caught.value)


# Networks of diffusers


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


@torch.no_grad()
def test_negatives_of_another_length_and_batch(diffusers):
    """One negative prompt of three tokens, against two prompts of five: with masks in one call, else in two."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8,), norm_num_groups=4, cross_attention_dim=8, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
    ).eval()  # fmt: skip
    text, negative, x = draw(2, 5, 8), draw(1, 3, 8, seed=2), draw(2, 4, 8, 8)
    condition, masks = {"encoder_hidden_states": text}, {"encoder_hidden_states": "encoder_attention_mask"}
    denoised = {}
    for declared, calls in [(None, 2), (masks, 1)]:
        main = wrap(unet, (4, 8, 8), predicts="epsilon", schedule=VPSchedule(), masks=declared)
        unconditional = main.under({"encoder_hidden_states": negative})
        with tally() as counts:
            denoised[calls] = guided(main, "cfg(weight=7.5)", unconditional=unconditional)(x, 1.0, condition)
        assert (counts[main].calls, counts[main].outputs) == (calls, 4)
    time, x_t = VPSchedule().time(torch.ones(2)), x / 2**0.5
    positive, other = (unet(x_t, time, states).sample for states in (text, negative.expand(2, -1, -1)))
    for value in denoised.values():
        torch.testing.assert_close(value, x - (other + 7.5 * (positive - other)), rtol=0, atol=1e-4)


class Flux(nn.Module):
    """FLUX's transformer, on packed latents (B, 16, 4) of a square of 4 by 4."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer
        places = torch.arange(16)
        self.register_buffer("places", torch.stack([torch.zeros(16), places // 4, places % 4], 1), persistent=False)

    def forward(self, x_t, time, encoder_hidden_states, pooled_projections, guidance):
        return self.transformer(
            x_t, encoder_hidden_states=encoder_hidden_states, pooled_projections=pooled_projections, timestep=time,
            guidance=guidance, img_ids=self.places, txt_ids=torch.zeros(encoder_hidden_states.shape[1], 3),
        )  # fmt: skip


@torch.no_grad()
def test_embedded_guidance_together_with_true_guidance(diffusers):
    """FLUX is told a scale and is guided by a negative prompt besides; both calls are told the same scale."""
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    ).eval()  # fmt: skip

    def prompt(batch, tokens, seed, scale=3.5):
        return {
            "encoder_hidden_states": draw(batch, tokens, 32, seed=seed),
            "pooled_projections": draw(batch, 32, seed=seed + 1),
            "guidance": torch.full((batch,), scale),
        }

    main = wrap(Flux(transformer), (16, 4), predicts="flow", schedule=FlowSchedule())
    condition, negative, x = prompt(2, 5, seed=1), prompt(1, 5, seed=3), 3.0 * draw(2, 16, 4)
    point = guided(main, "cfg(weight=4)", unconditional=main.under(negative))
    with tally() as counts:
        denoised = point(x, 3.0, condition)
    assert counts[main].calls == 1
    time, x_t = torch.full((2,), 0.75), x / 4
    positive, other = (
        Flux(transformer)(x_t, time, **{name: part.expand(2, *part.shape[1:]) for name, part in each.items()}).sample
        for each in (condition, negative)
    )
    torch.testing.assert_close(denoised, x_t - 0.75 * (other + 4 * (positive - other)), rtol=0, atol=1e-4)
    weaker = {**condition, "guidance": torch.full((2,), 1.0)}
    assert not torch.allclose(point(x, 3.0, weaker), denoised, atol=1e-3)
    by_sample = guided(main, "cfg(weight=[4, 1])", unconditional=main.under(negative))(x, 3.0, condition)
    torch.testing.assert_close(by_sample[0], denoised[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(by_sample[1], main(x, 3.0, condition)[1], rtol=0, atol=1e-4)


@torch.no_grad()
def test_weights_stored_in_8_bits_compute_in_their_own_type(diffusers):
    """Layer by layer in float8, computed in bfloat16: x and text are given in bfloat16, samples stay in float32."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8,), norm_num_groups=4, cross_attention_dim=8, layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
    ).eval()  # fmt: skip
    text, x = draw(2, 5, 8), draw(2, 4, 8, 8)
    exact = wrap(unet, (4, 8, 8), predicts="epsilon", schedule=VPSchedule())(x, 1.0, {"encoder_hidden_states": text})
    unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    assert any(parameter.dtype == torch.float8_e4m3fn for parameter in unet.parameters())
    stored = wrap(unet, (4, 8, 8), predicts="epsilon", schedule=VPSchedule())
    denoised = stored(x, 1.0, {"encoder_hidden_states": text})
    assert denoised.dtype == torch.float32
    torch.testing.assert_close(denoised, exact, rtol=0, atol=0.2)
