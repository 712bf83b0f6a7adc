"""Nothing that stands in a lifecycle's class body is dropped without a word."""

from __future__ import annotations

import re
from functools import cached_property

import pytest
import statemachine
from statemachine.states import States

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Event, Lifecycle, Role, RunMachine, State
from kumofire_fsm.machines.lint import lint


def refused(message, body, *, base=RunMachine, **options):
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        type(RunMachine)("Small", (base,), body, **options)


def waiting(**options):
    return State("Waits.", role=Role.WAITING, waits=True, **options)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("fieldz", {"a": 1}, " (did you mean 'fields'?); write constants of your own in capitals, or with a _ before them; found {'a': 1}"),
        ("role_set", {}, " (did you mean 'role_sets'?); write constants of your own in capitals, or with a _ before them; found {}"),
        ("redy", "ready", " (did you mean 'ready'?); write constants of your own in capitals, or with a _ before them; found 'ready'"),
        ("digset", "xyz", "; write constants of your own in capitals, or with a _ before them; found 'xyz'"),
        ("bound", 3, "; write constants of your own in capitals, or with a _ before them; found 3"),
    ],
)  # fmt: skip
def test_an_attribute_that_means_nothing_is_refused(name, value, why):
    refused(f"Small.{name} means nothing to a lifecycle{why}", {name: value})


def test_a_comma_too_many_is_seen():
    edges = (Event(RunMachine.ready.to(RunMachine.canceled)),)
    refused(
        "Small.halt means nothing to a lifecycle; is there a comma too many?; write constants of your own in "
        f"capitals, or with a _ before them; found {edges!r:.80}",
        {"halt": edges},
    )


def test_constants_methods_and_private_names_are_ones_own():
    class Small(RunMachine):
        DAY_MS = 86_400_000
        NOTHING = None
        LIVE = (RunMachine.ready, RunMachine.queued)
        _hidden = {"a": 1}
        listeners = []

        def describe(self):
            return self.DAY_MS

        @property
        def waits(self):
            return 0

        @cached_property
        def cached(self):
            return 1

        @staticmethod
        def helper():
            return 2

    assert Small.spec.edges == RunMachine.spec.edges
    assert (Small().describe(), Small().waits, Small().cached, Small.helper()) == (86_400_000, 0, 1, 2)


@pytest.mark.parametrize("value", [None])
def test_none_for_what_is_not_inherited_takes_nothing_away(value):
    refused(
        "Small.redrvie = None takes no event away: none of that name is inherited (did you mean 'redrive'?)",
        {"redrvie": value},
    )


def test_an_inherited_state_is_not_taken_away():
    refused(
        "Small.retrying is an inherited state, and no class takes a state away, because rows may be in it; "
        "declare it again, with retired=True",
        {"retrying": None},
    )


@pytest.mark.parametrize("value", [lambda self: None, property(lambda self: None), "x", 3, type("C", (), {})])
def test_an_inherited_state_or_event_is_not_hidden_by_something_else(value):
    refused("Small.ready is an inherited state; rename it", {"ready": value})
    refused("Small.cancel is an inherited event; rename it (None takes an event away)", {"cancel": value})


@pytest.mark.parametrize("name", ["fields", "parameters", "texts", "role_sets"])
def test_the_columns_of_a_subclass_are_those_of_its_table(name):
    refused(
        f"Small.{name}: the columns are those of the table; a subclass has no others. A field of the payload is "
        'declared as payload = {"amount": int}, and read as payload.amount',
        {name: getattr(RunMachine, name)},
    )


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("machine_name", "say class Small(..., machine=...)"),
        ("name", "say class Small(..., machine=...)"),
        ("table", "say class Small(..., table=...)"),
        ("on_transition", "rename it"),
        ("row", "rename it"),
        ("send", "rename it"),
        ("configuration", "rename it"),
        ("validate_trap_states", "rename it"),
        ("allow_event_without_transition", "rename it"),
        ("catch_errors_as_events", "rename it"),
    ],
)
def test_what_the_machine_itself_stands_on_is_not_overridden(name, mend):
    for value in (True, "x", lambda self: None):
        refused(f"Small.{name}: the name belongs to the machine itself; {mend}", {name: value})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"machien": "x"}, "no option 'machien' (did you mean 'machine'?); there are machine and table"),
        ({"abstract": True}, "no option 'abstract'; there are machine and table"),
        ({"machine": 5}, "machine must be a text; found 5"),
        ({"table": b"x"}, "table must be a text; found b'x'"),
    ],
)
def test_an_option_of_the_class_that_does_not_exist_is_refused(options, why):
    refused(f"class Small: {why}", {}, **options)


def test_an_empty_name_is_no_name():
    with pytest.raises(DefinitionError, match="the name '' is empty"):
        type(RunMachine)("Small", (RunMachine,), {}, machine="")


def test_a_state_that_is_annotated_and_not_declared_is_refused():
    message = "Small.parked is annotated as State, and not declared; write parked = State(...)"
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):

        class Small(RunMachine):
            parked: State

    with pytest.raises(DefinitionError, match=r"^Other\.park is annotated as Event, and not declared"):

        class Other(RunMachine):
            park: Event


def test_other_annotations_are_ones_own():
    class Small(RunMachine):
        model: object
        _cached: State
        LIMIT: int = 3
        halt: Event = Event(RunMachine.ready.to(RunMachine.canceled))

    assert Small.spec.event("halt") is not None


def test_an_edge_that_belongs_to_no_event_is_refused():
    held = waiting()
    go = Event(RunMachine.ready.to(held) | held.to(RunMachine.ready))
    held.to(RunMachine.canceled)
    refused(
        "an edge from 'held' to 'canceled' belongs to no event; give it to one, or drop it",
        {"held": held, "go": go},
    )


def test_one_edge_is_an_event_too():
    held = waiting()
    (edge,) = held.to(RunMachine.ready)
    body = {"held": held, "hold": Event(RunMachine.ready.to(held)), "free": edge}
    spec = type(RunMachine)("Small", (RunMachine,), body).spec
    assert [(e.source, e.target) for e in spec.edges_of("free")] == [("held", "ready")]


def test_what_python_statemachine_declares_in_its_own_way_is_refused():
    import enum

    names = enum.Enum("Names", {"left": "left", "right": "right"})
    states = States.from_enum(names, initial=names.left)
    refused(
        "state 'both' is a plain States of python-statemachine: declare it as State(..., role=...)",
        {"both": states},
    )
    refused(
        "event 'halt' is a plain Event of python-statemachine: declare it as Event(..., by=...)",
        {"halt": statemachine.Event(RunMachine.ready.to(RunMachine.canceled), id="halt")},
    )
    for compound in (statemachine.State.Compound, statemachine.State.Parallel):

        def body(ns):
            ns["inner"] = statemachine.State(initial=True)

        import types

        nested = types.new_class("nested", (compound,), exec_body=body)
        refused(
            "state 'nested' is a plain State of python-statemachine: declare it as State(..., role=...)",
            {"nested": nested},
        )


DECORATED = "a state or event does not decorate 'told': a move in the database calls nothing: "


@pytest.mark.parametrize("what", ["enter", "exit", "invoke"])
def test_a_state_decorates_nothing(what):
    def told(self):
        pass

    for state in (waiting(), RunMachine.ready):
        with pytest.raises(DefinitionError, match=f"^{re.escape(DECORATED)}"):
            getattr(state, what)(told)
    assert told.__dict__ == {}


@pytest.mark.parametrize("what", ["before", "on", "after", "cond", "unless", "validators"])
def test_an_event_and_a_list_of_edges_decorate_nothing(what):
    def told(self):
        pass

    held = waiting()
    edges = held.to(RunMachine.ready)
    for declared in (edges, edges | RunMachine.cancel, Event(edges), RunMachine.cancel):
        with pytest.raises(DefinitionError, match=f"^{re.escape(DECORATED)}"):
            getattr(declared, what)(told)
    with pytest.raises(DefinitionError, match=f"^{re.escape(DECORATED)}"):
        edges(told)


def test_callbacks_by_name_are_called_by_hand_and_their_misspelled_names_are_seen_by_lint():
    class Small(RunMachine):
        SEEN: list[str] = []

        def on_enter_canceled(self):
            self.SEEN.append("entered")

        def after_cancel(self):
            self.SEEN.append("after")

        def after_cancle(self):
            self.SEEN.append("never")

        def on_validate(self):
            self.SEEN.append("never")

    machine = Small()
    machine.send("cancel")
    assert machine.SEEN == ["entered", "after"]
    assert {(f.rule, f.what.split("'")[1]) for f in lint(Small)} == {
        ("callback", "after_cancle"),
        ("callback", "on_validate"),
    }


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"texts": RunMachine.texts - {"job"}}, "the default '' of 'job' is a text, so `texts` must name it"),
        ({"texts": RunMachine.texts | {"attempt"}}, "the default 0 of 'attempt' is none, so `texts` may not"),
        ({"texts": RunMachine.texts | {"erorr"}}, None),
    ],
)
def test_a_lifecycle_of_its_own_says_which_columns_hold_texts(declare, changed, why):
    a, b = waiting(initial=True), State("Ends.", role=Role.SETTLED)
    message = (
        f"Small: {why}" if why else "Small.texts names 'erorr', which is no column (did you mean 'error'?)"
    )
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        declare(Lifecycle, a=a, b=b, go=Event(a.to(b)), **changed)
