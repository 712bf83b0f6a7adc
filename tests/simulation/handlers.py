"""The application under simulation: jobs whose handlers act out what their payload says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kumofire_fsm import Backoff, Cancel, Fail, Kumofire, Retry, Snooze
from kumofire_fsm.engine.binding import Timing
from simulation.actors import ActorClock, ActorEntropy
from simulation.queue import ActorQueue
from simulation.storage import ActorStorage

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from simulation.actors import Actor
    from simulation.lives import HandlerCall

__all__ = [
    "ACTS",
    "BINDING",
    "CONSUMING",
    "JOBS",
    "KEPT_MS",
    "KEY_LIMITS",
    "KEY_RATES",
    "LIMITS",
    "MAX_LEASE_MS",
    "RATES",
    "TIMINGS",
    "Applications",
    "application",
]

TIMINGS = (
    Timing(),
    Timing(horizon_ms=5_000, redeliver_ms=15_000, lost_ms=500, grace_ms=5_000),
)
BINDING: tuple[dict[str, Any], ...] = ({}, {"max_statements": 12}, {"max_statements": 25})
"""Further options of `bind`; each history has one of these."""
CONSUMING: tuple[dict[str, Any], ...] = ({}, {"concurrency": 3}, {"concurrency": 3, "settle": "each"})
"""Further options of `consume_batch`; each history has one of these."""
WAITS_MS = {"Retry": 1_000, "Snooze": 7_000}
"""For how long a handler wants to be left alone, by what it raises."""
TIMEOUTS_S = {"work": 20, "late": 4, "plain": 4}
JOBS = tuple(TIMEOUTS_S)
LIMITS = {"plain": 2}
"""For jobs that declare one, how many of their runs may be under way at once."""
KEY_LIMITS = {"work": 1}
"""For jobs that declare one, how many of their runs with one concurrency key may be under way at once."""
KEY_RATES = {"late": (1, 20)}
"""For jobs that declare one, how many of their runs with one concurrency key may start in how many seconds."""
RATES = {"plain": (3, 15)}
"""For jobs that declare one, how many of their runs may start in how many seconds."""
KEPT_MS = 30_000
"""How long ago a run must have settled for a client to prune it."""
MAX_LEASE_MS = 120_000
"""More than the longest timeout above with what a lease adds to it."""
ACTS = (
    "ok", "ok", "large", "error", "error", "retry", "snooze", "fail", "stop", "slow", "hang", "beat",
    "tidy", "spawn", "poison", "commit", "commit", "deaf", "leave",
)  # fmt: skip
"""What one call of a handler may do. The last act of a payload is done by every later call too."""


async def act(ctx: Any, kind: str, call: HandlerCall) -> Any:
    """Do what a call is to do."""
    world, number = ctx.env.world, call.number
    if kind in ("error", "retry", "snooze", "fail", "stop"):
        ctx.commit([("INSERT INTO effects VALUES (?, ?)", (ctx.run.id, f"{number}, which {kind} undid"))])
    match kind:
        case "error":
            raise ValueError("asked to")
        case "retry":
            raise Retry(after=WAITS_MS["Retry"] / 1000)
        case "snooze":
            raise Snooze(until=WAITS_MS["Snooze"] / 1000)
        case "fail":
            raise Fail("asked to")
        case "stop":
            raise Cancel("asked to")
        case "slow":
            await world.sleep(ctx.env, 3)
        case "hang":
            await world.sleep(ctx.env, 3_600)
        case "tidy":
            try:
                await world.sleep(ctx.env, 3_600)
            except asyncio.CancelledError:
                await world.sleep(ctx.env, 1)
                if number % 2 or not ctx.canceled:
                    raise
        case "beat":
            for percent in (10, 50):
                await ctx.heartbeat({"percent": percent})
                await world.sleep(ctx.env, 1)
                if ctx.canceled:
                    raise Cancel("told to")
        case "large":
            return f"{number} of {ctx.run.id} " * 20
        case "commit":
            ctx.commit([("INSERT INTO effects VALUES (?, ?)", (ctx.run.id, str(number)))])
        case "spawn":
            await ctx.jobs.create("plain", {"acts": ["ok"]})
        case "deaf":
            await _deaf(call)
        case "leave":
            _request_to_cancel()
        case "poison":
            world.kill(ctx.env, "is killed by its handler")
            await world.never()
    return kind if kind == "commit" else f"{kind} of {ctx.run.id}"


async def _deaf(call: HandlerCall) -> None:
    """Go on whatever comes, for much longer than any lease."""
    actor, world = call.actor, call.actor.world
    until = world.now + world.deaf_ms
    while world.now < until:
        try:
            await world.sleep(actor, (until - world.now) / 1000)
        except asyncio.CancelledError:
            call.ignores()


def _request_to_cancel() -> None:
    """Leave a request to cancel in the task, as who swallows one does, or cancels itself and returns first."""
    task = asyncio.current_task()
    if task is not None:
        task.cancel()


def _called(ctx: Any, payload: Any) -> HandlerCall:
    """Tell the monitor that a handler is called, and what its payload says of the run."""
    monitor = ctx.env.world.monitor
    try:
        monitor.handed(ctx.run.id, payload)
        monitor.as_asked(ctx.env, ctx.run.id, payload.get("asked", {}))
        call: HandlerCall = monitor.lives.called(ctx.env, ctx.run.id, TIMEOUTS_S[ctx.run.name] * 1000)
    except Exception as exc:  # else it would count as the handler's own
        monitor.found("no surprises", f"the monitor raised {exc!r}")
        raise
    return call


async def work(ctx: Any, payload: Any) -> Any:
    """Act, and tell the monitor when the call begins and how it ends."""
    call = _called(ctx, payload)
    acts = payload["acts"]
    kind = acts[min(call.number, len(acts)) - 1]
    if call.number > len(acts) and kind == "snooze":
        kind = "ok"  # who snoozes without end never settles
    try:
        value = await act(ctx, kind, call)
    except BaseException as exc:
        call.end(type(exc).__name__)
        if isinstance(exc, asyncio.CancelledError):
            ctx.env.world.monitor.lives.cancelled(call, told=ctx.canceled)
        raise
    call.end("returned", value)
    return value


def plain(ctx: Any, payload: Any) -> Any:
    """Act without waiting for anything."""
    call = _called(ctx, payload)
    if payload["acts"][0] == "error" and call.number == 1:
        call.end("ValueError")
        raise ValueError("asked to")
    call.end("returned", "plain")
    return "plain"


def application(**options: Any) -> Kumofire:
    """Return an application without jobs, on the clock and the randomness of whoever acts."""
    retry = Backoff(first=timedelta(seconds=2), cap=timedelta(seconds=20))
    return Kumofire(clock=ActorClock(), entropy=ActorEntropy(), retry=retry, **options)


class Applications:
    """The code of today, and the code before the last deploy, which knows one job less."""

    def __init__(self) -> None:
        self._new = self._application(JOBS)
        self._old = self._application(tuple(job for job in JOBS if job != "late"))

    def bind(self, actor: Actor, *, old: bool) -> Jobs:
        """Return the API for one invocation."""
        app, world = self.code(actor, old=old), actor.world
        queue = None if world.queue is None else ActorQueue(actor)
        return app.bind(
            db=ActorStorage(actor), queue=queue, env=actor, timing=world.timing, **world.binding_options
        )

    def code(self, actor: Actor, *, old: bool) -> Kumofire:
        """Return the code that an actor runs."""
        return self._old if old else self._new

    def _application(self, jobs: tuple[str, ...]) -> Kumofire:
        app = application()
        for name in jobs:
            limits: dict[str, Any] = {"limit": LIMITS.get(name), "key_limit": KEY_LIMITS.get(name)}
            rates: dict[str, Any] = {"rate": RATES.get(name), "key_rate": KEY_RATES.get(name)}
            app.job(name, timeout=TIMEOUTS_S[name], **rates, **limits)(plain if name == "plain" else work)
        return app
