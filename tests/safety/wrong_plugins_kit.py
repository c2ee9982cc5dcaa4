"""Which wrong plugins ``guideplug plugins check`` finds: ``python tests/safety/wrong_plugins_kit.py``."""

import sys
from collections import Counter
from typing import Any

from wrong_plugins import TOY, cases

from guideplug import Registry
from guideplug.registry.registry import Offer
from guideplug.testing.kit import Kit


def findings(registry: Registry, file: str, kind: str, name: str) -> list[str]:
    """The laws that a strategy breaks."""
    plugin = next(plugin for plugin in registry.plugins if plugin.origin == file)
    offers = [offer for offer in plugin.offers if (offer.kind, offer.name) == (kind, name)]
    alone: Any = type("Alone", (), {"broken": "", "name": plugin.name, "offers": offers})()
    assert all(isinstance(offer, Offer) for offer in offers)
    return [
        finding.law
        for checked in Kit(registry, [str(TOY), file]).check(alone, None, only=name)
        for finding in checked.findings
        if not finding.holds
    ]


def main() -> None:
    """Print a line per case, and the counts by kind."""
    total, found = Counter[str](), Counter[str]()
    files = sorted({str(case.file) for case in cases()})
    registry = Registry.installed([str(TOY), *files])
    for case in cases():
        if sys.argv[1:] and case.kind not in sys.argv[1:]:
            continue
        try:
            laws = findings(registry, str(case.file), case.kind, case.name)
        except BaseException as error:
            laws = []
            sys.stdout.write(f"the kit itself raised {type(error).__name__}: ")
        own = [law for law in laws if law not in ("it is final",)]
        total[case.kind] += 1
        found[case.kind] += bool(own)
        sys.stdout.write(f"{case}: {'; '.join(own) or 'not found'}\n")
        sys.stdout.flush()
    for kind, count in total.items():
        sys.stdout.write(f"{kind}: {found[kind]} of {count} found\n")


if __name__ == "__main__":
    main()
