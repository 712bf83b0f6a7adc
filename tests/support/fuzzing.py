"""What the fuzz tests share: values of every kind, a watched application, and the SQL that may be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import combinations, permutations
from typing import Any

from fakes import START
from harness import TABLES, Bound, Kit
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from slices import SLICE, examples

from kumofire_fsm import Fail, KumofireError, Retry, RunMachine, Snooze
from kumofire_fsm.machines import Actor, JobMachine, Role
from kumofire_fsm.machines.spec import ADMIT, HOLD
from kumofire_fsm.store.controls import read_controls, set_control
from kumofire_fsm.store.moves import MOVED_ONE
from kumofire_fsm.store.overview import (
    count_failed,
    latest_failed,
    read_groups,
    read_known,
    read_recent,
    suspended,
)
from kumofire_fsm.store.rows import INSERT_COLUMNS
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.store.unknown import find_unknown


def fuzz(test: Callable[..., Any], number: int = 8) -> Any:
    """Try a test with values of every kind; each commit tries others."""
    search = settings(
        max_examples=examples(number), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    return seed(SLICE)(search(test))


def fuzz_more(test: Callable[..., Any]) -> Any:
    """Try a test whose examples are cheap with four times as many."""
    return fuzz(test, 32)


LAST = datetime.max.replace(tzinfo=UTC)
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: Any = []
for _ in range(1000):
    DEEP = [DEEP]
SQL = ["'; DROP TABLE kumofire_runs; --", "x' OR '1'='1", '"; SELECT 1', "?1", "$.x", "%s{0}", "\\'"]


class Refuses:
    """What an application's own type may do to whoever prints it."""

    def __repr__(self) -> str:
        raise RuntimeError("it cannot be printed")

    __str__ = __repr__


# What cannot be printed, or only at length; so it is not drawn, because what is drawn is printed.
HUGE: list[Any] = [
    10**5000, -(10**5000), "x" * 10**6, "\ud800" * 10**6, ["x" * 10**6], [[]], [{}], [["x"]], {"x" * 10**6: 1},
    b"x" * 10**6, range(100), Refuses(), [Refuses()], {"a": Refuses()},
]  # fmt: skip
# Python prints no integer of more than 4,300 digits: an error text that shows one raises ValueError.
ODD: list[Any] = [
    *SQL, None, True, False, 0, -1, 1, 2**53, 2**63, -(2**63), 10**30, 10**4000, 0.0, -0.5, 1e308, float("nan"),
    float("inf"), "", "\0", "a\0b", "\ud800", "x" * 300, "é" * 300, "🦶", b"", b"\xff\0", bytearray(b"a"), (), [], {},
    {1: 2}, {"a": {"b"}}, set(), frozenset({1}), range(3), CIRCLE, DEEP, [None], ["\ud800"], object(), object, print,
    Ellipsis, Decimal("NaN"), 1j, START, START.replace(tzinfo=None), LAST.replace(tzinfo=None),
    datetime.min.replace(tzinfo=UTC), LAST, LAST.replace(tzinfo=timezone(-timedelta(hours=23))),
    timedelta.max, timedelta.min, timedelta(0), timedelta(microseconds=1), KumofireError, Retry(), Role.SETTLED,
]  # fmt: skip
TEXTS = st.text(st.characters()) | st.sampled_from(SQL)  # surrogates and NUL included
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)
JUNK = st.sampled_from(ODD) | JSON | st.binary() | st.datetimes() | st.timedeltas()


TEXT_MOST = 2000
"""Characters of an error's text, whatever it quotes."""
TOGETHER = ("advance", "suspend")
"""What may happen to several recurring jobs at one look."""


def allowed_texts(runs: RunStatements, jobs: ScheduleStatements) -> set[str]:
    """Return every text that may be sent, made without any input."""
    claimed = (*runs.start_events, HOLD, ADMIT)
    settles = [event for event in RunMachine.spec.events_by(Actor.CONSUMER) if event not in claimed]
    several = [each for size in range(2, len(settles) + 1) for each in combinations(settles, size)]
    alone = [(event.id,) for event in RunMachine.spec.events if event.id not in claimed]
    claim = {"now": 1, "token": "t", "alone": True, "jobs": {}}
    sweeps = [(ids, hints) for ids in ([], None) for hints in ("all", "moves", "none")]
    row = dict.fromkeys(INSERT_COLUMNS) | {"id": "1", "payload": "1"}
    made = [
        runs.insert([row]),
        *(runs.insert_bodies(kind, []) for kind in ("payload", "result")),
        runs.find_holders([]),
        *runs.replace("", "", "x" * 5000, "{}", 1),
        find_unknown([RunMachine.spec], JobMachine.spec, before=1, look=1, jobs=[]),
        runs.adopt_keys([]),
        runs.adopt([], {}),
        *(runs.fire(events, [], fenced=fenced) for events in alone + several for fenced in (True, False)),
        *(runs.claim(ids, **claim) for ids in ([], None)),
        *(runs.sweep(ids, timing={}, now=1, limit=1, hints=hints, jobs=[]) for ids, hints in sweeps),
        runs.read([], results=True),
        runs.payloads([]),
        runs.find({}),
        *(runs.find({"states": ["failed"], "names": names}) for names in (None, ["a"])),
        *(runs.match({}, by) for by in ("deadline", "failed", "id")),
        runs.match({"names": ["a"]}, "failed"),
        *(read_groups(1), count_failed(), read_recent(), latest_failed(), suspended([]), read_known()),
        *(runs.count(name) for name in (None, "a")),
        runs.due_ids(now=1, limit=1, jobs=[]),
        runs.due_ids(now=1, limit=1, jobs=[], roles=(Role.CLAIMABLE,)),
        runs.due_suspect(now=1, jobs=[]),
        runs.next_wake(jobs=[]),
        runs.defer([], 1, now=1),
        *runs.prune(below="", also="", rules={}, limit=1),
        jobs.insert([dict(JobMachine.spec.fields)]),
        *(jobs.read(column=column, value="") for column in ("id", "schedule_key")),
        jobs.find(after="", limit=1),
        jobs.due(now=1, limit=1, jobs=[]),
        jobs.defer({}, 1),
        jobs.next_wake(jobs=[]),
        *(jobs.fire([event.id], []) for event in JobMachine.spec.events),
        *(jobs.fire(events, []) for events in permutations(TOGETHER)),
        *(jobs.fire(events, []) for events in (["end", "revise"], ["revise", "end"])),
        jobs.declared(origin="code", keys=[]),
        runs.fire_for_tick("cancel", "t", []),
        *jobs.insert_occurrences("t", [row]),
        *(set_control(what, {}) for what in ("pause", "resume", "limit")),
        *(read_controls([RunMachine.spec], [], others=others) for others in (False, True)),
        MOVED_ONE,
    ]
    return {statement.sql for statement in made}


ALLOWED = allowed_texts(RunStatements([RunMachine.spec]), ScheduleStatements(JobMachine.spec))


@asynccontextmanager
async def watched(kit: Kit | None = None) -> AsyncIterator[Bound]:
    """An application to throw things at; afterwards its SQL is checked, and its file."""
    kit = kit or Kit()
    if "echo" not in kit.app.registry.jobs:
        register(kit)
    async with kit.bound() as w:
        yield w
        assert w.storage.texts <= ALLOWED, w.storage.texts - ALLOWED
        assert await w.sql("PRAGMA integrity_check") == [("ok",)]


def register(kit: Kit) -> None:
    """Register handlers that end in every way."""

    @kit.job("echo")
    async def echo(ctx: Any, payload: Any) -> Any:
        return payload

    @kit.job("typed")
    async def typed(ctx: Any, payload: dict[str, int]) -> int:
        return sum(payload.values())

    @kit.job("raises", max_attempts=2)
    async def raises(ctx: Any, payload: Any) -> None:
        raise {1: ValueError("1"), 2: Fail("2"), 3: Snooze(5)}.get(payload, Retry(str(payload)))


async def everything(w: Bound) -> list[Any]:
    """Every row as stored."""
    return [await w.sql(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES]


async def refused_whole_or_done(w: Bound, call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call; if it raises one of the package's errors, it has stored nothing. Others pass."""
    before = await everything(w)
    try:
        return await call()
    except KumofireError as exc:
        assert await everything(w) == before, f"{exc!r} stored something"
        assert len(str(exc)) <= TEXT_MOST
        return exc
