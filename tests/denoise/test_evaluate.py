"""Random guided denoisers against the textbook: each network called on its own, and plain arithmetic on the outputs."""

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from guideplug.denoise import Combine, Gate, calls, tally
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

# hypothesis writes deep expressions out, rarely and at length, and warns of it; nothing here depends on it
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

NUM_NETWORKS = 4
WEIGHTS = st.sampled_from([0.0, 1.0, 0.5, 2.0]) | st.floats(-2, 3)
INTERVALS = list(itertools.combinations([0.0, 0.3, 1.0, 4.0, math.inf], 2))


class Network:
    """One network, as given."""

    def __init__(self, index):
        self.index = index

    def build(self, nets, fixed):
        return nets[self.index]

    def textbook(self, evaluate, sigma, slot):
        value = evaluate(self.index, slot)
        return value, float(value.abs().max())

    def coefficients(self, sigma, slot):
        return {(self.index, slot): 1.0}

    def __repr__(self):
        return f"net{self.index}"


class Sum:
    """first + sum of coefficient * (second - first): guidance, blends; with a gate, an interval."""

    def __init__(self, first, others, shares, gate=None):
        self.first, self.others, self.shares, self.gate = first, others, shares, gate

    def factor(self, sigma):
        return 1.0 if self.gate is None or self.gate[0] < sigma <= self.gate[1] else 0.0

    def build(self, nets, fixed):
        first = point = self.first.build(nets, fixed)
        for other, share in zip(self.others, self.shares, strict=True):
            direction = share * (other.build(nets, fixed) - first)
            point = point + (direction if self.gate is None else Gate(*self.gate) * direction)
        return point

    def textbook(self, evaluate, sigma, slot):
        first, size = self.first.textbook(evaluate, sigma, slot)
        total, bound = first, size
        for other, share in zip(self.others, self.shares, strict=True):
            value, scale = other.textbook(evaluate, sigma, slot)
            total = total + self.factor(sigma) * share * (value - first)
            bound += abs(share) * (scale + size)
        return total, bound

    def coefficients(self, sigma, slot):
        total = {}
        own = 1.0 - self.factor(sigma) * sum(self.shares)
        parts = [
            (own, self.first),
            *((self.factor(sigma) * s, o) for s, o in zip(self.shares, self.others, strict=True)),
        ]
        for share, part in parts:
            for key, value in part.coefficients(sigma, slot).items():
                total[key] = total.get(key, 0.0) + share * value
        return total

    def __repr__(self):
        return f"({self.first} + {self.gate or ''}{self.shares}*{self.others})"


class Function:
    """tanh of the mean of some points: not affine, and no error grows in it."""

    def __init__(self, parts):
        self.parts = parts

    def build(self, nets, fixed):
        return Combine([part.build(nets, fixed) for part in self.parts], squash)

    def textbook(self, evaluate, sigma, slot):
        values, scales = zip(*(part.textbook(evaluate, sigma, slot) for part in self.parts), strict=True)
        return squash(values, None, sigma), max(1.0, *scales)

    def coefficients(self, sigma, slot):
        return {(self, slot): 1.0}

    def __repr__(self):
        return f"f({self.parts})"


def squash(outputs, x, sigma):
    return torch.tanh(sum(outputs) / len(outputs))


class Under:
    """A point under its null condition, or a fixed one; a condition set further inside stays."""

    def __init__(self, part, slot):
        self.part, self.slot = part, slot

    def build(self, nets, fixed):
        part = self.part.build(nets, fixed)
        return part.unconditional() if self.slot == "null" else part.under(fixed[self.slot])

    def textbook(self, evaluate, sigma, slot):
        return self.part.textbook(evaluate, sigma, self.slot)

    def coefficients(self, sigma, slot):
        return self.part.coefficients(sigma, self.slot)

    def __repr__(self):
        return f"{self.part}|{self.slot}"


def trees(depth, conditional):
    nets = st.builds(Network, st.integers(0, NUM_NETWORKS - 1))
    if depth == 0:
        return nets
    part = trees(depth - 1, conditional)
    guided = st.builds(lambda a, b, w: Sum(a, [b], [1 - w]), part, part, WEIGHTS)
    blended = st.integers(1, 3).flatmap(
        lambda n: st.builds(
            Sum, part, st.lists(part, min_size=n, max_size=n), st.lists(WEIGHTS, min_size=n, max_size=n)
        )
    )
    gated = st.builds(lambda a, b, ends: Sum(a, [b], [1.0], ends), part, part, st.sampled_from(INTERVALS))
    functions = st.builds(Function, st.lists(part, min_size=1, max_size=2))
    kinds = [nets, guided, guided, blended, gated, functions]
    if conditional:
        kinds.append(st.builds(Under, part, st.sampled_from(["null", 0, 1])))
    return st.one_of(kinds)


TREES = {conditional: trees(5, conditional) for conditional in (False, True)}


class Setting:
    """Networks, noisy samples and conditions of one kind, in float64."""

    def __init__(self, kind, batch, seed, given):
        generator = torch.Generator().manual_seed(seed)
        self.batch = batch
        self.nets = [GaussianDenoiser(0.3 * i - 0.4, 0.5 + 0.1 * i, conditioning=kind) for i in range(NUM_NETWORKS)]
        self.x = torch.randn(batch, 2, generator=generator, dtype=torch.float64)
        self.condition = example_condition(kind, batch, generator) if given else None
        self.fixed = [example_condition(kind, 1, generator), example_condition(kind, batch, generator)]

    def evaluate_at(self, sigma):
        def evaluate(index, slot):
            net, batch = self.nets[index], self.batch
            condition = self.condition
            if slot == "null" or (condition is None and slot == "given" and net.has_null):
                condition = net.null_condition(batch, self.x.device)
            elif slot != "given":
                condition = self.fixed[slot]
            return net.denoise(self.x, torch.full((batch,), sigma, dtype=self.x.dtype), condition)

        return evaluate


def expected_outputs(tree, sigma, *, given):
    """{network: number of distinct conditions it must answer}, or None where rounding could decide a coefficient."""
    found, doubtful, seen = set(), False, set()
    waiting = [tree.coefficients(sigma, "given")]
    while waiting:
        merged = {}
        for (source, slot), value in waiting.pop().items():
            asked = "null" if slot == "given" and not given and not isinstance(source, Function) else slot
            merged[source, asked] = merged.get((source, asked), 0.0) + value
        for (source, slot), value in merged.items():
            doubtful |= 1e-9 < abs(value) < 1e-6
            if abs(value) <= 1e-9:
                continue
            if not isinstance(source, Function):
                found.add((source, slot))
            elif (source, slot) not in seen:
                seen.add((source, slot))
                waiting += [part.coefficients(sigma, slot) for part in source.parts]
    counts = {}
    for index, _ in found:
        counts[index] = counts.get(index, 0) + 1
    return None if doubtful else counts


@settings(deadline=None, max_examples=250, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_guided_denoisers_equal_the_textbook_at_the_planned_cost(data):
    kind = data.draw(st.sampled_from(CONDITIONS))
    tree = data.draw(TREES[kind != "none"])
    sigma = data.draw(st.sampled_from([0.3, 1.0]) | st.floats(0.01, 20))
    given = kind != "none" and data.draw(st.booleans())
    setting = Setting(kind, data.draw(st.integers(1, 3)), data.draw(st.integers(0, 9)), given)
    point = tree.build(setting.nets, setting.fixed)

    expected, scale = tree.textbook(setting.evaluate_at(sigma), sigma, "given")
    largest = max(float(setting.evaluate_at(sigma)(i, "given").abs().max()) for i in range(NUM_NETWORKS))
    tolerance = 1e-6 * (1 + scale + largest)
    with tally() as counts:
        value = point(setting.x, sigma, setting.condition)
    assert float((value - expected).abs().max()) <= tolerance

    planned = calls(point, sigma, conditional=setting.condition is not None)
    assert set(planned) == set(counts.counts)
    for net, count in planned.items():
        assert (counts[net].calls, counts[net].outputs) == (count.calls, count.outputs * setting.batch)
    needed = expected_outputs(tree, sigma, given=given or kind == "none")
    if needed is not None:
        event("cost compared")
        assert {setting.nets.index(net): count.outputs for net, count in planned.items()} == needed

    levels = torch.full((setting.batch,), sigma, dtype=torch.float64)
    assert float((point(setting.x, levels, setting.condition) - expected).abs().max()) <= tolerance
