"""Shared evaluations: only at one and the same x, level and condition, and only as long as trajectories coincide."""

import pytest
import torch

from guideplug.denoise import tally
from guideplug.experiments.weights import shared_start
from guideplug.experiments.weights.shared_start import SharedStart
from guideplug.testing import GaussianDenoiser

X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))


def denoiser() -> GaussianDenoiser:
    return GaussianDenoiser()


def calls(
    shared: SharedStart, network: GaussianDenoiser, x: torch.Tensor, sigma: float = 1.0, condition: object = None
) -> int:
    with tally() as counts, torch.no_grad():
        shared.around(network)(x, sigma, condition)
    return counts.calls


def test_a_call_is_shared_where_all_its_values_are_equal() -> None:
    shared, network, other = SharedStart(), denoiser(), denoiser()
    assert calls(shared, network, X) == 1
    assert calls(shared, network, X.clone()) == 0
    assert calls(shared, network, X + 1e-6) == 1
    assert calls(shared, network, X, 2.0) == 1
    assert calls(shared, network, X[:2]) == 1
    assert calls(shared, network, X, condition=torch.arange(4)) == 1
    assert calls(shared, network, X, condition=torch.arange(4)) == 0
    assert calls(shared, other, X) == 1


def test_an_answer_is_a_copy() -> None:
    shared, network = SharedStart(), denoiser()
    with torch.no_grad():
        first = shared.around(network)(X, 1.0)
        expected = first.clone()
        shared.around(network)(X, 1.0).zero_()
        assert torch.equal(shared.around(network)(X, 1.0), expected)


def test_what_an_arm_makes_no_use_of_is_forgotten_with_the_next() -> None:
    shared, network = SharedStart(), denoiser()
    calls(shared, network, X)
    calls(shared, network, X, 2.0)
    shared.next_arm()
    assert calls(shared, network, X) == 0
    shared.next_arm()
    assert calls(shared, network, X) == 0
    assert calls(shared, network, X, 2.0) == 1


def test_a_gradient_is_recorded_anew() -> None:
    shared, network = SharedStart(), denoiser()
    calls(shared, network, X)
    x = X.clone().requires_grad_()
    assert shared.around(network)(x, 1.0).requires_grad


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, network = SharedStart(), denoiser()
    monkeypatch.setattr(shared_start, "MOST_BYTES", 100)
    calls(shared, network, X)
    calls(shared, network, X, 2.0)
    assert calls(shared, network, X) == 0
    assert calls(shared, network, X, 2.0) == 1
