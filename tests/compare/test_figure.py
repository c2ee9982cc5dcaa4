"""How the arms of a figure look, and what it says."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from guideplug.compare.figure import draw_curves, looks
from guideplug.compare.result import Comparison, Row, Training
from guideplug.compare.words import arm


def named(kind: str, count: int) -> list[str]:
    return [f"{kind}{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("guiders", "selectors"), [(1, 1), (5, 1), (11, 1), (30, 1), (6, 3), (3, 11), (1, 25), (12, 12)]
)
def test_no_two_arms_look_alike(guiders: int, selectors: int) -> None:
    found = looks(named("g", guiders), named("s", selectors))
    distinct = {(to_hex(look.colour), str(look.stroke), look.mark) for look in found.values()}
    assert len(distinct) == guiders * selectors


def test_colours_go_to_those_of_whom_there_are_more() -> None:
    of_guiders = looks(named("g", 5), ["s0", "s1"])
    assert of_guiders["g1", "s0"].colour == of_guiders["g1", "s1"].colour != of_guiders["g2", "s0"].colour
    assert of_guiders["g1", "s0"].stroke != of_guiders["g1", "s1"].stroke
    of_selectors = looks(named("g", 2), named("s", 4))
    assert of_selectors["g0", "s1"].colour == of_selectors["g1", "s1"].colour != of_selectors["g0", "s2"].colour


def comparison(guiders: int = 2, seeds: tuple[int, ...] = (0, 1), **changes: Any) -> Comparison:
    names, steps = named("autoguidance(weight=", guiders), (1, 2)
    trainings = [Training("none", seed, step, step, 1.0, 2.0, 1.0, step, 0, step) for seed in seeds for step in steps]
    rows = [
        Row(name, "none", seed, step, {"good": seed + step}, 1.0) for name in names for seed in seeds for step in steps
    ]
    metrics = {"good": {"better": "higher", "aspect": "fidelity"}}
    facts: dict[str, Any] = {"truth": {}, "metrics": metrics, "charge_reference": False, "costs": {}, **changes}
    return Comparison(names, ["none"], seeds, trainings, rows, **facts)


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws a comparison; the figure, laid out."""
    kept: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **options: Any) -> None:
        kept.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)

    def draw(found: Comparison) -> Figure:
        assert draw_curves(found, "good", tmp_path / "good.png")
        return kept[-1]

    return draw


def test_it_says_which_deviation_and_whether_references_are_charged(drawn: Any) -> None:
    figure = drawn(comparison())
    assert "one population standard deviation" in figure.get_suptitle()
    assert figure.axes[0].get_xlabel() == "seconds of training"
    assert drawn(comparison(charge_reference=True)).axes[0].get_xlabel() == "seconds of training, references included"
    assert drawn(comparison(seeds=(0,))).get_suptitle() == "good: one seed"


def test_the_legend_of_twelve_arms_is_on_the_figure_and_off_the_panels(drawn: Any) -> None:
    found = comparison(12)
    figure = drawn(found)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [arm(*pair) for pair in found.arms]
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    assert all(box.y1 <= panel.get_window_extent().y0 for panel in figure.axes)
