"""What the tests of a machine need to know of it: its table, rows to try, and how a row moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from kumofire_fsm.errors import InvalidArgument, TransitionError
from kumofire_fsm.flows import Flow, FlowSpec
from kumofire_fsm.machines import EdgeSpec, Lifecycle, MachineSpec
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.lint.grid import Grid
from kumofire_fsm.machines.payload import PREFIX
from kumofire_fsm.testing._flow_scene import FlowScene, Row
from kumofire_fsm.testing._rows import parts

__all__ = ["Declared", "Scene", "scene_of"]

Declared = type[Lifecycle | Flow[Any]]
"""What can be tested by itself: a lifecycle, or a flow."""


class Scene(Protocol):
    """A lifecycle, or a flow, as it is tested.

    Attributes:
        table: the states or steps, the events, and the edges in the order in which they are tried.
        spec: the lifecycle of the row.
    """

    table: MachineSpec
    spec: MachineSpec

    def start(self, at: str, before: Mapping[str, Scalar], given: Mapping[str, Any]) -> tuple[Row, Row]:
        """Return a whole row at a state or step, and all parameters of an event; see `_rows.parts`."""
        ...

    def seen(self, row: Row, parameters: Row) -> Row:
        """Return all that guards may read."""
        ...

    def step(self, row: Row, event: str, parameters: Row) -> Row:
        """Return the row as the event leaves it; raise TransitionError when it moves nothing."""
        ...

    def place(self, row: Mapping[str, Scalar]) -> str:
        """Return the state or step that a row is at."""
        ...

    def trials(self, at: str, edges: Sequence[EdgeSpec]) -> Iterator[tuple[dict[str, Any], Row]]:
        """Yield what to give that may open or shut edges, with what their guards read then."""
        ...

    def beginnings(self, edges: Sequence[EdgeSpec]) -> Iterator[dict[str, Any]]:
        """Yield what to create a row with that may go a way."""
        ...

    def goes(
        self, edges: Sequence[EdgeSpec], facts: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], ...] | None:
        """Return the data for each move of a way, () where there is none; None if a row does not go it."""
        ...


def scene_of(machine: Declared) -> Scene:
    """Return what tests need of a lifecycle or a flow.

    Raises:
        InvalidArgument: it is neither.
    """
    spec = getattr(machine, "spec", None)
    if isinstance(spec, FlowSpec):
        return _flow_scene(machine)
    if isinstance(spec, MachineSpec):
        return _LifecycleScene(spec)
    raise InvalidArgument(
        f"{machine!r:.100} is not a lifecycle or a flow: give a class such as RunMachine, or your Flow"
    )


@lru_cache(64)  # its lifecycle is derived, which takes a while
def _flow_scene(flow: Any) -> FlowScene:
    return FlowScene(flow.spec)


class _LifecycleScene:
    """A lifecycle: its own table says everything."""

    def __init__(self, spec: MachineSpec) -> None:
        self.table = self.spec = spec

    def start(self, at: str, before: Mapping[str, Scalar], given: Mapping[str, Any]) -> tuple[Row, Row]:
        return parts(self.spec, at, before, given)

    def seen(self, row: Row, parameters: Row) -> Row:
        return self.spec.seen({**row, **parameters})

    def step(self, row: Row, event: str, parameters: Row) -> Row:
        return self.spec.step(row, event, **parameters)

    def place(self, row: Mapping[str, Scalar]) -> str:
        return str(row["state"])

    def trials(self, at: str, edges: Sequence[EdgeSpec]) -> Iterator[tuple[dict[str, Any], Row]]:
        row, parameters = self.start(at, {}, {})
        before = self.seen(row, parameters)
        for facts in self._grid(edges, before, reach=0).rows():
            yield self._facts(facts), {**before, **facts}

    def beginnings(self, edges: Sequence[EdgeSpec]) -> Iterator[dict[str, Any]]:
        row, parameters = self.start(self.spec.initial.id, {}, {})
        tried = [each for edge in edges for each in self.spec.edges_from(edge.source, edge.event)]
        yield from map(self._facts, self._grid(tried, self.seen(row, parameters), reach=len(edges)).rows())

    def goes(
        self, edges: Sequence[EdgeSpec], facts: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], ...] | None:
        row, parameters = self.start(self.spec.initial.id, {}, facts)
        try:
            for edge in edges:
                row = self.step(row, edge.event, parameters)
                if self.place(row) != edge.target:
                    return None
        except TransitionError:
            return None
        return ()

    def _facts(self, changes: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return changes as `assert_transition` takes them: fields of the payload under ``payload``."""
        fields = {f"{PREFIX}{name}": (name, field) for name, field in self.spec.payload.items()}
        payload = {
            name: bool(changes[key]) if field.kind is bool and changes[key] is not None else changes[key]
            for key, (name, field) in fields.items()
            if key in changes
        }
        facts: dict[str, Any] = {name: value for name, value in changes.items() if name not in fields}
        return {**facts, "payload": payload} if payload else facts

    def _grid(self, edges: Sequence[EdgeSpec], before: Row, reach: int) -> Grid:
        what: dict[str, Any] = {"texts": self.spec.texts, "fixed": ("state", "machine")}
        return Grid([edge.guard for edge in edges], before, **what, reach=reach, natural=True)
