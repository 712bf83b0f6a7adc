"""Flows by the same three functions as lifecycles: each event at each step, paths to a step, one move."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Literal

import pytest
from flows import Data, Entity, Order, Trial
from pydantic import BaseModel, Field

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.flows import End, Flow, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.testing import NOW, assert_refused, assert_transition, paths_to, transition_cases

DAY = 86_400_000


class Speed(StrEnum):
    """How fast."""

    SLOW = "slow"
    FAST = "fast"


class Parcel(BaseModel):
    """What is sent; some of it is always to be given."""

    address: str
    plan: Literal["small", "large"]
    weight: int = Field(gt=0)
    speed: Speed = Speed.SLOW
    checked: bool = False
    note: str | None = None


class Sending(Flow[Parcel]):
    """A parcel that is looked at, mended, and looked at again."""

    look = Task("It is weighed.", initial=True, undo=True)
    mend = Task("A new box.")
    again = Task("It is weighed again.")
    pay = Wait("The customer pays.", deadline=Deadline(f"now + {DAY}", "late", "give_up"))
    fly = Task("By plane.", pivot=True)
    drive = Task("By road.")
    sent = End("On its way.")
    given_up = End("Back to the sender.", Outcome.FAILURE)
    lost = End("Gone.", Outcome.CANCELLATION)

    done = (
        look.to(pay, cond="data.checked and data.weight < 5 and data.weight > 1")
        | look >> mend >> again
        | again.to(pay, cond="data.plan == 'large' and data.note is not None")
        | again.undo(given_up, cond="data.weight > 30")
        | again >> mend
        | fly.undo(given_up, cond="data.weight > 100")
        | fly >> sent
        | drive >> sent
    )
    late = pay.to(fly, cond="visit < 3")
    give_up = pay.undo(given_up)
    by_speed = mend.to(fly, cond="data.speed == 'fast'") | mend.to(drive, cond="data.plan == 'large'")
    fail = Flow.any.undo(given_up)
    cancel = look.to(lost) | pay.to(lost)


FLOWS = [Order, Entity, Trial, Sending]
CASES = [case for flow in FLOWS for case in transition_cases(flow)]


def found(flow, step, event):
    return next(
        c for (c,) in (p.values for p in transition_cases(flow)) if (c.state, c.event) == (step, event)
    )


def moves(flow, step):
    return [path.moves for path in paths_to(flow, step)]


@pytest.mark.parametrize("case", CASES)
def test_each_way_of_a_case_is_taken_with_its_facts_and_none_where_there_is_none(case):
    for way in case.ways:
        moved = assert_transition(case.machine, case.state, case.event, **way.facts)
        assert (moved, moved.row["step"]) == (way.target, way.target)
    if not case.legal:
        assert assert_refused(case.machine, case.state, case.event) == "illegal"
    if case.shut is not None:
        assert assert_refused(case.machine, case.state, case.event, **case.shut) == "guard"


@pytest.mark.parametrize("flow", FLOWS)
def test_the_ways_of_all_cases_are_the_moves_that_the_database_lets_through(flow):
    spec, cases = flow.spec, [param.values[0] for param in transition_cases(flow)]
    ways = {(case.state, target) for case in cases for target in case.targets}
    assert ways <= spec.moves
    assert {move for move in spec.moves - ways if move[0] not in ("", "*")} == set()


def test_the_ids_say_flow_step_event_and_whether_it_is_illegal():
    ids = [param.id for param in transition_cases(Entity)]
    assert ids[:4] == [
        "entity-placed-remind-illegal",
        "entity-placed-pay",
        "entity-placed-ship-illegal",
        "entity-placed-drop",
    ]
    assert len(ids) == len(set(ids)) == 20


def test_a_guard_out_of_a_task_is_opened_by_data_and_one_out_of_a_wait_by_columns():
    charge = found(Order, "charge", "done")
    assert [(way.target, way.guard, way.facts) for way in charge.ways] == [
        ("approval", "data.total > 100000", {"data": {"total": 100_001}}),
        ("pack", "", {}),
    ]
    again = found(Trial, "dunning", "again")
    assert ([way.facts for way in again.ways], again.shut) == ([{}], {"visit": 8})


def test_data_is_found_that_the_model_takes_and_that_is_as_plain_as_can_be():
    assert [way.facts for way in found(Sending, "look", "done").ways] == [
        {"data": {"checked": 1, "weight": 2}},
        {},
    ]
    assert [way.facts for way in found(Sending, "mend", "by_speed").ways] == [
        {"data": {"speed": "fast"}},
        {"data": {"plan": "large"}},
    ]
    assert found(Sending, "mend", "by_speed").shut == {}


def test_data_that_the_model_refuses_is_never_offered():
    class Weighed(Flow[Parcel]):
        """Its first edge asks for what no parcel has."""

        look = Task("It is weighed.", initial=True)
        air = End("Air.")
        sent = End("Sent.")
        done = look.to(air, cond="data.weight < 1") | look >> sent

    first, last = found(Weighed, "look", "done").ways
    assert (first.opens, last.facts) == (None, {})
    with pytest.raises(InvalidArgument, match=r"data: Parcel\.weight: Input should be greater than 0"):
        assert_transition(Weighed, "look", "done", data={"weight": 0})


def test_an_undo_leads_to_its_end_at_once_where_nothing_is_to_be_undone():
    fail = found(Order, "pack", "fail")
    assert [(way.target, way.facts) for way in fail.ways] == [
        ("undo_to_undone", {"undo": '["reserve"]'}),
        ("undone", {}),
    ]
    undo = found(Order, "undo_to_undone", "undo")
    assert [(way.target, way.facts) for way in undo.ways] == [
        ("undo_to_undone", {"undo": '["reserve","charge"]'}),
        ("undone", {}),
    ]
    assert found(Sending, "fly", "done").targets == ("given_up", "sent")


def test_an_instance_goes_on_from_where_an_earlier_assertion_left_it_with_its_data():
    charge = assert_transition(Order, "reserve", "done", data=Data(total=200_000))
    assert (charge, charge.row["state"], charge.row["undo"]) == ("charge", "running", '["reserve"]')
    approval = assert_transition(Order, charge, "done")
    assert (approval, approval.row["state"]) == ("approval", "waiting")
    assert approval.row["wake_at"] == NOW + 3 * DAY
    undoing = assert_transition(Order, approval, "overlook", now=NOW + 3 * DAY)
    assert (undoing, undoing.row["undo"]) == ("undo_to_undone", '["reserve","charge"]')
    undoing = assert_transition(Order, undoing, "undo", now=NOW + 3 * DAY)
    assert (undoing, undoing.row["undo"]) == ("undo_to_undone", '["reserve"]')
    undone = assert_transition(Order, undoing, "undo", now=NOW + 3 * DAY)
    assert (undone, undone.row["state"], undone.row["finished_at"]) == ("undone", "failed", NOW + 3 * DAY)
    assert json.loads(str(undone.row["payload"]))["total"] == 200_000


def test_a_signal_and_what_it_carries_is_on_the_row():
    paid = assert_transition(Entity, "placed", "pay", value='"by card"')
    assert (paid, paid.row["letter"]) == ("paid", '[[1,"pay","by card"]]')
    assert assert_transition(Entity, paid, "drop", value='{"by":"ann"}').row["state"] == "canceled"
    assert assert_refused(Entity, paid, "drop", visit=5) == "guard"


def test_what_does_not_move_says_which_events_lead_on_and_what_the_guards_read():
    refused = assert_refused(Order, "charge", "approve")
    assert (refused, refused.error.legal) == ("illegal", ("done", "fail", "cancel"))
    message = (
        "sending: 'by_speed' from 'mend' needs data.speed == 'fast' or data.plan == 'large'; "
        "found data.speed='slow', data.plan='small'"
    )
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        assert_transition(Sending, "mend", "by_speed")
    message = (
        "order: 'done' moves from 'charge' to 'approval', and was to be refused; found data.total=100001"
    )
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        assert_refused(Order, "charge", "done", data={"total": 100_001})


def test_the_shortest_paths_of_an_order_are_these():
    done = ("done", "charge")
    assert moves(Order, "reserve") == [()]
    assert moves(Order, "approval") == [(done, ("done", "approval"))]
    assert moves(Order, "shipped") == [(done, ("done", "pack"), ("done", "ship"), ("done", "shipped"))]
    assert moves(Order, "undone") == [(("fail", "undone"),), (("cancel", "undone"),)]
    assert moves(Order, "undo_to_undone") == [
        (done, (event, "undo_to_undone")) for event in ("fail", "cancel")
    ]
    assert moves(Trial, "dunning") == [
        (("done", "trying"), ("upgrade", "charge"), (event, "dunning")) for event in ("by_hand", "fail")
    ]


def test_a_path_says_what_each_step_returns():
    (path,) = paths_to(Order, "approval")
    assert (path.events, path.facts, path.data) == (("done", "done"), {}, ({}, {"total": 100_001}))
    (path,) = paths_to(Sending, "pay")
    assert path.data == ({"checked": 1, "weight": 2},)
    assert [(path.events, path.data) for path in paths_to(Sending, "fly")] == [
        (("done", "late"), ({"checked": 1, "weight": 2}, {})),
        (("done", "by_speed"), ({}, {"speed": "fast"})),
    ]


@pytest.mark.parametrize("flow", FLOWS)
def test_one_instance_goes_every_path_to_its_end(flow):
    for step in flow.spec.steps:
        paths = paths_to(flow, step.id)
        assert paths
        assert len({len(path.moves) for path in paths}) == 1
        for path in paths:
            at = flow.spec.first.id
            for number, ((event, target), data) in enumerate(zip(path.moves, path.data, strict=True)):
                at = assert_transition(flow, at, event, data=data, **({} if number else path.facts))
                assert at == target
            assert at == step.id


def test_steps_may_return_data_that_exclude_each_other_on_one_path():
    class Two(Flow[Data]):
        """First the one, then the other."""

        first = Task("One.", initial=True)
        second = Task("Two.")
        good = End("Good.")
        bad = End("Bad.")
        done = (
            first.to(second, cond="data.number == 7")
            | first >> bad
            | second.to(good, cond="data.number == 9")
            | second >> bad
        )

    (path,) = paths_to(Two, "good")
    assert path.data == ({"number": 7}, {"number": 9})


@pytest.mark.parametrize("ask", [assert_transition, assert_refused])
@pytest.mark.parametrize(
    ("step", "event", "given", "message"),
    [
        ("chrge", "done", {}, "order has no state 'chrge' (did you mean 'charge'?); it has: reserve, "),
        ("charge", "don", {}, "order has no event 'don' (did you mean 'done'?); it has: done, "),
        ("charge", "done", {"data": {"totl": 1}}, "data: Data has no field 'totl' (did you mean 'total'?)"),
        ("charge", "done", {"data": {"total": "x"}}, "data: Data.total: Input should be a valid integer"),
        ("charge", "done", {"data": 5}, "data=5: order carries Data; give one, or a dict of fields"),
        ("charge", "done", {"step": "pack"}, "the step is the second argument, not a column to give"),
        ("charge", "done", {"vist": 1}, "'vist' is neither a column nor a parameter of order@2"),
    ],
)  # fmt: skip
def test_a_name_or_value_that_cannot_be_is_never_taken_for_a_refusal(ask, step, event, given, message):
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}"):
        ask(Order, step, event, **given)


def test_an_unknown_step_has_no_paths():
    with pytest.raises(InvalidArgument, match=r"^entity has no state 'payd' \(did you mean 'paid'\?\)"):
        paths_to(Entity, "payd")
