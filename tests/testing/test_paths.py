"""Shortest paths: the fewest moves from creation to a state, with guards satisfied on one row."""

from __future__ import annotations

import pytest
from lifecycles import MACHINES, Approved, Parked, Sorted

from kumofire_fsm import JobMachine, RunMachine
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.testing import NOW, assert_transition, paths_to


def moves(machine, state):
    return [path.moves for path in paths_to(machine, state)]


def test_the_shortest_paths_of_a_run_are_these():
    start = ("start", "running")
    assert moves(RunMachine, "ready") == [()]
    assert moves(RunMachine, "queued") == [(("enqueue", "queued"),)]
    assert moves(RunMachine, "retrying") == [(start, ("retry", "retrying")), (start, ("lose", "retrying"))]
    ends = ("retry", "fail", "lose")
    assert moves(RunMachine, "failed") == [(start, (event, "failed")) for event in ends]
    assert moves(RunMachine, "canceled") == [(("expire", "canceled"),), (("cancel", "canceled"),)]
    assert moves(RunMachine, "canceling") == [(start, ("cancel", "canceling"))]
    assert moves(JobMachine, "ended") == [(("advance", "ended"),), (("end", "ended"),)]
    assert moves(Approved, "ready") == [(("approve", "ready"),)]


def test_a_path_carries_what_opens_its_guards():
    facts = {path.moves[-1][0]: path.facts for path in paths_to(RunMachine, "retrying")}
    assert facts == {"retry": {"max_attempts": 2}, "lose": {"alone": 0}}
    expire, cancel = paths_to(RunMachine, "canceled")
    assert (expire.events, expire.facts, cancel.facts) == (("expire",), {"expires_at": NOW}, {})


@pytest.mark.parametrize("machine", MACHINES)
def test_one_row_goes_every_path_to_its_end(machine):
    spec = machine.spec
    for state in spec.states:
        paths = paths_to(machine, state.id)
        assert paths
        assert len({len(path.moves) for path in paths}) == 1
        for path in paths:
            given = {name: value for name, value in path.facts.items() if name in spec.parameters}
            at = spec.initial.id
            for number, (event, target) in enumerate(path.moves):
                at = assert_transition(machine, at, event, **(given if number else path.facts))
                assert at == target
            assert at == state.id


def test_a_path_whose_guards_exclude_each_other_is_passed_over_for_a_longer_one():
    class Guarded(RunMachine):
        first = State(role=Role.WAITING, waits=True, initial=True)
        second = State(role=Role.WAITING, waits=True)
        third = State(role=Role.WAITING, waits=True)
        go = Event(first.to(second, cond="suspect == 1"))
        detour = Event(first.to(third), sets={"suspect": "0"})
        back = Event(third.to(second))
        on = Event(second.to(RunMachine.ready, cond="suspect == 0"))

    assert moves(Guarded, "second") == [(("go", "second"),)]
    assert moves(Guarded, "ready") == [(("detour", "third"), ("back", "second"), ("on", "ready"))]


def test_values_are_searched_as_far_as_the_assignments_on_the_way_carry_them():
    class Counted(RunMachine):
        first = State(role=Role.WAITING, waits=True, initial=True)
        second = State(role=Role.WAITING, waits=True)
        third = State(role=Role.WAITING, waits=True)
        one = Event(first.to(second), sets={"attempt": "attempt + 1"})
        two = Event(second.to(third), sets={"attempt": "attempt + 1"})
        three = Event(third.to(RunMachine.ready, cond="attempt < max_attempts"))

    (path,) = paths_to(Counted, "ready")
    assert (path.events, path.facts) == (("one", "two", "three"), {"max_attempts": 3})


def test_a_state_that_no_row_can_come_to_has_no_path():
    class Shut(RunMachine):
        vault = State(role=Role.WAITING, waits=True)
        lock = Event(RunMachine.ready.to(vault, cond="suspect == 1 and suspect == 0"))
        open_up = Event(vault.to(RunMachine.ready))

    assert paths_to(Shut, "vault") == []


def test_an_unknown_state_is_refused():
    with pytest.raises(InvalidArgument, match=r"^parked has no state 'parkd' \(did you mean 'parked'\?\)"):
        paths_to(Parked, "parkd")
    assert moves(Sorted, "sorting") == [()]
