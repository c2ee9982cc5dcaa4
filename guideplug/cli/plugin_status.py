"""How far a plugin is maintained: by the classifier "Development Status" in the metadata of its distribution."""

import importlib.metadata
from typing import Final

from guideplug.registry.registry import Plugin

__all__ = ["STATUSES", "status"]

CLASSIFIER = "Development Status :: "
OF_CLASSIFIER = {
    "1": "experimental",
    "2": "experimental",
    "3": "experimental",
    "4": "maintained",
    "5": "maintained",
    "6": "maintained",
    "7": "inactive",
}
"""By the number that the classifier begins with."""

STATUSES: Final = ("core", *dict.fromkeys(OF_CLASSIFIER.values()), "local", "unstated")


def status(plugin: Plugin) -> str:
    """One of `STATUSES`: of guideplug itself, of a distribution by its classifier, of a local file."""
    if plugin.distribution == "guideplug":
        return "core"
    if not plugin.version:
        return "local"
    try:
        classifiers = importlib.metadata.metadata(plugin.distribution).get_all("Classifier", [])
    except importlib.metadata.PackageNotFoundError:
        return "unstated"
    numbers = [text.removeprefix(CLASSIFIER)[:1] for text in classifiers if text.startswith(CLASSIFIER)]
    return OF_CLASSIFIER.get(numbers[0], "unstated") if numbers else "unstated"
