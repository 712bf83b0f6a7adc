"""The pages for coding assistants: the program runs, every name exists, and every page is listed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from pages import ROOT, files, links, page, played, sessions

import kumofire_fsm
from kumofire_fsm import errors

PAGE = page("AGENTS.md")
LIST = page("llms.txt")
OWNERS = {"app": kumofire_fsm.Kumofire, "jobs": kumofire_fsm.EmbeddedJobs, "ctx": kumofire_fsm.RunContext}


def test_the_program_prints_what_the_page_says(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["mail.py", "main.py"]
    assert played(PAGE, tmp_path) == sessions(PAGE)


@pytest.mark.parametrize("owner", OWNERS)
def test_every_call_that_the_page_names_exists(owner: str) -> None:
    named = set(re.findall(rf"\b{owner}\.(?!md\b)(\w+)", PAGE))
    assert named
    fields = {"run", "attempt", "jobs", "env"}  # set in the constructor
    assert [name for name in named - fields if not hasattr(OWNERS[owner], name)] == []


def test_every_error_and_module_that_the_page_names_exists() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [name for name in named if name not in errors.__all__] == []
    modules = [
        f"kumofire_fsm{name}" for name in ("", ".flows", ".machines", ".testing", ".errors", ".cloudflare")
    ]
    for text in (PAGE, LIST):
        assert [name for name in modules if f"`{name}`" not in text] == []
    assert all(importlib.util.find_spec(name) for name in modules)


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert [name for name in re.findall(r"`make (\w+)`", PAGE) if f"\n{name}:" not in makefile] == []


def test_the_list_names_every_page_and_nothing_that_is_not_there() -> None:
    assert re.match(r"# kumofire_fsm\n\n> .+\n", LIST)
    assert sorted(set(links(LIST))) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))
