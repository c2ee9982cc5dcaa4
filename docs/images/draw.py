"""The drawings of docs/pictures.md, as SVG: ``python docs/images/draw.py`` writes them beside this file.

Nothing but the standard library, so the same numbers give the same files everywhere. Fonts are the reader's.
"""

import itertools
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
INK, GREY, PALE = "#1b2735", "#66727f", "#d9dfe6"
MAIN, WEAK, GUIDED, NULL = "#1d5fa8", "#b4490f", "#2a7d3f", "#7b4aa0"
FONT = "font-family='Helvetica, Arial, sans-serif'"


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A drawing on a white ground."""
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"role='img' aria-label='{escape(title, quote=True)}'>"
    )
    markers = "".join(
        f"<marker id='{name}' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L10 5L0 10z' fill='{colour}'/></marker>"
        for name, colour in (("main", MAIN), ("weak", WEAK), ("guided", GUIDED), ("null", NULL), ("grey", GREY))
    )
    ground = f"<rect width='{width}' height='{height}' fill='#ffffff'/>"
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<defs>{markers}</defs>", ground, *parts, "</svg>", ""])


def text(
    x: float, y: float, words: str, colour: str = INK, size: int = 15, anchor: str = "start", bold: bool = False
) -> str:
    """Words at a place."""
    weight = " font-weight='bold'" if bold else ""
    return (
        f"<text x='{x:g}' y='{y:g}' {FONT} font-size='{size}' fill='{colour}' text-anchor='{anchor}'{weight}>"
        f"{escape(words)}</text>"
    )


def dot(x: float, y: float, colour: str, radius: float = 7) -> str:
    """A point."""
    return f"<circle cx='{x:g}' cy='{y:g}' r='{radius:g}' fill='{colour}'/>"


def line(
    x0: float, y0: float, x1: float, y1: float, colour: str = GREY, dashed: bool = False, width: float = 1.5
) -> str:
    """A line without a head."""
    dashes = " stroke-dasharray='5 5'" if dashed else ""
    return f"<path d='M{x0:g} {y0:g}L{x1:g} {y1:g}' stroke='{colour}' stroke-width='{width:g}' fill='none'{dashes}/>"


def arrow(x0: float, y0: float, x1: float, y1: float, name: str, colour: str) -> str:
    """An arrow that stops short of the dot at its end."""
    length = math.hypot(x1 - x0, y1 - y0)
    stop = (length - 9) / length
    return (
        f"<path d='M{x0:g} {y0:g}L{x0 + stop * (x1 - x0):.1f} {y0 + stop * (y1 - y0):.1f}' stroke='{colour}' "
        f"stroke-width='3' fill='none' marker-end='url(#{name})'/>"
    )


def box(x: float, y: float, width: float, height: float, colour: str, fill: str = "#ffffff") -> str:
    """A frame for words."""
    return (
        f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='7' fill='{fill}' stroke='{colour}' "
        f"stroke-width='2'/>"
    )


def algebra() -> str:
    """Points on a line: the guide at weight 0, the network at 1, what is guided beyond."""
    at = {w: (130 + 130 * w, 270 - 58 * w) for w in (0, 1, 2, 3)}
    parts = [line(*at[0], *at[3], PALE, width=2), arrow(*at[0], *at[1], "weak", WEAK)]
    parts.append(arrow(*at[1], *at[2], "guided", GUIDED))
    for w, colour, words in ((0, WEAK, "weak"), (1, MAIN, "main"), (2, GUIDED, "guided, w = 2"), (3, GUIDED, "w = 3")):
        parts += [dot(*at[w], colour), text(at[w][0] + 12, at[w][1] + 26, words, colour, bold=True)]
    parts += [text(at[0][0] - 12, at[0][1] - 18, "w = 0", GREY), text(at[1][0] - 12, at[1][1] - 18, "w = 1", GREY)]
    parts.append(text(112, 205, "main - weak", WEAK, anchor="start"))
    parts.append(text(316, 170, "(w - 1) (main - weak)", GUIDED, anchor="end"))
    parts.append(text(30, 40, "D = main + (w - 1) (main - weak)", size=18, bold=True))
    parts.append(
        text(
            30,
            330,
            "Each point is a whole denoised sample. The weights of the two networks, w and 1 - w, sum to one.",
            GREY,
        )
    )
    return picture(
        720,
        350,
        "Guidance as a line through two points: the weak network at weight 0, the main one at 1, the guided one beyond",
        parts,
    )


def blend() -> str:
    """Two guiders add up what each adds to the base."""
    base, one, two = (130, 250), (400, 270), (210, 110)
    whole = (one[0] + two[0] - base[0], one[1] + two[1] - base[1])
    half = ((one[0] + two[0]) / 2, (one[1] + two[1]) / 2)
    parts = [
        line(*one, *whole, GREY, dashed=True),
        line(*two, *whole, GREY, dashed=True),
        line(*one, *two, PALE, width=2),
        arrow(*base, *one, "null", NULL),
        arrow(*base, *two, "weak", WEAK),
        arrow(*base, *whole, "guided", GUIDED),
        dot(*base, MAIN),
        dot(*one, NULL),
        dot(*two, WEAK),
        dot(*whole, GUIDED),
        dot(*half, GUIDED, 5),
        text(base[0] - 14, base[1] + 5, "base", MAIN, anchor="end", bold=True),
        text(one[0] + 14, one[1] + 6, "cfg(base): shares 1, 0", NULL, bold=True),
        text(two[0] - 14, two[1] - 12, "autoguidance(base): shares 0, 1", WEAK, anchor="middle", bold=True),
        text(whole[0] + 14, whole[1] + 5, "shares 1, 1: the default", GUIDED, bold=True),
        text(half[0] + 14, half[1] + 24, "shares 0.5, 0.5", GUIDED),
        text(30, 40, "blend: D = base + Σ share (guided - base)", size=18, bold=True),
        text(
            30,
            330,
            "Both guiders start from the same base, so their order does not matter and the base is called once.",
            GREY,
        ),
    ]
    return picture(720, 350, "A blend as a parallelogram: what each of two guiders adds to the base is added up", parts)


def levels(steps: int = 18, high: float = 5.0, low: float = 0.002, power: float = 7.0) -> list[float]:
    """EDM's grid: the levels at which a Heun sampler evaluates, both evaluations of a step."""
    grid = [
        (high ** (1 / power) + i / (steps - 1) * (low ** (1 / power) - high ** (1 / power))) ** power
        for i in range(steps)
    ]
    return [level for first, second in itertools.pairwise(grid) for level in (first, second)] + [grid[-1]]


def interval() -> str:
    """Which network is called at which level, where guidance has an interval."""
    low, high = 0.1, 2.0

    def place(sigma: float) -> float:
        return 110 + 560 * (math.log(5.0) - math.log(sigma)) / (math.log(5.0) - math.log(0.002))

    evaluated = levels()
    inside = [low < sigma <= high for sigma in evaluated]
    parts = [
        text(30, 40, "interval(autoguidance, low=0.1, high=2)", size=18, bold=True),
        f"<rect x='{place(high):.1f}' y='78' width='{place(low) - place(high):.1f}' height='150' fill='#eaf4ec'/>",
        text((place(low) + place(high)) / 2, 70, "guided", GUIDED, anchor="middle", bold=True),
        text(90, 125, "main", MAIN, anchor="end", bold=True),
        text(90, 195, "weak", WEAK, anchor="end", bold=True),
        line(110, 245, 670, 245, INK),
    ]
    for sigma in (5.0, 2.0, 0.5, 0.1, 0.02, 0.002):
        x = place(sigma)
        parts += [line(x, 240, x, 250, INK), text(x, 270, f"{sigma:g}", anchor="middle")]
    for sigma, guided in zip(evaluated, inside, strict=True):
        x = place(sigma)
        parts.append(f"<circle cx='{x:.1f}' cy='120' r='5' fill='{MAIN}' fill-opacity='0.55'/>")
        fill = f"fill='{WEAK}' fill-opacity='0.55'" if guided else f"fill='none' stroke='{PALE}' stroke-width='1.5'"
        parts.append(f"<circle cx='{x:.1f}' cy='190' r='5' {fill}/>")
    calls = (
        f"18 Heun steps: {len(evaluated)} calls of main, {sum(inside)} of weak. Where the gate is 0 nothing is called."
    )
    parts += [
        text(390, 295, "noise level σ; sampling goes from left to right", GREY, anchor="middle"),
        text(30, 330, calls, GREY),
    ]
    return picture(
        720,
        350,
        "Calls along a trajectory: the main network at every level, the weak one only inside the interval",
        parts,
    )


def one_pass() -> str:
    """From an expression to its normal form to the calls."""
    parts = [
        text(30, 40, "One pass", size=18, bold=True),
        box(30, 70, 660, 44, GREY),
        text(46, 97, "blend([cfg, autoguidance])", INK, 16, bold=True),
        text(674, 97, "what you write", GREY, anchor="end"),
        arrow(110, 114, 110, 150, "grey", GREY),
        box(30, 142, 660, 44, GREY),
        text(46, 169, "3 main(x, c)", MAIN, 16, bold=True),
        text(150, 169, "- main(x, null)", NULL, 16, bold=True),
        text(272, 169, "- weak(x, c)", WEAK, 16, bold=True),
        text(674, 169, "its normal form: each answer once", GREY, anchor="end"),
        arrow(110, 186, 110, 222, "grey", GREY),
        arrow(450, 186, 450, 222, "grey", GREY),
        box(30, 214, 300, 74, MAIN, "#f0f5fb"),
        text(46, 240, "main: one call", MAIN, 16, bold=True),
        text(46, 266, "batch of 2B: (x, c) and (x, null)", INK),
        box(370, 214, 320, 74, WEAK, "#fbf2ec"),
        text(386, 240, "weak: one call", WEAK, 16, bold=True),
        text(386, 266, "batch of B: (x, c)", INK),
        text(30, 330, "A term whose coefficient is 0 at this level is left out before anything is called.", GREY),
    ]
    return picture(720, 350, "From an expression to its normal form to one call of each network", parts)


DRAWN = {"algebra.svg": algebra, "blend.svg": blend, "interval.svg": interval, "one-pass.svg": one_pass}

if __name__ == "__main__":
    for name, draw in DRAWN.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
