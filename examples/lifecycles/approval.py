"""A person approves each payment before it is made; who waits three days for an answer is told so."""

import asyncio
from datetime import timedelta

from kumofire_fsm import Kumofire, RunContext, RunMachine, Transition
from kumofire_fsm.machines import Actor, Deadline, Event, Role, State


class ApprovedRun(RunMachine):
    """A run that waits for a person's word before it is ready."""

    approval = State(
        "Somebody is to approve or reject it.",
        role=Role.WAITING,
        initial=True,
        deadline=Deadline(timedelta(days=3), "lapse"),
    )
    rejected = State("Somebody said no.", role=Role.SETTLED)
    lapsed = State("Nobody answered in three days.", role=Role.SETTLED)

    approve = Event(approval.to(RunMachine.ready), doc="Somebody agrees.")
    reject = Event(approval.to(rejected), doc="Somebody does not.")
    lapse = Event(approval.to(lapsed), by=Actor.DEADLINE, doc="The three days are over.")
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
    redrive = Event(
        RunMachine.failed.to(approval) | RunMachine.canceled.to(approval),
        sets=RunMachine.redrive.sets,
        doc="Somebody wants it to run again, if it is approved again.",
    )


app = Kumofire()


@app.job("pay", machine=ApprovedRun)
async def pay(ctx: RunContext, amount: int) -> str:
    return f"{amount} paid at attempt {ctx.attempt}"


@app.on("approve")
async def thank(transition: Transition) -> None:
    print(f"approved by {transition.facts.get('by')}: {transition.facts.get('note')}")


@app.on_enter("lapsed")
async def remind(transition: Transition) -> None:
    print(f"nobody answered: {transition.run.kumofire_job_run_id}")


async def main() -> None:
    async with app.open(":memory:") as jobs:
        worker = asyncio.create_task(jobs.run())
        first = (await jobs.create("pay", 100)).kumofire_job_run_id
        second = (await jobs.create("pay", 100_000)).kumofire_job_run_id
        print("waiting:", await jobs.count_runs())
        await jobs.fire(first, "approve", by="ana", note="within the budget")
        await jobs.fire(second, "reject", by="ben", note="ask again next year")
        status = await jobs.wait(first, timeout=10)
        print(status.state, status.result)
        print([entry.event for entry in status.history])
        print((await jobs.wait(second, timeout=10)).state)
        worker.cancel()


if __name__ == "__main__":
    asyncio.run(main())
