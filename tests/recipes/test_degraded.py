"""Degraded networks: noise on the input and dropped units, a sample's own whatever the batch; and their recipe."""

import functools

import pytest
import torch
from torch import Tensor

from guideplug import (
    Degraded,
    PointOutput,
    Registry,
    SampleStreams,
    ValueOutput,
    dropped_units,
    evaluate_together,
)
from guideplug.denoise import Count, Leaf, Space, calls, tally
from guideplug.errors import DenoiserError, RecipeError
from guideplug.observe import Observers
from guideplug.recipes.degraded import DegradedDenoiser
from guideplug.run.builder import StoreBuilder
from guideplug.run.preflight import guided, preflight
from guideplug.run.resolve import Request, read_file, resolve, to_toml
from guideplug.store import Store
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

REGISTRY = Registry.installed()


class Asked(Leaf):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(Space((3,)))
        self.seen: list[tuple[Tensor, Tensor]] = []

    def denoise(self, x, sigma, condition):
        self.seen.append((x, sigma))
        return 0.5 * x


def heun():
    return REGISTRY.find("sampler", "heun")(num_steps=6, sigma_max=5.0)


def starts(count):
    return 5.0 * SampleStreams(0, range(count)).normal((3,), "start")


def test_noise_as_much_as_the_level_that_the_network_is_told():
    network = Asked()
    x, sigma = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), torch.linspace(0.5, 2.0, 4000)
    random = torch.get_rng_state()
    DegradedDenoiser(network, noise=0.2)(x, sigma)
    assert torch.equal(torch.get_rng_state(), random)
    ((noisy, told),) = network.seen
    torch.testing.assert_close(told, 1.2 * sigma)
    added = (noisy - x) / (sigma[:, None] * (1.2**2 - 1) ** 0.5)
    assert abs(float(added.mean())) < 0.04
    assert abs(float(added.std()) - 1) < 0.03
    # Noise of variance sigma^2 and of (told^2 - sigma^2) is noise of variance told^2.
    torch.testing.assert_close(sigma**2 + ((noisy - x) / added)[:, 0] ** 2, told**2)


@pytest.mark.parametrize("options", [{"noise": 0.3}, {"dropout": 0.3}])
def test_a_sample_does_not_depend_on_its_batch(options):
    """Along a trajectory too, where x agrees to rounding only."""
    network = DegradedDenoiser(Rounding() if "noise" in options else dropping(), **options)
    whole = heun().sample(network, starts(9))
    alone = torch.cat([heun().sample(network, starts(9)[rows]) for rows in (slice(0, 1), slice(1, 3), slice(3, 9))])
    torch.testing.assert_close(alone, whole, atol=1e-4, rtol=1e-4)
    order = torch.tensor([4, 8, 0, 1, 7, 2, 3, 6, 5])
    torch.testing.assert_close(heun().sample(network, starts(9)[order]), whole[order], atol=1e-4, rtol=1e-4)
    assert torch.equal(heun().sample(network, starts(9)), whole)


class Rounding(Leaf):
    """Rounds otherwise in another batch, as matrix products do."""

    def __init__(self) -> None:
        super().__init__(Space((3,)))

    def denoise(self, x, sigma, condition):
        return 0.5 * x * (1 + 1e-6 * len(x))


class Dropping(Leaf):
    """Two linear layers, whose hidden units can be dropped."""

    def __init__(self) -> None:
        super().__init__(Space((3,)))
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.SiLU(), torch.nn.Linear(32, 3))

    def denoise(self, x, sigma, condition):
        return self.layers(x / (1 + sigma[:, None]))

    def perturbations(self):
        import functools

        from guideplug import dropped_units

        return {"dropout": functools.partial(dropped_units("1"), self.layers)}


def dropping():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Dropping().eval().requires_grad_(False)


def test_every_evaluation_of_a_trajectory_draws_anew():
    network = Asked()
    path = DegradedDenoiser(network, noise=0.2).trajectory()
    x = starts(4)
    for _ in range(3):
        path(x, 1.0)
    first, second, third = (noisy - x for noisy, _ in network.seen)
    assert (first - second).abs().min() > 1e-6
    assert (third - second).abs().min() > 1e-6
    DegradedDenoiser(network, noise=0.2).trajectory()(x, 1.0)
    assert torch.equal(network.seen[-1][0] - x, first)


def test_both_conditions_of_a_sample_and_later_batches_have_its_noise():
    """The rows of one evaluation are whole batches of samples, of which an interval may leave some out."""
    degraded = DegradedDenoiser(GaussianDenoiser(0.1, conditioning="labels"), noise=0.2)
    labels = torch.tensor([0, 1, 2, 0])
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    guided = degraded + 1.0 * (degraded - degraded.unconditional())
    with tally() as counts:
        value = guided(x, 0.7, labels)
    assert counts[degraded] == Count(1, 8)
    torch.testing.assert_close(value, 2 * degraded(x, 0.7, labels) - degraded(x, 0.7))


def test_degradations_that_differ_draw_independently_and_equal_ones_alike():
    x = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    added = []
    for options in ({"noise": 0.1}, {"noise": 0.2}, {"noise": 0.2, "seed": 1}, {"noise": 0.2}):
        network = Asked()
        DegradedDenoiser(network, **options)(x, 1.0)
        added.append((network.seen[0][0] - x).flatten())
    assert torch.equal(added[1], added[3])
    assert torch.corrcoef(torch.stack(added[:3])).fill_diagonal_(0).abs().max() < 0.06


@pytest.mark.parametrize("kind", CONDITIONS)
def test_conditions_and_gradients_pass(kind):
    network = GaussianDenoiser(0.1, conditioning=kind)
    degraded = DegradedDenoiser(network, noise=0.1)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    x.requires_grad_()
    degraded(x, 0.7, condition).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 0.25 / (0.25 + 0.77**2)))
    assert degraded.has_null == network.has_null


def test_dropout_needs_a_network_that_says_of_what():
    with pytest.raises(DenoiserError, match="a Asked offers no view 'dropout', so its units cannot be dropped"):
        DegradedDenoiser(Asked(), dropout=0.1)


# The recipe


def resolved(**options):
    values = {"task": "tree", "denoiser": "tree-mlp(hidden=4)", "duration": "2it", "batch": 16, "device": "cpu"}
    models = options.pop("models", {})
    return resolve(Request({**values, "guider": "autoguidance", "samples": 6, **options}, models=models), REGISTRY)


def test_a_role_may_be_a_degraded_main_network(tmp_path):
    config = resolved(models={"weak": "degraded(main, dropout=0.1)"})
    assert config.models["weak"] == Degraded(of=config.main, dropout=0.1)
    preflight(config, REGISTRY)
    shop = StoreBuilder(Store(tmp_path), torch.device("cpu"), Observers())
    shop.expect(config.recipes)
    weak, main = shop.obtain(config.models["weak"]), shop.obtain(config.main)
    assert [p.data_ptr() for p in weak.parameters()] == [p.data_ptr() for p in main.parameters()]
    assert weak.role == "weak"
    assert main.role == "main"
    point = guided(config.guider, {"main": main, "weak": weak})
    assert calls(point, 0.7) == {main: Count(1, 1), weak: Count(1, 1)}
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=read_file(path)), REGISTRY) == config


def test_both_networks_may_be_degraded_as_in_the_papers_study(tmp_path):
    """Compatible: 5 % and 10 % dropout; mismatched: dropout and noise. Of one training."""
    both = {"main": "degraded(base, dropout=0.05)", "weak": "degraded(base, noise=0.2)"}
    config = resolved(models={"base": "train", **both})
    assert isinstance(config.main, Degraded)
    assert config.main.of == config.models["weak"].of
    preflight(config, REGISTRY)
    shop = StoreBuilder(Store(tmp_path), torch.device("cpu"), Observers())
    models = {role: shop.obtain(recipe) for role, recipe in config.recipes.items()}
    assert models["main"].of is models["weak"].of
    samples = config.sampler.sample(guided(config.guider, models), 5.0 * starts(4)[:, :2])
    assert bool(torch.isfinite(samples).all())
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=read_file(path)), REGISTRY) == config


class Headed(Leaf):
    """A head and a log-variance besides the denoised samples."""

    outputs = {"head": PointOutput(), "logvar": ValueOutput()}  # noqa: RUF012

    def __init__(self):
        super().__init__(Space((3,)))
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 3))

    def perturbations(self):
        return {"dropout": functools.partial(dropped_units("layers.0"), self)}

    def denoise(self, x, sigma, condition):
        return self.named_outputs(x, sigma, condition, ["denoised"])["denoised"]

    def named_outputs(self, x, sigma, condition, names):
        inner = self.layers(x)
        return {"denoised": inner, "head": 0.5 * inner, "logvar": inner.sum(1) + sigma}


@pytest.mark.parametrize("options", [{"noise": 0.2}, {"dropout": 0.3}, {"noise": 0.2, "dropout": 0.3}])
def test_named_outputs_are_those_of_the_degraded_network(options):
    """From one call, with the input, level and units of its denoised samples, whether asked alone or together."""
    network = DegradedDenoiser(Headed(), **options)
    x, sigma = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.linspace(0.5, 2.0, 5)
    with torch.no_grad(), tally() as counts:
        denoised, head, logvar = evaluate_together(
            [network, network.output("head"), network.output("logvar")], x, sigma
        )
    assert counts[network].calls == 1
    level = (1 + options.get("noise", 0.0)) * sigma
    with torch.no_grad():
        assert torch.equal(denoised, network(x, sigma))
        assert not torch.equal(denoised, network.of(x, sigma))
        assert torch.equal(head, network.output("head")(x, sigma))
    assert torch.equal(head, 0.5 * denoised)
    torch.testing.assert_close(logvar, denoised.sum(1) + level)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("degraded(main)", "nothing is degraded: give dropout or noise"),
        ("degraded(main, dropout=1)", "dropout is 1"),
        ("degraded(main, dropout=1.5)", "dropout is 1.5: it must be between 0 and 1"),
        ("degraded(main, noise=-0.1)", "noise is -0.1"),
    ],
)
def test_wrong_degradations_are_refused_in_one_line(recipe, said):
    with pytest.raises(Exception, match=said) as caught:
        resolved(models={"weak": recipe})
    assert "\n" not in str(caught.value)


def test_dropout_of_a_network_that_does_not_offer_it_is_refused_before_any_training(tmp_path):
    import numpy as np

    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
    task = f"points({str(tmp_path / 'points.npy')!r})"
    with pytest.raises(RecipeError, match=r"--model weak: .*offers no view 'dropout'") as caught:
        resolved(task=task, denoiser=None, models={"weak": "degraded(main, dropout=0.1)"})
    assert "\n" not in str(caught.value)
