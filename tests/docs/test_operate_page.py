"""The page on operations: its example runs as it stands, and it names every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from pages import files, page, played, sessions

from kumofire_fsm.cli.commands import cli
from kumofire_fsm.values.limits import LOOK_ROWS, MATCH_RUNS, MOVE_RUNS, PRUNE_RUNS

PAGE = page("operate.md")


def test_the_example_runs(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["many.py", "kept.py"]
    python = [each for each in sessions(PAGE) if each[0].startswith("python ")]
    assert [each for each in played(PAGE, tmp_path) if each[0].startswith("python ")] == python


def test_every_command_of_the_nouns_is_named() -> None:
    command: Any = typer.main.get_command(cli)
    for noun in ("runs", "jobs", "schedules"):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `kumofire {noun}`")]
        assert [name for name in command.commands[noun].commands if f"`{name}`" not in row] == []


def test_the_bounds_that_it_says_are_those_of_the_code() -> None:
    assert f"Up to {MATCH_RUNS:,} runs are found by one command" in PAGE
    assert f"{MOVE_RUNS} runs are moved by one statement" in PAGE
    assert f"deletes up to {PRUNE_RUNS} runs" in PAGE
    assert f"the newest {LOOK_ROWS:,} runs" in PAGE
