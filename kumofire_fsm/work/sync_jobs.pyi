# Written by `make stubs` from the asynchronous API.

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Unpack, overload

from kumofire_fsm.calendar.recurrence import Misfire
from kumofire_fsm.engine.flow_versions import FlowPlan
from kumofire_fsm.engine.handlers import (
    AsyncHandler,
    AsyncTick,
    JobName,
    JobOf,
    P,
    PlainHandler,
    PlainTick,
    R,
    Tick,
)
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.steps import Signal, Step
from kumofire_fsm.models import (
    Created,
    CreateOptions,
    JobStatus,
    NewRun,
    NewSchedule,
    RunCounts,
    RunOptions,
    RunPage,
    RunStatus,
)
from kumofire_fsm.reports import DispatchReport, FiredAll, Health, Matched, Stats, SyncReport, UnknownWork
from kumofire_fsm.runs.creation import PreparedRun
from kumofire_fsm.runs.filters import RunFilter
from kumofire_fsm.schedules.changes import ScheduleChanges, ScheduleOptions
from kumofire_fsm.schedules.rows import Schedule
from kumofire_fsm.work.batch import SettleMode
from kumofire_fsm.work.disposition import Disposition

class SyncJobs:
    def __init__(
        self, jobs: Any, loop: asyncio.AbstractEventLoop, born: int, forgotten: list[str] | None = None
    ) -> None: ...
    def doctor(self, *, full: bool = False) -> list[Health]: ...
    def stats(self, *, window: timedelta | float = 3600) -> Stats: ...
    def pause_job(self, name: JobName, *, by: str | None = None, note: str | None = None) -> JobStatus: ...
    def resume_job(self, name: JobName, *, by: str | None = None, note: str | None = None) -> JobStatus: ...
    def limit_job(
        self, name: JobName, limit: int | None, *, by: str | None = None, note: str | None = None
    ) -> JobStatus: ...
    def list_jobs(self) -> list[JobStatus]: ...
    @overload
    def create_schedule(
        self,
        name: JobOf[P],
        payload: P,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    def create_schedule(
        self,
        name: Tick,
        payload: None = None,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    def create_schedule(
        self,
        name: str,
        payload: Any = None,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    def get_schedule(
        self, schedule_id: str | None = None, *, schedule_key: str | None = None
    ) -> Schedule | None: ...
    def list_schedules(self, *, after: str = "", limit: int = 100) -> list[Schedule]: ...
    def update_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        **changes: Unpack[ScheduleChanges],
    ) -> Schedule: ...
    @overload
    def upsert_schedule(
        self, name: JobOf[P], payload: P, *, schedule_key: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def upsert_schedule(
        self, name: Tick, payload: None = None, *, schedule_key: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def upsert_schedule(
        self, name: str, payload: Any = None, *, schedule_key: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    def pause_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> Schedule: ...
    def resume_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        missed: Misfire = "skip",
        by: str | None = None,
        note: str | None = None,
    ) -> Schedule: ...
    def end_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> Schedule: ...
    def trigger_now(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> Created[Any]: ...
    def preview_schedule(
        self, schedule_id: str | None = None, *, schedule_key: str | None = None, n: int = 10
    ) -> list[datetime]: ...
    def sync_schedules(
        self, schedules: Sequence[NewSchedule] | None = None, *, origin: str = "code"
    ) -> SyncReport: ...
    def match_runs(self, event: str, *, limit: int = ..., **filters: Unpack[RunFilter]) -> Matched: ...
    def fire_all(
        self,
        matched: Matched,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> FiredAll: ...
    def get_status(self, run_id: str) -> RunStatus | None: ...
    def list_runs(
        self,
        *,
        name: JobName | None = None,
        state: str | Sequence[str] | None = None,
        tag: str | None = None,
        schedule_id: str | None = None,
        concurrency_key: str | None = None,
        created_before: datetime | None = None,
        error: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        results: bool = False,
    ) -> RunPage: ...
    def count_runs(self, *, name: JobName | None = None) -> RunCounts: ...
    def unknown_work(self) -> list[UnknownWork]: ...
    def wait(self, run_id: str, *, timeout: timedelta | float | None = None) -> RunStatus: ...
    @overload
    def result(self, run: Created[R], *, timeout: timedelta | float | None = None) -> R: ...
    @overload
    def result(
        self, run: str, handler: Callable[..., Awaitable[R]], *, timeout: timedelta | float | None = None
    ) -> R: ...
    @overload
    def result(
        self, run: str, handler: Callable[..., R], *, timeout: timedelta | float | None = None
    ) -> R: ...
    @overload
    def result(self, run: str, *, timeout: timedelta | float | None = None) -> Any: ...
    def signal(
        self,
        run_id: str,
        signal: Signal | str,
        value: Any = None,
        *,
        key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> RunStatus: ...
    def plan_flows(self) -> list[FlowPlan]: ...
    def migrate_flows(self) -> int: ...
    def cancel(self, run_id: str, *, by: str | None = None, note: str | None = None) -> RunStatus: ...
    def redrive(
        self, run_id: str, *, step: str | Step | None = None, by: str | None = None, note: str | None = None
    ) -> RunStatus: ...
    def reschedule(
        self,
        run_id: str,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> RunStatus: ...
    def fire(
        self, run_id: str, event: str, *, by: str | None = None, note: str | None = None
    ) -> RunStatus: ...
    @overload
    def create(
        self, name: AsyncHandler[P, R], payload: P, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    def create(
        self, name: PlainHandler[P, R], payload: P, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    def create(
        self, name: AsyncTick[R], payload: None = None, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    def create(
        self, name: PlainTick[R], payload: None = None, **options: Unpack[CreateOptions]
    ) -> Created[R]: ...
    @overload
    def create(self, name: type[Flow[P]], payload: P, **options: Unpack[CreateOptions]) -> Created[None]: ...
    @overload
    def create(self, name: str, payload: Any = None, **options: Unpack[CreateOptions]) -> Created[Any]: ...
    def create_many(self, runs: Sequence[NewRun]) -> list[Created]: ...
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
    def send_hint(self, run: PreparedRun) -> None: ...
    def prune(self, *, older_than: timedelta | float, limit: int = 1000) -> int: ...
    @property
    def env(self) -> Any: ...
    def dispatch(self, *, limit: int = 100) -> DispatchReport: ...
    def consume(self, message: Any) -> Disposition: ...
    def consume_batch(
        self, batch: Any, *, concurrency: int = 1, settle: SettleMode = "grouped"
    ) -> list[Disposition]: ...
    def run(
        self,
        *,
        concurrency: int = 100,
        grace: timedelta | float = 10.0,
        jobs: Sequence[JobName] | None = None,
    ) -> None: ...
    def backup(self, to: str | Path) -> None: ...
    @property
    def stuck_handlers(self) -> int: ...
    def close(self) -> None: ...
    def stop(self, *, at_once: bool = False) -> None: ...
