"""The lifecycle of a recurring job: a schedule that creates a run at each occurrence."""

from __future__ import annotations

from kumofire_fsm.machines._declarations import Deadline, Event, State
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.spec import Actor, Role

__all__ = ["JobMachine"]

_COMES = "occurrence is not None"
_HELD = f"{_COMES} and held_until is not None"
_NEXT = {
    "next_at": "occurrence",
    "catch_up": "new_catch_up",
    "skipped": "skipped + passed",
    "skipped_at": "greatest(skipped_at, passed_at)",
    "skipped_why": "when(passed_why is None, skipped_why, passed_why)",
}
"""The next occurrence, and what was passed over before it."""
_MADE = {
    "made": "made + runs",
    "last_at": "when(latest is None, last_at, latest)",
    "tick": "token",
}
"""How many runs are made of what is due, of which occurrence the latest, and at which look."""


class JobMachine(Lifecycle, table="kumofire_schedules", machine="job"):
    """A recurring job is active until it is paused, set aside, or has no occurrence left."""

    fields = {
        "id": None,
        "schedule_key": None,
        "job": "",
        "machine": "job",
        "state": None,
        "wake_at": None,
        "next_at": None,
        "last_at": None,
        "tick": None,
        "revision": 1,
        "origin": None,
        "made": 0,
        "skipped": 0,
        "skipped_at": None,
        "skipped_why": None,
        "catch_up": None,
        "schedule": "{}",
        "template": "{}",
        "payload": None,
        "error": None,
        "created_at": 0,
        "updated_at": 0,
        "history": "[]",
    }
    parameters = {
        "now": 0,
        "facts": None,
        "occurrence": None,
        "latest": None,
        "runs": 0,
        "passed": 0,
        "passed_at": None,
        "passed_why": None,
        "new_catch_up": None,
        "held_until": None,
        "token": None,
        "value": None,
        "new_schedule": "{}",
        "new_template": "{}",
        "new_payload": None,
        "new_job": "",
        "new_origin": None,
    }
    texts = {
        "id", "schedule_key", "job", "machine", "state", "tick", "origin", "skipped_why", "catch_up",
        "schedule", "template", "payload", "error", "history", "facts", "passed_why", "new_catch_up",
        "token", "value", "new_schedule", "new_template", "new_payload", "new_job", "new_origin",
    }  # fmt: skip

    active = State(
        "It makes a run at each occurrence.",
        role=Role.WAITING,
        initial=True,
        deadline=Deadline("next_at", "advance", doc="its next occurrence"),
        sets={"error": "None"},
    )
    paused = State("Somebody disabled it; it creates no runs.", role=Role.WAITING, waits=True)
    suspended = State(
        "Its row cannot be evaluated; the error says why. Mend it with an update.",
        role=Role.WAITING,
        waits=True,
    )
    ended = State("It has no occurrence left, or was ended.", role=Role.SETTLED)

    advance = Event(
        active.to.itself(cond=_HELD, sets={"wake_at": "held_until"})
        | active.to.itself(cond=_COMES)
        | active.to(ended),
        by=Actor.DEADLINE,
        sets={**_NEXT, **_MADE},
        doc="Occurrences are due: they become runs, wait for the previous one, or are passed over.",
    )
    pause = Event(active.to(paused), doc="Somebody disables it.")
    resume = Event(
        paused.to(active, cond=_COMES) | suspended.to(active, cond=_COMES),
        sets=_NEXT,
        doc="Somebody enables it again, and says what becomes of the occurrences that it missed.",
    )
    suspend = Event(
        active.to(suspended),
        by=Actor.DISPATCHER,
        sets={"error": "value"},
        doc="Its row cannot be evaluated.",
    )
    end = Event(
        active.to(ended) | paused.to(ended) | suspended.to(ended),
        sets={"catch_up": "None"},
        doc="Somebody ends it for good.",
    )
    revise = Event(
        active.to.itself(cond=_COMES, sets={"wake_at": "when(held_until is None, occurrence, held_until)"})
        | paused.to.itself()
        | suspended.to(active, cond=_COMES)
        | ended.to(active, cond=_COMES),
        sets={
            "next_at": "occurrence",
            "catch_up": "when(occurrence == next_at, catch_up, None)",
            "tick": "token",
            "schedule": "new_schedule",
            "template": "new_template",
            "payload": "new_payload",
            "job": "new_job",
            "origin": "new_origin",
            "updated_at": "now",
        },
        doc="Somebody changes its schedule or payload.",
    )
