"""What the tests of drawings share: SVG's texts, a lifecycle of a user's own, and one of any names."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from kumofire_fsm import HistoryEntry
from kumofire_fsm.machines import Event, MachineSpec, Role, RunMachine, State, StateSpec
from kumofire_fsm.machines.spec import Actor, DeadlineSpec, EdgeSpec, EventSpec

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


class ApprovedRun(RunMachine):
    """A run that waits for a person first."""

    approval = State("Somebody must approve it.", role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready), doc="Somebody approves it.")


@pytest.fixture
def approved_run() -> type[RunMachine]:
    return ApprovedRun


@pytest.fixture
def texts() -> Callable[[str], list[str]]:
    """Return what stands in an SVG's text elements."""
    return lambda svg: ["".join(each.itertext()) for each in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.fixture
def history() -> Callable[..., list[HistoryEntry]]:
    """Return a history from ``(event, state, seconds after noon)``."""
    return lambda *moves: [
        HistoryEntry(event, state, None if after is None else NOON + timedelta(seconds=after))
        for event, state, after in moves
    ]


@pytest.fixture
def spec_of() -> Callable[..., MachineSpec]:
    """Return a machine of two states and one event, all of whose texts are given."""

    def make(state: str, other: str, event: str, words: str = "Words.") -> MachineSpec:
        deadline = DeadlineSpec(None, words, (event,), words)  # type: ignore[arg-type]
        states = (
            StateSpec(state, Role.WAITING, True, False, deadline, words),
            StateSpec(other, Role.SETTLED, False, False, None, words),
        )
        edge = EdgeSpec(event, state, other, None, words, {})
        events = (EventSpec(event, Actor.PERSON, False, words),)
        return MachineSpec(words, "t", {}, {}, states, events, (edge,))

    return make
