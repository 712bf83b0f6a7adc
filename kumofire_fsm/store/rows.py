"""The tables, and the shapes that statements take and give: columns in their order, and rows by name."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from kumofire_fsm.machines.run import SUSPECT, RunMachine
from kumofire_fsm.machines.spec import Outcome

__all__ = [
    "BODIES",
    "CONTROLS",
    "EDGES",
    "FAILED",
    "FLOW_COLUMNS",
    "INSERT_COLUMNS",
    "KIND_COLUMNS",
    "LAST_ID",
    "LEFT_OUT",
    "MOVED",
    "OWN_COLUMNS",
    "PACES",
    "RUNS",
    "SCHEDULES",
    "SCHEMA",
    "STARTS_ALONE",
    "VERSION",
    "ClaimedRun",
    "FarLease",
    "Move",
    "Moved",
    "RunRow",
    "dump",
]

RUNS: Final = "kumofire_runs"
BODIES: Final = "kumofire_bodies"
SCHEDULES: Final = "kumofire_schedules"
CONTROLS: Final = "kumofire_controls"
PACES: Final = "kumofire_paces"
EDGES: Final = "kumofire_edges"
SCHEMA: Final = "kumofire_schema"
VERSION: Final = 1
"""The schema this code is written for: the number of the newest migration."""

STARTS_ALONE: Final = f"d.suspect >= {SUSPECT}"
"""The condition on a run ``d`` that it may only start where nothing else is under way."""

FAILED: Final = next(each.id for each in RunMachine.spec.states if each.outcome is Outcome.FAILURE)
"""The state whose runs stand in an index of their own."""
LAST_ID: Final = "\U0010ffff"
"""Sorts after every id, also after one that is none of ours."""
LEFT_OUT: Final = ""
"""What stands in an answer for a payload or result that was not read; no JSON text is empty."""

KIND_COLUMNS: Final = (
    "machine", "state", "wake_at", "job", "priority", "run_at", "attempt", "max_attempts", "starts", "shared",
    "suspect", "deliveries", "expires_at", "created_at", "finished_at", "dedupe", "schedule_id",
    "scheduled_for", "history",
)  # fmt: skip
"""What runs that are created together mostly share, so that a statement carries it once."""
FLOW_COLUMNS: Final = ("step", "visit", "letters", "mail", "keys", "undo")
"""What only a flow's instances have."""
OWN_COLUMNS: Final = ("id", "payload", "dedupe_key", "dedupe_slot", "tags", "concurrency_key")
INSERT_COLUMNS: Final = KIND_COLUMNS + OWN_COLUMNS


class Move(NamedTuple):
    """An event to fire on a run, and what its edges may read. Instants and durations are milliseconds.

    Attributes:
        starts, claim: the fence of an attempt; None where a person or a deadline fires.
        was: the state in which a person found the run, started as often as ``starts`` says: it moves if that
            is still so; None for any.
        value: a result, an error's text, progress: whatever the event carries.
        next_at: when the run is due next; 0, as the machine's default says, where the event does not say.
        hint_ms: after how long the hint that goes along with the move counts as lost; None where none does.
        facts: what the history's entry says beside event, state and time, as JSON.
        ends_at: when the attempt must have ended, where its holder says it anew.
        was_visit: the visit of the step that is left, where the state does not tell that it is.
    """

    id: str
    event: str
    starts: int | None = None
    claim: str | None = None
    now: int = 0
    value: str | None = None
    next_at: int = 0
    facts: str | None = None
    horizon_ms: int = 0
    redeliver_ms: int = 0
    lost_ms: int = 0
    grace_ms: int = 0
    lease_ms: int = 0
    hint_ms: int | None = None
    ends_at: int | None = None
    step_ms: int = 0
    to_step: str = ""
    data: str | None = None
    to_undo: str = "[]"
    tries: int = 1
    seen: int = 0
    taken: int | None = None
    told: str | None = None
    rests: int = 0
    signal_key: str | None = None
    was: str | None = None
    was_visit: int | None = None


class Body(NamedTuple):
    """A payload or result too large for its run's row, and the move that says so there.

    Attributes:
        claim, event, at: what the run carries, and the last entry of its history, after that move.
        visit: of a flow, the visit that its step has then.
    """

    id: str
    body: str
    claim: str | None
    event: str
    at: int
    visit: int | None = None


class Moved(NamedTuple):
    """A run after its move."""

    id: str
    state: str
    run_at: int
    job: str
    machine: str
    wake_at: int | None
    concurrency_key: str | None
    starts: int
    was: str | None = None
    """The state before, where people moved it; None of all else, and where a history was cut just there."""


MOVED: Final = Moved._fields[:-1]
"""What every statement that moves runs gives back of them."""


class FarLease(NamedTuple):
    """A run whose lease lies far ahead, and what fences a move of it."""

    id: str
    job: str
    starts: int
    claim: str
    wake_at: int


class RunRow(NamedTuple):
    """A run as it is read; payload and result may be `LEFT_OUT`."""

    id: str
    job: str
    machine: str
    state: str
    wake_at: int | None
    priority: int
    run_at: int
    attempt: int
    max_attempts: int
    starts: int
    claim: str | None
    suspect: int
    timeout_at: int | None
    expires_at: int | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    dedupe_key: str | None
    schedule_id: str | None
    scheduled_for: int | None
    result: str | None
    error: str | None
    progress: str | None
    tags: str | None
    history: str
    step: str | None
    visit: int | None
    concurrency_key: str | None
    payload: str | None
    """None where the row that holds it is gone."""
    slots: int | None
    """How many of its job people let run at once; 0 where it is paused."""

    @property
    def starts_alone(self) -> bool:
        """Whether it may only start where nothing else is under way: it may have killed its workers."""
        return self.suspect >= SUSPECT


class ClaimedRun(NamedTuple):
    """A run as its claim gives it back. ``starts`` and ``claim`` fence every later write."""

    id: str
    job: str
    machine: str
    state: str
    attempt: int
    max_attempts: int
    starts: int
    claim: str
    run_at: int
    wake_at: int
    timeout_at: int
    created_at: int
    suspect: int
    scheduled_for: int | None
    schedule_id: str | None
    tags: str | None
    progress: str | None
    priority: int
    concurrency_key: str | None
    body: str | None
    """The payload as JSON text, or `LEFT_OUT`; None where its row is gone."""
    step: str | None = None
    """Of a flow's instance: where it is; and what follows, of it alone."""
    visit: int | None = None
    letters: int | None = None
    mail: str | None = None
    letter: str | None = None
    undo: str | None = None
    traceparent: str | None = None
    """Who created it, where somebody wants to know; see `kumofire_fsm.observer`."""

    @property
    def starts_alone(self) -> bool:
        """Whether it may only start where nothing else is under way: it may have killed its workers."""
        return self.suspect >= SUSPECT


def dump(value: object) -> str:
    """Return compact JSON text for a statement's argument."""
    return _ENCODER.encode(value)


# Made once: `json.dumps` with options makes an encoder at every call.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
