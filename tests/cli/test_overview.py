"""``kumofire stats`` and ``kumofire doctor``: how a file is doing, and what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import Done, kumofire

from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.testing import VirtualClock

SHOP = """
from kumofire_fsm import Kumofire, RunMachine

app = Kumofire()

class Reviewed(RunMachine, machine="reviewed"):
    "Without the state that the earlier release has."

@app.job("kept")
def kept(ctx): ...

@app.job("pay", machine=Reviewed)
def pay(ctx): ...
"""


class Reviewed(RunMachine, machine="reviewed"):
    """As the earlier release has it."""

    review = State(role=Role.WAITING, waits=True)
    ask = Event(RunMachine.ready.to(review))
    pass_ = Event(review.to(RunMachine.ready))


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Done]]:
    """Run the command for the later release on jobs.db."""
    (tmp_path / "status_shop.py").write_text(SHOP)
    yield lambda *options: kumofire(
        tmp_path, "doctor", "--app", "status_shop:app", "--db", "jobs.db", *options
    )


def fill(path: Path, *names: str, review: bool = False, overdue: bool = True) -> None:
    """Store runs of these jobs as the earlier release did; they are due since 2020."""
    app = Kumofire()
    for name in {*names, "kept", "pay"}:
        app.job(name, machine=Reviewed if name == "pay" else RunMachine)(lambda ctx: None)

    async def store() -> None:
        async with app.open(path) as jobs:
            for name in names:
                run_id = (await jobs.create(name, delay=60 if review else None)).kumofire_job_run_id
                if review:
                    await jobs.fire(run_id, "ask")

    asyncio.run(store())
    with closing(sqlite3.connect(path)) as db, db:
        if overdue:
            db.execute("UPDATE kumofire_runs SET wake_at = 1600000000000 WHERE wake_at IS NOT NULL")


def checks(done: Done) -> dict[str, dict[str, object]]:
    return {each["check"]: each for each in json.loads(done.out)}


def test_what_is_as_it_should_be_exits_with_0(tmp_path: Path, doctor: Callable[..., Done]) -> None:
    fill(tmp_path / "jobs.db", "kept", "kept", overdue=False)
    done = doctor()
    assert done.code == 0
    assert done.out.splitlines() == [
        "ok     schema        schema 1",
        "ok     edges         all of reviewed",
        "ok     deadlines     none is past for more than a minute",
        "ok     schedules     0 active, none late",
        "ok     clocks        nothing was written ahead of this clock",
        "ok     unknown work  nothing",
        "ok     states        all are known, of those with a deadline, and the newest 10,000",
        "ok     sweep         would fire now: 2 start",
    ]


def test_what_nobody_knows_exits_with_1_and_is_told(tmp_path: Path, doctor: Callable[..., Done]) -> None:
    fill(tmp_path / "jobs.db", "mail", "mail")
    done = doctor("--json")
    assert done.code == 1
    found = checks(done)
    why = "no such job is registered; register it, or name it in aliases= of the job that replaced it"
    assert found["unknown work"]["what"] == [
        f"2 runs of job 'mail' in 'queued', due since 2020-09-13 12:26:40 UTC, will not go on here: {why}"
    ]
    assert found["deadlines"]["what"] == [
        "2 runs of job 'mail' in 'queued', the first since 2020-09-13 12:26:40 UTC"
    ]
    assert [name for name, each in found.items() if not each["fine"]] == ["deadlines", "unknown work"]


def test_without_the_application_it_finds_the_same_but_for_what_only_that_can_tell(tmp_path: Path) -> None:
    fill(tmp_path / "jobs.db", "mail")
    done = kumofire(tmp_path, "doctor", "--db", "jobs.db")
    assert done.code == 1
    assert "ok     unknown work  not looked for: it takes the application" in done.out
    assert "WRONG  deadlines     1 run of job 'mail' in 'queued'" in done.out
    assert "                     -> see whether a worker runs that knows the job" in done.out


def test_deadlines_of_a_paused_job_are_told_and_are_fine(tmp_path: Path) -> None:
    fill(tmp_path / "jobs.db", "kept")
    assert kumofire(tmp_path, "jobs", "pause", "kept", "--db", "jobs.db").code == 0
    done = kumofire(tmp_path, "doctor", "--db", "jobs.db")
    assert (done.code, "(the job is paused)" in done.out) == (0, True)


@pytest.mark.parametrize("full", [[], ["--full"]])
def test_a_state_that_is_gone_is_told_although_it_has_no_deadline(
    tmp_path: Path, doctor: Callable[..., Done], full: list[str]
) -> None:
    fill(tmp_path / "jobs.db", "pay", "pay", review=True)
    done = doctor("--json", *full)
    assert (done.code, checks(done)["states"]["what"]) == (
        1, ["2 runs in 'review', which the machine 'reviewed' no longer has"],
    )  # fmt: skip


def test_a_clock_that_is_ahead_is_told(tmp_path: Path, doctor: Callable[..., Done]) -> None:
    app = Kumofire(clock=VirtualClock(datetime.now(UTC) + timedelta(hours=2)))
    app.job("kept")(lambda ctx: None)
    with app.open_sync(tmp_path / "jobs.db") as jobs:
        run_id = jobs.create("kept").kumofire_job_run_id
    (what,) = checks(doctor("--json"))["clocks"]["what"]
    assert re.fullmatch(rf"run {run_id} was written (1 h 59 min|2 h 00 min) ahead of this clock", what)


def test_edges_that_the_database_does_not_know_are_told(tmp_path: Path, doctor: Callable[..., Done]) -> None:
    app = Kumofire()
    app.job("kept")(lambda ctx: None)
    with app.open_sync(tmp_path / "jobs.db"):
        pass
    found = checks(doctor("--json"))["edges"]
    assert (found["fine"], "not known to the database" in found["what"][0]) == (False, True)
    assert "kumofire migrate MODULE:APP" in found["mend"]


def test_a_schedule_that_is_set_aside_is_told_with_its_error(
    tmp_path: Path, doctor: Callable[..., Done]
) -> None:
    app = Kumofire()
    app.job("kept")(lambda ctx: None)
    with app.open_sync(tmp_path / "jobs.db") as jobs:
        jobs.create_schedule("kept", every=3600, schedule_key="hourly")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db, db:
        db.execute("UPDATE kumofire_schedules SET state = 'suspended', wake_at = NULL, error = 'broken'")
    found = checks(doctor("--json"))["schedules"]
    assert (found["fine"], found["what"]) == (False, ["hourly of job 'kept' is set aside: broken"])


def test_a_database_without_a_schema_is_told_and_nothing_else(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db, db:
        db.execute("CREATE TABLE other (id)")
    done = kumofire(tmp_path, "doctor", "--db", "jobs.db", "--json")
    assert done.code == 1
    (schema,) = json.loads(done.out)
    assert (schema["check"], schema["fine"]) == ("schema", False)
    assert "kumofire migrate MODULE:APP" in schema["mend"]


@pytest.mark.parametrize("command", ["doctor", "stats"])
def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, command: str) -> None:
    done = kumofire(tmp_path, command, "--db", "jobs.db")
    assert (done.code, done.out) == (2, "")
    assert "there is no database" in done.err
    assert not (tmp_path / "jobs.db").exists()


def test_stats_are_told_for_people_and_as_json(tmp_path: Path) -> None:
    fill(tmp_path / "jobs.db", "mail", "mail", "kept", overdue=False)
    lines = kumofire(tmp_path, "stats", "--db", "jobs.db", "--utc").out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["JOB", "STATE", "RUNS"], ["kept", "queued", "1"], ["mail", "queued", "2"],
    ]  # fmt: skip
    told = dict(re.findall(r"^(oldest due|lag|throughput) +(.*)$", "\n".join(lines), re.MULTILINE))
    assert re.match(r"[\d.]+ m?s, of job 'mail': since ", told["oldest due"])
    assert told["lag"] == "nothing was started"
    assert told["throughput"].startswith("3 created, 0 settled since ")
    found = json.loads(kumofire(tmp_path, "stats", "--db", "jobs.db", "--json").out)
    assert found["jobs"] == [
        {"name": "kept", "states": {"queued": 1}, "at_least": []},
        {"name": "mail", "states": {"queued": 2}, "at_least": []},
    ]
    assert (found["created"], found["lag"], found["errors"]) == (3, None, [])


def test_stats_of_an_empty_file_say_so(tmp_path: Path) -> None:
    fill(tmp_path / "jobs.db")
    done = kumofire(tmp_path, "stats", "--db", "jobs.db", "--utc")
    assert (done.code, done.out.splitlines()[0], "oldest due    none" in done.out) == (
        0,
        "JOB  STATE  RUNS",
        True,
    )


def test_a_window_that_is_none_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "jobs.db")
    done = kumofire(tmp_path, "stats", "--db", "jobs.db", "--window", "an hour")
    assert (done.code, "--window must be a duration such as 90s" in done.err) == (2, True)
