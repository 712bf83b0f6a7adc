"""How long an idle worker takes from a create to its handler's first line.

In the same process; from another process that creates every few milliseconds; and from another process
after the file was quiet for so long that the worker polls it less often.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from measure import fresh_file

from kumofire_fsm import Kumofire

__all__ = ["from_another_process", "in_process"]

QUIET_SECONDS = 2.2
"""Longer than the worker's own idea of a quiet file."""


def make_app(seen: dict[int, int]) -> Kumofire:
    """Return an application whose job notes when it began, by the payload's number."""
    app = Kumofire()

    @app.job("note")
    async def note(ctx: object, payload: dict[str, int]) -> None:
        seen[payload["n"]] = time.time_ns()

    return app


async def in_process(samples: int) -> list[float]:
    """Return milliseconds, in the order of creation."""
    seen: dict[int, int] = {}
    began: dict[int, int] = {}
    with fresh_file() as path:
        async with make_app(seen).open(path) as jobs:
            worker = asyncio.ensure_future(jobs.run())
            for n in range(samples):
                await asyncio.sleep(random.uniform(0.005, 0.02))
                began[n] = time.time_ns()
                await jobs.create("note", {"n": n})
            await _until(seen, samples)
            jobs.stop()
            await worker
    return [(seen[n] - began[n]) / 1e6 for n in range(samples)]


async def from_another_process(samples: int, *, quiet: bool) -> list[float]:
    """Return milliseconds; another process creates, a worker in this one runs the handlers.

    For a quiet file, several files take turns, so that each is left alone for long enough.
    """
    files = 12 if quiet else 1
    pause = QUIET_SECONDS / files if quiet else 0.0
    with fresh_file() as path:
        paths = [str(path.with_name(f"{i}.db")) for i in range(files)]
        seen: dict[int, int] = {}
        ready = asyncio.Event()
        workers = [asyncio.ensure_future(_work(each, make_app(seen), ready)) for each in paths]
        await asyncio.sleep(0.5)
        creator = await asyncio.create_subprocess_exec(
            sys.executable, __file__, json.dumps([paths, samples, pause]), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await creator.communicate()
        assert creator.returncode == 0
        began: list[int] = json.loads(output)
        await _until(seen, samples)
        ready.set()
        await asyncio.gather(*workers)
    return [(seen[n] - began[n]) / 1e6 for n in range(samples)]


async def _work(path: str, app: Kumofire, stop: asyncio.Event) -> None:
    async with app.open(path) as jobs:
        worker = asyncio.ensure_future(jobs.run())
        await stop.wait()
        jobs.stop()
        await worker


async def _until(seen: dict[int, int], number: int) -> None:
    async with asyncio.timeout(10):
        while len(seen) < number:  # noqa: ASYNC110 - a handler without an event is the one that is timed
            await asyncio.sleep(0.01)


async def _create(paths: list[str], samples: int, pause: float) -> list[int]:
    app, began = make_app({}), []
    opened = [app.open(Path(path)) for path in paths]
    many = [await each.__aenter__() for each in opened]
    await asyncio.sleep(QUIET_SECONDS if pause else 0)
    for n in range(samples):
        await asyncio.sleep(pause or random.uniform(0.005, 0.03))
        began.append(time.time_ns())
        await many[n % len(many)].create("note", {"n": n})
    for each in opened:
        await each.__aexit__(None, None, None)
    return began


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_create(*json.loads(sys.argv[1])))))
