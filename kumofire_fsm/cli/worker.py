"""Runs the embedded worker as a process of its own, until a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from pathlib import Path

from kumofire_fsm.app import Kumofire
from kumofire_fsm.cli.children import SIGNALS, give_children_their_own
from kumofire_fsm.cli.echo import PrintableFormatter
from kumofire_fsm.embedded.opening import EmbeddedJobs

__all__ = ["work"]


async def work(app: Kumofire, db: Path, *, concurrency: int, lease: float, grace: float) -> None:
    """Work on a file until SIGTERM or SIGINT; running handlers finish within ``grace`` seconds.

    A second signal cancels them at once; either way their runs are released.
    """
    log = logging.StreamHandler()
    log.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[log])
    signals = 0
    opened: list[EmbeddedJobs] = []

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        for jobs in opened:
            jobs.stop(at_once=signals > 1)

    loop = asyncio.get_running_loop()
    give_children_their_own()
    for number in SIGNALS:  # before the hooks: what they open is closed again
        loop.add_signal_handler(number, on_signal)
    async with app.open(db, lease=lease) as jobs:
        opened.append(jobs)
        if not signals:
            await jobs.run(concurrency=concurrency, grace=grace)
    _leave_threads_behind()


def _leave_threads_behind() -> None:
    """End the process although a handler whose run was released goes on, in a thread or in spite of all."""
    in_threads = any(thread.name.startswith("kumofire-handler") for thread in threading.enumerate())
    if in_threads or len(asyncio.all_tasks()) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
