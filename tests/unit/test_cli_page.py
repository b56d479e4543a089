"""docs/command_line.md says of every command what the command says of itself."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from s2s_algo.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
S2S = Path(sys.executable).with_name("s2s")


def commands(group=main, path=("s2s",)):
    """Every command that does something, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def section(words, command):
    """What the page has to say: the first paragraph of the help and its examples."""
    paragraphs = inspect.cleandoc(command.help).split("\n\n")
    blocks = "\n\n".join(paragraphs[1:]).split("\b\n")[1:]
    lines = [f"### `{words}`", "", " ".join(paragraphs[0].split()), ""]
    for block in blocks:
        title, _, example = block.strip().partition("\n")
        lines += [] if title == "Example:" else [title, ""]
        code = inspect.cleandoc(example)
        head = ["<!-- run: job -->", "```bash"] if "s2s " in code else ["```yaml"]
        lines += [*head, code, "```", ""]
    return "\n".join(lines)


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_an_example_of_itself(words):
    help_text = inspect.cleandoc(COMMANDS[words].help)
    assert "\b\nExample:\n" in help_text
    example = help_text.split("\b\nExample:\n")[1].strip().splitlines()[0]
    assert words in example


@pytest.mark.parametrize("words", COMMANDS)
def test_the_page_says_what_the_help_says(words):
    assert section(words, COMMANDS[words]) in PAGE.read_text(encoding="utf-8")


def test_the_page_tells_of_no_other_command():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line[5:-1] for line in lines if line.startswith("### ")] == list(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_the_options_in_an_example_exist(words):
    options = {name for parameter in COMMANDS[words].params for name in parameter.opts}
    for block in COMMANDS[words].help.split("\b\n")[1:]:
        for line in block.splitlines():
            if words in line:
                used = line.split(words, 1)[1].split()
                assert {word for word in used if word.startswith("-")} <= options


def complete(shell, **more):
    environment = {**os.environ, "_S2S_COMPLETE": shell, **more}
    return subprocess.run([S2S], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_of_each_shell_is_on_the_page_and_works(shell):
    assert f"_S2S_COMPLETE={shell}_source s2s" in PAGE.read_text(encoding="utf-8")
    done = complete(f"{shell}_source")
    assert done.returncode == 0, done.stderr
    assert "_s2s_completion" in done.stdout


def test_commands_and_options_are_completed():
    done = complete("bash_complete", COMP_WORDS="s2s tra", COMP_CWORD="1")
    assert done.stdout.split() == ["plain,train", "plain,translate"]
    done = complete("bash_complete", COMP_WORDS="s2s translate --pre", COMP_CWORD="2")
    assert done.stdout.split() == ["plain,--precision"]
