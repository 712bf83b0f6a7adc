"""A flow as it is tested: its steps and events, and an instance's row that moves as it does at work.

Out of a task the flow's walk says where the data leads, out of a wait its lifecycle does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kumofire_fsm.errors import InvalidArgument, TransitionError
from kumofire_fsm.flows.fields import FlowData
from kumofire_fsm.flows.guards import data_name, fields_read
from kumofire_fsm.flows.instance import TRIES, FlowMachine, machine_of, rests_in
from kumofire_fsm.flows.moves import entering
from kumofire_fsm.flows.spec import CANCEL, FAIL, FlowSpec, Kind, StepEdge, StepSpec
from kumofire_fsm.flows.view import UNDO, steps_as_machine
from kumofire_fsm.flows.walk import after_task, after_undo
from kumofire_fsm.machines import EdgeSpec
from kumofire_fsm.machines.expression import Call, Scalar, parse
from kumofire_fsm.machines.lint.grid import Grid
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.testing._rows import parts

__all__ = ["FlowScene", "Row"]

Row = dict[str, Scalar]
_FIXED: Final = ("state", "machine", "step", "undo")


class FlowScene:
    """A flow: the table is that of its steps, the row that of an instance."""

    def __init__(self, flow: FlowSpec) -> None:
        self.flow, self.spec = flow, machine_of(flow)
        self.table = replace(steps_as_machine(flow), edges=tuple(_edges(flow)))
        read = {name for edge in flow.edges if edge.guard for name in fields_read(edge.guard)}
        self._data = FlowData(flow.name, flow.data, sorted(read))
        self._undone = [step.id for step in flow.of_kind(Kind.TASK) if step.undo]

    def start(self, at: str, before: Mapping[str, Scalar], given: Mapping[str, Any]) -> tuple[Row, Row]:
        """Return the row of an instance at a step, held by a worker where there is something to do."""
        if "step" in given:
            raise InvalidArgument("the step is the second argument, not a column to give")
        step = self._step(at)
        columns = {name: value for name, value in given.items() if name != "data"}
        state = self._state(step)
        was = str(before.get("state"))
        if self.spec.has_role(state, Role.LEASED) and self.spec.has_role(was, Role.CLAIMABLE):
            _, parameters = parts(self.spec, was, before, columns)
            before = self.spec.step(before, "start", **parameters)
        begins = {} if before else {**self.spec.begins, "step": at, "undo": self._stacks(step)[0]}
        row, parameters = parts(self.spec, state, before, {**begins, **columns})
        if "data" in given or not before:
            row["payload"] = self._data.text(given.get("data", {}))
        return row, parameters

    def seen(self, row: Row, parameters: Row) -> Row:
        """Return columns, parameters, and the fields of the data that guards read."""
        data = self._data.of(row["payload"])
        return {**row, **parameters, **{data_name(n): getattr(data, n) for n in self._data.read}}

    def step(self, row: Row, event: str, parameters: Row) -> Row:
        """Return the row as the event leaves it, entered as a worker or a statement enters a step."""
        at = self._step(self.place(row))
        self.table.step(
            {**self.seen(row, parameters), "state": at.id}, event
        )  # refuses what has no open edge
        if event == CANCEL and at.kind is Kind.TASK:
            asked = self.spec.step(row, CANCEL, **parameters)
            return self.spec.step(asked, "stop", **parameters)
        if at.kind is Kind.WAIT or event == FAIL:
            return self.spec.step(row, event, **parameters)
        done = json.loads(str(row["undo"]))
        if at.kind is Kind.UNDO:
            to = after_undo(self.flow, at.id, done)
        else:
            to = after_task(self.flow, at.id, self._data.of(row["payload"]), done, event)
        tries = to.step.max_attempts or TRIES
        fires, what = entering(self.flow, to, {**row, "now": parameters["now"]}, tries=tries)
        what |= {"was_visit": row["visit"], "step_ms": parameters["timeout_ms"], "data": row["payload"]}
        given = {name: value for name, value in what.items() if name in self.spec.parameters}
        return self.spec.step(row, fires, **{**parameters, **given})

    def place(self, row: Mapping[str, Scalar]) -> str:
        """Return the step."""
        return str(row["step"])

    def trials(self, at: str, edges: Sequence[EdgeSpec]) -> Iterator[tuple[dict[str, Any], Row]]:
        """Yield data, columns, and what is to be undone, the fewest changes first."""
        row, parameters = self.start(at, {}, {})
        before = self.seen(row, parameters)
        stacks = self._stacks(self._step(at)) if any("undo" in edge.reads() for edge in edges) else [""]
        for number, stack in enumerate(stacks):
            more = {"undo": stack} if number else {}
            for changes in self._grid(edges, before, 0).rows():
                facts = self._facts(changes)
                if self._data.fits(facts.get("data", {})):
                    yield {**facts, **more}, {**before, **changes, **more}

    def beginnings(self, edges: Sequence[EdgeSpec]) -> Iterator[dict[str, Any]]:
        """Yield columns and parameters; the data is returned on the way."""
        row, parameters = self.start(self.flow.first.id, {}, {})
        tried = [each for edge in edges for each in self.table.edges_from(edge.source, edge.event)]
        waits = [each for each in tried if self._step(each.source).kind is Kind.WAIT]
        yield from self._grid(waits, self.seen(row, parameters), len(edges)).rows()

    def goes(
        self, edges: Sequence[EdgeSpec], facts: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], ...] | None:
        """Return what each step's handler has to return for one instance to go this way."""
        row: Row = {}
        returned = []
        again = {name: value for name, value in facts.items() if name in self.spec.parameters}
        for edge in edges:
            given = again if row else facts
            for data in self._returns(edge):
                before, parameters = self.start(edge.source, row, {**given, "data": data})
                after = self._after(before, edge.event, parameters)
                if after is not None and self.place(after) == edge.target:
                    break
            else:
                return None
            row = after or {}
            returned.append(data)
        return tuple(returned)

    def _after(self, row: Row, event: str, parameters: Row) -> Row | None:
        try:
            return self.step(row, event, parameters)
        except TransitionError:
            return None

    def _returns(self, edge: EdgeSpec) -> Iterator[Mapping[str, Any]]:
        """Yield data that may open an edge out of a task; nothing but the defaults out of others."""
        tried = self.table.edges_from(edge.source, edge.event)
        fields = {data_name(name) for name in self._data.read}
        found = (facts.get("data", {}) for facts, _ in self.trials(edge.source, tried))
        return found if any(each.reads() & fields for each in tried) else iter([{}])

    def _grid(self, edges: Sequence[EdgeSpec], before: Row, reach: int) -> Grid:
        texts = {*self.spec.texts, *map(data_name, self._data.texts)}
        guards = [edge.guard for edge in edges]
        return Grid(guards, before, texts=texts, fixed=_FIXED, reach=reach, natural=True)

    def _facts(self, changes: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return changes as they are given to `assert_transition`: fields of the data under ``data``."""
        fields = {data_name(name): name for name in self._data.read}
        data = {fields[name]: value for name, value in changes.items() if name in fields}
        facts: dict[str, Any] = {name: value for name, value in changes.items() if name not in fields}
        return {**facts, "data": data} if data else facts

    def _stacks(self, step: StepSpec) -> list[str]:
        """Return what may be to undo, as the column holds it: the likeliest first."""
        tasks = self._undone
        stacks = [tasks[:1], [*tasks, *tasks][:2]] if tasks else []
        if step.kind is not Kind.UNDO:
            stacks.insert(0, [])
        return [json.dumps(stack, separators=(",", ":")) for stack in stacks or [[]]]

    def _state(self, step: StepSpec) -> str:
        """Return the state of the run at a step that may be left."""
        at_work = step.kind in (Kind.TASK, Kind.UNDO)
        return (FlowMachine.running if at_work else rests_in(step)).id

    def _step(self, step_id: str) -> StepSpec:
        found = self.flow.step(step_id)
        assert found is not None
        return found


def _edges(flow: FlowSpec) -> Iterator[EdgeSpec]:
    """Yield the ways from step to step; one that undoes leads to its end at once when nothing is to undo."""
    for edge in flow.edges:
        if not edge.undo:
            yield _edge(edge, edge.target)
            continue
        source = flow.step(edge.source)
        assert source is not None
        returned = source.kind is Kind.TASK and edge.event not in (FAIL, CANCEL)
        if returned and source.undo:
            yield _edge(edge, edge.enters)
        elif returned and source.pivot:
            yield _edge(edge, edge.target)
        else:
            yield _edge(edge, edge.enters, "size(undo) > 0")
            yield _edge(edge, edge.target)
    for step in flow.of_kind(Kind.UNDO):
        again = "size(undo) > 1"
        yield EdgeSpec(UNDO, step.id, step.id, parse(again), again, {})
        yield EdgeSpec(UNDO, step.id, step.leads, None, "", {})


def _edge(edge: StepEdge, target: str, also: str = "") -> EdgeSpec:
    guard, text = edge.guard, edge.guard_text
    if also and guard is not None:
        guard, text = Call("And", (guard, parse(also))), f"({text}) and {also}"
    elif also:
        guard, text = parse(also), also
    return EdgeSpec(edge.event, edge.source, target, guard, text, {})
