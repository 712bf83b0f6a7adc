"""``kumofire prune``: deletes settled runs of a file by their age."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import Done, Terminal, kumofire

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.cli.many import CHUNK
from kumofire_fsm.testing import VirtualClock


def fill(folder: Path, number: int) -> str:
    """Store so many runs that were canceled nine days ago, one that waits since then, and a new one."""
    app = Kumofire(clock=VirtualClock(datetime.now(UTC) - timedelta(days=9)))
    app.job("mail")(lambda ctx: None)
    with app.open_sync(folder / "jobs.db") as jobs:
        jobs.create_many([NewRun("mail", delay=3600)] * number)
        jobs.fire_all(jobs.match_runs("cancel"))
        waits: str = jobs.create("mail", delay=86_400 * 30).kumofire_job_run_id
    return waits


def call(folder: Path, *arguments: str, says: str | None = None) -> Done:
    stdin = None if says is None else Terminal(says)
    return kumofire(folder, "prune", *arguments, "--db", "jobs.db", stdin=stdin)


def left(folder: Path) -> list[str]:
    found = json.loads(kumofire(folder, "runs", "list", "--limit", "500", "--db", "jobs.db", "--json").out)
    return [run["kumofire_job_run_id"] for run in found["runs"]]


def test_what_settled_longer_ago_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    waits = fill(tmp_path, 3)
    assert call(tmp_path, "--older-than", "10d", "--yes") == Done(0, "deleted 0 runs\n")
    assert json.loads(call(tmp_path, "--older-than", "1w", "--yes", "--json").out) == {"deleted": 3}
    assert left(tmp_path) == [waits]


def test_more_than_one_chunk_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path, CHUNK + 1)
    assert call(tmp_path, "--older-than", "1d", "--yes").out == f"deleted {CHUNK + 1:,} runs\n"


def test_what_unsettled_runs_hide_on_every_side_is_deleted_too(tmp_path: Path) -> None:
    clock = VirtualClock(datetime.now(UTC) - timedelta(days=9))
    app = Kumofire(clock=clock)
    app.job("mail")(lambda ctx: None)
    with app.open_sync(tmp_path / "jobs.db") as jobs:
        for settled in (0, 2, 0, 3, 0):
            jobs.create_many([NewRun("mail", delay=86_400 * 30)] * 5_100)
            clock.advance(hours=1)
            for _ in range(settled):
                jobs.cancel(jobs.create("mail").kumofire_job_run_id)
            clock.advance(hours=1)
        clock.advance(days=8)
        recent = jobs.create("mail").kumofire_job_run_id
        jobs.cancel(recent)
    assert call(tmp_path, "--older-than", "3d", "--yes").out == "deleted 5 runs\n"
    with app.open_sync(tmp_path / "jobs.db") as jobs:
        found = jobs.list_runs(state="canceled")
        assert [run.kumofire_job_run_id for run in found.runs] == [recent]
        assert jobs.count_runs() == {"ready": 10_000, "canceled": 1}


def test_a_person_is_asked(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    refused = call(tmp_path, "--older-than", "1d", says="n\n")
    assert (refused.code, refused.out.strip(), len(left(tmp_path))) == (1, "nothing was changed", 2)
    assert "delete every run that settled more than 1d ago, for good? [y/N]" in refused.err
    assert call(tmp_path, "--older-than", "1d", says="y\n").out.strip() == "deleted 1 runs"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--older-than", "1d"], "nobody sits at a terminal"),
        (["--older-than", "soon", "--yes"], "--older-than must be a duration"),
        (["--yes"], "Missing option '--older-than'"),
    ],
)
def test_bad_input_deletes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    fill(tmp_path, 1)
    done = call(tmp_path, *arguments)
    assert (done.code, done.out, said in done.err) == (2, "", True)
    assert len(left(tmp_path)) == 2
