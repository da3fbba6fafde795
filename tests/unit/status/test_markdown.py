"""Names in markdown and HTML: whatever somebody has called a thing, it is shown, and does nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.status.markdown import block, bullets, code, plain, table, visible
from shared.status.page import page, slug, to_html

HOSTILE = [
    "<script>alert(1)</script>",
    "](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "`` ` ```",
    "```\n<b>",
    "a\n\n# heading",
    "a|b",
    "\\|",
    "\\",
    "*b* _i_ ~~s~~",
    "&lt;&#106;",
    "1. one",
    "- item",
    "> quote",
    "===",
    "\u202egnp.exe",
    "\x00\x1b[31m",
    "\ud800",
    "☐ box",
    "    code",
    " ",
    "",
]
NAMES = st.one_of(
    st.text(max_size=40),
    st.text("`|\\[]()<>*_&!#-+=~\"' \n\t1.a☐", max_size=20),
    st.sampled_from(HOSTILE),
)
TAGS = {"p", "table", "thead", "tbody", "tr", "th", "td", "div", "code", "pre", "ul", "li", "strong"}


class _Reader(HTMLParser):
    """Tags with their attributes, and text by the tag that it stands in."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def within(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]


@given(NAMES)
@example("\\|")
@example("`")
@example("1.")
def test_a_name_is_shown_as_it_is_wherever_it_stands_and_makes_no_markup(name: str) -> None:
    words = " ".join(visible(name).split())
    shown = visible(name)
    markdown = "\n\n".join(
        [
            f"{plain(name)}",
            f"**Then** {plain(name)} {code(name)} end",
            table(("head",), [(plain(name),), (code(name),)]),
            bullets([f"{plain(name)} after", code(name)]),
            block([name, "second"], "sql"),
            "last",
        ]
    )

    read = _Reader(to_html(markdown))

    assert {tag for tag, _ in read.tags} <= TAGS
    assert [attributes for _, attributes in read.tags if attributes not in ({}, {"class": "wide"})] == [
        {"class": "language-sql"}
    ]
    paragraphs = "".join(read.within("p"))
    assert paragraphs.startswith(words)
    assert paragraphs.endswith(" endlast")
    assert len(read.within("strong")) == 1
    cells = read.within("td")
    assert cells[:1] == [words or "(empty)"]
    spans = read.within("code")
    expected = shown if shown.strip() else ""
    assert [span.strip() for span in spans[:-1]] == [expected.strip()] * 3 if expected else not spans[:-1]
    assert spans[-1] == f"{shown.rstrip()}\nsecond\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_hidden_is_left_in_what_is_shown(name: str) -> None:
    for written in (plain(name), code(name), block([name], "sql").replace("\n", "")):
        assert written == written.encode("utf-8", "strict").decode()
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", written)


def test_the_page_has_a_strict_policy_names_its_one_style_by_its_hash_and_loads_nothing() -> None:
    document = page("A <title>", to_html("# Head\n\ntext <img src=x onerror=alert(1)>"))

    assert "<title>A &lt;title&gt;</title>" in document
    assert "default-src 'none'; style-src 'sha256-" in document
    assert "<img" not in document
    assert "&lt;img src=x onerror=alert(1)&gt;" in document
    read = _Reader(document.partition("<body>")[2].partition("</body>")[0])
    assert {tag for tag, _ in read.tags} == {"main", "h1", "p"}
    for loaded in ("src=", "@import", "url(", "<script", "<link", "<iframe", " style="):
        assert loaded not in document.replace("<img src=x", "").replace("&lt;img src=x", "")


def test_a_box_at_the_beginning_can_be_ticked_and_one_that_we_ticked_cannot() -> None:
    html = to_html("### ☐ 1.1 Do it\n\n- ☑ good\n- ☒ bad <b>\n- in the ☐ middle")

    assert '<h3 id="11-do-it"><input type="checkbox" aria-label="done"> 1.1 Do it</h3>' in html
    assert '<span class="good"' in html
    assert "bad &lt;b&gt;" in html
    assert "in the ☐ middle" in html
    assert html.count("<input") == 1


def test_headings_can_be_linked_to_as_github_does() -> None:
    assert slug("3. `master`, by hand: and only") == "3-master-by-hand-and-only"


@pytest.mark.parametrize("name", ["☐ done?", "☑ checked, believe me", "☒"])
def test_a_name_that_begins_with_a_box_is_no_box(name: str) -> None:
    html = to_html(f"{plain(name)}\n\n{bullets([plain(name)])}\n\n{table(('head',), [(plain(name),)])}")

    assert "<input" not in html
    assert "<span" not in html
    assert html.count(name) == 3
