"""Every page is in the index, every link leads somewhere, and every command that a page shows exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from pages import ROOT, anchors, links, page

from kumofire_fsm.cli.commands import cli

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "diagrams" / "lifecycles.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((ROOT / "examples").glob("**/*.md")),
    *sorted((ROOT / "tests").glob("*/README.md")),
]
COMMAND = typer.main.get_command(cli)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shown_commands(text: str) -> list[str]:
    """Return the commands of ours in a page's blocks of shell and console; continued lines are joined."""
    blocks = re.findall(
        r"^```(?:sh|console|make)\n(.*?)^```", text.replace("\\\n", " "), re.DOTALL | re.MULTILINE
    )
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [
        match[1]
        for line in lines
        if (match := re.match(r"\s*(?:\$ |uv run )?(kumofire .*?)(?:\s+#.*)?$", line))
    ]


def test_the_index_names_every_page_once() -> None:
    listed = [target for target in links(page("index.md")) if not target.startswith("../")]
    assert sorted(listed) == sorted(
        ["llms.txt", *(path.name for path in DOCS.glob("*.md") if path.name != "index.md")]
    )


def test_the_index_has_the_order_in_which_a_newcomer_reads() -> None:
    first = re.findall(r"^\d+\. \[[^]]+\]\((\w[\w-]*)\.md\)", page("index.md"), re.MULTILINE)
    assert first == [
        "tutorial",
        "jobs",
        "schedules",
        "lifecycles",
        "cloudflare",
        "guarantees",
        "glossary",
        "how-it-works",
    ]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    broken = []
    for target in links(text):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_that_a_page_shows_exists_with_its_options(path: Path) -> None:
    for line in shown_commands(path.read_text("utf-8")):
        name, *arguments = shlex.split(line)
        command: Any = COMMAND
        context = click.Context(command, info_name=name)
        while isinstance(command, click.Group) or hasattr(command, "commands"):
            command = command.commands[arguments[0]]
            arguments = arguments[1:]
        assert command.make_context(command.name, arguments, parent=context), line


def test_the_readme_s_commands_are_among_those_checked() -> None:
    commands = shown_commands((ROOT / "README.md").read_text("utf-8"))
    assert [command.split()[1] for command in commands] == ["worker", "runs", "stats"]
