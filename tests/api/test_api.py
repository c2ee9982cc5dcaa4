"""Plugin API 2, and what a plugin that was written for 1 still gets: its own values, with a warning."""

import inspect
import warnings
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from guideplug import NoiseDomain, Registry, SampleStreams, Space, Weight, WeightInput
from guideplug.cli.main import main
from guideplug.config import Reader
from guideplug.errors import PluginError
from guideplug.guide import Guider
from guideplug.registry.registry import KINDS
from guideplug.sample import Sampler
from guideplug.task import Network
from guideplug.testing import GaussianDenoiser

OLD = Path(__file__).parent / "written_for_1.py"
METHODS = ("Halving.at", "Below.forward", "Below.zero_at", "OldDenoiser.forward", "OldNetwork.build")


def load(path: Path) -> Registry:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return Registry.installed([str(path)])


def read(text: str, kind: Any) -> Any:
    return Reader(load(OLD)).expression(text, kind)


def test_each_method_of_api_1_is_warned_of_where_it_is_written() -> None:
    with pytest.warns(DeprecationWarning, match="plugin API 1") as warned:
        registry = Registry.installed([str(OLD)])
    messages = [str(warning.message) for warning in warned if "plugin API 1" in str(warning.message)]
    assert [text.removeprefix("plugin API 1: ").split()[0] for text in messages] == list(METHODS)
    assert all("write" in text or "step=None" in text for text in messages)
    assert all(Path(warning.filename) == OLD for warning in warned if "plugin API 1" in str(warning.message))
    assert [text.split()[0] for text in registry.plugins[-1].old] == list(METHODS)


def test_a_weight_and_a_schedule_of_api_1_are_asked_what_they_were() -> None:
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    guided = read("old-late(weight=old-halving(high=3), below=2)", Guider).guide(base, {"weak": weak})
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    share = 1.0 / (1.0 + base.space.sigma_min)
    weight = (0.25 / 1.0) * (share + (1 - share) * 3 - 1)
    expected = base(x, 1.0) + weight * (base(x, 1.0) - weak(x, 1.0))
    torch.testing.assert_close(guided(x, 1.0, toward=0.25, step=(1.0, 0.25)), expected)
    torch.testing.assert_close(guided(x, torch.ones(3), toward=torch.full((3,), 0.25)), expected)
    assert torch.equal(guided(x, 2.0, toward=1.0), base(x, 2.0))


def test_a_network_of_api_1_is_built_for_tasks_alone() -> None:
    network = read("old-net", Network)
    with pytest.raises(ValueError, match="old-net is written for plugin API 1, which builds for tasks alone"):
        network.build(NoiseDomain(Space((2,))))


def test_a_denoiser_of_api_1_is_sampled_by_a_sampler_that_says_its_steps() -> None:
    registry = load(OLD)
    task = Reader(registry).expression("tree", cast(Any, KINDS["guideplug_tasks"]))
    denoiser = Reader(registry).expression("old-net", cast(Any, Network)).build(task)
    start = task.start(SampleStreams(0, range(3)), 80.0)
    samples = Reader(registry).expression("heun(num_steps=4)", cast(Any, Sampler)).sample(denoiser, start.x)
    assert samples.isfinite().all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:plugin API 1")
def test_a_plugin_of_api_1_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    guider = "old-late(weight=old-halving(high=3))"
    options = ["--denoiser", "old-net", "--duration", "4it", "--batch", "16", "--samples", "16"]
    sampler = ["--sampler", "old-euler(num_steps=4)", "--guider", guider, "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--plugin", str(OLD), "--task", "tree", *options, *sampler])
    assert (tmp_path / "run" / "samples.npz").is_file()
    with pytest.raises(SystemExit, match="0"):
        main(["plugins", "check", "--plugin", str(OLD), "old-net"])
    assert "written for plugin API 1: OldNetwork.build takes a task" in capsys.readouterr().out


HEAD = """
from attrs import frozen
from guideplug import *
from typing import final
"""
SCHEDULE = """
@final
@frozen
class Mine(WeightSchedule):
    \"\"\"Mine.\"\"\"
    name = "mine"
    least = 0.0
    def at(self, {}):
        return 1.0
@hook
def guideplug_weights():
    return [Mine]
"""
WEIGHT = """
class Own(Weight):
    def forward(self, {}):
        return 1.0
@hook
def guideplug_guiders():
    return []
"""
NETWORK = """
@final
@frozen
class Mine(Network):
    \"\"\"Mine.\"\"\"
    name = "mine"
    def build(self, {}):
        return 1
@hook
def guideplug_denoisers():
    return [Mine]
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (SCHEDULE.format("sigma"), r"TypeError: Mine.at\(self, sigma\) cannot be asked: write at\(self, at\)"),
        (SCHEDULE.format("a, b, c"), r"TypeError: Mine.at\(self, a, b, c\) cannot be asked"),
        (WEIGHT.format("a, b"), r"TypeError: Own.forward\(self, a, b\) cannot be asked"),
        (WEIGHT.format("sigma"), r"TypeError: Own.forward\(self, sigma\) cannot be asked"),
        (NETWORK.format(""), r"Mine.build\(\) is called as build\(domain\): let it take that"),
        (NETWORK.format("domain, seed"), r"Mine.build\(domain, seed\) is called as build\(domain\)"),
        (
            "GUIDEPLUG_API = 2\n" + SCHEDULE.format("sigma, space"),
            r"says GUIDEPLUG_API = 2, and Mine.at takes \(sigma, space\): write at\(self, at\), .*; or say GUIDEPLUG_",
        ),
        ("GUIDEPLUG_API = 2\n" + WEIGHT.format("condition, sigma, toward"), "says GUIDEPLUG_API = 2, and Own.forward"),
        ("GUIDEPLUG_API = 2\n" + NETWORK.format("task"), "says GUIDEPLUG_API = 2, and Mine.build takes a task"),
    ],
)
@pytest.mark.filterwarnings("ignore:plugin API 1")
def test_what_is_written_for_neither_is_refused_in_one_line(tmp_path: Path, source: str, reason: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + source)
    with pytest.raises(PluginError, match=reason) as caught:
        Registry.installed([str(file)])
    assert str(caught.value).startswith(f"--plugin {file}: ")
    assert "\n" not in str(caught.value)


def _overridden(registry: Registry) -> list[tuple[str, str, str]]:
    """(hook, class, method) for every method of a kind that some offered class has itself, one class for each."""
    methods: dict[tuple[str, str], tuple[str, str, str]] = {}
    for hook, kind in KINDS.items():
        for cls in registry.classes(kind):
            for name, declared in inspect.getmembers(kind, inspect.isfunction):
                own = inspect.getattr_static(cls, name)
                if not name.startswith("_") and inspect.isfunction(own) and own is not declared:
                    methods.setdefault((hook, name), (hook, cls.name, name))
    return sorted(methods.values())


@pytest.mark.parametrize("spoil", ["more", "fewer", "value"])
def test_every_method_with_a_wrong_signature_is_named_with_its_class(spoil: str) -> None:
    """Of every kind, by the offered classes: one argument more, none at all, a property in a method's place."""
    from guideplug.registry.signatures import check_signatures

    registry = Registry.installed()
    cases = _overridden(registry)
    assert {hook for hook, _, _ in cases} == KINDS.keys() - {"guideplug_metrics"}  # of which no plugin has one
    for hook, name, method in cases:
        kind = KINDS[hook]
        cls = cast(type, registry.find(kind.kind, name))
        count = len(inspect.signature(getattr(kind, method)).parameters)
        if spoil == "fewer" and count == 1:
            continue
        arguments = ", ".join(f"a{i}" for i in range(count + 1 if spoil == "more" else 1))
        wrong: Any = eval(f"lambda {arguments}: None")
        child = type.__new__(type(cls), "Spoilt", (cls,), {"__slots__": ()})
        type.__setattr__(child, method, property(wrong) if spoil == "value" else wrong)
        with pytest.raises(PluginError, match=rf"Spoilt\.{method}"):
            check_signatures(child, kind)


def test_what_a_weight_sees() -> None:
    class Sees(Weight):
        seen: WeightInput | None = None

        def forward(self, at: WeightInput) -> float:
            self.seen = at
            return 1.0

    base, weak = (GaussianDenoiser(mean, conditioning="labels") for mean in (0.1, 0.4))
    weight, labels = Sees(), torch.tensor([2])
    (base + weight * (base - weak))(torch.zeros(3, 2), 1.0, labels, toward=0.5, step=(2.0, 1.0))
    at = weight.seen
    assert at is not None
    assert (at.sigma, at.toward, at.step, at.own, at.space) == (1.0, 0.5, (2.0, 1.0), False, base.space)
    assert cast(Tensor, at.condition).tolist() == [2, 2, 2]
    assert WeightInput(2.0, 1.0, base.space, step=(2.0, 1.0)).own
    assert WeightInput(2.0, 1.0, base.space).own
    assert not WeightInput(2.0, None, base.space, step=(2.0, 1.0)).own
    assert WeightInput(torch.ones(2), torch.zeros(2), base.space, step=(torch.ones(2), torch.zeros(2))).own
