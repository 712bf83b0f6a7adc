"""Makes the row of a new run: checks the arguments, and moves it as far as creation may."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from kumofire_fsm.binding import Binding
from kumofire_fsm.definitions import Definition, check_key
from kumofire_fsm.errors import GuardFailed, InvalidArgument, TooLarge, TransitionNotAllowed
from kumofire_fsm.ids import new_id
from kumofire_fsm.jsontext import storable
from kumofire_fsm.limits import INLINE_BYTES, TAG_COUNT, TAG_LENGTH
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import NewRun
from kumofire_fsm.times import duration_ms, instant_ms

__all__ = ["NewRow", "RowMaker"]

_SCOPES: Final = ("forever", "active")
_OVERHEAD: Final = 400
"""About how many bytes a row adds to a statement's argument beside its payload."""


class NewRow(NamedTuple):
    """A row to insert, its payload if that is too large for it, and whether a hint follows."""

    columns: dict[str, Any]
    body: str | None
    hinted: bool

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.columns["id"])

    @property
    def run_at(self) -> int:
        """When it is due, in milliseconds."""
        return int(self.columns["run_at"])

    @property
    def dedupe(self) -> tuple[str, str] | None:
        """The (job, key) whose slot it takes."""
        key = self.columns["dedupe_key"]
        return None if key is None else (self.columns["job"], key)

    @property
    def size(self) -> int:
        """About how many bytes it adds to a statement's argument."""
        payload: str = self.columns["payload"]
        return _OVERHEAD + len(payload) * 2 + len(self.body or "") * 2


class RowMaker:
    """Makes rows for a binding."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._last: tuple[object, dict[str, Any], bool] | None = None

    def make(self, new: NewRun, *, enqueue: bool = True) -> NewRow:
        """Return the row for one `create`.

        Args:
            new: what to create.
            enqueue: whether a run that is due soon counts as enqueued, because its hint is sent at once.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: as `RunClient.create` says.
        """
        if not isinstance(new, NewRun):
            raise InvalidArgument(f"create_many takes a list of NewRun; found {new!r:.200}")
        definition = self._binding.registry.get(new.name)
        now = self._binding.now()
        run_at = self.due(new.run_at, new.delay, now)
        expires_at = None if new.expires_at is None else instant_ms(new.expires_at, "expires_at")
        if expires_at is not None and expires_at <= run_at:
            raise InvalidArgument("expires_at must lie after the time at which the run is due")
        if new.dedupe_key is None and new.dedupe != "forever":
            raise InvalidArgument(f"dedupe={new.dedupe!r} needs a dedupe_key")
        if new.dedupe not in _SCOPES:
            raise InvalidArgument(f"dedupe must be 'forever' or 'active'; found {new.dedupe!r}")
        key = None if new.dedupe_key is None else check_key(new.dedupe_key, "dedupe_key")
        payload = definition.encode_payload(new.payload)
        large = len(payload) > INLINE_BYTES
        row, hinted = self.begin(definition, run_at, expires_at, now, enqueue=enqueue)
        row["max_attempts"] = attempts(new.max_attempts, definition.max_attempts)
        row["payload"] = "" if large else payload
        if key is not None:
            row["dedupe"], row["dedupe_key"], row["dedupe_slot"] = new.dedupe, key, key
        if new.tags:
            row["tags"] = json.dumps(tags(new.tags))
        return NewRow(row, payload if large else None, hinted)

    def begin(
        self,
        definition: Definition,
        run_at: int,
        expires_at: int | None,
        now: int,
        *,
        enqueue: bool = True,
    ) -> tuple[dict[str, Any], bool]:
        """Return a fresh row in its machine's first state, enqueued if it is due soon.

        Many runs are created in the same millisecond with the same times: the last answer is kept.
        """
        key = (definition.name, now, run_at, expires_at, enqueue)
        if self._last is None or self._last[0] != key:
            soon = enqueue and run_at <= now + self._binding.timing.horizon_ms
            begun = _begin(self._binding, definition.machine, now, run_at, expires_at, enqueue=soon)
            self._last = (key, *begun)
        row = dict(self._last[1])
        row["id"] = new_id(now, self._binding.entropy)
        row["job"] = definition.name
        row["max_attempts"] = definition.max_attempts
        return row, self._last[2]

    def due(self, run_at: datetime | None, delay: timedelta | float | None, now: int) -> int:
        """Return when a run is due, in milliseconds.

        Raises:
            InvalidArgument: both are given, or one is malformed.
        """
        if run_at is not None and delay is not None:
            raise InvalidArgument("give run_at or delay, and not both")
        if run_at is not None:
            return instant_ms(run_at, "run_at")
        return now if delay is None else now + duration_ms(delay, "delay")


def _begin(
    binding: Binding, spec: MachineSpec, now: int, run_at: int, expires_at: int | None, *, enqueue: bool
) -> tuple[dict[str, Any], bool]:
    first = spec.initial
    row: dict[str, Any] = {
        **spec.fields,
        "machine": spec.name,
        "state": first.id,
        "run_at": run_at,
        "expires_at": expires_at,
        "created_at": now,
        "history": json.dumps([["create", first.id, now]], separators=(",", ":")),
    }
    timing = {**binding.timing.columns(), "now": now}
    row["wake_at"] = first.deadline and first.deadline.at.evaluate({**row, **timing})
    if not enqueue:
        return row, False
    for event in (event.id for event in spec.events if event.hints):
        try:
            return spec.step(row, event, **timing), True
        except (TransitionNotAllowed, GuardFailed):
            continue
    return row, False


def attempts(value: object, default: int) -> int:
    """Return how many attempts a run has.

    Raises:
        InvalidArgument: it is no integer from 1 to 1,000,000.
    """
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise InvalidArgument(f"max_attempts must be an integer from 1 on; found {value!r}")
    return value


def tags(given: object) -> list[str]:
    """Return checked tags.

    Raises:
        InvalidArgument, TooLarge: too many, too long, or no texts.
    """
    listed: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [None]
    if not all(isinstance(tag, str) and tag for tag in listed):
        raise InvalidArgument(f"tags must be a list of texts; found {given!r}")
    if len(listed) > TAG_COUNT or any(len(tag) > TAG_LENGTH for tag in listed):
        raise TooLarge(f"at most {TAG_COUNT} tags of at most {TAG_LENGTH} characters; found {given!r:.200}")
    return [storable(tag, "a tag") for tag in listed]


def whole_number(value: object, what: str, most: int) -> int:
    """Return an integer from 1 to ``most``.

    Raises:
        InvalidArgument: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidArgument(f"{what} must be an integer from 1 to {most}; found {value!r}")
    return value
