"""APScheduler: jobs without a trigger run at once; it removes them from its store before they have run."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from contender import Contender, Handled

__all__ = ["Peer", "fire"]

HANDLERS: list[Callable[[int], Any]] = []
"""A stored job names a function of a module."""


def fire(number: int) -> None:
    """Handle one job."""
    HANDLERS[-1](number)


class Peer(Contender):
    REQUIRES = ("apscheduler<4", "sqlalchemy")
    MODULE = "apscheduler.schedulers.background"
    HOW = "`BackgroundScheduler` on `SQLAlchemyJobStore` (SQLite, WAL, synchronous=FULL), 10 threads"

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        folder.mkdir(exist_ok=True)
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        HANDLERS.append(handled)
        path = folder / "jobs.sqlite"
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA journal_mode = WAL")  # stays with the file
        db.close()
        self.scheduler = BackgroundScheduler(
            jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{path}")},
            executors={"default": ThreadPoolExecutor(10)},
            job_defaults={"misfire_grace_time": None},
        )
        self.scheduler.start(paused=True)

    def create(self, number: int) -> None:
        self.scheduler.add_job(fire, args=[number])

    def start(self) -> None:
        self.scheduler.resume()

    def stop(self) -> None:
        self.scheduler.pause()

    def close(self) -> None:
        self.scheduler.shutdown()
