"""``kumofire schedules``: show, pause, resume, end, trigger and preview a recurring job of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from commands import Done, kumofire

from kumofire_fsm.cli.loading import load_app

SHOP = """
from kumofire_fsm import Kumofire

app = Kumofire()

@app.schedule(cron="0 5 * * *", timezone="Asia/Tokyo", key="daily")
@app.job("report")
def report(ctx): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report_shop.py").write_text(SHOP)
    with load_app("report_shop:app").open_sync("jobs.db", sync_schedules=True):
        pass
    yield tmp_path


def call(folder: Path, *arguments: str) -> Done:
    return kumofire(folder, "schedules", *arguments, "--db", "jobs.db")


def test_a_schedule_is_shown_by_its_key_and_by_its_id(folder: Path) -> None:
    (listed,) = json.loads(call(folder, "list", "--json").out)
    shown = call(folder, "show", "daily", "--utc")
    assert shown == call(folder, "show", listed["id"], "--utc")
    lines = dict(line.split(maxsplit=1) for line in shown.out.split("\n\nhistory\n")[0].splitlines())
    assert (lines["schedule"], lines["state"], lines["rule"]) == ("daily", "active", "0 5 * * * Asia/Tokyo")
    assert lines["next"].endswith(" 20:00:00 UTC")
    assert json.loads(call(folder, "show", "daily", "--json").out) == listed


def test_a_schedule_is_paused_resumed_and_ended(folder: Path) -> None:
    assert call(folder, "pause", "daily") == Done(0, "daily  paused\n")
    assert call(folder, "pause", "daily").code == 0, "twice is harmless"
    assert call(folder, "resume", "daily", "--utc").out.startswith("daily  active  next ")
    ended = json.loads(call(folder, "end", "daily", "--json").out)
    assert (ended["state"], ended["next_at"]) == ("ended", None)
    assert call(folder, "preview", "daily") == Done(0, "no occurrence is left\n")


def test_who_says_so_and_why_is_shown_in_its_history(folder: Path) -> None:
    said = ["--by", "ann", "--note", "the server is down"]
    assert call(folder, "pause", "daily", *said) == Done(0, "daily  paused\n")
    shown = call(folder, "show", "daily").out.splitlines()[-1]
    assert (shown.split()[1], shown.endswith('{"by": "ann", "note": "the server is down"}')) == (
        "pause",
        True,
    )
    resumed = json.loads(call(folder, "resume", "daily", "--by", "ben", "--json").out)
    ended = json.loads(call(folder, "end", "daily", "--note", "over", "--json").out)
    assert resumed["history"][-1]["facts"] == {"by": "ben"}
    assert ended["history"][-1]["facts"] == {"note": "over"}
    triggered = call(folder, "trigger", "daily", "--app", "report_shop:app", *said)
    (run,) = json.loads(kumofire(folder, "runs", "list", "--db", "jobs.db", "--json").out)["runs"]
    assert (run["kumofire_job_run_id"], run["history"][0]["facts"]) == (
        triggered.out.strip(),
        {"by": "ann", "note": "the server is down"},
    )


def test_the_next_occurrences_of_a_stored_schedule_are_shown(folder: Path) -> None:
    first, second = call(folder, "preview", "daily", "-n", "2", "--utc").out.splitlines()
    assert (first[11:], second[11:]) == ("20:00:00 UTC", "20:00:00 UTC")
    found = json.loads(call(folder, "preview", "daily", "-n", "2", "--json").out)
    assert [datetime.fromisoformat(each).strftime("%Y-%m-%d %H:%M:%S") for each in found] == [
        first[:19], second[:19],
    ]  # fmt: skip


def test_a_run_of_a_schedule_is_made_at_once(folder: Path) -> None:
    run_id = call(folder, "trigger", "daily", "--app", "report_shop:app").out.strip()
    (run,) = json.loads(kumofire(folder, "runs", "list", "--db", "jobs.db", "--json").out)["runs"]
    assert (run["kumofire_job_run_id"], run["name"], run["scheduled_for"]) == (run_id, "report", None)
    assert json.loads(call(folder, "trigger", "daily", "--app", "report_shop:app", "--json").out)["is_new"]


BAD = {
    "show nothing": "no schedule with the id or key 'nothing' exists",
    "pause nothing": "no schedule with schedule_key 'nothing' exists",
    "resume daily --missed some": "missed must be 'skip', 'latest' or 'all'; found 'some'",
    "trigger daily --app nothing": "'nothing' must be MODULE:APP",
    "trigger nothing --app report_shop:app": "no schedule with schedule_key 'nothing' exists",
    "preview nothing": "no schedule with schedule_key 'nothing' exists",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, command: str) -> None:
    before = call(folder, "list", "--json")
    done = call(folder, *command.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert BAD[command] in done.err
    assert call(folder, "list", "--json") == before


def test_an_ended_schedule_is_not_resumed(folder: Path) -> None:
    call(folder, "end", "daily")
    done = call(folder, "resume", "daily")
    assert (done.code, "'resume' is not allowed from 'ended'" in done.err) == (2, True)


def test_a_preview_of_an_expression_is_json_too(tmp_path: Path) -> None:
    done = kumofire(
        tmp_path, "schedules", "preview", "0 5 * * *", "--from", "2026-01-01T00:00", "-n", "1", "--json"
    )
    assert json.loads(done.out) == ["2026-01-01T05:00:00+00:00"]
