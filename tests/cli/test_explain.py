"""`guideplug explain`: the formula, the source, and the calls that are counted."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOY = Path(__file__).with_name("toy.py")


# explain


BLENDED = "blend([cfg(weight=2), interval(autoguidance, low=0.1, high=2)])"


SHAPED = "interval(rescale(apg(cfg)), low=0.3)"


@pytest.mark.parametrize(
    ("guider", "sampler", "given"),
    [
        ("autoguidance(weight=2.5)", "heun(num_steps=4)", ()),
        ("autoguidance(weight=1)", "euler(num_steps=3)", ()),
        ("autoguidance(weight=0)", "heun(num_steps=3, churn=1)", ()),
        ("autoguidance", "heun(num_steps=3)", ("--model", "weak=main")),
        ("cfg", "heun(num_steps=3)", ()),
        ("cfg", "heun(num_steps=3)", ("--model", "unconditional=train(denoiser=toy-net(width=4))")),
        ("cfg(weight=0)", "toy-steps(num_steps=5)", ()),
        ("toy-bringing", "toy-steps", ()),
        (BLENDED, "heun(num_steps=7, churn=2)", ()),
        (SHAPED, "euler(num_steps=6)", ()),
    ],
)
def test_the_predicted_calls_are_those_counted(cli: Any, guider: str, sampler: str, given: tuple[str, ...]) -> None:
    asked = ("--task", "toy(labels=true)", "--sampler", sampler, *given)
    predicted = cli.json("explain", guider, "--plugin", TOY, *asked)
    counted = json.loads(
        cli.toy(*asked, "--guider", guider, "--duration", "2it", "--samples", "6", "--json").stdout
    )["evaluations"]["guided"]  # fmt: skip
    assert predicted["networks"].keys() == counted.keys()
    for role, counts in counted.items():
        assert counts["calls"] == predicted["networks"][role]["calls"]
        assert counts["outputs"] == 6 * predicted["networks"][role]["outputs"]


def test_explain_says_the_formula_the_source_and_the_cost(cli: Any) -> None:
    said = cli("explain", "autoguidance(weight=2.5)", "--sampler", "heun(num_steps=8)").stdout
    assert "D(x) = 2.5 main(x) - 1.5 weak(x)\n" in said
    assert "2406.02507" in said
    assert "heun(num_steps=8) on tree: 8 steps, 15 evaluations from sigma 5 to 0.002\n" in said
    assert "in all                15   15 calls   15 calls\n" in said
    assert "  main: train tree-mlp, 16,641 parameters\n" in said
    assert "  weak: train tree-mlp(hidden=32), 4,225 parameters\n" in said
    assert "30 outputs per sample in all, 2 times the 15 of main without guidance\n" in said
    batched = cli("explain", "cfg", "--task", "digits").stdout
    assert "1 call, 2 outputs\n" in batched
    off = cli("explain", "autoguidance(weight=1)").stdout
    assert "parameters; never called\n" in off
    assert "63 outputs per sample in all, as many as main without guidance\n" in off
    assert cli.files() == set()


def test_explain_says_where_what_is_skipped(cli: Any) -> None:
    lines = cli("explain", BLENDED, "--steps", "16").stdout.splitlines()
    head = next(index for index, line in enumerate(lines) if "evaluations   main" in line)
    parts = [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in lines[head + 1 : head + 5]]
    assert [part[2:] for part in parts] == [
        ["1 call", "1 call", "skipped", "[0.1 < sigma <= 2] is 0"],
        ["1 call", "1 call", "1 call"],
        ["1 call", "1 call", "skipped", "[0.1 < sigma <= 2] is 0"],
        ["31 calls", "31 calls", parts[1][1] + " calls"],
    ]
    outside = 31 - int(parts[1][1])
    assert f"; skipped in {outside} of 31 evaluations" in "\n".join(lines)
    (high, _), (_, low) = (part[0].split(" to ") for part in (parts[0], parts[2]))
    assert (high, low) == ("5", "0.002")
    assert all(0.1 < float(level) <= 2 for level in parts[1][0].split(" to "))


def test_a_trajectory_of_many_parts_is_cut_short(cli: Any) -> None:
    guiders = ", ".join(f"interval(autoguidance, low={k / 10}, high={k / 10 + 0.05})" for k in range(1, 20))
    said = cli("explain", f"blend([{guiders}])", "--sampler", "euler(num_steps=300)").stdout
    assert len(said.splitlines()) < 30
    assert re.search(r"^ +\.\.\. +\d+ more parts: --json$", said, re.MULTILINE)


def test_explain_takes_the_networks_that_a_run_would_have(cli: Any) -> None:
    toy = ("--plugin", TOY, "--task", "toy")
    said = cli("explain", "cfg", *toy, "--denoiser", "toy-net(width=3)", "--model", "unconditional=main").stdout
    assert "D(x) = main(x)" in said
    assert "main: train toy-net(width=3), 29 parameters" in said
    error = cli.error("explain", "cfg", *toy, "--model", "weak=main")
    assert "--model weak: nothing in this run has a role 'weak'" in error


def test_explain_as_json(cli: Any) -> None:
    found = cli.json("explain", BLENDED, "--steps", "4", "--task", "toy", "--plugin", TOY, "--sampler", "heun",
                     "--model", "unconditional=main")  # fmt: skip
    assert found.keys() == {
        "guider", "formula", "source", "task", "sampler", "steps", "evaluations", "networks", "unguided", "trajectory",
    }  # fmt: skip
    assert (found["steps"], found["evaluations"], len(found["trajectory"])) == (4, 7, 7)
    assert found["unguided"] == {"calls": 7, "outputs": 7}
    for role, counts in found["networks"].items():
        each = [one["networks"].get(role) for one in found["trajectory"]]
        assert counts["skipped"] == each.count(None)
        assert counts["outputs"] == sum(one["outputs"] for one in each if one)
    for one in found["trajectory"]:
        inside = 0.1 < one["sigma"] <= 2
        assert ("weak" in one["networks"]) == inside
        assert one["off"] == ([] if inside else ["[0.1 < sigma <= 2]"])
    assert [one["toward"] for one in found["trajectory"]][-1] == 0


APART = """
import torch
from guideplug import wrap

def build(domain):
    def network(x_t, time, labels):
        return 0.5 * x_t
    return wrap(network, domain.space.shape, predicts="denoised", null=torch.zeros(1, 3))
"""


def test_explain_says_why_conditions_take_a_call_each(cli: Any) -> None:
    Path("mine.py").write_text(APART)
    main = "main=python('./mine.py:build')"
    command = ("explain", "cfg", "--plugin", TOY, "--task", "toy(labels=true)", "--model", main)
    said = cli(*command, "--steps", "3").stdout
    assert "6 calls\n" in said
    reason = "the condition is of shapes (B) and (B, 3)"
    assert f"  main: a call for each condition, for {reason}\n" in said
    assert cli.json(*command)["apart"] == {"main": reason}


def test_explain_of_one_batch_gives_no_reason(cli: Any) -> None:
    command = ("explain", "cfg(weight=[3, 7.5])", "--plugin", TOY, "--task", "toy(labels=true)", "--steps", "3")
    said = cli(*command).stdout
    assert "a call for each" not in said
    assert "([3.0, 7.5] - 1) (main(x, c) - main(x, null))" in said
    assert "apart" not in cli.json(*command)


def test_a_run_of_a_list_of_weights_has_a_sample_for_each(cli: Any) -> None:
    listed = ("--task", "toy(labels=true)", "--guider", "cfg(weight=[3, 7.5, 1])", "--duration", "2it")
    assert "weight is a list of 3, [3.0, 7.5, 1.0], and 4 samples are drawn" in cli.error(
        "run", "--plugin", TOY, *listed, "--samples", "4", "--set", "threads=1"
    )
    whole, parts = (
        cli.toy(*listed, "--samples", "3", "--set", f"sample_batch={batch}", "--out", f"of{batch}") and
        np.load(f"of{batch}/samples.npz")["guided"]
        for batch in (3, 2)
    )  # fmt: skip
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
