"""An order goes from the stock to the door; where it cannot go on, it is undone backwards."""

import asyncio
import sqlite3
import tempfile
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from kumofire_fsm import NEVER, Backoff, Kumofire, StepContext
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome


class Data(BaseModel):
    number: int
    total: int
    charge_id: str | None = None


class Verdict(BaseModel):
    by: str


class CardDeclined(Exception):
    pass


class Order(Flow[Data]):
    """An order, from the stock to the door."""

    reserve = Task("Stock is set aside.", initial=True, timeout=30, undo=True)
    charge = Task("The card is charged.", retry=Backoff(on={CardDeclined: NEVER}), undo=True)
    approval = Wait("A person looks at large orders.", deadline=Deadline(timedelta(days=3), "overlook"))
    pack = Task("Everything goes into one parcel.")
    ship = Task("Handed to the carrier: no way back from here.", pivot=True)
    shipped = End("Delivered.")
    undone = End("Everything was given back.", Outcome.FAILURE)

    done = (
        reserve >> charge
        | charge.to(approval, cond="data.total > 100000")
        | charge >> pack >> ship >> shipped
    )
    approve = Signal(approval.to(pack), takes=Verdict)
    reject = Signal(approval.undo(undone), takes=Verdict)
    overlook = approval.undo(undone)
    fail = Flow.any.undo(undone)
    cancel = Flow.any.undo(undone)


app = Kumofire()


@app.step(Order.reserve)
async def reserve(ctx: StepContext, _order: Data) -> None:
    ctx.env["stock"] -= 1


@app.undo(Order.reserve)
async def put_back(ctx: StepContext, _order: Data) -> None:
    ctx.env["stock"] += 1


@app.step(Order.charge)
async def charge(ctx: StepContext, order: Data) -> Data:
    if order.total > ctx.env["credit"]:
        raise CardDeclined(f"{order.total} is over the limit")
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (order.number, order.total))])
    return order.model_copy(update={"charge_id": f"charge of {ctx.key}"})  # the bank knows a repeated key


@app.undo(Order.charge)
async def refund(ctx: StepContext, order: Data) -> None:
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (order.number, -order.total))])


@app.step(Order.pack)
async def pack(ctx: StepContext, order: Data) -> None:
    print(f"order {order.number} is packed" + (f", said {ctx.signal.value['by']}" if ctx.signal else ""))


@app.step(Order.ship)
async def ship(_ctx: StepContext, order: Data) -> None:
    print(f"order {order.number} is on its way")


async def main(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE ledger (number INTEGER, amount INTEGER)")
    async with app.open(file, env={"stock": 5, "credit": 500_000}) as jobs:
        worker = asyncio.create_task(jobs.run())
        small = (await jobs.create(Order, Data(number=1, total=100))).kumofire_job_run_id
        print(1, (await jobs.wait(small, timeout=10)).step)
        large = (await jobs.create(Order, Data(number=2, total=250_000))).kumofire_job_run_id
        await jobs.signal(large, Order.approve, Verdict(by="ana"), key="webhook-17")  # early: it is kept
        print(2, (await jobs.wait(large, timeout=10)).step)
        huge = (await jobs.create(Order, Data(number=3, total=900_000))).kumofire_job_run_id
        status = await jobs.wait(huge, timeout=10)
        print(3, status.step, (status.last_error or "").splitlines()[0])
        worker.cancel()
    print(db.execute("SELECT number, amount FROM ledger").fetchall())
    db.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "orders.db"))
