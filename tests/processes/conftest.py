"""Worker processes on one file, and what the database and the handlers' notes say about them."""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from patience import SECONDS_MAX, until

from kumofire_fsm.machines.run import SUSPECT

CREW = Path(__file__).with_name("crew.py")
SETTLING = {"succeed", "retry", "fail", "snooze", "release", "stop", "lose"}
"""The events that end an attempt."""


class Note(NamedTuple):
    """What a handler noted."""

    word: str
    run: str
    starts: int
    pid: int


class Site:
    """A file, and the processes that work on it."""

    def __init__(self, folder: Path, app: Any) -> None:
        self.app, self.db = app, folder / "jobs.db"
        self._notes, self._logs = folder / "notes", folder / "logs"
        self._notes.mkdir()
        self._logs.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._reader: sqlite3.Connection | None = None
        with self.jobs():
            pass  # makes the file

    def jobs(self) -> Any:
        """Open the jobs API in this process, which works on nothing."""
        return self.app.open_sync(self.db, synchronous="OFF")

    # -- processes --------------------------------------------------------------------------------

    def worker(
        self, *, cli: bool = False, wait: bool = True, script: Path = CREW, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a worker, by the command line or by a script such as crew.py, and wait until it is up."""
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        if cli:
            command = ["-m", "kumofire_fsm.cli", "worker", "crew:app", "--db", self.db, *flags]
        else:
            command = [script, self.db, *flags]
        log = (self._logs / str(len(self._processes))).open("wb")
        with log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=CREW.parent,
                env={**os.environ, "CREW_NOTES": str(self._notes)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._processes.append(process)
        if wait:
            self.ready(process)
        return process

    def ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a worker works, which is a little after its startup hooks: then it hears signals."""
        self.until(lambda: "a worker starts" in self.log(process), "the worker is up")

    def halt(self, process: subprocess.Popen[bytes]) -> None:
        """Stop a worker (SIGSTOP) between two writes: halted in one, it would keep the lock from all others."""
        for _ in range(50):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            with closing(sqlite3.connect(self.db, timeout=0.5, isolation_level=None)) as db:
                try:
                    db.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    process.send_signal(signal.SIGCONT)
                else:
                    db.execute("ROLLBACK")
                    return
        pytest.fail("it is always found in the middle of a write")

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """What a worker wrote to standard error."""
        return (self._logs / str(self._processes.index(process))).read_text()

    def leave(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a worker to end, once it hears it, and check that it does so in order."""
        self.ready(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS_MAX) == 0, self.log(process)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._reader is not None:
            self._reader.close()

    # -- what happened ------------------------------------------------------------------------------

    def notes(self, word: str | None = None, *, run: str | None = None, pid: int | None = None) -> list[Note]:
        """What handlers noted, in the order of each process."""
        found = []
        for file in sorted(self._notes.iterdir()):
            for line in file.read_text().splitlines():
                said, about, starts, by = line.split()
                each = Note(said, about, int(starts), int(by))
                if word in (None, said) and run in (None, about) and pid in (None, each.pid):
                    found.append(each)
        return found

    def query(self, sql: str, *arguments: Any) -> list[sqlite3.Row]:
        if self._reader is None:
            self._reader = sqlite3.connect(self.db, isolation_level=None)
            self._reader.row_factory = sqlite3.Row
        return self._reader.execute(sql, arguments).fetchall()

    def rows(self) -> list[sqlite3.Row]:
        """Every run."""
        return self.query("SELECT * FROM kumofire_runs ORDER BY id")

    def row(self, run: str) -> sqlite3.Row:
        return self.query("SELECT * FROM kumofire_runs WHERE id = ?", run)[0]

    def open_runs(self) -> int:
        """How many runs are not settled."""
        return self.query("SELECT count(*) FROM kumofire_runs WHERE wake_at IS NOT NULL")[0][0]

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something holds."""

        def told() -> str:
            states = self.query("SELECT state, count(*) FROM kumofire_runs GROUP BY state")
            logs = "\n".join(file.read_text()[-1500:] for file in sorted(self._logs.iterdir())[-3:])
            return f"{what}; runs: {[*map(tuple, states)]}\n{logs}"

        until(condition, told)

    def settled(self) -> None:
        """Wait until every run is settled."""
        self.until(lambda: self.open_runs() == 0, "every run is settled")


def events(row: sqlite3.Row) -> list[str]:
    """The events of a run, in order."""
    return [entry[0] for entry in json.loads(row["history"])]


def check_attempts(row: sqlite3.Row) -> None:
    """Replay a settled run's history: each start ends once, and the attempts add up.

    A start is shared with others, unless the run lost two shared ones; a shared loss is given back.
    (True where workers have a concurrency over 1.)
    """
    said = f"{row['job']} {row['id']} {row['state']}: {row['history']}"
    under_way = shared = False
    attempt = starts = suspect = 0
    for event in events(row):
        if event == "start":
            assert not under_way, f"started twice: {said}"
            under_way, shared = True, suspect < SUSPECT
            attempt, starts = attempt + 1, starts + 1
            assert attempt <= row["max_attempts"], f"too many attempts: {said}"
        elif event in SETTLING:
            assert under_way, f"settled twice: {said}"
            under_way = False
            if event == "lose" and shared:
                attempt, suspect = attempt - 1, suspect + 1
            elif event in ("release", "snooze"):
                attempt -= 1
            if event in ("retry", "release", "snooze"):
                suspect = 0
    assert not under_way, f"never settled: {said}"
    assert (row["starts"], row["attempt"]) == (starts, attempt), said
    if row["state"] == "failed":
        assert attempt == row["max_attempts"], f"failed too early: {said}"


@pytest.fixture(autouse=True)
def no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    """End everything, with the stack of each thread, rather than wait for ever."""
    uncaptured = request.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(3 * SECONDS_MAX, exit=True, file=uncaptured)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def crew() -> ModuleType:
    """The application of crew.py, in this process."""
    spec = importlib.util.spec_from_file_location("crew_of_tests", CREW)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(tmp_path: Path, crew: ModuleType) -> Iterator[Site]:
    """A fresh file; its workers are killed afterwards."""
    site = Site(tmp_path, crew.app)
    yield site
    site.close()


@pytest.fixture(scope="session")
def replay() -> Callable[[sqlite3.Row], None]:
    """The check of one run's history."""
    return check_attempts


@pytest.fixture(scope="session")
def events_of() -> Callable[[sqlite3.Row], list[str]]:
    """The events of one run."""
    return events
