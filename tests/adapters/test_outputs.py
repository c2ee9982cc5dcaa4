"""Further outputs of foreign networks: where they are in what the network returns, and what becomes of them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from guideplug import DenoiserError, PointOutput, ValueOutput, VPSchedule, evaluate_together, tally, wrap

FORMS = {
    "tuple": (lambda p, h, v: (p, h, v), {"head": 1, "logvar": 2}),
    "list": (lambda p, h, v: [p, h, v], {"head": -2, "logvar": -1}),
    "mapping": (lambda p, h, v: {"sample": p, "middle": h, "u": v}, {"head": "middle", "logvar": "u"}),
    "object": (lambda p, h, v: SimpleNamespace(sample=p, middle=h, u=v), {"head": "middle", "logvar": "u"}),
}


class Foreign(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form, self.scale = form, nn.Parameter(torch.tensor(0.5))

    def forward(self, x_t, time):
        return self.form(self.scale * x_t, self.scale * x_t / 2, time / 10)


def wrapped(form, places, **changes):
    outputs = {"head": (places["head"], PointOutput()), "logvar": (places["logvar"], ValueOutput())}
    return wrap(Foreign(form), (2,), predicts="epsilon", schedule=VPSchedule(), outputs={**outputs, **changes})


@pytest.mark.parametrize("name", FORMS)
def test_a_point_is_converted_like_the_prediction_and_a_value_is_not(name):
    form, places = FORMS[name]
    network = wrapped(form, places)
    x, sigma = torch.randn(3, 2), torch.tensor([0.1, 1.0, 5.0])
    alone = wrap(Foreign(lambda p, h, v: p), (2,), predicts="epsilon", schedule=VPSchedule())
    head = wrap(Foreign(lambda p, h, v: h), (2,), predicts="epsilon", schedule=VPSchedule())
    with tally() as counts:
        denoised, middle, logvar = evaluate_together(
            [network, network.output("head"), network.output("logvar")], x, sigma
        )
    assert counts[network].calls == 1
    assert torch.equal(denoised, alone(x, sigma))
    assert torch.equal(middle, head(x, sigma))
    assert torch.equal(logvar, VPSchedule().time(sigma) / 10)
    assert torch.equal(network(x, sigma), denoised)


def test_outputs_that_are_not_there_are_refused_in_one_line():
    form, places = FORMS["tuple"]
    network = wrapped(form, places, other=(7, ValueOutput()), text=("text", PointOutput()))
    for name, place in (("other", "7"), ("text", "'text'")):
        with pytest.raises(DenoiserError, match=f"returned a tuple with no tensor at {place} for the output") as error:
            network.output(name)(torch.zeros(1, 2), 1.0)
        assert "\n" not in str(error.value)
    short = wrapped(lambda p, h, v: (p, h[:, :1], v), places)
    with pytest.raises(DenoiserError, match="returned shape"):
        short.output("head")(torch.zeros(1, 2), 1.0)


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ({"u": "u"}, TypeError),
        ({"u": ("u", "value")}, TypeError),
        ({"u": (1.5, ValueOutput())}, TypeError),
        ({3: (1, ValueOutput())}, TypeError),
        ({"denoised": (1, PointOutput())}, ValueError),
    ],
)
def test_what_is_no_declaration_is_refused(outputs, error):
    with pytest.raises(error, match="outputs has"):
        wrap(Foreign(FORMS["tuple"][0]), (2,), predicts="denoised", outputs=outputs)
