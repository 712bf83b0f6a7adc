"""Creates runs, and deletes old ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, Unpack, overload

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.handlers import AsyncHandler, AsyncTick, JobOf, P, PlainHandler, PlainTick, R, Tick
from kumofire_fsm.engine.moves import enqueued, fire, send_hints
from kumofire_fsm.engine.observing import creating
from kumofire_fsm.engine.pruning import prune
from kumofire_fsm.errors import (
    InvalidArgument,
    StoreError,
)
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.models import (
    Created,
    CreateOptions,
    DedupeScope,
    NewRun,
    OnConflict,
    Priority,
    RunOptions,
)
from kumofire_fsm.runs.conflicts import check_on_conflict, settle_conflict
from kumofire_fsm.runs.creation import PreparedRun, RowMaker, prepare
from kumofire_fsm.runs.instances import RunInstances
from kumofire_fsm.runs.matching import RunMatching
from kumofire_fsm.runs.people import RunPeople
from kumofire_fsm.runs.storing import RunStore
from kumofire_fsm.values.checks import check_options, whole_number
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms, instant_ms

__all__ = ["RunClient"]

log = logging.getLogger(__package__)

_OPTIONS: Final = frozenset({each.name for each in fields(NewRun)} - {"name", "payload"})


class RunClient(RunPeople, RunInstances, RunMatching):
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
        with creating(self._binding, [name]) as creation:
            row = self._rows.make(new)
            if on_conflict != "return":
                check_on_conflict(on_conflict, row)
            created = await self._new.store_soon(row)
            if on_conflict != "return" and created.payload_differs:
                created = await settle_conflict(self._binding, self._new, row, created, on_conflict)
            creation.created([created.kumofire_job_run_id], is_new=created.is_new)
            if created.is_new:
                self._binding.note_created(created.kumofire_job_run_id)
            return created

    async def create_many(self, runs: Sequence[NewRun]) -> list[Created]:
        """Store many runs, in few statements; all are checked before the first is stored.

        Each chunk of about 1 MB is stored atomically. Of one job's runs with the same time and priority the
        first of the list starts first.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: a note says which of the runs; nothing was
                stored.
            StoreError: the database failed; the chunks before this one are stored.
        """
        given: object = runs
        if not isinstance(given, Iterable):
            raise InvalidArgument(f"create_many takes a list of NewRun; found {type(given).__name__}")
        every = list(runs)
        with creating(self._binding, (getattr(new, "name", None) for new in every)) as creation:
            created = await self._new.store_all(self._rows.make_all(every))
            creation.created([each.kumofire_job_run_id for each in created])
            return created

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
        check_options("prepare_create", options, _OPTIONS)
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
            moved, *_ = await fire(binding, [binding.move(run.new_id, run.hinted_by)])
        except StoreError as exc:
            said = "run %s gets no hint yet; the dispatcher sends one: %s"
            log.warning(said, run.new_id, exc, extra={"run_id": run.new_id})
            return
        await send_hints(
            binding, [(each.id, each.run_at) for each in moved.values() if enqueued(binding, each)]
        )

    async def prune(self, *, older_than: timedelta | float, limit: int = 1000) -> int:
        """Delete runs that settled longer ago than that; return how many, at most ``limit``.

        The oldest go first. A pruned run's dedupe key is free again. A run that many
        unsettled ones hide, more than 1,000 beside each other, may have to wait for a later call. Of jobs
        with a `key_rate` it also forgets keys whose allowances are whole again.
        """
        whole_number(limit, "limit", 10_000)
        return await prune(self._binding, self._binding.now() - duration_ms(older_than, "older_than"), limit)
