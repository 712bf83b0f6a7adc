"""The jobs of the demo, as an application would write them."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from kumofire_fsm import Backoff, Cancel, Kumofire, RunContext

app = Kumofire(retry=Backoff(first=timedelta(seconds=0.3), cap=timedelta(seconds=1)))


class File(BaseModel):
    """What a digest job is given."""

    path: Path
    pause: float = 0.0
    """Seconds that the handler takes longer, so that a kill finds handlers at work."""


class Digest(BaseModel):
    """What a digest job stores."""

    sha256: str
    bytes: int
    lines: int


def digest_of(path: Path) -> Digest:
    """Return a file's digest."""
    data = path.read_bytes()
    return Digest(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), lines=data.count(b"\n"))


@app.job("digest", max_attempts=5)
async def digest(_ctx: RunContext, file: File) -> Digest:
    """Read a file and store its SHA-256, bytes and lines."""
    await asyncio.sleep(file.pause)
    return digest_of(file.path)


@app.job("digest-third-time-lucky", max_attempts=3)
async def digest_third_time_lucky(ctx: RunContext, file: File) -> Digest:
    """Fail twice, then succeed."""
    if ctx.attempt < 3:
        raise ConnectionError(f"attempt {ctx.attempt} met a storm")
    return digest_of(file.path)


@app.job("digest-in-thread", max_attempts=5)
def digest_in_thread(_ctx: RunContext, file: File) -> Digest:
    """Do the same in a plain function, which runs in a thread."""
    return digest_of(file.path)


@app.job("hopeless", max_attempts=2)
async def hopeless(_ctx: RunContext, _payload: None) -> None:
    """Fail always."""
    raise RuntimeError("this job never works")


@app.job("endless", timeout=timedelta(minutes=5))
async def endless(ctx: RunContext, _payload: None) -> None:
    """Go on until somebody cancels."""
    seconds = 0.0
    while not ctx.canceled:
        await asyncio.sleep(0.1)
        seconds += 0.1
        await ctx.heartbeat({"seconds": round(seconds, 1)})
    raise Cancel("somebody asked me to stop")


@app.job("tick")
async def tick(ctx: RunContext, _payload: None) -> str:
    """Say for which occurrence it was called."""
    return str(ctx.run.scheduled_for)
