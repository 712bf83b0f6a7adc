"""The application whose workers these tests start, stop and kill: ``python crew.py DB`` is one worker.

Handlers note what they do in the folder ``CREW_NOTES``, one file a process, one line a note, each
written by one call: what a killed process had noted stays.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from kumofire_fsm import Backoff, Cancel, Kumofire, Retry, RunContext

app = Kumofire(max_attempts=3, retry=Backoff(first=timedelta(milliseconds=20), jitter=False))
NOT_AN_APP = "a text"


def note(word: str, ctx: RunContext | None = None) -> None:
    """Append ``word run starts pid`` to this process's notes."""
    folder = os.environ.get("CREW_NOTES")
    if folder is None:
        return
    run, starts = ("-", 0) if ctx is None else (ctx.run.id, ctx._run.starts)
    file = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{word} {run} {starts} {os.getpid()}\n".encode())
    finally:
        os.close(file)


@app.lifespan
async def lifespan(_: object) -> AsyncIterator[None]:
    note("up")
    yield


@app.job("quick")
async def quick(ctx: RunContext) -> None:
    note("ran", ctx)


@app.job("nap", timeout=3600)
async def nap(ctx: RunContext, seconds: float) -> int:
    """Sleep, and return the process's id."""
    note("began", ctx)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled", ctx)
        raise
    note("ended", ctx)
    return os.getpid()


@app.job("flaky")
async def flaky(ctx: RunContext, seconds: float) -> None:
    """Fail the first time."""
    note("began", ctx)
    await asyncio.sleep(seconds)
    if ctx.attempt == 1:
        raise Retry("not yet", after=0.02)
    note("ended", ctx)


@app.job("plain", timeout=3600)
def plain(ctx: RunContext, seconds: float) -> None:
    """Sleep in a thread."""
    note("began", ctx)
    time.sleep(seconds)
    note("ended", ctx)


@app.job("entry", timeout=60)
async def entry(ctx: RunContext, plan: dict[str, float]) -> None:
    """Write one line into the application's own ledger, with the run's success; fail as planned."""
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (ctx.run.id, os.getpid()))])
    await asyncio.sleep(plan["seconds"])
    if ctx.attempt <= plan["failures"]:
        raise ValueError("as planned")


@app.job("poison")
async def poison(ctx: RunContext) -> None:
    """Kill the whole process."""
    note("began", ctx)
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(60)


@app.job("exit")
async def exit_(ctx: RunContext) -> None:
    """End the program."""
    note("began", ctx)
    os._exit(3)


@app.job("gate", timeout=60)
async def gate(ctx: RunContext, path: str) -> int:
    """Wait until a file exists."""
    note("began", ctx)
    try:
        while not Path(path).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note("cancelled", ctx)
        raise
    note("ended", ctx)
    return os.getpid()


@app.job("stubborn", timeout=3600)
async def stubborn(ctx: RunContext) -> None:
    """Go on in spite of any cancellation."""
    note("began", ctx)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("ignored", ctx)


@app.job("listener", timeout=60)
async def listener(ctx: RunContext) -> None:
    """Answer a cancellation as soon as it is heard, without asking the database."""
    note("began", ctx)
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note("saw" if ctx.canceled else "cancelled", ctx)
        raise Cancel("as you wish") from None


async def work(*apps: Kumofire) -> None:
    """Be a worker of the application that ``--release`` counts, until killed or until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", type=int, default=0)
    parser.add_argument("db")
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--grace", type=float, default=10.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    async with apps[options.release].open(options.db, lease=options.lease) as jobs:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, jobs.stop)
        await jobs.run(concurrency=options.concurrency, grace=options.grace)


if __name__ == "__main__":
    asyncio.run(work(app))
