"""A flow that could get stuck, or that says what nobody would follow, is an error when its class is created."""

from __future__ import annotations

import types
from typing import Any

import pytest
from flows import Data, Entity, Order
from pydantic import BaseModel

from kumofire_fsm import Backoff, Kumofire
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline

TASK = Task("It is done.")


def flow(*, done: str = "a >> z", data: Any = Data, options: Any = None, **parts: Any) -> Any:
    """Create a flow with a first task `a`, an end `z`, more parts, and events as Python texts."""
    body = {"a": Task("It is done.", initial=True), "z": End("Over."), **parts}
    body |= {key: eval(text, dict(body), vars()) for key, text in [("done", done)] if text}
    for key, text in parts.items():
        if isinstance(text, str):
            body[key] = eval(text, {**body, "Flow": Flow, "Signal": Signal})
    return types.new_class("F", (Flow[data],), options or {}, lambda namespace: namespace.update(body))


def wait(**how: Any) -> Wait:
    return Wait("It waits.", **how)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"b": TASK, "done": "a >> z | b >> z"}, "the step 'b' cannot be reached from 'a'"),
        ({"b": TASK, "done": "a >> b >> a"}, "no way leads from 'a' to an end"),
        (
            {"w": wait(), "done": "a >> w", "go": "Signal(w.to(z), takes=None)"},
            "the wait 'w' has no deadline",
        ),
        (
            {"w": wait(waits=True), "done": "a.to(w, cond='data.total > 1') | a >> z"},
            "no signal and no deadline",
        ),
        ({"done": "a.to(z, cond='data.total > 1')"}, "the guards of 'done' out of 'a' may all fail"),
        ({"y": End(), "done": "a >> y | a >> z"}, "done from a to z is never taken: that to y stands before"),
        ({"done": "a.to(z, cond='total > 1') | a >> z"}, "a guard reads the data that its handler returned"),
        ({"done": "a.to(z, cond='data.totl > 1') | a >> z"}, r"does not have \(did you mean 'total'\?\)"),
        ({"done": "a.to(z, cond='data.total >') | a >> z"}, "'data.total >' is not an expression"),
        (
            {
                "w": wait(waits=True),
                "done": "a >> w",
                "go": "Signal(w.to(z, cond='data.total > 1'), takes=None)",
            },
            "out of a wait a guard reads columns, because nobody holds the row there",
        ),
        (
            {"w": wait(waits=True), "done": "a >> w", "go": "Signal(w.to(z, cond='size > 1'), takes=None)"},
            "reads 'size', which is no column of a run",
        ),
        (
            {"w": wait(waits=True), "done": "a >> w", "go": "Signal(w.to(z), takes=int)"},
            "is not a pydantic model",
        ),
        ({"go": "Signal(a.to(z), takes=None)"}, "the signal 'go' leads out of 'a', which is not a wait"),
        ({"b": Task(undo=True), "done": "a >> b >> z"}, "the task 'b' has an undo, and no edge undoes"),
        ({"fail": "Flow.any.undo(a)"}, "'fail' undoes its way to 'a', which is not an end"),
        (
            {"done": None, "on": "a >> z"},
            "only 'on' leads on from the task 'a'; who returns takes 'done'",
        ),
        ({"done": "a >> z | z >> a"}, "an edge leads out of the end 'z'"),
        ({"b": Task(initial=True), "done": "a >> b >> z"}, "exactly one step must be initial; found: a, b"),
        (
            {"w": wait(deadline=Deadline("now + 1", "lat")), "done": "a >> w", "late": "w.to(z)"},
            r"fires 'lat', which has no edge from there \(did you mean 'late'\?\)",
        ),
        (
            {"w": wait(deadline=Deadline("now + tomorrow", "late")), "done": "a >> w", "late": "w.to(z)"},
            "the deadline of 'w' reads 'tomorrow', which is no column of a run",
        ),
        (
            {"w": wait(deadline=Deadline("now + job", "late")), "done": "a >> w", "late": "w.to(z)"},
            "job",
        ),
        (
            {
                "w": wait(deadline=Deadline("now + 1", "late")),
                "done": "a >> w",
                "late": "w.to(z, cond='visit < 3')",
            },
            "the guards of 'late' out of 'w' may all fail",
        ),
        ({"retry": "a.to(z)"}, "'retry' is an event of every run"),
        ({"Big": TASK, "done": "a >> Big >> z"}, "the step 'Big' is not written as small_letters"),
        ({"b": Task(timeout=-1), "done": "a >> b >> z"}, r"F\.b: timeout must be at least 1 ms; found -1"),
        ({"b": Task(max_attempts=0), "done": "a >> b >> z"}, r"F\.b: max_attempts must be an integer from 1"),
        ({"notes": Backoff()}, "'notes' is Backoff.*; a flow holds steps, edges and signals alone"),
        ({"other": Order.pack, "done": "a >> other >> z"}, "'other' belongs to <flow Order>"),
        (
            {"b": Task(undo=True, pivot=True), "done": "a >> b >> z", "fail": "Flow.any.undo(z)"},
            "has an undo, and is the pivot",
        ),
        (
            {"undo_to_z": TASK, "done": "a >> undo_to_z >> z", "fail": "Flow.any.undo(z)"},
            "'undo_to_z' has the name of one that undoes",
        ),
        ({"data": int}, "the data <class 'int'> is not a pydantic model"),
        ({"options": {"version": 0}}, "version=0 is not an integer from 1 on"),
        ({"options": {"version": "2"}}, "version='2' is not an integer from 1 on"),
        ({"options": {"was": {"old": "a"}}}, "this is version 1"),
        ({"options": {"version": 2, "was": {"old": "b"}}}, "leads to no step"),
        ({"options": {"version": 2, "was": {"a": "z"}}}, "was names 'a', which is still a step"),
        ({"options": {"version": 2, "was": ["old"]}}, 'was={"old": "new"}'),
        ({"options": {"flow": "a@1"}}, "'a@1' cannot be stored"),
        ({"options": {"flow": 3}}, 'give flow="a_name"'),
    ],
    ids=str,
)
def test_a_flow_that_could_get_stuck_does_not_exist(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        flow(**{name: fresh(part) for name, part in parts.items()})


def fresh(part: Any) -> Any:
    """Return a step that no flow has yet."""
    if part is TASK:
        return Task("It is done.")
    return part


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Task(retry=5), "retry= is a Backoff, or a function"),  # type: ignore[arg-type]
        (lambda: Wait(deadline=5), "deadline= is a Deadline"),  # type: ignore[arg-type]
        (lambda: End("x", "sucess"), "outcome= is one of success, failure, cancellation"),  # type: ignore[arg-type]
        (lambda: Signal(TASK, takes=None), "a signal takes edges"),  # type: ignore[arg-type]
        (lambda: Signal(Wait("x", waits=True).to(End())), "a signal says what it carries: takes=Verdict"),
        (lambda: TASK >> 5, "an edge leads to a step of the flow; found 5"),  # type: ignore[operator]
        (lambda: (TASK >> End()) | 5, "| joins edges"),  # type: ignore[operator]
    ],
)
def test_a_declaration_says_at_once_what_it_cannot_take(make: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        make()


def test_a_flow_names_its_data() -> None:
    with pytest.raises(DefinitionError, match=r"class F\(Flow\[Data\]\)"):
        types.new_class("F", (Flow,))


def test_a_class_derived_from_a_flow_has_no_part_of_it() -> None:
    with pytest.raises(DefinitionError, match="say which data the flow carries"):
        types.new_class("Later", (Order,))


def test_one_name_for_a_step_is_enough() -> None:
    step = End("Over.")
    with pytest.raises(DefinitionError, match="'z' and 'other' name the same part"):
        flow(z=step, other=step)


def test_a_step_without_a_handler_is_refused_when_the_application_opens() -> None:
    app = Kumofire()
    for task in (Order.charge, Order.pack, Order.ship):
        app.step(task)(lambda ctx, data: None)
    with pytest.raises(DefinitionError, match=r"the flow 'order' has no handler for 'reserve'"):
        app.open_sync(":memory:").__enter__()
    app.step(Order.reserve)(lambda ctx, data: None)
    with pytest.raises(DefinitionError, match=r"no handler that undoes 'reserve'; write @app.undo"):
        app.open_sync(":memory:").__enter__()


def test_a_handler_is_registered_once_for_a_task_and_takes_the_data() -> None:
    app = Kumofire()
    with pytest.raises(DefinitionError, match=r"give a task of a flow, such as Order\.charge"):
        app.step(Entity.placed)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"a handler is handler\(ctx, data\)"):
        app.step(Order.pack)(lambda ctx: None)
    app.step(Order.pack)(lambda ctx, data: None)
    with pytest.raises(DefinitionError, match="has a handler already"):
        app.step(Order.pack)(lambda ctx, data: None)
    with pytest.raises(DefinitionError, match="declared without an undo"):
        app.undo(Order.pack)(lambda ctx, data: None)
    with pytest.raises(DefinitionError, match="give a class derived from Flow"):
        app.flow(BaseModel)  # type: ignore[arg-type]
    app.job("entity")(lambda ctx: None)
    with pytest.raises(DefinitionError, match="'entity' already"):
        app.flow(Entity)
