"""The hand-written loop: the same schema and triggers, plain SQL, nothing in between.

It does the same durable work: the same columns, the same history, a fenced settle, synchronous=FULL.
What it leaves out is what the package adds: guards, other events than these, retries, leases, checks.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import deque
from pathlib import Path

from contender import Contender, Handled

from kumofire_fsm.store.schema import migrate

__all__ = ["Peer"]

INSERT = """
INSERT INTO kumofire_runs (id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared,
  suspect, deliveries, created_at, payload, history)
SELECT value ->> 0, 'run', 'queued', value ->> 1, 'noop', value ->> 1, 0, 3, 0, 0, 0, 0, value ->> 1,
  value ->> 2, '[["create","ready",' || (value ->> 1) || '],["enqueue","queued",' || (value ->> 1) || ']]'
FROM json_each(?)
"""
CLAIM = """
UPDATE kumofire_runs SET state = 'running', wake_at = ?1 + 15000, timeout_at = ?1 + 70000,
  attempt = attempt + 1, starts = starts + 1, claim = ?2, shared = 1, started_at = ?1,
  history = json_insert(history, '$[#]', json_array('start', 'running', ?1, json(?3)))
WHERE id IN (SELECT id FROM kumofire_runs WHERE state = 'queued' AND wake_at <= ?1 LIMIT ?4) AND run_at <= ?1
RETURNING id, starts, claim, attempt, payload
"""
SETTLE = """
UPDATE kumofire_runs AS r SET state = 'succeeded', wake_at = NULL, timeout_at = NULL, finished_at = v.now,
  result = v.result, error = NULL,
  history = json_insert(r.history, '$[#]', json_array('succeed', 'succeeded', v.now))
FROM (SELECT value ->> 0 AS id, value ->> 1 AS starts, value ->> 2 AS claim, value ->> 3 AS now,
  value ->> 4 AS result FROM json_each(?)) AS v
WHERE r.id = v.id AND r.starts = v.starts AND r.claim = v.claim AND r.state = 'running'
"""


def _now() -> int:
    return time.time_ns() // 1_000_000


def _id(now: int) -> str:
    """Return an id in the order of time, as the package's are."""
    text = f"{now:012x}7{os.urandom(10).hex()[:19]}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Peer(Contender):
    """A loop over one file."""

    HOW = "plain SQL on the package's own schema and triggers, in one thread"

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        self.db = sqlite3.connect(folder / "jobs.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("BEGIN")
        migrate(self.db)
        self.db.execute("COMMIT")
        self.facts = json.dumps({"by": f"floor:{os.getpid()}"})
        self.commits = self.statements = 0
        self.settled = self._count()

    def close(self) -> None:
        self.db.close()

    def one_by_one(self, runs: int) -> None:
        """Insert, claim, settle: three commits a run."""
        for number in range(runs):
            self._begin()
            self._insert([{"n": number}])
            self._commit()
            self._begin()
            claimed = self._claim(1)
            self._commit()
            self._begin()
            self._settle(self._handle(claimed))
            self._commit()
        self._check(runs)

    def bulk(self, runs: int, size: int) -> None:
        """Insert ``size`` runs a statement and commit."""
        for first in range(0, runs, size):
            self._begin()
            self._insert([{"n": first + i} for i in range(size)])
            self._commit()

    def drain(self, runs: int, size: int) -> None:
        """Claim ``size`` runs a statement; a settle shares its commit with the next claim."""
        done: list[list[object]] = []
        while True:
            self._begin()
            if done:
                self._settle(done)
            claimed = self._claim(size)
            self._commit()
            done = self._handle(claimed)
            if not done:
                break
        self._check(runs)

    def creators(self, runs: int, number: int) -> None:
        """Create a group, claim it and settle the one before, all in one commit."""
        pending = deque(range(0, runs, number))
        done: list[list[object]] = []
        while pending or done:
            self._begin()
            if pending:
                first = pending.popleft()
                self._insert([{"n": first + i} for i in range(number)])
            if done:
                self._settle(done)
            claimed = self._claim(number)
            self._commit()
            done = self._handle(claimed)
        self._check(runs)

    def _run(self, sql: str, parameters: tuple[object, ...]) -> sqlite3.Cursor:
        self.statements += 1
        return self.db.execute(sql, parameters)

    def _insert(self, payloads: list[dict[str, int]]) -> None:
        now = _now()
        rows = [[_id(now), now, json.dumps(payload)] for payload in payloads]
        self._run(INSERT, (json.dumps(rows),))

    def _claim(self, limit: int) -> list[tuple[str, int, str, int, str]]:
        return self._run(CLAIM, (_now(), os.urandom(8).hex(), self.facts, limit)).fetchall()

    def _settle(self, outcomes: list[list[object]]) -> None:
        self._run(SETTLE, (json.dumps(outcomes),))

    def _handle(self, claimed: list[tuple[str, int, str, int, str]]) -> list[list[object]]:
        """Do what a handler does that does nothing: read the payload, give None."""
        done: list[list[object]] = []
        for run_id, starts, claim, _, payload in claimed:
            json.loads(payload)
            done.append([run_id, starts, claim, _now(), None])
        return done

    def _begin(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        self.db.execute("COMMIT")
        self.commits += 1

    def _count(self) -> int:
        found: int = self.db.execute(
            "SELECT count(*) FROM kumofire_runs WHERE state = 'succeeded' AND json_array_length(history) = 4"
        ).fetchone()[0]
        return found

    def _check(self, runs: int) -> None:
        if self.settled == 0:  # on a file with a past it would take long
            assert self._count() == runs
