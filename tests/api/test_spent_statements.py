"""Whatever an event meets, large payloads of hooks, refused rows, passing faults: it sends what it may, no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from fakes import FakeBatch, FakeMessage
from harness import Bound, Kit

from kumofire_fsm import Transition
from kumofire_fsm.adapters import d1
from kumofire_fsm.adapters.d1 import D1Storage
from kumofire_fsm.engine.reading import RUNS_AT_ONCE
from kumofire_fsm.errors import StoreError
from kumofire_fsm.ports import Statement

MOST = 45
LARGE = "x" * 50_000


def watch(kit: Kit, state: str) -> list[tuple[str, bool]]:
    """Register a hook; return of each call the run and whether its payload was left out."""
    seen: list[tuple[str, bool]] = []

    @kit.app.on_enter(state)
    async def note(transition: Transition) -> None:
        seen.append((transition.run.kumofire_job_run_id, transition.run.payload_left_out))

    return seen


def register(kit: Kit, name: str, **options: Any) -> list[str]:
    calls: list[str] = []

    @kit.job(name, **options)
    async def handler(ctx: Any, payload: str | None) -> None:
        calls.append(ctx.run.id)
        await asyncio.sleep(0)

    return calls


# -- hooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 25])
async def test_hooks_on_large_payloads_leave_a_batch_the_statements_for_its_handlers(
    kit: Kit, concurrency: int
) -> None:
    calls, seen = register(kit, "large"), watch(kit, "running")
    async with kit.bound(max_statements=MOST) as w:
        ids = await w.create_in_order("large", [LARGE] * 100)
        w.storage.clear()
        assert await w.deliver(*ids, concurrency=concurrency) == ["ack"] * 100
        assert len(w.storage.names) <= MOST
        assert w.storage.names.count("runs.read") == 1 + -(-100 // RUNS_AT_ONCE)
        assert (sorted(calls), sorted(seen)) == (sorted(ids), sorted((each, False) for each in ids))


async def test_hooks_on_large_payloads_leave_a_tick_within_its_statements(kit: Kit) -> None:
    register(kit, "large")
    seen = watch(kit, "queued")
    async with kit.bound(max_statements=MOST) as w:
        ids = await w.create_in_order("large", ["x" * 200_000] * 100, delay=600)
        w.clock.advance(601)
        w.storage.clear()
        assert (await w.jobs.dispatch()).complete
        assert len(w.storage.names) <= MOST
        assert sorted(seen) == sorted((each, False) for each in ids)


async def test_what_hooks_cannot_afford_to_read_is_left_out_of_their_run_and_no_hook_is_lost(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    register(kit, "large")
    seen = watch(kit, "queued")
    async with kit.bound(max_statements=12) as w:
        ids = await w.create_in_order("large", [LARGE] * 100, delay=600)
        w.clock.advance(601)
        w.storage.clear()
        await w.jobs.dispatch()
        assert len(w.storage.names) <= 12
        assert sorted(run_id for run_id, _ in seen) == ids
        assert Counter(left_out for _, left_out in seen) == {
            False: 4 * RUNS_AT_ONCE,
            True: 100 - 4 * RUNS_AT_ONCE,
        }
    assert "hooks got 68 of 100 runs without what is large: half of the statements are spent" in caplog.text


@pytest.mark.parametrize("concurrency", [1, 25])
@pytest.mark.parametrize("key_limit", [None, 2])
async def test_what_hooks_read_of_each_settle_is_reckoned_with(
    kit: Kit, concurrency: int, key_limit: int | None
) -> None:
    calls = register(kit, "keyed", key_limit=key_limit)
    watch(kit, "succeeded"), watch(kit, "queued")
    keys = {"concurrency_key": "k"} if key_limit else {}
    async with kit.bound(max_statements=MOST) as w:
        ids = await w.create_in_order("keyed", [None] * 60, **keys)
        for _ in range(40):
            left = [run_id for run_id in ids if not (await w.status(run_id)).settled]
            if not left:
                break
            w.storage.clear()
            await w.deliver(*left, concurrency=concurrency, settle="each")
            assert len(w.storage.names) <= MOST
            w.clock.advance(60)
            await w.jobs.dispatch()
        assert sorted(calls) == sorted(ids), "each once"


# -- refused rows -----------------------------------------------------------------------------------


async def refuse_bad(w: Bound) -> None:
    await w.sql(
        "CREATE TRIGGER refuse BEFORE UPDATE ON kumofire_runs WHEN NEW.job = 'bad' AND NEW.state = 'succeeded' "
        "BEGIN SELECT RAISE(ABORT, 'kumofire: refused'); END"
    )


async def mixed(w: Bound, bad: int, good: int) -> tuple[list[str], list[str]]:
    """Create runs of both jobs, evenly among each other; return all ids, and the good ones."""
    ids, of_good, number = [], [], bad + good
    for place in range(number):
        name = "bad" if place * bad // number != (place + 1) * bad // number else "good"
        ids += await w.create_in_order(name, [None])
        if name == "good":
            of_good.append(ids[-1])
    await refuse_bad(w)
    return ids, of_good


@pytest.mark.parametrize(("bad", "concurrency"), [(1, 1), (4, 1), (12, 1), (1, 10)])
async def test_refused_endings_cost_no_good_ones_and_no_statements_too_many(
    kit: Kit, bad: int, concurrency: int
) -> None:
    calls = set[str]()
    async with kit.bound(max_statements=MOST) as w:

        async def handler(ctx: Any) -> None:
            """Take as long as the database: how many begin while it answers is the same on every machine."""
            calls.add(ctx.run.id)
            await asyncio.sleep(0)
            while w.storage.under_way:
                await asyncio.sleep(0)

        for name in ("bad", "good"):
            kit.job(name)(handler)
        ids, good = await mixed(w, bad, 100 - bad)
        w.storage.clear()
        await w.deliver(*ids, concurrency=concurrency)
        assert len(w.storage.names) <= MOST
        called = calls & {*good}
        assert {await w.state(run_id) for run_id in called} == {"succeeded"}, "what was called is stored"
        assert {await w.state(run_id) for run_id in {*good} - called} <= {"queued"}, "the rest is given back"


async def test_a_search_for_refused_endings_ends_with_the_statements(kit: Kit) -> None:
    register(kit, "bad")
    calls = register(kit, "good")
    async with kit.bound(max_statements=MOST) as w:
        ids, good = await mixed(w, 50, 50)
        for _ in range(20):
            left = [run_id for run_id in ids if not (await w.status(run_id)).settled]
            w.storage.clear()
            await w.deliver(*left)
            assert len(w.storage.names) <= MOST
            w.clock.advance(300)
            w.storage.clear()
            await w.jobs.dispatch()
            assert len(w.storage.names) <= MOST
        assert {await w.state(run_id) for run_id in good} == {"succeeded"}
        assert len(calls) <= 75, "some are called twice, as after any lost lease"


# -- passing faults ---------------------------------------------------------------------------------


async def test_a_commit_is_tried_again_only_as_far_as_the_statements_reach(kit: Kit) -> None:
    @kit.job("commits")
    async def commits(ctx: Any, own: int) -> None:
        ctx.commit([("INSERT INTO t VALUES (?)", (str(n),)) for n in range(own)])

    async with kit.bound(max_statements=MOST) as w:
        await w.sql("CREATE TABLE t(a)")
        for own, disposition in ((5, "ack"), (30, 10)):
            run_id = await w.create("commits", own)
            w.storage.clear()
            w.storage.fail_once("succeed", "before")
            assert await w.deliver(run_id) == [disposition]
            assert len(w.storage.names) <= MOST
        assert await w.sql("SELECT count(*) FROM t") == [(5,)]


async def test_a_refused_commit_with_a_key_is_not_sent_twice_beyond_the_statements(kit: Kit) -> None:
    @kit.job("commits", key_limit=1)
    async def commits(ctx: Any) -> None:
        ctx.commit([("INSERT INTO t VALUES (?)", ("same",)) for _ in range(30)])

    async with kit.bound(max_statements=MOST) as w:
        await w.sql("CREATE TABLE t(a UNIQUE)")
        run_id = await w.create("commits", concurrency_key="k")
        w.storage.clear()
        await w.deliver(run_id)
        assert len(w.storage.names) <= MOST
        assert "the database refused the handler's own statements" in str((await w.status(run_id)).last_error)


class FailingD1:
    """A D1 binding on a storage, of which two of three requests fail; it counts what it is sent."""

    def __init__(self, w: Bound) -> None:
        self._inner, self.sent, self._requests = w.storage.inner, 0, 0

    def prepare(self, sql: str) -> Prepared:
        return Prepared(self, sql, ())

    async def batch(self, statements: list[Prepared]) -> list[Any]:
        return await self.run(statements)

    async def run(self, statements: list[Prepared]) -> list[Any]:
        self.sent += len(statements)
        self._requests += 1
        if self._requests % 3:
            raise RuntimeError("D1_ERROR: Network connection lost.")
        return await self._inner.call(lambda db: [each.on(db) for each in statements])


class Prepared:
    def __init__(self, to: FailingD1, sql: str, values: tuple[Any, ...]) -> None:
        self._to, self._sql, self._values = to, sql, values

    def bind(self, *values: Any) -> Prepared:
        return Prepared(self._to, self._sql, values)

    async def all(self) -> Any:
        return (await self._to.run([self]))[0]

    def on(self, db: Any) -> dict[str, Any]:
        found = db.execute(self._sql, self._values)
        names = [column[0] for column in found.description or ()]
        return {"results": [dict(zip(names, row, strict=True)) for row in found.fetchall()], "meta": {}}


async def test_what_is_sent_to_d1_again_counts(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d1, "FIRST_PAUSE_S", 0.0)
    register(kit, "job")
    async with kit.bound() as w:
        ids = await w.create_in_order("job", [None] * 100)
        binding = FailingD1(w)
        jobs = kit.app.bind(db=binding, queue=w.queue)
        await jobs.consume_batch(FakeBatch([FakeMessage.of(each) for each in ids]), settle="each")
        assert 30 < binding.sent <= MOST
        states = Counter([await w.state(run_id) for run_id in ids])
        assert states["running"] == 0, "what was called is stored, and the rest is given back"


async def test_the_invocations_own_limit_says_what_to_lower(kit: Kit) -> None:
    class Spent(FailingD1):
        async def run(self, statements: list[Prepared]) -> list[Any]:
            self.sent += 1
            raise RuntimeError("D1_ERROR: Too many API requests by single worker invocation.")

    async with kit.bound() as w:
        binding = Spent(w)
        with pytest.raises(StoreError, match="lower max_statements") as caught:
            await D1Storage(binding).execute(Statement("read", "SELECT 1 AS n", columns=("n",), reads=True))
        assert (type(caught.value).__name__, binding.sent) == ("InvocationLimitReached", 1)
