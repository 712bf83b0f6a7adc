"""A person approves an expense; they are reminded every two days, and after a week it lapses."""

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from kumofire_fsm import Kumofire, StepContext
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome


class Expense(BaseModel):
    who: str
    amount: int
    reminders: int = 0


class Verdict(BaseModel):
    by: str
    why: str = ""


class Approval(Flow[Expense]):
    """An expense, until somebody has decided about it."""

    ask = Task("The manager gets a mail.", initial=True)
    asked = Wait("The manager is to decide.", deadline=Deadline(timedelta(days=2), "remind", "give_up"))
    reminder = Task("The manager gets another mail.")
    pay = Task("The money is sent.")
    paid = End("The money is on its way.")
    rejected = End("The manager said no.", Outcome.FAILURE)
    lapsed = End("Nobody decided.", Outcome.CANCELLATION)

    done = ask >> asked | reminder >> asked | pay >> paid
    approve = Signal(asked.to(pay), takes=Verdict, doc="The manager agrees.")
    reject = Signal(asked.to(rejected), takes=Verdict, doc="The manager does not.")
    remind = asked.to(reminder, cond="visit < 6")  # it is asked at visits 1, 3, 5 and 7
    give_up = asked.to(lapsed)


app = Kumofire()


@app.step(Approval.ask)
async def ask(_ctx: StepContext, expense: Expense) -> None:
    print(f"to the manager: {expense.who} asks for {expense.amount}")


@app.step(Approval.reminder)
async def remind(_ctx: StepContext, expense: Expense) -> Expense:
    expense.reminders += 1
    print(f"to the manager: {expense.who} still waits (reminder {expense.reminders})")
    return expense


@app.step(Approval.pay)
async def pay(ctx: StepContext, expense: Expense) -> None:
    assert ctx.signal is not None
    print(f"{expense.amount} to {expense.who}, approved by {ctx.signal.value['by']}")


async def main() -> None:
    async with app.open(":memory:") as jobs:
        worker = asyncio.create_task(jobs.run())
        first = (await jobs.create(Approval, Expense(who="ana", amount=40))).kumofire_job_run_id
        await jobs.signal(first, Approval.approve, Verdict(by="ben"))
        print((await jobs.wait(first, timeout=10)).step)
        second = (await jobs.create(Approval, Expense(who="cem", amount=9_000))).kumofire_job_run_id
        await jobs.signal(second, Approval.reject, Verdict(by="ben", why="too dear"), by="ben")
        print((await jobs.wait(second, timeout=10)).step)
        worker.cancel()


if __name__ == "__main__":
    asyncio.run(main())
