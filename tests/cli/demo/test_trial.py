"""The demo: its density is a density, its sentences follow from its numbers, and it says the same twice."""

from pathlib import Path

import pytest
import torch
from attrs import evolve

from guideplug.cli.demo import Demo, Schooling, demonstrate, draw_picture, story
from guideplug.cli.demo.spirals import NULL_LABEL, PIECES, Spirals
from guideplug.cli.demo.trial import MLPDenoiser, checked, sampled, trained

torch.set_num_threads(1)

SHORT = Schooling(8, 30), Schooling(4, 10)


@pytest.fixture(scope="module")
def shown() -> tuple[Demo, dict[str, torch.Tensor]]:
    demo, samples = demonstrate(*SHORT, samples=256)
    return demo, dict(samples)


# The density


@pytest.mark.parametrize("label", [0, 1, NULL_LABEL])
def test_the_denoiser_is_that_of_the_mixture(label: int) -> None:
    truth, generator = Spirals().double(), torch.Generator().manual_seed(1)
    x = torch.randn(64, 2, generator=generator, dtype=torch.float64).requires_grad_()
    sigma = torch.linspace(0.05, 3, 64, dtype=torch.float64)
    means = truth.means if label == NULL_LABEL else truth.means.chunk(2)[label]
    variance = (0.03**2 + sigma**2)[:, None]
    log_p = (-torch.cdist(x, means).square() / (2 * variance)).logsumexp(1)
    (score,) = torch.autograd.grad(log_p.sum(), x)
    with torch.no_grad():
        denoised = truth(x, sigma, torch.full((64,), label))
    assert torch.allclose(denoised, x + sigma[:, None] ** 2 * score, atol=1e-6)


def test_the_density_has_mass_one_and_is_that_of_the_points() -> None:
    truth, line = Spirals(), torch.linspace(-1.5, 1.5, 400)
    grid = torch.cartesian_prod(line, line)
    assert float(truth.log_density(grid).exp().mean() * 3.0**2) == pytest.approx(1.0, abs=0.02)
    points = truth.draw(20000, torch.Generator().manual_seed(0))
    shares = truth.shares(points)
    assert shares.shape == (PIECES,)
    assert torch.allclose(shares, torch.full((PIECES,), 1 / PIECES), atol=0.006)


def test_sampling_with_the_exact_denoiser_gives_the_truth() -> None:
    truth, generator = Spirals(), torch.Generator().manual_seed(0)
    ends = sampled(truth, 5.0 * torch.randn(2000, 2, generator=generator))
    true = truth.log_density(truth.draw(2000, generator)).mean()
    assert float(truth.log_density(ends).mean()) == pytest.approx(float(true), abs=0.15)


# The checks and the trial


def test_what_the_algebra_promises_is_found() -> None:
    found = checked(Spirals(), torch.randn(32, 2, generator=torch.Generator().manual_seed(0)))
    assert (found.calls, found.outputs) == (1, 2)
    assert (found.negative_calls, found.negative_outputs) == (1, 2)
    assert found.same_at_one
    assert found.outputs_at_one == 1
    assert found.error < 1e-5
    assert 0 < len(found.gated) < found.levels
    assert found.gated == found.within


def test_training_brings_a_network_nearer_to_the_truth() -> None:
    truth, generator = Spirals(), torch.Generator().manual_seed(5)
    x, sigma = truth.draw(2000, generator), torch.full((2000,), 0.2)
    x = x + sigma[:, None] * torch.randn(2000, 2, generator=generator)

    def error(network: MLPDenoiser) -> float:
        with torch.no_grad():
            return float((network(x, sigma) - truth(x, sigma)).square().mean())

    assert error(trained(Schooling(32, 200), "main", truth, 0)) < 0.6 * error(MLPDenoiser(32, "main", generator))


def test_the_same_twice_and_no_global_randomness(shown: tuple[Demo, dict[str, torch.Tensor]]) -> None:
    state = torch.random.get_rng_state()
    demo, samples = demonstrate(*SHORT, samples=256)
    assert torch.equal(state, torch.random.get_rng_state())
    assert evolve(demo, seconds=0) == evolve(shown[0], seconds=0)
    assert all(torch.equal(samples[name], points) for name, points in shown[1].items())
    assert demonstrate(*SHORT, samples=256, seed=1)[0].rows != demo.rows


def test_calls_are_counted(shown: tuple[Demo, dict[str, torch.Tensor]]) -> None:
    truth, weak, plain, guided, gated = (dict(row.calls) for row in shown[0].rows)
    assert truth == {}
    assert weak == {"main": 0, "weak": 47}
    assert plain == {"main": 47, "weak": 0}
    assert guided == {"main": 47, "weak": 47}
    assert gated["main"] == 47
    assert 0 < gated["weak"] < 47


# The words


def rewritten(demo: Demo, unguided: tuple[float, float], guided: tuple[float, float]) -> str:
    """The story, were the shares these: fidelity and coverage."""
    truth, weak, plain, free, gated = demo.rows
    inside, coverage = guided
    plain = evolve(plain, inside=unguided[0], coverage=unguided[1])
    free, gated = (evolve(row, inside=inside, coverage=coverage) for row in (free, gated))
    return "\n".join(story(evolve(demo, rows=[truth, evolve(weak, inside=0.1), plain, free, gated])))


@pytest.mark.parametrize(
    ("unguided", "guided", "said"),
    [
        ((0.7, 0.9), (0.9, 0.8), "guidance bought fidelity with coverage at 2 x the calls; the interval is as good"),
        ((0.7, 0.8), (0.6, 0.9), "guidance bought coverage with fidelity"),
        ((0.7, 0.9), (0.9, 0.9), "guidance helped"),
        ((0.7, 0.9), (0.7, 0.9), "guidance did not help"),
        ((0.7, 0.9), (0.6, 0.8), "guidance did not help"),
        ((0.7, 0.9), (0.9, 0.8), "fidelity rose (70.0% -> 90.0%) and coverage fell (90.0% -> 80.0%)"),
        ((0.7, 0.9), (0.6, 0.905), "fidelity fell (70.0% -> 60.0%) and coverage stayed (90.0% -> 90.5%)"),
    ],
)
def test_the_verdict_follows_from_the_numbers(
    unguided: tuple[float, float], guided: tuple[float, float], said: str, shown: tuple[Demo, dict[str, torch.Tensor]]
) -> None:
    assert said in rewritten(shown[0], unguided, guided)


def test_a_promise_that_fails_is_said(shown: tuple[Demo, dict[str, torch.Tensor]]) -> None:
    demo = shown[0]
    assert "NOT" not in "\n".join(story(demo))
    broken = evolve(demo.checks, same_at_one=False, outputs_at_one=2, gated=[1.0])
    text = "\n".join(story(evolve(demo, checks=broken)))
    assert "NOT the base's bits, and the guide IS asked" in text
    assert "1 of 24 noise levels, NOT the 10 inside it" in text
    _, weak, plain, *others = demo.rows
    swapped = [demo.rows[0], evolve(weak, inside=0.9), evolve(plain, inside=0.5), *others]
    assert "Guided by the other (not weaker!) network" in "\n".join(story(evolve(demo, rows=swapped)))


def test_what_guidance_is_comes_first_and_every_column_is_explained(
    shown: tuple[Demo, dict[str, torch.Tensor]],
) -> None:
    lines = story(shown[0])
    assert lines[0].startswith("1. Guidance asks a second, worse denoiser")
    text = "\n".join(lines)
    assert text.index("coverage: the truth") < text.index("2. How it is written")
    networks = ["main: 8 wide, 30 iterations", "weak: 4 wide, 10 iterations"]
    columns = ["fidelity: share", f"cut into {PIECES} equal pieces", "log p: mean", "network calls per sample"]
    assert all(said in text for said in networks + columns)


def test_it_is_short_enough_to_read(shown: tuple[Demo, dict[str, torch.Tensor]]) -> None:
    lines = story(shown[0])
    assert len(lines) <= 27
    assert max(map(len, lines)) <= 132


def test_titles_fit_the_panels(shown: tuple[Demo, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    demo, samples = shown
    rows = [evolve(row, inside=1.0, coverage=1.0, calls={"main": 47, "weak": 47}) for row in demo.rows]
    draw_picture(evolve(demo, rows=rows), samples, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as file:
        dark = np.asarray(file.convert("L")) < 128
    titles, panels = dark[: int(0.17 * len(dark))].any(0), 1 + len(rows[1:])
    assert titles.any()
    for number in range(panels + 1):  # nothing is written where one panel ends and the next begins
        edge = min(max(number * len(titles) // panels, 8), len(titles) - 8)
        assert not titles[edge - 8 : edge + 8].any()


def test_the_picture_is_a_png(shown: tuple[Demo, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    path = tmp_path / "picture"
    draw_picture(*shown, path)
    assert path.read_bytes().startswith(b"\x89PNG")
