"""What rests at a step that is another kind of step now, or a wait that accepts a kept signal: it begins anew."""

from __future__ import annotations

import types
from datetime import timedelta
from typing import Any

import pytest
from fakes import FakeMessage
from harness import Bound, Kit
from pydantic import BaseModel

from kumofire_fsm import Fail, Kumofire
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.flows.spec import Kind
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.store.schema import migrate


class Data(BaseModel):
    number: int = 0


DAY_MS = 86_400_000


def wait(days: int | None = None) -> Wait:
    deadline = None if days is None else Deadline(timedelta(days=days), "late")
    return Wait("It waits.", waits=days is None, deadline=deadline)


def declared(version: int, was: Any = None, **parts: Any) -> Any:
    """Return the flow of these steps and events."""

    def fill(body: dict[str, Any]) -> None:
        body.update(parts, __doc__="A step that changes.")

    return types.new_class("Order", (Flow[Data],), {"version": version, "was": was or {}}, fill)


def made(hold: Any, version: int = 1, accepts: str | None = None) -> Any:
    """Return a flow whose second step is given; `say` leads out of that one too where it accepts it."""
    first, other = Task("It begins.", initial=True), Wait("It waits.", waits=True)
    over, gone = End("It is over."), End("Nothing is left to wait for.")
    said = other.to(over)
    if accepts is not None:
        said = said | hold.to(over, cond=accepts or None)
    parts: dict[str, Any] = {"first": first, "hold": hold, "other": other, "over": over, "gone": gone}
    if isinstance(hold, Task):
        parts["done"] = first >> hold | hold.to(other, cond="data.number > 9") | hold >> over
    else:
        parts |= {"done": first >> hold, "go": Signal(hold.to(other), takes=None)}
        if hold.deadline is not None:
            parts["late"] = hold.to(gone)
    parts["end"] = Signal(other.to(gone), takes=None)
    return declared(version, say=Signal(said, takes=None), **parts)


def serve(app: Kumofire, flow: Any, calls: list[str]) -> Kumofire:
    for step in flow.spec.of_kind(Kind.TASK):

        async def handle(ctx: Any, data: Any, name: str = step.id) -> None:
            calls.append(name)

        app.step(getattr(flow, step.id))(handle)
    return app


async def later(kit: Kit, w: Bound, flow: Any, calls: list[str]) -> Any:
    """Return another application's binding on the same database."""
    jobs = serve(kit.another_app(), flow, calls).bind(db=w.storage, queue=w.queue)
    await w.storage.inner.call(lambda db: migrate(db, list(jobs._binding.runs.specs.values())))
    return jobs


@pytest.mark.parametrize("days", [None, 14], ids=["without a deadline", "with a deadline"])
async def test_a_wait_that_is_a_task_in_the_next_version_runs_at_once(kit: Kit, days: int | None) -> None:
    calls: list[str] = []
    old = made(wait(days))
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        run_id = await w.create(old, Data())
        await w.deliver(run_id)
        assert await w.state(run_id) == ("parked" if days is None else "waiting")
        jobs = await later(kit, w, made(Task("It works.", max_attempts=7), 2), calls)
        (plan,) = await jobs.plan_flows()
        assert (plan.refused, await jobs.migrate_flows()) == (False, 1)
        status = await jobs.get_status(run_id)
        assert (status.state, status.step, status.max_attempts) == ("ready", "hold", 7)
        assert (status.history[-1].event, status.history[-1].facts) == ("look_again", {"version": 2})
        assert w.queue.waiting.count(run_id) >= 1
        await jobs.consume_batch([FakeMessage.of(run_id)])
        assert (calls, (await jobs.get_status(run_id)).step) == (["first", "hold"], "over")


async def test_a_wait_that_is_a_task_in_the_same_version_is_taken_up_by_a_look(kit: Kit) -> None:
    calls: list[str] = []
    old = made(wait())
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        run_id = await w.create(old, Data())
        await w.deliver(run_id)
        jobs = await later(kit, w, made(Task("It works.")), calls)
        await jobs.fire(run_id, "look_again")
        await jobs.consume_batch([FakeMessage.of(run_id)])
        assert (calls, (await jobs.get_status(run_id)).step) == (["first", "hold"], "over")


def undoing() -> Any:
    """Return a flow that undoes its first step once its second one fails."""
    first, second = Task("It begins.", initial=True, undo=True), Task("It fails.", max_attempts=1)
    over, undone = End("It is over."), End("Taken back.", Outcome.FAILURE)
    done, fail = first >> second | second >> over, Flow.any.undo(undone)
    return declared(1, first=first, second=second, over=over, undone=undone, done=done, fail=fail)


def without_undo(hold: Any) -> Any:
    """Return its next version: what was to be undone goes on at a step of another kind."""
    first, second, over = Task("It begins.", initial=True), Task("It fails."), End("It is over.")
    parts: dict[str, Any] = {"first": first, "second": second, "hold": hold, "over": over}
    parts |= {"done": first >> second | second >> over, "fail": second.to(hold)}
    if isinstance(hold, Task):
        parts["done"] = parts["done"] | hold >> over
    else:
        parts["late"] = hold.to(over)
    return declared(2, {"undo_to_undone": "hold"}, **parts)


@pytest.mark.parametrize("hold", [lambda: Task("It works."), lambda: wait(3)], ids=["task", "wait"])
async def test_an_undo_that_failed_and_is_another_step_in_the_next_version_begins_there(
    kit: Kit, hold: Any
) -> None:
    calls: list[str] = []
    old = undoing()

    async def fail(ctx: Any, data: Any) -> None:
        raise Fail("no")

    async def first(ctx: Any, data: Any) -> None: ...

    kit.app.step(old.first)(first)
    kit.app.undo(old.first)(fail)
    kit.app.step(old.second)(fail)
    async with kit.bound() as w:
        run_id = await w.create(old, Data())
        for _ in range(5):
            await w.deliver(run_id)
            kit.clock.advance(hours=1)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("parked", "undo_to_undone")
        jobs = await later(kit, w, without_undo(hold()), calls)
        assert await jobs.migrate_flows() == 1
        kit.clock.advance(days=1)
        await jobs.consume_batch([FakeMessage.of(run_id)])
        row = await w.row(run_id)
        if isinstance(hold(), Task):
            assert (calls, row["step"]) == (["hold"], "over")
        else:
            assert (row["state"], row["step"]) == ("waiting", "hold")
            assert row["wake_at"] == kit.clock.now() + 3 * DAY_MS


@pytest.mark.parametrize("version", [1, 2])
async def test_a_kept_signal_moves_a_wait_that_accepts_it_by_now(kit: Kit, version: int) -> None:
    old = made(wait())
    serve(kit.app, old, [])
    async with kit.bound() as w:
        run_id = await w.create(old, Data())
        await w.deliver(run_id)
        await w.jobs.signal(run_id, old.say)
        assert await w.state(run_id) == "parked"
        jobs = await later(kit, w, made(wait(), version, accepts=""), [])
        if version == 1:
            await jobs.fire(run_id, "look_again")
        else:
            assert await jobs.migrate_flows() == 1
        await jobs.consume_batch([FakeMessage.of(run_id)])
        assert (await jobs.get_status(run_id)).step == "over"


@pytest.mark.parametrize("accepts", [None, "visit > 100"], ids=["no edge", "a guard that fails"])
async def test_a_kept_signal_that_moves_nothing_leaves_a_wait_its_deadline(
    kit: Kit, accepts: str | None
) -> None:
    old = made(wait(14))
    serve(kit.app, old, [])
    async with kit.bound() as w:
        run_id = await w.create(old, Data())
        await w.deliver(run_id)
        await w.jobs.signal(run_id, old.say)
        at = kit.clock.now()
        kit.clock.advance(days=3)
        jobs = await later(kit, w, made(wait(14), 2, accepts=accepts), [])
        assert await jobs.migrate_flows() == 1
        row = await w.row(run_id)
        assert (row["state"], row["wake_at"], row["machine"]) == ("waiting", at + 14 * DAY_MS, "order@2")


async def test_a_signal_that_comes_while_an_instance_is_moved_leaves_it_to_the_next_migration(
    kit: Kit,
) -> None:
    old = made(wait())
    serve(kit.app, old, [])
    async with kit.bound() as w:
        run_id = await w.create(old, Data())
        await w.deliver(run_id)
        jobs = await later(kit, w, made(wait(), 2, accepts=""), [])
        batch, told = w.storage.batch, list[str]()

        async def first_a_signal(statements: Any) -> Any:
            if not told and any(each.name == "flows.migrate" for each in statements):
                told.append("say")
                await w.jobs.signal(run_id, old.say)
            return await batch(statements)

        w.storage.batch = first_a_signal  # type: ignore[method-assign]
        assert [await jobs.migrate_flows() for _ in range(3)] == [0, 1, 0]
        await jobs.consume_batch([FakeMessage.of(run_id)])
        assert (await jobs.get_status(run_id)).step == "over"
