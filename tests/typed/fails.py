"""What type checkers must refuse: each line with this mark, and no other."""

from __future__ import annotations

from pydantic import BaseModel

import kumofire_fsm
from kumofire_fsm import Created, Jobs, Kumofire, PlainContext, RunContext
from kumofire_fsm.flows import End, Flow, Signal, Wait
from kumofire_fsm.machines import Deadline

app = Kumofire()


class Greeting(BaseModel):
    name: str


@app.job("greet")
async def greet(ctx: RunContext, greeting: Greeting) -> str:
    return greeting.name


@app.job("count")
def count(ctx: PlainContext, numbers: list[int]) -> int:
    ctx.jobs.create(count, ["one"])  # refused
    ctx.jobs.creat("count")  # refused
    return sum(numbers)


@app.job("tick")
async def tick(ctx: RunContext) -> float:
    return 1.5


@app.job("no context")
async def no_context(greeting: Greeting) -> None:
    pass


NO_SUCH_NAME = kumofire_fsm.RunMachin  # refused
LATE = Deadline(60_000, "late")  # refused
LATER = Deadline("late", after="tomorrow")  # refused


class Order(Flow[Greeting]):
    by_hand = Wait("Somebody looks at it.", initial=True, waits=True)
    done = End("It is done.")
    approve = Signal(by_hand >> done, takes=None)


async def on_a_loop(jobs: Jobs, ctx: RunContext, number: Created[int]) -> None:
    await greet(ctx, "Ada")  # refused
    await jobs.create(greet, "Ada")  # refused
    await jobs.create(greet, {"name": "Ada"})  # refused
    await jobs.create(greet)  # refused
    await jobs.create(greet, Greeting(name="Ada"), dealy=5)  # refused
    await jobs.create(greet, Greeting(name="Ada"), delay="soon")  # refused
    await jobs.create(greet, Greeting(name="Ada"), priority="urgent")  # refused
    await jobs.create(count, ["one"])  # refused
    await jobs.create(tick, 5)  # refused
    await jobs.create(no_context, 5)  # refused
    await jobs.create(Order)  # refused
    await jobs.create(Order, 5)  # refused
    await jobs.create("greet", "Ada", dealy=5)  # refused
    await jobs.create(greet, Greeting(name="Ada"), dedupe_key="k", on_conflict="replce")  # refused
    jobs.prepare_create(greet, Greeting(name="Ada"), dedupe_key="k", on_conflict="raise")  # refused
    await jobs.create(5)  # refused
    await jobs.creat("greet")  # refused
    text: str = await jobs.result(number)  # refused
    text = await jobs.result("an id", count)  # refused
    created: Created[int] = await jobs.create(greet, Greeting(name=text))  # refused
    await jobs.result(created, timeout="soon")  # refused
    jobs.prepare_create(greet, "Ada")  # refused
    jobs.prepare_create(greet, Greeting(name="Ada"), dealy=5)  # refused
    jobs.prepare_create("greet", "Ada", dealy=5)  # refused
    await jobs.create_schedule(greet, "Ada", every=60)  # refused
    await jobs.upsert_schedule(greet, "Ada", schedule_key="k", every=60)  # refused
    await jobs.update_schedule("an id", evry=60)  # refused
    await jobs.update_schedule("an id", overlap="never")  # refused


def without_a_loop() -> None:
    with app.open_sync("jobs.db", leas=30) as jobs:  # refused
        jobs.creat("greet")  # refused
        jobs.create(greet, "Ada")  # refused
        jobs.create(greet, Greeting(name="Ada"), dealy=5)  # refused
        jobs.create("greet", "Ada", dealy=5)  # refused
        number: int = jobs.result(jobs.create(greet, Greeting(name="Ada")))  # refused
        number = jobs.wait("an id", timeout=number).sate  # refused
        jobs.prepare_create(greet, "Ada")  # refused
        jobs.update_schedule("an id", evry=60)  # refused
        jobs.run(concurency=5)  # refused
