"""Pages of the site that stand at the root of the repository: contributing, changelog, the security policy.

Links in them are relative to the root, links to them from ``docs`` begin with ``../``. Both are turned into links
between pages of the site; what is no page (the licence, examples of source) keeps its words and loses its link.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
AT_THE_ROOT = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for name, page in AT_THE_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn the links that leave ``docs``, or that come from the root."""
    from_root = page.file.src_uri in AT_THE_ROOT.values()

    def turned(found: re.Match[str]) -> str:
        words, target = found.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return found[0]
        inside = path if from_root else path.removeprefix("../") if path.startswith("../") else None
        if inside is None:
            return found[0]
        place = AT_THE_ROOT.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else None)
        if place is None and not from_root and files.get_file_from_path(inside) is not None:
            return found[0]
        if place is None or files.get_file_from_path(place) is None:
            return words
        return f"[{words}]({place}{'#' + anchor if anchor else ''})"

    return LINK.sub(turned, markdown)
