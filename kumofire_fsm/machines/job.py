"""The lifecycle of a recurring job: a schedule that creates a run at each occurrence."""

from __future__ import annotations

from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.machines.words import Deadline, Event, Phase

__all__ = ["JobMachine"]

_COMES = "occurrence is not None"
_NEXT = {"next_at": "occurrence"}


class JobMachine(Lifecycle, table="kumofire_jobs", machine="job"):
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
        "token": None,
        "value": None,
        "new_schedule": None,
        "new_template": None,
        "new_payload": None,
        "new_job": None,
    }

    active = Phase(
        "It fires at its next occurrence.",
        role=Role.WAITING,
        initial=True,
        deadline=Deadline("next_at", "fire", doc="its next occurrence"),
        sets={"error": "None"},
    )
    paused = Phase("Somebody disabled it; it creates no runs.", role=Role.WAITING, waits=True)
    suspended = Phase(
        "Its row cannot be evaluated; the error says why. Mend it with an update.",
        role=Role.WAITING,
        waits=True,
    )
    ended = Phase("It has no occurrence left, or was ended.", role=Role.SETTLED)

    fire = Event(
        active.to.itself(cond=_COMES) | active.to(ended),
        by=Actor.DEADLINE,
        sets={"last_at": "next_at", "next_at": "occurrence", "tick": "token"},
        doc="An occurrence is due: its run is created, and the next occurrence set.",
    )
    pause = Event(active.to(paused), doc="Somebody disables it.")
    resume = Event(
        paused.to(active, cond=_COMES, sets=_NEXT) | suspended.to(active, cond=_COMES, sets=_NEXT),
        doc="Somebody enables it again, from its next occurrence on.",
    )
    suspend = Event(
        active.to(suspended),
        by=Actor.DISPATCHER,
        sets={"error": "value"},
        doc="Its row cannot be evaluated.",
    )
    end = Event(active.to(ended) | paused.to(ended) | suspended.to(ended), doc="Somebody ends it for good.")
    revise = Event(
        active.to.itself(cond=_COMES)
        | paused.to.itself()
        | suspended.to(active, cond=_COMES)
        | ended.to(active, cond=_COMES),
        sets={
            "next_at": "occurrence",
            "revision": "revision + 1",
            "schedule": "new_schedule",
            "template": "new_template",
            "payload": "new_payload",
            "job": "new_job",
            "updated_at": "now",
        },
        doc="Somebody changes its schedule or payload.",
    )
