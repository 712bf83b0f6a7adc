"""What a Worker bears, which has 128 MB of memory: no answer of D1 grows with what the rows hold."""

import pyodide_js
from shop import Shop

from kumofire_fsm import NewRun
from kumofire_fsm.values.limits import ANSWER_BYTES

COUNT, LARGE, MB = 100, 200_000, 1024**2


def heap():
    """Return the size of Python's memory, which never shrinks, and grows by several MB at once."""
    return pyodide_js._module.HEAPU8.length


async def shop_with_bodies(env, kind):
    """Return a shop and runs with a payload or result of 200 KB each, which never passed through this Worker."""
    shop = Shop(env)

    @shop.job("keep")
    async def keep(ctx, text: str) -> str:
        shop.calls.append(len(text))
        return "kept"

    created = [each.kumofire_job_run_id for each in await shop.jobs.create_many([NewRun("keep", "")] * COUNT)]
    if kind == "result":
        assert set(await shop.deliver(*created)) == {"ack"}
        await shop.sql("DROP TRIGGER kumofire_runs_settled")
    await shop.sql(f"UPDATE kumofire_runs SET {kind} = ''")
    body = f"json_quote(hex(zeroblob({LARGE // 2})))"
    await shop.sql(f"INSERT INTO kumofire_bodies SELECT id, '{kind}', {LARGE + 2}, {body} FROM kumofire_runs")
    shop.db.reset()
    return shop, created


async def test_a_claim_of_large_payloads_needs_no_more_memory(env):
    shop, ids = await shop_with_bodies(env, "payload")
    before = heap()
    assert await shop.deliver(*ids) == ["ack"] * COUNT
    assert shop.calls == [LARGE] * COUNT
    assert heap() - before <= 3 * ANSWER_BYTES, f"{(heap() - before) / MB:.0f} MB"
    # The claim, a read of each sixteen payloads, and a settle of what has ended while it is waited for.
    assert shop.db.statements == 1 + 7 + 7


async def test_a_claim_side_by_side_does_neither(env):
    shop, ids = await shop_with_bodies(env, "payload")
    before = heap()
    assert await shop.deliver(*ids, concurrency=20) == ["ack"] * COUNT
    assert shop.calls == [LARGE] * COUNT
    assert heap() - before <= 3 * ANSWER_BYTES, f"{(heap() - before) / MB:.0f} MB"


async def test_a_list_of_large_results_ends_before_memory_does(env):
    shop, ids = await shop_with_bodies(env, "result")
    before, found, cursor, pages = heap(), [], None, 0
    while pages == 0 or cursor is not None:
        page = await shop.jobs.list_runs(limit=500, cursor=cursor, results=True)
        found += [(run.kumofire_job_run_id, len(run.result)) for run in page.runs]
        pages, cursor = pages + 1, page.cursor
    assert sorted(found) == [(run_id, LARGE) for run_id in sorted(ids)]
    assert pages == -(-COUNT // -(-ANSWER_BYTES // LARGE))
    assert heap() - before <= 6 * ANSWER_BYTES, f"{(heap() - before) / MB:.0f} MB"
    (page,) = [await shop.jobs.list_runs(limit=500)]
    assert (len(page.runs), page.cursor) == (COUNT, None)
    assert {(run.result, run.result_left_out) for run in page.runs} == {(None, True)}
