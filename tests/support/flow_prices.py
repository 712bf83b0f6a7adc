"""What each move of a flow costs: pieces of work, each labelled on a meter; the suite runs on SQLite and inside workerd.

The label is what docs/flows.md calls the work. A meter has a ``label``, and notes each statement with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fakes import FakeBatch, FakeMessage, VirtualClock
from flows import Data, Handlers, Order, Trial, Verdict
from pydantic import BaseModel

from kumofire_fsm import Fail, Kumofire, NewRun
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._selection import edge_rows
from kumofire_fsm.store.edges import EdgeRow

STARTS, CLAIMS = "start an instance", "claim it"
STEPS, RESTS = "a step is done, and the next one is entered", "a step is done, and the next one waits"
MANY, ENDS = "the same of 25 instances in one batch", "the last step is done"
SIGNALS, KEEPS = "a signal that moves a wait on", "a signal that comes early, and is kept"
TAKES, LAPSES = (
    "a step is done, and the wait after it takes a kept signal",
    "a tick in which the deadline of a wait passes",
)
UNDOES, FAILS = "a step is undone", "a step fails for good, and what was done is to be undone"
RETRIES, CANCELS = "a step fails, and is tried again later", "cancel an instance that waits"
REDRIVES, LOOKS = "redrive an instance", "the status of an instance"
PLANS, MIGRATES = "the plan of a migration", "migrate 25 instances to another version"
GROWS, SHRINKS = "a step with data over 512 bytes is done", "its data is small again from then on"


class Price(NamedTuple):
    """What a piece of work costs: statements, rows of tables, the same with entries of indexes, and sends."""

    statements: int
    rows: int
    written: int
    sends: int = 0


PRICES = {
    STARTS: Price(1, 1, 2, 1),
    CLAIMS: Price(1, 1, 2),
    STEPS: Price(1, 1, 2),
    MANY: Price(1, 25, 50),
    RESTS: Price(1, 1, 2),
    ENDS: Price(1, 1, 1),
    SIGNALS: Price(3, 1, 2, 1),
    KEEPS: Price(3, 1, 2),
    TAKES: Price(2, 2, 4),
    LAPSES: Price(2, 1, 2, 1),
    RETRIES: Price(1, 1, 2),
    FAILS: Price(1, 1, 2),
    UNDOES: Price(1, 1, 2),
    CANCELS: Price(2, 1, 2, 1),
    REDRIVES: Price(2, 1, 2, 1),
    LOOKS: Price(1, 0, 0),
    GROWS: Price(2, 2, 3),
    SHRINKS: Price(2, 2, 3),
    PLANS: Price(3, 0, 0),
    MIGRATES: Price(3, 25, 25),
}
"""In the order of the table in docs/flows.md. Asserted exactly: on SQLite without entries of indexes and sends."""


class Parcel(BaseModel):
    """What the flow of two versions carries."""

    note: str = ""


class Before(Flow[Parcel], flow="parcel"):
    """Version 1."""

    packed = Wait("It waits for its carrier.", initial=True, waits=True)
    gone = End("It is on its way.")
    go = Signal(packed.to(gone), takes=None)


class Now(Flow[Parcel], flow="parcel", version=2, was={"packed": "ready"}):
    """Version 2."""

    ready = Wait("It waits to be handed over.", initial=True, waits=True)
    gone = End("It is on its way.")
    go = Signal(ready.to(gone), takes=None)


class Shop:
    """An application whose handlers name what their step costs, as a test has said."""

    def __init__(self, storage: Any, meter: Any, *flows: Any) -> None:
        self.storage, self.meter, self.clock, self.sent = storage, meter, VirtualClock(), list[str]()
        self.app = Kumofire(clock=self.clock, max_attempts=1)
        self.handlers = Handlers(self.app, *flows)
        self.labels: list[str] = []
        """What each step costs whose handler is called, in order: the last label stays."""
        self.handlers.calls = _Told(self._called)

    def _called(self) -> None:
        self.meter.label = self.labels.pop(0) if self.labels else ""

    async def open(self) -> Any:
        """Register the edges of all flows, and bind the application."""
        specs = [job.machine for job in self.app.registry.jobs.values()]
        edges = [EdgeRow(*row).insert() for spec in specs for row in edge_rows(spec)]
        await self.storage.batch([Statement("edges.add", sql) for sql in edges])
        self.jobs = self.app.bind(db=self.storage, queue=self)
        return self.jobs

    async def send(self, hints: Any) -> None:
        """Take messages as a queue does."""
        self.sent += [hint.run_id for hint in hints]
        self.meter.calls.append({"label": self.meter.label, "sql": None})

    async def create(self, flow: Any, *data: Any, **options: Any) -> list[str]:
        created = await self.jobs.create_many([NewRun(flow, each, **options) for each in data])
        return [each.kumofire_job_run_id for each in created]

    async def deliver(self, *ids: str, claim: str = "", labels: tuple[str, ...] = ()) -> None:
        """Consume one batch; ``labels`` are those of the steps whose handlers are called."""
        self.labels, self.meter.label = list(labels), claim
        await self.jobs.consume_batch(FakeBatch([FakeMessage.of(each) for each in ids]))
        self.meter.label = ""

    async def act(self, label: str, work: Any) -> Any:
        """Await something that costs what the label says."""
        self.meter.label = label
        try:
            return await work
        finally:
            self.meter.label = ""


class _Told(list[Any]):
    """A list that tells of what is added to it."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def append(self, each: Any) -> None:
        super().append(each)
        self._tell()


async def test_steps(storage, meter):
    shop = Shop(storage, meter, Order, Trial)
    await shop.open()
    (run_id,) = await shop.act(STARTS, shop.create(Order, Data()))
    await shop.deliver(run_id, claim=CLAIMS, labels=("", STEPS, "", ENDS))
    status = await shop.act(LOOKS, shop.jobs.get_status(run_id))
    assert (status.state, status.step) == ("succeeded", "shipped")


async def test_25_instances(storage, meter):
    shop = Shop(storage, meter, Order, Trial)
    await shop.open()
    ids = await shop.create(Order, *(Data(number=n) for n in range(25)))
    await shop.deliver(*ids, labels=(*[""] * 24, *[MANY] * 25))
    assert (await shop.jobs.count_runs()) == {"succeeded": 25}


async def test_waits(storage, meter):
    shop = Shop(storage, meter, Order, Trial)
    await shop.open()
    early, late, never = await shop.create(Order, *(Data(number=n, total=200_000) for n in range(3)))
    verdict = Verdict(by="ana")
    await shop.act(KEEPS, shop.jobs.signal(early, Order.approve, verdict))
    await shop.deliver(early, labels=("", TAKES, ""))
    await shop.deliver(late, labels=("", RESTS))
    status = await shop.act(SIGNALS, shop.jobs.signal(late, Order.approve, verdict))
    assert status.step == "pack"
    await shop.deliver(never)
    await shop.deliver(late)
    shop.clock.advance(days=3)
    shop.sent.clear()
    await shop.act(LAPSES, shop.jobs.dispatch())
    assert shop.sent == [never]


async def test_failures(storage, meter):
    shop = Shop(storage, meter, Order, Trial)
    await shop.open()
    tried, failed = await shop.create(Order, Data(number=1), Data(number=2), max_attempts=1)
    shop.handlers.fails["reserve"] = ValueError("no stock")
    await storage.execute(Statement("test.tries", "UPDATE kumofire_runs SET max_attempts = 2"))
    await shop.deliver(tried, labels=(RETRIES,))
    shop.handlers.fails = {"pack": Fail("no paper")}
    await shop.deliver(failed, labels=("", "", FAILS))
    assert (await shop.jobs.get_status(failed)).step == "undo_to_undone"
    await shop.deliver(failed, labels=(UNDOES, ""))
    assert (await shop.jobs.get_status(failed)).step == "undone"


async def test_people(storage, meter):
    shop = Shop(storage, meter, Order, Trial)
    await shop.open()
    (canceled,) = await shop.create(Order, Data(total=200_000))
    await shop.deliver(canceled)
    status = await shop.act(CANCELS, shop.jobs.cancel(canceled))
    assert status.step == "undo_to_undone"
    shop.handlers.fails["welcome"] = Fail("no mail")
    (redriven,) = await shop.create(Trial, Data())
    await shop.deliver(redriven)
    status = await shop.act(REDRIVES, shop.jobs.redrive(redriven))
    assert (status.state, status.step) == ("ready", "welcome")


async def test_large_data(storage, meter):
    shop, texts = Shop(storage, meter), ["x" * 600, "small", "small"]

    class Texts(Flow[Parcel]):
        """Data that grows and shrinks."""

        a = Task("It grows.", initial=True)
        b, c = Task("It shrinks."), Task("It stays.")
        over = End("Over.")
        done = a >> b >> c >> over

    labels = [GROWS, SHRINKS, ""]

    async def handle(ctx: Any, data: Any) -> Parcel:
        meter.label = labels.pop(0)
        return Parcel(note=texts.pop(0))

    for step in (Texts.a, Texts.b, Texts.c):
        shop.app.step(step)(handle)
    await shop.open()
    (run_id,) = await shop.create(Texts, Parcel())
    await shop.deliver(run_id)
    assert (await shop.jobs.get_status(run_id)).step == "over"


async def test_migration(storage, meter):
    old = Shop(storage, meter, Before)
    await old.open()
    ids = await old.create(Before, *(Parcel(note=str(n)) for n in range(25)))
    new = Shop(storage, meter)
    new.app.flow(Now)
    await new.open()
    (plan,) = await new.act(PLANS, new.jobs.plan_flows())
    assert (plan.live, plan.refused) == (25, False)
    assert await new.act(MIGRATES, new.jobs.migrate_flows()) == 25
    assert (await new.jobs.get_status(ids[0])).step == "ready"


def costs(calls: list[dict[str, Any]], *meters: str) -> dict[str, tuple[int, ...]]:
    """Return for each label its statements, the sum of each meter, and its sends."""
    found: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        if call["label"]:
            found.setdefault(call["label"], []).append(call)
    return {
        label: (
            sum(call["sql"] is not None for call in each),
            *(sum(call.get(meter) or 0 for call in each) for meter in meters),
            sum(call["sql"] is None for call in each),
        )
        for label, each in found.items()
    }
