"""Flows that tests share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from kumofire_fsm import NEVER, Backoff
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.flows.spec import Kind
from kumofire_fsm.machines import Deadline, Outcome

__all__ = ["CardDeclined", "Data", "Entity", "Handlers", "Order", "Trial", "Verdict", "steps"]


class Data(BaseModel):
    """What an order carries."""

    number: int = 1
    total: int = 100
    charge_id: str | None = None


class Verdict(BaseModel):
    """Who decided."""

    by: str


class CardDeclined(Exception):
    """The bank says no."""


class Order(Flow[Data], version=2, was={"packing": "pack"}):
    """An order, from the stock to the door; undone from the point of failure backwards."""

    reserve = Task("Stock is set aside.", initial=True, timeout=30, undo=True)
    charge = Task("The card is charged.", retry=Backoff(on={CardDeclined: NEVER}), undo=True)
    approval = Wait("A person looks at large orders.", deadline=Deadline("now + 3 * 86400000", "overlook"))
    pack = Task("Everything goes into one parcel.")
    ship = Task("Handed to the carrier: no way back from here.", pivot=True)
    shipped = End("Delivered.", Outcome.SUCCESS)
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


class Entity(Flow[Data]):
    """An order that people and webhooks move: no handler."""

    placed = Wait("The customer has ordered.", initial=True, waits=True)
    paid = Wait("The money is there.", deadline=Deadline("now + 86400000", "remind"))
    late = Wait("Nobody has shipped it in time.", waits=True)
    shipped = End("It is on its way.")
    dropped = End("Nobody wants it any more.", Outcome.CANCELLATION)

    pay = Signal(placed.to(paid), takes=None)
    ship = Signal(paid.to(shipped) | late.to(shipped), takes=None)
    remind = paid.to(late)
    drop = Signal(placed.to(dropped) | paid.to(dropped, cond="visit < 5"), takes=Verdict)


class Trial(Flow[Data]):
    """A trial: a loop through a wait with a deadline, without an undo."""

    welcome = Task("A mail says hello.", initial=True)
    trying = Wait("Two weeks, or an upgrade.", deadline=Deadline("now + 1209600000", "over"))
    charge = Task("The card is charged.", max_attempts=3)
    dunning = Wait(
        "The card failed; the customer is asked.", deadline=Deadline("now + 86400000", "again", "over")
    )
    active = End("A customer.")
    ended = End("No customer.", Outcome.CANCELLATION)

    done = welcome >> trying | charge >> active
    by_hand = charge >> dunning
    upgrade = Signal(trying.to(charge) | dunning.to(charge), takes=None)
    over = trying.to(ended) | dunning.to(ended)
    again = dunning.to(charge, cond="visit < 8")
    fail = charge >> dunning
    cancel = Flow.any.to(ended)


class Handlers:
    """Handlers for the flows above, on an application; they note their calls, and fail as they are told.

    Attributes:
        calls: (what was called, the attempt) in order.
        fails: what a step or an ``"undo step"`` raises.
    """

    def __init__(self, app: Any, *flows: Any) -> None:
        self.calls: list[tuple[str, int]] = []
        self.fails: dict[str, BaseException] = {}
        self.seen: list[Any] = []
        for flow in flows:
            app.flow(flow)
            for step in flow.spec.of_kind(Kind.TASK):
                task = getattr(flow, step.id)
                app.step(task)(self._handler(step.id))
                if step.undo:
                    app.undo(task)(self._handler(f"undo {step.id}"))

    def _handler(self, name: str) -> Any:
        async def handle(ctx: Any, data: Data) -> Data | None:
            self.calls.append((name, ctx.attempt))
            self.seen.append((ctx.step, ctx.visit, ctx.key, ctx.signal, data))
            if name in self.fails:
                raise self.fails[name]
            return data.model_copy(update={"charge_id": "paid"}) if name == "charge" else None

        return handle


def steps(status: Any) -> list[tuple[str, str]]:
    """Return (event, step) of each entry of a history that entered a step."""
    return [(e.event, e.facts["step"]) for e in status.history if "step" in e.facts]
