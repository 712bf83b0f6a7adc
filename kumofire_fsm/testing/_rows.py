"""The rows that a lifecycle is tested on: defaults for every column and parameter, and checked names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kumofire_fsm.engine.binding import WORKERS
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import MachineSpec
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.payload import misfit
from kumofire_fsm.values.printable import did_you_mean

__all__ = ["NOW", "check_event", "check_state", "defaults", "parts", "told"]

NOW = 1_767_225_600_000
"""The time of every test unless ``now=`` is given: the beginning of 2026 in UTC, in milliseconds."""
TIMEOUT_MS = 60_000
"""How long the handler of a tested run may take: an application's own default."""


def check_state(spec: MachineSpec, state: str) -> None:
    """Raise InvalidArgument when the machine has no such state."""
    _check(spec, "state", state, [each.id for each in spec.states])


def check_event(spec: MachineSpec, event: str) -> None:
    """Raise InvalidArgument when the machine has no such event."""
    _check(spec, "event", event, [each.id for each in spec.events])


def _check(spec: MachineSpec, kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        listed = ", ".join(known)
        raise InvalidArgument(
            f"{spec.name} has no {kind} {name!r}{did_you_mean(name, known)}; it has: {listed}"
        )


def defaults(spec: MachineSpec) -> dict[str, Scalar]:
    """Return what columns and parameters hold unless they are given.

    That is what the machine says, but its instants (``..._at``) are now where they are numbers, and
    durations are those of an application on Cloudflare.
    """
    timeout_ms, lease_ms = WORKERS.lease_for(TIMEOUT_MS)
    timing = {**WORKERS.columns(), "timeout_ms": timeout_ms, "lease_ms": lease_ms, "now": NOW}
    said = {**spec.fields, **spec.parameters}
    instants = {name: NOW for name, value in said.items() if name.endswith("_at") and value is not None}
    durations = {name: value for name, value in timing.items() if name in spec.parameters}
    payload = {"payload": payload_text(spec, {})} if spec.payload else {}
    return {**said, "id": "tested", "machine": spec.name, **payload, **instants, **durations}


def payload_text(spec: MachineSpec, given: Mapping[str, Any]) -> str:
    """Return a payload as JSON text: what is given of it, and plain values of what else the machine declares.

    Raises:
        InvalidArgument: a value does not fit its field, or the machine reads no such field.
    """
    for name in given:
        if name not in spec.payload:
            near = did_you_mean(str(name), spec.payload)
            raise InvalidArgument(f"payload: {spec.name} declares no field {name!r} of it{near}")
    plain = {name: field.kind() for name, field in spec.payload.items() if not field.optional}
    text = json.dumps({**plain, **given}, default=str)
    if wrong := misfit(spec.payload, text):
        raise InvalidArgument(f"payload: {wrong}")
    return text


def parts(
    spec: MachineSpec, state: str, before: Mapping[str, Scalar], given: Mapping[str, Any]
) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Return a whole row in a state, and all parameters of an event that is fired on it.

    Args:
        spec: the lifecycle.
        state: the row's state; ``wake_at`` is what its deadline says, unless it is given.
        before: a whole row that an earlier move left, or nothing.
        given: columns and parameters by name; the payload as JSON text, or as a dict of declared fields.

    Raises:
        InvalidArgument: a name is neither, or a value cannot stand in a column.
    """
    if isinstance(payload := given.get("payload"), Mapping):
        given = {**given, "payload": payload_text(spec, payload)}
    for name, value in given.items():
        _check_given(spec, name, value)
    full = {**defaults(spec), **before, **given, "state": state}
    row = {name: full[name] for name in spec.fields}
    deadline = (found := spec.state(state)) and found.deadline
    if "wake_at" not in given and not before:
        found_at = deadline.at.evaluate(spec.seen(full)) if deadline else None
        row["wake_at"] = NOW if deadline and found_at is None else found_at
    return row, {name: full[name] for name in spec.parameters}


def _check_given(spec: MachineSpec, name: str, value: object) -> None:
    if name == "state":
        raise InvalidArgument("the state is the second argument, not a column to give")
    if name not in spec.types:
        raise InvalidArgument(
            f"{name!r} is neither a column nor a parameter of {spec.name}{did_you_mean(name, spec.types)}; "
            f"known are {', '.join(sorted(spec.types))}"
        )
    spec.check_value(name, value)


def told(full: Mapping[str, Scalar], names: Iterable[str]) -> str:
    """Return what a row holds in some columns, as a message shows it."""
    return ", ".join(f"{name}={full[name]!r}" for name in dict.fromkeys(names))
