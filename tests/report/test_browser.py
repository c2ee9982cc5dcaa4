"""Pages in headless Chromium: they load alone, move, sort, print, and can be read by everyone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from guideplug.report import write_page, write_report_of

KINDS = ["points", "images", "runs", "comparison", "study", "hostile"]


@pytest.fixture(scope="module")
def pages(made: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    text = '</script><img src="x" onerror="alert(1)"><script>alert(1)</script>'
    return {
        "points": write_page(made.run_folder(root / "points")),
        "images": write_page(made.run_folder(root / "images", shape=(1, 8, 8))),
        "runs": write_report_of(
            [made.run_folder(root / f"seed {n}", seed=n, words={"guider": f"cfg({n % 2})"}) for n in range(4)],
            root / "runs.html",
        ),
        "comparison": write_page(made.comparison_folder(root / "comparison")),
        "study": write_page(made.study_folder(root / "study")),
        "hostile": write_page(made.comparison_folder(root / "hostile", ("none", text), text)),
    }


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Opens a page; in the end nothing may have been fetched but the page, and the console is empty."""
    contexts, wrong = [], []

    def open_page(kind: str, width: int = 1280, theme: str = "light", motion: str = "reduce") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion=motion
        )
        contexts.append(context)
        page = context.new_page()
        address = pages[kind].as_uri()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url in (address, "data:,") or wrong.append(request.url[:200]))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [one for one in wrong if not one.startswith("data:")] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_alone_and_fits(kind: str, opened: Any) -> None:
    for width in (1280, 390):
        page = opened(kind, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").is_visible()
        for plot in page.locator(".plot").all():
            assert plot.locator("svg path").count() > 1


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("points", ["by guidance", "guided − unguided"]),
        ("comparison", ["precision", "recall"]),
        ("runs", ["precision", "recall"]),
    ],
)
def test_deciding_columns_are_seen_on_a_phone(kind: str, columns: list[str], opened: Any) -> None:
    page = opened(kind, 390)
    table = page.locator("table.sortable:visible").first
    for column in columns:
        box = table.locator("thead th", has_text=column).bounding_box()
        assert box["x"] + box["width"] <= 390, column


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["points", "images", "comparison", "study", "runs"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_stands_in_anyones_way(kind: str, theme: str, opened: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(kind, theme=theme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    # axe measures text that tables scroll out of sight as well as what is seen; its script is injected past the policy
    found = axe.run(page).response["violations"]
    serious = {one["id"]: [node["html"][:200] for node in one["nodes"]][:3] for one in found
               if one["impact"] in ("serious", "critical")}  # fmt: skip
    assert serious == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["points", "images"])
def test_the_slider_moves_the_samples(kind: str, opened: Any) -> None:
    page = opened(kind)
    picture = "document.getElementById('stage').toDataURL()"
    slider = page.locator("#value")
    seen = {"own": page.evaluate(picture)}
    assert page.locator("#shown").inner_text().startswith("2")
    slider.focus()
    page.keyboard.press("ArrowRight")
    seen["key"] = page.evaluate(picture)
    assert page.locator("#shown").inner_text() == "2.5"
    assert slider.get_attribute("aria-valuetext") == "2.5"
    said = page.locator("#said").inner_text()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    seen["mouse"] = page.evaluate(picture)
    assert page.locator("#shown").inner_text() == "1"
    assert page.locator("#said").inner_text() != said
    assert len(set(seen.values())) == 3
    page.locator("#own").click()
    assert page.evaluate(picture) == seen["own"]


@pytest.mark.slow
def test_samples_glide_where_motion_is_welcome(opened: Any) -> None:
    page = opened("points", motion="no-preference")
    before = page.evaluate("document.getElementById('stage').toDataURL()")
    page.locator("#value").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(600)
    assert page.evaluate("document.getElementById('stage').toDataURL()") != before


@pytest.mark.slow
@pytest.mark.parametrize("key", ["Enter", None])
def test_a_table_sorts_by_mouse_and_by_key(key: str | None, opened: Any) -> None:
    page = opened("points")
    column = page.locator("table.sortable th", has_text="guided − unguided")
    values = "[...document.querySelectorAll('.sortable tbody tr')].map((row) => Number(row.cells[2].dataset.key))"
    original = page.evaluate(values)
    ordered = []
    for _ in range(3):
        button = column.locator("button")
        if key is None:
            button.click()
        else:
            button.press(key)
        ordered.append((column.get_attribute("aria-sort"), page.evaluate(values)))
    assert ordered == [
        ("descending", sorted(original, reverse=True)),
        ("ascending", sorted(original)),
        ("none", original),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["comparison", "study", "runs"])
def test_arms_are_switched_on_and_off(kind: str, opened: Any) -> None:
    page = opened(kind)
    plot = page.locator(".plot").first
    shown = plot.locator("svg").inner_html()
    rows = page.locator("tr[data-arm]:visible").count()
    box = page.locator(".legend input").first
    box.focus()
    page.keyboard.press("Space")
    assert not box.is_checked()
    assert plot.locator("svg").inner_html() != shown
    if kind != "study":
        assert page.locator("tr[data-arm]:visible").count() < rows
    box.click()
    assert page.locator("tr[data-arm]:visible").count() == rows


@pytest.mark.slow
def test_another_metric_is_drawn_and_said(opened: Any) -> None:
    page = opened("comparison")
    said = page.locator(".chart .unseen[id]")
    before = said.inner_text()
    page.locator("select").first.select_option("recall")
    assert before != said.inner_text()
    assert said.inner_text().startswith("recall")


@pytest.mark.slow
def test_budgets_are_chosen(opened: Any) -> None:
    page = opened("comparison")
    assert page.locator("table:visible").count() == 1
    page.get_by_text("At equal examples").first.click()
    assert page.locator("table:visible caption").inner_text() == "At equal examples"


@pytest.mark.slow
def test_the_theme_is_chosen_and_remembered(opened: Any) -> None:
    page = opened("points", theme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    for _ in range(5):  # the first write of a browser that has just started may be lost by a reload
        page.get_by_role("button", name="Switch to dark colours").click()
        dark = page.evaluate(ground)
        assert light != dark
        page.reload()
        if page.evaluate(ground) == dark:
            break
    assert page.evaluate(ground) == dark
    assert page.get_by_role("button", name="Switch to light colours").is_visible()


@pytest.mark.slow
def test_the_keyboard_skips_to_the_content(opened: Any) -> None:
    page = opened("points")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["points", "comparison"])
def test_a_page_prints(kind: str, opened: Any) -> None:
    page = opened(kind, theme="dark")
    assert len(page.pdf()) > 20_000
    page.emulate_media(media="print")
    assert not page.locator("#theme").is_visible()
    assert page.locator(".controls:visible, .tabs:visible, input:visible").count() == 0
