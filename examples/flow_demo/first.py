"""Orders, version 1: what is deployed when the demo begins."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from kumofire_fsm import Backoff, Kumofire, Snooze, StepContext
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome

HELD = Path(__file__).parent / "held"
"""While this file is there, an order stands at the step of its number, so that orders stand at every step."""


class Data(BaseModel):
    """What an order carries."""

    number: int
    total: int
    charge_id: str | None = None


class Order(Flow[Data]):
    """An order, from the stock to the door."""

    reserve = Task("Stock is set aside.", initial=True, undo=True)
    charge = Task("The card is charged.", undo=True)
    approval = Wait("A person looks at large orders.", deadline=Deadline(timedelta(days=3), "overlook"))
    packing = Task("Everything goes into one parcel.")
    ship = Task("Handed to the carrier: no way back from here.", pivot=True)
    shipped = End("Delivered.")
    undone = End("Everything was given back.", Outcome.FAILURE)

    done = (
        reserve >> charge
        | charge.to(approval, cond="data.total > 100000")
        | charge >> packing >> ship >> shipped
    )
    approve = Signal(approval.to(packing), takes=None)
    overlook = approval.undo(undone)
    fail = Flow.any.undo(undone)


app = Kumofire(retry=Backoff(first=timedelta(seconds=0.2)), max_attempts=50)
STEPS = ("reserve", "charge", "packing", "ship")


def work(ctx: StepContext, order: Data) -> None:
    """Write what the step has done into the ledger, in the transaction that moves the order on."""
    if HELD.exists() and order.number % 5 == STEPS.index(ctx.step):
        raise Snooze(5)
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (order.number, ctx.step))])


@app.step(Order.reserve)
async def reserve(ctx: StepContext, order: Data) -> None:
    """Set stock aside."""
    work(ctx, order)


@app.step(Order.charge)
async def charge(ctx: StepContext, order: Data) -> Data:
    """Charge the card."""
    work(ctx, order)
    return order.model_copy(update={"charge_id": ctx.key})


@app.step(Order.packing)
async def packing(ctx: StepContext, order: Data) -> None:
    """Make a parcel."""
    work(ctx, order)


@app.step(Order.ship)
async def ship(ctx: StepContext, order: Data) -> None:
    """Hand it to the carrier."""
    work(ctx, order)


@app.undo(Order.reserve)
@app.undo(Order.charge)
async def give_back(ctx: StepContext, order: Data) -> None:
    """Take a step back."""
    ctx.commit([("INSERT INTO ledger VALUES (?, ?)", (order.number, f"{ctx.step} {ctx.visit}"))])
