"""The names of python-statemachine that no documentation promises, and that lifecycle.py leans on."""

from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace

from statemachine import Event, State, StateMachine
from statemachine.factory import StateMachineMetaclass
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from kumofire_fsm.machines import RunMachine


class Plain(StateMachine):
    """A machine of the library itself, which nothing of ours has touched."""

    a = State(initial=True)
    b = State(final=True)
    go = a.to(b)


def test_the_minor_version_is_the_one_that_was_read():
    assert version("python-statemachine").startswith("3.2.")


def test_a_state_keeps_initial_in_a_private_attribute_that_can_be_cleared():
    state = State(initial=True)
    assert (state._initial, state.initial) == (True, True)
    state._initial = False
    assert state.initial is False


def test_a_state_has_specs_and_a_list_of_transitions():
    state = State()
    assert hasattr(state, "_specs")
    assert isinstance(state.transitions, TransitionList)
    assert list(state.transitions) == []


def test_a_list_of_transitions_takes_more():
    a, b = State(), State()
    transition = Transition(a, b)
    edges = TransitionList()
    edges.add_transitions(transition)
    assert list(edges) == [transition]


def test_an_event_is_a_text_that_holds_its_transitions():
    a, b = State(), State()
    event = Event(a.to(b), id="go")
    assert (event, event.id, isinstance(event, str)) == ("go", "go", True)
    assert [(t.source, t.target) for t in event._transitions] == [(a, b)]


def test_a_transition_takes_a_function_as_guard_afterwards():
    assert callable(Transition(State(), State()).cond.add)


def test_the_names_of_callbacks_are_kept_with_the_class_its_states_and_its_edges():
    """What `kumofire_fsm.machines.lint._warnings` compares a class's methods with."""
    edge = next(iter(Plain.a.transitions))
    assert Plain._specs.conventional_specs == {"prepare_event"}
    assert Plain.a._specs.conventional_specs == {
        f"on_{what}_{which}" for what in ("enter", "exit", "invoke") for which in ("a", "state")
    }
    assert edge._specs.conventional_specs == {
        f"{when}_{which}" for when in ("before", "on", "after") for which in ("go", "transition")
    }


def test_the_metaclass_inherits_through_one_method_that_can_be_replaced():
    assert callable(StateMachineMetaclass.add_inherited)


def test_a_subclass_of_the_library_shares_its_base_s_states():
    """The reason for LifecycleMeta; when this fails, it may have become unnecessary."""

    class Sub(Plain):
        pass

    assert Sub.a is Plain.a
    assert RunMachine.ready is not type("Sub", (RunMachine,), {}).ready


def test_a_callback_is_told_the_transition_and_the_parameters():
    seen = {}

    class Told(Plain):
        def on_transition(self, transition, event_data):
            seen.update(
                source=transition.source.id,
                events=[event.id for event in transition.events],
                fired=event_data.event.id,
                kwargs=event_data.trigger_data.kwargs,
                state=self.current_state_value,
                field=self.state_field,
            )

    class Sub(Told):
        pass

    machine = Sub(SimpleNamespace(state="a"))
    machine.send("go", now=3)
    assert seen == {
        "source": "a",
        "events": ["go"],
        "fired": "go",
        "kwargs": {"now": 3},
        "state": "a",
        "field": "state",
    }
    assert machine.current_state_value == "b"


def test_what_a_state_calls_is_a_grouper_of_its_list_and_named_so():
    state = State()
    for name in ("enter", "exit", "invoke"):
        grouper = getattr(state, name)
        assert grouper.list is state._specs
        made = type(grouper)(grouper.list, grouper.group)
        assert made.add("on_enter_state", is_convention=True) is made
    assert state._specs.conventional_specs == {"on_enter_state"}


def test_decorators_of_events_and_lists_of_transitions_come_to_one_method():
    called = []

    class Listed(TransitionList):
        def _add_callback(self, callback, *_, **__):
            called.append(callback)

    for name in ("before", "on", "after", "cond", "unless", "validators"):
        getattr(Listed(), name)(len)
        assert name in vars(Event) or hasattr(Event, name)
    Listed()(len)
    assert called == [len] * 7


def test_the_state_of_a_machine_is_read_and_written_through_one_property():
    assert callable(StateMachine.configuration.fget)
    assert callable(StateMachine.configuration.fset)
