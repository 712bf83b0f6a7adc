"""Flows of many steps, within what D1 takes of one statement: 100 levels of an expression, and 100 KB."""

from __future__ import annotations

import sqlite3
import types
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from harness import Bound, Kit
from pydantic import BaseModel

from kumofire_fsm import Fail
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome


class Data(BaseModel):
    number: int = 0


def declared(parts: dict[str, Any]) -> Any:
    def fill(body: dict[str, Any]) -> None:
        body.update(parts, __doc__="A flow of many steps.")

    return types.new_class("Long", (Flow[Data],), {}, fill)


def tasks(number: int) -> Any:
    """Return a flow of so many tasks in a row, each of which may be undone; the last one fails."""
    steps = [Task(f"Task {n}.", initial=n == 0, undo=True, max_attempts=1 + n % 2) for n in range(number)]
    parts: dict[str, Any] = {f"t{n}": step for n, step in enumerate(steps)}
    parts |= {"hold": Wait("It waits.", waits=True), "over": End("Over.")}
    parts |= {"undone": End("Taken back.", Outcome.FAILURE)}
    done = steps[-1] >> parts["over"]
    for before, after in zip(steps, [parts["hold"], *steps[2:]], strict=False):
        done = done | before >> after
    parts |= {"done": done, "go": Signal(parts["hold"].to(steps[1]), takes=None)}
    parts |= {event: Flow.any.undo(parts["undone"]) for event in ("fail", "cancel")}
    return declared(parts)


def waits(number: int) -> Any:
    """Return a flow of so many waits in a row, each with a deadline of its own."""
    steps = [
        Wait(f"Wait {n}.", initial=n == 0, deadline=Deadline(timedelta(days=1 + n % 3), "late"))
        for n in range(number)
    ]
    over = End("Over.")
    late = steps[-1] >> over
    for before, after in pairwise(steps):
        late = late | before >> after
    return declared({f"w{n}": step for n, step in enumerate(steps)} | {"over": over, "late": late})


async def limit(w: Bound) -> None:
    """Give the database the limits that D1 has."""

    def set_limits(db: sqlite3.Connection) -> None:
        db.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100)
        db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000)

    await w.storage.inner.call(set_limits)


@pytest.mark.parametrize("number", [30, 250])
async def test_a_flow_of_many_tasks_is_done_undone_redriven_and_swept(kit: Kit, number: int) -> None:
    flow = tasks(number)

    async def work(ctx: Any, data: Data) -> None:
        if ctx.step == f"t{number - 1}":
            raise Fail("the last one")

    async def undo(ctx: Any, data: Data) -> None: ...

    for n in range(number):
        kit.app.step(getattr(flow, f"t{n}"))(work)
        kit.app.undo(getattr(flow, f"t{n}"))(undo)
    async with kit.bound() as w:
        await limit(w)
        run_id, other = [await w.create(flow, Data()) for _ in range(2)]
        await w.deliver(run_id, other)
        assert (await w.status(run_id)).step == "hold"
        await w.jobs.fire(run_id, "look_again")
        assert (await w.jobs.cancel(other)).step == "undo_to_undone"
        kit.clock.advance(minutes=1)
        await w.jobs.dispatch()
        await w.deliver(run_id)
        await w.jobs.signal(run_id, flow.go)
        for _ in range(number):
            if (await w.status(run_id)).settled:
                break
            await w.deliver(run_id)
            kit.clock.advance(minutes=1)
        assert (await w.status(run_id)).step == "undone"
        status = await w.jobs.redrive(run_id, step="t1")
        assert (status.step, status.max_attempts) == ("t1", 2)


async def test_the_deadlines_of_100_waits_pass_one_after_the_other(kit: Kit) -> None:
    flow = waits(100)
    kit.app.flow(flow)
    async with kit.bound() as w:
        await limit(w)
        run_id = await w.create(flow, Data())
        for _ in range(100):
            kit.clock.advance(days=3, seconds=1)
            await w.jobs.dispatch()
        assert (await w.status(run_id)).step == "over"


def test_waits_with_deadlines_that_d1_would_refuse_are_refused_when_a_worker_starts(kit: Kit) -> None:
    kit.app.flow(waits(150))
    with pytest.raises(DefinitionError, match=r"runs\.sweep .* bytes, and D1 takes 100,000; declare fewer"):
        kit.app.statements()[0].compile_usual({})
