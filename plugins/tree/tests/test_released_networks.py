"""tree-mlp against networks, scores and guided samples that the released code of the toy example made.

The reference data lie in the folder that GUIDEPLUG_REFERENCE names, else in shared/reference beside the checkout; where
there are none the tests are skipped. They are data alone: a network's pickle is read by a reader that builds tensors
and plain containers, and refuses every other name.

The networks are untrained, and their gains are not 0, so guidance of weight 3 sends about half of the 512 trajectories
out of the figure, up to 5,500 from the origin. Rules, with what is reached and what is missed without the 1e-4 that
the released code adds to each row's root mean square:

    D                        1e-6 everywhere                                        6.3e-7    2.4e-3
    score                    1e-5 of its length + 1e-6 / sigma^2, D's rounding      as D
    end points, at most 1.5 from the axes (235 of 512)    2e-5                      7.7e-6    .015
    end points elsewhere     1e-3 of their distance from the origin                 3.1e-4    .016
"""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from guideplug_autoguidance import Autoguidance
from guideplug_edm import Heun
from guideplug_tree import network as rows
from guideplug_tree.denoisers import TreeDenoiser

torch.set_num_threads(1)

ROOT = Path(__file__).parents[3]
NAMED = os.environ.get("GUIDEPLUG_REFERENCE")
FOLDER = Path(NAMED) if NAMED else ROOT.parent / "shared" / "reference"
HIDDEN = {"main": 64, "weak": 32}
INSIDE, SHARE_INSIDE = 1.5, 235 / 512

pytestmark = pytest.mark.skipif(
    not (FOLDER / "toy.npz").is_file(),
    reason="no toy.npz in ../shared/reference: name the folder of the reference data in GUIDEPLUG_REFERENCE",
)


class Attributes(dict[str, Any]):
    """What stands for an object of a class that is not imported."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


def storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


class DataReader(pickle.Unpickler):
    """Tensors, plain containers, and attributes of modules; nothing that the file brings is called."""

    NAMES: ClassVar[Mapping[tuple[str, str], Callable[..., Any]]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("torch.storage", "_load_from_bytes"): storage,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): lambda meta: Attributes(meta["state"]),
        ("torch.nn.modules.container", "Sequential"): Attributes,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.NAMES:
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which is no data")
        return self.NAMES[module, name]


def parameters(module: Attributes) -> list[Tensor]:
    """A module's own parameters, then those of its parts, in order."""
    own = [value for value in module["_parameters"].values() if value is not None]
    return own + [value for part in module["_modules"].values() if part for value in parameters(part)]


@cache
def reference() -> dict[str, Tensor]:
    with np.load(FOLDER / "toy.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@cache
def released(role: str) -> TreeDenoiser:
    with (FOLDER / f"toy-{role}.pkl").open("rb") as file:
        gain, first, *hidden = parameters(DataReader(file).load())
    denoiser = TreeDenoiser(HIDDEN[role])
    network = denoiser.network
    with torch.no_grad():
        network.gain.copy_(gain)
        network.input_weight.copy_(first)
        network.hidden_weights.copy_(torch.stack(hidden))
    return denoiser


def differences(role: str) -> tuple[Tensor, Tensor, Tensor]:
    """How far D and the score are from the released code's, in float64, and what the score may be off by: (512,)."""
    data, denoiser = reference(), released(role)
    x, sigma = data["x"], data["sigma"]
    with torch.no_grad():
        denoised = denoiser(x, sigma).double()
    score, square = data[f"score_{role}"].double(), sigma.double().square()
    off = denoised - (x.double() + square[:, None] * score)
    scores_off = (off / square[:, None]).norm(dim=1)
    return off.abs().amax(1), scores_off, 1e-5 * score.norm(dim=1) + 1e-6 / square


def ends() -> tuple[Tensor, Tensor]:
    """End points of autoguidance at weight 3, ours and theirs, float64."""
    data = reference()
    point = Autoguidance(weight=3.0).guide(released("main"), {"weak": released("weak")})
    with torch.no_grad():
        return Heun(num_steps=32).sample(point, data["start"]).double(), data["end_guided_w3"].double()


@pytest.fixture
def without_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_EPSILON", 0.0)


@pytest.mark.parametrize("role", HIDDEN)
def test_the_denoised_points_and_scores_are_the_released_codes(role: str) -> None:
    denoised, scores, allowed = differences(role)
    assert float(denoised.max()) <= 1e-6
    assert bool((scores <= allowed).all())


@pytest.mark.parametrize("role", HIDDEN)
@pytest.mark.usefixtures("without_epsilon")
def test_without_the_epsilon_they_are_not(role: str) -> None:
    denoised, scores, allowed = differences(role)
    assert float(denoised.max()) > 1e-3
    assert float((scores > allowed).float().mean()) > 0.5


def test_guided_end_points_are_the_released_codes() -> None:
    ours, theirs = ends()
    off, inside = (ours - theirs).norm(dim=1), theirs.abs().amax(1) <= INSIDE
    assert float(inside.float().mean()) == SHARE_INSIDE
    assert float(off[inside].max()) <= 2e-5
    assert float((off / theirs.norm(dim=1))[~inside].max()) <= 1e-3


@pytest.mark.usefixtures("without_epsilon")
def test_without_the_epsilon_the_end_points_are_not() -> None:
    ours, theirs = ends()
    off, inside = (ours - theirs).norm(dim=1), theirs.abs().amax(1) <= INSIDE
    assert float(off[inside].max()) > 1e-2
    assert float((off / theirs.norm(dim=1))[~inside].max()) > 1e-2


def test_the_reader_executes_nothing() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"names posix\.system, which is no data"):
        DataReader(io.BytesIO(pickle.dumps(os.system))).load()
