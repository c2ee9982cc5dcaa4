"""Posterior sampling: samples that agree with a measurement y = A x0 + n, n ~ N(0, sigma_y^2 I).

    D(x; sigma, c) = D_0(x; sigma, c) + scale sigma^2 grad_x log N(y; A D_0(x), sigma_y^2 I + r^2 A A^T)

`measurement` has the likelihoods: with "pigdm" r^2 = sigma^2 s^2 / (sigma^2 + s^2), s the standard deviation of the
data, which is exact for data N(m, s^2 I); with "dps" r = 0. The gradient goes through D_0.

Sources: H. Chung et al. 2022, arXiv:2209.14687, section 3; J. Song et al. 2023, "Pseudoinverse-guided diffusion models
for inverse problems", International Conference on Learning Representations.
Cost: one call of the main network and a pass back through it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from guideplug import (
    Condition,
    ConfigError,
    Denoiser,
    DenoiserError,
    GradientGuided,
    Guider,
    LogDensity,
    PythonRef,
    Source,
    Space,
    file_digest,
    finite,
    non_negative,
    option,
    read_arrays,
)
from guideplug_gradient.measurement import LinearMeasurement, Measurement, measured
from guideplug_gradient.own import OwnFunction, loaded

__all__ = ["Posterior"]

LARGEST = 4096
"""Numbers of a sample for which the matrix of a linear function is written out."""


def _operator(value: Any) -> Any:
    if not isinstance(value, str) or value.endswith(".npy"):
        return _file(value)
    try:
        return PythonRef.checked(value, "operator")
    except ValueError:
        raise ValueError(f"operator is {value!r}: give FILE.npy, module:function or FILE.py:function") from None


def _file(value: Any) -> Any:
    """The path of a file made absolute."""
    if not isinstance(value, str):
        return value
    try:
        return str(Path(value).expanduser().absolute())
    except RuntimeError:  # ~somebody, whom this machine does not know: a name like any other
        return str(Path(value).absolute())


@final
@frozen
class Posterior(Guider):
    """Guidance towards samples that agree with a linear measurement."""

    name = "posterior"
    source = Source(
        "J. Song, A. Vahdat, M. Mardani, J. Kautz",
        2023,
        "Pseudoinverse-Guided Diffusion Models for Inverse Problems",
        "https://openreview.net/forum?id=9_gsMA8MRKQ",
    )
    operator: str = option(
        help="A: a matrix in FILE.npy (m x numbers of a sample), or module:function or FILE.py:function, x0 to (B, m)",
        converter=_operator,
    )
    measurement: str | tuple[float, ...] = option(help="y: m numbers, in a list or FILE.npy", converter=_file)
    noise: float = option(0.05, help="standard deviation of the measurement's noise", validator=non_negative)
    method: Literal["pigdm", "dps"] = option(
        "pigdm", help="whether the uncertainty of the prediction counts (pigdm) or not (dps)"
    )
    scale: float = option(1.0, help="factor on the gradient; 0 is off, 1 is Bayes' rule", validator=finite)

    def __attrs_post_init__(self) -> None:
        if self.method == "dps" and self.noise == 0:
            raise ValueError("noise is 0, and dps divides by its square: give noise=0.05 or so, or method=pigdm")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """The first number of each sample, measured as 0.2."""
        code = folder / "operator.py"
        code.write_text("def first(x):\n    return x.flatten(1)[:, :1]\n")
        return {"operator": f"{code}:first", "measurement": (0.2,)}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        log_density = _Likelihood(self, base.space, self._likelihood(base.space))
        return base + self.scale * (GradientGuided(base, log_density, through=True, name="log p_y") - base)

    def content(self) -> str:
        """The hashes of the operator and of the measurement, where they are files or code."""
        found = [_digest(self.operator)] if self.operator.endswith(".npy") else []
        if not found:
            found.append(PythonRef(self.operator, f"operator {self.operator}").digest())
        if isinstance(self.measurement, str):
            found.append(_digest(self.measurement))
        return " ".join(found)

    def _likelihood(self, space: Space) -> LogDensity:
        numbers = int(np.prod(space.shape))
        measurement = self._measurement()
        if self.operator.endswith(".npy"):
            matrix = _array(self.operator, "operator")
            if matrix.ndim != 2 or matrix.shape[1] != numbers:
                raise ConfigError(
                    f"posterior: operator {self.operator} has shape {tuple(matrix.shape)}, and a sample has {numbers} "
                    f"numbers: give a matrix (m, {numbers})"
                )
        else:
            function = loaded(self.operator, "operator")
            if self.method == "dps":
                return Measurement(function, measurement, self.noise, f"operator {function.place}")
            matrix = _matrix(function, space.shape, len(measurement))
        if len(matrix) != len(measurement):
            raise ConfigError(
                f"posterior: the operator gives {len(matrix)} numbers, and the measurement has {len(measurement)}"
            )
        if not bool(torch.isfinite(matrix).all()):
            raise ConfigError(f"posterior: operator {self.operator} has numbers that are not finite")
        if not bool(matrix.any()):
            raise ConfigError(f"posterior: operator {self.operator} is 0 everywhere, so nothing is measured")
        return LinearMeasurement(matrix, measurement, self.noise, space.sigma_data if self.method == "pigdm" else None)

    def _measurement(self) -> Tensor:
        if isinstance(self.measurement, str):
            found = _array(self.measurement, "measurement")
        else:
            found = torch.tensor(self.measurement, dtype=torch.float64)
        if found.ndim != 1 or not len(found):
            raise ConfigError(f"posterior: the measurement has shape {tuple(found.shape)}: give m numbers, (m,)")
        if not bool(torch.isfinite(found).all()):
            raise ConfigError(
                f"posterior: measurement {self.measurement} has numbers that are not finite: give finite ones"
            )
        return found


@frozen
class _Likelihood:
    """The likelihood of a posterior in a space: equal for equal options, so that two of them are one."""

    posterior: Posterior
    space: Space
    function: LogDensity = field(eq=False, repr=False)

    def __call__(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return self.function(x, sigma, condition)


def _matrix(function: OwnFunction, shape: tuple[int, ...], count: int) -> Tensor:
    """The matrix of a linear function, (m, d), from what it makes of each unit vector."""
    numbers, who = int(np.prod(shape)), f"operator {function.place}"
    if numbers > LARGEST:
        raise ConfigError(
            f"posterior: a sample has {numbers} numbers, and the matrix of {who} is written out for at most {LARGEST}: "
            "give method=dps"
        )
    with torch.no_grad():
        units = torch.cat([torch.zeros(1, numbers), torch.eye(numbers)]).reshape(-1, *shape)
        try:
            answers = measured(function, units, who, count).double()
            columns = answers[1:] - answers[0]
            probe = torch.linspace(-1.0, 2.0, numbers).cos()
            found = measured(function, probe.reshape(1, *shape), who, count)[0].double()
        except DenoiserError as error:
            raise ConfigError(f"posterior: {error}") from None
    size = float(columns.abs().sum()) + float(answers[0].abs().sum())
    if (
        float(answers[0].abs().max()) > 1e-5 * size
        or float((found - probe.double() @ columns).abs().max()) > 1e-4 * size
    ):
        raise ConfigError(f"posterior: {who} is not linear: give method=dps, which takes any differentiable function")
    return columns.T


def _array(path: str, what: str) -> Tensor:
    """The numbers of a file."""
    try:
        found = read_arrays(Path(path))["samples"]
        return torch.from_numpy(np.asarray(found, dtype=np.float64))
    except FileNotFoundError:
        raise ConfigError(f"posterior: {what} {path} does not exist") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(f"posterior: {what} {path} is no file of numbers: write it with numpy.save") from None


def _digest(path: str) -> str:
    try:
        return file_digest(Path(path))
    except (OSError, ValueError):
        raise ConfigError(f"posterior: {path} does not exist or cannot be read") from None
