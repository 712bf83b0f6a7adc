"""What every system under measurement can do; one small file under peers/ for each.

Its handler does nothing but to tell of its run's number. Opening is not measured; a worker's start is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Contender", "Handled", "Looping", "Stepping"]

FRESH = 1_000_000
"""The number of the first run whose latency is measured: no other work has so high ones."""
PAUSE_SECONDS = 0.001
"""How long a worker thread of our own making sleeps when there is nothing to do."""


class Handled:
    """Counts the calls of a handler, and tells when there were enough."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._enough: Callable[[], Any] | None = None
        self.at: dict[int, int] = {}
        self.first, self.target, self.count = 0, 0, 0
        self.done = threading.Event()
        self.body: Callable[[int], None] | None = None

    def __call__(self, number: int) -> None:
        """Note that the handler of this run was called, now."""
        self.at[number] = time.time_ns()
        if self.body is not None:
            self.body(number)
        with self._lock:
            self.count += number >= self.first
            if self.count == self.target:
                (self._enough or self.done.set)()

    def expect(self, runs: int, enough: Callable[[], Any] | None = None, first: int = 0) -> None:
        """Tell when so many have been handled from now on; what a server has left over has lower numbers."""
        self.first = first
        self.done.clear()
        self.at.clear()
        self.count, self.target, self._enough = 0, runs, enough


class Contender:
    """One system on one folder, whose creators call from threads.

    Attributes:
        REQUIRES: what pip has to install.
        MODULE: what an application imports.
        HOW: how it is used here, in a sentence: its fastest durable way.
        SERVER: "postgres" or "redis", where it needs one.
        TAKEOVER_SECONDS: how long it may take until the runs of a killed worker are done.
        DRAINS: whether what is created in bulk waits for a worker; else it begins at once.
    """

    REQUIRES: ClassVar[tuple[str, ...]] = ()
    MODULE: ClassVar[str] = ""
    HOW: ClassVar[str] = ""
    SERVER: ClassVar[str | None] = None
    TAKEOVER_SECONDS: ClassVar[float] = 5.0
    DRAINS: ClassVar[bool] = True

    def __init__(self, folder: Path, handled: Handled) -> None:
        self.folder, self.handled = folder, handled

    def create(self, number: int) -> None:
        """Store one run; it is durable when this returns."""
        raise NotImplementedError

    def create_many(self, numbers: list[int]) -> None:
        """Store runs, in one commit where the system can."""
        for number in numbers:
            self.create(number)

    def start(self) -> None:
        """Start a worker in this process."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what was opened."""

    # -- what is measured -----------------------------------------------------------------------

    def one_by_one(self, runs: int) -> None:
        """Create a run, wait until it is done, create the next."""
        self.start()
        for number in range(runs):
            self.handled.expect(1)
            self.create(number)
            self.handled.done.wait()
        self.stop()

    def creators(self, runs: int, number: int) -> None:
        """Let so many threads create one run after the other, while a worker drains."""

        def create_some(which: int) -> None:
            for each in range(which, runs, number):
                self.create(each)

        threads = [threading.Thread(target=create_some, args=(which,)) for which in range(number)]
        self.handled.expect(runs)
        self.start()
        for thread in threads:
            thread.start()
        self.handled.done.wait()
        for thread in threads:
            thread.join()
        self.stop()

    def bulk(self, runs: int, size: int) -> None:
        """Create so many runs at once."""
        for first in range(0, runs, size):
            self.create_many(list(range(first, first + size)))

    def drain(self, runs: int, size: int) -> None:
        """Work off what `bulk` has created."""
        self.handled.expect(runs)
        self.start()
        self.handled.done.wait()
        self.stop()

    def latencies(self, pauses: list[float]) -> list[float]:
        """Create a run after each pause; return milliseconds from the call to the handler's first line."""
        began = {}
        self.handled.expect(len(pauses), first=FRESH)
        self.start()
        for number, pause in enumerate(pauses, FRESH):
            time.sleep(pause)
            began[number] = time.time_ns()
            self.create(number)
        self.handled.done.wait()
        at = dict(self.handled.at)
        self.stop()
        return [(at[number] - began[number]) / 1e6 for number in began]

    def idle(self, act: Callable[[], Any]) -> Any:
        """Return what a function gives while a worker has nothing to do."""
        self.start()
        time.sleep(0.5)
        answer = act()
        self.stop()
        return answer

    def serve(self, numbers: Iterable[int], created: Callable[[int], None]) -> None:
        """Start a worker, create runs and tell of each; then work until the process is killed."""
        self.start()
        for number in numbers:
            self.create(number)
            created(number)
        threading.Event().wait()


class Stepping(Contender):
    """A system whose caller takes one run at a time: quickest in the creator's own thread."""

    _stopped = False
    _worker: threading.Thread | None = None

    def step(self) -> bool:
        """Take a run, handle it, settle it; return whether there was one."""
        raise NotImplementedError

    def start(self) -> None:
        self._stopped = False
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def _work(self) -> None:
        while not self._stopped:
            if not self.step():
                time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        self._stopped = True
        assert self._worker is not None
        self._worker.join()

    def one_by_one(self, runs: int) -> None:
        for number in range(runs):
            self.create(number)
            assert self.step()

    def drain(self, runs: int, size: int) -> None:
        for _ in range(runs):
            assert self.step()


class Looping(Contender):
    """A system whose creators and handlers are tasks of an event loop."""

    loop_factory: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = None

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        self.runner = asyncio.Runner(loop_factory=type(self).loop_factory)
        self.runner.run(self.opened())

    async def opened(self) -> None:
        """Open what is to be open."""

    async def closed(self) -> None:
        """Close it."""

    async def created(self, number: int) -> Any:
        """Store one run; it is durable when this returns."""
        raise NotImplementedError

    async def created_many(self, numbers: list[int]) -> None:
        """Store runs, in one commit where the system can."""
        for number in numbers:
            await self.created(number)

    async def created_and_done(self, number: int) -> None:
        """Store one run and wait until it is done; here, until its handler was called."""
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        self.handled.expect(1, lambda: loop.call_soon_threadsafe(called.set))
        await self.created(number)
        await called.wait()

    async def started(self, size: int) -> None:
        """Start a worker in this process that has up to so many handlers under way."""
        raise NotImplementedError

    async def stopped(self) -> None:
        """End it."""
        raise NotImplementedError

    def close(self) -> None:
        self.runner.run(self.closed())
        self.runner.close()

    def one_by_one(self, runs: int) -> None:
        async def work() -> None:
            await self.started(100)
            for number in range(runs):
                await self.created_and_done(number)
            await self.stopped()

        self.runner.run(work())

    def creators(self, runs: int, number: int) -> None:
        async def create_some(which: int) -> None:
            for each in range(which, runs, number):
                await self.created(each)

        async def create() -> None:
            await asyncio.gather(*(create_some(which) for which in range(number)))

        self._drain(runs, 100, create)

    def bulk(self, runs: int, size: int) -> None:
        async def create() -> None:
            for first in range(0, runs, size):
                await self.created_many(list(range(first, first + size)))

        self.runner.run(create())

    def drain(self, runs: int, size: int) -> None:
        self._drain(runs, size, None)

    def _drain(self, runs: int, size: int, create: Callable[[], Awaitable[None]] | None) -> None:
        async def work() -> None:
            loop, enough = asyncio.get_running_loop(), asyncio.Event()
            self.handled.expect(runs, lambda: loop.call_soon_threadsafe(enough.set))
            await self.started(size)
            if create is not None:
                await create()
            await enough.wait()
            await self.stopped()

        self.runner.run(work())

    def latencies(self, pauses: list[float]) -> list[float]:
        async def work() -> list[float]:
            began: dict[int, int] = {}
            loop, enough = asyncio.get_running_loop(), asyncio.Event()
            self.handled.expect(len(pauses), lambda: loop.call_soon_threadsafe(enough.set), first=FRESH)
            await self.started(100)
            for number, pause in enumerate(pauses, FRESH):
                await asyncio.sleep(pause)
                began[number] = time.time_ns()
                await self.created(number)
            await enough.wait()
            at = dict(self.handled.at)
            await self.stopped()
            return [(at[number] - began[number]) / 1e6 for number in began]

        return self.runner.run(work())

    def idle(self, act: Callable[[], Any]) -> Any:
        async def work() -> Any:
            await self.started(100)
            await asyncio.sleep(0.5)
            answer = await asyncio.to_thread(act)
            await self.stopped()
            return answer

        return self.runner.run(work())

    def serve(self, numbers: Iterable[int], created: Callable[[int], None]) -> None:
        async def work() -> None:
            await self.started(100)
            for number in numbers:
                await self.created(number)
                created(number)
            await asyncio.Event().wait()

        self.runner.run(work())
