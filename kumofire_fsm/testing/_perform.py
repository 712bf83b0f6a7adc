"""Calls a handler once, as a worker does, and tells how the call ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar, overload

from kumofire_fsm.app import Kumofire
from kumofire_fsm.engine.due import claim_due
from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.engine.reading import read_run
from kumofire_fsm.errors import UnknownJob
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.testing._clock import VirtualClock
from kumofire_fsm.testing._created import created_by
from kumofire_fsm.testing._opening import opened
from kumofire_fsm.testing._outcome import CallOutcome, Left, outcome_of
from kumofire_fsm.testing._virtual import VirtualJobs
from kumofire_fsm.testing._working import heard
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.jsontext import encode
from kumofire_fsm.values.limits import PROGRESS_BYTES
from kumofire_fsm.work.attempt import Attempt

__all__ = ["perform"]

R = TypeVar("R")
MOST_ATTEMPTS = 1_000


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
    async with opened(app, ":memory:", env, clock or VirtualClock()) as jobs:
        await jobs.create(name, payload)
        (claimed, *_), _, set_ms = await claim_due(jobs._binding, 1, alone=True, facts="{}")
        run = claimed._replace(
            attempt=whole_number(attempt, "attempt", MOST_ATTEMPTS),
            step=step or claimed.step,
            progress=None if progress is None else encode(progress, "progress", PROGRESS_BYTES),
        )
        return await _performed(jobs, run, jobs._working.attempt(run, set_ms), canceled=canceled)


async def _performed(
    jobs: VirtualJobs, run: ClaimedRun, attempt: Attempt, *, canceled: bool
) -> CallOutcome[Any]:
    binding, context = jobs._binding, attempt.context
    heartbeats, beat = heard(attempt), context._beat

    async def told(progress: Any) -> None:
        await beat(progress)
        context.canceled = canceled

    context._beat = told
    ending, spec = await jobs._working.ended(attempt), binding.runs.specs[run.machine]
    row = {**spec.fields, **(await read_run(binding, run.id))._asdict()}
    row |= {"attempt": run.attempt, "step": run.step}
    given = {key: value for key, value in ending.move._asdict().items() if key in spec.parameters}
    after = spec.step({key: row[key] for key in row if key in spec.fields}, ending.move.event, **given)
    left = Left(str(after["state"]), int(after["run_at"] or 0))
    outcome = outcome_of(ending, attempt.definition, heartbeats, left, spec, binding.now())
    others = [each for each in await created_by(binding) if each != run.id]
    found = [await jobs.get_status(each) for each in others]
    return replace(outcome, created=tuple(each for each in found if each is not None))


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
