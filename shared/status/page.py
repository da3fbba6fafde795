"""The page for people: one self-contained HTML document, from markdown or from HTML that is safe already.

No script and no outside resource: the page says so itself in its Content-Security-Policy, in which the one style sheet
is named by its hash. So it can be mailed, kept on a stick, opened from a disk on the worst day, and printed.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.status.markdown import DONE, FAILED, OPEN

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --raised: #f4f5f7; --ink: #1b1f24; --soft: #57606a; --line: #d5d9de;
  --accent: #0b5cad; --good: #1a7f37; --bad: #b42318; --warn: #8a5a00; --warn-ground: #fff6e0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --raised: #1e2327; --ink: #e6e8ea; --soft: #a2abb4; --line: #363d44;
    --accent: #74b3f2; --good: #57c47a; --bad: #ff8a7a; --warn: #f0c25e; --warn-ground: #2c2615;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 54rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }
h2 {
  font-size: 1.3rem; line-height: 1.3; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 2px solid var(--line);
}
h3 { font-size: 1.06rem; line-height: 1.4; margin: 1.9rem 0 .5rem; }
h4 { font-size: 1rem; margin: 1.4rem 0 .4rem; color: var(--soft); }
p, ul, ol { margin: .6rem 0; }
ul, ol { padding-left: 1.4rem; }
li { margin: .25rem 0; }
a { color: var(--accent); }
code, pre { font-family: ui-monospace, "Cascadia Mono", Consolas, Menlo, monospace; }
code { font-size: .9em; background: var(--raised); border-radius: .25rem; padding: .08em .3em; }
pre {
  background: var(--raised); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem .9rem; margin: .7rem 0;
  overflow-x: auto; overflow-wrap: normal; font-size: .87rem; line-height: 1.45; tab-size: 4;
}
pre code { background: none; padding: 0; font-size: inherit; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td { min-width: 8rem; }
td:first-child { min-width: 10.5rem; }
blockquote {
  margin: .9rem 0; padding: .55rem .9rem; border-left: .3rem solid var(--warn); background: var(--warn-ground);
  border-radius: 0 .35rem .35rem 0;
}
blockquote p { margin: .3rem 0; }
input[type="checkbox"] {
  width: 1.05em; height: 1.05em; margin: 0 .3em 0 0; vertical-align: -.12em; accent-color: var(--accent);
}
.good, .bad { font-weight: 700; }
.good { color: var(--good); }
.bad { color: var(--bad); }
ul:has(> li > input), ul:has(> li > .good), ul:has(> li > .bad) { list-style: none; padding-left: 0; }
li:has(> input), li:has(> .good), li:has(> .bad) { padding-left: 1.6em; text-indent: -1.6em; }
li > .good, li > .bad { display: inline-block; width: 1.35em; text-indent: 0; }
@media (max-width: 34rem) {
  main { padding: 1rem .85rem 3rem; }
  h1 { font-size: 1.4rem; }
  h2 { font-size: 1.18rem; margin-top: 2.1rem; }
  td:first-child { min-width: 6rem; }
}
@media print {
  :root {
    --ground: #fff; --raised: #f6f6f6; --ink: #000; --soft: #333; --line: #999; --accent: #000; --warn-ground: #fff;
  }
  main { max-width: none; padding: 0; }
  body { font-size: 10.5pt; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 8.5pt; }
  h2, h3 { break-after: avoid; }
  pre, tr, blockquote { break-inside: avoid; }
  .wide { overflow: visible; }
}
""".strip()

_BOXES = {
    OPEN: '<input type="checkbox" aria-label="done">',
    DONE: '<span class="good" role="img" aria-label="checked: good">✔</span>',
    FAILED: '<span class="bad" role="img" aria-label="checked: bad">✘</span>',
}
_NOT_IN_A_SLUG = re.compile(r"[^\w\- ]")


def page(title: str, body: str) -> str:
    """The whole document. ``body`` is HTML and goes in as it is; ``title`` is a text."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<main>\n{body.rstrip()}\n</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def to_html(markdown: str) -> str:
    """Markdown as HTML for ``page``. HTML in it is shown as text; headings can be linked to by ``slug``; the boxes of
    ``markdown`` become ones that can be ticked."""
    body: str = _parser().render(markdown)
    return body


def slug(heading: str) -> str:
    """The anchor that a heading gets here, and wherever GitHub's rule is followed."""
    return _NOT_IN_A_SLUG.sub("", heading.lower()).strip().replace(" ", "-")


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.core.ruler.push("lifeboat", _adorn)
    parser.add_render_rule("table_open", lambda *_: '<div class="wide">\n<table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    return parser


def _adorn(state: StateCore) -> None:
    for before, token in zip([None, *state.tokens], state.tokens, strict=False):
        if token.type != "inline":
            continue
        if before is not None and before.type == "heading_open":
            before.attrSet("id", slug(token.content))
        if token.content[:1] in _BOXES:  # as it was written: a name that begins with one is written otherwise
            _tickable(token.children or [])


def _tickable(children: Sequence[Token]) -> None:
    """A box at the very beginning of a paragraph, a cell or an item."""
    if not children or children[0].type != "text":
        return
    first = children[0]
    box, rest = _BOXES[first.content[0]], html.escape(first.content[1:].lstrip())
    first.type, first.content = "html_inline", f"{box} {rest}"
