"""The history of a run: what a move adds, what is dropped over the cap, byte for byte in both languages."""

from __future__ import annotations

import json

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.machines.expression import Call, Name
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.values.limits import FACTS_BYTES, HISTORY_CAP

RUN = RunMachine.spec
RUNS = RunStatements([RUN])
NOW = 1_790_000_000_000
LIMIT = 32 * 1024
MARK = ["truncated", None, None]
RECORD = Call("record", tuple(Name(name) for name in ("history", "event", "state", "now", "facts")))
FIRST = ["create", "ready", 1]


def compact(value) -> str:
    return json.dumps(value, separators=(",", ":"))


def entry(i: int, facts: object = None) -> list:
    return ["retry", "retrying", NOW + i, *([] if facts is None else [facts])]


def record(store, **row):
    """Append in both languages; return the text when they agree byte for byte."""
    names = ("history", "event", "state", "now", "facts")
    columns = ", ".join(f"?1 ->> '$.{name}' AS {name}" for name in names)
    sql = f"SELECT {RECORD.sql(lambda name: f'x.{name}')} FROM (SELECT {columns}) AS x"
    full = {"event": "retry", "state": "retrying", "now": NOW, "facts": None} | row
    (found,) = store.db.execute(sql, (json.dumps(full),)).fetchone()
    assert found == RECORD.evaluate(full)
    return found


def test_a_move_appends_its_event_state_and_time(store):
    assert record(store, history="[]") == f'[["retry","retrying",{NOW}]]'
    assert record(store, history=compact([FIRST])) == f'[["create","ready",1],["retry","retrying",{NOW}]]'


@pytest.mark.parametrize(
    "facts",
    [
        {"by": "ann"},
        {"error": 'ValueError: "x"\\ \n\t\u0007 é \U0001f600'},
        {"n": [1, -2, None, True, {"deep": []}]},
        {},
    ],
)
def test_facts_stand_at_the_end_of_the_entry(store, facts):
    text = record(store, history=compact([FIRST]), facts=compact(facts))
    assert json.loads(text) == [FIRST, ["retry", "retrying", NOW, facts]]
    again = record(store, history=text, facts=compact(facts))
    assert json.loads(again) == [FIRST, *[["retry", "retrying", NOW, facts]] * 2]


def history_of(length: int) -> str:
    """Return a history of exactly so many characters, of many small entries and one long one."""
    entries = [FIRST, *(entry(i) for i in range(200))]
    filler = length - len(compact([*entries, entry(0, {"e": ""})]))
    return compact([*entries, entry(0, {"e": "x" * filler})])


def test_at_the_cap_nothing_is_dropped_yet(store):
    text = history_of(HISTORY_CAP)
    assert len(text) == HISTORY_CAP
    assert json.loads(record(store, history=text)) == [*json.loads(text), entry(0)]


def test_over_the_cap_the_first_entry_a_mark_and_the_newer_half_stay(store):
    before = json.loads(history_of(HISTORY_CAP + 1))
    after = json.loads(record(store, history=compact(before)))
    assert len(before) == 202
    assert after == [FIRST, MARK, *before[102:], entry(0)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_even_a_few_huge_entries_are_halved(store, count):
    before = [FIRST, *(entry(i, {"e": "x" * (HISTORY_CAP // count)}) for i in range(count))]
    after = json.loads(record(store, history=compact(before)))
    assert after == [FIRST, MARK, *before[len(before) // 2 + 1 :], entry(0)]


@pytest.mark.parametrize(
    ("small", "facts_bytes", "moves"),
    [
        (0, 0, 1500),
        (700, 0, 600),
        (400, 40, 600),
        *[(small, FACTS_BYTES, 120) for small in (0, 1, 7, 29, 30, 31, 60, 100, 400)],
    ],
)
def test_a_history_stays_below_its_limit_however_long_it_grows(store, small, facts_bytes, moves):
    text = compact([FIRST, *(["lose", "ready", NOW] for _ in range(small))])
    facts = compact({"e": "x" * (facts_bytes - 8)}) if facts_bytes else None
    truncated = 0
    for i in range(moves):
        text = record(store, history=text, now=NOW + i, facts=facts)
        assert len(text.encode()) < LIMIT
        entries = json.loads(text)
        assert entries[0] == FIRST
        assert entries[-1][2] == NOW + i
        truncated += entries[1] == MARK
        assert entries.count(MARK) <= 1
    assert truncated


def test_a_run_that_is_redriven_for_ever_keeps_a_bounded_history(store, move):
    row_id = store.put(RUN, "canceled", history=compact([FIRST]))
    facts = compact({"note": "n" * 900})
    for i in range(40):
        for event in ("redrive", "cancel"):
            row = store.db.execute("SELECT * FROM kumofire_runs").fetchone()
            names = [c[1] for c in store.db.execute("PRAGMA table_info(kumofire_runs)")]
            given = {"now": NOW + i, "facts": facts, "horizon_ms": 0}
            expected = RUN.step(dict(zip(names, row, strict=True)), event, **given)["history"]
            store.run(RUNS.fire([event], [move(row_id, event, **given)], fenced=False))
            assert store.db.execute("SELECT history FROM kumofire_runs").fetchone() == (expected,)
            assert len(expected.encode()) < LIMIT


def test_a_move_in_place_leaves_no_entry(store, move):
    row_id = store.put(RUN, "queued", history=compact([FIRST]))
    store.run(RUNS.fire(["redeliver"], [move(row_id, "redeliver")], fenced=False))
    store.run(RUNS.fire(["nudge"], [move(row_id, "nudge")], fenced=False))
    assert store.get(row_id)["history"] == [FIRST]
