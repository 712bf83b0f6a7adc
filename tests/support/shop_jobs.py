"""An application whose jobs show every way in which a call ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from kumofire_fsm import (
    Backoff,
    Cancel,
    Fail,
    Fire,
    Kumofire,
    PlainContext,
    Retry,
    RunContext,
    RunMachine,
    Snooze,
)
from kumofire_fsm.machines import Actor, Deadline, Event, Role, State

app = Kumofire(retry=Backoff(first=10))


class Mail(BaseModel):
    """What is sent to whom."""

    to: str
    key: str = Field("none", repr=False)


class Approved(RunMachine):
    """A run that waits for a person, for three days."""

    approval = State(
        "Somebody is to approve it.",
        role=Role.WAITING,
        initial=True,
        deadline=Deadline("created_at + 259200000", "lapse"),
    )
    approve = Event(approval.to(RunMachine.ready), doc="Somebody agrees.")
    lapse = Event(approval.to(RunMachine.canceled), by=Actor.DEADLINE, doc="Nobody looked.")
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)


@app.job("mail")
async def mail(ctx: RunContext, message: Mail) -> Mail:
    if ctx.attempt == 1 and message.to == "flaky":
        raise ConnectionError("the network is down")
    return message


@app.job("welcome")
async def welcome(ctx: RunContext, to: str) -> None:
    ctx.commit([("INSERT INTO welcomed (name) VALUES (?)", (to,))])
    await ctx.jobs.create(mail, Mail(to=to))
    await ctx.jobs.create("mail", Mail(to=to), delay=86_400, tags=["survey"])


@app.job("count")
def count(ctx: PlainContext, many: int) -> int:
    for done in range(many):
        ctx.heartbeat(progress={"done": done + 1})
        if ctx.canceled:
            raise Cancel("asked to stop")
    ctx.heartbeat()
    return sum(ctx.jobs.count_runs().values())


@app.job("ends", max_attempts=2)
async def ends(ctx: RunContext, how: str) -> str:
    raise {
        "fail": Fail("no such thing"),
        "retry": Retry("not yet", after=5),
        "snooze": Snooze(timedelta(hours=1)),
        "cancel": Cancel("of its own wish"),
        "fire": Fire("release"),
    }[how]


@app.job("ask")
async def ask(ctx: RunContext) -> str:
    child = await ctx.jobs.create(mail, Mail(to="flaky"))
    return (await ctx.jobs.result(child)).to


@app.job("ever")
async def ever(ctx: RunContext) -> None:
    raise Snooze(1)


@app.job("pay", machine=Approved)
async def pay(ctx: RunContext, amount: int) -> int:
    return amount


@app.schedule(cron="0 6 * * *", key="morning")
@app.job("report")
async def report(ctx: RunContext) -> str:
    return f"{ctx.run.scheduled_for:%d.%m.}"


def plain(payload: dict[str, Any]) -> int:
    """A handler that no application registers."""
    return len(payload)
