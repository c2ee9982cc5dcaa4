"""What pages say: of whole, unfinished, damaged and hostile folders. No browser is needed."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from guideplug.errors import GuideplugError, UsageError, visible
from guideplug.report import write_page, write_report_of
from guideplug.report.html import embedded
from guideplug.report.slider import slider_of

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "'; alert(1); '",
    "{{ 7 * 7 }}",
    "\u2028<!--",
    "javascript:alert(1)",
]


class Markup(HTMLParser):
    """A page's elements as a browser would see them, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data: list[Any] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = dict(attrs).get("type") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "application/json":
            self.data.append(json.loads(data))
        elif not self._inside:
            self.text.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(path: Path) -> Markup:
    return Markup(path.read_text(encoding="utf-8"))


def check_harmless(path: Path) -> Markup:
    """Only our scripts, nothing to fetch, no handlers, no addresses that leave the folder."""
    page = read(path)
    scripts = [facts for tag, facts in page.elements if tag == "script"]
    assert sum(facts.get("type") is None for facts in scripts) == 3
    assert {facts.get("type") for facts in scripts} <= {None, "application/json"}
    for tag, facts in page.elements:
        assert not [name for name in facts if name.startswith("on")], (tag, facts)
        assert tag not in ("iframe", "object", "embed", "form", "base")
        if tag == "img":
            assert str(facts["src"]).startswith("data:image/png;base64,")
        for name in ("href", "src"):
            assert not re.match(r"(?!data:image|data:,)[a-z]+:|//", str(facts.get(name, "")).lower()), (tag, facts)
    (policy,) = [str(facts["content"]) for tag, facts in page.elements if facts.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert policy.count("'sha256-") == 3
    return page


def test_a_heading_names_a_long_task_and_has_its_options_below(made: ModuleType, tmp_path: Path) -> None:
    task = f"images({'long/' * 20}pictures.zip, size=64)"
    text = write_page(made.run_folder(tmp_path / "run", words={"task": task, "guider": "cfg(weight=2)"})).read_text()
    assert "<h1>images, guided by cfg(weight=2), trained with jest</h1>" in text
    assert f'<p class="second">{task}, guided by cfg(weight=2), trained with jest</p>' in text


def test_the_page_of_a_run_says_what_its_folder_holds(made: ModuleType, tmp_path: Path) -> None:
    page = read(write_page(made.run_folder(tmp_path / "run")))
    for said in [
        "toy, guided by autoguidance(weight=2), trained with jest",
        "Guidance raised fidelity.",
        "1,024 per arm",
        "guided 126",
        "precision ↑",
        "better",
        "worse",
        "not told apart",
        "+0.30 [+0.20, +0.40]",
        "training of main",
        "12.50",
        "guideplug run config.toml",
        "guideplug-toy 0.1.0",
        "c0ffee",
        "@misc{someone2024",
        'task = "toy"',
    ]:
        assert said in page.said, said
    (image,) = [facts for tag, facts in page.elements if tag == "img"]
    assert "precision (higher is better): truth 0.9" in str(image["alt"])
    assert "share of samples near true ones" in [facts.get("title") for tag, facts in page.elements if tag == "span"]
    slider, *charts = page.data
    assert [chart["title"] for chart in charts] == ["Loss", "Selected share", "Effective sample size"]
    assert [series["name"] for series in charts[0]["plots"][""]["series"]] == ["weak", "main"]
    assert slider["weights"] == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert slider["weights"][slider["own"]] == 2.0
    assert len(slider["said"]) == 5


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_never_markup(text: str, made: ModuleType, tmp_path: Path) -> None:
    metric = {"name": text, "better": text, "aspect": text}
    run = made.run_folder(
        tmp_path / "run", name=text, command=text, git=text, device=text, status=text, platform=text,
        seeds={text: text}, versions={text: text}, networks={text: text},
        plugins=[{"from": text, "sha256": text, "broken": text}],
        metrics={
            "arms": {text: {text: 1.0}, "guided": {text: 2.0}, "unguided": {text: 1.0}},
            "seconds": {text: 3.0}, "evaluations": {text: {text: {"calls": 1, "outputs": 2}}},
        },
        words={
            "metrics": [metric], "guider": text, "selector": text, "guidance": text, "selection": text,
            "notes": [text], "next": [text], "repeat": text, "citations": text, "no_slider": text,
        },
    )  # fmt: skip
    (run / "config.toml").write_text(text)
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "step", "role": text, "step": 1, "loss": 1.0}) + "\n")
    arrays = made.sweep()
    np.savez(run / "sweep.npz", **{**arrays, "option": np.array(text)})
    (run / "figures" / "toy.png").rename(run / "figures" / f"{text.replace('/', '_')}.png")
    page = check_harmless(write_page(run))
    shown = " ".join(visible(text).split())
    assert page.said.count(shown) > 15
    assert [one for one in page.data if one.get("option") == visible(text)]

    other = made.run_folder(tmp_path / text.replace("/", "_"), name=text)
    check_harmless(write_report_of([run, other], tmp_path / "both.html"))
    assert shown in check_harmless(write_page(made.comparison_folder(tmp_path / "c", ("none", text), text))).said
    assert shown in check_harmless(write_page(made.study_folder(tmp_path / "s", text, ("cfg", text)))).said


def test_data_cannot_leave_their_element() -> None:
    text = str(embedded({"</script>": ["<!--", "&", "\u2028", float("nan"), float("inf")]}))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"</script>": ["<!--", "&", r"\u2028", None, None]}


def test_an_unfinished_run_has_a_page_that_says_what_is_missing(made: ModuleType, tmp_path: Path) -> None:
    run = made.run_folder(tmp_path / "run", status="interrupted")
    for name in ("metrics.json", "words.json", "sweep.npz", "figures/toy.png"):
        (run / name).unlink()
    said = read(write_page(run)).said
    assert "This run was interrupted" in said
    assert "metrics.json is missing: no samples were measured." in said
    assert "Loss" in said


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"arms": 3, "seconds": [], "samples": "many"}', "[" * 5000])
def test_damaged_files_are_named_and_spoil_nothing(text: str, made: ModuleType, tmp_path: Path) -> None:
    run = made.run_folder(tmp_path / "run")
    for name in ("metrics.json", "words.json", "run.json", "events.jsonl", "sweep.npz", "figures/toy.png"):
        (run / name).write_text(text)
    page = check_harmless(write_page(run))
    if not text.startswith('{"'):
        assert "metrics.json is damaged" in page.said
    made.run_folder(tmp_path / "good")
    check_harmless(write_report_of([run, tmp_path / "good"], tmp_path / "both.html"))


@pytest.mark.parametrize("text", ["{", "[" * 5000, '{"rows": 3, "seeds": 4, "words": 5}'])
def test_a_damaged_comparison_or_study_is_refused(text: str, made: ModuleType, tmp_path: Path) -> None:
    for folder, name in (
        (made.comparison_folder(tmp_path / "c"), "compare"),
        (made.study_folder(tmp_path / "s"), "study"),
    ):
        (folder / f"{name}.json").write_text(text)
        with pytest.raises(GuideplugError, match=f"{name}.json"):
            write_page(folder)


class Touching:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_the_place_of_samples_is_not_read(made: ModuleType, tmp_path: Path) -> None:
    run = made.run_folder(tmp_path / "run")
    np.savez(run / "sweep.npz", **{**made.sweep(), "option": np.array([Touching(tmp_path / "ran")], dtype=object)})
    assert not [one for one in read(write_page(run)).data if "kind" in one]
    assert not (tmp_path / "ran").exists()


def test_points_are_kept_to_a_part_in_65_535_of_their_range(made: ModuleType) -> None:
    sweep = made.sweep()
    found = slider_of(sweep)
    assert isinstance(found, dict)
    packed = np.frombuffer(base64.b64decode(found["samples"]), "<i2").reshape(sweep["samples"].shape)
    back = packed / 32767 * found["half"] + np.array(found["middle"])
    assert np.abs(back - sweep["samples"]).max() <= found["half"] / 65_000
    assert found["kind"] == "points"


def test_images_keep_their_channels_last(made: ModuleType) -> None:
    sweep = made.sweep((3, 4, 5), count=6)
    found = slider_of(sweep)
    assert isinstance(found, dict)
    assert (found["kind"], found["channels"], found["height"], found["width"]) == ("images", 3, 4, 5)
    packed = np.frombuffer(base64.b64decode(found["truth"]), np.uint8).reshape(6, 4, 5, 3)
    low, high = sweep["truth"].min(), sweep["truth"].max()
    assert np.abs(packed[2, 1, 3, 2] - (sweep["truth"][2, 2, 1, 3] - low) / (high - low) * 255) <= 0.51


def test_other_samples_are_shown_by_principal_components_and_said_to_be(made: ModuleType) -> None:
    found = slider_of(made.sweep((7,)))
    assert isinstance(found, dict)
    assert "first two principal components" in found["note"]
    alone = slider_of(made.sweep((1,)))
    assert isinstance(alone, str)
    assert "single numbers" in alone


def test_several_runs_are_arms_over_seeds_with_links(made: ModuleType, tmp_path: Path) -> None:
    runs = [made.run_folder(tmp_path / f"run {seed}", seed=seed) for seed in range(3)]
    page = read(write_report_of(runs, tmp_path / "all.html"))
    links = [facts["href"] for tag, facts in page.elements if tag == "a"]
    assert [link for link in links if "run" in str(link)][:2] == ["run%200/report.html"] * 2
    assert all((run / "report.html").is_file() for run in runs)
    (chart,) = page.data
    (series,) = chart["plots"]["loss of the main network"]["series"]
    x, mean, spread = series["points"][0]
    assert x == 32
    assert mean == pytest.approx(1 / 33 + 0.01)
    assert spread == pytest.approx(0.01 * (2 / 3) ** 0.5)


def test_a_comparison_has_a_table_for_each_budget_and_curves_with_bands(made: ModuleType, tmp_path: Path) -> None:
    page = read(write_page(made.comparison_folder(tmp_path / "c")))
    for said in ("At equal time", "At equal examples", "At equal iterations", "cfg · jest", "true samples"):
        assert said in page.said
    (chart,) = page.data
    series = chart["plots"]["precision|training steps"]["series"]
    assert {one["name"] for one in series} == {
        "unguided · no selection", "unguided · jest", "cfg · no selection", "cfg · jest",
    }  # fmt: skip
    assert all(len(one["points"]) == 5 and one["points"][0][2] > 0 for one in series)


def headings(page: Markup) -> list[str | None]:
    return [
        facts["title"] for tag, facts in page.elements if tag == "span" and "class" not in facts and "title" in facts
    ]


def test_metrics_of_comparisons_and_of_several_runs_have_their_formulas(made: ModuleType, tmp_path: Path) -> None:
    comparison = made.comparison_folder(tmp_path / "c")
    assert headings(read(write_page(comparison))) == ["share of precision"] * 3
    file = comparison / "compare.json"
    content = json.loads(file.read_text())
    del content["metrics"]["precision"]["formula"]
    file.write_text(json.dumps(content))
    assert headings(read(write_page(comparison))) == []

    runs = [made.run_folder(tmp_path / f"run {seed}", seed=seed) for seed in range(2)]
    assert headings(read(write_report_of(runs, tmp_path / "all.html"))) == ["share of samples near true ones"]
    other = made.run_folder(tmp_path / "other", words={"metrics": [{**made.METRICS[0], "formula": "another"}]})
    assert headings(read(write_report_of([*runs, other], tmp_path / "all.html"))) == []


def test_what_every_arm_has_spent_stands_beside_its_values_and_misses_are_marked(
    made: ModuleType, tmp_path: Path
) -> None:
    text = write_page(made.comparison_folder(tmp_path / "c")).read_text()
    for budget, unit, spent in (
        ("time", "s", ("32.0", "36.5 †")),
        ("examples", "examples", ("32,000", "31,000 †")),
        ("iterations", "iterations", ("320", "319")),
    ):
        table = text.partition(f"At equal {budget}</caption>")[2].partition("</table>")[0]
        assert f"spent, {unit}" in table
        for value in spent:
            assert table.count(f">{value}</td>") == 2, (budget, value)
    assert text.count("† not near the budget, so that nothing is concluded: jest.") == 2
    assert text.count("Trainings share networks, and intervals are about those alone: cfg.") == 3


def test_a_study_has_its_tables_and_curves_along_its_axes(made: ModuleType, tmp_path: Path) -> None:
    page = read(write_page(made.study_folder(tmp_path / "s")))
    assert "The best weight is 3." in page.said
    assert "0.9050 ± 0.0050" in page.said
    (chart,) = page.data
    one, other = chart["plots"]["precision|weight"]["series"]
    assert (one["name"], other["name"]) == ("cfg", "autoguidance")
    assert one["points"][0][:2] == [1.0, pytest.approx(0.61)]


def test_what_has_no_page_is_refused_in_a_line(made: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        write_page(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds none of run\.json"):
        write_page(tmp_path)
    run = made.run_folder(tmp_path / "run")
    with pytest.raises(UsageError, match="is not the folder of a run"):
        write_report_of([run, tmp_path])
    with pytest.raises(GuideplugError, match="is a folder"):
        write_page(run, tmp_path)


def test_a_page_is_small(made: ModuleType, tmp_path: Path) -> None:
    run = made.run_folder(tmp_path / "run", shape=(3, 64, 64))
    (run / "figures" / "toy.png").write_bytes(made.picture(1200, 500, seed=0))
    assert write_page(run).stat().st_size < 5_000_000
    (run / "figures" / "toy.png").unlink()
    (run / "sweep.npz").unlink()
    assert write_page(run).stat().st_size < 1_200_000
