"""How a network is wrapped: its space, its calls, its null condition, and what is refused."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from guideplug import (
    CosineSchedule,
    DiscreteSchedule,
    FlowSchedule,
    Space,
    VESchedule,
    VPSchedule,
    formula,
    tally,
    wrap,
)
from guideplug.errors import ConditionError, DenoiserError

torch.set_num_threads(1)

TABLE = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def assert_close(value, expected, tolerance):
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * (1 + float(expected.abs().max())))


# The space


def test_the_schedules_range_is_the_denoisers():
    assert wrap(nn.Identity(), (2,), predicts="denoised").space == Space((2,), 0.5, 0.002, 80.0)
    assert wrap(nn.Identity(), [2], predicts="edm", sigma_data=1.5, sigma_max=5.0).space == Space((2,), 1.5, 0.002, 5.0)
    assert wrap(nn.Identity(), (2,), predicts="score", sigma_max=348.0).schedule == VESchedule(sigma_max=348.0)
    assert wrap(nn.Identity(), (2,), predicts="flow", sigma_min=0.01).schedule == FlowSchedule(sigma_min=0.01)
    table = DiscreteSchedule(TABLE)
    space = wrap(nn.Identity(), (3, 4, 4), predicts="epsilon", schedule=table, sigma_max=20.0).space
    assert (space.shape, space.sigma_min, space.sigma_max) == ((3, 4, 4), table.sigma_range[0], 20.0)
    rounded = float(torch.tensor(table.sigma_range[1], dtype=torch.float32)) * (1 + 1e-6)
    assert wrap(nn.Identity(), (2,), predicts="v", schedule=table, sigma_max=rounded).space.sigma_max == rounded


# The network, and how it is called


class Recorder(nn.Module):
    """A network that keeps what it was called with, and has a parameter of some type."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(1, dtype=dtype))
        self.calls = []

    def forward(self, *arguments, **keywords):
        self.calls.append((arguments, keywords))
        return arguments[0] * self.scale


X = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))


def test_the_three_ways_to_call():
    network = Recorder()
    point = wrap(network, (2,), predicts="epsilon", schedule=VPSchedule())
    labels = torch.tensor([1, 2, 3])
    point(X, 2.0)
    point(X, 2.0, labels)
    point(X, 2.0, {"text": X, "text_mask": labels > 1})
    (bare, no_words), (one, no_words_either), (two, words) = network.calls
    assert [len(bare), len(one), len(two)] == [2, 3, 2]
    assert no_words == no_words_either == {}
    assert torch.equal(one[2], labels)
    assert list(words) == ["text", "text_mask"]
    assert words["text"] is X
    x_t, time = bare
    torch.testing.assert_close(x_t, X / 5**0.5)
    assert time.shape == (3,)
    torch.testing.assert_close(time, VPSchedule().time(torch.full((3,), 2.0)))


def test_any_callable_is_a_network():
    point = wrap(lambda x_t, time: -x_t / time[:, None] ** 2, (2,), predicts="score")
    assert_close(point(X, 3.0), torch.zeros(3, 2), 1e-6)
    assert list(point.parameters()) == []
    assert formula(point + 1.0 * (point - point.under(X)), {point: "main"}).startswith("2 main(x)")


class Output(dict):
    """As the outputs of diffusers: a dictionary whose items are attributes."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("packed", [X, (X,), [X, None], Output(sample=X)], ids=lambda packed: type(packed).__name__)
def test_packed_outputs_are_unpacked(packed):
    assert torch.equal(wrap(lambda x_t, time: packed, (2,), predicts="denoised")(X, 1.0), X)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"x": X}, "answered returned a dict: a network returns a tensor, an object or mapping whose sample is one"),
        ((None, X), "answered returned a tuple: "),
        ((), "answered returned a tuple: "),
        (None, "answered returned a NoneType: "),
        (torch.distributions.Normal(0.0, 1.0), "answered returned a Normal: "),
        (torch.ones(3, 4), r"answered returned shape \(3, 4\) for x_t of shape \(3, 2\): give a network of this shape"),
        (torch.ones(3, 1), r"answered returned shape \(3, 1\) for"),
    ],
)
def test_what_a_network_must_not_return(answer, message):
    def answered(x_t, time):
        return answer

    with pytest.raises(DenoiserError, match=message) as caught:
        wrap(answered, (2,), predicts="epsilon", schedule=VPSchedule())(X, 1.0)
    assert "\n" not in str(caught.value)


def test_x_of_another_shape_is_refused():
    point = wrap(nn.Identity(), (3,), predicts="denoised")
    said = r"x has shape \(3, 2\), expected \(B, 3\) by wrap\(..., shape=\(3,\)\): shape is that of one sample, with"
    with pytest.raises(DenoiserError, match=said) as caught:
        point(X, 1.0)
    assert "\n" not in str(caught.value)
    with pytest.raises(DenoiserError, match=r"x has shape \(3, 2\), expected \(B, 3, 2\)"):
        wrap(nn.Identity(), X.shape, predicts="denoised")(X, 1.0)


def of_one(x_t):
    return x_t


def with_classes(x_t, time, labels):
    return x_t + nn.functional.embedding(labels, torch.zeros(4, 2))


def narrow(x_t, time, condition=None):
    raise ValueError("two\n lines")


def with_one_hot(x_t, time, classes):
    return x_t + classes @ torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("network", "condition", "said", "cause"),
    [
        (of_one, None, r"while calling of_one\(x_t \(3, 2\) float32, time \(3,\) float32\): TypeError: ", TypeError),
        (with_classes, None, r"with_classes\(.*\): TypeError: .*labels", TypeError),
        (with_classes, torch.tensor([0, 1, 9]), r", condition \(3,\) int64\): IndexError: index out of", IndexError),
        (with_classes, torch.ones(3), r", condition \(3,\) float32\): RuntimeError: Expected", RuntimeError),
        (with_one_hot, torch.tensor([0, 1, 3]), r"given labels; if it wants one-hot vectors", RuntimeError),
        (with_classes, {"text": X}, r", text=\(3, 2\) float32\): TypeError: .*'text'", TypeError),
        (nn.Linear(3, 3), None, r"while calling Linear\(x_t .*\): TypeError: ", TypeError),
        (nn.Sequential(nn.Linear(3, 3)), None, r"calling Sequential\(x_t .*: TypeError: ", TypeError),
        (narrow, X, r"while calling narrow\(.*, condition \(3, 2\) float32\): ValueError: two lines$", ValueError),
    ],
)
def test_what_a_network_raises_is_chained(network, condition, said, cause):
    with pytest.raises(DenoiserError, match=said) as caught:
        wrap(network, (2,), predicts="denoised")(X, 1.0, condition)
    assert "\n" not in str(caught.value)
    assert type(caught.value.__cause__) is cause


@pytest.mark.parametrize("classes", [torch.tensor([0, 1, 3]), torch.tensor([0, 1, 3], dtype=torch.int32)])
def test_the_advice_for_labels_works(classes):
    class OneHot(nn.Module):
        def forward(self, x_t, time, labels):
            return with_one_hot(x_t, time, nn.functional.one_hot(labels.long(), 4).float())

    assert torch.equal(wrap(OneHot(), (2,), predicts="denoised")(X, 1.0, classes), X)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), ConditionError("no such text"), KeyError("bug")])
def test_other_errors_pass(error):
    def failing(x_t, time):
        raise error

    with pytest.raises(type(error)) as caught:
        wrap(failing, (2,), predicts="denoised")(X, 1.0)
    assert caught.value is error


def test_a_module_is_part_of_the_denoiser():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    point = wrap(network, (2,), predicts="denoised", schedule=VESchedule())
    guided = point + 1.0 * (point - point.under(None))
    assert set(guided.parameters()) == set(network.parameters())
    guided.eval()
    assert not network[1].training
    guided.double()
    assert network[0].weight.dtype == torch.float64
    assert list(point.state_dict()) == ["network.0.weight", "network.0.bias"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("given", [torch.float32, torch.float64, torch.bfloat16])
def test_a_module_is_called_in_its_own_type(dtype, given):
    network = Recorder(dtype)
    point = wrap(network, (2,), predicts="epsilon", schedule=DiscreteSchedule(TABLE))
    denoised = point(X.to(given), 2.0)
    x_t, time = network.calls[0][0]
    assert x_t.dtype == dtype
    assert time.dtype == torch.promote_types(dtype, torch.float32)  # 999 is 1000 in bfloat16
    assert denoised.dtype == given
    coarse = max(torch.finfo(dtype).eps, torch.finfo(given).eps)
    assert_close(denoised.double(), X.double() * (1 - 2 / 5**0.5), 4 * coarse)


def test_a_functions_input_has_the_type_of_x():
    types = []
    point = wrap(lambda x_t, time: types.append((x_t.dtype, time.dtype)) or x_t, (2,), predicts="v",
                 schedule=CosineSchedule())  # fmt: skip
    assert point(X.to(torch.bfloat16), 1.0).dtype == torch.bfloat16
    assert types == [(torch.bfloat16, torch.float32)]


def test_rounded_times_are_integers_for_modules_too():
    network = Recorder(torch.float16)
    point = wrap(network, (2,), predicts="epsilon", schedule=DiscreteSchedule(TABLE, rounded=True))
    point(X, 2.0)
    assert network.calls[0][0][1].dtype == torch.int64


def test_gradients_flow_through():
    network = nn.Linear(2, 2)
    point = wrap(lambda x_t, time: network(x_t), (2,), predicts="flow")
    x = X.clone().requires_grad_()
    point(x, torch.tensor([0.5, 1.0, 2.0])).sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in (x, *network.parameters()))


def test_latents_are_decoded():
    point = wrap(nn.Identity(), (2,), predicts="denoised", decode=lambda latents: 3 * latents)
    assert torch.equal((point + 1.0 * (point - point.under(X))).decode(X), 3 * X)
    assert wrap(nn.Identity(), (2,), predicts="denoised").decode(X) is X


# Null conditions


def shifted(x_t, time, condition=None, **parts):
    """A network that adds its condition."""
    if parts:
        return x_t + parts["text"] + parts["label"][:, None]
    if condition is None:
        return x_t
    return x_t + (condition[:, None] if condition.ndim == 1 else condition)


ROW = torch.tensor([[5.0, 7.0]])
NULLS = {
    "label": (10, torch.tensor([1, 2, 3]), 10.0),
    "row": (ROW, torch.ones(3, 2), ROW),
    "parameter": (nn.Parameter(ROW), torch.ones(3, 2), ROW),
    "mapping": ({"text": ROW, "label": 10}, {"text": torch.ones(3, 2), "label": torch.tensor([1, 2, 3])}, ROW + 10),
    "function": (lambda batch, device: torch.full((batch, 2), 4.0, device=device), torch.ones(3, 2), 4.0),
    "function of one row": (lambda batch, device: ROW.to(device), torch.ones(3, 2), ROW),
}


@pytest.mark.parametrize("kind", NULLS)
def test_the_null_condition(kind):
    null, condition, shift = NULLS[kind]
    point = wrap(shifted, (2,), predicts="denoised", null=null)
    assert point.has_null
    torch.testing.assert_close(point(X, 1.0), X + shift)
    torch.testing.assert_close(point.unconditional()(X, 1.0, condition), X + shift)
    with tally() as counts:
        guided = (point + 1.5 * (point - point.unconditional()))(X, 1.0, condition)
    torch.testing.assert_close(guided, 2.5 * point(X, 1.0, condition) - 1.5 * (X + shift))
    assert (counts[point].calls, counts[point].outputs) == (1, 6)


def test_the_null_may_be_no_condition_at_all():
    point = wrap(shifted, (2,), predicts="denoised", null=lambda batch, device: None)
    guided = point + 1.0 * (point - point.unconditional())
    with tally() as counts:
        torch.testing.assert_close(guided(X, 1.0, torch.ones(3, 2)), X + 2)
    assert counts[point].calls == 2  # with and without a condition is no one batch


def test_without_a_null_there_is_none():
    point = wrap(Recorder(), (2,), predicts="denoised")
    assert not point.has_null
    assert torch.equal(point(X, 1.0), X)
    with pytest.raises(ConditionError, match=r"Recorder was wrapped without a null condition: give wrap\(..., null="):
        point.unconditional()


def test_null_tensors_move_with_the_denoiser_and_are_its_own():
    row = ROW.clone()
    point = wrap(nn.Linear(2, 2), (2,), predicts="denoised", null={"text": row, "label": 10})
    row.zero_()
    assert len(list(point.buffers())) == 2
    assert not [name for name in point.state_dict() if "network" not in name]
    null = point.double().null_condition(3, torch.device("cpu"))
    assert null["text"].tolist() == [[5.0, 7.0]] * 3
    assert (null["text"].dtype, null["label"].dtype) == (torch.float64, torch.int64)
    assert {buffer.device.type for buffer in point.to("meta").buffers()} == {"meta"}


def test_copies_are_independent():
    point = wrap(nn.Linear(2, 2), (2,), predicts="epsilon", schedule=DiscreteSchedule(TABLE), null=ROW)
    twin = copy.deepcopy(point)
    before = twin.network.weight.clone()
    with torch.no_grad():
        point.network.weight.zero_()
    assert torch.equal(twin.network.weight, before)
    assert twin.schedule == point.schedule


# What is refused, before anything runs


class Scheduler:
    alphas_cumprod = TABLE


class FlowScheduler:
    """As FlowMatchEulerDiscreteScheduler, it has no table of alpha^2."""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"predicts": "epsilom"}, ValueError, r"predicts is 'epsilom' \(did you mean 'epsilon'\?\): give one of den"),
        ({"predicts": "sample"}, ValueError, r"'sample' \(did you mean 'denoised'\?\)"),
        ({"predicts": "x0"}, ValueError, r"'x0' \(did you mean 'denoised'\?\)"),
        ({"predicts": "v_prediction"}, ValueError, r"'v_prediction' \(did you mean 'v'\?\)"),
        ({"predicts": "v-prediction"}, ValueError, r"'v-prediction' \(did you mean 'v'\?\)"),
        ({"predicts": "velocity"}, ValueError, r"'velocity' \(did you mean 'flow', or 'v'\?\)"),
        ({"predicts": "noise"}, ValueError, r"'noise' \(did you mean 'epsilon'\?\)"),
        ({"predicts": "eps"}, ValueError, r"'eps' \(did you mean 'epsilon'\?\)"),
        ({"predicts": None}, ValueError, "predicts is None: give one of"),
        ({"predicts": "epsilon"}, ValueError, r"'epsilon' needs the schedule that the .*VPSchedule.*FlowSchedule\(\)"),
        ({"predicts": "v"}, ValueError, r"'v' needs the schedule .*, CosineSchedule\(\)$"),
        ({"predicts": "edm", "schedule": VPSchedule()}, ValueError, "'edm' with schedule VPSchedule: .*leave schedule"),
        ({"predicts": "flow", "schedule": VPSchedule()}, ValueError, r"'flow' with schedule VPSchedule: .* FlowS"),
        ({"predicts": "v", "schedule": FlowSchedule()}, ValueError, "'v' with schedule FlowSchedule: .*='flow'"),
        ({"predicts": "v", "schedule": VESchedule()}, ValueError, "'v' with schedule VESchedule: .*trained with"),
        ({"schedule": Scheduler()}, TypeError, r"a Scheduler: write DiscreteSchedule\(scheduler.alphas_cumprod\)$"),
        ({"schedule": FlowScheduler()}, TypeError, r"a FlowScheduler: write FlowSchedule\(time_scale=1000\)$"),
        ({"schedule": FlowScheduler}, TypeError, r"the class FlowScheduler: write FlowSchedule\(time_scale=1000\)$"),
        ({"schedule": VPSchedule}, TypeError, r"schedule is the class VPSchedule: write VPSchedule\(\)$"),
        ({"schedule": DiscreteSchedule}, TypeError, r"DiscreteSchedule: write DiscreteSchedule\(scheduler.alphas_cu"),
        ({"schedule": torch.tensor(TABLE)}, TypeError, r"schedule is a Tensor: write DiscreteSchedule\(table\)$"),
        ({"schedule": TABLE}, TypeError, r"schedule is a ndarray: write DiscreteSchedule\(table\)$"),
        ({"schedule": list(TABLE)}, TypeError, r"schedule is a list: write DiscreteSchedule\(table\)$"),
        ({"schedule": "cosine"}, TypeError, r"schedule is 'cosine': write CosineSchedule\(\)$"),
        ({"schedule": "VP"}, TypeError, r"schedule is 'VP': write VPSchedule\(\)$"),
        ({"schedule": "scaled_linear"}, TypeError, r"'scaled_linear': write DiscreteSchedule\(scheduler.alphas_cump"),
        ({"schedule": "else"}, TypeError, r"'else': write one of VESchedule\(\), VPS.*, FlowSchedule\(\)$"),
        ({"schedule": 3}, TypeError, r"schedule is a int: write one of VESchedule\(\)"),
        ({"shape": 2}, TypeError, r"shape is 2: give the shape of one sample, without the batch axis, as in \(2,\)$"),
        ({"shape": None}, TypeError, r"shape is None: give the shape of one sample, without the batch axis, as in \("),
        ({"shape": "22"}, TypeError, r"shape is '22': give the shape of one sample"),
        ({"shape": (2.0,)}, TypeError, r"shape is \(2.0,\): give the shape of one sample"),
        ({"network": 3}, TypeError, r"network is a int: give a module or a function of \(x_t, time\)"),
        ({"schedule": DiscreteSchedule(TABLE), "sigma_max": 800.0}, ValueError,
         r"sigma_max is 800: the schedule, DiscreteSchedule.*, reaches from 0.01 to 157"),
        ({"schedule": VPSchedule(), "sigma_min": 0.002}, ValueError, "sigma_min is 0.002: the schedule, VPSchedule"),
        ({"predicts": "denoised", "sigma_min": 5.0, "sigma_max": 1.0}, ValueError, "sigma_min 5 and sigma_max 1"),
        ({"predicts": "edm", "sigma_data": 0.0}, ValueError, "sigma_data"),
        ({"null": "a photo"}, TypeError, r"null is a str: give a label, a tensor of one row, a dict or list of"),
        ({"null": True}, TypeError, "null is a bool: give a label"),
        ({"null": {"text": [1.0]}}, TypeError, r"null\['text'\]\[0\] is a float: give a label"),
        ({"null": torch.ones(3, 2)}, ValueError, r"null has shape \(3, 2\): give one row, of shape \(1, ...\)"),
        ({"null": {"text": torch.tensor(1.0)}}, ValueError, r"null\['text'\] has shape \(\): give one row"),
    ],
)  # fmt: skip
def test_what_is_refused(options, error, message):
    arguments = {"network": nn.Identity(), "shape": (2,), "predicts": "epsilon", "schedule": None, **options}
    if "schedule" not in options and "predicts" not in options:
        arguments["schedule"] = VPSchedule()
    with pytest.raises(error, match=message) as caught:
        wrap(**arguments)
    assert "\n" not in str(caught.value)


# Flows


def test_flows_take_noise_alone_and_have_a_sampler_of_their_own():
    flow = wrap(nn.Identity(), (2,), predicts="flow")
    assert (flow.space.noise_alone, flow.space.highest, flow.sampler()) == (True, 2.0**24, "flow")
    assert wrap(nn.Identity(), (2,), predicts="denoised", schedule=FlowSchedule()).space.noise_alone
    for lower in ({"sigma_max": 80.0}, {"schedule": FlowSchedule(sigma_max=80.0)}):
        space = wrap(nn.Identity(), (2,), predicts="flow", **lower).space
        assert (space.noise_alone, space.highest) == (False, 80.0)
    for predicts in ("epsilon", "score"):  # at t = 1 clean samples do not follow from the noise
        other = wrap(nn.Identity(), (2,), predicts=predicts, schedule=FlowSchedule())
        assert (other.space.noise_alone, other.sampler()) == (False, "flow")
    for schedule in (VPSchedule(), CosineSchedule(), VESchedule(), DiscreteSchedule(TABLE)):
        other = wrap(nn.Identity(), (2,), predicts="denoised", schedule=schedule)
        assert (other.space.noise_alone, other.sampler()) == (False, "default")


@pytest.mark.parametrize("time_scale", [1, 1000])
def test_at_noise_alone_a_flow_is_given_the_noise_to_the_bit(time_scale):
    noise = torch.randn(100, 2)
    recorder = Recorder()
    flow = wrap(recorder, (2,), predicts="flow", schedule=FlowSchedule(time_scale=time_scale))
    denoised = flow(flow.space.highest * noise, flow.space.highest)
    (x_t, time), _ = recorder.calls[0]
    assert torch.equal(x_t, noise)
    assert torch.equal(time, torch.full((100,), float(time_scale)))
    assert torch.equal(denoised, noise - recorder(x_t, time))
