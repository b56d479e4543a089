"""Relative links between the pages lead somewhere, to headings as well; nothing is fetched."""

import re
from functools import cache
from urllib.parse import unquote

import pytest

from tests.docs.pages import PAGES, ROOT

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Inline links and images, whose text may hold an image itself, and definitions of links.
_LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE
)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def without_code(text):
    return _CODE.sub("", _COMMENT.sub("", _FENCE.sub("", text)))


def links(text):
    return [first or second for first, second in _LINK.findall(without_code(text))]


def anchors(text):
    """The names of a page's headings as GitHub makes them: lower case, no punctuation, hyphens for blanks."""
    found, count = set(), {}
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = count[slug] = count.get(slug, -1) + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found | set(re.findall(r"<a (?:name|id)=\"([^\"]+)\"", text))


@cache
def anchors_of(page):
    return anchors(page.read_text(encoding="utf-8"))


def broken(page, text):
    """The links of a page that lead nowhere, with why."""
    for link in links(text):
        if _ELSEWHERE.match(link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        # The site consists of docs/ alone, so its pages link to nothing else.
        top = ROOT / "docs" if page.is_relative_to(ROOT / "docs") else ROOT
        if path.startswith("/") or not target.is_relative_to(top):
            yield link, f"must be relative and within {top.name}"
        elif not target.exists():
            yield link, "there is no such file"
        elif anchor and anchor not in (anchors(text) if target == page else anchors_of(target)):
            yield link, f"{target.name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_anchor_leads_somewhere(page):
    assert list(broken(page, page.read_text(encoding="utf-8"))) == []


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            text = page.read_text(encoding="utf-8")
            paths = (unquote(link).partition("#")[0] for link in links(text) if not _ELSEWHERE.match(link))
            waiting += [(page.parent / path).resolve() for path in paths if path.endswith(".md")]
    assert [page for page in PAGES if page not in reached] == [ROOT / "docs" / "index.md"]


def test_links_that_lead_nowhere_are_found():
    text = (
        "# One `two`: [three](x.md)?\n## One\n## One\n```\n[no](link.md)\n# no heading\n```\n"
        "`[no](link.md)` <!-- [no](a.md) -->\n"
        "[a](#one-two-three) [b](#one-1) [c](https://example.org/x.md#y) [d](data.md) [e](data.md#channels)\n"
        "[f](#no-heading) [g](missing.md) [h](data.md#nothing)\n"
        "[![i](images/missing.png)](data.md) [j](../README.md) [k](/a)\n"
        "[l]: absent.md\n"
    )
    found = {link for link, _ in broken(ROOT / "docs" / "migration.md", text)}
    assert found == {
        *(
            "#no-heading",
            "missing.md",
            "data.md#nothing",
            "images/missing.png",
            "../README.md",
            "/a",
            "absent.md",
            "x.md",
        ),
    }
