"""Calls a handler once, as a worker does, and tells how the call ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar, overload

from kumofire_fsm.app import Kumofire
from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.engine.reading import read_run
from kumofire_fsm.errors import UnknownJob
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.testing._created import created_by
from kumofire_fsm.testing._opening import opened
from kumofire_fsm.testing._outcome import CallOutcome, Left, outcome_of
from kumofire_fsm.testing._system import VirtualClock
from kumofire_fsm.testing._virtual import VirtualJobs
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.ids import new_token
from kumofire_fsm.values.jsontext import encode
from kumofire_fsm.values.limits import PROGRESS_BYTES

__all__ = ["perform"]

R = TypeVar("R")
MOST_ATTEMPTS: Final = 1_000


@overload
async def perform(
    handler: Callable[..., Awaitable[R]],
    payload: Any = None,
    *,
    app: Kumofire | None = None,
    env: Any = None,
    clock: VirtualClock | None = None,
    attempt: int = 1,
    progress: Any = None,
    canceled: bool = False,
) -> CallOutcome[R]: ...
@overload
async def perform(
    handler: Callable[..., R],
    payload: Any = None,
    *,
    app: Kumofire | None = None,
    env: Any = None,
    clock: VirtualClock | None = None,
    attempt: int = 1,
    progress: Any = None,
    canceled: bool = False,
) -> CallOutcome[R]: ...
async def perform(
    handler: Callable[..., Any],
    payload: Any = None,
    *,
    app: Kumofire | None = None,
    env: Any = None,
    clock: VirtualClock | None = None,
    attempt: int = 1,
    progress: Any = None,
    canceled: bool = False,
) -> CallOutcome[Any]:
    """Call a handler once, as a worker does, and tell how the call ended.

    Payload and result are validated and converted. What the handler gives to ``ctx.commit`` is recorded and
    not executed. What it asks of ``ctx.jobs`` is answered by an empty database in memory, which is gone then.

    Args:
        handler: a job's, or a step's of a flow, async or plain.
        payload: what it is called with; of a flow's step the flow's data.
        app: the application that registers it. Without one the handler's own function is called, and the
            options of a job are the defaults.
        env: what it finds in ``ctx.env``.
        clock: the time; default one of its own, at the beginning of 2026.
        attempt: which attempt it is.
        progress: what a heartbeat of an earlier attempt said.
        canceled: whether its heartbeats find that somebody asked the run to stop.

    Raises:
        InvalidPayload, DefinitionError: the handler cannot be called so.
        UnknownJob: the application does not register it.
    """
    if app is None:
        app = Kumofire()
        app.job(getattr(handler, "__name__", type(handler).__name__))(handler)
    name, step = _place(app, handler)
    whole_number(attempt, "attempt", MOST_ATTEMPTS)
    said = None if progress is None else encode(progress, "progress", PROGRESS_BYTES)
    async with opened(app, ":memory:", env=env, clock=clock or VirtualClock(), lifespan=False) as jobs:
        created = await jobs.create(name, payload)
        before = {"attempt": attempt - 1, "progress": said, **({} if step is None else {"step": step})}
        return await _performed(jobs, created.kumofire_job_run_id, before, canceled=canceled)


async def _performed(
    jobs: VirtualJobs, run_id: str, before: dict[str, Any], *, canceled: bool
) -> CallOutcome[Any]:
    """Call the handler of a run that is there, from its start to its ending by its machine's own table."""
    binding = jobs._binding
    stored = await read_run(binding, run_id, results=True)
    spec = binding.runs.specs[stored.machine]
    row = {name: value for name, value in {**spec.fields, **stored._asdict()}.items() if name in spec.fields}
    row |= {"id": run_id, "job": stored.job, "state": _start_of(spec), **before}
    timing = {**binding.timing.columns(), "now": binding.now()}
    whole, lease = binding.timing.lease_for(binding.registry.get(stored.job).timeout_ms)
    row = spec.step(
        row, "start", token=new_token(binding.entropy), timeout_ms=whole, lease_ms=lease, **timing
    )
    columns: dict[str, Any] = {name: row.get(name) for name in ClaimedRun._fields}
    run = ClaimedRun(**{**columns, "body": stored.payload})
    attempt, heartbeats = jobs._working.attempt(run, 0.0), list[Any]()

    async def beat(progress: Any) -> None:
        if progress is not None:
            attempt.context.progressed(encode(progress, "progress", PROGRESS_BYTES))
        heartbeats.append(progress)
        attempt.context.canceled = canceled

    attempt.context._beat = beat
    ending = await jobs._working.ended(attempt)
    given = {name: value for name, value in ending.move._asdict().items() if name in spec.parameters}
    after: dict[str, Any] = spec.step(row, ending.move.event, **given)
    left = Left(after["state"], after["run_at"])
    outcome = outcome_of(ending, attempt.definition, heartbeats, left, spec, binding.now())
    others = [await jobs.get_status(each) for each in await created_by(binding) if each != run_id]
    return replace(outcome, created=tuple(each for each in others if each is not None))


def _start_of(spec: MachineSpec) -> str:
    """Return a state in which a run may be started."""
    return next(edge.source for edge in spec.edges_of("start") if spec.has_role(edge.source, Role.CLAIMABLE))


def _place(app: Kumofire, handler: Any) -> tuple[str, str | None]:
    """Return the job that a handler belongs to, and of a flow the step."""
    try:
        return app.registry.get(handler).name, None
    except UnknownJob:
        for job in app.registry.jobs.values():
            tasks = job.tasks.items() if isinstance(job, FlowJob) else ()
            for step, made in tasks:
                if made.handler is handler:
                    return job.name, step
        raise
