"""Versions of a small application with a lifecycle of its own, as modules that a command can load."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import Done, kumofire

from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.store._selection import edge_rows
from kumofire_fsm.store.edges import own_machines
from kumofire_fsm.store.schema import Migration, migrations

PARCEL = '''
from pydantic import BaseModel

from kumofire_fsm import Kumofire
from kumofire_fsm.flows import End, Flow, Signal, Wait

class Data(BaseModel):
    number: int

class Parcel(Flow[Data]{version}):
    """A parcel, on its way."""

    {stored} = Wait("It stands in the store.", initial=True, waits=True)
    sent = End("It is on its way.")
    hand_over = Signal({stored}.to(sent), takes=None)

app = Kumofire()
app.flow(Parcel)
'''
"""An application with a flow, whose version and first step are to be filled in."""

PLAIN = """
from kumofire_fsm import Kumofire

app = Kumofire()

@app.job("a")
async def a(ctx): ...
"""
_HEAD = """
from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.machines import Actor, Deadline, Event, State, Role

app = Kumofire()

class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True, waits=True)
    approve = Event(approval.to(RunMachine.ready))
"""
_JOB = """
@app.job("pay", machine=Approved)
async def pay(ctx): ...
"""
APPROVED = _HEAD + _JOB
"""Has 27 edges."""
REJECTING = _HEAD + "    reject = Event(approval.to(RunMachine.canceled))\n" + _JOB
"""Has an edge more: 28."""
REVIEWED = (
    _HEAD
    + """    review = State(role=Role.WAITING, waits=True)
    escalate = Event(approval.to(review))
    reject = Event(approval.to(RunMachine.canceled) | review.to(RunMachine.canceled))
"""
    + _JOB
)
"""Has a state more than the one before, with two edges."""
APPEALED = APPROVED.replace(
    "approve = Event(approval.to(RunMachine.ready))",
    "approve = Event(approval.to(RunMachine.ready) | RunMachine.failed.to(approval))",
)
"""Has an edge that none of the others has."""
TIMED = REJECTING.replace("waits=True", 'deadline=Deadline("now + 1", "reject")')
"""Has a deadline where the others have none."""

SECOND = Migration(2, "0002_more.sql", "INSERT INTO kumofire_schema (version, serves) VALUES (2, 1);\n")


class Folder:
    """A folder in which commands run; the modules that it gets are forgotten at the end."""

    _names = itertools.count()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._modules: list[str] = []
        self._before = list(sys.path)

    def write(self, source: str) -> str:
        """Write a version of the application; return how a command names it."""
        name = f"app_{next(self._names)}"
        self._modules.append(name)
        (self.path / f"{name}.py").write_text(source)
        return f"{name}:app"

    def forget(self) -> None:
        sys.path[:] = self._before
        for name in self._modules:
            sys.modules.pop(name, None)

    def run(self, *arguments: str) -> Done:
        return kumofire(self.path, *arguments)

    def migrate(self, app: str, *options: str) -> Done:
        return self.run("migrate", app, *options)

    def names(self, folder: str = ".") -> list[str]:
        """The names of what stands in a folder, but for modules of applications and SQLite's own files."""
        found = (entry.name for entry in (self.path / folder).iterdir())
        left = (name for name in found if not name.startswith(("app_", "__pycache__")))
        return sorted(name for name in left if not name.endswith(("-wal", "-shm")))

    def declared(self, app: str) -> set[tuple[Any, ...]]:
        """The edges of the application's own machines."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            specs = own_machines(load_app(app).registry.machines())
        return {row for spec in specs for row in edge_rows(spec)}

    def stored(self, file: str = "jobs.db", machine: str = "approved") -> set[tuple[Any, ...]]:
        """The edges of a machine that a database has."""
        with closing(sqlite3.connect(self.path / file)) as db:
            return edges(db, machine)

    def create_run(self, app: str, events: list[str]) -> None:
        """Open jobs.db with an application, create a run, and fire events on it."""

        async def act() -> None:
            async with load_app(app).open("jobs.db") as jobs:
                created = await jobs.create("pay")
                for event in events:
                    await jobs.fire(created.kumofire_job_run_id, event)

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            asyncio.run(act())


def edges(db: sqlite3.Connection, machine: str = "approved") -> set[tuple[Any, ...]]:
    return set(db.execute("SELECT * FROM kumofire_edges WHERE machine = ?", (machine,)))


def ship(patch: pytest.MonkeyPatch, *more: Migration) -> None:
    """Let this version of the package ship more migrations than the first."""
    shipped = [*migrations()[:1], *more]
    for module in ("kumofire_fsm.store.schema", "kumofire_fsm.cli.folder"):
        patch.setattr(f"{module}.migrations", lambda: shipped)
    patch.setattr("kumofire_fsm.store.schema.VERSION", len(shipped))
