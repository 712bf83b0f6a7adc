"""A worker that serves some jobs only starts their runs, and leaves the others to another worker."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from kumofire_fsm import InvalidArgument, Kumofire
from kumofire_fsm.errors import UnknownJob


def shop() -> Kumofire:
    app = Kumofire()
    for name, aliases in (("mail", ["letter"]), ("report", [])):
        app.job(name, aliases=aliases)(lambda ctx: None)
    return app


async def test_each_worker_starts_the_runs_of_its_jobs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kumofire_fsm")
    app = shop()
    async with app.open(tmp_path / "jobs.db") as first, shop().open(tmp_path / "jobs.db") as second:
        mail = (await first.create("mail")).kumofire_job_run_id
        report = (await first.create("report")).kumofire_job_run_id
        worker = asyncio.ensure_future(first.run(jobs=["report"]))
        assert (await first.wait(report, timeout=600)).state == "succeeded"
        status: Any = await first.get_status(mail)
        assert (status.state, status.unknown) == ("queued", None), "it is known here, and left alone"
        assert "a worker starts: 100 handlers at once; jobs: report; left to others: mail" in caplog.messages
        other = asyncio.ensure_future(second.run(jobs=["letter"]))
        assert (await first.wait(mail, timeout=600)).state == "succeeded"
        for each in (worker, other):
            each.cancel()
        await asyncio.wait([worker, other])


async def test_the_next_run_of_the_worker_serves_all_again(tmp_path: Path) -> None:
    async with shop().open(tmp_path / "jobs.db") as jobs:
        for named in (["report"], None):
            run_id = (await jobs.create("report" if named else "mail")).kumofire_job_run_id
            worker = asyncio.ensure_future(jobs.run(jobs=named))
            assert (await jobs.wait(run_id, timeout=600)).state == "succeeded"
            worker.cancel()
            await asyncio.wait([worker])


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        (["nothing"], UnknownJob, "nothing"),
        ([], InvalidArgument, "jobs must be a list of the names of jobs"),
        ("mail", InvalidArgument, "jobs must be a list of the names of jobs"),
        (5, InvalidArgument, "jobs must be a list of the names of jobs"),
    ],
)
async def test_what_is_no_list_of_jobs_is_refused(tmp_path: Path, named: Any, error: Any, said: str) -> None:
    async with shop().open(tmp_path / "jobs.db") as jobs:
        with pytest.raises(error, match=said):
            await jobs.run(jobs=named)
        worker = asyncio.ensure_future(jobs.run())  # nothing of it is left behind
        run_id = (await jobs.create("mail")).kumofire_job_run_id
        assert (await jobs.wait(run_id, timeout=600)).state == "succeeded"
        worker.cancel()
        await asyncio.wait([worker])
