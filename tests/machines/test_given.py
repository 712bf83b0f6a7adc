"""An edge reads the parameters that come with its event: what the database would not find is refused."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.machines._rules import CLAIMED, FIRED, SWEPT
from kumofire_fsm.store import _claims, _due
from kumofire_fsm.store._branches import OPTIONAL
from kumofire_fsm.store.rows import Move
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import _MOVE

PARAMETERS = RunMachine.parameters.keys()


def refused(message, **body):
    with pytest.raises(DefinitionError, match=f"^small: {re.escape(message)}; it gives "):
        type(RunMachine)("Small", (RunMachine,), body, machine="small")


def test_what_is_said_to_be_given_is_what_the_statements_give():
    assert {*_claims._GIVEN, *OPTIONAL, "full"} & PARAMETERS == CLAIMED
    assert {*_due.TIMES, *OPTIONAL, "full"} & PARAMETERS == SWEPT
    assert {*Move._fields, *OPTIONAL} & PARAMETERS == FIRED
    assert JobMachine.parameters.keys() <= {*_MOVE}


@pytest.mark.parametrize("parameter", sorted(PARAMETERS - FIRED))
def test_people_give_nothing_that_only_a_start_gives(parameter):
    parked = State("Waits.", role=Role.WAITING, waits=True)
    refused(
        f"'park' from 'ready' to 'parked' reads {parameter}, which whoever fires it does not give",
        parked=parked,
        park=Event(RunMachine.ready.to(parked, cond=f"{parameter} is None")),
        free=Event(parked.to(RunMachine.ready)),
    )


@pytest.mark.parametrize("parameter", sorted(PARAMETERS - SWEPT))
@pytest.mark.parametrize("by", [Actor.DEADLINE, Actor.PERSON])
def test_a_deadline_gives_nothing_but_the_times(parameter, by):
    parked = State("Waits.", role=Role.WAITING, deadline=Deadline("now + 1", "free"))
    refused(
        f"'free' from 'parked' to 'ready' reads {parameter}, which a deadline does not give",
        parked=parked,
        park=Event(RunMachine.ready.to(parked)),
        free=Event(
            parked.to(RunMachine.ready, cond=f"{parameter} is None") | parked.to(RunMachine.ready), by=by
        ),
    )


def test_the_deadline_of_the_state_that_is_entered_is_read_with_the_event():
    parked = State("Waits.", role=Role.WAITING, deadline=Deadline("now + timeout_ms", "free"))
    refused(
        "'park' from 'ready' to 'parked' reads timeout_ms, which whoever fires it does not give",
        parked=parked,
        park=Event(RunMachine.ready.to(parked)),
        free=Event(parked.to(RunMachine.ready), by=Actor.DEADLINE),
    )


def test_a_start_gives_nothing_that_others_give():
    refused(
        "'start' from 'ready' to 'running' reads value, which a claim does not give",
        start=Event(
            RunMachine.ready.to(RunMachine.running, cond="value is None")
            | RunMachine.queued.to(RunMachine.running)
            | RunMachine.retrying.to(RunMachine.running),
            by=Actor.CONSUMER,
            sets=RunMachine.start.sets,
        ),
    )


def test_what_a_scan_tries_before_a_hint_has_the_parameters_of_a_claim_alone():
    body = {
        "expire": RunMachine.expire,
        "late": State("Late.", role=Role.WAITING, deadline=Deadline("now + lost_ms", "free")),
    }
    body["free"] = Event(body["late"].to(RunMachine.canceled), by=Actor.DEADLINE)
    body["expire"] = RunMachine.expire | RunMachine.ready.to(body["late"], cond="attempt > 5")
    refused(
        "'expire' from 'ready' to 'late' reads lost_ms, which a claim, which tries it first, does not give",
        **body,
    )


def test_what_is_accepted_compiles_into_every_statement():
    class Held(RunMachine):
        parked = State("Waits.", role=Role.WAITING, deadline=Deadline("now + lost_ms", "free"))
        park = Event(RunMachine.running.to(parked, cond="next_at > now and value is None") | RunMachine.running.to(parked) | RunMachine.canceling.to(parked), by=Actor.CONSUMER)  # fmt: skip
        free = Event(
            parked.to(RunMachine.ready, cond="grace_ms > 0") | parked.to(RunMachine.canceled),
            by=Actor.DEADLINE,
        )

    runs = RunStatements([RunMachine.spec, Held.spec])
    runs.compile_usual({})
    runs.claim(None, now=0, token="", alone=True, jobs={})
    for hints in ("all", "moves", "none"):
        for ids in (None, []):
            runs.sweep(ids, timing={}, now=0, limit=0, hints=hints, jobs=())
    for event in Held.spec.events:
        if event.id not in ("start", "hold_back", "admit"):
            runs.fire([event.id], [], fenced=True)
