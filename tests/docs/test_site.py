"""The site has every page, and the pages of the Python interface name what there is."""

import re
from importlib import import_module

import pytest

from tests.docs.pages import PAGES, ROOT

NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
DOCUMENTED = sorted(
    {name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}
)
MEMBERS = [
    (name, member)
    for page in PAGES
    for name, members in re.findall(
        r"^::: (\S+)\n    options:\n      members: \[(.+)\]$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    for member in members.split(", ")
]


def found(name):
    """What has a dotted name: a module, or something in one."""
    place, _, last = name.rpartition(".")
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return getattr(import_module(place), last)


def test_every_page_is_in_the_navigation_once():
    listed = re.findall(r"(\S+\.md)$", NAVIGATION, re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_the_pages_document_exists_and_has_a_docstring(name):
    assert found(name).__doc__


@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_members_that_the_pages_choose_exist_and_have_docstrings(name, member):
    assert getattr(found(name), member).__doc__


def test_the_pages_document_something():
    assert len(DOCUMENTED) > 20
    assert len(MEMBERS) > 10
