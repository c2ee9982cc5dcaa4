"""A local plugin for the tests of the command line: a task that costs nothing, two selectors, bad networks.

The data are two points of the plane with a little noise, under the label of the point if ``labels`` is true. Where
``TOY_PAUSE`` is set in the environment, every training step and every sampling step waits that many seconds; in the
training step ``TOY_DIVERGE``, data are no numbers.
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug import (
    Arm,
    CandidateRequest,
    Condition,
    Context,
    Denoiser,
    Domain,
    Duration,
    Examples,
    Findings,
    Guider,
    Leaf,
    Listener,
    LogNormal,
    Losses,
    Metric,
    Network,
    Observer,
    PerSample,
    Recipe,
    Report,
    Resampler,
    RunInfo,
    Sampler,
    Selection,
    Selector,
    SelectorState,
    Space,
    Start,
    State,
    Streams,
    Study,
    Table,
    Task,
    Train,
    TrainingStreams,
    TrainOptions,
    Trial,
    Weighted,
    hook,
    noised,
    option,
)

SPACE = Space(shape=(2,), sigma_data=0.5, sigma_min=0.01, sigma_max=5.0)
CENTRES = torch.tensor([[-0.6, 0.0], [0.6, 0.2]])
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe0def46b8"
    "0000000049454e44ae426082"
)


def pause() -> None:
    time.sleep(float(os.environ.get("TOY_PAUSE", 0)))


class ToyDenoiser(Leaf):
    def __init__(self, width: int, labels: bool) -> None:
        super().__init__(SPACE)
        self.labels, self.num_labels = labels, 2 if labels else None
        self.layers = nn.Sequential(nn.Linear(6, width), nn.SiLU(), nn.Linear(width, 2))

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        label = nn.functional.one_hot(condition, 3).to(x) if self.labels else x.new_zeros(len(x), 3)
        share = (sigma**2 / (sigma**2 + 0.25))[:, None]
        inputs = torch.cat([x / (sigma**2 + 0.25).sqrt()[:, None], sigma.log()[:, None] / 4, label], 1)
        return (1 - share) * x + share.sqrt() * 0.5 * self.layers(inputs)

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), 2, device=device) if self.labels else super().null_condition(batch, device)

    @property
    def has_null(self) -> bool:
        return self.labels


class WrongShape(ToyDenoiser):
    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return super().denoise(x, sigma, condition)[:, :1]


class NaNDenoiser(ToyDenoiser):
    """Not a number below a noise level."""

    below = 0.5

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        clean = super().denoise(x, sigma, condition)
        return torch.where((sigma < self.below)[:, None], clean * torch.nan, clean)


@final
@frozen
class ToyNet(Network):
    """A tiny MLP."""

    name = "toy-net"
    width: int = option(8, help="width")

    def build(self, domain: Domain) -> Leaf:
        return ToyDenoiser(self.width, domain.num_labels is not None)


@final
@frozen
class WrongNet(Network):
    """A network that answers in another shape."""

    name = "toy-wrong-shape"

    def build(self, domain: Domain) -> Leaf:
        return WrongShape(4, domain.num_labels is not None)


@final
@frozen
class NaNNet(Network):
    """A network that answers no number at low noise."""

    name = "toy-nan"

    def build(self, domain: Domain) -> Leaf:
        return NaNDenoiser(4, domain.num_labels is not None)


@final
@frozen
class Distance(PerSample):
    """Mean distance to the nearer point."""

    name = "distance"
    better, aspect, formula = "lower", "fidelity", "mean over samples of min |x - c|"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return torch.cdist(arm.samples, CENTRES).min(1).values


@final
@frozen
class Balance(Weighted):
    """Share of the rarer point."""

    name = "balance"
    better, aspect, formula = "higher", "coverage", "min over points of the share of samples nearest to it"

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        first = (torch.cdist(arm.samples, CENTRES).argmin(1) == 0).double()

        def rarer(weights: Tensor) -> Tensor:
            share = weights @ first / weights.sum(1)
            return torch.minimum(share, 1 - share)

        return rarer


@final
@frozen
class Toy(Task):
    """Two points of the plane."""

    name = "toy"
    labels: bool = option(False, help="whether the point is a condition")

    @property
    def space(self) -> Space:
        return SPACE

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        pause()
        generator = streams.generator("data")
        which = torch.randint(2, (len(sigma),), generator=generator)
        clean = CENTRES[which] + 0.05 * torch.randn(len(sigma), 2, generator=generator)
        if os.environ.get("TOY_DIVERGE") == str(streams.step):
            clean = clean * torch.nan
        return noised(clean, sigma, streams, which if self.labels else None)

    @property
    def num_labels(self) -> int | None:
        return 2 if self.labels else None

    def start(self, streams: Streams, sigma: float) -> Start:
        label = (streams.uniform((), "label") < 0.5).long() if self.labels else None
        return Start(sigma * streams.normal((2,), "start noise"), label)

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        if main is None and role == "main":
            options = TrainOptions(
                duration=Duration(40, "it"), batch=64, lr=0.01, noise=LogNormal(-1.2, 1.2),
                condition_dropout=0.1 if self.labels else 0.0,
            )  # fmt: skip
            return Train(task=self, denoiser=ToyNet(), options=options)
        if role == "weak" and isinstance(main, Train):
            short = evolve(main.options, duration=main.options.duration.part(0.25))
            return evolve(main, denoiser=ToyNet(4), options=short, selector=None, models={})
        return None

    def sampler(self) -> str:
        return "toy-steps"

    def samples(self) -> int:
        return 32

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        return [Arm("truth", CENTRES[torch.arange(count) % 2])]

    def metrics(self) -> Sequence[Metric]:
        twice = [Distance()] if "TWICE_IN_TASK" in os.environ else []
        return [Distance(), Balance(), *twice]

    def primary(self) -> Sequence[str]:
        return "distance", "balance"

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        path.write_bytes(PNG)


@final
@frozen
class Steps(Sampler):
    """Euler's method on a linear grid."""

    name = "toy-steps"
    num_steps: int = option(4, help="steps")

    def sigmas(self, denoiser: "object") -> list[float]:
        return [*torch.linspace(5.0, 0.05, self.num_steps).tolist(), 0.0]

    def steps(self, denoiser, x, condition=None, streams=None):  # type: ignore[no-untyped-def]
        denoiser, sigmas = denoiser.trajectory(), self.sigmas(denoiser)
        for i, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
            pause()
            x = x + (after - sigma) * (x - denoiser(x, sigma, condition, toward=after)) / sigma
            yield State(i + 1, self.num_steps, after, x)


@final
@frozen
class Half(Selector):
    """The half with the higher losses, of a memory that counts."""

    name = "toy-half"

    def init(self) -> SelectorState:
        return {"calls": 0}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        assert losses.learner is not None
        chosen = losses.learner.topk(losses.count // 2).indices
        return Selection(chosen), {"calls": state["calls"] + 1}


class Critic(ToyDenoiser):
    role = "critic"


@final
@frozen
class Bringing(Guider):
    """A guider with a network of its own, which is no role of the run."""

    name = "toy-bringing"

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + 0.5 * (base - Critic(4, labels=False))


@final
@frozen
class Broken(Selector):
    """Answers that cannot be used."""

    name = "toy-broken"
    how: str = option(help="which answer")
    after: int = option(0, help="how many steps are answered well", unit="steps")

    def init(self) -> SelectorState:
        return {"steps": 0}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        answers = {
            "duplicate": torch.tensor([0, 1, 1]),
            "too-high": torch.tensor([0, losses.count]),
            "negative": torch.tensor([-1, 0]),
            "empty": torch.tensor([], dtype=torch.long),
            "float": torch.tensor([0.0, 1.0]),
            "bool": torch.ones(losses.count, dtype=torch.bool),
            "table": torch.tensor([[0, 1], [2, 3]]),
        }
        if self.how == "refuses":
            raise ValueError("toy-broken: these losses are\nnot to my liking")
        if state["steps"] < self.after:
            return Selection(torch.arange(losses.count)), {"steps": state["steps"] + 1}
        return Selection(answers[self.how]), state


class Interrupts(Listener):
    """Interrupts the process at the n-th event of a kind, where ``TOY_INTERRUPT`` says "kind n"."""

    def __init__(self) -> None:
        self.kind, self.left = ([*os.environ.get("TOY_INTERRUPT", "none 0").split(), "0"])[:2]
        self.left = int(self.left)

    def on_event(self, event: str, data: dict[str, object]) -> None:
        if event == self.kind:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)


@final
@frozen
class Interrupting(Observer):
    """Interrupts where it is told to."""

    name = "toy-interrupting"

    def open(self, observed: RunInfo) -> Listener:
        return Interrupts()


class Fails(Listener):
    """Meddles with whatever it can reach, then raises; the run must not mind."""

    def __init__(self, at: str, how: str) -> None:
        self.at, self.how = at, how

    def on_event(self, event: str, data: dict[str, object]) -> None:
        torch.manual_seed(random.randrange(9))
        torch.rand(3)
        _spoil(data)
        if event == self.at:
            self._fail()

    def close(self) -> None:
        if self.at == "close":
            self._fail()

    def _fail(self) -> None:
        errors = {"error": RuntimeError("no\nservice"), "exit": SystemExit(3), "interrupt": KeyboardInterrupt()}
        raise errors[self.how]


def _spoil(data: object) -> None:
    """Empty every list and mapping in it."""
    if isinstance(data, dict | list):
        for inner in data.values() if isinstance(data, dict) else data:
            _spoil(inner)
        data.clear()


@final
@frozen
class Failing(Observer):
    """Raises."""

    name = "toy-failing"
    at: str = option("step", help="at which event")
    how: str = option("error", help="what it raises")

    def open(self, observed: RunInfo) -> Listener:
        listener = Fails(self.at, self.how)
        if self.at == "open":
            listener.on_event("open", {})
        return listener


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Toy]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [ToyNet, WrongNet, NaNNet]


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [Steps]


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Bringing]


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [Half, Broken]


@hook
def guideplug_observers() -> list[type[Observer]]:
    return [Interrupting, Failing]


@final
@frozen
class ToyWidths(Study):
    """Samples of networks of several widths."""

    name = "toy-widths"
    widths: tuple[int, ...] = option((8, 16), help="widths")
    broken: bool = option(False, help="whether the last samples diverge")

    def trials(self) -> Sequence[Trial]:
        guiders = ["none"] * len(self.widths)
        if self.broken:
            guiders[-1] = "autoguidance(weight=1e38)"
        return [
            Trial(
                {"width": width}, {"task": "toy", "denoiser": f"toy-net(width={width})", "guider": guider},
                keep=not self.broken,
            )
            for width, guider in zip(self.widths, guiders, strict=True)
        ]  # fmt: skip

    def report(self, found: Findings) -> Report:
        def draw(path: Path) -> None:
            found.rows[0].task.figure([*found.rows[0].references(), *(row.samples() for row in found.rows)], path)

        sizes = [sum(part.numel() for part in row.obtain("main").parameters()) for row in found.rows]
        rows = [
            [str(row.axes["width"]), size, row.metrics["distance"]] for row, size in zip(found.rows, sizes, strict=True)
        ]
        figures = {} if self.broken else {"widths": draw}
        return Report({"widths": Table(["width", "parameters", "distance"], rows)}, ["wider"], figures)


@hook
def guideplug_studies() -> list[type[Study]]:
    return [ToyWidths]
