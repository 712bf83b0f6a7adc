"""Orders, version 2: `packing` is called `pack`, a label is printed, and every order has a warehouse."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from kumofire_fsm import Backoff, Kumofire, StepContext
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome


class Data(BaseModel):
    """What an order carries."""

    number: int
    total: int
    warehouse: str
    charge_id: str | None = None


class Order(Flow[Data], version=2, was={"packing": "pack"}):
    """An order, from the stock to the door."""

    reserve = Task("Stock is set aside.", initial=True, undo=True)
    charge = Task("The card is charged.", undo=True)
    approval = Wait("A person looks at large orders.", deadline=Deadline(timedelta(days=3), "overlook"))
    pack = Task("Everything goes into one parcel.")
    label = Task("A label is printed.")
    ship = Task("Handed to the carrier: no way back from here.", pivot=True)
    shipped = End("Delivered.")
    undone = End("Everything was given back.", Outcome.FAILURE)

    done = (
        reserve >> charge
        | charge.to(approval, cond="data.total > 100000")
        | charge >> pack >> label >> ship >> shipped
    )
    approve = Signal(approval.to(pack), takes=None)
    overlook = approval.undo(undone)
    fail = Flow.any.undo(undone)


app = Kumofire(retry=Backoff(first=timedelta(seconds=0.2)), max_attempts=50)
app.upgrade(Order, from_version=1)(lambda data: {**data, "warehouse": "north"})


async def work(ctx: StepContext, order: Data) -> None:
    """Write what the step has done into the ledger, in the transaction that moves the order on."""
    step = "packing" if ctx.step == "pack" else ctx.step
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (order.number, step))])


for task in (Order.reserve, Order.charge, Order.pack, Order.label, Order.ship):
    app.step(task)(work)


@app.undo(Order.reserve)
@app.undo(Order.charge)
async def give_back(ctx: StepContext, order: Data) -> None:
    """Take a step back."""
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (order.number, f"{ctx.step} {ctx.visit}"))])
