"""The applications of flows: each handler acts out what the instance's data says of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm import Cancel, Fail, Kumofire, Retry, Snooze
from kumofire_fsm.errors import KumofireError
from kumofire_fsm.flows.spec import Kind
from kumofire_fsm.signals import Go
from simulation.flows.declared import Data, Declined, Entity, LaterOrder, Order, Trial
from simulation.handlers import Applications, application

if TYPE_CHECKING:
    from simulation.actors import Actor
    from simulation.lives import HandlerCall

__all__ = ["ACTS", "PAD", "TIMEOUT_S", "FlowApplications"]

TIMEOUT_S: Final = 20
ACTS: Final = (
    "ok", "ok", "ok", "ok", "none", "pad", "pad", "commit", "commit", "error", "error", "retry", "snooze", "fail",
    "stop", "slow", "hang", "beat", "poison", "leave", "go", "go", "nowhere", "bad", "spawn",
    "cancel", "signal",
)  # fmt: skip
"""What one call of a handler may do. The last act of a handler is done by every later call too."""
_WAITS: Final = ("snooze", "poison")
"""Acts that would have no end if every later call did them."""
PAD: Final = "x" * 600
"""Makes data so large that it stands in a row of its own."""
_UNDONE: Final = ("error", "retry", "snooze", "fail", "stop", "nowhere", "bad")


async def _act(ctx: Any, kind: str, call: HandlerCall, data: Any) -> Any:
    """Do what a call is to do, and return the data from then on."""
    world, told = ctx.env.world, f"{call.name}:{call.visit}"
    after = data.model_copy(update={"trail": [*data.trail, told]})
    if kind in _UNDONE:
        ctx.commit([("INSERT INTO effects VALUES (?, ?)", (ctx.run.id, f"{told}, which {kind} undid"))])
    match kind:
        case "error":
            raise (
                Declined("asked to") if call.name == "charge" and call.number % 2 else ValueError("asked to")
            )
        case "retry":
            raise Retry(after=1)
        case "snooze":
            raise Snooze(until=7)
        case "fail":
            raise Fail("asked to")
        case "stop":
            raise Cancel("asked to")
        case "nowhere":
            raise Go("nowhere", after)
        case "go" if call.name == "charge":
            raise Go("by_hand", after)
        case "slow":
            await world.sleep(ctx.env, 3)
        case "hang":
            await world.sleep(ctx.env, 3_600)
        case "beat":
            for percent in (10, 50):
                await ctx.heartbeat({"percent": percent})
                await world.sleep(ctx.env, 1)
        case "poison":
            world.kill(ctx.env, "is killed by its handler")
            await world.never()
        case "leave":
            task = asyncio.current_task()
            if task is not None:
                task.cancel()
        case "cancel" | "signal":
            with contextlib.suppress(KumofireError):
                await _meanwhile(ctx, kind, call.number)
        case "none":
            return None
        case "bad":
            return 5
        case "pad":
            return after.model_copy(update={"pad": "" if data.pad else PAD})
        case "commit":
            ctx.commit([("INSERT INTO effects VALUES (?, ?)", (ctx.run.id, told))])
        case "spawn":
            child = Data(trail=[f"{ctx.run.id} {told}"])
            ctx.commit(ctx.jobs.prepare_create(Entity, child).statements)
    return after


async def _meanwhile(ctx: Any, kind: str, number: int) -> None:
    """Do to the instance what somebody else might while its step is under way."""
    monitor, run_id = ctx.env.world.monitor, ctx.run.id
    monitor.moved_by_hand.add(run_id)
    if kind == "cancel":
        await ctx.jobs.cancel(run_id)
    else:
        nonce = 1_000_000 + number
        await ctx.jobs.signal(run_id, "approve" if ctx.run.name == "order" else "upgrade", {"nonce": nonce})
        monitor.signaled(run_id, nonce, None)


def _handler(name: str) -> Any:
    async def handle(ctx: Any, data: Any) -> Any:
        """Act, and tell the monitor when the call begins and how it ends."""
        monitor = ctx.env.world.monitor
        try:
            call = monitor.called(ctx, data, name)
        except Exception as exc:  # else it would count as the handler's own
            monitor.found("no surprises", f"the monitor raised {exc!r}")
            raise
        acts = data.acts.get(name, ["ok"])
        nth = sum(each.name == name for each in monitor.lives.calls[ctx.run.id])
        kind = acts[min(nth, len(acts)) - 1]
        if nth > len(acts) and kind in _WAITS:
            kind = "ok"
        try:
            value = await _act(ctx, kind, call, data)
        except Go as exc:
            call.end(exc.event, exc.data.model_dump_json())
            raise
        except BaseException as exc:
            call.end(type(exc).__name__)
            if isinstance(exc, asyncio.CancelledError):
                monitor.lives.cancelled(call, told=ctx.canceled)
            raise
        text = data.model_dump_json() if value is None else "" if value == 5 else value.model_dump_json()
        call.end("bad" if value == 5 else "done", text)
        monitor.acted(call, kind)
        return value

    return handle


class FlowApplications(Applications):
    """The code before and after a deploy; and at either time, code that knows a flow less."""

    def __init__(self) -> None:
        self._codes = {
            (version, old): self._serving(flows)
            for version, order in ((1, Order), (2, LaterOrder))
            for old, flows in ((False, (order, Trial, Entity)), (True, (order, Entity)))
        }

    def code(self, actor: Actor, *, old: bool) -> Kumofire:
        """Return the code that an actor runs."""
        version = actor.world.version(actor)
        actor.knows = {f"order@{version}", "entity@1", *(() if old else ("trial@1",))}
        return self._codes[version, old]

    def _serving(self, flows: Sequence[Any]) -> Kumofire:
        app = application(timeout=TIMEOUT_S)
        for flow in flows:
            app.flow(flow)
            for step in flow.spec.of_kind(Kind.TASK):
                app.step(getattr(flow, step.id))(_handler(step.id))
                if step.undo:
                    app.undo(getattr(flow, step.id))(_handler(f"undo {step.id}"))
            if flow is LaterOrder:
                app.upgrade(flow, from_version=1)(lambda data: {**data, "warehouse": "north"})
        return app
