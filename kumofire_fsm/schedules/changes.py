"""What a recurring job's row is to become: a new row, or the move that makes an old one what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from kumofire_fsm.calendar.agreement import latest_believed
from kumofire_fsm.calendar.options import (
    RECURRENCE_OPTIONS,
    RecurrenceOptions,
    changed_recurrence,
    described,
    keep_anchor,
    recurrence_from_options,
)
from kumofire_fsm.calendar.recurrence import HOLD_MS, Recurrence, recurrence_from_json
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.errors import InvalidArgument, InvalidPayload, InvalidSchedule
from kumofire_fsm.models import NewSchedule, Priority
from kumofire_fsm.schedules._corrections import correction, is_wrong, right_occurrence
from kumofire_fsm.schedules.rows import stored_object, stored_template, template
from kumofire_fsm.store.rows import dump
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.checks import check_key, check_options
from kumofire_fsm.values.ids import new_id
from kumofire_fsm.values.printable import shown

__all__ = [
    "ScheduleChanges",
    "ScheduleOptions",
    "change",
    "check_declared",
    "declare",
    "declared",
    "is_enabled",
    "new_row",
    "next_occurrence",
    "over",
]

_OPTIONS: Final = frozenset({field.name for field in fields(NewSchedule)} - {"schedule_key"})


class ScheduleOptions(RecurrenceOptions, total=False):
    """What may be said of a recurring job beside its job and payload."""

    max_attempts: int | None
    tags: Sequence[str] | None
    priority: Priority | None
    enabled: bool | None


class ScheduleChanges(ScheduleOptions, total=False):
    """What may be changed of a recurring job."""

    name: str | type[Any] | Callable[..., Any]
    payload: Any


class _Wanted(NamedTuple):
    """What a row is to hold."""

    job: str
    schedule: str
    template: str
    payload: str | None
    origin: str | None


def declared(
    name: str | type[Any] | Callable[..., Any],
    payload: Any,
    schedule_key: str | None,
    options: Mapping[str, Any],
) -> NewSchedule:
    """Return what a call declares.

    Raises:
        InvalidArgument: a schedule has no such option.
    """
    check_options("a schedule", options, _OPTIONS)
    return NewSchedule(name, payload, schedule_key, **options)


def check_declared(new: NewSchedule) -> None:
    """Refuse what can be known to be wrong before there is a database or a clock; at import, say.

    Raises:
        InvalidSchedule, InvalidArgument, TooLarge: a rule, zone, bound, policy or option cannot be used.
    """
    recurrence_from_options(_options(new), 0)
    template(new.max_attempts, new.tags, new.priority)
    is_enabled(new.enabled)
    if new.schedule_key is not None:
        check_key(new.schedule_key, "schedule_key")


def new_row(binding: Binding, new: NewSchedule, *, origin: str | None = None) -> dict[str, Any]:
    """Return the row of a new recurring job; one that is not enabled has as ``then`` the move that pauses it.

    Raises:
        UnknownJob, InvalidPayload, InvalidArgument, TooLarge: it cannot be stored.
        InvalidSchedule: it can never fire, or has no occurrence left.
    """
    now, spec = binding.now(), binding.schedules.spec
    recurrence = recurrence_from_options(_options(new), now)
    key = None if new.schedule_key is None else check_key(new.schedule_key, "schedule_key")
    wanted = _wanted(binding, new, recurrence, origin)
    first = next_occurrence(recurrence, 0, now)
    row = {
        **spec.fields,
        **wanted._asdict(),
        "id": new_id(now, binding.entropy),
        "schedule_key": key,
        "state": spec.initial.id,
        "wake_at": first,
        "next_at": first,
        "created_at": now,
        "updated_at": now,
        "history": dump([["create", spec.initial.id, now]]),
    }
    if is_enabled(new.enabled) is False:
        row["then"] = {"id": row["id"], "event": "pause", "revision": row["revision"], "now": now}
    return row


def is_enabled(given: object) -> bool | None:
    """Return whether a job is to be enabled; None where that is not said.

    Raises:
        InvalidArgument: it is something else.
    """
    if given is not None and not isinstance(given, bool):
        raise InvalidArgument(f"enabled must be True or False; found {shown(given)}")
    return given


def over(binding: Binding, new: NewSchedule) -> bool:
    """Return whether what is declared has no occurrence left.

    Raises:
        InvalidSchedule, InvalidArgument: it can never fire as written.
    """
    now = binding.now()
    return recurrence_from_options(_options(new), now).next_after(now) is None


def declare(
    binding: Binding, row: ScheduleRow, new: NewSchedule, *, origin: str | None = None
) -> dict[str, Any] | None:
    """Return the move that makes a row what is declared, or None when it is that already.

    Raises:
        UnknownJob, InvalidPayload, InvalidArgument, TooLarge: it cannot be stored.
        InvalidSchedule: it can never fire, or has no occurrence left.
    """
    stored = stored_object(row.schedule)
    recurrence = keep_anchor(recurrence_from_options(_options(new), binding.now()), stored, new.start_at)
    return _move(binding, row, recurrence, _wanted(binding, new, recurrence, origin or row.origin))


def change(binding: Binding, row: ScheduleRow, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the move that changes what is given, or None when it changes nothing.

    Raises:
        InvalidArgument, InvalidSchedule: a schedule has no such option, or an option is out of range.
        UnknownJob, InvalidPayload, TooLarge: the job is not registered, or its payload does not fit.
    """
    check_options("a schedule", changes, _OPTIONS)
    recurrence = changed_recurrence(stored_object(row.schedule), changes, binding.now())
    definition = binding.registry.get(changes.get("name", row.job))
    payload = row.payload
    if "payload" in changes:
        payload = definition.encode_payload(changes["payload"])
    elif definition is not binding.definition(row.job):
        payload = _payload_for(definition, row)
    whole = {"max_attempts", "tags", "priority"} <= changes.keys()
    most, tags, urgency = (None, (), None) if whole else stored_template(row)
    shared = template(
        changes.get("max_attempts", most), changes.get("tags", tags), changes.get("priority", urgency)
    )
    return _move(
        binding,
        row,
        recurrence,
        _Wanted(definition.name, dump(recurrence.to_json()), shared, payload, row.origin),
    )


def _payload_for(definition: Definition, row: ScheduleRow) -> str:
    """Return a schedule's payload for the handler of another job."""
    try:
        value = definition.decode_payload(row.payload or "null")
    except (ValueError, RecursionError) as exc:
        said = f"the payload of schedule {row.id} does not fit {definition.name!r}; give one with the change"
        raise InvalidPayload(said) from exc
    return definition.encode_payload(value)


def next_occurrence(recurrence: Recurrence, made: int, now: int) -> int:
    """Return the next occurrence of a job that has made so many runs.

    Raises:
        InvalidSchedule: there is none left.
    """
    following = None if recurrence.left(made) == 0 else recurrence.next_after(now)
    if following is None:
        raise InvalidSchedule(f"{described(recurrence)} has no occurrence after now; change it first")
    return following


def _wanted(binding: Binding, new: NewSchedule, recurrence: Recurrence, origin: str | None) -> _Wanted:
    job = binding.registry.get(new.name)
    payload, shared = job.encode_payload(new.payload), template(new.max_attempts, new.tags, new.priority)
    return _Wanted(job.name, dump(recurrence.to_json()), shared, payload, origin)


def _move(
    binding: Binding, row: ScheduleRow, recurrence: Recurrence, wanted: _Wanted
) -> dict[str, Any] | None:
    spec, now = binding.schedules.spec, binding.now()
    # A suspended or ended schedule becomes active again, whatever the change.
    revives = any(edge.target != row.state for edge in spec.edges_from(row.state, "revise"))
    if wanted == (row.job, row.schedule, row.template, row.payload, row.origin):
        finished = recurrence.left(row.made) == 0 or recurrence.next_after(now) is None
        if finished or not (revives or is_wrong(row, now)):
            return None
    occurrence, told = row.next_at, {}
    if revives or occurrence is None or not _keeps_its_recurrence(row, recurrence, occurrence):
        behind = max(now, latest_believed([row.last_at], now))
        occurrence = next_occurrence(recurrence, row.made, behind)
    elif is_wrong(row, now):
        occurrence = right_occurrence(recurrence, row, now) or occurrence
        told = correction(row, occurrence)
    return {
        "event": "revise",
        "occurrence": occurrence,
        "held_until": row.wake_at if _stays_held(row, recurrence, occurrence, now) else None,
        **{f"new_{name}": value for name, value in wanted._asdict().items()},
        **told,
    }


def _stays_held(row: ScheduleRow, recurrence: Recurrence, occurrence: int, now: int) -> bool:
    """Return whether the occurrence waits for the previous run, and goes on to."""
    return (
        row.wake_at is not None
        and row.next_at == occurrence < row.wake_at <= now + HOLD_MS
        and recurrence.overlap == "queue"
    )


def _keeps_its_recurrence(row: ScheduleRow, recurrence: Recurrence, occurrence: int) -> bool:
    """Return whether a change leaves the next occurrence, which may be due, where it is."""
    if recurrence.left(row.made) == 0 or (recurrence.end_at is not None and occurrence > recurrence.end_at):
        return False
    try:
        before = recurrence_from_json(stored_object(row.schedule))
    except InvalidSchedule:
        return False
    return (before.rule, before.start_at) == (recurrence.rule, recurrence.start_at)


def _options(new: NewSchedule) -> dict[str, Any]:
    return {name: getattr(new, name) for name in RECURRENCE_OPTIONS}
