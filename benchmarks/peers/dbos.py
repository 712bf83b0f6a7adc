"""DBOS on SQLite: a workflow is recorded when it starts and when it ends, and recovered at a launch."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contender import Contender, Handled
from dbos import DBOS

__all__ = ["Peer", "launch"]

HANDLERS: list[Callable[[int], Any]] = []
"""A recovered workflow is found by the name of its function."""


@DBOS.workflow()
def noop(number: int) -> None:
    """Handle one run."""
    HANDLERS[-1](number)


def launch(path: Path) -> None:
    """Have DBOS work on a file, whose every commit waits for the disk."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")  # stays with the file
    db.close()
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "log_level": "CRITICAL",
            "executor_id": "bench",
            "application_version": "1",
        }
    )
    DBOS.launch()


class Peer(Contender):
    REQUIRES = ("dbos",)
    MODULE = "dbos"
    HOW = "workflows on SQLite (WAL, synchronous=FULL): called one by one, else `start_workflow`"
    TAKEOVER_SECONDS = 15.0
    DRAINS = False

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        folder.mkdir(exist_ok=True)
        HANDLERS.append(handled)
        path = folder / "dbos.sqlite"
        launch(path)

    def create(self, number: int) -> None:
        DBOS.start_workflow(noop, number)

    def one_by_one(self, runs: int) -> None:
        for number in range(runs):
            noop(number)

    def bulk(self, runs: int, size: int) -> None:
        self.handled.expect(runs)
        super().bulk(runs, size)

    def drain(self, runs: int, size: int) -> None:
        """Wait for the rest: what `bulk` has created was started at once."""
        self.handled.done.wait()

    def start(self) -> None:
        """A launched process works."""

    def stop(self) -> None:
        """It works until it is closed."""

    def close(self) -> None:
        DBOS.destroy()
