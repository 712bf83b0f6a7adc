"""The assertions on one row: what moves, what is refused, and what each says when it is wrong."""

from __future__ import annotations

import json
import re

import pytest
from lifecycles import Approved, Parked, Ticket

from kumofire_fsm import JobMachine, RunMachine
from kumofire_fsm.errors import GuardFailed, InvalidArgument, TransitionNotAllowed
from kumofire_fsm.machines import Deadline, Event, Role, State
from kumofire_fsm.testing import NOW, Moved, assert_refused, assert_transition
from kumofire_fsm.testing._rows import parts


def test_an_event_that_moves_a_row_returns_the_new_state_and_the_whole_row():
    moved = assert_transition(RunMachine, "running", "retry", attempt=1, max_attempts=3, next_at=NOW + 7)
    assert moved == "retrying"
    assert isinstance(moved, Moved)
    assert moved.row.keys() == RunMachine.fields.keys()
    assert (moved.row["state"], moved.row["run_at"], moved.row["attempt"]) == ("retrying", NOW + 7, 1)
    assert json.loads(str(moved.row["history"])) == [["retry", "retrying", NOW]]


def test_a_row_goes_on_from_where_an_earlier_assertion_left_it():
    running = assert_transition(RunMachine, "ready", "start", token="one", max_attempts=2)
    retrying = assert_transition(RunMachine, running, "retry", value='"no luck"')
    again = assert_transition(RunMachine, retrying, "start", token="two")
    assert (again, again.row["attempt"], again.row["claim"]) == ("running", 2, "two")
    assert assert_transition(RunMachine, again, "retry") == "failed"
    assert assert_transition(RunMachine, again, "retry", max_attempts=3) == "retrying"


def test_a_row_has_sensible_times_unless_others_are_given():
    running = assert_transition(RunMachine, "ready", "start").row
    assert (running["run_at"], running["created_at"], running["started_at"]) == (NOW, NOW, NOW)
    assert (running["timeout_at"], running["wake_at"]) == (NOW + 70_000, NOW + 70_000)
    later = assert_transition(RunMachine, "ready", "start", now=NOW + 5, lease_ms=2, timeout_ms=9).row
    assert (later["started_at"], later["timeout_at"], later["wake_at"]) == (NOW + 5, NOW + 14, NOW + 7)


def test_a_row_has_the_wake_at_that_its_state_asks_for():
    canceling = assert_transition(RunMachine, "running", "cancel", timeout_at=NOW + 90_000)
    assert canceling.row["wake_at"] == NOW + 30_000
    assert assert_transition(JobMachine, "active", "advance", occurrence=NOW + 5).row["last_at"] is None


def test_a_row_whose_deadline_has_no_time_yet_is_due_now():
    active, _ = parts(JobMachine.spec, "active", {}, {})
    assert (active["next_at"], active["wake_at"]) == (None, NOW)
    paused, _ = parts(JobMachine.spec, "paused", {}, {})
    assert paused["wake_at"] is None


def test_a_lifecycle_of_ones_own_is_asked_in_the_same_way():
    ready = assert_transition(Approved, "approval", "approve", value='["vip"]')
    assert (ready, ready.row["tags"], ready.row["machine"]) == ("ready", '["vip"]', "approved")
    assert assert_transition(Parked, ready, "park").row["error"] == "parked"
    assert assert_refused(Parked, "queued", "park") == "guard"
    assert assert_transition(Ticket, "opened", "answer", value="1") == "closed"
    assert assert_refused(Ticket, "opened", "answer") == "guard"


def test_a_refusal_says_whether_it_is_illegal_or_a_guard():
    illegal = assert_refused(RunMachine, "running", "redrive")
    assert (illegal, type(illegal.error)) == ("illegal", TransitionNotAllowed)
    assert "cancel" in illegal.error.legal
    guard = assert_refused(RunMachine, "ready", "expire", expires_at=NOW + 1)
    assert (guard, type(guard.error)) == ("guard", GuardFailed)


@pytest.mark.parametrize(
    ("state", "event", "row", "message"),
    [
        (
            "ready", "expire", {"expires_at": NOW + 1},
            f"run: 'expire' from 'ready' needs expires_at <= now; found expires_at={NOW + 1}, now={NOW}",
        ),
        (
            "succeeded", "cancel", {},
            "run: 'cancel' is not allowed from 'succeeded'; legal there: nothing",
        ),
    ],
)  # fmt: skip
def test_an_event_that_should_move_and_does_not_fails_with_the_reason(state, event, row, message):
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        assert_transition(RunMachine, state, event, **row)


@pytest.mark.parametrize(
    ("event", "row", "message"),
    [
        (
            "retry", {"max_attempts": 3},
            "run: 'retry' moves from 'running' to 'retrying', and was to be refused; found attempt=0, max_attempts=3",
        ),
        ("cancel", {}, "run: 'cancel' moves from 'running' to 'canceling', and was to be refused"),
    ],
)  # fmt: skip
def test_an_event_that_should_be_refused_and_moves_fails(event, row, message):
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        assert_refused(RunMachine, "running", event, **row)


def test_a_row_that_the_database_would_refuse_fails_though_its_edge_is_open():
    class Timed(RunMachine):
        timed = State(role=Role.WAITING, deadline=Deadline("scheduled_for", "overdue"))
        hold = Event(RunMachine.ready.to(timed))
        overdue = Event(timed.to(RunMachine.ready))

    assert assert_transition(Timed, "ready", "hold", scheduled_for=9).row["wake_at"] == 9
    message = (
        "timed: 'hold' moves from 'ready' to 'timed' with wake_at=None, which the database refuses: "
        "'timed' has a deadline"
    )
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        assert_transition(Timed, "ready", "hold")


@pytest.mark.parametrize("ask", [assert_transition, assert_refused])
@pytest.mark.parametrize(
    ("state", "event", "row", "message"),
    [
        ("runing", "retry", {}, "run has no state 'runing' (did you mean 'running'?); it has: ready, queued, "),
        ("running", "rety", {}, "run has no event 'rety' (did you mean 'retry'?); it has: enqueue, "),
        (
            "running", "retry", {"atempt": 1},
            "'atempt' is neither a column nor a parameter of run (did you mean 'attempt'?); known are alone, ",
        ),
        ("running", "retry", {"state": "ready"}, "the state is the second argument, not a column to give"),
        ("running", "retry", {"attempt": True}, "attempt=True: attempt holds an integer"),
        ("running", "retry", {"attempt": 1.5}, "attempt=1.5: attempt holds an integer"),
        ("running", "retry", {"attempt": "1"}, "attempt='1': attempt holds an integer"),
        ("running", "retry", {"error": 1}, "error=1: error holds a text, or None"),
    ],
)  # fmt: skip
def test_a_name_or_value_that_cannot_be_is_never_taken_for_a_refusal(ask, state, event, row, message):
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}"):
        ask(RunMachine, state, event, **row)


def test_something_that_is_no_lifecycle_is_refused():
    message = "^<class 'int'> is not a lifecycle or a flow: give a class such as RunMachine, or your Flow$"
    with pytest.raises(InvalidArgument, match=message):
        assert_transition(int, "ready", "start")
