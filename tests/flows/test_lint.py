"""What lint warns of in a flow that may exist; and that flows which mean what they say are clean."""

from __future__ import annotations

import pytest
from flows import Data, Entity, Order, Trial

from examples.flows import approval, nightly_import, order
from kumofire_fsm import RunMachine
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.testing import lint

CLEAN = [Order, Entity, Trial, order.Order, approval.Approval, nightly_import.NightlyImport]


def told(flow):
    return [(each.rule, each.state, each.event) for each in lint(flow)]


@pytest.mark.parametrize("flow", CLEAN)
def test_these_flows_have_nothing_to_mend(flow):
    assert lint(flow) == []


def test_guards_on_data_are_judged_as_those_on_columns():
    class Sorted(Flow[Data]):
        """Guards that overlap, and guards that never hold."""

        sort = Task("It is looked at.", initial=True)
        rest = Wait("It rests.", deadline=Deadline("now + 1000", "wake"))
        big = End("Big.")
        paid = End("Paid.")
        done = (
            sort.to(big, cond="data.total > 5")
            | sort.to(paid, cond="data.charge_id is not None")
            | sort.to(paid, cond="data.total > 7")
            | sort.to(big, cond="data.number == 1 and data.number == 2")
            | sort >> rest
        )
        wake = rest.to(big, cond="visit < 3") | rest.to(paid, cond="visit < 2") | rest.to(big)

    found = lint(Sorted)
    assert [(each.rule, each.state, each.what) for each in found] == [
        (
            "shadowed-edge", "sort",
            "done from sort to paid [data.total > 7] is never taken: whenever its guard holds, one before it does",
        ),
        (
            "impossible-guard", "sort",
            "the guard of done from sort to big [data.number == 1 and data.number == 2] never holds",
        ),
        (
            "overlapping-guards", "sort",
            (
                "done from sort to big [data.total > 5] and done from sort to paid [data.charge_id is not None] "
                "both hold for data.total=100, data.charge_id='other 0'"
            ),
        ),
        (
            "shadowed-edge", "rest",
            "wake from rest to paid [visit < 2] is never taken: whenever its guard holds, one before it does",
        ),
    ]  # fmt: skip


def test_an_event_out_of_a_wait_that_nobody_fires_is_told():
    class Forgotten(Flow[Data]):
        """The event was to be a signal."""

        first = Wait("It waits.", initial=True, deadline=Deadline("now + 1000", "late"))
        second = Wait("It waits for ever.", waits=True)
        over = End("Over.")
        late = first.to(second) | second.to(over)
        close = first.to(over)
        go = Signal(second.to(over), takes=None)
        cancel = Flow.any.to(over)

    assert told(Forgotten) == [("unfired-event", "first", "close"), ("unfired-event", "second", "late")]


def test_an_undo_that_is_never_called_and_a_pivot_before_nothing_are_told():
    class Idle(Flow[Data]):
        """The undo stands behind the last edge that undoes, or before a pivot."""

        start = Task("Nothing was done before it.", initial=True, pivot=True)
        pay = Task("Paid.", undo=True)
        check = Task("Checked.")
        send = Task("Sent.", pivot=True, undo=False)
        tell = Task("A mail.", undo=True)
        over = End("Over.")
        undone = End("Undone.", Outcome.FAILURE)
        done = start >> pay >> check >> send >> tell >> over
        fail = tell.undo(undone)

    assert told(Idle) == [
        ("unused-undo", "pay", None),
        ("unused-undo", "tell", None),
        ("idle-pivot", "start", None),
    ]


def test_an_undo_counts_as_called_by_a_cancellation_of_its_own_task_and_up_to_the_end_of_a_pivot():
    class Called(Flow[Data]):
        """Each undo has an edge that undoes."""

        pay = Task("Paid.", initial=True, undo=True)
        send = Task("Sent.", pivot=True)
        tell = Task("A mail.", undo=True)
        over = End("Over.")
        undone = End("Undone.", Outcome.FAILURE)
        done = pay >> send >> tell >> over
        fail = send.undo(undone)
        cancel = tell.undo(undone)

    assert told(Called) == []


def test_a_step_without_a_sentence_is_told():
    class Silent(Flow[Data]):
        """Nothing is said of its steps."""

        work = Task(initial=True)
        over = End("Over.")
        done = work >> over

    assert told(Silent) == [("undocumented-step", "work", None)]


def test_lifecycles_are_linted_by_the_same_function_and_what_is_neither_is_refused():
    assert lint(RunMachine) == []
    with pytest.raises(InvalidArgument, match="is not a lifecycle"):
        lint(int)
