"""SIMS: the laws, the textbook, and the recipe of the copy that it guides away from."""

import math
from typing import Any

import pytest
import torch

from guideplug import Duration, FineTune, Guider, Synthetic
from guideplug.config import Reader
from guideplug.denoise import tally
from guideplug.errors import GuideplugError
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, read_file, resolve, to_toml
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition
from guideplug_sims import SIMS

REGISTRY = Registry.installed()


def resolved(**values: Any) -> Any:
    return resolve(Request({"task": "tree", "guider": "sims", "device": "cpu", **values}), REGISTRY)


def test_laws():
    check_guider(SIMS)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("omega", [0.5, 1.0, 3.0])
def test_the_papers_formula_and_autoguidance_with_weight_one_more(kind, omega):
    """Step 4: (1 + omega) s_r - omega s_s."""
    base, copy = GaussianDenoiser(0.1, conditioning=kind), GaussianDenoiser(0.4, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    value = SIMS(omega).guide(base, {"synthetic": copy})(x, 0.7, condition)
    torch.testing.assert_close(value, (1 + omega) * base(x, 0.7, condition) - omega * copy(x, 0.7, condition))
    text = f"autoguidance(weight={1 + omega}, model=synthetic)"
    autoguidance = Reader(REGISTRY).expression(text, Guider).guide(base, {"synthetic": copy})
    assert torch.equal(value, autoguidance(x, 0.7, condition))


def test_off_it_is_the_base_and_calls_nothing_else():
    base, copy = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    x = torch.ones(3, 2)
    with tally() as counts:
        assert torch.equal(SIMS(0.0).guide(base, {"synthetic": copy})(x, 0.7), base(x, 0.7))
    assert copy not in counts.counts


def test_the_copy_is_the_main_network_fine_tuned_on_its_own_samples_alone():
    config = resolved(selector="early-jest", seed=3)
    copy = config.models["synthetic"]
    assert isinstance(copy, FineTune)
    assert copy.of == config.main
    assert config.main.selector is not None
    assert copy.on == Synthetic(of=config.main, task=config.task, sampler=config.sampler, count=16384, seed=3)
    assert copy.seed == 3  # the run's
    main = config.main.options
    assert copy.options.duration == Duration(512, "it") == main.duration.part(1 / 8)
    assert (copy.options.lr, copy.options.schedule.name, copy.options.batch) == (0.001, "constant", main.batch)


def test_on_finite_data_as_many_samples_as_there_are_data():
    """Step 2."""
    copy = resolved(task="digits").models["synthetic"]
    assert copy.on.count == 899
    assert copy.options.warmup == 0


def test_its_options_decide_the_recipe():
    copy = resolved(guider="sims(omega=2, count=100, budget=3.2kex, lr=0.5)").models["synthetic"]
    assert copy.on.count == 100
    assert copy.options.duration == Duration(3200, "ex")
    assert copy.options.lr == 0.005


def test_the_budget_is_a_part_of_a_training_that_is_as_long_as_asked():
    assert resolved(duration="80s").models["synthetic"].options.duration == Duration(10, "s")
    assert resolved(duration="20it").models["synthetic"].options.duration == Duration(3, "it")


def test_another_role_and_two_at_once():
    config = resolved(guider="blend([sims, sims(omega=0.5, budget=64it, model=early)])")
    assert set(config.models) == {"synthetic", "early"}
    assert config.models["early"].options.duration == Duration(64, "it")


def test_one_role_for_two_budgets_is_refused():
    with pytest.raises(GuideplugError, match="role 'synthetic' is used for two different networks"):
        resolved(guider="blend([sims, sims(budget=64it)])")


def test_the_written_configuration_resolves_to_itself_and_names_the_main_network(tmp_path):
    config = resolved(selector="early-jest")
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert 'of = "main"' in path.read_text()
    assert resolve(Request(file=read_file(path)), REGISTRY) == config


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("sims(omega=-1)", "omega is -1.0: it must be finite and at least 0"),
        ("sims(count=0)", "count is 0: it must be at least 1"),
        ("sims(count=1.5)", "expected a whole number"),
        ("sims(budget=0it)", "must be positive"),
        ("sims(budget=5)", "is no duration"),
        ("sims(lr=0)", "lr is 0.0: it must be positive"),
    ],
)
def test_bad_options_are_refused_in_one_line(expression, said):
    with pytest.raises(GuideplugError) as caught:
        Reader(REGISTRY).expression(expression, Guider)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("omega", [math.nan, math.inf])
def test_omega_is_finite(omega):
    with pytest.raises(ValueError, match="omega"):
        SIMS(omega)
