"""Hooks are called after the commit, at most once, for the transition that this process made."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, echo, nothing

from kumofire_fsm import Cancel, DefinitionError, Fail, Kumofire, NewRun, Retry, RunMachine, Transition
from kumofire_fsm.engine.due import claim_hinted
from kumofire_fsm.errors import TransientStoreError
from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.work.ending import Claim
from kumofire_fsm.work.settle import settle

Seen = list[tuple[str, str | None, str]]


def watch(kit: Kit, **which: Any) -> Seen:
    """Register a hook on every state; return what it saw as (event, before, state)."""
    seen: Seen = []

    async def note(transition: Transition) -> None:
        assert transition.state in (transition.run.state, "ready")  # ready is left by the creation itself
        seen.append((transition.event, transition.before, transition.state))

    for state in (s.id for s in RunMachine.spec.states):
        kit.app.on_enter(state, **which)(note)
    return seen


async def test_each_transition_of_a_run_is_told_once_with_the_state_before(kit: Kit) -> None:
    @kit.job("flaky")
    async def flaky(ctx: Any) -> None:
        if ctx.attempt == 1:
            raise Retry(after=1)

    seen = watch(kit)
    async with kit.bound() as w:
        run_id = await w.create("flaky")
        await w.deliver(run_id)
        w.clock.advance(1)
        await w.deliver(run_id)
    assert seen == [
        ("create", None, "ready"),
        ("enqueue", "ready", "queued"),
        ("start", "queued", "running"),
        ("retry", "running", "retrying"),
        ("start", "retrying", "running"),
        ("succeed", "running", "succeeded"),
    ]


async def test_people_and_deadlines_are_told_too(kit: Kit) -> None:
    kit.job("none")(nothing)
    seen = watch(kit)
    async with kit.bound() as w:
        run_id = await w.create("none", delay=500)
        await w.jobs.cancel(run_id)
        await w.jobs.cancel(run_id)
        await w.jobs.redrive(run_id)
        w.clock.advance(500)
        await w.jobs.dispatch()
    assert seen == [
        ("create", None, "ready"),
        ("cancel", "ready", "canceled"),
        ("redrive", "canceled", "ready"),
        ("enqueue", "ready", "queued"),
    ]


async def test_a_lost_lease_is_told_and_the_late_settle_is_not(kit: Kit) -> None:
    @kit.job("slow")
    async def slow(ctx: Any) -> None:
        kit.clock.advance(100)
        await w.jobs.dispatch()

    seen = watch(kit)
    async with kit.bound() as w:
        await w.deliver(await w.create("slow"))
    assert seen[3] == ("lose", "running", "retrying")
    assert [event for event, _, _ in seen] == ["create", "enqueue", "start", "lose", "enqueue"]


async def test_a_self_loop_is_no_transition(kit: Kit) -> None:
    @kit.job("beats")
    async def beats(ctx: Any) -> None:
        await ctx.heartbeat(1)

    seen = watch(kit)
    async with kit.bound() as w:
        run_id = await w.create("beats")
        w.clock.advance(1000)
        await w.jobs.dispatch()  # redelivers
        await w.deliver(run_id)
    assert [event for event, _, _ in seen] == ["create", "enqueue", "start", "succeed"]


async def test_a_hook_may_ask_for_an_event_and_a_job(kit: Kit) -> None:
    told: list[tuple[str, str]] = []
    kit.job("a")(nothing)
    kit.job("b")(nothing)
    kit.app.on("succeed", job="a")(lambda t: told.append((t.event, t.run.name)))
    async with kit.bound() as w:
        ids = [await w.create(name) for name in ("a", "b", "a")]
        w.storage.clear()
        await w.deliver(*ids)
        assert told == [("succeed", "a"), ("succeed", "a")]
        assert w.storage.names == ["runs.claim", "runs.succeed", "runs.read"]


async def test_without_a_matching_hook_nothing_is_read(kit: Kit) -> None:
    kit.job("echo")(echo)
    kit.app.on("fail")(lambda t: None)
    async with kit.bound() as w:
        await w.deliver(await w.create("echo", 1))
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.succeed"]


async def test_it_gets_the_run_the_api_and_the_environment(kit: Kit) -> None:
    @kit.job("fails", max_attempts=1)
    async def fails(ctx: Any, number: int) -> None:
        raise Fail("no")

    kit.job("alarm")(echo)

    @kit.app.on_enter("failed")
    async def alarm(transition: Transition) -> None:
        assert transition.run.last_error is not None
        await transition.jobs.create("alarm", [transition.env, transition.run.last_error.split("\n")[0]])

    async with kit.bound(env="env") as w:
        await w.deliver(await w.create("fails", 1))
        page = await w.jobs.list_runs(name="alarm")
        assert len(page.runs) == 1
        await w.deliver(page.runs[0].kumofire_job_run_id)
        assert (await w.status(page.runs[0].kumofire_job_run_id)).result == ["env", "Fail: no"]


async def test_what_a_hook_raises_is_logged_and_undoes_nothing(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    kit.job("none")(nothing)
    calls: list[str] = []

    @kit.app.on("succeed")
    def broken(transition: Transition) -> None:
        calls.append("broken")
        raise ValueError("broken hook")

    kit.app.on("succeed")(lambda t: calls.append("after"))
    async with kit.bound() as w:
        run_id = await w.create("none")
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "succeeded"
        assert await w.deliver(run_id) == ["ack"]
    assert calls == ["broken", "after"]
    assert "broken hook" in caplog.text


async def test_statements_that_are_refused_are_told_as_the_failure_that_they_are(kit: Kit) -> None:
    @kit.job("commits", max_attempts=1)
    async def commits(ctx: Any) -> None:
        kit.clock.advance(1)
        ctx.commit(["INSERT INTO no_table VALUES (1)"])

    seen = watch(kit)
    async with kit.bound() as w:
        w.storage.fail_once("application", "before")  # the second try, half a second later, is refused
        await w.deliver(await w.create("commits"))
    assert seen[-1] == ("retry", "running", "failed")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failing_read_drops_the_hook_and_not_the_run(kit: Kit, when: str) -> None:
    kit.job("none")(nothing)
    calls: list[str] = []
    kit.app.on("succeed")(lambda t: calls.append(t.event))
    async with kit.bound() as w:
        run_id = await w.create("none")
        w.storage.fail_once("runs.read", when)
        assert await w.deliver(run_id) == ["ack"]
        assert (calls, await w.state(run_id)) == ([], "succeeded")


async def test_hooks_that_take_too_long_are_dropped(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumofire_fsm.hooks.SECONDS", 0.01)
    kit.job("none")(nothing)
    kit.app.on("succeed")(lambda t: asyncio.sleep(60))
    async with kit.bound() as w:
        run_id = await w.create("none")
        async with asyncio.timeout(600):
            assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "succeeded"


async def test_runs_created_and_settled_together_are_told_each(kit: Kit) -> None:
    @kit.job("some", max_attempts=1)
    async def some(ctx: Any, number: int) -> None:
        if number % 2:
            raise Cancel

    seen = watch(kit)
    async with kit.bound() as w:
        created = await w.jobs.create_many([NewRun("some", n) for n in range(10)])
        await w.deliver(*(each.kumofire_job_run_id for each in created))
    assert [seen.count(each) for each in dict.fromkeys(seen)] == [10, 10, 10, 5, 5]


async def test_an_occurrence_of_a_recurring_job_is_told(kit: Kit) -> None:
    kit.job("none")(nothing)
    seen = watch(kit)
    async with kit.bound() as w:
        await w.jobs.create_schedule("none", every=timedelta(minutes=1))
        w.clock.advance(60)
        await w.jobs.dispatch()
    assert seen == [("create", None, "ready"), ("enqueue", "ready", "queued")]


async def test_events_and_states_that_a_machine_adds_can_be_hooked(kit: Kit) -> None:
    class Approved(RunMachine):
        approval = State("Waits for a person.", role=Role.WAITING, waits=True, initial=True)
        approve = Event(approval.to(RunMachine.ready))
        cancel = RunMachine.cancel | approval.to(RunMachine.canceled)

    told: list[tuple[str | None, str, Any]] = []
    kit.job("payout", machine=Approved)(nothing)
    kit.app.on("approve")(lambda t: told.append((t.before, t.state, t.run.history[-1].facts)))
    kit.app.on_enter("approval")(lambda t: told.append((t.before, t.state, None)))
    async with kit.bound() as w:
        run_id = await w.create("payout")
        await w.jobs.fire(run_id, "approve", by="ana", note="checked")
    assert told == [(None, "approval", None), ("approval", "ready", {"by": "ana", "note": "checked"})]


@pytest.mark.parametrize(
    ("register", "text"),
    [
        (lambda app: app.on("aprove"), "no such event"),
        (lambda app: app.on("suceed"), "did you mean 'succeed'"),
        (lambda app: app.on("heartbeat"), "changes no state"),
        (lambda app: app.on_enter("finished"), "no such state"),
        (lambda app: app.on("succeed", job="nine"), "did you mean 'none'"),
        (lambda app: app.on("creat"), "did you mean 'create'"),
        (lambda app: app.on("approve", job="none"), "no such event that changes a state of the job 'none'"),
        (lambda app: app.on_enter("approval", job="none"), "no such state that is entered of the job 'none'"),
        (lambda app: app.on("redrive", job="paid"), "no such event that changes a state of the job 'paid'"),
        (lambda app: app.on_enter("review"), "no such state that is entered"),
    ],
)
async def test_a_hook_that_would_never_be_called_is_refused(register: Any, text: str) -> None:
    class Approved(RunMachine):
        approval = State("Waits for a person.", role=Role.WAITING, waits=True, initial=True)
        review = State("Approval, as it was called.", role=Role.WAITING, waits=True, retired=True)
        approve = Event(approval.to(RunMachine.ready) | review.to(RunMachine.ready))
        redrive = None

    app = Kumofire()
    app.job("none")(nothing)
    app.job("paid", machine=Approved)(nothing)
    register(app)(lambda t: None)
    with pytest.raises(DefinitionError, match=text):
        async with app.open(":memory:"):
            pass


async def test_a_settle_that_is_repeated_for_one_run_tells_of_the_others_once(kit: Kit) -> None:
    told: list[str] = []
    kit.job("some")(nothing)
    kit.app.on("succeed")(lambda t: told.append(t.run.kumofire_job_run_id))
    async with kit.bound() as w:
        ids = [await w.create("some") for _ in range(2)]
        binding, execute = w.jobs._binding, w.storage.execute
        runs = (await claim_hinted(binding, ids, alone=False)).runs
        endings = [Claim(binding, run, binding.registry.get(run.job)).succeeded(None, ()) for run in runs]
        lost = endings[1].move.id
        await w.sql("UPDATE kumofire_runs SET claim = 'other' WHERE id = ?", lost)
        failures = [TransientStoreError("the answer was lost")]

        async def flaky(statement: Statement) -> list[Row]:
            if statement.name == "runs.read" and lost in str(statement.argument) and failures:
                raise failures.pop()
            return await execute(statement)

        w.storage.execute = flaky  # type: ignore[method-assign]
        settled = await settle(binding, endings)
        assert settled.failed == endings[1:]
        assert (await settle(binding, settled.failed)).failed == []
        assert told == [endings[0].move.id]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (None, [("create", None, "ready"), ("enqueue", "ready", "queued")]),
        (3600, [("create", None, "ready")]),
    ],
)
async def test_a_creation_is_told_as_it_happened_whether_the_run_is_due_or_not(
    kit: Kit, delay: int | None, expected: Seen
) -> None:
    told: dict[str, Seen] = {"create": [], "enqueue": [], "ready": [], "queued": []}
    kit.job("none")(nothing)
    for name, seen in told.items():
        register = kit.app.on if name in ("create", "enqueue") else kit.app.on_enter

        def note(t: Transition, seen: Seen = seen) -> None:
            seen.append((t.event, t.before, t.state))

        register(name)(note)
    async with kit.bound() as w:
        created = await w.jobs.create_many([NewRun("none", delay=delay) for _ in range(3)])
        await w.create("none", delay=delay)
        assert len({each.kumofire_job_run_id for each in created}) == 3
    for name, seen in told.items():
        mine = [step for step in expected if name in (step[0], step[2])]
        assert seen == mine * 4, name


async def test_a_creation_that_finds_its_key_held_is_none(kit: Kit) -> None:
    told: list[str] = []
    kit.job("none")(nothing)
    kit.app.on("create")(lambda t: told.append(t.run.kumofire_job_run_id))
    async with kit.bound() as w:
        first = await w.create("none", dedupe_key="k")
        assert await w.create("none", dedupe_key="k") == first
    assert told == [first]


async def test_a_creation_is_told_once_though_the_run_moves_on_and_back_in_the_same_millisecond(
    kit: Kit,
) -> None:
    """What a statement moved is told by that statement, and by no later one at the same time."""
    told: Seen = []
    kit.job("none")(nothing)
    kit.app.on("create")(lambda t: told.append((t.event, t.before, t.state)))
    kit.app.on_enter("ready")(lambda t: told.append((t.event, t.before, t.state)))
    async with kit.bound() as w:
        run_id = await w.create("none", delay=500)
        await w.jobs.cancel(run_id)
        await w.jobs.redrive(run_id)
    assert told == [("create", None, "ready"), ("create", None, "ready"), ("redrive", "canceled", "ready")]


async def test_runs_of_an_embedded_worker_and_of_schedules_are_told_of_too(tmp_path: Path) -> None:
    app = Kumofire()
    told: Seen = []
    app.job("none")(nothing)
    app.on("create")(lambda t: told.append((t.event, t.before, t.state)))
    app.on_enter("ready")(lambda t: told.append((t.event, t.before, t.state)))
    async with app.open(tmp_path / "jobs.db") as jobs:
        await jobs.create("none")
        await jobs.create_schedule("none", cron="0 0 1 1 *", schedule_key="k")
        await jobs.trigger_now(schedule_key="k")
    assert told == [("create", None, "ready")] * 4
