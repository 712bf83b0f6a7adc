"""Whatever the public methods are given, they do their work or refuse it whole, with a typed error."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any

import pytest
from fakes import START, FakeMessage
from fuzzing import HUGE, JUNK, TEXT_MOST, TEXTS, fuzz, fuzz_more, refused_whole_or_done, watched
from harness import Bound
from hypothesis import given
from hypothesis import strategies as st
from slices import sliced

from kumofire_fsm import Backoff, Kumofire, KumofireError, NewRun, NewSchedule
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.work.bound import BoundJobs

METHODS = sorted(
    name for name, _ in inspect.getmembers(BoundJobs, inspect.isfunction) if not name.startswith("_")
)
NEW_RUN = [parameter for parameter in inspect.signature(NewRun).parameters if parameter != "name"]
KEYWORDS = {
    "match_runs": ["name", "state", "tag", "schedule_id", "concurrency_key", "created_before", "error"],
    "update_schedule": [
        "payload",
        "cron",
        "timezone",
        "every",
        "start_at",
        "max_attempts",
        "tags",
        "priority",
        "name",
        "enabled",
    ],
    "create_schedule": ["enabled", "every"],
    "upsert_schedule": ["enabled", "every"],
    "prepare_create": NEW_RUN,
}


async def scene(w: Bound, method: str) -> dict[str, Any]:
    """Store a run in a few states and two schedules; return what each parameter may well be."""
    echo = await w.create("echo", 1, tags=["t"])
    settled = await w.create("echo", "x" * 1000, dedupe_key="k")
    await w.deliver(settled)
    schedule = await w.jobs.create_schedule("echo", 1, every=60, schedule_key="s")
    paused = await w.jobs.create_schedule("typed", {"a": 1}, cron="0 4 * * *", schedule_key="p")
    await w.jobs.pause_schedule(paused.id)
    new = NewRun("typed", {"a": 1}, delay=5)
    return {
        "name": ["echo", "typed"],
        "payload": [1, {"a": 1}],
        "run_at": [START + timedelta(hours=1)],
        "delay": [5, timedelta(minutes=1)],
        "max_attempts": [2],
        "dedupe_key": ["k", "other"],
        "dedupe": ["active", "forever"],
        "on_conflict": ["return", "raise", "replace"],
        "expires_at": [START + timedelta(hours=2)],
        "tags": [["a", "b"]],
        "enabled": [True, False],
        "priority": ["high", "low"],
        "concurrency_key": ["tenant:7"],
        "step": ["charge"],
        "signal": ["approve"],
        "value": [1],
        "key": ["again"],
        "results": [True, False],
        "runs": [[new, new]],
        "run": [w.jobs.prepare_create("echo", 1)] if method != "result" else [settled],
        "handler": [w.jobs._binding.registry.jobs["echo"].handler],
        "run_id": [echo, settled],
        "schedule_id": [schedule.id, paused.id],
        "schedule_key": ["s", "p", "new"],
        "event": ["cancel", "redrive", "start", "reschedule"],
        "by": ["ana"],
        "note": ["because"],
        "older_than": [0, timedelta(days=1)],
        "limit": [1, 100],
        "message": [FakeMessage.of(echo)],
        "batch": [[FakeMessage.of(echo)]],
        "concurrency": [1, 3],
        "settle": ["each", "grouped"],
        "cron": ["*/5 * * * *"],
        "timezone": ["Europe/Berlin"],
        "every": [60],
        "start_at": [START],
        "at": [START + timedelta(days=1)],
        "end_at": [START + timedelta(days=2)],
        "max_occurrences": [3],
        "jitter": [5],
        "misfire": ["skip", "latest", "all"],
        "misfire_grace": [60],
        "overlap": ["allow", "skip", "queue", "cancel_previous"],
        "missed": ["skip", "latest", "all"],
        "n": [3],
        "schedules": [[NewSchedule("echo", 1, schedule_key="code", every=60)]],
        "origin": ["code"],
        "after": ["", schedule.id],
        "cursor": [echo],
        "state": ["queued", ["succeeded", "failed"]],
        "tag": ["t"],
        "created_before": [START],
        "error": ["no such"],
        "matched": [await w.jobs.match_runs("cancel"), await w.jobs.match_runs("reschedule")],
        "window": [60, timedelta(hours=1)],
        "full": [True, False],
        "timeout": [0, 1.5],
    }


def arguments(data: st.DataObject, method: str, good: dict[str, list[Any]]) -> dict[str, Any]:
    """Draw arguments of which some are as they should be, and one at least is anything."""
    parameters = inspect.signature(getattr(BoundJobs, method)).parameters.values()
    names = parameters_of(method)
    needed = {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    odd = data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=2)) if names else set()
    given_: dict[str, Any] = {}
    for name in names:
        if name in odd:
            given_[name] = data.draw(JUNK | TEXTS | st.lists(JUNK, max_size=3), name)
        elif name in needed or data.draw(st.booleans(), f"{name} is given"):
            given_[name] = data.draw(st.sampled_from(good[name]), name)
    return given_


def test_every_public_method_is_drawn() -> None:
    assert {"create", "create_many", "list_runs", "consume_batch", "upsert_schedule"} <= set(METHODS)


@pytest.mark.parametrize("method", sliced(METHODS, 3))
@fuzz
@given(data=st.data())
def test_a_method_does_its_work_or_refuses_it_whole(method: str, data: st.DataObject) -> None:
    async def scenario() -> None:
        async with watched() as w:
            good = await scene(w, method)
            chosen = arguments(data, method, good)
            if method == "wait":
                chosen["run_id"] = chosen["run_id"] if "timeout" not in chosen else good["run_id"][1]
                chosen.setdefault("timeout", 1)
            if method == "result":
                chosen.setdefault("timeout", 1)

            async def call() -> Any:
                outcome = getattr(w.jobs, method)(**chosen)
                return await outcome if inspect.isawaitable(outcome) else outcome

            await refused_whole_or_done(w, call)
            await w.jobs.list_runs()
            await w.jobs.list_schedules()
            await w.jobs.dispatch()

    asyncio.run(scenario())


def parameters_of(method: str) -> list[str]:
    parameters = inspect.signature(getattr(BoundJobs, method)).parameters.values()
    names = [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    return names + KEYWORDS.get(method, [])


@pytest.mark.parametrize("method", METHODS)
async def test_what_is_huge_or_cannot_be_printed_is_taken_or_refused_in_few_words(method: str) -> None:
    async with watched() as w:
        good = await scene(w, method)
        needed = {
            name
            for name, p in inspect.signature(getattr(BoundJobs, method)).parameters.items()
            if name != "self" and p.default is p.empty and p.kind is not p.VAR_KEYWORD
        }
        for name in parameters_of(method):
            for value in HUGE:
                chosen = {each: good[each][-1] for each in needed} | {name: value}
                if method in ("wait", "result"):
                    chosen.setdefault("timeout", 1)

                async def call(chosen: dict[str, Any] = chosen) -> Any:
                    outcome = getattr(w.jobs, method)(**chosen)
                    return await outcome if inspect.isawaitable(outcome) else outcome

                await refused_whole_or_done(w, call)
        await w.jobs.list_runs()
        await w.jobs.dispatch()


OPTIONS = {
    "Kumofire": ["max_attempts", "retry"],
    "Backoff": ["first", "factor", "cap", "on"],
    "job": ["name", "max_attempts", "timeout", "retry", "machine", "aliases"],
    "on": ["event", "job"],
    "on_enter": ["state", "job"],
    "bind": ["db", "queue", "max_statements"],
    "open": ["path", "lease", "synchronous"],
}
NEEDED = {
    "job": {"name": "a"},
    "on": {"event": "cancel"},
    "on_enter": {"state": "ready"},
    "open": {"path": ":memory:"},
}


async def make(what: str, given_: dict[str, Any]) -> None:
    """Make a part of an application, and use it as far as its arguments are read."""
    app, db = Kumofire(), SqliteStorage(":memory:")
    try:
        if what in ("Kumofire", "Backoff"):
            {"Kumofire": Kumofire, "Backoff": Backoff}[what](**given_)
        elif what == "open":
            async with app.open(**given_):
                pass
        elif what == "bind":
            app.bind(**({"db": db} | given_))
        else:
            getattr(app, what)(**given_)(lambda ctx: None)
            app.bind(db=db)
    finally:
        await db.close()


@pytest.mark.parametrize("what", OPTIONS)
def test_so_is_what_an_application_is_made_of(what: str) -> None:
    for name in OPTIONS[what]:
        for value in HUGE:
            if name == "path" and isinstance(value, str):
                continue  # it would be made
            try:
                asyncio.run(make(what, NEEDED.get(what, {}) | {name: value}))
            except KumofireError as exc:
                assert len(str(exc)) <= TEXT_MOST


@pytest.mark.parametrize("what", OPTIONS)
@fuzz_more
@given(data=st.data())
def test_what_an_application_is_made_of_is_taken_or_refused(what: str, data: st.DataObject) -> None:
    odd = data.draw(st.sets(st.sampled_from(OPTIONS[what]), min_size=1))
    chosen = {name: data.draw(JUNK, name) for name in sorted(odd)}
    if isinstance(chosen.get("path"), str):
        del chosen["path"]  # it would be made
    try:
        asyncio.run(make(what, NEEDED.get(what, {}) | chosen))
    except KumofireError as exc:
        assert len(str(exc)) <= TEXT_MOST
