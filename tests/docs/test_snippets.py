"""The code on the pages does what the pages say."""

import re
from importlib.util import find_spec

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks, missing_line

RUN = ("bash", "python")
MIGRATION = ROOT / "docs" / "migration.md"
STORIES = sorted({(page, block.story) for page in PAGES for block in blocks(page) if block.story})


def name(value):
    return str(value.relative_to(ROOT)) if hasattr(value, "relative_to") else value


@pytest.mark.parametrize(("page", "story"), STORIES, ids=name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page, story, request):
    teller = request.getfixturevalue(story.replace(" ", "_").replace("-", "_"))
    for block in blocks(page):
        if block.story != story or (block.needs and find_spec(block.needs) is None):
            continue
        printed = teller.run(block)
        missing = missing_line(block.prints, printed)
        assert missing is None, f"{block.place} does not print {missing!r} where the page shows it, but\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_run_or_excused(page):
    neither = [block.place for block in blocks(page) if block.language in RUN and not (block.story or block.is_excused)]
    assert neither == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_command_hides_in_a_block_of_no_language(page):
    assert [block.place for block in blocks(page) if not block.language] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_mark_is_understood(page):
    marked = [block for block in blocks(page) if block.mark.startswith(("run", "not run"))]
    assert [block.place for block in marked if not (block.story or block.is_excused)] == []
    assert [block.place for block in marked if block.language not in RUN] == []


def test_what_make_is_asked_for_on_the_pages_is_in_the_makefile():
    text = "".join(block.code for page in PAGES for block in blocks(page) if block.language == "bash")
    asked = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    assert asked > {"demo", "image", "test"}
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert asked <= set(made)


def test_the_page_for_those_who_migrate_has_code_in_every_story():
    assert {story for page, story in STORIES if page == MIGRATION} == {
        "aws",
        "endpoint",
        "multi-model endpoint",
        "raw text",
        "sockeye",
        "text",
    }


def test_blocks_are_found_with_their_marks_and_lines(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n<!-- run: two words; needs: json -->\n```python\nprint(1)\n```\n<!-- prints -->\n```text\n1\n```\n"
        "```bash\nls\n```\n<!-- not run: because it would delete everything -->\n```bash\nrm\n```\n"
        "<!-- not run: -->\n```bash\nls\n```\n"
    )
    first, second, third, fourth = blocks(page)
    assert first == Block(page, 5, "python", "print(1)\n", "run: two words; needs: json", "1\n")
    assert (first.story, first.needs, first.is_excused) == ("two words", "json", False)
    assert (second.story, second.is_excused, second.mark) == (None, False, "")
    assert (third.story, third.is_excused) == (None, True)
    assert (fourth.story, fourth.is_excused) == (None, False)


def test_a_line_that_is_not_printed_or_too_early_is_found():
    assert missing_line("a … c\nd\n", "x\na b c\ny\nd\n") is None
    assert missing_line("d\na … c\n", "a b c\nd\n") == "a … c"
    assert missing_line("a.c\n", "abc\n") == "a.c"
