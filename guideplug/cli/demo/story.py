"""The demo in words: every sentence follows from the numbers."""

from guideplug.cli.demo.spirals import PIECES
from guideplug.cli.demo.trial import Demo, Row

__all__ = ["story"]

SAME = 0.01
"""Shares that differ by less are called the same: a hundredth is the noise of 4,096 samples."""


def story(demo: Demo) -> list[str]:
    """The lines of the terminal: what guidance is and does, then how it is written and what that promises."""
    return [*_networks(demo), "", *_verdict(demo), "", *_algebra(demo)]


def _algebra(demo: Demo) -> list[str]:
    checks, (low, high) = demo.checks, demo.interval
    same = "the base bit for bit" if checks.same_at_one else "NOT the base's bits"
    guide_at_one = "is not asked" if checks.outputs_at_one == 1 else "IS asked"
    nowhere = "the ones inside it" if checks.gated == checks.within else f"NOT the {len(checks.within)} inside it"
    return [
        "2. How it is written: denoisers are points, differences directions, and what comes out is again a denoiser.",
        "   As when one network guides itself, asked with a condition c and without (classifier-free guidance):",
        f"     guided = base + {demo.cfg_weight - 1:g} * (base - base.unconditional())",
        f"            = {checks.formula}",
        "   Checked just now, with the spirals' exact denoiser as base:",
        f"     one evaluation: {_cost(checks.calls, checks.outputs)}; the textbook formula to {checks.error:.0e}",
        f"     a negative prompt, base.under(label) for unconditional(): "
        f"{_cost(checks.negative_calls, checks.negative_outputs)}",
        f"     weight 1: {same}, and the guide {guide_at_one}",
        f"     Gate({low:g}, {high:g}) * (...): the guide is asked at {len(checks.gated)} of {checks.levels} noise "
        f"levels, {nowhere}",
    ]


def _cost(calls: int, outputs: float) -> str:
    return f"{calls} call{'s' if calls != 1 else ''}, {outputs:g} conditions in a batch"


def _networks(demo: Demo) -> list[str]:
    main, weak = demo.networks["main"], demo.networks["weak"]
    lines = [
        "1. Guidance asks a second, worse denoiser as well, and goes further the way that the first differs from it.",
        "   Two networks were taught just now to turn noise into points of a known density, two spirals:",
        f"     main: {main.width} wide, {main.iterations:,} iterations, the one whose samples are wanted",
        f"     weak: {weak.width} wide, {weak.iterations:,} iterations, its guide",
        f"     guided = {demo.formula}; {demo.samples:,} samples of each, from the same noise",
        f"     {'':22}  fidelity  coverage   log p  network calls per sample",
    ]
    for row in demo.rows:
        calls = " + ".join(f"{count} {role}" for role, count in row.calls.items() if count) or "-"
        lines.append(f"     {row.name:22}  {row.inside:8.1%}  {row.coverage:8.1%}  {row.log_density:6.2f}  {calls}")
    return [
        *lines,
        "   fidelity: share of the samples inside the outline that holds 99 % of the truth; log p: mean log density",
        f"   coverage: the truth is cut into {PIECES} equal pieces; how far samples fill each one's share (to 100 %)",
    ]


def _verdict(demo: Demo) -> list[str]:
    _, weak, plain, guided, gated = demo.rows
    low, high = demo.interval
    return [
        f"Guided by the {'weaker' if weak.inside < plain.inside - SAME else 'other (not weaker!)'} network: "
        f"{_change(plain, guided)}.",
        f"Guided in the interval {low:g} < sigma <= {high:g} of noise levels only: {_change(plain, gated)}.",
        f"So {_worth(plain, guided)}; {_comparison(plain, guided, gated)}. One seed: another may say otherwise.",
    ]


def _change(before: Row, after: Row) -> str:
    return " and ".join(
        f"{measure} {_word(old, new)} ({old:.1%} -> {new:.1%})"
        for measure, old, new in (
            ("fidelity", before.inside, after.inside),
            ("coverage", before.coverage, after.coverage),
        )
    )


def _word(before: float, after: float) -> str:
    return "rose" if after > before + SAME else "fell" if after < before - SAME else "stayed"


def _worth(before: Row, after: Row) -> str:
    """Whether guidance helped, and what it cost."""
    cost = f"at {_total(after) / _total(before):.2g} x the calls"
    words = _word(before.inside, after.inside), _word(before.coverage, after.coverage)
    if "rose" in words and "fell" in words:
        gain, loss = ("fidelity", "coverage") if words[0] == "rose" else ("coverage", "fidelity")
        return f"guidance bought {gain} with {loss} {cost}"
    return f"guidance {'helped' if 'rose' in words else 'did not help'} {cost}"


def _comparison(plain: Row, everywhere: Row, interval: Row) -> str:
    """The interval beside guidance everywhere."""
    words = _word(everywhere.inside, interval.inside), _word(everywhere.coverage, interval.coverage)
    quality = {
        (False, False): "as good",
        (True, False): "better",
        (False, True): "worse",
        (True, True): "better in one and worse in the other",
    }["rose" in words, "fell" in words]
    return f"the interval is {quality} at {_total(interval) / _total(plain):.2g} x"


def _total(row: Row) -> int:
    return sum(row.calls.values())
