"""What type checkers must accept, and which types they must find."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel

import kumofire_fsm
from kumofire_fsm import Created, Jobs, Kumofire, NewRun, PlainContext, PreparedRun, RunContext, SyncJobs
from kumofire_fsm.flows import End, Flow, Signal, Wait
from kumofire_fsm.machines import Deadline, Event, Role, RunMachine, State
from kumofire_fsm.testing import CallOutcome, SyncVirtualJobs, VirtualJobs, perform, virtual_jobs

app = Kumofire()
WAITING: kumofire_fsm.machines.Role = kumofire_fsm.machines.Role.WAITING


class Greeting(BaseModel):
    name: str


class Warm(Greeting):
    degrees: int = 20


@app.job("greet", max_attempts=3, timeout=timedelta(minutes=1))
async def greet(ctx: RunContext, greeting: Greeting) -> str:
    assert_type(ctx.jobs, Jobs)
    assert_type(await ctx.jobs.result(await ctx.jobs.create(count, [1])), int)
    return f"Hello, {greeting.name}!"


@app.job("count")
def count(ctx: PlainContext, numbers: list[int]) -> int:
    assert_type(ctx.jobs, SyncJobs)
    assert_type(ctx.jobs.create(count, numbers), Created[int])
    return sum(numbers)


@app.job("tick")
async def tick(ctx: RunContext) -> float:
    return 1.5


@app.job("tock")
def tock(ctx: PlainContext) -> bytes:
    return b""


@app.job("maybe")
async def maybe(ctx: RunContext, greeting: Greeting | None) -> str | None:
    return greeting.name if greeting else None


@app.job("no context")
async def no_context(greeting: Greeting) -> list[str]:
    return [greeting.name]


@app.job("given")
async def given(ctx: RunContext, greeting: Greeting, greeter: str = "Hello") -> str:
    return f"{greeter}, {greeting.name}"


class Greeter:
    async def greet(self, ctx: RunContext, greeting: Greeting) -> str:
        return greeting.name

    def __call__(self, ctx: RunContext, greeting: Greeting) -> str:
        return greeting.name


SOON = (
    Deadline(timedelta(days=3), "late"),
    Deadline("late", after=5),
    Deadline("now", "go", "late", doc="soon"),
)


class Order(Flow[Greeting]):
    by_hand = Wait("Somebody looks at it.", initial=True, waits=True)
    done = End("It is done.")
    approve = Signal(by_hand >> done, takes=None)


app.flow(Order)


async def a_handler_stays_what_it_is(ctx: RunContext) -> None:
    assert_type(await greet(ctx, Greeting(name="Ada")), str)
    handler: Callable[[RunContext, Greeting], Coroutine[Any, Any, str]] = greet
    await handler(ctx, Greeting(name="Ada"))


async def on_a_loop(jobs: Jobs) -> None:
    created = await jobs.create(greet, Greeting(name="Ada"), delay=5)
    assert_type(created, Created[str])
    assert_type(await jobs.result(created, timeout=10), str)
    assert_type(await jobs.result("an id", greet), str)
    assert_type(await jobs.result("an id", count), int)
    assert_type(await jobs.result("an id"), Any)
    assert_type(await jobs.create(greet, Warm(name="Ada"), tags=["a"], priority="low"), Created[str])
    assert_type(await jobs.create(count, [1, 2]), Created[int])
    assert_type(await jobs.create(tick), Created[float])
    assert_type(await jobs.create(tock, delay=timedelta(minutes=1)), Created[bytes])
    assert_type(await jobs.create(maybe, None), Created[str | None])
    assert_type(await jobs.create(maybe), Created[str | None])
    assert_type(await jobs.create(maybe, Greeting(name="Ada")), Created[str | None])
    assert_type(await jobs.create(no_context, Greeting(name="Ada")), Created[list[str]])
    assert_type(await jobs.create(given, Greeting(name="Ada")), Created[str])
    assert_type(await jobs.create(Greeter().greet, Greeting(name="Ada")), Created[str])
    assert_type(await jobs.create(Greeter(), Greeting(name="Ada")), Created[str])
    assert_type(await jobs.create(functools.partial(given, greeter="Hi"), Greeting(name="A")), Created[str])
    assert_type(await jobs.create("greet", {"name": "Ada"}, dedupe_key="k", dedupe="active"), Created[Any])
    assert_type(await jobs.create("tick"), Created[Any])
    await jobs.create(greet, Greeting(name="Ada"), dedupe_key="k", on_conflict="replace")
    order = await jobs.create(Order, Greeting(name="Ada"))
    await jobs.signal(order.kumofire_job_run_id, Order.approve)
    assert_type(jobs.prepare_create(greet, Greeting(name="Ada"), delay=5), PreparedRun)
    jobs.prepare_create(tick, max_attempts=2)
    jobs.prepare_create(Order, Greeting(name="Ada"))
    jobs.prepare_create("greet", {"name": "Ada"}, delay=5)
    await jobs.create_many([NewRun(greet, Greeting(name="Ada")), NewRun("tick", delay=5)])
    await jobs.create_schedule(greet, Greeting(name="Ada"), cron="0 4 * * *")
    await jobs.create_schedule(tick, every=60)
    await jobs.upsert_schedule(greet, Greeting(name="Ada"), schedule_key="k", every=60, overlap="skip")
    await jobs.upsert_schedule("greet", {"name": "Ada"}, schedule_key="k", every=60)
    await jobs.update_schedule(schedule_key="k", payload=Greeting(name="Eve"), every=60, enabled=False)


def a_created_run_needs_no_type_argument(created: Created) -> str:
    return created.kumofire_job_run_id


def without_a_loop() -> None:
    with app.open_sync("jobs.db", lease=30, synchronous="NORMAL") as jobs:
        assert_type(jobs, SyncJobs)
        created = jobs.create(greet, Greeting(name="Ada"), delay=5)
        assert_type(created, Created[str])
        assert_type(jobs.result(created, timeout=10), str)
        assert_type(jobs.create("greet", {"name": "Ada"}), Created[Any])
        assert_type(jobs.wait(created.kumofire_job_run_id).state, str)
        assert_type(jobs.prepare_create(tick), PreparedRun)
        jobs.update_schedule(schedule_key="k", every=60)
        jobs.run(concurrency=5)
        jobs.stop()
        assert_type(jobs.stuck_handlers, int)


async def tested() -> None:
    assert_type(await perform(greet, Greeting(name="Ada"), app=app, attempt=2), CallOutcome[str])
    assert_type((await perform(count, [1])).result, int | None)
    async with virtual_jobs(app, immediate=True) as jobs:
        assert_type(jobs, VirtualJobs)
        assert_type(await jobs.create(count, [1]), Created[int])
        assert_type(await jobs.drain(), list[CallOutcome[Any]])
        assert_type(len(await jobs.assert_created(greet, delay=timedelta(days=1), tags=["a"])), int)
    with virtual_jobs(app) as plain:
        assert_type(plain, SyncVirtualJobs)
        assert_type(plain.result(plain.create(count, [1])), int)
        assert_type(plain.advance(days=1)[0].delay, timedelta | None)
        plain.immediate = True


class Approved(RunMachine):
    """What is inherited is read on its class, with its types."""

    approval = State("A person looks.", role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready))
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
    redrive = Event(
        RunMachine.failed.to(approval) | RunMachine.canceled.to(approval), sets=RunMachine.redrive.sets
    )


assert_type(RunMachine.redrive.sets, dict[str, str])
