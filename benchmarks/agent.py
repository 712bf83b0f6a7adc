"""A process with one contender in it: it does what it is told, a line of JSON each, and answers with one.

`python agent.py NAME` runs in the contender's own environment; the driver is `agents.py`.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from contender import Contender, Handled
from measure import measured, on_cores, resident_mb

IDLE_SECONDS = 2.0
HANDLER_SECONDS = 0.02
"""How long a handler takes where the process is killed, so that one is under way."""


class Agent:
    """One contender, and what can be measured of it."""

    def __init__(self, name: str) -> None:
        self.make: type[Contender] = importlib.import_module(f"peers.{name}").Peer

    @contextmanager
    def contender(self, folder: str | None = None) -> Iterator[Contender]:
        """Give it on a fresh folder, or on one that has a past."""
        with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as fresh:
            contender = self.make(Path(folder or fresh), Handled())
            try:
                yield contender
            finally:
                contender.close()

    def hello(self) -> dict[str, Any]:
        """Tell what this is."""
        make = self.make
        return {
            "version": _version(make.REQUIRES),
            "how": make.HOW,
            "server": make.SERVER,
            "module": make.MODULE,
            "takeover": make.TAKEOVER_SECONDS,
            "drains": make.DRAINS,
        }

    def one_by_one(self, runs: int, **where: Any) -> dict[str, Any]:
        """Measure creating one run after the other, each once the one before is done."""
        with self.contender(**where) as contender, measured(runs, contender) as sample:
            contender.one_by_one(runs)
        return asdict(sample)

    def creators(self, runs: int, number: int, **where: Any) -> dict[str, Any]:
        """Measure creators at once, while a worker drains."""
        with self.contender(**where) as contender, measured(runs, contender) as sample:
            contender.creators(runs, number)
        return asdict(sample)

    def bulk(self, runs: int, size: int, **where: Any) -> dict[str, Any]:
        """Measure creating in bulk, then draining."""
        with self.contender(**where) as contender:
            with measured(runs, contender) as created:
                contender.bulk(runs, size)
            with measured(runs, contender) as drained:
                contender.drain(runs, size)
        return {"create": asdict(created), "drain": asdict(drained)}

    def create(self, runs: int, size: int, **where: Any) -> dict[str, Any]:
        """Measure creating in bulk."""
        with self.contender(**where) as contender, measured(runs, contender) as sample:
            contender.bulk(runs, size)
        return asdict(sample)

    def drain(self, runs: int, size: int, **where: Any) -> dict[str, Any]:
        """Measure draining so many of what a folder holds."""
        with self.contender(**where) as contender, measured(runs, contender) as sample:
            contender.drain(runs, size)
        return asdict(sample)

    def latencies(self, pauses: list[float]) -> list[float]:
        """Return milliseconds from create to handler, while nothing else happens."""
        with self.contender() as contender:
            return contender.latencies(pauses)

    def idle(self) -> dict[str, float]:
        """Return what an idle worker takes: share of a core in per cent, and memory."""

        def look() -> dict[str, float]:
            before, began = time.process_time(), time.perf_counter()
            time.sleep(IDLE_SECONDS)
            share = (time.process_time() - before) / (time.perf_counter() - began)
            return {"percent": 100 * share, "resident_mb": resident_mb()}

        with self.contender() as contender:
            return contender.idle(look)

    def resident(self) -> float:
        """Return the memory that this process holds, in MB."""
        return resident_mb()

    def extra(self, call: str, **options: Any) -> Any:
        """Call a function of the contender's own module, where it can be measured in further ways."""
        return getattr(sys.modules[self.make.__module__], call)(**options)

    def serve(self, folder: str, runs: int) -> None:
        """Work until killed, telling in files of what was created and of what was handled."""
        handled = Handled()
        created_file, handled_file = (
            os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for name in ("created", "handled")
        )

        def body(number: int) -> None:
            time.sleep(HANDLER_SECONDS)
            os.write(handled_file, b"%d\n" % number)

        handled.body = body
        contender = self.make(Path(folder) / "data", handled)
        contender.serve(range(runs), lambda number: os.write(created_file, b"%d\n" % number))


def _version(requires: tuple[str, ...]) -> str | None:
    return metadata.version(re.split(r"[^\w-]", requires[0])[0]) if requires else None


def _told(exc: Exception) -> str:
    """Return an error in one line, without the paths of this machine."""
    return re.sub(r" \(/[^)]*\)", "", f"{type(exc).__name__}: {exc}").partition("\n")[0][:200]


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a contender prints belongs elsewhere
    agent: Agent | None = None
    for line in sys.stdin:
        order = json.loads(line)
        cores = order.pop("cores", None)
        if cores:
            on_cores(cores)
        try:
            agent = agent or Agent(sys.argv[1])
            act: Callable[..., Any] = getattr(agent, order.pop("work"))
            answer = {"answer": act(**order)}
        except Exception as exc:
            traceback.print_exc()
            answer = {"error": _told(exc)}
        print(json.dumps(answer), file=out, flush=True)
    out.flush()
    os._exit(0)  # whatever threads a contender has left


if __name__ == "__main__":
    main()
