"""A plain handler that hangs holds its thread, but neither its slot nor its process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

from kumofire_fsm import Kumofire, RunContext
from kumofire_fsm.embedded import _threads

PROGRAM = """
import asyncio, sys, time
from kumofire_fsm import Kumofire

app = Kumofire()

@app.job("hangs", timeout=0.2, max_attempts=1)
def hangs(ctx):
    time.sleep(3600)

@app.job("quick")
def quick(ctx):
    return "done"

async def main():
    async with app.open(sys.argv[1]) as jobs:
        worker = asyncio.ensure_future(jobs.run(concurrency=1))
        hung = await jobs.create("hangs")
        assert (await jobs.wait(hung.kumofire_job_run_id)).state == "failed"
        other = await jobs.create("quick")
        assert (await jobs.wait(other.kumofire_job_run_id)).result == "done"
        print(jobs.stuck_handlers)
        jobs.stop()
        await worker

asyncio.run(main())
"""


def test_a_program_ends_although_a_plain_handler_hangs(tmp_path: Path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "jobs.db")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


def test_there_are_as_many_threads_as_may_be_and_no_more():
    def number() -> int:
        return sum(each.name == "kumofire-handler" for each in threading.enumerate())

    go_on, before = threading.Event(), number()
    threads = _threads.HandlerThreads(2, lambda: None)
    calls = [threads.submit(go_on.wait, 600) for _ in range(5)]
    assert number() - before == 2
    go_on.set()
    assert [call.result(600) for call in calls] == [True] * 5
    threads.shutdown()


class _Refused(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_a_worker_that_gets_no_thread_ends_and_gives_its_run_back(tmp_path: Path, monkeypatch, caplog):
    app = Kumofire()

    @app.job("plain", max_attempts=1)
    def plain(ctx: RunContext) -> None: ...

    monkeypatch.setattr(_threads, "threading", SimpleNamespace(Thread=_Refused, Lock=threading.Lock))

    async def scenario() -> tuple[str, int, str]:
        async with app.open(tmp_path / "jobs.db") as jobs:
            run_id = (await jobs.create("plain")).kumofire_job_run_id
            await jobs.run(concurrency=1)
            status = await jobs.get_status(run_id)
            return status.state, status.attempt, status.history[-1].event

    assert asyncio.run(scenario()) == ("queued", 0, "release")
    assert "no thread can be had for a plain handler: can't start new thread" in caplog.text
