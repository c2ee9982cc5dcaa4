"""``guideplug explain``: a guider's formula, and the network calls of each evaluation along a trajectory."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.config import Reader, short
from guideplug.denoise import Count, Leaf, NetworkNode, formula
from guideplug.errors import ConfigError
from guideplug.recipe import architecture
from guideplug.rng import STREAMS
from guideplug.run.prepare import Resolved, prepare
from guideplug.run.resolve import Request, RunConfig
from guideplug.sample import Evaluation, Sampler, planned_evaluations

__all__ = ["explain_command"]

MANY = 16
"""Most parts of a trajectory that are printed; of the others, only their number."""

Costs = Mapping[str, Count]


def explain_command(text: str, options: Mapping[str, Any]) -> None:
    """``guideplug explain``."""
    guard(options, text)
    values = {"guider": text, **{key: options[key] for key in ("task", "denoiser", "sampler", "plugins")}}

    def with_steps(run: Resolved) -> Resolved:
        if options["steps"] is None:
            return run
        sampler = _of_steps(run.config.sampler, options["steps"], Reader(run.registry))
        return attrs.evolve(run, config=attrs.evolve(run.config, sampler=sampler))

    prepared = prepare(Request(values=values, models=dict(options["models"])), with_steps)
    config, trial = prepared.run.config, prepared.preflight
    networks = {role: network for role, network in trial.networks.items() if isinstance(network, Leaf)}
    main, point = networks["main"], trial.point
    names: dict[NetworkNode, str] = {leaf: leaf.role for leaf in [*networks.values(), *point.leaves()]}

    streams = STREAMS[config.streams](config.sample_seed, range(1))
    start = config.task.start(streams, config.sampler.sigmas(point)[0])
    evaluations, unguided = (
        planned_evaluations(config.sampler, denoiser, start.x, start.condition, streams) for denoiser in (point, main)
    )
    roles = list(dict.fromkeys(["main", *names.values()]))
    explained = _Explained(
        config,
        formula(point, names),
        len(config.sampler.sigmas(point)) - 1,
        evaluations,
        [_by_role(evaluation.counts, names) for evaluation in evaluations],
        roles,
        _total(evaluation.counts for evaluation in unguided),
        {role: sum(parameter.numel() for parameter in network.parameters()) for role, network in networks.items()},
        {names[leaf]: reason for evaluation in evaluations for leaf, reason in evaluation.apart.items()},
    )
    if options["as_json"]:
        print_json(explained.as_json())
        return
    for line in explained.lines():
        echo(line)


def _of_steps(sampler: Sampler, steps: int, reader: Reader) -> Sampler:
    """The sampler with another number of steps."""
    try:
        changed: Sampler = reader.replaced(sampler, "num_steps", steps, f"sampler {sampler.name!r}")
    except ConfigError as error:
        raise ConfigError(f"--steps {steps}: {error}; say in --sampler what it does instead") from None
    return changed


@attrs.frozen
class _Explained:
    """The facts printed about a guider.

    Args:
        formula: its normal form.
        steps: of the sampler.
        evaluations: of one trajectory.
        costs: calls of each evaluation, by role.
        roles: the main one first.
        unguided: the same trajectory of the main network alone, in all.
        parameters: of each role's network.
        apart: why a role's network is called once for each of its conditions.
    """

    config: RunConfig
    formula: str
    steps: int
    evaluations: Sequence[Evaluation]
    costs: Sequence[Costs]
    roles: Sequence[str]
    unguided: Count
    parameters: Mapping[str, int]
    apart: Mapping[str, str]

    @property
    def totals(self) -> dict[str, Count]:
        """Calls in all, by role."""
        return {role: _total({role: costs[role]} for costs in self.costs if role in costs) for role in self.roles}

    def skipped(self, role: str) -> int:
        """Number of evaluations that leave a network out."""
        return sum(role not in costs for costs in self.costs)

    @property
    def source(self) -> str | None:
        """The guider's source."""
        source = None if self.config.guider is None else self.config.guider.source
        return None if source is None else str(source)

    def as_json(self) -> dict[str, Any]:
        """All facts, as JSON data."""
        assert self.config.guider is not None
        return {
            "guider": short(self.config.guider),
            "formula": self.formula,
            "source": self.source,
            "task": short(self.config.task),
            "sampler": short(self.config.sampler),
            "steps": self.steps,
            "evaluations": len(self.evaluations),
            "networks": {role: {**_plain(count), "skipped": self.skipped(role)} for role, count in self.totals.items()},
            **({"apart": dict(self.apart)} if self.apart else {}),
            "unguided": _plain(self.unguided),
            "trajectory": [
                {
                    "sigma": evaluation.sigma,
                    "toward": evaluation.toward,
                    "networks": {role: _plain(count) for role, count in costs.items()},
                    "off": list(evaluation.off),
                    "gradients": list(evaluation.gradients),
                }
                for evaluation, costs in zip(self.evaluations, self.costs, strict=True)
            ],
        }

    def lines(self) -> list[str]:
        """The printed lines, with at most `MANY` parts of the trajectory."""
        guider = self.config.guider
        assert guider is not None
        totals, number = self.totals, len(self.evaluations)
        first, last = self.evaluations[0].sigma, self.evaluations[-1].sigma
        lines = [f"{short(guider)}: {guider.summary()}", f"  D(x) = {self.formula}"]
        if self.source:
            lines.append(f"  source: {self.source}")
        lines.append(
            f"  {short(self.config.sampler)} on {short(self.config.task)}: {_counted(self.steps, 'step')}, "
            f"{_counted(number, 'evaluation')} from sigma {first:.3g} to {last:.3g}"
        )
        called = [role for role in self.roles if totals[role].calls]
        parts = _parts(self.evaluations, self.costs)
        rows = [["sigma", "evaluations", *called, ""]]
        for levels, size, costs, off in parts[:MANY]:
            why = f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} 0" if off else ""
            rows.append([levels, f"{size:,}", *(_cost(costs.get(role)) for role in called), why])
        if len(parts) > MANY:
            rows.append(["...", f"{len(parts) - MANY} more parts: --json"])
        rows.append(["in all", f"{number:,}", *(_cost(totals[role]) for role in called), ""])
        lines += [f"    {line}" for line in _aligned(rows)]
        lines += [f"  {role}: {self._network(role)}" for role in self.roles]
        slopes = Counter(slope for evaluation in self.evaluations for slope in evaluation.gradients)
        lines += [f"  {slope}: taken in {times} of {number} evaluations" for slope, times in slopes.items()]
        lines += [f"  {role}: a call for each condition, for {reason}" for role, reason in self.apart.items()]
        outputs, alone = sum(count.outputs for count in totals.values()), self.unguided.outputs
        compared = "as many as" if outputs == alone else f"{outputs / alone:.3g} times the {alone:,} of"
        lines.append(f"  {outputs:,} outputs per sample in all, {compared} main without guidance")
        return lines

    def _network(self, role: str) -> str:
        """A role's network, and how often it is left out."""
        recipe = self.config.recipes.get(role)
        if recipe is None:
            text = "the guider's own"
        else:
            network = architecture(recipe)
            text = recipe.name + ("" if network is None else f" {short(network)}")
            text += f", {_counted(self.parameters[role], 'parameter')}"
        skipped, number = self.skipped(role), len(self.evaluations)
        if not skipped:
            return text
        return f"{text}; {'never called' if skipped == number else f'skipped in {skipped} of {number} evaluations'}"


def _by_role(counts: Mapping[NetworkNode, Count], names: Mapping[NetworkNode, str]) -> dict[str, Count]:
    totals: dict[str, Count] = {}
    for leaf, count in counts.items():
        total = totals.setdefault(names[leaf], Count())
        total.calls, total.outputs = total.calls + count.calls, total.outputs + count.outputs
        total.gradients += count.gradients
    return totals


def _plain(count: Count) -> dict[str, int]:
    """JSON data; gradients only where there are some."""
    record = {"calls": count.calls, "outputs": count.outputs}
    return record | {"gradients": count.gradients} if count.gradients else record


def _total(costs: Iterable[Mapping[Any, Count]]) -> Count:
    counts = [count for row in costs for count in row.values()]
    return Count(
        sum(count.calls for count in counts),
        sum(count.outputs for count in counts),
        sum(count.gradients for count in counts),
    )


def _parts(evaluations: Sequence[Evaluation], costs: Sequence[Costs]) -> list[tuple[str, int, Costs, Sequence[str]]]:
    """Neighbouring evaluations that call the same for the same reason: levels, how many, what they call, what is 0."""
    parts: list[tuple[str, int, Costs, Sequence[str]]] = []
    pairs = zip(evaluations, costs, strict=True)
    for (called, off), group in itertools.groupby(pairs, lambda pair: (pair[1], pair[0].off)):
        levels = [f"{evaluation.sigma:.3g}" for evaluation, _ in group]
        span = levels[0] if levels[0] == levels[-1] else f"{levels[0]} to {levels[-1]}"
        parts.append((span, len(levels), called, off))
    return parts


def _cost(count: Count | None) -> str:
    """Calls, outputs where they are more, and gradients that go back through them."""
    if count is None:
        return "skipped"
    terms = [_counted(count.calls, "call")]
    terms += [_counted(count.outputs, "output")] if count.outputs != count.calls else []
    terms += [_counted(count.gradients, "gradient")] if count.gradients else []
    return ", ".join(terms)


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells under each other; the second column holds numbers."""
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index == 1 and len(row) == len(widths) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("   ".join(cells).rstrip())
    return lines
