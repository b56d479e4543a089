"""The pages of the documentation, and the blocks of code on them.

A comment on the line before a block of bash or Python says what is done with it:

    <!-- run: STORY -->                    it is run in that story, after the blocks before it
    <!-- run: STORY; needs: MODULE -->     but passed over where there is no such module
    <!-- not run: REASON -->               it cannot be run

`<!-- prints -->` before a block after it: what it prints has these lines, in this order; `…` stands for anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_RUN = re.compile(r"run: (?P<story>[a-z -]+?)(?:; needs: (?P<needs>\w+))?")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Its page.
        line: The line of the page on which its code begins.
        language: What is named after the fence, or nothing.
        code: What is in it.
        mark: The comment before it, or nothing.
        prints: What it must print, if the page tells.
    """

    page: Path
    line: int
    language: str
    code: str
    mark: str
    prints: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def story(self) -> str | None:
        """Where it is run, if it is."""
        run = _RUN.fullmatch(self.mark)
        return run["story"] if run else None

    @property
    def needs(self) -> str | None:
        """A module that may be missing."""
        run = _RUN.fullmatch(self.mark)
        return run["needs"] if run else None

    @property
    def is_excused(self) -> bool:
        """Whether the page says why it is not run."""
        return re.fullmatch(r"not run: .{10,}", self.mark) is not None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page that are not within lists, with what they print."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        mark = match["mark"] or ""
        if mark == "prints":
            last = found.pop()
            found.append(Block(last.page, last.line, last.language, last.code, last.mark, match["code"]))
        else:
            line = text.count("\n", 0, match.start("code")) + 1
            found.append(Block(page, line, match["language"], match["code"], mark))
    return found


def missing_line(expected: str, printed: str) -> str | None:
    """The first expected line that is not among the printed ones after those before it."""
    lines = iter(printed.splitlines())
    for wanted in expected.splitlines():
        pattern = ".*".join(map(re.escape, wanted.split("…")))
        if not any(re.fullmatch(pattern, line) for line in lines):
            return wanted
    return None
