"""``kumofire status``: what stands where in a file, and what the code does not know of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import Done, kumofire

from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.machines import Event, Role, State

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
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Done]]:
    """Run the command for the later release on jobs.db."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "status_shop.py").write_text(SHOP)
    yield lambda *options: kumofire(tmp_path, "status", "status_shop:app", "--db", "jobs.db", *options)
    sys.modules.pop("status_shop", None)


def fill(path: Path, *names: str, review: bool = False) -> None:
    """Store runs of these jobs as the earlier release did, some days ago."""
    app = Kumofire()
    for name in {*names, "kept"}:
        app.job(name, machine=Reviewed if name == "pay" else RunMachine)(lambda ctx: None)

    async def store() -> None:
        async with app.open(path) as jobs:
            for name in names:
                run_id = (await jobs.create(name, delay=60 if review else None)).kumofire_job_run_id
                if review:
                    await jobs.fire(run_id, "ask")

    asyncio.run(store())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE kumofire_runs SET wake_at = 1600000000000 WHERE wake_at IS NOT NULL")


def test_what_is_known_exits_with_0(tmp_path: Path, status: Callable[..., Done]) -> None:
    fill(tmp_path / "jobs.db", "kept", "kept")
    assert status() == Done(0, "runs       2 queued\nschedules  none\nunknown    nothing\n")


def test_what_nobody_knows_exits_with_1_and_is_told(tmp_path: Path, status: Callable[..., Done]) -> None:
    fill(tmp_path / "jobs.db", "mail", "mail", "kept")
    why = "no such job is registered; register it, or name it in aliases= of the job that replaced it"
    assert status() == Done(
        1,
        "runs       3 queued\nschedules  none\nunknown\n  2 runs of job 'mail' in 'queued', due since 2020-09-13 "
        f"12:26:40 UTC, will not go on here: {why}\n",
    )


def test_a_state_that_is_gone_is_told_although_it_has_no_deadline(
    tmp_path: Path, status: Callable[..., Done]
) -> None:
    fill(tmp_path / "jobs.db", "pay", "pay", review=True)
    assert status() == Done(
        1,
        "runs       2 review\nschedules  none\nunknown\n"
        "  runs in 'review', which the machine 'reviewed' no longer has: 2\n",
    )


def test_json_has_all_of_it(tmp_path: Path, status: Callable[..., Done]) -> None:
    fill(tmp_path / "jobs.db", "mail")
    done = status("--json")
    assert (done.code, json.loads(done.out)) == (
        1,
        {
            "runs": {"queued": 1},
            "schedules": {},
            "unknown": [
                {
                    "kind": "runs", "why": "job", "name": "mail", "machine": "run", "state": "queued",
                    "number": 1, "more": False, "since": "2020-09-13T12:26:40+00:00",
                }
            ],
            "gone": [],
        },
    )  # fmt: skip


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, status: Callable[..., Done]) -> None:
    done = status()
    assert (done.code, done.out) == (2, "")
    assert "there is no database" in done.err
    assert not (tmp_path / "jobs.db").exists()
