"""What a database holds steers no terminal: every command prints it with control characters escaped."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unicodedata import category

import pytest
from commands import kumofire

import kumofire_fsm.cli
from kumofire_fsm import Fail, Kumofire
from kumofire_fsm.cli.terminal import PrintableFormatter
from kumofire_fsm.values.printable import one_line, printable, shown

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\r\b\u202e\u2028"
"""Clears the screen, sets the title, turns red, goes back to the line's beginning, and writes backwards."""
LINES = "line\nrun           not-the-run"
APP = """
from kumofire_fsm import Kumofire

app = Kumofire()

@app.job("kept")
def kept(ctx): ...
"""


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder with a file in which every text is evil, and the id of a run in it."""
    (tmp_path / "printable_shop.py").write_text(APP)
    app, name = Kumofire(), f"job {EVIL}\n{LINES}"

    @app.job(name, max_attempts=1)
    async def job(ctx: Any, payload: Any) -> None:
        await ctx.heartbeat({EVIL: LINES})
        raise Fail(f"{EVIL}{LINES}{EVIL}")

    async def live() -> str:
        async with app.open(tmp_path / "jobs.db") as jobs:
            worker = asyncio.ensure_future(jobs.run())
            tags = [f"{EVIL}a", LINES]
            run_id = (
                await jobs.create(name, 1, tags=tags, dedupe_key=f"key {EVIL}\n{LINES}")
            ).kumofire_job_run_id
            await jobs.wait(run_id, timeout=600)
            await jobs.cancel((await jobs.create(name, 1, delay=60)).kumofire_job_run_id, by=EVIL, note=LINES)
            await jobs.pause_job(name, by=EVIL, note=f"{EVIL}\n{LINES}")
            await jobs.create_schedule(name, 1, every=3600, schedule_key=f"schedule {EVIL}\n{LINES}")
            worker.cancel()
            await asyncio.wait([worker])
            return run_id

    run_id = asyncio.run(live())
    yield tmp_path, run_id


def steers(text: str) -> bool:
    kinds = {"Cc", "Cs", "Zl", "Zp"}
    return any(letter == "\u202e" or (letter != "\n" and category(letter) in kinds) for letter in text)


def test_a_run_is_shown_without_anything_that_steers(stored: tuple[Path, str]) -> None:
    folder, run_id = stored
    done = kumofire(folder, "runs", "show", run_id, "--db", "jobs.db")
    assert done.code == 0
    assert not steers(done.out)
    assert r"\u001b[2J" in done.out
    assert sum(line.startswith("run  ") for line in done.out.splitlines()) == 1  # no line can be forged


def test_json_is_the_same_json(stored: tuple[Path, str]) -> None:
    folder, run_id = stored
    done = kumofire(folder, "runs", "show", run_id, "--db", "jobs.db", "--json")
    assert not steers(done.out)
    status = json.loads(done.out)
    assert status["tags"] == [f"{EVIL}a", LINES]
    assert status["progress"] == {EVIL: LINES}


def test_lists_stats_and_doctor_are_shown_so_too(stored: tuple[Path, str]) -> None:
    folder, _ = stored
    with closing(sqlite3.connect(folder / "jobs.db")) as db, db:
        db.execute("UPDATE kumofire_schedules SET wake_at = 1")
    for arguments in (
        ("schedules", "list"),
        ("jobs", "list"),
        ("runs", "list"),
        ("stats",),
        ("doctor", "--app", "printable_shop:app"),
    ):
        done = kumofire(folder, *arguments, "--db", "jobs.db")
        assert not steers(done.out + done.err)
        assert "\\u001b[2J" in done.out or "\\x1b[2J" in done.out
        assert LINES not in done.out


def test_a_picture_of_its_path_is_drawn(stored: tuple[Path, str]) -> None:
    folder, run_id = stored
    done = kumofire(folder, "runs", "show", run_id, "--db", "jobs.db", "--diagram", "path.svg")
    assert done.code == 0
    assert not steers((folder / "path.svg").read_text())


def test_an_error_that_quotes_a_database_is_shown_so_too(stored: tuple[Path, str]) -> None:
    folder, run_id = stored
    with closing(sqlite3.connect(folder / "jobs.db")) as db, db:
        db.execute("DROP TRIGGER kumofire_runs_version")
        db.execute("UPDATE kumofire_runs SET machine = ?", (f"run {EVIL}",))
    done = kumofire(folder, "runs", "show", run_id, "--db", "jobs.db", "--diagram", "path.svg")
    assert done.code == 2
    assert done.err.startswith("kumofire: run ")
    assert not steers(done.err)


def test_a_workers_log_is_written_so_too() -> None:
    record = logging.LogRecord("kumofire_fsm", logging.ERROR, "x.py", 1, "failed: %s", (EVIL + LINES,), None)
    said = PrintableFormatter("%(levelname)s %(message)s").format(record)
    assert said.startswith(r"ERROR failed: \u001b[2J")
    assert not steers(said)


def test_there_is_one_place_that_prints() -> None:
    folder = Path(kumofire_fsm.cli.__file__).parent
    prints = [
        (file.name, node.lineno)
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.echo", "typer.secho", "print")
    ]
    assert [name for name, _ in prints] == ["terminal.py"]


@pytest.mark.parametrize(
    ("text", "lines", "line"),
    [
        ("plain é 🦶 مرحبا", "plain é 🦶 مرحبا", "plain é 🦶 مرحبا"),
        ("a\nb\tc\rd", "a\nb\\tc\\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "\\u001b[31m", "\\u001b[31m"),
        ("\x85\u2028\u2029", "\\u0085\\u2028\\u2029", "\\u0085\\u2028\\u2029"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066", "\\u202eabc\\u2066"),
        ("\ud800", "\\ud800", "\\ud800"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_control_characters_are_escaped_as_json_escapes_them(text: str, lines: str, line: str) -> None:
    assert (printable(text), one_line(text)) == (lines, line)


class Refuses:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a", "'a'"),
        (5, "5"),
        (None, "None"),
        (10**5000, "<int>"),
        (Refuses(), "<Refuses instance at"),
        ([Refuses()], "[<Refuses instance at"),
        ("x" * 10**7, "'xxx"),
        ([1] * 10**6, "[1, 1, 1, 1, 1, 1, ...]"),
        ({"a": "b" * 10**6}, "{'a': 'bbb"),
        ("\x1b", "'\\x1b'"),
    ],
    ids=range(10),
)
def test_what_an_error_shows_of_an_argument_is_short_whatever_it_is(value: Any, says: str) -> None:
    assert shown(value).startswith(says)
    assert len(shown(value)) <= 203
