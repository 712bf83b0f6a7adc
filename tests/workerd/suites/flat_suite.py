"""Work beside many rows that are not its own; D1's own count of rows read is asserted outside."""

from prices_suite import Shop

from kumofire_fsm.ports import Statement

FEW, MANY = 3_000, 20_000
INSERT = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO kumofire_runs (
  id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared, suspect, deliveries,
  created_at, payload, history
)
SELECT printf('0-%08d', i), 'run', 'queued', ?2, ?3, 1, 0, 3, 0, 0, 0, 0, 1, '1', '[]' FROM n
"""
SETTLE = "UPDATE kumofire_runs SET state = 'canceled', wake_at = NULL, finished_at = ?1 WHERE id < '1'"


async def work_beside(storage, meter, *, job, wake_at=1, settled=False):
    """Do the same beside few rows, then beside many, each piece under a label of its own."""
    for number in (FEW, MANY):
        meter.label = ""
        await storage.execute(Statement("clear", "DELETE FROM kumofire_runs"))
        shop = Shop(storage, meter)
        values = (number, wake_at or shop.clock.now() + 10**8, job)
        await storage.execute(Statement("fill", INSERT, parameters=values))
        if settled:
            await storage.execute(Statement("settle", SETTLE, parameters=(shop.clock.now(),)))
        (run_id,) = await shop.create(f"create {number}", 1)
        await shop.dispatch(f"idle tick {number}")
        await shop.deliver(f"consume {number}", [run_id])
        await shop.create("", 5, delay=100)
        shop.clock.advance(seconds=100)
        binding = shop.jobs._binding
        for label, statement in {
            "claim": binding.runs.claim(
                None, now=shop.clock.now(), token="t", alone=True, jobs=binding.leases(), limit=100
            ),
            "next wake": binding.runs.next_wake(jobs=["work"]),
        }.items():
            meter.label = f"{label} {number}"
            await storage.execute(statement)
        meter.label = f"status {number}"
        await shop.jobs.get_status(run_id)
        meter.label = f"newest {number}"
        await shop.jobs.list_runs(limit=5)
        meter.label = f"failed {number}"
        await shop.jobs.list_runs(state="failed", name="work")
        meter.label = f"prune {number}"
        await shop.jobs.prune(older_than=3600)
        meter.label = ""


async def test_due_runs_of_a_job_that_is_not_known(storage, meter):
    await work_beside(storage, meter, job="foreign")


async def test_runs_due_later(storage, meter):
    await work_beside(storage, meter, job="work", wake_at=None)


async def test_settled_runs(storage, meter):
    await work_beside(storage, meter, job="work", settled=True)


async def test_paused_runs(storage, meter):
    pause = "INSERT INTO kumofire_controls (job, paused_at, updated_at) VALUES ('still', 1, 1)"
    await storage.execute(Statement("pause", pause))
    await work_beside(storage, meter, job="still")
