"""How Sphinx makes the site of these pages: `make docs`. Nothing is fetched, neither by the build nor by the site.

The pages are plain Markdown, to be read in a checkout as well, so the order of the site is not written into them:
the links of an index (a `README.md`) are its contents, section by section.
"""

from __future__ import annotations

import re
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent

project = "Mainspring"
author = "The Mainspring authors"
copyright = author
_version = re.search(r'__version__ = "(.+)"', (HERE.parent / "src" / "mainspring" / "__init__.py").read_text())
release = version = _version[1] if _version else ""

extensions = ["myst_parser"]
root_doc = "README"
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_ambiguous"]
nitpicky = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"Mainspring {release}"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_baseurl = ""
templates_path: list[str] = []

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+://|\.\./)([\w/.-]+)\.md\)")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[\w/.-]+?)/?(?:#[\w-]+)?\)")


def name_what_is_outside(app: Sphinx, page: str, source: list[str]) -> None:
    """The checkout has more than these pages: what a page links to there is named, for the site has it not."""
    folder = (HERE / page).parent

    def named(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(HERE):
            return link[0]
        return f"{link[1]} (`{target.relative_to(HERE.parent)}`)"

    source[0] = _OUTSIDE.sub(named, source[0])


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Below an index, the order of the site: a list for each section, of the pages that it links to."""
    if Path(page).name != "README":
        return
    seen: set[str] = set()
    title, *rest = _HEADING.split(source[0])
    for name, section in [("", title), *zip(rest[::2], rest[1::2], strict=True)]:
        pages = [link for link in _LINK.findall(section) if link not in seen and not seen.add(link)]  # type: ignore[func-returns-value]
        if pages:
            caption = [f":caption: {name}"] if name else []
            source[0] += "\n\n" + "\n".join(["```{toctree}", ":hidden:", *caption, "", *pages, "```"]) + "\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", name_what_is_outside)
    app.connect("source-read", add_contents)
    app.add_lexer("mermaid", TextLexer)
