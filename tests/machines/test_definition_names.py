"""Names that a state or an event may not have, in a lifecycle and in what inherits from one."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Event, Lifecycle, Role, RunMachine, State
from kumofire_fsm.machines._body import RESERVED

PUBLIC = {name for name in dir(Lifecycle) if not name.startswith("_")}


@pytest.mark.parametrize("name", [*sorted(RESERVED), "_hidden", "__hidden"])
def test_a_reserved_name_is_refused_for_a_state_and_for_an_event(declare, name):
    message = f"^{re.escape(f'Small.{name}: the name is reserved; choose another')}$"
    for kind in ("state", "event"):
        a, b = State(role=Role.WAITING, waits=True, initial=True), State(role=Role.SETTLED)
        with pytest.raises(DefinitionError, match=message):
            if kind == "state":
                declare(a=a, go=Event(a.to(b)), **{name: b})
            else:
                declare(a=a, b=b, go=Event(a.to(b)), **{name: Event(a.to(b))})


def test_every_public_attribute_of_a_machine_is_a_reserved_name(declare):
    taken = []
    for name in sorted(PUBLIC):
        a, b = State(role=Role.WAITING, waits=True, initial=True), State(role=Role.SETTLED)
        try:
            declare(a=a, b=b, go=Event(a.to(b)), **{name: Event(a.to(b))})
        except DefinitionError as refused:
            assert str(refused) == f"Small.{name}: the name is reserved; choose another"
        except Exception:
            taken.append(name)
        else:
            taken.append(name)
    assert taken == []


def test_a_subclass_may_not_call_a_state_like_an_inherited_event(declare):
    cancel = State(role=Role.SETTLED)
    with pytest.raises(DefinitionError, match=r"'cancel' names both a state and an event; rename one$"):
        declare(RunMachine, in_table=None, cancel=cancel, halt=Event(RunMachine.ready.to(cancel)))


def test_a_subclass_may_not_call_an_event_like_an_inherited_state(declare):
    held = Event(RunMachine.ready.to(RunMachine.canceled))
    with pytest.raises(DefinitionError, match=r"'queued' names both a state and an event; rename one$"):
        declare(RunMachine, in_table=None, queued=held)


def test_the_machine_is_named_after_its_class_in_snake_case():
    class ApprovedRun(RunMachine):
        pass

    assert (ApprovedRun.machine_name, ApprovedRun.spec.name) == ("approved_run", "approved_run")
    assert ApprovedRun.spec.table == "kumofire_runs"


def test_the_machine_is_named_as_the_class_says(declare):
    named = declare(RunMachine, in_table=None, named="approval")
    assert (named.spec.name, RunMachine.spec.name) == ("approval", "run")
