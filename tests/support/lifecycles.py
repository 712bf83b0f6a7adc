"""Lifecycles as users declare them: added, overridden and removed states, events and guards."""

from __future__ import annotations

from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Lifecycle, Role, RunMachine, State


class Approved(RunMachine):
    """A person approves each run, or nobody does in time."""

    approval = State(
        "Waits for a person.", role=Role.WAITING, initial=True, deadline=Deadline("now + lost_ms", "expire")
    )
    approve = Event(approval.to(RunMachine.ready), sets={"tags": "value"}, doc="A person agrees.")
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
    expire = RunMachine.expire | approval.to(RunMachine.failed)


class Parked(Approved):
    """A waiting run may be put aside; a failed one is not redriven."""

    parked = State(
        "Put aside by a person.",
        role=Role.WAITING,
        deadline=Deadline("now + grace_ms", "wakes_up"),
        sets={"error": "'parked'"},
    )
    park = Event(
        Approved.ready.to(parked) | Approved.queued.to(parked, cond="attempt > 1"), doc="It is put aside."
    )
    unpark = Event(parked.to(Approved.ready), doc="A person wants it back.")
    wakes_up = Event(parked.to(Approved.ready), by=Actor.DEADLINE, doc="It was aside for long enough.")
    retry = Event(
        Approved.running.to(Approved.queued) | Approved.canceling.to(Approved.failed),
        by=Actor.CONSUMER,
        sets={"error": "value"},
    )
    redrive = None


class Sorted(RunMachine):
    """Guards of every kind: texts, None, three ways, columns compared with columns, arithmetic."""

    sorting = State("Decides by itself.", role=Role.WAITING, waits=True, initial=True)
    sort = Event(
        sorting.to(RunMachine.canceled, cond="dedupe == 'active' and dedupe_key is None")
        | sorting.to(RunMachine.failed, cond="attempt + 2 < max_attempts and (shared == 1 or suspect != 0)")
        | sorting.to(RunMachine.succeeded, cond="least(scheduled_for, expires_at) <= run_at and not shared"),
        doc="Sorts a run into what fits.",
    )
    take = Event(
        sorting.to(RunMachine.running, cond="claim == value"), by=Actor.CONSUMER, doc="The owner takes it."
    )


class Draft(JobMachine):
    """A recurring job begins as a draft."""

    draft = State("Not yet published.", role=Role.WAITING, waits=True, initial=True)
    publish = Event(
        draft.to(JobMachine.active, cond="occurrence is not None"),
        sets={"next_at": "occurrence"},
        doc="A person publishes it.",
    )
    revise = JobMachine.revise | draft.to.itself()
    end = JobMachine.end | draft.to(JobMachine.ended)


class Ticket(Lifecycle, table="kumofire_runs", machine="ticket"):
    """A lifecycle of its own, from nothing but words."""

    fields = dict(RunMachine.fields)
    parameters = dict(RunMachine.parameters)
    texts = RunMachine.texts

    opened = State("Somebody asked.", role=Role.WAITING, waits=True, initial=True)
    closed = State("It is answered.", role=Role.SETTLED)
    answer = Event(opened.to(closed, cond="value is not None"), sets={"result": "value"})
    reopen = Event(closed.to(opened, cond="attempt < max_attempts"), sets={"attempt": "attempt + 1"})


MACHINES = (RunMachine, JobMachine, Approved, Parked, Sorted, Draft, Ticket)
