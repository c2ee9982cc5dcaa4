"""Objectives that are right but for one planted defect: the kit names the laws it breaks, and no law without it."""

from collections.abc import Sequence
from typing import final

import pytest
import torch
from attrs import frozen
from defects import broken
from torch import Tensor

from guideplug import Denoising, Objective, ObjectiveInput, option, per_row
from guideplug.testing import check_objective
from guideplug.testing.objectives import OBJECTIVE, ObjectiveCase, objective_case

torch.set_num_threads(1)

ALONE = "a loss does not depend on the other examples"
ORDER = "the order of the batch does not matter"
UNBIASED = "weights of importance keep the step unbiased"
REACHES = "the gradient reaches every output that it evaluates"


@final
@frozen
class Uncertain(Objective):
    """The error under a learned variance, with a defect."""

    name = "uncertain"
    defect: str = option("", help="the planted defect")

    def losses(self, examples: ObjectiveInput) -> Tensor:
        denoised, logvar = examples.evaluate("logvar")
        error, defect = examples.squared_error(denoised), self.defect
        if defect == "shape":
            return (denoised - examples.examples.target).square() + per_row(logvar, denoised)
        if defect == "draws":
            error = error + 0 * torch.rand(())
        if defect == "infinite":
            return (error / (error > error.amin()) + logvar).nan_to_num(posinf=torch.inf)
        if defect == "no variance":
            return error + logvar.detach()
        if defect == "batch":
            error = error - 0.1 * error.mean()
        if defect == "order":
            error = error * torch.linspace(0.5, 1.0, len(error))
        if defect == "count":
            return (error + logvar) / len(error)
        if defect == "graph":
            error = error + float(torch.is_grad_enabled())
        if defect == "type" and examples.precision == "bf16":
            return (error + logvar).to(torch.bfloat16)
        return examples.weight / logvar.exp() * error + logvar

    def reads(self) -> Sequence[str]:
        return () if self.defect == "undeclared" else ("logvar",)


@final
@frozen
class Middle(Objective):
    """The error of a head in the middle beside that of the whole."""

    name = "middle"

    def losses(self, examples: ObjectiveInput) -> Tensor:
        denoised, head = examples.evaluate("head")
        return examples.squared_error(denoised) + examples.squared_error(head)

    def reads(self) -> Sequence[str]:
        return ("head",)


@pytest.mark.parametrize("objective", [Denoising(), Uncertain(), Middle()])
def test_what_is_right(objective: Objective) -> None:
    check_objective(objective)


@pytest.mark.parametrize(
    ("defect", "laws"),
    [
        ("shape", ["each example has one loss"]),
        ("draws", ["no draw from a global generator"]),
        ("infinite", ["losses are finite", "the gradient reaches every output that it evaluates"]),
        ("no variance", [REACHES]),
        ("batch", [ALONE, UNBIASED]),
        ("order", [ALONE, ORDER, UNBIASED]),
        ("count", [ALONE, UNBIASED]),
        ("graph", ["without a graph the losses are the same"]),
        ("type", ["in reduced precision the losses keep the type of the targets"]),
        ("undeclared", ["what it reads is declared"]),
    ],
)
def test_an_objectives_defect(defect: str, laws: list[str]) -> None:
    case = ObjectiveCase(Uncertain(defect), objective_case(Uncertain()).network)
    assert list(broken(OBJECTIVE, case)) == laws


def test_an_output_that_the_network_lacks() -> None:
    reasons = broken(OBJECTIVE, ObjectiveCase(Uncertain(), objective_case(Denoising()).network))
    assert "has no output 'logvar'" in reasons["each example has one loss"]
