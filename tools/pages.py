"""What the documentation site adds to the files in `docs/`: a hook of MkDocs.

(a) The pages of the reference, from the docstrings (`reference.py`).
(b) Documents of the project that lie elsewhere, such as the changelog.
(c) The sections of the navigation that follow from files: the reference, and the decisions with their list.
(d) Links: they are written as they hold in the checkout. Those to documents become links within the site, those to
    source files plain text. A link to a file that is not there stays, so that MkDocs complains of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import reference
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Documents outside of `docs/`, and their pages; and folders, with the page that lists what they hold.
MOUNTED = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "README.md": "index.md",
}
LISTED = {"benchmarks": "benchmarks.md", "docs": "index.md", "docs/decisions": "decisions/index.md"}
DECISIONS = """# Decisions

What was chosen by measurement, with the figures, and what lost.

"""


def decisions() -> dict[str, str]:
    """The headings of the records of decisions, by file."""
    paths = sorted((ROOT / "docs/decisions").glob("*.md"))
    return {path.name: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in paths}


def on_config(config: Any) -> Any:
    """Fill the sections of the navigation."""
    found = reference.pages()
    filled = {
        "reference": [{page.title: page.uri} for page in found],
        "decisions": [
            {"All decisions": "decisions/index.md"},
            *({name.removesuffix(".md").replace("-", " ").capitalize(): f"decisions/{name}"} for name in decisions()),
        ],
    }
    config.nav = _filled(config.nav, filled)
    return config


def _filled(nav: Any, sections: dict[str, Any]) -> Any:
    """The navigation, with lists in place of the names that stand for them."""
    if isinstance(nav, list):
        return [_filled(item, sections) for item in nav]
    if isinstance(nav, dict):
        return {title: _filled(item, sections) for title, item in nav.items()}
    return sections.get(nav, nav)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in `docs/`."""
    made = dict(reference.build())
    made["decisions/index.md"] = DECISIONS + "".join(f"- [{title}]({name})\n" for name, title in decisions().items())
    for source, uri in MOUNTED.items():
        if files.get_file_from_path(uri) is None:
            made[uri] = (ROOT / source).read_text(encoding="utf-8")
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of the checkout into links of the site."""
    uri = page.file.src_uri
    if uri.startswith("reference/") or uri == "decisions/index.md":
        return markdown
    origins = {mounted: source for source, mounted in MOUNTED.items() if mounted != "index.md"}
    origin = origins.get(uri, f"docs/{uri}")
    return re.sub(
        r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)",
        lambda link: _link(link, origin, uri),
        markdown,
    )


def _link(link: re.Match[str], origin: str, uri: str) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    if not target or "://" in target or target.startswith("reference/"):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    inside = LISTED.get(path) or MOUNTED.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
    if inside:
        return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(uri) or '.')}{anchor})"
    return text if (ROOT / path).exists() else link[0]
