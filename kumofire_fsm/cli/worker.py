"""Runs the embedded worker as a process of its own, until a signal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kumofire_fsm.app import Kumofire
from kumofire_fsm.cli.process import (
    SIGNALS,
    anything_goes_on,
    end_with_parent,
    give_children_their_own,
    leave_it,
)
from kumofire_fsm.cli.terminal import PrintableFormatter, echo_error
from kumofire_fsm.embedded.opening import EmbeddedJobs
from kumofire_fsm.reports import SyncReport

__all__ = ["JsonFormatter", "begin_log", "work"]

log = logging.getLogger("kumofire_fsm.worker")
_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, and its ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what is no JSON of the extra is written as text."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def begin_log(*, as_json: bool, verbose: bool) -> None:
    """Write what is logged to the standard error, as text or as lines of JSON; each ending too if verbose."""
    handler = logging.StreamHandler()
    plain = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(JsonFormatter() if as_json else PrintableFormatter(plain))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if verbose:
        logging.getLogger("kumofire_fsm").setLevel(logging.DEBUG)


async def work(
    app: Kumofire,
    db: Path,
    *,
    concurrency: int,
    lease: float,
    grace: float,
    jobs: Sequence[str] | None = None,
    as_json: bool = False,
    verbose: bool = False,
    sync_schedules: bool = True,
    health: tuple[str, int] | None = None,
) -> None:
    """Work on a file until SIGTERM or SIGINT; running handlers finish within ``grace`` seconds.

    First it stores the schedules that the application declares; one that declares none touches none.
    A second signal cancels the handlers at once, and where none runs the start or the end of the lifespan;
    either way their runs are released. ``health`` is where its health is served: host and port.
    """
    begin_log(as_json=as_json, verbose=verbose)
    opened: list[EmbeddedJobs] = []
    signals, loop = _Signals(opened), asyncio.get_running_loop()
    give_children_their_own()
    end_with_parent()
    for number in SIGNALS:  # before its lifespan begins: what that opens is closed again
        loop.add_signal_handler(number, signals.hear)
    for name in jobs or ():  # one that is not registered is refused before anything is opened
        app.registry.get(name)
    log.info("opening %s: lease %g s, grace %g s, process %d", db, lease, grace, os.getpid())
    try:
        with _health(app, db, health, opened):
            async with app.open(db, lease=lease) as open_jobs:
                opened.append(open_jobs)
                if sync_schedules and app.registry.declared_schedules():
                    _tell(await open_jobs.sync_schedules())
                if not signals.number:
                    await open_jobs.run(concurrency=concurrency, grace=grace, jobs=jobs)
    except asyncio.CancelledError:
        if not signals.canceled:
            raise
        log.warning("the worker was told twice to end, and its lifespan was canceled")
    except Exception as exc:
        if anything_goes_on():
            leave_it(echo_error(exc))
        raise
    if anything_goes_on():
        leave_it(0)


class _Signals:
    """Ends a worker that a signal tells to end: in order at the first, at once at the second.

    Args:
        opened: holds its jobs API, once that is open.

    Attributes:
        number: how many signals there were.
        canceled: whether the start or the end of the lifespan was canceled, as no worker runs.
    """

    def __init__(self, opened: list[EmbeddedJobs]) -> None:
        self.number, self.canceled = 0, False
        self._opened, self._task = opened, asyncio.current_task()

    def hear(self) -> None:
        """Hear one signal more."""
        self.number += 1
        for each in self._opened:
            each.stop(at_once=self.number > 1)
        works = any(each._report() is not None for each in self._opened)
        if self.number > 1 and not works and self._task is not None:
            self.canceled = True
            self._task.cancel()


def _health(
    app: Kumofire, db: Path, place: tuple[str, int] | None, opened: list[EmbeddedJobs]
) -> AbstractContextManager[Any]:
    """Serve the health of the worker that is opened, if a place is given."""
    if place is None:
        return nullcontext()
    from kumofire_fsm.cli.health import HealthServer  # http.server costs more to import than it seems

    server = HealthServer(app, db, *place, lambda: opened[0]._report() if opened else None)
    log.info("health: %s/live, /ready and /metrics", server.url)
    return server


def _tell(report: SyncReport) -> None:
    """Log what a sync did."""
    done = {name: keys for name, keys in asdict(report).items() if keys}
    log.info("schedules: %s", "; ".join(f"{name} {', '.join(keys)}" for name, keys in done.items()))
