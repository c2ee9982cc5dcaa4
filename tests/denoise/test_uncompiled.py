"""Compiled networks under every installed guider: one graph for all levels; a compiled guided denoiser is refused."""

from collections import defaultdict

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from guideplug import Guider, LinearStep, Registry, identity_attention, skip_layers, wrap
from guideplug.config import Reader
from guideplug.denoise.attention import blurred_queries
from guideplug.errors import DenoiserError, UsageError

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
SHAPE = (2, 8, 8)
X, LABELS = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
LEVELS = (80.0, 7.0, 1.0, 0.4, 0.05)
VIEWS = {
    "skip-layer": skip_layers("middle"),
    "identity-attention": identity_attention("attention"),
    "blurred-queries": blurred_queries("attention"),
}


class Network(nn.Module):
    """A convolution before and after attention, with labels; the last one is its null condition."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.middle, self.last = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((2, 4), (4, 4), (4, 2)))
            self.attention, self.labels = nn.MultiheadAttention(4, 1, batch_first=True), nn.Embedding(4, 4)

    def forward(self, x, time, label):
        hidden = self.first(x) + self.labels(label)[:, :, None, None] + time[:, None, None, None]
        tokens = self.middle(hidden).flatten(2).mT
        mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0].mT.unflatten(2, x.shape[2:])
        return self.last(hidden + mixed)


def guided(guider, compile_):
    def leaf(seed):
        network = compile_(Network(seed))
        return wrap(network, SHAPE, predicts="denoised", null=3, labels=3, views=VIEWS, resizable=True)

    class Models(defaultdict):
        def __missing__(self, role):
            self[role] = leaf(len(self) + 1)
            return self[role]

    return guider.guide(leaf(0), Models())


def guiders():
    """Those that run with no option given, but for that whose weight is a network."""
    for cls in REGISTRY.classes(Guider):
        if cls.name == "learned":
            continue
        try:
            yield READER.expression(cls.name, Guider)
        except UsageError:
            assert cls.name in ("classifier", "posterior")


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("guider", list(guiders()), ids=lambda guider: guider.name)
def test_a_compiled_network_is_traced_once_for_all_levels(guider):
    counter = CompileCounter()
    plain = guided(guider, lambda network: network)
    compiled = guided(guider, lambda network: torch.compile(network, backend=counter, dynamic=True))
    with torch.no_grad():
        expected = plain.trajectory()
        found = compiled.trajectory()
        for sigma, toward in zip(LEVELS, (*LEVELS[1:], 0.0), strict=True):
            step = LinearStep(sigma, toward)
            ours = expected(X, sigma, LABELS, toward=toward, step=step)
            try:
                theirs = found(X, sigma, LABELS, toward=toward, step=step)
            except DenoiserError as error:
                assert "compiled around them, where hooks do not run" in str(error)
                assert plain.leaves()[0].perturbations()
                return
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    assert counter.frame_count <= len(compiled.leaves())


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_compiled_guided_denoiser_is_refused_in_one_line(fullgraph):
    point = guided(READER.expression("cfg", Guider), lambda network: network)
    whole = torch.compile(point, backend="eager", fullgraph=fullgraph)
    with pytest.raises(Exception, match=r"only the networks can be: write torch\.compile") as raised:
        whole(X, 1.0, LABELS)
    if not fullgraph:
        assert isinstance(raised.value, DenoiserError)
        assert "\n" not in str(raised.value)
