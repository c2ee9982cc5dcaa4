"""EDM2's objective: its equation, its laws, what its log-variance learns, and a small network trained with it."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import guideplug
from guideplug import Examples, NoiseDomain, ObjectiveInput, Space, TrainingStreams, evaluate_together, noised, tally
from guideplug.testing import check_network, check_objective
from guideplug_edm_networks import EDM2, EDM2Denoiser, EDM2Uncertainty

torch.set_num_threads(1)

SPACE = Space((2, 8, 8), sigma_data=0.5)
SMALL = EDM2(channels=8, channel_mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8, logvar_channels=16)
DIGITS = "edm2(channels=16, channel_mult=[1, 2], blocks=1, attention=[4], channels_per_head=16, logvar_channels=32)"


def built(seed: int = 0) -> EDM2Denoiser:
    """A network with random gains, so that no branch is dead."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SMALL.build(NoiseDomain(SPACE, num_labels=3))
        with torch.no_grad():
            for name, value in network.named_parameters():
                if name.endswith("gain"):
                    value.copy_(torch.rand([]) + 0.5)
    assert isinstance(network, EDM2Denoiser)
    return network


def drawn(count: int = 5) -> tuple[Examples, Tensor]:
    streams = TrainingStreams(0, 0)
    sigma = (torch.randn(count, generator=streams.generator("noise level")) - 0.4).exp()
    clean = 0.5 * torch.randn(count, *SPACE.shape, generator=streams.generator("data"))
    return noised(clean, sigma, streams, torch.arange(count) % 3), sigma


def losses(network: EDM2Denoiser, examples: Examples, sigma: Tensor) -> Tensor:
    weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
    return EDM2Uncertainty().losses(ObjectiveInput(network, network, examples, sigma, weight))


def test_laws() -> None:
    check_objective(EDM2Uncertainty())
    check_network(SMALL, NoiseDomain(SPACE, num_labels=3))


def test_it_is_the_mean_over_pixels_of_the_loss_that_edm2_sums() -> None:
    """Per pixel lambda / exp(u) (D - y)^2 + u, in float64 by the paper's symbols."""
    network, (examples, sigma) = built(), drawn()
    with torch.no_grad():
        denoised = network(examples.x, sigma, examples.condition).double()
        u = network.logvar(sigma).double()[:, None, None, None]
    s = sigma.double()[:, None, None, None]
    per_pixel = (s**2 + 0.5**2) / (s * 0.5) ** 2 / u.exp() * (denoised - examples.target.double()) ** 2 + u
    means = losses(network, examples, sigma).detach().double()
    torch.testing.assert_close(means, per_pixel.mean((1, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(means * 2 * 8 * 8, per_pixel.sum((1, 2, 3)), rtol=1e-5, atol=1e-3)


def test_the_log_variance_has_the_bits_of_the_head_and_costs_no_call() -> None:
    network, (examples, sigma) = built(), drawn()
    x, condition = examples.x, examples.condition
    with torch.no_grad(), tally() as counts:
        denoised, logvar = evaluate_together([network, network.output("logvar")], x, sigma, condition)
    assert counts[network].calls == 1
    with torch.no_grad():
        assert torch.equal(denoised, network(x, sigma, condition))
        assert torch.equal(logvar, network.logvar(sigma))
        assert torch.equal(logvar, network.output("logvar")(x, sigma, condition))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(logvar, network.logvar(sigma))


def test_adam_takes_the_same_steps_whatever_the_scale() -> None:
    """The mean over pixels trains as the sum does."""
    trained = []
    for scale in (1.0, 128.0):
        network, (examples, sigma) = built(), drawn()
        before = losses(network, examples, sigma).detach()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.9, 0.99))
        for _ in range(3):
            optimizer.zero_grad()
            (scale * losses(network, examples, sigma)).mean().backward()
            optimizer.step()
            network.after_step()
        trained.append(losses(network, examples, sigma).detach())
        assert bool((trained[-1] - before).abs().max() > 0.1)
    torch.testing.assert_close(*trained, rtol=1e-3, atol=1e-3)


class Evaluated(ObjectiveInput):
    """Examples whose denoised images are computed once."""

    def evaluate(self, *outputs: str) -> list[Tensor]:
        network = self.network
        assert isinstance(network, EDM2Denoiser)
        assert outputs == ("logvar",)
        return [self.examples.x, network.logvar(self.sigma)]


def test_the_log_variance_learns_the_error_of_each_level() -> None:
    """At its optimum exp(u(sigma)) is the expected weighted error there."""
    network = built()
    sigma = torch.tensor([0.1, 2.0]).repeat_interleave(12)
    clean = 0.5 * torch.randn(24, *SPACE.shape, generator=torch.Generator().manual_seed(0))
    weight, expected = 1 / sigma**2 + 4, torch.tensor([0.6, 1.8]).repeat_interleave(12)
    examples = Examples(clean + (expected / weight).sqrt()[:, None, None, None], clean)
    head = list(network.logvar_linear.parameters())
    optimizer = torch.optim.Adam(head, lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        EDM2Uncertainty().losses(Evaluated(network, network, examples, sigma, weight)).mean().backward()
        optimizer.step()
    torch.testing.assert_close(network.logvar(sigma).detach().exp(), expected, rtol=0.02, atol=0.0)


@pytest.mark.slow
def test_edm2_trains_with_it_on_a_small_task(tmp_path: Path) -> None:
    sets = {"train.objective": "edm2-uncertainty", "train.noise": "log-normal(mean=-0.4, std=1.0)", "threads": 1}
    result = guideplug.run(
        guider="none", task="digits", denoiser=DIGITS, duration="3it", batch=8, samples=8, sets=sets, device="cpu",
        out=tmp_path / "out", store=tmp_path / "store",
    )  # fmt: skip
    assert json.loads((result.folder / "run.json").read_text())["status"] == "finished"
    assert 'objective = "edm2-uncertainty()"' in (result.folder / "config.toml").read_text()


def test_another_network_is_refused_before_any_work(tmp_path: Path) -> None:
    sets = {"train.objective": "edm2-uncertainty"}
    with pytest.raises(guideplug.GuideplugError, match="reads the output 'logvar', and the network 'main'"):
        guideplug.run(task="digits", sets=sets, duration="1it", out=tmp_path / "out", store=tmp_path / "store")
    assert not (tmp_path / "out").exists()
