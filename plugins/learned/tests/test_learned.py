"""The guider: the laws, the formula, what it costs, what it refuses; and a run with it."""

import json
from pathlib import Path
from typing import Any, cast, final

import pytest
import torch
from attrs import evolve, frozen
from click.testing import CliRunner
from torch import Tensor

from guideplug import (
    Combine,
    Denoiser,
    Guider,
    Level,
    Space,
    Weight,
    WeightInput,
    finite,
    formula,
    opposite,
    option,
    tally,
)
from guideplug.cli.main import main
from guideplug.config import Reader
from guideplug.errors import GuideplugError
from guideplug.observe import Listener, Observers
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.resolve import Request, read_file, resolve, to_toml
from guideplug.store import Store, identity
from guideplug.testing import CONDITIONS, Conditioning, GaussianDenoiser, check_guider, example_condition
from guideplug_learned import Fit, Fitted, Learned, LearnedError, WeightNetwork
from guideplug_learned.affine import check_affine

torch.set_num_threads(1)

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
SPACE = GaussianDenoiser().space
TASK = "tree(classes=both, labels=true)"


def guider(text: str) -> Guider:
    found: Guider = READER.expression(text, Guider)
    return found


@final
class Slope(Weight):
    """A weight of the levels alone, on the device."""

    one: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.ones(()))

    def forward(self, at: WeightInput) -> Level:
        value = torch.as_tensor(at.sigma, dtype=torch.float32, device=self.one.device)
        return (value / (1 + value)).reshape(-1)


@final
class Constant(Weight):
    """One number, on the device, as a network would give it."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, at: WeightInput) -> Tensor:
        return torch.full((1,), self.value)


def others(kind: Conditioning, weight: Weight | None = None) -> dict[str, Any]:
    return {"weak": GaussianDenoiser(0.4, 0.8, conditioning=kind), "weights": weight or Slope()}


@pytest.mark.parametrize("inner", ["autoguidance", "cfg"])
def test_laws(inner: str) -> None:
    if inner == "cfg":
        with pytest.raises(GuideplugError, match="has no null condition"):  # unlabelled, as cfg itself
            check_guider(lambda: Learned(guider("cfg")), models=others)
        return
    check_guider(lambda: Learned(guider(inner)), models=others)


@pytest.mark.parametrize("kind", ["none", "labels"])
def test_with_a_weight_network_it_is_the_formula(kind: Conditioning) -> None:
    network = WeightNetwork((0.002, 80.0, 0.5), 3, 16)
    models = others(kind, network)
    base, weak = GaussianDenoiser(0.1, conditioning=kind), models["weak"]
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(6, 2, generator=generator), example_condition(kind, 6, generator)
    point = Learned(guider("autoguidance")).guide(base, models)
    with torch.no_grad(), tally() as counts:
        value = point(x, 0.7, condition, toward=0.3)
    assert (counts[base].calls, counts[weak].calls) == (1, 1)
    with torch.no_grad():
        omega = network(WeightInput(0.7, 0.3, base.space, condition))[:, None]
        away = base(x, 0.7, condition) - weak(x, 0.7, condition)
        torch.testing.assert_close(value, base(x, 0.7, condition) + omega * away)
        torch.testing.assert_close(point(x, torch.full((6,), 0.7), condition, toward=0.3), value)
    with pytest.raises(ValueError, match="the level that a step goes towards"):
        point(x, 0.7, condition)
    text = formula(point, {base: "main", weak: "weak"})
    assert text.startswith("main(x")
    assert ") + omega(c, sigma, toward) (main(x" in text


@pytest.mark.parametrize("inner", ["autoguidance", "cfg"])
@pytest.mark.parametrize("omega", [0.5, 1.0, 3.0])
def test_a_constant_weight_is_the_inner_guiders(inner: str, omega: float) -> None:
    kind: Conditioning = "labels"
    models, base = others(kind, Constant(omega)), GaussianDenoiser(0.1, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(6, 2, generator=generator), example_condition(kind, 6, generator)
    plain = guider(f"{inner}(weight={1 + omega})").guide(base, models)
    with tally() as counts:
        value = Learned(guider(inner)).guide(base, models)(x, 0.7, condition)
    torch.testing.assert_close(value, plain(x, 0.7, condition))
    assert counts[base].calls == 1


def test_at_omega_0_it_is_the_base_bit_for_bit_though_the_guide_is_called() -> None:
    """A 0 on the device is not known beforehand."""
    models, base = others("none", Constant(0.0)), GaussianDenoiser(0.1)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    with tally() as counts:
        value = Learned(guider("autoguidance")).guide(base, models)(x, 0.7)
    assert torch.equal(value, base(x, 0.7))
    assert counts[models["weak"]].calls == 1


def test_inside_others_and_gates() -> None:
    """Outside an interval the guide is not called, nor is the weight asked."""
    models, base = others("none"), GaussianDenoiser(0.1)
    x = torch.ones(3, 2)
    gated = guider("interval(learned(autoguidance), low=0.5)").guide(base, models)
    with tally() as counts:
        assert torch.equal(gated(x, 0.3), base(x, 0.3))
    assert models["weak"] not in counts.counts
    both = guider("blend([learned(autoguidance), autoguidance(weight=1.5)])").guide(base, models)
    with tally() as counts:
        both(x, 1.0)
    assert (counts[base].calls, counts[models["weak"]].calls) == (1, 1)


# What can be learned


@pytest.mark.parametrize("kind", CONDITIONS[1:])
@pytest.mark.parametrize("inner", ["cfg", "autoguidance"])
def test_the_opposite_is_the_other_side(inner: str, kind: Conditioning) -> None:
    """G_2 - D_0 = D_0 - O."""
    models, base = others(kind), GaussianDenoiser(0.1, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    found = opposite(guider(inner), base, models)(x, 0.7, condition)
    twice = guider(f"{inner}(weight=2)").guide(base, models)(x, 0.7, condition)
    torch.testing.assert_close(twice - base(x, 0.7, condition), base(x, 0.7, condition) - found)
    wanted = models["weak"] if inner == "autoguidance" else base.unconditional()
    torch.testing.assert_close(found, wanted(x, 0.7, condition))


def scaled(power: float, offset: float, clip: float) -> type[Guider]:
    @final
    @frozen
    class Odd(Guider):
        """Not affine in its weight, or on at 1."""

        name = "odd"
        weight: float = option(2.0, help="guidance weight", validator=finite)

        def guide(self, base: Denoiser, models: Any) -> Denoiser:
            w = self.weight + offset
            strength = abs(w - 1) ** power * (1 if w > 1 else -1)
            point = base + strength * (base - models["weak"])
            return Combine([point], lambda outputs, x, sigma: outputs[0].clamp(-clip, clip))

    return Odd


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
@pytest.mark.parametrize(("power", "offset", "clip"), [(2.0, 0.0, 1e9), (1.0, 0.5, 1e9), (1.0, 0.0, 0.6)])
def test_guiders_that_are_not_affine_are_refused_in_one_line(
    power: float, offset: float, clip: float, shape: tuple[int, ...]
) -> None:
    odd = scaled(power, offset, clip)()
    space = Space(shape)
    with pytest.raises(LearnedError, match="is not base") as caught:
        check_affine(odd, space)
    assert "\n" not in str(caught.value)
    if shape == (2,):
        with pytest.raises(LearnedError, match="is not base"):
            Learned(odd).guide(GaussianDenoiser(), others("none"))


def test_a_function_that_is_affine_in_the_weight_is_not_refused() -> None:
    check_affine(scaled(1.0, 0.0, 1e9)(), SPACE)
    check_affine(guider("autoguidance"), SPACE)
    check_affine(guider("cfg"), Space((3, 8, 8)))


def test_the_check_is_not_counted() -> None:
    with tally() as counts:
        Learned(guider("autoguidance")).guide(GaussianDenoiser(), others("none"))
    assert counts.calls == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learned(sims)", "guider 'sims' has no option weight"),
        ("learned(interval(cfg, high=1))", "guider 'interval' has no option weight"),
        ("learned(learned(cfg))", "guider 'learned' has no option weight"),
        ("learned(autoguidance(weight=3))", "has weight 3.0: the weight is what is learned"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(GuideplugError) as caught:
        guider(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_denoiser_in_the_role_of_the_weights_is_refused() -> None:
    models = {"weak": GaussianDenoiser(), "weights": GaussianDenoiser()}
    with pytest.raises(LearnedError, match="the role 'weights' is a GaussianDenoiser, and a weight is needed"):
        Learned(guider("autoguidance")).guide(GaussianDenoiser(), models)


# Runs


def resolved(**values: Any) -> Any:
    models, sets = values.pop("models", {}), values.pop("sets", ())
    asked = {"task": TASK, "device": "cpu", "batch": 64, "duration": "2it", "denoiser": "tree-mlp(hidden=4)", **values}
    return resolve(Request(asked, models=models, sets=sets), REGISTRY)


def test_the_weights_are_fitted_to_the_run_networks() -> None:
    config = resolved(guider="learned(autoguidance)", seed=3)
    fit = config.models["weights"]
    assert fit == Fit(
        of=config.main, task=config.task, guider=guider("autoguidance"), models={"weak": config.models["weak"]}, seed=3
    )
    assert fit.iterations == 1000
    changed = resolved(guider="learned(autoguidance)", sets=[("models.weights.iterations", "5")])
    assert changed.models["weights"].iterations == 5


def test_the_network_that_the_user_gives_is_the_one_that_is_fitted_with() -> None:
    config = resolved(guider="learned(cfg)")
    assert config.models["weights"].models == {}  # the null condition of the main one
    given = "train(duration=3it)"
    config = resolved(guider="learned(cfg)", models={"unconditional": given})
    assert config.models["weights"].models == {"unconditional": config.models["unconditional"]}
    config = resolved(guider="learned(autoguidance)", models={"weak": given, "weights": "fit(guider=autoguidance)"})
    assert config.models["weights"].models == {"weak": config.models["weak"]}
    assert config.models["weak"].options.duration.amount == 3


@pytest.mark.parametrize("text", ["learned(cfg)", "learned(autoguidance)", "interval(learned(autoguidance), high=1)"])
def test_the_written_configuration_resolves_to_itself(text: str, tmp_path: Path) -> None:
    config = resolved(guider=text)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=read_file(path)), REGISTRY) == config


def test_two_weights_take_two_roles() -> None:
    with pytest.raises(GuideplugError, match="role 'weights' is used for two different networks"):
        resolved(guider="blend([learned(cfg), learned(autoguidance)])")
    config = resolved(guider="blend([learned(cfg), learned(autoguidance, model=more)])")
    assert {"weights", "more", "weak"} == set(config.models)


@pytest.mark.parametrize(
    ("text", "models", "said"),
    [
        ("learned(autoguidance, model=weak)", {}, "its guider uses the role 'weak' too"),
        ("learned(autoguidance)", {"weights": "train(duration=2it)"}, "the role 'weights' is a"),
        ("autoguidance", {"weak": "fit(guider=cfg)"}, "weak is a guidance weight"),
        ("learned(cfg)", {"weights": "fit(guider=cfg, reward=nothing)"}, "reward is 'nothing'"),
        ("learned(cfg)", {"weights": "fit(guider=cfg, beta=3)"}, "beta is 3.0"),
        ("learned(cfg)", {"weights": "fit(guider=autoguidance)"}, "needs a network for its role 'weak'"),
        ("learned(cfg)", {"main": "fit(guider=cfg)"}, "no denoiser"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line_before_any_training(
    text: str, models: dict[str, str], said: str
) -> None:
    arguments = ["run", "--task", TASK, "--guider", text, "--dry-run", "--duration", "2it"]
    for role, model in models.items():
        arguments += ["--model", f"{role}={model}"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_run_fits_keeps_finds_and_loads_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    common = ["--task", "tree", "--denoiser", "tree-mlp(hidden=4)", "--duration", "2it", "--batch", "64"]
    common += ["--guider", "learned(autoguidance)", "--set", "samples=64", "--set", "threads=1", "--sampler"]
    common += ["heun(num_steps=4)"]
    fast = ["--set", "models.weights.iterations=3", "--set", "models.weights.batch=16"]

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    assert "training weights begins: 3 it" in run("run", *common, *fast, "--out", str(tmp_path / "a"))
    file = tmp_path / "a" / "denoisers" / "weights.safetensors"
    assert file.is_file()
    assert '"denoiser": null' in file.with_suffix(".json").read_text()
    assert "found weights in the store" in run("run", *common, *fast, "--out", str(tmp_path / "b"))
    loaded = run("run", *common, "--model", f"weights={file}", "--out", str(tmp_path / "c"))
    assert f"loaded weights from {file}" in loaded
    config = resolve(Request(file=read_file(tmp_path / "c" / "config.toml")), REGISTRY)
    assert config.models["weights"] == Fitted(path=str(file))
    again = run("sample", str(tmp_path / "a"), "--out", str(tmp_path / "d"))
    assert "loaded weights" in again
    metrics = [(tmp_path / one / "metrics.json").read_text() for one in "abcd"]
    arms = [text[: text.index('"seconds"')] for text in metrics]
    assert arms[0] == arms[1] == arms[2] == arms[3]
    assert json.loads(metrics[0])["evaluations"]["guided"].keys() == {"main", "weak"}
    explained = run("explain", "learned(autoguidance)", "--task", "tree")
    assert "weights" not in explained


def test_it_is_changed_only_as_a_whole() -> None:
    learned = Learned(guider("cfg"))
    assert evolve(learned, model="other") == cast(Any, guider("learned(cfg, model=other)"))


class Stopped(Exception):
    """What a user's wish to stop raises."""


def test_a_fit_reports_and_can_be_stopped_between_steps(tmp_path: Path) -> None:
    config = resolved(guider="learned(cfg)", sets=[("models.weights.iterations", "70"), ("models.weights.batch", "4")])
    seen: list[tuple[str, dict[str, Any]]] = []

    class Notes(Listener):
        def on_event(self, event: str, data: dict[str, Any]) -> None:
            seen.append((event, data))

    store, calls = Store(tmp_path), iter(range(100))

    def stop() -> None:
        if next(calls) == 12:
            raise Stopped

    shop = StoreBuilder(store, torch.device("cpu"), Observers([Notes()]), stop=stop)
    shop.expect(config.recipes)
    with pytest.raises(Stopped):
        shop.obtain(config.models["weights"])
    assert store.find(identity(config.models["weights"])) is None
    assert store.find(identity(config.main)) is not None
    shop = StoreBuilder(store, torch.device("cpu"), Observers([Notes()]))
    shop.expect(config.recipes)
    made = shop.build(config.models["weights"])
    assert isinstance(made.module, WeightNetwork)
    assert not any(parameter.requires_grad for parameter in made.module.parameters())
    assert (made.facts["iterations"], made.found) == (70, False)
    own = [(event, data.get("step")) for event, data in seen if data.get("role") == "weights"]
    begun = own[1][1]
    assert begun is not None
    assert 0 < begun < 32  # it went on
    assert own == [
        ("train", 0),
        ("checkpoint", begun),
        ("train", begun),
        ("step", 32),
        ("step", 64),
        ("step", 70),
        ("trained", 70),
    ]
    again = StoreBuilder(store, torch.device("cpu"), Observers()).build(config.models["weights"])
    assert again.found
    state = made.module.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.module.state_dict().items())
