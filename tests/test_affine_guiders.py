"""Which guiders are affine, by their normal forms; docs/guiders.md names those that are not."""

import re
import tempfile
from pathlib import Path

import torch

from guideplug import Denoiser, Guider, Leaf, Registry
from guideplug.testing.kit import Kit

torch.set_num_threads(1)

PAGE = (Path(__file__).parents[1] / "docs" / "guiders.md").read_text(encoding="utf-8")


def is_affine(point: Denoiser) -> bool:
    """Whether each term is a network's answer at the same x and level, or x itself."""
    return all(isinstance(query.source, Leaf) or query.source.written == "x" for query in point.terms)


def guiders() -> dict[str, bool]:
    """Whether each guider that stands in a plugin of ours is affine, around an affine one where it takes others."""
    registry, found = Registry.installed(), {}
    kit = Kit(registry)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        for plugin in registry.plugins:
            for offer in plugin.offers:
                if offer.kind == Guider.kind and isinstance(offer.what, type) and f"](#{offer.name})" in PAGE:
                    guided = kit._guided(kit._example(plugin, offer.what, Path(folder)))  # type: ignore[arg-type]
                    found[offer.name] = all(is_affine(case.guided(guided.guider)) for case in guided.cases)
    return found


def test_the_page_says_which_guiders_are_not_affine() -> None:
    (sentence,) = re.findall(r"^Not affine are (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\[([\w-]+)\]\(#", sentence)) - {"shapes"}
    found = guiders()
    assert {"cfg", "blend", "interval", "self-guidance", "apg"} <= found.keys()
    assert named == {name for name, affine in found.items() if not affine}
