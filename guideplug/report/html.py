"""Templates to HTML: all text escaped, and a content security policy that forbids fetches and foreign scripts.

Texts are untrusted. What cannot be printed, such as marks that change the direction of reading, is escaped. Jinja
escapes texts in markup; data for scripts are JSON without <, > and & in elements that are no scripts; the policy allows
only scripts with the listed hashes.
"""

import base64
import functools
import hashlib
import json
import math
import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from guideplug.errors import visible

__all__ = ["embedded", "image", "rendered"]

SCRIPTS = ("theme.js", "echarts.min.js", "page.js")
"""In the order of the page; the first one runs before anything is shown."""
_WORDS = re.compile("[^\n\u00a0]+")
"""Text between line breaks and the spaces that hold numbers together."""
CLOSED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def rendered(template: str, **content: Any) -> str:
    """A page from its template."""
    return _environment().get_template(template).render(
        policy=_policy(), css=Markup(_asset("page.css")), scripts={name: Markup(_asset(name)) for name in SCRIPTS},
        **content,
    )  # fmt: skip


def embedded(value: Any) -> Markup:
    """Data as JSON that no text in it can close; non-finite numbers become null."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character, closed in CLOSED.items():
        text = text.replace(character, closed)
    return Markup(text)


def image(png: bytes) -> str:
    """A PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _shown(value: Any) -> Any:
    """A value as a page shows it: lines of text with everything escaped that cannot be printed."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return _WORDS.sub(lambda words: visible(words[0]), value)


def _finite(value: Any) -> Any:
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, dict):
        return {_shown(str(key)): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def _asset(name: str) -> str:
    return (resources.files("guideplug.report") / "assets" / name).read_text(encoding="utf-8")


@functools.cache
def _policy() -> str:
    hashes = [base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode() for name in SCRIPTS]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("guideplug.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    return environment
