"""A plugin's class asked of ``guideplug`` itself: the import that works is said, and does work."""

import subprocess
import sys

import pytest

import guideplug
from guideplug.registry.registry import Registry

REGISTRY = Registry.installed()


def names() -> list[str]:
    offers = [offer.what for plugin in REGISTRY.plugins for offer in plugin.offers]
    classes = [cls for cls in offers if isinstance(cls, type) and not cls.__module__.startswith("guideplug.")]
    return sorted({cls.__name__ for cls in classes} - set(guideplug.__all__))


def test_every_class_of_a_plugin_is_found_and_imports() -> None:
    asked = names()
    assert len(asked) > 50
    for name in asked:
        with pytest.raises(ImportError, match="write from guideplug_") as error:
            exec(f"from guideplug import {name}")
        line = str(error.value).partition(": write ")[2]
        assert line.startswith("from guideplug_")
        namespace: dict[str, object] = {}
        exec(line, namespace)
        assert name in namespace
        assert not hasattr(guideplug, name)


def test_other_names_are_as_they_were() -> None:
    with pytest.raises(AttributeError, match="did you mean 'Denoiser'"):
        _ = guideplug.Denoisr  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'no_such_thing'"):
        exec("from guideplug import no_such_thing")
    exec("from guideplug import metrics, errors, store")
    assert not hasattr(guideplug, "__wrapped__")


def test_nothing_is_imported_to_say_so() -> None:
    code = "import guideplug, sys\nassert not hasattr(guideplug, 'Heun')\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
