"""Work whose price D1 itself tells: each piece is labelled on the meter; the numbers are asserted outside.

Runs inside workerd only: the embedded database does not count written rows.
"""

from datetime import timedelta

from fakes import FakeBatch, FakeMessage, VirtualClock

from kumofire_fsm import Backoff, Kumofire, NewRun, NewSchedule, Snooze

HUNDRED = range(100)


class MeteredQueue:
    """A queue binding that keeps the ids that it is sent, and notes each call on the meter."""

    def __init__(self, meter):
        self._meter, self.calls = meter, []

    async def sendBatch(self, messages):
        self.calls.append([message["body"]["kumofireJobRunId"] for message in messages.to_py()])
        self._meter.calls.append({"label": self._meter.label, "sql": None})


class Shop:
    """An application whose handlers do what their payload says."""

    def __init__(self, storage, meter):
        self.meter, self.clock, self.queue = meter, VirtualClock(), MeteredQueue(meter)
        self.before_handler = lambda: None
        app = Kumofire(clock=self.clock, retry=Backoff(first=timedelta(seconds=2), jitter=False))

        @app.job("work")
        async def work(ctx, payload: str) -> str:
            self.before_handler()
            if payload == "error":
                raise ValueError(payload)
            if payload == "snooze":
                raise Snooze(until=timedelta(minutes=1))
            if payload == "beat":
                meter.label = "heartbeat"
                await ctx.heartbeat(progress=1)
                meter.label = "settle after a heartbeat"
            return payload

        self.jobs = app.bind(db=storage, queue=self.queue)

    async def create(self, label, count, payload="ok", **options):
        self.meter.label = label
        created = await self.jobs.create_many([NewRun("work", payload, **options) for _ in range(count)])
        return [each.kumofire_job_run_id for each in created]

    async def deliver(self, label, ids):
        self.meter.label = label
        messages = [FakeMessage.of(run_id) for run_id in ids]
        await self.jobs.consume_batch(FakeBatch(messages))
        return [message.disposition for message in messages]

    async def deliver_in_steps(self, ids):
        """Deliver quick runs, with a label for the claim and one for the settle."""
        self.before_handler = lambda: setattr(self.meter, "label", "settle")
        return await self.deliver("claim", ids)

    async def dispatch(self, label, **options):
        self.meter.label = label
        self.queue.calls.clear()
        await self.jobs.dispatch(**options)
        self.meter.label = ""
        assert len(self.queue.calls) <= 1, self.queue.calls
        return sum(map(len, self.queue.calls))


async def test_one_run(storage, meter):
    shop = Shop(storage, meter)
    ids = await shop.create("create", 1)
    assert await shop.deliver("consume", ids) == ["ack"]
    meter.label = "status"
    assert (await shop.jobs.get_status(ids[0])).state == "succeeded"
    shop.clock.advance(seconds=1)
    await shop.dispatch("idle tick")


async def test_a_prepared_run(storage, meter):
    shop = Shop(storage, meter)
    run = shop.jobs.prepare_create("work", "ok")
    meter.label = "commit"
    await meter.batch(run.for_d1(meter))
    meter.label = "send a hint"
    await shop.jobs.send_hint(run)
    assert shop.queue.calls == [[run.kumofire_job_run_id]]


async def test_dedupe_forever(storage, meter):
    shop = Shop(storage, meter)
    first = await shop.create("create", 1, dedupe_key="k")
    assert await shop.create("create again", 1, dedupe_key="k") == first
    await shop.deliver_in_steps(first)


async def test_dedupe_while_active(storage, meter):
    shop = Shop(storage, meter)
    first = await shop.create("create", 1, dedupe_key="k", dedupe="active")
    assert await shop.create("create again", 1, dedupe_key="k", dedupe="active") == first
    await shop.deliver_in_steps(first)


async def test_one_retry(storage, meter):
    shop = Shop(storage, meter)
    ids = await shop.create("create", 1, "error")
    assert await shop.deliver("first attempt", ids) == [2]
    shop.clock.advance(seconds=3)
    assert len(await shop.deliver("second attempt", ids)) == 1


async def test_a_heartbeat(storage, meter):
    shop = Shop(storage, meter)
    await shop.deliver("start", await shop.create("create", 1, "beat"))


async def test_a_hundred_runs(storage, meter):
    shop = Shop(storage, meter)
    ids = await shop.create("create 100", 100)
    assert set(await shop.deliver("consume 100", ids)) == {"ack"}
    payloads = ["ok", "ok", "error", "snooze"]
    mixed = [await shop.create("create mixed", 25, payload) for payload in payloads]
    shuffled = [run_id for four in zip(*mixed, strict=True) for run_id in four]
    await shop.deliver("consume 100 mixed", shuffled)


async def test_dispatch_of_a_hundred_runs(storage, meter):
    shop = Shop(storage, meter)
    await shop.create("create 100 later", 100, delay=timedelta(hours=1))
    shop.clock.advance(hours=2)
    assert await shop.dispatch("dispatch 100", limit=200) == 100


async def test_dispatch_of_a_hundred_runs_by_default(storage, meter):
    shop = Shop(storage, meter)
    await shop.create("create 100 later", 100, delay=timedelta(hours=1))
    shop.clock.advance(hours=2)
    assert await shop.dispatch("dispatch 100") == 100


async def test_dispatch_of_a_hundred_runs_with_dedupe_keys(storage, meter):
    shop = Shop(storage, meter)
    meter.label = "create 100 later"
    await shop.jobs.create_many(
        [NewRun("work", "ok", dedupe_key=str(i), delay=timedelta(hours=1)) for i in HUNDRED]
    )
    shop.clock.advance(hours=2)
    assert await shop.dispatch("dispatch 100", limit=200) == 100


async def a_hundred_schedules(shop, **options):
    shop.meter.label = "create 100 schedules"
    for _ in HUNDRED:
        await shop.jobs.create_schedule("work", "ok", cron="0 * * * *", **options)
    shop.clock.advance(hours=1)


async def test_dispatch_of_a_hundred_recurring_jobs(storage, meter):
    shop = Shop(storage, meter)
    await a_hundred_schedules(shop)
    assert await shop.dispatch("dispatch 100 recurring", limit=200) == 100
    (ids,) = shop.queue.calls
    assert set(await shop.deliver("consume 100 recurring", ids)) == {"ack"}


async def test_dispatch_of_a_hundred_recurring_jobs_by_default(storage, meter):
    shop = Shop(storage, meter)
    await a_hundred_schedules(shop)
    assert await shop.dispatch("dispatch 100 recurring") == 100


async def a_second_hour(storage, meter, overlap):
    """Dispatch a hundred recurring jobs while their previous runs are not settled."""
    shop = Shop(storage, meter)
    await a_hundred_schedules(shop, overlap=overlap)
    assert await shop.dispatch("dispatch 100 recurring") == 100
    shop.clock.advance(hours=1)
    meter.label = "dispatch 100 that overlap"
    await shop.jobs.dispatch()
    meter.label = ""


async def test_overlaps_that_are_skipped(storage, meter):
    await a_second_hour(storage, meter, "skip")


async def test_overlaps_that_wait(storage, meter):
    await a_second_hour(storage, meter, "queue")


async def test_overlaps_that_cancel(storage, meter):
    await a_second_hour(storage, meter, "cancel_previous")


async def test_a_hundred_declared_schedules(storage, meter):
    shop = Shop(storage, meter)
    declared = [NewSchedule("work", "ok", schedule_key=str(i), cron="0 * * * *") for i in HUNDRED]
    for label in ("first sync", "unchanged sync"):
        meter.label = label
        await shop.jobs.sync_schedules(declared)
    meter.label = "sync of changes"
    changed = [NewSchedule("work", "ok", schedule_key=str(i), every=3600) for i in range(50)]
    await shop.jobs.sync_schedules(changed)
    meter.label = ""


async def test_lost_messages_are_sent_again(storage, meter):
    shop = Shop(storage, meter)
    await shop.create("create 100", 100)
    shop.clock.advance(minutes=45)  # not when a tick looks for work that nobody knows
    assert await shop.dispatch("redeliver 100", limit=200) == 100


async def test_pruning(storage, meter):
    shop = Shop(storage, meter)
    await shop.deliver("consume 100", await shop.create("create 100", 100))
    binding = shop.jobs._binding
    meter.label = "prune 100"
    rules = {"states": {"succeeded": shop.clock.now() + 1}, "jobs": {}}
    statements = binding.runs.prune(below="~", also="~", rules=rules, limit=100)
    bodies, runs = await storage.batch(statements)
    assert (len(bodies), len(runs)) == (0, 100)


async def test_a_paused_and_a_limited_job(storage, meter):
    shop = Shop(storage, meter)
    meter.label = "pause"
    await shop.jobs.pause_job("work")
    paused = await shop.create("create while paused", 1)
    await shop.deliver("consume while paused", paused)
    await shop.dispatch("tick while paused")
    meter.label = "resume"
    await shop.jobs.resume_job("work")
    meter.label = "limit"
    await shop.jobs.limit_job("work", 3)
    await shop.deliver("consume within a limit", await shop.create("create within a limit", 3))
    await shop.deliver("consume beyond a limit", await shop.create("", 6))
