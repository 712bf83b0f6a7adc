"""The page on operations: its examples run as they stand, its runbook too, and it names every command."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import typer
from commands import kumofire
from pages import files, page, sections, sessions
from scripts import run_python
from stub_wrangler import StubWrangler

from kumofire_fsm.cli.commands import cli
from kumofire_fsm.values.limits import LOOK_ROWS, MATCH_RUNS, MOVE_RUNS, PRUNE_RUNS

PAGE = page("operate.md")
ENDS_WITH_1 = ("kumofire doctor", "kumofire runs watch")
"""The night's commands that find something wrong, as the page says."""
VARIES = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "RUN",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})? UTC": "TIME",
    r"\+?\d+ (h|min) \d\d (min|s)|\+?[\d.]+ m?s\b": "WHILE",
    r'"by": "[^"]+:\d+"': "WORKER",
    r'File "[^"]*/?night\.py"': "FILE",
    r"\d+ rows read, \d+ written": "ROWS",
    r" +": " ",
}


def written(name: str, folder: Path) -> None:
    (folder / name).write_text(files(PAGE)[name])


def same(text: str) -> str:
    """Return what a command prints in every night: without ids, instants and durations."""
    for varies, stands in VARIES.items():
        text = re.sub(varies, stands, text)
    return text


def test_the_examples_run(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["many.py", "kept.py", "night.py"]
    (session,) = [each for each in sessions(PAGE) if each[0].startswith("python ")]
    for name in ("many.py", "kept.py"):
        written(name, tmp_path)
        done = run_python(tmp_path, name)
        assert (done.returncode, done.stderr) == (0, "")
        if session[0] == f"python {name}":
            assert done.stdout == session[1]


def test_every_command_of_the_runbook_prints_what_the_page_shows(tmp_path: Path) -> None:
    written("night.py", tmp_path)
    assert run_python(tmp_path, "night.py").returncode == 0
    listed = kumofire(tmp_path, "runs", "list", "--state", "failed", "--db", "night.db", "--json")
    run_id = json.loads(listed.out)["runs"][0]["kumofire_job_run_id"]
    shutil.copy(tmp_path / "night.db", StubWrangler(tmp_path).database())
    night = [each for each in sessions(PAGE) if each[0].startswith("kumofire ")]
    for command, shown in night:
        _, *arguments = shlex.split(command.replace(" ID ", f" {run_id} "))
        done = kumofire(tmp_path, *arguments)
        assert done.code == int(command.startswith(ENDS_WITH_1)), command
        assert bool(done.err) == ("--d1" in arguments), command
        assert same(done.out + done.err) == same(shown), command


def test_the_runbook_has_ten_questions_each_with_a_command() -> None:
    _, runbook = PAGE.split("\n## Runbook\n")
    parts = re.split(r"^### ", runbook, flags=re.MULTILINE)[1:]
    assert [part.split(". ")[0] for part in parts] == [str(number) for number in range(1, 11)]
    assert [part.split("\n")[0] for part in parts if not part.split("\n")[0].endswith("?")] == []
    assert [part for part in parts if not sessions(part)] == []


def test_every_command_of_the_nouns_is_named() -> None:
    command: Any = typer.main.get_command(cli)
    for noun in ("runs", "jobs", "schedules"):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `kumofire {noun}`")]
        assert [name for name in command.commands[noun].commands if f"`{name}`" not in row] == []


def test_the_commands_of_its_table_take_json_as_it_says() -> None:
    command: Any = typer.main.get_command(cli)
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| the whole |")]
    found = {name: command.commands[name] for name in re.findall(r"`(\w+)`", row)}
    for noun in ("runs", "jobs", "schedules"):
        found |= {f"{noun} {name}": each for name, each in command.commands[noun].commands.items()}
    without = [name for name, each in found.items() if not any("--json" in p.opts for p in each.params)]
    assert without == ["backup"]


def test_the_limits_that_it_says_are_those_of_the_code() -> None:
    assert f"Up to {MATCH_RUNS:,} runs are found by one command" in PAGE
    assert f"{MOVE_RUNS} runs are moved by one statement" in PAGE
    assert f"deletes up to {PRUNE_RUNS} runs" in PAGE
    assert f"the newest {LOOK_ROWS:,} runs" in PAGE
    assert "Retention" in sections(PAGE)
