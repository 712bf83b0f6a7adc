"""Reads the documentation's pages: their files, their console sessions, their sections and links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from scripts import ROOT, run_python

__all__ = ["ROOT", "anchors", "files", "links", "page", "played", "sections", "sessions"]

PROGRAMS = {"kumofire": ["-m", "kumofire_fsm.cli"], "python": []}


def page(name: str) -> str:
    """Return the text of a page in docs/."""
    return (ROOT / "docs" / name).read_text("utf-8")


def files(text: str) -> dict[str, str]:
    """Return the Python files of a page: each begins with its name in a comment."""
    found = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert text.count("```python\n") == len(found), "a Python example does not begin with its file's name"
    return dict(found)


def sessions(text: str) -> list[tuple[str, str]]:
    """Return each command of a page's console sessions, and what it prints."""
    found = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [
        each for session in found for each in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE)
    ]


def played(text: str, folder: Path) -> list[tuple[str, str]]:
    """Run the commands of a page in their order, in a folder with its files; return what each printed."""
    for name, source in files(text).items():
        (folder / name).write_text(source)
    printed = []
    for command, _ in sessions(text):
        program, *arguments = shlex.split(command)
        done = run_python(folder, *PROGRAMS[program], *arguments)
        assert (done.returncode, done.stderr) == (0, ""), command
        printed.append((command, done.stdout))
    return printed


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```\n", "", text, flags=re.DOTALL | re.MULTILINE)


def sections(text: str, level: int = 2) -> dict[str, str]:
    """Return the sections of a page by their headings of a level."""
    mark = "#" * level
    parts = re.split(rf"^{mark} (.*)\n", prose(text), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """Return the targets of a page's links and pictures that do not lead to another site."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))
    return [target for target in found if not re.match(r"[a-z]+:", target)]
