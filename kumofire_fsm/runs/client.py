"""Creates runs, and fires the events that belong to people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, Unpack, overload

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.flow_jobs import FlowJob, signal_text
from kumofire_fsm.engine.flow_versions import FlowPlan, migrate_flow, plan_flow
from kumofire_fsm.engine.handlers import AsyncHandler, AsyncTick, JobOf, P, PlainHandler, PlainTick, R, Tick
from kumofire_fsm.engine.moves import enqueued, fire, fire_one, read_runs, send_hints, startable
from kumofire_fsm.engine.pruning import prune
from kumofire_fsm.errors import (
    GuardFailed,
    InvalidArgument,
    KumofireError,
    MailFull,
    StoreError,
    TransitionNotAllowed,
    UnknownRun,
)
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.steps import Signal, Step
from kumofire_fsm.machines.finding import did_you_mean
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.models import (
    Created,
    CreateOptions,
    DedupeScope,
    NewRun,
    OnConflict,
    Priority,
    RunOptions,
    RunStatus,
)
from kumofire_fsm.runs.conflicts import check_on_conflict, settle_conflict
from kumofire_fsm.runs.creation import PreparedRun, RowMaker, prepare
from kumofire_fsm.runs.lookup import RunLookup
from kumofire_fsm.runs.matching import RunMatching
from kumofire_fsm.runs.storing import RunStore
from kumofire_fsm.values.checks import check_key, facts, part_id, whole_number
from kumofire_fsm.values.ids import check_id
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.limits import MAIL_LETTERS
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms, instant_ms

__all__ = ["RunClient"]

_OPTIONS: Final = frozenset({each.name for each in fields(NewRun)} - {"name", "payload"})


class RunClient(RunLookup, RunMatching):
    """What an application calls about runs."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self._rows = RowMaker(binding)
        self._new = RunStore(binding)

    @overload
    async def create(
        self, name: AsyncHandler[P, R], payload: P, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    async def create(
        self, name: PlainHandler[P, R], payload: P, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    async def create(
        self, name: AsyncTick[R], payload: None = None, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    async def create(
        self, name: PlainTick[R], payload: None = None, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    async def create(
        self, name: type[Flow[P]], payload: P, **options: Unpack[CreateOptions]
    ) -> Created[None]: ...
    @overload
    async def create(
        self, name: str, payload: Any = None, **options: Unpack[CreateOptions]
    ) -> Created[Any]: ...
    async def create(
        self,
        name: str | type[Flow[Any]] | Callable[..., Any],
        payload: Any = None,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        max_attempts: int | None = None,
        dedupe_key: str | None = None,
        dedupe: DedupeScope = "forever",
        expires_at: datetime | None = None,
        tags: Sequence[str] | None = None,
        priority: Priority | None = None,
        concurrency_key: str | None = None,
        on_conflict: OnConflict = "return",
    ) -> Created[Any]:
        """Store a run of a registered job, and enqueue it when its time is near.

        Args:
            name: the job: its name, its handler, with which payload and result are checked by type checkers,
                or of a flow its class.
            payload: what its handler is called with, or the flow's data; validated before anything is stored.
            run_at: not before this aware datetime; default now.
            delay: not before this time from now (timedelta or seconds); instead of run_at.
            max_attempts: instead of the job's own.
            dedupe_key: at most one run of the job with this key; a second create gives the first's id.
            on_conflict: when that run has another payload: "return" it, which ``payload_differs`` tells,
                "raise" `DedupeConflict`, or "replace" its payload, if it has not started.
            dedupe: "forever", or "active" to free the key when the run settles.
            expires_at: cancel the run if it has not started by then.
            tags: up to 20 short texts, to list by.
            priority: "high", "normal" or "low" instead of the job's own: whether it starts before others.
            concurrency_key: of the job's runs with this key, as many run at once as its `key_limit` says.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: nothing was stored.
            DedupeConflict: see on_conflict.
            StoreError: the database failed; a TransientStoreError may come after a commit, so repeat
                such a call with a dedupe key.
        """
        new = NewRun(
            name,
            payload,
            run_at,
            delay,
            max_attempts,
            dedupe_key,
            dedupe,
            expires_at,
            tags,
            priority,
            concurrency_key,
        )
        row = self._rows.make(new)
        if on_conflict != "return":
            check_on_conflict(on_conflict, row)
        created = await self._new.store_soon(row)
        if created.is_new:
            self._binding.note_created(created.kumofire_job_run_id)
        elif on_conflict != "return" and created.payload_differs:
            return await settle_conflict(self._binding, row, created, on_conflict)
        return created

    async def create_many(self, runs: Sequence[NewRun]) -> list[Created]:
        """Store many runs, in few statements; all are checked before the first is stored.

        Each chunk of about 1 MB is stored atomically.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: a note says which of the runs; nothing was
                stored.
            StoreError: the database failed; the chunks before this one are stored.
        """
        made = []
        given: object = runs
        if not isinstance(given, Iterable):
            raise InvalidArgument(f"create_many takes a list of NewRun; found {type(given).__name__}")
        for place, new in enumerate(runs):
            try:
                made.append(self._rows.make(new))
            except KumofireError as exc:
                exc.add_note(f"in runs[{place}]; nothing was stored")
                raise
        return await self._new.store_all(made)

    @overload
    def prepare_create(self, name: JobOf[P], payload: P, **options: Unpack[RunOptions]) -> PreparedRun: ...
    @overload
    def prepare_create(
        self, name: Tick, payload: None = None, **options: Unpack[RunOptions]
    ) -> PreparedRun: ...
    @overload
    def prepare_create(
        self, name: str, payload: Any = None, **options: Unpack[RunOptions]
    ) -> PreparedRun: ...
    def prepare_create(
        self,
        name: str | type[Flow[Any]] | Callable[..., Any],
        payload: Any = None,
        **options: Unpack[RunOptions],
    ) -> PreparedRun:
        """Return the statements that create a run, to be committed with the application's own rows.

        Nothing is stored here. The dispatcher sends what was created so, at the latest at its next tick;
        `send_hint` is quicker.

        Args:
            name: the job, as `create` takes it.
            payload: what its handler is called with.
            options: the other arguments of `create`. With a dedupe key the id is known after the commit
                only: see `PreparedRun`.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: what was given cannot become a run.
        """
        if unknown := sorted(options.keys() - _OPTIONS):
            near, known = did_you_mean(unknown[0], _OPTIONS), ", ".join(sorted(_OPTIONS))
            raise InvalidArgument(f"prepare_create has no option {unknown[0]!r}{near}; it has {known}")
        return prepare(self._binding, self._rows.make(NewRun(name, payload, **options), enqueue=False))

    async def send_hint(self, run: PreparedRun) -> None:
        """Wake a consumer for a run whose statements the application has committed.

        The run is told of its hint, so that no dispatcher sends another: a statement and two written rows. It
        gets none when it is due later, was dispatched meanwhile or does not exist. Whatever fails is left to
        the dispatcher.
        """
        given: object = run
        if not isinstance(given, PreparedRun):
            raise InvalidArgument(f"send_hint takes what prepare_create gave; found {shown(given)}")
        binding = self._binding
        binding.wake()
        soon = instant_ms(run.run_at, "run_at") <= binding.now() + binding.timing.horizon_ms
        if binding.queue is None or not soon or run.hinted_by is None:
            return
        try:
            moved, _ = await fire(binding, [binding.move(run.new_id, run.hinted_by)])
        except StoreError as exc:
            log.warning("run %s gets no hint yet; the dispatcher sends one: %s", run.new_id, exc)
            return
        await send_hints(
            binding, [(each.id, each.run_at) for each in moved.values() if enqueued(binding, each)]
        )

    async def cancel(self, run_id: str, *, by: str | None = None, note: str | None = None) -> RunStatus:
        """Stop a run: at once if it has not started, else by telling its handler.

        Doing it twice is harmless. Returns the run's status.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run is settled already.
        """
        return await self._people(run_id, "cancel", by=by, note=note, repeatable=True)

    async def redrive(
        self, run_id: str, *, step: str | Step | None = None, by: str | None = None, note: str | None = None
    ) -> RunStatus:
        """Run a failed or canceled run again: fresh attempts, the same id.

        Args:
            run_id: the run.
            step: of a flow's instance: where it goes on, such as ``Order.pack``; None for where it failed.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run is neither failed nor canceled.
            GuardFailed: it is a flow's instance at an end: say at which step it goes on.
            DedupeConflict: another run holds its dedupe key now.
        """
        if step is None:
            return await self._people(run_id, "redrive", by=by, note=note)
        row = (await read_runs(self._binding, [check_id(run_id)])).get(run_id)
        if row is None:
            raise UnknownRun(run_id)
        spec, name = self._binding.runs.specs.get(row.machine), part_id(step, "step")
        if spec is None or ("*", name) not in spec.steps:
            known = ", ".join(sorted(to for source, to in spec.steps if source == "*")) if spec else ""
            raise InvalidArgument(
                f"run {run_id} cannot go on at a step {shown(name)}; it may at: {known or 'none (no flow)'}"
            )
        return await self._people(run_id, "redrive", by=by, note=note, to_step=name)

    async def reschedule(
        self,
        run_id: str,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> RunStatus:
        """Move a run that has not started to another time.

        Args:
            run_id: the run.
            run_at: not before this aware datetime.
            delay: not before this time from now (timedelta or seconds); instead of run_at.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run has started, or is settled.
        """
        if run_at is None and delay is None:
            raise InvalidArgument("reschedule needs run_at or delay")
        due = self._rows.due(run_at, delay, self._binding.now())
        return await self._people(run_id, "reschedule", by=by, note=note, next_at=due)

    async def fire(
        self, run_id: str, event: str, *, by: str | None = None, note: str | None = None
    ) -> RunStatus:
        """Fire an event that belongs to people, such as one that a custom machine adds.

        Args:
            run_id: the run.
            event: its machine's event.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the event is unknown, illegal now, or fired by consumers or deadlines.
            GuardFailed, Conflict: it did not move.
        """
        return await self._people(run_id, event, by=by, note=note)

    async def signal(
        self,
        run_id: str,
        signal: Signal | str,
        value: Any = None,
        *,
        key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> RunStatus:
        """Tell a flow's instance something: it moves a wait that accepts it, or is kept until one does.

        Args:
            run_id: the instance.
            signal: the flow's signal, such as ``Order.approve``, or its name.
            value: what it carries, as the signal's model takes it.
            key: a signal with a key that came already does nothing; of the last 50 keys.
            by, note: who and why, kept in the history where it moves the instance.

        Returns:
            The instance's status afterwards.

        Raises:
            UnknownRun: no run has this id.
            UnknownSignal: its flow has no such signal, or it is of no flow that is known here.
            InvalidPayload: the value does not fit.
            MailFull: 50 signals are kept already that no wait has taken.
            TransitionNotAllowed: the instance is settled.
        """
        row = (await read_runs(self._binding, [check_id(run_id)])).get(run_id)
        if row is None:
            raise UnknownRun(run_id)
        name = part_id(signal, "signal")
        text = signal_text(self._binding.registry.jobs.get(row.job), row.machine, name, value)
        self._binding.wake()
        hint_ms = None if self._binding.queue is None else self._binding.timing.redeliver_ms
        said = None if key is None else check_key(key, "key")
        move = self._binding.move(
            run_id, name, value=text, signal_key=said, hint_ms=hint_ms, facts=facts(by=by, note=note)
        )
        try:
            await fire_one(self._binding, move, startable)
        except GuardFailed as exc:
            if not await self._has_key(run_id, said):
                raise MailFull(run_id, MAIL_LETTERS) from exc
        return await self._known(run_id)

    async def plan_flows(self) -> list[FlowPlan]:
        """Return what `migrate_flows` would do with instances of versions before; nothing is changed."""
        storage = self._binding.storage
        return [await plan_flow(storage, job, job.upgrades, self._binding.now) for job in self._flow_jobs()]

    async def migrate_flows(self) -> int:
        """Bring the instances of versions before that rest to the versions of this code; return how many.

        What is under way is left: call it again. Other processes may work meanwhile, with the code of either
        version.

        Raises:
            MigrationConflict: an instance has nowhere to go, or data that does not fit; `plan_flows` says
                so before.
        """
        moved = 0
        for job in self._flow_jobs():
            moved += await migrate_flow(self._binding.storage, job, job.upgrades, self._binding.now)
        self._binding.wake()
        return moved

    def _flow_jobs(self) -> list[FlowJob]:
        return [job for job in self._binding.registry.jobs.values() if isinstance(job, FlowJob)]

    async def _has_key(self, run_id: str, key: str | None) -> bool:
        """Return whether an instance has a signal with this key already."""
        rows = await self._binding.storage.execute(self._binding.runs.keys(run_id))
        return key is not None and any(key in json.loads(keys or "[]") for (keys,) in rows)

    async def prune(self, *, older_than: timedelta | float, limit: int = 1000) -> int:
        """Delete runs that settled longer ago than that; return how many, at most ``limit``.

        The oldest go first. A pruned run's dedupe key is free again. A run that many
        unsettled ones hide, more than 1,000 beside each other, may have to wait for a later call. Of jobs
        with a `key_rate` it also forgets keys whose allowances are whole again.
        """
        whole_number(limit, "limit", 10_000)
        return await prune(self._binding, self._binding.now() - duration_ms(older_than, "older_than"), limit)

    # -- inside ---------------------------------------------------------------------------------

    async def _people(
        self,
        run_id: str,
        event: str,
        *,
        by: str | None = None,
        note: str | None = None,
        repeatable: bool = False,
        **what: Any,
    ) -> RunStatus:
        binding = self._binding
        await self._check_event(check_id(run_id), event)
        binding.wake()
        renamed = binding.registry.renamed()
        if renamed and self._leaves_settled(event):  # it may take back a dedupe key
            await binding.storage.execute(binding.runs.adopt([run_id], renamed))
        # Whether one follows is for `startable` to say, and for the deadline of the state that is entered.
        hint_ms = None if binding.queue is None else binding.timing.redeliver_ms
        move = binding.move(run_id, event, hint_ms=hint_ms, facts=facts(by=by, note=note), **what)
        try:
            await fire_one(binding, move, startable)
        except TransitionNotAllowed as exc:
            if not (repeatable and self._done(event, exc.state)):
                raise
        return await self._known(run_id)

    async def _check_event(self, run_id: str, event: str) -> None:
        storable(event, "an event")
        specs = self._binding.runs.specs.values()
        mine = {e for spec in specs for e in spec.events_by(Actor.PERSON)}
        if event in mine:
            return
        known = any(spec.event(event) for spec in specs)
        why = "is fired by consumers and deadlines only" if known else "is unknown"
        row = (await read_runs(self._binding, [run_id])).get(run_id)
        if row is None:
            raise UnknownRun(run_id)
        spec = self._binding.runs.specs.get(row.machine)
        legal = spec.legal(row.state, Actor.PERSON) if spec else ()
        raise TransitionNotAllowed(
            f"run {run_id}: the event {event!r} {why}; people may fire now: {', '.join(legal) or 'nothing'}",
            row_id=run_id,
            event=event,
            state=row.state,
            legal=legal,
        )

    def _leaves_settled(self, event: str) -> bool:
        specs = self._binding.runs.specs.values()
        return any(
            spec.has_role(edge.source, Role.SETTLED) for spec in specs for edge in spec.edges_of(event)
        )

    def _done(self, event: str, state: str) -> bool:
        """Return whether a state is what the event leads to, so that firing it again asks for nothing."""
        specs = self._binding.runs.specs.values()
        return any(edge.target == state for spec in specs for edge in spec.edges_of(event))
