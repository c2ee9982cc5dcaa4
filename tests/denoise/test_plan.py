"""Which networks a guided denoiser evaluates, and once each."""

import pytest
import torch

from guideplug.denoise import Combine, Gate, select_rows
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition


def networks(kind="none"):
    return GaussianDenoiser(0.1, 0.5, conditioning=kind), GaussianDenoiser(0.4, 0.9, conditioning=kind)


def asked(kind, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, generator=generator), example_condition(kind, batch, generator)


class TestPlan:
    """What is evaluated is planned once a trajectory, and again when the condition is another."""

    @pytest.fixture
    def joined(self, monkeypatch):
        """How often conditions were put together."""
        from guideplug.denoise import plan

        found = []
        plain = plan.concatenate
        monkeypatch.setattr(plan, "concatenate", lambda *inputs: (found.append(1), plain(*inputs))[1])
        return found

    @pytest.mark.parametrize("kind", CONDITIONS[1:])
    @torch.no_grad()
    def test_once_a_trajectory_and_once_an_interval(self, joined, kind):
        base, weak = networks(kind)
        x, condition = asked(kind)
        point = base + 2 * (base - base.unconditional()) + Gate(0.5) * (base - weak)
        path = point.trajectory()
        for sigma in (3.0, 2.0, 1.0, 0.4, 0.2, 0.1):
            assert torch.equal(path(x, sigma, condition), point(x, sigma, condition))
        assert len(joined) == 6 + 2  # the point on its own at every step, its trajectory inside and outside the gate

    @torch.no_grad()
    def test_lone_functions_are_planned_once_too(self, joined):
        base, _ = networks("labels")
        x, labels = asked("labels")
        path = Combine([base, base.unconditional()], lambda outputs, x, sigma: outputs[0] - outputs[1]).trajectory()
        for sigma in (3.0, 2.0, 1.0):
            path(x, sigma, labels)
        assert len(joined) == 1

    @pytest.mark.parametrize("kind", CONDITIONS[1:])
    @torch.no_grad()
    def test_whatever_changes_is_planned_anew(self, kind):
        """Each change comes alone, after a call with what it changes."""
        base, _ = networks(kind)
        point = base + 2 * (base - base.unconditional())
        path = point.trajectory()
        x, condition = asked(kind)

        def same(x, condition):
            return torch.equal(path(x, 1.0, condition), point(x, 1.0, condition))

        assert same(x, condition)
        assert same(x, select_rows(condition, torch.tensor([2, 0, 1])))  # another object
        assert same(x, condition)
        part = next(iter(condition.values())) if isinstance(condition, dict) else condition
        part[0] = part[1]
        assert same(x, condition)  # changed in place
        row = select_rows(condition, slice(0, 1))
        assert same(x, row)
        assert same(x[:2], row)  # another batch, for a condition that is repeated
        assert same(x, None)

    @torch.no_grad()
    def test_a_part_that_is_put_in_place_of_another_is_seen(self):
        base, _ = networks("masked")
        path = (base + 2 * (base - base.unconditional())).trajectory()
        x, condition = asked("masked")
        for number in range(20):  # the memory of what is gone may be used for what comes
            condition["text"] = None
            condition["text"] = torch.full((3, 5, 4), float(number))
            fresh = (base + 2 * (base - base.unconditional()))(x, 1.0, condition)
            assert torch.equal(path(x, 1.0, condition), fresh)

    def test_where_gradients_are_recorded_nothing_is_kept(self):
        base, _ = networks("embedding")
        x, condition = asked("embedding")
        path = (base + 2 * (base - base.unconditional())).trajectory()
        with torch.no_grad():
            path(x, 1.0, condition)
        condition.requires_grad_(True)
        for _ in range(2):
            path(x, 1.0, condition).sum().backward()
        assert float(condition.grad.abs().sum()) > 0

    def test_in_inference_mode_nothing_is_kept(self):
        base, _ = networks("labels")
        with torch.inference_mode():
            x, labels = torch.ones(3, 2), torch.tensor([0, 1, 2])
            point = base + 2 * (base - base.unconditional())
            path = point.trajectory()
            path(x, 1.0, labels)
            labels[:] = 2
            assert torch.equal(path(x, 1.0, labels), point(x, 1.0, labels))

    @torch.no_grad()
    def test_deep_functions_of_functions_are_planned_in_linear_time(self):
        base, weak = networks()
        point = Combine([base, weak], lambda outputs, x, sigma: outputs[0])
        for _ in range(40):
            point = Combine([point, point + 0.5 * (base - weak)], lambda outputs, x, sigma: outputs[0])
        x, _ = asked("none")
        assert torch.equal(point.trajectory()(x, 1.0), base(x, 1.0))
