"""Fields of the payload that a lifecycle declares: guards and assignments read them, in Python as in SQL."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.errors import DefinitionError, GuardFailed, InvalidArgument
from kumofire_fsm.machines import Deadline, Event, Lifecycle, Role, RunMachine, State
from kumofire_fsm.machines.lint import lint
from kumofire_fsm.machines.payload import misfit
from kumofire_fsm.store.schema import migrate
from kumofire_fsm.testing import assert_refused, assert_transition, paths_to, transition_cases
from kumofire_fsm.values.limits import INLINE_BYTES

NOW = 1_790_000_000_000
WAITS = {"role": Role.WAITING, "waits": True}


class ApprovedOrder(RunMachine):
    """Small orders need one person, large ones two."""

    payload = {"amount": int, "country": str | None, "gift": bool | None}

    approval = State("A person looks at it.", initial=True, **WAITS)
    second = State("Another looks at large ones.", **WAITS)

    approve = Event(
        approval.to(RunMachine.ready, cond="payload.amount <= 100 or payload.gift")
        | approval.to(second, cond="payload.country != 'xx'", sets={"error": "payload.country"})
        | second.to(RunMachine.ready),
        sets={"suspect": "when(payload.amount is None, 0 - 1, payload.amount)"},
        doc="A person agrees.",
    )
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled) | second.to(RunMachine.canceled)
    redrive = Event(
        RunMachine.failed.to(approval) | RunMachine.canceled.to(approval),
        sets=RunMachine.redrive.sets,
        doc="Somebody wants it to run again.",
    )


SPEC = ApprovedOrder.spec
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
NUMBERS = st.sampled_from(
    [-1, 0, 1, 99, 100, 101, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**30]
)
VALUES = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False, allow_infinity=False), TEXT, st.sampled_from(["xx", "100", "1"]),
    st.lists(NUMBERS, max_size=2), st.dictionaries(TEXT, NUMBERS, max_size=2),
)  # fmt: skip
OBJECTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("amount", "country", "gift", "other"), VALUES))


@settings(
    max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.one_of(OBJECTS, OBJECTS, VALUES), st.booleans(), st.sampled_from(["approval", "second"])
        ),
        min_size=10,
        max_size=60,
    )
)
@example(
    [
        (payload, large, "approval")
        for large in (False, True)
        for payload in (
            {"amount": 100},
            {"amount": 101},
            {"amount": 10**30, "gift": 1},
            {"amount": True, "country": 5},
            {"amount": "1", "gift": "true"},
            {"amount": None, "country": None, "gift": True},
            {"amount": 100.0, "gift": False},
            [{"amount": 1}],
            None,
        )
    ]
)
def test_rows_move_alike_in_python_and_in_sql_whatever_their_payloads_are(
    rows: Any, comparable: Any, drawn: list[tuple[Any, bool, str]]
) -> None:
    rows.db.executescript("DELETE FROM kumofire_runs; DELETE FROM kumofire_bodies")
    migrate(rows.db, [SPEC])
    given_ = {**SPEC.parameters, "now": NOW}
    before, after = [], {}
    for number, (payload, large, state) in enumerate(drawn):
        padded = (
            {"padding": "p" * INLINE_BYTES, **payload} if large and isinstance(payload, dict) else payload
        )
        text = json.dumps(padded, separators=(",", ":"))
        apart, run_id = len(text) > INLINE_BYTES, f"run-{number}"
        row = {**SPEC.fields, "id": run_id, "machine": SPEC.name, "state": state, "created_at": NOW - 5}
        before.append({**row, "payload": "" if apart else text})
        if apart:
            rows.db.execute(
                "INSERT INTO kumofire_bodies VALUES (?, 'payload', ?, ?)", (run_id, len(text), text)
            )
        try:
            moved = SPEC.step({**row, "payload": text}, "approve", **given_)
        except GuardFailed:
            moved = before[-1]
        after[run_id] = comparable({**moved, "payload": before[-1]["payload"]})
    rows.put(SPEC, before)
    rows.fire(SPEC, ["approve"], [(row, "approve", given_) for row in before], fenced=False)
    assert rows.all(SPEC) == after


def test_a_field_that_is_missing_null_or_of_another_type_is_none() -> None:
    def read(payload: object) -> list[object]:
        seen = SPEC.seen({"payload": json.dumps(payload)})
        return [seen[f"payload.{name}"] for name in ("amount", "country", "gift")]

    assert read({"amount": 5, "country": "de", "gift": True}) == [5, "de", 1]
    assert read({"amount": 2**63 - 1, "country": "", "gift": False}) == [2**63 - 1, "", 0]
    assert read({"amount": 2**63, "country": 5, "gift": 1}) == [None, None, None]
    assert read({"amount": True, "country": None, "gift": "yes"}) == [None, None, None]
    assert read({"amount": 5.0, "country": ["de"]}) == [None, None, None]
    assert read([5]) == read("amount") == read(None) == read({}) == [None, None, None]
    assert [SPEC.seen({})[f"payload.{name}"] for name in SPEC.payload] == [None, None, None]


def test_a_row_whose_payload_stands_apart_cannot_be_moved_by_python_without_it() -> None:
    with pytest.raises(InvalidArgument, match=r"^payload='': give the payload as JSON text"):
        SPEC.step({"state": "approval", "payload": ""}, "approve")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"amount": 5}, ""),
        ({"amount": 5, "country": None, "gift": None, "more": [1]}, ""),
        ({"amount": 5, "country": "de", "gift": False}, ""),
        ({"amout": 5}, "'amount' must be an integer, and is missing (did you mean 'amout'?)"),
        ({}, "'amount' must be an integer, and is missing"),
        ([5], "'amount' must be an integer, and is missing"),
        (5, "'amount' must be an integer, and is missing"),
        ({"amount": None}, "'amount' must be an integer; found null"),
        ({"amount": "5"}, "'amount' must be an integer; found str"),
        ({"amount": 5.0}, "'amount' must be an integer; found float"),
        ({"amount": True}, "'amount' must be an integer; found bool"),
        ({"amount": 2**63}, "'amount' must be an integer; found one beyond 64 bits"),
        ({"amount": 5, "country": 7}, "'country' must be a text or null; found int"),
        ({"amount": 5, "country": "a\0b"}, "'country' must be a text or null, and has a null character, which a text in SQL cannot hold"),
        ({"amount": 5, "gift": 1}, "'gift' must be true or false or null; found int"),
    ],
)  # fmt: skip
def test_a_payload_that_does_not_fit_is_told_without_its_values(payload: object, why: str) -> None:
    assert misfit(SPEC.payload, json.dumps(payload)) == why


def made(bases: tuple[type, ...] = (RunMachine,), **body: Any) -> Any:
    return type(RunMachine)("Own", bases, {"__module__": __name__, **body})


def ready_if(cond: str, **more: Any) -> dict[str, Any]:
    edge = RunMachine.held.to(RunMachine.ready, cond=cond)
    return {"payload": {"amount": int}, "let": Event(edge), **more}


def begins(**deadline: Any) -> dict[str, Any]:
    first = State("It begins.", role=Role.CLAIMABLE, initial=True, **deadline)
    return {"payload": {"ms": int}, "first": first, **{
        name: getattr(RunMachine, name) | first.to(target) for name, target in (
            ("enqueue", RunMachine.queued), ("start", RunMachine.running), ("nudge", first), ("expire", RunMachine.canceled)
        )
    }}  # fmt: skip


WRONG = [
    (lambda: made(**ready_if("payload.amuont > 100")), "Own: let from held to ready: 'payload.amuont > 100' reads payload.amuont, a field that the class does not declare (did you mean 'payload.amount'?); say payload = {\"amuont\": int} in it, or str, or bool"),
    (lambda: made(**ready_if("payload.amount > '100'")), "Own: let from held to ready: \"payload.amount > '100'\": '>' is given an integer (payload.amount) and a text ('100'); Python and SQL differ on that"),
    (lambda: made(**ready_if("payload.amount.net > 1")), "edge held -> ready: 'payload.amount.net > 1' does not compile to SQL: 'payload.amount.net' is outside the language of guards"),
    (lambda: made(**ready_if("order.amount > 1")), "edge held -> ready: 'order.amount > 1' does not compile to SQL: 'order.amount' is outside the language of guards"),
    (lambda: made(payload=["amount"]), "Own.payload names fields with their types, as in payload = {\"amount\": int}; found ['amount']"),
    (lambda: made(payload={"a b": int}), "Own.payload: a field is called as a name of Python; found 'a b'"),
    (lambda: made(payload={"amount": float}), "Own.payload: 'amount' is an int, str or bool, with `| None` where a payload may lack it; found <class 'float'>"),
    (lambda: made(payload={"amount": int | str}), "Own.payload: 'amount' is an int, str or bool, with `| None` where a payload may lack it; found int | str"),
    (lambda: made(payload={"amount": "int"}), "Own.payload: 'amount' is an int, str or bool, with `| None` where a payload may lack it; found 'int'"),
    (lambda: made((ApprovedOrder,), payload={"amount": str}), "Own: the field 'amount' of the payload has two types; that of Own is another than the inherited one"),
    (lambda: made(paylaod={"amount": int}), "Own.paylaod means nothing to a lifecycle (did you mean 'payload'?)"),
    (lambda: made(fields={**RunMachine.fields, "amount": 0}), 'Own.fields: the columns are those of the table; a subclass has no others. A field of the payload is declared as payload = {"amount": int}, and read as payload.amount'),
    (lambda: made(**begins(deadline=Deadline("now + payload.ms", "expire", "enqueue"))), "own: rows begin in 'first', and its deadline reads payload.ms, before the payload is stored; let another state, which that one leads to, read it"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message[:70] for _, message in WRONG])
def test_what_is_declared_wrong_is_refused_when_the_class_is_created(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}"):
        make()


def test_a_class_adds_fields_to_those_that_it_inherits() -> None:
    own = made((ApprovedOrder,), payload={"weight": int})
    assert list(own.spec.payload) == ["amount", "country", "gift", "weight"]
    assert list(ApprovedOrder.spec.payload) == ["amount", "country", "gift"]
    assert own.spec.digest != made((ApprovedOrder,), payload={"weight": int | None}).spec.digest
    assert RunMachine.spec.payload == {}


def test_a_lifecycle_of_something_of_one_s_own_is_told_that_flows_are_for_that() -> None:
    def order(table: str | None, **more: Any) -> None:
        placed = State("It is placed.", initial=True, **WAITS)
        paid = State("It is paid.", role=Role.SETTLED)
        body = {"__module__": __name__, "placed": placed, "paid": paid, "pay": Event(placed.to(paid)), **more}
        type(RunMachine)("Order", (Lifecycle,), body, table=table)

    message = (
        "class Order(Lifecycle) has no table, so nothing would store it: a lifecycle is that of a run, class "
        "Order(RunMachine). Something of your own, such as an order that is placed, paid and shipped, is a flow, "
        "with or without handlers: class Order(Flow[Data]); see docs/flows.md"
    )
    for table in (None, "orders"):
        with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
            order(table)
    columns = {"fields": {**RunMachine.fields, "total": 0}, "parameters": RunMachine.parameters}
    with pytest.raises(
        DefinitionError,
        match=r"^Order\.fields: 'total' is not in those of the table 'kumofire_runs'; inherit from RunMachine",
    ):
        order("kumofire_runs", texts=RunMachine.texts, **columns)
    with pytest.raises(DefinitionError, match=r"^Order\.fields: 'attempt' misses one of those of the table"):
        order("kumofire_runs", fields={"id": None}, texts={"id"})


def test_it_is_driven_by_hand_as_the_database_drives_it() -> None:
    row = SimpleNamespace(state="approval", payload='{"amount":101,"country":"de"}')
    ApprovedOrder(row).send("approve")
    assert (row.state, row.error, row.suspect) == ("second", "de", 101)


def test_tests_give_the_payload_as_a_dict_of_what_guards_read() -> None:
    assert assert_transition(ApprovedOrder, "approval", "approve", payload={"amount": 100}) == "ready"
    large = assert_transition(ApprovedOrder, "approval", "approve", payload={"amount": 101, "country": "de"})
    assert (large, large.row["suspect"], assert_transition(ApprovedOrder, large, "approve")) == (
        "second",
        101,
        "ready",
    )
    assert assert_refused(ApprovedOrder, "approval", "approve", payload={"amount": 101}) == "guard"
    with pytest.raises(
        AssertionError, match=r"found payload\.amount=101, payload\.gift=None, payload\.country=None"
    ):
        assert_transition(ApprovedOrder, "approval", "approve", payload='{"amount":101}')
    with pytest.raises(
        InvalidArgument, match=r"^payload: approved_order declares no field 'amuont' of it \(did you"
    ):
        assert_transition(ApprovedOrder, "approval", "approve", payload={"amuont": 101})
    with pytest.raises(InvalidArgument, match=r"^payload: 'amount' must be an integer; found str$"):
        assert_transition(ApprovedOrder, "approval", "approve", payload={"amount": "101"})


def test_cases_and_paths_know_payloads_that_open_each_edge() -> None:
    cases = {
        (case.state, case.event): case
        for (case,) in (each.values for each in transition_cases(ApprovedOrder))
    }
    case = cases["approval", "approve"]
    for way in case.ways:
        assert assert_transition(ApprovedOrder, "approval", "approve", **way.facts) == way.target
    assert assert_refused(ApprovedOrder, "approval", "approve", **(case.shut or {})) == "guard"
    (path,) = paths_to(ApprovedOrder, "second")
    assert path.events == ("approve",)
    assert path.facts["payload"]["amount"] > 100


def test_lint_tries_fields_of_the_payload_with_small_values() -> None:
    edges = RunMachine.held.to(RunMachine.ready, cond="payload.amount > 100")
    edges |= RunMachine.held.to(RunMachine.failed, cond="payload.amount > 99")
    (found,) = lint(made(payload={"amount": int}, let=Event(edges)))
    assert found.rule == "overlapping-guards"
    assert found.what.endswith("[payload.amount > 99] both hold for payload.amount=101")
