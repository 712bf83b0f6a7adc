"""Random rows and parameters: one step in Python and one in SQL give the same row."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.machines import JobMachine, RunMachine

FAST = settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
instants = st.integers(0, 2**42)
small = st.integers(0, 40)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TEXTS = {
    "claim",
    "concurrency_key",
    "dedupe_key",
    "dedupe_slot",
    "schedule_id",
    "payload",
    "result",
    "error",
    "progress",
    "tags",
}
TEXTS |= {"token", "value", "tick", "schedule_key", "new_payload", "new_schedule", "new_template", "new_job"}
TEXTS |= {"origin", "new_origin", "catch_up", "new_catch_up", "skipped_why", "passed_why"}
NOT_NULL = {"run_at", "now", "next_at", "created_at", "new_schedule", "new_template", "new_job", "updated_at"}
COUNTS = {"attempt", "max_attempts", "starts", "deliveries", "revision", "made", "skipped", "runs", "passed"}
OF_FLOWS = {"step", "visit", "letters", "mail", "letter", "keys", "undo"}
OF_FLOWS |= {
    "step_ms",
    "to_step",
    "data",
    "to_undo",
    "tries",
    "seen",
    "taken",
    "told",
    "signal_key",
    "rests",
    "was_visit",
}
"""What other runs never have; tests/flows draws it."""
HISTORIES = st.sampled_from(["[]", '[["create","ready",1]]', '[["a","b",2,{"c":[1,null,"é"]}]]'])


def values(spec, name):
    """Return a strategy for what a column or parameter may hold."""
    if name in ("dedupe", "facts"):
        return st.sampled_from([None, "active", "forever"] if name == "dedupe" else [None, '{"by":"a"}'])
    if name in TEXTS:
        return text if name in NOT_NULL else st.none() | text
    if name.endswith("_ms"):
        return st.integers(0, 10**9)
    if name in ("shared", "alone", "full"):
        return st.integers(0, 1)
    if name == "priority":
        return st.integers(0, 2)
    if name == "suspect":
        return st.integers(0, 3)
    if name in COUNTS:
        return small
    near = st.integers(-2, 2).map(lambda d: 1000 + d) | instants
    always = name in NOT_NULL and (spec.name == "run" or name != "next_at")
    return near if always else st.none() | near


@st.composite
def fired(draw, spec):
    state = draw(st.sampled_from(spec.states))
    fixed = {"id": "1", "job": "j", "machine": spec.name, "state": state.id}
    texts = {"schedule": "{}", "template": "{}", "history": draw(HISTORIES)}
    texts |= {name: value for name, value in spec.fields.items() if name in OF_FLOWS}
    row = {
        name: (fixed | texts)[name] if name in fixed | texts else draw(values(spec, name))
        for name in spec.fields
    }
    row["wake_at"] = draw(instants) if state.wakes else None
    given = {n: v if n in OF_FLOWS else draw(values(spec, n)) for n, v in spec.parameters.items()}
    events = [event.id for event in spec.events]
    legal = list(spec.legal(state.id)) or events
    return row, draw(st.sampled_from(legal) | st.sampled_from(events)), given


@pytest.mark.parametrize("mixed", [False, True], ids=["single", "mixed"])
@pytest.mark.parametrize("spec", [RunMachine.spec, JobMachine.spec], ids=["run", "job"])
@FAST
@given(data=st.data())
def test_a_random_row_steps_alike_in_python_and_in_sql(rows, after, fits, comparable, spec, mixed, data):
    row, event, parameters = data.draw(fired(spec))
    then = after(spec, row, event, parameters)
    assert fits(spec, then), "guards let no row into a state whose deadline it could not have"
    events = [each.id for each in spec.events] if mixed else [event]
    rows.db.execute("BEGIN")
    try:
        rows.put(spec, [row])
        moved = rows.fire(spec, events, [(row, event, parameters)], fenced=False)
        assert moved == ({} if then is None else {"1": then["state"]})
        assert rows.all(spec) == {"1": comparable(then or row)}
    finally:
        rows.db.execute("ROLLBACK")
