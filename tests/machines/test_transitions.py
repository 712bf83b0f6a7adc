"""Every state x event of both machines: the table in Python against the SQL, whole rows compared."""

from __future__ import annotations

import pytest
from slices import sliced

from kumofire_fsm.errors import GuardFailed
from kumofire_fsm.machines import JobMachine, Role, RunMachine

NOW = 1_790_000_000_000
SPECS = [RunMachine.spec, JobMachine.spec]
PAIRS = [
    pytest.param(spec, state.id, event.id, id=f"{spec.name}-{state.id}-{event.id}")
    for spec in SPECS
    for state in spec.states
    for event in spec.events
]
STATES = [pytest.param(spec, s.id, id=f"{spec.name}-{s.id}") for spec in SPECS for s in spec.states]


@pytest.mark.parametrize("fenced", [False, True], ids=["unfenced", "fenced"])
@pytest.mark.parametrize(("spec", "state", "event"), PAIRS)
def test_an_event_moves_in_sql_exactly_the_rows_that_it_moves_in_python(
    rows, cases, after, fits, comparable, spec, state, event, fenced
):
    before, expected, moved, fired = {}, {}, {}, []
    guarded = any(edge.guard is not None for edge in spec.edges_from(state, event))
    for row, given in cases(spec, state)[:: 1 if guarded else 7]:
        then = after(spec, row, event, given)
        assert fits(spec, then)
        before[row["id"]] = row
        expected[row["id"]] = comparable(then or row)
        if then is not None:
            moved[row["id"]] = then["state"]
        fired.append((row, event, given))
    rows.put(spec, before.values())
    assert before
    assert rows.fire(spec, [event], fired, fenced=fenced) == moved
    assert rows.all(spec) == expected


@pytest.mark.parametrize(("spec", "state"), STATES)
def test_the_cases_open_and_close_every_guard(cases, spec, state):
    for event in spec.events:
        for edge in spec.edges_from(state, event.id):
            if edge.guard is not None:
                assert {edge.holds({**row, **given}) for row, given in cases(spec, state)} == {True, False}


@pytest.mark.parametrize("fenced", [False, True], ids=["unfenced", "fenced"])
@pytest.mark.parametrize(("spec", "state"), STATES)
def test_mixed_events_in_one_statement_move_each_row_by_its_own_event(
    rows, cases, after, fits, comparable, spec, state, fenced
):
    before, expected, moved, fired = [], {}, {}, []
    for number, event in enumerate(event.id for event in spec.events):
        for case, given in cases(spec, state)[:: 7 if fenced else 1]:
            row = unique(case, number)
            then = after(spec, row, event, given)
            assert fits(spec, then)
            before.append(row)
            fired.append((row, event, given))
            expected[row["id"]] = comparable(then or row)
            if then is not None:
                moved[row["id"]] = then["state"]
    rows.put(spec, before)
    events = [event.id for event in spec.events]
    assert rows.fire(spec, events, fired, fenced=fenced) == moved
    assert rows.all(spec) == expected


def unique(row: dict, number: int) -> dict:
    """Return the row with other ids and keys, as the unique indexes ask."""
    keys = ("id", "dedupe_key", "dedupe_slot", "schedule_id", "schedule_key")
    return row | {key: f"{row[key]}.{number}" for key in keys if row.get(key) is not None}


@pytest.mark.parametrize("stale", [{"starts": 3}, {"starts": 5}, {"claim": "other"}, {"claim": None}])
@pytest.mark.parametrize("mixed", [False, True], ids=["single", "mixed"])
@pytest.mark.parametrize("state", sliced([state.id for state in RunMachine.spec.states], 5))
def test_a_stale_fence_moves_no_run(rows, cases, comparable, state, mixed, stale):
    spec = RunMachine.spec
    made = cases(spec, state)
    rows.put(spec, [row for row, _ in made])
    events = [event.id for event in spec.events]
    for event in events:
        fired = [(row | stale, event, given) for row, given in made]
        assert rows.fire(spec, events if mixed else [event], fired, fenced=True) == {}
    assert rows.all(spec) == {row["id"]: comparable(row) for row, _ in made}


def test_a_run_that_never_started_has_no_fence_to_match(rows, cases):
    spec = RunMachine.spec
    row, given = cases(spec, "ready")[0]
    row |= {"claim": None, "starts": 0}
    rows.put(spec, [row])
    assert rows.fire(spec, ["cancel"], [(row, "cancel", given)], fenced=True) == {}


INTO_ACTIVE = pytest.mark.parametrize(
    ("state", "event"),
    [
        ("paused", "resume"),
        ("suspended", "resume"),
        ("active", "revise"),
        ("suspended", "revise"),
        ("ended", "revise"),
    ],
)


@pytest.mark.parametrize("mixed", [False, True], ids=["single", "mixed"])
@INTO_ACTIVE
def test_a_job_that_would_be_active_without_an_occurrence_is_not_moved(
    rows, cases, comparable, state, event, mixed
):
    spec = JobMachine.spec
    made = [(row, given) for row, given in cases(spec, state) if given["occurrence"] is None]
    rows.put(spec, [row for row, _ in made])
    events = [each.id for each in spec.events] if mixed else [event]
    for row, given in made:
        message = rf"^'{event}' from '{state}' needs occurrence is not None$"
        with pytest.raises(GuardFailed, match=message) as refused:
            spec.step(row, event, **given)
        assert (refused.value.row_id, refused.value.state) == (row["id"], state)
        assert rows.fire(spec, events, [(row, event, given)], fenced=False) == {}
    assert rows.all(spec) == {row["id"]: comparable(row) for row, _ in made}
    assert len(made) == 6


@INTO_ACTIVE
def test_a_job_with_an_occurrence_becomes_active_and_waits_for_it(rows, cases, state, event):
    spec = JobMachine.spec
    coming = [(row, given) for row, given in cases(spec, state) if given["occurrence"] is not None]
    made = [(row, {**given, "held_until": None}) for row, given in coming]  # nothing holds it back
    rows.put(spec, [row for row, _ in made])
    moved = rows.fire(spec, [event], [(row, event, given) for row, given in made], fenced=False)
    assert moved == {row["id"]: "active" for row, _ in made}
    found = [(row["next_at"], row["wake_at"], row["error"]) for row in rows.all(spec).values()]
    assert found == [(NOW + 60_000, NOW + 60_000, None)] * 6


def test_a_paused_job_may_be_revised_without_an_occurrence(rows, cases):
    spec = JobMachine.spec
    made = [(row, given) for row, given in cases(spec, "paused") if given["occurrence"] is None]
    rows.put(spec, [row for row, _ in made])
    moved = rows.fire(spec, ["revise"], [(row, "revise", given) for row, given in made], fenced=False)
    assert moved == {row["id"]: "paused" for row, _ in made}
    assert {(row["next_at"], row["wake_at"]) for row in rows.all(spec).values()} == {(None, None)}


@pytest.mark.parametrize("edge", RunMachine.spec.edges, ids=lambda e: f"{e.event}-{e.source}-{e.target}")
def test_an_active_key_is_given_up_on_settling_and_taken_again_by_a_redrive_alone(edge):
    active = {"dedupe": "active", "dedupe_key": "key", "dedupe_slot": "key"}
    forever = active | {"dedupe": "forever"}
    none = dict.fromkeys(active)
    if RunMachine.spec.has_role(edge.target, Role.SETTLED):
        assert [edge.assigns["dedupe_slot"].evaluate(row) for row in (active, forever, none)] == [
            None, "key", None,
        ]  # fmt: skip
    elif edge.event == "redrive":
        given_up = active | {"dedupe_slot": None}
        assert [edge.assigns["dedupe_slot"].evaluate(row) for row in (given_up, forever, none)] == [
            "key", "key", None,
        ]  # fmt: skip
    else:
        assert "dedupe_slot" not in edge.assigns
    assert not {"dedupe", "dedupe_key"} & edge.assigns.keys(), "no move writes these"


@pytest.mark.parametrize(
    ("known", "targets"),
    [
        ({"attempt": 1, "max_attempts": 2}, ("retrying",)),
        ({"attempt": 2, "max_attempts": 2}, ("failed",)),
        ({"attempt": 2}, ("retrying", "failed")),
        ({}, ("retrying", "failed")),
        ({"state": "canceling"}, ("canceled",)),
        ({"state": "ready"}, ()),
    ],
)
def test_where_an_event_may_lead_is_told_from_what_is_known_of_a_row(known, targets):
    assert RunMachine.spec.targets({"state": "running", **known}, "retry") == targets
