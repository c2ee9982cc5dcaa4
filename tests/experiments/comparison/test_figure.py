"""How the arms of a figure look, and what it says."""

from pathlib import Path
from typing import Any

import attrs
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from guideplug.experiments.comparison.figure import draw_curves, looks, why_none
from guideplug.experiments.comparison.result import Comparison, Row, Training
from guideplug.experiments.comparison.sentences import arm


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
    assert drawn(comparison(seeds=(0,))).get_suptitle().startswith("good: one seed\n")


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


def rings(panel: Any) -> list[tuple[float, float]]:
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines if line.get_gid() == "ring"]


def test_a_ring_marks_the_snapshot_of_the_budget(drawn: Any) -> None:
    """The quicker training ends at 1 s, where the slower one has done half."""
    found = comparison(1)
    slow = [
        Training("s", one.seed, one.step, 2.0 * one.step, 0, 0, 0, one.step, 0, one.step) for one in found.trainings
    ]
    rows = [*found.rows, *(attrs.evolve(row, selector="s", metrics={"good": 9.0 * row.step}) for row in found.rows)]
    both = attrs.evolve(found, selectors=["none", "s"], trainings=[*found.trainings, *slow], rows=rows)
    figure = drawn(both)
    assert rings(figure.axes[0]) == [(2.0, 2.5), (2.0, 9.0)]
    assert rings(figure.axes[2]) == [(2.0, 2.5), (2.0, 18.0)]
    assert "grey: the budget; ring: the snapshot that the tables take" in figure.get_suptitle()


@pytest.mark.parametrize(("truth", "said"), [(3.0, False), (40.0, True), (-40.0, True)])
def test_true_samples_far_away_do_not_flatten_the_arms(drawn: Any, truth: float, said: bool) -> None:
    figure = drawn(comparison(truth={"good": truth}))
    low, high = figure.axes[0].get_ylim()
    assert high - low < 6
    assert (low < truth < high) is not said
    texts = [text.get_text() for text in figure.axes[2].texts]
    assert texts == ([f"true samples: {truth:.1f}"] if said else [])


def test_a_tall_legend_stands_at_the_right(drawn: Any) -> None:
    found = comparison(4)
    names = [f"early-jest(filter_ratio=0.5, num_chunks={number}, reference_weight=0.25)" for number in range(8)]
    trainings = [attrs.evolve(one, selector=name) for one in found.trainings for name in names]
    rows = [attrs.evolve(row, selector=name) for row in found.rows for name in names]
    figure = drawn(attrs.evolve(found, selectors=names, trainings=trainings, rows=rows))
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 32
    assert figure.bbox.y0 <= box.y0
    assert box.x1 <= figure.bbox.x1
    assert all(panel.get_window_extent().x1 <= box.x0 for panel in figure.axes)
    assert figure.axes[0].get_window_extent().width > 300


def test_no_curves_and_why(tmp_path: Path) -> None:
    found = comparison()
    ends = attrs.evolve(found, rows=[row for row in found.rows if row.step == 2])
    assert not draw_curves(ends, "good", tmp_path / "figures" / "good.png")
    assert why_none(ends) == "no curves: one snapshot per arm"
    assert not (tmp_path / "figures").exists()
    assert draw_curves(found, "good", tmp_path / "figures" / "good.png")
    nothing = attrs.evolve(found, rows=[attrs.evolve(row, metrics={"good": None}) for row in found.rows])
    assert why_none(nothing) == "no curves: no metric has values at two snapshots of an arm"


def test_a_cross_marks_what_misses_a_budget(drawn: Any) -> None:
    """The quicker training ends at 1 s; the slower one has spent 1.04 s by its first snapshot."""
    found = comparison(1)
    slow = [
        attrs.evolve(one, selector="s", seconds=1.04 * one.step, backpropagated=2 * one.step) for one in found.trainings
    ]
    quick = [attrs.evolve(one, seconds=one.step / 2) for one in found.trainings]
    rows = [*found.rows, *(attrs.evolve(row, selector="s", metrics={"good": 9.0 * row.step}) for row in found.rows)]
    figure = drawn(attrs.evolve(found, selectors=["none", "s"], trainings=[*quick, *slow], rows=rows))
    crosses = [[line.get_xdata()[0] for line in panel.lines if line.get_gid() == "cross"] for panel in figure.axes]
    assert crosses == [[1.04], [], []]
    assert len(rings(figure.axes[0])) == 1
    assert "cross: one that is not near the budget" in figure.get_suptitle()
