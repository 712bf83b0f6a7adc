"""The flows under simulation, and their edges by hand, beside those that are derived from the declarations."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from kumofire_fsm import NEVER, Backoff
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.flows.instance import machine_of
from kumofire_fsm.machines import Deadline, MachineSpec, Outcome

__all__ = [
    "ACCEPTS",
    "EDGES",
    "MACHINES",
    "TRIES",
    "UNDONE_BY",
    "Data",
    "Declined",
    "Entity",
    "LaterData",
    "LaterOrder",
    "Note",
    "Order",
    "Trial",
    "renamed",
]


class Data(BaseModel):
    """What an instance carries: what its handlers are to do, by name, and what they did."""

    acts: dict[str, list[str]] = {}
    total: int = 0
    trail: list[str] = []
    pad: str = ""


class LaterData(Data):
    """The data after the deploy."""

    warehouse: str


class Note(BaseModel):
    """What a signal carries: a number that no other signal has."""

    nonce: int


class Declined(Exception):
    """The bank says no, for good."""


class Order(Flow[Data]):
    """An order; undone from the point of failure backwards."""

    reserve = Task("Stock is set aside.", initial=True, undo=True)
    charge = Task("The card is charged.", undo=True, max_attempts=2, retry=Backoff(on={Declined: NEVER}))
    approval = Wait("A person looks at large orders.", deadline=Deadline("now + 30000", "overlook"))
    pack = Task("Everything goes into one parcel.", max_attempts=4)
    ship = Task("Handed to the carrier: no way back from here.", pivot=True)
    tell = Task("The customer gets a mail.")
    shipped = End("Delivered.")
    undone = End("Everything was given back.", Outcome.FAILURE)

    done = (
        reserve >> charge
        | charge.to(approval, cond="data.total > 5")
        | charge >> pack >> ship >> tell >> shipped
    )
    by_hand = charge >> approval
    approve = Signal(approval.to(pack), takes=Note)
    reject = Signal(approval.undo(undone), takes=Note)
    overlook = approval.undo(undone)
    fail = Flow.any.undo(undone)
    cancel = Flow.any.undo(undone)


class LaterOrder(Flow[LaterData], flow="order", version=2, was={"reserve": "set_aside", "pack": "wrap"}):
    """The order after a deploy: two steps renamed, one inserted, and a field required."""

    set_aside = Task("Stock is set aside.", initial=True, undo=True)
    charge = Task("The card is charged.", undo=True, max_attempts=2, retry=Backoff(on={Declined: NEVER}))
    approval = Wait("A person looks at large orders.", deadline=Deadline("now + 30000", "overlook"))
    wrap = Task("Everything goes into one parcel.", max_attempts=4)
    label = Task("The parcel gets a label.")
    ship = Task("Handed to the carrier: no way back from here.", pivot=True)
    tell = Task("The customer gets a mail.")
    shipped = End("Delivered.")
    undone = End("Everything was given back.", Outcome.FAILURE)

    done = (
        set_aside >> charge
        | charge.to(approval, cond="data.total > 5")
        | charge >> wrap >> label >> ship >> tell >> shipped
    )
    by_hand = charge >> approval
    approve = Signal(approval.to(wrap), takes=Note)
    reject = Signal(approval.undo(undone), takes=Note)
    overlook = approval.undo(undone)
    fail = Flow.any.undo(undone)
    cancel = Flow.any.undo(undone)


class Trial(Flow[Data]):
    """A trial: a loop through a wait with a deadline, without an undo."""

    welcome = Task("A mail says hello.", initial=True)
    trying = Wait("A while, or an upgrade.", deadline=Deadline("now + 40000", "over"))
    charge = Task("The card is charged.", max_attempts=2, retry=Backoff(first=timedelta(seconds=1)))
    dunning = Wait("The customer is asked.", deadline=Deadline("now + 15000", "again", "over"))
    active = End("A customer.")
    ended = End("No customer.", Outcome.CANCELLATION)

    done = welcome >> trying | charge >> active
    by_hand = charge >> dunning
    upgrade = Signal(trying.to(charge) | dunning.to(charge), takes=Note)
    over = trying.to(ended) | dunning.to(ended)
    again = dunning.to(charge, cond="visit < 8")
    fail = charge >> dunning
    cancel = Flow.any.to(ended)


class Entity(Flow[Data]):
    """Something that people and webhooks move: no handler."""

    placed = Wait("The customer has ordered.", initial=True, waits=True)
    paid = Wait("The money is there.", deadline=Deadline("now + 30000", "remind"))
    late = Wait("Nobody has shipped it in time.", waits=True)
    sent = End("It is on its way.")
    dropped = End("Nobody wants it any more.", Outcome.CANCELLATION)

    pay = Signal(placed.to(paid), takes=Note)
    ship = Signal(paid.to(sent) | late.to(sent), takes=Note)
    remind = paid.to(late)
    drop = Signal(placed.to(dropped) | paid.to(dropped, cond="visit < 5"), takes=Note)


def renamed(step: str) -> str:
    """Return what a step of an order is called after the deploy."""
    return {"reserve": "set_aside", "pack": "wrap"}.get(step, step)


def _order(reserve: str, pack: str, *labels: str) -> dict[tuple[str, str], set[str]]:
    """Return the edges of an order by (step, event)."""
    back = {"undo_to_undone", "undone"}
    chain = [reserve, "charge", pack, *labels, "ship", "tell", "shipped"]
    edges: dict[tuple[str, str], set[str]] = {(a, "done"): {b} for a, b in itertools.pairwise(chain)}
    edges["charge", "done"] = {pack, "approval"}
    edges["charge", "by_hand"] = {"approval"}
    edges |= {("approval", "approve"): {pack}, ("approval", "reject"): back, ("approval", "overlook"): back}
    edges |= {(step, "fail"): back for step in chain[:-1]}
    edges |= {(step, "cancel"): back for step in (*chain[:-1], "approval")}
    return edges | {("undo_to_undone", "undo"): back}


EDGES: Final[dict[str, dict[tuple[str, str], set[str]]]] = {
    "order@1": _order("reserve", "pack"),
    "order@2": _order("set_aside", "wrap", "label"),
    "trial@1": {
        ("welcome", "done"): {"trying"},
        ("charge", "done"): {"active"},
        ("charge", "by_hand"): {"dunning"},
        ("charge", "fail"): {"dunning"},
        ("trying", "upgrade"): {"charge"},
        ("dunning", "upgrade"): {"charge"},
        ("trying", "over"): {"ended"},
        ("dunning", "over"): {"ended"},
        ("dunning", "again"): {"charge"},
        **{(step, "cancel"): {"ended"} for step in ("welcome", "trying", "charge", "dunning")},
    },
    "entity@1": {
        ("placed", "pay"): {"paid"},
        ("placed", "drop"): {"dropped"},
        ("paid", "ship"): {"sent"},
        ("paid", "drop"): {"dropped"},
        ("paid", "remind"): {"late"},
        ("late", "ship"): {"sent"},
    },
}
"""For each machine, by (step, event): where it may lead."""
ACCEPTS: Final = {
    ("approval", "approve"), ("approval", "reject"), ("trying", "upgrade"), ("dunning", "upgrade"),
    ("placed", "pay"), ("placed", "drop"), ("paid", "ship"), ("late", "ship"), ("paid", "drop"),
}  # fmt: skip
"""Which waits take which signals; all have names of their own. `paid` takes `drop` at its first visits alone."""
UNDONE_BY: Final = {"reserve", "set_aside", "charge"}
"""Tasks that have an undo, of orders alone."""
TRIES: Final = {("order", "charge"): 2, ("order", "pack"): 4, ("order", "wrap"): 4, ("trial", "charge"): 2}
"""How often a step is tried, where it is not three times, as the application says."""
_FLOWS: Final[tuple[Any, ...]] = (Order, LaterOrder, Trial, Entity)
MACHINES: Final[dict[str, MachineSpec]] = {flow.spec.machine: machine_of(flow.spec) for flow in _FLOWS}
