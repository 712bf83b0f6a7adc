"""Makes the row of a new run: checks the arguments, and moves it as far as creation may."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.errors import GuardFailed, InvalidArgument, KumofireError, TransitionNotAllowed
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import NewRun
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.caller_sql import SqlValue
from kumofire_fsm.store.rows import MOVED, Body, Moved, dump
from kumofire_fsm.values.checks import attempts, check_key, priority, tags
from kumofire_fsm.values.ids import new_id
from kumofire_fsm.values.jsontext import argument_bytes, chunks
from kumofire_fsm.values.limits import INLINE_BYTES
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms, instant_ms, moment

__all__ = ["NewRow", "PreparedRun", "RowMaker", "adoption", "noted", "prepare"]

_SCOPES: Final = ("forever", "active")
_OVERHEAD: Final = 400
"""About how many bytes a row adds to a statement's argument beside the texts that its caller gives."""


class NewRow(NamedTuple):
    """A row to insert, and its payload if that is too large for it."""

    columns: dict[str, Any]
    body: str | None

    @classmethod
    def of(cls, columns: dict[str, Any], payload: str) -> NewRow:
        """Return the row with its payload, a JSON text, where that belongs."""
        large = len(payload) > INLINE_BYTES
        columns["payload"] = "" if large else payload
        return cls(columns, payload if large else None)

    @property
    def created(self) -> Moved:
        """The run as it is once the row is stored."""
        return Moved(*(self.columns[name] for name in MOVED))

    def stored(self, body: str) -> Body:
        """Return its large payload as it is stored where this creation has stored the row."""
        event, _, at, *_ = json.loads(self.columns["history"])[-1]
        return Body(self.id, body, None, event, at, self.columns.get("visit"))

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
    def text(self) -> str:
        """Its payload, as JSON text."""
        return self.body or str(self.columns["payload"])

    @property
    def size(self) -> int:
        """About how many bytes it adds to the argument of a statement, of each that creates it at most.

        The insert carries its dedupe key twice: as its key, and as its slot.
        """
        given, payload = self.columns, self.body or self.columns["payload"]
        key, tags = given["dedupe_key"] or "", given["tags"] or ""
        texts = f"{given['job']}{payload}{tags}{given['concurrency_key'] or ''}{key}{key}"
        return _OVERHEAD + argument_bytes(texts)


class RowMaker:
    """Makes rows for a binding."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._last: tuple[object, dict[str, Any]] | None = None

    def make_all(self, every: Sequence[NewRun]) -> list[NewRow]:
        """Return the rows for one `create_many`: of one instant, with ids in the order of the list.

        Raises:
            KumofireError: as from `make`; a note says which of them it was.
        """
        made, now = [], self._binding.now()
        for place, new in enumerate(every):
            try:
                made.append(self.make(new, now=now))
            except KumofireError as exc:
                exc.add_note(f"in runs[{place}]; nothing was stored")
                raise
        for row, run_id in zip(made, sorted([row.columns["id"] for row in made]), strict=True):
            row.columns["id"] = run_id
        return made

    def make(self, new: NewRun, *, enqueue: bool = True, now: int | None = None) -> NewRow:
        """Return the row for one `create`.

        Args:
            new: what to create.
            now: when it is created, in milliseconds; None for now.
            enqueue: whether a run that is due soon counts as enqueued, because its hint is sent at once.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: what was given cannot become a run.
        """
        if not isinstance(new, NewRun):
            raise InvalidArgument(f"create_many takes a list of NewRun; one is {type(new).__name__}")
        definition = self._binding.registry.get(new.name)
        now = self._binding.now() if now is None else now
        run_at = self.due(new.run_at, new.delay, now)
        expires_at = None if new.expires_at is None else instant_ms(new.expires_at, "expires_at")
        if expires_at is not None and expires_at <= run_at:
            raise InvalidArgument("expires_at must lie after the time at which the run is due")
        if new.dedupe_key is None and new.dedupe != "forever":
            raise InvalidArgument(f"dedupe={shown(new.dedupe)} needs a dedupe_key")
        if new.dedupe not in _SCOPES:
            raise InvalidArgument(f"dedupe must be 'forever' or 'active'; found {shown(new.dedupe)}")
        key = None if new.dedupe_key is None else check_key(new.dedupe_key, "dedupe_key")
        payload = definition.encode_payload(new.payload)
        row = self.begin(definition, run_at, expires_at, now, enqueue=enqueue)
        row["max_attempts"] = attempts(new.max_attempts, definition.max_attempts)
        if new.priority is not None:
            row["priority"] = priority(new.priority)
        if key is not None:
            row["dedupe"], row["dedupe_key"], row["dedupe_slot"] = new.dedupe, key, key
        if new.concurrency_key is not None:
            row["concurrency_key"] = _concurrency_key(definition, new.concurrency_key)
        if new.tags:
            row["tags"] = dump(tags(new.tags))
        return NewRow.of(row, payload)

    def begin(
        self,
        definition: Definition,
        run_at: int,
        expires_at: int | None,
        now: int,
        *,
        enqueue: bool = True,
    ) -> dict[str, Any]:
        """Return a fresh row in its machine's first state, enqueued if it is due soon.

        Many runs are created in the same millisecond with the same times: the last answer is kept.
        """
        creator = self._binding.registry.observer.traceparent()
        key = (definition.name, now, run_at, expires_at, enqueue, creator)
        if self._last is None or self._last[0] != key:
            soon = enqueue and run_at <= now + self._binding.timing.horizon_ms
            first = _first_entry(definition.machine, now, creator)
            begun = _begin(self._binding, definition.machine, first, now, run_at, expires_at, enqueue=soon)
            self._last = (key, begun)
        row = dict(self._last[1])
        row["id"] = new_id(now, self._binding.entropy)
        row["job"] = definition.name
        row["max_attempts"] = definition.max_attempts
        row["priority"] = definition.priority
        return row

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


def noted(history: str, said: str | None) -> str:
    """Return the history of a new run with what somebody says of its creation, a JSON object, if anything."""
    if said is None:
        return history
    (event, state, at, *facts), *moves = json.loads(history)
    created = [event, state, at, {**(facts[0] if facts else {}), **json.loads(said)}]
    return json.dumps([created, *moves], separators=(",", ":"))


def _concurrency_key(definition: Definition, key: str) -> str:
    if not definition.takes_keys:
        raise InvalidArgument(
            f"the job {definition.name!r} has no key_limit and no key_rate, so a concurrency_key limits "
            f"nothing; say @app.job({definition.name!r}, key_limit=1)"
        )
    return check_key(key, "concurrency_key")


def _begin(
    binding: Binding,
    spec: MachineSpec,
    entry: Sequence[Any],
    now: int,
    run_at: int,
    expires_at: int | None,
    *,
    enqueue: bool,
) -> dict[str, Any]:
    first = spec.initial
    row: dict[str, Any] = {
        **spec.fields,
        **spec.begins,
        "machine": spec.name,
        "state": first.id,
        "run_at": run_at,
        "expires_at": expires_at,
        "created_at": now,
        "history": json.dumps([entry], separators=(",", ":")),
    }
    timing = {**binding.timing.columns(), "now": now}
    row["wake_at"] = first.deadline and first.deadline.at.evaluate({**spec.parameters, **row, **timing})
    for event in (event.id for event in spec.events if event.hints and enqueue):
        try:
            return spec.step(row, event, **timing)
        except (TransitionNotAllowed, GuardFailed):
            continue
    return row


def _first_entry(spec: MachineSpec, now: int, creator: str | None) -> list[Any]:
    """Return the first entry of a history: of a flow also in which step it begins, and who created it.

    However a history is cut, this entry stays: claims read the creator there, if somebody wants to know.
    """
    facts = {"step": spec.begins["step"]} if spec.steps else {}
    facts |= {} if creator is None else {"traceparent": creator}
    return ["create", spec.initial.id, now, *([facts] if facts else [])]


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that exists once its statements were committed, all in one transaction.

    Attributes:
        run_at: when it is due.
        statements: (SQL, values) in order. With a dedupe key the last one is a query: its row's ``id`` tells
            which run holds the key, this one or an older one.
        keyed: whether it has a dedupe key.
    """

    run_at: datetime
    statements: tuple[tuple[str, tuple[SqlValue, ...]], ...]
    keyed: bool
    new_id: str
    """The id of the run, if its statements create one."""
    hinted_by: str | None
    """The event of its lifecycle that stands for a hint on its way."""

    @property
    def kumofire_job_run_id(self) -> str:
        """The id to store.

        Raises:
            InvalidArgument: it has a dedupe key, so that another run may be the one.
        """
        if self.keyed:
            raise InvalidArgument(
                "which run holds a dedupe key is known after the commit: it is the `id` in the row that the "
                "last statement gives back; store that one, or leave out the key"
            )
        return self.new_id

    def for_d1(self, db: Any) -> list[Any]:
        """Return the statements as ``db.batch([...])`` takes them.

        Args:
            db: the D1 binding of the database that holds the runs.
        """
        return [db.prepare(sql).bind(*values) for sql, values in self.statements]


def prepare(binding: Binding, row: NewRow) -> PreparedRun:
    """Return what creates a run."""
    statements = [binding.runs.insert([row.columns])]
    if row.body is not None:
        statements.append(binding.runs.insert_bodies("payload", [row.stored(row.body)]))
    if row.dedupe is not None:
        statements.append(binding.runs.find_holders([row.dedupe]))
        statements[:0] = adoption(binding, [row.dedupe])
    texts = tuple((each.sql, (each.argument,)) for each in statements)
    events = binding.runs.specs[row.columns["machine"]].events
    hinted_by = next((event.id for event in events if event.hints), None)
    return PreparedRun(moment(row.run_at), texts, row.dedupe is not None, row.id, hinted_by)


def adoption(binding: Binding, keys: Iterable[tuple[str, str]]) -> list[Statement]:
    """Return what is executed before runs are created with (job, dedupe key), where a job was renamed."""
    names_of = binding.registry.names_of
    earlier = [(old, job, key) for job, key in sorted(keys) for old in names_of(job) if old != job]
    return [binding.runs.adopt_keys(part) for part in chunks(earlier, _key_size)]


def _key_size(key: Sequence[str]) -> int:
    return argument_bytes("".join(key))
