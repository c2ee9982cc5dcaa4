"""Tiny SD3 and FLUX transformers, guided, from t = 1: the steps of diffusers' pipelines."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from guideplug import FlowSchedule, Guider, Registry, Sampler, wrap
from guideplug.config import Reader
from guideplug_flow import FlowEuler

diffusers = pytest.importorskip("diffusers")
torch.set_num_threads(1)

READER = Reader(Registry.installed())
WEIGHT = 4.5
JOINT = {"joint_attention_dim": 8, "pooled_projection_dim": 12}


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prompt(count: int, seed: int) -> dict[str, Tensor]:
    tokens, pooled = drawn(count, 5, 8, seed=seed), drawn(count, 12, seed=seed + 1)
    return {"encoder_hidden_states": tokens, "pooled_projections": pooled}


class SD3(nn.Module):
    """As docs/flows.md has it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.transformer = diffusers.SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
            num_attention_heads=2, caption_projection_dim=16, pos_embed_max_size=8, **JOINT,
        )  # fmt: skip

    def forward(self, x_t: Tensor, time: Tensor, **text: Tensor) -> Any:
        return self.transformer(x_t, timestep=time, **text)


class Flux(nn.Module):
    """Packed latents, 64 tokens of 16 numbers; its time is t itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.transformer = diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, guidance_embeds=True, axes_dims_rope=(4, 4, 8), **JOINT,
        )  # fmt: skip
        rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        self.register_buffer("places", torch.stack([torch.zeros(8, 8), rows, columns], 2).reshape(64, 3))

    def forward(self, x_t: Tensor, time: Tensor, **text: Tensor) -> Any:
        of_text = {"txt_ids": torch.zeros(5, 3), "guidance": torch.full_like(time, 3.5)}
        return self.transformer(x_t, timestep=time, img_ids=self.places, **of_text, **text)


@torch.no_grad()
def of_diffusers(network: nn.Module, scheduler: Any, x_t: Tensor, text: Any, null: Any, scale: float) -> Tensor:
    """The loop of a pipeline, classifier-free guidance in one batch."""
    both = {name: torch.cat([null[name].expand_as(text[name]), text[name]]) for name in text}
    for time in scheduler.timesteps:
        prediction = network(torch.cat([x_t, x_t]), time.expand(2 * len(x_t)) / scale, **both).sample
        without, with_text = prediction.chunk(2)
        guided = without + WEIGHT * (with_text - without)
        x_t = scheduler.step(guided, time, x_t, return_dict=False)[0]
    return x_t


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [4, 28])
@pytest.mark.parametrize(
    ("cls", "shape", "scale", "options", "settings"),
    [
        (SD3, (4, 8, 8), 1, {"shift": 3.0}, {"shift": 3.0}),
        (Flux, (64, 16), 1000, {"tokens": 64}, {"use_dynamic_shifting": True}),
    ],
)
def test_guided_trajectories_are_those_of_diffusers(
    cls: Any, shape: tuple[int, ...], scale: float, options: Any, settings: Any, num_steps: int
) -> None:
    network, text, null = cls().eval(), prompt(2, seed=3), prompt(1, seed=5)
    sampler = FlowEuler(num_steps, **options)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**settings)
    uniform = [1 - i / num_steps for i in range(num_steps)]
    scheduler.set_timesteps(sigmas=uniform, mu=sampler.log_shift)
    noise = drawn(2, *shape, seed=7)
    theirs = of_diffusers(network, scheduler, noise, text, null, scale)

    schedule = FlowSchedule(time_scale=1000 / scale)
    main = wrap(network, shape, predicts="flow", schedule=schedule, null=null)
    guided = READER.expression(f"cfg(weight={WEIGHT})", Guider).guide(main, {})
    ours = sampler.sample(guided, sampler.sigmas(guided)[0] * noise, text)
    assert float((ours - theirs).abs().max()) < 1e-5 * max(1.0, float(theirs.abs().max()))


def test_the_sampler_of_a_wrapped_flow_is_found_by_its_name() -> None:
    main = wrap(SD3().eval(), (4, 8, 8), predicts="flow", schedule=FlowSchedule(time_scale=1000))
    assert READER.expression(main.sampler(), Sampler) == FlowEuler()  # type: ignore[type-abstract]
