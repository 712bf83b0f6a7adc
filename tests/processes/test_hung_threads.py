"""A plain handler that hangs holds its thread, but neither its slot nor its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
