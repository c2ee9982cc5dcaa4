"""Gates: terms that count between two levels and cost nothing elsewhere."""

import math

import pytest
import torch

from guideplug.denoise import Gate, Leaf, Space, WeightInput, tally
from guideplug.testing import GaussianDenoiser, example_condition


def asked(kind, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, generator=generator), example_condition(kind, batch, generator)


class Narrow(Leaf):
    """NaN outside of the levels that it was made for."""

    def denoise(self, x, sigma, condition):
        inside = (sigma > 0.5) & (sigma <= 2)
        return torch.where(inside[:, None], 0.3 * x, math.nan)


class TestGates:
    def gated(self):
        base, guide = GaussianDenoiser(), Narrow(Space((2,)))
        return base, guide, base + Gate(0.5, 2.0) * (2 * (base - guide))

    @pytest.mark.parametrize("sigma", [0.1, 0.5, 2.01, 80.0])
    def test_a_guide_outside_its_gate_is_not_called(self, sigma):
        base, guide, guided = self.gated()
        x, _ = asked("none")
        with tally() as counts:
            assert torch.equal(guided(x, sigma), base(x, sigma))
        assert counts[guide].calls == 0

    @pytest.mark.parametrize("sigma", [1, 1.0, 2.0])
    def test_inside_it_is(self, sigma):
        base, guide, guided = self.gated()
        x, _ = asked("none")
        with tally() as counts:
            torch.testing.assert_close(guided(x, sigma), 3 * base(x, sigma) - 2 * 0.3 * x)
        assert counts[guide].calls == 1

    def test_a_tensor_of_levels_calls_it_and_gates_its_rows(self):
        base, guide, guided = self.gated()
        x, _ = asked("none", batch=5)
        sigma = torch.tensor([0.1, 1.0, 0.5, 2.0, 80.0])
        with tally() as counts:
            value = guided(x, sigma)
        assert (counts[guide].calls, counts[guide].outputs) == (1, 5)
        rows = torch.cat([guided(row, level) for row, level in zip(x.split(1), sigma.tolist(), strict=True)])
        torch.testing.assert_close(value, rows)
        assert torch.equal(value[[0, 2, 4]], base(x, sigma)[[0, 2, 4]])

    def test_a_scalar_tensor_is_a_level_for_all(self):
        _, guide, guided = self.gated()
        x, _ = asked("none")
        for level in (1.0, 5.0):
            with tally() as counts:
                value = guided(x, torch.tensor(level))
            torch.testing.assert_close(value, guided(x, level))
            assert counts[guide].calls == 1

    @pytest.mark.parametrize(("sigma", "inside"), [(0.5, 0), (0.51, 1), (2.0, 1), (2.01, 0)])
    def test_a_gate_is_open_above_its_low_end_and_up_to_its_high_end(self, sigma, inside):
        gate = Gate(0.5, 2.0)
        at = WeightInput(sigma, None, Space((2,)))
        assert gate(at) == inside
        assert gate(WeightInput(torch.tensor([sigma]), None, at.space)).tolist() == [inside]
        assert gate.zero_at(at) == (not inside)

    def test_ends_of_a_gate_are_checked(self):
        for low, high in [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (0.0, math.nan)]:
            with pytest.raises(ValueError, match="give 0 <= low < high"):
                Gate(low, high)
