"""Networks of diffusers, wrapped in one line and guided, against diffusers' own guidance and steps."""

import itertools

import pytest
import torch
from torch import nn

from guideplug import DiscreteSchedule, FlowSchedule, Guider, Registry, tally, wrap
from guideplug.config import Reader
from guideplug.denoise import concatenate

diffusers = pytest.importorskip("diffusers")
torch.set_num_threads(1)
# diffusers' schedulers make numpy arrays of tensors in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SHAPE, TOKENS, WIDTH = (4, 8, 8), 5, 8
TEXT = "encoder_hidden_states"
CFG_WEIGHT, AUTOGUIDANCE_WEIGHT = 7.5, 1.5


def unet(seed, **options):
    torch.manual_seed(seed)
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **options,
    ).eval()


def euler(**options):
    return diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **options
    )


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


EMPTY, NEGATIVE = draw(1, TOKENS, WIDTH, seed=1), draw(1, TOKENS, WIDTH, seed=2)
PROMPTS = draw(3, TOKENS, WIDTH, seed=3)
X = draw(3, *SHAPE, seed=4)


def wrapped(network, scheduler, predicts="epsilon"):
    schedule = DiscreteSchedule(scheduler.alphas_cumprod)
    return wrap(network, SHAPE, predicts=predicts, schedule=schedule, null={TEXT: EMPTY})


def guiders(expression):
    registry = Registry.installed()
    missing = {"cfg", "autoguidance", "blend"} - set(registry.names("guider"))
    if missing:
        pytest.skip(f"not installed: {sorted(missing)}")
    return Reader(registry).expression(expression, Guider)


def blend(shares):
    parts = f"[cfg(weight={CFG_WEIGHT}), autoguidance(weight={AUTOGUIDANCE_WEIGHT})]"
    return guiders(f"blend({parts}, shares={shares})")


def diffusers_guidance(conditional, unconditional):
    """The guided noise by the guider that diffusers' modular pipelines use."""
    guider = diffusers.guiders.ClassifierFreeGuidance(guidance_scale=CFG_WEIGHT)
    guider.set_state(step=0, num_inference_steps=1, timestep=None)
    guided = guider.forward(conditional, unconditional)
    return guided[0] if isinstance(guided, tuple) else guided.pred  # a tuple in diffusers 0.35


def noise(network, x, sigma, time, prompts):
    """What the network itself predicts, asked as diffusers asks it."""
    x_t = x / (sigma**2 + 1) ** 0.5
    with torch.no_grad():
        return network(x_t, time, encoder_hidden_states=prompts.expand(len(x), -1, -1), return_dict=False)[0]


@pytest.mark.parametrize("step", [0, 1, 437, 999])
@pytest.mark.parametrize("negative", [NEGATIVE, None], ids=["negative prompt", "empty prompt"])
@torch.no_grad()
def test_blended_guidance_is_diffusers_guidance(step, negative):
    scheduler, strong, weak = euler(), unet(0), unet(1)
    main = wrapped(strong, scheduler)
    models = {"weak": wrapped(weak, scheduler)}
    if negative is not None:
        models["unconditional"] = main.under({TEXT: negative})

    sigma = float(scheduler.sigmas.flip(0)[step + 1])
    x, time = sigma * X, torch.tensor(step)
    conditional = noise(strong, x, sigma, time, PROMPTS)
    unconditional = noise(strong, x, sigma, time, EMPTY if negative is None else negative)
    guided = diffusers_guidance(conditional, unconditional)
    torch.testing.assert_close(guided, unconditional + CFG_WEIGHT * (conditional - unconditional))
    more = (AUTOGUIDANCE_WEIGHT - 1) * (conditional - noise(weak, x, sigma, time, PROMPTS))

    for shares, expected, weak_calls in [([1, 0], guided, 0), ([1, 1], guided + more, 1)]:
        point = blend(shares).guide(main, models)
        with tally() as counts:
            denoised = point(x, sigma, {TEXT: PROMPTS})
        torch.testing.assert_close((x - denoised) / sigma, expected, rtol=0, atol=2e-4)
        assert (counts[main].calls, counts[main].outputs) == (1, 6)
        assert counts[models["weak"]].calls == weak_calls


@pytest.mark.parametrize("options", [
    {}, {"timestep_spacing": "trailing"}, {"use_karras_sigmas": True}, {"prediction_type": "v_prediction"},
    {"prediction_type": "sample"},
], ids=str)  # fmt: skip
@torch.no_grad()
def test_a_whole_trajectory_is_diffusers_trajectory(options):
    """Euler steps from the same noise along the same levels; Karras levels lie between the table's steps."""
    predicts = {"v_prediction": "v", "sample": "denoised"}.get(options.get("prediction_type"), "epsilon")
    scheduler, network = euler(**options), unet(0)
    scheduler.set_timesteps(10)
    sigmas = scheduler.sigmas.tolist()
    start = sigmas[0] * X

    theirs = start
    for time in scheduler.timesteps:
        x_t = scheduler.scale_model_input(theirs, time)
        both = network(torch.cat([x_t, x_t]), time, torch.cat([EMPTY.expand_as(PROMPTS), PROMPTS])).sample
        unconditional, conditional = both.chunk(2)
        prediction = unconditional + CFG_WEIGHT * (conditional - unconditional)
        theirs = scheduler.step(prediction, time, theirs).prev_sample

    ours = start
    guided = guiders(f"cfg(weight={CFG_WEIGHT})").guide(wrapped(network, scheduler, predicts), {})
    for sigma, after in itertools.pairwise(sigmas):
        ours = ours + (after - sigma) * (ours - guided(ours, sigma, {TEXT: PROMPTS})) / sigma
    scale = float(theirs.abs().max())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * scale)  # float32, 10 steps, weight 7.5


def test_times_between_steps_are_diffusers_times():
    scheduler = euler(use_karras_sigmas=True)
    scheduler.set_timesteps(30)
    times = DiscreteSchedule(scheduler.alphas_cumprod).time(scheduler.sigmas[:-1])
    torch.testing.assert_close(times, scheduler.timesteps, rtol=0, atol=5e-3)


def test_a_table_rescaled_to_zero_terminal_snr_is_taken():
    """diffusers writes 2^-24 for its last value, so that sigma is 4096 and not infinite."""
    scheduler = euler(rescale_betas_zero_snr=True)
    assert DiscreteSchedule(scheduler.alphas_cumprod).sigma_range[1] == pytest.approx(4096, rel=1e-3)
    ddim = diffusers.DDIMScheduler(rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match=r"alphas_cumprod\[999\] is 0, .* \(zero terminal SNR\)"):
        DiscreteSchedule(ddim.alphas_cumprod)


@torch.no_grad()
def test_text_and_another_part_at_once_with_prompts_of_unequal_length():
    """The convention of guideplug pads ``text`` by ``text_mask``; a function gives them the names of diffusers."""
    scheduler, network = euler(), unet(0, class_embed_type="timestep")
    schedule = DiscreteSchedule(scheduler.alphas_cumprod)

    def named(x_t, time, *, text, text_mask, size):
        return network(x_t, time, text, class_labels=size, encoder_attention_mask=text_mask)

    def null(batch, device):
        return {
            "text": EMPTY[:, :2].expand(batch, -1, -1),
            "text_mask": torch.ones(batch, 2, dtype=torch.bool),
            "size": torch.zeros(batch),
        }

    main = wrap(named, SHAPE, predicts="epsilon", schedule=schedule, null=null)
    mask = torch.arange(TOKENS) < torch.tensor([[5], [1], [3]])
    condition = {"text": PROMPTS, "text_mask": mask, "size": torch.tensor([1.0, 2.0, 3.0])}
    assert concatenate([condition, null(3, X.device)])[0]
    with tally() as counts:
        guided = (main + 2.0 * (main - main.unconditional()))(X, 1.0, condition)
    assert (counts[main].calls, counts[main].outputs) == (1, 6)

    time, x_t = schedule.time(torch.ones(3)), X / 2**0.5
    short = [network(x_t[i:i + 1], time[i:i + 1], PROMPTS[i:i + 1, :length], class_labels=condition["size"][i:i + 1])
             for i, length in enumerate([5, 1, 3])]  # fmt: skip
    conditional = torch.cat([output.sample for output in short])
    unconditional = network(x_t, time, EMPTY[:, :2].expand(3, -1, -1), class_labels=torch.zeros(3)).sample
    torch.testing.assert_close(guided, X - (3 * conditional - 2 * unconditional), rtol=0, atol=1e-4)


class Flow(nn.Module):
    """A transformer of diffusers whose arguments stand in another order."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, x_t, time, **condition):
        return self.transformer(x_t, timestep=time, **condition)


@torch.no_grad()
def test_a_flow_transformer_steps_as_in_diffusers():
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=WIDTH,
        pos_embed_max_size=8,
    ).eval()
    condition = {TEXT: PROMPTS, "pooled_projections": PROMPTS[:, 0]}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=[0.99, 0.8, 0.5, 0.2, 0.05])
    times = scheduler.sigmas.tolist()  # diffusers calls the time of a flow sigma

    theirs = X
    for time in scheduler.timesteps:
        velocity = transformer(theirs, timestep=time.expand(3), **condition).sample
        theirs = scheduler.step(velocity, time, theirs).prev_sample

    model = wrap(Flow(transformer), SHAPE, predicts="flow", schedule=FlowSchedule(time_scale=1000.0))
    ours = X / (1 - times[0])
    sigmas = [time / (1 - time) for time in times]
    for sigma, after in itertools.pairwise(sigmas):
        ours = ours + (after - sigma) * (ours - model(ours, sigma, condition)) / sigma
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
